"""What can be wrong with a set as a whole: its splits, groups and names."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from unetkit.data.checks.masks import inverted, misplaced
from unetkit.data.checks.measures import saturated, unequal
from unetkit.data.checks.problem import SPLITS, Problem, from_error, listed, plural
from unetkit.data.checks.twins import homes, twins
from unetkit.data.dataset import Dataset
from unetkit.data.fingerprints import looked_counts
from unetkit.data.survey import Look
from unetkit.errors import InputError

_SMALL_TRAIN = 0.2  # share of all cases below which it is asked whether train is meant so small
_FEW = 10  # cases, below which every split is small


def across(dataset: Dataset, looks: Mapping[str, Look]) -> Iterator[Problem]:
    """Give what is wrong with the cases of a set beside each other."""
    groups, declared, faulty = known_groups(dataset)
    if faulty:
        yield faulty
    yield from twins(dataset, looks, groups)
    yield from _leaks(dataset, groups, declared)
    yield from _collisions(dataset)
    yield from _absences(dataset, looks)
    yield from _small(dataset)
    yield from unequal(dataset, looks)
    yield from saturated(dataset, looks)
    yield from inverted(dataset, looks)
    yield from misplaced(dataset, looks)


def known_groups(dataset: Dataset) -> tuple[dict[str, str], bool, Problem | None]:
    """Give case → group, whether somebody has declared them, and what is wrong with the list.

    Groups come from the layout, from `groups.json`, or from names such as `01_t003`.
    """
    from unetkit.data.portions import groups

    declared = any(case.group for case in dataset.cases) or _has_list(dataset)
    try:
        return groups(dataset) or {}, declared, None
    except InputError as error:
        return {}, False, from_error(error)


def torn_groups(
    split: Mapping[str, Sequence[str]], groups: Mapping[str, str]
) -> tuple[dict[str, dict[str, list[str]]], int]:
    """Give the groups that are spread over splits, as group → split → cases; and count all.

    A group that is all of train and val is none of them: one must be taken from the other.
    """
    home = homes(split)
    members: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for case, group in groups.items():
        if case in home:
            members[group][home[case]].append(case)
    pool = {*split.get("train", ()), *split.get("val", ())}
    torn = {
        group: dict(parts)
        for group, parts in members.items()
        if len(parts) > 1
        and not (set(parts) == {"train", "val"} and pool == {*parts["train"], *parts["val"]})
    }
    return torn, len(members)


def _leaks(dataset: Dataset, groups: dict[str, str], declared: bool) -> Iterator[Problem]:
    torn, count = torn_groups(dataset.split, groups)
    if not torn:
        return
    group, parts = next(iter(torn.items()))
    shown = ", ".join(f"{name} has {listed(parts[name], 2)}" for name in SPLITS if name in parts)
    what = f"the group {group} is spread over splits ({shown})"
    if len(torn) > 1:
        what = f"{len(torn)} of {count} groups are spread over splits (such as {group}: {shown})"
    yield Problem(
        "error" if declared else "warning",
        str(dataset.root / "groups.json" if declared and _has_list(dataset) else dataset.root),
        f"{what}, so that scores flatter"
        + ("" if declared else ", if these names are of one video or volume"),
        "put each group into one split, or let --fix do it"
        if declared
        else "put each video or volume into one split, or say in groups.json what belongs together",
        "leak",
    )


def _has_list(dataset: Dataset) -> bool:
    return (dataset.root / "groups.json").is_file()


def _collisions(dataset: Dataset) -> Iterator[Problem]:
    named: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for case in dataset.cases:
        named[unicodedata.normalize("NFC", case.id).casefold()].append((case.id, case.image))
    for same in named.values():
        if len(same) > 1:
            names = " and ".join(case for case, _ in same)
            forms = {unicodedata.normalize("NFC", case) for case, _ in same}
            how = "capitals" if len(forms) > 1 else "the encoding of an accent"
            yield Problem(
                "warning",
                str(same[1][1]),
                f"the names {names} differ in {how} only",
                "rename one, with its mask: macOS and Windows take them for the same file",
                "names",
            )


def _absences(dataset: Dataset, looks: Mapping[str, Look]) -> Iterator[Problem]:
    task = dataset.task
    counts = {
        case.id: looked_counts(looks[case.id], task)
        for case in dataset.cases
        if case.id in looks and looks[case.id].counted is not None
    }
    if not task.classes or not counts:
        return
    overall = np.sum(list(counts.values()), axis=0)
    for index, name in enumerate(task.classes):
        if overall[index] == 0:
            yield Problem(
                "warning",
                str(dataset.root),
                f"the class {name} is in no mask",
                "take it out of classes.json, or draw it somewhere",
                "absent-class",
            )
            continue
        for split in SPLITS:
            members = [counts[i] for i in dataset.split.get(split, ()) if i in counts]
            if members and np.sum(members, axis=0)[index] == 0:
                yield Problem(
                    "warning",
                    str(dataset.root),
                    f"the class {name} is in no mask of {split}",
                    "move a case that shows it there"
                    + ("" if split == "train" else f", or expect no score for it on {split}"),
                    "absent-class",
                )


def _small(dataset: Dataset) -> Iterator[Problem]:
    sizes = {name: len(dataset.split.get(name, ())) for name in SPLITS}
    total, train = sum(sizes.values()), sizes["train"]
    if total >= _FEW and 0 < train < _SMALL_TRAIN * total:
        rest = ", ".join(f"{sizes[name]} {name}" for name in SPLITS[1:] if sizes[name])
        yield Problem(
            "warning",
            str(dataset.root),
            f"train has {plural(train, 'case')} beside {rest}",
            "move cases to train, if the split is not meant so",
            "small-train",
        )
