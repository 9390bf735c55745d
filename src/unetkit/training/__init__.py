"""Training: one loop that reads top to bottom, validated, resumable, and honest about failures."""

from unetkit.training.loop import Run, train
from unetkit.training.record import Step

__all__ = ["Run", "Step", "train"]
