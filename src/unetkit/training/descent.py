"""One step of descent, and the moving average that follows it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unetkit.data.batches import Batch
from unetkit.machine import autocast
from unetkit.network import UNet
from unetkit.recipe import OptimizerConfig, Recipe
from unetkit.training.validate import batch_loss


def learn(
    network: UNet,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    recipe: Recipe,
    device: torch.device,
    precision: torch.dtype,
) -> tuple[float, dict[str, float]]:
    """Take one step of descent; give the loss and its parts."""
    images = batch.images.to(device).contiguous(memory_format=network.layout)
    with autocast(device, precision):
        scales = network.scales(images)
    loss, parts = batch_loss(scales[0], batch, recipe.loss, recipe.network)
    if len(scales) > 1:  # coarser heads count half as much each; the sum keeps the finest's size
        shares = [0.5**level for level in range(len(scales))]
        loss = loss * shares[0]
        for share, logits in zip(shares[1:], scales[1:], strict=True):
            loss = loss + share * batch_loss(logits, batch, recipe.loss, recipe.network)[0]
        loss = loss / sum(shares)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if recipe.train.clip is not None:
        torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.train.clip)
    optimizer.step()
    return loss.item(), {name: value.item() for name, value in parts.items()}


def follow(average: dict[str, Tensor], network: UNet, decay: float, step: int) -> None:
    """Move the average towards the weights; early on faster, so that it forgets the start."""
    decay = min(decay, (1 + step) / (10 + step))
    current = network.state_dict()
    floats = [name for name, tensor in average.items() if tensor.is_floating_point()]
    with torch.no_grad():
        torch._foreach_lerp_(
            [average[name] for name in floats], [current[name] for name in floats], 1 - decay
        )
        for name in average.keys() - set(floats):
            average[name].copy_(current[name])


def choose_optimizer(config: OptimizerConfig, network: UNet) -> torch.optim.Optimizer:
    """Give the rule of descent for a network; biases and norms do not decay."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, fused=True)
