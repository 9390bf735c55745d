"""MetaImage (.mha, .mhd), read without ITK.

ITK's own reader takes damaged packed pixels for good, and prints what it finds wrong instead of
raising; the format is simple enough to be read here. Source: the MetaIO documentation
(https://itk.org/Wiki/ITK/MetaIO/Documentation) and ITK's behaviour, which the tests compare with.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import numpy.typing as npt

from unetkit.errors import InputError
from unetkit.image.guard import damage, refuse_excess, slices_size
from unetkit.image.limits import in_parts, refuse_bomb, refuse_impossible
from unetkit.image.opened import Array, Opened, Window

ONE_FILE = "save it as one file, .mha or .nrrd"
LARGEST_HEADER = 2**20
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's x and y point the other way than nibabel's
_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_TRUE = ("true", "1", "yes")


@dataclass(frozen=True)
class _Header:
    """What a header says.

    Attributes:
        size: (x, y, …).
        channels: numbers per pixel.
        dtype: as stored, with its byte order.
        data: the file of the pixels.
        start: where they begin in it.
        packed: they are compressed.
        spacing: (x, y, …).
        frame: affine to RAS, or None where the header has no place.
    """

    size: tuple[int, ...]
    channels: int
    dtype: np.dtype[np.generic]
    data: Path
    start: int
    packed: bool
    spacing: tuple[float, ...]
    frame: npt.NDArray[np.float64] | None

    @property
    def promised(self) -> int:
        """Bytes of pixels."""
        return math.prod(self.size) * self.channels * self.dtype.itemsize


def open_metaimage(path: Path) -> Opened:
    """Open a MetaImage as (c, [z,] y, x); a fourth axis becomes channels.

    Raises:
        InputError: damaged, text, or pixels in several files or another folder.
    """
    kind = path.suffix[1:].lower()
    with damage(path, kind):
        header = _read_header(path)
        held = header.data.stat().st_size - header.start
        if header.packed:
            refuse_impossible(path, header.promised, held)
        elif held < header.promised:
            raise ValueError("the file ends before its pixels do")
    space = header.size[:3][::-1]
    more = math.prod(header.size[3:])
    dtype = header.dtype.newbyteorder("=")

    def arranged(data: Array) -> Array:
        """Turn (fourth, *space, c) into (c, *space)."""
        data = np.moveaxis(data, -1, 1).reshape(-1, *data.shape[1:-1])
        return np.require(data, dtype, ["C", "W"])

    def read_window(window: Window) -> Array:
        with damage(path, kind):
            refuse_excess(path, (more * header.channels, *slices_size(window)), dtype.itemsize)
            return arranged(_rows(header, space, more, window))

    def read_whole() -> Array:
        with damage(path, kind):
            refuse_bomb(path, header.promised, held)
            content = np.frombuffer(_inflate(header), header.dtype)
            return arranged(content.reshape(more, *space, header.channels))

    read = in_parts(read_whole, space) if header.packed else read_window
    spacing = header.spacing[:3][::-1]
    shape = (more * header.channels, *space)
    return Opened(shape, dtype, read, spacing, header.frame, whole=header.packed)


def beside(path: Path, name: str) -> Path:
    """Give the file of pixels that a header names; it must lie in the header's folder or below.

    Raises:
        InputError: it lies elsewhere, there are several, or it is missing.
    """
    if "%" in name or name.split()[:1] == ["LIST"]:
        raise InputError("its pixels are spread over several files", where=path, cure=ONE_FILE)
    pure = PurePath(name)
    if not name or name == "-" or pure.is_absolute() or ".." in pure.parts or "\0" in name:
        what = f"its pixels are said to lie in {name!r}, outside its folder"
        raise InputError(what, where=path, cure=ONE_FILE)
    if not (path.parent / name).is_file():
        raise InputError(
            f"its pixels should lie in {name}, which is missing",
            where=path,
            cure="copy both files into one folder",
        )
    return path.parent / name


def _read_header(path: Path) -> _Header:
    """Read `Key = value` lines, the last of which names the pixels."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        while "elementdatafile" not in fields:
            line = file.readline(LARGEST_HEADER)
            if not line or file.tell() > LARGEST_HEADER or b"\0" in line:
                raise ValueError("its header ends too soon")
            key, equals, value = line.decode("utf-8", "replace").partition("=")
            if not equals and line.strip():
                raise ValueError(f"its header holds the line {line[:40]!r}")
            fields[key.strip().lower()] = value.strip()
        start = file.tell()
    size = tuple(int(word) for word in fields["dimsize"].split())
    if len(size) != int(fields["ndims"]) or min(size) < 1:
        raise ValueError(f"its header declares the size {fields['dimsize']}")
    if not 2 <= len(size) <= 4:
        raise InputError(f"has {len(size)} axes", where=path, cure="save (x, y) or (x, y, z)")
    kind = fields["elementtype"].removesuffix("_ARRAY")
    if kind not in _TYPES:
        raise InputError(
            f"pixels of type {kind} are not understood", where=path, cure="save numbers"
        )
    if fields.get("binarydata", "true").lower() not in _TRUE:
        raise InputError("holds its numbers as text", where=path, cure="save it as binary")
    big = fields.get("binarydatabyteordermsb", fields.get("elementbyteordermsb", ""))
    dtype = np.dtype(_TYPES[kind]).newbyteorder(">" if big.lower() in _TRUE else "<")
    channels = int(fields.get("elementnumberofchannels", "1"))
    if not 1 <= channels <= 2**16:
        raise ValueError(f"its header declares {channels} channels")
    name, data = fields["elementdatafile"], path
    if name.lower() != "local":
        data, start = beside(path, name), 0
    skipped = int(fields.get("headersize", "0"))
    packed = fields.get("compresseddata", "").lower() in _TRUE
    spacing, frame = _place(fields, len(size))
    header = _Header(size, channels, dtype, data, start, packed, spacing, frame)
    if skipped < 0:  # the pixels are the end of the file, whatever comes before
        start = data.stat().st_size - header.promised
    elif skipped:
        start = skipped
    if start < 0:
        raise ValueError("the file ends before its pixels do")
    return _Header(size, channels, dtype, data, start, packed, spacing, frame)


