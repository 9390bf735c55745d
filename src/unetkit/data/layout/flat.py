"""Images and labels in one folder, told apart by what the labels' names end in.

`x.png` + `x_mask.png` and their like, Cellpose's `x_img.tif` + `x_masks.tif`, and CHASE_DB1's
`Image_01L.jpg` + `Image_01L_1stHO.png` + `Image_01L_2ndHO.png`; also in `train/`, `val/` and
`test/`, and in sub-folders one level below.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unetkit.data.layout.folder import FOVS, IMAGES, MASKS, OBSERVERS, Ground, parts_of, plain
from unetkit.data.layout.own import are_groups
from unetkit.data.layout.pairing import ENDINGS, assemble, finder
from unetkit.data.layout.reading import Reading, joined, several
from unetkit.errors import InputError
from unetkit.image import stem

_FIRST = "_1stho"  # the first human observer of CHASE_DB1
_SECOND = {_FIRST: "_2ndho", "_manual1": "_manual2"}
_LABELS = (_FIRST, *(e for e in ENDINGS if e.startswith("_") and e not in ("_manual2", "_fov")))
# What Cellpose and others leave beside the images: neither images nor labels.
_OTHERS = ("_flows", "_overlay", "_outlines")
_ALL = sorted((*_LABELS, *_SECOND.values(), "_fov", *_OTHERS), key=len, reverse=True)
# Left and right eye are of one child: Image_01L, Image_01R.
_EYE = re.compile(r"image_(\d+)[lr]", re.IGNORECASE)
_APART = {*IMAGES, *MASKS, *FOVS, *OBSERVERS}


def read_flat(ground: Ground) -> list[Reading]:
    """Read pairs in the folder, in its parts train, val and test, or in its sub-folders."""
    found = _ways(ground, ground.root)
    parts = parts_of(ground, ground.root)
    found += _together(ground, list(parts.items()), split=True)
    others = [
        (name, folder)
        for name, folder in ground.look(ground.root).folders.items()
        if folder not in parts.values() and plain(name) not in _APART
    ]
    return found + _together(ground, others, split=False)


def _together(ground: Ground, places: Sequence[tuple[str, Path]], *, split: bool) -> list[Reading]:
    ways: dict[str, list[tuple[str, Reading]]] = {}
    for part, folder in places:
        for reading in _ways(ground, folder):
            ways.setdefault(reading.name, []).append((part, reading))
    found = []
    for name, parts in ways.items():
        names = {part: folder.name for part, folder in places}
        grouped = not split and len(parts) > 1 and are_groups([part for part, _ in parts])
        kind = "split" if split else "group" if grouped else ""
        folders = several((f"{names[part]}/" for part, _ in parts), 4)
        what = parts[0][1].words.rpartition(" in one folder")[0]
        count = sum(len(reading.cases) for _, reading in parts)
        words = f"{folders} {'each ' * (len(parts) > 1)}with {what}, {count} cases"
        words += ", each folder a group" if grouped else ""
        title = f"{names[parts[0][0]]}/{name}"
        found.append(joined(parts, name=title, words=words, kind=kind))
    return found


def _ways(ground: Ground, folder: Path) -> list[Reading]:
    """Give a reading for each ending that labels in the folder have."""
    images: dict[str, Path] = {}
    ended: dict[str, dict[str, Path]] = {}
    problems: list[InputError] = []
    for file in ground.look(folder).images:
        name = stem(file)
        lower = name.lower()
        ending = next((e for e in _ALL if lower.endswith(e) and len(name) > len(e)), None)
        if ending is None and name in images:
            what = f"has the same name as {images[name].name}"
            cure = "rename one of the two, or take it out"
            problems.append(InputError(what, where=file, cure=cure))
        elif ending is None:
            images[name] = file
        elif not (ending == "_seg" and file.suffix == ".npy"):  # Cellpose's own, a pickle
            ended.setdefault(ending, {}).setdefault(name[: -len(ending)], file)
    if not ended:
        return []
    find = finder(images)
    matched = {
        ending: {find(name) or name: file for name, file in files.items()}
        for ending, files in ended.items()
    }
    found = []
    for ending in _LABELS:
        masks = matched.get(ending, {})
        pairs = [name for name in masks if name in images]
        if not pairs:
            continue
        second = matched.get(_SECOND.get(ending, ""), {})
        cases, more, unpaired = assemble(
            images,
            masks,
            required=ground.required,
            where=folder,
            fovs=matched.get("_fov"),
            observers=second,
        )
        example = f"{images[pairs[0]].name} + {masks[pairs[0]].name}"
        words = f"pairs such as {example} in one folder, {len(cases)} cases"
        observers = sum(case.observer is not None for case in cases)
        words += f", {observers} second observers" if observers else ""
        name = f"flat{ending}"
        eyes = [_EYE.fullmatch(case.id) for case in cases]
        if ending == _FIRST and all(eyes):
            name, words = "chase_db1", f"CHASE_DB1: {words}, both eyes of a child are a group"
            cases = [
                replace(case, group=eye[1]) for case, eye in zip(cases, eyes, strict=True) if eye
            ]
        used = {*images.values(), *masks.values(), *second.values()}
        found.append(
            Reading(
                name,
                words,
                tuple(cases),
                frozenset(used),
                unpaired=unpaired,
                problems=(*problems, *more),
            )
        )
    return found
