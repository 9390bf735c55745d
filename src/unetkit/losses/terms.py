"""The losses: each one short function on `Prepared` that returns a scalar."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from unetkit.errors import InputError
from unetkit.losses.prepared import Prepared

_TINY = 1e-8


def cross_entropy(
    prepared: Prepared,
    *,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Average the weighted negative log-likelihood: Σ w · v · nll / Σ v.

    w are the pixel weights and v the valid pixels (for several sigmoid channels: pixels of each
    channel), so this is E[w · BCE] of the border-weighted loss. Neither kind of weight is divided
    out again; torch divides by the sum of its class weights.

    Args:
        prepared: logits and labels.
        class_weights: factors on the likelihood of each class, background first. A sigmoid channel
            counts as one class against the background, whose weight may be left out (then 1, and
            the others are torch's `pos_weight`).
        label_smoothing: share of the truth that is spread evenly over the k classes (softmax), or
            over yes and no (sigmoid).

    Source: Ronneberger et al. 2015, eq. 1; label smoothing: Szegedy et al. 2016.
    """
    return prepared.mean(prepared.entropy(class_weights, label_smoothing))


def focal(prepared: Prepared, *, gamma: float = 2.0) -> Tensor:
    """Average (1 − p_t)^γ · nll with the pixel weights, p_t the probability of the truth.

    Source: Lin et al., ICCV 2017, eq. 4.
    """
    missing = -torch.expm1(-prepared.nll)
    # Below 1 the gradient of the power is infinite at 0, where the nll is 0 as well.
    return prepared.mean(missing.clamp(min=1e-7) ** gamma * prepared.nll)


def dice(prepared: Prepared, *, batch: bool = True, smooth: float = 1.0) -> Tensor:
    """One minus the soft Dice, 1 − (2 Σ p·t + s) / (Σ p + Σ t + s), mean over foreground channels.

    Args:
        prepared: logits and labels.
        batch: sum over the whole batch, which is steadier for sparse classes; otherwise each image
            has its own Dice and the mean is over images too.
        smooth: s; what makes an absent class that is not predicted score 0.

    Source: Milletari et al., 3DV 2016, with plain instead of squared sums in the denominator.
    """
    return (1 - _tversky_index(prepared, 0.5, 0.5, batch, smooth / 2)).mean()


def tversky(
    prepared: Prepared,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    batch: bool = True,
    smooth: float = 1.0,
) -> Tensor:
    """1 − (tp + s) / (tp + α · fp + β · fn + s), mean over foreground channels.

    `alpha` is the price of false positives, `beta` of false negatives; α = β = 0.5 is `dice` with
    half its `smooth`.

    Source: Salehi et al., MLMI 2017, eq. 3.
    """
    return (1 - _tversky_index(prepared, alpha, beta, batch, smooth)).mean()


def focal_tversky(
    prepared: Prepared,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 4 / 3,
    batch: bool = True,
    smooth: float = 1.0,
) -> Tensor:
    """(1 − Tversky index)^(1/γ), mean over foreground channels; γ > 1 favours the hard ones.

    Source: Abraham & Khan, ISBI 2019, eq. 4 (whose α is the price of false negatives).
    """
    missing = 1 - _tversky_index(prepared, alpha, beta, batch, smooth)
    # The gradient of the root is infinite at 0: a perfect prediction.
    return (missing.clamp(min=1e-6) ** (1 / gamma)).mean()


def skeleton_recall(prepared: Prepared, *, smooth: float = 1e-5) -> Tensor:
    """One minus the soft recall of the skeleton tube y, 1 − (Σ p·y + s) / max(Σ y + s, 1e-8).

    Sums over the batch, mean over foreground channels; an absent class scores recall 1, loss 0.
    It has no term for precision: use it beside `cross_entropy` and `dice`.

    Source: Kirchhoff et al., ECCV 2024 (arXiv 2404.03010), whose code omits the leading 1.
    """
    hit, whole = _per_channel(prepared.p * prepared.skeleton), _per_channel(prepared.skeleton)
    return (1 - (hit + smooth) / (whole + smooth).clamp(min=_TINY)).mean()


