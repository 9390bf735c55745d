"""Scores from counted pixels: count true and false pixels once, derive every score from them.

Every function takes plain arrays of one image, without a channel axis: (y, x) or (z, y, x). `valid`
is a mask of the same shape; pixels where it is false (outside the field of view, ignored labels)
do not count at all.

What the scores mean where a fraction is 0/0:

* Truth and prediction both empty: `dice` and `iou` are 1, for the prediction is right.
* A score that nothing was there to measure is `nan`: `recall` without positive truth, `precision`
  without positive prediction, `specificity` without negative truth, `balanced_accuracy` where one
  of its two halves is undefined, `mcc` where truth or prediction is constant.
* No valid pixel: every score is `nan`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import InputError, nearest

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Counts:
    """Pixels counted by prediction and truth; add two for the pooled score of two images.

    Example:
        >>> sum([Counts(1, 2, 3, 4), Counts(10, 20, 30, 40)], Counts())
        Counts(tp=11, fp=22, fn=33, tn=44)
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn
        )

    @property
    def total(self) -> int:
        """All pixels that were judged."""
        return self.tp + self.fp + self.fn + self.tn


def counts(prediction: Array, truth: Array, valid: Array | None = None) -> Counts:
    """Count true and false positives and negatives of one binary image.

    Args:
        prediction: bool, or integers where anything but 0 is foreground (0/255 masks); (*space).
        truth: the same, same shape.
        valid: where pixels count; everywhere if left out.

    Raises:
        InputError: shapes differ, or an array holds floats (a probability needs a threshold).

    Example:
        >>> counts(np.array([True, True, False, False]), np.array([True, False, True, False]))
        Counts(tp=1, fp=1, fn=1, tn=1)
    """
    p, t, v = binary(prediction, truth, valid)
    total = p.size
    if v is not None:
        p, t, total = p & v, t & v, int(np.count_nonzero(v))
    tp = int(np.count_nonzero(p & t))
    fp = int(np.count_nonzero(p)) - tp
    fn = int(np.count_nonzero(t)) - tp
    return Counts(tp, fp, fn, total - tp - fp - fn)


def scores(counts: Counts) -> dict[str, float]:
    """Derive every overlap score from the counts; undefined ones are nan (see the module's legend).

    Returns:
        dice (F1) 2tp/(2tp+fp+fn) · iou (Jaccard) tp/(tp+fp+fn) · recall tp/(tp+fn) · precision
        tp/(tp+fp) · specificity tn/(tn+fp) · accuracy (tp+tn)/total · balanced_accuracy, the mean
        of recall and specificity · mcc (Matthews 1975) · pixel_error 1 - accuracy.
    """
    tp, fp, fn, tn = counts.tp, counts.fp, counts.fn, counts.tn
    empty = 1.0 if tn else math.nan
    recall = _ratio(tp, tp + fn)
    specificity = _ratio(tn, tn + fp)
    return {
        "dice": _ratio(2 * tp, 2 * tp + fp + fn, empty),
        "iou": _ratio(tp, tp + fp + fn, empty),
        "recall": recall,
        "precision": _ratio(tp, tp + fp),
        "specificity": specificity,
        "accuracy": _ratio(tp + tn, counts.total),
        "balanced_accuracy": (recall + specificity) / 2,
        # Python's integers do not overflow: four factors of 1e8 voxels would.
        "mcc": _ratio(tp * tn - fp * fn, math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))),
        "pixel_error": _ratio(fp + fn, counts.total),
    }


