"""PyTorch's engines against the network itself, run as it was trained: in fp32, step by step."""

import itertools
import threading
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from test_engines_program import choices, program_of, roomy, trained
from unetkit.engines import torch_cpu, torch_gpu
from unetkit.engines.program import Step
from unetkit.engines.torch_cpu import fuse, has_fused, run_torch
from unetkit.engines.torch_gpu import remember, run_gpu
from unetkit.engines.torch_plain import Operation, Place, Schedule
from unetkit.errors import InputError
from unetkit.network import NetworkConfig

FUSED = has_fused(2, torch.float32)
SMALL = NetworkConfig(ndim=2, channels=3, classes=2, depth=2, width=8)


def batch(config, count=2, size=None, seed=0):
    shape = (count, config.channels, *(size or roomy(config)))
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def eager(net, x):
    with torch.inference_mode():
        return net(torch.from_numpy(x)).numpy()


def engines(program, precision):
    """Give all that run a program here, the fallback of the processor's first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_cpu, "has_fused", lambda *_: False)
        yield run_torch(program, precision)
    yield run_torch(program, precision)
    yield run_gpu(program, "cpu", precision)


def difference(a, b):
    assert a.shape == b.shape
    assert a.dtype == np.float32
    return np.abs(a - b).max() / np.abs(b).max()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(config=choices())
def test_fp32_is_exact(config):
    net = trained(config)
    x = batch(config)
    kept = x.copy()
    # A mean over few pixels makes rounding larger, in the network itself too.
    limit = 1e-5 if config.norm in ("batch", "none") else 2e-4
    for run in engines(program_of(net), "fp32"):
        assert difference(run(x), eager(net, x)) <= limit
    assert (x == kept).all()  # and what was given is left as it was


@settings(max_examples=20, deadline=None, derandomize=True)
@given(config=choices())
def test_bf16_is_near(config):
    net = trained(config)
    x = batch(config)
    right = eager(net, x)
    for run in engines(program_of(net), "bf16"):
        result = run(x)
        assert result.dtype == np.float32
        # Of 8 bits a rounding loses up to 0.4 %; some tens of them add up like random steps.
        assert np.std(result - right) <= 0.04 * np.sqrt(np.mean(right**2))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_sizes_may_change_between_calls(precision):
    net = trained(SMALL)
    limit = 1e-5 if precision == "fp32" else 0.05
    for run in engines(program_of(net), precision):
        for count, size in ((1, (32, 48)), (3, (16, 8)), (1, (4, 4)), (1, (32, 48))):
            x = batch(SMALL, count, size)
            assert difference(run(x), eager(net, x)) <= limit


def test_results_outlive_the_next_call():
    for run in engines(program_of(trained(SMALL)), "fp32"):
        first = run(batch(SMALL, seed=1))
        kept = first.copy()
        run(batch(SMALL, seed=2))
        assert (first == kept).all()


def test_any_view_of_an_array_will_do():
    net = trained(SMALL)
    x = batch(SMALL, 1, (16, 24))
    frozen = x.copy()
    frozen.flags.writeable = False
    wide = np.repeat(x, 2, axis=3)
    views = (frozen, np.flip(x, (2, 3)), x.swapaxes(2, 3), wide[..., ::2], np.asfortranarray(x))
    for run, view in itertools.product(engines(program_of(net), "fp32"), views):
        assert difference(run(view), eager(net, view.copy())) <= 1e-5


def test_logits_of_bf16_are_fp32():
    x = batch(SMALL)
    for run in engines(program_of(trained(SMALL)), "bf16"):
        assert (run(x).view(np.uint32) & 0xFFFF).any()  # bits that bf16 does not have


@pytest.mark.skipif(not FUSED, reason="oneDNN's fused operations are not here")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        # 2 a level on 5 levels, one more for each of 2 skips, 2 poolings, 2 up-convolutions, head
        ({}, 10 + 2 + 2 + 2 + 1),
        # a shortcut more on each level, split too where the level's input is joined
        ({"block": "residual"}, 10 + 2 + 5 + 2 + 2 + 2 + 1),
        # 3 convolutions and a product for each gate; the first two are one sum
        ({"attention": True}, 10 + 2 + 2 * 4 + 2 + 2 + 1),
    ],
)
def test_additions_and_joins_are_fused_away(change, expected):
    program = program_of(trained(SMALL.model_copy(update=change)))
    place = Place(torch.device("cpu"), torch.float32, 2)
    assert len(fuse(program, place)) == expected


def test_fused_operations_that_are_missing_or_wrong_are_not_used(monkeypatch):
    def missing(*_):
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute")

    def wrong(*_):
        return torch.zeros_like

    for broken in (missing, wrong):
        has_fused.cache_clear()
        monkeypatch.setattr(torch_cpu, "_convolve", broken)
        assert not has_fused(2, torch.float32)
    has_fused.cache_clear()
    monkeypatch.undo()
    assert has_fused(2, torch.float32) == FUSED


def test_values_are_let_go_after_their_last_use():
    alive = weakref.WeakSet()
    counts = []

    def make(*_):
        counts.append(len(alive))
        value = torch.zeros(1)
        alive.add(value)
        return value

    def onto(_, other):
        counts.append(len(alive))
        return other

    chain = [
        Operation(make, (0,), 1),
        Operation(make, (1,), 2),  # 1 is needed once more
        Operation(make, (2,), 3),
        Operation(onto, (1, 3), 3),
        Operation(make, (3,), 4),
        Operation(make, (4,), 5),
    ]
    Schedule(chain)(torch.zeros(1))
    assert counts == [0, 1, 2, 2, 1, 1]


def test_threads_hold_in_every_thread_of_python():
    before = torch.get_num_threads()
    run = run_torch(program_of(trained(SMALL)), "fp32", threads=1)
    found = []

    def work():
        torch.set_num_threads(2)
        run(batch(SMALL))
        found.append(torch.get_num_threads())

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    torch.set_num_threads(before)
    assert found == [1]


def test_shapes_are_prepared_when_they_come_again_and_two_are_kept():
    prepared = []

    def prepare(_, x):
        prepared.append(len(x))
        return lambda x: x + 1

    run = remember(lambda x: x + 1, prepare)
    for count in (1, 2, 1, 1, 2, 2, 3, 3, 2, 1):
        assert (run(torch.zeros(count)) == 1).all()
    assert prepared == [1, 2, 3, 1]  # 3 took the place of 1, used longest ago


def test_shapes_that_cannot_be_prepared_are_run_unprepared():
    tried = []

    def fail(_, x):
        tried.append(len(x))
        raise RuntimeError("operation not permitted when stream is capturing")

    run = remember(lambda x: x * 2, fail)
    for _ in range(4):
        assert (run(torch.ones(3)) == 2).all()
    assert tried == [3]  # once is enough


def test_a_full_device_is_one_line(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(torch_gpu.Schedule, "__call__", full)
    run = run_gpu(program_of(trained(SMALL)), "cpu", "fp32")
    with pytest.raises(InputError) as caught:
        run(batch(SMALL, 1, (16, 24)))
    assert str(caught.value) == (
        "an input of 16 × 24 pixels does not fit into the memory of cpu; use a smaller tile"
    )


def test_tf32_is_left_as_it_was():
    allowed = torch.backends.cudnn.allow_tf32
    inside = []

    def look(x):
        inside.append(torch.backends.cudnn.allow_tf32)
        return x.float()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_gpu, "translate", lambda *_: [Operation(look, (0,), 1)])
        for precision in ("fp32", "bf16"):
            run_gpu(program_of(trained(SMALL)), "cpu", precision)(batch(SMALL))
    assert inside == [False, allowed]
    assert torch.backends.cudnn.allow_tf32 == allowed


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-5), ("bf16", 0.05)])
def test_recorded_graphs_give_the_same(precision, limit):
    net = trained(SMALL)
    run = run_gpu(program_of(net), "cuda", precision)
    for seed in range(4):  # from the second on recorded
        x = batch(SMALL, 1, (32, 48), seed)
        assert difference(run(x), eager(net, x)) <= limit


def test_a_pool_takes_blocks_of_any_shape():
    x = torch.randn(2, 3, 6, 8, 12).contiguous(memory_format=torch.channels_last_3d)
    for factor in ((1, 2, 3), (3, 1, 2), (2, 4, 4)):
        result = torch_cpu._pool(Step("pool", (0,), factor=factor))(x)
        assert torch.equal(result, torch.nn.functional.max_pool3d(x, factor))
        assert result.is_contiguous(memory_format=torch.channels_last_3d)