def cl_dice(prepared: Prepared, *, iterations: int = 3, smooth: float = 1.0) -> Tensor:
    """One minus the soft centre-line Dice of prediction and truth, mean over foreground channels.

    The harmonic mean of topology precision (the predicted skeleton inside the truth) and topology
    sensitivity (the true skeleton inside the prediction), sums over the batch.

    Args:
        prepared: logits and labels.
        iterations: erosions of the soft skeleton; at least the largest radius in pixels.
        smooth: added to both sides of each ratio; two empty skeletons agree.

    Source: Shit et al., CVPR 2021 (arXiv 2003.07311), algorithms 1 and 2.
    """
    p, target = prepared.p * prepared.valid, prepared.target
    thin_p = _soft_skeleton(p, iterations)
    with torch.no_grad():
        thin_target = _soft_skeleton(target, iterations)
    precision, sensitivity = (
        (_per_channel(thin * whole) + smooth) / (_per_channel(thin) + smooth).clamp(min=_TINY)
        for thin, whole in ((thin_p, target), (thin_target, p))
    )
    both = (precision + sensitivity).clamp(min=_TINY)
    return (1 - 2 * precision * sensitivity / both).mean()


def boundary(prepared: Prepared) -> Tensor:
    """Average p · φ over valid pixels, φ the signed distance to the true contour (inside < 0).

    It falls below 0 as the prediction fills the truth, and has no lower bound of its own.

    Source: Kervadec et al., MIDL 2019 (arXiv 1812.07032), eq. 5.
    """
    if prepared.distance is None:
        raise InputError(
            "this loss needs the distances",
            where="boundary",
            cure="give prepare(..., distance=) the result of targets.distances",
        )
    valid = prepared.valid.expand_as(prepared.p)
    return (prepared.p * (prepared.distance * valid)).sum() / valid.sum().clamp(min=1)


def _per_channel(map_: Tensor) -> Tensor:
    return map_.transpose(0, 1).flatten(1).sum(1)


def _tversky_index(
    prepared: Prepared, alpha: float, beta: float, batch: bool, smooth: float
) -> Tensor:
    """(tp + s) / (tp + α · fp + β · fn + s), `(f)` over the batch or `(b, f)`."""
    both, p, target = (part.sum(0) if batch else part for part in prepared.overlap)
    union = both + alpha * (p - both) + beta * (target - both)
    return (both + smooth) / (union + smooth).clamp(min=_TINY)


def _soft_skeleton(x: Tensor, iterations: int) -> Tensor:
    """Thin a map of 0..1 by differentiable morphology, `(b, f, *space)`."""
    thinner = _erode(x)
    skeleton = F.relu(x - _dilate(thinner))
    for _ in range(iterations):
        x, thinner = thinner, _erode(thinner)
        ridge = F.relu(x - _dilate(thinner))
        skeleton = skeleton + F.relu(ridge - skeleton * ridge)
    return skeleton


def _erode(x: Tensor) -> Tensor:
    """Take the minimum over each pixel and its direct neighbours (a cross)."""
    flipped = [_highest(-x, axis) for axis in range(2, x.ndim)]
    return -reduce(_maximum, flipped)


def _dilate(x: Tensor) -> Tensor:
    """Take the maximum over the neighbourhood of 3 × 3 (× 3)."""
    return reduce(_highest, range(2, x.ndim), x)


def _highest(x: Tensor, axis: int) -> Tensor:
    """Take the maximum of each pixel and its two neighbours on one axis."""
    n = x.shape[axis]
    if n == 1:
        return x
    pairs = _maximum(x.narrow(axis, 0, n - 1), x.narrow(axis, 1, n - 1))
    inner = _maximum(pairs.narrow(axis, 0, n - 2), pairs.narrow(axis, 1, n - 2))
    return torch.cat([pairs.narrow(axis, 0, 1), inner, pairs.narrow(axis, n - 2, 1)], axis)


def _maximum(a: Tensor, b: Tensor) -> Tensor:
    """max(a, b) by a relu, whose backward pass on a CPU is many times faster than a maximum's."""
    return b + F.relu(a - b)
