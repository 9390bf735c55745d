"""Compose the page: choose the cases, embed the pictures, fill the template, write one file."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import numpy as np

from unetkit.errors import InputError
from unetkit.files import write_text
from unetkit.metrics import lower_is_better
from unetkit.report import cases, charts, contents, folder, pictures, reliability
from unetkit.report.cases import Sample, Sheet
from unetkit.report.contents import Score
from unetkit.report.folder import Run

BUDGET = 7_500_000  # bytes of one page: still opens at once, still fits in a mail
SIDES = (768, 576, 420, 300, 200)  # longest side of embedded pictures, the first that fits
ROWS = 250  # of the history shown as a table


def compose(
    path: str | Path,
    *,
    title: str,
    run: Path,
    plan: Sequence[tuple[str, str, str]] = (),
    sheets: Sequence[Sheet] = (),
    targets: Sequence[Sample] = (),
    augmented: Sequence[Sample] = (),
    commands: Sequence[str] = (),
    notes: Sequence[str] = (),
    classes: Mapping[int, str] | None = None,
    colours: Mapping[int, pictures.Colour] | None = None,
    calibration: Mapping[str, Any] | None = None,
    main: str = "dice",
    shown: int = 4,
) -> Path:
    """Write the report of one run as a single HTML file that needs no network.

    Args:
        path: the file to write.
        title: what the page is called.
        run: the run folder; what is absent in it is left out, or named as absent.
        plan: what was chosen, its value, and the reason.
        sheets: cases to show; with more than twice `shown`, the worst and the best.
        targets: training images with the weight map and skeleton derived from them.
        augmented: training images after augmentation.
        commands: shell commands that reproduce the run; by default those of `unet`.
        notes: warnings a reader should see first.
        classes: label to name, for several classes.
        colours: label to red, green, blue.
        calibration: how far probabilities can be believed, as `evaluate` says it; by default what
            `metrics.json` holds of it.
        main: the score to lead with and to sort by.
        shown: how many of the worst, and how many of the best cases.

    Returns:
        `path`.

    Raises:
        InputError: the run folder cannot be read, arrays do not fit, or the file cannot be written.
    """
    content = folder.read_run(Path(run))
    rows = contents.scores(content.metrics)
    if rows and main not in {row.key for row in rows}:
        main = rows[0].key
    images = _sorted_images(content, main)
    chosen, split_at = cases.choose(sheets, main, dict(images), shown)
    several = classes is not None and max(classes, default=0) > 1
    several = several or any(cases.highest(sheet) > 1 for sheet in chosen)
    metrics = content.metrics or {}
    believed = reliability.section(
        calibration or metrics.get("calibration"), metrics.get("protocol"), several=several
    )
    anchors = {sheet.id: f"case-{place}" for place, sheet in enumerate(chosen, 1)}
    page = _template()
    text = ""
    for side in SIDES:
        drawn = [
            cases.draw_case(sheet, f"case-{place}", main, dict(images), several, colours, side)
            for place, sheet in enumerate(chosen, 1)
        ]
        text = page.render(
            title=title,
            run=content,
            plan=list(plan),
            notes=list(notes),
            headline=_headline(content, rows, main),
            scores=rows,
            human=any(row.human is not None for row in rows),
            bars={row.key: _bar(row) for row in rows},
            protocol=contents.short(content.metrics) if content.metrics else "",
            protocol_each=contents.short(content.metrics, each=True) if content.metrics else "",
            protocol_rows=contents.protocol_rows(content.metrics) if content.metrics else [],
            columns=_columns(images),
            whole=any(row.whole is not None for row in rows),
            class_columns=_columns(contents.per_class(content.metrics)),
            class_scores=contents.per_class(content.metrics),
            images=[(name, values, anchors.get(name)) for name, values in images],
            main=main,
            main_name=contents.title_of(main),
            calibration=believed,
            dots=_dots(images, rows, main, anchors),
            cases=drawn,
            split_at=split_at,
            legend=cases.legend(several, hidden=any(cases.hides(sheet) for sheet in chosen)),
            classes=cases.class_legend(classes, colours) if several else [],
            targets=[cases.draw_target(sample, colours, side) for sample in targets],
            augmented=[
                cases.draw_augmented(sample, colours, min(side, 420)) for sample in augmented
            ],
            curves=_curves(content),
            history=_history_rows(content),
            commands=list(commands) or _commands(content),
            title_of=contents.title_of,
        )
        if len(text.encode()) <= BUDGET:
            break
    write_text(path, text)
    return Path(path)


def combine(runs: Sequence[Path], path: str | Path, *, main: str = "dice") -> Path:
    """Write one page that sets the scores of several runs side by side, each with its protocol.

    Runs whose protocols differ are shown, and the page says in what they differ.

    Raises:
        InputError: no run is given, or one cannot be read.
    """
    if not runs:
        raise InputError("there is no run to compare", cure="name at least one run folder")
    path = Path(path)
    read = [folder.read_run(Path(run)) for run in runs]
    tables = [{row.key: row for row in contents.scores(run.metrics)} for run in read]
    keys = sorted({key for table in tables for key in table}, key=contents.order)
    main = main if main in keys or not keys else keys[0]
    differ = contents.differences([run.metrics for run in read if run.metrics])
    stated = {contents.short(run.metrics) for run in read if run.metrics}
    best: dict[str, float] = {}
    if not differ and len(read) > 1:
        for key in keys:
            values = [v for t in tables if key in t and (v := t[key].value) is not None]
            if values:
                best[key] = min(values) if lower_is_better(key) else max(values)
    text = _template().render(
        title=f"{len(read)} runs side by side",
        runs=[
            {
                "name": run.name,
                "link": _link(run.path / "report.html", path),
                "protocol": contents.short(run.metrics) if run.metrics else "not evaluated yet",
                "scores": table,
                "bar": _bar(replace(table[main], human=None)) if main in table else "",
            }
            for run, table in zip(read, tables, strict=True)
        ],
        columns=keys,
        differ=differ,
        best=best,
        main_name=contents.title_of(main),
        same=stated.pop() if len(stated) == 1 else "",
        title_of=contents.title_of,
    )
    write_text(path, text)
    return path


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["score"] = contents.number
    return environment.get_template("page.html.jinja")


def _sorted_images(run: Run, main: str) -> list[tuple[str, dict[str, float | None]]]:
    """Images worst first; those without the main score last."""
    sign = -1.0 if lower_is_better(main) else 1.0

    def place(row: tuple[str, dict[str, float | None]]) -> tuple[bool, float]:
        value = row[1].get(main)
        return value is None, sign * (value or 0.0)

    return sorted(contents.per_image(run.metrics), key=place)


def _columns(images: Sequence[tuple[str, Mapping[str, float | None]]]) -> list[str]:
    return sorted({key for _, values in images for key in values}, key=contents.order)


def _headline(run: Run, rows: Sequence[Score], main: str) -> dict[str, Any]:
    """The one number on top, what it is, and under which protocol."""
    score = next((row for row in rows if row.key == main and row.value is not None), None)
    if score is not None and run.metrics is not None:
        human = f"A second observer reaches {contents.number(score.human)} under the same protocol."
        return {
            "measured": True,
            "name": score.name,
            "value": score.value,
            "interval": score.interval,
            "words": contents.sentence(run.metrics, main),
            "human": human if score.human is not None else "",
        }
    best = folder.best_epoch(run)
    value = run.history["val_dice"][best[0]] if best and best[1].endswith("Dice") else None
    return {
        "measured": False,
        "name": "validation Dice",
        "value": value,
        "interval": None,
        "words": "The best epoch on the validation split, which chose the checkpoint: "
        "no measure of quality on new images."
        if value is not None
        else "",
        "human": "",
    }


def _bar(row: Score) -> str:
    edges = [v for v in (row.value, row.human, *(row.interval or ())) if v is not None]
    if row.value is None or not all(0 <= v <= 1 for v in edges):
        return ""
    return charts.bar(row.value, row.interval, 0.0, 1.0, row.human)


def _dots(
    images: Sequence[tuple[str, Mapping[str, float | None]]],
    rows: Sequence[Score],
    main: str,
    anchors: Mapping[str, str],
) -> str:
    score = next((row for row in rows if row.key == main), None)
    points = [
        charts.Point(name, value, f"#{anchors[name]}" if name in anchors else "")
        for name, values in images
        if (value := values.get(main)) is not None
    ]
    if len(points) < 2:
        return ""
    return charts.strip(
        points,
        label=f"{contents.title_of(main)} of each of {len(points)} images, one dot each",
        mean=score.value if score else None,
        interval=score.interval if score else None,
        human=score.human if score else None,
    )


def _curves(run: Run) -> list[tuple[str, str, str]]:
    """Title, caption and drawing of each curve for which the history has a column."""
    epochs, best = run.epochs, folder.best_epoch(run)
    mark = epochs[best[0]] if best else None
    mark_text = f"{best[1]}: epoch {mark:g}" if best else ""
    parts = {
        name.removeprefix("loss_").replace("_", " "): column
        for name, column in run.history.items()
        if name.startswith("loss_")
    }
    groups: list[tuple[str, str, dict[str, str], dict[str, list[float | None]]]] = [
        (
            "Loss",
            "Training and validation loss by epoch.",
            {"train_loss": "training", "val_loss": "validation"},
            {},
        ),
        (
            "Validation Dice",
            "On the validation split; it chose the checkpoint, so it is no test score.",
            {"val_dice": "validation"},
            {},
        ),
        ("Learning rate", "As the optimiser used it.", {"lr": "rate"}, {}),
        ("Parts of the loss", "The terms of the sum, on the training split.", {}, parts),
    ]
    curves: list[tuple[str, str, str]] = []
    for title, caption, names, series in groups:
        present = {w: run.history[c] for c, w in names.items() if c in run.history} | series
        values = [v for line in present.values() for v in line if v is not None and np.isfinite(v)]
        if not values:
            continue
        label = (
            f"{title} over {len(epochs)} epochs, between {min(values):.4g} and {max(values):.4g}"
        )
        drawing = charts.lines(
            epochs,
            present,
            label=f"{label}; {mark_text}" if mark_text else label,
            mark=None if title == "Learning rate" else mark,
            mark_text=mark_text,
            from_zero=title == "Learning rate",
            first_colour=1 if list(present) == ["validation"] else 0,
        )
        curves.append((title, caption, drawing))
    return curves


def _history_rows(run: Run) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the history as text, thinned to `ROWS` rows with the last one kept."""
    columns = list(run.history)
    count = len(run.epochs)
    step = -(-count // ROWS) if count else 1
    picked = sorted({*range(0, count, step), *([count - 1] if count else [])})
    return columns, [[_cell(run.history[name][row]) for name in columns] for row in picked]


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.5g}"


def _commands(run: Run) -> list[str]:
    """How to train, evaluate and report again, as far as the folder knows."""
    where = shlex.quote(str(run.path))
    protocol = (run.metrics or {}).get("protocol") or {}
    known = run.environment.get("data") or protocol.get("data")
    data = shlex.quote(str(known)) if known else "DATA"
    split = protocol.get("split", "test")
    train = f"unet train {data} -o {where} --recipe {shlex.quote(str(run.path / 'recipe.yaml'))}"
    return [
        run.environment.get("command") or train,
        f"unet evaluate {where} {data} --split {split}",
        f"unet report {where}",
    ]


def _link(target: Path, page: Path) -> str:
    """Address of a file relative to the page, empty where there is none."""
    if not target.is_file():
        return ""
    return quote(Path(os.path.relpath(target, page.resolve().parent)).as_posix())
