"""Folders of images and masks → a checked set of cases, and what a network is fed from it."""

from unetkit.data.check import Problem, check, summary
from unetkit.data.dataset import Case, Dataset, Sample, Task, read_dataset
from unetkit.data.fingerprint import Fingerprint, fingerprint
from unetkit.data.normalize import Normalization

__all__ = [
    "Case",
    "Dataset",
    "Fingerprint",
    "Normalization",
    "Problem",
    "Sample",
    "Task",
    "check",
    "fingerprint",
    "read_dataset",
    "summary",
]
