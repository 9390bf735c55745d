"""Folders → cases and their split: which mask belongs to which image, and who trains on what.

Every layout is one function that gives the readings it finds in a folder. All are tried; a reading
that explains only a part of what another explains gives way to it, and if two are left, the user
decides. `declared` says how `dataset.yaml` settles anything by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unetkit.data.case import Case
from unetkit.data.layout.declared import (
    declared_groups,
    declared_legend,
    declared_split,
    find_declaration,
    read_declaration,
)
from unetkit.data.layout.folder import Ground, is_there
from unetkit.data.layout.own import holds_images
from unetkit.data.layout.pairing import bare, by_name
from unetkit.data.layout.places import read_places
from unetkit.data.layout.polygons import named_classes
from unetkit.data.layout.reading import Reading, Report, Split, several
from unetkit.data.layout.recognition import aside, recognise
from unetkit.data.layout.splits import completed, read_groups, read_split, series, shuffled
from unetkit.data.legend import Legend, find_legend
from unetkit.errors import InputError

__all__ = [
    "Layout",
    "Report",
    "Split",
    "bare",
    "by_name",
    "find_layout",
    "holds_dataset",
    "read_groups",
    "series",
    "shuffled",
]


@dataclass(frozen=True)
class Layout:
    """What a folder holds.

    Attributes:
        sentence: says what was recognised, for people to check.
        cases: all of them, in natural order of their names.
        split: ids by name; where `train` is there, `val` is too.
        legend: what the numbers in the masks mean, if dataset.yaml says so, or the layout where
            no classes.json does.
        stated: the set itself says what is for testing; else that was drawn at random.
    """

    sentence: str
    cases: tuple[Case, ...]
    split: Split
    legend: Legend | None = None
    stated: bool = False


def find_layout(root: Path, *, seed: int, required: bool, report: Report) -> Layout:
    """Recognise what a folder holds.

    Args:
        root: the folder.
        seed: decides the split where none is given.
        required: every image needs a mask.
        report: called with each problem that leaves something to go on with.

    Raises:
        InputError: there is nothing to go on with, or there are several ways to read the folder.
    """
    try:
        exists, is_folder = root.exists(), root.is_dir()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        cure = "check the path and its permissions"
        raise InputError(f"cannot be opened ({reason})", where=root, cure=cure) from error
    if not is_folder:
        what = "is a file, a folder is needed" if exists else "no such folder"
        raise InputError(what, where=root, cure="give the folder that holds images/ and masks/")
    ground = Ground(root, required)
    path = find_declaration(root)
    said = read_declaration(path) if path else {}
    if path and ("images" in said or "masks" in said):
        reading = read_places(ground, said, path)
    else:
        reading, ground = recognise(ground, said.get("layout"), path, report)
    return _settle(reading, ground, root, said, path, seed, report)


def holds_dataset(root: Path) -> bool:
    """Tell the folder of a data set from a folder of masks."""
    ground = Ground(root, required=True)
    if holds_images(ground, root) or find_declaration(root):
        return True
    try:
        recognise(ground, None, None, lambda _: None)
    except InputError:
        return False
    return True


def _settle(
    reading: Reading,
    ground: Ground,
    root: Path,
    said: dict[str, Any],
    path: Path | None,
    seed: int,
    report: Report,
) -> Layout:
    """Add what lists and legends say, draw what nobody says, and put all into one sentence."""
    for problem in reading.problems:
        report(problem)
    reading = named_classes(reading, report)
    cases, words = list(reading.cases), reading.words
    if ground.root != root:
        words = f"in {ground.root.relative_to(root)}/: {words}"
    places = list(dict.fromkeys((ground.root, root)))
    outer = replace(ground, root=root)
    groups, source = _groups(cases, outer, places, said, path)
    if groups:
        cases = [replace(case, group=groups[case.id]) for case in cases]
        words += f", {len(set(groups.values()))} groups by {source}"
    split, source = reading.split, ""
    known = {case.id for case in cases} | reading.unpaired
    listed = _first(places, "split.json")
    if path and "split" in said:
        split = declared_split(said["split"], cases, known, outer, path, report)
        source = f"{path.name}: "
    elif listed:
        split, source = read_split(listed, known, report), f"{listed.name}: "
    others = [*reading.aside, *aside(reading, ground)]
    words += f"; left aside: {several(others)}" if others else ""
    stated = set(split.get("test", ())) & {case.id for case in cases}
    split, counts = completed(split, cases, seed)
    legend = declared_legend(said, path) if path else None
    if legend is None and (reading.legend or ground.root != root):
        legend = find_legend(*places) or reading.legend
    return Layout(f"{words}; {source}{counts}", tuple(cases), split, legend,
                  bool(stated))  # fmt: skip


def _groups(
    cases: list[Case], ground: Ground, places: list[Path], said: dict[str, Any], path: Path | None
) -> tuple[dict[str, str], str]:
    """Read which cases belong together, and say where."""
    listed = _first(places, "groups.json")
    if path and "groups" in said:
        return declared_groups(said["groups"], cases, ground, path), path.name
    if listed:
        return read_groups(listed, [case.id for case in cases]), listed.name
    return {}, ""


def _first(places: list[Path], name: str) -> Path | None:
    return next((p for place in places if is_there(p := place / name, file=True)), None)
