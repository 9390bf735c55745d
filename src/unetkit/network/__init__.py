"""The U-Net and its choices. Loaded when first used: the choices alone need no PyTorch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unetkit.network.config import NetworkConfig
    from unetkit.network.unet import UNet, count_parameters, probabilities

_ROOMS = {
    "NetworkConfig": "config",
    "UNet": "unet",
    "count_parameters": "unet",
    "probabilities": "unet",
}

__all__ = ["NetworkConfig", "UNet", "count_parameters", "probabilities"]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'unetkit.network' has no attribute '{name}'")
    return getattr(import_module(f"unetkit.network.{_ROOMS[name]}"), name)
