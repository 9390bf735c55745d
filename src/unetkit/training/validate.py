"""Validation: whole images through the network, their loss, Dice and best threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unetkit.data import Sample
from unetkit.data.batches import Batch
from unetkit.losses import LossConfig, prepare, total
from unetkit.metrics import best_threshold, class_counts, confusion, scores
from unetkit.network import NetworkConfig, UNet, probabilities
from unetkit.prediction import choose_tile, predict
from unetkit.segmenter import autocast


@dataclass(frozen=True)
class Validation:
    """How a checkpoint does on the validation images.

    Attributes:
        loss: the training loss, mean over images.
        dice: mean over images, inside the field of view; of the foreground at `threshold` for a
            binary task, else of the foreground classes that an image holds.
        threshold: the best for the mean Dice; 0.5 with several classes.
        share: predicted and true share of foreground, to notice a network that says nothing.
    """

    loss: float
    dice: float
    threshold: float
    share: tuple[float, float]


def supervise(labels: Tensor, network: NetworkConfig) -> Tensor:
    """Give the labels the shape the head needs: (b, *) as they are, or (b, k, *) of 0 and 1."""
    if network.activation == "softmax" or network.classes == 1:
        return labels
    classes = torch.arange(1, (network.classes or 1) + 1).view(1, -1, *[1] * (labels.ndim - 1))
    labels = labels[:, None]
    return torch.where(labels < 0, labels, (labels == classes).to(labels.dtype))


def batch_loss(
    logits: Tensor, batch: Batch, config: LossConfig, network: NetworkConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Give the weighted sum of the recipe's losses and its parts for logits (b, k, *core)."""
    device = logits.device

    def there(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.to(device)

    prepared = prepare(
        logits,
        supervise(batch.labels, network).to(device),
        head=network.activation,
        weights=there(batch.weights),
        skeleton=None
        if batch.skeleton is None
        else supervise(batch.skeleton.long(), network).to(device),
        distance=there(batch.distance),
    )
    return total(config, prepared)


def validate(
    network: UNet,
    wholes: Sequence[Batch],
    samples: Sequence[Sample],
    loss: LossConfig,
    *,
    device: torch.device,
    precision: torch.dtype,
) -> Validation:
    """Predict every validation image whole and judge it inside its field of view."""
    config = network.config

    def forward(batch: Tensor) -> Tensor:
        with autocast(device, precision):
            out: Tensor = network(batch.to(device).contiguous(memory_format=network.layout))
        return out

    losses, truths, foregrounds, valids, dices = [], [], [], [], []
    for whole, sample in zip(wholes, samples, strict=True):
        image = whole.images[0].numpy()
        tile = choose_tile(
            network.footprint, image.shape[1:], 1024**2 if config.ndim == 2 else 96**3
        )
        logits = torch.from_numpy(predict(forward, image, network.footprint, tile=tile))[None]
        losses.append(float(batch_loss(logits, whole, loss, config)[0]))
        probability = probabilities(logits, config.activation)[0].numpy()
        valid = sample.fov & (sample.labels >= 0)
        valids.append(valid)
        if len(probability) <= 2:
            foregrounds.append(probability[-1])
            truths.append(sample.labels > 0)
        else:
            answer = probability.argmax(0)
            k = len(probability)
            table = confusion(answer, np.where(valid, sample.labels, 0), k, valid)
            counted = class_counts(table)[1:]
            present = [scores(c)["dice"] for c in counted if c.tp + c.fn]
            dices.append(float(np.mean(present)) if present else math.nan)
            foregrounds.append((answer > 0).astype(np.float32))
            truths.append(sample.labels > 0)
    threshold, dice = 0.5, float(np.nanmean(dices)) if np.isfinite(dices).any() else 0.0
    if not dices:
        threshold, dice = best_threshold(foregrounds, truths, valids)
    predicted = [(f[v] >= threshold).mean() for f, v in zip(foregrounds, valids, strict=True)]
    true = [t[v].mean() for t, v in zip(truths, valids, strict=True)]
    return Validation(
        float(np.mean(losses)), dice, threshold, (float(np.mean(predicted)), float(np.mean(true)))
    )
