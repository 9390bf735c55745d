"""The picture of a case: one file, or several whose channels follow each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.data.case import Case
from unetkit.errors import InputError
from unetkit.image import Image, Opened, open_image, read_image


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


@contextmanager
def open_picture(case: Case) -> Iterator[Opened]:
    """Open the image of a case with its bands, to be read by window as `read_picture` gives it.

    Where a file says that nothing was measured, windows are float32 with NaN.

    Raises:
        InputError: a file cannot be read, or its size is not that of the first.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(open_image(path)) for path in (case.image, *case.bands)]
        shape = join_shapes(case, [one.shape for one in files])
        plain = len(files) == 1 and files[0].nodata is None
        if plain:
            yield files[0]
            return

        def read(window: tuple[slice, ...]) -> npt.NDArray[Any]:
            parts = [
                Image(one.read(window), one.spacing, nodata=one.nodata).intensities()
                for one in files
            ]
            return np.concatenate(parts)

        yield replace(
            files[0], shape=shape, dtype=np.dtype(np.float32), read=read, nodata=None,
            close=lambda: None,
        )  # fmt: skip


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
