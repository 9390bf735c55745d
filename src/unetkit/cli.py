"""The `unet` command: parse, call one function of the library, print what it says."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from unetkit import __version__
from unetkit.errors import InputError

if TYPE_CHECKING:
    from unetkit.data import Dataset
    from unetkit.recipe import Reasons, Recipe
    from unetkit.training import Step

app = typer.Typer(
    name="unet",
    help="The U-Net as a complete system: from a few labelled images to a measured model.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Make labelled data.")
recipes_app = typer.Typer(help="List the named recipes, or show one.")
app.add_typer(data_app, name="data")
app.add_typer(recipes_app, name="recipes")

# Into a file or a pipe nothing is wrapped; a terminal has its own width.
_WIDE = None if sys.stdout.isatty() else 200
out = Console(highlight=False, soft_wrap=True, emoji=False, width=_WIDE)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

Model = Annotated[Path, typer.Argument(help="A run folder or a .safetensors file.")]
Data = Annotated[Path, typer.Argument(help="A folder of images and masks.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, typer.Option(help="auto, fp32 or bf16.")]
# typer may carry its own copy of click, so click's class is found through the one typer exports.
_UsageError: type[Any] = typer.BadParameter.__mro__[1]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def main() -> None:
    """Run the command; a user's mistake is one line and exit code 2, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may hold what it cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(standalone_mode=False)
    except InputError as error:
        _fail(str(error), 2)
    except _UsageError as error:
        where = getattr(getattr(error, "ctx", None), "command_path", "unet")
        _fail(f"{error.format_message().rstrip('.')} (see {where} --help)", 2)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except BrokenPipeError:
        sys.exit(1)
    if code == 130:
        _fail("interrupted; a training run continues with --resume", 130)
    if code:
        sys.exit(code)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        out.print(f"unetkit {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        out.print(context.get_help())
        raise typer.Exit(2)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("-o", "--out", help="Where to put it.")] = Path("demo"),
    minutes: Annotated[float, typer.Option(help="Of training.")] = 1.5,
    seed: Annotated[int, typer.Option(help="Of images and training.")] = 0,
) -> None:
    """Show the whole way on generated images: check, train, evaluate, predict, report."""
    from unetkit.demo import run_demo

    with _training_bar() as step:
        result = run_demo(
            folder, minutes=minutes, seed=seed, say=_say, on_step=step, on_plan=_print_plan
        )
    for problem in result.problems:
        out.print(f"[yellow]{problem.severity}[/] {escape(problem.where)}: {escape(problem.what)}")
    _print_scores(result.metrics)
    out.print(f"predictions of the large image: {result.predicted[0].parent.parent}")
    out.print(f"[bold]open the report:[/] {result.report}")


@app.command()
def check(data: Data, as_json: AsJson = False) -> None:
    """Say what is in a data set, what is wrong with it, and how to mend it."""
    from dataclasses import asdict

    from unetkit.data import check as look
    from unetkit.data import read_dataset, summary

    if not data.is_dir():
        cure = "give the folder that holds images/ and masks/"
        raise InputError("no such folder", where=data, cure=cure)
    problems = look(data)
    try:
        described = summary(read_dataset(data, on_problem=lambda _: None))
    except InputError:
        described = {}
    if as_json:
        print(json.dumps({"summary": described, "problems": [asdict(p) for p in problems]}))
    else:
        for key, value in described.items():
            out.print(f"[bold]{key:<10}[/] {escape(_words(value))}")
        for problem in problems:
            colour = "red" if problem.severity == "error" else "yellow"
            out.print(
                f"[{colour}]{problem.severity}[/]  {escape(problem.where)}: "
                f"{escape(problem.what)}; {escape(problem.cure)}"
            )
        count = f"{len(problems)} problem{'s' * (len(problems) != 1)}"
        out.print(count if problems else "[green]no problems found[/]")
    if problems:
        raise typer.Exit(1)


@app.command()
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

    dataset = read_dataset(data)
    complete, reasons = resolve(read_recipe(recipe, changes or []), fingerprint(dataset))
    _print_plan(dataset, complete, reasons)
    if output is not None:
        write_text(output, to_yaml(complete))
        out.print(f"recipe: {output}")


@app.command()
def train(
    data: Data,
    run: Annotated[Path, typer.Option("-o", "--out", help="The run folder.")],
    recipe: Annotated[str, typer.Option(help="A recipe's name or file.")] = "default",
    changes: Annotated[list[str] | None, typer.Option("--set", help="key.path=value")] = None,
    resume: Annotated[bool, typer.Option(help="Continue an interrupted run.")] = False,
    device: Device = "auto",
) -> None:
    """Train on the train split, keep the checkpoint that does best on val, write the report."""
    from unetkit.report import write_report as write
    from unetkit.training import train as fit

    with _training_bar() as step:
        fit(
            data,
            run,
            recipe=recipe,
            changes=changes or [],
            resume=resume,
            device=device,
            on_plan=_print_plan,
            on_step=step,
            say=_say,
        )
    out.print(f"model: {run / 'model.safetensors'}\nreport: {write(run, data)}")
    out.print(f"next: unet evaluate {run} {data} --split test")


