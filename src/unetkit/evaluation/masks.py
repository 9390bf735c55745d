"""What files of masks hold (two values, classes, objects or probabilities), and how to read one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unetkit.data import Case, Task
from unetkit.data.task import count_values, to_classes
from unetkit.errors import InputError
from unetkit.evaluation.judge import Mask
from unetkit.image import read_labels
from unetkit.image.decoders import decode
from unetkit.image.names import PILLOW, suffix_of
from unetkit.metrics import objects

THRESHOLD = 0.5
_MOST_CLASSES = 64  # larger numbers that no legend names are no classes, but ids or damage


@dataclass(frozen=True)
class Seen:
    """The numbers of a set of masks, all files together.

    Attributes:
        values: that occur, in order; of probabilities, those of the files without fractions.
        soft: whether these are probabilities.
        fullest: the file with the most values.
        ndim: 2 or 3, of the first file.
    """

    values: tuple[int, ...]
    soft: bool
    fullest: Path
    ndim: int


@dataclass(frozen=True)
class Holding:
    """What the numbers of a set mean.

    Attributes:
        kind: "probabilities"; "two" values, `foreground` one of them, or None if it never occurs;
            "objects" by number; "classes".
        words: the same for people.
    """

    kind: Literal["probabilities", "two", "objects", "classes"]
    words: str
    foreground: int | None = None


@dataclass(frozen=True, eq=False)
class Truth:
    """A true mask; `*space` is (y, x) or (z, y, x).

    Attributes:
        labels: (*space) class index, −1 where it does not count.
        objects: (*space) ids of objects, 0 for none; None where nobody asks for them.
        fov: (*space) true inside the field of view.
        spacing: size of a pixel per axis.
        scale: the file that states it.
    """

    labels: NDArray[np.int16]
    objects: NDArray[Any] | None
    fov: NDArray[np.bool_]
    spacing: tuple[float, ...]
    scale: Path


def look(paths: Sequence[Path], *, soft: bool = False) -> Seen:
    """See which numbers a set of masks holds, before any of them is judged.

    Args:
        paths: of the masks.
        soft: whether they may be probabilities.

    Raises:
        InputError: one cannot be read; fractions that are no probabilities; or some masks are
            probabilities and others are not.
    """
    values: set[int] = set()
    most: dict[Path, int] = {}
    hard: dict[Path, NDArray[np.int64]] = {}
    ndim, fractions = 0, False
    for path in paths:
        data = _fractions(path) if soft else None
        if data is None:
            labels = read_labels(path)
            hard[path] = count_values(labels)[0]
            values.update(map(int, hard[path]))
            most[path] = len(hard[path])
        else:
            fractions = True
        ndim = ndim or (labels.ndim if data is None else data.ndim - 1)
    odd = [path for path, found in hard.items() if fractions and (found[0] < 0 or found[-1] > 1)]
    if odd:
        raise InputError(
            f"holds whole numbers up to {hard[odd[0]][-1]}, and others of its folder probabilities",
            where=odd[0],
            cure="give all predictions in one form",
        )
    fullest = max(most, key=most.__getitem__, default=paths[0])
    return Seen(tuple(sorted(values)), fractions, fullest, ndim)


def understand(seen: Seen, task: Task, *, instances: bool) -> Holding:
    """Say what the numbers of a set mean beside a truth of this task.

    Two values are background and foreground, whichever they are: the greater is foreground, and of
    a single one the truth decides, or else everything but 0 is.

    Raises:
        InputError: too many values for a truth of two.
    """
    if seen.soft:
        several = len(task.classes) > 2
        how = "the most probable class" if several else f"foreground from {THRESHOLD} on"
        return Holding("probabilities", f"probabilities, {how}")
    if len(task.classes) > 2:
        return Holding("classes", "class numbers")
    there = [value for value in seen.values if value >= 0]
    kept = [value for value in there if value not in task.ignore]
    # 255 may be ignored in the truth, and yet be the foreground of masks that hold 0 and 255.
    kept = kept if any(kept) else there
    if len(kept) <= 2:
        words = f"{' and '.join(map(str, kept)) or 'nothing'}, "
        top = _foreground(kept, task)
        return Holding("two", words + f"foreground {'nowhere' if top is None else top}", top)
    if instances or task.kind == "instances":
        return Holding("objects", "object numbers")
    shown = ", ".join(map(str, kept[:6])) + (" …" if len(kept) > 6 else "")
    raise InputError(
        f"the predictions hold {len(kept)} values ({shown}), the truth two",
        where=seen.fullest,
        cure="threshold them; save probabilities as floats from 0 to 1; number classes as the "
        "truth's classes.json does; or add --instances if these are objects",
    )


def widen(task: Task, values: Sequence[int]) -> Task:
    """Add classes that occur in masks that were never seen in the truth, where no legend decides.

    They are absent from every truth, so they have no score; but such a pixel is wrong, no damage.
    """
    if len(task.classes) == 2:
        return task
    more = {v for v in values if v >= 0} - {*task.values, *task.ignore}
    if not more or max(more) > _MOST_CLASSES:
        return task
    names = dict(zip(task.values, task.classes, strict=True))
    names |= {v: f"class_{v}" if v else "background" for v in more}
    return task.model_copy(
        update={"values": tuple(sorted(names)), "classes": tuple(names[v] for v in sorted(names))}
    )


def read_truth(case: Case, task: Task, *, instances: bool) -> Truth:
    """Read a true mask, its field of view and its scale.

    Raises:
        InputError: a file cannot be read, sizes differ, or the field of view is empty.
    """
    assert case.mask is not None
    raw = read_labels(case.mask)
    labels, ids = to_classes(raw, task, case.mask)
    if instances and ids is None:
        ids = objects(labels == 1)
    fov = np.ones(raw.shape, bool)
    if case.fov is not None:
        view = _fitting(read_labels(case.fov), raw.shape, "field of view", case.fov)
        # Half of the largest value, so that a field of view saved as JPEG has a clean edge.
        fov = view > view.max() / 2
        if not fov.any():
            cure = "mark the inside by any value above 0"
            raise InputError("the field of view is empty", where=case.fov, cure=cure)
    spacing, scale = _scale(case, raw.ndim)
    return Truth(labels, ids if instances else None, fov, spacing, scale)


def read_answer(
    path: Path, holding: Holding, task: Task, space: tuple[int, ...], *, instances: bool
) -> Mask:
    """Read a prediction as an answer.

    Args:
        path: the file.
        holding: what its set holds.
        task: that of the truth.
        space: size of the truth.
        instances: number its objects too.

    Raises:
        InputError: it cannot be read, sizes differ, or there is no such class.
    """
    if holding.kind == "probabilities":
        soft = _probabilities(path, space, len(task.classes))
        labels = soft.argmax(0) if len(task.classes) > 2 else soft[-1] >= THRESHOLD
        return Mask(labels, soft, objects(labels) if instances else None)
    raw = _fitting(read_labels(path), space, "prediction", path)
    if holding.kind == "classes":
        return Mask(to_classes(raw, task, path)[0])
    if holding.kind == "objects":
        ids = np.where(raw > 0, raw, 0)
        return Mask(raw > 0, None, ids if instances else None)
    labels = np.zeros(space, bool) if holding.foreground is None else raw == holding.foreground
    return Mask(labels, None, objects(labels) if instances else None)


def _foreground(values: Sequence[int], task: Task) -> int | None:
    if len(values) == 1 and len(task.values) == 2 and values[0] in task.values:
        return values[0] if values[0] == task.values[1] else None
    return values[-1] if values and values[-1] else None


def _fractions(path: Path) -> NDArray[Any] | None:
    """Give (c, *space) of a file that holds fractions; None for whole numbers.

    Raises:
        InputError: the fractions are no probabilities.
    """
    if suffix_of(path) in PILLOW:
        return None
    data, _, _ = decode(path, indices=True, header=False)
    if data.dtype.kind != "f" or (data == np.floor(data)).all():
        return None
    if not (data.min() >= 0 and data.max() <= 1):  # nan is neither
        raise InputError(
            f"holds fractions from {data.min():.4g} to {data.max():.4g}",
            where=path,
            cure="probabilities lie between 0 and 1 (logits need a sigmoid, percent a division); "
            "masks hold whole numbers",
        )
    return data


def _probabilities(path: Path, space: tuple[int, ...], classes: int) -> NDArray[Any]:
    """Read (k, *space); the size of the truth tells channels from slices and pages."""
    for indices in (True, False):
        data, _, _ = decode(path, indices=indices, header=False)
        for soft in (data, data[None], data[0] if len(data) == 1 else data):
            if soft.shape[1:] == space:
                return _of_classes(soft, classes, path)
    raise _misfit(data.shape[-len(space) :], space, "prediction", path)


def _of_classes(soft: NDArray[Any], classes: int, path: Path) -> NDArray[Any]:
    if len(soft) != classes and not (len(soft) == 1 and classes == 2):
        raise InputError(
            f"holds probabilities of {len(soft)} classes, the truth {classes} classes",
            where=path,
            cure="give one channel per class in the order of their numbers, or class numbers",
        )
    return soft if soft.dtype.kind == "f" else soft.astype(np.float32)


def _fitting(raw: NDArray[Any], space: tuple[int, ...], what: str, path: Path) -> NDArray[Any]:
    if raw.shape != space:
        raise _misfit(raw.shape, space, what, path)
    return raw


def _misfit(shape: tuple[int, ...], space: tuple[int, ...], what: str, path: Path) -> InputError:
    turned = shape == (*space[:-2], space[-1], space[-2])
    cure = f"make the {what} of the size of the truth; resize it by nearest neighbour only"
    return InputError(
        f"the {what} is {_size(shape)} and its truth {_size(space)} "
        f"({'z, y, x' if len(space) > 2 else 'y, x'})",
        where=path,
        cure="it looks transposed: exchange its axes" if turned else cure,
    )


def _size(space: tuple[int, ...]) -> str:
    return " × ".join(map(str, space))


def _scale(case: Case, ndim: int) -> tuple[tuple[float, ...], Path]:
    """Give the spacing of the image, or of the mask where the image's file says none."""
    assert case.mask is not None
    for path in dict.fromkeys((case.image, case.mask)):
        _, spacing, _ = decode(path, indices=path == case.mask, header=True)
        if len(spacing) == ndim and any(size != 1 for size in spacing):
            return spacing, path
    return (1.0,) * ndim, case.image
