"""OpenVINO computes what PyTorch computes, sends nothing, and keeps its files whole."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from test_engines_program import program_of, roomy, trained
from unetkit.engines import openvino_cpu
from unetkit.engines.openvino_cpu import run_openvino
from unetkit.engines.openvino_graph import load_openvino, read_notes, save_openvino, to_openvino
from unetkit.engines.silence import import_openvino
from unetkit.errors import InputError
from unetkit.machine import has_bf16
from unetkit.network import NetworkConfig

pytest.importorskip("openvino")

VARIANTS = {
    "plain": {},
    "paper": {"padding": "valid", "norm": "none"},
    "skips": {"skips": "01", "classes": 1},
    "residual": {"block": "residual"},
    "residual valid": {"block": "residual", "padding": "valid"},
    "attention": {"attention": True},
    "nearest": {"upsampling": "nearest"},
    "linear": {"upsampling": "linear"},
    "linear valid": {"upsampling": "linear", "padding": "valid"},
    "instance": {"norm": "instance"},
    "group": {"norm": "group", "width": 12},
    "factors": {"strides": (3, (1, 2)), "upsampling": "linear"},
    "deep": {"depth": 5, "width": 2, "deep_supervision": True},
    "volume": {"ndim": 3},
    "volume valid": {"ndim": 3, "padding": "valid", "depth": 1, "attention": True},
    "volume linear": {"ndim": 3, "upsampling": "linear", "strides": ((1, 2, 2), 2)},
    "volume nearest": {"ndim": 3, "upsampling": "nearest", "norm": "group"},
    "volume instance": {"ndim": 3, "norm": "instance", "block": "residual"},
}
SMALL = {"ndim": 2, "channels": 2, "classes": 3, "depth": 2, "width": 8}


def network(**choices):
    return trained(NetworkConfig(**SMALL | choices))


def batch(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def eager(net, x):
    with torch.inference_mode():
        return net(torch.from_numpy(x)).numpy()


def error(computed, exact):
    """Greatest difference, as a part of the logits' own spread."""
    assert computed.shape == exact.shape
    assert computed.dtype == np.float32
    return np.abs(computed - exact).max() / exact.std()


@pytest.mark.parametrize("name", VARIANTS)
def test_fp32_is_exact(name):
    net = network(**VARIANTS[name])
    x = batch(2, 2, *roomy(net.config))
    assert error(run_openvino(program_of(net), "fp32")(x), eager(net, x)) < 1e-4


@pytest.mark.skipif(not has_bf16(), reason="this processor does not multiply bf16")
@pytest.mark.parametrize("name", ["plain", "paper", "residual", "attention", "group", "volume"])
def test_bf16_is_near(name):
    net = network(**VARIANTS[name])
    x = batch(2, 2, *roomy(net.config))
    computed, exact = run_openvino(program_of(net), "bf16")(x), eager(net, x)
    assert 1e-5 < error(computed, exact) < 0.2  # exact would mean that fp32 was computed
    assert np.mean(computed.argmax(1) == exact.argmax(1)) > 0.97


@pytest.mark.skipif(not has_bf16(), reason="this processor does not multiply bf16")
def test_the_first_convolution_stays_in_fp32(tmp_path):
    model = to_openvino(program_of(network(block="residual", padding="valid")))
    save_openvino(model, tmp_path / "model.xml")
    for one in (model, load_openvino(tmp_path / "model.xml")):
        settings = {"INFERENCE_PRECISION_HINT": "bf16"}
        compiled = import_openvino().Core().compile_model(one, "CPU", settings)
        found = {}
        for node in compiled.get_runtime_model().get_ordered_ops():
            information = {key: str(text.astype(str)) for key, text in node.get_rt_info().items()}
            if "Convolution" in information["layerType"]:
                name = information["originalLayersNames"].partition(",")[0]
                found[name] = information["runtimePrecision"]
        exact = {name for name, precision in found.items() if precision == "f32"}
        assert exact == {"conv_1", "conv_4"}  # the shortcut sees the image too, past a crop
        assert len(found) == 16


def test_any_size_after_any_other(monkeypatch):
    # 48² and more is compiled for its own size here, as 1024² and more otherwise.
    monkeypatch.setattr(openvino_cpu, "_LARGE", 48**2)
    net = network()
    run = run_openvino(program_of(net), "fp32", threads=1)
    for number, shape in enumerate(
        [(1, 32, 32), (2, 16, 24), (1, 64, 48), (1, 48, 64), (3, 32, 8)]
    ):
        x = batch(shape[0], 2, *shape[1:], seed=number)
        assert error(run(x), eager(net, x)) < 1e-4


def test_a_result_stays_and_the_input_is_kept():
    run = run_openvino(program_of(network()), "fp32")
    first, second = batch(1, 2, 16, 16), batch(1, 2, 16, 16, seed=1)
    given = first.copy()
    result = run(first)
    kept = result.copy()
    assert not np.array_equal(run(second), kept)
    np.testing.assert_array_equal(result, kept)
    np.testing.assert_array_equal(first, given)


