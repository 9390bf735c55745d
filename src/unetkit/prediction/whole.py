"""An image in memory: its probabilities, and how far tiles disagree with one pass over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from unetkit.errors import InputError
from unetkit.geometry import Footprint, Tile
from unetkit.prediction.blocks import Task, as_task, decide, members
from unetkit.prediction.config import Array, Augmentation, Floats, Forwards, Progress
from unetkit.prediction.layout import with_tile
from unetkit.prediction.planning import Plan
from unetkit.prediction.slabs import Slab, slabs
from unetkit.prediction.views import take, views


def predict(
    forward: Forwards,
    image: Array,
    footprint: Footprint,
    *,
    tile: Sequence[int],
    tta: Augmentation = "none",
    blend: bool | None = None,
    progress: Progress | None = None,
) -> Floats:
    """Predict the probabilities of a whole image, tile by tile.

    The image is continued by mirroring where a tile reaches outside (Ronneberger 2015, fig. 2).
    Where the network's footprint is exact, the result equals one pass over the whole image to
    float rounding. Where a normalisation looks at the whole input, tiles overlap by half and are
    blended instead.

    Args:
        forward: from a batch (1, c, *in) to probabilities (1, k, *out); several are averaged.
        image: (c, *space) of any number type; the network is given float32.
        footprint: what the network asks of its input.
        tile: size of the network's input per axis; an axis shorter than it is read whole.
        tta: test-time augmentation: the views that are averaged.
        blend: let tiles overlap by half and blend them; `None` where they are not exact.
        progress: called with the number of tiles done and in all.

    Returns:
        Probabilities (k, *space).

    Raises:
        InputError: the image has no pixels; the tile is not legal for this network.
    """
    space = image.shape[1:]
    if 0 in space:
        raise InputError("the image has no pixels")
    blend = not footprint.exact if blend is None else blend
    layout = next(with_tile(space, tuple(tile), footprint, tta, None, blend))
    if layout.window is not None:  # no window is computed twice where one group holds everything
        layout = replace(layout, core=tuple(space), run=(1,) * len(space))
        footprint = replace(footprint, exact=False)
    cut = slabs(space, footprint, tta, layout)
    task = Task(
        forwards=members(forward),
        space=space,
        footprint=footprint,
        views=views(tta, len(space)),
        blend=layout.window is not None,
        spread=False,
    )
    return _gather(task, cut, image, progress)[0]


def predict_planned(
    forward: Forwards, image: Array, plan: Plan, *, progress: Progress | None = None
) -> tuple[Floats, Floats | None]:
    """Predict a whole image in memory as `stream` does from files, to the same bits.

    Args:
        forward: as for `predict`; as many as the plan has members.
        image: (c, *space) of any number type.
        plan: how the image is cut.
        progress: called with the number of tiles done and in all.

    Returns:
        Probabilities (k, *space), and their spread (1, *space) where the plan wants it.
    """
    return _gather(as_task(plan, forward), plan.slabs, image, progress)


def seam_error(
    forward: Forwards,
    image: Array,
    footprint: Footprint,
    tile: Sequence[int],
    *,
    blend: bool | None = None,
) -> float:
    """Give the largest difference between a prediction in tiles and one pass over the image.

    At the level of rounding where tiles are exact; else what blending leaves. For images of which
    one pass fits into memory.

    Raises:
        InputError: as `predict`.
    """
    whole = predict(forward, image, footprint, tile=footprint.enclose(image.shape[1:]))
    tiled = predict(forward, image, footprint, tile=tile, blend=blend)
    return float(np.abs(whole - tiled).max())


def read(image: Array, tile: Tile) -> Floats:
    """Read a tile's input (c, *in) from (c, *space), mirrored where it reaches outside."""
    return take(image, tile.read, image.shape[1:], (0,) * (image.ndim - 1))


def _gather(
    task: Task, cut: Sequence[Slab], image: Array, progress: Progress | None
) -> tuple[Floats, Floats | None]:
    """Put the blocks of all slabs together."""
    everything, done = sum(slab.tiles for slab in cut), 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, everything)

    result: Floats | None = None
    spreads = np.empty((1, *task.space), np.float32) if task.spread else None
    for group in (group for slab in cut for group in slab.groups):
        for where, probabilities, spread in decide(
            task, group, image, (0,) * len(task.space), tick
        ):
            if probabilities.shape[1:] == task.space:
                return probabilities, spread
            if result is None:
                result = np.empty((len(probabilities), *task.space), np.float32)
            result[(slice(None), *where)] = probabilities
            if spreads is not None and spread is not None:
                spreads[(slice(None), *where)] = spread
    if result is None:
        raise ValueError("there is no tile")
    return result, spreads
