"""Decoders: one function per family of formats, each giving (c, *space), spacing and frame."""

from __future__ import annotations

import logging
import math
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.errors import InputError
from unetkit.image.names import NUMPY, PILLOW, TIFF, stem, suffix_of

Array = npt.NDArray[Any]

# First bytes → what the file really is and the suffix it should have.
_SIGNATURES = (
    (b"\x89PNG", "PNG", ".png"),
    (b"\xff\xd8\xff", "JPEG", ".jpg"),
    (b"II*\0", "TIFF", ".tif"),
    (b"MM\0*", "TIFF", ".tif"),
    (b"II+\0", "TIFF", ".tif"),
    (b"GIF8", "GIF", ".gif"),
    (b"RIFF", "WebP", ".webp"),
    (b"\x93NUMPY", "NPY", ".npy"),
    (b"PK\x03\x04", "zip", ".npz"),
    (b"\x1f\x8b", "gzip", ".nii.gz"),
    (b"BM", "BMP", ".bmp"),
)
_FAMILIES = (set(TIFF), {".jpg", ".jpeg"})

# Deflate shrinks at most about 1032 times; a file that promises more than that is no picture.
_LARGEST_RATIO, _HARMLESS_BYTES = 1100, 2**28
_BOMB_CURE = "if the picture is genuine, cut it into parts or save it as an uncompressed TIFF"

# `warnings.catch_warnings` swaps process-wide state, so threads take turns for it.
_warnings_lock = threading.Lock()
logging.getLogger("tifffile").addHandler(logging.NullHandler())


Decoded = tuple[Array, tuple[float, ...], npt.NDArray[np.float64] | None]


def decode(path: Path, *, indices: bool, header: bool) -> Decoded:
    """Read a file as `data, spacing, frame`.

    Args:
        path: the file.
        indices: keep the indices of a palette, as a mask wants them, instead of its colours.
        header: give an array of the right shape that holds nothing, without decoding pixels.

    Raises:
        InputError: whatever goes wrong.
    """
    suffix = suffix_of(path)
    reader: Callable[[Path, bool, bool], Decoded]
    if suffix in PILLOW:
        reader = _read_pillow
    else:
        reader = _read_tiff if suffix in TIFF else _read_nifti
        reader = _read_numpy if suffix in NUMPY else reader
    try:
        if path.is_dir():
            raise InputError("a file is needed, this is a folder", where=path)
        if path.stat().st_size == 0:
            raise InputError("the file is empty", where=path, cure="copy it again from its source")
        data, spacing, frame = reader(path, indices, header)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError("no such file", where=path, cure="check the path") from error
    except PermissionError as error:
        raise InputError("may not be read", where=path, cure="change its permissions") from error
    except MemoryError as error:
        raise InputError("does not fit into memory", where=path, cure=_BOMB_CURE) from error
    except Exception as error:
        # Decoders raise whatever comes to hand on damaged bytes: struct.error, KeyError,
        # zlib.error, SyntaxError. All mean the same to the user; the original stays as the cause.
        raise _unreadable(path, suffix, error) from error
    if data.dtype.kind not in "biuf":
        raise InputError(f"pixels of type {data.dtype} are not understood", where=path)
    if data.size == 0:
        raise InputError("has no pixels", where=path, cure="copy it again from its source")
    if not header:
        data = data.astype(np.uint8) if data.dtype.kind == "b" else data
        data = np.require(data, data.dtype.newbyteorder("="), ["C", "W"])
    spacing = tuple(s if math.isfinite(s) and s > 0 else 1.0 for s in map(float, spacing))
    return data, spacing, frame


