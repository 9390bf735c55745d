"""Augmentation: one warp for everything that has a place, then changes of intensity.

Shift, rotation, scale, mirroring, elastic deformation and the crop of the patch are composed into
one field of coordinates, and every array is interpolated through it exactly once: image, labels,
weight map and valid mask stay aligned, and nothing is blurred twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Generator, Tensor
from torch.nn import functional as F


class AugmentConfig(BaseModel):
    """Ranges of the random changes; 0 switches one off.

    Attributes:
        flip: mirror each axis with probability one half.
        rotate: largest angle in degrees, uniform in ±rotate; in 3D about each axis.
        scale: factors log-uniform between 1/(1+scale) and 1+scale.
        elastic: deviation in pixels of the displacements on the coarse grid (the paper: 10).
        elastic_grid: points of the coarse grid per axis (the paper: 3).
        brightness: deviation of an added constant, in standard deviations of the image.
        contrast: factors uniform in 1 ± contrast.
        gamma: exponents log-uniform between 1/(1+gamma) and 1+gamma.
        channel: deviation of a constant added per channel.
        noise: largest deviation of added Gaussian noise.
        blur: largest deviation in pixels of a Gaussian blur, applied to one patch in five.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flip: bool = True
    rotate: float = Field(180.0, ge=0, le=180)
    scale: float = Field(0.4, ge=0)
    elastic: float = Field(8.0, ge=0)
    elastic_grid: int = Field(3, ge=2)
    brightness: float = Field(0.4, ge=0)
    contrast: float = Field(0.4, ge=0, lt=1)
    gamma: float = Field(0.6, ge=0)
    channel: float = Field(0.3, ge=0)
    noise: float = Field(0.2, ge=0)
    blur: float = Field(1.5, ge=0)


NOTHING = AugmentConfig(
    flip=False, rotate=0, scale=0, elastic=0, brightness=0, contrast=0, gamma=0, channel=0, noise=0,
    blur=0,
)  # fmt: skip


def sample_field(config: AugmentConfig, patch: Sequence[int], generator: Generator) -> Tensor:
    """Draw where each pixel of a patch comes from, as offsets from the patch's centre.

    Args:
        config: ranges of the random changes.
        patch: size per axis.
        generator: source of chance.

    Returns:
        Offsets in source pixels, (ndim, *patch); without augmentation the patch's own grid.
    """
    ndim = len(patch)
    lines = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in patch]
    grid = torch.stack(torch.meshgrid(*lines, indexing="ij"))
    matrix = _matrix(config, ndim, generator)
    field = torch.einsum("ij,j...->i...", matrix, grid)
    if config.elastic:
        coarse = torch.randn(ndim, *[config.elastic_grid] * ndim, generator=generator)
        field = field + grow(coarse * config.elastic, patch)
    return field


def grow(coarse: Tensor, size: Sequence[int]) -> Tensor:
    """Interpolate (c, *coarse) to (c, *size) bicubically, the outer points on the outer pixels."""
    for axis, n in enumerate(size, start=1):
        points = coarse.shape[axis]
        # The weights of a bicubic interpolation along one axis, read off from unit vectors.
        weights = F.interpolate(
            torch.eye(points)[None, None], size=(n, points), mode="bicubic", align_corners=True
        )[0, 0]
        coarse = torch.movedim(torch.tensordot(weights, coarse, dims=([1], [axis])), 0, axis)
    return coarse


def warp(arrays: Tensor, where: Tensor, mode: Literal["linear", "nearest"]) -> Tensor:
    """Read (c, *space) at the coordinates (ndim, *patch), mirrored outside; gives (c, *patch)."""
    space = arrays.shape[1:]
    shape = [-1, *[1] * len(space)]
    last = torch.tensor([max(n - 1, 1) for n in space], dtype=torch.float32).view(shape)
    grid = torch.movedim((2 * where / last - 1).flip(0), 0, -1)  # grid_sample wants x before y
    return F.grid_sample(
        arrays[None],
        grid[None],
        mode="bilinear" if mode == "linear" else "nearest",
        padding_mode="reflection",
        align_corners=True,
    )[0]


def change_intensity(config: AugmentConfig, images: Tensor, generator: Generator) -> Tensor:
    """Change brightness, contrast, gamma, channels, noise and blur of normalised images.

    Args:
        config: ranges of the random changes.
        images: (b, c, *space), about zero mean and unit deviation.
        generator: source of chance.

    Returns:
        The changed images, same shape.
    """
    b, c, *space = images.shape
    ones = [1] * len(space)
    axes = tuple(range(1, images.ndim))

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, *ones, generator=generator) * 2 - 1

    if config.gamma:
        low, high = images.amin(axes, keepdim=True), images.amax(axes, keepdim=True)
        exponent = torch.exp(uniform(b, 1) * math.log1p(config.gamma))
        unit = ((images - low) / (high - low).clamp_min(1e-6)).pow(exponent)
        before = images.std(axes, keepdim=True)
        centred = unit - unit.mean(axes, keepdim=True)
        scale = before / unit.std(axes, keepdim=True).clamp_min(1e-6)
        images = centred * scale + images.mean(axes, keepdim=True)
    if config.contrast:
        images = images * (1 + config.contrast * uniform(b, 1))
    if config.brightness or config.channel:
        shift = config.brightness * torch.randn(b, 1, *ones, generator=generator)
        images = images + shift + config.channel * torch.randn(b, c, *ones, generator=generator)
    if config.blur:
        chosen = torch.rand(b, generator=generator) < 0.2
        widths = 0.3 + config.blur * torch.rand(b, generator=generator)
        if chosen.any():
            images = images.clone()
            for index in chosen.nonzero().flatten().tolist():
                images[index] = _blur(images[index], float(widths[index]))
    if config.noise:
        strength = config.noise * torch.rand(b, 1, *ones, generator=generator)
        images = images + strength * torch.randn(images.shape, generator=generator)
    return images


def _matrix(config: AugmentConfig, ndim: int, generator: Generator) -> Tensor:
    """Scale, rotation and mirroring as one matrix on (z,) y, x."""

    def uniform() -> float:
        return float(torch.rand((), generator=generator)) * 2 - 1

    matrix = torch.eye(ndim) * math.exp(uniform() * math.log1p(config.scale))
    planes = [(0, 1)] if ndim == 2 else [(1, 2), (0, 1), (0, 2)]
    for i, j in planes:
        angle = math.radians(config.rotate) * uniform()
        turn = torch.eye(ndim)
        turn[i, i] = turn[j, j] = math.cos(angle)
        turn[i, j], turn[j, i] = -math.sin(angle), math.sin(angle)
        matrix = turn @ matrix
    if config.flip:
        signs = torch.randint(0, 2, (ndim,), generator=generator) * 2.0 - 1
        matrix = matrix * signs
    return matrix


def _blur(image: Tensor, deviation: float) -> Tensor:
    """Gaussian blur of (c, *space), borders repeated."""
    radius = max(1, math.ceil(3 * deviation))
    line = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / deviation) ** 2)
    line = line / line.sum()
    for axis in range(1, image.ndim):
        n = image.shape[axis]
        index = torch.arange(-radius, n + radius).clamp(0, n - 1)
        padded = image.index_select(axis, index)
        image = sum(
            (float(w) * padded.narrow(axis, k, n) for k, w in enumerate(line)),
            start=torch.zeros(()),
        )
    return image
