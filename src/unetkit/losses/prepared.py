"""One form for every head: softmax, one sigmoid channel, several of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from unetkit.errors import InputError

Head = Literal["softmax", "sigmoid"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Logits and labels in the one form that every loss reads; what none reads is never computed.

    Attributes:
        logits: `(b, k, *space)` fp32.
        labels: `(b, m, *space)` class indices (softmax) or 0 and 1 (sigmoid); −1 is ignored.
        head: what turns logits into probabilities.
        weights: `(b, 1, *space)` fp32 pixel weights of `cross_entropy` and `focal`, or None.
        tube: `(b, m, *space)` labels of the skeleton, or None.
        distance: `(b, f, *space)` fp32 signed distance to the contour, or None.
    """

    logits: Tensor
    labels: Tensor
    head: Head
    weights: Tensor | None = None
    tube: Tensor | None = None
    distance: Tensor | None = None

    @cached_property
    def log_p(self) -> Tensor:
        """Logarithm of the softmax, `(b, k, *space)`."""
        return self.logits.log_softmax(1)

    @cached_property
    def p(self) -> Tensor:
        """Probabilities of the foreground channels, `(b, f, *space)`."""
        return self.log_p[:, 1:].exp() if self.head == "softmax" else self.logits.sigmoid()

    @cached_property
    def valid(self) -> Tensor:
        """1 where a pixel counts, 0 where it is ignored, fp32 `(b, m, *space)`."""
        return (self.labels >= 0).float()

    @cached_property
    def target(self) -> Tensor:
        """The truth for `p`: 0 or 1, fp32 `(b, f, *space)`; ignored pixels are 0."""
        return self._foreground(self.labels)

    @cached_property
    def skeleton(self) -> Tensor:
        """The skeleton tube for `p`: 0 or 1, fp32 `(b, f, *space)`; ignored pixels are 0."""
        if self.tube is None:
            raise InputError(
                "this loss needs the skeletons",
                where="skeleton_recall",
                cure="give prepare(..., skeleton=) the result of targets.skeleton",
            )
        return self._foreground(self.tube) * self.valid

    @cached_property
    def nll(self) -> Tensor:
        """−log p of the truth, `(b, m, *space)`; without meaning at ignored pixels."""
        if self.head == "softmax":
            return F.nll_loss(self.log_p, self._truth(), reduction="none").unsqueeze(1)
        return F.binary_cross_entropy_with_logits(self.logits, self.target, reduction="none")

    @cached_property
    def overlap(self) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over the valid pixels of p · target, of p and of target, each `(b, f)`."""
        parts = self.p * self.target, self.p * self.valid, self.target
        both, p, target = (part.flatten(2).sum(2) for part in parts)
        return both, p, target

    def entropy(self, class_weights: Sequence[float] | None, label_smoothing: float) -> Tensor:
        """Cross-entropy of each pixel with the options of `cross_entropy`, `(b, m, *space)`."""
        if class_weights is None and not label_smoothing:
            return self.nll
        background, foreground = self._class_weights(class_weights)
        if self.head == "softmax":
            weights = torch.cat([background, foreground])
            nll = F.nll_loss(self.log_p, self._truth(), weights, reduction="none").unsqueeze(1)
            even = -(self.log_p * _along_channels(weights, self.log_p)).mean(1, keepdim=True)
            return nll + label_smoothing * (even - nll)
        scale = _along_channels(foreground / background, self.logits)
        target = self.target + label_smoothing * (0.5 - self.target)
        nll = F.binary_cross_entropy_with_logits(
            self.logits, target, reduction="none", pos_weight=scale
        )
        return nll * background

    def mean(self, values: Tensor) -> Tensor:
        """Σ w · v · values / Σ v over a `(b, m, *space)` map; 0 where every pixel is ignored."""
        mass = self.valid if self.weights is None else self.valid * self.weights
        return (values * mass).sum() / self.valid.sum().clamp(min=1)

    def _truth(self) -> Tensor:
        return self.labels[:, 0].long().clamp(min=0)

    def _foreground(self, labels: Tensor) -> Tensor:
        """Compare labels with the value that each foreground channel stands for."""
        k = self.logits.shape[1]
        first, last = (1, k) if self.head == "softmax" else (1, 2)
        values = torch.arange(first, last, device=labels.device)
        return (labels == _along_channels(values, labels)).float()

    def _class_weights(self, weights: Sequence[float] | None) -> tuple[Tensor, Tensor]:
        """Split into the weight of the background `(1)` and of the foreground channels `(f)`."""
        k = self.logits.shape[1]
        f = k - 1 if self.head == "softmax" else k
        values = self.logits.new_tensor([1.0] * (f + 1) if weights is None else list(weights))
        if self.head == "sigmoid" and len(values) == f:
            values = torch.cat([values.new_ones(1), values])
        if len(values) != f + 1:
            raise InputError(
                f"{len(values)} class weights for {f + 1} classes",
                where="cross_entropy.class_weights",
                cure="give one for the background and one for each other class",
            )
        return values[:1], values[1:]


def prepare(
    logits: Tensor,
    labels: Tensor,
    *,
    head: Head,
    weights: Tensor | None = None,
    skeleton: Tensor | None = None,
    distance: Tensor | None = None,
) -> Prepared:
    """Bring the output of any head and its labels into the form that every loss reads.

    Args:
        logits: `(b, k, *space)`, any floating type; computed on as fp32.
        labels: `(b, *space)` integers, −1 ignored: class indices for softmax, 0 and 1 for one
            sigmoid channel. Several sigmoid channels (an object may belong to several classes):
            `(b, k, *space)` of 0, 1 and −1, each channel with its own ignored pixels.
        head: `"softmax"` (channel 0 is the background) or `"sigmoid"`.
        weights: `(b, *space)` pixel weights, as of `targets.border_weights`.
        skeleton: the tube of `targets.skeleton`, shaped like `labels`.
        distance: `(b, f, *space)`, one map of `targets.distances` per foreground channel; with k
            maps the first, of the softmax background, is dropped. `(b, *space)` where f = 1.

    Raises:
        InputError: a shape does not match the logits.
    """
    k = logits.shape[1]
    m, f = (1, k - 1) if head == "softmax" else (k, k)
    if f < 1:
        raise InputError(
            "softmax over one channel is always 1", where="head", cure="use sigmoid or 2 channels"
        )
    return Prepared(
        logits=logits.float().contiguous(),
        labels=_fit("labels", labels, logits, m),
        head=head,
        weights=None if weights is None else _fit("weights", weights, logits, 1).float(),
        tube=None if skeleton is None else _fit("skeleton", skeleton, logits, m),
        distance=None if distance is None else _fit("distance", distance, logits, f, k).float(),
    )


def _fit(name: str, array: Tensor, logits: Tensor, *channels: int) -> Tensor:
    """Give an array the channel axis if it lacks one; keep the last `channels[0]` channels."""
    images, space = len(logits), logits.shape[2:]
    whole = array.unsqueeze(1) if array.ndim == logits.ndim - 1 else array
    if whole.shape not in [(images, c, *space) for c in channels]:
        wanted = (images, channels[0], *space) if channels[0] > 1 else (images, *space)
        raise InputError(
            f"shape {tuple(array.shape)} does not fit logits of {tuple(logits.shape)}",
            where=name,
            cure=f"give {wanted}",
        )
    return whole[:, -channels[0] :]


def _along_channels(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.ndim - 2))
