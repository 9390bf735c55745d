"""Which pictures of two lists show the same, told from sketches: all pairs, in 8 orientations.

A sketch is taken apart into cosines. Mirroring changes signs of their weights only, transposing
exchanges them, so that sizes and sums of sizes are the same for all 8 orientations of a picture,
and their distance is never more than that of the sketches in the best of the 8 (sorting out by it
loses nothing). What most pictures of a set share, such as the disc of a fundus, is taken off
first, and strong frequencies are weakened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

_KEPT = 16  # frequencies per axis
_BLOCK = 2048  # rows compared at a time
_FEWEST = 8  # pictures from which on something is common to them

# As the turns of `alignment.TURNS`, in the language of cosine weights: transpose, signs of y and x.
_TURNS = (
    (False, 1, 1), (False, 1, -1), (False, -1, 1), (False, -1, -1),
    (True, 1, 1), (True, -1, 1), (True, 1, -1), (True, -1, -1),
)  # fmt: skip


@dataclass(frozen=True)
class Likeness:
    """Two pictures that look alike from afar.

    Attributes:
        first: position among the queries.
        second: position among the others.
        turn: which of `alignment.TURNS` brings the second onto the first.
        strength: correlation of what is special in them, up to 1.
    """

    first: int
    second: int
    turn: int
    strength: float


def weights(sketches: Array) -> Floats:
    """Take sketches (n, 32, 32) apart into (n, 16, 16) weights of cosines, n rows of length 1.

    A picture that shows nothing of its own gets zeros, which are like nothing.
    """
    from scipy.fft import dctn

    cosines = dctn(sketches.astype(np.float32), axes=(1, 2), norm="ortho")
    found: Floats = np.ascontiguousarray(cosines[:, :_KEPT, :_KEPT], np.float32)
    found[:, 0, 0] = 0
    alone = np.sqrt((found**2).sum((1, 2)))
    if len(found) >= _FEWEST:
        # The part of the mean that is the same in all orientations: even cosines, symmetric.
        mean = found.mean(0)
        mean[1::2], mean[:, 1::2] = 0, 0
        found -= (mean + mean.T) / 2
    special = np.sqrt((found**2).sum((1, 2)))
    # The slope of natural pictures, measured: strength by distance from the origin.
    ring = np.rint(np.hypot(*np.indices((_KEPT, _KEPT)))).astype(int)
    power = np.bincount(ring.ravel(), (found**2).mean(0).ravel()) / np.bincount(ring.ravel())
    found /= np.sqrt(power[ring] + 0.02 * power.mean() + 1e-12).astype(np.float32)
    length = np.sqrt((found**2).sum((1, 2)))
    found /= np.maximum(length, 1e-12)[:, None, None]
    found[special < 0.05 * alone] = 0
    return found


def invariant(found: Floats) -> Floats:
    """Give (n, m) numbers that are the same for all 8 orientations, rows of length 1 or 0."""
    sizes = np.abs(found)
    upper = np.triu_indices(_KEPT, 1)
    one, other = sizes[:, *upper], sizes[:, *upper[::-1]]
    diagonal = sizes[:, np.arange(_KEPT), np.arange(_KEPT)]
    parts = [(one + other) / np.sqrt(2), np.abs(one - other) / np.sqrt(2), diagonal]
    return np.concatenate(parts, axis=1, dtype=np.float32)


def alike(queries: Floats, others: Floats, least: float) -> list[Likeness]:
    """Find for each query the most similar other picture, where it is similar enough.

    Args:
        queries: (n, 16, 16) as `weights` gives them.
        others: (m, 16, 16), of the same call of `weights`.
        least: the correlation that counts as similar.
    """
    found = []
    second = invariant(others)
    for begin in range(0, len(queries), _BLOCK):
        first = invariant(queries[begin : begin + _BLOCK])
        best = np.full(len(first), -1.0, np.float32)
        place = np.zeros(len(first), np.int64)
        for start in range(0, len(second), _BLOCK):
            near = first @ second[start : start + _BLOCK].T
            column = near.argmax(1)
            height = near[np.arange(len(near)), column]
            place = np.where(height > best, column + start, place)
            best = np.maximum(height, best)
        for row in np.flatnonzero(best >= least):
            turn, strength = _turned(queries[begin + row], others[place[row]])
            if strength >= least:
                found.append(Likeness(int(begin + row), int(place[row]), turn, strength))
    return found


def _turned(first: Floats, second: Floats) -> tuple[int, float]:
    """Say which turn of the second is most like the first, and how much."""
    sign = (-1.0) ** np.arange(_KEPT)
    strengths = []
    for swapped, up, across in _TURNS:
        other = second.T if swapped else second
        other = other * (sign[:, None] if up < 0 else 1) * (sign if across < 0 else 1)
        strengths.append(float((first * other).sum()))
    best = int(np.argmax(strengths))
    return best, strengths[best]
