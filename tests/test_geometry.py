"""Sizes of the paper, legality, and tiles that cover an image exactly once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetkit.errors import InputError
from unetkit.geometry import footprint, mirror, tiles, windows


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
    assert [t.write[0].start for t in tiles((2000, 10), (572, 572), network)] == [
        0, 384, 768, 1152, 1536, 1920,
    ]  # fmt: skip


def test_an_illegal_tile_names_its_neighbours():
    with pytest.raises(InputError, match=r"tile 570 is not legal.*556 and 572"):
        list(tiles((2000, 2000), (570, 570), footprint([(2, 2)] * 4, padding="valid")))
    with pytest.raises(InputError, match=r"tile 200 is not legal.*208"):
        list(tiles((2000, 2000), (200, 200), footprint([(2, 2)] * 4, padding="same")))


factors = st.lists(st.tuples(st.sampled_from([1, 2])), min_size=1, max_size=5)


@settings(max_examples=200, deadline=None)
@given(factors, st.sampled_from(["valid", "same"]), st.booleans(), st.integers(1, 700), st.data())
def test_every_pixel_is_written_once_from_legal_reads(levels, padding, linear, size, data):
    network = footprint(levels, padding=padding, linear=linear)
    extra = data.draw(st.integers(0, 5))
    tile = network.least_tile[0] + extra * network.stride[0]
    count = np.zeros(size, int)
    for one in tiles((size,), (tile,), network):
        read, write, crop = one.read[0], one.write[0], one.crop[0]
        length = read.stop - read.start
        network.require((length,))
        assert read.start % network.stride[0] == -network.lost[0] % network.stride[0]
        assert write.stop - write.start == crop.stop - crop.start
        assert crop.stop <= network.shrink((length,))[0]
        assert read.start + network.lost[0] + crop.start == write.start
        if not network.valid:  # context on both sides, unless the image ends there
            assert crop.start >= network.margin[0] or read.start == 0
            assert length - crop.stop >= network.margin[0] or read.stop >= size
        count[write] += 1
    assert (count == 1).all()


@given(st.integers(1, 300), st.integers(0, 4))
def test_windows_cover_every_pixel(size, extra):
    network = footprint([(2,)] * 2, padding="same", exact=False)
    count = np.zeros(size, int)
    for one in windows((size,), (network.least_tile[0] + 4 * extra,), network):
        count[one.write] += 1
    assert (count >= 1).all()


@given(st.integers(1, 9), st.integers(-40, 0), st.integers(1, 40))
def test_mirror_equals_numpy_s_reflection(size, start, stop):
    line = np.arange(size)
    expected = np.pad(line, (-start, max(0, stop - size)), mode="reflect")[: stop - start]
    np.testing.assert_array_equal(line[mirror(start, stop, size)], expected)
