"""TIFF of every kind: what its tags, ImageJ, OME or GeoTIFF say about its pages."""

from __future__ import annotations

import html
import logging
import math
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from unetkit.errors import InputError
from unetkit.image.channels import from_ink, without_alpha
from unetkit.image.directories import refuse_broken_directories
from unetkit.image.georeference import Georeference
from unetkit.image.geotiff import read_georeference, read_nodata
from unetkit.image.limits import covers, everything, in_parts, refuse_bomb
from unetkit.image.opened import Array, Opened, Window
from unetkit.image.segments import JPEG_KINDS, bits_of, layout, ratio_of, reader, refuse_incomplete

logging.getLogger("tifffile").addHandler(logging.NullHandler())

# Factors to µm; what is missing here ("pixel", "reference frame") is left as it is.
_MICROMETRES = {
    "m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "µm": 1.0, "um": 1.0, "nm": 1e-3, "pm": 1e-6,
    "Å": 1e-4, "km": 1e9, "in": 25_400.0, "ft": 304_800.0, "thou": 25.4, "li": 25_400 / 12,
}  # fmt: skip
_PIXEL_SCALE = 33550
_REDUCED_OR_MASK = 1 | 4  # bits of NewSubfileType: a thumbnail or overview, a transparency mask


def open_tiff(path: Path, indices: bool) -> Opened:
    """Open a TIFF as (c, [z,] y, x): samples and channels are c, pages z.

    Windows are read from the strips or tiles they touch. With `indices`, a palette keeps them.
    Where tags tell a place on a map, all samples of an image are bands, also one called alpha.

    Raises:
        InputError: pictures of different sizes or types, time points, or a part of an OME-TIFF of
            several files is missing.
    """
    import tifffile

    refuse_broken_directories(path)
    with ExitStack() as stack:
        file = stack.enter_context(tifffile.TiffFile(path))
        _refuse_strangers(path, file.ome_metadata or "")
        series = [one for one in file.series if one.shape and not _is_aside(one.keyframe)]
        if len(series) != 1:
            raise InputError(
                f"holds {len(series)} pictures of different sizes or types",
                where=path,
                cure="save one picture per file; the pages of a stack must share size and type",
            )
        refuse_incomplete(path, series[0])
        tags = {tag.code: tag.value for tag in series[0].keyframe.tags}
        place = read_georeference(tags)
        # GDAL calls every fourth 8-bit band alpha, also the infrared.
        opened = _open_series(path, series[0], indices, alpha=indices or place is None)
        return replace(
            opened,
            spacing=_spacing(file, tags, place)[4 - len(opened.shape) :],
            frame=place,
            nodata=read_nodata(tags, opened.dtype) if opened.dtype == series[0].dtype else None,
            close=stack.pop_all().close,
        )


def _open_series(path: Path, series: Any, indices: bool, alpha: bool) -> Opened:
    axes, shape = str(series.axes), tuple(series.shape)
    if len(axes) == 3 and axes[1:] == "YX" and shape[2] <= 4 and min(shape[:2]) > 16:
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
    inner = (*depth, axes.index("Y"), axes.index("X"))
    space = tuple(shape[i] for i in inner)
    page, size = series.keyframe, path.stat().st_size
    promised = math.prod(shape) * bits_of(page) // 8
    samples = channels.index(axes.index("S")) if "S" in axes else None
    extra = int(page.extrasamples[-1]) if page.extrasamples else 0
    alpha = alpha and samples is not None and extra in (1, 2)
    read_box = reader(path, series, (*channels, *inner))
    show = _shower(path, page, samples, alpha, indices)

    def read(window: Window) -> Array:
        if covers(window, space) and not series.is_multifile:
            refuse_bomb(path, promised, size, ratio_of(page))
        box = [slice(0, length) for length in shape]
        for axis, part in zip(inner, window, strict=True):
            box[axis] = part
        pixels = show(read_box(tuple(box)).transpose(*channels, *inner))
        return pixels.reshape(-1, *pixels.shape[-len(inner) :])

    # One pixel tells how many channels of which type there will be.
    one = show(np.zeros([*(shape[i] for i in channels), *(1 for _ in inner)], series.dtype))
    whole = in_parts(lambda: read(everything(space)), space)
    decoded, pieces = layout(series)
    if alpha and indices:
        return Opened((one.size, *space), one.dtype, whole, whole=True)
    chunks = None if pieces is None else tuple(pieces[i] for i in inner)
    return Opened((one.size, *space), one.dtype, read, whole=decoded, chunks=chunks)


