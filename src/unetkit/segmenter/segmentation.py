"""The answer for one image: probabilities, and what is made of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetkit.data.encoding import encode
from unetkit.data.meaning import Task
from unetkit.metrics.entropy import uncertainty

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Segmentation:
    """The answer for one image.

    Attributes:
        probabilities: (k, *space) fp32; k is 1 for a binary mask, else one per output channel.
        labels: (*space) uint8 class indices.
        task: names and mask values of the classes.
        spread: (1, *space) how much the averaged predictions disagree, 0 to 1; None of one alone.
    """

    probabilities: Floats
    labels: NDArray[np.uint8]
    task: Task
    spread: Floats | None = None

    @property
    def mask(self) -> NDArray[np.integer]:
        """The labels in the mask values of the training data, such as 0 and 255.

        (*space); (3, *space) where the training masks were in class colours. Objects are 0 and 255.
        """
        mask = encode(self.labels, self.task)
        return mask[0] if len(mask) == 1 else mask

    @property
    def uncertainty(self) -> Floats:
        """How undecided the probabilities are, (*space): their entropy, 0 to 1."""
        entropy: Floats = uncertainty(self.probabilities)[0]
        return entropy


def label(probability: Floats, threshold: float) -> NDArray[np.uint8]:
    """Turn probabilities (k, *space) into class indices (*space).

    One channel: foreground from the threshold on. Two (softmax): likewise, by the second. More: the
    most probable class.
    """
    if len(probability) <= 2:
        return np.asarray(probability[-1] >= threshold, np.uint8)
    return np.asarray(probability.argmax(0), np.uint8)


def to_probabilities(logits: Floats, softmax: bool, temperature: float = 1.0) -> Floats:
    """Turn logits (b, k, *space) into probabilities, in place where they may be written."""
    p = logits if logits.flags.writeable else logits.copy()
    if temperature != 1:
        p /= np.float32(temperature)
    if softmax:
        p -= p.max(1, keepdims=True)
        np.exp(p, out=p)
        p /= p.sum(1, keepdims=True)
        return p
    np.negative(p, out=p)
    with np.errstate(over="ignore"):  # exp of a large number is infinite, and 1 / (1 + that) is 0
        np.exp(p, out=p)
    p += 1
    return np.reciprocal(p, out=p)
