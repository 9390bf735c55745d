"""A streamed prediction equals the one in memory, fits its plan, and stops cleanly."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from unetkit.errors import InputError
from unetkit.geometry import Footprint, footprint
from unetkit.prediction import Cost, plan, predict, state_cost, stream

FLAT = footprint([(2, 2)] * 2, padding="same")
SOLID = footprint([(1, 2, 2), (2, 2, 2)], padding="same")
BLENDED = footprint([(2, 2)] * 2, padding="same", exact=False)
VALID = footprint([(2, 2)] * 2, padding="valid")
CHEAP = Cost(activations=8)


def expected_cost(width, outputs, ndim=2):
    """Six maps of the first level in fp32, and the logits thrice."""
    pixels = 2048**2 if ndim == 2 else 192**3
    return Cost(24 * max(width, 8) + 4 * (3 * outputs + 1), pixels=pixels)


def network(print_: Footprint, outputs=2):
    """Give probabilities that depend on the neighbours, and on the mean where tiles are blended."""

    def forward(batch):
        lost = print_.lost
        near = sum(
            np.roll(batch, shift, axis) for axis in range(2, batch.ndim) for shift in (-1, 1)
        )
        near = near + batch[:, :1] - (0 if print_.exact else batch.mean())
        near = near[(..., *(slice(n, -n or None) for n in lost))]
        p = 1 / (1 + np.exp(-near[:, :1], dtype=np.float32))
        return np.concatenate([1 - p, p] if outputs == 2 else [p] * outputs, axis=1)

    return forward


def image(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 5, shape).astype(np.uint8)


class Sink:
    """Somewhere to write to, that remembers how."""

    def __init__(self, space, **channels):
        self.arrays = {name: np.full((k, *space), -1, np.float32) for name, k in channels.items()}
        self.windows, self.slabs = [], []

    def write(self, window, pieces):
        for name, piece in pieces.items():
            assert (self.arrays[name][(slice(None), *window)] == -1).all(), "written twice"
            self.arrays[name][(slice(None), *window)] = piece
        self.windows.append(window)


def keep(probabilities, spread):
    return {"p": probabilities} if spread is None else {"p": probabilities, "s": spread}


def run(forward, pixels, one, **choices):
    space = pixels.shape[1:]

    def read(window):
        assert all(0 <= part.start < part.stop <= n for part, n in zip(window, space, strict=True))
        return np.asarray(pixels[(slice(None), *window)])

    sink = Sink(pixels.shape[1:], p=one.outputs, s=1)
    stream(forward, read, sink.write, one, finish=keep, on_slab=sink.slabs.append, **choices)
    return sink


def planned(pixels, print_, **choices):
    choices = {"cost": CHEAP, "tile": [n + 8 for n in print_.least_tile], **choices}
    return plan(pixels.shape[1:], len(pixels), pixels.itemsize, 2, print_, **choices)


@settings(max_examples=25, deadline=None)
@given(
    which=st.sampled_from([FLAT, VALID, BLENDED]),
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    tta=st.sampled_from(["none", "none", "flips", "rotations"]),
)
def test_streamed_equals_in_memory_to_the_bit_2d(which, height, width, tta):
    pixels = image(2, height, width)
    one = planned(pixels, which, tta=tta)
    tile = [n + 8 for n in which.least_tile]
    whole = predict(network(which), pixels, which, tile=tile, tta=tta)
    sink = run(network(which), pixels, one)
    np.testing.assert_array_equal(sink.arrays["p"], whole)
    assert sink.slabs == list(range(len(one.slabs)))
    assert len(sink.windows) == np.prod(
        [-(-n // c) for n, c in zip(one.space, one.core, strict=True)]
    )


@pytest.mark.parametrize("exact", [True, False])
def test_streamed_equals_in_memory_to_the_bit_3d(exact):
    print_ = SOLID if exact else footprint([(1, 2, 2), (2, 2, 2)], padding="same", exact=False)
    pixels = image(1, *((30, 56, 50) if exact else (120, 40, 33)))
    one = planned(pixels, print_, tile=print_.least_tile, multiple=4)
    assert len(one.slabs) > 1
    assert one.blend is not exact
    whole = predict(network(print_), pixels, print_, tile=print_.least_tile)
    np.testing.assert_array_equal(run(network(print_), pixels, one).arrays["p"], whole)


def test_from_zarr_into_a_file_on_disk(tmp_path):
    source = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=(1, 200, 150), chunks=(1, 32, 32), dtype="uint8"
    )
    source[:] = image(1, 200, 150)
    one = planned(source[:], FLAT)
    sink = np.memmap(tmp_path / "out.raw", np.float32, "w+", shape=(2, 200, 150))

    def write(window, pieces):
        sink[(slice(None), *window)] = pieces["p"]

    stream(network(FLAT), lambda w: source[(slice(None), *w)], write, one, finish=keep)
    whole = predict(network(FLAT), source[:], FLAT, tile=[n + 8 for n in FLAT.least_tile])
    np.testing.assert_array_equal(sink, whole)


@pytest.mark.parametrize("which", [FLAT, BLENDED])
def test_slabs_do_not_depend_on_each_other(which):
    pixels = image(1, 400 if which.exact else 1000, 130)
    one = planned(pixels, which, multiple=4, tta="flips")
    assert len(one.slabs) >= 4
    whole = run(network(which), pixels, one).arrays["p"]
    sink = Sink(one.space, p=2)
    for slab in reversed(one.slabs):  # each by itself, as on a cluster
        stream(
            network(which), lambda w: pixels[(slice(None), *w)], sink.write, one,
            finish=keep, slabs=[slab.index], on_slab=sink.slabs.append,
        )  # fmt: skip
    np.testing.assert_array_equal(sink.arrays["p"], whole)
    assert sink.slabs == [slab.index for slab in reversed(one.slabs)]


def test_what_is_done_is_left_out():
    pixels = image(1, 400, 130)
    one = planned(pixels, FLAT, multiple=4)
    whole, seen = run(network(FLAT), pixels, one), []
    sink = run(network(FLAT), pixels, one, done={0, 2}, progress=lambda *n: seen.append(n))
    assert sink.slabs == [i for i in range(len(one.slabs)) if i not in (0, 2)]
    for slab in one.slabs:
        here = (slice(None), *slab.window)
        expected = -1 if slab.index in (0, 2) else whole.arrays["p"][here]
        np.testing.assert_array_equal(sink.arrays["p"][here], np.broadcast_to(
            expected, sink.arrays["p"][here].shape
        ))  # fmt: skip
    assert seen == [(i + 1, len(seen)) for i in range(len(seen))]
    assert run(network(FLAT), pixels, one, done=range(len(one.slabs))).windows == []


# -- three stages at once


def slow(seconds, what=lambda *_: None):
    def work(*arguments):
        time.sleep(seconds)
        return what(*arguments)

    return work


def test_reading_computing_and_writing_overlap():
    pixels = image(1, 24 * 16, 16)
    one = plan(pixels.shape[1:], 1, 1, 2, FLAT, cost=CHEAP, tile=(16 + 48, 16), multiple=4)
    groups = [group for slab in one.slabs for group in slab.groups]
    begun = time.perf_counter()
    stream(
        slow(0.03, network(FLAT)), slow(0.03, lambda w: pixels[(slice(None), *w)]), slow(0.03),
        one, finish=keep,
    )  # fmt: skip
    taken = time.perf_counter() - begun
    assert len(groups) >= 16
    assert taken < 0.6 * 0.09 * len(groups), "one after the other takes 0.09 s a group"


def test_no_more_is_held_than_the_plan_counts():
    pixels = image(1, 24 * 16, 16)
    one = plan(pixels.shape[1:], 1, 1, 2, FLAT, cost=CHEAP, tile=(16 + 48, 16), multiple=4)
    held, most, lock = [0, 0], [0, 0], threading.Lock()

    def count(which, change):
        with lock:
            held[which] += change
            most[which] = max(most[which], held[which])

    def read(window):
        count(0, 1)
        return pixels[(slice(None), *window)]

    def finish(p, _):
        count(1, 1)
        return {"p": p}

    def write(*_):
        time.sleep(0.01)
        count(1, -1)

    def forward(batch):
        time.sleep(0.005)
        answer = network(FLAT)(batch)
        count(0, -1)  # each group has one tile here
        return answer

    stream(forward, read, write, one, finish=finish)
    assert most[0] <= 2
    assert most[1] <= 2


class BrokenError(Exception):
    pass


def breaks(after, what):
    calls = []

    def work(*arguments):
        calls.append(1)
        if len(calls) > after:
            raise BrokenError("no luck")
        return what(*arguments)

    return work


@pytest.mark.parametrize("which", ["read", "forward", "write", "finish", "on_slab", "progress"])
@pytest.mark.parametrize("after", [0, 2])
def test_what_fails_stops_everything_and_is_raised(which, after):
    pixels = image(1, 400, 40)
    one = planned(pixels, FLAT, multiple=4)
    sink = Sink(one.space, p=2)
    parts = {
        "forward": network(FLAT), "read": lambda w: pixels[(slice(None), *w)],
        "write": sink.write, "finish": keep, "on_slab": sink.slabs.append, "progress": lambda *_: 0,
    }  # fmt: skip
    parts[which] = breaks(after, parts[which])
    before = threading.active_count()
    with pytest.raises(BrokenError, match="no luck"):
        stream(parts.pop("forward"), parts.pop("read"), parts.pop("write"), one, **parts)
    assert threading.active_count() == before
    assert len(sink.slabs) < len(one.slabs)


def test_an_input_error_of_the_reader_is_the_user_s():
    def read(_):
        raise InputError("ends early", where="a.tif")

    one = planned(image(1, 99, 99), FLAT)
    with pytest.raises(InputError, match=r"a\.tif: ends early"):
        stream(network(FLAT), read, lambda *_: None, one, finish=keep)


@pytest.fixture
def interruptible():
    """Ctrl-C counts, even in a job that a shell put into the background and made deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_leaves_no_thread_behind():
    pixels = image(1, 4000, 40)
    one = planned(pixels, FLAT, multiple=4)
    before = threading.active_count()
    timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        run(slow(0.02, network(FLAT)), pixels, one)
    timer.join()
    assert threading.active_count() == before


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_while_waiting_for_a_slow_disk():
    pixels = image(1, 4000, 40)
    one = planned(pixels, FLAT, multiple=4)
    timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        stream(network(FLAT), lambda w: pixels[(slice(None), *w)], slow(0.1), one, finish=keep)
    timer.join()


