"""Any recognised set → our folder layout, whole or not there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.data.case import Case
from unetkit.data.counted import Counted, count_labels
from unetkit.data.dataset import Dataset
from unetkit.data.encoding import encode
from unetkit.data.labels import read_classes
from unetkit.data.meaning import Task
from unetkit.data.picture import read_picture
from unetkit.data.portions import groups
from unetkit.data.sight import MOST_CLASSES, are_objects
from unetkit.errors import InputError
from unetkit.files import write_text
from unetkit.image import Image, open_image, read_image, stem, write_image
from unetkit.image.names import ITK, RASTER, suffix_of

Array = npt.NDArray[Any]

_OWN = ("train", "val", "test")
_IGNORED = 255  # in masks that are written anew and numbered from 0
# What may lie in several files, of which the picture is only one.
_WITH_OTHERS = {*RASTER, *(suffix for suffix in ITK if suffix not in (".nrrd", ".mha"))}


@dataclass(frozen=True, eq=False)
class Instead:
    """What is written in place of a case's files; None leaves the file as it is.

    Attributes:
        image: in place of the picture with its bands.
        labels: (*space) class indices, −1 where nothing counts, in place of the mask.
        instances: (*space) ids of the objects that go with `labels`.
    """

    image: Image | None = None
    labels: Array | None = None
    instances: Array | None = None


Mend = Callable[[Case], Instead]


def write_dataset(
    dataset: Dataset,
    folder: str | Path,
    *,
    meta: dict[str, Any] | None = None,
    mend: Mend | None = None,
    on_case: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a set as `images/`, `masks/`, `fov/`, `masks2/` and JSON files beside them.

    `split.json`, `classes.json`, `groups.json` (where somebody has declared groups) and `meta.json`
    say the rest. Pictures that are single files are copied byte for byte, masks as well where they
    hold numbers. What is painted anew: bands (one TIFF), folders of DICOM files (NIfTI), drawings
    and masks in colours (the index of the class, 255 ignored; objects keep a number each, unless
    most lie in pieces). The folder appears whole or not at all.

    Args:
        dataset: what to write.
        folder: where to; must not exist or be empty, nor lie inside the set.
        meta: what `meta.json` says beside where the set comes from.
        mend: gives for each case what is written instead of its files.
        on_case: called with cases written and cases in all.

    Returns:
        The folder.

    Raises:
        InputError: the folder holds something, a file cannot be read, or the disk refuses.
    """
    folder = Path(folder)
    names = file_names([case.id for case in dataset.cases])
    task = _written(dataset.task)
    with _fresh(folder, dataset.root) as fresh:
        painted: list[tuple[Path, Counted]] = []
        for number, case in enumerate(dataset.cases, 1):
            instead = mend(case) if mend else Instead()
            painted += _write_case(dataset, task, case, names[case.id], instead, fresh)
            if on_case:
                on_case(number, len(dataset.cases))
        _keep_objects(dataset, task, painted)
        _write_lists(dataset, task, names, meta or {}, fresh)
    return folder


