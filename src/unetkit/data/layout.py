"""Folders → cases and their split: which mask belongs to which image, and who trains on what."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unetkit.data.case import Case
from unetkit.errors import InputError
from unetkit.image import is_image, list_images, natural, stem

Report = Callable[[InputError], None]
Split = dict[str, tuple[str, ...]]

_IMAGES = ("images", "imgs")
_MASKS = ("masks", "labels", "annotations")
_FOVS = ("fov",)
_OBSERVERS = ("masks2",)
_SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
# What people append to the name of a mask; `.ah` and `.vk` are the two observers of STARE.
_ENDINGS = ("_mask", "_masks", "_seg", "_manual1", "_manual2", ".ah", ".vk", "_label", "_labels",
            "_gt", "_fov")  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """What a folder holds: `sentence` says what was recognised, for people to check."""

    sentence: str
    cases: tuple[Case, ...]
    split: Split


def find_layout(root: Path, *, seed: int, required: bool, report: Report) -> Layout:
    """Recognise `images/` + `masks/`, or these two in each of `train/`, `val/` and `test/`.

    Args:
        root: the folder.
        seed: decides the split where none is given.
        required: every image needs a mask.
        report: called with each problem that leaves something to go on with.

    Raises:
        InputError: there is nothing to go on with.
    """
    try:
        exists, is_folder = root.exists(), root.is_dir()
    except OSError as error:
        raise InputError(f"cannot be opened ({error.strerror})", where=root) from error
    if not is_folder:
        what = "is a file, a folder is needed" if exists else "no such folder"
        raise InputError(what, where=root, cure="give the folder that holds images/ and masks/")
    if _folder(root, _IMAGES):
        cases, sentence = _pair(root, required, report)
        ids = [case.id for case in cases]
        listed = root / "split.json"
        split = _read_split(listed, _image_ids(root), report) if listed.is_file() else {}
        source = "split.json: " if split else ""
        split = {
            name: tuple(i for i in members if i in set(ids)) for name, members in split.items()
        }
        split, words = _completed(split, ids, seed)
        return Layout(f"{sentence}; {source}{words}", tuple(cases), split)
    parts = {name: part for name, names in _SPLITS.items() if (part := _folder(root, names))}
    parts = {name: part for name, part in parts.items() if _folder(part, _IMAGES)}
    if parts:
        return _from_parts(parts, seed, required, report)
    if not required and any(is_image(file) for file in root.iterdir()):
        cases = [Case(stem(file), file) for file in list_images(root)]
        split, words = _completed({}, [case.id for case in cases], seed)
        return Layout(f"{len(cases)} images without masks; {words}", tuple(cases), split)
    raise InputError(
        "no images/ folder, nor train/images/",
        where=root,
        cure="put the images into images/ and their masks, under the same names, into masks/",
    )


def holds_dataset(root: Path) -> bool:
    """Tell the folder of a data set, with `images/` or `test/images/`, from a folder of masks."""
    parts = (_folder(root, names) for names in _SPLITS.values())
    return any(_folder(part, _IMAGES) for part in (root, *parts) if part)


def _from_parts(parts: dict[str, Path], seed: int, required: bool, report: Report) -> Layout:
    found = {name: _pair(part, required, report)[0] for name, part in parts.items()}
    often = Counter(case.id for cases in found.values() for case in cases)
    split: Split = {}
    everything: list[Case] = []
    for name, cases in found.items():
        # The same name may stand for different pictures in train/ and test/.
        unique = [replace(c, id=f"{name}_{c.id}") if often[c.id] > 1 else c for c in cases]
        split[name] = tuple(case.id for case in unique)
        everything += unique
    folders = ", ".join(f"{part.name}/" for part in parts.values())
    split, words = _completed(split, [case.id for case in everything], seed)
    sentence = f"{folders} each with images and masks, {len(everything)} cases; {words}"
    return Layout(sentence, tuple(everything), split)


# ------------------------------------------------------------------------------------- pairing


def _folder(root: Path, names: Iterable[str]) -> Path | None:
    """Give the folder in `root` that has one of the names, whatever their capitals."""
    inside = {path.name.lower(): path for path in sorted(root.iterdir(), reverse=True)}
    return next((inside[n] for n in names if n in inside and inside[n].is_dir()), None)


def _image_ids(root: Path) -> set[str]:
    folder = _folder(root, _IMAGES)
    return {stem(file) for file in list_images(folder)} if folder else set()


def _pair(root: Path, required: bool, report: Report) -> tuple[list[Case], str]:
    """Pair the images of a folder with masks, fields of view and observers by their names."""
    image_folder, mask_folder = _folder(root, _IMAGES), _folder(root, _MASKS)
    assert image_folder is not None
    images = by_name(list_images(image_folder), None, report)
    masks: dict[str, Path] = {}
    if mask_folder:
        files = [file for file in mask_folder.iterdir() if is_image(file)]
        if not files and required:
            raise InputError("no masks found", where=mask_folder, cure="put one per image there")
        masks = by_name(files, images, report)
    elif required:
        raise InputError(
            f"no masks/ folder beside {image_folder.name}/",
            where=root,
            cure="put the masks, under the names of their images, into masks/",
        )
    alone = [name for name in images if name not in masks]
    if required and len(alone) == len(images):
        raise InputError(
            f"no mask has the name of an image (image {next(iter(images.values())).name}, "
            f"mask {next(iter(masks.values())).name})",
            where=root,
            cure="name each mask as its image, or name_mask",
        )
    if alone and required:
        others = f" (and {len(alone) - 1} more of {len(images)})" if len(alone) > 1 else ""
        report(
            InputError(
                f"the image has no mask{others}",
                where=images[alone[0]],
                cure=f"add {mask_folder}/{alone[0]}.png, or take the image out",
            )
        )
    stray = [name for name in masks if name not in images]
    if stray:
        others = f" (and {len(stray) - 1} more of {len(masks)})" if len(stray) > 1 else ""
        report(
            InputError(
                f"the mask has no image{others}",
                where=masks[stray[0]],
                cure="add its image under the same name, or take the mask out",
            )
        )
    fovs, observers = _beside(root, _FOVS, images), _beside(root, _OBSERVERS, images)
    cases = [
        Case(name, image, masks.get(name), fovs.get(name), observers.get(name))
        for name, image in images.items()
        if name in masks or not required
    ]
    sentence = f"{image_folder.name}/ + {mask_folder.name if mask_folder else 'no masks'}/ by name"
    sentence += f", {len(cases)} cases"
    for what, where in (("fields of view", fovs), ("second observers", observers)):
        sentence += f", {len(where)} {what}" if where else ""
    return cases, sentence


def _beside(root: Path, names: Sequence[str], images: dict[str, Path]) -> dict[str, Path]:
    folder = _folder(root, names)
    files = [file for file in folder.iterdir() if is_image(file)] if folder else []
    return by_name(files, images, lambda _: None)


def by_name(
    files: Iterable[Path], images: Collection[str] | None, report: Report
) -> dict[str, Path]:
    """Order files by the name of their image; a name that no image has may lose its ending."""
    named: dict[str, Path] = {}
    for file in sorted(files, key=lambda file: natural(file.name)):
        name = stem(file)
        if images is not None and name not in images:
            name = bare(name)
        if name in named:
            report(
                InputError(
                    f"has the same name as {named[name].name}",
                    where=file,
                    cure="rename one of the two, or take it out",
                )
            )
        else:
            named[name] = file
    return named


def bare(name: str) -> str:
    """Give a mask's name without what people append to it: `7_manual1` is `7`."""
    ending = next((e for e in _ENDINGS if name.lower().endswith(e)), "")
    return name[: -len(ending)] if ending else name


