"""Batches of random patches: decoded once into memory, warped and changed on the way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unetkit.augment import AugmentConfig, change_intensity, sample_field, warp
from unetkit.data.dataset import Sample
from unetkit.data.normalize import Normalization
from unetkit.targets import border_weights, distances, label_objects, part_touching, skeleton

_POSITIONS = 20_000  # foreground pixels remembered per case, to centre patches on


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


class Patches:
    """An endless source of batches whose only state is one random generator.

    Args:
        samples: decoded cases.
        normalization: applied once to every image.
        patch: size of the network's input.
        core: size of its output; the labels are cropped to it.
        batch: patches per step.
        foreground: share of patches centred on a foreground pixel; the rest lies anywhere in the
            field of view.
        augment: ranges of the random changes.
        wanted: further targets.
        seed: of the generator.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        normalization: Normalization,
        *,
        patch: Sequence[int],
        core: Sequence[int],
        batch: int,
        foreground: float,
        augment: AugmentConfig,
        wanted: Wanted | None = None,
        seed: int = 0,
    ) -> None:
        self.patch, self.core, self.batch = tuple(patch), tuple(core), batch
        self.foreground, self.augment, self.wanted = foreground, augment, wanted or Wanted()
        self.generator = torch.Generator().manual_seed(seed)
        self._cases = [self._prepare(sample, normalization) for sample in samples]
        self._turn: list[int] = []

    def draw(self) -> Batch:
        """Draw the next batch; every case has its turn before one comes twice."""
        images, labels, weights = [], [], []
        for _ in range(self.batch):
            case = self._cases[self._next()]
            field = sample_field(self.augment, self.patch, self.generator)
            centre = self._centre(case).view(-1, *[1] * len(self.patch))
            soft = warp(case.soft, field + centre, "linear")
            hard = warp(case.hard, _core(field, self.core) + centre, "nearest")
            images.append(soft[: case.channels])
            labels.append(hard[0])
            if self.wanted.border:
                weights.append(_core(soft[case.channels :], self.core)[0])
        truth = torch.stack(labels).round().long()
        return Batch(
            images=change_intensity(self.augment, torch.stack(images), self.generator),
            labels=truth,
            weights=torch.stack(weights) if weights else None,
            skeleton=_tubes(truth, self.wanted),
            distance=_distances(truth, self.wanted),
        )

    def state(self) -> Tensor:
        """Everything that decides the coming batches: the generator, then the cases still due."""
        due = torch.tensor([len(self._turn), *self._turn], dtype=torch.int64).view(torch.uint8)
        return torch.cat([due, self.generator.get_state()])

    def restore(self, state: Tensor) -> None:
        """Continue exactly where `state` was taken."""
        count = int(state[:8].view(torch.int64))
        end = 8 * (count + 1)
        self._turn = state[8:end].clone().view(torch.int64).tolist()
        self.generator.set_state(state[end:].clone())

    def _next(self) -> int:
        if not self._turn:
            self._turn = torch.randperm(len(self._cases), generator=self.generator).tolist()
        return self._turn.pop()

    def _centre(self, case: _Case) -> Tensor:
        space = torch.tensor(case.soft.shape[1:], dtype=torch.float32)
        half = (torch.tensor(self.core, dtype=torch.float32) - 1) / 2
        low, high = (
            torch.minimum(half, (space - 1) / 2),
            torch.maximum(space - 1 - half, (space - 1) / 2),
        )
        if not len(case.everywhere):
            return (space - 1) / 2
        positions = case.everywhere
        if len(case.positions) and float(self._uniform()) < self.foreground:
            positions = case.positions
        row = int(torch.randint(len(positions), (), generator=self.generator))
        jitter = torch.rand(len(space), generator=self.generator) - 0.5
        return torch.clamp(positions[row] + jitter * half, low, high)

    def _uniform(self) -> Tensor:
        return torch.rand((), generator=self.generator)

    def _prepare(self, sample: Sample, normalization: Normalization) -> _Case:
        soft = [normalization.apply(sample.image)]
        sample = _parted(sample, self.wanted)
        if self.wanted.border:
            soft.append(_border(sample, self.wanted.border)[None])
        return _Case(
            channels=len(soft[0]),
            soft=torch.from_numpy(np.concatenate(soft)),
            hard=torch.from_numpy(sample.labels.astype(np.float32))[None],
            positions=self._positions((sample.labels > 0) & sample.fov),
            everywhere=self._positions(sample.fov & (sample.labels >= 0)),
        )

    def _positions(self, mask: NDArray[np.bool_]) -> Tensor:
        flat = np.flatnonzero(mask)
        if not len(flat):
            return torch.zeros(0, mask.ndim)
        pick = torch.randint(len(flat), (min(len(flat), _POSITIONS),), generator=self.generator)
        index = np.unravel_index(flat[pick.numpy()], mask.shape)
        return torch.from_numpy(np.stack(index, axis=1).astype(np.float32))


def whole(sample: Sample, normalization: Normalization, wanted: Wanted) -> Batch:
    """Give a whole case as a batch of one, unaugmented: what validation is measured on."""
    sample = _parted(sample, wanted)
    labels = torch.from_numpy(sample.labels.astype(np.int64))[None]
    weights = torch.from_numpy(_border(sample, wanted.border))[None] if wanted.border else None
    return Batch(
        images=torch.from_numpy(normalization.apply(sample.image))[None],
        labels=labels,
        weights=weights,
        skeleton=_tubes(labels, wanted),
        distance=_distances(labels, wanted),
    )


@dataclass(frozen=True)
class _Case:
    """A decoded case: what is interpolated, what is copied, and where patches may centre."""

    channels: int
    soft: Tensor
    hard: Tensor
    positions: Tensor
    everywhere: Tensor


def _core(arrays: Tensor, core: Sequence[int]) -> Tensor:
    """Crop (c, *patch) to its centre."""
    for axis, n in enumerate(core, start=1):
        arrays = arrays.narrow(axis, (arrays.shape[axis] - n) // 2, n)
    return arrays


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


def _tubes(labels: Tensor, wanted: Wanted) -> Tensor | None:
    # On the augmented patch, as Kirchhoff 2024 does: a warped skeleton would be torn or thick.
    if wanted.tube is None:
        return None
    return torch.from_numpy(np.stack([skeleton(one.numpy(), wanted.tube) for one in labels]))


def _distances(labels: Tensor, wanted: Wanted) -> Tensor | None:
    if not wanted.distance:
        return None
    classes = range(1, wanted.distance + 1)
    maps = [np.stack([distances(one.numpy() == k) for k in classes]) for one in labels]
    return torch.from_numpy(np.stack(maps))
