"""A decoded case made ready once: to draw patches from, or to be judged whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unetkit.data.dataset import Sample
from unetkit.data.normalize import Normalization
from unetkit.targets import border_weights, distances, label_objects, part_touching, skeleton

_POSITIONS = 20_000  # pixels remembered per case, to centre patches on


@dataclass(frozen=True)
class Batch:
    """One training step's input and truth.

    Attributes:
        images: (b, c, *patch), normalised and augmented.
        labels: (b, *core) class indices, −1 ignored; `core` is the part the network predicts.
        weights: (b, *core) border weight map, or None.
        skeleton: (b, *core) class indices of the skeleton tube, or None.
        distance: (b, f, *core) signed distance to the contour of each foreground class, or None.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor | None = None
    skeleton: Tensor | None = None
    distance: Tensor | None = None


@dataclass(frozen=True)
class Wanted:
    """Which targets a batch must carry beside the labels.

    Attributes:
        border: w0 and sigma of the border weight map, or None.
        tube: radius of the skeleton tube, or None.
        distance: number of foreground classes the boundary loss needs distances of.
    """

    border: tuple[float, float] | None = None
    tube: int | None = None
    distance: int = 0


@dataclass(frozen=True)
class Prepared:
    """A case to draw patches from, in as little memory as loses nothing.

    Attributes:
        channels: of the image.
        soft: (c, *space) float32, what is interpolated: the image, then the border weights.
        hard: (*space) int8 or int16, what is copied: class indices, −1 ignored.
        foreground: flat indices of foreground pixels inside the field of view.
        everywhere: flat indices of pixels that count.
    """

    channels: int
    soft: Tensor
    hard: Tensor
    foreground: Tensor
    everywhere: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return sum(t.nbytes for t in (self.soft, self.hard, self.foreground, self.everywhere))


@dataclass(frozen=True)
class Whole:
    """A case to be judged whole.

    Attributes:
        batch: the normalised image and the targets of the loss, a batch of one, labels int16.
        labels: (*space) class indices, −1 where it does not count.
        fov: (*space) bool, the field of view.
    """

    batch: Batch
    labels: NDArray[np.int16]
    fov: NDArray[np.bool_]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        one = self.batch
        tensors = (one.images, one.labels, one.weights, one.skeleton, one.distance)
        return (
            self.labels.nbytes + self.fov.nbytes + sum(t.nbytes for t in tensors if t is not None)
        )


def prepare(sample: Sample, normalization: Normalization, wanted: Wanted, *, seed: int) -> Prepared:
    """Make a case ready to draw patches from; `seed` chooses the pixels they centre on."""
    chance = torch.Generator().manual_seed(seed)
    soft = [normalization.apply(sample.image)]
    sample = _parted(sample, wanted)
    if wanted.border:
        soft.append(_border(sample, wanted.border)[None])
    small = not sample.labels.size or sample.labels.max() <= np.iinfo(np.int8).max
    return Prepared(
        channels=len(soft[0]),
        soft=torch.from_numpy(np.concatenate(soft) if len(soft) > 1 else soft[0]),
        hard=torch.from_numpy(sample.labels.astype(np.int8 if small else np.int16)),
        foreground=_positions((sample.labels > 0) & sample.fov, chance),
        everywhere=_positions(sample.fov & (sample.labels >= 0), chance),
    )


def prepared_bytes(space: Sequence[int], channels: int, wanted: Wanted) -> int:
    """Say how much memory a prepared case of this size takes, in bytes."""
    maps = channels + bool(wanted.border)
    return prod(space) * (4 * maps + 1) + 2 * 4 * min(_POSITIONS, prod(space))


def whole(sample: Sample, normalization: Normalization, wanted: Wanted) -> Whole:
    """Make a whole case ready, unaugmented: what validation is measured on."""
    parted = _parted(sample, wanted)
    labels = torch.from_numpy(parted.labels)[None]
    weights = torch.from_numpy(_border(parted, wanted.border))[None] if wanted.border else None
    batch = Batch(
        images=torch.from_numpy(normalization.apply(sample.image))[None],
        labels=labels,
        weights=weights,
        skeleton=tubes(labels, wanted),
        distance=distance_maps(labels, wanted),
    )
    return Whole(batch, sample.labels, sample.fov)


def tubes(labels: Tensor, wanted: Wanted) -> Tensor | None:
    """Give the skeleton tubes of (b, *space) class indices, if they are wanted."""
    # On the augmented patch, as Kirchhoff 2024 does: a warped skeleton would be torn or thick.
    if wanted.tube is None:
        return None
    return torch.from_numpy(np.stack([skeleton(one.numpy(), wanted.tube) for one in labels]))


def distance_maps(labels: Tensor, wanted: Wanted) -> Tensor | None:
    """Give the signed distances (b, f, *space) of each foreground class, if they are wanted."""
    if not wanted.distance:
        return None
    classes = range(1, wanted.distance + 1)
    maps = [np.stack([distances(one.numpy() == k) for k in classes]) for one in labels]
    return torch.from_numpy(np.stack(maps))


def _positions(mask: NDArray[np.bool_], chance: torch.Generator) -> Tensor:
    """Draw flat indices of true pixels, with repetition; int32 where that suffices."""
    every = bool(mask.all())
    flat: NDArray[Any] = np.zeros(0, np.int64) if every else np.flatnonzero(mask)
    count = mask.size if every else len(flat)
    kind = torch.int32 if mask.size < 2**31 else torch.int64
    if not count:
        return torch.zeros(0, dtype=kind)
    pick = torch.randint(count, (min(count, _POSITIONS),), generator=chance)
    return (pick if every else torch.from_numpy(flat[pick.numpy()])).to(kind)


def _parted(sample: Sample, wanted: Wanted) -> Sample:
    """Open a gap between touching objects where border weights are to keep them apart."""
    if not wanted.border or sample.instances is None:
        return sample
    parted = part_touching(sample.instances)
    labels = np.where((sample.instances > 0) & (parted == 0), 0, sample.labels)
    return replace(sample, instances=parted, labels=labels.astype(np.int16))


def _border(sample: Sample, border: tuple[float, float]) -> NDArray[np.float32]:
    """Border weight map of a case; touching objects need ids, else connected pieces serve."""
    objects = sample.instances
    if objects is None:
        objects = label_objects(sample.labels > 0)
    return border_weights(objects, *border)
