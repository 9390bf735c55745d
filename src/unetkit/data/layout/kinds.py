"""Kinds of labels: pictures, QuPath's GeoJSON and ImageJ's ROIs; which files, of which image."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unetkit.data.case import Drawing
from unetkit.data.layout.folder import Folder
from unetkit.image import is_image, stem

_ROI = re.compile(r"^roiset[_ -]?|[_ -]?(?:roiset|rois?)$", re.IGNORECASE)
_DRAWN: dict[str, Literal["geojson", "rois"]] = {
    ".geojson": "geojson",
    ".zip": "rois",
    ".roi": "rois",
}


@dataclass(frozen=True)
class Kind:
    """A kind of labels.

    Attributes:
        drawing: None for pictures.
        words: for the sentence; nothing for pictures.
        files: gives those of a folder, in natural order.
    """

    drawing: Literal["geojson", "rois"] | None
    words: str
    files: Callable[[Folder], Sequence[Path]]


def drawing_of(file: Path) -> Drawing | None:
    """Tell from the suffix of a file how its labels are drawn; None for pictures."""
    kind = _DRAWN.get(file.suffix.lower())
    return Drawing(kind) if kind and not is_image(file) else None


def image_name(file: Path) -> str:
    """Give the name of the image that labels belong to: that of `RoiSet_a.tif.zip` is `a`."""
    if drawing_of(file) is None:
        return stem(file)
    name = _ROI.sub("", file.stem)
    return stem(name) if is_image(Path(name)) else name


def _drawn(kind: str) -> Callable[[Folder], list[Path]]:
    return lambda here: [file for file in here.files if _DRAWN.get(file.suffix.lower()) == kind]


PICTURES = Kind(None, "", lambda here: here.images)
KINDS = (
    PICTURES,
    Kind("geojson", "GeoJSON", _drawn("geojson")),
    Kind("rois", "ImageJ ROIs", _drawn("rois")),
)
