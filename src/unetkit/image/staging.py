"""Pixels on their way to a file: written chunk by chunk, by several processes, kept after a kill.

A staging is a hidden folder beside the picture to be:

    .NAME.partial/state.json     what is being made, and for which key
                  done/7         band 7 is complete: made when its pixels are safely on the disk
                  pixels/        an OME-Zarr group to be, with level 0 of its pyramid
                  lock, work/    who finishes it; files that have no name yet

Level 0 is a Zarr 3 array, written here without the zarr library: that is two to three times as
fast, leaves no half-written chunk behind, and runs nothing in the background.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import os
import platform
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unetkit.files import atomic, write_bytes, write_text
from unetkit.image.grid import choose_chunks, chunks_of, refuse_off_grid, within
from unetkit.image.guard import damage, slices_size
from unetkit.image.opened import Array, Window

VERSION = 1
_LONGEST_NAME = 200  # bytes of 255, for something is put around it
_LEVEL = 1  # of zstd, for speed: most stagings are gone in the end


@dataclass(frozen=True)
class State:
    """What is being made.

    Attributes:
        key: stands for all that the pixels depend on; "" where they are not to be taken up again.
        shape: (c, *space).
        dtype: its name.
        block: sizes of the grid on which windows lie, per axis of space.
        chunks: (1, *space) of the array, which divide the block.
        fill: what stands where nothing was written.
        spacing: size of a pixel per axis of space.
        version: of the staging.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    block: tuple[int, ...]
    chunks: tuple[int, ...]
    fill: float
    spacing: tuple[float, ...]
    version: int = VERSION


