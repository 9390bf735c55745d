"""A legend: which number or colour in a mask is which class."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unetkit.data.colours import colour_name, read_colour
from unetkit.errors import InputError

LEGENDS = ("classes.json", "classes.csv", "class_dict.csv", "label_colors.txt", "labelmap.txt")
"""Names under which legends are found beside masks: ours, and those of CamVid, DeepGlobe, CVAT."""

_WRITE = 'write {"0": "background", "1": "road", "255": "unknown (ignore)"}'
_NAMES = ("name", "class", "label", "title", "class_name")
_VALUES = ("value", "pixel_value", "id", "index", "class_id")
_COLOURS = ("color", "colour", "rgb", "hex")
_MOST_BYTES = 2**20  # a legend is read by people; anything larger is another file
_IGNORED = re.compile(r"ignore|\b(void|unlabell?ed|unannotated|no[ -]?data)\b", re.IGNORECASE)

Row = tuple[int | None, int | None, str]  # number, colour, name


@dataclass(frozen=True)
class Legend:
    """What somebody wrote down about the masks of a set.

    Attributes:
        names: number in the masks → name of the class, in the order of the classes; two numbers
            of one name are one class. Where `colours`, the number is 65536·red + 256·green + blue.
        ignore: numbers that do not count.
        colours: the masks are pictures in class colours.
        source: the file it comes from, for messages.
        twin: the same classes by colour, where a legend states numbers and colours: then the masks
            tell which of them they hold.
    """

    names: dict[int, str]
    ignore: tuple[int, ...] = ()
    colours: bool = False
    source: str = "classes.json"
    twin: Legend | None = None


def read_legend(path: str | Path) -> Legend:
    """Read a legend of any of the usual forms.

    JSON: value → name (`{"0": "sky"}`), a list of names, name → value, and all of these with
    colours (`"#FF0000"`, `"255,0,0"`, `"rgb(255, 0, 0)"`, `[255, 0, 0]`) in place of values; or a
    list of such entries, as Supervisely and the Dubai set have it (`{"classes": [{"title": "road",
    "color": "#6EC1E4"}]}`). Text: columns of name, value or r, g, b with or without a header
    (`class_dict.csv`, `label_colors.txt`), or CVAT's `labelmap.txt`.

    Raises:
        InputError: not readable, not understood, ambiguous, or everything in it is ignored.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError("is too large for a list of classes", where=path, cure=_WRITE)
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError("no such file", where=path, cure="check the path") from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path) from error
    except UnicodeDecodeError as error:
        raise InputError("is no text in UTF-8", where=path, cure=_WRITE) from error
    if path.suffix.lower() == ".json":
        rows = _entries(_parse(text, path), path)
    else:
        rows = _table(text, path)
    return _settle(rows, path)


def find_legend(*folders: Path) -> Legend | None:
    """Read the legend that lies in the first of these folders that has one.

    Raises:
        InputError: as `read_legend`.
    """
    for folder in folders:
        for name in LEGENDS:
            if (folder / name).is_file():
                return read_legend(folder / name)
    return None


def legend_of(
    names: Mapping[int, str], *, colours: bool = False, source: str = "classes.json"
) -> Legend:
    """Make a legend of numbers (or packed colours) and names, and find out which do not count.

    Ignored are names with "ignore" in them, and names with the word void, unlabelled (unlabeled),
    unannotated or no data, unless that left fewer than two classes: then the unlabelled is the
    background of the one class that was drawn. Pores that are a class of their own are best named
    so. A class named background comes first, for class 0 is what a pixel is if it is nothing else.

    Raises:
        InputError: every number is ignored, or all but one.
    """
    ignore = tuple(number for number, name in names.items() if is_ignored(name))
    if len({name for number, name in names.items() if number not in ignore}) < 2:
        ignore = tuple(number for number in ignore if "ignore" in names[number].lower())
    kept = {number: name for number, name in names.items() if number not in ignore}
    if not kept:
        raise InputError(
            f"{source} ignores every value", cure="name at least one class without the word ignore"
        )
    if len(set(kept.values())) == 1 and 0 in {*kept, *ignore}:
        raise InputError(
            f"{source} leaves one class, {next(iter(kept.values()))}, so that nothing is to be told"
            " apart",
            cure="name the background, and do not ignore it",
        )
    if len(set(kept.values())) == 1:
        kept = {0: "background"} | kept
    first = [number for number, name in kept.items() if name.lower() == "background"]
    kept = {number: kept[number] for number in (*first, *kept)}
    return Legend(kept, ignore, colours, source)


