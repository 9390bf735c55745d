"""Sizes of the paper, legality, and tiles that cover an image exactly once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetkit.errors import InputError
from unetkit.geometry import around, cores, footprint, grid, mirror, tiles


@pytest.mark.parametrize("depth", range(1, 6))
def test_valid_convolutions_lose_what_the_formula_says(depth):
    network = footprint([(2,)] * depth, padding="valid")
    lost = 12 * 2**depth - 8
    assert network.margin == (lost // 2,)
    for size in range(network.minimum[0], network.minimum[0] + 5 * 2**depth):
        legal = (size + 4) % 2**depth == 0
        if legal:
            assert network.shrink((size,)) == (size - lost,)
        else:
            with pytest.raises(InputError, match="nearest legal"):
                network.shrink((size,))


def test_the_paper_s_sizes():
    network = footprint([(2, 2)] * 4, padding="valid")
    assert network.shrink((572, 572)) == (388, 388)
    assert network.stride == (16, 16)
    # 384, not 388: the pooling phase must not shift. And 2000 pixels need six blocks anyway.
    assert cores((2304, 10), (572, 572), network) == (384, 16)
    assert cores((2000, 10), (572, 572), network) == (336, 16)
    assert [(t.write[0].start, t.read[0]) for t in tiles((700, 10), (384, 16), network)] == [
        (0, slice(-92, 480)), (384, slice(292, 800)),
    ]  # fmt: skip


def test_an_illegal_tile_names_its_neighbours():
    with pytest.raises(InputError, match=r"tile 570 is not legal.*556 and 572"):
        cores((2000, 2000), (570, 570), footprint([(2, 2)] * 4, padding="valid"))
    with pytest.raises(InputError, match=r"tile 200 is not legal.*208"):
        cores((2000, 2000), (200, 200), footprint([(2, 2)] * 4, padding="same"))


def test_blocks_off_the_stride_are_refused():
    network = footprint([(2, 2)] * 4, padding="same")
    with pytest.raises(InputError, match=r"blocks of 200 pixels shift the pooling; .* of 16"):
        list(tiles((500, 30), (200, 200), network))
    assert len(list(tiles((500, 30), (208, 200), network))) == 3  # one block needs no stride


def test_two_blocks_need_context_on_one_side_only():
    network = footprint([(2,)] * 4, padding="same")  # overlap 96
    assert cores((896,), (544,), network) == (448,)
    reads = [tile.read[0] for tile in tiles((896,), (448,), network)]
    assert reads == [slice(0, 544), slice(352, 896)]
    assert cores((897,), (544,), network) == (304,)


factors = st.lists(st.tuples(st.sampled_from([1, 2])), min_size=1, max_size=5)


@settings(max_examples=300, deadline=None)
@given(
    factors, st.sampled_from(["valid", "same"]), st.booleans(), st.integers(1, 900),
    st.integers(0, 8), st.sampled_from([1, 32, 64]),
)  # fmt: skip
def test_every_pixel_is_written_once_from_legal_reads(
    levels, padding, linear, size, extra, multiple
):
    network = footprint(levels, padding=padding, linear=linear)
    tile = network.least_tile[0] + extra * network.stride[0]
    core = cores((size,), (tile,), network, multiple)
    count, whole = np.zeros(size, int), network.enclose((size,))[0]
    for i, one in enumerate(tiles((size,), core, network)):
        read, write, crop = one.read[0], one.write[0], one.crop[0]
        length = read.stop - read.start
        network.require((length,))
        assert length <= min(tile, whole)
        assert write == slice(i * core[0], min((i + 1) * core[0], size))  # one uniform grid
        assert read.start % network.stride[0] == -network.lost[0] % network.stride[0]
        assert write.stop - write.start == crop.stop - crop.start
        assert crop.stop <= network.shrink((length,))[0]
        assert read.start + network.lost[0] + crop.start == write.start
        if not network.valid:  # inside the padded image; context, unless the image ends there
            assert read.start >= 0
            assert read.stop <= whole
            assert crop.start >= network.margin[0] or read.start == 0
            assert length - crop.stop >= network.margin[0] or read.stop == whole
        count[write] += 1
    assert (count == 1).all()


@settings(max_examples=200, deadline=None)
@given(
    factors, st.sampled_from(["valid", "same"]), st.integers(1, 9000), st.integers(0, 60),
    st.sampled_from([1, 64]),
)  # fmt: skip
def test_few_sizes_of_tiles_and_blocks_spread_evenly(levels, padding, size, extra, multiple):
    network = footprint(levels, padding=padding)
    overlap, stride = network.overlap[0], network.stride[0]
    tile = network.fit([4 * overlap + stride * (1 + extra) + 2 * network.lost[0]])
    core = cores((size,), tile, network, multiple)[0]
    blocks = -(-size // core)
    reads = [one.read[0] for one in tiles((size,), (core,), network)]
    lengths = {read.stop - read.start for read in reads}
    assert len(lengths) <= (2 if padding == "valid" else 4)
    room = tile[0] - 2 * (network.lost[0] if network.valid else overlap)
    assert blocks <= -(-size // (room // stride * stride)) or core % 64 == 0
    if blocks > 1 and multiple == 1:  # no block is smaller than the others by more than rounding
        assert core - (size - (blocks - 1) * core) < blocks * stride


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 17), st.integers(1, 17)),
)
def test_the_grid_cuts_like_numpy(shape, core):
    image = np.arange(np.prod(shape)).reshape(shape)
    splits = [range(c, n, c) for n, c in zip(shape, core, strict=True)]
    expected = [
        part
        for band in np.split(image, splits[0], axis=0)
        for part in np.split(band, splits[1], axis=1)
    ]
    for block, part in zip(grid(shape, core), expected, strict=True):
        np.testing.assert_array_equal(image[block], part)


def test_on_a_plane_without_end_every_tile_has_context():
    network = footprint([(2,)] * 3, padding="same")
    one = around((slice(-16, 5),), network)
    overlap = network.overlap[0]
    assert one.read == (slice(-16 - overlap, 8 + overlap),)
    assert one.crop == (slice(overlap, overlap + 21),)


@given(st.integers(1, 9), st.integers(-40, 0), st.integers(1, 40))
def test_mirror_equals_numpy_s_reflection(size, start, stop):
    line = np.arange(size)
    expected = np.pad(line, (-start, max(0, stop - size)), mode="reflect")[: stop - start]
    np.testing.assert_array_equal(line[mirror(start, stop, size)], expected)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("shape", [(700, 333), (512, 900), (1000, 1000)])
def test_tiles_of_one_size_decide_the_same_blocks(padding, shape):
    """So that an engine prepares for one size; what is read beyond need changes no answer."""
    network = footprint([(2, 2)] * 3, padding=padding)
    core = cores(shape, network.enclose((256, 256)), network)
    least = list(tiles(shape, core, network))
    size = [max(t.read[a].stop - t.read[a].start for t in least) for a in range(2)]
    alike = [around(tile.write, network, shape, size) for tile in least]
    assert {tuple(r.stop - r.start for r in tile.read) for tile in alike} == {tuple(size)}
    for small, large in zip(least, alike, strict=True):
        for axis in range(2):
            inner, outer = small.read[axis], large.read[axis]
            assert outer.start <= inner.start < inner.stop <= outer.stop
            assert (outer.start - inner.start) % network.stride[axis] == 0
            at = [t.read[axis].start + t.crop[axis].start for t in (small, large)]
            assert at[0] == at[1]  # the answer lies where it lay
            whole = network.enclose(shape)[axis]
            if padding == "same":
                assert outer.start >= 0
                assert outer.stop <= whole
