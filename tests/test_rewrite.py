"""A set of any layout is written in ours, and reads back as the same set."""

from __future__ import annotations

import filecmp
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import rasterio
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from unetkit.data import Dataset, read_dataset
from unetkit.data.case import Case
from unetkit.data.rewrite import Instead, file_names, write_dataset
from unetkit.errors import InputError
from unetkit.image import Image, read_image, read_labels, stem

Array = NDArray[Any]

DATA = Path(__file__).parents[1].parent / "shared" / "data"
SPACE = (40, 48)
COLOURS = [(0, 0, 0), (60, 16, 152), (132, 41, 246), (110, 193, 228)]


def picture(k: int, channels: int = 1, space: tuple[int, ...] = SPACE) -> Array:
    """Give (*space[, channels]) bytes."""
    shape = space if channels == 1 else (*space, channels)
    return np.random.default_rng(k).integers(0, 256, shape, np.uint8)


def blobs(k: int, count: int = 5, space: tuple[int, ...] = SPACE) -> Array:
    """Number a few discs that do not touch."""
    centres = np.random.default_rng(k).permutation(30)[:count]
    markers = np.zeros(space, np.int32)
    for number, centre in enumerate(centres, 1):
        y, x = 4 + 7 * (centre // 6), 4 + 8 * (centre % 6)
        markers[..., y - 2 : y + 3, x - 2 : x + 3] = number
    return markers


def save(array: Array, path: Path, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(array).save(path, **options)


def volume(array: Array, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.array([[0, -1.5, 0, 10], [1.5, 0, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(array.T, affine), path)


def as_read(root: Path) -> Dataset:
    return read_dataset(root, masks="optional")


def assert_same(old: Dataset, new: Dataset) -> None:
    """Compare what matters: names, meaning, split, and every array."""
    order = {case.id: case for case in new.cases}
    assert len(order) == len(new.cases) == len(old.cases)
    new = replace(new, cases=tuple(order[case.id] for case in old.cases))
    assert new.task.classes == old.task.classes
    assert (new.task.kind, new.task.channels, new.task.ndim) == (
        old.task.kind, old.task.channels, old.task.ndim)  # fmt: skip
    assert {name: {*ids} for name, ids in new.split.items()} == {
        name: {*ids} for name, ids in old.split.items()
    }
    for one, other in zip(old.cases, new.cases, strict=True):
        assert (one.group is None) == (other.group is None)
        first, second = old.load(one), new.load(other)
        np.testing.assert_array_equal(second.image, first.image)
        np.testing.assert_array_equal(second.labels, first.labels)
        np.testing.assert_array_equal(second.fov, first.fov)
        np.testing.assert_allclose(second.spacing, first.spacing)
        assert (first.observer is None) == (second.observer is None)
        if first.observer is not None:
            np.testing.assert_array_equal(second.observer, first.observer)
        assert (first.instances is None) == (second.instances is None)
        if first.instances is not None and second.instances is not None:
            pairs = {*zip(first.instances.flat, second.instances.flat, strict=True)}
            assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    groups = [[case.group for case in dataset.cases] for dataset in (old, new)]
    for k in range(len(old.cases)):
        same = [[one[k] is not None and one[k] == group for group in one] for one in groups]
        assert same[0] == same[1]


# ------------------------------------------------------------------------------------ layouts


def ours(root: Path) -> None:
    for k in range(6):
        save(picture(k, 3), root / "images" / f"a{k}.jpg", quality=95)
        mask = (blobs(k) > 0).astype(np.uint8) * 2
        mask[0, :5] = 9
        save(mask, root / "masks" / f"a{k}_mask.png")
        save(np.full(SPACE, 255, np.uint8), root / "fov" / f"a{k}.png")
        if k < 2:
            save((blobs(k + 9) > 0).astype(np.uint8) * 2, root / "masks2" / f"a{k}.png")
    names = {"0": "ground", "2": "cell", "9": "void"}
    (root / "classes.json").write_text(json.dumps(names))
    (root / "groups.json").write_text(json.dumps({f"a{k}": f"g{k // 2}" for k in range(6)}))
    split = {"train": ["a0", "a1"], "val": ["a2"], "test": ["a4"], "partial": ["a5"]}
    (root / "split.json").write_text(json.dumps(split))


def in_parts(root: Path) -> None:
    for part, numbers in (("train", (0, 1, 2)), ("valid", (0,)), ("test", (0, 5))):
        for k in numbers:
            save(picture(k + len(part)), root / part / "images" / f"x{k}.png")
            save((blobs(k) > 0).astype(np.uint8) * 255, root / part / "masks" / f"x{k}.png")


def colours(root: Path) -> None:
    legend = {f"#{r:02X}{g:02X}{b:02X}": f"kind {k}" for k, (r, g, b) in enumerate(COLOURS[:3])}
    legend[f"#{COLOURS[3][0]:02X}{COLOURS[3][1]:02X}{COLOURS[3][2]:02X}"] = "unlabelled"
    for k in range(4):
        save(picture(k, 3), root / "images" / f"t{k}.png")
        painted = np.array(COLOURS, np.uint8)[blobs(k) % 4]
        save(painted, root / "masks" / f"t{k}.png")
        save(painted[::-1], root / "masks2" / f"t{k}.png")
    (root / "classes.json").write_text(json.dumps(legend))


def nuclei(root: Path) -> None:
    for k in range(4):
        name = f"{k:02d}{'c0ffee' * 10}"
        save(picture(k, 4), root / name / "images" / f"{name}.png")
        for number in range(1, 6):
            mask = (blobs(k) == number).astype(np.uint8) * 255
            save(mask, root / name / "masks" / f"{number}.png")


def frames(root: Path) -> None:
    for sequence in ("01", "02"):
        for k in range(3):
            (root / f"{sequence}_GT" / "SEG").mkdir(parents=True, exist_ok=True)
            (root / sequence).mkdir(exist_ok=True)
            tifffile.imwrite(root / sequence / f"t{k:03d}.tif", picture(k + 9 * int(sequence)))
            path = root / f"{sequence}_GT" / "SEG" / f"man_seg{k:03d}.tif"
            tifffile.imwrite(path, blobs(k, 7).astype(np.uint16))


def coco(root: Path, categories: int, most: int = 9) -> None:
    images, annotations = [], []
    for k in range(4):
        save(picture(k, 3), root / "images" / f"c{k}.png")
        images.append({"id": k, "file_name": f"c{k}.png", "height": SPACE[0], "width": SPACE[1]})
        for number, (y, x) in enumerate(((3, 4), (20, 9), (24, 30))[: min(most, 2 + k % 2)]):
            outline = [x, y, x + 9, y, x + 9, y + 11, x, y + 11]
            annotations.append({
                "id": len(annotations) + 1, "image_id": k, "category_id": 1 + number % categories,
                "segmentation": [outline], "area": 99, "bbox": [x, y, 9, 11], "iscrowd": 0,
            })  # fmt: skip
    names = [{"id": 1, "name": "car"}, {"id": 2, "name": "tree"}][:categories]
    content = {"images": images, "annotations": annotations, "categories": names}
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_all.json").write_text(json.dumps(content))


def modalities(root: Path) -> None:
    space = (6, *SPACE)
    for k in range(3):
        for channel in range(2):
            path = root / "imagesTr" / f"case{k}_{channel:04d}.nii.gz"
            volume(picture(k + 7 * channel, space=space), path)
        volume((blobs(k, space=space) % 3).astype(np.uint8), root / "labelsTr" / f"case{k}.nii.gz")
    about = {"channel_names": {"0": "T1", "1": "T2"}, "file_ending": ".nii.gz", "numTraining": 3,
             "labels": {"background": 0, "oedema": 1, "core": 2}}  # fmt: skip
    (root / "dataset.json").write_text(json.dumps(about))


def maps(root: Path) -> None:
    for k in range(4):
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True, exist_ok=True)
            pixels = picture(k, 3).astype(np.float32) if folder == "images" else blobs(k) > 0
            bands = np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels[None]
            bands = bands.astype(np.float32 if folder == "images" else np.int16)
            if folder == "images":
                bands[:, :3, :3] = -9999
            else:
                bands[:, 5:9] = -1
            with rasterio.open(
                root / folder / f"tile_{k}.tif", "w", driver="GTiff", count=len(bands),
                height=SPACE[0], width=SPACE[1], dtype=bands.dtype, crs="EPSG:32633",
                nodata=-9999 if folder == "images" else None,
                transform=rasterio.Affine(10, 0, 5e5 + 400 * k, 0, -10, 4.6e6),
            ) as file:  # fmt: skip
                file.write(bands)


def arrays(root: Path) -> None:
    for k in range(3):
        for folder, pixels in (("images", picture(k)), ("masks", (blobs(k) > 0).astype(np.uint8))):
            (root / folder).mkdir(parents=True, exist_ok=True)
            store = zarr.open_array(
                root / folder / f"z{k}.zarr", mode="w", shape=SPACE, chunks=(16, 16), dtype="u1"
            )
            store[:] = pixels


def unlabelled(root: Path) -> None:
    for k in range(4):
        save(picture(k), root / "images" / f"u{k}.png")


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "ours": ours,
    "in_parts": in_parts,
    "colours": colours,
    "nuclei": nuclei,
    "frames": frames,
    "coco objects": lambda root: coco(root, 1),
    "coco classes": lambda root: coco(root, 2),
    "modalities": modalities,
    "maps": maps,
    "arrays": arrays,
    "unlabelled": unlabelled,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_written_reads_back_the_same(layout: str, tmp_path: Path) -> None:
    root, out = tmp_path / "set", tmp_path / "deep" / "copy"
    root.mkdir()
    LAYOUTS[layout](root)
    old = as_read(root)
    assert write_dataset(old, out) == out
    assert_same(old, as_read(out))
    allowed = {"images", "masks", "fov", "masks2", "split.json", "classes.json", "groups.json",
               "meta.json"}  # fmt: skip
    assert {path.name for path in out.iterdir()} <= allowed
    assert [path.name for path in out.parent.iterdir()] == ["copy"]
    # And once more, from ours to ours.
    again = tmp_path / "again"
    write_dataset(as_read(out), again)
    assert_same(old, as_read(again))


@pytest.mark.real
@pytest.mark.parametrize("name", ["stare", "camvid", "ctc_phc_u373", "msd_hippocampus", "dsb2018"])
def test_real_sets_read_back_the_same(name: str, tmp_path: Path) -> None:
    if not (DATA / name).exists():
        pytest.skip(f"no {name} beside the checkout")
    old = read_dataset(DATA / name)
    assert_same(old, read_dataset(write_dataset(old, tmp_path / "copy")))


# -------------------------------------------------------------------------------------- files


def test_single_files_are_copied_byte_for_byte(tmp_path: Path) -> None:
    root = tmp_path / "set"
    ours(root)
    out = write_dataset(as_read(root), tmp_path / "copy", meta={"licence": "CC0"})
    for k in range(6):
        for old, new in (
            (f"images/a{k}.jpg", f"images/a{k}.jpg"),
            (f"masks/a{k}_mask.png", f"masks/a{k}.png"),
            (f"fov/a{k}.png", f"fov/a{k}.png"),
        ):
            assert filecmp.cmp(root / old, out / new, shallow=False)
    said = json.loads((out / "meta.json").read_text())
    assert said["licence"] == "CC0"
    assert said["from"] == "set"
    assert "6 cases" in said["layout"]
    assert json.loads((out / "split.json").read_text())["partial"] == ["a5"]
    assert json.loads((out / "classes.json").read_text())["9"] == "ignored (ignore)"


def test_place_and_spacing_stay(tmp_path: Path) -> None:
    root = tmp_path / "set"
    modalities(root)
    out = write_dataset(as_read(root), tmp_path / "copy")
    old, new = (nibabel.load(path) for path in (
        root / "labelsTr" / "case0.nii.gz", out / "images" / "case0.nii.gz"))  # fmt: skip
    np.testing.assert_allclose(new.affine, old.affine)
    assert new.shape == (*old.shape, 2)
    shutil.rmtree(root)
    maps(root)
    out = write_dataset(as_read(root), tmp_path / "maps")
    with (
        rasterio.open(root / "images" / "tile_2.tif") as first,
        rasterio.open(out / "images" / "tile_2.tif") as second,
    ):
        assert first.transform == second.transform
        assert second.crs == first.crs
        assert second.nodata == -9999


def test_pictures_of_several_files_become_one(tmp_path: Path) -> None:
    itk = pytest.importorskip("SimpleITK")
    root = tmp_path / "set"
    for k in range(3):
        for folder, pixels in (("images", picture(k)), ("masks", (blobs(k) > 0).astype(np.uint8))):
            (root / folder).mkdir(parents=True, exist_ok=True)
            stack = itk.GetImageFromArray(np.stack([pixels] * 5))
            stack.SetSpacing((0.5, 0.5, 2.0))
            itk.WriteImage(stack, str(root / folder / f"v{k}.mhd"))
    old = read_dataset(root)
    out = write_dataset(old, tmp_path / "copy")
    assert not list(out.rglob("*.mhd"))
    assert_same(old, read_dataset(out))
    np.testing.assert_allclose(read_image(out / "images" / "v0.nii.gz").spacing, (2, 0.5, 0.5))


def test_few_objects_stay_objects(tmp_path: Path) -> None:
    root = tmp_path / "set"
    coco(root, 1, most=2)  # which could be two classes
    old = read_dataset(root)
    assert old.task.kind == "instances"
    out = write_dataset(old, tmp_path / "copy")
    assert_same(old, read_dataset(out))
    found = [np.unique(read_labels(path)).tolist() for path in sorted((out / "masks").iterdir())]
    assert found == [[0, 65, 66], [0, 67, 68], [0, 69, 70], [0, 71, 72]]


def test_objects_in_pieces_become_a_class(tmp_path: Path) -> None:
    root = tmp_path / "set"
    coco(root, 1, most=3)
    listed = root / "annotations" / "instances_all.json"
    content = json.loads(listed.read_text())
    for one in content["annotations"]:
        one["segmentation"].append([2, 33, 8, 33, 8, 39, 2, 39] if one["id"] % 2 else
                                   [38, 2, 46, 2, 46, 9, 38, 9])  # fmt: skip
    listed.write_text(json.dumps(content))
    old = read_dataset(root)
    new = read_dataset(write_dataset(old, tmp_path / "copy"))
    for one, other in zip(old.cases, new.cases, strict=True):
        np.testing.assert_array_equal(new.load(other).labels, old.load(one).labels)


def test_colours_become_indices(tmp_path: Path) -> None:
    root = tmp_path / "set"
    colours(root)
    out = write_dataset(read_dataset(root), tmp_path / "copy")
    mask = read_labels(out / "masks" / "t1.png")
    expected = np.where(blobs(1) % 4 == 3, 255, blobs(1) % 4)
    np.testing.assert_array_equal(mask, expected)


def test_something_else_can_be_written(tmp_path: Path) -> None:
    root = tmp_path / "set"
    ours(root)
    old = as_read(root)

    def mend(case: Case) -> Instead:
        if case.id == "a0":
            return Instead(labels=np.where(blobs(0) == 1, -1, blobs(0) > 2).astype(np.int16))
        if case.id == "a1":
            return Instead(image=Image(np.full((3, *SPACE), 7, np.uint8)))
        return Instead()

    calls: list[tuple[int, int]] = []
    out = write_dataset(
        old, tmp_path / "copy", mend=mend, on_case=lambda a, b: calls.append((a, b))
    )
    assert calls == [(k, 6) for k in range(1, 7)]
    new = as_read(out)
    assert (new.load(new.cases[1]).image == 7).all()
    expected = np.where(blobs(0) == 1, -1, blobs(0) > 2)
    np.testing.assert_array_equal(new.load(new.cases[0]).labels, expected)
    np.testing.assert_array_equal(new.load(new.cases[2]).labels, old.load(old.cases[2]).labels)


def test_names_that_no_file_can_have() -> None:
    ids = ["a", "x/y", "x_y", ".hidden", "scan.ome", "b.nii", "tab\t", "", "Ä", "a.b"]
    names = file_names(ids)
    assert len({*names.values()}) == len(ids)
    assert names["a"] == "a"
    assert names["a.b"] == "a.b"
    assert names["Ä"] == "Ä"
    for name in names.values():
        assert name == Path(name).name
        for suffix in (".png", ".tif", ".nii.gz", ".zarr"):
            assert stem(name + suffix) == name


# ------------------------------------------------------------------------------------- refusals


def test_what_is_there_is_never_touched(tmp_path: Path) -> None:
    root = tmp_path / "set"
    ours(root)
    dataset = as_read(root)
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("x")
    for target, what in (
        (full, "is not empty"),
        (full / "mine.txt", "is a file"),
        (root, "lies inside the set"),
        (root / "copy", "lies inside the set"),
        (root / "images" / ".." / "copy", "lies inside the set"),
        (full / "mine.txt" / "copy", "cannot be written"),
        (tmp_path, "is not empty"),
    ):
        with pytest.raises(InputError, match=what) as caught:
            write_dataset(dataset, target)
        assert caught.value.cure
    assert [path.name for path in full.iterdir()] == ["mine.txt"]
    assert not (root / "copy").exists()
    empty = tmp_path / "empty"
    empty.mkdir()
    write_dataset(dataset, empty)
    assert len(as_read(empty).cases) == 6


def test_it_is_whole_or_not_there(tmp_path: Path) -> None:
    root = tmp_path / "set"
    ours(root)
    dataset = as_read(root)
    (root / "images" / "a3.jpg").unlink()
    with pytest.raises(InputError, match=r"a3\.jpg"):
        write_dataset(dataset, tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_blobs_are_what_they_should_be() -> None:
    for k in range(9):
        assert ndimage.label(blobs(k) > 0)[1] == 5
