"""Noise that belongs to places: the value at a point is the same whatever window asks for it.

Random numbers are hashes of whole numbers (a key, the row and column of a lattice point), so a
landscape has no edges and none of it need be kept. Everything is in float32, element by element:
two windows agree to the last bit where they overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.floating[Any]]
Whole = NDArray[np.int64]
Hash = NDArray[np.uint32]

_PRIMES = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
_SHRINKS = np.float32(0.479 / np.sqrt(12))  # deviation of uniform numbers after a B-spline in 2D


def hashed(key: int, *numbers: NDArray[Any]) -> Hash:
    """Give 32 random bits for each tuple of whole numbers; arguments are broadcast."""
    state = np.zeros(1, np.uint32)
    first, second, third = (np.uint32(prime) for prime in _PRIMES)
    for number in (np.array([key]), *numbers):
        state = (state ^ number.astype(np.uint32)) * first
        state ^= state >> np.uint32(15)
        state *= second
        state ^= state >> np.uint32(13)
        state *= third
        state ^= state >> np.uint32(16)
    return state


def uniform(key: int, *numbers: NDArray[Any]) -> Real:
    """Give a random number from 0 to 1 for each tuple of whole numbers."""
    bits = hashed(key, *numbers)
    bits >>= np.uint32(8)  # the 24 bits that a float32 holds
    return bits.astype(np.float32) * np.float32(2**-24)


def noise(key: int, rows: Whole, columns: Whole, wave: float, octaves: int = 1) -> Real:
    """Make smooth noise of mean 0 and deviation 1 at each row and column, sorted whole numbers.

    Cubic B-splines over random numbers on a lattice `wave` pixels wide; each further octave is half
    as wide and half as high.
    """
    total = np.zeros((len(rows), len(columns)), np.float32)
    height, power = 1.0, 0.0
    for octave in range(octaves):
        down, first = _weights(rows, wave), int(np.floor(rows[0] / wave)) - 1
        across, left = _weights(columns, wave), int(np.floor(columns[0] / wave)) - 1
        knots = uniform(
            key + octave,
            np.arange(first, int(np.floor(rows[-1] / wave)) + 3)[:, None],
            np.arange(left, int(np.floor(columns[-1] / wave)) + 3),
        ) - np.float32(0.5)
        knots *= np.float32(height) / _SHRINKS
        at = np.floor(rows / wave).astype(np.int64) - 1 - first
        lines = sum(weight[:, None] * knots[at + k] for k, weight in enumerate(down))
        at = np.floor(columns / wave).astype(np.int64) - 1 - left
        for k, weight in enumerate(across):
            total += weight * np.take(lines, at + k, axis=1)
        power += height**2
        height, wave = height / 2, wave / 2
    return total / np.float32(np.sqrt(power))


def _weights(places: Whole, wave: float) -> tuple[Real, Real, Real, Real]:
    """Give the weights of the four knots around each place."""
    t = places / wave
    t = t - np.floor(t)
    s = 1 - t
    four = s**3 / 6, (4 - 6 * t**2 + 3 * t**3) / 6, (4 - 6 * s**2 + 3 * s**3) / 6, t**3 / 6
    a, b, c, d = (weight.astype(np.float32) for weight in four)
    return a, b, c, d


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a Voronoi diagram in a window.

    Attributes:
        owner: (y, x) random bits that name the cell.
        away: (2, y, x) from the point of the cell, in pixels.
        edge: (y, x) distance to the nearest border between cells, in pixels.
        beyond: (y, x) the cell behind that border.
    """

    owner: Hash
    away: Real
    edge: Real
    beyond: Hash


def cells_around(key: int, y: Real, x: Real, side: float) -> Cells:
    """Find the cell of each place (y, x), where each square of a lattice holds one point."""
    rows, columns = (np.floor(axis / np.float32(side)).astype(np.int64) for axis in (y, x))
    top, left = rows.min() - 1, columns.min() - 1
    lattice = np.arange(top, rows.max() + 2)[:, None], np.arange(left, columns.max() + 2)
    names = hashed(key, *lattice)
    # Points stay off the edges of their squares, so that the nearest is among nine.
    py, px = (
        ((line + 0.15 + 0.7 * uniform(axis, names)) * side).astype(np.float32).ravel()
        for axis, line in enumerate(lattice)
    )
    square = (rows - top) * names.shape[1] + (columns - left)
    best, second = (np.full(y.shape, np.inf, np.float32) for _ in range(2))
    owner, beyond = (np.zeros(y.shape, np.int64) for _ in range(2))
    for step in (i * names.shape[1] + j for i in (-1, 0, 1) for j in (-1, 0, 1)):
        one = square + step
        far = (y - py[one]) ** 2 + (x - px[one]) ** 2
        nearer, next_ = far < best, far < second
        second = np.where(nearer, best, np.where(next_, far, second))
        beyond = np.where(nearer, owner, np.where(next_, one, beyond))
        best, owner = np.where(nearer, far, best), np.where(nearer, one, owner)
    away = np.stack([y - py[owner], x - px[owner]])
    apart = np.hypot(py[owner] - py[beyond], px[owner] - px[beyond])
    edge = (second - best) / (2 * apart)
    return Cells(names.ravel()[owner], away, edge, names.ravel()[beyond])
