"""Volumes as medical challenges give them out: nnU-Net's raw folders and the MSD's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from unetkit.data.layout.folder import Folder, Ground, guarded, is_there, read_json
from unetkit.data.layout.pairing import assemble
from unetkit.data.layout.reading import Reading, joined
from unetkit.data.legend import Legend
from unetkit.errors import InputError
from unetkit.image import stem

_CHANNEL = re.compile(r"(.+)_(\d{4})")
_IGNORE = "ignore"
_SHAPE = 'write "labels": {"background": 0, "tumour": 1}'


def read_volumes(ground: Ground) -> list[Reading]:
    """Read `imagesTr/` + `labelsTr/` (train) and `imagesTs/` + `labelsTs/` (test).

    nnU-Net writes one file per channel, `CASE_0000`, `CASE_0001` …; the Medical Segmentation
    Decathlon one file per case. The labels' names are in `dataset.json`.

    Raises:
        InputError: dataset.json is damaged.
    """
    folders = {name.lower(): path for name, path in ground.look(ground.root).folders.items()}
    if "imagestr" not in folders or "labelstr" not in folders:
        return []
    listed = ground.root / "dataset.json"
    legend, channels = _read_about(listed) if is_there(listed, file=True) else (None, 0)
    parts = []
    for part, ending in (("train", "tr"), ("test", "ts")):
        images, labels = folders.get(f"images{ending}"), folders.get(f"labels{ending}")
        if images and (labels or not ground.required):
            there = ground.look(labels) if labels else Folder(images, {}, (), ())
            reading = _read_part(ground, ground.look(images), there, channels)
            parts += [(part, reading)] if reading.cases else []
    if not parts:
        what = "no label in labelsTr/ has the name of a case in imagesTr/"
        cure = "name them CASE_0000.nii.gz and CASE.nii.gz"
        ground.nearly.append(InputError(what, where=ground.root, cure=cure))
        return []
    kind = "split" if len(parts) > 1 else ""
    name = "nnunet" if any(reading.name == "nnunet" for _, reading in parts) else "msd"
    whole = joined(parts, name=name, words="", kind=kind)
    title = "nnU-Net" if name == "nnunet" else "Medical Segmentation Decathlon"
    words = f"{title}: imagesTr/ + labelsTr/"
    words += " and imagesTs/ for test" if len(parts) > 1 else ""
    words += f", {len(whole.cases)} cases"
    most = max(1 + len(case.bands) for case in whole.cases)
    words += f" of {most} channels" if most > 1 else ""
    words += " with the classes of dataset.json" if legend else " without dataset.json"
    found = {**vars(whole), "words": words, "legend": legend}
    return [Reading(**found)]


def _read_part(ground: Ground, images: Folder, labels: Folder, channels: int) -> Reading:
    masks = {stem(file): file for file in labels.images}
    alone = {stem(file): file for file in images.images}
    cut = {name: match for name in alone if (match := _CHANNEL.fullmatch(name))}
    # MSD's BRATS_0001 would fit the pattern, too; the labels tell.
    plain = sum(name in masks for name in alone)
    by_channel = sum(match[1] in masks for match in cut.values())
    if plain > by_channel or not cut or (not masks and len(cut) < len(alone)):
        cases, problems, unpaired = assemble(
            alone, masks, required=ground.required, where=labels.path
        )
        if not any(case.mask for case in cases) and ground.required:
            return Reading("msd", "", (), frozenset())
        used = frozenset({images.path, labels.path})
        return Reading("msd", "", tuple(cases), used, unpaired=unpaired, problems=tuple(problems))
    channel: dict[str, dict[int, Path]] = {}
    for name, match in cut.items():
        channel.setdefault(match[1], {})[int(match[2])] = alone[name]
    # RGB pictures are one file, though dataset.json lists their three channels.
    counts = {len(files) for files in channel.values()}
    usual = channels if channels in counts else max(counts)
    problems = []
    whole: dict[str, tuple[Path, ...]] = {}
    for name, files in channel.items():
        if sorted(files) == list(range(usual)):
            whole[name] = tuple(files[k] for k in range(usual))
            continue
        missing = [k for k in range(usual) if k not in files]
        what = (
            f"channel {missing[0]} of {usual} is missing"
            if missing
            else (f"there are {len(files)} channels where {usual} are expected")
        )
        cure = f"add {name}_{missing[0]:04}" if missing else 'correct "channel_names"'
        problems.append(InputError(what, where=next(iter(files.values())), cure=cure))
    incomplete = channel.keys() - whole.keys()
    cases, more, unpaired = assemble(
        {name: files[0] for name, files in whole.items()},
        {name: file for name, file in masks.items() if name not in incomplete},
        required=ground.required,
        where=labels.path,
        bands={name: files[1:] for name, files in whole.items()},
    )
    used = frozenset({images.path, labels.path})
    return Reading("nnunet", "", tuple(cases) if by_channel or not ground.required else (), used,
                   unpaired=unpaired, problems=(*problems, *more))  # fmt: skip


def _read_about(path: Path) -> tuple[Legend | None, int]:
    """Read the classes and the number of channels from dataset.json, old style or new."""
    try:
        content = read_json(path, largest=64 * 2**20)
    except InputError as error:
        raise guarded(error, _SHAPE) from error
    if not isinstance(content, dict):
        raise InputError("is not a table", where=path, cure=_SHAPE)
    named = content.get("channel_names") or content.get("modality") or {}
    channels = len(named) if isinstance(named, dict | list) else 0
    labels = content.get("labels")
    if labels is None:
        return None, channels
    names: dict[int, str] = {}
    ignore: list[int] = []
    regions: list[tuple[int, str, list[int]]] = []
    entries: list[tuple[Any, Any]] = list(labels.items()) if isinstance(labels, dict) else [(0, 0)]
    for key, value in entries:
        if isinstance(key, str) and isinstance(value, str) and _is_number(key):
            name, numbers = value, [int(key)]  # as the MSD and nnU-Net 1 write it
        elif isinstance(key, str) and _whole(value):
            name, numbers = key, list(value) if isinstance(value, list) else [int(value)]
        else:
            raise InputError('"labels" are no classes', where=path, cure=_SHAPE)
        if name.lower() == _IGNORE:
            ignore += numbers
        elif numbers:
            regions.append((len(numbers), name, numbers))
    # Of nested regions (whole tumour 1, 2, 3; core 2, 3), the smallest names a number.
    for _, name, numbers in sorted(regions, key=lambda region: -region[0]):
        names.update(dict.fromkeys(numbers, name))
    ordered = {number: names[number] for number in sorted(names)}
    return Legend(ordered, tuple(ignore), source=path.name) if ordered else None, channels


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d{1,6}", text.strip()) is not None


def _whole(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_whole(each) and not isinstance(each, list) for each in value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**6
