"""Every problem that `check` knows is planted into a sound set, found, and found alone."""

from __future__ import annotations

import io
import json
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from unetkit.data import Problem, check, read_dataset, summary
from unetkit.data.checks import across, from_error, inspect, judge
from unetkit.data.synthetic import KINDS, make
from unetkit.errors import InputError
from unetkit.image import read_image, read_labels, stem

Array = NDArray[Any]

DATA = Path(__file__).parents[1].parent / "shared" / "data"
SPACE = (24, 32)
NAMES = {"train": ["a0", "a1", "a2"], "val": ["a3"], "test": ["a4", "a5"]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for k in range(6):
        image = generator.random((*SPACE,), np.float32)
        labels = np.zeros(SPACE, np.uint8)
        labels[5 + k : 15, 8:20] = 255
        tifffile.imwrite(tmp_path / "images" / f"a{k}.tif", image)
        Pillow.fromarray(labels).save(tmp_path / "masks" / f"a{k}.png")
    (tmp_path / "split.json").write_text(json.dumps(NAMES))
    return tmp_path


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give a generated set of a kind; made once, not to be changed."""
    base = tmp_path_factory.mktemp("sound")

    def give(kind: str) -> Path:
        size = (10, 64, 64) if kind == "volume" else (128, 128)
        folder = base / kind
        if not folder.exists():
            make(kind, folder, count=10, size=size, seed=1)
        return folder

    return give


@pytest.fixture
def fresh(tmp_path: Path, sound: Callable[[str], Path]) -> Callable[[str], Path]:
    """Give a copy of a generated set; masks of objects or classes become 0 and 255."""

    def give(kind: str) -> Path:
        root = tmp_path / kind
        shutil.copytree(sound(kind), root)
        for mask in (root / "masks").iterdir():
            if mask.suffix == ".png":
                Pillow.fromarray(((read_labels(mask) > 0) * 255).astype(np.uint8)).save(mask)
        (root / "groups.json").unlink(missing_ok=True)
        return root

    return give


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, problems
    assert problems[0].cure
    return problems[0]


def codes(root: Path) -> set[tuple[str, str]]:
    """Give what was found: the code, and the file or "set"."""
    found = check(root)
    assert all(problem.cure and problem.code != "other" for problem in found), found
    return {(p.code, "set" if Path(p.where) == root else Path(p.where).name) for p in found}


def labels(root: Path, name: str, content: np.ndarray) -> None:
    Pillow.fromarray(content).save(root / "masks" / f"{name}.png")


def change(root: Path, name: str, position: object, value: object) -> None:
    image = tifffile.imread(root / "images" / f"{name}.tif")
    image[position] = value
    tifffile.imwrite(root / "images" / f"{name}.tif", image)


def names(root: Path, part: str | None = None) -> list[str]:
    split = json.loads((root / "split.json").read_text())
    return [name for key, ids in split.items() if part in (None, key) for name in ids]


def change_mask(root: Path, name: str, how: Callable[[Array], Array]) -> None:
    (path,) = (root / "masks").glob(f"{name}.*")
    changed = np.ascontiguousarray(how(read_labels(path)))
    if path.name.endswith(".nii.gz"):
        nibabel.save(nibabel.Nifti1Image(changed.T, nibabel.load(path).affine), path)
    else:
        Pillow.fromarray(changed).save(path)


def change_image(root: Path, name: str, how: Callable[[Pillow.Image], Pillow.Image]) -> None:
    (path,) = (root / "images").glob(f"{name}.*")
    picture = how(Pillow.open(path))
    picture.load()
    path.unlink()
    picture.save(path.with_suffix(".png"))


def jpeg(mask: Array, quality: int = 80) -> Array:
    stream = io.BytesIO()
    Pillow.fromarray(mask).save(stream, "JPEG", quality=quality)
    return np.asarray(Pillow.open(stream))


def halved(mask: Array) -> Array:
    picture = Pillow.fromarray(mask)
    small = picture.resize((mask.shape[1] // 2, mask.shape[0] // 2), Pillow.Resampling.BILINEAR)
    return np.asarray(small.resize(picture.size, Pillow.Resampling.BILINEAR))


# ---------------------------------------------------------------------------------- sound sets


def test_a_sound_set_has_no_problem(root: Path) -> None:
    assert check(root) == []
    assert check(str(root)) == []
    assert check(read_dataset(root)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_generated_sets_are_sound(kind: str, sound: Callable[[str], Path]) -> None:
    assert check(sound(kind)) == []


@pytest.mark.parametrize("count", [1, 3])
def test_sets_of_one_and_three_are_sound(root: Path, count: int) -> None:
    for k in range(count, 6):
        (root / "images" / f"a{k}.tif").unlink()
        (root / "masks" / f"a{k}.png").unlink()
    (root / "split.json").unlink()
    assert check(root) == []


# ---------------------------------------------------------------------------------- one case


def test_unpaired(root: Path) -> None:
    (root / "masks" / "a2.png").unlink()
    problem = only(check(root))
    assert (problem.severity, problem.code) == ("error", "unpaired")
    assert problem.where.endswith("a2.tif")
    assert "has no mask" in problem.what
    (root / "images" / "a3.tif").unlink()
    # a3 is gone from val as well, and split.json still names it
    found = " ".join(problem.what for problem in check(root))
    assert "the mask has no image" in found
    assert "val names a3" in found
    assert {problem.code for problem in check(root)} == {"unpaired", "split"}


@pytest.mark.parametrize(
    ("content", "severity", "code", "what"),
    [
        (np.zeros(SPACE, np.uint8), "warning", "empty-mask", "the mask is empty"),
        (np.full(SPACE, 255, np.uint8), "warning", "full-mask", "the mask is full"),
        (
            np.zeros((24, 30), np.uint8),
            "error",
            "size",
            "the mask is 24 × 30 and its image 24 × 32",
        ),
        (np.zeros((32, 24), np.uint8), "error", "turned", "the mask is 32 × 24"),
        (np.arange(24 * 32, dtype=np.uint8).reshape(SPACE), "error", "values", "unexpected"),
    ],
)
def test_masks(root: Path, content: np.ndarray, severity: str, code: str, what: str) -> None:
    labels(root, "a1", content)
    problem = only(check(root))
    assert (problem.severity, problem.code) == (severity, code)
    assert problem.where.endswith("masks/a1.png")
    assert what in problem.what


def test_unreadable_files_do_not_stop_it(root: Path) -> None:
    for name, folder in (("a0.tif", "images"), ("a1.png", "masks")):
        path = root / folder / name
        path.write_bytes(path.read_bytes()[:-200] if folder == "images" else b"\x89PNG")
    labels(root, "a4", np.zeros(SPACE, np.uint8))
    problems = check(root)
    assert [problem.code for problem in problems] == ["unreadable", "unreadable", "empty-mask"]
    assert {Path(problem.where).name for problem in problems} == {"a0.tif", "a1.png", "a4.png"}


def test_odd_pixels(root: Path) -> None:
    change(root, "a1", (0, slice(0, 3)), (np.nan, np.inf, -np.inf))
    problem = only(check(root))
    assert (problem.severity, problem.code) == ("warning", "not-finite")
    assert problem.what.startswith("3 pixels are NaN or infinite (0.39%)")
    mask = np.asarray(Pillow.open(root / "masks" / "a1.png")).astype(np.int16)
    mask[0, :3] = -1
    (root / "masks" / "a1.png").unlink()
    tifffile.imwrite(root / "masks" / "a1.tif", mask)
    assert check(root) == []


def test_constant_images_and_channels(root: Path) -> None:
    change(root, "a1", ..., 7)
    problem = only(check(root))
    assert (problem.what, problem.code) == ("the image is constant", "constant")
    for k, path in enumerate(sorted((root / "images").iterdir())):
        two = np.stack([np.random.default_rng(k).random(SPACE), np.zeros(SPACE)])
        tifffile.imwrite(path, two, photometric="minisblack", planarconfig="separate")
    problems = check(root)
    assert len(problems) == 6
    assert {problem.what for problem in problems} == {"channel 1 of it is constant"}


@pytest.mark.parametrize("quality", [60, 92, 100])
def test_masks_saved_as_jpeg(fresh: Callable[[str], Path], quality: int) -> None:
    root = fresh("roads")
    one, other = names(root)[:2]
    change_mask(root, one, lambda mask: jpeg(mask, min(quality, 92)))
    path = root / "masks" / f"{other}.png"
    Pillow.open(path).save(path.with_suffix(".jpg"), quality=quality)
    path.unlink()
    assert codes(root) == {("jpeg-mask", f"{one}.png"), ("jpeg-mask", f"{other}.jpg")}


@pytest.mark.parametrize("kind", ["cells", "membranes", "roads"])
def test_masks_resized_with_smoothing(fresh: Callable[[str], Path], kind: str) -> None:
    root = fresh(kind)
    one = names(root)[2]
    change_mask(root, one, halved)
    assert codes(root) == {("resized-mask", f"{one}.png")}


def test_classes_and_objects_resized_with_smoothing(
    sound: Callable[[str], Path], tmp_path: Path
) -> None:
    root = tmp_path / "set"
    shutil.copytree(sound("cells"), root)
    one = names(root)[2]

    def smoothed(ids: Array) -> Array:
        small = ndimage.zoom(ids.astype(float), 0.5, order=1)
        return np.rint(ndimage.zoom(small, 2, order=1)).astype(ids.dtype)

    change_mask(root, one, smoothed)
    assert ("resized-mask", f"{one}.png") in codes(root)


def test_whole_sets_of_smoothed_masks(fresh: Callable[[str], Path]) -> None:
    root = fresh("vessels")
    for name in names(root):
        change_mask(root, name, halved)
    found = check(root)
    assert found
    assert {problem.code for problem in found} <= {"resized-mask", "other"}
    assert "resized-mask" in {problem.code for problem in found}


# ------------------------------------------------------------------------- masks and images


@pytest.mark.parametrize("kind", ["cells", "vessels", "membranes", "roads", "volume"])
def test_shifted_masks(fresh: Callable[[str], Path], kind: str) -> None:
    root = fresh(kind)
    one = names(root)[3]
    suffix = ".nii.gz" if kind == "volume" else ".png"
    change_mask(root, one, lambda mask: np.roll(mask, (11, -9), (-2, -1)))
    assert codes(root) == {("shifted", f"{one}{suffix}")}
    problem = only(check(root))
    assert problem.severity == "error"
    assert "down" in problem.what
    assert "left" in problem.what
    for name in names(root):
        if name != one:
            change_mask(root, name, lambda mask: np.roll(mask, (11, -9), (-2, -1)))
    assert codes(root) == {("shifted", "set")}


@pytest.mark.parametrize("kind", ["cells", "vessels", "membranes", "roads", "volume"])
@pytest.mark.parametrize("how", ["transposed", "mirrored"])
def test_turned_masks(fresh: Callable[[str], Path], kind: str, how: str) -> None:
    root = fresh(kind)
    one = names(root)[3]

    def turn(mask: Array) -> Array:
        return mask.swapaxes(-1, -2) if how == "transposed" else mask[..., ::-1]

    suffix = ".nii.gz" if kind == "volume" else ".png"
    change_mask(root, one, turn)
    assert codes(root) == {("turned", f"{one}{suffix}")}
    assert how in only(check(root)).what
    for name in names(root):
        if name != one:
            change_mask(root, name, turn)
    assert codes(root) == {("turned", "set")}


@pytest.mark.parametrize("kind", ["cells", "vessels", "membranes", "roads"])
def test_inverted_masks(fresh: Callable[[str], Path], kind: str) -> None:
    root = fresh(kind)
    some = names(root)[2:5]
    for name in some:
        change_mask(root, name, lambda mask: 255 - mask)
    assert codes(root) == {("inverted", f"{name}.png") for name in some}


@pytest.mark.parametrize("kind", ["cells", "vessels"])
def test_sets_of_inverted_masks_give_a_hint(fresh: Callable[[str], Path], kind: str) -> None:
    root = fresh(kind)
    for name in names(root):
        change_mask(root, name, lambda mask: 255 - mask)
    problem = only(check(root))
    assert (problem.severity, problem.code) == ("warning", "inverted")
    assert "may be inverted" in problem.what


# --------------------------------------------------------------------------------- duplicates


def test_duplicates(root: Path) -> None:
    # The same pixels in another format: a PNG cannot hold floats, so whole numbers are used.
    for k in range(6):
        pixels = np.random.default_rng(50 if k in (0, 4) else k).integers(0, 256, SPACE, np.uint8)
        tifffile.imwrite(root / "images" / f"a{k}.tif", pixels)
    (root / "images" / "a4.tif").unlink()
    pixels = np.random.default_rng(50).integers(0, 256, SPACE, np.uint8)
    Pillow.fromarray(pixels).save(root / "images" / "a4.png")
    problem = only(check(root))
    assert (problem.severity, problem.code) == ("error", "duplicate")
    assert "a0 (train), a4 (test)" in problem.what
    (root / "images" / "a4.png").unlink()
    other = np.random.default_rng(51).integers(0, 256, SPACE, np.uint8)
    tifffile.imwrite(root / "images" / "a4.tif", other)
    tifffile.imwrite(root / "images" / "a1.tif", pixels)
    problem = only(check(root))
    assert problem.severity == "warning"
    assert "a0 (train), a1 (train)" in problem.what


def _jpeg(picture: Pillow.Image) -> Pillow.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=60)
    return Pillow.open(stream)


CHANGES: dict[str, Callable[[Pillow.Image], Pillow.Image]] = {
    "jpeg": _jpeg,
    "smaller": lambda p: p.resize((90, 90), Pillow.Resampling.LANCZOS),
    "larger": lambda p: p.resize((200, 200), Pillow.Resampling.BICUBIC),
    "darker": lambda p: p.point(lambda v: v * 0.7 + 10),
    "mirrored": lambda p: p.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT),
    "turned": lambda p: p.transpose(Pillow.Transpose.ROTATE_90),
    "all": lambda p: _jpeg(p.transpose(Pillow.Transpose.TRANSVERSE).resize((100, 100)).point(
        lambda v: v * 0.9)),
}  # fmt: skip


TURNED = {
    "mirrored": Pillow.Transpose.FLIP_LEFT_RIGHT,
    "turned": Pillow.Transpose.ROTATE_90,
    "all": Pillow.Transpose.TRANSVERSE,
}


@pytest.mark.parametrize("kind", ["vessels", "roads", "cells"])
@pytest.mark.parametrize("how", CHANGES)
def test_near_duplicates(fresh: Callable[[str], Path], kind: str, how: str) -> None:
    root = fresh(kind)
    shutil.rmtree(root / "fov", ignore_errors=True)
    source, copy = names(root, "train")[1], names(root, "test")[0]
    picture = CHANGES[how](Pillow.open(root / "images" / f"{source}.png"))
    mask = Pillow.open(root / "masks" / f"{source}.png")
    for turn, word in (
        ("FLIP_LEFT_RIGHT", "mirrored"),
        ("ROTATE_90", "turned"),
        ("TRANSVERSE", "all"),
    ):
        mask = mask.transpose(getattr(Pillow.Transpose, turn)) if how == word else mask
    mask.resize(picture.size, Pillow.Resampling.NEAREST).save(root / "masks" / f"{copy}.png")
    picture.save(root / "images" / f"{copy}.png")
    assert codes(root) == {("near-duplicate", f"{copy}.png")}
    what = only(check(root)).what
    assert f"{copy} (test)" in what
    assert f"{source} (train)" in what
    # Within one split it is nobody's business.
    split = json.loads((root / "split.json").read_text())
    split["train"].append(split["test"].pop(0))
    (root / "split.json").write_text(json.dumps(split))
    assert codes(root) == set()


def test_many_near_duplicates_are_summed_up(fresh: Callable[[str], Path]) -> None:
    root = fresh("roads")
    generator = np.random.default_rng(0)
    split: dict[str, list[str]] = {"train": [], "test": []}
    for name in names(root):
        for k in range(4):
            for folder in ("images", "masks"):
                shutil.copy(root / folder / f"{name}.png", root / folder / f"{name}x{k}.png")
            path = root / "images" / f"{name}x{k}.png"
            noise = generator.normal(0, 3, np.asarray(Pillow.open(path)).shape)
            changed = np.clip(np.asarray(Pillow.open(path)) + noise, 0, 255).astype(np.uint8)
            Pillow.fromarray(changed).save(path)
            split["train" if k == 0 else "test"].append(f"{name}x{k}")
    (root / "split.json").write_text(json.dumps(split))
    found = [problem for problem in check(root) if problem.code == "near-duplicate"]
    assert len(found) == 21
    assert "more pairs" in found[-1].what
    assert Path(found[-1].where) == root


# ------------------------------------------------------------------------------ measurements


def test_clipped_images(fresh: Callable[[str], Path]) -> None:
    root = fresh("membranes")
    one, other = names(root)[1:3]
    level = np.percentile(np.asarray(Pillow.open(root / "images" / f"{one}.png")), 55)
    change_image(root, one, lambda picture: picture.point(lambda v: min(255, v * 255 / level)))
    # Of what is drawn, more than half becomes black.
    mask = np.asarray(Pillow.open(root / "masks" / f"{other}.png")) > 0
    pixels = np.asarray(Pillow.open(root / "images" / f"{other}.png"))
    level = np.percentile(pixels[mask], 70)
    change_image(root, other, lambda picture: picture.point(lambda v: max(0, v - level)))
    found = check(root)
    assert {(p.code, stem(p.where)) for p in found} == {("saturated", one), ("saturated", other)}
    assert "greatest" in next(p.what for p in found if stem(p.where) == one)
    assert "least" in next(p.what for p in found if stem(p.where) == other)
    for name in names(root):
        if name not in (one, other):
            change_image(root, name, lambda picture: picture.point(lambda v: min(255, v * 3)))
    assert ("saturated", 1) in {(p.code, len(check(root)) - 1) for p in check(root)}


def test_black_surroundings_are_none(fresh: Callable[[str], Path]) -> None:
    root = fresh("cells")
    for name in names(root):
        mask = ndimage.binary_dilation(
            read_labels(root / "masks" / f"{name}.png") > 0, iterations=2
        )

        def darkened(picture: Pillow.Image, mask: Array = mask) -> Pillow.Image:
            return Pillow.fromarray(np.where(mask, np.asarray(picture), 0).astype(np.uint8))

        change_image(root, name, darkened)
    assert codes(root) == set()


def test_mixed_types_and_scales(fresh: Callable[[str], Path]) -> None:
    root = fresh("roads")
    for name in names(root)[:3]:
        path = root / "images" / f"{name}.png"
        pixels = np.asarray(Pillow.open(path))
        path.unlink()
        tifffile.imwrite(path.with_suffix(".tif"), pixels.astype(np.uint16) * 256)
    assert {problem.code for problem in check(root)} == {"types", "scales"}
    assert "7 uint8, 3 uint16" in " ".join(problem.what for problem in check(root))
    assert "3 images" in " ".join(problem.what for problem in check(root))
    for name in names(root)[:3]:
        path = root / "images" / f"{name}.tif"
        tifffile.imwrite(path, (tifffile.imread(path) // 200).astype(np.uint16))
    assert {problem.code for problem in check(root)} == {"types"}


def test_mixed_channels_and_axes(fresh: Callable[[str], Path]) -> None:
    root = fresh("cells")
    one, other = names(root)[:2]
    change_image(root, one, lambda picture: picture.convert("RGB"))
    path = root / "images" / f"{other}.png"
    pixels = np.asarray(Pillow.open(path))
    path.unlink()
    tifffile.imwrite(path.with_suffix(".tif"), np.stack([pixels] * 5), metadata={"axes": "ZYX"})
    found = {(p.code, stem(p.where)) for p in check(root)}
    assert ("channels", one) in found
    assert ("axes", other) in found or ("size", other) in found


def test_mixed_spacing(fresh: Callable[[str], Path]) -> None:
    root = fresh("volume")
    paths = sorted((root / "images").iterdir())

    def scale(path: Path, factor: float) -> None:
        volume = nibabel.load(path)
        data = np.asarray(volume.dataobj)
        nibabel.save(nibabel.Nifti1Image(data, volume.affine * [factor, 1, 1, 1]), path)

    scale(paths[0], 1.005)
    assert codes(root) == set()
    scale(paths[1], 1.5)
    assert codes(root) == {("spacing", paths[1].name)}
    assert "in 1 of 10 images" in only(check(root)).what


# ------------------------------------------------------------------------------------ the set


def test_absent_classes(root: Path) -> None:
    (root / "classes.json").write_text('{"0": "background", "255": "cell", "9": "mitosis"}')
    problem = only(check(root))
    assert (problem.what, problem.code) == ("the class mitosis is in no mask", "absent-class")
    content = np.zeros(SPACE, np.uint8)
    content[:9], content[9:12] = 255, 9
    labels(root, "a4", content)
    assert [problem.what for problem in check(root)] == [
        "the class mitosis is in no mask of train",
        "the class mitosis is in no mask of val",
    ]


def test_ignored_masks_and_empty_fields_of_view(root: Path) -> None:
    (root / "classes.json").write_text('{"0": "background", "255": "cell", "9": "(ignore)"}')
    labels(root, "a1", np.full(SPACE, 9, np.uint8))
    assert "no pixel of the mask counts" in only(check(root)).what
    (root / "fov").mkdir()
    Pillow.fromarray(np.zeros(SPACE, np.uint8)).save(root / "fov" / "a2.png")
    problems = check(root)
    assert problems[0].what == "the field of view is empty"
    assert problems[0].severity == "error"


def test_colliding_names(root: Path) -> None:
    generator = np.random.default_rng(8)

    def add(name: str) -> None:
        tifffile.imwrite(root / "images" / f"{name}.tif", generator.random(SPACE, np.float32))
        shutil.copy(root / "masks" / "a0.png", root / "masks" / f"{name}.png")

    add("A1")
    problem = only(check(root))
    assert (problem.severity, problem.code) == ("warning", "names")
    assert "capitals" in problem.what
    for form in ("NFC", "NFD"):
        add(unicodedata.normalize(form, "Zürich"))
    found = check(root)
    if len(list((root / "images").iterdir())) == 9:  # a disk may take the two for one
        assert [problem.code for problem in found] == ["names", "names"]
        assert "accent" in found[1].what + found[0].what


def test_groups_spread_over_splits(root: Path) -> None:
    groups = {f"a{k}": f"patient{k // 2}" for k in range(6)}
    (root / "groups.json").write_text(json.dumps(groups))
    problem = only(check(root))  # a0 a1 | a2 a3 | a4 a5, and train ends after a2
    assert (problem.severity, problem.code) == ("error", "leak")
    assert "patient1 is spread over splits (train has a2, val has a3)" in problem.what
    (root / "groups.json").write_text(
        json.dumps({f"a{k}": "one" for k in range(4)} | {"a4": "b", "a5": "b"})
    )
    assert check(root) == []  # val must be taken from the only group there is


def test_frames_spread_over_splits(root: Path) -> None:
    split: dict[str, list[str]] = {}
    for k in range(6):
        name = f"0{1 + k % 2}_t{k:03d}"
        (root / "images" / f"a{k}.tif").rename(root / "images" / f"{name}.tif")
        (root / "masks" / f"a{k}.png").rename(root / "masks" / f"{name}.png")
        split.setdefault("test" if k > 3 else "val" if k == 3 else "train", []).append(name)
    (root / "split.json").write_text(json.dumps(split))
    problem = only(check(root))
    assert (problem.severity, problem.code) == ("warning", "leak")
    assert "2 of 2 groups" in problem.what


def test_damaged_groups(root: Path) -> None:
    (root / "groups.json").write_text('{"a0": "x"}')
    assert "says nothing of a1" in " ".join(problem.what for problem in check(root))


def test_a_tiny_train_split(fresh: Callable[[str], Path]) -> None:
    root = fresh("roads")
    all_names = names(root)
    split = {"train": all_names[:1], "val": all_names[1:2], "test": all_names[2:]}
    (root / "split.json").write_text(json.dumps(split))
    assert codes(root) == {("small-train", "set")}
    assert "1 case beside 1 val, 8 test" in only(check(root)).what


def test_what_cannot_be_a_set_is_one_problem(tmp_path: Path) -> None:
    assert only(check(tmp_path)).severity == "error"
    assert "no such folder" in only(check(tmp_path / "nowhere")).what
    assert inspect(tmp_path)[0] == {}


@pytest.mark.parametrize(
    ("what", "cure", "code"),
    [
        ("the image has no mask (and 3 more of 9)", "", "unpaired"),
        ("the mask is 3 × 4 and its image 4 × 3 (y, x)", "it looks transposed: exchange", "turned"),
        ("the mask is 3 × 4 and its image 5 × 3 (y, x)", "make the mask of the size", "size"),
        ("the field of view is 3 × 4 and its image 4 × 3 (y, x)", "", "size"),
        ("cannot be read as png (broken)", "", "unreadable"),
        ("the file is empty", "", "unreadable"),
        ("holds PNG data under the suffix .jpg", "rename it to a.png", "unreadable"),
        ("the mask holds colours (such as #FF0000), not class numbers", "", "values"),
        ("the mask holds fractions, NaN or numbers beyond 32 bits", "", "values"),
        ("has 3 channels where most images have 1", "", "channels"),
        ("is 3D where most images are 2D", "", "axes"),
        ("train names x, which is no image here", "", "split"),
        ("a is in both train and test", "", "split"),
        ("has the same name as a.png", "", "names"),
        ("something new", "", "other"),
    ],
)
def test_complaints_have_codes(what: str, cure: str, code: str) -> None:
    assert from_error(InputError(what, where="x", cure=cure)).code == code


def test_a_case_and_a_set_can_be_judged_apart(root: Path) -> None:
    labels(root, "a1", np.zeros(SPACE, np.uint8))
    dataset = read_dataset(root, pixels=True)
    case = dataset.cases[1]
    assert [p.code for p in judge(case, dataset.looks["a1"], dataset.task)] == ["empty-mask"]
    assert list(across(dataset, dataset.looks)) == []
    blind = replace(dataset.looks["a1"], signs=None, faults=(InputError("is gone", where="x"),))
    assert [p.what for p in judge(case, blind, dataset.task)] == ["is gone"]


def test_a_set_in_memory_is_looked_at_anew(root: Path) -> None:
    dataset = read_dataset(root)  # whose images were not decoded
    change(root, "a1", ..., 7)
    assert only(check(dataset)).code == "constant"


# ----------------------------------------------------------------------------------- contents


def test_summary(root: Path) -> None:
    content = np.zeros(SPACE, np.uint8)
    content[:12] = 255
    for k in range(6):
        labels(root, f"a{k}", content)
    (root / "fov").mkdir()
    half = np.zeros(SPACE, np.uint8)
    half[:, :16] = 255
    Pillow.fromarray(half).save(root / "fov" / "a0.png")
    (root / "groups.json").write_text(json.dumps({f"a{k}": f"patient{k // 2}" for k in range(6)}))
    dataset = read_dataset(root)
    found = summary(dataset, dataset.looks)
    assert found == summary(dataset) == inspect(root)[0]
    assert found["split"] == {"train": 3, "val": 1, "test": 2}
    assert found["cases"] == 6
    assert found["groups"] == 3
    assert found["dtype"] == {"float32": 6}
    assert found["classes"] == {"background": 0.5, "foreground": 0.5}
    assert found["ignored"] == pytest.approx(1 / 12, abs=1e-5)
    assert found["sizes"] == {"smallest": [24, 32], "median": [24, 32], "largest": [24, 32]}
    assert (found["fov"], found["observers"]) == (1, 0)
    json.dumps(found)


def test_shares_of_grey_masks_saved_in_three_channels(root: Path) -> None:
    expected = summary(read_dataset(root))["classes"]
    for path in (root / "masks").iterdir():
        Pillow.open(path).convert("RGB").save(path)
    assert check(root) == []
    assert summary(read_dataset(root))["classes"] == expected


def test_a_pass_is_counted_and_remembered(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    calls: list[tuple[int, int]] = []
    labels(root, "a1", np.zeros(SPACE, np.uint8))
    first = inspect(root, cache=cache, on_case=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (6, 6)
    assert inspect(root, cache=cache) == first


# ----------------------------------------------------------------------------------- real sets


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stare", set()),
        ("drive", set()),
        ("isbi2012_em", set()),
        ("dsb2018", set()),
        ("ph2", set()),
        ("ctc_phc_psc", set()),
        ("ctc_phc_u373", set()),
        # The drive of the test frames is in train too, as the set's own page says.
        ("camvid", {"leak"}),
        # Volumes of 8 bits beside floating-point ones of up to 1.7 million.
        ("msd_hippocampus", {"types", "scales"}),
        ("sen1floods11", {"empty-mask"}),
        ("dubai_aerial", {"absent-class"}),
    ],
)
def test_real_sets(name: str, expected: set[str]) -> None:
    if not (DATA / name).exists():
        pytest.skip(f"no {name} beside the checkout")
    assert {problem.code for problem in check(DATA / name)} == expected


@pytest.mark.real
@pytest.mark.parametrize("name", ["stare", "isbi2012_em", "ctc_phc_u373", "dsb2018"])
def test_faults_planted_into_real_sets(name: str, tmp_path: Path) -> None:
    if not (DATA / name).exists():
        pytest.skip(f"no {name} beside the checkout")
    root = tmp_path / name
    shutil.copytree(DATA / name, root)
    split = json.loads((root / "split.json").read_text())
    moved, turned = split["train"][:2]
    change_mask(root, moved, lambda mask: np.roll(mask, (40, 30), (0, 1)))
    change_mask(root, turned, lambda mask: mask[:, ::-1])
    copied = (split.get("test") or split["val"])[0]
    source = split["train"][2]
    picture = read_image(root / "images" / f"{source}.png").data
    mirrored = np.ascontiguousarray(np.moveaxis(picture[:, ::-1], 0, -1).squeeze())
    Pillow.fromarray(mirrored).save(root / "images" / f"{copied}.png")
    mask = read_labels(root / "masks" / f"{source}.png")[::-1]
    Pillow.fromarray(np.ascontiguousarray(mask)).save(root / "masks" / f"{copied}.png")
    for folder in ("fov", "masks2"):
        for name in (source, copied):
            (root / folder / f"{name}.png").unlink(missing_ok=True)
    assert codes(root) == {
        ("shifted", f"{moved}.png"),
        ("turned", f"{turned}.png"),
        ("near-duplicate", f"{copied}.png"),
    }
