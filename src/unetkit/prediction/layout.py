"""The ways in which an image can be cut, best first: which blocks, and which blended windows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from unetkit.errors import InputError
from unetkit.geometry import Footprint, Size, around, cores, grid
from unetkit.prediction.config import Augmentation
from unetkit.prediction.views import turned
from unetkit.prediction.windows import steps


@dataclass(frozen=True)
class Layout:
    """A way to cut an image.

    Attributes:
        core: size of a block.
        run: blocks along each axis that are read at once; one along the first.
        window: size of windows that are blended; `None` where each block has one exact tile.
        work: pixels of all tiles, where known.
        input: pixels of the largest one, where known.
    """

    core: Size
    run: Size
    window: Size | None = None
    work: int = 0
    input: int = 0

    @property
    def group(self) -> Size:
        """Size of what is read and decided at once."""
        return tuple(c * r for c, r in zip(self.core, self.run, strict=True))

    def with_run(self, run: int) -> Layout:
        """Give the layout that reads so many blocks of the last axis at once."""
        return replace(self, run=(*self.run[:-1], run))


def exact(
    space: Size, footprint: Footprint, tta: Augmentation, multiple: int | None
) -> Iterator[Layout]:
    """Give all layouts of exact tiles, those with the fewest pixels for the network first.

    Blocks are spread evenly. Those that are no chunks of a file come last.
    """
    legal = _legal(footprint, tta)
    unit = _unit(space, multiple)
    ones = [axis_of(footprint, axis) for axis in range(len(space))]
    aligned = [math.lcm(unit, least) for least in legal]
    lines = [_line(*each) for each in zip(space, aligned, ones, strict=True)]
    for small in (False, True):
        if small:
            lines = [
                line + [entry for entry in _line(n, least, one) if entry[1] < min(chunk, n)]
                for line, n, least, chunk, one in zip(
                    lines, space, legal, aligned, ones, strict=True
                )
            ]
        choices = [(math.prod(work for work, _, _ in axes), axes) for axes in product(*lines)]
        for work, axes in sorted(choices):
            core = tuple(core for _, core, _ in axes)
            largest = math.prod(read for _, _, read in axes)
            yield Layout(core, _ones(space), work=work, input=largest)


def blended(
    space: Size, footprint: Footprint, multiple: int | None, pixels: int
) -> Iterator[Layout]:
    """Give layouts of windows that overlap by half.

    The whole image first, for then nothing is blended; up to four times `pixels`, since blending
    takes four times as long. Then ever smaller windows, in groups so large that few windows must be
    computed for two of them; and at last in small groups.
    """
    ndim, unit = len(space), _unit(space, multiple)
    if math.prod(footprint.enclose(space)) <= 4 * pixels:
        yield Layout(_at_least(space, unit), _ones(space))
    smallest = footprint.enclose([4 * stride for stride in footprint.stride])
    side, sizes = 1024 if ndim == 2 else 128, list[Size]()
    while True:
        tile = footprint.fit([max(n, side) for n in smallest])
        if not sizes or tile != sizes[-1]:
            sizes.append(tile)
        if tile == smallest:
            break
        side = side * 3 // 4
    for several in ((8, 4), (2, 1)):
        for tile in sizes:
            yield from _windowed(space, tile, footprint, several, unit)
    yield from _windowed(space, sizes[-1], footprint, (1,), 1)


def with_tile(
    space: Size,
    tile: Size,
    footprint: Footprint,
    tta: Augmentation,
    multiple: int | None,
    blend: bool,
) -> Iterator[Layout]:
    """Give the layouts with tiles of a given size, exact or blended where one is not enough.

    Raises:
        InputError: the tile is not legal for this network.
    """
    unit = _unit(space, multiple)
    if len(tile) != len(space):
        raise InputError(f"has {len(tile)} axes, the image {len(space)}", where="tile")
    whole = footprint.enclose(space)
    if blend and any(t < w for t, w in zip(tile, whole, strict=True)):
        footprint.require([min(t, w) for t, w in zip(tile, whole, strict=True)])
        yield from _windowed(space, tile, footprint, (8, 4, 2, 1), unit)
        yield from _windowed(space, tile, footprint, (1,), 1)
        return
    core = cores(space, tile, footprint, unit)
    # A view that is turned needs blocks that start on its own stride too.
    core = tuple(
        c if c >= n else max(s, c // s * s)
        for c, n, s in zip(core, space, _legal(footprint, tta), strict=True)
    )
    yield Layout(core, _ones(space))


def repeated(core: Size, space: Size, window: Size | None) -> Iterator[Layout]:
    """Give the layouts with blocks of a given size, those that read more at once first."""
    middle = [-(-n // c) for n, c in zip(space, core, strict=True)][1:-1]
    for run in (4, 2, 1) if middle and window else (1,):
        yield Layout(core, (1, *(min(run, n) for n in middle), 1), window)


def tile_of(core: Size, space: Size, footprint: Footprint) -> Size:
    """Give the size of the tiles that decide blocks of a given size, as `cores` takes it."""
    whole = footprint.enclose(space)
    size = list(footprint.enclose(core))
    for axis, (n, c, w) in enumerate(zip(space, core, whole, strict=True)):
        if not footprint.valid:
            size[axis] = c + (1 if 2 * c >= n else 2) * footprint.overlap[axis]
        size[axis] = w if c >= n else min(size[axis], w)
    return tuple(size)


def axis_of(footprint: Footprint, axis: int) -> Footprint:
    """Give what a network asks of one axis."""
    return replace(
        footprint,
        stride=footprint.stride[axis : axis + 1],
        margin=footprint.margin[axis : axis + 1],
        residue=footprint.residue[axis : axis + 1],
        minimum=footprint.minimum[axis : axis + 1],
    )


def _line(n: int, unit: int, footprint: Footprint) -> list[tuple[int, int, int]]:
    """Give (pixels read in all, core, longest read) for the even spreads of blocks on an axis.

    Only those that `cores` gives for their own tile: others read no less for smaller blocks.
    """
    result = []
    core = -(-n // unit) * unit
    while True:
        tile = tile_of((core,), (n,), footprint)
        if core >= n or cores((n,), tile, footprint, unit) == (core,):
            reads = [around(write, footprint, (n,)).read[0] for write in grid((n,), (core,))]
            result.append((sum(read.stop - read.start for read in reads), core, tile[0]))
        if core == unit:
            return result
        blocks = -(-n // (core - unit))  # the next number of blocks that makes them smaller
        core = -(-n // (blocks * unit)) * unit


def _windowed(
    space: Size, tile: Size, footprint: Footprint, several: Sequence[int], unit: int
) -> Iterator[Layout]:
    """Give groups of several steps of a window along each axis but the last.

    A block is as deep as its group, since a slab is a row of blocks, and two steps wide.
    """
    step = steps(space, tile, footprint)
    covered = [t >= w for t, w in zip(tile, footprint.enclose(space), strict=True)]
    for number in several:
        wide = [number, *(min(number, 2) for _ in space[1:])]
        size = [
            n if over else min(m * s, n)
            for n, over, m, s in zip(space, covered, wide, step, strict=True)
        ]
        core = _at_least(size, unit)
        run = [min(-(-n // c), max(1, number // 2)) for n, c in zip(space, core, strict=True)]
        yield Layout(core, (1, *run[1:-1], 1), window=tile)


def _at_least(size: Sequence[int], unit: int) -> Size:
    return tuple(-(-n // unit) * unit for n in size)


def _ones(space: Size) -> Size:
    return (1,) * len(space)


def _legal(footprint: Footprint, tta: Augmentation) -> Size:
    """Give what blocks must be multiples of, for all views."""
    if tta != "rotations":
        return footprint.stride
    return tuple(int(n) for n in np.lcm(footprint.stride, turned(footprint).stride))


def _unit(space: Size, multiple: int | None) -> int:
    return multiple or (64 if len(space) == 2 else 32)
