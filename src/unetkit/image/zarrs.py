"""OME-Zarr 0.1 to 0.5 and plain Zarr, read by window; OME-Zarr 0.4 and 0.5, written in pieces."""

from __future__ import annotations

import itertools
import math
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from unetkit.errors import InputError
from unetkit.image.georeference import Georeference
from unetkit.image.guard import damage, quiet, refuse_excess, slices_size
from unetkit.image.names import is_zarr
from unetkit.image.opened import Array, Frame, Opened, Window
from unetkit.image.staging import Created, fill_of
from unetkit.image.zarr_chunks import read_chunks
from unetkit.image.zarr_metadata import locate

if TYPE_CHECKING:
    from unetkit.image import Image

_FLAT, _DEEP, _LARGEST_LEVEL = 1024, (64, 256, 256), 1024
_OURS = "unetkit"  # the attribute that keeps what OME-Zarr has no word for


def open_zarr(path: Path, indices: bool) -> Opened:
    """Open the picture in a Zarr folder: level 0 of a pyramid, or the array.

    Axes are put in the order (c, [z,] y, x) by their names, or guessed from their sizes as for NPY
    where they have none. Time of length 1 goes; so does a depth of length 1 where all of t, c, z,
    y, x are there, for older versions must have all five. The spacing is in µm where the file
    names units of length. With `indices`, the labels in a group `labels` take precedence.

    Raises:
        InputError: damaged, several time points, several pictures, or no picture.
    """
    with damage(path, "zarr"):
        found = locate(path, indices)
        axes = found.axes or _guess(path, found.shape, indices)
        length = dict(zip(axes, found.shape, strict=True))
        if length.get("t", 1) != 1:
            raise InputError(
                f"has {length['t']} time points", where=path, cure="save one file per time point"
            )
        flat = len(axes) == 5 and length["z"] == 1
        space = "yx" if flat or "z" not in axes else "zyx"
        import zarr
        from zarr.storage import LocalStore

        with quiet():
            store = LocalStore(found.folder, read_only=True)
            array: Any = zarr.open_array(store=store, mode="r", zarr_format=found.version)
        if array.shape != found.shape or array.dtype.kind not in "biuf":
            raise InputError("its metadata contradict each other", where=path, cure="copy it again")
        dtype = np.dtype(np.uint8) if array.dtype.kind == "b" else array.dtype.newbyteorder("=")
        scale = dict(zip(axes, found.scale, strict=True)) if found.scale else {}
        spacing = tuple(_sound(scale.get(axis, 1.0)) for axis in space)
        frame, nodata = _frame(found.attributes, dtype)

    def read(window: Window) -> Array:
        wanted = dict(zip(space, window, strict=True))
        selection = tuple(
            0 if axis == "t" or (axis == "z" and flat) else wanted.get(axis, slice(0, n))
            for axis, n in zip(axes, found.shape, strict=True)
        )
        with damage(path, "zarr"):
            refuse_excess(path, (length.get("c", 1), *slices_size(window)), dtype.itemsize)
            data = read_chunks(path, found, array, selection)
        left = [axis for axis in axes if axis in "c" + space]
        data = data.transpose([left.index(axis) for axis in ("c" + space) if axis in left])
        data = data if "c" in left else data[None]
        return np.require(data, dtype, ["C", "W"])

    shape = (length.get("c", 1), *(length[axis] for axis in space))
    stored = dict(zip(axes, found.chunks, strict=True))
    chunks = tuple(min(stored[axis], length[axis]) for axis in space)
    return Opened(shape, dtype, read, spacing, frame, nodata, chunks=chunks)


def _guess(path: Path, shape: tuple[int, ...], indices: bool) -> str:
    """Guess axes without names: a short last axis is channels, unless the first is short too."""
    if not 2 <= len(shape) <= 4:
        raise InputError(
            f"has {len(shape)} axes without names", where=path, cure="save (y, x) or (c, [z,] y, x)"
        )
    if len(shape) > 2 and shape[-1] <= 4 and shape[0] > 16:
        return "zyx"[4 - len(shape) :] + "c"
    # 16 admits the 13 bands of Sentinel-2; a mask of few slices is a thin volume.
    thin = indices and shape[0] not in (1, 3, 4)
    if len(shape) == 2 or (len(shape) == 3 and (shape[0] > 16 or thin)):
        return "zyx"[3 - len(shape) :]
    return "c" + "zyx"[4 - len(shape) :]