def confusion(
    prediction: Array, truth: Array, classes: int, valid: Array | None = None
) -> NDArray[np.int64]:
    """Count pixels by class: row = true class, column = predicted class.

    Args:
        prediction: integer labels 0 … classes-1, (*space).
        truth: the same, same shape; labels to be ignored must lie outside `valid`.
        classes: number of classes, background included.
        valid: where pixels count; everywhere if left out.

    Returns:
        (classes, classes) counts; the sum is the number of valid pixels.

    Raises:
        InputError: shapes differ, or a valid pixel holds a label that is not a class.
    """
    p, t, v = same_shape(prediction, truth, valid)
    if v is not None:
        p, t = p[v], t[v]
    for name, labels in (("prediction", p), ("truth", t)):
        if labels.dtype.kind not in "biu":
            raise InputError(f"labels are {labels.dtype}", where=name, cure="use whole numbers")
        if labels.size and (int(labels.min()) < 0 or int(labels.max()) >= classes):
            wrong = int(labels.min()) if int(labels.min()) < 0 else int(labels.max())
            raise InputError(
                f"label {wrong} is none of the {classes} classes",
                where=name,
                cure="leave it out with `valid`, or raise the number of classes",
            )
    pairs = t.ravel().astype(np.int64) * classes + p.ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def class_counts(confusion: NDArray[np.int64]) -> list[Counts]:
    """Read the counts of each class against all others from a confusion matrix.

    Whether a class absent from truth counts in a mean is the caller's choice: its `recall` is nan
    and its `dice` is 1 where it is not predicted either, 0 where it is.
    """
    total = int(confusion.sum())
    result = []
    for k in range(len(confusion)):
        tp = int(confusion[k, k])
        fp, fn = int(confusion[:, k].sum()) - tp, int(confusion[k].sum()) - tp
        result.append(Counts(tp, fp, fn, total - tp - fp - fn))
    return result


def roc_auc(probability: Array, truth: Array, valid: Array | None = None) -> float:
    """Give the exact area under the ROC curve; ties count one half (Mann and Whitney 1947).

    Args:
        probability: any score that grows with the foreground's likelihood, (*space).
        truth: bool or 0/non-zero, same shape.
        valid: where pixels count; everywhere if left out.

    Returns:
        0 … 1, or nan where truth holds one class only.
    """
    tp, fp = _curve(probability, truth, valid)
    if not tp[-1] or not fp[-1]:
        return math.nan
    # Twice the trapezoids, in whole numbers, so that nothing is rounded before the last division.
    twice = int(np.sum(np.diff(fp) * (tp[1:] + tp[:-1])))
    return twice / (2 * int(tp[-1]) * int(fp[-1]))


def average_precision(probability: Array, truth: Array, valid: Array | None = None) -> float:
    """Give the area under the precision-recall curve as Σ (Rᵢ - Rᵢ₋₁) Pᵢ, without interpolation.

    Linear interpolation between points would flatter (Davis and Goadrich 2006). Arguments as for
    `roc_auc`; nan where truth holds one class only.
    """
    tp, fp = _curve(probability, truth, valid)
    if not tp[-1] or not fp[-1]:
        return math.nan
    return float(np.sum(np.diff(tp) * (tp[1:] / (tp[1:] + fp[1:]))) / tp[-1])