@dataclass(frozen=True)
class Created:
    """A picture that is being written, by window and in any order.

    Attributes:
        path: the file to be.
        folder: of the staging.
        state: what is being made.
    """

    path: Path
    folder: Path
    state: State

    @property
    def shape(self) -> tuple[int, ...]:
        """(c, *space)."""
        return self.state.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return np.dtype(self.state.dtype)

    @property
    def slabs(self) -> int:
        """How many bands there are along the first axis of space, each as thick as a block."""
        return -(-self.state.shape[1] // self.state.block[0])

    @property
    def done(self) -> frozenset[int]:
        """The bands that are complete, whichever process wrote them."""
        folder = self.folder / "done"
        names = (file.name for file in folder.iterdir()) if folder.is_dir() else ()
        return frozenset(int(name) for name in names if name.isdecimal())

    def write(self, window: Window, data: Array) -> None:
        """Write pixels (c, *window).

        Windows begin and end on the grid of blocks, or at the end of the picture. Where they do
        not overlap, any thread of any process that sees the disk may write.

        Raises:
            InputError: the disk refuses.
        """
        state = self.state
        refuse_off_grid(window, state.block, state.shape[1:])
        data = np.asarray(data).astype(self.dtype, casting="same_kind", copy=False)
        if data.shape != (state.shape[0], *slices_size(window)):
            raise ValueError(f"pixels of shape {data.shape} do not fit the window {window}")
        whole = (slice(0, state.shape[0]), *window)
        with refusals(self.path):
            for place, part in chunks_of(whole, state.chunks):
                self._write_chunk(place, data[within(part, whole)])

    def finish(self, slab: int) -> None:
        """Mark a band as complete, once all its pixels are on the disk itself.

        Raises:
            InputError: the disk refuses.
        """
        if not 0 <= slab < self.slabs:
            raise ValueError(f"there are {self.slabs} bands, so none is number {slab}")
        state, thick = self.state, self.state.block[0]
        band = slice(slab * thick, min((slab + 1) * thick, state.shape[1]))
        whole = (slice(0, state.shape[0]), band, *(slice(0, n) for n in state.shape[2:]))
        with refusals(self.path):
            if not _flush_system(self.folder):
                files = [self._file(place) for place, _ in chunks_of(whole, state.chunks)]
                for path in (*files, *{file.parent for file in files}):
                    _flush(path)
        write_bytes(self.folder / "done" / str(slab), b"\n")

    def read(self, box: Window) -> Array:
        """Give what stands in a box, one slice per axis, so far.

        Raises:
            InputError: a chunk is damaged.
        """
        from imagecodecs import blosc_decode

        state, stored = self.state, self.dtype.newbyteorder("<")
        data = np.empty(slices_size(box), self.dtype)
        for place, part in chunks_of(box, state.chunks):
            with damage(self.path, "staging"):
                try:
                    content = self._file(place).read_bytes()
                except FileNotFoundError:
                    data[within(part, box)] = state.fill
                    continue
                if len(content) < 16 or int.from_bytes(content[12:16], "little") != len(content):
                    raise ValueError("a chunk is cut short")
                chunk = np.frombuffer(blosc_decode(content), stored).reshape(state.chunks)
            corner = tuple(slice(i * n, None) for i, n in zip(place, state.chunks, strict=True))
            data[within(part, box)] = chunk[within(part, corner)]
        return data

    def _file(self, place: tuple[int, ...]) -> Path:
        return self.folder.joinpath("pixels", "0", "c", *map(str, place))

    def _write_chunk(self, place: tuple[int, ...], part: Array) -> None:
        """Write a chunk, or none where all of it is the fill: that is what is read there."""
        from imagecodecs import blosc_encode

        file, state = self._file(place), self.state
        if (part == part.dtype.type(state.fill)).all():
            file.unlink(missing_ok=True)
            return
        if part.shape != state.chunks:  # at the end of the picture
            chunk = np.full(state.chunks, state.fill, part.dtype)
            chunk[tuple(slice(0, n) for n in part.shape)] = part
            part = chunk
        content = blosc_encode(
            np.asarray(part, part.dtype.newbyteorder("<")).tobytes(),
            level=_LEVEL,
            compressor="zstd",
            shuffle="shuffle",
            typesize=part.dtype.itemsize,
            numthreads=1,
        )
        name = f"{platform.node()}-{os.getpid()}-{threading.get_ident()}"
        temporary = self.folder / "work" / name
        temporary.write_bytes(content)
        try:
            temporary.replace(file)
        except FileNotFoundError:
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(file)


def plan_state(
    shape: Sequence[int],
    dtype: np.dtype[Any],
    block: Sequence[int],
    *,
    spacing: Sequence[float],
    nodata: float | None,
    key: str | None,
) -> State:
    """Choose the chunks of a picture that is written on a grid of blocks."""
    shape, block = tuple(map(int, shape)), tuple(map(int, block))
    if len(block) != len(shape) - 1 or min(block) < 1:
        raise ValueError(f"a block {block} does not fit pixels of shape {shape}")
    block = tuple(min(b, n) for b, n in zip(block, shape[1:], strict=True))
    chunks = choose_chunks(shape[1:], block)
    fill = fill_of(nodata, dtype)
    return State(key or "", shape, dtype.name, block, (1, *chunks), fill, tuple(spacing))


def fill_of(nodata: float | None, dtype: np.dtype[Any]) -> float:
    """Give what stands where nothing was written: nodata where the type can hold it, else 0."""
    if nodata is None:
        return 0
    if dtype.kind == "f":
        return nodata
    limits = np.iinfo(dtype)
    whole = nodata == nodata // 1 and limits.min <= nodata <= limits.max
    return int(nodata) if whole else 0


def staging_of(path: Path) -> Path:
    """Give the folder in which a picture is staged."""
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return path.with_name(f".{name}.partial")


def begin(folder: Path, state: State) -> None:
    """Lay out an empty staging in a folder; its state comes last, so that it is whole or none."""
    array = folder / "pixels" / "0"
    for inner in (folder / "done", folder / "work", array):
        inner.mkdir(parents=True)
    group = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    write_text(array.parent / "zarr.json", json.dumps(group))
    write_text(array / "zarr.json", json.dumps(_describe(state), allow_nan=False))
    write_text(folder / "state.json", _dump(state))


def holds(folder: Path, state: State) -> bool:
    """Tell whether a folder stages just this."""
    try:
        return (folder / "state.json").read_text(encoding="utf-8") == _dump(state)
    except (OSError, ValueError):
        return False


def load(folder: Path) -> State | None:
    """Give what a folder stages, or None where it stages nothing."""
    try:
        content = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            return None
        lists = {name: tuple(value) for name, value in content.items() if isinstance(value, list)}
        return State(**{**content, **lists})
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Say in one line why the system does not write what is to become a file."""
    try:
        yield
    except OSError as error:
        with atomic(path):  # which knows how to say it
            raise error from None


def _dump(state: State) -> str:
    return json.dumps(asdict(state), indent=1) + "\n"


def _describe(state: State) -> dict[str, Any]:
    """Give the metadata of the array (https://zarr-specs.readthedocs.io, version 3)."""
    size = np.dtype(state.dtype).itemsize
    blosc = {"cname": "zstd", "clevel": _LEVEL, "shuffle": "shuffle", "typesize": size}
    fill: float | str = state.fill
    if not math.isfinite(state.fill):
        fill = "NaN" if math.isnan(state.fill) else f"{'-' * (state.fill < 0)}Infinity"
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": state.shape,
        "data_type": state.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": state.chunks}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill,
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "blosc", "configuration": {**blosc, "blocksize": 0}},
        ],
        "dimension_names": list("czyx" if len(state.shape) == 4 else "cyx"),
        "attributes": {},
    }


def _flush_system(folder: Path) -> bool:
    """Have Linux write all that it holds back for the disk of a folder, or give False.

    A few hundred chunks take a second one by one, which this does in one go.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        return hasattr(libc, "syncfs") and libc.syncfs(handle) == 0
    finally:
        os.close(handle)


def _flush(path: Path) -> None:
    """Have the system write a file or folder to the disk; a chunk of nothing has no file."""
    with suppress(FileNotFoundError, PermissionError):  # Windows does not open folders
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
