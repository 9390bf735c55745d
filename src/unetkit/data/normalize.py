"""Intensities → network input: one transform, chosen at training, stored, used at prediction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, model_validator

from unetkit.data.dataset import Sample
from unetkit.errors import InputError

Array = npt.NDArray[Any]

# A spread below this part of the mean is rounding, not signal.
_SMALLEST_SPREAD = 1e-6


class Normalization(BaseModel):
    """The transform that stands between a file's intensities and the network.

    Attributes:
        method: "image" subtracts the mean and divides by the standard deviation of each channel
            of the image at hand; "dataset" uses the stored `mean` and `std`; "none" passes on.
        mean: per channel, for "dataset".
        std: per channel, for "dataset".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["image", "dataset", "none"] = "image"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.method == "dataset":
            if self.mean is None or self.std is None or len(self.mean) != len(self.std):
                raise ValueError("normalisation by dataset needs a mean and a std per channel")
            if not np.isfinite([*self.mean, *self.std]).all() or min(self.std) <= 0:
                raise ValueError("mean and std must be finite, and std positive")
        return self

    @classmethod
    def fit(
        cls, method: Literal["image", "dataset", "none"], samples: Iterable[Sample]
    ) -> Normalization:
        """Choose the transform; only "dataset" looks at the samples, one at a time.

        Every finite pixel counts once, as in one large image (pairwise update of Chan, Golub and
        LeVeque 1979, so that nothing is held in memory).

        Raises:
            InputError: "dataset" without a sample, or with different channel counts.
        """
        if method != "dataset":
            return cls(method=method)
        count, mean, square = (np.zeros(0) for _ in range(3))
        for sample in samples:
            n, m, v = _statistics(sample.image)
            if not len(count):
                count, mean, square = (np.zeros(len(n)) for _ in range(3))
            if len(n) != len(count):
                raise InputError(
                    f"has {len(n)} channels where others have {len(count)}", where=sample.path
                )
            total = np.maximum(count + n, 1)
            square = square + v * n + (m - mean) ** 2 * count * n / total
            mean, count = mean + (m - mean) * n / total, count + n
        if not len(count):
            raise InputError("normalisation by dataset needs at least one image")
        std = _floored(np.sqrt(square / np.maximum(count, 1)), mean)
        return cls(method=method, mean=tuple(mean.tolist()), std=tuple(std.tolist()))

    def apply(self, image: Array) -> npt.NDArray[np.float32]:
        """Transform (c, *space) into float32; NaN and infinite pixels become 0.

        Raises:
            InputError: the image has other channels than the stored statistics.
        """
        image = image.astype(np.float32)
        if self.method == "image":
            _, mean, variance = _statistics(image)
            _shift(image, mean, _floored(np.sqrt(variance), mean))
        elif self.mean is not None and self.std is not None:
            if len(image) != len(self.mean):
                raise InputError(
                    f"the image has {len(image)} channels, the model was trained on "
                    f"{len(self.mean)}",
                    cure="give the channels that the training images had",
                )
            _shift(image, np.array(self.mean), np.array(self.std))
        # An odd pixel must be no more than an average one.
        if not np.isfinite(image).all():
            image[~np.isfinite(image)] = 0
        return image


def _statistics(image: Array) -> tuple[Array, Array, Array]:
    """Give per channel: number, mean and variance of the finite pixels, in double precision."""
    flat = image.reshape(len(image), -1)
    finite = np.isfinite(flat)
    # `where` costs a factor of three, so it is kept for the images that need it.
    where: Any = True if finite.all() else finite
    count = finite.sum(1)
    some = np.maximum(count, 1)
    mean = flat.sum(1, dtype=np.float64, where=where) / some
    offset = np.subtract(flat, mean[:, None], where=where, out=np.zeros(flat.shape))
    return count.astype(np.float64), mean, np.einsum("cn,cn->c", offset, offset) / some


def _floored(std: Array, mean: Array) -> Array:
    return np.where(std > _SMALLEST_SPREAD * np.abs(mean), std, 1.0)


def _shift(image: Array, mean: Array, std: Array) -> None:
    shape = (-1,) + (1,) * (image.ndim - 1)
    with np.errstate(invalid="ignore", over="ignore"):
        image -= mean.astype(np.float32).reshape(shape)
        image /= std.astype(np.float32).reshape(shape)
