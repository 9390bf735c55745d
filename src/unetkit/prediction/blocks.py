"""From a group's pixels to finished blocks: views and members averaged, windows blended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from unetkit.errors import InputError
from unetkit.geometry import Footprint, Size, Slices, Tile, mirror
from unetkit.metrics.entropy import disagreement, uncertainty
from unetkit.prediction.config import Array, Floats, Forward, Forwards
from unetkit.prediction.planning import Plan
from unetkit.prediction.slabs import Group
from unetkit.prediction.views import View, look, take, views
from unetkit.prediction.windows import bump


@dataclass(frozen=True)
class Task:
    """What is the same for all groups.

    Attributes:
        forwards: the network, or the members of an ensemble.
        space: size of the image.
        footprint: what the networks ask of their input.
        views: how each tile is looked at.
        blend: tiles are windows that overlap.
        spread: the disagreement of members and views is wanted.
    """

    forwards: tuple[Forward, ...]
    space: Size
    footprint: Footprint
    views: tuple[View, ...]
    blend: bool
    spread: bool


def members(forwards: Forwards) -> tuple[Forward, ...]:
    """Give the members of an ensemble; a single network is one of one."""
    return (forwards,) if callable(forwards) else tuple(forwards)


def as_task(plan: Plan, forward: Forwards) -> Task:
    """Give what a plan asks of these networks.

    Raises:
        InputError: the plan is for another number of them.
    """
    forwards = members(forward)
    if len(forwards) != plan.members:
        raise InputError(f"the plan is for {plan.members} networks, not {len(forwards)}")
    return Task(
        forwards=forwards,
        space=plan.space,
        footprint=plan.footprint,
        views=views(plan.tta, len(plan.space)),
        blend=plan.blend,
        spread=plan.spread,
    )


def inside(read: Slices, space: Sequence[int]) -> Slices:
    """Give the pixels of the image that a read, continued by mirroring, is made from."""
    result = []
    for part, n in zip(read, space, strict=True):
        if part.start >= 0 and part.stop <= n:
            result.append(part)
        else:
            index = mirror(part.start, part.stop, n)
            result.append(slice(int(index.min()), int(index.max()) + 1))
    return tuple(result)


def decide(
    task: Task,
    group: Group,
    pixels: Array,
    origin: Sequence[int],
    tick: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Slices, Floats, Floats | None]]:
    """Predict the blocks of a group.

    Args:
        task: what is the same for all groups.
        group: which.
        pixels: (c, *window) that holds all that the group reads inside the image.
        origin: where the window starts in the image.
        tick: called after each tile.

    Yields:
        Each block: where it lies, its probabilities (k, *block), and the spread (1, *block) where
        it is wanted.
    """
    if not task.blend:
        for tile in group.tiles:
            total = _average(task, tile, pixels, origin)
            tick()
            yield tile.write, *_finished(total, task)
        return
    first = [part.start for part in group.window]
    weight = np.zeros([part.stop - part.start for part in group.window], np.float32)
    sums: Floats | None = None
    for tile in group.tiles:
        here = _moved(tile.write, first)
        average = _average(task, tile, pixels, origin)
        if sums is None:
            sums = np.zeros((len(average), *weight.shape), np.float32)
        size = task.footprint.shrink([part.stop - part.start for part in tile.read])
        share = bump(size)[tile.crop]
        average *= share
        sums[(slice(None), *here)] += average
        weight[here] += share
        tick()
    if sums is None:
        raise ValueError("a group needs at least one window")
    for block in group.blocks:
        here = _moved(block, first)
        yield block, *_finished(sums[(slice(None), *here)] / weight[here], task)


def _finished(total: Floats, task: Task) -> tuple[Floats, Floats | None]:
    """Part the probabilities from the mean entropy that was carried behind them."""
    if not task.spread:
        return total, None
    return total[:-1], disagreement(total[:-1], total[-1:])


def _average(task: Task, tile: Tile, pixels: Array, origin: Sequence[int]) -> Floats:
    """Average all members in all views: (k, *write), and the mean entropy behind where wanted.

    The sum runs in a fixed order, so that no bit depends on who computes it.
    """

    def cut(part: Slices) -> Floats:
        return take(pixels, part, task.space, origin)

    total: Floats | None = None
    for view in task.views:
        batch, back = look(view, tile, task.space, task.footprint, cut)
        for forward in task.forwards:
            answer = back(_checked(forward(batch), batch, task.footprint))
            if total is None:
                total = np.empty((len(answer) + task.spread, *answer.shape[1:]), np.float32)
                total[: len(answer)] = answer
                if task.spread:
                    total[-1:] = uncertainty(answer)
                continue
            if len(answer) != len(total) - task.spread:
                raise InputError(
                    f"one gives {len(total) - task.spread} channels, another {len(answer)}",
                    where="ensemble",
                    cure="combine models of the same classes",
                )
            total[: len(answer)] += answer
            if task.spread:
                total[-1:] += uncertainty(answer)
    if total is None:
        raise InputError("an ensemble needs at least one network")
    count = len(task.views) * len(task.forwards)
    if count > 1:
        total /= np.float32(count)
    return total


def _checked(output: Floats, batch: Floats, footprint: Footprint) -> Floats:
    """Return the one answer of the batch, or say that its size is not what the footprint says."""
    expected = footprint.shrink(batch.shape[2:]) if len(batch.shape) > 2 else ()
    if output.ndim != batch.ndim or len(output) != 1 or output.shape[2:] != expected:
        raise InputError(
            f"gives an output of {output.shape} for an input of {batch.shape}",
            where="network",
            cure=f"expected are (1, classes, {', '.join(map(str, expected))})",
        )
    answer: Floats = output[0]
    return answer


def _moved(part: Slices, first: Sequence[int]) -> Slices:
    return tuple(slice(one.start - n, one.stop - n) for one, n in zip(part, first, strict=True))
