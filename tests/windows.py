"""Windows of a file against all of it, for the tests of every format that is read in parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unetkit.image import Image, open_image, read_image, read_shape


def windows_agree(path: Path, generator: np.random.Generator, count: int = 12) -> Image:
    """Check header and random windows against the whole, which is given."""
    whole = read_image(path)
    assert read_shape(path) == whole.data.shape
    with open_image(path) as opened:
        assert opened.shape == whole.data.shape
        assert opened.dtype == whole.data.dtype
        assert opened.spacing == whole.spacing
        for _ in range(count):
            starts = [int(generator.integers(n)) for n in opened.shape[1:]]
            ends = zip(starts, opened.shape[1:], strict=True)
            window = tuple(slice(a, int(generator.integers(a, n)) + 1) for a, n in ends)
            part = opened.read(window)
            np.testing.assert_array_equal(part, whole.data[:, *window])
            assert part.dtype == whole.data.dtype
            assert part.flags.c_contiguous
            assert part.flags.writeable
            part[...] = 0
            np.testing.assert_array_equal(opened.read(window), whole.data[:, *window])
    return whole
