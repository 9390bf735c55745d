"""A folder of images and masks → a set of cases with a task, each decoded on demand."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from unetkit.data.case import Case
from unetkit.data.drawings import meaning_of_drawings
from unetkit.data.labels import read_classes, read_fov
from unetkit.data.layout import Layout, Report, Split, find_layout
from unetkit.data.legend import Legend, find_legend
from unetkit.data.picture import measured_nothing, read_picture
from unetkit.data.survey import Look, survey
from unetkit.data.task import Meaning, Task, recognise
from unetkit.errors import InputError

__all__ = ["Case", "Dataset", "Sample", "Task", "read_dataset"]


@dataclass(eq=False)
class Sample:
    """A decoded case; `*space` is (y, x) or (z, y, x).

    Attributes:
        id: that of the case.
        image: (c, *space) float32, intensities as in the file; NaN where nothing was measured.
        labels: (*space) int16 class index, −1 where it does not count: where the mask says so,
            where no channel was measured, and everywhere without a mask.
        instances: (*space) int32 object ids with 0 for none, or None for semantic masks.
        fov: (*space) bool, true inside the field of view.
        observer: (*space) int16, the labels of the second annotator, or None.
        spacing: size of a pixel per spatial axis, in the unit of the file.
        path: the image.
    """

    id: str
    image: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int16]
    instances: npt.NDArray[np.int32] | None
    fov: npt.NDArray[np.bool_]
    observer: npt.NDArray[np.int16] | None
    spacing: tuple[float, ...]
    path: Path


@dataclass(frozen=True, eq=False)
class Dataset:
    """A set of cases.

    Attributes:
        root: its folder.
        layout: one sentence that says what was recognised.
        cases: all of them, in natural order of their names.
        task: what is to be learnt.
        split: ids by name. Where `train` is there, `val` is too; neither is ever empty. Names
            other than train, val and test are lists that the user keeps apart.
        stated: the set itself says what is for testing; else that was drawn at random.
        looks: what the files of each case showed, by id.
    """

    root: Path
    layout: str
    cases: tuple[Case, ...]
    task: Task
    split: Split
    stated: bool = False
    looks: Mapping[str, Look] = field(default_factory=dict)

    def select(self, name: str) -> list[Case]:
        """Give the cases of a split.

        Raises:
            InputError: there is no such split; names those that are.
        """
        if name not in self.split:
            there = ", ".join(f"{key} ({len(ids)})" for key, ids in self.split.items())
            raise InputError(
                f"there are no cases in a split named {name}",
                where=self.root,
                cure=f"choose one of {there}, or list it in split.json",
            )
        chosen = set(self.split[name])
        return [case for case in self.cases if case.id in chosen]

    def load(self, case: Case) -> Sample:
        """Decode a case.

        Raises:
            InputError: a file is unreadable, sizes differ, or the mask holds unexpected values.
        """
        picture = read_picture(case)
        problem = _mismatch(case.image, picture.data.shape, self.task.channels, self.task.ndim)
        if problem:
            raise problem
        space = picture.data.shape[1:]
        labels, instances = self._labels(case, space)
        observer = None
        if case.observer:
            observer = read_classes(case.observer, None, self.task, space)[0]
        fov = read_fov(case.fov, space) if case.fov else np.ones(space, bool)
        void = measured_nothing(picture)
        if void is not None:
            labels[void], fov[void] = -1, False
            for other in (instances, observer):
                if other is not None:
                    other[void] = 0 if other is instances else -1
        return Sample(
            id=case.id,
            image=picture.intensities(),
            labels=labels,
            instances=instances,
            fov=fov,
            observer=observer,
            spacing=picture.spacing,
            path=case.image,
        )

    def _labels(self, case: Case, space: tuple[int, ...]) -> tuple[Any, Any]:
        if case.mask is None:
            return np.full(space, -1, np.int16), None
        return read_classes(case.mask, case.drawing, self.task, space)


def read_dataset(
    path: str | Path,
    *,
    seed: int = 0,
    masks: Literal["required", "optional"] = "required",
    on_problem: Report | None = None,
    cache: Path | None = None,
    pixels: bool = False,
    on_case: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Recognise a set of images and masks and what is to be learnt from it.

    The layouts known are listed in `unetkit.data.layout`, the kinds of labels in
    `unetkit.data.labels`; a `dataset.yaml` in the folder settles anything by hand. All masks are
    read once, of the images only the headers; with a cache, only of files that have changed.

    Args:
        path: the folder.
        seed: decides the split where the set has none.
        masks: "optional" accepts images without masks.
        on_problem: called with every problem that leaves something to go on with, and the cases
            at fault are left out; without it, the first problem is raised.
        cache: a folder for what was seen of each file, kept by the folder of the set.
        pixels: decode all images too and look at them, as `check` does.
        on_case: called with cases looked at and cases in all.

    Raises:
        InputError: what is wrong, where, and how to mend it.
    """
    root = Path(path)
    report = on_problem or _raise
    layout = find_layout(root, seed=seed, required=masks == "required", report=report)
    stored = cache / "surveys" / f"{_name(root)}.json" if cache else None
    looks = survey(layout.cases, pixels=pixels, cache=stored, on_case=on_case)
    channels, ndim, bad = _sift(layout.cases, looks, report)
    meaning, unfit = _meaning(root, layout, looks, bad, report)
    cases = tuple(c for c in layout.cases if c.id not in bad and c.mask not in unfit)
    if not cases:
        raise InputError("no case is left without a problem", where=root)
    ids = {case.id for case in cases}
    split = {name: tuple(i for i in part if i in ids) for name, part in layout.split.items()}
    sentence = layout.sentence
    if gone := len(layout.cases) - len(cases):
        sentence += f"; {gone} case{'s' * (gone != 1)} left out"
    return Dataset(
        root=root,
        layout=f"{sentence}; {meaning.sentence}",
        cases=cases,
        task=meaning.task(channels, ndim),
        split={name: part for name, part in split.items() if part},
        stated=layout.stated,
        looks={case.id: looks[case.id] for case in cases},
    )


