"""The picture of a case: one file, or several whose channels follow each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from unetkit.data.case import Case
from unetkit.errors import InputError
from unetkit.image import Image, read_image


def read_picture(case: Case) -> Image:
    """Read the image of a case with its bands, (c, *space).

    One file keeps its dtype. Several become float32, NaN where a file says that nothing was
    measured; spacing, place and name are those of the first.

    Raises:
        InputError: a file cannot be read, or its size is not that of the first.
    """
    picture = read_image(case.image)
    if not case.bands:
        return picture
    pictures = [picture, *(read_image(path) for path in case.bands)]
    join_shapes(case, [one.data.shape for one in pictures])
    pixels = np.concatenate([one.intensities() for one in pictures])
    return Image(pixels, picture.spacing, picture.frame, picture.path, nodata=None)


def join_shapes(case: Case, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Give the shape (c, *space) of image and bands together.

    Raises:
        InputError: they differ in more than channels.
    """
    first = shapes[0]
    for path, shape in zip(case.bands, shapes[1:], strict=True):
        if shape[1:] != first[1:]:
            sizes = [" × ".join(map(str, one[1:])) for one in (shape, first)]
            raise InputError(
                f"the band is {sizes[0]} and {case.image.name} {sizes[1]}",
                where=path,
                cure="bring all bands of a picture to one grid",
            )
    return (sum(shape[0] for shape in shapes), *first[1:])


def measured_nothing(picture: Image) -> npt.NDArray[np.bool_] | None:
    """Give where (*space) no channel holds a measured number, or None where all do."""
    if picture.nodata is not None:
        void = (picture.data == picture.nodata).all(0)
    elif picture.data.dtype.kind == "f":
        void = np.isnan(picture.data).all(0)
    else:
        return None
    return void if void.any() else None