def is_ignored(name: str) -> bool:
    """Tell whether a class of this name marks what does not count.

    Example:
        >>> [is_ignored(name) for name in ("unlabelled (ignore)", "Void", "avoidance lane")]
        [True, True, False]
    """
    return _IGNORED.search(name) is not None


# ------------------------------------------------------------------------------------------ JSON


def _parse(text: str, path: Path) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen = dict(pairs)
        if len(seen) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise InputError(f"names {twice} twice", where=path, cure="keep one of the two")
        return seen

    try:
        return json.loads(text, object_pairs_hook=unique)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no readable JSON ({error})", where=path, cure=_WRITE) from error


def _entries(content: Any, path: Path) -> list[Row]:
    if isinstance(content, dict):
        nested = [content[key] for key in ("classes", "labels") if _is_nested(content.get(key))]
        if nested:
            return _entries(nested[0], path)
    if isinstance(content, list) and content and all(isinstance(one, dict) for one in content):
        return [_entry(one, path) for one in content]
    if isinstance(content, list):
        content = dict(enumerate(content))
    if not isinstance(content, dict) or not content:
        raise _strange(path)
    rows = [_pair(key, value) for key, value in content.items()]
    if any(row is None for row in rows):
        raise _strange(path)
    return [row for row in rows if row is not None]


def _is_nested(value: Any) -> bool:
    return isinstance(value, list | dict) and len(value) > 0 and read_colour(value) is None


def _pair(key: Any, value: Any) -> Row | None:
    """Read `key: value`, one of which is a name and the other a number or a colour."""
    found: list[Row] = []
    for one, name in ((key, value), (value, key)):
        if not isinstance(name, str) or not name.strip() or _number(name) is not None:
            continue
        if read_colour(name) is None:
            number, colour = _number(one), read_colour(one)
            if number is not None or colour is not None:
                found.append((number, colour, name.strip()))
    return found[0] if len(found) == 1 else None


def _entry(one: dict[str, Any], path: Path) -> Row:
    fields = {str(key).strip().lower(): value for key, value in one.items()}
    name = next((fields[key] for key in _NAMES if isinstance(fields.get(key), str)), "")
    numbers = (_number(fields.get(key)) for key in _VALUES)
    number = next((one for one in numbers if one is not None), None)
    painted = (read_colour(fields.get(key)) for key in _COLOURS)
    colour = next((one for one in painted if one is not None), None)
    if not name.strip() or (number is None and colour is None):
        raise InputError(
            f"does not say name and value (or color) of a class: {str(one)[:80]}",
            where=path,
            cure='write {"name": "road", "value": 1} or {"name": "road", "color": "#6EC1E4"}',
        )
    return number, colour, name.strip()


def _number(text: object) -> int | None:
    """Read a whole number of at most nine digits, be it written as text."""
    if isinstance(text, str) and re.fullmatch(r"[+-]?\d{1,9}", text.strip()):
        return int(text)
    return text if type(text) is int and abs(text) < 10**9 else None


# ------------------------------------------------------------------------------------------ text


def _table(text: str, path: Path) -> list[Row]:
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not re.match(r"#(\s|$|!)", line)]
    if not lines:
        raise _strange(path)
    cut = [_cells(line) for line in lines]
    head = [cell.lower() for cell in cut[0]]
    known = {*_NAMES, *_VALUES, *_COLOURS, *"rgb", "red", "green", "blue"}
    if len(head) > 1 and all(cell in known for cell in head):
        rows = [_columns(head, cells, path) for cells in cut[1:]]
    else:
        rows = [_row(cells, path) for cells in cut]
    if not rows:
        raise _strange(path)
    return rows


