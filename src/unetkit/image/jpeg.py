"""JPEG: grey, colour and CMYK, turned upright."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from unetkit.image.channels import from_ink
from unetkit.image.limits import in_parts, refuse_bomb
from unetkit.image.opened import Array, Opened
from unetkit.image.orientation import orientation, upright, upright_size

_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers that begin a picture of some kind
_LOSSLESS = 0xC3
_SCAN, _APP1, _APP14 = 0xDA, 0xE1, 0xEE
_END, _SCAN_MARKER, _MOST_SCANS = b"\xff\xd9", b"\xff\xda", 100


@dataclass(frozen=True)
class _Header:
    x: int
    y: int
    bits: int
    channels: int
    lossless: bool
    inverted: bool  # CMYK as Adobe's programs write it
    turn: int
    scan: int  # where the pixels begin


def open_jpeg(path: Path, indices: bool) -> Opened:
    """Open a JPEG. It cannot be read in parts; of several pictures (MPO) the first one counts."""
    del indices
    with path.open("rb") as file:
        header = _read_header(file)
    kept = 1 if header.channels == 1 else 3
    dtype = np.dtype(np.uint8 if header.bits <= 8 else np.uint16)
    refuse_bomb(path, header.y * header.x * kept * dtype.itemsize, path.stat().st_size)

    def decode() -> Array:
        pixels = upright(_decode(path.read_bytes(), header), header.turn)
        return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)

    space = upright_size(header.y, header.x, header.turn)
    return Opened(shape=(kept, *space), dtype=dtype, read=in_parts(decode, space), whole=True)


def _read_header(file: BinaryIO) -> _Header:
    if file.read(2) != b"\xff\xd8":
        raise ValueError("no JPEG header")
    exif, xmp, frame, code, inverted = b"", b"", b"", 0, False
    while True:
        marker = file.read(2)
        while marker == b"\xff\xff":  # markers may be preceded by any number of these
            marker = marker[1:] + file.read(1)
        if len(marker) < 2 or marker[0] != 0xFF:
            raise ValueError("the file ends before its pixels do")
        length = int.from_bytes(file.read(2), "big")
        if marker[1] == _SCAN:
            break
        content = file.read(max(0, length - 2))
        if marker[1] in _FRAMES:
            frame, code = content, marker[1]
        elif marker[1] == _APP1 and content.startswith(b"Exif\0"):
            exif = exif or content
        elif marker[1] == _APP1 and content.startswith(b"http://ns.adobe.com/xap/"):
            xmp = xmp or content
        elif marker[1] == _APP14:
            inverted = content.startswith(b"Adobe")
    if len(frame) < 6 or not all((frame[1:3] > b"\0\0", frame[3:5] > b"\0\0")):
        raise ValueError("no size")
    y, x = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    turn = orientation(exif, xmp)
    return _Header(x, y, frame[0], frame[5], code == _LOSSLESS, inverted, turn, file.tell())


def _decode(content: bytes, header: _Header) -> Array:
    """Give the pixels (y, x) or (y, x, 3)."""
    if content.rfind(_END, header.scan) < 0:  # libjpeg would fill up what is missing with grey
        raise ValueError("the file ends before its pixels do")
    if content.count(_SCAN_MARKER, header.scan) > _MOST_SCANS:  # each of which takes its time
        raise ValueError("it comes in hundreds of scans")
    if header.channels in (1, 3):
        from imagecodecs import jpeg8_decode, jpeg_decode

        direct: Array = (jpeg_decode if header.lossless else jpeg8_decode)(content)
        return direct
    from PIL import JpegImagePlugin

    with JpegImagePlugin.JpegImageFile(BytesIO(content)) as picture:
        ink = np.asarray(picture)
        if picture.mode != "CMYK":
            raise ValueError(f"{header.channels} channels")
        # Pillow presumes Adobe's inversion, of which only Adobe's marker tells.
        return from_ink(ink if header.inverted else ~ink)
