"""NRRD (.nrrd, .nhdr) through SimpleITK, and MetaImage (.mha, .mhd)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unetkit.errors import InputError
from unetkit.files import atomic
from unetkit.image.guard import damage, need
from unetkit.image.limits import in_parts, refuse_bomb, refuse_impossible
from unetkit.image.metaimage import LARGEST_HEADER, LPS, beside, open_metaimage
from unetkit.image.opened import Array, Frame, Opened

if TYPE_CHECKING:
    from unetkit.image import Image

_NUMBERS = {
    "UInt8": "u1", "Int8": "i1", "UInt16": "u2", "Int16": "i2", "UInt32": "u4", "Int32": "i4",
    "UInt64": "u8", "Int64": "i8", "Float32": "f4", "Float64": "f8",
}  # fmt: skip


def open_itk(path: Path, indices: bool) -> Opened:
    """Open NRRD or MetaImage as (c, [z,] y, x); vectors and a fourth axis become channels.

    Windows of an unpacked MetaImage are read alone; all else is decoded whole and cut.

    Raises:
        InputError: damaged, pixels spread over several files or in another folder, no numbers.
    """
    del indices
    if path.suffix.lower() in (".mha", ".mhd"):
        return open_metaimage(path)
    itk = need("SimpleITK", path, "medical")
    with damage(path, "nrrd"):
        # ITK sees a file only when its header has been looked through: it would follow any path.
        fields, data, start = _read_header(path)
        with _muted(itk):
            reader = _reader(itk, path)
            reader.ReadImageInformation()
        size = tuple(int(n) for n in reader.GetSize())
        dtype, vector = _type(itk, path, reader)
        if not 2 <= len(size) <= 4:
            raise InputError(f"has {len(size)} axes", where=path, cure="save (x, y) or (x, y, z)")
        space = size[:3][::-1]
        channels = math.prod(size[3:]) * (reader.GetNumberOfComponents() if vector else 1)
        promised = channels * math.prod(space) * dtype.itemsize
        held = data.stat().st_size - start
        if fields["encoding"] == "raw" and held < promised:
            raise ValueError("the file ends before its pixels do")
        refuse_impossible(path, promised, held)
        _refuse_no_gzip(fields, data, start)
        spacing = tuple(map(float, reader.GetSpacing()[:3][::-1]))
        placed = "space directions" in fields or "space origin" in fields
        frame = _frame(reader) if placed else None

    def decode() -> Array:
        refuse_bomb(path, promised, held)
        with damage(path, "nrrd"), _muted(itk):
            pixels = itk.GetArrayFromImage(_reader(itk, path).Execute())
        pixels = pixels if vector else pixels[..., None]
        pixels = pixels.reshape(-1, *space, pixels.shape[-1])  # the fourth axis, or one
        pixels = np.moveaxis(pixels, -1, 1).reshape(channels, *space)
        return np.require(pixels, dtype, ["C", "W"])

    read = in_parts(decode, space)
    return Opened((channels, *space), dtype, read, spacing, frame, whole=True)


def write_itk(image: Image, path: Path) -> None:
    """Write .nrrd or .mha, compressed, with spacing and place; channels become vectors.

    A picture without depth keeps only the directions of rows and columns within their plane.

    Raises:
        InputError: the suffix stands for two files, or the disk refuses.
    """
    itk = need("SimpleITK", path, "medical")
    if path.suffix.lower() not in (".nrrd", ".mha"):
        raise InputError(
            f"{path.suffix} is not written, because it needs a second file",
            where=path,
            cure="choose .nrrd or .mha",
        )
    data = image.data
    if data.dtype.kind == "b" or data.dtype == np.float16:
        data = data.astype(np.uint8 if data.dtype.kind == "b" else np.float32)
    if data.dtype.kind not in "iuf":
        raise InputError(f"{data.dtype} pixels cannot be written", where=path)
    vector = len(data) > 1
    data = np.ascontiguousarray(np.moveaxis(data, 0, -1)) if vector else data[0]
    picture = itk.GetImageFromArray(data, isVector=vector)
    spacing, direction, origin = _place(image.frame, image.spacing)
    picture.SetSpacing(spacing)
    picture.SetDirection(direction)
    picture.SetOrigin(origin)
    with atomic(path) as temporary, _muted(itk):
        itk.WriteImage(picture, str(temporary), useCompression=True)


def _read_header(path: Path) -> tuple[dict[str, str], Path, int]:
    """Give the `field: value` lines after the magic, the file of the pixels and their start."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        if not file.read(8).startswith(b"NRRD000"):
            raise ValueError("it does not begin with NRRD")
        file.readline(LARGEST_HEADER)
        while line := file.readline(LARGEST_HEADER).strip():
            if file.tell() > LARGEST_HEADER:
                raise ValueError("its header is too long")
            key, colon, value = line.decode("utf-8", "replace").partition(":")
            if colon and not value.startswith("=") and not key.startswith("#"):
                fields[key.strip().lower()] = value.strip()
        start = file.tell()
    fields["encoding"] = fields["encoding"].lower()
    names = [fields[key] for key in ("data file", "datafile") if key in fields]
    for name in names:  # ITK may follow either
        beside(path, name)
    return fields, beside(path, names[0]) if names else path, 0 if names else start