# -------------------------------------------------------------------------------------- splits


def _read_split(path: Path, known: set[str], report: Report) -> Split:
    """Read `{"train": [names], …}`; keys other than train, val and test follow behind."""
    shape = 'write {"train": [names], "val": [names], "test": [names]}'
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"is no readable JSON ({error})", where=path, cure=shape) from error
    lists = content.values() if isinstance(content, dict) else [None]
    if not all(isinstance(m, list) and all(isinstance(i, str) for i in m) for m in lists):
        raise InputError("is not a table of lists of names", where=path, cure=shape)
    alias = {word: name for name, words in _SPLITS.items() for word in words}
    split: dict[str, list[str]] = {name: [] for name in _SPLITS}
    taken: dict[str, str] = {}
    for key, members in content.items():
        name = alias.get(key.lower(), key)
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
            elif name in _SPLITS and taken.get(case, name) != name:
                report(
                    InputError(
                        f"{case} is in both {taken[case]} and {name}",
                        where=path,
                        cure="keep it in one, or the scores will flatter",
                    )
                )
            else:
                taken.update({case: name} if name in _SPLITS else {})
                split.setdefault(name, []).append(case)
    if not any(split[name] for name in _SPLITS):
        raise InputError("names no case for train, val or test", where=path, cure=shape)
    return {name: tuple(dict.fromkeys(members)) for name, members in split.items()}


def _completed(split: Split, ids: Sequence[str], seed: int) -> tuple[Split, str]:
    """Draw what is missing, so that whoever may train may also validate; say so in words."""
    split = {name: members for name, members in split.items() if members}
    notes = ""
    if not any(name in split for name in _SPLITS):
        order, part = shuffled(ids, seed), max(1, round(0.15 * len(ids)))
        test = order[:part] if len(ids) >= 3 else ()
        split = {"train": order[len(test) :], **({"test": test} if test else {}), **split}
        notes = f" (drawn at random by seed {seed}, about 70/15/15)" if test else ""
    train = split.get("train", ())
    if train and "val" not in split:
        if len(train) == 1:
            split["val"] = train
            notes += " (val is the one case of train, so its scores will flatter)"
        else:
            # Of what is left beside the test cases, so that val has about 15 % of everything.
            part = max(1, round(0.15 * len(ids))) if notes else max(1, round(0.15 * len(train)))
            drawn = set(shuffled(train, seed)[:part])
            split["val"] = tuple(i for i in train if i in drawn)
            split["train"] = tuple(i for i in train if i not in drawn)
            notes = notes or f" (val drawn at random from train by seed {seed})"
    rest = set(ids).difference(*split.values())
    order_of = {case: position for position, case in enumerate(ids)}
    names = [*(n for n in _SPLITS if n in split), *(n for n in split if n not in _SPLITS)]
    split = {name: tuple(sorted(split[name], key=order_of.__getitem__)) for name in names}
    words = ", ".join(f"{len(split[name])} {name}" for name in names)
    return split, words + notes + (f", {len(rest)} in no split" if rest else "")


def shuffled(ids: Iterable[str], seed: int) -> tuple[str, ...]:
    """Order by a hash of seed and name: the same on every machine, whatever else is added."""
    return tuple(sorted(ids, key=lambda i: hashlib.sha256(f"{seed}/{i}".encode()).digest()))
