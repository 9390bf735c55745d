"""Images from afar: means of blocks of pixels, and a sketch that copies of an image share."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Plane = npt.NDArray[np.float32]

SIDE = 32  # pixels a side of a sketch
_LEVELS = 30  # steps of a sketch per standard deviation
_SLICES = 8  # of a volume that its sketch is the mean of


def sketch(image: Array) -> npt.NDArray[np.int8]:
    """Draw an image (c, *space) from afar: (32, 32) in 1/30 of its standard deviation."""
    small = reduced(image, (SIDE, SIDE)).astype(np.float64)
    level = float(np.abs(small).max())
    small -= small.mean()
    spread = float(small.std())
    if spread <= 1e-6 * level:  # nothing but rounding
        return np.zeros((SIDE, SIDE), np.int8)
    levels = np.clip(np.rint(small * (_LEVELS / spread)), -127, 127)
    return np.asarray(levels, np.int8)


def reduced(image: Array, size: tuple[int, int]) -> Plane:
    """Bring an image (c, *space) to one grey plane (y, x) of this size.

    Each pixel is the mean of its part of the image, whatever the size, so that copies of other
    sizes look the same; up to five channels and, of a volume, eight slices are averaged.
    """
    if image.ndim == 4:
        depth = image.shape[1]
        chosen = ((np.arange(_SLICES) + 0.5) * depth / _SLICES).astype(int)
        image = image[:, np.unique(np.concatenate([chosen, depth - 1 - chosen]))]
        planes = image.reshape(-1, *image.shape[2:])
    else:
        planes = image[:: max(1, len(image) // 4)]
    rows, columns = planes.shape[-2:]
    steps = (max(1, rows // (2 * size[0])), max(1, columns // (2 * size[1])))
    with np.errstate(invalid="ignore", over="ignore"):
        total = blocks(planes[0], steps)
        for plane in planes[1:]:
            total = total + blocks(plane, steps)
    known = np.isfinite(total)
    if not known.all():
        total = np.where(known, total, total[known].mean() if known.any() else 0)
    down, across = _areas(rows, steps[0], size[0]), _areas(columns, steps[1], size[1])
    return np.asarray(down @ (total / len(planes)) @ across.T, np.float32)


def blocks(plane: Array, steps: tuple[int, int]) -> Plane:
    """Give the mean of each block of pixels; what does not fill a block is cut off."""
    down, across = steps
    wide: npt.DTypeLike = np.float32
    rows, columns = plane.shape[0] // down, plane.shape[1] // across
    plane = plane[: rows * down, : columns * across]
    if plane.dtype in (np.uint8, np.bool_):
        wide = np.uint16 if down <= 257 else np.uint32
    lines = plane.reshape(rows, down, -1).sum(1, dtype=wide).astype(np.float32)
    # A product with a vector of ones is many times faster than a sum over a short last axis.
    means: Array = lines.reshape(-1, across) @ np.full(across, 1 / (down * across), np.float32)
    return means.reshape(rows, columns)


@lru_cache(maxsize=64)
def _areas(size: int, step: int, wanted: int) -> Plane:
    """Give (wanted, blocks): how much of each block lies in each of the wanted pixels."""
    edges = np.arange(size // step + 1) * float(step)
    edges[-1] = size  # the last block speaks for what was cut off
    parts = np.linspace(0, size, wanted + 1)
    low = np.maximum(edges[None, :-1], parts[:-1, None])
    high = np.minimum(edges[None, 1:], parts[1:, None])
    shares = np.maximum(high - low, 0)
    return np.asarray(shares / shares.sum(1, keepdims=True), np.float32)