# -- messages


def test_a_network_that_does_not_fit_the_plan():
    pixels = image(1, 99, 99)
    one = planned(pixels, FLAT)
    with pytest.raises(InputError, match="gives 3 channels, the plan has 2"):
        run(network(FLAT, outputs=3), pixels, one)
    with pytest.raises(InputError, match=r"gives an output of \(1, 1, 10, 10\) for an input"):
        run(lambda _: np.zeros((1, 1, 10, 10), np.float32), pixels, one)
    with pytest.raises(InputError, match="the plan is for 1 networks, not 2"):
        run([network(FLAT)] * 2, pixels, one)
    two = planned(pixels, FLAT, members=2)
    with pytest.raises(InputError, match="one gives 2 channels, another 3; combine models"):
        run([network(FLAT), network(FLAT, outputs=3)], pixels, two)
    with pytest.raises(InputError, match=r"there is no slab 9; 0 to \d are"):
        run(network(FLAT), pixels, one, slabs=[9])


def test_an_image_that_changed_under_the_plan():
    pixels = image(1, 99, 99)
    with pytest.raises(InputError, match=r"1x\d+x50 pixels were read where the image should have"):
        stream(
            network(FLAT), lambda w: pixels[:, w[0], :50], lambda *_: None,
            planned(pixels, FLAT), finish=keep,
        )  # fmt: skip


