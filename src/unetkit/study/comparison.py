"""Which setting is better, when both the training seeds and the test images are a sample?

The matrix of a cell (one setting) is scores[seed, image]: s runs that differ in their seed alone,
each scored on the same i images, nan where a score is undefined. Seeds and images are crossed, and
every cell has the same ones, so that cells are compared pair by pair.

The model is score = μ + seed + image + residual, all three random and normal. With the mean squares
A of seeds, B of images and E of the residual, the mean has the variance (A + B − E)/(s·i), which is
the denominator of the quasi-F (Satterthwaite 1946, Biometrics Bulletin 2:110; Clark 1973, Journal
of Verbal Learning and Verbal Behavior 12:335). Satterthwaite's degrees of freedom for that sum are
too many when few seeds make much of it: in simulations of 3 seeds × 20 images where seeds mattered
most, 29 comparisons without any true difference gave a false finding in a third of the studies,
Holm or not (benchmarks/study_statistics.py). Here each mean square has the t quantile of its own
degrees of freedom instead:

    half width² = max(t_A²·A + t_B²·B − min(t_A², t_B²)·E, t_A²·A, t_B²·B) / (s·i)

Without E this is the interval of Banerjee (1960, Sankhyā 22:357), proven never too narrow but wide.
That taking E off does no harm is simulated, not proven: by that script, and by the tests. Where one
source of chance dwarfs the others 5 of 100 intervals miss, elsewhere fewer. The bounds hold where
the estimate of a component falls below zero. The price falls on few seeds: with two, t = 12.7.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import stdtrit

from unetkit.errors import InputError, nearest

Matrix = NDArray[np.float64]

LEAST_P = 1e-100  # below it a p is given as 0


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, and what that interval accounts for.

    Attributes:
        value: the mean; nan without a score.
        low: lower end; nan where a single score says nothing of chance.
        high: upper end.
        p: two-sided, of the hypothesis that the true mean is 0; nan where nothing was tested.
        units: the sources of chance in the interval: "seeds × images", "images" (one seed: nothing
            is said of another training), "seeds" (one image) or "none".
        seeds: how many were used.
        images: how many were used; fewer than given where scores are undefined.
    """

    value: float
    low: float
    high: float
    p: float
    units: str
    seeds: int
    images: int


@dataclass(frozen=True)
class Comparison:
    """One cell against the best.

    Attributes:
        difference: of the scores, cell − best; its interval and p stand alone (not adjusted).
        p_adjusted: by Holm over all comparisons of the ranking.
        distinguishable: p_adjusted is below the level.
    """

    difference: Estimate
    p_adjusted: float
    distinguishable: bool


@dataclass(frozen=True)
class Ranking:
    """Every cell against the best.

    Attributes:
        best: the cell the others are compared with.
        comparisons: of every other cell, the better ones on these images first.
        indistinguishable: the best and all cells that cannot be told from it. They are not shown
            to be equal: more seeds or images might tell them apart.
        better: cells distinguishable from the best on its good side: it was not the best.
    """

    best: str
    comparisons: Mapping[str, Comparison]
    indistinguishable: tuple[str, ...]
    better: tuple[str, ...]


def mean_estimate(scores: ArrayLike) -> Estimate:
    """Give the mean score with a 95 % interval for other seeds and other images (module text).

    A balanced table is needed, so seeds without any score (a run that failed) are left out, then
    images that are undefined in any remaining seed. The value is the mean of what is left, and
    `seeds` and `images` say how much that is. One seed: a t interval over images; one image: over
    seeds; one score: no interval. Equal scores give an interval of width zero.

    Args:
        scores: (seeds, images), nan where undefined.

    Raises:
        InputError: not two axes, empty, or infinite.
    """
    return _estimate(_complete(_matrix(scores, "scores")), test=False)


def difference(a: ArrayLike, b: ArrayLike) -> Estimate:
    """Give the mean of a − b over the same seeds and images, with its interval and p.

    As `mean_estimate` on a − b; a pair with a nan is undefined. p is the level at which the
    interval would just touch 0. Differences within rounding (1e-12 of the scores) count as 0. Where
    nothing varies, p is 1 for a difference of 0 and else 0, the limit of a vanishing variance.

    Args:
        a: (seeds, images), nan where undefined.
        b: the same shape, seeds and images in the same order.

    Raises:
        InputError: shapes differ, not two axes, empty, or infinite.
    """
    x, y = _matrix(a, "a"), _matrix(b, "b")
    if x.shape != y.shape:
        raise InputError(
            f"{x.shape} scores against {y.shape}",
            where="a, b",
            cure="score the same seeds on the same images, nan where a score is missing",
        )
    gap = x - y
    gap[np.abs(gap) <= 1e-12 * np.maximum(np.abs(x), np.abs(y))] = 0
    return _estimate(_complete(gap), test=True)


def spread(scores: ArrayLike) -> tuple[float, float]:
    """Say how much the score varies from training to training, and from image to image.

    Args:
        scores: (seeds, images), nan where undefined; left out as in `mean_estimate`.

    Returns:
        The standard deviation over seeds of the mean over images, and over images of the mean over
        seeds (n − 1 in the denominator); nan for a single seed or image.

    Raises:
        InputError: not two axes, empty, or infinite.
    """
    x = _complete(_matrix(scores, "scores"))
    seeds, images = x.shape
    over_seeds = float(x.mean(axis=1).std(ddof=1)) if seeds > 1 else math.nan
    over_images = float(x.mean(axis=0).std(ddof=1)) if images > 1 else math.nan
    return over_seeds, over_images


