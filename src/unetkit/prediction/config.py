"""What a user may choose about prediction, and what passes through this room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Array = NDArray[Any]
Floats = NDArray[np.float32]
# Probabilities (b, k, *out) of a batch (b, c, *in) of a legal size; must leave the batch unchanged.
Forward = Callable[[Floats], Floats]
Forwards = Forward | Sequence[Forward]
Progress = Callable[[int, int], None]
Augmentation = Literal["none", "flips", "rotations", "paper"]


class PredictConfig(BaseModel):
    """How an image is predicted.

    Attributes:
        tile: size of the network's input, as one number or per axis; `None` chooses by memory.
        tta: test-time augmentation: probabilities are averaged over all mirror images ("flips"),
            over the eight orientations of the square, and both of z ("rotations"), or over seven
            rotated images, as Ronneberger et al. did in 2015 ("paper").
        threshold: calibrated probability from which a pixel is foreground; `None` is the one tuned
            on `val` when the model was trained, or 0.5.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tile: int | tuple[int, ...] | None = None
    tta: Augmentation = "none"
    threshold: float | None = Field(None, gt=0, lt=1)
