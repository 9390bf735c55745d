"""Encoders: PNG, OME-TIFF and NIfTI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.errors import InputError
from unetkit.files import atomic

Array = npt.NDArray[Any]


def encode_png(data: Array, path: Path) -> bytes:
    """Encode grey or RGB (c, y, x) whole numbers in 8 bits, or 16 where they need it."""
    from imagecodecs import png_encode

    if data.ndim != 3 or data.shape[0] not in (1, 3):
        raise InputError(
            f"a picture of shape {data.shape} does not fit into a PNG, which holds grey or RGB",
            where=path,
            cure="choose .tif or .nii.gz",
        )
    if data.dtype.kind == "f" or data.min() < 0 or data.max() > 65535:
        raise InputError(
            "a PNG holds whole numbers from 0 to 65535 only", where=path, cure="choose .tif"
        )
    if data.dtype not in (np.uint8, np.uint16):
        data = data.astype(np.uint8 if data.max() < 256 else np.uint16)
    data = data[0] if len(data) == 1 else np.moveaxis(data, 0, -1)
    return bytes(png_encode(np.ascontiguousarray(data), level=6))


def narrowed(data: Array, path: Path) -> Array:
    """Give data in a type that TIFF and NIfTI readers understand."""
    if data.dtype == np.float16:
        return data.astype(np.float32)
    if data.dtype.itemsize <= 4 or data.dtype == np.float64:
        return data
    for dtype in (np.int32, np.uint32):
        if data.min() >= np.iinfo(dtype).min and data.max() <= np.iinfo(dtype).max:
            return data.astype(dtype)
    raise InputError("numbers beyond 32 bits do not fit", where=path, cure="choose .npy")


def write_tiff(data: Array, spacing: tuple[float, ...], path: Path) -> None:
    """Write (c, *space) as a deflated OME-TIFF, which says what each axis and its spacing is."""
    import tifffile

    colour = len(data) == 3 and data.ndim == 3 and data.dtype in (np.uint8, np.uint16)
    if colour:
        data, axes = np.moveaxis(data, 0, -1), "YXS"
    else:
        axes = ("" if len(data) == 1 else "C") + "ZYX"[4 - data.ndim :]
        data = data[0] if len(data) == 1 else data
    names = "ZYX"[3 - len(spacing) :]
    sizes = {f"PhysicalSize{n}": s for n, s in zip(names, spacing, strict=True)}
    with atomic(path) as temporary:
        tifffile.imwrite(
            temporary,
            np.ascontiguousarray(data),
            ome=True,
            photometric="rgb" if colour else "minisblack",
            compression="zlib",
            metadata={"axes": axes, **sizes},
        )


def write_nifti(data: Array, spacing: tuple[float, ...], frame: Array | None, path: Path) -> None:
    """Write (c, *space); without a frame, the affine is the spacing alone."""
    from nibabel.loadsave import save
    from nibabel.nifti1 import Nifti1Image

    if data.ndim == 3 and len(data) > 1:
        raise InputError("NIfTI does not hold 2D colour", where=path, cure="choose .png or .tif")
    affine = frame
    if affine is None or affine.shape != (4, 4):
        affine = np.diag([*spacing[::-1], *(1.0,) * (4 - len(spacing))])
    voxels = data[0].T if len(data) == 1 else data.T
    volume: Any = Nifti1Image(voxels, affine)  # type: ignore[no-untyped-call]
    volume.header.set_xyzt_units("mm")
    with atomic(path) as temporary:
        save(volume, temporary)
