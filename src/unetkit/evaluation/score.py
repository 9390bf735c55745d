"""Masks of any tool beside true ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from unetkit.evaluation.judge import Mask, judge, scored
from unetkit.evaluation.masks import (
    THRESHOLD,
    Holding,
    Truth,
    look,
    read_answer,
    read_truth,
    understand,
    widen,
)
from unetkit.evaluation.pairs import Pairs, pair, title
from unetkit.evaluation.summary import Scores, averaging, distances, document, plain, today
from unetkit.metrics import instance_scores, lower_is_better, measure

Take = Callable[..., Scores]


def score(
    predictions: str | Path,
    truth: str | Path,
    *,
    fov: str | Path | None = None,
    observer: str | Path | None = None,
    instances: bool = False,
    split: str | None = None,
    topology: bool = True,
    boundary: bool = True,
    on_case: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Score masks of any tool, under the protocol of `evaluate`.

    Predictions are paired with truths by name, and every truth needs one. What they hold is seen
    in all of them together: two values, whichever they are; class numbers; floats between 0 and 1,
    which are probabilities and thresholded at 0.5; with `instances`, numbers of objects. What was
    seen is part of the protocol.

    Args:
        predictions: a folder of masks, or one file.
        truth: a folder of masks, one file, or the folder of a data set, whose own fields of view,
            second observers, classes and ignored values then hold.
        fov: a folder of fields of view by name, or one for all (non-zero inside).
        observer: a folder of a second observer's masks, or one file; scored as `human`.
        instances: score objects too; a binary mask becomes its connected pieces.
        split: of a data set; left out, `test` where the set states one, else all its cases.
        topology: add clDice and Betti errors.
        boundary: add HD95, ASSD and NSD in the unit of the truth's spacing.
        on_case: called with the number of cases done and in all.

    Returns:
        {"protocol": …, "mean": …, "interval": …, "per_image": […], "per_class": …, "human": …}.

    Raises:
        InputError: a file is missing, unreadable, of another size, or of unknown meaning.
    """
    pairs = pair(
        Path(predictions),
        Path(truth),
        split=split,
        fov=None if fov is None else Path(fov),
        observer=None if observer is None else Path(observer),
        instances=instances,
    )
    seconds = [case.observer for case in pairs.cases if case.observer is not None]
    if len(seconds) < len(pairs.cases):
        seconds = []
    seen, second = look(pairs.predictions, soft=True), look(seconds) if seconds else None
    task = pairs.task
    if not pairs.named:
        task = widen(task, (*seen.values, *(second.values if second else ())))
    holding = understand(seen, task, instances=instances)
    drawn = understand(second, task, instances=instances) if second else None
    rows: list[Scores] = []
    outside: list[Scores] = []
    human: list[Scores] = []
    by_class: dict[str, list[Scores]] = {name: [] for name in scored(task.classes)}
    scales: list[tuple[tuple[float, ...], Path]] = []
    partly = False
    for done, (case, path) in enumerate(zip(pairs.cases, pairs.predictions, strict=True), start=1):
        true = read_truth(case, task, instances=instances)
        take = partial(
            measure, topology=topology, boundary=boundary, spacing=true.spacing, calibration=True
        )
        space = true.labels.shape
        answer = read_answer(path, holding, task, space, instances=instances)
        row, each = _judge(answer, true, task.classes, take)
        rows.append(row)
        for name, scores in each.items():
            by_class[name].append(scores)
        partly = partly or not true.fov.all()
        outside.append(judge(answer, true.labels, true.labels >= 0, task.classes, measure)[0])
        if drawn is not None and case.observer is not None:
            other = read_answer(case.observer, drawn, task, space, instances=instances)
            human.append(_judge(other, true, task.classes, take)[0])
        scales.append((true.spacing, true.scale))
        if on_case is not None:
            on_case(done, len(pairs.cases))
    protocol = _protocol(pairs, title(Path(predictions)), holding, len(task.classes), partly)
    if boundary:
        protocol |= distances([spacing for spacing, _ in scales], [path for _, path in scales])
    if instances:
        whole = "as numbered"
        apart = "connected pieces of the mask, pixels that touch at a corner together"
        told = whole if task.kind == "instances" else apart
        said = whole if holding.kind == "objects" else apart
        protocol["objects"] = f"truth: {told}; predictions: {said}"
        protocol["matching"] = "IoU above the threshold; ap is the mean over 0.5, 0.55 … 0.95"
    if observer is not None and human:
        protocol["second_observer"] = title(Path(observer))
    names = dict.fromkeys(name for row in rows for name in row)
    protocol["lower_is_better"] = [name for name in names if lower_is_better(name)]
    protocol["date"] = today()
    ids = [case.id for case in pairs.cases]
    whole_image = outside if partly else ()
    metrics: dict[str, Any] = plain(
        document(protocol, ids, rows, by_class, whole=whole_image, human=human)
    )
    return metrics


def _judge(
    answer: Mask, truth: Truth, classes: tuple[str, ...], take: Take
) -> tuple[Scores, dict[str, Scores]]:
    valid = (truth.labels >= 0) & truth.fov
    row, each = judge(answer, truth.labels, valid, classes, take)
    if truth.objects is not None and answer.objects is not None:
        row |= instance_scores(answer.objects, truth.objects, valid=valid)
    return row, each


def _protocol(
    pairs: Pairs, predictions: str, holding: Holding, classes: int, fov: bool
) -> dict[str, Any]:
    soft = holding.kind == "probabilities"
    decision: dict[str, Any] = {"decision": "masks as given"}
    if soft:
        decision = {"threshold": THRESHOLD, "threshold_from": "fixed"}
        if classes > 2:
            decision = {"decision": "most probable class"}
        decision["ece"] = "15 bins by foreground probability, each image by itself"
    return {
        "data": pairs.data,
        "predictions": predictions,
        "split": pairs.split,
        "cases": len(pairs.cases),
        "extra_predictions": pairs.extra,
        "field_of_view": fov,
        **averaging(classes > 2),
        "annotator": pairs.annotator,
        "truth_holds": pairs.holds,
        "predictions_hold": holding.words,
        **decision,
    }
