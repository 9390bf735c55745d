"""The plan of a prediction: tiles, slabs and reads that fit a stated memory, at the least work."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile

import numpy as np

from unetkit.errors import InputError
from unetkit.geometry import Footprint, Size
from unetkit.prediction.config import Augmentation
from unetkit.prediction.layout import Layout, blended, exact, repeated, with_tile
from unetkit.prediction.sizing import Cost, Need, Sizes, measure
from unetkit.prediction.slabs import Slab, slabs
from unetkit.prediction.views import inputs, passes, views

_WORK = 16  # times each pixel may be computed for exact tiles; blending takes 4, in 3D 8, and more
_AHEAD = 0.25  # share of the memory that tiles leave, so that reads can be long
_READ = 256 * 2**20  # bytes of a read beyond which larger ones gain nothing


@dataclass(frozen=True)
class Plan:
    """How an image is predicted.

    Attributes:
        space: size of the image.
        channels: of the image.
        outputs: channels of the probabilities.
        footprint: what the network asks of its input; not exact where tiles are blended.
        tta: which views are averaged.
        members: networks that are averaged.
        spread: their disagreement is wanted.
        tile: largest input of the network, for the image as it is.
        core: size of a block. Block i of an axis is `[i·core, (i+1)·core)`, cut off at the end.
        slabs: bands of blocks along the first axis, each of which can be predicted alone.
        blend: tiles overlap by half and are blended, since none is exact, or such would not fit.
        passes: how often each pixel is seen: views times members.
        effort: the time this takes, in times of one pass with the same tiles.
        bytes: memory expected at the peak, beside what the process holds already.
    """

    space: Size
    channels: int
    outputs: int
    footprint: Footprint
    tta: Augmentation
    members: int
    spread: bool
    tile: Size
    core: Size
    slabs: tuple[Slab, ...]
    blend: bool
    passes: int
    effort: float
    bytes: int


def plan(
    space: Sequence[int],
    channels: int,
    itemsize: int,
    outputs: int,
    footprint: Footprint,
    *,
    cost: Cost,
    memory: int | None = None,
    base: int = 0,
    tile: Sequence[int] | None = None,
    core: Sequence[int] | None = None,
    tta: Augmentation = "none",
    members: int = 1,
    spread: bool = False,
    blend: bool | None = None,
    multiple: int | None = None,
    stored: int | None = None,
) -> Plan:
    """Plan a prediction: of all tiles that fit the memory, those with the least work.

    Exact tiles come first. Where none fits (a margin of 94 voxels on each side is much, in 3D), or
    where each pixel would be computed more than 16 times, tiles are blended instead.

    Args:
        space: size of the image, per axis.
        channels: of the image.
        itemsize: bytes of one of its numbers, as it is read.
        outputs: channels of the probabilities.
        footprint: what the network asks of its input.
        cost: what a call of the engine takes.
        memory: bytes that the process may hold in all; `None` for no limit but `cost.pixels`.
        base: bytes that the process holds before it starts: libraries, weights.
        tile: size of the network's input; `None` chooses.
        core: size of a block; with `tile` and `blend` of another plan, this repeats it under
            another memory, so that the slabs of both are the same to the bit.
        tta: test-time augmentation.
        members: networks of an ensemble.
        spread: their disagreement is wanted.
        blend: blend tiles, or never do; `None` where they are not exact or would not fit.
        multiple: blocks are multiples of this, so that they are whole chunks of a file; 64 in 2D,
            32 in 3D. Given up where tiles must be smaller.
        stored: bytes per pixel of what `finish` gives; by default labels, all probabilities and an
            uncertainty.

    Raises:
        InputError: the image has no pixels; the tile is not legal; the memory is too small.
    """
    space = tuple(int(n) for n in space)
    if 0 in space:
        raise InputError("the image has no pixels")
    need = Need(
        channels=channels,
        itemsize=itemsize,
        outputs=outputs,
        spread=spread,
        several=passes(tta, len(space), members) > 1,
        stored=4 * (outputs + 1) + 1 if stored is None else stored,
        cost=cost,
    )
    wanted = not footprint.exact if blend is None else blend
    most = math.inf if blend is False else _WORK * math.prod(footprint.enclose(space))

    def with_exact() -> Iterable[Layout]:
        return takewhile(lambda one: one.work <= most, exact(space, footprint, tta, multiple))

    def with_windows() -> Iterable[Layout]:
        return blended(space, footprint, multiple, cost.pixels)

    def with_that() -> Iterable[Layout]:
        if core is not None:
            return repeated(tuple(core), space, tuple(tile or ()) if wanted else None)
        return with_tile(space, tuple(tile or ()), footprint, tta, multiple, wanted)

    ways = [(with_exact, float(cost.pixels)), (with_windows, math.inf)]
    if tile is not None:
        ways = [(with_that, math.inf)]
    elif blend is not None or wanted:
        ways = ways[wanted : wanted + 1]
    room = math.inf if memory is None else memory - base
    choose = partial(_choose, need=need, space=space, footprint=footprint, tta=tta)
    chosen, least = None, math.inf
    for way, limit in ways:
        for share in (1 - _AHEAD, 1.0):
            if chosen is None:
                chosen, needed = choose(way(), room=share * room, limit=limit)
                least = min(least, needed)
    if chosen is None:
        enough = math.ceil((least + base) / 1e8) / 10
        raise InputError(
            f"prediction needs {enough:.1f} GB, {max(0, room + base) / 1e9:.1f} GB are allowed",
            where="x".join(map(str, space)) + " pixels",
            cure=f"--max-memory {enough:.1f}"
            + (" or a smaller --tile" if tile is not None else ""),
        )
    chosen, size = _lengthen(chosen, need, room, space, footprint, tta)
    footprint = replace(footprint, exact=footprint.exact and chosen.window is None)
    cut = slabs(space, footprint, tta, chosen)
    return Plan(
        space=space,
        channels=channels,
        outputs=outputs,
        footprint=footprint,
        tta=tta,
        members=members,
        spread=spread,
        tile=size.tile,
        core=chosen.core,
        slabs=cut,
        blend=chosen.window is not None,
        passes=passes(tta, len(space), members),
        effort=members * _effort(cut, space, footprint, tta),
        bytes=need.bytes(size),
    )


def choose_tile(footprint: Footprint, shape: Sequence[int], pixels: int) -> Size:
    """Choose the largest legal tile of about `pixels` input pixels; the whole image if it fits."""
    whole = footprint.enclose(shape)
    if np.prod(whole) <= pixels:
        return whole
    side = max(1, round(pixels ** (1 / len(whole))))
    tile = footprint.fit([max(least, side) for least in footprint.least_tile])
    return tuple(min(t, w) for t, w in zip(tile, whole, strict=True))


def state_cost(plan: Plan) -> str:
    """Say how often the network will see the image and what that costs, for the command line."""
    if plan.passes == 1:
        return "1 pass over the image"
    said = f"{plan.passes} passes over the image: about {plan.effort:.0f} times the time of one"
    return f"{said}, since rotated tiles are larger" if plan.effort > 1.1 * plan.passes else said


def _choose(
    layouts: Iterable[Layout],
    *,
    need: Need,
    room: float,
    limit: float,
    space: Size,
    footprint: Footprint,
    tta: Augmentation,
) -> tuple[Layout | None, float]:
    """Give the first layout that fits, or None, and the bytes that the least one needs.

    Where even the smallest tile has more pixels than are useful, memory alone decides.
    """
    least, smallest = None, math.inf
    for layout in layouts:
        hopeless = layout.input > limit or need.cost.activations * layout.input > room
        if hopeless and least is not None and layout.input >= least.input:
            continue
        size = measure(layout, space, footprint, tta)
        wanted = need.bytes(size)
        if not hopeless and size.input <= limit and wanted <= room:
            return layout, wanted
        if wanted < smallest:
            least, smallest = layout, wanted
    return (least if smallest <= room else None), smallest


def _lengthen(
    layout: Layout,
    need: Need,
    room: float,
    space: Size,
    footprint: Footprint,
    tta: Augmentation,
) -> tuple[Layout, Sizes]:
    """Read as many blocks at once as fit, so that a file's strips are decoded only once."""
    blocks = -(-space[-1] // layout.core[-1])
    low, high = 1, blocks
    while low < high:
        middle = (low + high + 1) // 2
        longer = measure(layout.with_run(middle), space, footprint, tta)
        if need.bytes(longer) <= room and need.group(longer) <= 2 * _READ:
            low = middle
        else:
            high = middle - 1
    even = -(-blocks // -(-blocks // low))
    layout = layout.with_run(even)
    return layout, measure(layout, space, footprint, tta)


def _effort(cut: Sequence[Slab], space: Size, footprint: Footprint, tta: Augmentation) -> float:
    """Pixels that the network sees in all views, in times of those of the image as it is."""
    seen = views(tta, len(space))
    if not any(view.angle for view in seen):
        return len(seen)
    some = cut[:: -(-len(cut) // 8)]
    tiles = [tile for slab in some for group in slab.groups for tile in group.tiles]
    tiles = tiles[:: -(-len(tiles) // 64)]
    pixels = [
        sum(math.prod(inputs(view, tile, space, footprint)) for tile in tiles) for view in seen
    ]
    return sum(pixels) / pixels[0]
