"""One picture per object, as the Data Science Bowl 2018 has them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.data.case import Drawing
from unetkit.data.counted import read_coloured
from unetkit.data.drawings.piece import Piece, Window
from unetkit.errors import InputError
from unetkit.image import read_labels

Array = npt.NDArray[Any]


def pieces(mask: Path, drawing: Drawing, space: tuple[int, ...]) -> list[Piece]:
    """Give the objects that have a pixel, each the brighter half of its picture.

    Half of the largest value, as for a field of view, so that a JPEG has a clean edge.

    Raises:
        InputError: a picture cannot be read, or is of another size than the image.
    """
    del mask
    found = []
    for part in drawing.parts:
        try:
            labels = read_labels(part)
        except InputError:
            labels = read_coloured(part) > 0  # an object in a colour
        if labels.shape != space:
            raise InputError(
                f"the object is {' × '.join(map(str, labels.shape))} and its image "
                f"{' × '.join(map(str, space))}",
                where=part,
                cure="make the picture of each object of the size of the image",
            )
        inside = labels > labels.max() / 2
        if inside.any():
            window = _box(inside)
            crop = inside[window].copy()
            found.append(Piece(part.name, int(crop.sum()), partial(_given, window, crop)))
    return found


def _box(inside: Array) -> Window:
    spans = []
    for axis in range(inside.ndim):
        others = tuple(other for other in range(inside.ndim) if other != axis)
        there = np.flatnonzero(inside.any(others))
        spans.append(slice(int(there[0]), int(there[-1]) + 1))
    return tuple(spans)


def _given(window: Window, crop: Array) -> tuple[Window, Array]:
    return window, crop
