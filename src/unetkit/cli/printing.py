"""What the commands print: plans, scores, progress bars; nothing wraps in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from unetkit.data import Dataset
    from unetkit.recipe import Reasons, Recipe
    from unetkit.training import Step

# Into a file or a pipe nothing is wrapped; a terminal has its own width.
_WIDE = None if sys.stdout.isatty() else 200
out = Console(highlight=False, soft_wrap=True, emoji=False, width=_WIDE)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

# What of a protocol is printed beside the usual line, where it is there.
_NOTES = {
    "truth_holds": "truth",
    "predictions_hold": "predictions",
    "extra_predictions": "predictions without truth, left out",
    "unit": "unit of distances",
    "nsd_tolerance": "tolerance of nsd",
    "objects": "objects",
}


def say(line: str) -> None:
    """Print a sentence of the library; warnings in yellow."""
    out.print(f"[yellow]{escape(line)}[/]" if line.startswith("warning") else escape(line))


def print_plan(dataset: Dataset, _: Recipe, reasons: Reasons) -> None:
    """Print what was recognised and what was chosen, with the reasons."""
    from rich.table import Table

    out.print(f"[bold]{escape(str(dataset.root))}[/]: {escape(dataset.layout)}")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    for what, value, why in reasons:
        table.add_row(escape(what), f"[bold]{escape(value)}[/]", f"[dim]{escape(why)}[/]")
    out.print(table)


def print_scores(metrics: dict[str, Any]) -> None:
    """Print scores with their intervals below their protocol, and those of each class below."""
    from rich.table import Table

    protocol, human = metrics["protocol"], metrics.get("human", {}).get("mean", {})
    where = "inside the field of view" if protocol["field_of_view"] else "all pixels"
    out.print(
        f"[bold]{escape(protocol['split'])}[/]: {protocol['cases']} images, "
        f"{protocol['average']}, {where}"
        + (f", threshold {protocol['threshold']} ({protocol['threshold_from']})"
           if "threshold" in protocol else "")
    )  # fmt: skip
    for key, words in _NOTES.items():
        if protocol.get(key):
            out.print(f"[dim]{words}: {escape(str(protocol[key]))}[/]")
    if protocol.get("seen_in_training"):
        seen = f"{protocol['seen_in_training']} of these images were seen in training"
        out.print(f"[yellow]warning: {seen}[/]")
    lower = protocol.get("lower_is_better", ())
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for name in ("score", "mean", "95 % interval", *(["second observer"] if human else [])):
        table.add_column(name, justify="left" if name == "score" else "right")
    for name, value in metrics["mean"].items():
        low, high = metrics["interval"][name]
        title = f"{name} (lower is better)" if name in lower else name
        row = [title, number(value), f"{number(low)} – {number(high)}"]
        table.add_row(*row, *([number(human.get(name))] if human else []))
    out.print(table)
    if metrics.get("per_class"):
        print_classes(metrics["per_class"])


def print_classes(classes: dict[str, dict[str, float | None]]) -> None:
    """Print the means of each class; dashes where no image holds it."""
    from rich.table import Table

    known = ("dice", "iou", "recall", "precision", "hd95")
    shown = [name for name in known if any(name in scores for scores in classes.values())]
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for name in ("class", *shown):
        table.add_column(name, justify="left" if name == "class" else "right")
    for name, scores in classes.items():
        table.add_row(escape(name), *(number(scores.get(key)) for key in shown))
    out.print(table)


def number(value: float | None) -> str:
    """Write a score; a dash where it is undefined."""
    if value is None:
        return "–"
    return f"{value:.2e}" if 0 < abs(value) < 5e-4 else f"{value:.4f}"


def words_of(value: Any) -> str:
    """Write nested values in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{k} {words_of(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(words_of(v) for v in value) if value else "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@contextmanager
def progress_bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with rate and time left on a terminal, nothing elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Left

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(unit), Left())
    with Progress(*columns, console=out, disable=not out.is_terminal, transient=True) as progress:
        task = progress.add_task(unit, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def training_bar() -> Iterator[Callable[[Step], None]]:
    """Show epoch, loss, best Dice, rate and time left on a terminal, nothing elsewhere."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as Left

    words = TextColumn("{task.fields[words]}")
    columns = (BarColumn(), TaskProgressColumn(), Left(), words)
    with Progress(*columns, console=out, disable=not out.is_terminal, transient=True) as progress:
        task = progress.add_task("training", total=1.0, words="")

        def step(moment: Step) -> None:
            dice = "" if moment.dice != moment.dice else f", best val Dice {moment.dice:.3f}"
            words = (
                f"epoch {moment.epoch}, loss {moment.loss:.3f}{dice}, {moment.rate:.0f} patches/s"
            )
            progress.update(task, completed=moment.fraction, words=words)

        yield step
