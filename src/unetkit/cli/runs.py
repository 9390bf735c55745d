"""The commands of one run: from a look at the data to the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from unetkit.cli.options import AsJson, Data, Device, Engine, Model, Precision
from unetkit.cli.places import cache_folder
from unetkit.cli.printing import (
    out,
    print_plan,
    print_scores,
    progress_bar,
    say,
    training_bar,
)


def demo(
    folder: Annotated[Path, typer.Option("-o", "--out", help="Where to put it.")] = Path("demo"),
    minutes: Annotated[float, typer.Option(help="Of training.")] = 1.5,
    seed: Annotated[int, typer.Option(help="Of images and training.")] = 0,
) -> None:
    """Show the whole way on generated images: check, train, evaluate, predict, report."""
    from unetkit.demo import run_demo

    with training_bar() as step:
        result = run_demo(
            folder, minutes=minutes, seed=seed, say=say, on_step=step, on_plan=print_plan
        )
    for problem in result.problems:
        out.print(f"[yellow]{problem.severity}[/] {escape(problem.where)}: {escape(problem.what)}")
    print_scores(result.metrics)
    out.print(f"predictions of the large image: {result.predicted[0].parent.parent}")
    out.print(f"[bold]open the report:[/] {result.report}")


def plan(
    data: Data,
    output: Annotated[Path | None, typer.Option("-o", "--out", help="Write the recipe.")] = None,
    recipe: Annotated[str, typer.Option(help="A recipe's name or file to start from.")] = "default",
    changes: Annotated[list[str] | None, typer.Option("--set", help="key.path=value")] = None,
) -> None:
    """Show the recipe that would be used, with a reason beside each choice."""
    from unetkit.data import fingerprint, read_dataset
    from unetkit.files import write_text
    from unetkit.recipe import read_recipe, resolve, to_yaml

    dataset = read_dataset(data, cache=cache_folder())
    complete, reasons = resolve(read_recipe(recipe, changes or []), fingerprint(dataset))
    print_plan(dataset, complete, reasons)
    if output is not None:
        write_text(output, to_yaml(complete))
        out.print(f"recipe: {output}")


def train(
    data: Data,
    run: Annotated[Path, typer.Option("-o", "--out", help="The run folder.")],
    recipe: Annotated[str, typer.Option(help="A recipe's name or file.")] = "default",
    changes: Annotated[list[str] | None, typer.Option("--set", help="key.path=value")] = None,
    resume: Annotated[bool, typer.Option(help="Continue an interrupted run.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out what cannot be read, and say so.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Train on the train split, keep the checkpoint that does best on val, write the report."""
    from unetkit.report import write_report as write
    from unetkit.training import train as fit

    with training_bar() as step:
        trained = fit(
            data,
            run,
            recipe=recipe,
            changes=changes or [],
            resume=resume,
            device=device,
            skip_bad=skip_bad,
            cache=cache_folder(),
            on_plan=print_plan,
            on_step=step,
            say=say,
        )
    out.print(f"model: {run / 'model.safetensors'}\nreport: {write(run, trained.dataset)}")
    out.print(f"next: unet evaluate {run} {data} --split test")


def evaluate(
    model: Model,
    data: Data,
    split: Annotated[str, typer.Option(help="Which part of the data.")] = "test",
    output: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for metrics.json; default: the run.")
    ] = None,
    topology: Annotated[bool, typer.Option(help="Add clDice and Betti errors.")] = False,
    boundary: Annotated[bool, typer.Option(help="Add HD95, ASSD and NSD.")] = False,
    calibration: Annotated[bool, typer.Option(help="Add ECE and Brier score.")] = False,
    as_json: AsJson = False,
    device: Device = "auto",
    engine: Engine = "auto",
    precision: Precision = "auto",
) -> None:
    """Predict and score one split; the scores carry their protocol."""
    from unetkit.evaluation import evaluate as score
    from unetkit.machine import keep_memory
    from unetkit.report import write_report as write
    from unetkit.segmenter import load

    segmenter = load(model, device=device, engine=engine, precision=precision, cache=cache_folder())
    keep_memory()
    folder = output or (model if model.is_dir() else None)
    with progress_bar("cases") as bar:
        metrics = score(
            segmenter, data, split=split, out=folder, topology=topology, boundary=boundary,
            calibration=calibration, on_case=bar,
        )  # fmt: skip
    if as_json:
        print(json.dumps(metrics))
    else:
        print_scores(metrics)
    if model.is_dir() and folder == model:
        page = write(model, data)
        if not as_json:
            out.print(f"report: {page}")


def report(
    runs: Annotated[list[Path], typer.Argument(help="One run folder, or several to compare.")],
    output: Annotated[Path | None, typer.Option("-o", "--out", help="The HTML file.")] = None,
    data: Annotated[Path | None, typer.Option(help="The data, if it has moved.")] = None,
) -> None:
    """Write the report of a run, or the comparison of several."""
    from unetkit.report import combine
    from unetkit.report import write_report as write

    if len(runs) == 1:
        page = write(runs[0], data, path=output)
    else:
        page = combine(runs, output or Path("report.html"))
    out.print(f"report: {page}")
