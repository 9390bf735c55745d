"""Pictures that are there twice: pixel by pixel, or changed a little and in another split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unetkit.data.alignment import TURNS, contrast
from unetkit.data.case import Case
from unetkit.data.checks.likeness import Likeness, alike, weights
from unetkit.data.checks.problem import SPLITS, Problem, listed
from unetkit.data.dataset import Dataset
from unetkit.data.picture import read_picture
from unetkit.data.sketch import reduced
from unetkit.data.survey import Look
from unetkit.errors import InputError
from unetkit.machine import cores

Plane = npt.NDArray[np.float32]

_LIKELY = 0.85  # likeness of sketches from which two pictures are decoded and compared
_SIDE = 256  # pixels a side at which they are compared
_SAME = 0.6  # correlation of local contrast from which they show the same
_COPIED = 0.9  # the same for two pictures of one group, such as the frames of a video
_NEARLY = (0.98, 0.2)  # or of sketches and contrast: JPEG of low quality spoils the latter
MOST, _NAMED = 256, 20  # pairs that are decoded, and of which each is a problem of its own


def twins(
    dataset: Dataset, looks: Mapping[str, Look], groups: Mapping[str, str]
) -> Iterator[Problem]:
    """Give pictures that are the same, and those of different splits that nearly are.

    Near duplicates within one split are no problem (neighbouring frames of a video). Within one
    group that is spread over splits, which is a problem of its own, only plain copies are named.
    """
    home = homes(dataset.split)
    cases = [case for case in dataset.cases if case.id in looks and looks[case.id].signs]
    equal: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        signs = looks[case.id].signs
        assert signs is not None
        equal[signs.digest].append(case)
    for same in equal.values():
        if len(same) > 1:
            yield _equal(same, home)
    yield from _near(dataset, cases, looks, home, groups)


def homes(split: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Say in which of train, val and test each case is; a list of the user's own is none."""
    home: dict[str, str] = {}
    for name in SPLITS:
        for case in split.get(name, ()):
            home.setdefault(case, name)
    return home


def _equal(same: list[Case], home: Mapping[str, str]) -> Problem:
    across = len({home[case.id] for case in same if case.id in home}) > 1
    names = [f"{case.id} ({home.get(case.id, 'in no split')})" for case in same]
    return Problem(
        "error" if across else "warning",
        str(same[0].image),
        f"{len(same)} images are the same, pixel by pixel: {listed(names, 6)}",
        "keep one, or put all into one split: scores on known images flatter"
        if across
        else "keep one of them",
        "duplicate",
    )


@dataclass(frozen=True)
class Pair:
    """Two cases of different splits whose images look alike from afar, the later split first."""

    first: Case
    second: Case
    likeness: Likeness


def _near(
    dataset: Dataset,
    cases: list[Case],
    looks: Mapping[str, Look],
    home: Mapping[str, str],
    groups: Mapping[str, str],
) -> Iterator[Problem]:
    likely = likely_pairs(cases, looks, home)
    named = 0
    with ThreadPoolExecutor(cores()) as pool:
        same = list(pool.map(lambda pair: show_the_same(pair, groups), likely[:MOST]))
    for pair, is_same in zip(likely, same, strict=False):
        if is_same:
            named += 1
            if named <= _NAMED:
                yield _alike(pair, home)
    left = max(0, named - _NAMED) + max(0, len(likely) - MOST)
    if named and left:
        yield Problem(
            "warning",
            str(dataset.root),
            f"{left} more pairs of images of different splits look alike",
            "split anew, with groups.json saying what belongs together",
            "near-duplicate",
        )


def likely_pairs(
    cases: list[Case], looks: Mapping[str, Look], home: Mapping[str, str]
) -> list[Pair]:
    """Give pairs of different splits whose sketches are alike, the most alike first.

    Each case is paired with the most similar one of each split before its own (train, val, test);
    pictures that are the same pixel by pixel are no such pair.
    """
    cases = [case for case in cases if case.id in home]
    parts = {name: [k for k, c in enumerate(cases) if home[c.id] == name] for name in SPLITS}
    if sum(map(bool, parts.values())) < 2:
        return []
    signs = [looks[case.id].signs for case in cases]
    found = weights(np.stack([one.sketch for one in signs if one is not None]))
    pairs = []
    for position, name in enumerate(SPLITS):
        for other in SPLITS[:position]:
            mine, theirs = np.array(parts[name], int), np.array(parts[other], int)
            if not len(mine) or not len(theirs):
                continue
            for one in alike(found[mine], found[theirs], _LIKELY):
                pair = Pair(cases[mine[one.first]], cases[theirs[one.second]], one)
                first, second = (looks[case.id].signs for case in (pair.first, pair.second))
                if first and second and first.digest != second.digest:
                    pairs.append(pair)
    return sorted(pairs, key=lambda pair: -pair.likeness.strength)


def _alike(pair: Pair, home: Mapping[str, str]) -> Problem:
    names = [f"{case.id} ({home[case.id]})" for case in (pair.first, pair.second)]
    turn = TURNS[pair.likeness.turn][0]
    how = "" if pair.likeness.turn == 0 else f" when the latter is {turn}"
    return Problem(
        "warning",
        str(pair.first.image),
        f"shows the same as an image of another split: {names[0]} and {names[1]}{how}",
        "keep one, or put both into one split: scores on known images flatter",
        "near-duplicate",
    )


def show_the_same(pair: Pair, groups: Mapping[str, str]) -> bool:
    """Compare two pictures after decoding, by local contrast, so that light does not matter."""
    try:
        images = [read_picture(case).data for case in (pair.first, pair.second)]
    except InputError:
        return False
    first, second = images[0], TURNS[pair.likeness.turn][1](images[1])
    if first.ndim != second.ndim:
        return False
    rows, columns = (
        min(_SIDE, a, b) for a, b in zip(first.shape[-2:], second.shape[-2:], strict=True)
    )
    one, other = (contrast(reduced(image, (rows, columns)), 9) for image in (first, second))
    agree = _correlation(one, other)
    if groups.get(pair.first.id, "") == groups.get(pair.second.id):
        return agree >= _COPIED
    strength = pair.likeness.strength
    return agree >= _SAME or (strength >= _NEARLY[0] and agree >= _NEARLY[1])


def _correlation(first: Plane, second: Plane) -> float:
    first, second = first - first.mean(), second - second.mean()
    size = float(np.sqrt((first * first).sum() * (second * second).sum()))
    return float((first * second).sum()) / size if size > 0 else 0.0
