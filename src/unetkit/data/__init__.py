"""Folders of images and masks → a checked set of cases, and what a network is fed from it."""

from unetkit.data.check import Problem, check, summary
from unetkit.data.dataset import Case, Dataset, Sample, Task, read_dataset
from unetkit.data.fingerprint import Fingerprint, fingerprint
from unetkit.data.normalize import Normalization
from unetkit.data.portion import PortionConfig, groups, portion

__all__ = [
    "Case",
    "Dataset",
    "Fingerprint",
    "Normalization",
    "PortionConfig",
    "Problem",
    "Sample",
    "Task",
    "check",
    "fingerprint",
    "groups",
    "portion",
    "read_dataset",
    "summary",
]
