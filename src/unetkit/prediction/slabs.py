"""How an image is cut: slabs that can be predicted alone, groups read at once, and their tiles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from unetkit.geometry import Footprint, Size, Slices, Tile, around, grid
from unetkit.prediction.config import Augmentation
from unetkit.prediction.layout import Layout, tile_of
from unetkit.prediction.views import View, needed, views
from unetkit.prediction.windows import touching, windows


@dataclass(frozen=True)
class Group:
    """Blocks side by side, whose pixels are read at once.

    Attributes:
        window: what it decides.
        read: the pixels that this takes; may reach outside the image.
        blocks: the parts of `window` that are handed on, one by one.
        tiles: what the network is given; one per block, or windows that overlap and are blended.
    """

    window: Slices
    read: Slices
    blocks: tuple[Slices, ...]
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Cut:
    """How the whole image is cut.

    Attributes:
        space: size of the image.
        footprint: what the network asks of its input.
        tta: which views of each tile are predicted.
        layout: sizes of blocks, groups and windows.
    """

    space: Size
    footprint: Footprint
    tta: Augmentation
    layout: Layout


@dataclass(frozen=True)
class Slab:
    """A band of blocks across the whole image, which needs no other to be predicted.

    Attributes:
        index: its number along the first axis.
        window: what it decides: a part of the first axis, and the others whole.
        cut: how the image is cut.
    """

    index: int
    window: Slices
    cut: Cut

    @property
    def groups(self) -> Iterator[Group]:
        """Its parts, in the order in which they are computed; made as they are asked for.

        A large image in small tiles has so many that a list of them would not be small.
        """
        space, footprint, layout = self.cut.space, self.cut.footprint, self.cut.layout
        seen = views(self.cut.tta, len(space))
        size = tile_of(layout.core, space, footprint)
        for rest in grid(space[1:], layout.group[1:]):
            window = (self.window[0], *rest)
            blocks = _blocks(window, layout.core)
            if layout.window is None:
                tiles = tuple(around(block, footprint, space, size) for block in blocks)
            else:
                tiles = tuple(windows(space, layout.window, footprint, window))
            yield Group(window, _read(tiles, space, footprint, seen), blocks, tiles)

    @property
    def tiles(self) -> int:
        """The number of tiles of all groups."""
        space, layout = self.cut.space, self.cut.layout
        if layout.window is None:
            return math.prod(-(-n // c) for n, c in zip(space[1:], layout.core[1:], strict=True))
        rest = [((n,), (wide,)) for n, wide in zip(space[1:], layout.group[1:], strict=True)]
        lines: list[Iterable[Slices]] = [
            [self.window[:1]],
            *(grid(one, wide) for one, wide in rest),
        ]
        return math.prod(
            sum(touching(space, layout.window, self.cut.footprint, axis, part) for (part,) in line)
            for axis, line in enumerate(lines)
        )


def slabs(space: Size, footprint: Footprint, tta: Augmentation, layout: Layout) -> tuple[Slab, ...]:
    """Cut an image of size `space` into slabs, for the views that `tta` asks for."""
    cut = Cut(space, footprint, tta, layout)
    rest = tuple(slice(0, n) for n in space[1:])
    return tuple(
        Slab(index, (band, *rest), cut)
        for index, (band,) in enumerate(grid(space[:1], layout.core[:1]))
    )


def _read(tiles: Sequence[Tile], space: Size, footprint: Footprint, seen: Sequence[View]) -> Slices:
    """Give the pixels that the views of all tiles are made from.

    Only the outermost tiles matter, and those next to them, since the outermost may be cut off.
    """
    outer = []
    for axis in range(len(space)):
        starts = sorted({tile.write[axis].start for tile in tiles})
        outer.append({*starts[:2], *starts[-2:]})
    edge = [
        tile
        for tile in tiles
        if all(part.start in some for part, some in zip(tile.write, outer, strict=True))
    ]
    # Mirrored views read what the image itself does.
    kinds = [view for view in seen if not view.flipped]
    parts = [needed(view, tile, space, footprint) for tile in edge for view in kinds]
    # How a rotated lattice lies under a tile differs from tile to tile, by less than this.
    slack = 2 * max(footprint.stride) + 2 if any(view.angle for view in kinds) else 0
    return tuple(
        slice(min(part.start for part in axis) - slack, max(part.stop for part in axis) + slack)
        for axis in zip(*parts, strict=True)
    )


def _blocks(window: Slices, core: Size) -> tuple[Slices, ...]:
    """Cut a window that starts on the grid into its blocks."""
    return tuple(
        product(
            *(
                [slice(a, min(a + c, part.stop)) for a in range(part.start, part.stop, c)]
                for part, c in zip(window, core, strict=True)
            )
        )
    )
