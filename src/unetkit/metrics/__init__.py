"""Scores of segmentations, from plain arrays: they judge any tool's output.

Axes are (y, x) or (z, y, x), one image at a time; means over images are the caller's. Names are
loaded when they are first used: prediction wants an entropy, and neither SciPy nor scikit-image.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unetkit.metrics.boundary import (
        average_surface_distance,
        boundary_scores,
        hausdorff,
        surface_dice,
    )
    from unetkit.metrics.calibration import Reliability, brier, calibration_error, reliability
    from unetkit.metrics.em import (
        after_thinning,
        minimum_over_thresholds,
        pixel_error,
        rand_error,
        v_info,
        v_rand,
        warp,
        warping_error,
    )
    from unetkit.metrics.entropy import disagreement, uncertainty
    from unetkit.metrics.instances import (
        Matching,
        Overlap,
        aji,
        instance_scores,
        match,
        objects,
        overlap_table,
        seg,
    )
    from unetkit.metrics.measures import lower_is_better, measure
    from unetkit.metrics.overlap import (
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
    from unetkit.metrics.temperature import (
        Calibration,
        Histogram,
        PixelSample,
        fit_temperature,
        histogram,
        retemper,
    )
    from unetkit.metrics.topology import betti_errors, betti_numbers, cl_dice

_ROOMS = {
    "boundary": ("average_surface_distance", "boundary_scores", "hausdorff", "surface_dice"),
    "calibration": ("Reliability", "brier", "calibration_error", "reliability"),
    "em": (
        "after_thinning",
        "minimum_over_thresholds",
        "pixel_error",
        "rand_error",
        "v_info",
        "v_rand",
        "warp",
        "warping_error",
    ),
    "entropy": ("disagreement", "uncertainty"),
    "instances": (
        "Matching",
        "Overlap",
        "aji",
        "instance_scores",
        "match",
        "objects",
        "overlap_table",
        "seg",
    ),
    "measures": ("lower_is_better", "measure"),
    "overlap": (
        "Counts",
        "average_precision",
        "best_threshold",
        "class_counts",
        "confusion",
        "counts",
        "roc_auc",
        "scores",
    ),
    "statistics": ("bootstrap_interval", "paired_permutation"),
    "temperature": (
        "Calibration",
        "Histogram",
        "PixelSample",
        "fit_temperature",
        "histogram",
        "retemper",
    ),
    "topology": ("betti_errors", "betti_numbers", "cl_dice"),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "Calibration",
    "Counts",
    "Histogram",
    "Matching",
    "Overlap",
    "PixelSample",
    "Reliability",
    "after_thinning",
    "aji",
    "average_precision",
    "average_surface_distance",
    "best_threshold",
    "betti_errors",
    "betti_numbers",
    "bootstrap_interval",
    "boundary_scores",
    "brier",
    "calibration_error",
    "cl_dice",
    "class_counts",
    "confusion",
    "counts",
    "disagreement",
    "fit_temperature",
    "hausdorff",
    "histogram",
    "instance_scores",
    "lower_is_better",
    "match",
    "measure",
    "minimum_over_thresholds",
    "objects",
    "overlap_table",
    "paired_permutation",
    "pixel_error",
    "rand_error",
    "reliability",
    "retemper",
    "roc_auc",
    "scores",
    "seg",
    "surface_dice",
    "uncertainty",
    "v_info",
    "v_rand",
    "warp",
    "warping_error",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'unetkit.metrics' has no attribute '{name}'")
    return getattr(import_module(f"unetkit.metrics.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