def _read_pillow(path: Path, indices: bool, header: bool) -> Decoded:
    from PIL import Image as Pillow
    from PIL import ImageOps

    with path.open("rb") as file:
        start = file.read(26)
    deep = start[:4] == b"\x89PNG" and start[24:25] == b"\x10"
    try:
        with _quiet():
            picture: Pillow.Image = Pillow.open(path, formats=PILLOW[suffix_of(path)])
    except Pillow.DecompressionBombError as error:
        raise InputError("declares too many pixels", where=path, cure=_BOMB_CURE) from error
    with picture:
        if picture.format != "MPO" and getattr(picture, "is_animated", False):
            raise InputError(
                f"holds {getattr(picture, 'n_frames', 'several')} frames",
                where=path,
                cure="save each frame as a picture, or all as a multi-page TIFF",
            )
        if not header:
            picture.load()
        with _quiet():
            # Asking a PNG for EXIF decodes it, so the header must be content with what it has.
            known = not header or picture.format != "PNG" or "exif" in picture.info
            turn = picture.getexif().get(0x0112, 1) if known else 1
        if header:
            grey = picture.mode in ("1", "L", "LA", "La", "I", "F") or picture.mode[:2] == "I;"
            grey = grey or _grey_palette(picture) is not None
            y, x = picture.size if turn in (5, 6, 7, 8) else picture.size[::-1]
            return _hollow((1 if grey else 3, y, x)), (1.0, 1.0), None
        if deep and start[25:26] in (b"\x02", b"\x04", b"\x06"):
            # Pillow reduces 16-bit colour to 8 bits without a word.
            from imagecodecs import png_decode

            data: Array = png_decode(path.read_bytes())
            data = data[..., : {2: 1, 3: 3, 4: 3}[data.shape[-1]]]
            return np.moveaxis(data, -1, 0), (1.0, 1.0), None
        if turn in range(2, 9):
            with _quiet():
                picture = ImageOps.exif_transpose(picture)
        data = _pixels(picture, indices)
    if deep and data.dtype == np.int32:
        data = data.astype(np.uint16)
    return (np.moveaxis(data, -1, 0) if data.ndim == 3 else data[None]), (1.0, 1.0), None


def _pixels(picture: Any, indices: bool) -> Array:
    mode = picture.mode
    greys = _grey_palette(picture)
    if greys is not None:
        levels: Array = greys[np.asarray(picture)]
        return levels
    if mode in ("P", "PA") and indices:
        return np.asarray(picture.getchannel("P"))
    if mode in ("L", "I", "F", "RGB") or mode.startswith("I;"):
        return np.asarray(picture)
    if mode == "1":
        return np.asarray(picture.convert("L"))
    if mode in ("LA", "La"):
        return np.asarray(picture.getchannel("L"))
    # A palette may be transparent; by way of RGBA its colours stay what they are.
    alpha = mode in ("P", "PA", "RGBA", "RGBa")
    return np.asarray(picture.convert("RGBA" if alpha else "RGB"))[..., :3]