def test_views_and_other_number_types():
    run = run_openvino(program_of(network()), "fp32")
    x = batch(1, 2, 16, 16)
    turned = np.ascontiguousarray(x.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)
    np.testing.assert_array_equal(run(turned), run(x))
    np.testing.assert_array_equal(run(x.astype(np.float64)), run(x))


def test_several_callers_at_once():
    run = run_openvino(program_of(network()), "fp32", threads=1)
    tiles = [batch(1, 2, 16, 16 + 4 * (n % 3), seed=n) for n in range(12)]
    expected = [run(tile) for tile in tiles]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(pool.map(run, tiles), expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_file_computes_the_same_and_says_what_it_is(tmp_path):
    net = network()
    model, path = to_openvino(program_of(net)), tmp_path / "new" / "model.xml"
    notes = {"card": '{"a": "é<&>\\n"}', "precision": "fp32"}
    save_openvino(model, path, notes)
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.bin", "model.xml"]
    loaded = load_openvino(path)
    assert read_notes(loaded) == notes
    assert read_notes(to_openvino(program_of(net))) == {}
    assert loaded.input(0).any_name == "image"
    assert loaded.output(0).any_name == "logits"
    assert str(loaded.input(0).partial_shape) == "[?,2,?,?]"
    x = batch(1, 2, 16, 16)
    assert error(run_openvino(loaded, "fp32")(x), eager(net, x)) < 1e-4


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path, x = tmp_path / "model.xml", batch(1, 2, 16, 16)
    old, new = to_openvino(program_of(network())), to_openvino(program_of(network(width=4)))
    save_openvino(old, path)

    def fail(*_):
        raise RuntimeError("basic_ios::clear: iostream error")

    with monkeypatch.context() as patch:
        patch.setattr(import_openvino(), "serialize", fail)
        with pytest.raises(InputError, match="cannot be written"):
            save_openvino(new, path)
    expected = run_openvino(old, "fp32")(x)
    np.testing.assert_array_equal(run_openvino(load_openvino(path), "fp32")(x), expected)
    save_openvino(new, path)
    assert not np.allclose(run_openvino(load_openvino(path), "fp32")(x), expected)
    assert len(list(tmp_path.iterdir())) == 2


def test_files_that_are_none(tmp_path):
    path = tmp_path / "model.xml"
    model = to_openvino(program_of(network()))
    with pytest.raises(InputError, match="no such file"):
        load_openvino(path)
    with pytest.raises(InputError, match=r"\.xml file"):
        save_openvino(model, tmp_path / "model.bin")
    save_openvino(model, path)
    weights = path.with_suffix(".bin")
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="readable"):
        load_openvino(path)
    weights.unlink()
    with pytest.raises(InputError, match=r"model\.bin: no such file"):
        load_openvino(path)
    path.write_text("<net", encoding="utf-8")
    weights.write_bytes(content)
    with pytest.raises(InputError, match="readable") as caught:
        load_openvino(path)
    assert "\n" not in str(caught.value)


def test_without_openvino(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match=r"needs openvino; pip install 'unetkit\[fast\]'"):
        to_openvino(program_of(network()))


def test_the_reporter_of_someone_else_stays(monkeypatch):
    theirs = object()
    monkeypatch.setitem(sys.modules, "openvino_telemetry", theirs)
    import_openvino()
    assert sys.modules["openvino_telemetry"] is theirs


QUIET = """
import sys, threading

def watch(event, _):
    if event.startswith(("socket.", "subprocess.", "os.posix_spawn", "os.fork", "webbrowser.")):
        raise SystemExit(f"{event} was tried")

sys.addaudithook(watch)
threading.excepthook = lambda failure: sys.exit(9)
import numpy as np
from unetkit.engines import fold
from unetkit.engines.openvino_cpu import run_openvino
from unetkit.engines.openvino_graph import load_openvino, save_openvino, to_openvino
from unetkit.network.config import NetworkConfig

stored = np.load(sys.argv[1])
program = fold(NetworkConfig.model_validate_json(sys.argv[2]), stored)
model = to_openvino(program)
save_openvino(model, sys.argv[3])
run_openvino(load_openvino(sys.argv[3]), "bf16")(np.zeros((1, 2, 16, 16), np.float32))
names = [thread.name for thread in threading.enumerate()]
assert names == ["MainThread"], names
heavy = {"torch", "scipy", "skimage", "pandas", "matplotlib", "openvino_telemetry"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
print("quiet")
"""


def test_nothing_is_sent_and_pytorch_is_not_imported(tmp_path):
    net = network()
    stored = tmp_path / "weights.npz"
    np.savez(stored, **{name: value.numpy() for name, value in net.state_dict().items()})
    arguments = [str(stored), net.config.model_dump_json(), str(tmp_path / "model.xml")]
    command = [sys.executable, "-c", QUIET, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout == "quiet\n", done.stdout + done.stderr
    assert done.stderr == ""
