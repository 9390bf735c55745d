"""What can be mended in the arrays of one case: a mask in ramps, on its side, blurred by JPEG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.data.alignment import TURNS, align
from unetkit.data.case import Case
from unetkit.data.drawings import draw
from unetkit.data.labels import read_nearest, read_numbers
from unetkit.data.meaning import Task, unexpected
from unetkit.data.picture import read_picture
from unetkit.data.repair.work import Plan
from unetkit.data.rewrite import Instead
from unetkit.data.task import to_classes
from unetkit.image import Image, read_image

Array = npt.NDArray[Any]


def mended(case: Case, plan: Plan, task: Task) -> Instead:
    """Give what is to be written in place of a case's image or mask.

    Raises:
        InputError: a file cannot be read.
    """
    image = None
    if plan.channels:
        picture = read_picture(case)
        data = picture.data[:1] if plan.channels == "grey" else np.repeat(picture.data, 3, 0)
        image = Image(data, picture.spacing, picture.frame, None, picture.nodata)
    if not plan.of_mask or case.mask is None:
        return Instead(image)
    labels, instances = _labels(case, plan, task)
    if plan.blank:
        pixels = read_picture(case).data
        labels = np.where(np.isfinite(pixels).all(0), labels, -1).astype(np.int16)
        instances = None if instances is None else np.where(labels < 0, 0, instances)
    return Instead(image, labels, instances)


def _labels(case: Case, plan: Plan, task: Task) -> tuple[Array, Array | None]:
    assert case.mask is not None
    if plan.half:
        return half(case.mask).astype(np.int16), None
    if case.drawing:
        return to_classes(draw(case.mask, case.drawing, read_picture(case).data.shape[1:]), task,
                          case.mask)  # fmt: skip
    if plan.smoothed == "nearest" and not plan.turn:
        numbers = read_numbers(case.mask, task)
        return read_nearest(case.mask, task, numbers.shape)[0], None
    numbers = TURNS[plan.turn][1](read_numbers(case.mask, task))
    if plan.scale:
        numbers = np.where(numbers == plan.scale, task.values[1], numbers.astype(np.int64))
    if plan.smoothed == "ramps":
        numbers = without_ramps(numbers)
    if task.kind == "semantic":
        values = np.unique(numbers)
        odd = values[unexpected(values, task)]
        if len(odd):
            strange = np.isin(numbers, odd)
            numbers = _filled(numbers, strange) if plan.smoothed else _ignored(numbers, strange)
    return to_classes(numbers, task, case.mask)


def without_ramps(numbers: Array) -> Array:
    """Give each pixel of a ramp, strictly between its neighbours, the number nearest to it."""
    from scipy.ndimage import maximum_filter, minimum_filter

    flat = numbers.astype(np.int64)
    size = (1,) * (flat.ndim - 2) + (3, 3)
    ramp = (minimum_filter(flat, size) < flat) & (flat < maximum_filter(flat, size))
    return _filled(numbers, ramp)


def half(mask: Path) -> npt.NDArray[np.bool_]:
    """Read a mask of probabilities as foreground from one half."""
    return np.asarray(read_image(mask).data[0] >= 0.5)


def is_probability(mask: Path) -> bool:
    """Tell whether a mask holds fractions from 0 to 1 in one channel, and reaches to both ends."""
    data = read_image(mask).data
    if len(data) != 1 or data.dtype.kind != "f" or not np.isfinite(data).all():
        return False
    low, high = float(data.min()), float(data.max())
    return 0 <= low < 0.5 <= high <= 1


def turn_to_fit(image: Array, numbers: Array) -> int:
    """Say how a mask of exchanged sides lies best on its image: one of `TURNS`, transposed first.

    Args:
        image: (c, *space).
        numbers: the mask, with the last two axes exchanged.
    """
    found: list[tuple[float, int]] = []
    for turn in (4, 5, 6, 7):
        alignment = align(image, np.ascontiguousarray(TURNS[turn][1](numbers)))
        found.append((alignment.centre if alignment else 0.0, turn))
    best = max(found)
    return best[1] if best[0] >= 9 and best[0] >= 1.5 * found[0][0] else 4


def _filled(numbers: Array, where: Array) -> Array:
    """Fill pixels with the number of the nearest of the others, in their plane."""
    from scipy.ndimage import distance_transform_edt

    if where.all() or not where.any():
        return numbers
    apart = (1e6,) * (numbers.ndim - 2) + (1.0, 1.0)  # other planes are far
    nearest = distance_transform_edt(
        where, sampling=apart, return_distances=False, return_indices=True
    )
    filled: Array = numbers[tuple(nearest)]
    return filled


def _ignored(numbers: Array, where: Array) -> Array:
    return np.where(where, -1, numbers.astype(np.int64))