def test_an_image_without_pixels():
    with pytest.raises(InputError, match="no pixels"):
        plan((0, 5), 1, 1, 2, FLAT, cost=CHEAP)
    with pytest.raises(InputError, match="no pixels"):
        predict(network(FLAT), np.zeros((1, 5, 0), np.float32), FLAT, tile=(64, 64))


def test_too_little_memory_names_how_much_would_do():
    deep = footprint([(2, 2)] * 5, padding="same")
    cost = expected_cost(64, 2)
    with pytest.raises(
        InputError, match=r"prediction needs 0\.\d GB, 0.5 GB are.*--max-memory 0"
    ) as error:
        plan((30000, 30000), 3, 1, 2, deep, cost=cost, memory=530_000_000, base=500_000_000)
    with pytest.raises(
        InputError, match=r"needs (\d\.\d) GB, .*--max-memory \1 or a smaller --tile"
    ):
        plan((9000, 9000), 3, 1, 2, deep, cost=cost, memory=10**9, tile=(2048, 2048))
    enough = float(error.value.cure.split()[-1])
    plan((30000, 30000), 3, 1, 2, deep, cost=cost, memory=int(enough * 1e9), base=500_000_000)


# -- plans


@settings(max_examples=25, deadline=None)
@given(
    depth=st.integers(1, 5),
    padding=st.sampled_from(["valid", "same"]),
    exact=st.booleans(),
    space=st.tuples(st.integers(1, 12_000), st.integers(1, 30_000)),
    megabytes=st.sampled_from([400, 1000, 4000]),
    tta=st.sampled_from(["none", "flips", "rotations", "paper"]),
)
def test_plans_keep_what_they_promise(depth, padding, exact, space, megabytes, tta):
    print_ = footprint([(2, 2)] * depth, padding=padding, exact=exact)
    cost = expected_cost(16, 2)
    one = plan(space, 3, 1, 2, print_, cost=cost, memory=megabytes * 10**6, tta=tta)
    assert one.bytes <= megabytes * 10**6
    assert sum(np.prod([p.stop - p.start for p in s.window]) for s in one.slabs) == np.prod(space)
    for slab in one.slabs[:2]:
        assert slab.window[0].start == slab.index * one.core[0]
        assert slab.window[1] == slice(0, space[1])
        groups = list(slab.groups)
        assert slab.tiles == sum(len(group.tiles) for group in groups)
        blocks = [block for group in groups for block in group.blocks]
        assert [b[1].start for b in blocks] == list(range(0, space[1], one.core[1]))
        for group in groups:
            for tile in group.tiles:
                print_.require([part.stop - part.start for part in tile.read])
    if one.blend:
        assert not exact


