"""How a camera was held: the orientation that EXIF or XMP tells, and pixels turned upright."""

from __future__ import annotations

import re
import struct

from unetkit.image.opened import Array

_TAG, _SHORT, _LONG = 0x0112, 3, 4
_XMP = re.compile(rb"tiff:Orientation(?:=[\"']|>)\s*([1-8])")


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """Give the orientation from 1 (upright) to 8 (EXIF 2.3, section 4.6.4); damage counts as 1."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        if order is not None:
            (start,) = struct.unpack_from(order + "4xI", exif)
            (count,) = struct.unpack_from(order + "H", exif, start)
            for entry in range(start + 2, start + 2 + 12 * count, 12):
                tag, kind = struct.unpack_from(order + "HH", exif, entry)
                if tag == _TAG and kind in (_SHORT, _LONG):
                    width = "H" if kind == _SHORT else "I"
                    (turn,) = struct.unpack_from(order + width, exif, entry + 8)
                    return int(turn) if turn in range(1, 9) else 1
    except struct.error:
        pass
    found = _XMP.search(xmp)
    return int(found[1]) if found else 1


def upright_size(y: int, x: int, turn: int) -> tuple[int, int]:
    """Give the size (y, x) after turning."""
    return (x, y) if turn >= 5 else (y, x)


def upright(pixels: Array, turn: int) -> Array:
    """Turn (y, x, …) upright, as a view."""
    if turn >= 5:
        pixels = pixels.swapaxes(0, 1)
    # What is upside down or mirrored is so in the turned picture.
    return pixels[:: -1 if turn in (3, 4, 7, 8) else 1, :: -1 if turn in (2, 3, 6, 7) else 1]
