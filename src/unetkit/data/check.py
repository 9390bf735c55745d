"""A look at every file of a set before anything is trained: what is wrong, where, and the cure."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unetkit.data.dataset import Case, Dataset, Sample, Task, read_dataset
from unetkit.data.fingerprint import class_counts
from unetkit.errors import InputError
from unetkit.image import read_shape

# Only these are meant to be apart; other lists in split.json are the user's own.
_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Problem:
    """Something wrong with a set.

    Attributes:
        severity: "error" spoils training or its scores, "warning" may be meant so.
        where: the file at fault.
        what: what is wrong, in a sentence without a full stop.
        cure: what to do about it.
    """

    severity: Literal["error", "warning"]
    where: str
    what: str
    cure: str


def check(
    source: Dataset | str | Path,
    *,
    seed: int = 0,
    masks: Literal["required", "optional"] = "required",
) -> list[Problem]:
    """Look at every file of a set and give all problems, errors first.

    Args:
        source: a set, or its folder; only from the folder are unpaired files seen.
        seed: as for `read_dataset`.
        masks: as for `read_dataset`.
    """
    problems: list[Problem] = []

    def note(error: InputError) -> None:
        problems.append(Problem("error", str(error.where), error.what, error.cure))

    if not isinstance(source, Dataset):
        try:
            source = read_dataset(source, seed=seed, masks=masks, on_problem=note)
        except InputError as error:
            note(error)
            return list(dict.fromkeys(problems))
    counts: dict[str, Any] = {}
    twins: dict[bytes, list[Case]] = defaultdict(list)
    for case in source.cases:
        try:
            sample = source.load(case)
        except InputError as error:
            note(error)
            continue
        problems += _examine(case, sample, source.task)
        counts[case.id] = class_counts(sample, len(source.task.classes))
        content = hashlib.blake2b(str(sample.image.shape).encode(), digest_size=16)
        content.update(np.ascontiguousarray(sample.image).data)
        twins[content.digest()].append(case)
    problems += _duplicates(source, twins)
    problems += _absences(source, counts)
    return sorted(dict.fromkeys(problems), key=lambda problem: problem.severity)


def summary(dataset: Dataset) -> dict[str, Any]:
    """Say what is in a set: plain numbers and words, ready for printing or JSON.

    Shares are of the pixels that count; `ignored` is the part that does not, be it marked so or
    outside the field of view. Cases that cannot be loaded are passed over: `check` names them.
    """
    task, classes = dataset.task, dataset.task.classes
    counts, pixels = np.zeros(len(classes), np.int64), 0
    sizes: list[tuple[int, ...]] = []
    spacings: list[tuple[float, ...]] = []
    for case in dataset.cases:
        try:
            sample = dataset.load(case)
        except InputError:
            continue
        sizes.append(read_shape(case.image)[1:])
        spacings.append(sample.spacing)
        counts += class_counts(sample, len(classes))
        pixels += sample.labels.size if case.mask else 0
    shares = counts / max(1, counts.sum())
    return {
        "layout": dataset.layout,
        "cases": len(dataset.cases),
        "split": {name: len(members) for name, members in dataset.split.items()},
        "channels": task.channels,
        "ndim": task.ndim,
        "kind": task.kind,
        "classes": {name: round(float(s), 6) for name, s in zip(classes, shares, strict=True)},
        "ignored": round(1 - float(counts.sum()) / pixels, 6) if pixels else 0.0,
        "sizes": {
            "smallest": np.min(sizes, axis=0).tolist(),
            "median": np.median(sizes, axis=0).astype(int).tolist(),
            "largest": np.max(sizes, axis=0).tolist(),
        }
        if sizes
        else {},
        "spacing": np.median(spacings, axis=0).tolist() if spacings else [],
        "fov": sum(case.fov is not None for case in dataset.cases),
        "observers": sum(case.observer is not None for case in dataset.cases),
    }


# ------------------------------------------------------------------------------------ one case


def _examine(case: Case, sample: Sample, task: Task) -> Iterator[Problem]:
    where = str(case.image)
    finite = np.isfinite(sample.image)
    if not finite.all():
        count = finite.size - int(finite.sum())
        yield Problem(
            "warning",
            where,
            f"{count} pixels are NaN or infinite ({count / finite.size:.2%})",
            "they are taken as average ones; mark them to be ignored in the mask if they are many",
        )
    steady = [c for c, channel in enumerate(sample.image) if _is_constant(channel, finite[c])]
    if steady:
        every = len(steady) == len(sample.image)
        what = "the image is" if every else f"channel {', '.join(map(str, steady))} of it is"
        yield Problem(
            "error" if every else "warning",
            where,
            f"{what} constant",
            "take the image out, or look whether its export went wrong",
        )
    if case.fov and not sample.fov.any():
        yield Problem("error", str(case.fov), "the field of view is empty", "draw it, or remove it")
    if not case.mask:
        return
    present = np.unique(sample.labels[(sample.labels >= 0) & sample.fov])
    if len(present) == 0:
        yield Problem(
            "warning",
            str(case.mask),
            "no pixel of the mask counts: all are ignored or outside the field of view",
            "take the case out, or draw its mask",
        )
    elif len(present) == 1:
        what = f"the mask is nothing but {task.classes[present[0]]}"
        if len(task.classes) == 2:
            what = "the mask is empty" if present[0] == 0 else "the mask is full"
        yield Problem(
            "warning",
            str(case.mask),
            what,
            "fine if the image really shows nothing else; otherwise draw the mask",
        )


def _is_constant(channel: Any, finite: Any) -> bool:
    values = channel[finite] if not finite.all() else channel
    return bool(values.size == 0 or values.min() == values.max())


# ------------------------------------------------------------------------------------- the set


def _duplicates(dataset: Dataset, twins: dict[bytes, list[Case]]) -> Iterator[Problem]:
    home: dict[str, str] = {}
    for name in _SPLITS:
        for case in dataset.split.get(name, ()):
            home.setdefault(case, name)
    for same in twins.values():
        homes = {home[case.id] for case in same if case.id in home}
        if len(same) < 2:
            continue
        names = ", ".join(f"{case.id} ({home.get(case.id, 'in no split')})" for case in same)
        across = len(homes) > 1
        yield Problem(
            "error" if across else "warning",
            str(same[0].image),
            f"{len(same)} images are the same, pixel by pixel: {names}",
            "keep one, or put all into one split: scores on known images flatter"
            if across
            else "keep one of them",
        )


def _absences(dataset: Dataset, counts: dict[str, Any]) -> Iterator[Problem]:
    if not dataset.task.classes or not counts:
        return
    overall = np.sum(list(counts.values()), axis=0)
    for index, name in enumerate(dataset.task.classes):
        if overall[index] == 0:
            yield Problem(
                "warning",
                str(dataset.root),
                f"the class {name} is in no mask",
                "take it out of classes.json, or draw it somewhere",
            )
            continue
        for split in _SPLITS:
            members = [counts[i] for i in dataset.split.get(split, ()) if i in counts]
            if members and np.sum(members, axis=0)[index] == 0:
                yield Problem(
                    "warning",
                    str(dataset.root),
                    f"the class {name} is in no mask of {split}",
                    "move a case that shows it there"
                    + ("" if split == "train" else f", or expect no score for it on {split}"),
                )
