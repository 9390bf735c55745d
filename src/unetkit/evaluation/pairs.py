"""Files → pairs: which prediction belongs to which truth, and what the truth's numbers mean."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unetkit.data import Case, Task, read_dataset
from unetkit.data.counted import is_coloured
from unetkit.data.layout import bare, by_name, holds_dataset
from unetkit.data.legend import find_legend
from unetkit.data.task import Meaning, count_mask, recognise
from unetkit.errors import InputError
from unetkit.evaluation.masks import axes_of
from unetkit.image import is_image, list_images, stem

# Names that nobody gave.
_UNNAMED = re.compile(r"background|foreground|object|class_\d+|#[0-9A-F]{6}")
_OBJECTS = "masks number their objects"


@dataclass(frozen=True)
class Pairs:
    """Predictions beside their truth.

    Attributes:
        data: name of the truth.
        split: of a data set, or "all".
        annotator: whose masks are the truth.
        holds: what the truth's masks hold, in words.
        named: whether a legend names their numbers.
        task: what these mean.
        cases: the truths; where there is no image, the mask stands in its place.
        predictions: one per case.
        extra: number of predictions that have no truth here.
    """

    data: str
    split: str
    annotator: str
    holds: str
    named: bool
    task: Task
    cases: tuple[Case, ...]
    predictions: tuple[Path, ...] = ()
    extra: int = 0


def pair(
    predictions: Path,
    truth: Path,
    *,
    split: str | None,
    fov: Path | None,
    observer: Path | None,
    instances: bool,
) -> Pairs:
    """Find the prediction of every truth by its name.

    Raises:
        InputError: a truth has no prediction, field of view or observer; or nothing is there.
    """
    found = _listed(predictions)
    if truth.is_dir() and holds_dataset(truth):
        pairs, names, known = _from_dataset(truth, split, instances)
        matched = by_name(found, known, _raise)
        cure = "name each prediction as its image, or choose the cases with --split"
    elif split is not None:
        raise InputError(
            f"there is no split {split}, for these are masks alone",
            where=truth,
            cure="leave --split out, or give the folder that holds images/ and masks/",
        )
    else:
        files, one = list_images(truth), predictions.is_file() and truth.is_file()
        named = by_name(files, None if one else {stem(file) for file in found}, _raise)
        pairs, names = _from_masks(truth, named, instances), list(named)
        # Two files are a pair under any names.
        matched = {names[0]: predictions} if one else by_name(found, names, _raise)
        cure = "name each prediction as its truth"
    chosen = _all(matched, names, "prediction", predictions, cure)
    cases = list(pairs.cases)
    if fov is not None:
        views = _beside(fov, names, "field of view", several=True)
        cases = [replace(case, fov=view) for case, view in zip(cases, views, strict=True)]
    if observer is not None:
        seconds = _beside(observer, names, "mask of the second observer", several=False)
        cases = [replace(case, observer=mask) for case, mask in zip(cases, seconds, strict=True)]
    return replace(pairs, cases=tuple(cases), predictions=chosen, extra=len(matched) - len(chosen))


def title(path: Path) -> str:
    """Name a file or folder by itself and the folder it is in, which says more than `masks`."""
    return "/".join(path.resolve().parts[-2:])


def _listed(predictions: Path) -> list[Path]:
    inside = predictions / "labels"
    if inside.is_dir() and not any(is_image(file) for file in predictions.iterdir()):
        raise InputError("holds no masks itself", where=predictions, cure=f"give {inside}")
    return list_images(predictions)


def _from_dataset(
    root: Path, split: str | None, instances: bool
) -> tuple[Pairs, list[str], Collection[str]]:
    dataset = read_dataset(root)
    if split is None:
        split = "test" if "test" in dataset.split and dataset.stated else "all"
    everything = split == "all" and "all" not in dataset.split
    cases = dataset.cases if everything else tuple(dataset.select(split))
    # A set in parts may tell two pictures of one name apart; predictions know only the name.
    names = [stem(case.image) for case in cases]
    names = names if len(set(names)) == len(names) else [case.id for case in cases]
    named = not all(_UNNAMED.fullmatch(name) for name in dataset.task.classes)
    named = named or any(case.drawing and len(case.drawing.classes) > 1 for case in cases)
    holds = dataset.layout.rpartition("; ")[2]
    pairs = Pairs(root.resolve().name, split, "masks", holds, named, dataset.task, cases)
    known = {*names, *(stem(case.image) for case in dataset.cases)}
    return _of_objects(pairs, root) if instances else pairs, names, known


def _from_masks(truth: Path, named: dict[str, Path], instances: bool) -> Pairs:
    masks = list(named.values())
    folder = truth if truth.is_dir() else masks[0].parent
    legend = find_legend(folder, folder.parent)
    counted = [count_mask(mask) for mask in masks]
    values = {value for mask in counted for value in mask.values.tolist()}
    below = tuple(sorted(value for value in values if value < 0))
    if legend is None and not any(value > 0 for value in values):
        classes = ("background", "foreground")
        meaning = Meaning("semantic", classes, (0, 1), below, "masks are empty")
    elif legend is None and instances and len(values) - len(below) > 2:
        classes = ("background", "object")
        colours = any(is_coloured(mask) for mask in counted)
        meaning = Meaning("instances", classes, (0,), below, _OBJECTS, colours=colours)
    else:
        meaning, _ = recognise(counted, legend, _raise)
    task = meaning.task(1, axes_of(masks[0]))
    pairs = Pairs(
        title(truth), "all", folder.resolve().name, meaning.sentence, legend is not None, task,
        tuple(Case(name, mask, mask) for name, mask in named.items()),
    )  # fmt: skip
    return _of_objects(pairs, truth) if instances else pairs


def _of_objects(pairs: Pairs, where: Path) -> Pairs:
    """Read class numbers that nobody has named as numbers of objects."""
    task = pairs.task
    if len(task.classes) == 2:
        return pairs
    if pairs.named:
        raise InputError(
            f"the truth holds {len(task.classes)} classes ({', '.join(task.classes)}), no objects",
            where=where,
            cure="leave --instances out, or take classes.json away if it numbers objects",
        )
    meaning = {
        "kind": "instances",
        "classes": ("background", "object"),
        "values": (0,),
        "ignore": tuple(value for value in task.ignore if value < 0),
    }
    return replace(pairs, holds=_OBJECTS, task=task.model_copy(update=meaning))


def _beside(source: Path, names: Sequence[str], what: str, *, several: bool) -> tuple[Path, ...]:
    """Find what belongs to each case in a folder, or take one file, for all if it may be."""
    files = list_images(source)
    if source.is_file():
        if len(names) > 1 and not several:
            raise InputError(
                f"is one {what} for {len(names)} images",
                where=source,
                cure="give a folder with one for each image",
            )
        return (source,) * len(names)
    matched = by_name(files, names, _raise)
    # What belongs to `a_mask` and its prediction `a_mask` may be called `a`.
    matched |= {n: matched[bare(n)] for n in names if n not in matched and bare(n) in matched}
    return _all(matched, names, what, source, "name each as its truth")


def _all(
    matched: dict[str, Path],
    names: Sequence[str],
    what: str,
    where: Path,
    cure: str,
) -> tuple[Path, ...]:
    missing = [name for name in names if name not in matched]
    if missing:
        several = f" ({len(missing)} of {len(names)} are missing)" if len(names) > 1 else ""
        raise InputError(f"there is no {what} for {missing[0]}{several}", where=where, cure=cure)
    return tuple(matched[name] for name in names)


def _raise(error: InputError) -> None:
    raise error
