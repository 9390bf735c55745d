"""NPY and NPZ: arrays, of which nothing is ever unpickled."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from unetkit.errors import InputError
from unetkit.image.limits import covers, cut, in_parts, refuse_bomb
from unetkit.image.opened import Array, Opened, Window

_ANY = ("data", "arr_0")
_PICTURES = ("image", "images", "img")
_MASKS = ("mask", "masks", "label", "labels", "seg", "segmentation")


def open_npy(path: Path, indices: bool) -> Opened:
    """Open an NPY file, of which windows are read through a map of the file."""

    def view() -> Array:
        # The map notices at once when the file is shorter than its header says.
        with np.errstate(over="ignore"):  # of a size beyond all numbers, which it then refuses
            array: Array = npy.open_memmap(path, mode="r")
        return _arrange(array, path, indices)

    opened = _opened(view())

    def read(window: Window) -> Array:
        if covers(window, opened.shape[1:]):  # in one go is faster than through a map
            held = path.stat().st_size
            refuse_bomb(path, math.prod(opened.shape) * opened.dtype.itemsize, held, 1)
            return _arrange(np.load(path, allow_pickle=False), path, indices)
        return cut(view, (slice(0, opened.shape[0]), *window))

    return replace(opened, read=read)


def open_npz(path: Path, indices: bool) -> Opened:
    """Open an array of an NPZ file, by its name or because it is the only one.

    It is not read in parts, because it may be compressed.

    Raises:
        InputError: several arrays, none of which is called image or mask.
    """
    with zipfile.ZipFile(path) as bundle:
        names = {info.filename.removesuffix(".npy"): info for info in bundle.infolist()}
        preferred = (*_MASKS, *_ANY, *_PICTURES) if indices else (*_PICTURES, *_ANY, *_MASKS)
        found = [name for name in preferred if name in names]
        if not found and len(names) != 1:
            raise InputError(
                f"holds the arrays {', '.join(names) or 'none'}",
                where=path,
                cure="name the one to read image or mask",
            )
        info = names[(found or list(names))[0]]
        with bundle.open(info) as file:
            shape, order, dtype = _read_header(file)
            if dtype.hasobject or math.prod(shape) * dtype.itemsize > info.file_size:
                raise ValueError("the file ends before its pixels do")
            refuse_bomb(path, info.file_size, path.stat().st_size)

    def decode() -> Array:
        with zipfile.ZipFile(path) as bundle, bundle.open(info) as file:
            _read_header(file)
            content = np.empty(math.prod(shape), dtype)
            view = memoryview(content.view(np.uint8).data)
            done = 0
            while done < len(view):
                piece = file.read(min(len(view) - done, 2**24))
                if not piece:
                    raise ValueError("the file ends before its pixels do")
                view[done : done + len(piece)] = piece
                done += len(piece)
            if file.read(1):  # its checksum is compared when nothing is left
                raise ValueError("holds more than its header says")
            whole = content.reshape(shape, order="F" if order else "C")
            return _arrange(whole, path, indices)

    hollow = np.broadcast_to(np.zeros((), dtype), shape)
    opened = _opened(_arrange(hollow, path, indices))
    return replace(opened, read=in_parts(decode, opened.shape[1:]), whole=True)


def guess_axes(shape: Sequence[int], indices: bool) -> str:
    """Say what the axes of an array are, which does not say so itself, by their letters.

    A short last axis is channels (unless the first is short too), then a short first one; 16
    admits the 13 bands of Sentinel-2. A mask of few slices is a thin volume, because labels have
    one channel.
    """
    if len(shape) == 2:
        return "yx"
    space = "zyx"[4 - len(shape) :]
    if shape[-1] <= 4 and shape[0] > 16:
        return space + "c"
    if len(shape) == 3 and (shape[0] > 16 or (indices and shape[0] not in (1, 3, 4))):
        return "zyx"
    return "c" + space


def _arrange(array: Array, path: Path, indices: bool) -> Array:
    """Give a view (c, *space) of an array."""
    if not 2 <= array.ndim <= 4:
        raise InputError(f"has {array.ndim} axes", where=path, cure="save (y, x) or (c, [z,] y, x)")
    axes = guess_axes(array.shape, indices)
    if "c" not in axes:
        return array[None]
    return np.moveaxis(array, axes.index("c"), 0)


def _opened(arranged: Array) -> Opened:
    def read(window: Window) -> Array:
        return np.array(arranged[:, *window])

    return Opened(arranged.shape, arranged.dtype, read, (1.0,) * (arranged.ndim - 1))


def _read_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return read(file)