@settings(max_examples=60, deadline=None)
@given(
    depth=st.integers(1, 4),
    padding=st.sampled_from(["valid", "same"]),
    exact=st.booleans(),
    space=st.tuples(st.integers(1, 9000), st.integers(1, 3000)),
    memory=st.tuples(st.integers(60, 900), st.integers(60, 900)),
    tta=st.sampled_from(["none", "rotations"]),
)
def test_a_plan_can_be_repeated_under_another_memory(depth, padding, exact, space, memory, tta):
    """As another machine of a cluster does, or a run that goes on tomorrow."""
    print_ = footprint([(2, 2)] * depth, padding=padding, exact=exact)
    choices = {"cost": Cost(60), "tta": tta}
    megabytes = [10**6 * n for n in memory]
    try:
        one = plan(space, 1, 1, 2, print_, memory=megabytes[0], **choices)
        two = plan(
            space, 1, 1, 2, print_, memory=megabytes[1], tile=one.tile, core=one.core,
            blend=one.blend, **choices,
        )  # fmt: skip
    except InputError as error:
        assert "GB" in str(error)  # noqa: PT017
        return
    assert (two.core, two.tile, two.blend) == (one.core, one.tile, one.blend)
    assert [slab.window for slab in two.slabs] == [slab.window for slab in one.slabs]
    if not one.blend:  # then its tile alone says as much
        three = plan(space, 1, 1, 2, print_, tile=one.tile, blend=False, **choices)
        assert three.core == one.core


@pytest.mark.parametrize("which", [FLAT, BLENDED])
def test_how_much_is_read_at_once_changes_no_bit(which):
    pixels = image(1, 300, 900)
    one = planned(pixels, which, multiple=4)
    repeat = {"tile": one.tile, "core": one.core, "blend": one.blend}
    room, others = one.bytes, []
    while not others or len(list(others[-1].slabs[0].groups)) < 3:
        room -= 10**4
        others.append(planned(pixels, which, memory=room, **repeat))
    assert len(list(one.slabs[0].groups)) == 1
    whole = run(network(which), pixels, one).arrays["p"]
    again = run(network(which), pixels, others[-1]).arrays["p"]
    np.testing.assert_array_equal(again, whole)


def test_exact_networks_are_blended_where_exact_tiles_would_not_fit():
    deep = footprint([(2, 2, 2)] * 4, padding="same")  # a margin of 94 voxels on each side
    cost = expected_cost(16, 2, ndim=3)
    choices = {"cost": cost, "memory": 2 * 10**9}
    one = plan((600, 500, 500), 1, 2, 2, deep, **choices)
    assert one.blend
    assert not one.footprint.exact
    with pytest.raises(InputError, match=r"prediction needs \d\.\d GB, 2\.0 GB are allowed"):
        plan((600, 500, 500), 1, 2, 2, deep, blend=False, **choices)
    small = plan((60, 70, 80), 1, 2, 2, deep, **choices)
    assert not small.blend
    flat = plan((600, 500), 1, 2, 2, FLAT, cost=CHEAP, blend=True, tile=(96, 96))
    assert flat.blend


