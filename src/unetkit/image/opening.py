"""Opening a file of any known format: the right reader, and one line for whatever goes wrong."""

from __future__ import annotations

import math
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from unetkit.errors import InputError
from unetkit.image.guard import damage, slices_size
from unetkit.image.names import (
    DICOM,
    ITK,
    JPEG,
    NETPBM,
    NIFTI,
    PILLOW,
    PNG,
    RASTER,
    TIFF,
    ZARR,
    is_volume,
    stem,
    suffix_of,
)
from unetkit.image.opened import Array, Opened, Window

# First bytes → what the file really is and the suffix it should have.
_SIGNATURES = (
    (b"\x89PNG", "PNG", ".png"),
    (b"\xff\xd8\xff", "JPEG", ".jpg"),
    (b"II*\0", "TIFF", ".tif"),
    (b"MM\0*", "TIFF", ".tif"),
    (b"II+\0", "TIFF", ".tif"),
    (b"MM\0+", "TIFF", ".tif"),
    (b"GIF8", "GIF", ".gif"),
    (b"RIFF", "WebP", ".webp"),
    (b"\x93NUMPY", "NPY", ".npy"),
    (b"PK\x03\x04", "zip", ".npz"),
    (b"NRRD", "NRRD", ".nrrd"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000", ".jp2"),
    (b"\x1f\x8b", "gzip", ".nii.gz"),
    (b"BM", "BMP", ".bmp"),
)
# The same, where it does not come first.
_LATE_SIGNATURES = ((128, b"DICM", "DICOM", ".dcm"), (344, b"n+1\0", "NIfTI", ".nii"))
_GZIPPED = {name for name in (*NETPBM, *NIFTI) if name.endswith(".gz")}
_FAMILIES = (set(TIFF), set(JPEG), {".nrrd", ".nhdr"}, _GZIPPED)

Opener = Callable[[Path, bool], Opened]


@contextmanager
def open_image(path: str | Path, *, indices: bool = False) -> Iterator[Opened]:
    """Open a picture of any known format without reading its pixels.

    Args:
        path: a file, or a folder that is one picture (Zarr, a DICOM series).
        indices: as masks want it: keep the indices of a palette, prefer an array of labels.

    Raises:
        InputError: here or by `read`: the file is missing, empty, damaged, no picture, or larger
            than it could be.

    Example:
        >>> with open_image("slide.tif") as opened:  # doctest: +SKIP
        ...     corner = opened.read((slice(0, 512), slice(0, 512)))
    """
    path = Path(path)
    suffix = suffix_of(path)
    with damage(path, suffix, partial(_unreadable, path, suffix)):
        _refuse_no_file(path, suffix)
        opened = _sound(_opener(suffix)(path, indices), path)

    def read(window: Window) -> Array:
        window = tuple(
            slice(*part.indices(size)[:2])
            for part, size in zip(window, opened.shape[1:], strict=True)
        )
        with damage(path, suffix, partial(_unreadable, path, suffix)):
            pixels = opened.read(window)
            wanted = (opened.shape[0], *slices_size(window))
            if pixels.shape != wanted:
                raise ValueError(f"holds pixels of shape {pixels.shape} instead of {wanted}")
            return np.require(pixels, dtype, ["C", "W"])

    dtype = np.dtype(np.uint8) if opened.dtype.kind == "b" else opened.dtype.newbyteorder("=")
    try:
        yield replace(opened, read=read, dtype=dtype)
    finally:
        opened.close()


def _opener(suffix: str) -> Opener:
    """Give the reader of a format; imported only now, because some take a second to load."""
    if suffix in PNG:
        from unetkit.image.png import open_png as opener
    elif suffix in JPEG:
        from unetkit.image.jpeg import open_jpeg as opener
    elif suffix in NETPBM:
        from unetkit.image.netpbm import open_netpbm as opener
    elif suffix in PILLOW:
        from unetkit.image.pictures import open_picture as opener
    elif suffix in TIFF:
        from unetkit.image.tiff import open_tiff as opener
    elif suffix in NIFTI:
        from unetkit.image.nifti import open_nifti as opener
    elif suffix == ".npy":
        from unetkit.image.arrays import open_npy as opener
    elif suffix == ".npz":
        from unetkit.image.arrays import open_npz as opener
    elif suffix in ZARR:
        from unetkit.image.zarrs import open_zarr as opener
    elif suffix in DICOM:
        from unetkit.image.dicom import open_dicom as opener
    elif suffix in ITK:
        from unetkit.image.itk import open_itk as opener
    else:
        assert suffix in RASTER
        from unetkit.image.raster import open_raster as opener
    return opener


def _sound(opened: Opened, path: Path) -> Opened:
    """Check what a reader says, and close the file where it makes no sense."""
    spacing = opened.spacing or (1.0,) * (len(opened.shape) - 1)
    spacing = tuple(s if math.isfinite(s) and s > 0 else 1.0 for s in map(float, spacing))
    try:
        if opened.dtype.kind not in "biuf":
            raise InputError(f"pixels of type {opened.dtype} are not understood", where=path)
        if 0 in opened.shape:
            raise InputError("has no pixels", where=path, cure="copy it again from its source")
    except InputError:
        opened.close()
        raise
    return replace(opened, spacing=spacing)


def _refuse_no_file(path: Path, suffix: str) -> None:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        if not is_volume(path):
            raise InputError("a file is needed, this is a folder", where=path)
        return
    if not stat.S_ISREG(status.st_mode):  # a pipe would wait for ever
        raise InputError("is a pipe or a device, not a file", where=path, cure="copy it to a file")
    if suffix in ZARR:
        raise InputError("a folder is needed, this is a file", where=path, cure="unpack it first")
    if status.st_size == 0:
        raise InputError("the file is empty", where=path, cure="copy it again from its source")
    if suffix in (*DICOM, *ITK, *RASTER) and (error := _misnamed(path, suffix)):
        raise error  # the libraries for these would open it all the same, or print


def _unreadable(path: Path, suffix: str, error: Exception) -> InputError:
    try:
        misnamed = _misnamed(path, suffix)
    except (OSError, ValueError):
        return InputError(f"cannot be read ({error})", where=path)
    if misnamed is not None:
        return misnamed
    reason = str(error).replace(str(path), "the file").strip() or type(error).__name__
    return InputError(
        f"cannot be read as {suffix[1:]} ({reason[:160]})",
        where=path,
        cure="it is damaged or cut short: copy it again from its source",
    )


def _misnamed(path: Path, suffix: str) -> InputError | None:
    """Say what a file is that its suffix does not tell, where its first bytes do."""
    if path.is_dir():
        return None
    with path.open("rb") as file:
        start = file.read(348)
    if start.startswith(b"version https:/"):
        return InputError("is a Git LFS pointer", where=path, cure="fetch it with: git lfs pull")
    found = [(name, right) for magic, name, right in _SIGNATURES if start.startswith(magic)]
    found += [late[2:] for late in _LATE_SIGNATURES if start.startswith(late[1], late[0])]
    for name, right in found:
        if suffix != right and not any({suffix, right} <= family for family in _FAMILIES):
            return InputError(
                f"holds {name} data under the suffix {suffix}",
                where=path,
                cure=f"rename it to {stem(path)}{right}",
            )
    return None
