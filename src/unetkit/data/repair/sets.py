"""The set as a whole: images of one kind, masks of one meaning, no twins, groups kept together."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from unetkit.data.case import Case
from unetkit.data.checks.across import known_groups, torn_groups
from unetkit.data.checks.twins import MOST, homes, likely_pairs, show_the_same
from unetkit.data.counted import Counted, in_colours, in_greys, tally
from unetkit.data.dataset import Dataset
from unetkit.data.drawings import meaning_of_drawings
from unetkit.data.layout import Layout
from unetkit.data.legend import find_legend
from unetkit.data.meaning import Meaning, unexpected
from unetkit.data.repair.work import Smoothed, Work
from unetkit.data.smear import LOSSY, Smear, smear
from unetkit.data.task import recognise
from unetkit.errors import InputError
from unetkit.image import read_labels

_POLES = 0.8  # share of the pixels near the least or greatest number in masks of two classes


def one_kind(work: Work) -> None:
    """Bring the images to the channels and axes that most have, or drop those that differ."""
    shapes = [work.looks[case.id].shape for case in work.cases]
    if not shapes:
        return
    (work.channels, axes), _ = Counter((one[0], len(one)) for one in shapes).most_common(1)[0]
    for case in list(work.cases):
        seen = work.looks[case.id]
        own = seen.shape[0]
        if len(seen.shape) != axes:
            work.drop(case, case.image, f"it is {len(seen.shape) - 1}D, most are {axes - 1}D")
        elif own == 3 and work.channels == 1 and seen.signs and seen.signs.grey:
            work.plans[case.id] = replace(work.plan_of(case), channels="grey")
            work.note(case.image, case.id, "grey saved as colour: one channel is kept")
        elif own == 1 and work.channels == 3:
            work.plans[case.id] = replace(work.plan_of(case), channels="colour")
            work.note(case.image, case.id, "grey among colours: its channel is repeated")
        elif own != work.channels:
            work.drop(case, case.image, f"it has {own} channels, most have {work.channels}")


def meaning_of(work: Work, layout: Layout) -> Meaning:
    """Say what the masks mean that are left.

    Raises:
        InputError: they make no sense together.
    """
    drawings = [case.drawing for case in work.cases if case.mask and case.drawing]
    if drawings:
        return meaning_of_drawings(drawings)
    seen = [work.counted[case.id] for case in work.cases if case.id in work.counted]
    if not seen:
        half = any(plan.half for plan in work.plans.values())
        classes = ("background", "foreground") if half else ()
        return Meaning("semantic", classes, (0, 255) if half else (), (), "")
    try:
        return recognise(seen, layout.legend or find_legend(work.root), lambda _: None)[0]
    except InputError:
        meaning = _two_poles(seen)
        if meaning is None:
            raise
        return meaning


def _two_poles(seen: Sequence[Counted]) -> Meaning | None:
    """Read masks that were all smoothed as two classes, if their numbers crowd at two ends."""
    if any(mask.colours for mask in seen):
        seen = [in_greys(mask) for mask in seen]
    values, counts = tally(seen)
    counts, values = counts[values >= 0], values[values >= 0]
    if len(values) < 3:
        return None
    low, high = int(values[0]), int(values[-1])
    near = (values <= low + (high - low) / 16) | (values >= high - (high - low) / 16)
    if counts[near].sum() < _POLES * counts.sum():
        return None
    return Meaning("semantic", ("background", "foreground"), (low, high), (), "")


def plan_masks(work: Work, meaning: Meaning) -> None:
    """Plan what makes the numbers in each mask those of the set."""
    twice = {number for number, _ in meaning.also} if meaning.kind == "semantic" else set()
    for case in list(work.cases):
        counted = work.counted.get(case.id)
        if counted is None or case.mask is None or case.drawing:
            continue
        try:
            counted = in_colours(counted) if meaning.colours else in_greys(counted)
        except InputError as error:
            work.drop(case, case.mask, error.what)
            continue
        found = _smear(work, case)
        plan = work.plan_of(case)
        if meaning.kind == "instances":
            odd = np.zeros(len(counted.values), bool)
        else:
            odd = unexpected(counted.values, meaning)
        share = f"{counted.counts[odd].sum() / counted.counts.sum():.2%}"
        scale = _other_scale(counted, meaning)
        if scale:
            work.plans[case.id] = replace(plan, scale=scale)
            work.note(case.mask, case.id, f"its foreground was {scale} and is {meaning.values[1]}")
        elif odd.any() and (found or odd.sum() > 2):
            how: Smoothed = (
                "nearest" if _is_plain(meaning) or case.mask.suffix in LOSSY else "ramps"
            )
            work.plans[case.id] = replace(plan, smoothed=how)
            what = "the nearest class" if how == "nearest" else "the class beside them"
            work.note(case.mask, case.id, f"numbers in between ({share}) took {what}")
        elif odd.any():
            work.plans[case.id] = replace(plan, strange=True)
            work.note(case.mask, case.id, f"pixels without a class ({share}) are ignored")
        elif found and not _is_plain(meaning):
            work.plans[case.id] = replace(plan, smoothed="ramps")
            work.note(case.mask, case.id, "numbers in between took the class beside them")
        elif twice & set(counted.values.tolist()):
            work.plans[case.id] = replace(plan, anew=True)
            work.note(case.mask, case.id, f"its numbers are those of the other masks now: "
                      f"{', '.join(map(str, meaning.values))}")  # fmt: skip


def _other_scale(counted: Counted, meaning: Meaning) -> int:
    """Give the number other than that of the set that stands for the foreground, or 0."""
    values = counted.values[counted.values >= 0].tolist()
    there = len(values) == 2 and values[0] == 0 and _is_plain(meaning) and meaning.values[0] == 0
    known = there and values[1] in (*meaning.values, *meaning.ignore, *dict(meaning.also))
    return int(values[1]) if there and not known else 0


def _is_plain(meaning: Meaning) -> bool:
    return meaning.kind == "semantic" and len(meaning.values) == 2 and not meaning.colours


def _smear(work: Work, case: Case) -> Smear | None:
    signs = work.looks[case.id].signs
    if case.mask and work.plan_of(case).turn:
        return smear(read_labels(case.mask), lossy=case.mask.suffix.lower() in LOSSY)
    return signs.smear if signs else None


def drop_twins(work: Work, groups: dict[str, str]) -> None:
    """Keep one of images that are the same: that of test, else of val, else of train."""
    rank = {"test": 0, "val": 1, "train": 2}
    home = homes(work.split)
    same: dict[str, list[Case]] = defaultdict(list)
    for case in work.cases:
        signs = work.looks[case.id].signs
        if signs is not None:
            same[signs.digest].append(case)
    for twins in same.values():
        kept, *others = sorted(twins, key=lambda case: rank.get(home.get(case.id, ""), 3))
        for case in others:
            if _may_go(work, case):
                work.drop(case, case.image, f"it is the same image as {kept.id}")
    likely = likely_pairs(work.cases, work.looks, homes(work.split))
    for pair in likely[:MOST]:
        left = {case.id for case in work.cases}
        there = pair.first.id in left and pair.second.id in left
        if there and show_the_same(pair, groups) and _may_go(work, pair.second):
            work.drop(pair.second, pair.second.image, f"it shows the same as {pair.first.id}")


def _may_go(work: Work, case: Case) -> bool:
    """Tell whether something is left in its split without a case."""
    return all(members != (case.id,) for members in work.split.values())


def rename_twins(work: Work) -> None:
    """Give cases another name whose names differ in capitals or encoding only."""
    taken: set[str] = set()
    for case in list(work.cases):
        name, number = case.id, 2
        while _plain(name) in taken:
            name, number = f"{case.id}_{number}", number + 1
        taken.add(_plain(name))
        if name != case.id:
            work.change(case, replace(case, id=name))
            work.note(case.image, case.id, f"is called {name} now: {case.id} is taken")


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def regrouped(work: Work, dataset: Dataset) -> Dataset:
    """Put each group into the split where most of it lies, unless that empties another."""
    groups, _, _ = known_groups(dataset)
    torn, _ = torn_groups(dataset.split, groups)
    split = dict(dataset.split)
    for group, parts in torn.items():
        goal = max(parts, key=lambda name: (len(parts[name]), name == "test", name == "val"))
        moved = [case for name, members in parts.items() if name != goal for case in members]
        rest = {
            name: tuple(i for i in members if i not in moved)
            for name, members in split.items()
            if name in parts and name != goal
        }
        if not all(rest.values()):
            continue
        split |= rest
        chosen = {*split[goal], *moved}
        split[goal] = tuple(case.id for case in dataset.cases if case.id in chosen)
        for case in moved:
            work.note("split.json", case, f"moved to {goal}, where most of the group {group} is")
    return replace(dataset, split=split)
