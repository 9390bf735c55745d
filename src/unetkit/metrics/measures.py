"""All scores of one image at once, and which of them are good when they are small."""

from __future__ import annotations

from collections.abc import Sequence

from unetkit.metrics.boundary import boundary_scores
from unetkit.metrics.calibration import brier, calibration_error
from unetkit.metrics.overlap import Array, average_precision, counts, roc_auc, scores
from unetkit.metrics.topology import betti_errors, cl_dice

_LOWER = {"hd95", "assd", "ece", "brier"}


def measure(
    prediction: Array,
    truth: Array,
    *,
    valid: Array | None = None,
    probability: Array | None = None,
    topology: bool = False,
    boundary: bool = False,
    spacing: Sequence[float] | None = None,
    calibration: bool = False,
) -> dict[str, float]:
    """Give all scores of one binary image.

    Args:
        prediction: bool, or 0 and non-zero; (y, x) or (z, y, x).
        truth: the same, same shape.
        valid: where pixels count; everywhere if left out.
        probability: of the foreground, same shape; adds roc_auc and average_precision.
        topology: adds cl_dice, betti0_error and betti1_error (3D: betti2_error too), which take
            longer than all others together.
        boundary: adds hd95, assd and nsd, whose tolerance is a pixel along the coarsest axis.
        spacing: size of a pixel along each axis, the unit of hd95 and assd; `None` is pixels.
        calibration: adds ece and brier, where there is a probability.

    Returns:
        Name → score; nan where a score is undefined (`unetkit.metrics.overlap` says when).

    Raises:
        InputError: shapes differ, or a mask holds floats.
    """
    result = scores(counts(prediction, truth, valid))
    if probability is not None:
        result["roc_auc"] = roc_auc(probability, truth, valid)
        result["average_precision"] = average_precision(probability, truth, valid)
    if probability is not None and calibration:
        result["ece"] = calibration_error(probability, truth, valid)
        result["brier"] = brier(probability, truth, valid)
    if topology:
        result["cl_dice"] = cl_dice(prediction, truth, valid)
        for order, error in enumerate(betti_errors(prediction, truth, valid)):
            result[f"betti{order}_error"] = float(error)
    if boundary:
        result |= boundary_scores(prediction, truth, valid=valid, spacing=spacing)
    return result


def lower_is_better(name: str) -> bool:
    """Tell whether small values of a score are good; of a signed `count_error` neither end is."""
    return name in _LOWER or (name.endswith("_error") and name != "count_error")