def _place(
    fields: Mapping[str, str], ndim: int
) -> tuple[tuple[float, ...], npt.NDArray[np.float64] | None]:
    """Give spacing and affine; the header lists the directions of x, then of y, then of z."""
    spacing = _numbers(fields, ("elementspacing", "elementsize"), ndim)
    turned = _numbers(fields, ("transformmatrix", "rotation", "orientation"), ndim**2)
    origin = _numbers(fields, ("offset", "origin", "position"), ndim)
    size = np.ones(ndim) if spacing is None else np.abs(spacing)
    size[size == 0] = 1
    sizes = tuple(map(float, size))
    if turned is None and origin is None:
        return sizes, None
    directions = np.eye(ndim) if turned is None else turned.reshape(ndim, ndim).T
    n = min(ndim, 3)
    affine = np.eye(4)
    affine[:n, :n] = directions[:n, :n] * size[:n]
    affine[:n, 3] = 0 if origin is None else origin[:n]
    return sizes, LPS @ affine if abs(np.linalg.det(affine)) > 0 else None


def _numbers(
    fields: Mapping[str, str], names: tuple[str, ...], count: int
) -> npt.NDArray[np.float64] | None:
    for name in names:
        if name in fields:
            numbers = np.array([float(word) for word in re.split(r"\s+", fields[name])])
            if len(numbers) != count or not np.isfinite(numbers).all():
                raise ValueError(f"its header has {name} {fields[name][:60]}")
            return numbers
    return None


def _rows(header: _Header, space: tuple[int, ...], more: int, window: Window) -> Array:
    """Read the rows that a window crosses: (fourth, *window, c)."""
    *deep, y, x = window
    depth, (height, width) = math.prod(space[:-2]), space[-2:]
    planes = range(deep[0].start, deep[0].stop) if deep else range(1)
    row = width * header.channels
    shape = (more, len(planes), *slices_size((y, x)), header.channels)
    data = np.empty(shape, header.dtype.newbyteorder("="))
    with header.data.open("rb") as file:
        for i in range(more):
            for k, plane in enumerate(planes):
                first = ((i * depth + plane) * height + y.start) * row
                file.seek(header.start + first * header.dtype.itemsize)
                numbers = np.fromfile(file, header.dtype, (y.stop - y.start) * row)
                data[i, k] = numbers.reshape(-1, width, header.channels)[:, x]
    return data if deep else data[:, 0]


def _inflate(header: _Header) -> bytearray:
    """Unpack the pixels, which must be as many as promised and end with a sound checksum."""
    content = bytearray()
    inflater = zlib.decompressobj(47)  # zlib or gzip, by its first bytes
    with header.data.open("rb") as file:
        file.seek(header.start)
        while not inflater.eof and len(content) <= header.promised:
            piece = inflater.unconsumed_tail or file.read(2**20)
            if not piece:
                break
            content += inflater.decompress(piece, header.promised - len(content) + 1)
    if len(content) != header.promised or not inflater.eof:
        raise ValueError("its packed pixels are not as many as its header declares")
    return content
