"""Prediction: an image of any size through a network of any padding, without seams.

Numbers pass through this room as NumPy arrays, so that any engine fits: a `Forward` turns a batch
(1, c, *in) into probabilities (1, k, *out).
"""

from __future__ import annotations

from unetkit.prediction.config import (
    Augmentation,
    Forward,
    Forwards,
    PredictConfig,
    Progress,
)
from unetkit.prediction.planning import Plan, choose_tile, plan, state_cost
from unetkit.prediction.sizing import Cost
from unetkit.prediction.slabs import Group, Slab
from unetkit.prediction.streaming import Finish, Read, Write, stream
from unetkit.prediction.views import passes, take
from unetkit.prediction.whole import predict, predict_planned, read, seam_error

__all__ = [
    "Augmentation",
    "Cost",
    "Finish",
    "Forward",
    "Forwards",
    "Group",
    "Plan",
    "PredictConfig",
    "Progress",
    "Read",
    "Slab",
    "Write",
    "choose_tile",
    "passes",
    "plan",
    "predict",
    "predict_planned",
    "read",
    "seam_error",
    "state_cost",
    "stream",
    "take",
]
