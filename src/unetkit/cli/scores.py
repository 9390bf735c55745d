"""The command that scores masks, whatever made them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from unetkit.cli.options import AsJson
from unetkit.cli.printing import print_scores, progress_bar


def score(
    predictions: Annotated[Path, typer.Argument(help="A folder of masks, or one file.")],
    truth: Annotated[
        Path,
        typer.Argument(
            help="The true masks under the same names, a data set's folder, or one file."
        ),
    ],
    fov: Annotated[
        Path | None, typer.Option(help="Fields of view: a folder by name, or one file for all.")
    ] = None,
    observer: Annotated[
        Path | None, typer.Option(help="A second observer's masks, for the human level.")
    ] = None,
    instances: Annotated[
        bool, typer.Option("--instances", help="Score objects too, by their numbers.")
    ] = False,
    split: Annotated[
        str | None, typer.Option(help="Of a data set; default: test if it states one, else all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score any tool's masks; the scores carry their protocol."""
    from unetkit.evaluation import score as judge

    with progress_bar("cases") as bar:
        metrics = judge(
            predictions,
            truth,
            fov=fov,
            observer=observer,
            instances=instances,
            split=split,
            on_case=bar,
        )
    if as_json:
        print(json.dumps(metrics))
    else:
        print_scores(metrics)
