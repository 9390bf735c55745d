"""Masks → task: what the numbers in a set of masks mean, told by a legend or seen in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from unetkit.data.layout import Report
from unetkit.errors import InputError
from unetkit.image import read_labels

Array = npt.NDArray[Any]
Kind = Literal["semantic", "instances"]

_MOST_CLASSES = 64  # without a legend, larger numbers are taken for object ids or for damage
_IGNORED = 255  # the usual "void" of Pascal VOC and Cityscapes
_SMOOTHED = (
    "it was probably saved as JPEG or resized with smoothing: save PNG and resize by nearest "
    "neighbour, or threshold it; if the values are meant, name them in classes.json"
)


class Task(BaseModel):
    """What is to be learnt from a set.

    Attributes:
        classes: names; index 0 is the background or the first class.
        kind: "semantic", or "instances" where a mask numbers its objects (class 1 is any object).
        values: the number in the masks of each class, in order; (0,) for instances.
        ignore: numbers in the masks that do not count; negative ones never do.
        channels: channels of the images.
        ndim: 2 or 3.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[str, ...]
    kind: Kind
    values: tuple[int, ...]
    ignore: tuple[int, ...]
    channels: int
    ndim: int


@dataclass(frozen=True)
class Meaning:
    """What the numbers of the masks mean: a `Task` but for the images, and a sentence."""

    kind: Kind
    classes: tuple[str, ...]
    values: tuple[int, ...]
    ignore: tuple[int, ...]
    sentence: str


@dataclass(frozen=True)
class _Mask:
    path: Path
    dtype: np.dtype[Any]
    values: Array
    counts: Array


def recognise(masks: Sequence[Path], legend: Path, report: Report) -> tuple[Meaning, set[Path]]:
    """Read all masks once and say what their numbers mean, and which masks do not fit.

    Raises:
        InputError: no mask can be read, or their numbers make no sense together.
    """
    seen, bad = [], set[Path]()
    for path in masks:
        try:
            labels = read_labels(path)
            seen.append(_Mask(path, labels.dtype, *count_values(labels)))
        except InputError as error:
            report(error)
            bad.add(path)
    if not seen:
        raise InputError("none of the masks can be read", where=legend.parent)
    named = _read_legend(legend) if legend.is_file() else {}
    meaning = _by_legend(named, seen) if named else _by_sight(seen)
    if meaning.kind == "semantic":
        for mask in seen:
            odd = _unexpected(mask.values, meaning.values, meaning.ignore)
            if odd.any():
                report(_complaint(mask.path, mask.values, mask.counts, odd, meaning.values))
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
    if high - low < 2**20:
        table = np.full(high - low + 1, -2, np.int16)
        table[: max(0, -low)] = -1
        for value, index in (known | dict.fromkeys(task.ignore, -1)).items():
            if low <= value <= high:
                table[value - low] = index
        labels = table[raw if low == 0 else raw.astype(np.int64) - low]
        if labels.min() > -2:
            return labels, None
    values, counts = count_values(raw)
    odd = _unexpected(values, task.values, task.ignore)
    raise _complaint(path, values, counts, odd, task.values)


def count_values(labels: Array) -> tuple[Array, Array]:
    """Give the numbers that occur, in order, and how often each does."""
    if labels.dtype in (np.uint8, np.uint16):
        counts = np.bincount(labels.ravel())  # many times faster than sorting
        values = np.flatnonzero(counts)
        return values, counts[values]
    values, counts = np.unique(labels, return_counts=True)
    return values.astype(np.int64), counts


# ------------------------------------------------------------------------------------- meaning


def _read_legend(path: Path) -> dict[int, str]:
    shape = 'write {"0": "background", "1": "road", "255": "unknown (ignore)"}'
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"is no readable JSON ({error})", where=path, cure=shape) from error
    content = dict(enumerate(content)) if isinstance(content, list) else content
    try:
        legend = {int(value): name for value, name in content.items()}
    except (AttributeError, ValueError) as error:
        raise InputError("does not name mask values", where=path, cure=shape) from error
    if not legend or not all(isinstance(name, str) for name in legend.values()):
        raise InputError("does not name mask values", where=path, cure=shape)
    return dict(sorted(legend.items()))


def _by_legend(legend: dict[int, str], masks: Sequence[_Mask]) -> Meaning:
    ignore = tuple(value for value, name in legend.items() if "ignore" in name.lower())
    named = {value: name for value, name in legend.items() if value not in ignore}
    if len(named) == 1 and 0 not in named:
        named = {0: "background"} | named
    if not named:
        raise InputError(
            "classes.json ignores every value",
            where=masks[0].path.parent.parent,
            cure="name at least one class without the word ignore",
        )
    if len(named) == 2 and 0 in named and _are_objects(masks):
        names = tuple(named.values())
        return Meaning("instances", names, (0,), ignore, "masks number their objects")
    sentence = f"masks hold the {len(named)} classes of classes.json"
    sentence += f" and {', '.join(map(str, ignore))} to be ignored" if ignore else ""
    return Meaning("semantic", tuple(named.values()), tuple(named), ignore, sentence)