@app.command()
def predict(
    model: Model,
    inputs: Annotated[list[str], typer.Argument(help="Images, folders or glob patterns.")],
    output: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")],
    save: Annotated[str, typer.Option(help="Any of labels,probability,overlay.")] = "labels",
    tile: Annotated[int | None, typer.Option(help="Size of the network's input.")] = None,
    tta: Annotated[bool | None, typer.Option(help="Average over mirror images.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Of the foreground.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace results that exist.")] = False,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Segment images of any size; results keep the images' names."""
    from unetkit.application import predict as apply
    from unetkit.machine import keep_memory
    from unetkit.segmenter import load

    if threshold is not None and not 0 < threshold < 1:
        raise InputError(f"threshold {threshold:g} is not between 0 and 1", where="--threshold")
    segmenter = load(model, device=device, precision=_precision(precision))
    keep_memory()
    out.print(f"engine: {segmenter.engine}")
    with _bar("images") as bar:
        result = apply(
            segmenter,
            inputs,
            output,
            save=[part.strip() for part in save.split(",")],
            tile=tile,
            tta=tta,
            threshold=threshold,
            overwrite=overwrite,
            on_image=lambda done, total, _: bar(done, total),
        )
    out.print(f"{len(result.written)} files in {output}")
    for path, reason in result.failures:
        err.print(f"[red]failed[/] {escape(str(path))}: {escape(reason)}")
    if result.failures:
        raise typer.Exit(1)


@app.command()
def evaluate(
    model: Model,
    data: Data,
    split: Annotated[str, typer.Option(help="Which part of the data.")] = "test",
    output: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for metrics.json; default: the run.")
    ] = None,
    topology: Annotated[bool, typer.Option(help="Add clDice and Betti errors.")] = False,
    as_json: AsJson = False,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Predict and score one split; the scores carry their protocol."""
    from unetkit.evaluation import evaluate as score
    from unetkit.machine import keep_memory
    from unetkit.report import write_report as write
    from unetkit.segmenter import load

    segmenter = load(model, device=device, precision=_precision(precision))
    keep_memory()
    folder = output or (model if model.is_dir() else None)
    with _bar("cases") as bar:
        metrics = score(segmenter, data, split=split, out=folder, topology=topology, on_case=bar)
    if as_json:
        print(json.dumps(metrics))
    else:
        _print_scores(metrics)
    if model.is_dir() and folder == model:
        page = write(model, data)
        if not as_json:
            out.print(f"report: {page}")


@app.command()
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


@data_app.command("make")
def data_make(
    kind: Annotated[str, typer.Argument(help="vessels, cells, membranes, roads or volume.")],
    folder: Annotated[Path, typer.Option("-o", "--out", help="Where to put it.")],
    count: Annotated[int, typer.Option(help="Number of images.")] = 12,
    seed: Annotated[int, typer.Option(help="The same seed makes the same images.")] = 0,
) -> None:
    """Generate labelled images that a threshold cannot segment."""
    from unetkit.data.synthetic import make

    out.print(f"data: {make(kind, folder, count=count, seed=seed)}")


@recipes_app.command("list")
def recipes_list(
    names: Annotated[bool, typer.Option("--names", help="Names only.")] = False,
) -> None:
    """List the named recipes."""
    from unetkit.recipe import RECIPES

    if names:
        print("\n".join(RECIPES))
        return
    for name, function in RECIPES.items():
        summary = (function.__doc__ or "").strip().splitlines()[0]
        out.print(f"[bold]{name:<16}[/] {escape(summary)}")


@recipes_app.command("show")
def recipes_show(name: Annotated[str, typer.Argument(help="A recipe's name or file.")]) -> None:
    """Print a recipe as YAML."""
    from unetkit.recipe import RECIPES, read_recipe, to_yaml

    recipe = read_recipe(name)
    if name in RECIPES:
        for line in (RECIPES[name].__doc__ or "").strip().splitlines():
            print(f"# {line.strip()}".rstrip())
    print(to_yaml(recipe), end="")


def _fail(line: str, code: int) -> NoReturn:
    line = " ".join(line.split())
    err.print(f"[red]error:[/] {escape(line)}" if code == 2 else escape(line))
    sys.exit(code)


def _precision(name: str) -> Any:
    known = ("auto", "fp32", "bf16")
    if name not in known:
        raise InputError(f"unknown precision {name}", where="--precision", cure=", ".join(known))
    return name


def _say(line: str) -> None:
    out.print(f"[yellow]{escape(line)}[/]" if line.startswith("warning") else escape(line))


def _print_plan(dataset: Dataset, _: Recipe, reasons: Reasons) -> None:
    from rich.table import Table

    out.print(f"[bold]{escape(str(dataset.root))}[/]: {escape(dataset.layout)}")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    for what, value, why in reasons:
        table.add_row(escape(what), f"[bold]{escape(value)}[/]", f"[dim]{escape(why)}[/]")
    out.print(table)


def _print_scores(metrics: dict[str, Any]) -> None:
    from rich.table import Table

    protocol, human = metrics["protocol"], metrics.get("human", {}).get("mean", {})
    where = "inside the field of view" if protocol["field_of_view"] else "all pixels"
    out.print(
        f"[bold]{protocol['split']}[/]: {protocol['cases']} images, {protocol['average']}, {where}"
        + (f", threshold {protocol['threshold']} ({protocol['threshold_from']})"
           if "threshold" in protocol else "")
    )  # fmt: skip
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for name in ("score", "mean", "95 % interval", *(["second observer"] if human else [])):
        table.add_column(name, justify="left" if name == "score" else "right")
    for name, value in metrics["mean"].items():
        low, high = metrics["interval"][name]
        row = [name, _number(value), f"{_number(low)} – {_number(high)}"]
        table.add_row(*row, *([_number(human.get(name))] if human else []))
    out.print(table)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_words(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_words(v) for v in value) if value else "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@contextmanager
def _bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with rate and time left on a terminal, nothing elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Left

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(unit), Left())
    with Progress(*columns, console=out, disable=not out.is_terminal, transient=True) as progress:
        task = progress.add_task(unit, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def _training_bar() -> Iterator[Callable[[Step], None]]:
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


if __name__ == "__main__":
    main()
