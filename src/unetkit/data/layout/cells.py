"""Cells and nuclei: the Cell Tracking Challenge and the Data Science Bowl 2018."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from unetkit.data.case import Case, Drawing
from unetkit.data.layout.folder import Folder, Ground
from unetkit.data.layout.pairing import assemble
from unetkit.data.layout.reading import Reading, joined, several
from unetkit.errors import InputError
from unetkit.image import stem

_FRAME = re.compile(r"t?(\d{3,})", re.IGNORECASE)
_SEGMENTED = re.compile(r"man_seg_?(\d{3,})", re.IGNORECASE)
_SLICE = re.compile(r"man_seg_\d{3,}_\d{3,}", re.IGNORECASE)


@dataclass(frozen=True)
class _Sequence:
    """Frames of one video by number, with their gold and silver truth."""

    name: str
    folder: Folder
    frames: dict[int, Path]
    gold: dict[int, Path]
    silver: dict[int, Path]
    slices: int
    used: frozenset[Path]


def read_cell_tracking(ground: Ground) -> list[Reading]:
    """Read `01/tNNN.tif` with `01_GT/SEG/man_segNNN.tif` (gold) and `01_ST/SEG` (silver).

    Only frames with gold truth are cases, and silver is their second observer; where nothing is
    gold, silver is the truth. Each sequence is a group.
    """
    sequences = [
        _sequence(ground, name, folder)
        for name, folder in ground.look(ground.root).folders.items()
        if re.fullmatch(r"\d{2,}", name)
    ]
    gold = any(sequence.gold for sequence in sequences)
    parts = []
    for sequence in sequences:
        frames, silver = sequence.frames, sequence.silver
        chosen = sequence.gold if gold else silver
        if not frames or (ground.required and not chosen):
            continue
        images = {f"{sequence.name}_{stem(frames[k])}": frames[k] for k in frames}
        names = dict(zip(frames, images, strict=True))
        masks = {names.get(k, f"{sequence.name}/{k}"): file for k, file in chosen.items()}
        # Most frames have no gold truth, by design: that is no problem.
        wanted = images if not ground.required else {n: f for n, f in images.items() if n in masks}
        observers = {names[k]: file for k, file in silver.items() if k in names} if gold else {}
        cases, problems, _ = assemble(
            wanted,
            masks,
            required=ground.required,
            where=ground.root / f"{sequence.name}_GT" / "SEG",
            observers=observers,
        )
        alone = images.keys() - masks.keys()
        parts.append((sequence.name, Reading("", "", tuple(cases), sequence.used,
                                             unpaired=frozenset(alone),
                                             problems=tuple(problems))))  # fmt: skip
    slices = sum(sequence.slices for sequence in sequences)
    if not any(case.mask for _, reading in parts for case in reading.cases):
        if slices:
            what = f"only {slices} single slices of volumes are annotated (man_seg_T_Z)"
            cure = "add 01_ST/SEG, or put slices and their masks into images/ and masks/"
            ground.nearly.append(InputError(what, where=ground.root, cure=cure))
        return []
    whole = joined(parts, name="cell_tracking", words="", kind="group")
    truth = "gold truth" if gold else "silver truth (none is gold)"
    count = len(whole.cases)
    folders = several((f"{name}/" for name, _ in parts), 4)
    words = f"Cell Tracking Challenge: {count} frames of {folders} with {truth}, each a group"
    seconds = sum(case.observer is not None for case in whole.cases)
    words += f", {seconds} with silver truth, too" if gold else ""
    aside = []
    if ground.required and whole.unpaired:
        aside.append(f"{len(whole.unpaired)} frames without {'gold' if gold else 'any'} truth")
    aside += [f"{slices} single slices of volumes (man_seg_T_Z)"] if slices else []
    return [replace(whole, words=words, aside=tuple(aside))]


def _sequence(ground: Ground, name: str, folder: Path) -> _Sequence:
    here = ground.look(folder)
    frames = _numbered(here.images, _FRAME)
    used, truths, slices = {folder}, [], 0
    siblings = ground.look(ground.root).folders
    for ending in ("_GT", "_ST"):
        inside = ground.look(siblings[name + ending]).folders if name + ending in siblings else {}
        files = ground.look(inside["SEG"]).images if "SEG" in inside else ()
        used |= {inside["SEG"]} if files else set()
        single = [file for file in files if _SLICE.fullmatch(stem(file))]
        slices += len(single)
        truths.append(_numbered((f for f in files if f not in set(single)), _SEGMENTED))
    gold, silver = truths
    return _Sequence(name, here, frames, gold, silver, slices, frozenset(used))


def _numbered(files: Iterable[Path], pattern: re.Pattern[str]) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for file in files:
        if match := pattern.fullmatch(stem(file)):
            found.setdefault(int(match[1]), file)
    return found


def read_bowl(ground: Ground) -> list[Reading]:
    """Read `<id>/images/<id>.png` + `<id>/masks/*.png`, one picture per object; or stage1_train/.

    Images without masks (stage1_test/) are left aside, unless masks are not required.
    """
    inside = ground.look(ground.root).folders
    stages = {name: path for name, path in inside.items() if name.lower().startswith("stage")}
    places = list(stages.values()) or [ground.root]
    cases: list[Case] = []
    problems: list[InputError] = []
    used: set[Path] = set()
    alone: list[str] = []
    several_masks = False
    for place in places:
        for name, folder in ground.look(place).folders.items():
            parts = ground.look(folder).folders
            images = ground.look(parts["images"]).images if "images" in parts else ()
            # The picture has the name of its folder: this is what tells the bowl from others.
            if len(images) != 1 or stem(images[0]) != name:
                continue
            objects = ground.look(parts["masks"]).images if "masks" in parts else ()
            several_masks |= any(stem(file) != name for file in objects)
            if objects:
                used |= {parts["images"], parts["masks"]}
                drawing = Drawing("objects", parts=objects)
                cases.append(Case(name, images[0], parts["masks"], drawing=drawing))
            elif not ground.required:
                used.add(parts["images"])
                cases.append(Case(name, images[0]))
            elif "masks" in parts:
                cure = "put one picture per object there, or take the image out"
                problems.append(InputError("no masks found", where=parts["masks"], cure=cure))
            else:
                alone.append(name)
    drawn = [case for case in cases if case.mask]
    if not drawn or not several_masks:
        return []
    objects_count = sum(len(case.drawing.parts) for case in cases if case.drawing)
    where = several(f"{place.name}/" for place in stages.values()) + ": " if stages else ""
    words = f"Data Science Bowl 2018: {where}{len(cases)} cases"
    words += f", {objects_count} objects with a picture each"
    aside = (f"{len(alone)} images without masks",) if alone else ()
    return [Reading("dsb2018", words, tuple(cases), frozenset(used),
                    unpaired=frozenset(alone), aside=aside,
                    problems=tuple(problems))]  # fmt: skip
