"""Folders → cases, split and task: small generated trees of each shape, and the real sets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from unetkit.data import Dataset, fingerprint, read_dataset
from unetkit.errors import InputError
from unetkit.image import Image, write_image

DATA = Path(__file__).parents[1].parent / "shared" / "data"
SPACE = (40, 48)


def picture(path: Path, seed: int = 0, channels: int = 3, space: tuple[int, ...] = SPACE) -> None:
    data = np.random.default_rng(seed).integers(0, 256, (channels, *space), np.uint8)
    write_image(Image(data), path)


def mask(path: Path, labels: np.ndarray) -> None:
    write_image(Image(labels[None]), path)


def disc(value: int = 255, x: int = 20) -> np.ndarray:
    yy, xx = np.mgrid[: SPACE[0], : SPACE[1]]
    return (((yy - 20) ** 2 + (xx - x) ** 2 < 80) * value).astype(np.uint8)


def tree(root: Path, count: int = 4, value: int = 255) -> Path:
    for k in range(count):
        picture(root / "images" / f"im{k}.png", k)
        mask(root / "masks" / f"im{k}.png", disc(value, 15 + k))
    return root


def classes_tree(root: Path, values: list[int], count: int = 4, dtype: type = np.uint8) -> Path:
    """Masks of scattered stripes: no class is one piece, and each is in every image."""
    for k in range(count):
        picture(root / "images" / f"im{k}.png", k)
        labels = np.tile(np.array(values), 40)[: SPACE[1]] * np.ones((SPACE[0], 1), int)
        mask(root / "masks" / f"im{k}.png", np.roll(labels, k, 1).astype(dtype))
    return root


# ------------------------------------------------------------------------------------ layouts


@pytest.mark.parametrize("images", ["images", "imgs", "Images"])
@pytest.mark.parametrize("masks", ["masks", "labels", "annotations"])
def test_folder_names(tmp_path: Path, images: str, masks: str) -> None:
    tree(tmp_path)
    (tmp_path / "images").rename(tmp_path / images)
    (tmp_path / "masks").rename(tmp_path / masks)
    dataset = read_dataset(tmp_path)
    assert [case.id for case in dataset.cases] == ["im0", "im1", "im2", "im3"]
    assert f"{images}/ + {masks}/ by name, 4 cases" in dataset.layout
    sample = dataset.load(dataset.cases[2])
    np.testing.assert_array_equal(sample.labels, disc(1, 17))
    assert sample.image.shape == (3, *SPACE)
    assert sample.image.max() > 200
    assert (sample.image.dtype, sample.labels.dtype) == (np.float32, np.int16)
    assert sample.fov.all()
    assert sample.instances is None
    assert sample.observer is None
    assert sample.path == tmp_path / images / "im2.png"


@pytest.mark.parametrize(
    "ending", ["_mask", "_seg", "_manual1", ".ah", "_label", "_gt", "_Mask", "_masks"]
)
def test_mask_endings(tmp_path: Path, ending: str) -> None:
    tree(tmp_path)
    for path in list((tmp_path / "masks").iterdir()):
        path.rename(path.with_name(f"{path.stem}{ending}.png"))
    cases = read_dataset(tmp_path).cases
    assert [case.mask.name for case in cases if case.mask] == [
        f"im{k}{ending}.png" for k in range(4)
    ]


def test_an_ending_that_belongs_to_the_image_stays(tmp_path: Path) -> None:
    for k in range(2):
        picture(tmp_path / "images" / f"{k}_seg.png")
        mask(tmp_path / "masks" / f"{k}_seg.png", disc())
    assert [case.id for case in read_dataset(tmp_path).cases] == ["0_seg", "1_seg"]


def test_fov_and_second_observer(tmp_path: Path) -> None:
    tree(tmp_path)
    inside = np.zeros(SPACE, np.uint8)
    inside[5:30] = 255
    mask(tmp_path / "fov" / "im0.png", inside)
    mask(tmp_path / "masks2" / "im1.png", disc(255, 30))
    dataset = read_dataset(tmp_path)
    assert "1 fields of view, 1 second observers" in dataset.layout
    first, second = (dataset.load(case) for case in dataset.cases[:2])
    np.testing.assert_array_equal(first.fov, inside > 0)
    assert first.observer is None
    assert second.fov.all()
    np.testing.assert_array_equal(second.observer, disc(1, 30))


def test_split_folders(tmp_path: Path) -> None:
    for name, count in (("train", 3), ("valid", 1), ("test", 2)):
        for k in range(count):
            picture(tmp_path / name / "images" / f"{name[0]}{k}.png")
            mask(tmp_path / name / "masks" / f"{name[0]}{k}.png", disc())
    dataset = read_dataset(tmp_path)
    # t0 and t1 stand in train and in test, so their folder becomes part of the name.
    assert dataset.split == {
        "train": ("train_t0", "train_t1", "t2"),
        "val": ("v0",),
        "test": ("test_t0", "test_t1"),
    }
    assert dataset.layout.startswith("train/, valid/, test/ each with images and masks, 6 cases")
    assert dataset.select("test")[0].image == tmp_path / "test" / "images" / "t0.png"


def test_images_without_masks_only_when_asked(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "masks" / "im1.png").unlink()
    dataset = read_dataset(tmp_path, masks="optional")
    assert len(dataset.cases) == 4
    assert (dataset.load(dataset.cases[1]).labels == -1).all()
    assert dataset.load(dataset.cases[0]).labels.max() == 1
    for folder in (tmp_path / "images", None):
        root = folder or tmp_path
        if folder is None:
            for path in (tmp_path / "masks").iterdir():
                path.unlink()
            (tmp_path / "masks").rmdir()
        bare = read_dataset(root, masks="optional")
        assert len(bare.cases) == 4
        assert bare.task.classes == ()
        assert bare.task.channels == 3


# ------------------------------------------------------------------------------------- splits


def test_split_json(tmp_path: Path) -> None:
    tree(tmp_path, 7)
    text = {
        "train": ["im0", "im1.png"],
        "validation": ["im2"],
        "test": ["im3"],
        "partial": ["im4", "im5"],
    }
    (tmp_path / "split.json").write_text(json.dumps(text))
    dataset = read_dataset(tmp_path)
    assert dataset.split == {
        "train": ("im0", "im1"),
        "val": ("im2",),
        "test": ("im3",),
        "partial": ("im4", "im5"),
    }
    assert "split.json: 2 train, 1 val, 1 test, 2 partial, 1 in no split" in dataset.layout
    assert [case.id for case in dataset.select("train")] == ["im0", "im1"]
    with pytest.raises(InputError, match=r"named vall; choose one of train \(2\), val \(1\)"):
        dataset.select("vall")


@pytest.mark.parametrize(
    ("count", "sizes"), [(2, (1, 1, 0)), (3, (1, 1, 1)), (4, (2, 1, 1)), (20, (14, 3, 3))]
)
def test_random_split(tmp_path: Path, count: int, sizes: tuple[int, int, int]) -> None:
    tree(tmp_path, count)
    dataset = read_dataset(tmp_path)
    assert tuple(len(dataset.split.get(n, ())) for n in ("train", "val", "test")) == sizes
    members = [case for part in dataset.split.values() for case in part]
    assert sorted(members) == sorted(case.id for case in dataset.cases)
    assert read_dataset(tmp_path).split == dataset.split
    assert "by seed 0" in dataset.layout
    if count == 20:
        other = read_dataset(tmp_path, seed=1)
        assert other.split != dataset.split
        assert "by seed 1" in other.layout


def test_one_case_validates_on_itself(tmp_path: Path) -> None:
    dataset = read_dataset(tree(tmp_path, 1))
    assert dataset.split == {"train": ("im0",), "val": ("im0",)}
    assert "val is the one case of train" in dataset.layout


def test_val_is_drawn_from_train_where_it_is_missing(tmp_path: Path) -> None:
    tree(tmp_path, 12)
    train = [f"im{k}" for k in range(10)]
    for split in ({"train": train, "test": ["im10"]}, {"train": train, "val": []}):
        (tmp_path / "split.json").write_text(json.dumps(split))
        dataset = read_dataset(tmp_path)
        assert (len(dataset.split["train"]), len(dataset.split["val"])) == (8, 2)
        assert set(dataset.split["train"]) | set(dataset.split["val"]) == set(train)
        assert "val drawn at random from train by seed 0" in dataset.layout
    (tmp_path / "split.json").write_text(json.dumps({"test": ["im10", "im11"]}))
    assert read_dataset(tmp_path).split == {"test": ("im10", "im11")}


# --------------------------------------------------------------------------------------- task


@pytest.mark.parametrize("value", [255, 1, 128, 7])
def test_two_values_are_binary(tmp_path: Path, value: int) -> None:
    task = read_dataset(tree(tmp_path, value=value)).task
    assert task.classes == ("background", "foreground")
    assert (task.kind, task.values, task.ignore) == ("semantic", (0, value), ())
    assert (task.channels, task.ndim) == (3, 2)


def test_rgb_and_one_bit_masks_are_binary_too(tmp_path: Path) -> None:
    tree(tmp_path)
    grey = disc()
    Pillow.fromarray(np.repeat(grey[..., None], 3, 2)).save(tmp_path / "masks" / "im0.png")
    Pillow.fromarray(grey > 0).save(tmp_path / "masks" / "im1.png")
    Pillow.fromarray(np.stack([grey, grey, grey, grey * 0 + 255], 2)).save(
        tmp_path / "masks" / "im2.png"
    )
    dataset = read_dataset(tmp_path)
    assert dataset.task.values == (0, 255)
    for case in dataset.cases[:3]:
        np.testing.assert_array_equal(dataset.load(case).labels, disc(1, 20))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("values", [[0, 1, 2], [0, 1, 2, 3, 4], [1, 2, 3], [1, 2]])
def test_numbers_in_order_are_classes(tmp_path: Path, values: list[int], dtype: type) -> None:
    dataset = read_dataset(classes_tree(tmp_path, values, dtype=dtype))
    assert dataset.task.kind == "semantic"
    assert dataset.task.values == tuple(values)
    assert dataset.task.classes[0] == ("background" if values[0] == 0 else "class_1")
    labels = dataset.load(dataset.cases[0]).labels
    assert labels[0, : len(values)].tolist() == list(range(len(values)))


def test_255_beside_classes_is_void(tmp_path: Path) -> None:
    dataset = read_dataset(classes_tree(tmp_path, [0, 1, 2, 255]))
    assert (dataset.task.values, dataset.task.ignore) == ((0, 1, 2), (255,))
    assert dataset.load(dataset.cases[0]).labels[0, :4].tolist() == [0, 1, 2, -1]


def test_legend(tmp_path: Path) -> None:
    classes_tree(tmp_path, [0, 10, 200, 9])
    legend = {"200": "car", "0": "sky", "10": "road", "9": "unlabelled(ignore)"}
    (tmp_path / "classes.json").write_text(json.dumps(legend))
    dataset = read_dataset(tmp_path)
    assert dataset.task.classes == ("sky", "road", "car")
    assert (dataset.task.values, dataset.task.ignore) == ((0, 10, 200), (9,))
    assert dataset.load(dataset.cases[0]).labels[0, :4].tolist() == [0, 1, 2, -1]
    assert "3 classes of classes.json and 9 to be ignored" in dataset.layout


def test_legend_of_one_class_has_a_background(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "classes.json").write_text('{"255": "vessel"}')
    task = read_dataset(tmp_path).task
    assert (task.classes, task.values) == (("background", "vessel"), (0, 255))


def test_negative_values_are_ignored(tmp_path: Path) -> None:
    for k in range(3):
        picture(tmp_path / "images" / f"{k}.png", k)
        labels = disc(1, 10 + k).astype(np.int16)
        labels[:3] = -1
        (tmp_path / "masks").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "masks" / f"{k}.tif", labels)
    dataset = read_dataset(tmp_path)
    assert (dataset.task.values, dataset.task.ignore) == ((0, 1), (-1,))
    expected = disc(1, 10).astype(int)
    expected[:3] = -1
    np.testing.assert_array_equal(dataset.load(dataset.cases[0]).labels, expected)


def nuclei(seed: int, count: int) -> np.ndarray:
    """Square objects on a grid, numbered at random from 1 without a gap."""
    generator = np.random.default_rng(seed)
    labels = np.zeros(SPACE, np.uint16)
    cells = generator.permutation(48)[:count]
    for number, cell in enumerate(cells, 1):
        y, x = 6 * (cell // 8), 6 * (cell % 8)
        labels[y : y + 4, x : x + 5] = number
    return labels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_object_ids_are_instances(tmp_path: Path, dtype: type) -> None:
    for k in range(4):
        picture(tmp_path / "images" / f"{k}.png", k)
        mask(tmp_path / "masks" / f"{k}.png", nuclei(k, 5 + 3 * k).astype(dtype))
    dataset = read_dataset(tmp_path)
    assert dataset.task.kind == "instances"
    assert dataset.task.classes == ("background", "object")
    assert dataset.task.values == (0,)
    sample = dataset.load(dataset.cases[3])
    assert sample.instances is not None
    assert sample.instances.dtype == np.int32
    np.testing.assert_array_equal(sample.instances, nuclei(3, 14))
    np.testing.assert_array_equal(sample.labels, nuclei(3, 14) > 0)
    assert "number their objects (up to 14)" in dataset.layout


def test_a_legend_of_two_names_the_objects(tmp_path: Path) -> None:
    for k in range(3):
        picture(tmp_path / "images" / f"{k}.png", k)
        mask(tmp_path / "masks" / f"{k}.png", nuclei(k, 5 + 3 * k))
    (tmp_path / "classes.json").write_text('{"0": "background", "1": "nucleus"}')
    task = read_dataset(tmp_path).task
    assert (task.kind, task.classes) == ("instances", ("background", "nucleus"))


def test_organs_in_one_piece_are_classes(tmp_path: Path) -> None:
    for k in range(4):
        picture(tmp_path / "images" / f"{k}.png", k)
        organs = np.zeros(SPACE, np.uint8)
        for value in range(1, 6):
            organs[7 * value : 7 * value + 4, 5:30] = value
        if k == 2:
            organs[organs == 3] = 0  # one organ has been taken out: a gap
        mask(tmp_path / "masks" / f"{k}.png", organs)
    assert read_dataset(tmp_path).task.kind == "semantic"


def test_volumes(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for k in range(3):
        voxels = generator.random((6, 5, 4), np.float32)
        affine = np.diag([1.0, 1.0, 3.0, 1.0])
        nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "images" / f"{k}.nii.gz")
        nibabel.save(
            nibabel.Nifti1Image((voxels > 0.5).astype(np.uint8), affine),
            tmp_path / "masks" / f"{k}.nii.gz",
        )
    dataset = read_dataset(tmp_path)
    assert (dataset.task.ndim, dataset.task.channels) == (3, 1)
    sample = dataset.load(dataset.cases[2])
    assert sample.image.shape == (1, 4, 5, 6)
    assert sample.spacing == (3.0, 1.0, 1.0)
    np.testing.assert_array_equal(sample.labels, sample.image[0] > 0.5)


# ------------------------------------------------------------------------------------- errors


def broken(root: Path, name: str) -> None:
    """Make a sound tree and break it in one way."""
    if name == "no folder":
        return
    tree(root)
    images, masks = root / "images", root / "masks"
    split = {"train": ["im0", "im1"], "val": ["im2"], "test": ["im3"]}
    match name:
        case "no images folder":
            images.rename(root / "pictures")
        case "no images":
            for path in images.iterdir():
                path.unlink()
        case "no masks folder":
            masks.rename(root / "truth")
        case "no masks":
            for path in masks.iterdir():
                path.unlink()
        case "image without mask":
            (masks / "im2.png").unlink()
            (masks / "im3.png").unlink()
        case "mask without image":
            (images / "im2.png").unlink()
        case "no pair":
            for path in list(masks.iterdir()):
                path.rename(path.with_name(f"x{path.name}"))
        case "two images of one name":
            Pillow.open(images / "im0.png").save(images / "im0.jpg")
        case "jpeg mask":
            Pillow.open(masks / "im1.png").save(masks / "im1.jpg", quality=60)
            (masks / "im1.png").unlink()
        case "resized mask":
            drawn = Pillow.open(masks / "im1.png")
            drawn.resize((20, 24)).resize((48, 40), Pillow.Resampling.BILINEAR).save(
                masks / "im1.png"
            )
        case "all masks are jpeg":
            for path in list(masks.iterdir()):
                Pillow.open(path).save(path.with_suffix(".jpg"), quality=30)
                path.unlink()
        case "colour mask":
            Pillow.open(images / "im1.png").save(masks / "im1.png")
        case "empty masks":
            for path in masks.iterdir():
                mask(path, np.zeros(SPACE, np.uint8))
        case "odd values":
            for path in masks.iterdir():
                Pillow.fromarray(np.tile(np.array([0, 40, 90, 200], np.uint8), (40, 12))).save(path)
        case "value not in legend":
            (root / "classes.json").write_text('{"0": "background", "1": "vessel"}')
        case "legend no json":
            (root / "classes.json").write_text("{0: background}")
        case "legend of words":
            (root / "classes.json").write_text('{"road": "grey"}')
        case "legend ignores all":
            (root / "classes.json").write_text('{"0": "ignore", "255": "ignored"}')
        case "unreadable image":
            (images / "im1.png").write_bytes(b"\x89PNG\r\n\x1a\n rubbish")
        case "unreadable mask":
            whole = (masks / "im1.png").read_bytes()
            (masks / "im1.png").write_bytes(whole[: len(whole) // 2])
        case "mixed channels":
            picture(images / "im2.png", channels=1)
        case "mixed axes":
            (images / "im2.png").unlink()
            picture(images / "im2.tif", channels=3, space=(5, *SPACE))
        case "unknown stem":
            split["val"] = ["im7"]
        case "two splits":
            split["val"] = ["im2", "im3"]
        case "split no json":
            (root / "split.json").write_text("train: [im0]")
        case "split of numbers":
            split["val"] = [2]  # type: ignore[list-item]
        case "split without names":
            split = {"fold0": ["im0"]}
        case _:
            raise AssertionError(name)
    if ("split" in name or name == "unknown stem") and name != "split no json":
        (root / "split.json").write_text(json.dumps(split))


BROKEN = {
    "no folder": "set: no such folder; give the folder that holds images/",
    "no images folder": r"set: no images/ folder, nor .* here are masks/ \(4 \.png\).*; put the",
    "no images": "images: no images found; known suffixes",
    "no masks folder": "set: no masks/ folder beside images/; put the masks",
    "no masks": "masks: no masks found; put one per image there",
    "image without mask": r"im2\.png: the image has no mask \(and 1 more of 4\); add",
    "mask without image": r"masks/im2\.png: the mask has no image; add its image",
    "no pair": r"no mask has the name of an image \(image im0\.png, mask xim0\.png\); name each",
    "two images of one name": r"im0\.(png|jpg): has the same name as im0\.(png|jpg); rename",
    "jpeg mask": r"im1\.jpg: .*unexpected values \(.*\) in .*%.*expected are 0, 255; .*JPEG",
    "resized mask": r"im1\.png: .*unexpected values .*resize by nearest neighbour",
    "all masks are jpeg": r"im0\.jpg: .*unexpected values .*; .*JPEG",
    "colour mask": r"im1\.png: the mask holds colours.*; save one grey value per class",
    "empty masks": "masks: every mask is empty.*; check that these are the masks",
    "odd values": r"im0\.png: .* 4 values \(0, 40, 90, 200\) that are neither two.*classes\.json",
    "value not in legend": r"im0\.png: .*\(255\).*expected are 0, 1; .*name the value in classes",
    "legend no json": r"classes\.json: is no readable JSON .*; write",
    "legend of words": r"classes\.json: does not name mask values; write",
    "legend ignores all": r"classes\.json ignores every value; name at least one",
    "unreadable image": r"images/im1\.png: cannot be read as png .*; it is damaged",
    "unreadable mask": r"masks/im1\.png: cannot be read as png .*; it is damaged",
    "mixed channels": r"im2\.png: has 1 channels where most images have 3; convert",
    "mixed axes": r"im2\.tif: is 3D where most images are 2D; keep",
    "unknown stem": r"split\.json: val names im7, which is no image here; correct",
    "two splits": r"split\.json: im3 is in both val and test; keep it in one",
    "split no json": r"split\.json: is no readable JSON .*; write",
    "split of numbers": r"split\.json: is not a table of lists of names; write",
    "split without names": r"split\.json: names no case for train, val or test; write",
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_mistake_has_its_line(tmp_path: Path, name: str) -> None:
    broken(tmp_path / "set", name)
    with pytest.raises(InputError, match=BROKEN[name]) as caught:
        read_dataset(tmp_path / "set")
    assert "\n" not in str(caught.value)
    assert caught.value.cure


def test_sizes_that_differ_are_found_at_once(tmp_path: Path) -> None:
    tree(tmp_path)
    mask(tmp_path / "masks" / "im0.png", disc()[:-3])
    mask(tmp_path / "masks" / "im1.png", np.ascontiguousarray(disc().T))
    mask(tmp_path / "fov" / "im2.png", disc()[:, :9])
    found: list[InputError] = []
    dataset = read_dataset(tmp_path, on_problem=found.append)
    assert [case.id for case in dataset.cases] == ["im3"]
    messages = (
        r"im0\.png: the mask is 37 × 48 and its image 40 × 48 \(y, x\); .*nearest neighbour",
        r"im1\.png: the mask is 48 × 40 .*; it looks transposed",
        r"fov/im2\.png: the field of view is 40 × 9",
    )
    for error, message in zip(found, messages, strict=True):
        assert re.search(message, str(error))
    with pytest.raises(InputError, match=messages[0]):
        read_dataset(tmp_path)


def test_a_second_observer_with_other_values_is_named(tmp_path: Path) -> None:
    tree(tmp_path)
    mask(tmp_path / "masks2" / "im0.png", disc(9))
    dataset = read_dataset(tmp_path)
    with pytest.raises(InputError, match=r"masks2/im0\.png: .*unexpected values \(9\)"):
        dataset.load(dataset.cases[0])


def test_problems_can_be_collected_and_the_rest_used(tmp_path: Path) -> None:
    for name in ("image without mask", "unreadable image", "mixed channels", "jpeg mask"):
        root = tmp_path / name
        broken(root, name)
        problems: list[InputError] = []
        dataset = read_dataset(root, on_problem=problems.append)
        assert len(problems) == (2 if name == "image without mask" else 1)  # each is named
        assert re.search(BROKEN[name], str(problems[0]))
        left = 2 if name == "image without mask" else 3
        assert len(dataset.cases) == left
        for case in dataset.cases:
            dataset.load(case)
        listed = {i for part in dataset.split.values() for i in part}
        assert listed <= {case.id for case in dataset.cases}


# -------------------------------------------------------------------------------- fingerprint


def test_fingerprint_of_known_shapes(tmp_path: Path) -> None:
    for k in range(4):
        space = (40 + 10 * k, 60)
        picture(tmp_path / "images" / f"{k}.png", k, space=space)
        bars = np.zeros(space, np.uint8)
        bars[:, 10:14] = bars[:, 30:34] = 255  # 8 of 60 columns, 4 px wide
        mask(tmp_path / "masks" / f"{k}.png", bars)
    (tmp_path / "split.json").write_text('{"train": ["0", "1", "2"], "val": ["3"]}')
    found = fingerprint(read_dataset(tmp_path))
    assert found.cases == {"train": 3, "val": 1}
    assert (found.smallest, found.median, found.largest) == ((40, 60), (55, 60), (70, 60))
    assert found.spacing == (1.0, 1.0)
    assert found.shares == pytest.approx((52 / 60, 8 / 60))
    assert found.width == pytest.approx(4)
    assert (found.fov, found.observer) == (False, False)


def test_fingerprint_of_objects_is_their_diameter(tmp_path: Path) -> None:
    for k in range(4):
        picture(tmp_path / "images" / f"{k}.png", k)
        mask(tmp_path / "masks" / f"{k}.png", nuclei(k, 5 + 3 * k))
    found = fingerprint(read_dataset(tmp_path))
    assert found.kind == "instances"
    assert found.width == pytest.approx(np.sqrt(4 * 20 / np.pi))  # objects of 4 × 5 pixels


# ------------------------------------------------------------------------------- the real sets

BINARY = (("background", "foreground"), "semantic", (0, 255), ())
OBJECTS = (("background", "object"), "instances", (0,), ())
REAL = {
    "stare": (BINARY, 3, 2, (7, 2, 6)),
    "drive": (BINARY, 3, 2, (16, 4, 10)),
    "isbi2012_em": (BINARY, 1, 2, (20, 5, 0)),
    "ph2": (BINARY, 3, 2, (55, 10, 15)),
    "dsb2018": (OBJECTS, 3, 2, (40, 10, 10)),
    "ctc_phc_u373": (OBJECTS, 1, 2, (12, 3, 15)),
    "ctc_phc_psc": (OBJECTS, 1, 2, (1, 1, 2)),
    "camvid": ((None, "semantic", tuple(range(11)), (11,)), 3, 2, (40, 8, 12)),
    "dubai_aerial": ((None, "semantic", (1, 2, 3, 4, 5), (0,)), 3, 2, (4, 1, 1)),
    "msd_hippocampus": ((None, "semantic", (0, 1, 2), ()), 1, 3, (28, 6, 6)),
    "sen1floods11": (
        (("background", "foreground"), "semantic", (0, 1), (-1,)),
        2,
        2,
        (5, 1, 1),
    ),
}


def real(name: str) -> Dataset:
    if not (DATA / name).exists():
        pytest.skip(f"no {name} beside the checkout")
    return read_dataset(DATA / name)


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_real_sets(name: str) -> None:
    dataset = real(name)
    (classes, kind, values, ignore), channels, ndim, sizes = REAL[name]
    task = dataset.task
    assert classes is None or task.classes == classes
    assert (task.kind, task.values, task.ignore) == (kind, values, ignore)
    assert (task.channels, task.ndim) == (channels, ndim)
    assert tuple(len(dataset.split.get(n, ())) for n in ("train", "val", "test")) == sizes
    for case in dataset.cases[:3]:
        sample = dataset.load(case)
        assert sample.labels.shape == sample.image.shape[1:] == sample.fov.shape
        assert sample.labels.max() < len(task.classes)
        if kind == "instances":
            assert sample.instances is not None
            assert sample.instances.max() >= 3


@pytest.mark.real
def test_real_details() -> None:
    assert len(real("ctc_phc_u373").split["partial"]) == 4
    stare = real("stare")
    sample = stare.load(stare.select("test")[0])
    assert sample.observer is not None
    assert 0.5 < sample.fov.mean() < 0.8
    found = fingerprint(stare)
    assert found.shares[1] == pytest.approx(0.10, abs=0.02)  # 7.4 % of all, 10 % inside the view
    assert found.width is not None
    assert 3 < found.width < 8
    assert real("camvid").task.classes[8] == "car"


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "kind"), [("camvid", "semantic"), ("dubai_aerial", "semantic"),
                       ("msd_hippocampus", "semantic")]
)  # fmt: skip
def test_real_classes_are_seen_without_their_legend(tmp_path: Path, name: str, kind: str) -> None:
    real(name)
    for folder in ("images", "masks"):
        (tmp_path / folder).symlink_to((DATA / name / folder).resolve())
    assert read_dataset(tmp_path).task.kind == kind
