"""Polygons in JSON: COCO's table of a whole set, and the classes that GeoJSON files name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unetkit.data.case import Case, Drawing
from unetkit.data.drawings import name_classes
from unetkit.data.layout.folder import IMAGES, Ground, parts_of, plain, read_json
from unetkit.data.layout.reading import ALIASES, Reading, Report, several, unique
from unetkit.errors import InputError
from unetkit.image import stem

_INSTANCES = re.compile(r"instances_.*|_annotations\.coco", re.IGNORECASE)
_PERHAPS = re.compile(r"annotations?|.*coco.*", re.IGNORECASE)
_PART = re.compile(r"(?:^|[^a-z])(train|val|valid|validation|test)(?:ing)?(?:[^a-z]|$)")
_MOST_TABLES = 20


@dataclass(frozen=True)
class _Table:
    """One COCO file: its images by `file_name`, and the part of a split that it stands for."""

    path: Path
    names: tuple[str, ...]
    categories: tuple[tuple[int, str], ...]
    part: str | None


def read_coco(ground: Ground) -> list[Reading]:
    """Read `annotations/instances_*.json`, or one JSON beside the images; also per split.

    Raises:
        InputError: a file with the name of COCO's is no JSON, or lacks what COCO's have.
    """
    tables = [table for path in _candidates(ground) if (table := _read_table(path, ground.root))]
    if not tables:
        return []
    places = _index(ground)
    classes = tuple(dict.fromkeys(name for _, name in sorted(
        {category for table in tables for category in table.categories}
    )))  # fmt: skip
    cases: list[Case] = []
    prefixes: list[str] = []
    problems: list[InputError] = []
    used = {table.path for table in tables}
    seen: set[Path] = set()
    for table in tables:
        missing, twice = [], []
        for name in table.names:
            image = _find(name, table, places, ground.root)
            if image is None:
                missing.append(name)
            elif image in seen:
                twice.append(name)
            else:
                seen.add(image)
                used.add(image.parent)
                drawing = Drawing("coco", key=name, classes=classes)
                cases.append(Case(stem(image), image, table.path, drawing=drawing))
                prefixes.append(table.part or table.path.parent.name)
        if missing and len(missing) < len(table.names):
            problems.append(_missing(table, missing))
        if twice:
            more = f" (and {len(twice) - 1} more of {len(table.names)})" if twice[1:] else ""
            what = f"names {twice[0]}, which was named before{more}"
            cure = "keep one file for each image"
            problems.append(InputError(what, where=table.path, cure=cure))
    if not cases:
        first = tables[0]
        ground.nearly.append(
            InputError(
                f"none of its {len(first.names)} images is here (such as {first.names[0]})",
                where=first.path,
                cure="put the images beside it, or into images/",
            )
        )
        return []
    folders = {image.parent for image in seen}
    others = [f for folder in sorted(folders) for f in ground.look(folder).images if f not in seen]
    labelled = unique(cases, prefixes)
    if not ground.required:
        labelled += [Case(stem(file), file) for file in others]
        labelled = unique(labelled, [*prefixes, *(file.parent.name for file in others)])
    split: dict[str, list[str]] = {}
    part_of = {table.path: table.part for table in tables}
    for case in labelled:
        if case.mask and (part := part_of[case.mask]) and len(set(part_of.values())) > 1:
            split.setdefault(part, []).append(case.id)
    files = several(str(table.path.relative_to(ground.root)) for table in tables)
    words = f"COCO: {files}, {len(labelled)} cases, {len(classes)} classes"
    aside = (f"{len(others)} images that no file names",) if others and ground.required else ()
    return [
        Reading(
            "coco",
            words,
            tuple(labelled),
            frozenset(used),
            split={part: tuple(members) for part, members in split.items()},
            unpaired=frozenset(stem(file) for file in others),
            aside=aside,
            problems=tuple(problems),
        )
    ]


def coco_masks(
    path: Path, images: Mapping[str, Path], report: Report
) -> dict[str, tuple[Path, Drawing | None]]:
    """Find in one COCO file what belongs to images that are known: name → file and drawing.

    Raises:
        InputError: it is no COCO file.
    """
    table = _read_table(path, path.parent)
    if table is None:
        cure = 'write it as COCO does: "images", "annotations" and "categories"'
        raise InputError("is no COCO file with polygons", where=path, cure=cure)
    places: dict[str, list[Path]] = {}
    for image in images.values():
        places.setdefault(image.name, []).append(image)
    name_of = {image: name for name, image in images.items()}
    classes = tuple(name for _, name in sorted(table.categories))
    found: dict[str, tuple[Path, Drawing | None]] = {}
    strange = []
    for key in table.names:
        at = _find(key, table, places, path.parent)
        if at is None:
            strange.append(key)
        else:
            found[name_of[at]] = path, Drawing("coco", key=key, classes=classes)
    if strange and found:
        report(_missing(table, strange))
    return found


def _missing(table: _Table, names: Sequence[str]) -> InputError:
    more = f" (and {len(names) - 1} more of {len(table.names)})" if names[1:] else ""
    what = f"names {names[0]}, which is not here{more}"
    return InputError(what, where=table.path, cure="add the image, or take it out of the file")


def _candidates(ground: Ground) -> list[Path]:
    """List the JSON files where COCO's may lie; where some are called so, only these."""
    places = [ground.root, *ground.named(ground.root, ("annotations", "annotation", "labels"))]
    places += ground.named(ground.root, ("images",))
    places += parts_of(ground, ground.root).values()
    files = [file for place in places for file in ground.look(place).files]
    tables = [file for file in files if file.suffix.lower() == ".json"]
    named = [file for file in tables if _INSTANCES.fullmatch(file.stem)]
    if len(tables) > _MOST_TABLES:  # one JSON per image is something else
        tables = [file for file in tables if _PERHAPS.fullmatch(file.stem)]
    return named or tables


