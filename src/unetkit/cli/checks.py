"""The command that looks at a data set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from unetkit.cli.options import AsJson, Data
from unetkit.cli.places import cache_folder
from unetkit.cli.printing import out, progress_bar, words_of
from unetkit.errors import InputError


def check(
    data: Data,
    as_json: AsJson = False,
    fix: Annotated[
        Path | None, typer.Option(help="Write a repaired copy here; the original stays.")
    ] = None,
) -> None:
    """Say what is in a data set, what is wrong with it, and how to mend it."""
    from dataclasses import asdict

    from unetkit.data.checks import inspect
    from unetkit.data.repair import repair

    if not data.is_dir():
        cure = "give the folder that holds images/ and masks/"
        raise InputError("no such folder", where=data, cure=cure)
    with progress_bar("cases") as bar:
        described, problems = inspect(data, cache=cache_folder(), on_case=bar)
    repaired = repair(data, fix) if fix else None
    if as_json:
        document = {"summary": described, "problems": [asdict(p) for p in problems]}
        if repaired:
            document["repaired"] = {
                "folder": str(repaired.folder),
                "mended": repaired.mended,
                "left": [asdict(p) for p in repaired.left],
            }
        print(json.dumps(document))
    else:
        for key, words in _lines(described):
            out.print(f"[bold]{key:<9}[/] {escape(words)}")
        for problem in problems:
            colour = "red" if problem.severity == "error" else "yellow"
            line = InputError(problem.what, where=problem.where, cure=problem.cure)
            out.print(f"[{colour}]{problem.severity}[/]  {escape(str(line))}")
        count = f"{len(problems)} problem{'s' * (len(problems) != 1)}"
        out.print(count if problems else "[green]no problems found[/]")
        if repaired:
            for done in repaired.mended:
                out.print(f"[green]mended[/] {escape(done)}")
            left = f"; {len(repaired.left)} left for you" if repaired.left else ""
            out.print(f"repaired copy: {escape(str(repaired.folder))}{left}")
    if problems:
        raise typer.Exit(1)


def _lines(described: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Write a summary as people read it; what is not there is not mentioned."""
    if not described:
        return
    yield "layout", described["layout"]
    groups = f"; {described['groups']} groups" if described["groups"] else ""
    yield "cases", f"{described['cases']}: {words_of(described['split'])}{groups}"
    channels = described["channels"]
    kinds = " and ".join(described["dtype"])
    yield "images", f"{_size(described)}, {channels} channel{'s' * (channels != 1)}, {kinds}"
    if set(described["spacing"]) - {1.0}:
        yield "spacing", " × ".join(f"{s:.4g}" for s in described["spacing"])
    shares = [f"{name} {100 * part:.3g} %" for name, part in described["classes"].items()]
    if shares:
        ignored = described["ignored"]
        yield (
            "classes",
            ", ".join(shares)
            + (f"; {100 * ignored:.3g} % of all pixels ignored" if ignored else ""),
        )
        yield "learns", described["kind"]
    beside = (("fields of view", "fov"), ("second observers", "observers"))
    there = [f"{described[key]} {what}" for what, key in beside if described[key]]
    if there:
        yield "beside", ", ".join(there)


def _size(described: dict[str, Any]) -> str:
    axes = "z, y, x" if described["ndim"] == 3 else "y, x"
    small, middle, large = (
        " × ".join(map(str, described["sizes"].get(key, ())))
        for key in ("smallest", "median", "largest")
    )
    return (
        f"{small} ({axes})" if small == large else f"{small} to {large}, median {middle} ({axes})"
    )
