"""What a layout takes: pixels of its largest tile, block and read, and the bytes that follow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unetkit.geometry import Footprint, Size, Slices, Tile, around
from unetkit.prediction.config import Augmentation
from unetkit.prediction.layout import Layout, axis_of, tile_of
from unetkit.prediction.views import inputs, needed, views
from unetkit.prediction.windows import windows

_FLOAT = 4
_SPARE = 24 * 2**20  # threads, queues, what the allocator rounds up


@dataclass(frozen=True)
class Cost:
    """What one call of an engine takes.

    Attributes:
        activations: bytes that a call allocates per pixel of its input, beside the input itself:
            the network's maps, logits and probabilities.
        fixed: bytes it holds however small the tile.
        pixels: pixels of a tile beyond which larger ones gain nothing or the engine fails.
    """

    activations: float
    fixed: int = 0
    pixels: int = 2048**2


@dataclass(frozen=True)
class Sizes:
    """Pixels that are held at once.

    Attributes:
        tile: size of the largest input of the network, for the image as it is.
        input: pixels of its largest input in any view.
        cut: pixels of the image from which that is made.
        block: of a block.
        decided: of what one tile decides.
        group: of what one group decides.
        read: of what a group reads from the file.
        blend: a group is summed up before its blocks are handed on.
    """

    tile: Size
    input: int
    cut: int
    block: int
    decided: int
    group: int
    read: int
    blend: bool


@dataclass(frozen=True)
class Need:
    """What turns pixels into bytes; the arguments of `plan`."""

    channels: int
    itemsize: int
    outputs: int
    spread: bool
    several: bool
    stored: int
    cost: Cost

    def bytes(self, size: Sizes) -> int:
        """Give the memory at the peak."""
        sums = _FLOAT * (self.outputs + self.spread)
        result = self.cost.fixed + self.cost.activations * size.input
        result += _FLOAT * self.channels * (size.input + self.several * size.cut)
        result += sums * size.decided * (1 + self.several + size.blend)
        # Two blocks on their way to the file; a third is made, with three maps to compute it from.
        result += 3 * self.stored * size.block + (sums * size.blend + 3 * _FLOAT) * size.block
        return round(1.05 * (result + self.group(size))) + _SPARE

    def group(self, size: Sizes) -> int:
        """Give the part of it that grows with the length of a group: two reads, and the sums."""
        sums = _FLOAT * (self.outputs + self.spread + 1) * size.group * size.blend
        return 2 * self.channels * self.itemsize * size.read + sums


def measure(layout: Layout, space: Size, footprint: Footprint, tta: Augmentation) -> Sizes:
    """Count the pixels of a layout, from above where they differ from tile to tile."""
    core = tuple(min(c, n) for c, n in zip(layout.core, space, strict=True))
    group = tuple(min(g, n) for g, n in zip(layout.group, space, strict=True))
    tile = _inner(layout, space, footprint)
    decided = _extent(tile.write)
    # Mirrored views read what the image itself does.
    seen = [view for view in views(tta, len(space)) if not view.flipped]
    sizes = [inputs(view, tile, space, footprint) for view in seen]
    cut = [_extent(needed(view, tile, space, footprint)) for view in seen]
    reads = 0
    if any(view.angle for view in seen):  # where the lattice lies under a tile differs
        slack = [0] * (len(space) - 2) + [s + 2 for s in footprint.stride[-2:]]
        sizes = [_add(one, slack) for one in sizes]
        cut = [_add(_add(one, slack), slack) for one in cut]
        reads = 4 * max(footprint.stride) + 4
    beside = [max(one[axis] for one in cut) - n + reads for axis, n in enumerate(decided)]
    if layout.window is not None:  # a window may reach out of the group to both sides
        beside = [b + 2 * n for b, n in zip(beside, decided, strict=True)]
    read = (min(g + b, n) for g, b, n in zip(group, beside, space, strict=True))
    return Sizes(
        tile=layout.window or tile_of(layout.core, space, footprint),
        input=max(math.prod(one) for one in sizes),
        cut=max(math.prod(one) for one in cut),
        block=math.prod(core),
        decided=math.prod(decided),
        group=math.prod(group),
        read=math.prod(read),
        blend=layout.window is not None,
    )


def _inner(layout: Layout, space: Size, footprint: Footprint) -> Tile:
    """Give the tile with the largest input."""
    if layout.window is not None:
        return next(windows(space, layout.window, footprint))
    write = []
    for axis, (n, c) in enumerate(zip(space, layout.core, strict=True)):
        one = axis_of(footprint, axis)
        some = {0, min(1, (n - 1) // c), -(-n // c) // 2}
        spans = [(slice(i * c, min((i + 1) * c, n)),) for i in some if i * c < n]
        write.append(max(spans, key=lambda span: _extent(around(span, one, (n,)).read))[0])
    return around(tuple(write), footprint, space)


def _extent(part: Slices) -> Size:
    return tuple(one.stop - one.start for one in part)


def _add(size: Sequence[int], more: Sequence[int]) -> Size:
    return tuple(a + b for a, b in zip(size, more, strict=True))
