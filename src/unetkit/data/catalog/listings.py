"""Sets of many single files: which files there are stands in lists that are fetched first."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from unetkit.data.catalog.arrangements import listed_chips
from unetkit.data.catalog.entry import File
from unetkit.errors import InputError

SEN1FLOODS = "https://storage.googleapis.com/sen1floods11/v1.1"
MASSACHUSETTS = "https://www.cs.toronto.edu/~vmnih/data/mass_roads"

FOLDERS = tuple(f"{part}/{kind}" for part in ("train", "valid", "test") for kind in ("sat", "map"))

_MOST = 20_000  # files that a list may name
_PLAIN = re.compile(r"[\w.-]+")


def sen1floods(found: Mapping[str, Path]) -> list[File]:
    """Radar image and drawing of every chip in the four lists."""
    chips = [chip for part in ("train", "valid", "test", "bolivia")
             for chip in listed_chips(found, part)]  # fmt: skip
    return [
        File(f"{SEN1FLOODS}/data/flood_events/HandLabeled/{kind}/{name}", place=f"{kind}/{name}")
        for chip in dict.fromkeys(chips)
        if _PLAIN.fullmatch(chip)
        for kind in ("S1Hand", "LabelHand")
        for name in [f"{chip}_{kind}.tif"]
    ]


def massachusetts(found: Mapping[str, Path]) -> list[File]:
    """Every picture that an index page links to."""
    files = []
    for folder in (
        f"{part}/{kind}" for part in ("train", "valid", "test") for kind in ("sat", "map")
    ):
        page = found[f"{folder}/index.html"].read_text("utf-8", errors="replace")
        links = re.findall(r"href\s*=\s*[\"']?([^\"'>\s]+\.tiff?)\b", page, re.IGNORECASE)
        # The address is made of the name alone, so that no page leads to another server.
        names = dict.fromkeys(link.rsplit("/", 1)[-1] for link in links)
        files += [
            File(f"{MASSACHUSETTS}/{folder}/{quote(name)}", place=f"{folder}/{name}")
            for name in names
            if _PLAIN.fullmatch(name)
        ]
    return files


LISTINGS: dict[str, Callable[[Mapping[str, Path]], list[File]]] = {
    "sen1floods": sen1floods,
    "massachusetts": massachusetts,
}


def further(layout: str, found: Mapping[str, Path]) -> list[File]:
    """Give the files that the fetched ones list.

    Raises:
        InputError: a list is empty, or longer than it can be.
    """
    if layout not in LISTINGS:
        return []
    files = LISTINGS[layout](found)
    if not 0 < len(files) <= _MOST:
        where = next(iter(found.values()), layout)
        cure = "its home has changed: fetch the files by hand and give the folder with --archive"
        raise InputError(f"lists {len(files)} files", where=where, cure=cure)
    return files
