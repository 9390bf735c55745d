"""Broken PNG, JPEG and other pictures of two axes."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from broken.item import Item, from_bytes
from broken.sound import CONTENTS, X, Y, by_pillow, noise

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes) -> bytes:
    """Give a chunk of a PNG."""
    crc = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def png(x: int, y: int, stream: bytes, depth: int = 8, kind: int = 0, extra: bytes = b"") -> bytes:
    """Give a PNG of a stream that is compressed already."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", x, y, depth, kind, 0, 0, 0))
    return _SIGNATURE + header + extra + chunk(b"IDAT", stream) + chunk(b"IEND", b"")


def zeros(count: int) -> bytes:
    """Deflate so many zero bytes without taking the time: equal blocks follow each other."""
    engine = zlib.compressobj(9)
    head = engine.compress(bytes(2**20)) + engine.flush(zlib.Z_FULL_FLUSH)
    block = engine.compress(bytes(2**20)) + engine.flush(zlib.Z_FULL_FLUSH)
    rest = engine.compress(bytes(count % 2**20)) + engine.flush()[:-4]
    checksum = struct.pack(">HH", count % 65521, 1)  # Adler-32 of zeros
    return head + block * (count // 2**20 - 1) + rest + checksum


def _damaged_crc(name: bytes) -> bytes:
    content = bytearray(CONTENTS["grey.png"]())
    place = content.index(name)
    content[place + 6] ^= 1
    return bytes(content)


def _palette_beyond() -> bytes:
    rows = b"".join(b"\0" + bytes(row) for row in noise())
    return png(X, Y, zlib.compress(rows), 8, 3, chunk(b"PLTE", bytes(range(12))))


def _no_palette() -> bytes:
    return png(X, Y, zlib.compress(bytes(Y * (X + 1))), 8, 3)


def _frames(kind: str) -> bytes:
    first, *others = [Pillow.fromarray((noise() + k).astype(np.uint8)) for k in range(3)]
    target = io.BytesIO()
    first.save(target, kind, save_all=True, append_images=others)
    return target.getvalue()


def _exif(garbage: bytes) -> bytes:
    whole = CONTENTS["grey.jpg"]()
    block = b"Exif\0\0" + garbage
    return whole[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + whole[2:]


def _jpeg_size(y: int, x: int, name: str = "grey.jpg") -> bytes:
    content = bytearray(CONTENTS[name]())
    frame = next(
        content.find(bytes((0xFF, m))) for m in (0xC0, 0xC2) if bytes((0xFF, m)) in content
    )
    struct.pack_into(">HH", content, frame + 5, y, x)
    return bytes(content)


def _jpeg_hole(name: str) -> bytes:
    """Overwrite the scan of a JPEG with markers, but keep its end."""
    content = bytearray(CONTENTS[name]())
    scan = content.index(b"\xff\xda") + 14
    content[scan : len(content) - 2] = b"\xff\xc4\x00\x02" * ((len(content) - 2 - scan) // 4)
    return bytes(content)


def _bmp(x: int, y: int) -> bytes:
    content = bytearray(CONTENTS["grey.bmp"]())
    struct.pack_into("<ii", content, 18, x, y)
    return bytes(content)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


_ROWS = bytes(Y * (X + 1))

PICTURES = [
    from_bytes("PNG of 2³¹ columns", "huge.png", lambda: png(2**31 - 1, 2**31 - 1, b"")),
    from_bytes("PNG of 2³¹ columns, unsigned", "huge.png", lambda: png(2**32 - 1, 1, b"")),
    from_bytes("PNG of no columns", "none.png", lambda: png(0, 5, zlib.compress(b"\0" * 5))),
    from_bytes("PNG bomb", "bomb.png", lambda: png(60000, 60000, zeros(60000 * 60001))),
    from_bytes(
        "PNG bomb in its text",
        "text.png",
        lambda: png(X, Y, zlib.compress(_ROWS), extra=chunk(b"zTXt", b"a\0\0" + zeros(2**31))),
        "readable",
    ),
    from_bytes(
        "PNG bomb in its profile",
        "profile.png",
        lambda: png(X, Y, zlib.compress(_ROWS), extra=chunk(b"iCCP", b"a\0\0" + zeros(2**31))),
        "readable",
    ),
    from_bytes(
        "PNG with far too many pixels",
        "more.png",
        lambda: png(X, Y, zeros(2**30)),
        "either",
    ),
    from_bytes("PNG with a wrong CRC of its header", "crc.png", lambda: _damaged_crc(b"IHDR")),
    from_bytes("PNG with a wrong CRC of its pixels", "crc.png", lambda: _damaged_crc(b"IDAT")),
    from_bytes("PNG of depth 7", "seven.png", lambda: png(X, Y, zlib.compress(_ROWS), 7)),
    from_bytes("PNG of kind 5", "five.png", lambda: png(X, Y, zlib.compress(_ROWS), 8, 5)),
    from_bytes("PNG without palette", "bare.png", _no_palette),
    from_bytes("PNG with indices beyond its palette", "beyond.png", _palette_beyond, "either"),
    from_bytes(
        "PNG with a chunk of 2³¹ bytes",
        "chunk.png",
        lambda: CONTENTS["grey.png"]()[:33] + b"\x7f\xff\xff\xfftEXt",
    ),
    from_bytes(
        "PNG without IDAT",
        "no.png",
        lambda: _SIGNATURE + png(X, Y, b"")[8:33] + chunk(b"IEND", b""),
    ),
    from_bytes(
        "PNG with text behind its end",
        "tail.png",
        lambda: CONTENTS["grey.png"]() + _ROWS,
        "readable",
    ),
    from_bytes("PNG of three frames", "frames.png", lambda: _frames("PNG"), "either"),
    from_bytes("GIF of three frames", "frames.gif", lambda: _frames("GIF")),
    from_bytes("WebP of three frames", "frames.webp", lambda: _frames("WEBP")),
    from_bytes("JPEG without size", "flat.jpg", lambda: _jpeg_size(0, 0)),
    from_bytes("JPEG without rows", "flat.jpg", lambda: _jpeg_size(0, X)),
    from_bytes("JPEG of 65535²", "large.jpg", lambda: _jpeg_size(65535, 65535)),
    from_bytes("JPEG of 65535 rows", "large.jpg", lambda: _jpeg_size(65535, X), "either"),
    from_bytes(
        "progressive JPEG of 65535²", "large.jpg", lambda: _jpeg_size(65535, 65535, "colour.jpg")
    ),
    from_bytes("CMYK JPEG of 65535²", "large.jpg", lambda: _jpeg_size(65535, 65535, "ink.jpg")),
    from_bytes("JPEG of markers only", "hole.jpg", lambda: _jpeg_hole("grey.jpg"), "either"),
    from_bytes("CMYK JPEG of markers only", "hole.jpg", lambda: _jpeg_hole("ink.jpg"), "either"),
    from_bytes(
        "JPEG with EXIF of noise", "exif.jpg", lambda: _exif(noise(900).tobytes()), "readable"
    ),
    from_bytes(
        "JPEG with EXIF that goes round",
        "exif.jpg",
        lambda: _exif(b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\xff\x08\0\0\0\x08\0\0\0"),
        "readable",
    ),
    from_bytes(
        "JPEG with rotation 77",
        "exif.jpg",
        lambda: _exif(b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x4d\0\0\0\0\0\0\0"),
        "readable",
    ),
    from_bytes("BMP of 2³¹ columns", "large.bmp", lambda: _bmp(2**31 - 1, 2**31 - 1)),
    from_bytes("BMP of negative columns", "large.bmp", lambda: _bmp(-48, 40)),
    from_bytes("BMP of 20000²", "large.bmp", lambda: _bmp(20000, 20000)),
    from_bytes("PGM of 999999999²", "large.pgm", lambda: b"P5 999999999 999999999 255\n" + _ROWS),
    from_bytes("PGM of digits without end", "digits.pgm", lambda: b"P5 " + b"9" * 100_000),
    from_bytes("PGM of negative numbers", "minus.pgm", lambda: b"P2 2 2 9\n-1 2 3 4"),
    from_bytes("PGM of a highest value of 0", "zero.pgm", lambda: b"P5 2 2 0\n1234"),
    from_bytes("coloured mask", "mask.png", lambda: by_pillow(noise(Y, X, 3), "PNG"), "no mask"),
    Item("folder called .png", lambda folder: _folder(folder / "a.png")),
    Item("folder called .nii.gz", lambda folder: _folder(folder / "a.nii.gz")),
    Item("folder called .dcm", lambda folder: _folder(folder / "a.dcm")),
]
