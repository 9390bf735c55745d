"""The layout people make by hand: a folder of images and one of labels, paired by name.

Also twice nested: `train|val|test/{images,masks}`, `Tile 1/{images,masks}`, and sub-folders of
`images/` that `masks/` mirrors. Labels are pictures, or drawings: QuPath's GeoJSON and ImageJ's
ROIs, which may also lie beside the images.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from unetkit.data.case import Drawing
from unetkit.data.layout.folder import (
    DRAWINGS,
    FOVS,
    IMAGES,
    MANUALS,
    MASKS,
    OBSERVERS,
    ORIGINALS,
    SECOND_MANUALS,
    Folder,
    Ground,
    parts_of,
    plain,
)
from unetkit.data.layout.kinds import KINDS, PICTURES, Kind, image_name
from unetkit.data.layout.pairing import assemble, in_order
from unetkit.data.layout.reading import ALIASES, Reading, joined, several, unique
from unetkit.errors import InputError
from unetkit.image import list_images

_DEEPEST = 6


def read_own(ground: Ground) -> list[Reading]:
    """Read `images/` + `masks/` in the folder, in its parts or in its sub-folders.

    What keeps a folder from being read so is added to `ground.nearly`.
    """
    nearly: list[InputError] = []
    found = _ways(ground, ground.root, nearly)
    parts = parts_of(ground, ground.root)
    found += _together(ground, list(parts.items()), "split", nearly)
    inside = ground.look(ground.root).folders
    others = [
        (name, folder)
        for name, folder in inside.items()
        if folder not in parts.values() and ground.named(folder, (*IMAGES, *ORIGINALS))
    ]
    found += _together(ground, others, "group", [])
    ground.nearly.extend(nearly)
    return found


def holds_images(ground: Ground, folder: Path) -> bool:
    """Tell whether a folder has `images/`, itself or in a part called train, val or test."""
    places = (folder, *parts_of(ground, folder).values())
    return any(ground.named(place, IMAGES) for place in places)


def are_groups(names: Collection[str]) -> bool:
    """Tell folders of what belongs together (Tile 1, patient07) from kinds (benign, malignant).

    Those of which most bear a number or a letter are groups; so are words, if they are many.
    """
    numbered = sum(bool(re.search(r"\d", name)) or len(name) < 3 for name in names)
    return 2 * numbered > len(names) or len(names) > 5


def _together(
    ground: Ground,
    places: Sequence[tuple[str, Path]],
    kind: Literal["split", "group"],
    nearly: list[InputError],
) -> list[Reading]:
    """Read several folders alike; what only some of them allow is a reading of these."""
    ways: dict[str, list[tuple[str, Reading]]] = {}
    each = [(part, folder, _ways(ground, folder, nearly)) for part, folder in places]
    # Folders that differ in words only (images in one, imgs in the next) are still read alike.
    alike = all(len(readings) < 2 for _, _, readings in each)
    for part, _, readings in each:
        for reading in readings:
            ways.setdefault("" if alike else reading.name, []).append((part, reading))
    found = []
    for parts in ways.values():
        names = {part: folder.name for part, folder in places}
        folders = several((f"{names[part]}/" for part, _ in parts), 4)
        count = sum(len(reading.cases) for _, reading in parts)
        labelled = any(case.mask for _, reading in parts for case in reading.cases)
        what = "images and masks" if labelled else "images"
        grouped = kind == "group" and len(parts) > 1
        words = f"{folders} {'each ' * (len(parts) > 1)}with {what}, {count} cases"
        words += ", each a group" if grouped else ""
        name = f"{names[parts[0][0]]}/{parts[0][1].name}"
        way = "" if kind == "group" and not grouped else kind
        found.append(joined(parts, name=name, words=words, kind=way))
    return found


def _ways(ground: Ground, folder: Path, nearly: list[InputError]) -> list[Reading]:
    """Give all ways in which a folder holds images and labels; add why it nearly does."""
    found = []
    sources = ground.named(folder, IMAGES) or ground.named(folder, ORIGINALS)
    for images in [*sources, *([folder] if ground.look(folder).images else [])]:
        places, beside = _label_folders(ground, folder)
        places += ground.named(images, DRAWINGS) if images != folder else []
        for labels in [*places, images]:
            for kind in KINDS:
                if labels == images and kind is PICTURES:
                    continue
                reading = _pair(ground, (folder, images, labels), beside, kind)
                found += [reading] if reading else []
    if not found and sources:
        near = _nearly(ground, folder, sources[0])
        if near is None or not ground.required:
            found = [_unlabelled(ground, source) for source in sources]
            found = [reading for reading in found if reading.cases]
        nearly += [near] if near else []
    return found


def _label_folders(
    ground: Ground, folder: Path
) -> tuple[list[Path], tuple[Path | None, Path | None]]:
    """List the folders of labels, and those of fields of view and second observers."""
    views, seconds = ground.named(folder, FOVS), ground.named(folder, OBSERVERS)
    places = ground.named(folder, (*MASKS, *DRAWINGS))
    manual = ground.named(folder, MANUALS)
    if manual:  # retina: what a hand has drawn are the labels, and mask/ is the field of view
        views = views or ground.named(folder, ("mask", "masks"))
        seconds = seconds or ground.named(folder, SECOND_MANUALS)
        places = manual
    return places, (views[0] if views else None, seconds[0] if seconds else None)


def _pair(
    ground: Ground,
    places: tuple[Path, Path, Path],
    beside: tuple[Path | None, Path | None],
    kind: Kind,
) -> Reading | None:
    """Pair a folder of images with a folder of labels, and with it what mirrors it inside.

    Args:
        ground: where to look.
        places: the folder around, that of the images, that of the labels.
        beside: folders of fields of view and of second observers.
        kind: of the labels.
    """
    folder, images, labels = places
    parts: list[tuple[tuple[str, ...], Reading]] = []
    for where, here, there in _mirrored(ground, images, labels):
        files = kind.files(there)
        if not files:
            continue
        twins: list[InputError] = []
        problems: list[InputError] = []
        pictures = in_order(here.images, None, twins.append)
        masks = in_order(files, pictures, problems.append, name_of=image_name)
        if not any(name in pictures for name in masks):
            continue
        used = {here.path, there.path, *(path for path in beside if path)}
        if labels == images:  # other files beside the images are not meant
            masks = {name: file for name, file in masks.items() if name in pictures}
            problems, used = [], used | set(masks.values())
        extras = []
        for source in beside:
            inside = ground.below(source, "/".join(where)) if source else None
            views = ground.look(inside).images if inside else ()
            extras.append(in_order(views, pictures, lambda _: None))
        cases, more, unpaired = assemble(
            pictures,
            masks,
            required=ground.required,
            where=there.path,
            fovs=extras[0],
            observers=extras[1],
            drawing=Drawing(kind.drawing) if kind.drawing else None,
        )
        found = (*twins, *problems, *more)
        reading = Reading("", "", tuple(cases), frozenset(used), unpaired=unpaired, problems=found)
        parts.append((where, reading))
    if not parts:
        return None
    return _named(folder, images, labels, kind, _nested(parts))


def _mirrored(
    ground: Ground, images: Path, labels: Path
) -> list[tuple[tuple[str, ...], Folder, Folder]]:
    """List a folder of images beside that of its labels, and all sub-folders that both have."""
    if labels == images:
        return [((), ground.look(images), ground.look(images))]
    pairs = []
    waiting: list[tuple[tuple[str, ...], Path, Path]] = [((), images, labels)]
    seen: set[tuple[str, str]] = set()
    while waiting:
        where, here, there = waiting.pop(0)
        real = os.path.realpath(here), os.path.realpath(there)
        if real in seen:  # a link leads back to where it came from
            continue
        seen.add(real)
        one, other = ground.look(here), ground.look(there)
        if one.images:
            # A folder around all labels (annotations/trimaps/) says nothing.
            alone = len(other.folders) == 1 and not other.images and not other.files
            below = next(iter(other.folders.values())) if alone and not one.folders else None
            pairs.append((where, one, ground.look(below) if below else other))
        if len(where) < _DEEPEST:
            known = {name.lower(): folder for name, folder in other.folders.items()}
            waiting += [
                ((*where, name), folder, known[name.lower()])
                for name, folder in one.folders.items()
                if name.lower() in known and folder not in (labels, images)
            ]
    return pairs


def _nested(parts: Sequence[tuple[tuple[str, ...], Reading]]) -> Reading:
    """Join what lies in mirrored sub-folders: they are a split, groups, or only an order."""
    if len(parts) == 1 and not parts[0][0]:
        return parts[0][1]
    tops = {where[0] for where, _ in parts if where}
    split = all(where and plain(where[0]) in ALIASES for where, _ in parts)
    depth = 1 if split else 0
    names = {where[depth] for where, _ in parts if len(where) > depth}
    grouped = bool(names) and are_groups(names)
    prefixed = []
    for where, reading in parts:
        group = where[depth] if grouped and len(where) > depth else None
        cases = tuple(replace(case, group=group) for case in reading.cases)
        prefix = (ALIASES[plain(where[0])], *where[1:]) if split else where
        prefixed.append(("_".join(prefix), replace(reading, cases=cases)))
    whole = joined(prefixed, name="", words="", kind="")
    words = f" in {several(f'{name}/' for name in sorted(tops))}"
    words += " (each a group)" if grouped and not split else ""
    if not split:
        return replace(whole, words=words)
    members: dict[str, list[str]] = {}
    position = 0
    for where, reading in parts:
        ids = [case.id for case in whole.cases[position : position + len(reading.cases)]]
        members.setdefault(ALIASES[plain(where[0])], []).extend(ids)
        position += len(ids)
    stated = {name: tuple(ids) for name, ids in members.items()}
    return replace(whole, words=words, split=stated)


def _named(folder: Path, images: Path, labels: Path, kind: Kind, pairs: Reading) -> Reading:
    pictures = "images here" if images == folder else f"{images.name}/"
    if labels == images:
        name, words = f"{kind.drawing}", f"{pictures} with {kind.words} beside them by name"
    else:
        first = "here" if images == folder else images.name
        name = f"{first}+{labels.name}" + (f"-{kind.drawing}" if kind.drawing else "")
        words = f"{pictures} + {labels.name}/ {f'({kind.words}) ' if kind.words else ''}by name"
    words += f"{pairs.words}, {len(pairs.cases)} cases"
    for what, count in (
        ("fields of view", sum(case.fov is not None for case in pairs.cases)),
        ("second observers", sum(case.observer is not None for case in pairs.cases)),
    ):
        words += f", {count} {what}" if count else ""
    return replace(pairs, name=name, words=words)


def _unlabelled(ground: Ground, images: Path) -> Reading:
    """Read a folder of images alone, and with it what lies in sub-folders if it is empty."""
    here = ground.look(images)
    problems: list[InputError] = []
    named = in_order(here.images, None, problems.append)
    cases, _, _ = assemble(named, {}, required=False, where=images)
    words = f"{images.name}/ without masks, {len(cases)} cases"
    return Reading(images.name, words, tuple(unique(cases, [""] * len(cases))),
                   frozenset({images}), problems=tuple(problems))  # fmt: skip


def _nearly(ground: Ground, folder: Path, images: Path) -> InputError | None:
    """Say what keeps a folder with images/ from being read; None if it may do without masks."""
    here = ground.look(images)
    if not here.images and not here.folders:
        try:
            list_images(images)
        except InputError as error:
            return error
    places = ground.named(folder, MASKS)
    if not places:
        return InputError(
            f"no masks/ folder beside {images.name}/",
            where=folder,
            cure="put the masks, under the names of their images, into masks/",
        )
    inside = [ground.look(place) for place in places]
    holds = next((there for there in inside if there.images), None)
    if holds is None:
        return InputError("no masks found", where=places[0], cure="put one per image there")
    if not here.images:
        return None
    return InputError(
        f"no mask has the name of an image (image {here.images[0].name}, "
        f"mask {holds.images[0].name})",
        where=folder,
        cure="name each mask as its image, or name_mask",
    )
