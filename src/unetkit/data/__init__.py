"""Folders of images and masks → a checked set of cases, and what a network is fed from it.

Loaded when first used: a prediction needs the cases and the normalisation alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unetkit.data.case import Case
    from unetkit.data.checks import Problem, check, summary
    from unetkit.data.dataset import Dataset, Sample, read_dataset
    from unetkit.data.fingerprints import Fingerprint, fingerprint
    from unetkit.data.meaning import Task
    from unetkit.data.normalize import Normalization
    from unetkit.data.portions import PortionConfig, groups, portion

_ROOMS = {
    "Case": "case",
    "Dataset": "dataset",
    "Fingerprint": "fingerprints",
    "Normalization": "normalize",
    "PortionConfig": "portions",
    "Problem": "checks",
    "Sample": "dataset",
    "Task": "meaning",
    "check": "checks",
    "fingerprint": "fingerprints",
    "groups": "portions",
    "portion": "portions",
    "read_dataset": "dataset",
    "summary": "checks",
}

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


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'unetkit.data' has no attribute '{name}'")
    return getattr(import_module(f"unetkit.data.{_ROOMS[name]}"), name)
