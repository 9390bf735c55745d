r"""`dataset.yaml` in the root of a set settles by hand what is in it, whatever its folders suggest.

```yaml
layout: images+masks          # one of the readings that `unet check` lists, or instead of it:

images: photos/*.jpg          # a folder, a pattern, or a list of such; {id} may stand for the name
masks: truth/{id}_mask.png    # a pattern with {id}, a folder (paired by name), COCO's JSON, or a
                              #   list of pairs [photos/a.jpg, truth/1.png]; then leave out images
bands: [nir/{id}.tif]         # further channels: patterns with {id}, in order
fov: fov/{id}.png             # field of view: a pattern with {id}, a folder, or one file for all
observer: second/{id}.png     # labels of a second annotator (masks2 is the same)

split: split.json             # a file, or {train: [a, "b*"], test: lists/test.txt}: ids, patterns
                              #   of ids or paths, or a text file with one of them a line
groups: ^(patient\d+)_        # an expression whose group is cut from the id, or {a: p1, b: p1}, or
                              #   a file
classes: {0: background, 1: road}    # or colours: {"#ff0000": building}, or a list of names from 0
ignore: [255]                 # numbers or colours in the masks that do not count
```

A pattern knows `*`, `?`, `**` (folders at any depth) and `{id}`. Masks that end in `.geojson` are
QuPath's, in `.zip` or `.roi` ImageJ's; several files for one id hold one object each. Paths begin
at the folder of the file. `split`, `groups`, `classes` and `ignore` also go with `layout`, or
alone with whatever is recognised.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from unetkit.data.case import Case
from unetkit.data.colours import read_colour
from unetkit.data.layout.folder import Ground, is_there
from unetkit.data.layout.patterns import is_pattern
from unetkit.data.layout.reading import Report, Split
from unetkit.data.layout.splits import read_groups, read_split, sorted_out
from unetkit.data.legend import Legend, legend_of
from unetkit.errors import InputError, nearest

_NAMES = ("dataset.yaml", "dataset.yml")
_PLACES = ("images", "masks", "bands", "fov", "observer", "masks2")
_KEYS = ("layout", *_PLACES, "split", "groups", "classes", "ignore")
_MOST_BYTES = 64 * 2**20


def find_declaration(root: Path) -> Path | None:
    """Give the path of dataset.yaml, if there is one."""
    return next((root / name for name in _NAMES if is_there(root / name, file=True)), None)


def read_declaration(path: Path) -> dict[str, Any]:
    """Read dataset.yaml and check its keys.

    Raises:
        InputError: it is no YAML, or has a key that is unknown or fits no other.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError("is too large", where=path, cure="name the files by patterns")
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        cure = "correct it, or take it out"
        raise InputError(f"is no readable YAML ({reason})", where=path, cure=cure) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError("is not a table of keys", where=path, cure=f"known are {', '.join(_KEYS)}")
    odd = next((key for key in content if key not in _KEYS), None)
    if odd is not None:
        raise InputError(f"unknown key {odd}", where=path, cure=nearest(str(odd), _KEYS))
    content = {key: value for key, value in content.items() if value is not None}
    places = [key for key in _PLACES if key in content]
    if "layout" in content and places:
        what = f"says both layout and {places[0]}"
        raise InputError(what, where=path, cure="keep one of the two")
    if "observer" in content and "masks2" in content:
        what = "says both observer and masks2, which are the same"
        raise InputError(what, where=path, cure="keep one of the two")
    pairs = isinstance(content.get("masks"), list | dict)
    if pairs and "images" in content:
        what = "says images, but masks lists pairs that name them, too"
        raise InputError(what, where=path, cure="keep one of the two")
    if places and "images" not in content and not pairs:
        raise InputError(f"says {places[0]} but not images", where=path, cure="add images: FOLDER")
    return content


