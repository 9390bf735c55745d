"""NIfTI, also gzipped: volumes with spacing and affine, in the orientation of the file."""

from __future__ import annotations

import gzip
import math
import mmap
import struct
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from unetkit.errors import InputError
from unetkit.image.limits import DEFLATE, covers, cut, mapped, refuse_bomb, refuse_impossible
from unetkit.image.opened import Array, Opened, Window

_HEADER = 540  # the longer one, of NIfTI-2
_SMALL_BYTES = 2**26
_SHORT, _LONG = (348).to_bytes(4, "little"), (540).to_bytes(4, "little")


def open_nifti(path: Path, indices: bool) -> Opened:
    """Open a NIfTI-1 or NIfTI-2 file as (c, *space), where what follows x, y, z is channels.

    Windows of a `.nii` are read through a map of the file. A `.nii.gz` is unpacked from its
    beginning to the last slice of the window, which are kept for the next one; from the second
    window on, a large one is read from a temporary file into which all of it is unpacked.
    """
    del indices
    gzipped = path.name.lower().endswith(".gz")
    header = _read_header(path, gzipped)
    if not 1 <= int(header["dim"][0]) <= 7:
        raise ValueError(f"it says it has {int(header['dim'][0])} axes")
    shape = tuple(int(n) for n in header.get_data_shape())
    if len(shape) < 2 or min(shape) < 1:
        raise InputError(f"has {len(shape)} axes, no picture", where=path)
    stored = header.get_data_dtype()
    offset = int(header.get_data_offset())
    slope, inter = header.get_slope_inter()
    scaled = (slope, inter) not in ((None, None), (1, 0)) and not stored.names
    # Voxels are in Fortran order: read backwards they are (…, z, y, x), colours last of all.
    channels, space = math.prod(shape[3:]), shape[2::-1]
    colours = len(stored.names or ())
    raw = np.dtype(np.uint8) if colours else stored
    whole = (channels, *space, *((colours,) if colours else ()))
    promised = math.prod(whole) * raw.itemsize
    size = path.stat().st_size
    refuse_impossible(path, promised, size, DEFLATE if gzipped else 1)
    if not gzipped and offset + promised > size:
        raise ValueError("the file ends before its voxels do")
    dtype = raw
    if scaled:  # nibabel scales in double precision, which only double voxels need
        dtype = np.dtype(np.float64 if stored == np.float64 else np.float32)
    get, close = (_from_gzip if gzipped else _from_map)(path, raw, offset, whole)

    def read(window: Window) -> Array:
        if covers(window, space):
            refuse_bomb(path, promised, size, DEFLATE if gzipped else 1)
        voxels = get(window)
        if scaled:
            from nibabel.volumeutils import apply_read_scaling

            voxels = apply_read_scaling(voxels, np.float64(slope), np.float64(inter))
        if colours:
            voxels = np.moveaxis(voxels, -1, 1)
            voxels = voxels.reshape(-1, *voxels.shape[2:])
        with np.errstate(over="ignore", invalid="ignore"):  # a slope may lead beyond all floats
            return voxels.astype(dtype.newbyteorder("="), copy=False)

    with np.errstate(all="ignore"):
        frame = np.asarray(header.get_best_affine(), dtype=np.float64)
        sound = bool(np.isfinite(frame).all() and abs(np.linalg.det(frame)) > 0)
        spacing = tuple(abs(float(zoom)) for zoom in header.get_zooms()[: len(space)])[::-1]
    shape = (channels * max(1, colours), *space)
    return Opened(shape, dtype, read, spacing, frame if sound else None, close=close)


