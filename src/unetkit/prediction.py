"""Overlap-tile prediction: an image of any size through a network of any padding, without seams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from unetkit.geometry import Footprint, Tile, mirror, tiles, windows

Forward = Callable[[Tensor], Tensor]
Progress = Callable[[int, int], None]


class PredictConfig(BaseModel):
    """How an image is predicted.

    Attributes:
        tile: size of the network's input, as one number or per axis; `None` chooses by memory.
        tta: test-time augmentation: "flips" averages the probabilities over all mirror images.
        threshold: probability from which a pixel is foreground; `None` is the one tuned on `val`
            when the model was trained, or 0.5.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tile: int | tuple[int, ...] | None = None
    tta: Literal["none", "flips"] = "none"
    threshold: float | None = Field(None, gt=0, lt=1)


def predict(
    forward: Forward,
    image: NDArray[np.float32],
    footprint: Footprint,
    *,
    tile: Sequence[int],
    tta: Literal["none", "flips"] = "none",
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Predict the probabilities of a whole image, tile by tile.

    The image is continued by mirroring where a tile reaches outside (Ronneberger 2015, fig. 2).
    Where the network's footprint is exact, the result equals one pass over the whole image to
    float rounding. Where a normalisation looks at the whole input, tiles overlap by half and are
    blended instead.

    Args:
        forward: any callable from a normalised batch (1, c, *in) to probabilities (1, k, *out).
        image: normalised (c, *space).
        footprint: what the network asks of its input.
        tile: size of the network's input per axis; an axis shorter than it is read whole.
        tta: average over mirror images, 2**ndim passes per tile.
        progress: called with the number of tiles done and in all.

    Returns:
        Probabilities (k, *space).

    Raises:
        InputError: the tile is not legal for this network.
    """
    shape = image.shape[1:]
    run = _average_flips(forward, len(shape)) if tta == "flips" else forward
    whole = footprint.enclose(shape)
    blend = not footprint.exact and any(t < w for t, w in zip(tile, whole, strict=True))
    plan = list((windows if blend else tiles)(shape, tile, footprint))
    result: NDArray[np.float32] | None = None
    total = np.zeros(shape, np.float32)
    for done, one in enumerate(plan, start=1):
        batch = torch.from_numpy(read(image, one))[None]
        with torch.inference_mode():
            output = run(batch)[0].float().cpu().numpy()
        output = output[(slice(None), *one.crop)]
        if result is None:
            result = np.zeros((output.shape[0], *shape), np.float32)
        if blend:
            weight = _bump(output.shape[1:])
            result[(slice(None), *one.write)] += output * weight
            total[one.write] += weight
        else:
            result[(slice(None), *one.write)] = output
        if progress is not None:
            progress(done, len(plan))
    if result is None:
        raise ValueError("an image needs at least one pixel")
    return result / total if blend else result


def read(image: NDArray[np.float32], tile: Tile) -> NDArray[np.float32]:
    """Read a tile's input (c, *in) from (c, *space), mirrored where it reaches outside."""
    for axis, (part, size) in enumerate(zip(tile.read, image.shape[1:], strict=True), start=1):
        if part.start >= 0 and part.stop <= size:
            image = image[(slice(None),) * axis + (part,)]
        else:
            image = image.take(mirror(part.start, part.stop, size), axis=axis)
    return np.ascontiguousarray(image)


def choose_tile(footprint: Footprint, shape: Sequence[int], pixels: int) -> tuple[int, ...]:
    """Choose the largest legal tile of about `pixels` input pixels; the whole image if it fits."""
    whole = footprint.enclose(shape)
    if np.prod(whole) <= pixels:
        return whole
    ndim = len(whole)
    side = max(1, round(pixels ** (1 / ndim)))
    tile = footprint.fit([max(least, side) for least in footprint.least_tile])
    return tuple(min(t, w) for t, w in zip(tile, whole, strict=True))


def _average_flips(forward: Forward, ndim: int) -> Forward:
    axes = [
        [axis for axis, flipped in enumerate(choice, start=2) if flipped]
        for choice in product((False, True), repeat=ndim)
    ]

    def run(batch: Tensor) -> Tensor:
        total = forward(batch).float()
        for flipped in axes[1:]:
            total = total + torch.flip(forward(torch.flip(batch, flipped)), flipped)
        return total / len(axes)

    return run


def _bump(shape: Sequence[int]) -> NDArray[np.float32]:
    """Weights that fall off from a window's centre like a Gaussian of an eighth of its size."""
    weight = np.ones(shape, np.float32)
    for axis, n in enumerate(shape):
        distance = (np.arange(n) - (n - 1) / 2) / (n / 8 + 1e-9)
        line = np.maximum(np.exp(-(distance**2) / 2), 1e-3).astype(np.float32)
        weight *= line.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return weight
