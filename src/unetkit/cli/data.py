"""The commands of data sets: public ones fetched from their homes, and generated ones."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from unetkit.cli.options import AsJson
from unetkit.cli.places import cache_folder
from unetkit.cli.printing import out, progress_bar, say
from unetkit.errors import InputError

data_app = typer.Typer(help="Public data sets, and generated ones.")
Out = Annotated[Path, typer.Option("-o", "--out", help="Where to put it.")]


@data_app.command("list")
def data_list(
    names: Annotated[bool, typer.Option("--names", help="Names only.")] = False,
    as_json: AsJson = False,
) -> None:
    """List public data sets with task, size, licence and citation."""
    from unetkit.data.catalog import ENTRIES

    if as_json:
        print(json.dumps([asdict(entry) for entry in ENTRIES.values()], default=str))
    elif names:
        print("\n".join(ENTRIES))
    else:
        for entry in ENTRIES.values():
            how = "after registration" if entry.registration else "fetched by unet data get"
            out.print(f"[bold]{entry.name}[/]  {escape(entry.title)}")
            out.print(f"  {escape(entry.task)} · {escape(entry.size)} · {how}")
            out.print(f"  [dim]{escape(entry.licence)} · {escape(entry.citation)}[/]")


@data_app.command("get")
def data_get(
    name: Annotated[str, typer.Argument(help="As `unet data list` shows it.")],
    folder: Out,
    archive: Annotated[
        Path | None, typer.Option(help="Import this file, downloaded by hand, instead.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Keep downloads here; default: your cache folder.")
    ] = None,
) -> None:
    """Fetch a public data set from its home, check it, and write it in the folder layout."""
    from unetkit.data.catalog import find, get, words

    entry = find(name)
    out.print(escape(words(entry)))
    with progress_bar("bytes") as bar:
        get(entry, folder, archive=archive, cache=cache or cache_folder() / "downloads",
            on_progress=bar, say=say)  # fmt: skip
    out.print(f"data: {folder}")


@data_app.command("make")
def data_make(
    kind: Annotated[
        str, typer.Argument(help="vessels, cells, membranes, roads, volume or satellite.")
    ],
    folder: Out,
    count: Annotated[int, typer.Option(help="Number of images.")] = 12,
    size: Annotated[
        str | None, typer.Option(help="Pixels: 512, 512x768 (y, x) or 24x64x64 (z, y, x).")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same images.")] = 0,
) -> None:
    """Generate labelled images that a threshold cannot segment."""
    from unetkit.data.synthetic import KINDS, make

    pixels = None
    if size is not None:
        try:
            pixels = tuple(int(n) for n in size.lower().split("x"))
        except ValueError:
            raise InputError(
                f"{size} is no size", where="--size", cure="write 512, 512x768 or 24x64x64"
            ) from None
        if len(pixels) == 1 and kind in KINDS:
            pixels *= len(KINDS[kind][1])
    with progress_bar("images") as bar:
        made = make(kind, folder, count=count, size=pixels, seed=seed, progress=bar)
    out.print(f"data: {made}")
