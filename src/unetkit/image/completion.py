"""From a staging to the final file, in bounded memory: a band or some planes at a time."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from unetkit.errors import InputError
from unetkit.image.encoders import nifti_header, tiff_options
from unetkit.image.names import NIFTI, TIFF
from unetkit.image.opened import Array, Frame
from unetkit.image.staging import Created

_BAND_BYTES = 2**25  # of the pixels that are in memory at once, about; a few times that in all
_TILE, _LEAST_TILE = 512, 16  # TIFF wants multiples of 16
_TIFF_LEVEL, _GZIP_LEVEL = 1, 1  # higher ones take three times as long for a few per cent
_GZIP_BLOCK = 2**20
# "a gzip file, deflated, without name and time"
_GZIP_START = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


@dataclass(frozen=True, eq=False)
class Place:
    """What a file says beside its pixels: size of a pixel, where it lies, and "no data"."""

    spacing: tuple[float, ...]
    frame: Frame
    nodata: float | None


def complete_tiff(created: Created, place: Place, path: Path) -> None:
    """Write a TIFF as `write_tiff` does, always tiled, deflated by several threads."""
    import tifffile

    dtype = _narrow_type(created)
    options, colour = tiff_options(created.shape, dtype, place.spacing, place.frame, place.nodata)
    c, *space = created.shape
    tile = tuple(min(_TILE, -(-n // _LEAST_TILE) * _LEAST_TILE) for n in space[-2:])
    separate = space if c == 1 else [c, *space]

    def tiles() -> Iterator[Array]:
        for band in _bands(created, tile[0], together=colour):
            pixels = band.astype(dtype, copy=False)
            pixels = np.moveaxis(pixels, 0, -1) if colour else pixels
            planes = [pixels] if colour else pixels.reshape(-1, *pixels.shape[-2:])
            for plane in planes:
                for y in range(0, plane.shape[0], tile[0]):
                    for x in range(0, plane.shape[1], tile[1]):
                        yield plane[y : y + tile[0], x : x + tile[1]]

    tifffile.imwrite(
        path,
        tiles(),
        shape=(*space, c) if colour else tuple(separate),
        dtype=dtype,
        tile=tile,
        compressionargs={"level": _TIFF_LEVEL},
        maxworkers=_workers(),
        buffersize=_BAND_BYTES,
        **options,
    )


def complete_nifti(created: Created, place: Place, path: Path) -> None:
    """Write .nii or .nii.gz as `write_nifti` does; gzip in blocks by several threads."""
    dtype = _narrow_type(created)
    header = nifti_header(created.shape, dtype, place.spacing, place.frame, path)
    # x is the fastest axis of a NIfTI and channels the slowest, which is the order here.
    content = (band.astype(dtype, copy=False) for band in _bands(created, 1))
    pieces = (np.ascontiguousarray(band, dtype.newbyteorder("<")) for band in content)
    with path.open("wb") as file:
        if created.path.name.lower().endswith(".gz"):
            _gzip(file, header, pieces)
        else:
            file.write(header)
            for piece in pieces:
                file.write(piece.data)


def complete_npy(created: Created, place: Place, path: Path) -> None:
    """Write .npy, which holds nothing but pixels."""
    del place
    from numpy.lib import format as npy

    descr = npy.dtype_to_descr(created.dtype)
    header = {"descr": descr, "fortran_order": False, "shape": created.shape}
    with path.open("wb") as file:
        npy.write_array_header_1_0(file, header)
        for band in _bands(created, 1):
            file.write(band.data)


def _bands(created: Created, rows: int, *, together: bool = False) -> Iterator[Array]:
    """Give all pixels in the order (c, [z,] y, x), some rows or planes (c, *window) at a time.

    Args:
        created: where they come from.
        rows: bands begin at a multiple of it.
        together: all channels at once instead of one after the other.
    """
    c, *space = created.shape
    itemsize = created.dtype.itemsize * (c if together else 1)
    row = space[-1] * itemsize
    y_step = min(space[-2], max(rows, _BAND_BYTES // row // rows * rows))
    z_step = 1
    if len(space) == 3 and y_step == space[-2]:
        # Not beyond a row of chunks, each of which is then unpacked once.
        z_step = min(max(1, _BAND_BYTES // (row * space[-2])), created.state.chunks[1])
    z_starts: Iterable[int] = range(0, space[0], z_step) if len(space) == 3 else (0,)
    for channels in (slice(0, c),) if together else (slice(i, i + 1) for i in range(c)):
        for z in z_starts:
            deep = (slice(z, min(z + z_step, space[0])),) if len(space) == 3 else ()
            for y in range(0, space[-2], y_step):
                high = slice(y, min(y + y_step, space[-2]))
                yield created.read((channels, *deep, high, slice(0, space[-1])))


def _narrow_type(created: Created) -> np.dtype[Any]:
    """Give the type that readers of TIFF and NIfTI understand, as `encoders.narrowed` does."""
    dtype = created.dtype
    if dtype == np.float16:
        return np.dtype(np.float32)
    if dtype.itemsize <= 4 or dtype.kind == "f":
        return dtype
    low, high = 0, 0
    for band in _bands(created, 1):
        low, high = min(low, int(band.min())), max(high, int(band.max()))
    for narrow in (np.int32, np.uint32):
        if low >= np.iinfo(narrow).min and high <= np.iinfo(narrow).max:
            return np.dtype(narrow)
    raise InputError("numbers beyond 32 bits do not fit", where=created.path, cure="choose .npy")


def _gzip(file: BinaryIO, header: bytes, pieces: Iterable[Array]) -> None:
    """Write one gzip stream whose blocks are deflated by several threads.

    Each block ends on a byte (a "sync flush"), so that they can be joined; pigz does the same.
    """

    def deflate(block: memoryview | bytes) -> bytes:
        packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, -15)
        return packer.compress(block) + packer.flush(zlib.Z_SYNC_FLUSH)

    def blocks() -> Iterator[memoryview | bytes]:
        yield header
        for piece in pieces:
            content = memoryview(piece.reshape(-1).view(np.uint8).data)
            for start in range(0, len(content), _GZIP_BLOCK):
                yield content[start : start + _GZIP_BLOCK]

    checksum, size = 0, 0
    file.write(_GZIP_START)
    waiting: list[Future[bytes]] = []
    with ThreadPoolExecutor(_workers()) as pool:
        for block in blocks():
            checksum, size = zlib.crc32(block, checksum), size + len(block)
            waiting.append(pool.submit(deflate, block))
            if len(waiting) > 2 * _workers():
                file.write(waiting.pop(0).result())
        for packed in waiting:
            file.write(packed.result())
    file.write(b"\x03\0")  # an empty last block
    file.write(checksum.to_bytes(4, "little") + (size % 2**32).to_bytes(4, "little"))


def _workers() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(8, cores or 1)


COMPLETE = {
    **dict.fromkeys(TIFF, complete_tiff),
    **dict.fromkeys(NIFTI, complete_nifti),
    ".npy": complete_npy,
}
