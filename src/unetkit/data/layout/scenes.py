"""Pictures in one folder and labels in a sibling whose name says so: ISIC, CamVid, Sen1Floods11."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from unetkit.data.layout.folder import Folder, Ground, plain
from unetkit.data.layout.pairing import assemble, by_key, in_order
from unetkit.data.layout.reading import ALIASES, Reading, Split, joined, several
from unetkit.data.legend import Legend
from unetkit.errors import InputError
from unetkit.image import stem

_PHASE = re.compile(r".*[_-](training|validation|test)(?:_v2)?_(?:input|data)", re.IGNORECASE)
_TRUTH = re.compile(r".*[_-](training|validation|test)(?:_v2)?(?:_part1)?_groundtruth",
                    re.IGNORECASE)  # fmt: skip

# `train` + `trainannot` (SegNet's CamVid), `train` + `train_masks` (Carvana), `train_images` …
_IMAGES = ("", "images", "image", "imgs", "img", "inputs", "input", "x")
_LABELS = ("annot", "annots", "annotation", "annotations", "mask", "masks", "label", "labels", "gt",
           "groundtruth", "segmentation", "segmentations", "y")  # fmt: skip
_CAMVID = re.compile(r"(?:0001TP|0006R0|0016E5|Seq05VD)_f?\d+")
_CAMVID_CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign_symbol", "fence",
                   "car", "pedestrian", "bicyclist")  # fmt: skip

# Where the hand-labelled chips lie in the bucket, and what people keep of its folders.
_FLOODS = ("", "HandLabeled", "flood_events/HandLabeled", "data/flood_events/HandLabeled",
           "v1.1/data/flood_events/HandLabeled")  # fmt: skip
_LISTS = ("", "splits", "flood_handlabeled", "splits/flood_handlabeled",
          "v1.1/splits/flood_handlabeled")  # fmt: skip
_LIST = re.compile(r"flood_(train|valid|test|bolivia)_data\.csv", re.IGNORECASE)


def read_isic(ground: Ground) -> list[Reading]:
    """Read `*_Training_Input/ISIC_x.jpg` + `*_Training_GroundTruth/ISIC_x_segmentation.png`.

    Validation and test likewise; superpixels and attributes (task 2) are left aside.
    """
    inputs: dict[str, Path] = {}
    truths: dict[str, list[Path]] = {}
    for name, folder in ground.look(ground.root).folders.items():
        if match := _PHASE.fullmatch(name):
            inputs.setdefault(match[1].lower(), folder)
        elif match := _TRUTH.fullmatch(name):
            truths.setdefault(match[1].lower(), []).append(folder)
    parts = []
    for phase in ("training", "validation", "test"):
        if phase not in inputs:
            continue
        here = _inner(ground, inputs[phase])
        images = {stem(f): f for f in here.images if not stem(f).endswith("_superpixels")}
        used, masks, where = {inputs[phase], here.path}, dict[str, Path](), here.path
        for folder in truths.get(phase, ()):
            there = _inner(ground, folder)
            found = by_key(images, there.images, r"(.*)", r"(?i:(.*)_segmentation)")
            used |= {folder, there.path} if found else set()
            masks, where = {**found, **masks}, there.path
        if not masks and ground.required:
            continue
        cases, problems, unpaired = assemble(images, masks, required=ground.required, where=where)
        parts.append((ALIASES[phase], Reading("isic", "", tuple(cases), frozenset(used),
                                              unpaired=unpaired,
                                              problems=tuple(problems))))  # fmt: skip
    if not any(case.mask for _, reading in parts for case in reading.cases):
        return []
    kind = "split" if len(parts) > 1 else ""
    whole = joined(parts, name="isic", words="", kind=kind)
    counts = several(f"{len(reading.cases)} of {part}" for part, reading in parts)
    return [replace(whole, words=f"ISIC: pictures and _segmentation, {counts}")]


def read_siblings(ground: Ground) -> list[Reading]:
    """Read `train/` + `trainannot/` as SegNet's CamVid has it, or `train/` + `train_masks/`."""
    sources: list[tuple[str, str, Path]] = []
    truths: list[tuple[str, str, Path]] = []
    for name, folder in ground.look(ground.root).folders.items():
        for word, part in ALIASES.items():
            rest = plain(name).removeprefix(word)
            if plain(name).startswith(word) and rest in (*_IMAGES, *_LABELS):
                (sources if rest in _IMAGES else truths).append((part, rest, folder))
    ways: dict[tuple[str, str], list[tuple[str, Reading]]] = {}
    for part, role, images in sources:
        for same, ending, labels in truths:
            problems: list[InputError] = []
            pictures = in_order(ground.look(images).images if same == part else (), None,
                                problems.append)  # fmt: skip
            masks = in_order(ground.look(labels).images, pictures, problems.append)
            if not any(name in pictures for name in masks):
                continue
            cases, more, unpaired = assemble(
                pictures, masks, required=ground.required, where=labels
            )
            reading = Reading(f"{images.name}+{labels.name}", f"{images.name}/", tuple(cases),
                              frozenset({images, labels}), unpaired=unpaired,
                              problems=(*problems, *more))  # fmt: skip
            ways.setdefault((role, ending), []).append((part, reading))
    order = ("train", "val", "test")
    return [
        _siblings(way, sorted(parts, key=lambda part: order.index(part[0])))
        for way, parts in ways.items()
    ]


