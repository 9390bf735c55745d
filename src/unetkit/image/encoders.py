"""Encoders: PNG, OME-TIFF, GeoTIFF and NIfTI."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unetkit.errors import InputError
from unetkit.files import atomic
from unetkit.image.georeference import Georeference
from unetkit.image.geotiff import write_tags
from unetkit.image.opened import Array

if TYPE_CHECKING:
    from unetkit.image import Image

_LARGEST_STRIPED, _TILE = 2048**2, (256, 256)
_CLASSIC_BYTES = 2**32 - 2**25  # leaves room for the tags


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
    if data.dtype.kind == "f" and data.dtype.itemsize > 8:
        return data.astype(np.float64)
    if data.dtype.itemsize <= 4 or data.dtype == np.float64:
        return data
    for dtype in (np.int32, np.uint32):
        if data.min() >= np.iinfo(dtype).min and data.max() <= np.iinfo(dtype).max:
            return data.astype(dtype)
    raise InputError("numbers beyond 32 bits do not fit", where=path, cure="choose .npy")


def write_tiff(image: Image, path: Path) -> None:
    """Write (c, *space) deflated: as GeoTIFF where it has a place on a map, else as OME-TIFF.

    OME metadata say what each axis and its spacing in µm is; ImageJ reads the latter from the
    resolution. Large pictures are tiled, and files that may exceed 4 GB are BigTIFF. A volume with
    a place on a map is an OME-TIFF with the tags of a GeoTIFF.
    """
    import tifffile

    data, spacing = image.data, image.spacing
    place = image.frame if isinstance(image.frame, Georeference) else None
    colour = len(data) == 3 and data.ndim == 3 and data.dtype in (np.uint8, np.uint16)
    options: dict[str, Any] = {"photometric": "rgb" if colour else "minisblack"}
    if place is not None and data.ndim == 3:
        options["metadata"] = None
        if colour or len(data) == 1:
            data = np.moveaxis(data, 0, -1) if colour else data[0]
        else:
            options["planarconfig"] = "separate"
    else:
        axes = "YXS" if colour else ("" if len(data) == 1 else "C") + "ZYX"[4 - data.ndim :]
        data = np.moveaxis(data, 0, -1) if colour else data[0] if len(data) == 1 else data
        options |= {"ome": True, "metadata": {"axes": axes, **_sizes(spacing)}}
        if any(size != 1 for size in spacing[-2:]):
            # Pixels per centimetre, which spacing in µm are ten thousand times the inverse of.
            options |= {"resolution": (1e4 / spacing[-1], 1e4 / spacing[-2]), "resolutionunit": 3}
    if math.prod(image.data.shape[-2:]) > _LARGEST_STRIPED:
        options["tile"] = _TILE
    with atomic(path) as temporary:
        tifffile.imwrite(
            temporary,
            np.ascontiguousarray(data),
            compression="zlib",
            bigtiff=data.nbytes > _CLASSIC_BYTES,
            extratags=write_tags(place, image.nodata),
            **options,
        )


def write_nifti(image: Image, path: Path) -> None:
    """Write (c, *space); without an affine, it is the spacing alone."""
    from nibabel.loadsave import save
    from nibabel.nifti1 import Nifti1Image

    data, spacing, affine = image.data, image.spacing, image.frame
    if data.ndim == 3 and len(data) > 1:
        raise InputError("NIfTI does not hold 2D colour", where=path, cure="choose .png or .tif")
    if not isinstance(affine, np.ndarray) or affine.shape != (4, 4):
        affine = np.diag([*spacing[::-1], *(1.0,) * (4 - len(spacing))])
    voxels = data[0].T if len(data) == 1 else data.T
    volume: Any = Nifti1Image(voxels, affine)  # type: ignore[no-untyped-call]
    volume.header.set_xyzt_units("mm")
    with atomic(path) as temporary:
        save(volume, temporary)


def _sizes(spacing: tuple[float, ...]) -> dict[str, float | str]:
    """Give the spacing as OME names it; of pictures that know none, nothing."""
    if all(size == 1 for size in spacing):
        return {}
    names = "ZYX"[3 - len(spacing) :]
    sizes = {f"PhysicalSize{n}": s for n, s in zip(names, spacing, strict=True)}
    return sizes | {f"PhysicalSize{n}Unit": "µm" for n in names}
