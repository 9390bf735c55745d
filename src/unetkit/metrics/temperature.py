"""One number that makes a network as sure as it is right: temperature scaling (Guo et al. 2017).

Logits are divided by T > 0 before they become probabilities (arXiv 1706.04599, section 4.2). T is
the one under which the truth of images that were not learnt from is most probable: the least mean
negative log-likelihood, which is convex in 1/T. No most probable class changes, and of a mask no
ranking of pixels; only how much a probability promises.

What the fit needs of many images is gathered image by image in bounded memory: a `Histogram` of
logits for masks and independent labels, a `PixelSample` for classes that exclude each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import InputError
from unetkit.metrics.calibration import BINS, Reliability, reliability

Array = NDArray[Any]

LEAST, MOST = 0.05, 20.0  # bounds of a temperature
_NUMBERS = 2**20  # logits that a sample holds at most, classes times pixels
_FAR = 1e4  # a logit further out is as certain as can be
# Bins of a logit: 1/2048 wide around 0, then 1/256 of the logit, by asinh(8 · logit) · 256.
_SCALE, _FINE = 8.0, 256.0
_MIDDLE = math.ceil(math.asinh(_SCALE * _FAR) * _FINE)


@dataclass(frozen=True)
class Calibration:
    """A temperature, and what it does to the pixels it was fitted on.

    Attributes:
        temperature: divides the logits; 1 leaves them as they are. Above 1 the network had been
            too sure of itself, below 1 not sure enough.
        reason: why it is 1 without a fit, or held at a bound; empty after a plain fit.
        loss: mean negative log-likelihood with it, in nats; nan where there was nothing to fit.
        loss_uncalibrated: the same without it.
        error: expected calibration error with it, of the foreground form; of several classes, each
            but the first against all others, pooled.
        error_uncalibrated: the same without it.
        pixels: how many it was fitted on; times labels, where a pixel may have several.
    """

    temperature: float = 1.0
    reason: str = "nothing was fitted"
    loss: float = math.nan
    loss_uncalibrated: float = math.nan
    error: float = math.nan
    error_uncalibrated: float = math.nan
    pixels: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Logits of a binary mask in fine bins; add two for the pooled statistics of two images.

    With each bin's mean, what it loses is of second order in the width of a bin: T comes out within
    a thousandth of the one fitted on the raw logits.

    Args:
        count: (bins,) pixels in each.
        mass: (bins,) sum of their logits.
        positive: (bins,) those of them that are foreground in truth.
        agreed: sum of the logits of all foreground pixels.
    """

    count: NDArray[np.int64]
    mass: NDArray[np.float64]
    positive: NDArray[np.int64]
    agreed: float

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(
            self.count + other.count,
            self.mass + other.mass,
            self.positive + other.positive,
            self.agreed + other.agreed,
        )

    @property
    def pixels(self) -> int:
        """How many pixels it counts."""
        return int(self.count.sum())

    def flaw(self) -> str:
        """Say why no temperature can be fitted, or nothing."""
        foreground = int(self.positive.sum())
        if not self.pixels:
            return "no pixel counts"
        if foreground in (0, self.pixels):
            return f"every pixel is {'foreground' if foreground else 'background'}"
        wrong = self.positive[:_MIDDLE].sum() + (self.count - self.positive)[_MIDDLE:].sum()
        return "" if wrong else "every pixel is right, so no certainty would be too much"

    def loss(self, inverse: float) -> float:
        """Give the mean negative log-likelihood at 1/T."""
        count, mean = self._filled()
        total = count @ np.logaddexp(0, inverse * mean) - inverse * self.agreed
        return float(total) / self.pixels

    def slope(self, inverse: float) -> tuple[float, float]:
        """Give the first and second derivative of the loss by 1/T."""
        count, mean = self._filled()
        p = _sigmoid(inverse * mean)
        first = (count * mean) @ p - self.agreed
        return float(first) / self.pixels, float((count * mean**2) @ (p * (1 - p))) / self.pixels

    def reliability(self, temperature: float) -> Reliability:
        """Bin the foreground's probabilities at a temperature, each fine bin as its mean."""
        there = self.count > 0
        count, mean = self._filled()
        p = _sigmoid(mean / temperature)
        edges = np.arange(BINS + 1) / BINS
        place = np.minimum(np.searchsorted(edges, p, side="right") - 1, BINS - 1)
        pixels, mass, positive = (
            np.bincount(place, weights=weights, minlength=BINS).astype(np.float64)
            for weights in (count, count * p, self.positive[there])
        )
        return Reliability(edges, pixels.astype(np.int64), mass, positive.astype(np.int64))

    def _filled(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        there = self.count > 0
        return self.count[there].astype(np.float64), self.mass[there] / self.count[there]


@dataclass(frozen=True, slots=True, eq=False)
class PixelSample:
    """Every n-th pixel of images with several classes, n as small as memory allows.

    Args:
        logits: (pixels, k), no more than a million numbers.
        labels: (pixels,) true classes.
        step: one pixel in so many was kept, by its number in the sequence of all images.
        seen: pixels so far, kept or not.

    Example:
        >>> one = PixelSample.of(3).with_image(np.eye(3), np.array([0, 1, 2]))
        >>> one.labels.tolist(), one.step
        ([0, 1, 2], 1)
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    step: int = 1
    seen: int = 0

    @staticmethod
    def of(classes: int) -> PixelSample:
        """Begin with no pixel of so many classes."""
        return PixelSample(np.zeros((0, classes), np.float32), np.zeros(0, np.int64))

    def with_image(self, logits: Array, labels: Array) -> PixelSample:
        """Add the pixels of an image: logits (k, n) and true classes (n); nan do not count."""
        there = ~np.isnan(logits).any(axis=0)
        start, step = -self.seen % self.step, self.step
        new = np.flatnonzero(there)[start::step]
        every = np.concatenate([self.logits, logits[:, new].T.astype(np.float32)])
        true = np.concatenate([self.labels, labels[new].astype(np.int64)])
        # Three, not two: an odd step visits all columns of images whose width is a power of two.
        while every.size > _NUMBERS:
            every, true, step = every[::3], true[::3], 3 * step
        return PixelSample(every, true, step, self.seen + int(there.sum()))

    @property
    def pixels(self) -> int:
        """How many pixels it holds."""
        return len(self.labels)

    def flaw(self) -> str:
        """Say why no temperature can be fitted, or nothing."""
        if not self.pixels:
            return "no pixel counts"
        if (self.labels == self.labels[0]).all():
            return f"every pixel is of class {self.labels[0]}"
        away, _ = self._centred()
        if (away[np.arange(self.pixels), self.labels] >= 0).all():
            return "every pixel is right, so no certainty would be too much"
        return ""

    def loss(self, inverse: float) -> float:
        """Give the mean negative log-likelihood at 1/T."""
        away, true = self._centred()
        return float(np.mean(np.log(np.exp(inverse * away).sum(axis=1)) - inverse * true))

    def slope(self, inverse: float) -> tuple[float, float]:
        """Give the first and second derivative of the loss by 1/T."""
        away, true = self._centred()
        p = np.exp(inverse * away)
        p /= p.sum(axis=1, keepdims=True)
        mean = (p * away).sum(axis=1)
        spread = (p * away**2).sum(axis=1) - mean**2
        return float(np.mean(mean - true)), float(np.mean(spread))

    def reliability(self, temperature: float) -> Reliability:
        """Bin the probabilities of each class but the first at a temperature, and pool them."""
        away, _ = self._centred()
        p = np.exp(away / temperature)
        p /= p.sum(axis=1, keepdims=True)
        first, *others = (
            reliability(p[:, k], self.labels == k) for k in range(1, self.logits.shape[1])
        )
        return sum(others, first)

    def _centred(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Logits (pixels, k) less each pixel's greatest, and those of the true classes."""
        away = np.clip(self.logits, -_FAR, _FAR).astype(np.float64)
        away -= away.max(axis=1, keepdims=True)
        return away, away[np.arange(self.pixels), self.labels]


def histogram(logits: Array, truth: Array) -> Histogram:
    """Gather the logits of one image's foreground for `fit_temperature`.

    Args:
        logits: of the foreground, (n,), those that count; of a softmax over two classes, the second
            less the first. Infinite ones are held at ±10 000, nan do not count.
        truth: bool, or 0 and non-zero; (n,).

    Raises:
        InputError: shapes differ.
    """
    z, t = np.asarray(logits), np.asarray(truth).astype(bool, copy=False)
    if z.shape != t.shape:
        raise InputError(
            f"shape {t.shape} differs from the logits' {z.shape}",
            where="truth",
            cure="give one logit per true pixel",
        )
    there = ~np.isnan(z)
    z, t = (z.ravel(), t.ravel()) if there.all() else (z[there], t[there])
    z = np.clip(z, -_FAR, _FAR)
    place = np.floor(np.arcsinh(z * _SCALE) * _FINE).astype(np.int32) + _MIDDLE
    place = np.clip(place, 0, 2 * _MIDDLE - 1)  # rounding at the far ends
    return Histogram(
        np.bincount(place, minlength=2 * _MIDDLE),
        np.bincount(place, weights=z, minlength=2 * _MIDDLE).astype(np.float64),
        np.bincount(place[t], minlength=2 * _MIDDLE),
        float(z[t].sum(dtype=np.float64)),
    )


def fit_temperature(evidence: Histogram | PixelSample) -> Calibration:
    """Find the temperature that makes the truth most probable, between 0.05 and 20.

    Args:
        evidence: of images that were not learnt from, pooled pixel by pixel.

    Returns:
        Never one that worsens the likelihood of `evidence`. Where there is nothing to fit (no pixel
        counts, all are of one class, all are right), T is 1, and `reason` says why.

    Example:
        >>> logits = np.array([3.0, 3.0, 3.0, 3.0, -3.0, -3.0, -3.0, -3.0])
        >>> truth = np.array([1, 1, 1, 0, 0, 0, 0, 1])  # as sure as sigmoid(3), right 3 times in 4
        >>> fit = fit_temperature(histogram(logits, truth))
        >>> round(fit.temperature, 3), round(3 / math.log(3), 3)
        (2.731, 2.731)
    """
    pixels = evidence.pixels
    reason = evidence.flaw()
    if reason:
        if not pixels:
            return Calibration(reason=reason)
        loss, error = evidence.loss(1.0), evidence.reliability(1.0).error()
        return Calibration(1.0, reason, loss, loss, error, error, pixels)
    inverse = _valley(evidence.slope)
    temperature = min(max(1 / inverse, LEAST), MOST)
    if min(temperature / LEAST, MOST / temperature) < 1 + 1e-4:
        temperature = LEAST if temperature < 1 else MOST
        reason = f"held at the bound of {temperature:g}"
    before, after = evidence.loss(1.0), evidence.loss(1 / temperature)
    if after > before:  # by rounding, where T is 1 but for the last digits
        temperature, after = 1.0, before
    error, raw = (evidence.reliability(one).error() for one in (temperature, 1.0))
    return Calibration(temperature, reason, after, before, error, raw, pixels)


def retemper(
    probabilities: Array, temperature: float, *, exclusive: bool | None = None
) -> NDArray[np.float64]:
    """Divide the logits by a temperature, given the probabilities they led to.

    Args:
        probabilities: (k, *space); a threshold, as (1,), follows the probabilities it divides.
        temperature: above 1 for less certainty, below for more; 1/T takes T back.
        exclusive: the channels are classes of which one is true (softmax); otherwise each stands
            for itself. Default: several are, one is not.

    Returns:
        Probabilities (k, *space). What was rounded to 0 or 1 stays there.

    Example:
        >>> retemper(np.array([0.9, 0.5]), 2, exclusive=False).round(6).tolist()
        [0.75, 0.5]
    """
    p = np.asarray(probabilities, np.float64)
    powers = p ** (1 / temperature)
    if len(p) > 1 if exclusive is None else exclusive:
        whole = powers.sum(axis=0, keepdims=True)
    else:
        whole = powers + (1 - p) ** (1 / temperature)
    result: NDArray[np.float64] = powers / whole
    return result


def _valley(slope: Callable[[float], tuple[float, float]]) -> float:
    """Find where a convex function of 1/T has no slope, by Newton's steps between brackets."""
    low, high, at = 1 / MOST, 1 / LEAST, 1.0
    for _ in range(100):
        first, second = slope(at)
        low, high = (low, at) if first > 0 else (at, high)
        step = at - first / second if second > 0 else math.nan
        # A step that leaves the brackets: halve them, in the logarithm.
        new = step if low < step < high else math.sqrt(low * high)
        if abs(new - at) <= 1e-7 * at:
            return new
        at = new
    return at


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without an overflow at either end."""
    small = np.exp(-np.abs(z))
    result: NDArray[np.float64] = np.where(z >= 0, 1, small) / (1 + small)
    return result
