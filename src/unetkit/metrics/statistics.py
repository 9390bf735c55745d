"""How sure we are: intervals and tests over images (not pixels: those are not independent)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import InputError

Values = Sequence[float] | NDArray[Any]

EXACT_PAIRS = 16  # 2^16 sign patterns are enumerated in milliseconds


def bootstrap_interval(
    values: Values, level: float = 0.95, repeats: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Give the percentile bootstrap interval of the mean over images (Efron 1979).

    Args:
        values: one score per image; nan (undefined for that image) is left out.
        level: share of resampled means inside the interval.
        repeats: resamples; the same seed gives the same interval.
        seed: of the resampling.

    Returns:
        (low, high), or (nan, nan) for fewer than two values: one image says nothing about spread.
    """
    if not 0 < level < 1:
        raise InputError(f"{level} is no share", where="level", cure="use a number like 0.95")
    x = np.asarray(values, np.float64)
    x = x[~np.isnan(x)]
    if x.size < 2:
        return math.nan, math.nan
    random = np.random.default_rng(seed)
    means = np.empty(repeats)
    step = max(1, 2_000_000 // x.size)  # bounds memory for long lists
    for start in range(0, repeats, step):
        block = means[start : start + step]
        block[:] = x[random.integers(0, x.size, (len(block), x.size))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_permutation(a: Values, b: Values, *, repeats: int = 10_000, seed: int = 0) -> float:
    """Test whether two methods differ in mean on the same images, by flipping signs (Fisher 1935).

    Args:
        a: scores of one method, one per image.
        b: scores of the other on the same images, in the same order; pairs with a nan are left out.
        repeats: random sign patterns above 16 pairs; up to 16 every pattern is tried (exact).
        seed: of the random patterns.

    Returns:
        The two-sided p. Its least possible value with n pairs is 2 / 2^n, so that with 5 images no
        difference can reach 0.05. nan without any pair.

    Raises:
        InputError: the lists differ in length.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.shape != y.shape:
        raise InputError(
            f"{x.size} scores against {y.size}", where="a, b", cure="score the same images twice"
        )
    difference = x - y
    difference = difference[~np.isnan(difference)]
    n = difference.size
    if n == 0:
        return math.nan
    # Sums that are equal on paper differ in the last digits.
    bar = abs(difference.sum()) - 1e-12 * np.abs(difference).sum()
    if n <= EXACT_PAIRS:
        flips = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        sums = (1 - 2 * flips) @ difference
        return float(np.mean(np.abs(sums) >= bar))
    random = np.random.default_rng(seed)
    extreme, step = 0, max(1, 2_000_000 // n)
    for start in range(0, repeats, step):
        signs = 1 - 2 * random.integers(0, 2, (min(step, repeats - start), n))
        extreme += int(np.count_nonzero(np.abs(signs @ difference) >= bar))
    # The observed pattern is one of the patterns, so p is never 0 (Phipson and Smyth 2010).
    return (extreme + 1) / (repeats + 1)