def file_names(ids: list[str]) -> dict[str, str]:
    """Give each case a name that a file can have, and that reads as itself: id → name."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for one in ids:
        name = "".join("_" if c in '/\\:*?"<>|' or ord(c) < 32 else c for c in one).lstrip(".")
        if any(stem(f"{name}{suffix}") != name for suffix in (".png", ".tif", ".gz", ".zarr")):
            name = name.replace(".", "_")
        name = name or "case"
        plain, number = name, 2
        while name in taken:
            name, number = f"{plain}_{number}", number + 1
        taken.add(name)
        names[one] = name
    return names


def _written(task: Task) -> Task:
    """Give the task of the masks that are written: with colours, classes are numbered from 0."""
    if not task.colours:
        return task
    values = tuple(range(len(task.classes))) if task.kind == "semantic" else (0,)
    ignore = (_IGNORED,) if len(task.classes) <= _IGNORED and task.kind == "semantic" else ()
    return task.model_copy(
        update={"values": values, "ignore": ignore, "colours": False, "also": ()}
    )


# ------------------------------------------------------------------------------------ one case


def _write_case(
    dataset: Dataset, task: Task, case: Case, name: str, instead: Instead, root: Path
) -> list[tuple[Path, Counted]]:
    """Write the files of a case; give the masks with numbers of objects that were painted."""
    space, frame, spacing = _write_image(case, name, instead, root)
    painted = []
    labels, instances = instead.labels, instead.instances
    copied = case.mask is not None and case.drawing is None and not dataset.task.colours
    if case.mask and labels is None and not (copied and _copy(case.mask, root / "masks", name)):
        labels, instances = read_classes(case.mask, case.drawing, dataset.task, space)
    if labels is not None:
        numbers = _numbers(labels, instances, task)
        path = _write_numbers(Image(numbers, spacing, frame), root / "masks", name)
        if instances is not None:
            painted.append((path, count_labels(path, numbers[0])))
    if case.fov and not _copy(case.fov, root / "fov", name):
        with open_image(case.fov) as opened:
            view = opened.read(tuple(slice(0, n) for n in opened.shape[1:]))[:1]
        _write_numbers(Image(view, spacing, frame), root / "fov", name)
    if case.observer:
        plain = not dataset.task.colours
        if not (plain and _copy(case.observer, root / "masks2", name)):
            second, ids = read_classes(case.observer, None, dataset.task, space)
            numbers = _numbers(second, ids, task)
            _write_numbers(Image(numbers, spacing, frame), root / "masks2", name)
    return painted


def _write_image(
    case: Case, name: str, instead: Instead, root: Path
) -> tuple[tuple[int, ...], Any, tuple[float, ...]]:
    """Write the image and give its size, frame and spacing, which are those of its masks too."""
    folder = root / "images"
    picture = instead.image
    if picture is None and not case.bands and _copy(case.image, folder, name):
        with open_image(case.image) as opened:
            return opened.shape[1:], opened.frame, opened.spacing
    picture = picture or read_picture(case)
    flat = picture.data.ndim == 3
    if picture.nodata is not None and not flat:
        picture = replace(picture, data=picture.intensities(), nodata=None)
    small = picture.data.dtype in (np.uint8, np.uint16) and len(picture.data) in (1, 3)
    plain = picture.frame is None and picture.nodata is None and set(picture.spacing) == {1.0}
    suffix = ".png" if flat and small and plain else ".tif" if flat else ".nii.gz"
    write_image(picture, folder / f"{name}{suffix}")
    return picture.data.shape[1:], picture.frame, picture.spacing


def _numbers(labels: Array, instances: Array | None, task: Task) -> Array:
    """Turn class indices, or ids of objects, into the numbers of a mask: (1, *space)."""
    if instances is None:
        return encode(labels, task)
    _, numbers = np.unique(instances, return_inverse=True)
    numbers = numbers.reshape(instances.shape) + int(instances.min() > 0)
    if labels.min() < 0:
        numbers = np.where(labels < 0, -1, numbers)
        return numbers.astype(np.int32)[None]
    return numbers.astype(np.uint16 if numbers.max() < 2**16 else np.uint32)[None]


def _write_numbers(mask: Image, folder: Path, name: str) -> Path:
    if mask.data.ndim == 4:
        suffix = ".nii.gz"
    else:
        plain = mask.data.dtype in (np.uint8, np.uint16)
        suffix, mask = (".png" if plain else ".tif"), (Image(mask.data) if plain else mask)
    path = folder / f"{name}{suffix}"
    write_image(mask, path)
    return path


def _copy(source: Path, folder: Path, name: str) -> bool:
    """Copy a picture under a new name, if it is complete in itself."""
    suffix = suffix_of(source)
    if suffix in _WITH_OTHERS or (source.is_dir() and not suffix.endswith(".zarr")):
        return False
    target = folder / f"{name}{suffix}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
    except (OSError, shutil.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot be copied ({reason})", where=source) from error
    return True


def _keep_objects(dataset: Dataset, task: Task, painted: list[tuple[Path, Counted]]) -> None:
    """Number objects through the set where they would be taken for classes, few as they are.

    Where even that does not tell them (objects in many pieces), they become one class.
    """
    if task.kind != "instances" or len(painted) < sum(c.mask is not None for c in dataset.cases):
        return
    if not painted or are_objects([counted for _, counted in painted]):
        return
    first, renumbered = MOST_CLASSES, []
    for path, _ in painted:
        mask = read_image(path)
        count = int(mask.data.max())
        numbers = np.where(mask.data > 0, mask.data.astype(np.int64) + first, mask.data)
        numbers = numbers.astype(np.int32 if numbers.min() < 0 else np.uint16)
        renumbered.append(_again(mask, numbers, path))
        first += max(0, count)
    if not are_objects(renumbered):
        for path, _ in painted:
            mask = read_image(path)
            _again(mask, np.minimum(mask.data, 1), path)


def _again(mask: Image, numbers: Array, path: Path) -> Counted:
    write_image(replace(mask, data=numbers), path)
    return count_labels(path, numbers[0])


# ---------------------------------------------------------------------------- lists and folder


def _write_lists(
    dataset: Dataset, task: Task, names: dict[str, str], meta: dict[str, Any], root: Path
) -> None:
    split = {part: [names[i] for i in ids] for part, ids in dataset.split.items()}
    if split.get("val") == split.get("train"):  # of a single case
        split.pop("val", None)
    if any(split.get(part) for part in _OWN):
        _write_json(split, root / "split.json")
    if task.classes:
        legend = dict(zip(task.values, task.classes, strict=False))
        if task.kind == "instances":
            legend = {0: task.classes[0], 1: task.classes[-1]}
        other = dict(zip(task.values, task.classes, strict=False))
        legend |= {number: other[value] for number, value in task.also}
        legend |= {number: "ignored (ignore)" for number in task.ignore if number >= 0}
        _write_json({str(number): name for number, name in legend.items()}, root / "classes.json")
    declared = any(case.group for case in dataset.cases)
    declared = declared or (dataset.root / "groups.json").is_file()
    known = groups(dataset) if declared else None
    if known:
        alone = {case.id for case in dataset.cases if not case.group} if declared else set()
        listed = {names[i]: names[i] if i in alone else group for i, group in known.items()}
        _write_json(listed, root / "groups.json")
    said = {"made_by": "unetkit.data.rewrite", "from": dataset.root.name, "layout": dataset.layout}
    _write_json({**said, **meta}, root / "meta.json")


def _write_json(content: Any, path: Path) -> None:
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def check_target(folder: Path, source: Path) -> None:
    """Refuse a folder that holds something, or that lies inside the set.

    Raises:
        InputError: it does.
    """
    target = folder.resolve()
    if target == source.resolve() or source.resolve() in target.parents:
        raise InputError("lies inside the set", where=folder, cure="choose a folder outside of it")
    try:
        if target.exists() and not target.is_dir():
            raise InputError("is a file", where=folder, cure="choose another folder")
        if target.exists() and any(target.iterdir()):
            raise InputError("is not empty", where=folder, cure="choose another folder")
    except OSError as error:
        raise _refused(folder, error) from error


@contextmanager
def _fresh(folder: Path, source: Path) -> Iterator[Path]:
    """Give a folder beside `folder` that takes its place when all went well."""
    check_target(folder, source)
    target = folder.resolve()
    fresh = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        fresh.mkdir(parents=True)
        yield fresh
        if target.exists():
            target.rmdir()
        fresh.replace(target)
    except OSError as error:
        raise _refused(folder, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _refused(folder: Path, error: OSError) -> InputError:
    what = f"cannot be written ({error.strerror or error})"
    return InputError(what, where=folder, cure="choose another folder")