def _grey_palette(picture: Any) -> Array | None:
    """Give the grey level of each index where a palette has no colour.

    GIF knows no grey but by palette, and shrinking tools make such PNGs; both put the levels in
    any order, so that the indices of a black and white mask may well be its inverse.
    """
    if picture.mode != "P":
        return None
    colours = np.zeros((256, 3), np.uint8)
    listed = np.asarray(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
    colours[: len(listed)] = listed
    return colours[:, 0] if (colours == colours[:, :1]).all() else None


def _read_tiff(path: Path, indices: bool, header: bool) -> Decoded:
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = [s for s in file.series if s.shape and not s.keyframe.is_reduced]
        if len(series) != 1:
            raise InputError(
                f"holds {len(series)} pictures of different sizes or types",
                where=path,
                cure="save one picture per file; the pages of a stack must share size and type",
            )
        page, shape, axes = series[0].keyframe, series[0].shape, str(series[0].axes)
        dtype = np.dtype(series[0].dtype)
        photometric = tifffile.PHOTOMETRIC
        _refuse_bomb(path, math.prod(shape) * dtype.itemsize)
        for one in series[0].pages:
            if one is None:
                continue
            ends = map(sum, zip(one.dataoffsets, one.databytecounts, strict=False))
            if max(ends, default=0) > path.stat().st_size:
                raise ValueError("the file ends before its pixels do")
        if page.photometric == photometric.SEPARATED:
            raise InputError("is a CMYK TIFF", where=path, cure="save it as RGB")
        data: Array = _hollow(shape, dtype) if header else series[0].asarray()
        spacing = _tiff_spacing(file)
        if dtype.kind == "b" and not header:
            # Viewers show 0 as white where the file says so; deeper types keep their raw numbers,
            # because ImageJ writes masks with an inverting table and means the numbers.
            data = data ^ (page.photometric == photometric.MINISWHITE)
            data = data.astype(np.uint8) * np.uint8(255)
        if page.photometric == photometric.PALETTE and page.colormap is not None and not indices:
            axes, colours = "S" + axes, (page.colormap >> 8).astype(np.uint8)
            data = _hollow((3, *shape)) if header else colours[:, data]
        if "S" in axes and page.extrasamples and int(page.extrasamples[-1]) in (1, 2):
            data = np.moveaxis(np.moveaxis(data, axes.index("S"), 0)[:-1], 0, axes.index("S"))
    if len(axes) == 3 and axes[1:] == "YX" and data.shape[2] <= 4 and min(data.shape[:2]) > 16:
        # What many writers make of a float (y, x, c) array: y pages that are c pixels wide.
        axes = "YXS"
    channels = [i for i, axis in enumerate(axes) if axis in "SC"]
    depth = [i for i, axis in enumerate(axes) if axis not in "SCYX"]
    if len(depth) > 1 or not {"Y", "X"} <= set(axes):
        raise InputError(
            f"has the axes {axes} ({' × '.join(map(str, shape))}), more than depth, y and x",
            where=path,
            cure="save one file per time point or position",
        )
    data = data.transpose(*channels, *depth, axes.index("Y"), axes.index("X"))
    data = data.reshape(math.prod(data.shape[: len(channels)]), *data.shape[len(channels) :])
    return data, spacing[3 - (data.ndim - 1) :], None


def _tiff_spacing(file: Any) -> tuple[float, float, float]:
    """Give z, y, x from OME, ImageJ or GeoTIFF metadata; plain resolution tags are about paper."""
    if file.ome_metadata:
        found = dict(re.findall(r'PhysicalSize([XYZ])="([^"]+)"', file.ome_metadata))
        return float(found.get("Z", 1)), float(found.get("Y", 1)), float(found.get("X", 1))
    tags = file.pages[0].tags
    if file.imagej_metadata and "XResolution" in tags and "YResolution" in tags:
        x, y = (tags[name].value for name in ("XResolution", "YResolution"))
        depth = float(file.imagej_metadata.get("spacing", 1))
        return depth, y[1] / y[0] if y[0] else 1.0, x[1] / x[0] if x[0] else 1.0
    if 33550 in tags:  # ModelPixelScale: x, y, z
        x, y, *_ = tags[33550].value
        return 1.0, y, x
    return 1.0, 1.0, 1.0


def _read_nifti(path: Path, indices: bool, header: bool) -> Decoded:
    import nibabel

    del indices
    with _quiet(), nibabel.imageglobals.LoggingOutputSuppressor():
        volume: Any = nibabel.load(path, mmap=False)
    shape = tuple(int(n) for n in volume.shape)
    if len(shape) < 2:
        raise InputError(f"has {len(shape)} axes, no picture", where=path)
    _refuse_bomb(path, math.prod(shape) * volume.get_data_dtype().itemsize)
    if volume.get_data_dtype().names:
        raise InputError("has colour voxels", where=path, cure="save one number per voxel")
    if header:
        data = _hollow((*shape[:3], *((math.prod(shape[3:]),) if len(shape) > 3 else ())))
    else:
        data = np.asarray(volume.dataobj)
        if data.dtype == np.float64 and volume.get_data_dtype() != np.float64:
            data = data.astype(np.float32)  # nibabel scales integers in double precision
        data = data.reshape(*shape[:3], -1, order="F") if len(shape) > 3 else data
    data = data.T if data.ndim > 3 else data.T[None]
    frame = np.asarray(volume.affine, dtype=np.float64)
    sound = np.isfinite(frame).all() and abs(np.linalg.det(frame)) > 0
    spacing = tuple(float(z) for z in volume.header.get_zooms()[: data.ndim - 1])[::-1]
    return data, spacing, frame if sound else None


def _read_numpy(path: Path, indices: bool, header: bool) -> Decoded:
    if suffix_of(path) == ".npy":
        # A map of the file notices at once when the file is shorter than its header says.
        data: Array = np.lib.format.open_memmap(path, mode="r")
        data = data if header else np.array(data)
    else:
        import zipfile

        with zipfile.ZipFile(path) as bundle:
            _refuse_bomb(path, sum(info.file_size for info in bundle.infolist()))
        with np.load(path, allow_pickle=False) as arrays:
            preferred = ("image", "data", "mask", "labels", "arr_0")
            names = [n for n in preferred if n in arrays.files]
            if not names and len(arrays.files) != 1:
                raise InputError(
                    f"holds the arrays {', '.join(arrays.files) or 'none'}",
                    where=path,
                    cure="name the one to read image or mask",
                )
            data = arrays[(names or arrays.files)[0]]
    if not 2 <= data.ndim <= 4:
        raise InputError(f"has {data.ndim} axes", where=path, cure="save (y, x) or (c, [z,] y, x)")
    # An array does not say what its axes are: a short last axis is channels (unless the first is
    # short too), then a short first one; 16 admits the 13 bands of Sentinel-2.
    if data.ndim > 2 and data.shape[-1] <= 4 and data.shape[0] > 16:
        data = np.moveaxis(data, -1, 0)
    elif data.ndim == 2 or (data.ndim == 3 and (data.shape[0] > 16 or _is_stack(data, indices))):
        data = data[None]
    return data, (1.0,) * (data.ndim - 1), None


def _is_stack(data: Array, indices: bool) -> bool:
    """Tell whether a mask of few slices is a thin volume: labels have one channel, so it is."""
    return indices and data.shape[0] not in (1, 3, 4)


def _hollow(shape: tuple[int, ...], dtype: npt.DTypeLike = np.uint8) -> Array:
    """Give an array of this shape that takes no memory."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def _refuse_bomb(path: Path, promised: int) -> None:
    size = path.stat().st_size
    if promised > _HARMLESS_BYTES and promised > size * _LARGEST_RATIO:
        raise InputError(
            f"promises {promised / 2**30:.1f} GiB of pixels in a file of {size} bytes",
            where=path,
            cure=_BOMB_CURE,
        )


def _unreadable(path: Path, suffix: str, error: Exception) -> InputError:
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        return InputError(f"cannot be read ({error})", where=path)
    if start.startswith(b"version https:/"):
        return InputError("is a Git LFS pointer", where=path, cure="fetch it with: git lfs pull")
    for magic, name, right in _SIGNATURES:
        same = suffix == right or any({suffix, right} <= family for family in _FAMILIES)
        if start.startswith(magic) and not same:
            return InputError(
                f"holds {name} data under the suffix {suffix}",
                where=path,
                cure=f"rename it to {stem(path)}{right}",
            )
    reason = str(error).replace(str(path), "the file").strip() or type(error).__name__
    return InputError(
        f"cannot be read as {suffix[1:]} ({reason[:160]})",
        where=path,
        cure="it is damaged or cut short: copy it again from its source",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep a decoder's warnings from the user, who is told what matters by `InputError`."""
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