def declared_split(
    value: Any, cases: Sequence[Case], known: set[str], ground: Ground, path: Path, report: Report
) -> Split:
    """Read `split`: a file, or a table of ids, patterns of ids or paths, and lists in files.

    Args:
        value: what stands under the key.
        cases: all cases.
        known: their names and those of images without labels.
        ground: the folder of the set.
        path: of dataset.yaml.
        report: as for `read_split`.

    Raises:
        InputError: a file is not there, or the table is none.
    """
    where = Path(f"{path}: split")
    if isinstance(value, str):
        return read_split(_file(ground, value, where), known, report)
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        cure = "write {train: [a, b], test: [c]}, or the name of a file"
        raise InputError("is no table of lists", where=where, cure=cure)
    paths = {str(case.image.relative_to(ground.root)): case.id for case in cases
             if case.image.is_relative_to(ground.root)}  # fmt: skip
    table: dict[str, list[str]] = {}
    for name, members in value.items():
        listed = members if isinstance(members, list) else [members]
        texts = [str(one) for one in listed if isinstance(one, str | int) and one != ""]
        if len(texts) < len([one for one in listed if one is not None]):
            cure = "write ids or patterns"
            raise InputError(f"{name} is no list of names", where=where, cure=cure)
        if texts and isinstance(members, str) and members.lower().endswith(".txt"):
            file = _file(ground, members, where)
            try:
                lines = file.read_text(encoding="utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                cure = "write one name a line"
                raise InputError(f"cannot be read ({error})", where=file, cure=cure) from error
            texts = [line.strip() for line in lines if line.strip()]
        found: list[str] = []
        for text in texts:
            if text in known or not is_pattern(text):
                found.append(paths.get(text, text))
                continue
            words = "".join(
                {"*": ".*", "?": "."}.get(piece, re.escape(piece))
                for piece in re.split(r"([*?])", text)
            )
            fits = re.compile(words, re.DOTALL).fullmatch
            hits = [i for i in known if fits(i)] + [i for name, i in paths.items() if fits(name)]
            found += sorted(set(hits)) or [text]
        table[name] = found
    return sorted_out(table, known, report, where)


def declared_groups(
    value: Any, cases: Sequence[Case], ground: Ground, path: Path
) -> dict[str, str]:
    """Read `groups`: an expression, a table of ids, or a file.

    Raises:
        InputError: it is none of these, or says nothing of a case.
    """
    where = Path(f"{path}: groups")
    ids = [case.id for case in cases]
    shape = r"write an expression with one group, such as ^(patient\d+)_"
    if isinstance(value, dict):
        table = {str(key): str(group) for key, group in value.items()}
        missing = next((i for i in ids if i not in table), None)
        if missing is not None:
            cure = "add it, or write an expression"
            raise InputError(f"says nothing of {missing}", where=where, cure=cure)
        return {i: table[i] for i in ids}
    if not isinstance(value, str):
        raise InputError("is no expression, table or file", where=where, cure=shape)
    if value.endswith(".json"):
        return read_groups(_file(ground, value, where), ids)
    try:
        cut = re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        raise InputError(f"is no expression ({error})", where=where, cure=shape) from error
    if cut.groups != 1:
        raise InputError(f"has {cut.groups} groups in brackets", where=where, cure=shape)
    matches = {i: cut.search(i) for i in ids}
    odd = next((i for i, match in matches.items() if match is None or match[1] is None), None)
    if odd is not None:
        raise InputError(f"{value} does not fit {odd}", where=where, cure=shape)
    return {i: match[1] for i, match in matches.items() if match}


def declared_legend(content: Mapping[str, Any], path: Path) -> Legend | None:
    """Read `classes` and `ignore`, both in numbers or both in colours.

    Raises:
        InputError: they are no such things.
    """
    classes, ignored = content.get("classes"), content.get("ignore", [])
    if classes is None:
        if "ignore" in content:
            cure = "write classes: {0: background, 1: road} beside it"
            raise InputError("says ignore but not classes", where=path, cure=cure)
        return None
    where = f"{path}: classes"
    shape = 'write {0: background, 1: road}, or {"#ff0000": building}'
    if isinstance(classes, list):
        classes = dict(enumerate(classes))
    if not isinstance(classes, dict) or not classes:
        raise InputError("is no table of numbers and names", where=where, cure=shape)
    keys = [_number(key) for key in classes]
    names = [name for name in classes.values() if isinstance(name, str) and name.strip()]
    kinds = {colour for _, colour in filter(None, keys)}
    if len(names) < len(classes) or None in keys or len(kinds) > 1:
        raise InputError("is no table of numbers (or colours) and names", where=where, cure=shape)
    colours = True in kinds
    numbers = [_number(one) for one in (ignored if isinstance(ignored, list) else [ignored])]
    if any(one is None or one[1] != colours for one in numbers):
        cure = "write ignore: [255]" if not colours else 'write ignore: ["#000000"]'
        raise InputError("is no list of such", where=f"{path}: ignore", cure=cure)
    also = tuple(number for number, _ in filter(None, numbers))
    named = {n: name.strip() for (n, _), name in zip(filter(None, keys), names, strict=True)}
    try:
        legend = legend_of(
            {number: name for number, name in named.items() if number not in also},
            colours=colours,
            source=path.name,
        )
    except InputError as error:
        raise InputError(error.what, where=where, cure=error.cure) from error
    return replace(legend, ignore=tuple(dict.fromkeys((*legend.ignore, *also))))


def _number(value: Any) -> tuple[int, bool] | None:
    """Read a number, or a colour as one number; tell which."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31:
        return value, False
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,9}", value.strip()):
        return int(value), False
    colour = read_colour(value)
    return (colour, True) if colour is not None else None


def _file(ground: Ground, text: str, where: Path) -> Path:
    if is_there(ground.root / text, file=True):
        return ground.root / text
    cure = "correct the path; it begins at the folder of this file"
    raise InputError(f"there is no {text}", where=where, cure=cure)