def _shower(
    path: Path, page: Any, samples: int | None, alpha: bool, indices: bool
) -> Callable[[Array], Array]:
    """Give a function that makes of stored numbers (channels …, *space) what they show.

    Args:
        path: for messages.
        page: that tells how colours are stored.
        samples: which axis red, green and blue are on.
        alpha: whether the last sample is one.
        indices: keep those of a palette.
    """
    from tifffile import PHOTOMETRIC

    kind = page.photometric
    ink = kind == PHOTOMETRIC.SEPARATED
    if kind == PHOTOMETRIC.YCBCR and int(page.compression) not in JPEG_KINDS:
        raise InputError("is a YCbCr TIFF without JPEG", where=path, cure="save it as RGB")
    if ink and (
        samples is None
        or page.samplesperpixel - alpha != 4
        or page.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16))
    ):
        raise InputError("is a TIFF of special inks", where=path, cure="save it as RGB")
    table: Array | None = None
    if kind == PHOTOMETRIC.PALETTE and page.colormap is not None and not indices:
        table = page.colormap if page.colormap.max() < 256 else page.colormap >> 8
        table = table.astype(np.uint8)
        table = table[:1] if (table == table[:1]).all() else table

    def show(pixels: Array) -> Array:
        if pixels.dtype.kind == "b":
            # Viewers show 0 as white where the file says so; deeper types keep their raw numbers,
            # because ImageJ writes masks with an inverting table and means the numbers.
            pixels = (pixels ^ (kind == PHOTOMETRIC.MINISWHITE)).astype(np.uint8) * np.uint8(255)
        if samples is not None and (alpha or ink):
            pixels = np.moveaxis(pixels, samples, 0)
            if alpha:
                pixels = without_alpha(pixels, indices)
            if ink:
                pixels = np.moveaxis(from_ink(np.moveaxis(pixels, 0, -1)), -1, 0)
            pixels = np.moveaxis(pixels, 0, samples)
        return pixels if table is None else table[:, pixels]

    return show


def _spacing(file: Any, tags: dict[int, Any], place: Georeference | None) -> tuple[float, ...]:
    """Give z, y, x from OME (in µm), ImageJ or GeoTIFF; plain resolution tags are about paper."""
    if file.ome_metadata:
        return _ome_spacing(file.ome_metadata)
    if file.imagej_metadata and 282 in tags and 283 in tags:
        x, y = (tags[code] for code in (282, 283))
        depth = float(file.imagej_metadata.get("spacing", 1))
        return depth, y[1] / y[0] if y[0] else 1.0, x[1] / x[0] if x[0] else 1.0
    if place is not None:
        return 1.0, *place.spacing
    if _PIXEL_SCALE in tags:  # without a place
        x, y, *_ = tags[_PIXEL_SCALE]
        return 1.0, float(y), float(x)
    return 1.0, 1.0, 1.0


def _ome_spacing(text: str) -> tuple[float, ...]:
    found: dict[str, str] = {}
    for name, value in re.findall(r'\b(PhysicalSize[XYZ](?:Unit)?)="([^"]*)"', text):
        found.setdefault(name, html.unescape(value))  # of several pictures the first one counts
    sizes = []
    for axis in "ZYX":
        unit = found.get(f"PhysicalSize{axis}Unit", "µm").replace("\u03bc", "µ").strip()
        sizes.append(float(found.get(f"PhysicalSize{axis}", 1)) * _MICROMETRES.get(unit, 1.0))
    return tuple(sizes)


def _is_aside(page: Any) -> bool:
    return bool(int(page.subfiletype) & _REDUCED_OR_MASK)


def _refuse_strangers(path: Path, text: str) -> None:
    """Refuse OME metadata that name files elsewhere, or what would not even open."""
    own = re.search(r'<OME\b[^>]*\bUUID="([^"]*)"', text)
    for name, number in re.findall(r'<UUID\b[^>]*\bFileName="([^"]*)"[^>]*>([^<]*)<', text):
        if (own and own[1] == number) or name == path.name:
            continue
        other = path.with_name(name) if name and Path(name).name == name else None
        if other is None or (other.exists() and not other.is_file()):
            raise InputError(
                f"belongs to an OME set with {name!r}, which is no file beside it",
                where=path,
                cure="put all files of the set into one folder, or save it as one file",
            )
