"""Layouts: trees of exactly the public shapes, without pixels, for only names are looked at."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetkit.data.case import Case, Drawing
from unetkit.data.layout import Layout, by_name, find_layout, holds_dataset, series
from unetkit.data.layout.folder import read_json
from unetkit.data.layout.splits import completed
from unetkit.errors import InputError

DATA = Path(__file__).parents[1].parent / "shared" / "data"
OWN = ("train", "val", "test")


def touch(root: Path, *names: str) -> Path:
    """Make empty files; `{3}` in a name stands for 0, 1, 2 and `{2:3}` for 000, 001."""
    for name in names:
        match = re.search(r"\{(\d+)(?::(\d))?\}", name)
        if match:
            numbers = (str(k).zfill(int(match[2] or 0)) for k in range(int(match[1])))
            touch(root, *(name.replace(match[0], number, 1) for number in numbers))
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
    return root


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def read(root: Path, *, required: bool = True, seed: int = 0) -> Layout:
    """Read a layout that has no problem."""

    def fail(error: InputError) -> None:
        raise error

    return find_layout(root, seed=seed, required=required, report=fail)


def problems(root: Path, *, required: bool = True) -> tuple[Layout, list[str]]:
    found: list[InputError] = []
    layout = find_layout(root, seed=0, required=required, report=found.append)
    for error in found:
        assert "\n" not in str(error)
        assert error.cure
    return layout, [str(error) for error in found]


def fault(root: Path, *, required: bool = True) -> str:
    with pytest.raises(InputError) as caught:
        read(root, required=required)
    assert "\n" not in str(caught.value)
    assert caught.value.cure
    return str(caught.value)


def seen(layout: Layout, root: Path) -> dict[str, tuple[str | None, ...]]:
    """Give id → image, mask, fov, observer, relative to the root."""

    def short(path: Path | None) -> str | None:
        return str(path.relative_to(root)) if path else None

    return {
        case.id: tuple(map(short, (case.image, case.mask, case.fov, case.observer)))
        for case in layout.cases
    }


def groups(layout: Layout) -> dict[str, str | None]:
    return {case.id: case.group for case in layout.cases}


# ------------------------------------------------------------------------------------------- own


@pytest.mark.parametrize("images", ["images", "imgs", "Image", "IMG"])
@pytest.mark.parametrize(
    "masks",
    ["masks", "labels", "annotations", "mask", "Label", "gt", "GroundTruth", "ground_truth",
     "Ground Truth", "segmentations"],
)  # fmt: skip
def test_names_of_folders(tmp_path: Path, images: str, masks: str) -> None:
    touch(tmp_path, f"{images}/a{{3}}.png", f"{masks}/a{{3}}.tif")
    layout = read(tmp_path)
    assert seen(layout, tmp_path)["a1"] == (f"{images}/a1.png", f"{masks}/a1.tif", None, None)
    assert layout.sentence.startswith(f"{images}/ + {masks}/ by name, 3 cases; 1 train, 1 val")


@pytest.mark.parametrize(("image", "mask", "name"), [
    ("7.png", "7.png", "7"),
    ("7.jpg", "7_manual1.gif", "7"),
    ("im0001.png", "im0001.ah.png", "im0001"),
    ("case_7.nii.gz", "case_7_seg.nii.gz", "case_7"),
    ("7_img.png", "7_mask.png", "7_img"),
    ("7_sat.jpg", "7_mask.png", "7_sat"),
    ("image_7.png", "mask_7.png", "image_7"),
    ("img7.png", "label7.png", "img7"),
    ("A.PNG", "a.png", "A"),
    ("a.png", "A_Segmentation.PNG", "a"),
    ("x_mask.png", "x_mask.png", "x_mask"),  # an ending that belongs to the image stays
])  # fmt: skip
def test_names_of_pairs(tmp_path: Path, image: str, mask: str, name: str) -> None:
    touch(tmp_path, f"images/{image}", f"masks/{mask}")
    assert seen(read(tmp_path), tmp_path) == {
        name: (f"images/{image}", f"masks/{mask}", None, None)
    }


def test_a_name_that_could_mean_two_images_means_none(tmp_path: Path) -> None:
    touch(tmp_path, "images/image_1.png", "images/img_1.png", "images/2.png")
    touch(tmp_path, "masks/mask_1.png", "masks/2.png")
    layout, said = problems(tmp_path)
    assert [case.id for case in layout.cases] == ["2"]
    expected = ("has no mask (and 1 more of 3)", "has no mask;", "the mask has no image;")
    assert all(part in line for part, line in zip(expected, map(str, said), strict=True)), said


def test_names_that_differ_in_capitals_stay_apart(tmp_path: Path) -> None:
    touch(tmp_path, "images/A.png", "images/a.png", "masks/A_mask.png", "masks/a.png")
    found = seen(read(tmp_path), tmp_path)
    if len(list((tmp_path / "images").iterdir())) == 2:  # not on a disk that knows no capitals
        assert found["A"][:2] == ("images/A.png", "masks/A_mask.png")
        assert found["a"][:2] == ("images/a.png", "masks/a.png")


def test_fields_of_view_and_observers_and_what_is_left_aside(tmp_path: Path) -> None:
    touch(tmp_path, "images/{4}.png", "masks/{4}.png", "fov/{2}.png", "masks2/3.png")
    touch(tmp_path, "images_s2/{2}.tif", "preview.png", "README.md", "images/thumbs/{4}.jpg")
    layout = read(tmp_path)
    found = seen(layout, tmp_path)
    assert found["0"] == ("images/0.png", "masks/0.png", "fov/0.png", None)
    assert found["3"] == ("images/3.png", "masks/3.png", None, "masks2/3.png")
    assert "4 cases, 2 fields of view, 1 second observers; left aside: " in layout.sentence
    for words in ("images_s2/ (2 images)", "images/thumbs/ (4 images)", "preview.png"):
        assert words in layout.sentence
    assert "README" not in layout.sentence


def test_parts_of_a_split(tmp_path: Path) -> None:
    for part, count in (("Training", 3), ("valid", 1), ("test", 2)):
        touch(tmp_path, f"{part}/images/{{{count}}}.png", f"{part}/masks/{{{count}}}_mask.png")
    touch(tmp_path, "training_notes.txt")
    layout = read(tmp_path)
    assert layout.split == {
        "train": ("train_0", "train_1", "2"), "val": ("val_0",), "test": ("test_0", "test_1"),
    }  # fmt: skip
    assert layout.stated
    assert layout.sentence.startswith("Training/, valid/, test/ each with images and masks, 6")


def test_parts_may_name_their_folders_differently(tmp_path: Path) -> None:
    touch(tmp_path, "train/images/a{3}.png", "train/masks/a{3}.png")
    touch(tmp_path, "test/imgs/b{2}.png", "test/labels/b{2}.png")
    assert [len(part) for part in read(tmp_path).split.values()] == [2, 1, 2]


def test_a_part_without_masks_is_left_aside(tmp_path: Path) -> None:
    touch(tmp_path, "train/images/a{5}.png", "train/masks/a{5}.png", "test/images/b{2}.png")
    layout = read(tmp_path)
    assert len(layout.cases) == 5
    assert "left aside: test/" in layout.sentence
    assert not layout.stated
    everything = read(tmp_path, required=False)
    assert everything.split["test"] == ("b0", "b1")


def test_images_and_masks_in_sub_folders_are_groups(tmp_path: Path) -> None:
    for tile in range(1, 9):
        touch(tmp_path, f"Tile {tile}/images/image_part_{{9:3}}.jpg")
        touch(tmp_path, f"Tile {tile}/masks/image_part_{{9:3}}.png")
    write(tmp_path / "classes.json", {"classes": []})
    layout = read(tmp_path)
    assert len(layout.cases) == 72
    found = seen(layout, tmp_path)["Tile 3_image_part_004"]
    assert found[:2] == ("Tile 3/images/image_part_004.jpg", "Tile 3/masks/image_part_004.png")
    assert groups(layout)["Tile 3_image_part_004"] == "Tile 3"
    assert "each a group" in layout.sentence
    assert_whole(layout)


def test_sub_folders_that_mirror_each_other(tmp_path: Path) -> None:
    for patient in ("p01", "p02", "p03", "p04"):
        touch(tmp_path, f"images/{patient}/{{3}}.png", f"masks/{patient}/{{3}}.png")
    touch(tmp_path, "images/p02/own.png", "masks/p02/own.png")
    touch(tmp_path, "images/p05/{3}.png")  # nothing mirrors it
    layout = read(tmp_path)
    assert groups(layout)["p02_1"] == "p02"
    assert groups(layout)["own"] == "p02"
    assert len(layout.cases) == 13
    assert "images/p05/ (3 images)" in layout.sentence
    assert_whole(layout)


def test_mirrored_sub_folders_may_be_a_split(tmp_path: Path) -> None:
    for part, city in (("train", "aachen1"), ("train", "bonn2"), ("val", "ulm3")):
        touch(tmp_path, f"images/{part}/{city}/{{2}}.png", f"labels/{part}/{city}/{{2}}.png")
    layout = read(tmp_path)
    assert layout.split == {
        "train": ("train_aachen1_0", "train_aachen1_1", "train_bonn2_0", "train_bonn2_1"),
        "val": ("val_ulm3_0", "val_ulm3_1"),
    }
    assert groups(layout)["train_bonn2_0"] == "bonn2"


def test_kinds_are_no_groups(tmp_path: Path) -> None:
    for kind in ("benign", "malignant"):
        touch(tmp_path, f"images/{kind}/{kind[0]}{{6}}.png", f"masks/{kind}/{kind[0]}{{6}}.png")
    layout = read(tmp_path)
    assert set(groups(layout).values()) == {None}
    assert len(layout.split["test"]) == 2


def test_one_sub_folder_is_no_group(tmp_path: Path) -> None:
    touch(tmp_path, "set1/images/{9}.png", "set1/masks/{9}.png", "docs/a.txt", "more/b.txt")
    layout = read(tmp_path)
    assert set(groups(layout).values()) == {None}
    assert layout.sentence.startswith("set1/ with images and masks, 9 cases; left aside: docs/, mo")
    touch(tmp_path / "chase", "data/Image_0{8}L.jpg", "docs/a.txt")
    touch(tmp_path / "chase", *(f"data/Image_0{k}L_1stHO.png" for k in range(8)))
    assert groups(read(tmp_path / "chase"))["Image_03L"] == "03"


def test_a_folder_around_all_masks_says_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "images/cat_{3}.jpg", "annotations/trimaps/cat_{3}.png")
    touch(tmp_path, "annotations/trimaps/._cat_1.png")
    assert seen(read(tmp_path), tmp_path)["cat_1"][1] == "annotations/trimaps/cat_1.png"


def test_images_here_and_masks_in_a_sub_folder(tmp_path: Path) -> None:
    touch(tmp_path, "{3}.png", "masks/{3}.png")
    assert seen(read(tmp_path), tmp_path)["2"][:2] == ("2.png", "masks/2.png")


def test_series_of_images_that_are_folders(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "images" / f"{name}.zarr" / "0").mkdir(parents=True)
        write(tmp_path / "images" / f"{name}.zarr" / "zarr.json", {})
        for k in range(3):
            path = tmp_path / "images" / f"scan.{name}" / f"{k}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(128) + b"DICM")
        touch(tmp_path, f"masks/{name}.nii.gz", f"masks/scan.{name}.nii.gz")
    found = seen(read(tmp_path), tmp_path)
    assert found["a"][:2] == ("images/a.zarr", "masks/a.nii.gz")
    assert found["scan.b"][:2] == ("images/scan.b", "masks/scan.b.nii.gz")


def test_images_without_masks_only_when_asked(tmp_path: Path) -> None:
    touch(tmp_path / "a", "images/{4}.png", "masks/{2}.png")
    assert [bool(case.mask) for case in read(tmp_path / "a", required=False).cases] == [
        True, True, False, False,
    ]  # fmt: skip
    touch(tmp_path / "b", "images/{4}.png")
    assert read(tmp_path / "b", required=False).sentence.startswith("images/ without masks, 4")
    touch(tmp_path / "c", "{4}.png", "notes/a.txt")
    assert read(tmp_path / "c", required=False).sentence.startswith("4 images without masks; left")
    assert "no images/ folder" in fault(tmp_path / "c")


def test_what_a_hand_has_drawn_are_the_labels_and_mask_is_the_field_of_view(tmp_path: Path) -> None:
    for name in ("01_dr", "01_g", "01_h"):  # as HRF has it
        touch(tmp_path, f"images/{name}.JPG", f"manual1/{name}.tif", f"mask/{name}_mask.tif")
    assert seen(read(tmp_path), tmp_path)["01_g"] == (
        "images/01_g.JPG", "manual1/01_g.tif", "mask/01_g_mask.tif", None,
    )  # fmt: skip


def test_images_of_one_name(tmp_path: Path) -> None:
    touch(tmp_path / "a", "images/0.png", "images/0.jpg", "images/1.png", "masks/{2}.png")
    touch(tmp_path / "b", "0.png", "0.jpg", "0_mask.png")
    for name, folder in (("a", "images/"), ("b", "")):
        layout, said = problems(tmp_path / name)
        assert layout.cases[0].image == tmp_path / name / f"{folder}0.jpg"
        assert f"{folder}0.png: has the same name as 0.jpg; rename one" in said[0]
        assert len(said) == 1


# ------------------------------------------------------------------------------------------ flat


@pytest.mark.parametrize(
    "ending", ["_mask", "_masks", "_seg", "_label", "_segmentation", "_gt", "_manual1", "_Mask"]
)
def test_pairs_in_one_folder(tmp_path: Path, ending: str) -> None:
    touch(tmp_path, "cell{3}.png", *(f"cell{k}{ending}.png" for k in range(3)))
    layout = read(tmp_path)
    assert seen(layout, tmp_path)["cell1"] == ("cell1.png", f"cell1{ending}.png", None, None)
    assert f"pairs such as cell0.png + cell0{ending}.png in one folder, 3" in layout.sentence


def test_pairs_as_cellpose_has_them(tmp_path: Path) -> None:
    for part in ("train", "test"):
        touch(tmp_path, f"{part}/{{4:3}}_img.png", f"{part}/{{4:3}}_masks.png")
        touch(tmp_path, f"{part}/{{4:3}}_flows.tif", f"{part}/{{4:3}}_img_seg.npy")
    layout = read(tmp_path)
    assert seen(layout, tmp_path)["train_002_img"][1] == "train/002_masks.png"
    assert [len(layout.split[name]) for name in OWN] == [3, 1, 4]


def test_pairs_by_patient(tmp_path: Path) -> None:
    for patient in range(4):
        name = f"TCGA_CS_49{patient}"
        touch(tmp_path, f"kaggle_3m/{name}/{name}_{{5}}.tif")
        touch(tmp_path, *(f"kaggle_3m/{name}/{name}_{k}_mask.tif" for k in range(5)))
    touch(tmp_path, "kaggle_3m/data.csv")
    layout = read(tmp_path)
    assert len(layout.cases) == 20
    assert groups(layout)["TCGA_CS_492_3"] == "TCGA_CS_492"
    assert layout.sentence.startswith("in kaggle_3m/: ")
    assert_whole(layout)


def test_chase(tmp_path: Path) -> None:
    for child in range(1, 15):
        for eye in "LR":
            name = f"Image_{child:02}{eye}"
            touch(tmp_path, f"{name}.jpg", f"{name}_1stHO.png", f"{name}_2ndHO.png")
    layout = read(tmp_path)
    assert layout.sentence.startswith("CHASE_DB1: ")
    assert "28 cases, 28 second observers, both eyes of a child are a group" in layout.sentence
    assert seen(layout, tmp_path)["Image_07R"] == (
        "Image_07R.jpg", "Image_07R_1stHO.png", None, "Image_07R_2ndHO.png",
    )  # fmt: skip
    assert groups(layout)["Image_07L"] == groups(layout)["Image_07R"] == "07"
    assert_whole(layout)


# ---------------------------------------------------------------------------------------- retina


def drive(root: Path) -> Path:
    for k in range(21, 41):
        touch(root, f"training/images/{k}_training.tif", f"training/1st_manual/{k}_manual1.gif",
              f"training/mask/{k}_training_mask.gif")  # fmt: skip
    for k in range(1, 21):
        touch(root, f"test/images/{k:02}_test.tif", f"test/1st_manual/{k:02}_manual1.gif",
              f"test/2nd_manual/{k:02}_manual2.gif", f"test/mask/{k:02}_test_mask.gif")  # fmt: skip
    return root


def test_drive(tmp_path: Path) -> None:
    layout = read(drive(tmp_path / "DRIVE"))
    found = seen(layout, tmp_path / "DRIVE")
    assert found["23_training"] == (
        "training/images/23_training.tif", "training/1st_manual/23_manual1.gif",
        "training/mask/23_training_mask.gif", None,
    )  # fmt: skip
    assert found["05_test"] == (
        "test/images/05_test.tif", "test/1st_manual/05_manual1.gif",
        "test/mask/05_test_mask.gif", "test/2nd_manual/05_manual2.gif",
    )  # fmt: skip
    assert [len(layout.split[name]) for name in OWN] == [17, 3, 20]
    assert layout.stated
    assert layout.sentence.startswith("DRIVE: ")
    assert "40 fields of view (mask/), 20 second observers" in layout.sentence
    assert read(tmp_path).sentence.startswith("in DRIVE/: DRIVE: ")


def test_drive_as_it_is_given_out_now(tmp_path: Path) -> None:
    drive(tmp_path)
    shutil.rmtree(tmp_path / "test" / "1st_manual")
    shutil.rmtree(tmp_path / "test" / "2nd_manual")
    layout = read(tmp_path)
    assert len(layout.cases) == 20
    assert "left aside: test/ (20 images)" in layout.sentence
    everything = read(tmp_path, required=False)
    assert len(everything.split["test"]) == 20
    assert everything.cases[-1].fov == tmp_path / "test" / "mask" / "20_test_mask.gif"


@pytest.mark.parametrize("suffix", [".ppm", ".ppm.gz"])
def test_stare(tmp_path: Path, suffix: str) -> None:
    names = ("im0001", "im0002", "im0044", "im0324")
    touch(tmp_path, *(f"stare-images/{name}{suffix}" for name in names))
    for observer in ("ah", "vk"):
        touch(tmp_path, *(f"labels-{observer}/{name}.{observer}{suffix}" for name in names))
    layout = read(tmp_path)
    assert layout.sentence.startswith("STARE: stare-images/ + labels-ah/, 4 cases, 4 second")
    assert seen(layout, tmp_path)["im0044"] == (
        f"stare-images/im0044{suffix}", f"labels-ah/im0044.ah{suffix}", None,
        f"labels-vk/im0044.vk{suffix}",
    )  # fmt: skip


def test_stare_that_is_packed_in_a_way_that_no_reader_knows(tmp_path: Path) -> None:
    touch(tmp_path, "stare-images/im{4:4}.tar.gz", "labels-ah/im{4:4}.ah.ppm")
    assert "still packed (4 files); unpack them" in fault(tmp_path)


# --------------------------------------------------------------------------------------- volumes


def test_nnunet(tmp_path: Path) -> None:
    for case in ("BRATS_001", "BRATS_002", "BRATS_003", "BRATS_004"):
        touch(tmp_path, f"imagesTr/{case}_{{4:4}}.nii.gz", f"labelsTr/{case}.nii.gz")
    touch(tmp_path, "imagesTs/BRATS_009_{4:4}.nii.gz", "labelsTs/BRATS_009.nii.gz")
    write(tmp_path / "dataset.json", {
        "channel_names": {"0": "T1", "1": "T1ce", "2": "T2", "3": "FLAIR"},
        "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3,
                   "ignore": 4},
        "numTraining": 4, "file_ending": ".nii.gz",
    })  # fmt: skip
    layout = read(tmp_path)
    assert layout.sentence.startswith("nnU-Net: imagesTr/ + labelsTr/ and imagesTs/ for test, 5")
    case = layout.cases[1]
    assert (case.id, case.image.name) == ("BRATS_002", "BRATS_002_0000.nii.gz")
    assert [band.name for band in case.bands] == [f"BRATS_002_000{k}.nii.gz" for k in (1, 2, 3)]
    assert case.mask == tmp_path / "labelsTr" / "BRATS_002.nii.gz"
    assert layout.legend is not None
    assert layout.legend.names == {0: "background", 1: "whole", 2: "core", 3: "enhancing"}
    assert (layout.legend.ignore, layout.legend.source) == ((4,), "dataset.json")
    assert layout.split["test"] == ("BRATS_009",)
    assert [len(layout.split[name]) for name in OWN] == [3, 1, 1]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".nii.gz"])
def test_nnunet_of_one_channel_or_of_rgb(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, f"imagesTr/road_{{5:3}}_0000{suffix}", f"labelsTr/road_{{5:3}}{suffix}")
    touch(tmp_path, f"imagesTs/road_{{2:3}}_0000{suffix}")
    about = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "road": 1},
    }
    write(tmp_path / "dataset.json", about)
    layout = read(tmp_path)
    assert [case.id for case in layout.cases] == [f"road_00{k}" for k in range(5)]
    assert "left aside: imagesTs/ (2 images)" in layout.sentence
    assert not any(case.bands for case in layout.cases)
    everything = read(tmp_path, required=False)
    assert len(everything.split["test"]) == 2


def test_a_channel_that_is_missing(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a_{2:4}.png", "imagesTr/b_0000.png", "imagesTr/c_{2:4}.png")
    touch(tmp_path, "labelsTr/a.png", "labelsTr/b.png", "labelsTr/c.png")
    layout, said = problems(tmp_path)
    assert [case.id for case in layout.cases] == ["a", "c"]
    assert said == [f"{tmp_path}/imagesTr/b_0000.png: channel 1 of 2 is missing; add b_0001"]


def test_a_channel_too_many_and_labels_of_other_names(tmp_path: Path) -> None:
    touch(tmp_path / "a", "imagesTr/{4}_{2:4}.png", "imagesTr/4_{3:4}.png", "labelsTr/{5}.png")
    write(tmp_path / "a" / "dataset.json", {"channel_names": {"0": "VV", "1": "VH"}})
    layout, said = problems(tmp_path / "a")
    assert len(layout.cases) == 4
    assert "4_0000.png: there are 3 channels where 2 are expected; correct" in said[0]
    touch(tmp_path / "b", "imagesTr/{4}_0000.png", "labelsTr/x{4}.png")
    assert "no label in labelsTr/ has the name of a case in imagesTr/" in fault(tmp_path / "b")


def test_a_legend_of_the_user_goes_before_that_of_the_layout(tmp_path: Path) -> None:
    touch(tmp_path, "set/imagesTr/{4}.nii.gz", "set/labelsTr/{4}.nii.gz")
    write(tmp_path / "set" / "dataset.json", {"labels": {"background": 0, "liver": 1}})
    layout = read(tmp_path)
    assert layout.legend is not None
    assert (layout.legend.source, layout.legend.names[1]) == ("dataset.json", "liver")
    write(tmp_path / "set" / "classes.json", {"0": "background", "1": "kidney"})
    layout = read(tmp_path)
    assert layout.legend is not None
    assert (layout.legend.source, layout.legend.names[1]) == ("classes.json", "kidney")
    write(tmp_path / "dataset.yaml", "classes: [nothing, spleen]")
    layout = read(tmp_path)
    assert layout.legend is not None
    assert (layout.legend.source, layout.legend.names[1]) == ("dataset.yaml", "spleen")


def test_msd(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/hippocampus_{6:3}.nii.gz", "labelsTr/hippocampus_{6:3}.nii.gz")
    touch(tmp_path, "imagesTr/._hippocampus_001.nii.gz", "labelsTr/._hippocampus_001.nii.gz")
    touch(tmp_path, "imagesTs/hippocampus_1{3:2}.nii.gz")
    labels = {"0": "background", "1": "Anterior", "2": "Posterior"}
    write(tmp_path / "dataset.json", {"name": "Hippocampus", "modality": {"0": "MRI"},
                                      "labels": labels, "training": []})  # fmt: skip
    layout = read(tmp_path)
    assert layout.sentence.startswith("Medical Segmentation Decathlon: imagesTr/ + labelsTr/, 6")
    assert layout.legend is not None
    assert layout.legend.names == {int(key): name for key, name in labels.items()}
    assert [case.id for case in layout.cases] == [f"hippocampus_{k:03}" for k in range(6)]


def test_msd_with_numbers_of_four_digits(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/case_{4:4}.nii.gz", "labelsTr/case_{4:4}.nii.gz")
    layout = read(tmp_path)
    assert [case.id for case in layout.cases] == [f"case_{k:04}" for k in range(4)]
    assert "without dataset.json" in layout.sentence


@pytest.mark.parametrize(("text", "what"), [
    ("{", "is no readable JSON"),
    ("[1]", "is not a table"),
    ("[" * 100_000, "is no readable JSON (it is nested"),
    ('{"labels": {"road": "grey"}}', '"labels" are no classes'),
    ('{"labels": {"road": 1.5}}', '"labels" are no classes'),
    ('{"labels": {"road": [1, [2]]}}', '"labels" are no classes'),
    ('{"labels": [0, 1]}', '"labels" are no classes'),
])  # fmt: skip
def test_a_damaged_dataset_json(tmp_path: Path, text: str, what: str) -> None:
    touch(tmp_path, "imagesTr/a{3}_0000.png", "labelsTr/a{3}.png")
    write(tmp_path / "dataset.json", text)
    assert f"{tmp_path}/dataset.json: {what}" in fault(tmp_path)


# ----------------------------------------------------------------------------------------- cells


def test_cell_tracking(tmp_path: Path) -> None:
    for sequence in ("01", "02"):
        touch(tmp_path, f"{sequence}/t{{8:3}}.tif", f"{sequence}_GT/TRA/man_track{{8:3}}.tif",
              f"{sequence}_ST/SEG/man_seg{{8:3}}.tif", f"{sequence}_ERR_SEG/mask{{8:3}}.tif",
              f"{sequence}_GT/TRA/man_track.txt")  # fmt: skip
    touch(tmp_path, "01_GT/SEG/man_seg{5:3}.tif", "02_GT/SEG/man_seg00{3}.tif")
    touch(tmp_path, "02_GT/SEG/man_seg_005_012.tif")
    layout = read(tmp_path)
    assert layout.sentence.startswith(
        "Cell Tracking Challenge: 8 frames of 01/, 02/ with gold truth, each a group, 8 with silver"
    )
    assert "left aside: 8 frames without gold truth, 1 single slices of volumes" in layout.sentence
    assert "01_ERR_SEG/ (8 images)" in layout.sentence
    assert seen(layout, tmp_path)["02_t001"] == (
        "02/t001.tif", "02_GT/SEG/man_seg001.tif", None, "02_ST/SEG/man_seg001.tif",
    )  # fmt: skip
    assert set(groups(layout).values()) == {"01", "02"}
    assert layout.split.keys() == {"train", "val"}  # two sequences cannot be three parts
    assert "two groups, one each" in layout.sentence
    assert_whole(layout)


def test_cell_tracking_with_numbers_of_four_digits_and_five_sequences(tmp_path: Path) -> None:
    for sequence in range(1, 6):
        touch(tmp_path, f"{sequence:02}/t{{6:4}}.tif")
        touch(tmp_path, f"{sequence:02}_GT/SEG/man_seg{{6:4}}.tif")
    layout = read(tmp_path)
    assert len(layout.cases) == 30
    assert layout.split.keys() == set(OWN)
    assert_whole(layout)


def test_cell_tracking_where_only_silver_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "01/t{6:3}.tif", "01_ST/SEG/man_seg{6:3}.tif")
    touch(tmp_path, "01_GT/SEG/man_seg_003_014.tif")
    layout = read(tmp_path)
    assert "6 frames of 01/ with silver truth (none is gold), each a group;" in layout.sentence
    assert "1 single slices" in layout.sentence
    assert [case.observer for case in layout.cases] == [None] * 6
    # One sequence has to be parted, and then into runs.
    assert layout.split == {
        "train": tuple(f"01_t00{k}" for k in range(4)), "val": ("01_t004",), "test": ("01_t005",),
    }  # fmt: skip
    assert "one group only, parted into runs" in layout.sentence


def test_cell_tracking_of_volumes_with_single_slices_only(tmp_path: Path) -> None:
    touch(tmp_path, "01/t{6:3}.tif", "01_GT/SEG/man_seg_003_014.tif", "02/t{6:3}.tif")
    assert "only 1 single slices of volumes are annotated (man_seg_T_Z); add" in fault(tmp_path)


@pytest.mark.parametrize("around", ["", "stage1_train/"])
def test_bowl(tmp_path: Path, around: str) -> None:
    for k, count in enumerate((3, 1, 12)):
        name = hashlib.sha256(bytes([k])).hexdigest()
        touch(
            tmp_path, f"{around}{name}/images/{name}.png", f"{around}{name}/masks/o{{{count}}}.png"
        )
    if around:
        name = hashlib.sha256(b"test").hexdigest()
        touch(tmp_path, f"stage1_test/{name}/images/{name}.png", "stage1_train_labels.csv")
    layout = read(tmp_path)
    case = next(case for case in layout.cases if case.drawing and len(case.drawing.parts) == 12)
    assert case.drawing is not None
    assert case.drawing.kind == "objects"
    assert [part.name for part in case.drawing.parts] == [f"o{k}.png" for k in range(12)]
    assert case.mask == case.image.parents[1] / "masks"
    assert case.id == case.image.stem
    assert "3 cases, 16 objects with a picture each" in layout.sentence
    assert ("left aside: 1 images without masks" in layout.sentence) == bool(around)
    assert len(read(tmp_path, required=False).cases) == 3 + bool(around)


def test_bowl_with_an_image_whose_masks_are_gone(tmp_path: Path) -> None:
    for name in ("aa", "bb", "cc"):
        touch(tmp_path, f"{name}/images/{name}.png", f"{name}/masks/{{2}}.png")
    for path in (tmp_path / "bb" / "masks").iterdir():
        path.unlink()
    layout, said = problems(tmp_path)
    assert [case.id for case in layout.cases] == ["aa", "cc"]
    assert [line.startswith(f"{tmp_path}/bb/masks: no masks found; put") for line in said] == [True]


# ---------------------------------------------------------------------------------------- scenes


def test_isic(tmp_path: Path) -> None:
    for part, count in (("Training", 5), ("Validation", 2), ("Test", 3)):
        touch(tmp_path, f"ISIC2018_Task1-2_{part}_Input/ISIC_{part[0]}{{{count}:6}}.jpg")
        touch(tmp_path, f"ISIC2018_Task1-2_{part}_Input/LICENSE.txt")
        truth = f"ISIC2018_Task1_{part}_GroundTruth"
        touch(tmp_path, *(f"{truth}/ISIC_{part[0]}{k:06}_segmentation.png" for k in range(count)))
    touch(tmp_path, "ISIC2018_Task2_Training_GroundTruth_v3/ISIC_T000001_attribute_globules.png")
    layout = read(tmp_path)
    assert [len(layout.split[name]) for name in OWN] == [5, 2, 3]
    assert layout.sentence.startswith("ISIC: pictures and _segmentation, 5 of train, 2 of val")
    assert seen(layout, tmp_path)["ISIC_V000001"][:2] == (
        "ISIC2018_Task1-2_Validation_Input/ISIC_V000001.jpg",
        "ISIC2018_Task1_Validation_GroundTruth/ISIC_V000001_segmentation.png",
    )
    assert "ISIC2018_Task2_Training_GroundTruth_v3/ (1 image)" in layout.sentence
    shutil.rmtree(tmp_path / "ISIC2018_Task1_Test_GroundTruth")
    fewer = read(tmp_path)
    assert fewer.split.keys() == {"train", "val"}
    assert "ISIC2018_Task1-2_Test_Input/ (3 images)" in fewer.sentence


def test_isic_2017_with_superpixels(tmp_path: Path) -> None:
    touch(tmp_path, "ISIC-2017_Training_Data/ISIC_00000{4}.jpg")
    touch(tmp_path, *(f"ISIC-2017_Training_Data/ISIC_00000{k}_superpixels.png" for k in range(4)))
    truth = "ISIC-2017_Training_Part1_GroundTruth"
    touch(tmp_path, *(f"{truth}/ISIC_00000{k}_segmentation.png" for k in range(4)))
    assert [case.id for case in read(tmp_path).cases] == [f"ISIC_00000{k}" for k in range(4)]


def test_camvid(tmp_path: Path) -> None:
    names = {
        "train": "0006R0_f0{4:4}.png",
        "val": "0016E5_0{2:4}.png",
        "test": "Seq05VD_f0{3:4}.png",
    }
    for part, name in names.items():
        touch(tmp_path, f"{part}/{name}", f"{part}annot/{name}", f"{part}.txt")
    layout = read(tmp_path)
    assert [len(layout.split[name]) for name in OWN] == [4, 2, 3]
    assert layout.sentence.startswith(
        "CamVid as SegNet has it: train/ + trainannot/, val/ + valannot/"
    )
    assert layout.legend is not None
    assert (list(layout.legend.names), layout.legend.ignore) == (list(range(11)), (11,))
    assert [layout.legend.names[k] for k in (0, 1, 3, 8)] == ["sky", "building", "road", "car"]


def test_folders_whose_siblings_hold_the_masks(tmp_path: Path) -> None:
    touch(tmp_path, "train/abc_{3:2}.jpg", *(f"train_masks/abc_{k:02}_mask.gif" for k in range(3)))
    touch(tmp_path, "test/xyz_{3:2}.jpg")
    layout = read(tmp_path)
    assert layout.legend is None  # these are other pictures than CamVid's
    assert seen(layout, tmp_path)["abc_01"][1] == "train_masks/abc_01_mask.gif"
    assert "left aside: test/ (3 images)" in layout.sentence


def test_train_images_and_train_masks(tmp_path: Path) -> None:
    for part, count in (("train", 5), ("test", 2)):
        touch(
            tmp_path, f"{part}_images/{part}{{{count}}}.png", f"{part}_masks/{part}{{{count}}}.png"
        )
    layout = read(tmp_path)
    assert [len(layout.split[name]) for name in OWN] == [4, 1, 2]
    assert layout.sentence.startswith("train_images/ + train_masks/, test_images/ + test_masks/ by")
    touch(tmp_path, *(f"train_labels/train{k}.png" for k in range(5)))
    assert "train_images+train_masks (7 cases); train_images+train_labels (5" in fault(tmp_path)


FLOODS = ("Ghana_11", "Ghana_12", "India_21", "India_22", "Spain_31", "Spain_32", "Bolivia_1")


@pytest.mark.parametrize("around", ["", "HandLabeled/", "v1.1/data/flood_events/HandLabeled/"])
def test_sen1floods11(tmp_path: Path, around: str) -> None:
    for kind in ("S1", "Label", "JRCWater"):
        touch(tmp_path, *(f"{around}{kind}Hand/{name}_{kind}Hand.tif" for name in FLOODS))
    layout = read(tmp_path)
    assert seen(layout, tmp_path)["India_22"][:2] == (
        f"{around}S1Hand/India_22_S1Hand.tif", f"{around}LabelHand/India_22_LabelHand.tif",
    )  # fmt: skip
    assert "Sen1Floods11: S1Hand/ + LabelHand/, 7 cases" in layout.sentence
    assert "JRCWaterHand/ (7 images)" in layout.sentence
    lists = tmp_path / ("v1.1/splits/flood_handlabeled" if around.startswith("v") else "")
    for part, members in (("train", FLOODS[:4]), ("valid", FLOODS[4:5]), ("test", FLOODS[5:6]),
                          ("bolivia", FLOODS[6:])):  # fmt: skip
        rows = "".join(f"{name}_S1Hand.tif,{name}_LabelHand.tif\n" for name in members)
        write(lists / f"flood_{part}_data.csv", rows)
    layout = read(tmp_path)
    assert layout.split == {
        "train": FLOODS[:4], "val": FLOODS[4:5], "test": FLOODS[5:6], "bolivia": FLOODS[6:],
    }  # fmt: skip
    assert layout.stated


def test_two_sensors_are_two_readings(tmp_path: Path) -> None:
    for kind in ("S1", "S2", "Label"):
        touch(tmp_path, *(f"{kind}Hand/{name}_{kind}Hand.tif" for name in FLOODS))
    line = fault(tmp_path)
    assert "sen1floods11-s1 (7 cases); sen1floods11-s2 (7 cases); write `layout: " in line
    write(tmp_path / "dataset.yaml", "layout: sen1floods11-s2")
    layout = read(tmp_path)
    assert layout.cases[0].image.parent.name == "S2Hand"
    assert "left aside: S1Hand/" in layout.sentence


# -------------------------------------------------------------------------------------- drawings


def coco(names: Iterable[str], categories: object = None) -> dict[str, object]:
    images = [{"id": k, "file_name": name, "width": 9, "height": 9} for k, name in enumerate(names)]
    polygon = [[0, 0, 5, 0, 5, 5]]
    return {
        "images": images,
        "categories": categories or [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}],
        "annotations": [
            {"id": i["id"], "image_id": i["id"], "category_id": 1, "segmentation": polygon}
            for i in images
        ],
    }


def test_coco_as_it_is_given_out(tmp_path: Path) -> None:
    for part, count in (("train", 6), ("val", 2)):
        names = [f"{part[0]}{k:06}.jpg" for k in range(count)]
        touch(tmp_path, *(f"{part}2017/{name}" for name in names))
        write(tmp_path / "annotations" / f"instances_{part}2017.json", coco(names))
        write(tmp_path / "annotations" / f"captions_{part}2017.json", "{no json, and not looked at")
    layout = read(tmp_path)
    assert layout.split == {"train": tuple(f"t00000{k}" for k in range(6)),
                            "val": ("v000000", "v000001")}  # fmt: skip
    case = layout.cases[1]
    assert case.mask == tmp_path / "annotations" / "instances_train2017.json"
    assert case.drawing == Drawing("coco", key="t000001.jpg", classes=("cat", "dog"))
    assert case.image == tmp_path / "train2017" / "t000001.jpg"


@pytest.mark.parametrize("name", ["annotations.json", "_annotations.coco.json", "project-7.json"])
@pytest.mark.parametrize("folder", ["", "images/"])
def test_coco_beside_images(tmp_path: Path, name: str, folder: str) -> None:
    touch(tmp_path, f"{folder}{{4}}.png", f"{folder}extra.png")
    write(tmp_path / name, coco([f"images/{k}.png" for k in range(4)]))
    layout = read(tmp_path)
    assert [case.id for case in layout.cases] == ["0", "1", "2", "3"]
    assert "left aside: 1 images that no file names" in layout.sentence
    assert [bool(case.mask) for case in read(tmp_path, required=False).cases] == [True] * 4 + [
        False
    ]


def test_coco_as_roboflow_has_it(tmp_path: Path) -> None:
    above = [{"id": 0, "name": "cells", "supercategory": "none"},
             {"id": 1, "name": "rbc", "supercategory": "cells"},
             {"id": 2, "name": "wbc", "supercategory": "cells"}]  # fmt: skip
    for part, count in (("train", 3), ("valid", 1), ("test", 2)):
        touch(tmp_path, f"{part}/im{{{count}}}.jpg")
        names = [f"im{k}.jpg" for k in range(count)]
        write(tmp_path / part / "_annotations.coco.json", coco(names, above))
    layout = read(tmp_path)
    assert layout.split["test"] == ("test_im0", "test_im1")
    assert layout.split["train"] == ("train_im0", "train_im1", "im2")
    for case in layout.cases:
        assert case.drawing is not None
        assert case.drawing.classes == ("rbc", "wbc")
        assert case.mask == case.image.parent / "_annotations.coco.json"


def test_coco_that_names_what_is_not_here(tmp_path: Path) -> None:
    touch(tmp_path, "{2}.png")
    write(tmp_path / "annotations.json", coco(["0.png", "1.png", "2.png", "../../etc/3.png"]))
    layout, said = problems(tmp_path)
    assert len(layout.cases) == 2
    start = f"{tmp_path}/annotations.json: names 2.png, which is not here (and 1 more of 4); add"
    assert [line.startswith(start) for line in said] == [True]
    write(tmp_path / "annotations.json", coco(["7.png", "8.png"]))
    assert "none of its 2 images is here (such as 7.png); put the images" in fault(tmp_path)


def test_an_image_in_two_coco_files(tmp_path: Path) -> None:
    touch(tmp_path, "{3}.png")
    write(tmp_path / "a_coco.json", coco(["0.png", "1.png"]))
    write(tmp_path / "b_coco.json", coco(["1.png", "2.png"]))
    layout, said = problems(tmp_path)
    assert len(layout.cases) == 3
    assert "b_coco.json: names 1.png, which was named before; keep one" in said[0]


def test_a_name_in_several_folders_means_the_nearest(tmp_path: Path) -> None:
    touch(tmp_path, "thumbs/0.png", "images/0.png", "test/images/0.png", "test/images/1.png")
    write(tmp_path / "annotations" / "instances_default.json", coco(["0.png"]))
    assert read(tmp_path).cases[0].image == tmp_path / "images" / "0.png"
    write(tmp_path / "annotations" / "instances_test.json", coco(["images/0.png"]))
    (tmp_path / "annotations" / "instances_default.json").unlink()
    assert read(tmp_path).cases[0].image == tmp_path / "test" / "images" / "0.png"


@pytest.mark.parametrize(("content", "what"), [
    ("{", "is no readable JSON"),
    ({"images": []}, "lacks images or annotations"),
    (coco(["0.png"], [{"id": 1}]), "images or categories lack their names"),
    (coco([7], None), "images or categories lack their names"),
])  # fmt: skip
def test_damaged_coco(tmp_path: Path, content: object, what: str) -> None:
    touch(tmp_path, "{2}.png")
    write(tmp_path / "annotations" / "instances_default.json", content)
    assert f"instances_default.json: {what}" in fault(tmp_path)


@pytest.mark.parametrize("place", ["", "images/", "labels/", "geojson/"])
def test_geojson(tmp_path: Path, place: str) -> None:
    root = "" if place == "" else "images/"
    touch(tmp_path, f"{root}slide{{3}}.tif")
    for k, name in enumerate(("Tumor", "Stroma", None)):
        properties = {"classification": {"name": name}} if name else {}
        features = [{"type": "Feature", "geometry": None, "properties": properties}]
        suffix = ".tif.geojson" if k == 1 else ".geojson"
        whole = features if k == 2 else {"type": "FeatureCollection", "features": features}
        write(tmp_path / f"{place}slide{k}{suffix}", whole)
    layout = read(tmp_path)
    assert len(layout.cases) == 3
    for case in layout.cases:
        assert case.drawing == Drawing("geojson", classes=("Stroma", "Tumor"))
        assert case.mask is not None
        assert case.mask.parent == tmp_path / place
        assert case.mask.name.startswith(case.id)


def test_damaged_geojson_leaves_its_case_out(tmp_path: Path) -> None:
    touch(tmp_path, "{3}.png", "1.geojson")
    write(tmp_path / "0.geojson", {"type": "FeatureCollection", "features": []})
    write(tmp_path / "2.geojson", '"text"')
    layout, said = problems(tmp_path)
    assert [case.id for case in layout.cases] == ["0"]
    assert "1.geojson: is no readable JSON" in said[0]
    assert "2.geojson: is no GeoJSON" in said[1]
    (tmp_path / "0.geojson").write_text("")
    with pytest.raises(InputError, match=r"0\.geojson: is no readable JSON"):
        problems(tmp_path)


@pytest.mark.parametrize(
    "name", ["{}.zip", "{}.roi", "RoiSet_{}.zip", "{}_RoiSet.zip", "RoiSet-{}.zip", "{}_rois.zip",
             "{}.tif.zip"]
)  # fmt: skip
@pytest.mark.parametrize("place", ["", "rois/", "masks/"])
def test_rois(tmp_path: Path, name: str, place: str) -> None:
    touch(tmp_path, *(f"{'images/' if place else ''}c{k}.tif" for k in range(3)))
    touch(tmp_path, *(place + name.format(f"c{k}") for k in range(3)), "everything.zip")
    layout = read(tmp_path)
    assert [case.id for case in layout.cases] == ["c0", "c1", "c2"]
    assert [case.drawing for case in layout.cases] == [Drawing("rois")] * 3
    assert layout.cases[1].mask == tmp_path / (place + name.format("c1"))


# -------------------------------------------------------------------------------------- ambiguity


def test_two_folders_of_masks(tmp_path: Path) -> None:
    touch(tmp_path, "images/{3}.png", "masks/{3}.png", "labels/{2}.png")
    line = fault(tmp_path)
    assert f"{tmp_path}: can be read in 2 ways: images+masks (3 cases); images+labels (" in line
    assert "write `layout: images+masks` (or another of these) into dataset.yaml there" in line
    write(tmp_path / "dataset.yaml", "layout: images+labels\n")
    layout, said = problems(tmp_path)
    assert [case.mask for case in layout.cases] == [
        tmp_path / "labels" / f"{k}.png" for k in (0, 1)
    ]
    assert "left aside: masks/ (3 images)" in layout.sentence
    assert len(said) == 1  # image 2 has no mask there
    write(tmp_path / "dataset.yaml", "layout: images+label\n")
    assert "there is no layout images+label here; did you mean images+labels?" in fault(tmp_path)


def test_a_second_folder_that_fits_no_image_is_left_aside(tmp_path: Path) -> None:
    touch(tmp_path, "images/{3}.png", "masks/{3}.png", "labels/{3}.txt", "gt/x{3}.png")
    assert "left aside: gt/ (3 images), labels/;" in read(tmp_path).sentence


def test_polygons_beside_masks(tmp_path: Path) -> None:
    touch(tmp_path, "images/{3}.png", "masks/{3}.png")
    write(tmp_path / "annotations.json", coco(["0.png", "1.png"]))
    assert "images+masks (3 cases); coco (2 cases); write" in fault(tmp_path)
    write(tmp_path / "annotations.json", "{")  # which nobody may overlook
    layout, said = problems(tmp_path)
    assert len(layout.cases) == 3
    assert "annotations.json: is no readable JSON" in said[0]


def test_drawings_beside_images_that_have_masks(tmp_path: Path) -> None:
    touch(tmp_path, "images/{3}.tif", "masks/{3}.png", "images/{3}.zip")
    assert "images+masks (3 cases); rois (3 cases)" in fault(tmp_path)


def test_two_kinds_of_endings(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a_mask.png", "a_seg.png")
    assert "flat_mask (1 cases); flat_seg (1 cases)" in fault(tmp_path)


def test_a_folder_and_its_parts(tmp_path: Path) -> None:
    for part in ("", "train/", "test/"):
        touch(tmp_path, f"{part}images/{{3}}.png", f"{part}masks/{{3}}.png")
    line = fault(tmp_path)
    assert "2 ways: images+masks (3 cases); train/images+masks (6 cases); write" in line
    write(tmp_path / "dataset.yaml", "layout: train/images+masks")
    assert len(read(tmp_path).cases) == 6


def test_a_reading_that_would_give_way_can_still_be_wished_for(tmp_path: Path) -> None:
    touch(tmp_path, "images/{3}.png", "masks/{3}.png")
    (tmp_path / "dataset.csv").write_text("image,mask\nimages/0.png,masks/0.png\n")
    assert len(read(tmp_path).cases) == 1
    write(tmp_path / "dataset.yaml", "layout: images+masks")
    assert len(read(tmp_path).cases) == 3
    shutil.rmtree(tmp_path / "masks")
    (tmp_path / "dataset.csv").write_text("broken")
    assert "dataset.csv: has no column named image" in fault(tmp_path)


# ------------------------------------------------------------------------------------- strangeness


def test_a_folder_that_nothing_fits_is_described(tmp_path: Path) -> None:
    touch(tmp_path, "pictures/{3}.png", "truth/{2}.gif", "a/b/c.txt", "notes.docx", "x.mp4")
    line = fault(tmp_path)
    assert f"{tmp_path}: no images/ folder, nor another layout that is known; here are " in line
    assert "a/ (1 folders), pictures/ (3 .png), truth/ (2 .gif)" in line
    assert "1 .docx" in line
    assert "looked for images/ + masks/" in line
    assert "Cell Tracking Challenge" in line
    assert "put the images into images/" in line
    assert "dataset.yaml" in line
    assert "here are nothing" in fault(touch(tmp_path / "empty", ".hidden"))


def test_nearly_a_layout(tmp_path: Path) -> None:
    touch(tmp_path / "a", "images/readme.txt", "masks/0.png")
    assert "a/images: no images found; known suffixes" in fault(tmp_path / "a")
    touch(tmp_path / "b", "images/0.png")
    assert "b: no masks/ folder beside images/; put the masks" in fault(tmp_path / "b")
    touch(tmp_path / "c", "images/0.png", "masks/0.txt")
    assert "c/masks: no masks found; put one per image there" in fault(tmp_path / "c")
    touch(tmp_path / "d", "train/images/a.png", "train/masks/b.png")
    assert "no mask has the name of an image (image a.png, mask b.png)" in fault(tmp_path / "d")


def test_no_folder(tmp_path: Path) -> None:
    assert "no such folder; give the folder" in fault(tmp_path / "none")
    touch(tmp_path, "file.png")
    assert "is a file, a folder is needed" in fault(tmp_path / "file.png")
    with pytest.raises(InputError, match="cannot be opened"):
        read(tmp_path / ("x" * 5000))
    with pytest.raises(InputError, match=r"cannot be opened|no such folder"):
        read(Path("a\0b"))


def test_what_systems_leave_behind_is_not_seen(tmp_path: Path) -> None:
    touch(tmp_path, "images/{3}.png", "masks/{3}.png", "images/Thumbs.db", "images/._0.png",
          "masks/.DS_Store", "masks/desktop.ini", "__MACOSX/images/._0.png", ".git/images/0.png",
          "images/.ipynb_checkpoints/0-checkpoint.png")  # fmt: skip
    layout = read(tmp_path)
    assert len(layout.cases) == 3
    assert "aside" not in layout.sentence


def test_loops_of_links_end(tmp_path: Path) -> None:
    touch(
        tmp_path, "images/p1/{3}.png", "masks/p1/{3}.png", "images/p2/{3}.png", "masks/p2/{3}.png"
    )
    for folder in ("images", "masks"):
        (tmp_path / folder / "p1" / "again").symlink_to(tmp_path / folder)
        (tmp_path / folder / "p2" / "again").symlink_to(tmp_path / folder)
        (tmp_path / folder / "self").symlink_to(tmp_path / folder / "self")
    write(tmp_path / "other.json", coco(["nothing.png"]))
    started = time.monotonic()
    layout = read(tmp_path)
    assert time.monotonic() - started < 5
    assert len({case.image.resolve() for case in layout.cases}) == len(layout.cases) == 6


def test_links_to_nowhere_are_left_to_the_reader(tmp_path: Path) -> None:
    touch(tmp_path, "images/{2}.png", "masks/{2}.png")
    for folder in ("images", "masks"):
        (tmp_path / folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
        (tmp_path / folder / "loop.png").symlink_to(tmp_path / folder / "loop.png")
    assert [case.id for case in read(tmp_path).cases] == ["0", "1", "gone", "loop"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_are_not_images(tmp_path: Path) -> None:
    touch(tmp_path, "images/{2}.png", "masks/{2}.png")
    os.mkfifo(tmp_path / "images" / "pipe.png")
    (tmp_path / "images" / "link.png").symlink_to(tmp_path / "images" / "pipe.png")
    assert [case.id for case in read(tmp_path).cases] == ["0", "1"]


def test_a_locked_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "images/{2}.png", "masks/{2}.png", "fov/{2}.png", "other/0.png")
    real, locked = os.scandir, {"images"}

    def scandir(path: Path) -> object:
        if Path(path).name in locked:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr("unetkit.data.layout.folder.os.scandir", scandir)
    assert "images: cannot be listed (Permission denied); change" in fault(tmp_path)
    locked |= {"fov"}
    locked -= {"images"}
    layout, said = problems(tmp_path)
    assert len(layout.cases) == 2
    assert "fov: cannot be listed" in said[0]


def test_strange_names(tmp_path: Path) -> None:
    names = [
        "ä ö.png",
        "名前.png",
        "a;b,c.png",
        "[x]{y}*.png",
        "-rf.png",
        "l" * 200 + ".png",
        "é.png",
    ]
    touch(tmp_path, *(f"{part}/{name}" for part in ("images", "masks") for name in names))
    assert {case.image.name for case in read(tmp_path).cases} == set(names)


def test_many_files_take_seconds(tmp_path: Path) -> None:
    def seconds(count: int) -> float:
        root = tmp_path / f"{count}"
        for folder, ending in (("images", "_img.tif"), ("masks", "_mask.png")):
            (root / folder).mkdir(parents=True)
            for k in range(count):
                os.close(os.open(root / folder / f"cell_{k:04}{ending}", os.O_CREAT))
        started = time.process_time()
        assert len(read(root).cases) == count
        return time.process_time() - started

    few, many = seconds(300), seconds(3_000)
    assert many < 30 * few + 0.3  # ten times the files; a quadratic loop would need 100 times
    assert many < 5


# ----------------------------------------------------------------------------------------- splits


def assert_whole(layout: Layout) -> None:
    """No group lies in two parts, and every case lies in one."""
    home = {case: name for name in OWN for case in layout.split.get(name, ())}
    assert len(home) == len(layout.cases) == sum(len(layout.split.get(n, ())) for n in OWN)
    parts: dict[str, set[str]] = {}
    for case in layout.cases:
        assert case.group is not None
        parts.setdefault(case.group, set()).add(home[case.id])
    assert all(len(names) == 1 for names in parts.values())


def cases_of(sizes: Iterable[int]) -> list[Case]:
    return [
        Case(f"g{k}x{i}", Path(f"g{k}x{i}.png"), group=f"g{k}")
        for k, size in enumerate(sizes)
        for i in range(size)
    ]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=25), st.integers(0, 5))
def test_a_drawn_split_never_parts_a_group(sizes: list[int], seed: int) -> None:
    cases = cases_of(sizes)
    split, words = completed({}, cases, seed)
    assert_whole(Layout("", tuple(cases), split))
    assert completed({}, list(reversed(cases)), seed)[0].keys() == split.keys()
    assert set(split) == ({"train", "val", "test"} if len(sizes) > 2 else {"train", "val"})
    if min(sizes) == max(sizes) and len(sizes) > 6:  # parts of the size that was meant
        assert abs(len(split["test"]) - 0.15 * len(cases)) <= sizes[0]
    assert "seed" in words or len(cases) < 3


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(0, 5))
def test_without_groups_single_cases_are_drawn(count: int, seed: int) -> None:
    """The split of every earlier version, computed in another way."""
    ids = [f"im{k:02}" for k in range(count)]
    cases = [Case(name, Path(name)) for name in ids]
    rank = {i: hashlib.sha256(f"{seed}/{i}".encode()).hexdigest() for i in ids}
    part = max(1, round(0.15 * count))
    order = sorted(ids, key=rank.__getitem__)
    test, rest = (order[:part], order[part:]) if count >= 3 else ([], order)
    val = rest[:part] if count > 1 else rest
    expected = {"train": set(rest) - set(val) or set(rest), "val": set(val), "test": set(test)}
    split, _ = completed({}, cases, seed)
    assert {name: set(split.get(name, ())) for name in OWN} == expected
    for alone in ({c.id: None for c in cases}, {c.id: c.id for c in cases}):
        again = [replace(case, group=alone[case.id]) for case in cases]
        assert completed({}, again, seed)[0] == split


def test_series_of_names_are_not_parted(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{part}/{video:02}_t{{9:3}}.png" for part in ("images", "masks")
                      for video in range(5)))  # fmt: skip
    layout = read(tmp_path)
    assert set(groups(layout).values()) == {None}
    videos = [{i[:2] for i in layout.split[name]} for name in OWN]
    assert sum(map(len, videos)) == len(set.union(*videos)) == 5
    assert "5 groups drawn at random by seed 0 and never parted" in layout.sentence
    assert series([case.id for case in layout.cases]) is not None


def test_val_is_drawn_from_train_by_groups() -> None:
    cases = cases_of([4] * 8)
    split, words = completed({"train": [c.id for c in cases[:24]],
                              "test": [c.id for c in cases[24:]]}, cases, 0)  # fmt: skip
    assert_whole(Layout("", tuple(cases), split))
    assert "val: whole groups drawn at random from train" in words
    one = cases_of([8, 3])
    split, words = completed({"train": [c.id for c in one[:8]], "test": [c.id for c in one[8:]]},
                             one, 0)  # fmt: skip
    assert split["val"] == ("g0x7",)
    assert "val is the end of train, which is one group" in words


def test_groups_json_decides(tmp_path: Path) -> None:
    touch(tmp_path, "images/{9}.png", "masks/{9}.png")
    write(tmp_path / "groups.json", {str(k): f"patient {k % 4}" for k in range(9)})
    layout = read(tmp_path)
    assert groups(layout)["5"] == "patient 1"
    assert "9 cases, 4 groups by groups.json" in layout.sentence
    assert_whole(layout)
    write(tmp_path / "groups.json", {"0": "a"})
    assert "groups.json: says nothing of 1; write" in fault(tmp_path)
    write(tmp_path / "groups.json", "[")
    assert "groups.json: is no readable JSON" in fault(tmp_path)


def test_split_json_goes_with_every_layout(tmp_path: Path) -> None:
    touch(tmp_path, "01/t{6:3}.tif", "01_GT/SEG/man_seg{5:3}.tif")
    names = [f"01_t00{k}" for k in range(6)]
    write(tmp_path / "split.json", {"train": names[:3], "val": names[3:4], "test": names[4:]})
    layout = read(
        tmp_path
    )  # it parts the sequence, as somebody wished, and names an unlabelled one
    assert layout.split == {"train": tuple(names[:3]), "val": ("01_t003",), "test": ("01_t004",)}
    assert "split.json: 3 train, 1 val, 1 test" in layout.sentence
    assert layout.stated
    write(tmp_path / "split.json", {"train": ["nobody"], "test": names[:1]})
    assert "split.json: train names nobody, which is no image here" in fault(tmp_path)


# ----------------------------------------------------------------------------------- dataset.yaml


def declared(root: Path, text: str) -> Path:
    write(root / "dataset.yaml", text)
    return root


def test_patterns_with_ids(tmp_path: Path) -> None:
    for city in ("aachen", "bonn"):
        touch(tmp_path, f"leftImg8bit/train/{city}/{city}_{{3:6}}_leftImg8bit.png")
        for k in range(3):
            name = f"gtFine/train/{city}/{city}_{k:06}_gtFine"
            touch(tmp_path, f"{name}_labelIds.png", f"{name}_color.png")
    declared(
        tmp_path,
        """
        images: leftImg8bit/*/*/{id}_leftImg8bit.png
        masks: gtFine/**/{id}_gtFine_labelIds.png
        groups: ^([a-z]+)_
        classes: {0: unlabeled, 7: road, 8: sidewalk}
        ignore: [0, -1]
        """,
    )
    layout = read(tmp_path)
    assert seen(layout, tmp_path)["bonn_000002"][:2] == (
        "leftImg8bit/train/bonn/bonn_000002_leftImg8bit.png",
        "gtFine/train/bonn/bonn_000002_gtFine_labelIds.png",
    )
    assert groups(layout)["bonn_000002"] == "bonn"
    assert layout.legend is not None
    assert layout.legend.names == {7: "road", 8: "sidewalk"}
    assert set(layout.legend.ignore) == {0, -1}
    assert layout.legend.source == "dataset.yaml"
    assert layout.sentence.startswith("dataset.yaml: 6 cases, 2 groups by dataset.yaml")


def test_every_place_by_hand(tmp_path: Path) -> None:
    touch(tmp_path, "rgb/{5}.png", "nir/{5}_nir.tif", "dem/x{5}.tif", "truth/{5}.png",
          "second/{2}.png", "circle.png", "rgb/not.txt")  # fmt: skip
    declared(
        tmp_path,
        r"""
        images: rgb
        masks: truth
        bands: ["nir/{id}_nir.tif", "dem/x{id}.tif"]
        fov: circle.png
        masks2: second/{id}.png
        split: {train: ["0", "rgb/[1-2].png", "1", "2"], validation: 3, test: ["*4"]}
        groups: {0: a, 1: a, 2: b, 3: b, 4: b}
        classes: ["sea", "land"]
        """,
    )
    layout, said = problems(tmp_path)
    assert len(said) == 1  # brackets are no pattern
    assert "names rgb/[1-2].png, which is no image here" in said[0]
    case = layout.cases[1]
    assert case.bands == (tmp_path / "nir/1_nir.tif", tmp_path / "dem/x1.tif")
    assert (case.fov, case.observer) == (tmp_path / "circle.png", tmp_path / "second/1.png")
    assert case.group == "a"
    assert layout.split == {"train": ("0", "1", "2"), "val": ("3",), "test": ("4",)}
    assert layout.legend is not None
    assert layout.legend.names == {0: "sea", 1: "land"}
    assert "dataset.yaml: 3 train, 1 val, 1 test" in layout.sentence


def test_lists_of_images_and_pairs(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png", "b/2.png", "m/one.png", "m/two.png")
    declared(tmp_path, "masks:\n- [a/1.png, m/one.png]\n- [b/1.png, m/two.png]\n")
    assert seen(read(tmp_path), tmp_path) == {
        "a_1": ("a/1.png", "m/one.png", None, None), "b_1": ("b/1.png", "m/two.png", None, None),
    }  # fmt: skip
    declared(tmp_path, "masks: {b/2.png: m/one.png}")
    assert [case.id for case in read(tmp_path).cases] == ["2"]
    declared(tmp_path, "images: [a, b/2.png]\nmasks: m/*.png")
    assert "masks: m/*.png has no {id}" in fault(tmp_path)
    declared(tmp_path, "images: [a, 'b/*.png']")
    assert [case.id for case in read(tmp_path, required=False).cases] == ["a_1", "b_1", "2"]


def test_drawings_by_hand(tmp_path: Path) -> None:
    touch(tmp_path, "i/{3}.png", "o/0/x{11}.png", "o/1/y{2}.png", "o/2/z.png", "r/RoiSet_{3}.zip")
    declared(tmp_path, "images: i\nmasks: o/{id}/*.png")
    drawings = [case.drawing for case in read(tmp_path).cases]
    assert [d.kind if d else None for d in drawings] == ["objects", "objects", None]
    assert drawings[0] is not None
    assert [part.name for part in drawings[0].parts] == [f"x{k}.png" for k in range(11)]
    declared(tmp_path, "images: i\nmasks: r")
    assert [case.drawing for case in read(tmp_path).cases] == [Drawing("rois")] * 3
    write(tmp_path / "all.json", coco(["deep/0.png", "2.png", "7.png"]))
    declared(tmp_path, "images: i\nmasks: all.json")
    layout, said = problems(tmp_path)
    assert [case.drawing and case.drawing.key for case in layout.cases] == ["deep/0.png", "2.png"]
    assert ["names 7.png" in said[0], "has no mask" in said[1]] == [True, True]


def test_patterns_that_fit_more_than_images(tmp_path: Path) -> None:
    touch(tmp_path, "a/{3}.png", "a/{3}_truth.png", "a/notes.txt", "b/c/9.png", "b/c/9_truth.png")
    declared(tmp_path, "images: '**'\nmasks: '**/{id}_truth.png'")
    assert [case.id for case in read(tmp_path).cases] == ["0", "1", "2", "9"]
    declared(tmp_path, "images: a/*.png\nmasks: a/{id}_truth.png\nbands: ['b/**/{id}.png']")
    assert "bands: no file fits b/**/{id}.png" not in fault(tmp_path)  # it fits one of no image
    (tmp_path / "all.json").write_text("{}")
    declared(tmp_path, "images: a\nmasks: all.json")
    assert "all.json: is no COCO file with polygons" in fault(tmp_path)


def test_drawings_in_a_table(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "b.tif", "c.tif", "a.zip", "b.zip", "c.zip")  # a table settles it
    (tmp_path / "cases.csv").write_text("image\tmask\na.tif\ta.zip\nb.tif\tb.zip\n")
    assert [case.drawing for case in read(tmp_path).cases] == [Drawing("rois")] * 2


@pytest.mark.parametrize(("name", "limit"), [
    ("dataset.yaml", "declared._MOST_BYTES"), ("dataset.csv", "table._MOST_BYTES"),
    ("split.json", "splits.read_json"),
])  # fmt: skip
def test_texts_of_any_size_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, limit: str
) -> None:
    touch(tmp_path, "images/{3}.png", "masks/{3}.png")
    (tmp_path / name).write_text(" " * 2_000_000)
    small = partial(read_json, largest=2**20) if limit.endswith("json") else 2**20
    monkeypatch.setattr(f"unetkit.data.layout.{limit}", small)
    assert re.search(f"{name}: is (too large|larger than 1 MB)", fault(tmp_path))


def test_lists_that_are_no_text(tmp_path: Path) -> None:
    touch(tmp_path / "a", *(f"{kind}Hand/x_1_{kind}Hand.tif" for kind in ("S1", "Label")))
    (tmp_path / "a" / "flood_train_data.csv").write_bytes(b"\xff\xfe\x00")
    assert "flood_train_data.csv: is no readable CSV" in fault(tmp_path / "a")
    touch(tmp_path / "b", "images/{3}.png", "masks/{3}.png")
    (tmp_path / "b" / "test.txt").write_bytes(b"\xff\xfe\x00")
    declared(tmp_path / "b", "split: {test: test.txt}")
    assert "test.txt: cannot be read" in fault(tmp_path / "b")


def test_a_star_beside_the_id(tmp_path: Path) -> None:
    touch(
        tmp_path, "i/a.png", "i/a_b.png", "m/a_x1.png", "m/a_b_x2.png", "n/07-a.png", "n/3-a_b.png"
    )
    patterns = ("m/{id}_*.png", "m/{id}*.png", "n/*-{id}.png", "n/*{id}.png")
    firsts = ("m/a_x1.png", "m/a_x1.png", "n/07-a.png", "n/07-a.png")
    for pattern, first in zip(patterns, firsts, strict=True):
        declared(tmp_path, f"images: i\nmasks: '{pattern}'")
        found = seen(read(tmp_path), tmp_path)
        assert found["a"][1] == first
        assert found["a_b"][1] in ("m/a_b_x2.png", "n/3-a_b.png")


def test_keys_that_go_with_what_is_recognised(tmp_path: Path) -> None:
    touch(tmp_path, "images/p{4}_s1.png", "masks/p{4}_s1.png", "lists/test.txt")
    (tmp_path / "lists" / "test.txt").write_text("p3_s1\n\nimages/p2_s1.png\n")
    declared(
        tmp_path,
        """
        split: {train: "p[01]*", test: lists/test.txt}
        classes: {"#ff0000": building, "0,0,0": background}
        """,
    )
    layout, said = problems(tmp_path)
    assert layout.split["test"] == ("p2_s1", "p3_s1")
    assert len(said) == 1
    assert layout.legend is not None
    assert layout.legend.colours
    assert layout.legend.names == {0: "background", 0xFF0000: "building"}
    declared(tmp_path, "split: other.json\n")
    write(tmp_path / "other.json", {"train": ["p0_s1"], "val": ["p1_s1"], "test": ["p2_s1"]})
    assert read(tmp_path).split == {"train": ("p0_s1",), "val": ("p1_s1",), "test": ("p2_s1",)}
    declared(tmp_path, "")
    assert len(read(tmp_path).cases) == 4


WRONG = {
    "mask: masks": "unknown key mask; did you mean masks?",
    "- a": "is not a table of keys; known are layout, images",
    "a: [": "is no readable YAML",
    "a: !!python/object/apply:os.system [ls]": "is no readable YAML",
    "layout: images+masks\nimages: i": "says both layout and images; keep one",
    "layout: nnunet": "there is no layout nnunet here",
    "images: i": "says images but not masks; add masks",
    "masks: m": "says masks but not images; add images",
    "images: nowhere\nmasks: m": "dataset.yaml: images: there is no nowhere; correct the path",
    "images: i/*.bmp\nmasks: m": "images: no image fits i/*.bmp",
    "images: 7\nmasks: m": "images: is no path or pattern",
    'images: "a\\0b"\nmasks: m': "images: is no path or pattern",
    "images: i\nmasks: m/{id}.bmp": "masks: no file fits m/{id}.bmp",
    "images: i\nmasks: m/0.png": "masks: m/0.png is one file for 3 images",
    "images: i\nmasks: other/{id}.png": "masks: no mask fits an image (such as 0.png)",
    "images: i\nmasks: [[i/0.png, m/0.png]]": "says images, but masks lists pairs",
    "masks: [[i/0.png]]": "masks: is no list of pairs; write",
    "masks: [[i/0.png, m/9.png]]": "masks: there is no m/9.png",
    "images: i\nmasks: m\nbands: ['m/{id}.bmp']": "bands: no file fits m/{id}.bmp",
    "images: i\nmasks: m\nbands: ['two/{id}.png']": "bands: there is no band for 2; add it",
    "images: i\nmasks: m\nfov: none.png": "fov: there is no none.png",
    "images: i\nmasks: m\nobserver: m/0.png": "observer: m/0.png is one file for 3 images",
    "images: i\nmasks: m\nobserver: m\nmasks2: m": "says both observer and masks2",
    "images: i\nmasks: m\nsplit: gone.json": "split: there is no gone.json",
    "images: i\nmasks: m\nsplit: [a]": "split: is no table of lists; write {train",
    "images: i\nmasks: m\nsplit: {train: [[0]]}": "split: train is no list of names",
    "images: i\nmasks: m\nsplit: {fold: ['0']}": "names no case for train, val or test",
    "images: i\nmasks: m\nsplit: {train: ['0'], val: ['0']}": "0 is in both train and val",
    "images: i\nmasks: m\nsplit: {train: gone.txt}": "split: there is no gone.txt",
    "images: i\nmasks: m\ngroups: {'0': a}": "groups: says nothing of 1; add it",
    "images: i\nmasks: m\ngroups: (": "groups: is no expression",
    "images: i\nmasks: m\ngroups: ab": "groups: has 0 groups in brackets",
    "images: i\nmasks: m\ngroups: (0)": "groups: (0) does not fit 1",
    "images: i\nmasks: m\ngroups: [0]": "groups: is no expression, table or file",
    "images: i\nmasks: m\ngroups: gone.json": "groups: there is no gone.json",
    "images: i\nmasks: m\nclasses: 7": "classes: is no table of numbers and names",
    "images: i\nmasks: m\nclasses: {0: 1}": "classes: is no table of numbers (or colours) and",
    "images: i\nmasks: m\nclasses: {0: a, '#ff0000': b}": "classes: is no table of numbers (or",
    "images: i\nmasks: m\nclasses: {0: ignore, 1: ignored}": "ignores every value",
    "images: i\nmasks: m\nclasses: {0: a, 1: b}\nignore: ['#ff0000']": "ignore: is no list of such",
    "images: i\nmasks: m\nignore: [255]": "says ignore but not classes",
}


@pytest.mark.parametrize("text", WRONG)
def test_each_mistake_in_dataset_yaml_has_its_line(tmp_path: Path, text: str) -> None:
    touch(tmp_path, "i/{3}.png", "m/{3}.png", "other/x{3}.png", "two/{2}.png")
    touch(tmp_path, "images/{3}.png", "masks/{3}.png")
    line = fault(declared(tmp_path, text))
    assert "dataset.yaml" in line
    assert WRONG[text] in line


def test_a_layout_that_fits_nothing_at_all(tmp_path: Path) -> None:
    touch(tmp_path, "a/{3}.png", "b/c.txt")
    assert "layout drive does not fit, nor does any other" in fault(
        declared(tmp_path, "layout: drive")
    )


def test_yaml_that_is_no_text_or_a_bomb(tmp_path: Path) -> None:
    touch(tmp_path, "images/{3}.png", "masks/{3}.png")
    (tmp_path / "dataset.yaml").write_bytes(b"\xff\xfe\x00\x80")
    assert "dataset.yaml: is no readable YAML" in fault(tmp_path)
    levels = "\n".join(f"x{k}: &x{k} [{', '.join([f'*x{k - 1}'] * 9)}]" for k in range(1, 25))
    declared(tmp_path, f"x0: &x0 [lol]\n{levels}")
    assert "unknown key x0" in fault(tmp_path)
    declared(tmp_path, "[" * 5000)
    assert "dataset.yaml: is no readable YAML" in fault(tmp_path)


# ------------------------------------------------------------------------------------------ table


def test_a_table_of_cases(tmp_path: Path) -> None:
    touch(tmp_path, "images/{4}.png", "masks/m{4}.png", "view.png")
    (tmp_path / "dataset.csv").write_text(
        "\ufeffImage;mask;split;group;fov\n"
        + "".join(f"images/{k}.png;masks/m{k}.png;{part};p{k // 2};view.png\n"
                  for k, part in enumerate(("training", "valid", "test", "spare")))
        + ";;;;\n"
    )  # fmt: skip
    layout = read(tmp_path)
    assert layout.sentence.startswith("dataset.csv, 4 cases")
    assert layout.split == {"train": ("0",), "val": ("1",), "test": ("2",), "spare": ("3",)}
    assert groups(layout) == {"0": "p0", "1": "p0", "2": "p1", "3": "p1"}
    assert seen(layout, tmp_path)["2"] == ("images/2.png", "masks/m2.png", "view.png", None)


def test_rows_at_fault_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.png", "ma.png")
    write(tmp_path / "cases.csv", "id,image,mask\nfirst,a.png,ma.png\n,b.png,\n,c.png,ma.png\n,,x\n"
          f",{'n' * 5000},ma.png\n")  # fmt: skip
    layout, said = problems(tmp_path)
    assert [case.id for case in layout.cases] == ["first"]
    expected = ("row 3 names no mask", "row 4 names c.png, which is not there",
                "row 5 names no image", "row 6 names nnn")  # fmt: skip
    for line, words in zip(said, expected, strict=True):
        assert f"cases.csv: {words}" in line
    everything = problems(tmp_path, required=False)[0].cases
    assert [bool(case.mask) for case in everything] == [True, False]


@pytest.mark.parametrize(("text", "what"), [
    ("mask\na.png\n", "has no column named image; write a first line"),
    ("", "has no column named image"),
    ("image,mask,splt\n", "unknown column splt; did you mean split?"),
    ("image,mask\n", "has no rows"),
    ("image,mask\nx.png,y.png\n", "row 2 names x.png, which is not there"),
    ("image,mask\n\udcff", "is no readable table"),
    ('image,mask\n"' + "a" * 200_000 + '",b\n', "is no readable table"),
])  # fmt: skip
def test_a_damaged_table(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "dataset.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert f"dataset.csv: {what}" in fault(tmp_path)


# ------------------------------------------------------------------------------------------ others


def test_what_holds_a_dataset(tmp_path: Path) -> None:
    touch(tmp_path, "masks/{3}.png", "plain/{3}_mask.png", "test/images/0.png")
    touch(tmp_path, "cells/01/t{3:3}.tif", "cells/01_GT/SEG/man_seg{3:3}.tif")
    touch(tmp_path, "flat/{3}.png", "flat/0_mask.png")
    for name, holds in (("masks", False), ("plain", False), ("", True), ("cells", True),
                        ("flat", True)):  # fmt: skip
        assert holds_dataset(tmp_path / name) is holds
    declared(tmp_path / "masks", "images: .")
    assert holds_dataset(tmp_path / "masks")


def test_files_by_the_names_of_images() -> None:
    said: list[InputError] = []
    files = [Path(name) for name in ("b10_mask.png", "b9.png", "b9_mask.png", "zz_mask.png")]
    found = by_name(files, {"b9", "b10"}, said.append)
    assert {name: file.name for name, file in found.items()} == {
        "b9": "b9.png", "b10": "b10_mask.png", "zz": "zz_mask.png",
    }  # fmt: skip
    assert ["b9_mask.png: has the same name as b9.png" in str(error) for error in said] == [True]


def test_counts_of_the_glance_are_those_of_the_folder(tmp_path: Path) -> None:
    suffixes = Counter({".txt": 3, ".doc": 2})
    for suffix, count in suffixes.items():
        touch(tmp_path, f"f{{{count}}}{suffix}")
    assert all(f"{count} {suffix}" in fault(tmp_path) for suffix, count in suffixes.items())


# ----------------------------------------------------------------------------------- the real sets

REAL = {
    "camvid": ("60 cases; split.json: 40 train, 8 val, 12 test", (40, 8, 12)),
    "ctc_phc_psc": ("4 cases; split.json: 1 train, 1 val, 2 test", (1, 1, 2)),
    "ctc_phc_u373": ("34 cases, 34 second observers; split.json: 12 train", (12, 3, 15)),
    "drive": ("30 cases, 30 fields of view, 10 second observers", (16, 4, 10)),
    "dsb2018": ("60 cases; split.json", (40, 10, 10)),
    "dubai_aerial": ("6 cases; split.json", (4, 1, 1)),
    "isbi2012_em": ("25 cases; split.json", (20, 5, 0)),
    "msd_hippocampus": ("40 cases; split.json", (28, 6, 6)),
    "ph2": ("80 cases; split.json", (55, 10, 15)),
    "sen1floods11": ("7 cases; left aside: images_s2/ (1 image); split.json", (5, 1, 1)),
    "stare": ("15 cases, 15 fields of view, 15 second observers; split.json", (7, 2, 6)),
}


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_real_sets(name: str) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"no {name} beside the checkout")
    layout = read(DATA / name)
    words, sizes = REAL[name]
    assert f"images/ + masks/ by name, {words}" in layout.sentence
    assert tuple(len(layout.split.get(part, ())) for part in OWN) == sizes
    assert all(case.mask and case.mask.is_file() for case in layout.cases)