def best_threshold(
    probabilities: Sequence[Array],
    truths: Sequence[Array],
    valids: Sequence[Array | None] | None = None,
    metric: str = "dice",
) -> tuple[float, float]:
    """Find the threshold with the best mean per-image score; foreground is `probability >= it`.

    The grid is fixed, 0.05 … 0.95 in steps of 0.01, so that a run can be repeated; of equally good
    thresholds the one nearest 0.5 wins. One pass over each image, by histogram.

    Args:
        probabilities: 0 … 1, (*space) each.
        truths: bool or 0/non-zero, shapes as above.
        valids: masks of valid pixels, or None.
        metric: dice, iou or accuracy.

    Returns:
        The threshold and the mean score it reaches on these images.

    Raises:
        InputError: no image, none with a valid pixel, lists of unequal length, unknown metric.
    """
    if metric not in (known := ("dice", "iou", "accuracy")):
        raise InputError(f"unknown metric {metric}", where="metric", cure=nearest(metric, known))
    if valids is None:
        valids = [None] * len(probabilities)
    if not len(probabilities) == len(truths) == len(valids):
        raise InputError(
            f"{len(probabilities)} probabilities, {len(truths)} truths, {len(valids)} valid masks",
            where="best_threshold",
            cure="give one of each per image",
        )
    grid = np.arange(5, 96) / 100
    rows = []
    for probability, truth, valid in zip(probabilities, truths, valids, strict=True):
        p, t = _pixels(probability, truth, valid)
        if not p.size:
            continue
        # The grid in the dtype of p, as NumPy and torch compare `p >= 0.35`: the answers agree.
        edges = grid.astype(p.dtype) if p.dtype.kind == "f" else grid
        passed = np.searchsorted(edges, p, side="right")
        both = np.bincount(passed + (len(grid) + 1) * t, minlength=2 * (len(grid) + 1))
        fp, tp = both.reshape(2, -1)[:, ::-1].cumsum(axis=1)[:, ::-1]
        judged = [
            Counts(int(a), int(b), int(tp[0] - a), int(fp[0] - b))
            for a, b in zip(tp[1:], fp[1:], strict=True)
        ]
        rows.append([scores(one)[metric] for one in judged])
    if not rows:
        raise InputError("no image with a valid pixel", where="best_threshold")
    mean = np.mean(rows, axis=0)
    winners = grid[mean >= mean.max() - 1e-12]
    best = float(winners[np.argmin(np.abs(winners - 0.5))])
    return best, float(mean[np.flatnonzero(grid == best)[0]])


def same_shape(
    prediction: Array, truth: Array, valid: Array | None
) -> tuple[Array, Array, NDArray[np.bool_] | None]:
    """Return the arrays with `valid` as bool, or say which shapes differ.

    Raises:
        InputError: shapes differ.
    """
    p, t = np.asarray(prediction), np.asarray(truth)
    v = None if valid is None else np.asarray(valid).astype(bool, copy=False)
    for name, other in (("truth", t), ("valid", v)):
        if other is not None and other.shape != p.shape:
            raise InputError(
                f"shape {other.shape} differs from the prediction's {p.shape}",
                where=name,
                cure="compare arrays of one image, without a channel axis",
            )
    return p, t, v


def binary(
    prediction: Array, truth: Array, valid: Array | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_] | None]:
    """Return prediction, truth and valid as bool arrays of one shape.

    Raises:
        InputError: shapes differ, or an array holds floats.
    """
    p, t, v = same_shape(prediction, truth, valid)
    return _boolean(p, "prediction"), _boolean(t, "truth"), v


def _boolean(mask: Array, name: str) -> NDArray[np.bool_]:
    if mask.dtype.kind not in "biu":
        raise InputError(
            f"a mask of {mask.dtype}", where=name, cure="threshold it first (probability >= 0.5)"
        )
    return mask.astype(bool, copy=False)


def _ratio(part: float, whole: float, otherwise: float = math.nan) -> float:
    return part / whole if whole else otherwise


def _pixels(
    probability: Array, truth: Array, valid: Array | None
) -> tuple[Array, NDArray[np.bool_]]:
    """Return the valid pixels' scores and truth, flat, or say that a score is not a number."""
    p, t, v = same_shape(probability, truth, valid)
    t = _boolean(t, "truth")
    p, t = (p.ravel(), t.ravel()) if v is None else (p[v], t[v])
    if p.dtype.kind == "f" and np.isnan(p).any():
        raise InputError("holds nan", where="probability", cure="leave those out with `valid`")
    return p, t


def _curve(
    probability: Array, truth: Array, valid: Array | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count tp and fp at every distinct score, from none predicted to all predicted.

    Returns:
        Two arrays of equal length that start with 0 and end with the positives and the negatives.
    """
    p, t = _pixels(probability, truth, valid)
    if not p.size:
        return np.zeros(1, np.int64), np.zeros(1, np.int64)
    order = np.argsort(p)[::-1]
    p, t = p[order], t[order]
    last = np.append(np.flatnonzero(p[1:] != p[:-1]), p.size - 1)
    tp = np.cumsum(t, dtype=np.int64)[last]
    fp = last + 1 - tp
    return np.insert(tp, 0, 0), np.insert(fp, 0, 0)
