"""How unsure a prediction says it is, per pixel; with nothing but NumPy, for prediction uses it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def uncertainty(probabilities: Array) -> NDArray[np.float32]:
    """Give the entropy of each pixel's class as a share of the greatest possible one.

    −Σ p log p / log k (Shannon 1948). It says what the model says: it can be trusted as far as the
    probabilities can, so temper them first (`fit_temperature`).

    Args:
        probabilities: (k, *space), 0 to 1. One channel is the foreground of a binary mask, and the
            background is the rest; several are classes that exclude each other.

    Returns:
        (1, *space): 0 where one class is certain, 1 where all are equally probable.

    Example:
        >>> uncertainty(np.array([[0.0, 0.5, 1.0]])).tolist()
        [[0.0, 1.0, 0.0]]
    """
    p = np.asarray(probabilities)
    binary = len(p) == 1
    total = np.zeros(p.shape[1:], np.float32)
    # Class by class: of a large slab, no second array of all classes is held.
    for one in (p[0], 1 - p[0]) if binary else p:
        one = np.asarray(one, np.float32)
        total -= one * np.log(np.maximum(one, np.finfo(np.float32).tiny))  # 0 · log 0 is 0
    total /= np.float32(math.log(max(2, len(p))))
    result: NDArray[np.float32] = np.clip(total, 0, 1, out=total)[None]
    return result


def disagreement(mean: Array, mean_entropy: Array) -> NDArray[np.float32]:
    """Give how much of the uncertainty is that members, or views of an image, disagree.

    Their mutual information with the class, H(mean) − mean(H) (Houlsby et al. 2011, arXiv
    1112.5745): 0 where all say the same, however unsure they are, up to 1 where each is certain of
    another class.

    Args:
        mean: (k, *space) mean of the members' probabilities.
        mean_entropy: (1, *space) mean of their `uncertainty`.

    Returns:
        (1, *space), 0 to 1, as a share of log k.

    Example:
        >>> members = np.array([[[0.0, 0.5]], [[1.0, 0.5]]])  # two of them, one channel, two pixels
        >>> entropy = np.mean([uncertainty(one) for one in members], axis=0)
        >>> disagreement(members.mean(axis=0), entropy).tolist()
        [[1.0, 0.0]]
    """
    # Concavity of the entropy makes it positive, but for rounding.
    shared = uncertainty(mean) - np.asarray(mean_entropy, np.float32)
    return np.asarray(np.clip(shared, 0, 1), np.float32)
