"""Masks without a legend: what their numbers or colours mean, told by looking at all of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.data.colours import colour_name, unpack
from unetkit.data.counted import Counted, read_coloured, tally
from unetkit.data.meaning import BLENDED, SMOOTHED, Meaning, some
from unetkit.errors import InputError
from unetkit.image import is_image, read_labels

Array = npt.NDArray[Any]

MOST_CLASSES = 64  # larger numbers that no legend names are object ids, or damage
_IGNORED = 255  # the usual "void" of Pascal VOC and Cityscapes
_TWO = ("background", "foreground")


def by_sight(masks: Sequence[Counted]) -> Meaning:
    """Say what the numbers of masks mean: two values, objects, or classes in order.

    Raises:
        InputError: all masks are empty, or their numbers make no sense together.
    """
    values, counts = tally(masks)
    negative = tuple(int(v) for v in values if v < 0)
    values, counts = values[values >= 0], counts[values >= 0]
    aside = f", {', '.join(map(str, negative))} ignored" if negative else ""
    if not values.any():
        raise InputError(
            "every mask is empty: nothing but 0 in any of them",
            where=masks[0].path.parent,
            cure="check that these are the masks, and that they were drawn",
        )
    if len(values) == 1 or (len(values) == 2 and values[0] == 0):
        top = int(values[-1])
        return Meaning("semantic", _TWO, (0, top), negative, f"masks hold 0 and {top}{aside}")
    if are_objects(masks):
        sentence = f"masks number their objects (up to {int(values[-1])}){aside}"
        return Meaning("instances", ("background", "object"), (0,), negative, sentence)
    if values.tolist() == [0, 1, _IGNORED] and _in_two_scales(masks):
        ones = sum(1 in mask.values for mask in masks)
        full = sum(_IGNORED in mask.values for mask in masks)
        sentence = f"masks hold 0 and 255 ({full}) or 0 and 1 ({ones}), both foreground{aside}"
        return Meaning("semantic", _TWO, (0, _IGNORED), negative, sentence, also=((1, _IGNORED),))
    classes, ignore = values.tolist(), negative
    if classes[-1] == _IGNORED and len(classes) > 2:
        # 255 beside small numbers is the usual "void", unless it is most of what is there: then
        # the small numbers are the noise of a JPEG around 0 and 255. And where the two never meet
        # in one mask, they may be two scales of one thing, which is for the user to mend.
        meet = any(mask.values[-1] == _IGNORED and (mask.values > 0).sum() > 1 for mask in masks)
        if meet and 10 * counts[1:-1].sum() >= counts[-1]:
            classes, ignore = classes[:-1], (*negative, _IGNORED)
            aside = f", {', '.join(map(str, ignore))} ignored"
    first, last = classes[0], classes[-1]
    if first <= 1 and last <= MOST_CLASSES and len(classes) == last - first + 1:
        names = tuple("background" if v == 0 else f"class_{v}" for v in classes)
        sentence = f"masks hold classes {first} to {last}{aside}"
        return Meaning("semantic", names, tuple(classes), ignore, sentence)
    common = np.sort(np.argsort(-counts, kind="stable")[:2])
    if counts[common].sum() >= 0.8 * counts.sum():
        low, high = values[common].tolist()
        sentence = f"masks hold {low} and {high}{aside}"
        return Meaning("semantic", _TWO, (low, high), negative, sentence)
    raise InputError(
        f"the masks hold {len(classes)} values ({some(classes, 8)}) that are neither two, nor "
        "classes numbered in order, nor objects",
        where=max(masks, key=lambda mask: len(mask.values)).path,
        cure="name the values in classes.json; " + SMOOTHED,
    )


def by_colours(masks: Sequence[Counted]) -> Meaning:
    """Say what the colours of masks mean: classes, or objects.

    Up to 64 colours are classes, black first and as background. More, or many that are rare or
    blends of two commoner ones, come from smoothing or JPEG, and only the others are classes;
    unless each colour is one piece, so that they tell objects apart.

    Raises:
        InputError: the colours make no sense together.
    """
    values, counts = tally(masks)
    counts = counts[values >= 0]
    negative, values = tuple(int(v) for v in values if v < 0), values[values >= 0]
    common = (counts >= 0.001 * counts.sum()) & ~_are_blends(values, counts)
    if len(values) > MOST_CLASSES or (~common).sum() > max(8, common.sum()):
        if values[0] == 0 and are_objects(masks):
            most = max(int((mask.values > 0).sum()) for mask in masks)
            sentence = f"masks tell their objects apart by colours (up to {most} in one)"
            classes = ("background", "object")
            return Meaning("instances", classes, (0,), negative, sentence, colours=True)
        if not 2 <= common.sum() <= MOST_CLASSES or counts[common].sum() < 0.8 * counts.sum():
            raise InputError(
                f"the masks hold {len(values)} colours ({some(values, 4, colours=True)}) that are "
                "neither classes nor objects",
                where=max(masks, key=lambda mask: len(mask.values)).path,
                cure="check that these are the masks; " + BLENDED,
            )
        values = values[common]
    values = values if len(values) > 1 else np.union1d(values, 0)
    names = [colour_name(int(value)) if value else "background" for value in values]
    shown = ", ".join(names[:6]) + (" …" if len(names) > 6 else "")
    return Meaning(
        "semantic",
        tuple(names),
        tuple(values.tolist()),
        negative,
        f"masks hold {len(names)} colours ({shown}), each taken for a class",
        colours=True,
    )


def _are_blends(values: Array, counts: Array) -> npt.NDArray[np.bool_]:
    """Tell which colours lie between (or at) two ten times as common, as smoothing makes them."""
    points = unpack(values).T.astype(np.float64)
    mains = np.argsort(-counts, kind="stable")[:32]
    found = np.zeros(len(values), bool)
    for one, other in combinations(mains.tolist(), 2):
        rare = np.flatnonzero((10 * counts <= min(counts[one], counts[other])) & ~found)
        line, start = points[other] - points[one], points[rare] - points[one]
        place = np.clip(start @ line / (line @ line), 0, 1)
        found[rare[np.linalg.norm(start - place[:, None] * line, axis=1) < 4]] = True
    return found


def are_objects(masks: Sequence[Counted]) -> bool:
    """Tell object ids from class indices; both are small whole numbers.

    An object is one connected piece, a class seldom is in all images. Organs are (one piece per
    class), so one of these must hold as well: more ids than a set has classes; ids in an unsigned
    type of 16 bits or more, or ids that run from 1 without gap, and that differ between images.
    Where that fails, classes.json decides: with it, numbers are classes, unless it names two.
    Colours of objects have ten pixels at least, for any blend of two colours is one piece too.
    """
    ids = [mask.values[mask.values > 0] for mask in masks]
    ids, masks = [i for i in ids if len(i)], [m for m, i in zip(masks, ids, strict=True) if len(i)]
    if (tally(masks)[0] > 0).sum() < 3:
        return False
    differ = len(masks) == 1 or any(not np.array_equal(i, ids[0]) for i in ids[1:])
    wide = all(mask.dtype.kind == "u" and mask.dtype.itemsize > 1 for mask in masks)
    gapless = np.mean([i[-1] == len(i) for i in ids]) >= 0.8 and len(masks) > 1
    if not (max(i[-1] for i in ids) > MOST_CLASSES or (differ and (wide or gapless))):
        return False
    # Drawings that stand among them cannot be looked at again as pictures.
    masks = [mask for mask in masks if is_image(mask.path)]
    if not masks:
        return False
    chosen = [masks[k] for k in np.linspace(0, len(masks) - 1, 12).astype(int)]
    whole = [
        _connected(read_coloured(mask.path), 10) if mask.colours else _connected(_read(mask), 1)
        for mask in {mask.path: mask for mask in chosen}.values()
    ]
    return bool(np.mean(np.concatenate(whole)) >= 0.8)


def _read(mask: Counted) -> Array:
    return read_labels(mask.path)


def _connected(ids: Array, smallest: int) -> Array:
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
    return np.asarray((largest >= 0.9 * total) & (total >= smallest))


def _in_two_scales(masks: Sequence[Counted]) -> bool:
    """Tell whether some masks hold 0 and 1, others 0 and 255, and none both."""
    held = [frozenset(mask.values[mask.values >= 0].tolist()) for mask in masks]
    apart = all(not {1, _IGNORED} <= values for values in held)
    return apart and {0, 1} in held and {0, _IGNORED} in held
