"""Pictures larger than memory, written by window, taken up again after a kill."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.errors import InputError
from unetkit.files import atomic
from unetkit.image.names import ITK, NIFTI, TIFF, ZARR, is_zarr, suffix_of
from unetkit.image.opened import Frame
from unetkit.image.staging import (
    Created,
    begin,
    holds,
    load,
    plan_state,
    refusals,
    staging_of,
)

_LARGEST_WHOLE = 2**30  # bytes of a picture in a format that is written in one go


@contextmanager
def create_image(
    path: str | Path,
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    *,
    block: Sequence[int],
    spacing: Sequence[float] = (),
    frame: Frame = None,
    nodata: float | None = None,
    key: str | None = None,
) -> Iterator[Created]:
    """Give a picture to be written by window, which becomes a file at the end of the block.

    TIFF (GeoTIFF with a georeference), OME-Zarr, NIfTI and NPY are made in bounded memory: 50 to
    150 MB beyond what `write` is given, whatever their size; the disk holds the picture twice for a
    moment. They are read back as if `write_image` had written them. Its other formats are made in
    memory, up to 1 GiB. What is never written holds nodata, or 0. A file of that name is replaced
    at the very end.

    Args:
        path: the file to be; pixels are collected in a hidden folder beside it.
        shape: (c, *space).
        dtype: whole numbers, floats, or bool, which becomes uint8.
        block: sizes, per axis of space, of the grid on which windows lie; also the thickness of
            the bands that `Created.finish` marks.
        spacing: size of a pixel per axis of space; 1 if left out.
        frame: affine or georeference.
        nodata: the number that stands for "nothing measured here".
        key: stands for all that the pixels depend on, such as model, settings and input. With a
            key, what was written outlives failure, interruption and kill, and is found again
            (`Created.done`) by whoever comes with the same key, shape, type and block; all bands
            must be finished in the end. Without a key, failure leaves nothing.

    Raises:
        InputError: the format cannot hold such pixels, another process is writing the same file,
            or the disk refuses.

    Example:
        >>> with create_image("labels.tif", (1, 9000, 9000), "uint8", block=(512, 512)) as image:
        ...     image.write((slice(0, 512), slice(0, 512)), corner)  # doctest: +SKIP
    """
    path, shape = Path(path), tuple(map(int, shape))
    dtype = np.dtype(dtype)
    dtype = np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")
    with refusals(path):
        _refuse_unsuitable(path, shape, dtype)
    spacing = tuple(map(float, spacing)) or (1.0,) * (len(shape) - 1)
    state = plan_state(shape, dtype, block, spacing=spacing, nodata=nodata, key=key)
    created = Created(path, staging_of(path), state)
    with _alone(created):
        try:
            if not (key and holds(created.folder, state)):
                _empty(created)
                with refusals(path):
                    begin(created.folder, state)
            yield created
            if key and len(created.done) < created.slabs:
                raise InputError(
                    f"only {len(created.done)} of {created.slabs} bands are finished",
                    where=path,
                    cure="run again with --resume",
                )
            _complete(created, frame, nodata)
        except BaseException:
            if not key:
                _remove(created.folder)
            raise
        _remove(created.folder)


def attach_image(path: str | Path, key: str | None = None) -> Created:
    """Give the picture that another process is creating, to help it write.

    Args:
        path: as the other process gave it to `create_image`.
        key: if given, it must be the same.

    Raises:
        InputError: nobody is creating it, or with another key.
    """
    path = Path(path)
    folder = staging_of(path)
    state = load(folder)
    if state is None or (key is not None and state.key != key):
        raise InputError(
            "nothing is being written there" if state is None else "is made with other settings",
            where=path,
            cure="let the process that plans the work create it first",
        )
    return Created(path, folder, state)


def _refuse_unsuitable(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse what the format cannot hold now, rather than after hours of work."""
    suffix = suffix_of(path)
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError(f"{dtype} pixels cannot be written", where=path)
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise InputError(f"pixels of shape {shape} cannot be written", where=path)
    zarr = suffix in ZARR
    if path.is_dir() if not zarr else path.exists() and not is_zarr(path):
        what = "something that is no Zarr folder" if zarr else "a folder"
        raise InputError(f"{what} stands there", where=path, cure="choose another name")
    if suffix in NIFTI and len(shape) == 3 and shape[0] > 1:
        raise InputError("NIfTI does not hold 2D colour", where=path, cure="choose .tif or .zarr")
    if zarr or suffix in (*TIFF, *NIFTI, ".npy"):
        return
    if suffix not in (".png", ".nrrd", ".mha"):
        raise InputError(
            f"{suffix} is not written, because it would lose values or depth",
            where=path,
            cure="choose .png, .tif, .nii.gz, .npy or .zarr",
        )
    if suffix in ITK:
        from unetkit.image.guard import need

        need("SimpleITK", path, "medical")
    elif dtype.kind == "f" or len(shape) != 3 or shape[0] not in (1, 3):
        raise InputError(
            f"{dtype} pixels of shape {shape} do not fit into a PNG", where=path, cure="choose .tif"
        )
    size = math.prod(shape) * dtype.itemsize
    if size > _LARGEST_WHOLE:
        raise InputError(
            f"{size / 2**30:.1f} GiB of pixels are too many for {suffix}, which is written whole",
            where=path,
            cure="choose .tif, .zarr, .nii or .npy",
        )


def _complete(created: Created, frame: Frame, nodata: float | None) -> None:
    """Make the file of what is staged, and give it its name."""
    from unetkit.image.completion import COMPLETE, Place
    from unetkit.image.zarrs import complete_zarr

    path, suffix = created.path, suffix_of(created.path)
    if suffix in ZARR:
        complete_zarr(created, created.state.spacing, frame, nodata)
        return
    place = Place(created.state.spacing, frame, nodata)
    result = created.folder / f"result{suffix}"
    with atomic(result) as temporary, refusals(path):
        if suffix in COMPLETE:
            COMPLETE[suffix](created, place, temporary)
        else:
            from unetkit.image import Image, write_image

            data = created.read(tuple(slice(0, n) for n in created.shape))
            write_image(Image(data, place.spacing, frame, None, nodata), temporary)
    with refusals(path):
        result.replace(path)


@contextmanager
def _alone(created: Created) -> Iterator[None]:
    """Keep other processes from creating the same file; the system frees a dead one's lock."""
    from filelock import FileLock, Timeout

    with refusals(created.path):
        created.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(created.folder / "lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise InputError(
                "is being written by another process",
                where=created.path,
                cure="wait for it, or choose another name",
            ) from error
    try:
        yield
    finally:
        lock.release()


def _empty(created: Created) -> None:
    """Throw away what an older staging left, but not the lock that is held."""
    with refusals(created.path):
        (created.folder / "state.json").unlink(missing_ok=True)
        for inner in created.folder.iterdir():
            if inner.is_dir():
                shutil.rmtree(inner)
            elif inner.name != "lock":
                inner.unlink()


def _remove(folder: Path) -> None:
    with suppress(OSError):
        (folder / "state.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
