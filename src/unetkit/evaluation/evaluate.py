"""A trained model, or anything that segments an image, on one split of a data set."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.data import Case, Dataset, Sample, read_dataset
from unetkit.errors import InputError
from unetkit.evaluation.judge import Answer, Mask, judge, scored
from unetkit.evaluation.promises import promised, stated_temperature
from unetkit.evaluation.summary import (
    Scores,
    averaging,
    distances,
    document,
    plain,
    summary,
    today,
)
from unetkit.files import write_text
from unetkit.metrics import measure

Segment = Callable[[NDArray[np.float32]], Answer]


def evaluate(
    segment: Segment,
    data: Dataset | str | Path,
    *,
    split: str = "test",
    out: str | Path | None = None,
    topology: bool = False,
    boundary: bool = False,
    calibration: bool = False,
    also_at: float | None = None,
    on_case: Callable[[int, int], None] | None = None,
    keep: Callable[[Sample, Answer, Scores], None] | None = None,
) -> dict[str, Any]:
    """Score any callable that segments an image, on one split of a data set.

    A binary task is scored on its foreground. With several classes each is scored against all
    others; an image's score is the mean over the foreground classes its truth holds, so an absent
    class neither helps nor harms. Scores are means over images, with a 95 % bootstrap interval
    over images; pixels outside the field of view and ignored pixels do not count. How far
    probabilities can be believed stands under `calibration`, of the pixels of all images pooled.

    Args:
        segment: from a raw image (c, *space) to an answer with `labels` and `probabilities`. What
            it says of itself in a mapping `protocol` (threshold, where it came from, temperature)
            is kept; if it has `judged_on`, that gives the split it was trained under and the cases
            it has seen.
        data: a data set, or its folder.
        split: name of the split.
        out: folder for `metrics.json`; nothing is written if left out.
        topology: add clDice and Betti errors.
        boundary: add HD95, ASSD and NSD, in the unit of the images' spacing.
        calibration: add the calibration error and the Brier score, where there are probabilities.
        also_at: score a binary task at this threshold too, as `fixed_threshold`.
        on_case: called with the number of cases done and in all.
        keep: called with each sample, answer and scores.

    Returns:
        {"protocol": …, "mean": …, "interval": …, "per_image": […], "per_class": …, "human": …,
        "calibration": …}.

    Raises:
        InputError: the data cannot be read, or has no such split.
    """
    dataset = data if isinstance(data, Dataset) else read_dataset(data)
    dataset, seen = _judged_on(segment, dataset)
    cases, classes = dataset.select(split), dataset.task.classes
    view = partial(measure, topology=topology, boundary=boundary, calibration=calibration)
    rows: list[Scores] = []
    fixed: list[Scores] = []
    by_class: dict[str, list[Scores]] = {name: [] for name in scored(classes)}
    outside: list[Scores] = []
    human: list[Scores] = []
    spacings: list[tuple[float, ...]] = []
    fov, binary, pooled = False, len(classes) == 2, None
    temperature = stated_temperature(getattr(segment, "protocol", {}))
    for done, case in enumerate(cases, start=1):
        sample = dataset.load(case)
        answer = segment(sample.image)
        _fits(answer, case, classes)
        take = partial(view, spacing=sample.spacing)
        known = sample.labels >= 0
        valid = known & sample.fov
        row, each = judge(answer, sample.labels, valid, classes, take)
        promises = promised(answer.probabilities, sample.labels, valid, classes, temperature)
        if promises is not None:
            pooled = promises if pooled is None else pooled + promises
        rows.append(row)
        spacings.append(sample.spacing)
        for name, scores in each.items():
            by_class[name].append(scores)
        if not sample.fov.all():
            fov = True
        outside.append(judge(answer, sample.labels, known, classes, measure)[0])
        if also_at is not None and binary and answer.probabilities is not None:
            again = Mask(answer.probabilities[-1] >= also_at, answer.probabilities)
            fixed.append(judge(again, sample.labels, valid, classes, take)[0])
        if sample.observer is not None:
            human.append(judge(Mask(sample.observer), sample.labels, valid, classes, take)[0])
        if keep is not None:
            keep(sample, answer, row)
        if on_case is not None:
            on_case(done, len(cases))
    ids = [case.id for case in cases]
    protocol = _protocol(segment, dataset, split, len(cases), fov)
    if boundary:
        protocol |= distances(spacings, [case.image for case in cases])
    overlap = sum(name in seen for name in ids)
    if overlap:
        protocol["seen_in_training"] = overlap
    metrics = document(protocol, ids, rows, by_class, whole=outside if fov else (), human=human)
    if fixed:
        metrics["fixed_threshold"] = {"threshold": also_at, **summary(ids, fixed)}
    if pooled is not None:
        metrics["calibration"] = pooled.document()
    result: dict[str, Any] = plain(metrics)
    if out is not None:
        write_text(Path(out) / "metrics.json", json.dumps(result, indent=1) + "\n")
    return result


def _judged_on(segment: Segment, dataset: Dataset) -> tuple[Dataset, frozenset[str]]:
    """Ask a trained model under which split it was trained; any other callable has seen nothing."""
    ask = getattr(segment, "judged_on", None)
    return ask(dataset) if ask is not None else (dataset, frozenset())


def _fits(answer: Answer, case: Case, classes: Sequence[str]) -> None:
    channels = len(classes) if answer.probabilities is None else len(answer.probabilities)
    if channels not in (len(classes), len(classes) - 1):
        raise InputError(
            f"the model knows {max(channels, 2)} classes, the data {len(classes)} "
            f"({', '.join(classes)})",
            where=case.image,
            cure="evaluate on data with the classes of the training",
        )


def _protocol(
    segment: Segment, dataset: Dataset, split: str, cases: int, fov: bool
) -> dict[str, Any]:
    said: Mapping[str, Any] = getattr(segment, "protocol", {})
    return {
        "data": dataset.root.name,
        "split": split,
        "cases": cases,
        "field_of_view": fov,
        **averaging(len(scored(dataset.task.classes)) > 1),
        "annotator": "masks",
        **said,
        "date": today(),
    }
