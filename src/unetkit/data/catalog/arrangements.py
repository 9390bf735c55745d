"""Files of a public set → cases and their split, by the names that its owners gave them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from unetkit.data.case import Case
from unetkit.data.catalog import conversions
from unetkit.data.catalog.splits import Split, drawn, named, tail
from unetkit.errors import InputError
from unetkit.image import natural

Found = Mapping[str, Path]

_CAMVID = ("sky", "building", "pole", "road", "pavement", "tree", "sign_symbol", "fence", "car",
           "pedestrian", "bicyclist", "unlabelled (ignore)")  # fmt: skip


_VESSEL = {0: "background", 255: "vessel"}
_SEN1 = {"train": "train", "val": "valid", "test": "test", "bolivia": "bolivia"}


@dataclass(frozen=True)
class Arranged:
    """What was found of a set.

    Attributes:
        cases: images with their masks.
        split: their ids by part.
        classes: number in the masks → name, where the masks are not plainly black and white.
    """

    cases: list[Case]
    split: Split
    classes: dict[int, str] | None = None


def stare(found: Found, _: Path) -> Arranged:
    """`im0001.ppm` with the drawings of observers `.ah` (truth) and `.vk`."""
    cases = _paired(
        _matched(found, r"(im\d{4})\.ppm$"),
        _matched(found, r"(im\d{4})\.ah\.ppm$"),
        observers=_matched(found, r"(im\d{4})\.vk\.ppm$"),
    )
    ids = [case.id for case in cases]
    train, val = tail(ids[:10], 0.2)
    return Arranged(cases, named(train=train, val=val, test=ids[10:]), _VESSEL)


def chase(found: Found, _: Path) -> Arranged:
    """`Image_01L.jpg`, the left eye of child 01, with `_1stHO.png` (truth) and `_2ndHO.png`."""
    cases = _paired(
        _matched(found, r"(image_\d\d[lr])\.jpg$"),
        _matched(found, r"(image_\d\d[lr])_1stho\.png$"),
        observers=_matched(found, r"(image_\d\d[lr])_2ndho\.png$"),
    )
    cases = [replace(case, group=case.id[:-1]) for case in cases]
    ids = [case.id for case in cases]
    split = named(train=ids[:16], val=ids[16:20], test=ids[20:])
    return Arranged(cases, split, _VESSEL)


def drive(found: Found, _: Path) -> Arranged:
    """`21_training.tif` and `01_test.tif` with `NN_manual1.gif`, `NN_manual2.gif`, `_mask.gif`."""
    images = _matched(found, r"((\d\d)_(?:training|test))\.tif$")
    number = {name: name[:2] for name in images}

    def by_number(pattern: str) -> dict[str, Path]:
        drawn_by = _matched(found, pattern)
        return {name: drawn_by[n] for name, n in number.items() if n in drawn_by}

    cases = _paired(
        images,
        by_number(r"(\d\d)_manual1\.(?:gif|png|tif)$"),
        observers=by_number(r"(\d\d)_manual2\.(?:gif|png|tif)$"),
        fovs=by_number(r"(\d\d)_(?:training|test)_mask\.(?:gif|png|tif)$"),
    )
    train = [case.id for case in cases if case.id.endswith("training")]
    test = [case.id for case in cases if case.id.endswith("test")]
    if not test:
        train, test = tail(train, 0.2)
    train, val = tail(train, 0.2)
    return Arranged(cases, named(train=train, val=val, test=test), _VESSEL)


def dsb(found: Found, scratch: Path) -> Arranged:
    """`ID/images/ID.png` with one picture per nucleus in `ID/masks/`."""
    images = _matched(found, r"([^/]+)/images/[^/]+\.png$")
    parts: dict[str, list[Path]] = {}
    for name in sorted(found):
        match = re.search(r"([^/]+)/masks/[^/]+\.png$", name)
        if match:
            parts.setdefault(match[1], []).append(found[name])
    masks = {
        name: conversions.numbered(parts[name], scratch, name) for name in images if name in parts
    }
    cases = _paired(images, masks)
    return Arranged(cases, drawn([case.id for case in cases]))


def msd(found: Found, _: Path) -> Arranged:
    """`imagesTr/` and `labelsTr/`, with the names of the classes in `dataset.json`."""
    cases = _paired(
        _matched(found, r"imagestr/([^/]+)\.nii(?:\.gz)?$"),
        _matched(found, r"labelstr/([^/]+)\.nii(?:\.gz)?$"),
    )
    legend = next((found[name] for name in sorted(found) if name.endswith("dataset.json")), None)
    classes = None
    if legend:
        try:
            labels = json.loads(legend.read_text("utf-8"))["labels"]
            classes = {int(value): str(name) for value, name in labels.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError("does not name its labels", where=legend.name) from error
    return Arranged(cases, drawn([case.id for case in cases]), classes)


def ctc(found: Found, scratch: Path) -> Arranged:
    """`01/t000.tif` with the gold truth `01_GT/SEG/man_seg000.tif`; the same for sequence 02.

    Where only slices of volumes are drawn (`man_seg_000_007.tif`, frame and slice), each is a
    picture of its own. Frames where fewer cells are drawn than were tracked
    (`01_GT/TRA/man_track000.tif`) are listed as `partial`, if there are others to learn from.
    """
    frames = _matched(found, r"(\d\d)/t(\d+)\.tif$", joint="_t")
    masks = _matched(found, r"(\d\d)_gt/seg/man_seg(\d+)\.tif$", joint="_t")
    tracked = _matched(found, r"(\d\d)_gt/tra/man_track(\d+)\.tif$", joint="_t")
    images = dict(frames)
    if not masks:
        drawn_slices = _matched(found, r"(\d\d)_gt/seg/man_seg_(\d+_\d+)\.tif$", joint="_t")
        for name, mask in drawn_slices.items():
            frame, depth = name.rsplit("_", 1)
            if frame in frames:
                masks[f"{frame}_z{depth}"] = mask
                images[f"{frame}_z{depth}"] = conversions.slice_of(
                    frames[frame], int(depth), scratch, f"{frame}_z{depth}"
                )
    cases = _paired(images, masks)
    lacking = {
        case.id
        for case in cases
        if case.id in tracked and conversions.lacks_objects(masks[case.id], tracked[case.id])
    }
    for left_out in (lacking, set[str]()):
        full = [case.id for case in cases if case.id not in left_out]
        first, second = ([i for i in full if i.startswith(n)] for n in ("01", "02"))
        if len(first) > 1 and second:
            break
    partial = [case.id for case in cases if case.id in left_out]
    learnt_on = list(dict.fromkeys(i.split("_z")[0] for i in first))  # slices of a frame together
    train, val = tail(learnt_on if len(learnt_on) > 1 else first, 0.2)
    split = named(
        train=[i for i in first if {i, i.split("_z")[0]} & set(train)],
        val=[i for i in first if {i, i.split("_z")[0]} & set(val)],
        test=second,
        partial=partial,
    )
    return Arranged(cases, split)


def isic(found: Found, _: Path) -> Arranged:
    """`ISIC_0000000.jpg` with `ISIC_0000000_segmentation.png`, in folders that name the part."""
    images = _matched(found, r"(isic_\d{7})\.jpe?g$")
    cases = _paired(images, _matched(found, r"(isic_\d{7})_segmentation\.png$"))
    part_of = {}
    for name in found:
        match = re.search(
            r"task1[^/]*_(training|validation|test)_.*(isic_\d{7})\.jpe?g$", name, re.I
        )
        if match:
            part_of[match[2].upper()] = match[1].lower()
    parts: dict[str, list[str]] = {"training": [], "validation": [], "test": []}
    for case in cases:
        parts[part_of.get(case.id, "training")].append(case.id)
    split = named(train=parts["training"], val=parts["validation"], test=parts["test"])
    if len(split) < 3:
        split = drawn([case.id for case in cases])
    return Arranged(cases, split, {0: "background", 255: "lesion"})


def camvid(found: Found, _: Path) -> Arranged:
    """`train/`, `val/` and `test/` with `trainannot/`, `valannot/` and `testannot/`."""
    cases, split = [], {}
    for part in ("train", "val", "test"):
        some = _paired(
            _matched(found, rf"(?:^|/){part}/([^/]+)\.png$"),
            _matched(found, rf"(?:^|/){part}annot/([^/]+)\.png$"),
        )
        cases += some
        split[part] = [case.id for case in some]
    return Arranged(cases, named(**split), dict(enumerate(_CAMVID)))


def sen1floods(found: Found, _: Path) -> Arranged:
    """`X_S1Hand.tif` with `X_LabelHand.tif`, and lists of which X is in which part."""
    cases = _paired(
        _matched(found, r"([^/]+)_s1hand\.tif$"), _matched(found, r"([^/]+)_labelhand\.tif$")
    )
    there, split = {case.id for case in cases}, {}
    for part, word in (
        ("train", "train"),
        ("val", "valid"),
        ("test", "test"),
        ("bolivia", "bolivia"),
    ):
        chips = [chip for chip in listed_chips(found, word) if chip in there]
        split[part] = sorted(chips, key=natural)
    classes = {-1: "no data (ignore)", 0: "land", 1: "water"}
    return Arranged(cases, named(**split) or drawn(sorted(there)), classes)


def listed_chips(found: Found, part: str) -> list[str]:
    """Give the chips that a list of Sen1Floods11 names, in their order."""
    listing = next((found[n] for n in found if n.endswith(f"flood_{part}_data.csv")), None)
    if listing is None:
        return []
    try:
        rows = list(csv.reader(listing.read_text("utf-8-sig").splitlines()))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"is no readable list ({error})", where=listing) from error
    return [row[0].strip().removesuffix("_S1Hand.tif") for row in rows if row and row[0].strip()]


def isbi(found: Found, scratch: Path) -> Arranged:
    """`train-volume.tif` with `train-labels.tif`, and the same of the test volume: slices."""
    cases, split = [], Split()
    for part in ("train", "test"):
        volume = _matched(found, rf"({part})-volume\.tif$").get(part)
        labels = _matched(found, rf"({part})-labels\.tif$").get(part)
        if volume and labels:
            pairs = conversions.slices(volume, labels, scratch, part)
            cases += [Case(name, image, mask) for name, image, mask in pairs]
            split[part] = [name for name, _, _ in pairs]
    if "test" not in split and "train" in split:
        split["train"], split["test"] = tail(split["train"], 1 / 6)
    if "train" in split:
        split["train"], split["val"] = tail(split["train"], 0.2)
    return Arranged(cases, named(**split), {0: "membrane", 255: "cell interior"})


def ph2(found: Found, _: Path) -> Arranged:
    """`IMD002_Dermoscopic_Image/IMD002.bmp` with `IMD002_lesion/IMD002_lesion.bmp`."""
    cases = _paired(
        _matched(found, r"(imd\d{3})\.bmp$"), _matched(found, r"(imd\d{3})_lesion\.bmp$")
    )
    return Arranged(cases, drawn([case.id for case in cases]), {0: "background", 255: "lesion"})


def dubai(found: Found, scratch: Path) -> Arranged:
    """`Tile 1/images/image_part_001.jpg` with masks in class colours beside them."""
    images = _matched(found, r"tile (\d+)/images/image_(part_\d+)\.jpg$", joint="_")
    coloured = _matched(found, r"tile (\d+)/masks/image_(part_\d+)\.png$", joint="_")
    masks = {
        f"tile_{name}": conversions.recoloured(coloured[name], scratch, f"tile_{name}")
        for name in images
        if name in coloured
    }
    cases = _paired({f"tile_{name}": path for name, path in images.items()}, masks)
    cases = [replace(case, group=case.id.partition("_part")[0]) for case in cases]
    tiles = {case.id: int(case.id.split("_")[1]) for case in cases}
    split = named(
        train=[name for name, tile in tiles.items() if tile <= 5],
        val=[name for name, tile in tiles.items() if tile == 6],
        test=[name for name, tile in tiles.items() if tile >= 7],
    )
    return Arranged(cases, split, conversions.DUBAI)


def deepglobe(found: Found, scratch: Path) -> Arranged:
    """`100034_sat.jpg` with `100034_mask.png`; the parts without masks are left out."""
    images = _matched(found, r"(\d+)_sat\.jpg$")
    drawings = _matched(found, r"(\d+)_mask\.png$")
    masks = {
        name: conversions.thresholded(drawings[name], scratch, name)
        for name in images
        if name in drawings
    }
    cases = _paired(images, masks)
    return Arranged(cases, drawn([case.id for case in cases]), {0: "background", 255: "road"})


def massachusetts(found: Found, _: Path) -> Arranged:
    """`train/sat/10078660_15.tiff` with `train/map/10078660_15.tif`; the same of valid and test."""
    cases, split = [], {}
    for part, word in (("train", "train"), ("val", "valid"), ("test", "test")):
        some = _paired(
            _matched(found, rf"{word}/sat/([^/]+)\.tiff?$"),
            _matched(found, rf"{word}/map/([^/]+)\.tiff?$"),
        )
        cases += some
        split[part] = [case.id for case in some]
    return Arranged(cases, named(**split))


ARRANGEMENTS: dict[str, Callable[[Found, Path], Arranged]] = {
    function.__name__: function
    for function in (
        stare, chase, drive, dsb, msd, ctc, isic, camvid, sen1floods, isbi, ph2, dubai, deepglobe,
        massachusetts,
    )
}  # fmt: skip


def _matched(found: Found, pattern: str, *, joint: str = "") -> dict[str, Path]:
    """Give the files whose names match, by what the groups of the pattern hold, in natural order.

    Capitals make no difference. Where a set lies twice in an archive, the first copy counts.
    """
    matched: dict[str, Path] = {}
    for name in sorted(found, key=natural):
        match = re.search(pattern, name, re.IGNORECASE)
        if match:
            groups = [group for group in match.groups() if group is not None]
            matched.setdefault(joint.join(groups) if joint else groups[0], found[name])
    return matched


def _paired(
    images: Mapping[str, Path],
    masks: Mapping[str, Path],
    *,
    observers: Mapping[str, Path] | None = None,
    fovs: Mapping[str, Path] | None = None,
) -> list[Case]:
    """Give the images that have a mask, in natural order."""
    return [
        Case(name, images[name], masks[name], (fovs or {}).get(name), (observers or {}).get(name))
        for name in sorted(images, key=natural)
        if name in masks
    ]
