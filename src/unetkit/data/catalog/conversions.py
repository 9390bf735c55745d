"""Pixels of public sets that are not yet a picture of numbers per image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import InputError
from unetkit.image import read_image, read_labels

Array = NDArray[Any]

# What the masks of the aerial images of Dubai hold, as their page lists it, and our numbers.
DUBAI = {0: "unlabelled (ignore)", 1: "building", 2: "land", 3: "road", 4: "vegetation", 5: "water"}
_DUBAI = {0x9B9B9B: 0, 0x3C1098: 1, 0x8429F6: 2, 0x6EC1E4: 3, 0xFEDD3A: 4, 0xE2A929: 5}


def numbered(parts: Sequence[Path], scratch: Path, name: str) -> Path:
    """Join pictures of one object each; object i of n gets the number i, the first one wins."""
    joined: Array | None = None
    for number, part in enumerate(parts, 1):
        inside = read_labels(part) > 0
        if joined is None:
            joined = np.zeros(inside.shape, np.uint16)
        if inside.shape != joined.shape:
            what = "has not the size of the other objects of its image"
            raise InputError(what, where=part, cure="fetch the set again")
        joined[inside & (joined == 0)] = number
    assert joined is not None  # an image has at least one part, or it would not be asked for
    return _write(joined, scratch / f"{name}.png")


def slice_of(volume: Path, depth: int, scratch: Path, name: str) -> Path:
    """Cut one slice from a volume.

    Raises:
        InputError: it is no volume, or not as deep.
    """
    data = read_image(volume).data
    if data.ndim != 4 or depth >= data.shape[1]:
        raise InputError(f"has no slice {depth}", where=volume, cure="fetch the set again")
    return _write(data[0, depth], scratch / f"{name}.tif")


def lacks_objects(drawn: Path, tracked: Path) -> bool:
    """Tell whether an object that was tracked has not been drawn: no drawing touches its mark."""
    objects, marks = read_labels(drawn), read_labels(tracked)
    if objects.shape != marks.shape:
        return False
    touched = set(np.unique(marks[objects > 0]).tolist())
    return not set(np.unique(marks).tolist()) - {0} <= touched


def slices(volume: Path, labels: Path, scratch: Path, part: str) -> list[tuple[str, Path, Path]]:
    """Cut a volume and its labels into pictures; give their names and files.

    Raises:
        InputError: the two differ in size.
    """
    image, drawn = read_image(volume).data[0], read_labels(labels)
    if image.shape != drawn.shape or image.ndim != 3:
        what = f"has not the size of {volume.name}"
        raise InputError(what, where=labels, cure="fetch the set again")
    cut = []
    for depth, (pixels, mask) in enumerate(zip(image, drawn, strict=True)):
        name = f"{part}_{depth:02d}"
        written = (
            _write(pixels, scratch / f"{name}.png"),
            _write(mask, scratch / f"{name}_mask.png"),
        )
        cut.append((name, *written))
    return cut


def recoloured(mask: Path, scratch: Path, name: str) -> Path:
    """Turn the class colours of the Dubai masks into numbers.

    Raises:
        InputError: a colour is none of theirs.
    """
    red, green, blue = read_image(mask).data.astype(np.int64)[:3]
    colours, where = np.unique(65536 * red + 256 * green + blue, return_inverse=True)
    unknown = [int(colour) for colour in colours if int(colour) not in _DUBAI]
    if unknown:
        cure = "fetch the set again"
        raise InputError(f"holds the unknown colour #{unknown[0]:06X}", where=mask, cure=cure)
    numbers = np.array([_DUBAI[int(colour)] for colour in colours], np.uint8)
    return _write(numbers[where].reshape(red.shape), scratch / f"{name}.png")


def thresholded(mask: Path, scratch: Path, name: str) -> Path:
    """Make a mask black and white; its owners say that 128 and above is foreground."""
    return _write(255 * (read_image(mask).data[0] >= 128).astype(np.uint8), scratch / f"{name}.png")


def _write(pixels: Array, path: Path) -> Path:
    """Write to scratch, where nothing need survive a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        import tifffile

        tifffile.imwrite(path, pixels, compression="zlib")
    else:
        from PIL import Image as Pillow

        Pillow.fromarray(pixels).save(path, compress_level=1)
    return path
