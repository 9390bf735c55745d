"""A case: one image with what is known about it, as paths; nothing is opened here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Drawing:
    """Labels that are no picture of class numbers.

    Attributes:
        kind: "objects" (one picture per object, non-zero inside), "coco" (polygons and RLE),
            "geojson" (QuPath's) or "rois" (ImageJ's).
        parts: for "objects" the pictures, in natural order.
        key: for "coco" the `file_name` of the image.
        classes: names of the foreground classes over the whole set, class 1 first; with none or
            one, every object keeps a number of its own.
    """

    kind: Literal["objects", "coco", "geojson", "rois"]
    parts: tuple[Path, ...] = ()
    key: str = ""
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One image with what is known about it.

    Attributes:
        id: the name of the image without suffix; unique in its set.
        image: the picture.
        mask: its labels (for a drawing the file, or the folder of the objects), or None where
            nobody has drawn them.
        fov: its field of view (non-zero inside), or None where all of it counts.
        observer: the labels of a second annotator, or None.
        group: what belongs together and must not be divided by a split, or None.
        bands: further pictures of the same size whose channels follow those of `image`.
        drawing: how `mask` is to be read where it is no picture of class numbers.
    """

    id: str
    image: Path
    mask: Path | None = None
    fov: Path | None = None
    observer: Path | None = None
    group: str | None = None
    bands: tuple[Path, ...] = ()
    drawing: Drawing | None = None
