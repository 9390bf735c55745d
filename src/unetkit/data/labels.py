"""Masks and drawings → class indices of one image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.data.case import Drawing
from unetkit.data.counted import count_values, read_coloured, runs
from unetkit.data.drawings import draw
from unetkit.data.meaning import nearest_colour
from unetkit.data.task import Task, to_classes
from unetkit.errors import InputError
from unetkit.image import read_labels

Array = npt.NDArray[Any]
Space = tuple[int, ...]


def read_classes(
    mask: Path, drawing: Drawing | None, task: Task, space: Space | None
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int32] | None]:
    """Read the labels of an image, in whatever form they are.

    Args:
        mask: a picture of numbers or colours, the file of a drawing, or the folder of its objects.
        drawing: how `mask` is to be read where it is no picture of numbers or colours.
        task: what these mean.
        space: size of the image; None takes a picture of labels as large as it is.

    Returns:
        (*space) class indices, −1 where nothing counts; and ids of the objects, 0 for none, or
        None where classes are all that is known.

    Raises:
        InputError: it cannot be read, sizes differ, or a number or colour has no class.
    """
    if drawing is None:
        raw = fitting(read_numbers(mask, task), space, mask, "mask")
    else:
        assert space is not None, "a drawing has no size of its own"
        raw = draw(mask, drawing, space)
    return to_classes(raw, task, mask)


def read_numbers(mask: Path, task: Task) -> Array:
    """Read a picture of labels (*space) as the numbers its task speaks of; colours packed.

    Raises:
        InputError: it cannot be read.
    """
    return read_coloured(mask) if task.colours else read_labels(mask)


def read_fov(path: Path, space: Space) -> npt.NDArray[np.bool_]:
    """Read a field of view (*space), true inside.

    Half of the largest value decides, so that a field of view saved as JPEG has a clean edge.

    Raises:
        InputError: it cannot be read, or sizes differ.
    """
    view = fitting(read_labels(path), space, path, "field of view")
    return np.asarray(view > view.max() / 2)


def read_nearest(mask: Path, task: Task, space: Space) -> tuple[npt.NDArray[np.int16], float]:
    """Read a mask that smoothing or JPEG has blurred: every pixel takes the nearest class.

    Args:
        mask: a picture of numbers or colours.
        task: what these mean; no objects.
        space: size of the image.

    Returns:
        (*space) class indices, −1 where nothing counts; and the share of pixels that had no class.

    Raises:
        InputError: it cannot be read, or sizes differ.
    """
    raw = fitting(read_numbers(mask, task), space, mask, "mask")
    known = dict(zip(task.values, range(len(task.values)), strict=True))
    known |= {number: known[value] for number, value in task.also}
    known |= {number: -1 for number in task.ignore if number >= 0}
    order = np.array(sorted(known))
    numbers, counts = count_values(raw)
    if task.colours:
        place = np.concatenate([
            nearest_colour(part, order.tolist())
            for part in np.array_split(numbers, 1 + len(numbers) // 4096)
        ])  # fmt: skip
    else:
        place = np.abs(numbers[:, None] - order).argmin(1)
    index = np.array([known[number] for number in order.tolist()], np.int16)[place]
    index[numbers < 0] = -1
    odd = counts[~np.isin(numbers, order) & (numbers >= 0)].sum() / raw.size
    values, lengths = runs(raw)
    labels = np.repeat(index[np.searchsorted(numbers, values)], lengths).reshape(raw.shape)
    return labels, float(odd)


def fitting(raw: Array, space: Space | None, path: Path, what: str) -> Array:
    """Give labels back if they are as large as their image; `what` names them.

    Raises:
        InputError: they are not.
    """
    if space is not None and raw.shape != space:
        turned = raw.shape == (*space[:-2], space[-1], space[-2])
        axes = "z, y, x" if len(space) > 2 else "y, x"
        cure = f"make the {what} of the size of the image; resize it by nearest neighbour only"
        raise InputError(
            f"the {what} is {_size(raw.shape)} and its image {_size(space)} ({axes})",
            where=path,
            cure="it looks transposed: exchange its axes" if turned else cure,
        )
    return raw


def _size(space: Space) -> str:
    return " × ".join(map(str, space))
