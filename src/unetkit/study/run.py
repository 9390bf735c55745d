"""The whole study: its cells done, and what they say written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetkit.data import portion, read_dataset
from unetkit.errors import InputError
from unetkit.files import write_text
from unetkit.recipe import to_document
from unetkit.study.conclusion import conclude
from unetkit.study.crew import run_cluster, run_here
from unetkit.study.findings import Findings, find
from unetkit.study.grid import Cell, StudyConfig, cells, read_study, to_yaml
from unetkit.study.page import write_markdown, write_page
from unetkit.study.table import Row, read_rows, to_csv
from unetkit.study.work import Job, is_done


@dataclass(frozen=True)
class Study:
    """What a study leaves behind.

    Attributes:
        path: its folder.
        page: `study.html` in it, beside `study.md`, `figures/` and `results.csv`.
        findings: what may be said.
        sentences: the same in words.
    """

    path: Path
    page: Path
    findings: Findings
    sentences: tuple[str, ...]


def run_study(
    study: StudyConfig | str | Path,
    out: str | Path,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    on_cell: Callable[[int, int, Cell, dict[str, Any]], None] | None = None,
) -> Study:
    """Run every cell of a study that is not done yet, and write table and page.

    The folder can be continued after anything: cells that are done stay, one that was under way
    goes on from its last finished epoch, one that failed is tried again. The study file may grow
    in between; cells that are in both are not run twice.

    Args:
        study: a study, or its file.
        out: folder of the study; `cells/` in it holds an ordinary run folder per cell.
        workers: cells at a time on this machine, which share its cores.
        scheduler: address of a Dask cluster, such as tcp://host:8786, to run on instead.
        on_cell: called with the cells done, all cells, the cell and its note.

    Raises:
        InputError: the study file or the data is at fault.
    """
    file = None if isinstance(study, StudyConfig) else Path(study).resolve()
    if not isinstance(study, StudyConfig):
        study = read_study(study)
    if workers < 1:
        raise InputError("there must be at least one", where="--workers")
    out = Path(out).resolve()
    every = cells(study)
    if file != out / "study.yaml":  # the user's own file, with its comments, stays as it is
        write_text(out / "study.yaml", to_yaml(study))
    _check_splits(study, every)
    by_key = {cell.key: cell for cell in every}
    jobs = [job for job in (_job(cell, study, out) for cell in every) if not is_done(job)]
    done = len(every) - len(jobs)

    def note(job: Job, outcome: dict[str, Any]) -> None:
        nonlocal done
        done += 1
        if on_cell is not None:
            on_cell(done, len(every), by_key[job.key], outcome)

    try:
        if scheduler is not None:
            run_cluster(jobs, scheduler, note)
        elif jobs:
            run_here(jobs, min(workers, len(jobs)), note)
    finally:  # what there is can be read, even if the study was interrupted
        result = write_study(study, out, every)
    return result


def write_study(study: StudyConfig, out: str | Path, every: Sequence[Cell] | None = None) -> Study:
    """Write table, page and figures from the cells that are done, without running any."""
    out = Path(out).resolve()
    rows = read_rows(study, cells(study) if every is None else every, out)
    findings = find(study, rows)
    write_text(out / "results.csv", to_csv(study, rows))
    machine = _machine(rows)
    write_markdown(findings, out / "study.md", out / "figures", machine=machine)
    page = write_page(findings, out / "study.html", machine=machine)
    return Study(out, page, findings, tuple(conclude(findings)))


def _job(cell: Cell, study: StudyConfig, out: Path) -> Job:
    return Job(
        key=cell.key,
        folder=str(out / "cells" / cell.key),
        data=str(Path(cell.data).resolve()),
        recipe=to_document(cell.recipe),
        report=study.report,
        select=study.select.split,
        topology=study.topology,
        boundary=study.boundary,
        threads=study.threads,
    )


def _check_splits(study: StudyConfig, every: Sequence[Cell]) -> None:
    """Look for the splits of choice and report in every data set, before hours are spent.

    Raises:
        InputError: a set cannot be read, or has no such split.
    """
    first = {cell.dataset: cell for cell in reversed(every)}
    for cell in first.values():
        dataset = portion(read_dataset(cell.data), cell.recipe.data.model_copy(
            update={"train_size": None}))  # fmt: skip
        for split in dict.fromkeys((study.select.split, study.report)):
            dataset.select(split)


def _machine(rows: Sequence[Row]) -> str:
    """Say what the runs ran on, each kind once."""
    costs = [row.cost for row in rows if {"processor", "threads"} <= row.cost.keys()]
    kinds = (
        f"{cost['processor']}, {cost['threads']} thread{'s' * (cost['threads'] > 1)} a run"
        for cost in costs
    )
    return "; ".join(dict.fromkeys(kinds))
