"""Integer arithmetic of sizes: which inputs are legal, what comes out, and how tiles meet.

Everything here follows from one picture of the network: per level two 3×3 convolutions, a pooling
by the level's factor, and the way back up. Sizes, margins and tiles are plain integers per axis;
no tensor is touched. Two facts carry the rest of the house:

* a tile's start must be a multiple of the product of all pooling factors (the *stride*), or the
  pooling phase shifts and the tile disagrees with the whole image;
* a pixel's prediction depends on no input further away than the *margin*.

So tiles that start on the stride and overlap by the margin reproduce the whole-image prediction to
float rounding, with no blending.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import InputError

Size = tuple[int, ...]
Slices = tuple[slice, ...]

REACH = 2  # pixels that two 3×3 convolutions look to each side


@dataclass(frozen=True)
class Footprint:
    """What a network asks of its input and does to its size, per axis.

    Attributes:
        stride: product of the pooling factors; tiles start on multiples of it.
        margin: pixels of context a prediction needs on each side. With valid convolutions this is
            also what the output is smaller by, on each side.
        residue: a legal input is `residue` modulo `stride` (0 for same padding).
        minimum: the smallest legal input.
        valid: True if the convolutions are unpadded.
        exact: False if a normalisation looks at the whole input (instance, group), so that a tile
            and the whole image disagree whatever the margin.
    """

    stride: Size
    margin: Size
    residue: Size
    minimum: Size
    valid: bool
    exact: bool = True

    def fit(self, size: Sequence[int]) -> Size:
        """Give the smallest legal input that is at least `size` on every axis."""
        return tuple(self._fit(n, axis) for axis, n in enumerate(size))

    def enclose(self, size: Sequence[int]) -> Size:
        """Give the smallest legal input whose output is at least `size` on every axis."""
        return self.fit([n + 2 * m for n, m in zip(size, self.lost, strict=True)])

    def shrink(self, size: Sequence[int]) -> Size:
        """Give the output size of a legal input.

        Raises:
            InputError: the size is not legal; names the nearest legal ones.
        """
        self.require(size)
        return tuple(n - 2 * m for n, m in zip(size, self.lost, strict=True))

    @property
    def lost(self) -> Size:
        """Pixels by which the output is smaller on each side: the margin, or 0 if padded."""
        return self.margin if self.valid else tuple(0 for _ in self.margin)

    @property
    def overlap(self) -> Size:
        """The margin, rounded up to the stride: what two padded tiles must share on each side."""
        return tuple(-(-m // s) * s for m, s in zip(self.margin, self.stride, strict=True))

    @property
    def least_tile(self) -> Size:
        """The smallest tile that decides at least one stride of pixels beside its context."""
        if self.valid:
            return self.enclose(self.stride)
        return tuple(2 * o + s for o, s in zip(self.overlap, self.stride, strict=True))

    def require(self, size: Sequence[int]) -> None:
        """Refuse an input size that is not legal.

        Raises:
            InputError: some axis is not legal; names its nearest legal neighbours.
        """
        for axis, n in enumerate(size):
            self._require(n, axis, self.minimum[axis], "input size")

    def require_tile(self, tile: Sequence[int], shape: Sequence[int] | None = None) -> None:
        """Refuse a tile that breaks the pooling phase or leaves nothing beside its context.

        Args:
            tile: size of the network's input, per axis.
            shape: size of the image; an axis that the tile covers whole is always legal.

        Raises:
            InputError: some axis is not legal; names its nearest legal neighbours.
        """
        whole = self.enclose(shape) if shape is not None else None
        for axis, n in enumerate(tile):
            if whole is None or n < whole[axis]:
                self._require(n, axis, self.least_tile[axis], "tile")

    def _fit(self, n: int, axis: int) -> int:
        return max(n + (self.residue[axis] - n) % self.stride[axis], self.minimum[axis])

    def _require(self, n: int, axis: int, least: int, what: str) -> None:
        stride, residue = self.stride[axis], self.residue[axis]
        if n >= least and (n - residue) % stride == 0:
            return
        above = max(n + (residue - n) % stride, least)
        legal = f"{above - stride} and {above}" if above - stride >= least else f"{above}"
        raise InputError(
            f"{what} {n} is not legal for this network", cure=f"the nearest legal: {legal}"
        )


@dataclass(frozen=True)
class Tile:
    """One block of a tiled prediction.

    Attributes:
        read: where the network's input lies, in pixels of the image; may reach outside, where the
            image is continued by mirroring.
        write: the part of the image this tile decides. All writes together cover it exactly once.
        crop: the same part, in pixels of the network's output.
    """

    read: Slices
    write: Slices
    crop: Slices


def footprint(
    factors: Sequence[Sequence[int]],
    *,
    padding: Literal["valid", "same"],
    linear: bool = False,
    exact: bool = True,
) -> Footprint:
    """Derive the footprint of a U-Net from its pooling factors.

    Args:
        factors: per level, nearest the input first, the pooling factor of each axis.
        padding: "valid" for the 2015 paper's unpadded convolutions, else "same".
        linear: upsampling interpolates linearly, which looks one pixel further on each level.
        exact: no normalisation over the whole input.

    Example:
        >>> paper = footprint([(2, 2)] * 4, padding="valid")
        >>> paper.shrink((572, 572)), paper.margin, paper.stride
        ((388, 388), (92, 92), (16, 16))
    """
    axes = [
        _axis(list(column), padding == "valid", linear) for column in zip(*factors, strict=True)
    ]
    stride, margin, residue, minimum = zip(*axes, strict=True)
    return Footprint(stride, margin, residue, minimum, padding == "valid", exact)


def cores(
    shape: Sequence[int], tile: Sequence[int], footprint: Footprint, multiple: int = 1
) -> Size:
    """Give the size of the blocks that tiles of at most `tile` decide, evenly spread.

    Two blocks share an axis where each can lie against one end of the image; where there are more,
    the inner ones need context on both sides. One block decides an axis that the tile covers.

    Args:
        shape: size of the image, per axis.
        tile: size of the network's input, per axis; an axis may exceed the image.
        footprint: the network's.
        multiple: round to multiples of this number too, so that blocks are whole chunks of a file;
            given up on an axis whose tile is too small for it.

    Raises:
        InputError: the tile is not legal for this network.
    """
    footprint.require_tile(tile, shape)
    whole = footprint.enclose(shape)
    result = []
    for axis, (n, t, w) in enumerate(zip(shape, tile, whole, strict=True)):
        stride, overlap = footprint.stride[axis], footprint.overlap[axis]
        unit = math.lcm(stride, multiple)
        if t >= w:
            result.append(-(-n // unit) * unit)
            continue
        room = t - 2 * footprint.lost[axis] if footprint.valid else t - 2 * overlap
        both = room if footprint.valid else t - overlap
        unit = unit if room >= unit else stride
        largest = both // unit * unit
        if 2 * largest < n:
            largest = room // unit * unit
        even = -(-n // -(-n // largest))
        result.append(-(-even // unit) * unit)
    return tuple(result)


def tiles(shape: Sequence[int], core: Sequence[int], footprint: Footprint) -> Iterator[Tile]:
    """Cut an image into tiles whose predictions join without a seam.

    Their writes lie on one uniform grid: block i of an axis is `[i·core, (i+1)·core)`, cut off at
    the image's end. So any block can be predicted alone, and blocks can be chunks of a file.

    Args:
        shape: size of the image, per axis.
        core: size of a block, per axis; a multiple of the stride, or at least the image's size.
        footprint: the network's.

    Raises:
        InputError: a block would start off the stride.
    """
    for n, c, stride in zip(shape, core, footprint.stride, strict=True):
        if c < 1 or (c < n and c % stride):
            raise InputError(
                f"blocks of {c} pixels shift the pooling",
                cure=f"use a multiple of {stride}",
            )
    for write in grid(shape, core):
        yield around(write, footprint, shape)


def grid(shape: Sequence[int], core: Sequence[int]) -> Iterator[Slices]:
    """Give the blocks of a uniform grid in the order of the axes, the last one running fastest."""
    yield from product(
        *(
            [slice(start, min(start + c, n)) for start in range(0, n, c)]
            for n, c in zip(shape, core, strict=True)
        )
    )


def around(
    write: Slices,
    footprint: Footprint,
    shape: Sequence[int] | None = None,
    size: Sequence[int] | None = None,
) -> Tile:
    """Give the tile that decides `write`: what the network must read, and where the answer lies.

    With same padding a tile ends where the image does (in its smallest legal size), so that the
    network's zeros fall where one pass over the whole image has them. Tiles at the border are
    therefore smaller than inner ones, unless a size is given.

    Args:
        write: part of the image; its starts are multiples of the stride.
        footprint: the network's.
        shape: size of the image; left out for a plane without an end.
        size: legal size of all tiles. Smaller ones read more of the image, so that an engine meets
            one size only, for which it prepares once.
    """
    read, crop, overlap = [], [], footprint.overlap
    for axis, part in enumerate(write):
        if footprint.valid:
            start = part.start - footprint.lost[axis]
            shift = part.start
            stop = start + footprint._fit(part.stop - start + footprint.lost[axis], axis)
            stop = stop if size is None else max(stop, start + size[axis])
        else:
            start = part.start - overlap[axis]
            stop = part.start + footprint._fit(part.stop - part.start, axis)
            stop += overlap[axis]
            if shape is not None:
                whole = footprint._fit(shape[axis], axis)
                start, stop = max(0, start), min(stop, whole)
                if size is not None:
                    stop = min(whole, max(stop, start + size[axis]))
                    start = max(0, min(start, stop - size[axis]))
            shift = start
        read.append(slice(start, stop))
        crop.append(slice(part.start - shift, part.stop - shift))
    return Tile(tuple(read), write, tuple(crop))


def mirror(start: int, stop: int, size: int) -> NDArray[np.intp]:
    """Give the indices that read `[start, stop)` of an axis continued by mirroring at its ends.

    The border pixel is not repeated, and the mirrored image is itself mirrored again, so any
    distance outside is legal.

    Example:
        >>> mirror(-2, 5, 3).tolist()
        [2, 1, 0, 1, 2, 1, 0]
    """
    index = np.arange(start, stop)
    if size == 1:
        return np.zeros_like(index)
    index = np.abs(index) % (2 * (size - 1))
    return np.where(index < size, index, 2 * (size - 1) - index)


def _axis(factors: list[int], valid: bool, linear: bool) -> tuple[int, int, int, int]:
    """Stride, margin, residue and smallest legal input of one axis."""
    stride = int(np.prod(factors))
    if not valid:
        margin = REACH
        for factor in factors:  # down to the bottleneck, counted in ever coarser pixels
            margin = -(-(margin + (linear and factor > 1)) // factor) + REACH
        for factor in reversed(factors):  # and back through the contracting path
            margin = margin * factor + REACH
        return stride, margin, 0, stride
    coarse = 1  # the smallest bottleneck whose output is not empty
    while _valid_size(_legal(coarse, factors), factors, linear) < 1:
        coarse += 1
    least = _legal(coarse, factors)
    margin = (least - _valid_size(least, factors, linear)) // 2
    return stride, margin, least % stride, least


def _legal(coarse: int, factors: list[int]) -> int:
    """Input size that reaches the bottleneck, before its convolutions, with `coarse` pixels."""
    size = coarse
    for factor in reversed(factors):
        size = size * factor + 2 * REACH
    return size


def _valid_size(size: int, factors: list[int], linear: bool) -> int:
    """Output size of unpadded convolutions, or 0 if nothing is left."""
    for factor in factors:
        size = (size - 2 * REACH) // factor
    size -= 2 * REACH
    for factor in reversed(factors):
        if size < 1:
            return 0
        size = size * factor - 2 * REACH - 2 * (linear and factor > 1)
    return max(size, 0)