def test_more_memory_means_less_work_and_never_a_tile_beyond_the_cap():
    print_ = footprint([(2, 2)] * 4, padding="same")
    cost = expected_cost(32, 2)
    shares = []
    for memory in (0.5e9, 1e9, 2e9, 8e9, 64e9):
        one = plan((30_000, 30_000), 3, 1, 2, print_, cost=cost, memory=int(memory))
        assert np.prod(one.tile) <= cost.pixels
        assert all(c % 64 == 0 for c in one.core)
        shares.append(np.prod([(c + 192) / c for c in one.core]))
    assert sorted(shares, reverse=True) == shares
    assert shares[-1] < 1.25


def test_a_small_image_is_one_tile():
    one = plan((512, 512), 3, 1, 2, FLAT, cost=expected_cost(64, 2), memory=4 * 10**9)
    assert one.tile == (512, 512)
    assert len(one.slabs) == 1
    assert state_cost(one) == "1 pass over the image"


def test_volumes_fit_too():
    for depth in (2, 3, 4):
        for exact in (True, False):
            print_ = footprint([(2, 2, 2)] * depth, padding="same", exact=exact)
            cost = expected_cost(16, 2, ndim=3)
            one = plan((1000,) * 3, 1, 2, 2, print_, cost=cost, memory=2 * 10**9, stored=1)
            assert one.bytes <= 2 * 10**9
            assert one.blend == (depth == 4 or not exact)
            assert all(c % 32 == 0 for c in one.core)


MEASURE = """
import sys, re
import numpy as np
from unetkit.geometry import footprint
from unetkit.prediction import Cost, plan, stream
assert not any(name in sys.modules for name in ("torch", "scipy", "skimage", "pandas"))
def memory(key):
    return int(re.search(key + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
kind, tta, spread = sys.argv[1], sys.argv[2], sys.argv[3] == "spread"
print_ = footprint([(2, 2)] * 4, padding="same", exact=kind == "exact")
def forward(batch):  # allocates what it says: 40 bytes per pixel
    maps = np.ones((6, *batch.shape[2:]), np.float32)
    return np.stack([batch[:, 0] * 0 + 0.25, maps[:1] * 0.75], axis=1)
def read(window):
    return np.ones((3, *(part.stop - part.start for part in window)), np.uint8)
def finish(p, s):
    return {"labels": p.argmax(0)[None].astype(np.uint8), "p": p, **({} if s is None else {"s": s})}
seen = [0]
def write(window, pieces):
    seen[0] += pieces["labels"].size
tiny = plan((200, 200), 3, 1, 2, print_, cost=Cost(40), tta=tta, spread=spread)
stream(forward, read, write, tiny, finish=finish)  # what is loaded at first use counts as base
base, wide = memory("VmRSS"), 7000 if tta != "paper" else 2000
one = plan((5000, wide), 3, 1, 2, print_, cost=Cost(40), memory=base + 250_000_000, base=base,
           tta=tta, spread=spread)
stream(forward, read, write, one, finish=finish, slabs=range(min(int(sys.argv[4]), len(one.slabs))))
print(memory("VmHWM") - base, one.bytes, seen[0], one.tile, one.core)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("kind", "tta", "spread", "slabs"),
    [("exact", "none", "", 4), ("exact", "flips", "spread", 2), ("blended", "none", "spread", 2),
     ("exact", "paper", "", 1)],
)  # fmt: skip
def test_the_peak_stays_below_the_plan(kind, tta, spread, slabs):
    """Measured from outside: 105 MB of pixels, 280 MB of probabilities, in less than 250 MB."""
    answer = subprocess.run(
        [sys.executable, "-c", MEASURE, kind, tta, spread, str(slabs)],
        capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    ).stdout  # fmt: skip
    peak, planned_bytes, pixels = map(int, answer.split()[:3])
    assert peak <= planned_bytes <= 250_000_000, answer
    assert pixels > 10**6
