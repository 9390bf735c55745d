"""A table of cases: `dataset.csv` or `cases.csv` with the columns image, mask, split, group."""

from __future__ import annotations

import csv
from pathlib import Path

from unetkit.data.case import Case
from unetkit.data.layout.folder import Ground, is_there
from unetkit.data.layout.kinds import drawing_of
from unetkit.data.layout.reading import ALIASES, Reading, unique
from unetkit.errors import InputError, nearest
from unetkit.image import stem

_NAMES = ("dataset.csv", "cases.csv")
_COLUMNS = ("id", "image", "mask", "fov", "observer", "split", "group")
_SHAPE = f"write a first line of columns: {','.join(_COLUMNS[1:3])},split,group"
_MOST_BYTES = 256 * 2**20


def read_table(ground: Ground) -> list[Reading]:
    """Read a table whose paths begin at its folder; a row without mask is an unlabelled image.

    Raises:
        InputError: the table is damaged, or a file that it names is not there.
    """
    files = {file.name.lower(): file for file in ground.look(ground.root).files}
    path = next((files[name] for name in _NAMES if name in files), None)
    if path is None:
        return []
    rows = _read(path)
    cases: list[Case] = []
    prefixes: list[str] = []
    parts: list[str] = []
    problems: list[InputError] = []
    used = {path}
    for number, row in rows:
        if not row.get("image"):
            cure = "name its image, or take the row out"
            problems.append(InputError(f"row {number} names no image", where=path, cure=cure))
            continue
        given = {k: ground.root / row[k] for k in ("image", "mask", "fov", "observer") if row[k]}
        missing = [row[kind] for kind, file in given.items() if not is_there(file)]
        if missing:
            what = f"row {number} names {missing[0]}, which is not there"
            problems.append(InputError(what, where=path, cure="correct the path, from this folder"))
        elif "mask" not in given and ground.required:
            cure = "name its mask, or take the row out"
            problems.append(InputError(f"row {number} names no mask", where=path, cure=cure))
        else:
            used |= {file.parent for file in given.values()}
            image, mask = given["image"], given.get("mask")
            drawing = drawing_of(mask) if mask else None
            name, group = row["id"] or stem(image), row["group"] or None
            cases.append(Case(name, image, mask, given.get("fov"), given.get("observer"), group,
                              drawing=drawing))  # fmt: skip
            prefixes.append(image.parent.name)
            part = row["split"]
            parts.append(ALIASES.get(part.lower(), part))
    if not cases:
        raise problems[0] if problems else InputError("has no rows", where=path, cure=_SHAPE)
    cases = unique(cases, prefixes)
    split: dict[str, list[str]] = {}
    for case, part in zip(cases, parts, strict=True):
        if part:
            split.setdefault(part, []).append(case.id)
    words = f"{path.name}, {len(cases)} cases"
    return [Reading("table", words, tuple(cases), frozenset(used),
                    {part: tuple(ids) for part, ids in split.items()},
                    problems=tuple(problems))]  # fmt: skip


def _read(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Give the rows with their numbers; columns that are not there are empty."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError("is too large for a table of cases", where=path, cure=_SHAPE)
        text = path.read_text(encoding="utf-8-sig")
        first = text.partition("\n")[0]
        mark = max(",;\t", key=first.count)
        lines = list(csv.reader(text.splitlines(), delimiter=mark))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"is no readable table ({error})", where=path, cure=_SHAPE) from error
    head = [cell.strip().lower() for cell in lines[0]] if lines else []
    if "image" not in head:
        raise InputError("has no column named image", where=path, cure=_SHAPE)
    odd = next((name for name in head if name and name not in _COLUMNS), None)
    if odd:
        raise InputError(f"unknown column {odd}", where=path, cure=nearest(odd, _COLUMNS))
    empty = dict.fromkeys(_COLUMNS, "")
    return [
        (number, empty | {k: cell.strip() for k, cell in zip(head, line, strict=False) if k})
        for number, line in enumerate(lines[1:], 2)
        if any(cell.strip() for cell in line)
    ]
