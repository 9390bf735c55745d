"""PBM, PGM and PPM, plain or raw, also gzipped: the numbers as they stand in the file."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np

from unetkit.image.limits import DEFLATE, in_parts, refuse_bomb
from unetkit.image.opened import Array, Opened

_TEXT, _RAW = b"P1 P2 P3".split(), b"P4 P5 P6".split()
_LONGEST_HEADER = 2**16
_TOKEN = re.compile(rb"(?:\s|#[^\n\r]*[\n\r])*(\d+)")
_ENTRY = 16  # bytes of a number in a text file, with generous room for spaces and comments


def open_netpbm(path: Path, indices: bool) -> Opened:
    """Open a PBM, PGM or PPM. It cannot be read in parts; of several pictures the first one counts.

    Bits become 0 and 255 (1 is black, hence 0). Grey levels and colours are not stretched from
    their highest value to 255 or 65535.
    """
    del indices
    header = _read(path, _LONGEST_HEADER)
    magic = header[:2]
    if magic not in (*_TEXT, *_RAW):
        raise ValueError("no PBM, PGM or PPM header")
    bits = magic in (b"P1", b"P4")
    place, numbers = 2, list[int]()
    for _ in range(2 if bits else 3):
        token = _TOKEN.match(header, place)
        if token is None or len(token[1]) > 9:
            raise ValueError("its header is damaged")
        place, numbers = token.end(), [*numbers, int(token[1])]
    x, y, most = (*numbers, 1)[:3]
    if not 0 < most < 65536:
        raise ValueError(f"a highest value of {most}")
    channels = 3 if magic in (b"P3", b"P6") else 1
    dtype = np.dtype(np.uint8 if most < 256 else ">u2")
    count = channels * y * x
    room = y * ((x + 7) // 8) if bits else count * dtype.itemsize
    ratio = (8 if bits else 1) * (DEFLATE if _is_gzipped(path) else 1)
    refuse_bomb(path, count * dtype.itemsize, path.stat().st_size, ratio)

    def decode() -> Array:
        if magic in _TEXT:
            text = _read(path, _LONGEST_HEADER + count * _ENTRY)[place:]
            values = _numbers(text, count, bits)
            if values.max(initial=0) > most:
                raise ValueError(f"holds {values.max()}, more than {most}")
            values = values.astype(dtype.newbyteorder("="))
        else:
            content = _read(path, place + 1 + room)[place + 1 :]
            if len(content) < room:
                raise ValueError("the file ends before its pixels do")
            values = np.frombuffer(content, dtype)
        if magic == b"P4":
            values = np.unpackbits(values.reshape(y, -1), axis=1)[:, :x]
        pixels = np.moveaxis(values.reshape(y, x, channels), -1, 0)
        return (1 - pixels) * np.uint8(255) if bits else pixels

    read = in_parts(decode, (y, x))
    return Opened((channels, y, x), dtype.newbyteorder("="), read, whole=True)


def _read(path: Path, size: int) -> bytes:
    """Read so many bytes at most, unpacked where they are gzipped."""
    with path.open("rb") as file:
        if not _is_gzipped(path):
            return file.read(size)
        with gzip.GzipFile(fileobj=file) as content:
            return content.read(size)


def _is_gzipped(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _numbers(text: bytes, count: int, bits: bool) -> Array:
    values: Array
    text = re.sub(rb"#[^\n\r]*", b"", text)
    if bits:  # these may stand without spaces between them
        digits = np.frombuffer(text, np.uint8)
        values = digits[(digits == ord("0")) | (digits == ord("1"))] - np.uint8(ord("0"))
    elif re.fullmatch(rb"[\d\s]*", text):
        values = np.fromstring(text, np.int32, sep=" ")
    else:
        raise ValueError("holds something else than numbers")
    if len(values) < count:
        raise ValueError("the file ends before its pixels do")
    return values[:count]
