"""What the generators draw with: smooth noise, walks, discs along them, soft edges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, special

from unetkit.errors import InputError

Seed = int | tuple[int, ...]
Bytes = NDArray[np.uint8]
Field = NDArray[np.float64]

LEAST = 32  # pixels per axis in the plane: below, the shapes do not fit
LONGEST = 2**16  # pixels per axis
MOST = 2**26  # pixels or voxels that a generator holds at once; it takes up to 200 bytes for each


def begin(size: tuple[int, ...], seed: Seed) -> tuple[np.random.Generator, tuple[int, ...]]:
    """Check the size and start the generator of random numbers.

    Raises:
        InputError: a size at which the shapes do not fit, or one that does not fit into memory.
    """
    check_size(size)
    return np.random.default_rng(seed), tuple(size)


def check_size(size: tuple[int, ...], *, whole: bool = True) -> None:
    """Refuse a size at which the shapes do not fit, or too large a one.

    Args:
        size: (*space).
        whole: the picture is made at once, in memory.

    Raises:
        InputError: it is too small or too large.
    """
    if min(size[-2:]) < LEAST or min(size) < LEAST // 4:
        cure = f"use {LEAST} pixels or more per axis, {LEAST // 4} slices or more"
        raise InputError(f"{size} is too small", where="size", cure=cure)
    if max(size) > LONGEST:
        cure = f"use {LONGEST} pixels or fewer per axis"
        raise InputError(f"{size} is too large", where="size", cure=cure)
    if whole and math.prod(size) > MOST:
        cure = f"use {MOST // 10**6} million pixels or fewer, or kind satellite, made in strips"
        raise InputError(f"{size} is too large to be made at once", where="size", cure=cure)


def noise(random: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Field:
    """Make smooth noise of mean 0 and deviation 1; by Fourier, so that any sigma costs the same."""
    spectrum = fft.rfftn(random.standard_normal(shape))
    sigma = min(sigma, max(shape) / 5)  # beyond, a small image would be constant
    spectrum = ndimage.fourier_gaussian(spectrum, sigma, n=shape[-1])
    field = fft.irfftn(spectrum, shape)
    return np.asarray((field - field.mean()) / field.std())


def walk(
    random: np.random.Generator,
    start: Field,
    length: float,
    *,
    angle: float | None = None,
    bend: float = 0.0,
    wander: float = 0.035,
) -> tuple[Field, Field]:
    """Walk in steps of one pixel; return points (n, 2) as y, x and headings (n,) in radians."""
    n = max(2, int(length))
    angle = random.uniform(0, 2 * np.pi) if angle is None else angle
    wiggle = ndimage.gaussian_filter1d(random.standard_normal(n), 5) * 0.5
    heading = angle + bend * np.arange(n) / n + wiggle + np.cumsum(random.normal(0, wander, n))
    steps = np.stack([np.sin(heading), np.cos(heading)], axis=1)
    return start + np.cumsum(steps, axis=0), heading


def turned(
    size: tuple[int, int], centre: Field | tuple[int, int], reach: float, angle: float
) -> tuple[tuple[slice, slice], Field, Field]:
    """Return the window around `centre` and its coordinates along the angle and across it."""
    low = np.maximum(np.floor(np.subtract(centre, reach)), 0).astype(int)
    high = np.minimum(np.ceil(np.add(centre, reach)), size).astype(int)
    window = (slice(low[0], high[0]), slice(low[1], high[1]))
    y, x = (np.mgrid[window].T + 0.5 - centre).T
    along, across = y * np.sin(angle) + x * np.cos(angle), y * np.cos(angle) - x * np.sin(angle)
    return window, along, across


def draw(size: tuple[int, int], points: Field, radii: Field, values: Field | float = 1.0) -> Field:
    """Draw discs with soft edges at `points`, the largest value winning; close ones make lines."""
    canvas = np.zeros(size)
    reach = int(np.ceil(radii.max(initial=0))) + 1
    near = ((points > -reach - 1) & (points < np.array(size) + reach + 1)).all(axis=1)
    values = np.broadcast_to(values, radii.shape)[near]
    points, radii = points[near], radii[near]  # in a long image most of a line lies outside
    order = np.argsort(-radii)
    points, radii, values = points[order], radii[order], values[order]
    radii = radii[radii > 0]
    corner = np.floor(points).astype(int)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            # A point lies up to half a pixel from the centre of its own: thin ones end early.
            n = int(np.searchsorted(-radii, 1.21 - np.hypot(dy, dx)))
            pixel = corner[:n] + np.array([dy, dx])
            depth = radii[:n] + 0.5 - np.hypot(*(pixel + 0.5 - points[:n]).T)
            hit = (depth > 0) & ((pixel >= 0) & (pixel < size)).all(axis=1)
            ink = values[:n][hit] * np.minimum(depth[hit], 1)
            np.maximum.at(canvas, tuple(pixel[hit].T), ink)
    return canvas


def within(distance: Field) -> Field:
    """Turn distances, 1 at the edge, into a soft disc: 1 inside, 0 outside."""
    return np.asarray(special.expit(9 * (1 - distance)))


def to_bytes(array: NDArray[Any]) -> Bytes:
    """Round to 0 … 255."""
    return np.asarray(np.clip(np.rint(array), 0, 255).astype(np.uint8))
