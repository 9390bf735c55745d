"""A folder of images and masks → a set of cases with a task, each decoded on demand."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from unetkit.data.case import Case
from unetkit.data.layout import Report, Split, find_layout
from unetkit.data.task import Meaning, Task, recognise, to_classes
from unetkit.errors import InputError
from unetkit.image import read_image, read_labels, read_shape

__all__ = ["Case", "Dataset", "Sample", "Task", "read_dataset"]


@dataclass(eq=False)
class Sample:
    """A decoded case; `*space` is (y, x) or (z, y, x).

    Attributes:
        id: that of the case.
        image: (c, *space) float32, intensities as in the file.
        labels: (*space) int16 class index, −1 where it does not count (everywhere, without mask).
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
    """

    root: Path
    layout: str
    cases: tuple[Case, ...]
    task: Task
    split: Split

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
        picture = read_image(case.image)
        problem = _mismatch(case.image, picture.data.shape, self.task.channels, self.task.ndim)
        if problem:
            raise problem
        space = picture.data.shape[1:]
        labels, instances = self._labels(case.mask, space)
        observer = self._labels(case.observer, space)[0] if case.observer else None
        fov = np.ones(space, bool)
        if case.fov:
            raw = _fitting(case.fov, space, "field of view")
            # Half of the largest value, so that a field of view saved as JPEG has a clean edge.
            fov = raw > raw.max() / 2
        return Sample(
            id=case.id,
            image=picture.data.astype(np.float32),
            labels=labels,
            instances=instances,
            fov=fov,
            observer=observer,
            spacing=picture.spacing,
            path=case.image,
        )

    def _labels(self, path: Path | None, space: tuple[int, ...]) -> tuple[Any, Any]:
        if path is None:
            return np.full(space, -1, np.int16), None
        return to_classes(_fitting(path, space, "mask"), self.task, path)


def read_dataset(
    path: str | Path,
    *,
    seed: int = 0,
    masks: Literal["required", "optional"] = "required",
    on_problem: Report | None = None,
) -> Dataset:
    """Recognise a set of images and masks and what is to be learnt from it.

    Known are `images/` (`imgs/`) with `masks/` (`labels/`, `annotations/`), paired by name, with
    optional `fov/`, `masks2/`, `classes.json` (value → name; a name with "ignore" in it does not
    count) and `split.json`; and the same in `train/`, `val/` and `test/`. All masks are read
    once, of the images only the headers.

    Args:
        path: the folder.
        seed: decides the split where the set has none.
        masks: "optional" accepts images without masks.
        on_problem: called with every problem that leaves something to go on with, and the cases
            at fault are left out; without it, the first problem is raised.

    Raises:
        InputError: what is wrong, where, and how to mend it.
    """
    root = Path(path)
    report = on_problem or _raise
    layout = find_layout(root, seed=seed, required=masks == "required", report=report)
    channels, ndim, bad = _measure(layout.cases, report)
    sentence, meaning = layout.sentence, Meaning("semantic", (), (), (), "no masks")
    drawn = [case.mask for case in layout.cases if case.mask and case.image not in bad]
    if drawn:
        meaning, unfit = recognise(drawn, root / "classes.json", report)
        bad |= unfit
    cases = tuple(c for c in layout.cases if c.image not in bad and c.mask not in bad)
    if not cases:
        raise InputError("no case is left without a problem", where=root)
    ids = {case.id for case in cases}
    split = {name: tuple(i for i in part if i in ids) for name, part in layout.split.items()}
    if len(cases) < len(layout.cases):
        sentence += f"; {len(layout.cases) - len(cases)} cases left out"
    return Dataset(
        root=root,
        layout=f"{sentence}; {meaning.sentence}",
        cases=cases,
        task=Task(
            classes=meaning.classes,
            kind=meaning.kind,
            values=meaning.values,
            ignore=meaning.ignore,
            channels=channels,
            ndim=ndim,
        ),
        split={name: part for name, part in split.items() if part},
    )


def _measure(cases: tuple[Case, ...], report: Report) -> tuple[int, int, set[Path]]:
    """Give the channels and axes that most images have, and the images that differ."""
    shapes: dict[Path, tuple[int, ...]] = {}
    bad: set[Path] = set()
    for case in cases:
        try:
            shapes[case.image] = read_shape(case.image)
        except InputError as error:
            report(error)
            bad.add(case.image)
    if not shapes:
        raise InputError("none of the images can be read", where=cases[0].image.parent)
    usual = Counter((shape[0], len(shape) - 1) for shape in shapes.values())
    channels, ndim = max(usual, key=lambda key: usual[key])
    for path, shape in shapes.items():
        problem = _mismatch(path, shape, channels, ndim)
        if problem:
            report(problem)
            bad.add(path)
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


def _fitting(path: Path, space: tuple[int, ...], what: str) -> npt.NDArray[Any]:
    raw = read_labels(path)
    if raw.shape != space:
        turned = raw.shape == (*space[:-2], space[-1], space[-2])
        axes = "z, y, x" if len(space) > 2 else "y, x"
        cure = f"make the {what} of the size of the image; resize it by nearest neighbour only"
        raise InputError(
            f"the {what} is {_size(raw.shape)} and its image {_size(space)} ({axes})",
            where=path,
            cure="it looks transposed: exchange its axes" if turned else cure,
        )
    return raw


def _size(space: tuple[int, ...]) -> str:
    return " × ".join(map(str, space))


def _raise(error: InputError) -> None:
    raise error
