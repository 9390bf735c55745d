"""Limits: what a file may promise, and decoding in parts what can only be decoded whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unetkit.errors import InputError
from unetkit.image.guard import memory
from unetkit.image.opened import Array, Window

# Deflate shrinks at most about 1032 times; a file that promises more than that is no picture.
DEFLATE = 1100
# What is less does no harm. Beyond the second size, zeros that swell a hundredfold are taken for
# an attack; an empty mask of that size is better read by window.
_HARMLESS_BYTES, _LARGE_BYTES, _LARGE_RATIO = 2**28, 2**31, 100
BOMB_CURE = "if the picture is genuine, cut it into parts or save it as an uncompressed TIFF"


def refuse_impossible(path: Path, promised: int, held: int, ratio: int = DEFLATE) -> None:
    """Refuse pixels that so small a file cannot hold.

    Args:
        path: the file.
        promised: bytes of its pixels.
        held: bytes of the file that they are to come from.
        ratio: how much its compression can shrink.

    Raises:
        InputError: it promises too much.
    """
    if promised > _HARMLESS_BYTES and promised > held * ratio:
        raise InputError(
            f"promises {promised / 2**30:.1f} GiB of pixels in a file of {held} bytes",
            where=path,
            cure=BOMB_CURE,
        )


def refuse_bomb(path: Path, promised: int, held: int, ratio: int = DEFLATE) -> None:
    """Refuse to decode pixels that such a file hardly holds, or that this machine cannot.

    Raises:
        InputError: as `refuse_impossible`, and more strictly where the pixels are many.
    """
    large = promised > _LARGE_BYTES
    refuse_impossible(path, promised, held, min(ratio, _LARGE_RATIO) if large else ratio)
    if promised > _HARMLESS_BYTES and promised > memory():
        raise InputError(
            f"promises {promised / 2**30:.1f} GiB of pixels, more than this machine's memory",
            where=path,
            cure=BOMB_CURE,
        )


def in_parts(decode: Callable[[], Array], space: Sequence[int]) -> Callable[[Window], Array]:
    """Give a `read` that decodes everything and cuts; what is cut from is kept for next time."""
    kept: list[Array] = []

    def read(window: Window) -> Array:
        if covers(window, space):
            return kept[0].copy() if kept else decode()
        if not kept:
            kept.append(decode())
        return kept[0][:, *window].copy()

    return read


def mapped(
    path: Path, dtype: np.dtype[Any] | str, offset: int, shape: Sequence[int]
) -> Callable[[Window], Array]:
    """Give a function that cuts a box from numbers that lie in a file as they are, in C order.

    A part is read through a map of the file; everything in one go, which is faster.
    """
    numbers = np.memmap(path, dtype, "r", offset, tuple(shape))

    def read(box: Window) -> Array:
        if covers(box, shape):
            flat: Array = np.fromfile(path, dtype, math.prod(shape), offset=offset)
            return flat.reshape(shape)
        return np.array(numbers[box])

    return read


def covers(window: Window, space: Sequence[int]) -> bool:
    """Tell whether a window is everything there is."""
    return all((w.start, w.stop) == (0, size) for w, size in zip(window, space, strict=True))


def everything(space: Sequence[int]) -> Window:
    """Give the window that holds all pixels."""
    return tuple(slice(0, size) for size in space)
