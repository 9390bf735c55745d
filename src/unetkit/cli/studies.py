"""The command that compares many runs: a study."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from unetkit.cli.printing import err, out

if TYPE_CHECKING:
    from unetkit.study import Cell


def study(
    file: Annotated[Path, typer.Argument(help="The study file; see docs/studies.md.")],
    folder: Annotated[Path, typer.Option("-o", "--out", help="Folder of the study.")],
    workers: Annotated[int, typer.Option(help="Cells at a time; they share the cores.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask cluster, such as tcp://host:8786.")
    ] = None,
) -> None:
    """Run a grid of recipes with repeats, and say what the numbers allow to say."""
    from unetkit.study import run_study

    started = time.monotonic()
    first: int | None = None  # cells that were done before this command

    def on_cell(done: int, total: int, cell: Cell, note: dict[str, Any]) -> None:
        nonlocal first
        first = done - 1 if first is None else first
        left = (time.monotonic() - started) / (done - first) * (total - done)
        levels = ", ".join(f"{key.split('.')[-1]} {label}" for key, label in cell.levels.items())
        fold = "" if cell.fold is None else f", fold {cell.fold}"
        words = f"{done}/{total}  {cell.dataset}: {levels}{fold}, seed {cell.seed}"
        if note.get("status") == "done":
            out.print(escape(f"{words}  {note['cost']['seconds']:.0f} s, {left / 60:.0f} min left"))
        else:
            err.print(f"[red]failed[/] {escape(words)}: {escape(str(note.get('error')))}")

    result = run_study(file, folder, workers=workers, scheduler=scheduler, on_cell=on_cell)
    for line in result.sentences:
        out.print(escape(line))
    out.print(f"table: {folder / 'results.csv'}")
    out.print(f"[bold]open the study:[/] {folder / result.page.name}")
    if result.findings.failed:
        raise typer.Exit(1)