def _sift(
    cases: tuple[Case, ...], looks: Mapping[str, Look], report: Report
) -> tuple[int, int, set[str]]:
    """Give the channels and axes that most images have, and the cases at fault, each reported."""
    faulty = [looks[case.id] for case in cases if looks[case.id].faults]
    shapes = [look.shape for look in looks.values() if look.shape]
    if not shapes or len(faulty) == len(cases):
        first = faulty[0].faults[0]
        raise InputError(
            f"{first.what} (as in {len(faulty) - 1} more of {len(cases)} cases, something is wrong)"
            if len(faulty) > 1
            else first.what,
            where=first.where,
            cure=first.cure,
        )
    usual = Counter((shape[0], len(shape) - 1) for shape in shapes)
    channels, ndim = max(usual, key=lambda key: usual[key])
    bad = set[str]()
    for case in cases:
        look = looks[case.id]
        problem = _mismatch(case.image, look.shape, channels, ndim) if look.shape else None
        for fault in [problem] if problem else look.faults:
            report(fault)
            bad.add(case.id)
    return channels, ndim, bad


def _mismatch(path: Path, shape: tuple[int, ...], channels: int, ndim: int) -> InputError | None:
    if len(shape) - 1 != ndim:
        return InputError(
            f"is {len(shape) - 1}D where most images are {ndim}D",
            where=path,
            cure="keep flat images and stacks in sets of their own",
        )
    if shape[0] != channels:
        return InputError(
            f"has {shape[0]} channels where most images have {channels}",
            where=path,
            cure="convert all images to the same channels, for example all to RGB or all to grey",
        )
    return None


def _meaning(
    root: Path, layout: Layout, looks: Mapping[str, Look], bad: set[str], report: Report
) -> tuple[Meaning, set[Path]]:
    """Say what the masks mean, and which of them do not fit."""
    drawn = [case for case in layout.cases if case.mask and case.id not in bad]
    if not drawn:
        return Meaning("semantic", (), (), (), "no masks"), set()
    drawings = [case.drawing for case in drawn if case.drawing]
    if len(drawings) == len(drawn):
        return meaning_of_drawings(drawings), set()
    legend: Legend | None = layout.legend or find_legend(root)
    seen = [counted for case in drawn if (counted := looks[case.id].counted)]
    return recognise(seen, legend, report)


def _name(root: Path) -> str:
    """Name a folder of this computer in few letters."""
    return hashlib.blake2b(str(root.resolve()).encode(errors="replace"), digest_size=8).hexdigest()


def _raise(error: InputError) -> None:
    raise error