def _cells(line: str) -> list[str]:
    painted = re.fullmatch(r"([^:,;\t]+):(\d+,\d+,\d+)(:.*)?", line)  # CVAT: name:r,g,b:parts:acts
    if painted:
        return [painted[1].strip(), *painted[2].split(",")]
    spaced = re.fullmatch(r"(\d+)\s+(\d+)\s+(\d+)[\s,;]+(\S.*)", line)  # CamVid: r g b name
    if spaced:
        return [part.strip() for part in spaced.groups()]
    mark = next((mark for mark in "\t;," if mark in line), None)
    if mark:
        try:
            cells = next(csv.reader([line], delimiter=mark, skipinitialspace=True))
        except csv.Error:  # a field beyond its limit
            cells = line.split(mark)
        return [cell.strip() for cell in cells]
    numbered = re.fullmatch(r"([+-]?\d+)\s*[\s:=]\s*([^\d\s].*)", line)
    return list(numbered.groups()) if numbered else line.split()


def _columns(head: Sequence[str], cells: Sequence[str], path: Path) -> Row:
    fields: dict[str, Any] = dict(zip(head, cells, strict=False))
    for letters in (("r", "g", "b"), ("red", "green", "blue")):
        if all(letter in fields for letter in letters):
            fields["color"] = ",".join(fields.pop(letter) for letter in letters)
    return _entry(fields, path)


def _row(cells: Sequence[str], path: Path) -> Row:
    cells = [cell for cell in cells if cell]
    names = [cell for cell in cells if _number(cell) is None and read_colour(cell) is None]
    others = [cell for cell in cells if cell not in names]
    if len(names) == 1 and len(others) == 3:
        others = [",".join(others)]
    if len(names) == 1 and len(others) == 1:
        number, colour = _number(others[0]), read_colour(others[0])
        if number is not None or colour is not None:
            return number, colour, names[0]
    raise InputError(
        f"does not say name and value (or r, g, b) of a class: {','.join(cells)[:80]}",
        where=path,
        cure="write a first line name,value or name,r,g,b and a line for each class",
    )


# --------------------------------------------------------------------------------------- settling


def _settle(rows: Sequence[Row], path: Path) -> Legend:
    """Make a legend of what was read: by numbers, by colours, or by both."""
    numbers = [(number, name) for number, _, name in rows if number is not None]
    colours = [(colour, name) for _, colour, name in rows if colour is not None]
    if 0 < len(numbers) < len(rows) and 0 < len(colours) < len(rows):
        raise InputError(
            "names some classes by number and others by colour",
            where=path,
            cure="give all of them numbers, or all of them colours",
        )
    try:
        if len(numbers) < len(rows):
            return legend_of(_unique(colours, path, colour_name), colours=True, source=path.name)
        legend = legend_of(dict(sorted(_unique(numbers, path, str).items())), source=path.name)
        if len(colours) < len(rows) or len(dict(colours)) < len(set(colours)):
            return legend  # colours of some classes only, or one of two classes, are for show
        painted = legend_of(_unique(colours, path, colour_name), colours=True, source=path.name)
        return replace(legend, twin=painted)
    except InputError as error:
        if error.where is not None:
            raise
        raise InputError(error.what, where=path.parent, cure=error.cure) from None


def _unique(pairs: Iterable[tuple[int, str]], path: Path, show: Any) -> dict[int, str]:
    names: dict[int, str] = {}
    for number, name in pairs:
        if names.setdefault(number, name) != name:
            raise InputError(
                f"gives {show(number)} to both {names[number]} and {name}",
                where=path,
                cure="give every class a value or colour of its own",
            )
    return names


def _strange(path: Path) -> InputError:
    return InputError("does not name mask values", where=path, cure=_WRITE)
