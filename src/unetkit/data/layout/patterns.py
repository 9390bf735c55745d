"""Patterns of paths: `*`, `?`, `**` for folders at any depth, and `{id}` for the name of a case."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from unetkit.data.layout.folder import Ground, is_there

_ID = "{id}"

Found = tuple[Path, str | None]


def is_pattern(text: str) -> bool:
    """Tell a pattern from a plain path."""
    return any(mark in text for mark in ("*", "?", _ID))


def expand(ground: Ground, pattern: str, known: Collection[str] | None = None) -> list[Found]:
    """List what a pattern fits, in natural order, each with what `{id}` stands for.

    Folders are listed once each, however many ids there are. Hidden files fit no pattern.

    Args:
        ground: the folder in which the pattern begins, unless it is absolute.
        pattern: with `/` between folders.
        known: the ids there are; `{id}*` then stands for the longest of them that fits.
    """
    path = Path(pattern)
    found: list[Found] = [(Path(path.anchor) if path.is_absolute() else ground.root, None)]
    parts = [part for part in path.parts if part != path.anchor]
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        found = [hit for one in found for hit in _step(ground, one, part, last, known)]
    return found


def _step(
    ground: Ground, start: Found, part: str, last: bool, known: Collection[str] | None
) -> Iterator[Found]:
    path, case = start
    if part == "**":
        for folder in ground.walk(path):
            yield from ((file, case) for file in (folder.images if last else [folder.path]))
        return
    if not is_pattern(part):
        if is_there(path / part):
            yield path / part, case
        return
    here = ground.look(path)
    entries = [*here.folders.values(), *here.images, *here.files] if last else here.folders.values()
    fits = re.compile(_translate(part, case), re.DOTALL)
    for entry in entries:
        match = fits.fullmatch(entry.name)
        if match and case is None and _ID in part:
            yield entry, _meant(entry.name, match["id"], part, known)
        elif match:
            yield entry, case


def _translate(part: str, case: str | None) -> str:
    """Turn one part of a pattern into a regular expression."""
    words = []
    for piece in re.split(r"(\{id\}|\*+|\?)", part):
        if piece == _ID and case is None:
            words.append("(?P=id)" if "(?P<id>.+)" in words else "(?P<id>.+)")
        elif piece == _ID:
            words.append(re.escape(case or ""))
        elif piece.startswith("*"):
            words.append(".*")
        else:
            words.append("." if piece == "?" else re.escape(piece))
    return "".join(words)


def _meant(name: str, text: str, part: str, known: Collection[str] | None) -> str:
    """Find the longest known id that fits, for `text` may be too much where a `*` stands, too."""
    if known is None or text in known or "*" not in part:
        return text
    ends = range(1, len(name) + 1)
    inside = {name[k:end] for end in ends for k in range(end) if name[k:end] in known}
    for word in sorted(inside, key=lambda word: (-len(word), word)):
        if re.fullmatch(_translate(part, word), name, re.DOTALL):
            return word
    return text
