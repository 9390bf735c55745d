"""Masks → task: what the numbers in a set of masks mean, told by a legend or seen in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.data.colours import are_grey, colour_name
from unetkit.data.counted import (
    Counted,
    count_mask,
    count_values,
    in_colours,
    in_greys,
    is_coloured,
    runs,
    tally,
)
from unetkit.data.legend import Legend
from unetkit.data.meaning import Meaning, Task, complaint, some, unexpected
from unetkit.data.sight import MOST_CLASSES, are_objects, by_colours, by_sight
from unetkit.errors import InputError

__all__ = [
    "Counted",
    "Meaning",
    "Task",
    "count_mask",
    "count_values",
    "recognise",
    "to_classes",
]

Array = npt.NDArray[Any]
Report = Callable[[InputError], None]


def recognise(
    seen: Sequence[Counted], legend: Legend | None, report: Report
) -> tuple[Meaning, set[Path]]:
    """Say what the numbers of all masks of a set mean, and which masks do not fit.

    One mask in colours makes a set of colours, in which greys are colours too; where every colour
    is a grey, its level is the number.

    Args:
        seen: what each mask holds.
        legend: what somebody wrote down about it.
        report: called with each mask that does not fit.

    Raises:
        InputError: no mask is left, or their numbers make no sense together.
    """
    if not seen:
        raise InputError("none of the masks can be read", where="masks")
    seen, bad = list(seen), set[Path]()
    painted = [mask for mask in seen if is_coloured(mask)]
    if legend is not None and legend.twin is not None and painted:
        legend = legend.twin
    if legend is None and painted and _are_strangers(painted, seen):
        seen = _numbers(seen, "save one grey value per class, or a palette PNG", report, bad)
        meaning = by_sight(seen)
    elif legend is None and painted:
        seen = _kept(seen, in_colours, report, bad)
        meaning = by_colours(seen)
    elif legend is None:
        seen = [in_greys(mask) for mask in seen]
        meaning = by_sight(seen)
    elif legend.colours:
        seen = _kept(seen, in_colours, report, bad)
        meaning = _by_legend(legend, seen)
    else:
        cure = f'name the colours in {legend.source}, such as {{"#3C1098": "building"}}'
        seen = _numbers(seen, cure, report, bad)
        meaning = _by_legend(legend, seen)
    if meaning.kind == "semantic":
        for mask in seen:
            if unexpected(mask.values, meaning).any():
                report(complaint(mask.path, mask.values, mask.counts, meaning))
                bad.add(mask.path)
    return meaning, bad


def to_classes(raw: Array, task: Task, path: Path) -> tuple[Array, Array | None]:
    """Turn the numbers of a mask into class indices (int16, −1 ignored) and object ids or None.

    Raises:
        InputError: a number that has no class.
    """
    if task.kind == "instances":
        labels = np.where(raw < 0, -1, raw > 0).astype(np.int16)
        labels[np.isin(raw, task.ignore)] = -1
        if raw.max() > np.iinfo(np.int32).max:
            raise InputError("object ids beyond 32 bits", where=path, cure="number them from 1")
        return labels, np.where(labels == 1, raw, 0).astype(np.int32)
    low, high = int(raw.min()), int(raw.max())
    known = {value: index for index, value in enumerate(task.values)}
    known |= {number: known[value] for number, value in task.also}
    known |= dict.fromkeys(task.ignore, -1)
    if high - low < 2**16:
        table = np.full(high - low + 1, -2, np.int16)
        table[: max(0, -low)] = -1
        for value, index in known.items():
            if low <= value <= high:
                table[value - low] = index
        labels = table[raw if low == 0 else raw.astype(np.int64) - low]
    else:
        numbers, lengths = runs(raw)
        order = np.array(sorted(known))
        place = np.searchsorted(order, numbers).clip(max=len(order) - 1)
        index = np.array([known[value] for value in order.tolist()], np.int16)[place]
        index[order[place] != numbers] = -2
        index[numbers < 0] = -1
        labels = np.repeat(index, lengths).reshape(raw.shape)
    if labels.min() > -2:
        return labels, None
    raise complaint(path, *count_values(raw), task)


def _by_legend(legend: Legend, masks: Sequence[Counted]) -> Meaning:
    named, also = dict[str, int](), list[tuple[int, int]]()
    for number, name in legend.names.items():
        if number in legend.ignore:
            continue
        if named.setdefault(name, number) != number:
            also.append((number, named[name]))
    if len(named) == 1 and 0 not in (*legend.names, *legend.ignore):
        named = {"background": 0} | named
    if not named:
        raise InputError(
            f"{legend.source} ignores every value",
            where=masks[0].path.parent.parent,
            cure="name at least one class without the word ignore",
        )
    names, values = tuple(named), tuple(named.values())
    if not legend.colours and len(named) == 2 and 0 in values and are_objects(masks):
        return Meaning("instances", names, (0,), legend.ignore, "masks number their objects")
    what = "colours of the " if legend.colours else ""
    sentence = f"masks hold the {what}{len(named)} classes of {legend.source}"
    if legend.ignore:
        left = some(legend.ignore, colours=legend.colours)
        sentence += f" and {left} to be ignored"
    return Meaning("semantic", names, values, legend.ignore, sentence, legend.colours, tuple(also))


def _are_strangers(painted: Sequence[Counted], seen: Sequence[Counted]) -> bool:
    """Tell whether the masks in colours are a few photographs or figures among masks of greys."""
    greys = [mask for mask in seen if not is_coloured(mask)]
    drawn = any((mask.values > 0).any() for mask in greys)
    return drawn and len(painted) < len(greys) and len(tally(painted)[0]) > MOST_CLASSES


def _numbers(seen: Sequence[Counted], cure: str, report: Report, bad: set[Path]) -> list[Counted]:
    """Give what masks hold as numbers, and report those in colours."""

    def number(mask: Counted) -> Counted:
        if not is_coloured(mask):
            return in_greys(mask)
        example = colour_name(int(mask.values[~are_grey(mask.values)][-1]))
        what = f"the mask holds colours (such as {example}), not class numbers"
        raise InputError(what, where=mask.path, cure=cure)

    return _kept(seen, number, report, bad)


def _kept(
    seen: Sequence[Counted],
    change: Callable[[Counted], Counted],
    report: Report,
    bad: set[Path],
) -> list[Counted]:
    kept = []
    for mask in seen:
        try:
            kept.append(change(mask))
        except InputError as error:
            report(error)
            bad.add(mask.path)
    if not kept:
        raise InputError("no mask is left without a problem", where=seen[0].path.parent)
    return kept
