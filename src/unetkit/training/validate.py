"""Validation: whole images through the network, their loss, Dice, temperature and threshold."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unetkit.data.batches import Batch
from unetkit.data.prepared import Whole
from unetkit.errors import InputError
from unetkit.losses import LossConfig, prepare, total
from unetkit.machine import autocast
from unetkit.metrics import (
    Calibration,
    Counts,
    Histogram,
    PixelSample,
    class_counts,
    confusion,
    fit_temperature,
    histogram,
    retemper,
    scores,
)
from unetkit.network import NetworkConfig, UNet, probabilities
from unetkit.prediction import choose_tile, predict


@dataclass(frozen=True)
class Validation:
    """How a checkpoint does on the validation images.

    Attributes:
        loss: the training loss, mean over images.
        dice: mean over images, inside the field of view; of the foreground at `threshold` for a
            binary task, else of the foreground classes that an image holds.
        threshold: the best for the mean Dice, of the calibrated probabilities; 0.5 with several
            classes.
        share: predicted and true share of foreground, to notice a network that says nothing.
        calibration: the temperature fitted on the pixels that count, and what it does to them.
    """

    loss: float
    dice: float
    threshold: float
    share: tuple[float, float]
    calibration: Calibration = field(default_factory=Calibration)


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
        supervise(batch.labels.long(), network).to(device),
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
    cases: Iterable[Whole],
    loss: LossConfig,
    *,
    device: torch.device,
    precision: torch.dtype,
) -> Validation:
    """Predict every case whole and judge it inside its field of view; one is held at a time.

    Temperature and threshold come of the same single predictions, without mirror images. The
    threshold is tuned first, and then tempered like the probabilities that it divides: so no
    decision depends on the temperature.

    Raises:
        InputError: there is no case.
    """
    config = network.config

    def forward(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode(), autocast(device, precision):
            given = torch.from_numpy(batch).to(device)
            out: Tensor = network(given.contiguous(memory_format=network.layout))
        logits: NDArray[np.float32] = out.float().cpu().numpy()
        return logits

    losses, dices, predicted, true = list[float](), list[float](), list[float](), list[float]()
    curves = list[Curve]()
    evidence: Histogram | PixelSample | None = None
    for case in cases:
        image = case.batch.images[0].numpy()
        tile = choose_tile(
            network.footprint, image.shape[1:], 1024**2 if config.ndim == 2 else 96**3
        )
        output = predict(forward, image, network.footprint, tile=tile)
        logits = torch.from_numpy(output)[None]
        losses.append(float(batch_loss(logits, case.batch, loss, config)[0]))
        probability = probabilities(logits, config.activation)[0].numpy()
        valid = case.fov & (case.labels >= 0)
        evidence = gather(evidence, output[:, valid], case.labels[valid], config)
        if len(probability) <= 2:
            curves.append(curve(probability[-1][valid], case.labels[valid] > 0))
        else:
            answer = probability.argmax(0)
            k = len(probability)
            table = confusion(answer, np.where(valid, case.labels, 0), k, valid)
            counted = class_counts(table)[1:]
            present = [scores(c)["dice"] for c in counted if c.tp + c.fn]
            dices.append(float(np.mean(present)) if present else math.nan)
            if valid.any():
                predicted.append(float((answer[valid] > 0).mean()))
        if valid.any():
            true.append(float((case.labels[valid] > 0).mean()))
    if evidence is None:
        raise InputError("no case of val is left to judge a checkpoint by", cure="add cases to val")
    calibration = fit_temperature(evidence)
    threshold, dice = 0.5, float(np.nanmean(dices)) if np.isfinite(dices).any() else 0.0
    if curves:
        threshold, dice = best(curves)
        predicted = [one.share(threshold) for one in curves if one.passed[0]]
        threshold = tempered(threshold, calibration.temperature)
    share = (_mean(predicted), _mean(true))
    return Validation(float(np.mean(losses)), dice, threshold, share, calibration)


def gather(
    so_far: Histogram | PixelSample | None,
    logits: NDArray[np.float32],
    labels: NDArray[np.integer],
    network: NetworkConfig,
) -> Histogram | PixelSample:
    """Add an image's pixels, logits (k, n) and labels (n), to what a temperature is fitted on."""
    if network.activation == "softmax" and len(logits) > 2:
        sample = so_far if isinstance(so_far, PixelSample) else PixelSample.of(len(logits))
        return sample.with_image(logits, labels)
    if network.activation == "softmax":
        new = histogram(logits[1] - logits[0], labels > 0)
    elif len(logits) == 1:
        new = histogram(logits[0], labels > 0)
    else:  # labels that are independent of each other: one temperature for all
        new = histogram(logits, np.stack([labels == k + 1 for k in range(len(logits))]))
    return so_far + new if isinstance(so_far, Histogram) else new


def tempered(threshold: float, temperature: float) -> float:
    """Give the threshold that decides on calibrated probabilities as this one on those before.

    Strictly between 0 and 1 in single precision too, in which it is compared. Below a temperature
    of 0.2, thresholds above 0.95 would come too near 1 to tell the surest pixels apart.
    """
    if temperature == 1:
        return threshold
    return float(np.clip(retemper(np.array([threshold]), temperature)[0], 1e-30, 1 - 1e-7))


_GRID = np.arange(5, 96) / 100


@dataclass(frozen=True)
class Curve:
    """One image under every threshold of `unetkit.metrics.best_threshold`, without its pixels.

    Attributes:
        passed: how many pixels reach each threshold, all pixels first.
        hits: how many of these are foreground.
    """

    passed: NDArray[np.int64]
    hits: NDArray[np.int64]

    def dice(self) -> list[float]:
        """Dice at each threshold."""
        pixels, foreground = int(self.passed[0]), int(self.hits[0])
        rows = []
        for passed, hits in zip(self.passed[1:].tolist(), self.hits[1:].tolist(), strict=True):
            fp, fn = passed - hits, foreground - hits
            rows.append(scores(Counts(hits, fp, fn, pixels - hits - fp - fn))["dice"])
        return rows

    def share(self, threshold: float) -> float:
        """Give the share of pixels that reach a threshold of the grid."""
        return float(self.passed[1 + int(np.flatnonzero(threshold == _GRID)[0])] / self.passed[0])


def curve(probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> Curve:
    """Count the pixels (n) that reach each threshold, and the true ones (n) among them."""
    reached = np.searchsorted(_GRID.astype(probability.dtype), probability, side="right")
    counts = [np.bincount(one, minlength=len(_GRID) + 1) for one in (reached, reached[truth])]
    passed, hits = (one[::-1].cumsum()[::-1] for one in counts)
    return Curve(passed, hits)


def best(curves: Iterable[Curve]) -> tuple[float, float]:
    """Find what `unetkit.metrics.best_threshold` finds of the same images: threshold and Dice.

    Raises:
        InputError: none of them has a pixel.
    """
    rows = [one.dice() for one in curves if one.passed[0]]
    if not rows:
        raise InputError(
            "no pixel of val counts",
            cure="check the masks and fields of view of the validation cases",
        )
    mean = np.mean(rows, axis=0)
    winners = _GRID[mean >= mean.max() - 1e-12]
    threshold = float(winners[np.argmin(np.abs(winners - 0.5))])
    return threshold, float(mean[np.flatnonzero(threshold == _GRID)[0]])


def _mean(shares: list[float]) -> float:
    return float(np.mean(shares)) if shares else 0.0
