"""What files of masks hold (two values, classes, objects or probabilities), and how to read one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unetkit.data import Case, Task
from unetkit.data.colours import GREY, colour_name
from unetkit.data.counted import (
    Counted,
    count_mask,
    in_colours,
    in_greys,
    is_coloured,
    read_coloured,
    tally,
)
from unetkit.data.labels import read_classes
from unetkit.data.meaning import some
from unetkit.data.sight import MOST_CLASSES
from unetkit.data.task import to_classes
from unetkit.errors import InputError
from unetkit.evaluation.judge import Mask
from unetkit.image import open_image, read_labels, read_shape
from unetkit.metrics import objects

THRESHOLD = 0.5


@dataclass(frozen=True)
class Seen:
    """The numbers of a set of masks, all files together.

    Attributes:
        values: that occur, in order; of probabilities, those of the files without fractions. Of a
            file with more than a thousand, the commonest.
        soft: whether these are probabilities.
        fullest: the file with the most values.
        ndim: 2 or 3, of the first file.
        colours: the values are colours, 65536·red + 256·green + blue.
    """

    values: tuple[int, ...]
    soft: bool
    fullest: Path
    ndim: int
    colours: bool = False


@dataclass(frozen=True)
class Holding:
    """What the numbers of a set mean.

    Attributes:
        kind: "probabilities"; "two" values, `foreground` one of them, or None if it never occurs;
            "objects" by number; "classes" as in the truth; "indices", the order of the classes
            where the truth has colours.
        words: the same for people.
        foreground: see `kind`.
        colours: the masks are to be read as colours.
    """

    kind: Literal["probabilities", "two", "objects", "classes", "indices"]
    words: str
    foreground: int | None = None
    colours: bool = False


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
    hard: list[Counted] = []
    fractions = False
    for path in paths:
        if soft and _fractions(path) is not None:
            fractions = True
        else:
            hard.append(count_mask(path))
    colours = any(is_coloured(mask) for mask in hard)
    hard = [in_colours(mask) if colours else in_greys(mask) for mask in hard]
    odd = [m for m in hard if fractions and (m.values[0] < 0 or m.values[-1] > 1)]
    if odd:
        raise InputError(
            f"holds whole numbers up to {odd[0].values[-1]}, and others of its folder "
            "probabilities",
            where=odd[0].path,
            cure="give all predictions in one form",
        )
    values = tuple(tally(hard)[0].tolist())
    fullest = max(hard, key=lambda mask: len(mask.values)).path if hard else paths[0]
    return Seen(values, fractions, fullest, axes_of(paths[0]), colours)


def axes_of(mask: Path) -> int:
    """Give the number of spatial axes of a mask, from its header."""
    with open_image(mask, indices=True) as opened:
        return len(opened.shape) - 1


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
        return _classes(seen, task)
    there = [value for value in seen.values if value >= 0]
    kept = [value for value in there if value not in task.ignore]
    # 255 may be ignored in the truth, and yet be the foreground of masks that hold 0 and 255.
    kept = kept if any(kept) else there
    show = colour_name if seen.colours else str
    if len(kept) <= 2:
        words = f"{' and '.join(map(show, kept)) or 'nothing'}, "
        top = _foreground(kept, task)
        words += f"foreground {'nowhere' if top is None else show(top)}"
        return Holding("two", words, top, seen.colours)
    if instances or task.kind == "instances":
        return Holding("objects", "object numbers", colours=seen.colours)
    shown = some(kept, colours=seen.colours)
    raise InputError(
        f"the predictions hold {len(kept)} values ({shown}), the truth two",
        where=seen.fullest,
        cure="threshold them; save probabilities as floats from 0 to 1; number classes as the "
        "truth's classes.json does; or add --instances if these are objects",
    )


def _classes(seen: Seen, task: Task) -> Holding:
    if task.colours == seen.colours:
        return Holding("classes", "class colours" if seen.colours else "class numbers",
                       colours=seen.colours)  # fmt: skip
    if seen.colours:
        raise InputError(
            "the predictions are in colours, the truth numbers its classes",
            where=seen.fullest,
            cure="save them as class numbers, or give classes.json the colours too",
        )
    greys = {value * GREY for value in seen.values if value >= 0}
    if greys <= {*task.values, *task.ignore} or max(seen.values) >= len(task.classes):
        return Holding("classes", "class colours", colours=True)
    return Holding("indices", "class numbers in the order of the truth's classes, from 0")


def widen(task: Task, values: Sequence[int]) -> Task:
    """Add classes that occur in masks that were never seen in the truth, where no legend decides.

    They are absent from every truth, so they have no score; but such a pixel is wrong, no damage.
    """
    if len(task.classes) == 2:
        return task
    if task.colours and max(values, default=0) < 256:
        return task  # these are no colours
    more = {v for v in values if v >= 0} - {*task.values, *task.ignore}
    more -= {number for number, _ in task.also}
    most = len(more) + len(task.values) if task.colours else max(more, default=0)
    if not more or most > MOST_CLASSES:
        return task
    names = dict(zip(task.values, task.classes, strict=True))
    show = colour_name if task.colours else "class_{}".format
    names |= {v: show(v) if v else "background" for v in more}
    return task.model_copy(
        update={"values": tuple(sorted(names)), "classes": tuple(names[v] for v in sorted(names))}
    )


def read_truth(case: Case, task: Task, *, instances: bool) -> Truth:
    """Read a true mask, its field of view and its scale.

    Raises:
        InputError: a file cannot be read, sizes differ, or the field of view is empty.
    """
    assert case.mask is not None
    space = read_shape(case.image)[1:] if case.drawing else None
    labels, ids = read_classes(case.mask, case.drawing, task, space)
    if instances and ids is None:
        ids = objects(labels == 1)
    fov = np.ones(labels.shape, bool)
    if case.fov is not None:
        view = _fitting(read_labels(case.fov), labels.shape, "field of view", case.fov)
        # Half of the largest value, so that a field of view saved as JPEG has a clean edge.
        fov = view > view.max() / 2
        if not fov.any():
            cure = "mark the inside by any value above 0"
            raise InputError("the field of view is empty", where=case.fov, cure=cure)
    spacing, scale = _scale(case, labels.ndim)
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
    raw = read_coloured(path) if holding.colours else read_labels(path)
    raw = _fitting(raw, space, "prediction", path)
    if holding.kind == "indices":
        return Mask(raw.astype(np.int16))
    if holding.kind == "classes":
        return Mask(to_classes(raw, task, path)[0])
    if holding.kind == "objects":
        ids = np.where(raw > 0, raw, 0)
        return Mask(raw > 0, None, ids if instances else None)
    labels = np.zeros(space, bool) if holding.foreground is None else raw == holding.foreground
    return Mask(labels, None, objects(labels) if instances else None)


def _foreground(values: Sequence[int], task: Task) -> int | None:
    if len(task.values) == 2 and values and set(values) <= set(task.values):
        return task.values[1] if task.values[1] in values else None
    return values[-1] if values and values[-1] else None


def _fractions(path: Path) -> NDArray[Any] | None:
    """Give (c, *space) of a file that holds fractions; None for whole numbers.

    Raises:
        InputError: the fractions are no probabilities.
    """
    with open_image(path, indices=True) as opened:
        if opened.dtype.kind != "f":
            return None
        data = opened.read(tuple(slice(0, size) for size in opened.shape[1:]))
    if (data == np.floor(data)).all():
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
        with open_image(path, indices=indices) as opened:
            data = opened.read(tuple(slice(0, size) for size in opened.shape[1:]))
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
    for path in dict.fromkeys((case.image, *(() if case.drawing else (case.mask,)))):
        with open_image(path, indices=path == case.mask) as opened:
            spacing = opened.spacing
        if len(spacing) == ndim and any(size != 1 for size in spacing):
            return spacing, path
    return (1.0,) * ndim, case.image
