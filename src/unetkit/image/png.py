"""PNG: every depth, palette and interlacing, decoded by libpng from the chunks that matter."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from unetkit.errors import InputError
from unetkit.image.channels import without_alpha
from unetkit.image.limits import in_parts, refuse_bomb
from unetkit.image.opened import Array, Opened
from unetkit.image.orientation import orientation, upright, upright_size

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_CHANNELS = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGB_ALPHA: 4}
_LONGEST = 2**20  # of a chunk that is looked into before the pixels
# Adam7: first column, first row and the steps between columns and rows of each pass.
_PASSES = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
)  # fmt: skip


@dataclass(frozen=True)
class _Header:
    x: int
    y: int
    depth: int
    kind: int
    interlaced: bool
    table: Array | None  # (3, 256) colours of a palette
    turn: int

    @property
    def bits(self) -> int:
        return self.depth * _CHANNELS[self.kind]

    @property
    def promised(self) -> int:
        return self.y * (1 + (self.x * self.bits + 7) // 8)


def open_png(path: Path, indices: bool) -> Opened:
    """Open a PNG. It cannot be read in parts.

    What stands behind the first pixels is not looked at, so that a header costs a few kilobytes.
    """
    with path.open("rb") as file:
        header = _read_header(file, path)
    refuse_bomb(path, header.promised, path.stat().st_size)
    table = header.table
    grey = table is not None and bool((table == table[:1]).all())
    coloured = header.kind in (_RGB, _RGB_ALPHA) or not (table is None or grey or indices)

    def decode() -> Array:
        pixels = upright(_decode(path, header), header.turn)
        if table is not None:
            levels: Array = table[0][pixels][None] if grey else table[:, pixels]
            return levels if grey or not indices else pixels[None]
        if pixels.ndim == 2:
            return pixels[None]
        pixels = np.moveaxis(pixels, -1, 0)
        return without_alpha(pixels, indices) if len(pixels) in (2, 4) else pixels

    space = upright_size(header.y, header.x, header.turn)
    return Opened(
        shape=(3 if coloured else 1, *space),
        dtype=np.dtype(np.uint16 if header.depth == 16 else np.uint8),
        read=in_parts(decode, space),
        whole=True,
    )


def _read_header(file: BinaryIO, path: Path) -> _Header:
    start = file.read(33)
    if start[:8] != _SIGNATURE or start[12:16] != b"IHDR":
        raise ValueError("no PNG header")
    x, y, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", start[16:29])
    if zlib.crc32(start[12:29]) != int.from_bytes(start[29:33], "big"):
        raise ValueError("the header's checksum is wrong")
    if kind not in _CHANNELS or depth not in (1, 2, 4, 8, 16):
        raise ValueError(f"colour type {kind} with {depth} bits")
    table, exif, xmp = None, b"", b""
    while True:
        length, name = struct.unpack(">I4s", file.read(8))
        if name in (b"IDAT", b"IEND"):
            break
        content = file.read(length + 4)[:-4] if length <= _LONGEST else b""
        if not content and length:
            file.seek(length + 4, 1)
        if name == b"PLTE" and kind == _PALETTE:
            table = np.zeros((3, 256), np.uint8)
            colours = np.frombuffer(content[: 3 * 256], np.uint8)
            table[:, : len(colours) // 3] = colours.reshape(-1, 3).T
        elif name == b"eXIf":
            exif = content
        elif name == b"iTXt" and content.startswith(b"XML:com.adobe.xmp\0"):
            xmp = content
        elif name == b"acTL" and int.from_bytes(content[:4], "big") > 1:
            raise InputError(
                f"holds {int.from_bytes(content[:4], 'big')} frames",
                where=path,
                cure="save each frame as a picture, or all as a multi-page TIFF",
            )
    if (kind == _PALETTE) != (table is not None):
        raise ValueError("has no palette")
    return _Header(x, y, depth, kind, bool(interlaced), table, orientation(exif, xmp))


def _decode(path: Path, header: _Header) -> Array:
    """Give the pixels (y, x) or (y, x, c), those of a palette as indices.

    Only the pixels' own chunks are handed on, because libpng prints its opinion of the others.
    It expands fewer than 8 bits to the full range, which for indices is undone.
    """
    chunks = list(_data(memoryview(path.read_bytes())))
    if sum(map(len, chunks)) > 2 * header.promised + 2**16:  # libpng would unpack it to the end
        raise ValueError("holds far more than its pixels")
    if header.interlaced:
        pixels = _weave(b"".join(chunks), header)
    else:
        pixels = _decode_rows(chunks, header, header.x, header.y)
    if header.kind == _PALETTE and header.depth < 8:
        pixels //= 255 // (2**header.depth - 1)
    return pixels


def _data(content: memoryview) -> Iterator[memoryview]:
    place = 8
    while place < len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        end = place + 12 + length
        if end > len(content):
            raise ValueError("the file ends before its pixels do")
        if name == b"IDAT":
            yield content[place:end]
        elif name == b"IEND":
            return
        place = end


def _decode_rows(chunks: list[Any], header: _Header, x: int, y: int) -> Array:
    """Decode the rows of some chunks, whose list is emptied, so that memory holds them once."""
    from imagecodecs import png_decode

    # Indices are what the grey levels of the same rows would be.
    kind = _GREY if header.kind == _PALETTE else header.kind
    first = struct.pack(">IIBBBBB", x, y, header.depth, kind, 0, 0, 0)
    content = b"".join((_SIGNATURE, _chunk(b"IHDR", first), *chunks, _chunk(b"IEND", b"")))
    chunks.clear()
    pixels: Array = png_decode(content)
    return pixels


def _weave(chunks: bytes, header: _Header) -> Array:
    """Decode the seven pictures of an interlaced one, each a PNG of its own, and put them in."""
    view, inflate = memoryview(chunks), zlib.decompressobj()
    packed, place = [], 0
    while place < len(view):
        length = int.from_bytes(view[place : place + 4], "big")
        packed.append(view[place + 8 : place + 8 + length])
        place += 12 + length
    rows = inflate.decompress(b"".join(packed), 2 * header.promised + 64)
    channels = _CHANNELS[header.kind]
    shape = (header.y, header.x) if channels == 1 else (header.y, header.x, channels)
    pixels = np.empty(shape, np.uint16 if header.depth == 16 else np.uint8)
    begin = 0
    for column, row, right, down in _PASSES:
        part = pixels[row::down, column::right]
        if part.size:
            y, x = part.shape[:2]
            end = begin + y * (1 + (x * header.bits + 7) // 8)
            if end > len(rows):
                raise ValueError("the file ends before its pixels do")
            data = _chunk(b"IDAT", zlib.compress(rows[begin:end], 0))
            part[...] = _decode_rows([data], header, x, y)
            begin = end
    return pixels


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum
