"""Scores of the ISBI 2012 challenge: are neurites split or merged, whatever their borders' width?

Definitions follow Arganda-Carreras et al. 2015 (Front. Neuroanat. 9:142) and, where the paper is
silent, the challenge's own scripts in Fiji's Trainable Segmentation. Two kinds of images go in:

* Label images, one id per neurite, 0 on membranes: `rand_error`, `v_rand`, `v_info`. 2D or 3D, one
  image at a time; the challenge averages over slices. Pixels whose truth is 0 do not count
  ("foreground-restricted"), nor do those outside `valid` or whose truth is negative.
* Binary masks, true inside neurites and false on membranes (the challenge's white and black):
  `pixel_error`, `warping_error`, and `after_thinning`, which makes labels of them. Insides are
  connected through faces only (4 neighbours in 2D), so that a membrane may be a diagonal line of
  single pixels; `objects(truth, corners=False)` makes the true labels.

The challenge's final ranking is the mean over slices of `v_rand` of `after_thinning(probability >
t)` at the best threshold t (`minimum_over_thresholds`), beside it `v_info`. Its first metrics, of
2012, which the U-Net paper prints, were: `rand_error` of `objects(probability > t, corners=False)`;
1 - Dice of the insides under the name of pixel error; and, as warping error, only those differing
pixels that split or merge neurites, never more than `warping_error` counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from unetkit.errors import InputError
from unetkit.metrics.instances import Overlap, objects, overlap_table
from unetkit.metrics.overlap import Array, binary, counts, scores

LEVELS = tuple(tenth / 10 for tenth in range(10))

Bytes = NDArray[np.uint8]
Positions = NDArray[np.intp]


def rand_error(
    prediction: Array,
    truth: Array,
    *,
    foreground: bool = True,
    border: bool = True,
    valid: Array | None = None,
) -> float:
    """Give the adapted Rand error, 1 - the first of `v_rand`, which see for arguments and errors.

    scikit-image's `adapted_rand_error` (`border=False`) counts pairs of different pixels only,
    where the paper draws both pixels freely: with n pixels per object they differ by about 1/n.
    """
    return 1 - v_rand(prediction, truth, foreground=foreground, border=border, valid=valid)[0]


def v_rand(
    prediction: Array,
    truth: Array,
    *,
    foreground: bool = True,
    border: bool = True,
    valid: Array | None = None,
) -> tuple[float, float, float]:
    """Score pairs of pixels that belong together: V-Rand of the paper.

    With p the share of pixels in predicted segment i and true segment j, s and t its sums over j
    and over i, the split score Σp² / Σt² is the chance that two pixels of one true segment are in
    one predicted segment (Rand recall), and the merge score Σp² / Σs² the reverse (Rand precision).
    Low means many splits, many merges. The score is their harmonic mean (α = 0.5).

    Args:
        prediction: ids of segments; (y, x) or (z, y, x).
        truth: the same, same shape; negative where the truth is to be ignored.
        foreground: whether pixels whose truth is 0 are left out, as in the challenge; otherwise
            they are one more true segment.
        border: whether 0 in the prediction marks borders, each pixel of which is a segment of its
            own, as in the challenge's scripts; otherwise it is one segment like any other, as in
            scikit-image.
        valid: where pixels count; everywhere if left out.

    Returns:
        (score, split, merge), 0 … 1, 1 is perfect; nan if no pixel counts.

    Raises:
        InputError: shapes differ, an array holds floats or bools, has neither 2 nor 3 axes, or the
            prediction is negative where it counts.
    """
    table, alone = _segments(prediction, truth, foreground, border, valid)
    if not table.true_ids.size:
        return math.nan, math.nan, math.nan
    predicted = np.bincount(table.predicted_index, weights=table.areas)
    # As float: squares of 3D areas would overflow. The square of a segment of one pixel is 1.
    both, s, t = (
        float(np.square(areas, dtype=np.float64).sum())
        for areas in (table.areas, predicted, table.true_areas)
    )
    both, s = both + alone, s + alone
    return 2 * both / (s + t), both / t, both / s


def v_info(
    prediction: Array,
    truth: Array,
    *,
    foreground: bool = True,
    border: bool = True,
    valid: Array | None = None,
) -> tuple[float, float, float]:
    """Score the information that two segmentations share: V-Info of the paper.

    With S the predicted segment of a random pixel and T its true one, I their mutual information
    and H the entropy: the split score is I/H(S), the merge score I/H(T), and the score their
    harmonic mean (α = 0.5). Where H is 0 there is a single segment, no information to lose, and the
    score that divides by it is 1.

    Arguments, returns and errors as for `v_rand`.
    """
    table, alone = _segments(prediction, truth, foreground, border, valid)
    n = float(table.true_areas.sum())
    if not n:
        return math.nan, math.nan, math.nan
    predicted = np.bincount(table.predicted_index, weights=table.areas)
    singles = alone / n * math.log(n)
    together = _entropy(table.areas / n) + singles
    s, t = _entropy(predicted / n) + singles, _entropy(table.true_areas / n)
    shared = max(s + t - together, 0.0)
    # Rounding may leave 1e-16 where 1 is meant.
    split, merge, score = (min(shared / h, 1.0) if h > 1e-12 else 1.0 for h in (s, t, (s + t) / 2))
    return score, split, merge


def after_thinning(inside: Array) -> NDArray[np.int32]:
    """Number the insides and thin the membranes between them to one pixel.

    The pieces of the inside (connected through faces) grow by a watershed on the flat membrane, at
    equal speed, until a line is left between them; membranes that separate nothing vanish.
    Scores after thinning do not punish the width of borders, which annotators choose freely.

    Args:
        inside: bool, or 0 and non-zero: inside of neurites; (y, x) or (z, y, x).

    Returns:
        Labels 1 … n, 0 on the lines; all 0 where nothing is inside.

    Raises:
        InputError: floats, or neither 2 nor 3 axes.
    """
    if np.ndim(inside) not in (2, 3):
        raise InputError(
            f"{np.ndim(inside)} axes", where="inside", cure="give one image as (y, x) or (z, y, x)"
        )
    pieces = objects(inside, corners=False)
    flat = np.zeros(pieces.shape, np.uint8)
    grown: NDArray[np.int32] = watershed(  # type: ignore[no-untyped-call]
        flat, pieces, connectivity=1, watershed_line=True
    )
    return grown


def pixel_error(prediction: Array, truth: Array, valid: Array | None = None) -> float:
    """Give the share of pixels that differ; the challenge's page printed 1 - Dice under this name.

    Arguments and errors as for `overlap.counts`; nan without a valid pixel.
    """
    return scores(counts(prediction, truth, valid))["pixel_error"]


def warping_error(
    prediction: Array, truth: Array, *, within: float | None = None, valid: Array | None = None
) -> float:
    """Give the share of pixels that differ however the true borders are bent (Jain et al. 2010).

    These are errors of topology: a gap that merges two neurites, a neurite invented or missed.
    Arguments and errors as for `warp`.

    Returns:
        Share of the valid pixels where `warp` differs from the prediction, at most `pixel_error`;
        nan without a valid pixel.
    """
    return pixel_error(prediction, warp(prediction, truth, within=within, valid=valid), valid)


def warp(
    prediction: Array, truth: Array, *, within: float | None = None, valid: Array | None = None
) -> NDArray[np.bool_]:
    """Bend the truth towards the prediction without changing its topology (Jain et al. 2010).

    Pixels of the truth that differ from the prediction are flipped as long as one is simple: as
    long as no piece of inside or membrane appears, vanishes, splits or merges (insides 4-connected,
    membranes 8-connected; beyond the image lies membrane). The search is greedy: membranes grow as
    far as they can, then insides, layer by layer, until neither does. What is left is an upper
    bound, as in Fiji, which goes pixel by pixel and ends elsewhere: a line of one pixel, say, is
    followed only as far as the old and the new line touch.

    Args:
        prediction: bool, or 0 and non-zero: inside of neurites; (y, x).
        truth: the same, same shape. Neighbours need a membrane between them, of a pixel at least.
        within: how far, in pixels, a flipped pixel may lie from the nearest pixel of the other
            kind in the truth (a geometric constraint); None, as in Fiji, sets no bound.
        valid: where pixels may be flipped; everywhere if left out.

    Returns:
        The warped truth, (y, x).

    Raises:
        InputError: shapes differ, an array holds floats, or it does not have 2 axes.
    """
    p, t, v = binary(prediction, truth, valid)
    if p.ndim != 2:
        raise InputError(f"{p.ndim} axes", where="warping", cure="score a stack slice by slice")
    # Membrane beyond the image also spares the bounds checks.
    inside, wanted = np.pad(t, 1), np.pad(p != t if v is None else (p != t) & v, 1)
    if within is not None and t.any():
        depth = ndimage.distance_transform_edt(inside) + ndimage.distance_transform_edt(~inside)
        wanted &= depth <= within
    _flip(inside.view(np.uint8).ravel(), wanted.ravel(), inside.shape[1])
    return inside[1:-1, 1:-1]


def minimum_over_thresholds(
    probabilities: Iterable[Array],
    truths: Iterable[Array],
    error: Callable[[NDArray[np.bool_], Array], float],
    thresholds: Sequence[float] = LEVELS,
) -> tuple[float, float]:
    """Find the threshold with the least mean error over images, as the challenge reports it.

    The threshold is chosen on the images that are scored, which flatters: a figure to be compared
    with the challenge's only. A stack (z, y, x) is a sequence of slices.

    Args:
        probabilities: of the inside, 0 … 1, one array per image.
        truths: whatever `error` compares with, one per image.
        error: called with (probability > threshold, truth); images where it is nan are left out.
        thresholds: to try; ten levels 0, 0.1 … 0.9 as in the challenge.

    Returns:
        (error, threshold), the lowest of equally good thresholds; (nan, nan) if none is defined.

    Raises:
        InputError: unequal numbers, no image, no threshold, a nan, or a value outside 0 … 1.

    Example:
        >>> stack, labels = np.full((1, 2, 2), 0.8), np.ones((1, 2, 2), int)
        >>> minimum_over_thresholds(stack, labels, lambda m, t: 1 - v_rand(after_thinning(m), t)[0])
        (0.0, 0.0)
    """
    soft, hard = [np.asarray(one) for one in probabilities], list(truths)
    if len(soft) != len(hard) or not soft or not len(thresholds):
        raise InputError(
            f"{len(soft)} probabilities, {len(hard)} truths, {len(thresholds)} thresholds",
            where="minimum_over_thresholds",
            cure="give one of each per image, and a threshold",
        )
    for one in soft:
        if one.size and not (one.min() >= 0 and one.max() <= 1):
            raise InputError(
                f"values {one.min()} … {one.max()}", where="probability", cure="scale to 0 … 1"
            )
    best = math.nan, math.nan
    for threshold in thresholds:
        found = [error(one > threshold, other) for one, other in zip(soft, hard, strict=True)]
        defined = [value for value in found if not math.isnan(value)]
        if defined and not (mean := math.fsum(defined) / len(defined)) >= best[0]:
            best = mean, float(threshold)
    return best


def _segments(
    prediction: Array, truth: Array, foreground: bool, border: bool, valid: Array | None
) -> tuple[Overlap, int]:
    """Count the overlaps of segments, and the pixels that are segments of their own."""
    if not border:
        prediction = _raised(prediction)
    if not foreground:
        truth = _raised(truth)
    table = overlap_table(prediction, truth, valid)
    return table, int(table.true_areas.sum() - table.areas.sum())


def _raised(labels: Array) -> Array:
    """Make a segment of 0, which is background to `overlap_table`: add 1 to all but negatives."""
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        return labels  # for overlap_table to refuse
    labels = labels.astype(np.int64)
    return np.where(labels < 0, labels, labels + 1)


def _entropy(shares: NDArray[np.float64]) -> float:
    shares = shares[shares > 0]
    return -float((shares * np.log(shares)).sum())


def _simple() -> NDArray[np.bool_]:
    """Tell for each of 256 neighbourhoods whether its middle is simple.

    Bit k is the neighbour at k · 45°, set where it is inside. The crossing number of Yokoi et al.
    1975 counts the 4-connected pieces of inside that meet in the middle; 1 means that flipping it
    changes neither their number nor that of the 8-connected pieces of membrane.
    """
    x = (np.arange(256)[:, None] >> np.arange(8)) & 1
    turn = x[:, ::2] - x[:, ::2] * x[:, 1::2] * np.roll(x, -2, axis=1)[:, ::2]
    simple: NDArray[np.bool_] = turn.sum(axis=1) == 1
    return simple


def _flip(inside: Bytes, wanted: NDArray[np.bool_], width: int) -> None:
    """Flip wanted pixels in place while any is simple.

    Pixels of one of four sublattices are no neighbours of each other: all that are simple may be
    flipped at once, as if one after the other. Then only their neighbours need another look.
    """
    simple = _simple()
    ring = np.array([1, 1 - width, -width, -1 - width, -1, width - 1, width, width + 1])
    # Both at once would knot: a thin outline that moves outwards stays caught at its corners.
    to_membrane, to_inside = wanted & (inside == 1), wanted & (inside == 0)
    again = True
    while again:
        again = False
        for some_wanted in (to_membrane, to_inside):
            queue: Positions = np.flatnonzero(some_wanted)
            while queue.size:
                lattice = queue // width % 2 * 2 + queue % width % 2
                moved = []
                for k in range(4):
                    some = queue[lattice == k]
                    code = np.zeros(some.size, np.uint8)
                    for bit, step in enumerate(ring):
                        code |= inside[some + step] << np.uint8(bit)
                    some = some[simple[code]]
                    inside[some] ^= 1
                    some_wanted[some] = False
                    moved.append(some)
                near = np.unique(np.concatenate(moved)[:, None] + ring)
                queue = near[some_wanted[near]]
                again |= near.size > 0
