"""What the cells say: one row per run, as it is written to `results.csv`."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetkit.study.grid import Cell, StudyConfig
from unetkit.study.work import read_metrics, read_note

Scores = Mapping[str, float]  # metric → value; undefined ones are nan

_COSTS = ("parameters", "gflops", "seconds", "steps", "memory_mib", "threads")


@dataclass(frozen=True)
class Judged:
    """Scores of one run on one split.

    Attributes:
        mean: over images.
        images: by id.
        protocol: under which they were taken.
    """

    mean: Scores
    images: Mapping[str, Scores]
    protocol: Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One run of a study.

    Attributes:
        cell: what was asked for.
        status: "done", "failed", "running" or "waiting".
        error: why it failed, in one line.
        attempts: how often it was begun.
        cost: parameters, gflops (one training patch forward), seconds, steps, memory_mib, threads,
            and the processor.
        chosen: on the split that chooses; None until it is done.
        scores: on the split that is reported, at the model's own threshold.
        fixed: the same at a threshold of 0.5; None for several classes.
    """

    cell: Cell
    status: str
    error: str
    attempts: int
    cost: Mapping[str, Any]
    chosen: Judged | None
    scores: Judged | None
    fixed: Judged | None


def read_rows(study: StudyConfig, every: Sequence[Cell], out: Path) -> list[Row]:
    """Read the folders of the cells; those that were not begun are rows without scores."""
    return [_row(study, cell, out / "cells" / cell.key) for cell in every]


def to_csv(study: StudyConfig, rows: Sequence[Row]) -> str:
    """Write one line per run; what is not known is left empty.

    Scores are named by split: `test_dice` at the run's own threshold, `test_dice_at_0.5`, and
    `val_dice` of the split that chooses.
    """
    lines = [_line(study, row) for row in rows]
    columns = list(dict.fromkeys(name for line in lines for name in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _row(study: StudyConfig, cell: Cell, folder: Path) -> Row:
    note = read_note(folder)
    status = note.get("status", "waiting")
    told = read_metrics(folder, study.report) if status == "done" else {}
    select = study.select.split
    chooser = told if select == study.report else read_metrics(folder / select, select)
    if status == "done" and not (told and chooser):
        error = f"its scores on {study.report} or {select} are missing; run the study again"
        status, note, told = "failed", {**note, "error": error}, {}
    return Row(
        cell=cell,
        status=status,
        error=str(note.get("error", "")),
        attempts=int(note.get("attempts", 0)),
        cost=note.get("cost", {}),
        chosen=_judged(chooser) if told else None,
        scores=_judged(told),
        fixed=_judged({**told["fixed_threshold"], "protocol": {**told["protocol"],
                       "threshold": told["fixed_threshold"]["threshold"]}})
        if "fixed_threshold" in told else None,
    )  # fmt: skip


def _line(study: StudyConfig, row: Row) -> dict[str, Any]:
    cell = row.cell
    line: dict[str, Any] = {"cell": cell.key, "dataset": cell.dataset, **cell.levels}
    line["seed"] = cell.seed
    if cell.fold is not None:
        line["fold"] = cell.fold
    line |= {"status": row.status, "error": row.error, "attempts": row.attempts}
    line |= {name: row.cost.get(name, "") for name in _COSTS}
    if row.scores is not None:
        line["threshold"] = row.scores.protocol.get("threshold", "")
    for judged, split, end in (
        (row.scores, study.report, ""),
        (row.fixed, study.report, "_at_0.5"),
        (row.chosen if study.select.split != study.report else None, study.select.split, ""),
    ):
        if judged is not None:
            for name, value in judged.mean.items():
                line[f"{split}_{name}{end}"] = "" if math.isnan(value) else value
    return line


def _judged(metrics: Mapping[str, Any]) -> Judged | None:
    if not metrics:
        return None
    return Judged(
        mean=_scores(metrics["mean"]),
        images={image["id"]: _scores(image) for image in metrics["per_image"]},
        protocol=metrics["protocol"],
    )


def _scores(values: Mapping[str, Any]) -> Scores:
    return {
        name: math.nan if value is None else float(value)
        for name, value in values.items()
        if name != "id"
    }