def _siblings(way: tuple[str, str], parts: list[tuple[str, Reading]]) -> Reading:
    cases = [case for _, reading in parts for case in reading.cases]
    names = [stem(case.image) for case in cases]
    known = 2 * sum(bool(_CAMVID.fullmatch(name)) for name in names) > len(names)
    camvid = way == ("", "annot") and known
    pairs = several(f"{reading.name.replace('+', '/ + ')}/" for _, reading in parts)
    words = f"{'CamVid as SegNet has it: ' if camvid else ''}{pairs} by name, {len(cases)} cases"
    name = "camvid" if camvid else parts[0][1].name
    kind = "split" if len(parts) > 1 else ""
    whole = joined(parts, name=name, words=words, kind=kind)
    classes = Legend(dict(enumerate(_CAMVID_CLASSES)), (11,), source="SegNet's CamVid")
    return replace(whole, legend=classes if camvid else None)


def read_floods(ground: Ground) -> list[Reading]:
    """Read `S1Hand/X_S1Hand.tif` or `S2Hand/X_S2Hand.tif` + `LabelHand/X_LabelHand.tif`.

    The split is that of `flood_train_data.csv` and its like, where they are there; Bolivia, a
    region of its own, is kept apart as they do it.
    """
    places = [place for name in _FLOODS if (place := ground.below(ground.root, name))]
    places = [place for place in places if "LabelHand" in ground.look(place).folders]
    if not places:
        return []
    place = places[0]
    folders = ground.look(place).folders
    found = []
    for sensor in ("S1", "S2"):
        if f"{sensor}Hand" not in folders:
            continue
        ending = f"_{sensor}Hand"
        images = {
            stem(file).removesuffix(ending): file
            for file in ground.look(folders[f"{sensor}Hand"]).images
            if stem(file).endswith(ending)
        }
        masks = by_key(images, ground.look(folders["LabelHand"]).images, "(.*)", "(.*)_LabelHand")
        cases, problems, unpaired = assemble(
            images, masks, required=ground.required, where=folders["LabelHand"]
        )
        if not any(case.mask for case in cases):
            continue
        split, lists = _flood_split(ground, set(images))
        words = f"Sen1Floods11: {sensor}Hand/ + LabelHand/, {len(cases)} cases"
        words += f", split by {lists} lists" if split else ""
        used = frozenset({folders[f"{sensor}Hand"], folders["LabelHand"]})
        found.append(Reading(f"sen1floods11-{sensor.lower()}", words, tuple(cases), used, split,
                             unpaired, problems=tuple(problems)))  # fmt: skip
    return found


def _flood_split(ground: Ground, known: set[str]) -> tuple[Split, int]:
    split: dict[str, tuple[str, ...]] = {}
    for file in _flood_lists(ground):
        match = _LIST.fullmatch(file.name)
        name = ALIASES.get(match[1].lower(), match[1].lower()) if match else ""
        try:
            rows = list(csv.reader(file.read_text(encoding="utf-8-sig").splitlines()))
        except (OSError, ValueError, csv.Error) as error:
            cure = "copy it again from its source, or take it out"
            raise InputError(f"is no readable CSV ({error})", where=file, cure=cure) from error
        names = [re.sub(r"_(S1|S2|Label)Hand$", "", stem(row[0].strip())) for row in rows if row]
        members = tuple(dict.fromkeys(n for n in names if n in known))
        if name and members:
            split.setdefault(name, members)
    return split, len(split)


def _flood_lists(ground: Ground) -> Iterator[Path]:
    for name in _LISTS:
        place = ground.below(ground.root, name)
        files = ground.look(place).files if place else ()
        yield from (file for file in files if _LIST.fullmatch(file.name))


def _inner(ground: Ground, path: Path) -> Folder:
    """Look into a folder, or into the only one inside it, as archives are often unpacked."""
    here = ground.look(path)
    if not here.images and len(here.folders) == 1:
        return ground.look(next(iter(here.folders.values())))
    return here
