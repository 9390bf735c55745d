"""From the rows of a study to what may be said: estimates, the best and its equals, effects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import InputError, nearest
from unetkit.metrics import lower_is_better
from unetkit.study.comparison import (
    Estimate,
    Ranking,
    difference,
    mean_estimate,
    rank,
    spread,
)
from unetkit.study.effects import Fit, main_effects, skip_columns
from unetkit.study.grid import StudyConfig
from unetkit.study.table import Judged, Row

# Metrics from 0 to 1.
_SHARES = {
    "dice", "iou", "recall", "precision", "specificity", "accuracy", "balanced_accuracy",
    "pixel_error", "roc_auc", "average_precision", "cl_dice", "nsd",
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """What repeats over seeds and folds share: one place on every axis.

    Attributes:
        name: in words, unique within its data set.
        levels: axis → label.
        runs: that are done.
        failed: that are not, with their errors.
        chosen: mean over runs of the choosing metric on the choosing split; nan without runs.
        scores: metric → estimate on the reported split, at each run's own threshold.
        fixed: the same at a threshold of 0.5; empty for several classes.
        spread: metric → standard deviation over seeds, and over images.
        cost: parameters, gflops, seconds, memory_mib: medians over runs.
    """

    name: str
    levels: Mapping[str, str]
    runs: int
    failed: tuple[str, ...]
    chosen: float
    scores: Mapping[str, Estimate]
    fixed: Mapping[str, Estimate]
    spread: Mapping[str, tuple[float, float]]
    cost: Mapping[str, float]


@dataclass(frozen=True)
class Part:
    """The findings on one data set.

    Attributes:
        dataset: its name.
        settings: in the order of the study.
        best: name of the setting with the best score on the choosing split; None without runs.
        ranking: every setting against it on the reported split, at the runs' own thresholds.
        fit: main effects of the axes on the reported score; None with one setting.
        protocol: under which the reported scores were taken.
        choosers: images on the choosing split.
    """

    dataset: str
    settings: tuple[Setting, ...]
    best: str | None
    ranking: Ranking | None
    fit: Fit | None
    protocol: Mapping[str, Any]
    choosers: int

    def setting(self, name: str) -> Setting:
        """Give the setting of that name."""
        return next(setting for setting in self.settings if setting.name == name)


@dataclass(frozen=True)
class Findings:
    """What a study found.

    Attributes:
        study: the study.
        parts: by data set.
        metric: the choosing metric.
        lower: whether lower values of it are better.
        faults: why this is no result; empty where it is one.
        runs: how many are done.
        failed: how many failed.
        waiting: how many are not done yet.
        seconds: of training, summed over runs.
    """

    study: StudyConfig
    parts: tuple[Part, ...]
    metric: str
    lower: bool
    faults: tuple[str, ...]
    runs: int
    failed: int
    waiting: int
    seconds: float


def find(study: StudyConfig, rows: Sequence[Row]) -> Findings:
    """Work out what the rows say, by the study's own rule of choice."""
    metric = study.select.metric
    lower = lower_is_better(metric)
    by_dataset: dict[str, list[Row]] = {}
    for row in rows:
        by_dataset.setdefault(row.cell.dataset, []).append(row)
    done = [row for row in rows if row.status == "done"]
    return Findings(
        study=study,
        parts=tuple(_part(study, name, part, lower) for name, part in by_dataset.items()),
        metric=metric,
        lower=lower,
        faults=tuple(_faults(study)),
        runs=len(done),
        failed=sum(row.status == "failed" for row in rows),
        waiting=sum(row.status in ("waiting", "running") for row in rows),
        seconds=sum(row.cost.get("seconds", 0.0) for row in done),
    )


