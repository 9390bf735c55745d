"""Which cases a run may see: a fold of a cross-validation, or only a few training images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field, model_validator

from unetkit.data.dataset import Dataset
from unetkit.data.layout import read_groups, series, shuffled
from unetkit.errors import InputError

_VAL = 0.15  # share of a fold's cases that is kept for validation


class PortionConfig(BaseModel):
    """The part of a data set that a run uses.

    Attributes:
        train_size: train on so many cases only, drawn by the recipe's seed so that a smaller
            number is a subset of a larger one; `null` takes all.
        folds: cross-validate instead of the set's own split: all its cases in so many parts.
        fold: which part is `test`, from 0; those that follow it are `val`, the rest is `train`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train_size: int | None = Field(None, ge=1)
    folds: int | None = Field(None, ge=2)
    fold: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _there(self) -> PortionConfig:
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} of {self.folds}: they are counted from 0")
        return self


def portion(dataset: Dataset, config: PortionConfig, seed: int = 0) -> Dataset:
    """Give the data set with the split that the config asks for.

    Folds never part a group: the frames of a video or the slices of a stack, as `groups` knows
    them. Where none are known, folds are runs of neighbouring names, so that at most the ends of a
    series that nobody declared lie in two of them.

    Raises:
        InputError: fewer groups than folds, or fewer training cases than asked for.
    """
    if config.folds is not None:
        dataset = replace(dataset, split=_fold(dataset, config.folds, config.fold))
    if config.train_size is not None:
        train = dataset.select("train")
        if config.train_size > len(train):
            raise InputError(
                f"train_size is {config.train_size}, but there are {len(train)} training cases",
                where=dataset.root,
                cure="lower data.train_size, or leave it out to take all",
            )
        chosen = set(shuffled([case.id for case in train], seed)[: config.train_size])
        kept = tuple(case.id for case in train if case.id in chosen)
        dataset = replace(dataset, split={**dataset.split, "train": kept})
    return dataset


def groups(dataset: Dataset) -> dict[str, str] | None:
    """Say which cases belong together: case → group, or None where every case stands alone.

    As the layout knows them (`Case.group`); else read from `groups.json` beside `images/` (case →
    group); else recognised by names such as `01_t003` or `brain7_slice_12`, if there are at least
    two series of at least two cases. Where only some cases have a group, each other stands alone.

    Raises:
        InputError: `groups.json` is damaged, or leaves a case out.
    """
    if any(case.group for case in dataset.cases):
        return {case.id: case.group or f"{case.id} alone" for case in dataset.cases}
    ids = [case.id for case in dataset.cases]
    path = dataset.root / "groups.json"
    return read_groups(path, ids) if path.is_file() else series(ids)


def _fold(dataset: Dataset, folds: int, fold: int) -> dict[str, tuple[str, ...]]:
    """Split all cases of train, val and test anew; lists kept apart by the user stay apart."""
    own = ("train", "val", "test")
    listed = {i for name in own for i in dataset.split.get(name, ())}
    ids = [case.id for case in dataset.cases if case.id in listed]
    known = groups(dataset) or {i: i for i in ids}
    order = list(dict.fromkeys(known[i] for i in ids))
    blocks = _blocks(order, folds)
    if len(order) < folds or len(order) - max(map(len, blocks)) < 2:  # one for val, one for train
        few = f"at most {len(order)}" if len(order) < folds else f"{len(order)}"
        raise InputError(
            f"{len(order)} groups of cases cannot be parted into {folds} folds with a validation "
            "part",
            where=dataset.root,
            cure=f"set data.folds to {few}" if len(order) >= 3 else "add cases",
        )
    size = Counter(known[i] for i in ids)
    test = blocks[fold]
    start = order.index(test[-1]) + 1
    tested = set(test)
    behind = [name for name in order[start:] + order[:start] if name not in tested]
    val: list[str] = []
    while not val or (
        sum(size[n] for n in val) < _VAL * len(ids) and len(behind) - len(val) > 1
    ):  # at least one group stays for training
        val.append(behind[len(val)])
    names = {**dict.fromkeys(val, "val"), **dict.fromkeys(test, "test")}
    parts = {part: tuple(i for i in ids if names.get(known[i], "train") == part) for part in own}
    return parts | {name: part for name, part in dataset.split.items() if name not in own}


def _blocks(order: Sequence[str], folds: int) -> list[Sequence[str]]:
    ends = [round(k * len(order) / folds) for k in range(folds + 1)]
    return [order[a:b] for a, b in pairwise(ends)]
