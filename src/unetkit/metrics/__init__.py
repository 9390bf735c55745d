"""Scores of segmentations, from plain arrays: they judge any tool's output.

Axes are (y, x) or (z, y, x), one image at a time; means over images are the caller's.
"""

from __future__ import annotations

from unetkit.metrics.overlap import (
    Array,
    Counts,
    average_precision,
    best_threshold,
    class_counts,
    confusion,
    counts,
    roc_auc,
    scores,
)
from unetkit.metrics.statistics import bootstrap_interval, paired_permutation
from unetkit.metrics.topology import betti_errors, betti_numbers, cl_dice

__all__ = [
    "Counts",
    "average_precision",
    "best_threshold",
    "betti_errors",
    "betti_numbers",
    "bootstrap_interval",
    "cl_dice",
    "class_counts",
    "confusion",
    "counts",
    "measure",
    "paired_permutation",
    "roc_auc",
    "scores",
]


def measure(
    prediction: Array,
    truth: Array,
    *,
    valid: Array | None = None,
    probability: Array | None = None,
    topology: bool = False,
) -> dict[str, float]:
    """Give all scores of one binary image.

    Args:
        prediction: bool, or 0 and non-zero; (y, x) or (z, y, x).
        truth: the same, same shape.
        valid: where pixels count; everywhere if left out.
        probability: of the foreground, same shape; adds roc_auc and average_precision.
        topology: adds cl_dice, betti0_error and betti1_error (3D: betti2_error too), which take
            longer than all others together.

    Returns:
        Name → score; nan where a score is undefined (`unetkit.metrics.overlap` says when).

    Raises:
        InputError: shapes differ, or a mask holds floats.
    """
    result = scores(counts(prediction, truth, valid))
    if probability is not None:
        result["roc_auc"] = roc_auc(probability, truth, valid)
        result["average_precision"] = average_precision(probability, truth, valid)
    if topology:
        result["cl_dice"] = cl_dice(prediction, truth, valid)
        for order, error in enumerate(betti_errors(prediction, truth, valid)):
            result[f"betti{order}_error"] = float(error)
    return result
