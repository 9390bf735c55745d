"""Broken TIFFs: tags, chains and pages, set by tifffile or byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import partial

import numpy as np

from broken.item import Fate, Item, from_bytes
from broken.pictures import zeros
from broken.sound import CONTENTS, X, Y, by_tifffile, noise

Tag = tuple[int, int, int, int]  # code, type, count, value


def tiff(tags: Iterable[Tag], after: bytes = b"", chain: int = 0, pages: int = 1) -> bytes:
    """Give a little-endian TIFF of one page, followed by some bytes.

    Args:
        tags: of the page.
        after: what follows it.
        chain: where the next page is said to be.
        pages: how often the page is repeated, with tags alone.
    """
    tags = sorted(tags)
    size = 2 + 12 * len(tags) + 4
    content = b"II*\0\x08\0\0\0"
    for page in range(pages):
        following = chain if page == pages - 1 else 8 + size * (page + 1)
        content += struct.pack("<H", len(tags))
        content += b"".join(struct.pack("<HHII", *tag) for tag in tags)
        content += struct.pack("<I", following)
    return content + after


def grey(
    x: int = X, y: int = Y, bits: int = 8, place: int = 200, count: int = Y * X, **more: int
) -> list[Tag]:
    """Give the tags of a grey picture in one strip."""
    tags = {
        256: x, 257: y, 258: bits, 259: 1, 262: 1, 273: place, 277: 1, 278: y, 279: count
    } | {int(name[1:]): value for name, value in more.items()}  # fmt: skip
    return [(code, 4, 1, value) for code, value in tags.items()]


def page(fill: int = Y * X, chain: int = 0, **tags: int) -> bytes:
    """Give a TIFF of a grey picture whose pixels lie at 200."""
    start = tiff(grey(**tags), chain=chain)
    return start.ljust(200, b"\0") + noise(fill).tobytes()


def _item(name: str, fate: Fate = "refused", **tags: int) -> Item:
    return from_bytes(f"TIFF {name}", "page.tif", partial(page, **tags), fate)


def _bomb() -> bytes:
    stream = zeros(3 * 2**30)
    start = tiff(grey(2**16, 3 * 2**14, place=200, count=len(stream), t259=8))
    return start.ljust(200, b"\0") + stream


def _many(count: int) -> bytes:
    """Give pages without end that all say the same."""
    return tiff(grey(2, 2, place=8, count=4), pages=count)


def _floats(value: float) -> bytes:
    pixels = noise(dtype="f4").copy()
    pixels[3:6, 2:9] = value
    return by_tifffile(pixels)


def _ome(text: str) -> bytes:
    return by_tifffile(noise(), description=text, metadata=None)


_ENTITIES = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + k)} "{f"&{chr(97 + k)};" * 10}">' for k in range(9))
    + ']><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">&j;</OME>'
)
_HUGE_OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image>'
    '<Pixels DimensionOrder="XYCZT" Type="uint8" SizeX="48" SizeY="40" SizeC="1" SizeZ="{}" '
    'SizeT="1"><TiffData/></Pixels></Image></OME>'
)

TIFFS = [
    _item("of a plain page", "readable"),
    _item("of 10⁶ × 10⁶", x=10**6, y=10**6),
    _item("of 10⁶ × 10⁶ with bytes to match", x=10**6, y=10**6, count=2**32 - 1),
    _item("of 2³²−1 columns", x=2**32 - 1),
    _item("of no columns", x=0),
    _item("of no rows", y=0),
    _item("of 7 bits", "either", bits=7),
    _item("of 0 bits", bits=0),
    _item("of 65535 bits", bits=65535),
    _item("of 2³² samples", t277=2**32 - 1),
    _item("of an unknown compression", t259=4242),
    _item("of an unknown meaning", "either", t262=4242),
    _item("of a palette it lacks", "either", t262=3),
    _item("of deflate that is noise", t259=8),
    _item("of LZW that is noise", t259=5),
    _item("of zstd that is noise", t259=50000),
    _item("of JPEG that is noise", t259=7),
    _item("of LZMA that is noise", t259=34925),
    _item("of JPEG 2000 that is noise", t259=34712),
    _item("of PackBits that is noise", "either", t259=32773),
    _item("of fax that is noise", "either", t259=4),
    _item("of a predictor nobody knows", "either", t317=77),
    _item("of a sample format nobody knows", "either", t339=77),
    _item("of strips beyond the end", place=10**6),
    _item("of strips at the last byte", place=2**32 - 1),
    _item("of strips of no bytes", "either", count=0),
    _item("of strips of a few bytes", "either", count=5),
    _item("of no rows per strip", "either", t278=0),
    _item("of strips that overlap its tags", "either", place=0),
    _item("of tiles of no width", t322=0, t323=0, t324=200, t325=100),
    _item("of tiles of 2³²−1", t322=2**32 - 16, t323=2**32 - 16, t324=200, t325=100),
    _item("of tiles beyond the end", t322=64, t323=64, t324=10**8, t325=4096),
    _item("of a chain to itself", chain=8),
    _item("of a chain to nowhere", chain=10**7),
    _item("of a chain into its pixels", chain=220),
    from_bytes("TIFF of an empty page", "page.tif", lambda: tiff([])),
    from_bytes("TIFF of a page and an empty one", "page.tif",
               lambda: page(chain=3000).ljust(3000, b"\0") + bytes(6), "either"),
    from_bytes("TIFF of 65535 tags", "page.tif", lambda: b"II*\0\x08\0\0\0\xff\xff" + bytes(99)),
    from_bytes("TIFF of 5000 pages that are one", "pages.tif", partial(_many, 5000), "either"),
    from_bytes("TIFF without pages", "none.tif", lambda: b"II*\0\0\0\0\0" + bytes(40)),
    from_bytes("TIFF of a header alone", "head.tif", lambda: b"II*\0\x08\0\0\0"),
    from_bytes("BigTIFF of 2⁶⁴ tags", "big.tif",
               lambda: b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0" + b"\xff" * 40),
    from_bytes("TIFF bomb", "bomb.tif", _bomb),
    from_bytes("TIFF of NaN", "nan.tif", partial(_floats, np.nan), "either"),
    from_bytes("TIFF of infinity", "inf.tif", partial(_floats, np.inf), "no mask"),
    from_bytes("TIFF of 10³⁰", "vast.tif", partial(_floats, 1e30), "no mask"),
    from_bytes("TIFF of fractions", "half.tif", partial(_floats, 0.5), "no mask"),
    from_bytes("TIFF of complex numbers", "complex.tif", lambda: by_tifffile(noise(dtype="c8"))),
    from_bytes("TIFF of two sizes", "two.tif",
               lambda: _two_sizes()),
    from_bytes("OME-TIFF of entities", "ome.ome.tif", partial(_ome, _ENTITIES), "either"),
    from_bytes("OME-TIFF of 10⁹ slices", "ome.ome.tif",
               partial(_ome, _HUGE_OME.format(10**9)), "either"),
    from_bytes("OME-TIFF of −1 slices", "ome.ome.tif",
               partial(_ome, _HUGE_OME.format(-1)), "either"),
    from_bytes("OME-TIFF that is cut XML", "ome.ome.tif", partial(_ome, _HUGE_OME[:150]), "either"),
    from_bytes("ImageJ TIFF of 10⁹ slices", "imagej.tif",
               lambda: _ome("ImageJ=1.53\nimages=1000000000\nslices=1000000000\n"), "either"),
    from_bytes("GeoTIFF with a scale of NaN", "geo.tif", lambda: _scaled(np.nan), "either"),
    from_bytes("GeoTIFF with a scale of 0", "geo.tif", lambda: _scaled(0), "either"),
    from_bytes("GeoTIFF with nodata of words", "geo.tif",
               lambda: by_tifffile(noise(), extratags=[(42113, "s", 0, "none at all", True)]),
               "either"),
    from_bytes("GeoTIFF with keys of noise", "geo.tif",
               lambda: by_tifffile(noise(), extratags=[(34735, "H", 40, list(range(9, 49)), True),
                                                       (33550, "d", 3, (1.0, 1.0, 0.0), True),
                                                       (33922, "d", 6, (0.0,) * 6, True)]),
               "either"),
    from_bytes("TIFF with two bytes more", "tail.tif",
               lambda: CONTENTS["strips.tif"]() + b"\0\0", "readable"),
]  # fmt: skip


def _two_sizes() -> bytes:
    import io

    import tifffile

    target = io.BytesIO()
    with tifffile.TiffWriter(target) as writer:
        for size in (Y, Y + 9):
            writer.write(noise(size, X), photometric="minisblack")
    return target.getvalue()


def _scaled(value: float) -> bytes:
    tags = [(33550, "d", 3, (value,) * 3, True), (33922, "d", 6, (0.0,) * 6, True)]
    return by_tifffile(noise(), extratags=tags)
