"""The `unet` command: parse, call one function of the library, print what it says."""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any, NoReturn

import typer
from rich.markup import escape

from unetkit import __version__
from unetkit.cli import checks, predictions, recipes, runs, scores, studies
from unetkit.cli.data import data_app
from unetkit.cli.printing import err, out
from unetkit.errors import InputError

app = typer.Typer(
    name="unet",
    help="The U-Net as a complete system: from a few labelled images to a measured model.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    runs.demo, checks.check, runs.plan, runs.train, predictions.predict, runs.evaluate,
    scores.score, studies.study, runs.report, predictions.export,
):  # fmt: skip
    app.command()(command)
app.add_typer(data_app, name="data")
app.add_typer(recipes.recipes_app, name="recipes")

# typer may carry its own copy of click, so click's class is found through the one typer exports.
_UsageError: type[Any] = typer.BadParameter.__mro__[1]


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
        _fail(
            "interrupted; a run continues with --resume, a study or a download by the same command",
            130,
        )
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


def _fail(line: str, code: int) -> NoReturn:
    line = " ".join(line.split())
    err.print(f"[red]error:[/] {escape(line)}" if code == 2 else escape(line))
    sys.exit(code)