def _sound(spacing: float) -> float:
    return spacing if math.isfinite(spacing) and spacing > 0 else 1.0


def _frame(attributes: dict[str, Any], dtype: np.dtype[Any]) -> tuple[Frame, float | None]:
    """Give frame and nodata as we write them; nodata as netCDF and xarray do, too."""
    kept = attributes.get(_OURS) or {}
    nodata = kept.get("nodata", attributes.get("_FillValue"))
    try:
        nodata = None if nodata is None else float(nodata)
    except (TypeError, ValueError):
        nodata = None  # xarray encodes some as base64
    if nodata is not None and math.isnan(nodata) and dtype.kind != "f":
        nodata = None
    frame: Frame = None
    if "affine" in kept:
        frame = np.asarray(kept["affine"], np.float64).reshape(4, 4)
    elif "transform" in kept:
        a, b, c, d, e, f = map(float, kept["transform"])
        tags = tuple((int(k), v if isinstance(v, str) else tuple(v)) for k, v in kept["tags"])
        frame = Georeference((a, b, c, d, e, f), str(kept["crs"]), tags)
    return frame, nodata


# ------------------------------------------------------------------------------------- writing


def write_zarr(image: Image, path: Path, version: Literal["0.4", "0.5"] = "0.5") -> None:
    """Write an image as OME-Zarr with a pyramid, compressed; axes (c, [z,] y, x).

    Raises:
        InputError: something else stands there, or the disk refuses.
    """
    data = image.data.astype(np.uint8) if image.data.dtype.kind == "b" else image.data
    with create_zarr(
        path,
        data.shape,
        data.dtype,
        spacing=image.spacing,
        frame=image.frame,
        nodata=image.nodata,
        version=version,
    ) as array:
        array[...] = data


@contextmanager
def create_zarr(
    path: Path,
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    *,
    spacing: Sequence[float] = (),
    frame: Frame = None,
    nodata: float | None = None,
    version: Literal["0.4", "0.5"] = "0.5",
) -> Iterator[Any]:
    """Give an array on disk, (c, [z,] y, x), to be filled in pieces in any order.

    At the end of the block the coarser levels are made (every second pixel of y and x) and the
    folder takes its name; if the block fails, nothing is left. Pieces that begin and end at a
    multiple of `array.chunks` are written once. What is never written holds nodata, or 0. No unit
    is stated, for none is known here: the spacing is read back as it was given.

    Args:
        path: the folder to be; an older Zarr folder of that name is replaced.
        shape: (c, *space).
        dtype: whole numbers or floats.
        spacing: size of a pixel per axis of space; 1 if left out.
        frame: affine or georeference, kept in the attribute "unetkit".
        nodata: kept in the same place.
        version: of OME-Zarr; 0.4 for older readers.

    Raises:
        InputError: something else stands there, or the disk refuses.
    """
    path, shape, dtype = Path(path), tuple(map(int, shape)), np.dtype(dtype)
    if dtype.kind not in "iuf" or len(shape) not in (3, 4) or min(shape) < 1:
        raise InputError(f"{dtype} pixels of shape {shape} cannot be written", where=path)
    spacing = tuple(map(float, spacing)) or (1.0,) * (len(shape) - 1)
    fill = fill_of(nodata, dtype)
    with _folder(path) as folder:
        import zarr
        from zarr.storage import LocalStore

        form: Literal[2, 3] = 2 if version == "0.4" else 3
        group = zarr.create_group(store=LocalStore(folder), zarr_format=form)
        yield _level(group, 0, shape, dtype, fill)
        _add_levels(path, group, spacing, fill, _kept(frame, nodata))


def complete_zarr(
    created: Created, spacing: tuple[float, ...], frame: Frame, nodata: float | None
) -> None:
    """Make a staged picture an OME-Zarr 0.5: add coarser levels, and put it in its place.

    Raises:
        InputError: the disk refuses.
    """
    folder, path = created.folder / "pixels", created.path
    with _refusals(path):
        import zarr
        from zarr.storage import LocalStore

        for level in folder.iterdir():  # which a process that was killed has begun
            if level.is_dir() and level.name != "0":
                shutil.rmtree(level)
        group = zarr.open_group(store=LocalStore(folder), mode="r+", zarr_format=3)
        _add_levels(path, group, spacing, created.state.fill, _kept(frame, nodata))
        _put_in_place(folder, path)


