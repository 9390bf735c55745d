"""Training: one loop that reads top to bottom, validated, resumable, and honest about failures."""

from unetkit.training.loop import Run, Step, train

__all__ = ["Run", "Step", "train"]
