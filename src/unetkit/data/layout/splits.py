"""Splits: read where somebody wrote them down, else drawn so that no group is ever parted."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from unetkit.data.case import Case
from unetkit.data.layout.folder import guarded, read_json
from unetkit.data.layout.reading import ALIASES, SPLITS, Report, Split
from unetkit.errors import InputError
from unetkit.image import stem

_SHARE = 0.15  # of the cases, for val and for test
_SHAPE = 'write {"train": [names], "val": [names], "test": [names]}'
_SEQUENCE = re.compile(r"(.+?)[_-](?:t|frame|slice|z|f|s)?\d+")  # 01_t003, brain7_slice_12


def read_split(path: Path, known: Collection[str], report: Report) -> Split:
    """Read `{"train": [names], …}`; keys other than train, val and test follow behind.

    Args:
        path: the JSON file.
        known: names of all images; their suffixes may be written or left out.
        report: called with each name that is no image's, or stands in two splits.

    Raises:
        InputError: the file is damaged or names no case.
    """
    try:
        content = read_json(path)
    except InputError as error:
        raise guarded(error, _SHAPE) from error
    return sorted_out(content, known, report, path)


def sorted_out(content: object, known: Collection[str], report: Report, path: Path) -> Split:
    """Check a table of lists of names, as `read_split` describes it."""
    lists = content.values() if isinstance(content, dict) else [None]
    if not all(isinstance(m, list) and all(isinstance(i, str) for i in m) for m in lists):
        raise InputError("is not a table of lists of names", where=path, cure=_SHAPE)
    assert isinstance(content, dict)
    split: dict[str, list[str]] = {name: [] for name in SPLITS}
    taken: dict[str, str] = {}
    for key, members in content.items():
        name = str(ALIASES.get(key.lower(), key))
        for member in members:
            # Names are accepted with and without suffix.
            case = member if member in known else stem(member)
            if case not in known:
                report(
                    InputError(
                        f"{key} names {member}, which is no image here",
                        where=path,
                        cure="correct the name or take it out",
                    )
                )
            elif name in SPLITS and taken.get(case, name) != name:
                report(
                    InputError(
                        f"{case} is in both {taken[case]} and {name}",
                        where=path,
                        cure="keep it in one, or the scores will flatter",
                    )
                )
            else:
                taken.update({case: name} if name in SPLITS else {})
                split.setdefault(name, []).append(case)
    if not any(split[name] for name in SPLITS):
        raise InputError("names no case for train, val or test", where=path, cure=_SHAPE)
    return {name: tuple(dict.fromkeys(members)) for name, members in split.items()}


def read_groups(path: Path, ids: Sequence[str]) -> dict[str, str]:
    """Read `{"case": "group", …}`.

    Raises:
        InputError: the file is damaged, or leaves a case out.
    """
    shape = 'write {"case": "group", …}, one entry per case'
    try:
        known = read_json(path)
    except InputError as error:
        raise guarded(error, shape) from error
    if not isinstance(known, dict):
        raise InputError("is not a table of cases", where=path, cure=shape)
    missing = [i for i in ids if i not in known]
    if missing:
        raise InputError(f"says nothing of {missing[0]}", where=path, cure=shape)
    return {i: str(known[i]) for i in ids}


def series(ids: Sequence[str]) -> dict[str, str] | None:
    """Recognise frames and slices by names such as `01_t003` or `brain7_slice_12`.

    Returns:
        case → series; None unless each case is in one of at least two series of at least two.
    """
    matches = [_SEQUENCE.fullmatch(i) for i in ids]
    named = {i: match[1] for i, match in zip(ids, matches, strict=True) if match}
    sizes = Counter(named.values())
    return named if len(named) == len(ids) and len(sizes) > 1 and min(sizes.values()) > 1 else None


def completed(
    split: Mapping[str, Sequence[str]], cases: Sequence[Case], seed: int
) -> tuple[Split, str]:
    """Draw what is missing, so that whoever may train may also validate; say so in words.

    What belongs together is never parted: the groups of the cases, else series of names. Two groups
    give train and val, but no test; only a single group is parted, into runs of neighbours.
    """
    ids = [case.id for case in cases]
    there, groups, note = set(ids), _groups(cases), ""
    kept = {name: tuple(i for i in members if i in there) for name, members in split.items()}
    kept = {name: members for name, members in kept.items() if members}
    part = _part(len(kept.get("train", ids)))
    if not any(name in kept for name in SPLITS):
        test, note = _drawn_test(ids, groups, part, seed)
        beside = set(test)
        train = tuple(i for i in ids if i not in beside)
        kept = {"train": train, **({"test": test} if test else {}), **kept}
    train = kept.get("train", ())
    if train and "val" not in kept:
        kept["val"], words = _drawn_val(train, groups, part, seed)
        note = words if len(train) == 1 or not note else note
        beside = set(kept["val"]) if len(train) > 1 else set()
        kept["train"] = tuple(i for i in train if i not in beside)
    rest = there.difference(*kept.values())
    order_of = {case: position for position, case in enumerate(ids)}
    names = [*(n for n in SPLITS if n in kept), *(n for n in kept if n not in SPLITS)]
    kept = {name: tuple(sorted(kept[name], key=order_of.__getitem__)) for name in names}
    words = ", ".join(f"{len(kept[name])} {name}" for name in names)
    return kept, words + note + (f", {len(rest)} in no split" if rest else "")


def shuffled(ids: Iterable[str], seed: int) -> tuple[str, ...]:
    """Order by a hash of seed and name: the same on every machine, whatever else is added."""
    return tuple(sorted(ids, key=lambda i: _digest(f"{seed}/{i}")))


def _digest(text: str) -> bytes:
    # A file's name need not be letters: what is none passes as it is.
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _part(count: int) -> int:
    return max(1, round(_SHARE * count))


def _groups(cases: Sequence[Case]) -> dict[str, str] | None:
    """Say what belongs together, if anything does; a case without a group stands alone."""
    if not any(case.group for case in cases):
        return series([case.id for case in cases])
    named = {case.id: case.group or f"alone/{case.id}" for case in cases}
    return named if len(set(named.values())) < len(named) else None


def _drawn_test(
    ids: Sequence[str], groups: dict[str, str] | None, part: int, seed: int
) -> tuple[tuple[str, ...], str]:
    if len(ids) < 3:
        return (), ""
    if groups is None:
        note = f" (drawn at random by seed {seed}, about 70/15/15)"
        return shuffled(ids, seed)[:part], note
    count = len(set(groups.values()))
    if count == 1:
        note = " (one group only, parted into runs of neighbours: its scores may flatter)"
        return tuple(ids[-part:]), note
    if count == 2:
        return (), f" (two groups, one each: drawn at random by seed {seed})"
    note = f" ({count} groups drawn at random by seed {seed} and never parted)"
    return _whole(ids, groups, part, 2, seed), note


def _drawn_val(
    train: Sequence[str], groups: dict[str, str] | None, part: int, seed: int
) -> tuple[tuple[str, ...], str]:
    if len(train) == 1:
        return tuple(train), " (val is the one case of train, so its scores will flatter)"
    if groups is None:
        chosen = set(shuffled(train, seed)[:part])
        drawn = tuple(i for i in train if i in chosen)
        return drawn, f" (val drawn at random from train by seed {seed})"
    if len({groups[i] for i in train}) == 1:
        note = " (val is the end of train, which is one group: its scores may flatter)"
        return tuple(train[-part:]), note
    note = f" (val: whole groups drawn at random from train by seed {seed})"
    return _whole(train, groups, part, 1, seed), note


def _whole(
    ids: Sequence[str], groups: dict[str, str], part: int, left: int, seed: int
) -> tuple[str, ...]:
    """Draw whole groups with about `part` cases together, and leave at least so many groups."""
    size = Counter(groups[i] for i in ids)
    order = shuffled(size, seed)
    chosen: set[str] = set()
    total = 0
    for name in order:
        if total >= part or len(size) - len(chosen) <= left:
            break
        if total + size[name] <= 1.25 * part:
            chosen.add(name)
            total += size[name]
    chosen = chosen or {min(order, key=size.__getitem__)}
    return tuple(i for i in ids if groups[i] in chosen)
