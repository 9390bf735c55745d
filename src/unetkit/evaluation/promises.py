"""Many images: how often what the probabilities promise is true, as they are and untempered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.evaluation.judge import scored
from unetkit.metrics import Reliability, reliability, retemper

_CHUNK = 2**20  # pixels of an image that are binned at once


@dataclass(frozen=True, eq=False)
class Promises:
    """How often what the probabilities promise is true; add two for the pixels of both.

    Attributes:
        temperature: what the logits were divided by; `None` where members had one each.
        images: how many.
        pixels: how many of them count.
        stated: the probabilities as they are, each foreground class against all others.
        before: the same as they would be at a temperature of 1.
    """

    temperature: float | None
    images: int
    pixels: int
    stated: Reliability
    before: Reliability

    def __add__(self, other: Promises) -> Promises:
        return Promises(
            self.temperature,
            self.images + other.images,
            self.pixels + other.pixels,
            self.stated + other.stated,
            self.before + other.before,
        )

    def document(self) -> dict[str, Any]:
        """Give errors and bins in the shape of `metrics.json`."""
        first = {
            "temperature": self.temperature,
            "images": self.images,
            "pixels": self.pixels,
            "ece": self.stated.error(),
        }
        bins = {"bins": _bins(self.stated)}
        if self.temperature in (None, 1):
            return first | bins
        before = {"ece_uncalibrated": self.before.error(), "bins_uncalibrated": _bins(self.before)}
        return first | bins | before


def stated_temperature(protocol: Mapping[str, Any]) -> float | None:
    """Read from a model's protocol what its logits are divided by; `None` if members differ."""
    return None if protocol.get("members", 1) > 1 else float(protocol.get("temperature", 1))


def promised(
    probabilities: NDArray[Any] | None,
    labels: NDArray[Any],
    valid: NDArray[Any],
    classes: Sequence[str],
    temperature: float | None,
) -> Promises | None:
    """Bin the probabilities (k, *space) of one image by their foreground classes.

    Returns:
        `None` where there are no probabilities, or numbers beyond 0 to 1 in their place.
    """
    if probabilities is None or not valid.any():
        return None
    first, shift = len(classes) - len(scored(classes)), len(classes) - len(probabilities)
    nothing = reliability(np.zeros(0), np.zeros(0, bool))
    stated, before = nothing, nothing
    rows = max(1, _CHUNK // max(1, math.prod(labels.shape[1:])))
    for start in range(0, len(labels), rows):
        cut = slice(start, start + rows)
        p, true = probabilities[:, cut][:, valid[cut]], labels[cut][valid[cut]]
        # Beyond rounding it is no probability. Comparisons with nan are false.
        if not ((p >= -1e-5) & (p <= 1 + 1e-5)).all():
            return None
        p = np.clip(p, 0, 1)
        raw = p
        if temperature not in (None, 1):
            raw = retemper(p, 1 / temperature, exclusive=shift == 0)
        for index in range(max(first, shift), len(classes)):
            stated += reliability(p[index - shift], true == index)
            before += reliability(raw[index - shift], true == index)
    return Promises(temperature, 1, int(np.count_nonzero(valid)), stated, before)


def _bins(binned: Reliability) -> dict[str, list[float]]:
    return {
        "count": binned.count.tolist(),
        "stated": binned.confidence.tolist(),
        "true": binned.frequency.tolist(),
    }
