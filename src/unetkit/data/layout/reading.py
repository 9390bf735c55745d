"""A reading: one way to understand a folder, with all that follows from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from unetkit.data.case import Case
from unetkit.data.legend import Legend
from unetkit.errors import InputError

Report = Callable[[InputError], None]
Split = dict[str, tuple[str, ...]]

# How people call the parts of a split.
SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
ALIASES = {word: name for name, words in SPLITS.items() for word in words}


@dataclass(frozen=True)
class Reading:
    """One way to understand a folder.

    Attributes:
        name: what `layout:` in dataset.yaml calls it.
        words: what it recognises, for the sentence that people check.
        cases: images and what belongs to them.
        used: the folders and files that it explains; a reading whose `used` is part of another's
            has overlooked something and gives way to it.
        split: as far as folders or lists state it.
        unpaired: names of images without labels, which a split may name without being at fault.
        legend: what the numbers in its masks mean, where the layout says so.
        aside: what it leaves out by its own rules, in words.
        problems: what is wrong in it but leaves something to go on with.
    """

    name: str
    words: str
    cases: tuple[Case, ...]
    used: frozenset[Path]
    split: Split = field(default_factory=dict)
    unpaired: frozenset[str] = frozenset()
    legend: Legend | None = None
    aside: tuple[str, ...] = ()
    problems: tuple[InputError, ...] = ()


def joined(parts: Sequence[tuple[str, Reading]], *, name: str, words: str, kind: str) -> Reading:
    """Make one reading of several folders that are read alike.

    Args:
        parts: name of the part and its reading.
        name: of the whole.
        words: of the whole.
        kind: "split" where the parts are train, val and test; "group" where each part belongs
            together; "" where they are only a way of sorting.
    """
    prefixes = [part for part, reading in parts for _ in reading.cases]
    cases = unique([case for _, reading in parts for case in reading.cases], prefixes)
    if kind == "group":
        cases = [replace(case, group=part) for case, part in zip(cases, prefixes, strict=True)]
    split: dict[str, list[str]] = {}
    for case, part in zip(cases, prefixes, strict=True):
        if kind == "split":
            split.setdefault(part, []).append(case.id)
    readings = [reading for _, reading in parts]
    return Reading(
        name=name,
        words=words,
        cases=tuple(cases),
        used=frozenset().union(*(reading.used for reading in readings)),
        split={part: tuple(members) for part, members in split.items()},
        unpaired=frozenset().union(*(reading.unpaired for reading in readings)),
        legend=readings[0].legend,
        aside=tuple(dict.fromkeys(words for reading in readings for words in reading.aside)),
        problems=tuple(problem for reading in readings for problem in reading.problems),
    )


def unique(cases: Sequence[Case], prefixes: Iterable[str]) -> list[Case]:
    """Put the prefix before each id that another case has too: the same name may stand twice."""
    often = Counter(case.id for case in cases)
    named = [
        replace(case, id=f"{prefix}_{case.id}") if often[case.id] > 1 else case
        for case, prefix in zip(cases, prefixes, strict=True)
    ]
    taken: set[str] = set()
    result = []
    for case in named:
        name, number = case.id, 2
        while name in taken:
            name, number = f"{case.id}_{number}", number + 1
        taken.add(name)
        result.append(case if name == case.id else replace(case, id=name))
    return result


def several(things: Iterable[str], most: int = 5) -> str:
    """List a few things and say how many more there are."""
    listed = list(things)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
