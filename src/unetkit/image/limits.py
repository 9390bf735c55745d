"""Limits: what a file may promise, and decoding in parts what can only be decoded whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unetkit.errors import InputError
from unetkit.image.grid import within
from unetkit.image.guard import memory, slices_size
from unetkit.image.opened import Array, Window

# Deflate shrinks at most about 1032 times; a file that promises more than that is no picture.
DEFLATE = 1100
# What is less does no harm. Beyond the second size, zeros that swell a hundredfold are taken for
# an attack; an empty mask of that size is better read by window.
_HARMLESS_BYTES, _LARGE_BYTES, _LARGE_RATIO = 2**28, 2**31, 100
_MAPPED_BYTES = 2**24  # that are mapped at once
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
) -> Callable[[], Array]:
    """Give a function that maps numbers that lie in a file as they are, in C order.

    Raises:
        ValueError: the file ends before they do.
    """

    def view() -> Array:
        return np.memmap(path, dtype, "r", offset, tuple(shape))

    view()  # which notices that the file is cut short
    return view


def cut(view: Callable[[], Array], box: Window, target: Array | None = None) -> Array:
    """Copy a box of numbers that are mapped from a file.

    What has been read through a map counts as memory of this process while the map is there.
    So there is a new map for every piece, and a piece reaches over no more than 16 MiB.

    Args:
        view: maps the file anew.
        box: a slice per axis.
        target: where to, if not to a new array.
    """
    first = view()
    strides = [abs(stride) for stride in first.strides]
    if target is None:
        target = np.empty(slices_size(box), first.dtype.newbyteorder("="))
    del first
    parts = [box]
    while parts:
        part = parts.pop()
        # From the first number to the last one; never negative, even of an empty box.
        spans = [max(n - 1, 0) * step for n, step in zip(slices_size(part), strides, strict=True)]
        if sum(spans) <= _MAPPED_BYTES:
            target[within(part, box)] = view()[part]
            continue
        axis = spans.index(max(spans))
        middle = (part[axis].start + part[axis].stop) // 2
        for half in (slice(part[axis].start, middle), slice(middle, part[axis].stop)):
            parts.append((*part[:axis], half, *part[axis + 1 :]))
    return target


def covers(window: Window, space: Sequence[int]) -> bool:
    """Tell whether a window is everything there is."""
    return all((w.start, w.stop) == (0, size) for w, size in zip(window, space, strict=True))


def everything(space: Sequence[int]) -> Window:
    """Give the window that holds all pixels."""
    return tuple(slice(0, size) for size in space)