def _by_sight(masks: Sequence[_Mask]) -> Meaning:
    values = np.unique(np.concatenate([mask.values for mask in masks]))
    negative = tuple(int(v) for v in values if v < 0)
    values = values[values >= 0]
    aside = f", {', '.join(map(str, negative))} ignored" if negative else ""
    two = ("background", "foreground")
    if not values.any():
        raise InputError(
            "every mask is empty: nothing but 0 in any of them",
            where=masks[0].path.parent,
            cure="check that these are the masks, and that they were drawn",
        )
    if len(values) == 1 or (len(values) == 2 and values[0] == 0):
        top = int(values[-1])
        return Meaning("semantic", two, (0, top), negative, f"masks hold 0 and {top}{aside}")
    if _are_objects(masks):
        sentence = f"masks number their objects (up to {int(values[-1])}){aside}"
        return Meaning("instances", ("background", "object"), (0,), negative, sentence)
    total = {int(v): 0 for v in values}
    for mask in masks:
        for value, count in zip(mask.values.tolist(), mask.counts.tolist(), strict=True):
            if value >= 0:
                total[value] += count
    classes, ignore = sorted(total), negative
    if classes[-1] == _IGNORED and len(classes) > 2:
        # 255 beside small numbers is the usual "void", unless it is most of what is there: then
        # the small numbers are the noise of a JPEG around 0 and 255. And where the two never meet
        # in one mask, some masks are 0/1 and others 0/255, which is for the user to mend.
        objects = sum(total[v] for v in classes[1:-1])
        meet = any(mask.values[-1] == _IGNORED and (mask.values > 0).sum() > 1 for mask in masks)
        if meet and 10 * objects >= total[_IGNORED]:
            classes, ignore = classes[:-1], (*negative, _IGNORED)
            aside = f", {', '.join(map(str, ignore))} ignored"
    first, last = classes[0], classes[-1]
    if first <= 1 and last <= _MOST_CLASSES and len(classes) == last - first + 1:
        names = tuple("background" if v == 0 else f"class_{v}" for v in classes)
        return Meaning(
            "semantic",
            names,
            tuple(classes),
            ignore,
            f"masks hold classes {first} to {last}{aside}",
        )
    pixels, common = sum(total.values()), sorted(sorted(total, key=lambda v: -total[v])[:2])
    if sum(total[v] for v in common) >= 0.8 * pixels and common[0] < common[1]:
        sentence = f"masks hold {common[0]} and {common[1]}{aside}"
        return Meaning("semantic", two, (common[0], common[1]), negative, sentence)
    shown = ", ".join(map(str, classes[:8])) + (" …" if len(classes) > 8 else "")
    odd = max(masks, key=lambda mask: len(mask.values))
    raise InputError(
        f"the masks hold {len(classes)} values ({shown}) that are neither two, nor classes "
        "numbered in order, nor objects",
        where=odd.path,
        cure="name the values in classes.json; " + _SMOOTHED,
    )


def _are_objects(masks: Sequence[_Mask]) -> bool:
    """Tell object ids from class indices; both are small whole numbers.

    An object is one connected piece, a class seldom is in all images. Organs are (one piece per
    class), so one of these must hold as well: more ids than a set has classes; ids in an unsigned
    type of 16 bits or more, or ids that run from 1 without gap, and that differ between images.
    Where that fails, classes.json decides: with it, numbers are classes, unless it names two.
    """
    ids = [mask.values[mask.values > 0] for mask in masks]
    ids, masks = [i for i in ids if len(i)], [m for m, i in zip(masks, ids, strict=True) if len(i)]
    if not ids or len(np.unique(np.concatenate(ids))) < 3:
        return False
    differ = len(masks) == 1 or any(not np.array_equal(i, ids[0]) for i in ids[1:])
    wide = all(mask.dtype.kind == "u" and mask.dtype.itemsize > 1 for mask in masks)
    gapless = np.mean([i[-1] == len(i) for i in ids]) >= 0.8 and len(masks) > 1
    if not (max(i[-1] for i in ids) > _MOST_CLASSES or (differ and (wide or gapless))):
        return False
    chosen = [masks[k] for k in np.linspace(0, len(masks) - 1, 12).astype(int)]
    whole = [_connected(read_labels(path)) for path in dict.fromkeys(m.path for m in chosen)]
    return bool(np.mean(np.concatenate(whole)) >= 0.8)


def _connected(ids: Array) -> Array:
    """Tell for each id whether one connected piece holds at least 90 % of it."""
    from skimage.measure import label

    ids = np.maximum(ids, 0).astype(np.int64)
    pieces: Array = label(ids, connectivity=ids.ndim)  # type: ignore[no-untyped-call]
    sizes = np.bincount(pieces.ravel())[1:]
    owner = np.zeros(len(sizes), np.int64)
    owner[pieces[pieces > 0] - 1] = ids[pieces > 0]
    _, index = np.unique(owner, return_inverse=True)
    largest, total = np.zeros(index.max() + 1, np.int64), np.bincount(index, sizes)
    np.maximum.at(largest, index, sizes)
    return np.asarray(largest >= 0.9 * total)


def _unexpected(values: Array, expected: Sequence[int], ignore: Sequence[int]) -> Array:
    return ~np.isin(values, [*expected, *ignore]) & (values >= 0)


def _complaint(
    path: Path, values: Array, counts: Array, odd: Array, expected: Sequence[int]
) -> InputError:
    shown = ", ".join(map(str, values[odd][:6])) + (" …" if odd.sum() > 6 else "")
    share = counts[odd].sum() / counts.sum()
    wanted = ", ".join(map(str, expected[:6])) + (" …" if len(expected) > 6 else "")
    between = odd.sum() > 2 and len(expected) == 2
    return InputError(
        f"the mask holds unexpected values ({shown}) in {share:.2%} of its pixels, expected are "
        f"{wanted}",
        where=path,
        cure=_SMOOTHED if between else "correct the mask, or name the value in classes.json",
    )
