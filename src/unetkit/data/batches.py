"""Batches of random patches: cases prepared when their turn comes, warped on the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from unetkit.augment import AugmentConfig, change_intensity, sample_field, warp
from unetkit.data.cache import Cache, Memory
from unetkit.data.dataset import Sample
from unetkit.data.normalize import Normalization
from unetkit.data.prepared import (
    Batch,
    Prepared,
    Wanted,
    distance_maps,
    prepare,
    prepared_bytes,
    tubes,
    whole,
)
from unetkit.errors import InputError

__all__ = ["Batch", "Memory", "Patches", "Samples", "Wanted", "prepared_bytes", "whole"]

_ROUND, _CASE = 1, 2  # what a seed is for


class Samples(Protocol):
    """Decoded cases by number: a list, or what decodes them one at a time."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int, /) -> Sample:
        """Decode one, whichever thread asks."""
        ...


class Patches:
    """An endless source of batches whose only state is a count of turns and a random generator.

    A case is decoded and prepared when its turn comes and kept as memory allows; the cases whose
    turn comes next are prepared meanwhile. What is drawn depends on neither.

    Args:
        samples: cases.
        normalization: applied once to every image.
        patch: size of the network's input.
        core: size of its output; the labels are cropped to it.
        batch: patches per step.
        foreground: share of patches centred on a foreground pixel; the rest lies anywhere in the
            field of view.
        augment: ranges of the random changes.
        wanted: further targets.
        seed: of everything that is drawn.
        memory: where prepared cases are kept; by default all are, and none is prepared ahead.
        bad: numbers of cases that have no turn.
        on_bad: called with a case that cannot be decoded, and why; the next takes its turn.
            Without it, the error is raised.
    """

    def __init__(
        self,
        samples: Samples,
        normalization: Normalization,
        *,
        patch: Sequence[int],
        core: Sequence[int],
        batch: int,
        foreground: float,
        augment: AugmentConfig,
        wanted: Wanted | None = None,
        seed: int = 0,
        memory: Memory | None = None,
        bad: Iterable[int] = (),
        on_bad: Callable[[int, InputError], None] | None = None,
    ) -> None:
        self.patch, self.core, self.batch = tuple(patch), tuple(core), batch
        self.foreground, self.augment, self.wanted = foreground, augment, wanted or Wanted()
        self.generator = torch.Generator().manual_seed(seed)
        self._count, self._seed, self._turns = len(samples), seed, 0
        self._bad, self._on_bad = set(bad), on_bad
        self._order = lru_cache(maxsize=2)(self._shuffled)

        def make(index: int) -> Prepared:
            chosen = _mixed(seed, _CASE, index)
            return prepare(samples[index], normalization, self.wanted, seed=chosen)

        self._cache = Cache(make, self._count, memory or Memory())

    def draw(self) -> Batch:
        """Draw the next batch; every case has its turn before one comes twice."""
        images, labels, weights = [], [], []
        for _ in range(self.batch):
            case = self._next()
            field = sample_field(self.augment, self.patch, self.generator)
            centre = self._centre(case).view(-1, *[1] * len(self.patch))
            soft = warp(case.soft, field + centre, "linear")
            labels.append(copied(case.hard, _core(field, self.core) + centre))
            images.append(soft[: case.channels])
            if self.wanted.border:
                weights.append(_core(soft[case.channels :], self.core)[0])
        truth = torch.stack(labels).long()
        return Batch(
            images=change_intensity(self.augment, torch.stack(images), self.generator),
            labels=truth,
            weights=torch.stack(weights) if weights else None,
            skeleton=tubes(truth, self.wanted),
            distance=distance_maps(truth, self.wanted),
        )

    def state(self) -> Tensor:
        """Everything that decides the coming batches: how many turns there were, the generator."""
        turns = torch.tensor([self._turns], dtype=torch.int64).view(torch.uint8)
        return torch.cat([turns, self.generator.get_state()])

    def restore(self, state: Tensor) -> None:
        """Continue exactly where `state` was taken."""
        self._turns = int(state[:8].clone().view(torch.int64))
        self.generator.set_state(state[8:].clone())

    def seen(self) -> list[int]:
        """Give the numbers of the cases that have had a turn, in their own order."""
        first = self._order(0)[: self._turns]
        return sorted(index for index in first if index not in self._bad)

    def _next(self) -> Prepared:
        while True:
            index = self._turn(self._turns)
            self._turns += 1
            if index in self._bad:
                continue
            try:
                return self._cache.take(index, self._coming())
            except InputError as error:
                if self._on_bad is None:
                    raise
                self._bad.add(index)
                self._on_bad(index, error)
                if len(self._bad) == self._count:
                    raise

    def _coming(self) -> Iterator[int]:
        """Name the cases whose turn comes, this round's and the next's."""
        for turn in range(self._turns, self._turns + self._count):
            index = self._turn(turn)
            if index not in self._bad:
                yield index

    def _turn(self, turn: int) -> int:
        return self._order(turn // self._count)[turn % self._count]

    def _shuffled(self, number: int) -> list[int]:
        """Give the order of a round; it depends on the seed alone, so that it is known ahead."""
        chance = torch.Generator().manual_seed(_mixed(self._seed, _ROUND, number))
        order: list[int] = torch.randperm(self._count, generator=chance).tolist()
        return order

    def _centre(self, case: Prepared) -> Tensor:
        shape = case.hard.shape
        middle = [(n - 1) / 2 for n in shape]
        if not len(case.everywhere):
            return torch.tensor(middle)
        positions = case.everywhere
        if len(case.foreground) and float(self._uniform()) < self.foreground:
            positions = case.foreground
        row = int(torch.randint(len(positions), (), generator=self.generator))
        jitter: list[float] = (torch.rand(len(shape), generator=self.generator) - 0.5).tolist()
        flat, centre = int(positions[row]), list[float]()
        for axis in reversed(range(len(shape))):
            flat, at = divmod(flat, shape[axis])
            half = (self.core[axis] - 1) / 2
            low = min(half, middle[axis])
            high = max(shape[axis] - 1 - half, middle[axis])
            centre.append(min(max(at + jitter[axis] * half, low), high))
        return torch.tensor(centre[::-1])

    def _uniform(self) -> Tensor:
        return torch.rand((), generator=self.generator)


def copied(labels: Tensor, where: Tensor) -> Tensor:
    """Read (*space) at the pixels nearest to (ndim, *patch), mirrored outside; gives (*patch).

    As `warp` in its nearest mode, for integers as they are: a whole volume of small integers need
    not become floats to have a patch read from it.
    """
    kind = torch.int32 if labels.numel() < 2**31 else torch.int64
    flat = torch.zeros(where.shape[1:], dtype=kind)
    for at, n in zip(where, labels.shape, strict=True):
        last = n - 1
        at = at.abs()
        if float(at.max()) > 2 * last:  # mirrored more than once
            at = torch.remainder(at, max(2 * last, 1))
        at = at.sub_(last).abs_().neg_().add_(last)
        flat = flat.mul_(n).add_(at.round_().clamp_(0, last).to(kind))
    return labels.flatten().index_select(0, flat.flatten()).view(flat.shape)


def _mixed(*numbers: int) -> int:
    """Make one seed of several numbers, so that neighbours have nothing in common."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _core(arrays: Tensor, core: Sequence[int]) -> Tensor:
    """Crop (c, *patch) to its centre."""
    for axis, n in enumerate(core, start=1):
        arrays = arrays.narrow(axis, (arrays.shape[axis] - n) // 2, n)
    return arrays