def _read_table(path: Path, root: Path) -> _Table | None:
    """Read a COCO file; None where it is no such thing and does not claim to be."""
    claims = bool(_INSTANCES.fullmatch(path.stem))
    cure = 'write it as COCO does: "images", "annotations" and "categories"'
    try:
        content = read_json(path)
    except InputError as error:
        if claims or _PERHAPS.fullmatch(path.stem):
            raise InputError(error.what, where=path, cure=error.cure or cure) from error
        return None
    lists = [content.get(k) for k in ("images", "annotations")] if isinstance(content, dict) else []
    if not lists or not all(isinstance(entry, list) for entry in lists):
        if claims:
            raise InputError("lacks images or annotations", where=path, cure=cure)
        return None
    images: list[Any] = content["images"]
    categories = content.get("categories", [])
    given = [image.get("file_name") for image in images if isinstance(image, dict)]
    names = [name for name in given if isinstance(name, str)]
    used = {a.get("category_id") for a in content["annotations"] if isinstance(a, dict)
            and isinstance(a.get("category_id"), int)}  # fmt: skip
    drawn = any(isinstance(a, dict) and "segmentation" in a for a in content["annotations"])
    sound = (
        len(names) == len(images)
        and isinstance(categories, list)
        and all(map(_is_category, categories))
    )
    if not sound and (claims or drawn):
        raise InputError("images or categories lack their names", where=path, cure=cure)
    if not sound or not names or not (drawn or claims):
        return None
    # Roboflow puts the name of the project before the classes, as a category without objects.
    above = {category.get("supercategory") for category in categories}
    kept = [
        (c["id"], c["name"].strip())
        for c in categories
        if c["id"] in used or c["name"] not in above
    ]
    return _Table(path, tuple(dict.fromkeys(names)), tuple(kept), _part(path, root))


def _is_category(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("id"), int)
        and isinstance(entry.get("name"), str)
        and isinstance(entry.get("supercategory", ""), str | None)
    )


def _part(path: Path, root: Path) -> str | None:
    """Read the part of a split from the name of the file, else from that of its folder."""
    folder = "" if path.parent == root else path.parent.name
    for name in (path.stem.lower(), folder.lower()):
        if match := _PART.search(name.replace("_", " ").replace("2017", "").replace("2014", "")):
            return ALIASES[match[1]]
    return None


def _index(ground: Ground) -> dict[str, list[Path]]:
    """List all pictures by their names, down to the folders where COCO's lie."""
    places: dict[str, list[Path]] = {}
    for folder in ground.walk(ground.root, 3):
        for image in folder.images:
            places.setdefault(image.name, []).append(image)
    return places


def _find(
    name: str, table: _Table, places: Mapping[str, Sequence[Path]], root: Path
) -> Path | None:
    """Find the picture that `file_name` means: the one whose folders fit best."""
    parts = [part for part in re.split(r"[/\\]+", name) if part not in ("", ".")]
    found = places.get(parts[-1], ()) if parts else ()
    if len(found) < 2:
        return found[0] if found else None

    def fit(image: Path) -> tuple[int, bool, bool, bool]:
        # How many folders agree from the end; the table's own; one named as its part; images/.
        agree = 0
        for mine, theirs in zip(reversed(image.parts), reversed(parts), strict=False):
            if mine != theirs:
                break
            agree += 1
        above = image.relative_to(root).parts[:-1] if image.is_relative_to(root) else ()
        part = any(_part(Path(folder, "x"), root) == table.part for folder in above)
        own, usual = image.parent == table.path.parent, plain(image.parent.name) in IMAGES
        return agree, own, bool(table.part) and part, usual

    return max(found, key=fit)


def named_classes(reading: Reading, report: Report) -> Reading:
    """Give GeoJSON drawings the names of all classes in the set, and leave damaged ones out."""
    if not any(case.drawing and case.drawing.kind == "geojson" for case in reading.cases):
        return reading
    names: set[str] = set()
    bad: dict[Path, InputError] = {}
    drawn = [c for c in reading.cases if c.mask and c.drawing and c.drawing.kind == "geojson"]
    for path in dict.fromkeys(case.mask for case in drawn if case.mask):
        try:
            names |= set(name_classes(path, "geojson"))
        except InputError as error:
            bad[path] = error
    classes = tuple(sorted(names))
    cases = [
        replace(case, drawing=replace(case.drawing, classes=classes))
        if case.drawing and case.drawing.kind == "geojson"
        else case
        for case in reading.cases
        if case.mask not in bad
    ]
    for fault in bad.values():
        if not cases:
            raise fault
        report(fault)
    return replace(reading, cases=tuple(cases))