def _add_levels(
    path: Path, group: Any, spacing: tuple[float, ...], fill: float, kept: dict[str, Any]
) -> None:
    """Add coarser levels to level 0, and say what the group is."""
    levels = [group["0"]]
    while max(levels[-1].shape[-2:]) > _LARGEST_LEVEL:
        coarser = (*levels[-1].shape[:-2], *(-(-n // 2) for n in levels[-1].shape[-2:]))
        level = _level(group, len(levels), coarser, levels[0].dtype, fill)
        _thin_out(levels[-1], level)
        levels.append(level)
    pyramid = _pyramid(path, levels[0].ndim, spacing, len(levels))
    extra = {_OURS: kept} if kept else {}
    if group.metadata.zarr_format == 2:
        group.attrs.update({"multiscales": [pyramid | {"version": "0.4"}], **extra})
    else:
        group.attrs.update({"ome": {"version": "0.5", "multiscales": [pyramid]}, **extra})


def _level(group: Any, index: int, shape: tuple[int, ...], dtype: Any, fill: Any) -> Any:
    largest = _DEEP if len(shape) == 4 else (_FLAT, _FLAT)
    chunks = (1, *(min(a, b) for a, b in zip(shape[1:], largest, strict=True)))
    if group.metadata.zarr_format == 2:
        blosc = import_module("numcodecs.blosc")
        special = {"compressors": blosc.Blosc("zstd", clevel=3, shuffle=blosc.SHUFFLE)}
        special["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
    else:
        from zarr.codecs import BloscCodec

        special = {"compressors": BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")}
        special["dimension_names"] = "czyx" if len(shape) == 4 else "cyx"
    return group.create_array(
        str(index), shape=shape, chunks=chunks, dtype=dtype, fill_value=fill, **special
    )


def _thin_out(source: Any, target: Any) -> None:
    """Write every second pixel of y and x, chunk by chunk."""
    steps = [range(0, n, c) for n, c in zip(target.shape, target.chunks, strict=True)]
    for corner in itertools.product(*steps):
        ends = [min(a + c, n) for a, c, n in zip(corner, target.chunks, target.shape, strict=True)]
        there = tuple(slice(a, b) for a, b in zip(corner, ends, strict=True))
        here = (*there[:-2], *(slice(2 * part.start, 2 * part.stop, 2) for part in there[-2:]))
        target[there] = source[here]


def _pyramid(path: Path, ndim: int, spacing: tuple[float, ...], levels: int) -> dict[str, Any]:
    names = "czyx" if ndim == 4 else "cyx"
    datasets = []
    for level in range(levels):
        scale = [1.0, *spacing[:-2], *(2**level * s for s in spacing[-2:])]
        step = {"type": "scale", "scale": scale}
        datasets.append({"path": str(level), "coordinateTransformations": [step]})
    return {
        "name": path.name.partition(".")[0],
        "axes": [{"name": n, "type": "channel" if n == "c" else "space"} for n in names],
        "datasets": datasets,
        "type": "subsampling",
    }


def _kept(frame: Frame, nodata: float | None) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    if nodata is not None:
        kept["nodata"] = nodata if math.isfinite(nodata) else str(nodata)
    if isinstance(frame, Georeference):
        kept |= {"transform": list(frame.transform), "crs": frame.crs, "tags": frame.tags}
    elif frame is not None:
        kept["affine"] = np.asarray(frame, np.float64).tolist()
    return kept


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """Give a folder beside `path` that takes its name at the end, as `files.atomic` for files."""
    temporary = _beside(path, "new")
    try:
        with _refusals(path):
            if path.exists() and not is_zarr(path):
                raise InputError(
                    "something that is no Zarr folder stands there",
                    where=path,
                    cure="choose another name",
                )
            temporary.mkdir(parents=True)
            yield temporary
            _put_in_place(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(folder: Path, path: Path) -> None:
    """Give a folder the name of an older one, which goes."""
    older = _beside(path, "old")
    try:
        if path.exists():
            path.replace(older)
        folder.replace(path)
    finally:
        if older.exists() and not path.exists():
            with suppress(OSError):
                older.replace(path)
        shutil.rmtree(older, ignore_errors=True)


def _beside(path: Path, kind: str) -> Path:
    return path.with_name(f".{os.getpid()}-{threading.get_ident()}-{kind}.{path.name}")


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        cure = "choose another folder, or free some space"
        raise InputError(f"cannot be written ({reason})", where=path, cure=cure) from error
