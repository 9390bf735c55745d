"""Intensities → network input: one transform, chosen at training, stored, used at prediction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, model_validator

from unetkit.errors import InputError

if TYPE_CHECKING:
    from unetkit.data.dataset import Sample

Array = npt.NDArray[Any]

# A spread below this part of the mean is rounding, not signal.
_SMALLEST_SPREAD = 1e-6
_AT_ONCE = 2**20  # pixels counted in one go, which takes 8 bytes for each


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
        pooled = _pool((sample.image, sample.path) for sample in samples)
        if pooled is None:
            raise InputError("normalisation by dataset needs at least one image")
        return pooled

    def settle(self, windows: Iterable[Array]) -> Normalization:
        """Give the transform of one image that is too large to be seen at once.

        Args:
            windows: the image in parts (c, *window) that hold every pixel once; only looked at
                where the transform depends on the image.

        Returns:
            What may be applied to any part of the image.
        """
        if self.method != "image":
            return self
        return _pool((window, None) for window in windows) or self

    def apply(self, image: Array) -> npt.NDArray[np.float32]:
        """Transform (c, *space) into float32; NaN and infinite pixels become 0.

        Raises:
            InputError: the image has other channels than the stored statistics.
        """
        shift = self._shift(image)
        image = image.astype(np.float32)
        if shift is not None:
            mean, std = (v.astype(np.float32).reshape(-1, *[1] * (image.ndim - 1)) for v in shift)
            with np.errstate(invalid="ignore", over="ignore"):
                image -= mean
                image /= std
        # An odd pixel must be no more than an average one.
        if not np.isfinite(image).all():
            image[~np.isfinite(image)] = 0
        return image

    def _shift(self, image: Array) -> tuple[Array, Array] | None:
        """Give mean and spread per channel of what `image` is to be held against."""
        if self.method == "image":
            _, mean, variance = _statistics(image)
            return mean, _floored(np.sqrt(variance), mean)
        if self.mean is None or self.std is None:
            return None
        if len(image) != len(self.mean):
            raise InputError(
                f"the image has {len(image)} channels, the model was trained on {len(self.mean)}",
                cure="give the channels that the training images had",
            )
        return np.array(self.mean), np.array(self.std)


def _pool(images: Iterable[tuple[Array, object]]) -> Normalization | None:
    """Measure images as if they were one; each comes with where it is from."""
    count, mean, square = (np.zeros(0) for _ in range(3))
    for image, where in images:
        n, m, v = _statistics(image)
        if not len(count):
            count, mean, square = (np.zeros(len(n)) for _ in range(3))
        if len(n) != len(count):
            raise InputError(f"has {len(n)} channels where others have {len(count)}", where=where)
        total = np.maximum(count + n, 1)
        square = square + v * n + (m - mean) ** 2 * count * n / total
        mean, count = mean + (m - mean) * n / total, count + n
    if not len(count):
        return None
    std = _floored(np.sqrt(square / np.maximum(count, 1)), mean)
    return Normalization(method="dataset", mean=tuple(mean.tolist()), std=tuple(std.tolist()))


def _statistics(image: Array) -> tuple[Array, Array, Array]:
    """Give per channel: number, mean and variance of the finite pixels, in double precision."""
    if image.dtype in (np.uint8, np.uint16) and image.dtype.isnative:
        return _counted_statistics(image)
    flat = image.reshape(len(image), -1)
    finite = np.isfinite(flat)
    # `where` costs a factor of three, so it is kept for the images that need it.
    where: Any = True if finite.all() else finite
    count = finite.sum(1)
    some = np.maximum(count, 1)
    mean = flat.sum(1, dtype=np.float64, where=where) / some
    offset = np.subtract(flat, mean[:, None], where=where, out=np.zeros(flat.shape))
    return count.astype(np.float64), mean, np.einsum("cn,cn->c", offset, offset) / some


def _counted_statistics(image: Array) -> tuple[Array, Array, Array]:
    """The same of few different numbers, which are counted: exact, and several times faster."""
    numbers = np.arange(np.iinfo(image.dtype).max + 1, dtype=np.float64)
    rows = []
    for channel in image.reshape(len(image), -1):
        count = np.zeros(len(numbers), np.int64)
        for part in np.array_split(channel, 1 + channel.size // _AT_ONCE):
            count += np.bincount(part, minlength=len(numbers))
        total = max(int(count.sum()), 1)
        mean = float(count @ numbers) / total
        rows.append((float(count.sum()), mean, float(count @ (numbers - mean) ** 2) / total))
    n, mean, variance = np.array(rows).T
    return n, mean, variance


def _floored(std: Array, mean: Array) -> Array:
    return np.where(std > _SMALLEST_SPREAD * np.abs(mean), std, 1.0)
