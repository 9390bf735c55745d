"""Scores that can be defended: each travels with the protocol it was measured under."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unetkit.data import Case, Dataset, Sample, read_dataset
from unetkit.errors import InputError
from unetkit.files import write_text
from unetkit.metrics import bootstrap_interval, measure

Scores = dict[str, float]


class Answer(Protocol):
    """What a segmentation must offer to be judged."""

    @property
    def labels(self) -> NDArray[Any]:
        """Class indices (*space)."""
        ...

    @property
    def probabilities(self) -> NDArray[Any] | None:
        """Probabilities (k, *space), the foreground last if binary; None where there are none."""
        ...


Segment = Callable[[NDArray[np.float32]], Answer]


def evaluate(
    segment: Segment,
    data: Dataset | str | Path,
    *,
    split: str = "test",
    out: str | Path | None = None,
    topology: bool = False,
    on_case: Callable[[int, int], None] | None = None,
    keep: Callable[[Sample, Answer, Scores], None] | None = None,
) -> dict[str, Any]:
    """Score any callable that segments an image, on one split of a data set.

    A binary task is scored on its foreground. With several classes each is scored against all
    others; an image's score is the mean over the foreground classes its truth holds, so an absent
    class neither helps nor harms. Scores are means over images, with a 95 % bootstrap interval
    over images; pixels outside the field of view and ignored pixels do not count.

    Args:
        segment: from a raw image (c, *space) to an answer with `labels` and `probabilities`. What
            it says of itself in a mapping `protocol` (threshold, where it came from) is kept.
        data: a data set, or its folder.
        split: name of the split.
        out: folder for `metrics.json`; nothing is written if left out.
        topology: add clDice and Betti errors.
        on_case: called with the number of cases done and in all.
        keep: called with each sample, answer and scores.

    Returns:
        {"protocol": …, "mean": …, "interval": …, "per_image": […], "per_class": …, "human": …}.

    Raises:
        InputError: the data cannot be read, or has no such split.
    """
    dataset = data if isinstance(data, Dataset) else read_dataset(data)
    cases = dataset.select(split)
    rows: list[Scores] = []
    by_class: dict[str, list[Scores]] = {name: [] for name in _scored(dataset.task.classes)}
    outside: list[Scores] = []
    human: list[Scores] = []
    fov = False
    for done, case in enumerate(cases, start=1):
        sample = dataset.load(case)
        answer = segment(sample.image)
        _fits(answer, case, dataset.task.classes)
        known = sample.labels >= 0
        valid = known & sample.fov
        row, classes = _judge(answer, sample, valid, dataset.task.classes, topology)
        rows.append(row)
        for name, scores in classes.items():
            by_class[name].append(scores)
        if not sample.fov.all():
            fov = True
        outside.append(_judge(answer, sample, known, dataset.task.classes, False)[0])
        if sample.observer is not None:
            human.append(
                _judge(_Mask(sample.observer), sample, valid, dataset.task.classes, topology)[0]
            )
        if keep is not None:
            keep(sample, answer, row)
        if on_case is not None:
            on_case(done, len(cases))
    metrics: dict[str, Any] = {
        "protocol": _protocol(segment, dataset, split, cases, fov),
        "mean": _mean(rows),
        "interval": _interval(rows),
        "per_image": [{"id": c.id, **row} for c, row in zip(cases, rows, strict=True)],
    }
    if len(by_class) > 1:
        metrics["per_class"] = {name: _mean(scores) for name, scores in by_class.items()}
    if fov:
        metrics["whole_image"] = {"mean": _mean(outside)}
    if human and len(human) == len(cases):
        metrics["human"] = {"mean": _mean(human), "interval": _interval(human)}
    metrics = _plain(metrics)
    if out is not None:
        write_text(Path(out) / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    return metrics


class _Mask:
    """An observer's mask in the shape of an answer."""

    probabilities = None

    def __init__(self, labels: NDArray[Any]) -> None:
        self.labels = labels


def _scored(classes: Sequence[str]) -> Sequence[str]:
    """Name the classes that are scored: all but a background that comes first."""
    return classes[1:] if len(classes) == 2 or classes[0].lower() == "background" else classes


def _judge(
    answer: Answer, sample: Sample, valid: NDArray[np.bool_], classes: Sequence[str], topology: bool
) -> tuple[Scores, dict[str, Scores]]:
    """Score one image: the mean over the classes present, and each class by itself."""
    first = len(classes) - len(_scored(classes))
    result: dict[str, Scores] = {}
    for index, name in enumerate(_scored(classes), start=first):
        truth = sample.labels == index
        if len(classes) > 2 and not (truth & valid).any():
            continue
        probability = None
        if answer.probabilities is not None:
            shift = len(classes) - len(answer.probabilities)  # 1 where class 0 is all the rest
            probability = answer.probabilities[index - shift] if index >= shift else None
        result[name] = measure(
            answer.labels == index, truth, valid=valid, probability=probability, topology=topology
        )
    return _mean(list(result.values())), result


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
    segment: Segment, dataset: Dataset, split: str, cases: Sequence[Case], fov: bool
) -> dict[str, Any]:
    said: Mapping[str, Any] = getattr(segment, "protocol", {})
    several = len(_scored(dataset.task.classes)) > 1
    return {
        "data": dataset.root.name,
        "split": split,
        "cases": len(cases),
        "field_of_view": fov,
        "average": "per-image mean" + (", classes present in each image" if several else ""),
        "interval": "95 % bootstrap over images, 10000 repeats, seed 0",
        "annotator": "masks",
        **said,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def _mean(rows: Sequence[Scores]) -> Scores:
    return {name: _nanmean(values) for name, values in _columns(rows).items()}


def _columns(rows: Sequence[Scores]) -> dict[str, list[float]]:
    """Turn rows into columns; an image that holds no scored class has an empty row."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, math.nan) for row in rows] for name in names}


def _nanmean(values: Sequence[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return sum(known) / len(known) if known else math.nan


def _interval(rows: Sequence[Scores]) -> dict[str, tuple[float, float]]:
    return {name: bootstrap_interval(values) for name, values in _columns(rows).items()}


def _plain(value: Any) -> Any:
    """Replace nan, which JSON does not know, by null; round what is not measured that finely."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    return value


def read_metrics(run: str | Path) -> dict[str, Any]:
    """Read a run's `metrics.json`.

    Raises:
        InputError: there is none, or it is not JSON.
    """
    path = Path(run) / "metrics.json"
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("no metrics yet", where=path, cure="run unet evaluate") from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({error})", where=path) from None
    return document
