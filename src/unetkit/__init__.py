"""unetkit: the U-Net as a complete system.

Names are loaded when they are first used, so that `unet --help` answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unetkit.application import predict
    from unetkit.data import Dataset, read_dataset
    from unetkit.data.checks import check
    from unetkit.errors import InputError
    from unetkit.evaluation import evaluate, score
    from unetkit.image import Image, read_image, write_image
    from unetkit.losses import LossConfig
    from unetkit.network import NetworkConfig, UNet
    from unetkit.recipe import Recipe, read_recipe
    from unetkit.report import write_report
    from unetkit.segmenter import Segmentation, Segmenter, load
    from unetkit.study import run_study
    from unetkit.training import train

__version__ = "0.1.0"

_ROOMS = {
    "Dataset": "data",
    "Image": "image",
    "InputError": "errors",
    "LossConfig": "losses",
    "NetworkConfig": "network",
    "Recipe": "recipe",
    "Segmentation": "segmenter",
    "Segmenter": "segmenter",
    "UNet": "network",
    "check": "data",
    "evaluate": "evaluation",
    "load": "segmenter",
    "predict": "application",
    "read_dataset": "data",
    "read_image": "image",
    "read_recipe": "recipe",
    "run_study": "study",
    "score": "evaluation",
    "train": "training",
    "write_image": "image",
    "write_report": "report",
}

__all__ = [
    "Dataset",
    "Image",
    "InputError",
    "LossConfig",
    "NetworkConfig",
    "Recipe",
    "Segmentation",
    "Segmenter",
    "UNet",
    "check",
    "evaluate",
    "load",
    "predict",
    "read_dataset",
    "read_image",
    "read_recipe",
    "run_study",
    "score",
    "train",
    "write_image",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'unetkit' has no attribute '{name}'")
    return getattr(import_module(f"unetkit.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