def _refuse_no_gzip(fields: dict[str, str], data: Path, start: int) -> None:
    """Refuse what is not gzip where the header says so: ITK would take it for plain numbers."""
    if fields["encoding"] not in ("gzip", "gz") or {"byte skip", "line skip"} & fields.keys():
        return
    with data.open("rb") as file:
        file.seek(start)
        if file.read(2) != b"\x1f\x8b":
            raise ValueError("its pixels are no gzip")


def _place(
    frame: Frame, spacing: tuple[float, ...]
) -> tuple[tuple[float, ...], list[float], list[float]]:
    """Give spacing (x, y[, z]), directions row by row, and origin, as ITK has them."""
    n = len(spacing)
    plain = spacing[::-1], np.eye(n).ravel().tolist(), [0.0] * n
    if not isinstance(frame, np.ndarray) or frame.shape != (4, 4):
        return plain
    matrix = (LPS @ frame)[:n, [*range(n), 3]]
    lengths = np.linalg.norm(matrix[:, :n], axis=0)
    direction = matrix[:, :n] / np.where(lengths > 0, lengths, 1)
    if not np.isfinite(matrix).all() or abs(np.linalg.det(direction)) < 1e-6:
        return plain
    return tuple(lengths.tolist()), direction.ravel().tolist(), matrix[:, n].tolist()


def _frame(reader: Any) -> npt.NDArray[np.float64] | None:
    full = reader.GetDimension()
    n = min(3, full)
    affine = np.eye(4)
    direction = np.reshape(reader.GetDirection(), (full, full))[:n, :n]
    affine[:n, :n] = direction * np.asarray(reader.GetSpacing()[:n])
    affine[:n, 3] = reader.GetOrigin()[:n]
    return LPS @ affine if np.isfinite(affine).all() else None


def _type(itk: Any, path: Path, reader: Any) -> tuple[np.dtype[Any], bool]:
    for name, code in _NUMBERS.items():
        for vector, kind in ((False, "sitk"), (True, "sitkVector")):
            if reader.GetPixelID() == getattr(itk, kind + name):
                return np.dtype(code), vector
    kind = itk.GetPixelIDValueAsString(reader.GetPixelID())
    raise InputError(
        f"pixels of type {kind} are not understood", where=path, cure="save whole numbers or floats"
    )


def _reader(itk: Any, path: Path) -> Any:
    reader = itk.ImageFileReader()
    reader.SetImageIO("NrrdImageIO")  # else ITK goes by what the file holds
    reader.SetFileName(str(path))
    return reader


@contextmanager
def _muted(itk: Any) -> Iterator[None]:
    """Keep ITK from printing its warnings."""
    before = itk.ProcessObject.GetGlobalWarningDisplay()
    itk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        itk.ProcessObject.SetGlobalWarningDisplay(before)
