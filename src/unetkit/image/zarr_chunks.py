"""The chunks of a Zarr array: read where they are sound, refused where they would do harm."""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from unetkit.errors import InputError
from unetkit.image.guard import memory
from unetkit.image.opened import Array
from unetkit.image.zarr_metadata import Located

_REMEDY = "save it in chunks such as 1 × 1024 × 1024"
_MOST_CHUNKS = 2**18  # at 0.2 ms each for one that is not there, reading takes a minute
_PATIENCE = 10.0  # seconds
_finishing = threading.Lock()  # threads that wait for all tasks would wait for each other


def read_chunks(
    path: Path, found: Located, array: Any, selection: tuple[slice | int, ...]
) -> Array:
    """Read a part of an array.

    Args:
        path: for messages.
        found: what the metadata say.
        array: as zarr opened it.
        selection: a number or a slice with plain start and stop per axis as stored.

    Raises:
        InputError: the chunks are too many, too large, or larger than their pixels.
    """
    _refuse_crumbs(path, found, selection)
    _refuse_swollen(path, found, array, selection)
    try:
        return np.asarray(array[selection])
    except BaseException:
        _finish()
        raise


def _refuse_crumbs(path: Path, found: Located, selection: tuple[slice | int, ...]) -> None:
    count = 1
    for part, chunk in zip(selection, found.chunks, strict=True):
        if isinstance(part, slice) and part.stop > part.start:
            count *= (part.stop - 1) // chunk - part.start // chunk + 1
    if count > _MOST_CHUNKS:
        size = " × ".join(map(str, found.chunks))
        raise InputError(
            f"would be read in {count} chunks of {size}",
            where=path,
            cure=_REMEDY,
        )


def _refuse_swollen(
    path: Path, found: Located, array: Any, selection: tuple[slice | int, ...]
) -> None:
    """Refuse files of chunks that are larger than their pixels: no compressor makes such."""
    sizes = tuple(array.shards or array.chunks)
    declared = math.prod(sizes) * array.dtype.itemsize
    inner = math.prod(sizes) // math.prod(found.chunks)  # a shard lists each in 16 bytes
    if declared > memory():
        raise InputError(
            f"is stored in chunks of {' × '.join(map(str, sizes))}, too large for this machine",
            where=path,
            cure=_REMEDY,
        )
    ranges = [
        range(part.start // n, (max(part.stop, 1) - 1) // n + 1)
        if isinstance(part, slice)
        else range(part // n, part // n + 1)
        for part, n in zip(selection, sizes, strict=True)
    ]
    for place in itertools.product(*ranges):
        file = found.folder / array.metadata.encode_chunk_key(place)
        with suppress(FileNotFoundError):
            if file.stat().st_size > declared * 1.1 + 16 * inner + 2**16:
                raise InputError(
                    f"its chunk {file.relative_to(found.folder)} is larger than its pixels",
                    where=path,
                    cure="copy it again from its source",
                )


def _finish() -> None:
    """Wait until zarr has done with the other chunks; else it prints about them at exit."""
    from zarr.core.sync import sync

    async def wait() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=_PATIENCE)

    with _finishing, suppress(Exception):
        sync(wait())
