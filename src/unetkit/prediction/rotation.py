"""Rotated views of a plane: one lattice per angle, anchored at the image's centre.

A view that is rotated by an angle θ is the image, continued by mirroring, resampled at the points
(u, v) with u, v whole numbers, u = cos θ (y − y₀) − sin θ (x − x₀), v = sin θ (y − y₀) +
cos θ (x − x₀), where (y₀, x₀) is the centre of the image. Tiles only choose which part of this
lattice they compute, so a prediction does not depend on how the image was cut. Interpolation is
bilinear there and back: a constant stays constant, and probabilities still add up to one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unetkit.geometry import Slices
from unetkit.prediction.config import Array, Floats

_ROUNDING = 1e-6  # of coordinates: a point this near the next pixel may interpolate with it

Affine = tuple[NDArray[np.float64], NDArray[np.float64]]


def onto_lattice(angle: float, shape: Sequence[int]) -> Affine:
    """Give matrix and shift from pixels (y, x) of an image of `shape` to points (u, v)."""
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = np.array([[cos, -sin], [sin, cos]])
    return matrix, -matrix @ _centre(shape)


def onto_image(angle: float, shape: Sequence[int]) -> Affine:
    """Give matrix and shift from points (u, v) to pixels (y, x) of an image of `shape`."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, sin], [-sin, cos]]), _centre(shape)


def reach(block: Slices, affine: Affine) -> Slices:
    """Give the block of the other frame that holds all that `block` is interpolated from."""
    matrix, shift = affine
    ends = [(part.start, part.stop - 1) for part in block]
    corners = np.array([(a, b) for a in ends[0] for b in ends[1]], np.float64)
    points = corners @ matrix.T + shift
    low = np.floor(points.min(0) - _ROUNDING).astype(int)
    high = np.floor(points.max(0) + _ROUNDING).astype(int) + 2
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def resample(data: Array, at: Slices, block: Slices, affine: Affine) -> Floats:
    """Interpolate the points of `block` from `data`, bilinearly.

    Args:
        data: (..., y, x), which lies at `at` in its own frame.
        at: where; holds at least what `reach(block, affine)` says.
        block: the part of the other frame that is wanted.
        affine: from the other frame to that of the data.

    Returns:
        (..., *block).
    """
    from scipy.ndimage import affine_transform

    matrix, shift = affine
    offset = matrix @ [part.start for part in block] + shift - [part.start for part in at]
    size = tuple(part.stop - part.start for part in block)
    result = np.empty((*data.shape[:-2], *size), np.float32)
    planes = data.reshape(-1, *data.shape[-2:])
    for plane, out in zip(planes, result.reshape(-1, *size), strict=True):
        affine_transform(
            plane, matrix, offset, size, output=out, order=1, mode="nearest", prefilter=False
        )
    return result


def _centre(shape: Sequence[int]) -> NDArray[np.float64]:
    return (np.array(shape, np.float64) - 1) / 2
