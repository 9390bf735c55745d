"""Is a probability of 0.8 right eight times in ten? Binned once, the error derived from the bins.

Binary, in the foreground form: pixels are put in bins by their foreground probability, and each
bin's mean probability is held against its share of foreground. Guo et al. bin by the confidence of
the class chosen instead, max(p, 1 - p), between 0.5 and 1, and hold it against accuracy. There a
network that says 0.2 too much foreground everywhere can score 0: where it chooses foreground it is
right too seldom, where it chooses background too often, and in one bin the two cancel.

Where nearly all pixels are easy background, they fill the lowest bin and make every error small:
compare figures of the same images and the same `valid` only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import InputError
from unetkit.metrics.overlap import Array, _pixels

BINS = 15  # as many as Guo et al. use


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Pixels binned by foreground probability; add two for the pooled statistics of two images.

    Args:
        edges: (bins + 1,) from 0 to 1, equally far apart. A bin holds its lower edge but not its
            upper one; the last holds 1 too.
        count: (bins,) pixels in each bin.
        mass: (bins,) sum of their probabilities.
        positive: (bins,) those of them that are foreground in truth.

    Example:
        >>> a = reliability(np.array([0.1, 0.3]), np.array([False, False]), bins=2)
        >>> b = reliability(np.array([0.3, 0.9]), np.array([True, True]), bins=2)
        >>> pooled = a + b
        >>> pooled.count
        array([3, 1])
        >>> round(pooled.error(), 6)
        0.1
    """

    edges: NDArray[np.float64]
    count: NDArray[np.int64]
    mass: NDArray[np.float64]
    positive: NDArray[np.int64]

    def __add__(self, other: Reliability) -> Reliability:
        if len(self.count) != len(other.count):
            raise InputError(
                f"{len(self.count)} against {len(other.count)}",
                where="bins",
                cure="bin every image alike",
            )
        return Reliability(
            self.edges,
            self.count + other.count,
            self.mass + other.mass,
            self.positive + other.positive,
        )

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Mean probability of each bin, (bins,); nan in an empty one."""
        return _means(self.mass, self.count)

    @property
    def frequency(self) -> NDArray[np.float64]:
        """Share of foreground in each bin, (bins,); nan in an empty one."""
        return _means(self.positive, self.count)

    def error(self) -> float:
        """Give the expected calibration error: Σ count/total · |confidence - frequency|.

        Returns:
            0 (calibrated) to 1; nan without a pixel.
        """
        total = int(self.count.sum())
        # count · |mass/count - positive/count|, without 0/0 in empty bins.
        return float(np.abs(self.mass - self.positive).sum()) / total if total else math.nan


def reliability(
    probability: Array, truth: Array, valid: Array | None = None, *, bins: int = BINS
) -> Reliability:
    """Bin the pixels of one image for a reliability diagram.

    Args:
        probability: of the foreground, 0 to 1, (*space).
        truth: bool, or 0 and non-zero; same shape.
        valid: where pixels count; everywhere if left out.
        bins: of equal width, not of equal count.

    Returns:
        Statistics that add up over images, from which `error()` and the diagram's points derive.

    Raises:
        InputError: shapes differ, a valid probability is nan or outside 0 to 1, or bins < 1.
    """
    if bins < 1:
        raise InputError(f"{bins} bins", where="bins", cure="use 1 or more; 15 is usual")
    p, t = _judged(probability, truth, valid)
    # Quotients, looked up in the precision of p: a probability of k/bins lies on its edge, where
    # linspace, p · bins or a wider edge may put it into the bin below.
    edges = np.arange(bins + 1) / bins
    place = np.minimum(np.searchsorted(edges.astype(p.dtype), p, side="right") - 1, bins - 1)
    mass: NDArray[np.float64] = np.bincount(place, weights=p, minlength=bins).astype(np.float64)
    return Reliability(
        edges,
        np.bincount(place, minlength=bins).astype(np.int64),
        mass,
        np.bincount(place[t], minlength=bins).astype(np.int64),
    )


def calibration_error(
    probability: Array, truth: Array, valid: Array | None = None, *, bins: int = BINS
) -> float:
    """Give the expected calibration error, ECE (Guo et al. 2017, arXiv 1706.04599, eq. 3).

    Mean over pixels of |mean probability - share of foreground| of the pixel's bin: the binary
    foreground form, not that of the class chosen (the module says how they differ). It depends on
    the number of bins. For many images, add their `reliability` and ask the sum for its `error()`:
    the mean of the images' own errors is greater, for their chance deviations do not cancel.

    Args:
        probability: of the foreground, 0 to 1, (*space).
        truth: bool, or 0 and non-zero; same shape.
        valid: where pixels count; everywhere if left out.
        bins: of equal width; a bin holds its lower edge, the last both.

    Returns:
        0 (calibrated) to 1; nan without a valid pixel.

    Raises:
        InputError: shapes differ, a valid probability is nan or outside 0 to 1, or bins < 1.

    Example:
        >>> calibration_error(np.full(4, 0.75), np.array([True, True, True, False]))
        0.0
    """
    return reliability(probability, truth, valid, bins=bins).error()


def brier(probability: Array, truth: Array, valid: Array | None = None) -> float:
    """Give the Brier score: the mean of (probability - truth)² (Brier 1950).

    Over the foreground class only; Brier's own sum over both classes is twice that. Calibration and
    discrimination in one number without bins, least in expectation for the true probability.

    Args:
        probability: of the foreground, 0 to 1, (*space).
        truth: bool, or 0 and non-zero; same shape.
        valid: where pixels count; everywhere if left out.

    Returns:
        0 (certain and right) to 1 (certain and wrong); nan without a valid pixel.

    Raises:
        InputError: shapes differ, or a valid probability is nan or outside 0 to 1.

    Example:
        >>> brier(np.array([1.0, 0.5]), np.array([True, False]))
        0.125
    """
    p, t = _judged(probability, truth, valid)
    # In double precision: single loses digits in a mean of millions.
    return float(np.mean((p.astype(np.float64) - t) ** 2)) if p.size else math.nan


def _judged(
    probability: Array, truth: Array, valid: Array | None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the valid pixels' probabilities and truth, flat."""
    p, t = _pixels(probability, truth, valid)
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise InputError(
            f"holds {p.min():.4g} to {p.max():.4g}",
            where="probability",
            cure="use 0 to 1: logits need a sigmoid, bytes a division by 255",
        )
    return (p if p.dtype.kind == "f" else p.astype(np.float64)), t


def _means(sums: NDArray[Any], count: NDArray[np.int64]) -> NDArray[np.float64]:
    empty = np.full(len(count), math.nan)
    means: NDArray[np.float64] = np.divide(sums, count, out=empty, where=count > 0)
    return means