def compare(
    study: StudyConfig,
    rows: Sequence[Row],
    a: str,
    b: str,
    *,
    dataset: str | None = None,
    metric: str | None = None,
    fixed: bool = False,
) -> Estimate:
    """Give a − b of two settings that were named beforehand, over the same seeds and images.

    Args:
        study: the study.
        rows: its runs.
        a: name of a setting, such as "depth 4, skips 1001".
        b: name of another.
        dataset: which, if the study has several.
        metric: default: the one that chooses.
        fixed: at a threshold of 0.5 instead of each run's own.

    Raises:
        InputError: no such setting or data set.
    """
    metric = metric or study.select.metric
    there = dict.fromkeys(row.cell.dataset for row in rows)
    dataset = dataset or next(iter(there))
    if dataset not in there:
        raise InputError(f"no data set {dataset}", where=study.name, cure=nearest(dataset, there))
    seeds = list(dict.fromkeys(row.cell.seed for row in rows))
    groups: dict[str, list[tuple[Row, Judged | None]]] = {}
    for row in rows:
        if row.cell.dataset == dataset:
            judged = row.fixed if fixed else row.scores
            groups.setdefault(name_of(row.cell.levels), []).append((row, judged))
    for name in (a, b):
        if name not in groups:
            raise InputError(f"no setting {name}", where=study.name, cure=nearest(name, groups))
    images = _images(judged for name in (a, b) for _, judged in groups[name])
    return difference(*(_matrix(groups[name], seeds, images, metric) for name in (a, b)))


def _faults(study: StudyConfig) -> list[str]:
    """Say what forbids calling the numbers a result."""
    faults = []
    if study.select.split == study.report:
        faults.append(
            f"the settings were chosen on the same split, {study.report}, that is reported, so "
            "that the best owes part of its score to luck on these images"
        )
    elif study.select.split == "test":
        faults.append("the settings were chosen on the test split, which is for reporting alone")
    for split in dict.fromkeys((study.select.split, study.report)):
        if split == "train":
            faults.append("scores on training images say nothing of others")
    if study.report == "val":
        faults.append(
            "the checkpoint and the threshold of every run were chosen on val, which is reported"
        )
    return faults


def _part(study: StudyConfig, dataset: str, rows: Sequence[Row], lower: bool) -> Part:
    metric = study.select.metric
    by_setting: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        by_setting.setdefault(row.cell.setting, []).append(row)
    names = {key: name_of(group[0].cell.levels) for key, group in by_setting.items()}
    seeds = list(dict.fromkeys(row.cell.seed for row in rows))
    settings = tuple(
        _setting(names[key], group, seeds, metric) for key, group in by_setting.items()
    )
    known = [s for s in settings if not math.isnan(s.chosen)]
    best = min(known, key=lambda s: s.chosen if lower else -s.chosen).name if known else None
    done = [row for row in rows if row.scores is not None]
    ranking = None
    if best is not None and len(known) > 1:
        images = _images(row.scores for row in done)
        matrices = {
            names[key]: _matrix([(r, r.scores) for r in group], seeds, images, metric)
            for key, group in by_setting.items()
            if names[key] in {s.name for s in known}
        }
        if all(np.isfinite(matrix).any() for matrix in matrices.values()):
            ranking = rank(matrices, best, higher_is_better=not lower)
    first = next((row for row in done if row.scores), None)
    return Part(
        dataset=dataset,
        settings=settings,
        best=best,
        ranking=ranking,
        fit=_fit(done, metric) if len(known) > 1 else None,
        protocol=first.scores.protocol if first and first.scores else {},
        choosers=len(_images(row.chosen for row in done)),
    )