def holm(p_values: Sequence[float] | NDArray[Any]) -> list[float]:
    """Adjust p for many tests, so that one false finding among them is as rare as each p says.

    Step-down Bonferroni (Holm 1979, Scandinavian Journal of Statistics 6:65): the k-th smallest of
    m is multiplied by m − k + 1, and no adjusted p is below one before it. Any dependence is fine.

    Args:
        p_values: nan (no test) stays nan and is not counted.

    Raises:
        InputError: a p outside 0 … 1.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, np.float64)
    if ((p < 0) | (p > 1)).any():
        raise InputError("a p outside 0 … 1", where="p_values")
    adjusted = np.full(p.shape, math.nan)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # nan sorts last
    factors = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(factors * p[order]))
    return [float(one) for one in adjusted]


def rank(
    scores_by_cell: Mapping[str, ArrayLike],
    best: str,
    *,
    higher_is_better: bool = True,
    level: float = 0.05,
) -> Ranking:
    """Say which cells can be told from the best, by `difference` and Holm over all comparisons.

    Choose `best` on other images (validation): the best on these very images owes its place in part
    to their luck, so that its lead is overstated. Validation does not undo the luck of its seeds,
    which the same runs carry into the test. The error rate holds for a best named beforehand or
    trained again with new seeds; simulations with 30 equal cells and large seed effects gave a
    false finding in up to 4 % (named), 16 % (chosen on validation) and 18 % (chosen on the test
    images) of studies (benchmarks/study_statistics.py).

    Args:
        scores_by_cell: cell → (seeds, images), the same seeds and images in the same order.
        best: the cell to compare with.
        higher_is_better: only decides the order, and which side of the best is `better`.
        level: chance of one or more false findings among all comparisons.

    Raises:
        InputError: unknown best, a level outside 0 … 1, shapes that differ, or as `difference`.
    """
    if best not in scores_by_cell:
        raise InputError(f"no cell {best}", where="best", cure=nearest(best, scores_by_cell))
    if not 0 < level < 1:
        raise InputError(f"{level} is no share", where="level", cure="use a number like 0.05")
    matrices = {cell: _matrix(scores, cell) for cell, scores in scores_by_cell.items()}
    champion = matrices.pop(best)
    for cell, matrix in matrices.items():
        if matrix.shape != champion.shape:
            raise InputError(
                f"{matrix.shape} scores against {champion.shape} of {best}",
                where=cell,
                cure="score the same seeds on the same images, nan where a score is missing",
            )
    sign = 1 if higher_is_better else -1
    found = {cell: difference(matrix, champion) for cell, matrix in matrices.items()}
    adjusted = dict(zip(found, holm([one.p for one in found.values()]), strict=True))
    order = sorted(found, key=lambda cell: (math.isnan(v := found[cell].value), -sign * v))
    comparisons = {
        # A nan is no finding: it compares false.
        cell: Comparison(found[cell], adjusted[cell], adjusted[cell] < level)
        for cell in order
    }
    apart = [cell for cell, one in comparisons.items() if one.distinguishable]
    return Ranking(
        best=best,
        comparisons=comparisons,
        indistinguishable=(best, *(cell for cell in order if cell not in apart)),
        better=tuple(cell for cell in apart if sign * found[cell].value > 0),
    )


def _matrix(scores: ArrayLike, name: str) -> Matrix:
    x = np.asarray(scores, np.float64)
    if x.ndim != 2 or not x.size:
        raise InputError(
            f"shape {x.shape}", where=name, cure="give scores as (seeds, images), one or more each"
        )
    if np.isinf(x).any():
        raise InputError("an infinite score", where=name, cure="use nan where it is undefined")
    return x


def _complete(scores: Matrix) -> Matrix:
    """Leave out seeds without a score, then images that are undefined in any remaining seed."""
    defined = ~np.isnan(scores)
    seeds = defined.any(axis=1)
    images = defined[seeds].all(axis=0) & seeds.any()
    return scores[np.ix_(seeds, images)] if images.any() else scores[:0, :0]


def _estimate(x: Matrix, *, test: bool) -> Estimate:
    seeds, images = x.shape
    if x.size < 2:
        value = float(x[0, 0]) if x.size else math.nan
        return Estimate(value, math.nan, math.nan, math.nan, "none", seeds, images)
    value = float(x.mean())
    few, many, residual, units = _variances(x, value)
    if np.ptp(x) <= 1e-12 * abs(value):  # equal but for rounding
        half, p = 0.0, float(value == 0)
    else:
        half = _half_width(few, many, residual, 0.05)
        p = _p(abs(value), few, many, residual)
    p = p if test else math.nan
    return Estimate(value, value - half, value + half, p, units, seeds, images)


Part = tuple[float, int]  # a share of the mean's variance, and its degrees of freedom


def _variances(x: Matrix, mean: float) -> tuple[Part, Part, float, str]:
    """Give the variance of the mean by seeds, images and residual: mean squares / (s·i).

    Returns:
        The part with fewer degrees of freedom, the other one, the residual's, and the units.
    """
    s, i = x.shape
    if min(s, i) == 1:
        return (float(x.var(ddof=1)) / x.size, x.size - 1), (0.0, 1), 0.0, _units(s, i)
    rows, columns = x.mean(axis=1, keepdims=True) - mean, x.mean(axis=0, keepdims=True) - mean
    by_seed = float(np.square(rows).sum()) / (s - 1) / s, s - 1
    by_image = float(np.square(columns).sum()) / (i - 1) / i, i - 1
    rest = float(np.square(x - mean - rows - columns).sum()) / ((s - 1) * (i - 1)) / (s * i)
    few, many = sorted((by_seed, by_image), key=lambda part: part[1])
    return few, many, rest, _units(s, i)


def _units(seeds: int, images: int) -> str:
    return "images" if seeds == 1 else "seeds" if images == 1 else "seeds × images"


def _half_width(few: Part, many: Part, residual: float, p: float) -> float:
    """Give half the width of the interval that misses the truth with probability p."""
    # t² falls with the degrees of freedom, so that the residual is taken from `many`, and
    # the three terms of the maximum in the module text reduce to two.
    t2_few, t2_many = (float(stdtrit(degrees, p / 2)) ** 2 for _, degrees in (few, many))
    both = t2_few * few[0] + t2_many * max(many[0] - residual, 0.0)
    return math.sqrt(max(both, t2_many * many[0]))


def _p(distance: float, few: Part, many: Part, residual: float) -> float:
    """Find the p whose interval just reaches 0; half widths grow as p falls."""
    if distance == 0:
        return 1.0

    def beyond(log_p: float) -> float:
        return _half_width(few, many, residual, math.exp(log_p)) - distance

    least = math.log(LEAST_P)
    return math.exp(brentq(beyond, least, 0.0, xtol=1e-12)) if beyond(least) > 0 else 0.0
