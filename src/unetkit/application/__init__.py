"""A trained model applied to files, on this machine or on a cluster."""

from unetkit.application.apply import Applied, predict
from unetkit.application.outputs import OUTPUTS

__all__ = ["OUTPUTS", "Applied", "predict"]
