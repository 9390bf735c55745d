"""Encoders: PNG, OME-TIFF, GeoTIFF and NIfTI."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unetkit.errors import InputError
from unetkit.files import atomic
from unetkit.image.georeference import Georeference
from unetkit.image.geotiff import write_tags
from unetkit.image.opened import Array, Frame

if TYPE_CHECKING:
    from unetkit.image import Image

_SPARSE, _FEW = 7, 16  # every so many rows and columns, and so many numbers among them: labels
_LARGEST_STRIPED, _TILE = 2048**2, (256, 256)
_CLASSIC_BYTES = 2**32 - 2**25  # leaves room for the tags
_LARGEST_NIFTI = 2**15 - 1  # along an axis; NIfTI-2 goes further


def encode_png(data: Array, path: Path) -> bytes:
    """Encode grey or RGB (c, y, x) whole numbers in 8 bits, or 16 where they need it."""
    from imagecodecs import PNG, png_encode

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
    data = np.ascontiguousarray(data[0] if len(data) == 1 else np.moveaxis(data, 0, -1))
    if len(np.unique(data[::_SPARSE, ::_SPARSE])) <= _FEW:
        # Labels: runs of equal numbers, which need neither filters nor a search for matches.
        return bytes(png_encode(data, level=1, filter=PNG.FILTER.NONE, strategy=PNG.STRATEGY.RLE))
    return bytes(png_encode(data, level=6))


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

    data = image.data
    options, colour = tiff_options(data.shape, data.dtype, image.spacing, image.frame, image.nodata)
    if colour:
        data = np.moveaxis(data, 0, -1)
    elif len(data) == 1:
        data = data[0]
    if math.prod(image.data.shape[-2:]) > _LARGEST_STRIPED:
        options["tile"] = _TILE
    with atomic(path) as temporary:
        tifffile.imwrite(temporary, np.ascontiguousarray(data), **options)


def tiff_options(
    shape: Sequence[int],
    dtype: np.dtype[Any],
    spacing: Sequence[float],
    frame: Frame,
    nodata: float | None,
) -> tuple[dict[str, Any], bool]:
    """Give what tifffile is to be told, and whether channels come last because they are colours.

    Args:
        shape: (c, *space).
        dtype: of the pixels.
        spacing: size of a pixel per axis of space.
        frame: a georeference, if there is one; no other place fits into a TIFF.
        nodata: as of an image.
    """
    place = frame if isinstance(frame, Georeference) else None
    colour = shape[0] == 3 and len(shape) == 3 and dtype in (np.uint8, np.uint16)
    options: dict[str, Any] = {
        "photometric": "rgb" if colour else "minisblack",
        "compression": "zlib",
        "bigtiff": math.prod(shape) * dtype.itemsize > _CLASSIC_BYTES,
        "extratags": write_tags(place, nodata),
    }
    if place is not None and len(shape) == 3:
        options["metadata"] = None
        if not colour and shape[0] > 1:
            options["planarconfig"] = "separate"
        return options, colour
    axes = "YXS" if colour else ("" if shape[0] == 1 else "C") + "ZYX"[4 - len(shape) :]
    options |= {"ome": True, "metadata": {"axes": axes, **_sizes(tuple(spacing))}}
    if any(size != 1 for size in spacing[-2:]):
        # Pixels per centimetre, which spacing in µm are ten thousand times the inverse of.
        options |= {"resolution": (1e4 / spacing[-1], 1e4 / spacing[-2]), "resolutionunit": 3}
    return options, colour


def write_nifti(image: Image, path: Path) -> None:
    """Write (c, *space); without an affine, it is the spacing alone."""
    from nibabel.loadsave import save

    data = image.data
    voxels = data[0].T if len(data) == 1 else data.T
    with atomic(path) as temporary:
        save(_volume(voxels, image.spacing, image.frame, path), temporary)


def nifti_header(
    shape: Sequence[int],
    dtype: np.dtype[Any],
    spacing: Sequence[float],
    frame: Frame,
    path: Path,
) -> bytes:
    """Give what stands before the voxels of (c, *space), as `write_nifti` writes it."""
    hollow = np.broadcast_to(np.zeros((), dtype), tuple(shape))
    voxels = hollow[0].T if len(hollow) == 1 else hollow.T
    header = _volume(voxels, spacing, frame, path).header
    header["magic"] = header.single_magic
    header["scl_slope"], header["scl_inter"] = (1, 0) if dtype.kind in "iu" else (np.nan, np.nan)
    header.set_data_offset(header.single_vox_offset)
    return bytes(header.binaryblock).ljust(header.single_vox_offset, b"\0")


def _volume(voxels: Array, spacing: Sequence[float], frame: Frame, path: Path) -> Any:
    from nibabel.nifti1 import Nifti1Image
    from nibabel.nifti2 import Nifti2Image

    if voxels.ndim == 3 and len(spacing) == 2:
        raise InputError("NIfTI does not hold 2D colour", where=path, cure="choose .png or .tif")
    if isinstance(frame, np.ndarray) and frame.shape == (4, 4):
        affine = frame
    else:
        affine = np.diag([*tuple(spacing)[::-1], *(1.0,) * (4 - len(spacing))])
    kind = Nifti1Image if max(voxels.shape) <= _LARGEST_NIFTI else Nifti2Image
    volume: Any = kind(voxels, affine)  # type: ignore[no-untyped-call]
    volume.header.set_xyzt_units("mm")
    return volume


def _sizes(spacing: tuple[float, ...]) -> dict[str, float | str]:
    """Give the spacing as OME names it; of pictures that know none, nothing."""
    if all(size == 1 for size in spacing):
        return {}
    names = "ZYX"[3 - len(spacing) :]
    sizes = {f"PhysicalSize{n}": s for n, s in zip(names, spacing, strict=True)}
    return sizes | {f"PhysicalSize{n}Unit": "µm" for n in names}
