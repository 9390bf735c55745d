"""Where the pictures of a satellite set lie, and how large ones are written in strips."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.data.synthetic.ground import CLASSES, ground
from unetkit.data.synthetic.satellite import IGNORE, NODATA, TILE, located, satellite
from unetkit.image import Image, write_image

LEGEND = {
    **{str(number): name for number, name in enumerate(CLASSES)},
    str(IGNORE): "cloud, shadow or no data (ignore)",
}

_STRIP = 2**23  # pixels of a strip
_HELD = 2**24  # pixels of a picture that is made in memory; a larger one is gathered on the disk
_LOOK = 2**18  # pixels of an area that is searched for all classes; larger ones have them
_SKIPS = 60  # columns, at most, that are passed over for want of a class
_ENOUGH = 0.02  # share of an area that a class must have


@dataclass(frozen=True)
class Place:
    """Where one picture lies: its number, its part of the split, its column, its first pixel."""

    number: int
    part: str
    column: int
    corner: tuple[int, int]


def places(count: int, size: tuple[int, int], seed: int) -> list[Place]:
    """Lay pictures side by side in columns from west to east: train, then val, then test.

    Pictures of a column touch, so a column is what a split or fold must not divide. Where a part
    of the split would lack a class, as happens with small pictures, it begins further east.
    """
    rows = round(math.sqrt(count / 2))
    columns = math.ceil(count / rows)
    held = max(1, round(columns / 5))
    found: list[Place] = []
    west = column = 0
    for part, wide in (("train", columns - 2 * held), ("val", held), ("test", held)):
        first = column * rows
        numbers = range(first, min(count, first + wide * rows))
        west += size[1] * _skipped(min(rows, len(numbers)), wide, west, size, seed)
        for number in numbers:
            along, down = divmod(number - first, rows)
            corner = (down * size[0], west + along * size[1])
            found.append(Place(number, part, column + along, corner))
        west, column = west + wide * size[1], column + wide
    return found


def _skipped(rows: int, columns: int, west: int, size: tuple[int, int], seed: int) -> int:
    """Say how many columns to pass over so that an area shows every class."""
    height, width = rows * size[0], columns * size[1]
    if height * width > _LOOK:
        return 0
    for skip in range(_SKIPS):
        x = np.arange(width) + west + skip * size[1]
        labels = ground(seed, np.arange(height), x, season=0.5).labels
        if np.bincount(labels.ravel(), minlength=len(CLASSES)).min() > _ENOUGH * labels.size:
            return skip
    return 0


def strips(size: tuple[int, int]) -> list[slice]:
    """Part the rows of a picture: all at once, or as many as are made at a time."""
    if math.prod(size) <= _HELD:
        return [slice(0, size[0])]
    rows = max(1, _STRIP // size[1] // TILE) * TILE
    return [slice(top, min(top + rows, size[0])) for top in range(0, size[0], rows)]


def write_picture(
    folder: Path,
    stem: str,
    size: tuple[int, int],
    seed: tuple[int, int],
    corner: tuple[int, int],
    step: Callable[[], None],
) -> None:
    """Make the picture at `corner` and write it to `images/` and `masks/` of the folder.

    Args:
        folder: of the set.
        stem: name of the two files.
        size: of the picture (y, x).
        seed: of the set, and number of the picture.
        corner: first pixel in the country.
        step: called after each strip.
    """
    if math.prod(size) <= _HELD:
        image, mask = satellite(size, seed, corner=corner)
        _write(folder, stem, image, mask[None], corner)
        step()
        return
    bands, labels = folder / "bands.raw", folder / "labels.raw"
    for rows in strips(size):
        window = rows, slice(0, size[1])
        image, mask = satellite(size, seed, corner=corner, window=window)
        _gather(bands, image, size, rows.start)
        _gather(labels, mask[None], size, rows.start)
        step()
    whole = np.memmap(bands, np.uint16, "r", shape=(6, *size))
    _write(folder, stem, whole, np.memmap(labels, np.uint8, "r", shape=(1, *size)), corner)
    bands.unlink()
    labels.unlink()


def _gather(path: Path, strip: NDArray[Any], size: tuple[int, int], top: int) -> None:
    """Write a strip where it belongs in a file of whole bands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("r+b" if top else "wb") as file:
        for band, part in enumerate(strip):
            file.seek((band * size[0] + top) * size[1] * strip.itemsize)
            file.write(np.ascontiguousarray(part).tobytes())


def _write(
    folder: Path, stem: str, image: NDArray[Any], mask: NDArray[Any], corner: tuple[int, int]
) -> None:
    frame = located(corner)
    for place, data, nodata in (("images", image, NODATA), ("masks", mask, IGNORE)):
        picture = Image(data, frame.spacing, frame, nodata=nodata)
        write_image(picture, folder / place / f"{stem}.tif")