def _setting(name: str, rows: Sequence[Row], seeds: Sequence[int], metric: str) -> Setting:
    done = [row for row in rows if row.scores is not None]
    chosen = [row.chosen.mean.get(metric, math.nan) for row in done if row.chosen is not None]
    scores = [(row, row.scores) for row in done]
    fixed = [(row, row.fixed) for row in done]
    matrices = _matrices(scores, seeds)
    return Setting(
        name=name,
        levels=rows[0].cell.levels,
        runs=len(done),
        failed=tuple(row.error for row in rows if row.status == "failed"),
        chosen=fmean(chosen) if chosen else math.nan,
        scores={name: _mean(name, matrix) for name, matrix in matrices.items()},
        fixed={name: _mean(name, matrix) for name, matrix in _matrices(fixed, seeds).items()},
        spread={name: spread(matrix) for name, matrix in matrices.items()},
        cost={
            name: median(row.cost[name] for row in done)
            for name in ("parameters", "gflops", "seconds", "memory_mib")
            if done and all(name in row.cost for row in done)
        },
    )


def _mean(metric: str, matrix: NDArray[np.float64]) -> Estimate:
    """Give the mean with its interval, which ends where the metric does."""
    found = mean_estimate(matrix)
    if metric not in _SHARES:
        return found
    return replace(found, low=_within(found.low), high=_within(found.high))


def _within(share: float) -> float:
    return share if math.isnan(share) else min(max(share, 0.0), 1.0)


def _matrices(
    pairs: Sequence[tuple[Row, Judged | None]], seeds: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    names = dict.fromkeys(name for _, judged in pairs if judged for name in judged.mean)
    images = _images(judged for _, judged in pairs)
    return {name: _matrix(pairs, seeds, images, name) for name in names}


def _images(every: Any) -> list[str]:
    return list(dict.fromkeys(image for judged in every if judged for image in judged.images))


def _matrix(
    pairs: Sequence[tuple[Row, Judged | None]],
    seeds: Sequence[int],
    images: Sequence[str],
    metric: str,
) -> NDArray[np.float64]:
    """Give scores (seeds, images); each fold of a seed brings its own images."""
    place = {image: column for column, image in enumerate(images)}
    matrix = np.full((len(seeds), max(len(images), 1)), np.nan)
    for row, judged in pairs:
        for image, scores in judged.images.items() if judged else ():
            matrix[seeds.index(row.cell.seed), place[image]] = scores.get(metric, math.nan)
    return matrix


def _fit(rows: Sequence[Row], metric: str) -> Fit:
    """Fit the axes' main effects; skip patterns become one factor per level."""
    factors: list[dict[str, Any]] = []
    skips = [row.cell.levels.get("network.skips") for row in rows]
    columns = skip_columns([s for s in skips if s]) if all(skips) and len(set(skips)) > 1 else None
    levels: dict[str, list[Any]] = {}
    for index, row in enumerate(rows):
        factor: dict[str, Any] = dict(row.cell.levels)
        for axis, label in row.cell.levels.items():
            if label not in levels.setdefault(axis, []):
                levels[axis].append(label)
        if columns is not None:
            del factor["network.skips"]
            factor |= columns[index]
            levels |= {name: [0, 1] for name in columns[index]}
        factor |= {"seed": row.cell.seed, "fold": row.cell.fold or 0}
        factors.append(factor)
    blocks = [b for b in ("seed", "fold") if len({f[b] for f in factors}) > 1]
    for factor in factors:
        for block in {"seed", "fold"} - set(blocks):
            del factor[block]
    varying = {name: seen for name, seen in levels.items() if len(seen) > 1}
    if columns is not None:
        varying.pop("network.skips", None)
    kept = [{k: f.get(k) for k in (*varying, *blocks)} for f in factors]
    values = [row.scores.mean[metric] if row.scores else math.nan for row in rows]
    return main_effects(kept, values, levels=varying, blocks=blocks)


def name_of(levels: Mapping[str, str]) -> str:
    """Say a setting as a reader would: depth 4, skips 1001; a value that says itself, alone."""
    if len(levels) == 1:
        return next(iter(levels.values()))
    words = [f"{axis.rpartition('.')[2].replace('_', ' ')} {v}" for axis, v in levels.items()]
    return ", ".join(words) or "the recipe"
