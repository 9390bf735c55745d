"""JPEG 2000, ERDAS Imagine and virtual rasters through rasterio, which is GDAL."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from unetkit.errors import InputError
from unetkit.image.georeference import Georeference
from unetkit.image.guard import damage, need, quiet, refuse_excess, slices_size
from unetkit.image.limits import refuse_bomb
from unetkit.image.opened import Array, Opened, Window
from unetkit.image.virtual import sources

logging.getLogger("rasterio").addHandler(logging.NullHandler())

_DRIVERS = {".jp2": "JP2OpenJPEG", ".vrt": "VRT", ".img": "HFA"}
# Wavelets and virtual mosaics shrink what is empty to next to nothing.
_RATIO = 10_000
# GDAL finds its way to the network by what files say; should one slip through, it meets no proxy.
_OPTIONS: dict[str, Any] = {
    "GDAL_HTTP_PROXY": "http://127.0.0.1:9",
    "GDAL_HTTP_MAX_RETRY": 0,
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
    "GDAL_NUM_THREADS": 1,
    "GDAL_CACHEMAX": 64,  # MB of decoded blocks; the default is a twentieth of all memory
}
_ALONE = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}  # files beside the sources do not count


def open_raster(path: Path, indices: bool) -> Opened:
    """Open a .jp2, .img or .vrt as (c, y, x) with its place on a map and nodata.

    All bands of a map are kept; of a picture without a place, alpha goes. A palette becomes RGB,
    or stays with `indices`. A .vrt may compose pictures in its own folder and below, no others.

    Raises:
        InputError: damaged, several nodata values, or a .vrt that is more than a mosaic.
    """
    rasterio = need("rasterio", path, "geo")
    suffix = path.suffix.lower()
    kind = suffix[1:]
    options = _OPTIONS | (_ALONE if suffix == ".vrt" else {})
    with damage(path, kind), ExitStack() as stack:
        _look(path, suffix)
        files = [path, *(sources(path) if suffix == ".vrt" else ())]
        held = sum(file.stat().st_size for file in files)
        with _hushed(), rasterio.Env(**options):
            # An absolute path, for rasterio takes "zip:a.jp2" for an archive.
            place = str(path.resolve())
            dataset = stack.enter_context(rasterio.open(place, driver=_DRIVERS[suffix]))
            frame, nodata = _frame(dataset), _nodata(path, dataset)
            stored = np.result_type(*dataset.dtypes)
            palette = None if indices or dataset.count > 1 else _palette(dataset)
            last = str(dataset.colorinterp[-1].name)
            chunks = tuple(map(int, dataset.block_shapes[0]))
        if stored.kind not in "iuf":
            raise InputError(
                f"pixels of type {stored} are not understood", where=path, cure="save real numbers"
            )
        bands = list(range(1, dataset.count + 1))
        if last == "alpha" and len(bands) > 1 and (indices or frame is None):
            bands.pop()
        dtype = stored if palette is None else np.dtype(np.uint8)
        channels = len(bands) if palette is None else len(palette)
        close = stack.pop_all().close
    shape = (channels, dataset.height, dataset.width)
    lock = threading.Lock()  # GDAL's datasets serve one thread at a time

    def read(window: Window) -> Array:
        y, x = window
        size = (channels, *slices_size(window))
        refuse_excess(path, size, dtype.itemsize)
        refuse_bomb(path, int(np.prod(size)) * dtype.itemsize, held, _RATIO)
        box = rasterio.windows.Window(x.start, y.start, x.stop - x.start, y.stop - y.start)
        with damage(path, kind), lock, rasterio.Env(**options):
            pixels: Array = dataset.read(bands, window=box, out_dtype=stored)
            if palette is not None:
                pixels = palette[:, pixels[0]]
        return np.require(pixels, dtype, ["C", "W"])

    spacing = (1.0, 1.0) if frame is None else frame.spacing
    if palette is not None:
        nodata = None
    return Opened(shape, dtype, read, spacing, frame, nodata, close, chunks=chunks)


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep rasterio from warning, and from printing that it cannot decode damaged bytes.

    It logs what GDAL says, which may quote them, from where no exception can be raised; Python
    then hands what went wrong to both hooks.
    """
    with quiet():
        hooks = sys.excepthook, sys.unraisablehook

        def on_exception(kind: Any, error: Any, trace: Any) -> None:
            if kind is not UnicodeDecodeError:
                hooks[0](kind, error, trace)

        def on_unraisable(found: Any) -> None:
            if found.exc_type is not UnicodeDecodeError:
                hooks[1](found)

        sys.excepthook, sys.unraisablehook = on_exception, on_unraisable
        try:
            yield
        finally:
            sys.excepthook, sys.unraisablehook = hooks


def _look(path: Path, suffix: str) -> None:
    with path.open("rb") as file:
        start = file.read(16)
    if suffix == ".img" and not start.startswith(b"EHFA_HEADER_TAG"):
        raise InputError(
            "is no ERDAS Imagine file",
            where=path,
            cure="if it is a pair of .hdr and .img, save it as .nii.gz",
        )


def _frame(dataset: Any) -> Georeference | None:
    a, b, c, d, e, f = tuple(dataset.transform)[:6]
    crs = dataset.crs.to_string() if dataset.crs else ""
    if (a, b, c, d, e, f) == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0) and not crs:
        return None
    return Georeference((a, b, c, d, e, f), crs)


def _nodata(path: Path, dataset: Any) -> float | None:
    values = {None if value is None else float(value) for value in dataset.nodatavals}
    if len({str(value) for value in values}) > 1:
        shown = ", ".join(sorted(str(value) for value in values))
        raise InputError(
            f"its bands have different nodata values ({shown})",
            where=path,
            cure="give them one: gdal_translate -a_nodata -9999 in out.tif",
        )
    return values.pop()


def _palette(dataset: Any) -> Array | None:
    """Give the colours (3, 256) of a band of indices, or (1, 256) where all are grey."""
    if dataset.dtypes[0] != "uint8" or dataset.colorinterp[0].name != "palette":
        return None
    colours = np.zeros((3, 256), np.uint8)
    for index, colour in dataset.colormap(1).items():
        colours[:, index] = colour[:3]
    return colours[:1] if (colours == colours[:1]).all() else colours