def _read_header(path: Path, gzipped: bool) -> Any:
    """Read the header without nibabel's own checks, which print and warn."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    with path.open("rb") as file:
        content = gzip.GzipFile(fileobj=file).read(_HEADER) if gzipped else file.read(_HEADER)
    kinds: dict[bytes, tuple[Any, str, int]] = {
        _SHORT: (Nifti1Header, "<", 348),
        _SHORT[::-1]: (Nifti1Header, ">", 348),
        _LONG: (Nifti2Header, "<", 540),
        _LONG[::-1]: (Nifti2Header, ">", 540),
    }
    if content[:4] not in kinds:
        raise ValueError("no NIfTI header")
    kind, order, length = kinds[content[:4]]
    if len(content) < length:
        raise struct.error("the file ends before its header does")
    return kind(content[:length], endianness=order, check=False)


def _from_map(
    path: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...]
) -> tuple[Callable[[Window], Array], Callable[[], None]]:
    """Give a function that reads a window, and one that closes the file."""
    view = mapped(path, dtype, offset, shape)

    def read(window: Window) -> Array:
        if covers(window, shape[1 : 1 + len(window)]):  # in one go is faster than through a map
            return np.fromfile(path, dtype, math.prod(shape), offset=offset).reshape(shape)
        return cut(view, _box(shape, window))

    return read, lambda: None


def _from_gzip(
    path: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...]
) -> tuple[Callable[[Window], Array], Callable[[], None]]:
    """Give a function that reads a window, and one that closes the file.

    Of a small volume, the slices that a window touches are unpacked and kept: planes of the first
    axis of space (rows, where there is no depth). So are those of the first window of a large one,
    which are not kept; the second window unpacks all into a temporary file.
    """
    kept: dict[tuple[int, int], Array] = {}
    begun: list[Window] = []
    unpacked: list[BinaryIO] = []
    large = math.prod(shape) * dtype.itemsize > _SMALL_BYTES
    turn = threading.Lock()

    def view() -> Array:
        numbers = mmap.mmap(unpacked[0].fileno(), 0, access=mmap.ACCESS_READ)
        return np.ndarray(shape, dtype, numbers)

    def read(window: Window) -> Array:
        (first, last), rest = (window[0].start, window[0].stop), window[1:]
        with turn:
            for (start, stop), slab in kept.items():
                if start <= first and last <= stop:
                    return np.array(slab[:, first - start : last - start, *rest])
            if covers(window, shape[1 : 1 + len(window)]):
                return _unpack(path, dtype, offset, shape)
            kept.clear()
            if large and begun and not unpacked:
                unpacked.append(_unpack_into_file(path, dtype, offset, shape))
            if not unpacked:
                slab = _unpack_slices(path, dtype, offset, shape, first, last)
                begun.append(window)
                if not large:
                    kept[first, last] = slab
                part: Array = slab[:, :, *rest]
                return np.ascontiguousarray(part) if large else part.copy()
        return cut(view, _box(shape, window))

    def close() -> None:
        for file in unpacked:
            file.close()

    return read, close


def _box(shape: tuple[int, ...], window: Window) -> Window:
    return (slice(0, shape[0]), *window, *(slice(0, n) for n in shape[1 + len(window) :]))


def _unpack(path: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...]) -> Array:
    size = math.prod(shape) * dtype.itemsize
    if offset + size < 2**32:
        from imagecodecs import DeflateError, gzip_decode

        try:  # libdeflate is three times as fast as zlib, but knows streams of one member only
            content = gzip_decode(path.read_bytes(), out=bytearray(offset + size))
            if len(content) == offset + size:
                return np.frombuffer(content, dtype, offset=offset).reshape(shape)
        except DeflateError:
            pass
    return _unpack_slices(path, dtype, offset, shape, 0, shape[1])


def _unpack_slices(
    path: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...], first: int, last: int
) -> Array:
    slab = np.empty((shape[0], last - first, *shape[2:]), dtype)
    step = math.prod(shape[2:]) * dtype.itemsize
    with path.open("rb") as file, gzip.GzipFile(fileobj=file) as content:
        for channel in range(shape[0]):
            content.seek(offset + (channel * shape[1] + first) * step)
            target = memoryview(slab[channel].reshape(-1).view(np.uint8))
            done = 0
            while done < len(target):
                got = content.readinto(target[done : done + 2**24])
                if not got:
                    raise ValueError("the file ends before its voxels do")
                done += got
        if last == shape[1]:
            content.read(1)  # the checksum is compared where the stream ends
    return slab


def _unpack_into_file(
    path: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...]
) -> BinaryIO:
    """Give a file of the voxels alone, which the system removes when it is closed.

    Raises:
        InputError: there is no room for it.
    """
    size = math.prod(shape) * dtype.itemsize
    file = cast(BinaryIO, tempfile.TemporaryFile(prefix="unetkit-"))  # noqa: SIM115
    try:
        with path.open("rb") as packed, gzip.GzipFile(fileobj=packed) as content:
            content.seek(offset)
            left = size
            while left:
                piece = content.read(min(left, 2**24))
                if not piece:
                    raise ValueError("the file ends before its voxels do")
                try:
                    file.write(piece)
                except OSError as error:
                    raise InputError(
                        f"needs {size / 2**30:.1f} GiB in {tempfile.gettempdir()} to be unpacked",
                        where=path,
                        cure="free some space there, or unpack it with gunzip",
                    ) from error
                left -= len(piece)
            content.read(1)  # the checksum is compared where the stream ends
        file.flush()
    except BaseException:
        file.close()
        raise
    return file
