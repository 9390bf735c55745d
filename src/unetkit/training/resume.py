"""The state of an interrupted run: one safetensors file, written atomically, never unpickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from unetkit.errors import InputError
from unetkit.files import atomic

_KEY, _FORMAT = "unetkit", 2


def write_state(path: Path, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    """Write tensors, and numbers as JSON in the header, in one atomic step."""
    copied = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic(path) as temporary:
        save_file(copied, temporary, metadata={_KEY: json.dumps({**numbers, "format": _FORMAT})})


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_state` wrote.

    Raises:
        InputError: there is none, it is damaged, or it is another version's.
    """
    try:
        with safe_open(path, "pt") as file:
            numbers = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            known = numbers.pop("format", 1) == _FORMAT
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(
            f"the state to resume from cannot be read ({error})",
            where=path,
            cure="train again without --resume",
        ) from None
    if not known:
        raise InputError(
            "was written by another version of unetkit",
            where=path,
            cure="resume with that version, or train again without --resume",
        )
    return tensors, numbers


def named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put a prefix before every name."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def part(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take the tensors of one prefix, without it."""
    start = f"{prefix}/"
    return {name[len(start) :]: t for name, t in tensors.items() if name.startswith(start)}


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Give the optimiser's moments, named by parameter number and kind."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put the moments back, each in the memory layout of its parameter.

    The file holds them contiguous; a fused step walks parameter and moment side by side in memory,
    so that a moment in another layout would land on the wrong weights.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, kind = name.partition(".")
        like = parameters[int(index)]
        if tensor.shape == like.shape:
            tensor = torch.empty_like(like).copy_(tensor)
        state.setdefault(int(index), {})[kind] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
