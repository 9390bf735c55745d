"""Windows that overlap by half and are blended, for networks of which no tile is exact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from unetkit.geometry import Footprint, Size, Slices, Tile
from unetkit.prediction.config import Floats


def windows(
    shape: Sequence[int],
    tile: Sequence[int],
    footprint: Footprint,
    within: Slices | None = None,
) -> Iterator[Tile]:
    """Give the windows that touch a part of the image, of one lattice anchored at its corner.

    Their writes are cut off at the part and overlap: the caller adds them up under `bump`. Since
    the lattice does not depend on the part, nor does the sum at any of its pixels.

    Args:
        shape: size of the image, per axis.
        tile: size of the network's input, per axis; an axis that it covers has one window.
        footprint: the network's.
        within: the part; the whole image if left out.
    """
    spans = []
    for axis, n in enumerate(shape):
        part = slice(0, n) if within is None else within[axis]
        lost = footprint.lost[axis]
        starts, size = _starts(shape, tile, footprint, axis, part)
        line = []
        for start in starts:
            low = max(start, part.start)
            high = min(start + size - 2 * lost, part.stop)
            read = slice(start - lost, start - lost + size)
            line.append((read, slice(low, high), slice(low - start, high - start)))
        spans.append(line)
    for combination in product(*spans):
        read, write, crop = zip(*combination, strict=True)
        yield Tile(read, write, crop)


def touching(
    shape: Sequence[int], tile: Sequence[int], footprint: Footprint, axis: int, part: slice
) -> int:
    """Count the windows that touch a part of one axis."""
    return len(_starts(shape, tile, footprint, axis, part)[0])


def steps(shape: Sequence[int], tile: Sequence[int], footprint: Footprint) -> Size:
    """Give the step from window to window: half of what one decides, on the network's stride."""
    return tuple(
        max(s, (min(t, w) - 2 * lost) // 2 // s * s)
        for t, w, s, lost in zip(
            tile, footprint.enclose(shape), footprint.stride, footprint.lost, strict=True
        )
    )


def _starts(
    shape: Sequence[int], tile: Sequence[int], footprint: Footprint, axis: int, part: slice
) -> tuple[range, int]:
    """Give where the windows that touch a part of one axis decide from, and the size they read."""
    step = steps(shape, tile, footprint)[axis]
    size = min(tile[axis], footprint.enclose(shape)[axis])
    out = size - 2 * footprint.lost[axis]
    count = 1 + max(0, -(-(shape[axis] - out) // step))
    first = max(0, (part.start - out) // step + 1)
    return range(first * step, min(count * step, part.stop), step), size


def bump(shape: Sequence[int]) -> Floats:
    """Weights that fall off from a window's centre like a Gaussian of an eighth of its size."""
    weight = np.ones(tuple(shape), np.float32)
    for axis, n in enumerate(shape):
        distance = (np.arange(n) - (n - 1) / 2) / (n / 8 + 1e-9)
        line = np.maximum(np.exp(-(distance**2) / 2), 1e-3).astype(np.float32)
        weight *= line.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return weight
