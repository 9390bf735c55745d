"""A set with many planted faults is repaired in a copy, and the copy is sound."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from unetkit.data import check, read_dataset
from unetkit.data.repair import repair
from unetkit.data.synthetic import make
from unetkit.errors import InputError
from unetkit.image import read_image, read_labels, stem

Array = NDArray[Any]
SIZE = (128, 128)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make("cells", tmp_path_factory.mktemp("made") / "set", count=20, size=SIZE)


@pytest.fixture
def root(tmp_path: Path, made: Path) -> Path:
    """Give a set of 20 pairs with masks of 0 and 255, cells_00 to cells_19, 12 of them in train."""
    shutil.copytree(made, tmp_path / "set")
    for path in (tmp_path / "set" / "masks").iterdir():
        Pillow.fromarray(((read_labels(path) > 0) * 255).astype(np.uint8)).save(path)
    return tmp_path / "set"


def name_of(number: int) -> str:
    return f"cells_{number:02d}"


def get(root: Path, number: int, folder: str = "masks") -> Array:
    return np.asarray(Pillow.open(root / folder / f"{name_of(number)}.png"))


def put(root: Path, number: int, array: Array, folder: str = "masks", suffix: str = ".png") -> None:
    (root / folder / f"{name_of(number)}.png").unlink(missing_ok=True)
    picture = Pillow.fromarray(np.ascontiguousarray(array))
    picture.save(root / folder / f"{name_of(number)}{suffix}", **(
        {"quality": 80} if suffix == ".jpg" else {}))  # fmt: skip


def tree(root: Path) -> str:
    """Give a hash of all names, contents and times below a folder."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        digest.update(f"{path.relative_to(root)} {path.stat().st_mtime_ns}".encode())
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def notes(out: Path) -> dict[str, list[str]]:
    """Read repairs.csv: file → what was done."""
    found: dict[str, list[str]] = {}
    with (out / "repairs.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["file"], []).append(row["what"])
    return found


def halved(mask: Array, way: Pillow.Resampling = Pillow.Resampling.BILINEAR) -> Array:
    picture = Pillow.fromarray(mask)
    return np.asarray(picture.resize((64, 64), way).resize(SIZE, way))


def ended(root: Path, number: int) -> Array:
    """Read the mask of a case of the copy, whatever its suffix."""
    (path,) = (root / "masks").glob(f"{name_of(number)}.*")
    return read_labels(path)


def agreement(one: Array, other: Array) -> float:
    return float(((one > 0) == (other > 0)).mean())


def test_many_faults_at_once(root: Path, made: Path, tmp_path: Path) -> None:
    sound = {k: get(root, k) for k in range(20)}
    put(root, 0, sound[0], suffix=".jpg")
    put(root, 1, halved(sound[1]))
    put(root, 2, get(root, 2, "images")[:100], "images")
    put(root, 2, sound[2][:100].T)
    (root / "masks" / "cells_03.png").unlink()
    path = root / "images" / "cells_04.png"
    path.write_bytes(path.read_bytes()[:500])
    put(root, 18, get(root, 5, "images"), "images")  # of test; 5 is in train
    put(root, 18, sound[5])
    put(root, 6, (sound[6] > 0).astype(np.uint8))
    (root / "images" / "cells_07.png").rename(root / "images" / "cells_07.tif")
    put(root, 8, np.repeat(get(root, 8, "images")[..., None], 3, -1), "images")
    for folder in ("images", "masks"):
        shutil.copy(root / folder / "cells_10.png", root / folder / "CELLS_10.png")
    put(root, 11, np.full(SIZE, 9, np.uint8), "images")
    put(root, 17, get(root, 12, "images")[:, ::-1], "images")
    put(root, 17, sound[12][:, ::-1])
    pixels = get(root, 13, "images").astype(np.float32)
    pixels[:3, :5] = np.nan
    (root / "images" / "cells_13.png").unlink()
    tifffile.imwrite(root / "images" / "cells_13.tif", pixels)
    split = json.loads((root / "split.json").read_text())
    split["train"].append("nowhere")
    (root / "split.json").write_text(json.dumps(split))
    groups = {stem(path): stem(path).casefold() for path in (root / "images").iterdir()}
    groups |= {"cells_14": "g", "cells_15": "g", "cells_19": "g"}
    (root / "groups.json").write_text(json.dumps(groups))

    before, found = tree(root), {problem.code for problem in check(root)}
    assert found >= {"jpeg-mask", "resized-mask", "turned", "unpaired", "unreadable", "duplicate",
                     "values", "channels", "names", "constant", "near-duplicate", "not-finite",
                     "split", "leak"}  # fmt: skip
    calls: list[tuple[int, int]] = []
    repaired = repair(root, tmp_path / "out", on_case=lambda a, b: calls.append((a, b)))
    assert tree(root) == before
    out = repaired.folder
    assert {problem.code for problem in repaired.left} == {"types"}  # that one image of floats
    assert repaired.left == check(out)
    new = read_dataset(out)
    assert calls[-1] == (len(new.cases), len(new.cases))

    assert agreement(ended(out, 0), sound[0]) > 0.995
    assert agreement(ended(out, 1), sound[1]) > 0.99
    np.testing.assert_array_equal(ended(out, 2), sound[2][:100])
    np.testing.assert_array_equal(ended(out, 6), sound[6])
    np.testing.assert_array_equal(ended(out, 9), sound[9])
    ignored = ended(out, 13)
    assert (ignored[:3, :5] == -1).all()
    assert (ignored < 0).sum() == 15
    np.testing.assert_array_equal(
        read_image(out / "images" / "cells_07.png").data[0], get(made, 7, "images")
    )
    np.testing.assert_array_equal(
        read_image(out / "images" / "cells_08.png").data[0], get(made, 8, "images")
    )
    left = {case.id for case in new.cases}
    assert left == {name_of(k) for k in range(20)} - {name_of(k) for k in (3, 4, 5, 11, 12)}
    assert set(new.split["val"]) >= {"cells_14", "cells_15", "cells_19"}

    said = notes(out)
    assert len(repaired.mended) == sum(map(len, said.values()))
    assert set(said) == {
        "masks/cells_00.jpg", "masks/cells_01.png", "masks/cells_02.png", "images/cells_03.png",
        "images/cells_04.png", "images/cells_05.png", "masks/cells_06.png", "images/cells_07.tif",
        "images/cells_08.png", "images/CELLS_10.png", "images/cells_11.png", "images/cells_12.png",
        "images/cells_13.tif", "split.json",
    }  # fmt: skip
    assert any("moved to val" in what for what in said["split.json"])
    assert any("nowhere" in what for what in said["split.json"])


def test_a_sound_set_is_only_copied(root: Path, tmp_path: Path) -> None:
    repaired = repair(root, tmp_path / "out")
    assert (repaired.mended, repaired.left) == ([], [])
    assert notes(repaired.folder) == {}
    for path in (*(root / "images").iterdir(), *(root / "masks").iterdir()):
        assert (repaired.folder / path.relative_to(root)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("way", ["jpeg", "bilinear", "lanczos"])
def test_all_masks_smoothed(root: Path, tmp_path: Path, way: str) -> None:
    sound = {k: get(root, k) for k in range(20)}
    for k, mask in sound.items():
        if way == "jpeg":
            put(root, k, mask, suffix=".jpg")
        else:
            put(root, k, halved(mask, Pillow.Resampling[way.upper()]))
    repaired = repair(root, tmp_path / "out")
    assert repaired.left == []
    assert len(repaired.mended) == 20
    for k, mask in sound.items():
        assert agreement(ended(repaired.folder, k), mask) > 0.98


def test_two_scales_become_one(root: Path, tmp_path: Path) -> None:
    sound = {k: get(root, k) for k in range(20)}
    for k in range(5):
        put(root, k, (sound[k] > 0).astype(np.uint8))
    repaired = repair(root, tmp_path / "out")
    assert len(repaired.mended) == 5
    assert repaired.left == []
    for k, mask in sound.items():
        np.testing.assert_array_equal(ended(repaired.folder, k), mask)


def test_classes_between_classes(root: Path, tmp_path: Path) -> None:
    sound = {}
    for k in range(20):
        pieces = ndimage.label(get(root, k))[0]
        sound[k] = np.choose(pieces % 4, [0, 3, 7, 12]).astype(np.uint8)
        put(root, k, sound[k])
    values = {"0": "rest", "3": "a", "7": "b", "12": "c"}
    (root / "classes.json").write_text(json.dumps(values))
    put(root, 2, halved(sound[2]))
    put(root, 4, np.where(sound[4] == 7, 9, sound[4]).astype(np.uint8))
    repaired = repair(root, tmp_path / "out")
    assert {problem.code for problem in repaired.left} == set()
    mended = ended(repaired.folder, 2)
    assert set(np.unique(mended)) <= {0, 3, 7, 12}
    assert (mended == sound[2]).mean() > 0.97
    # A number of which nothing is known is not guessed.
    expected = np.where(sound[4] == 7, -1, sound[4].astype(int))
    np.testing.assert_array_equal(ended(repaired.folder, 4), expected)


def test_objects_between_objects(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "set")
    root = tmp_path / "set"
    sound = read_labels(root / "masks" / "cells_02.png")
    small = ndimage.zoom(sound.astype(float), 0.5, order=1)
    smooth = np.rint(ndimage.zoom(small, 2, order=1)).astype(np.uint16)
    Pillow.fromarray(smooth).save(root / "masks" / "cells_02.png")
    repaired = repair(root, tmp_path / "out")
    assert repaired.left == []
    mended = read_labels(repaired.folder / "masks" / "cells_02.png")
    assert (mended == sound).mean() > 0.97 > (smooth == sound).mean()


def test_colours_between_colours(root: Path, tmp_path: Path) -> None:
    palette = np.array([(0, 0, 0), (200, 30, 60), (20, 90, 220)], np.uint8)
    sound = {}
    for k in range(20):
        kind = ndimage.label(get(root, k))[0] % 3
        sound[k] = kind
        put(root, k, palette[kind])
    blurred = Pillow.fromarray(palette[sound[3]]).resize((64, 64), Pillow.Resampling.BILINEAR)
    put(root, 3, np.asarray(blurred.resize(SIZE, Pillow.Resampling.BILINEAR)))
    put(root, 5, palette[sound[5]], suffix=".jpg")
    (root / "classes.json").write_text(
        json.dumps({"#000000": "rest", "#C81E3C": "red", "#145ADC": "blue"})
    )
    repaired = repair(root, tmp_path / "out")
    assert repaired.left == []
    for k in range(20):
        agree = (ended(repaired.folder, k) == sound[k]).mean()
        assert agree == 1 if k not in (3, 5) else agree > 0.95


def test_probabilities(root: Path, tmp_path: Path) -> None:
    sound = get(root, 3)
    soft = ndimage.gaussian_filter((sound > 0).astype(np.float32), 1)
    soft[0, 0], soft[0, 1] = 0, 1
    (root / "masks" / "cells_03.png").unlink()
    tifffile.imwrite(root / "masks" / "cells_03.tif", soft)
    repaired = repair(root, tmp_path / "out")
    assert repaired.left == []
    np.testing.assert_array_equal(ended(repaired.folder, 3), (soft >= 0.5) * 255)


def test_turned_masks_take_the_way_that_fits(root: Path, tmp_path: Path) -> None:
    for k in range(20):  # not square, and a quarter turn rather than a transposition
        put(root, k, get(root, k, "images")[:100], "images")
        put(root, k, get(root, k)[:100])
    sound = get(root, 4)
    put(root, 4, np.rot90(sound))
    repaired = repair(root, tmp_path / "out")
    assert repaired.left == []
    np.testing.assert_array_equal(ended(repaired.folder, 4), sound)


def test_names_that_other_disks_take_for_one(root: Path, tmp_path: Path) -> None:
    for number, name in ((0, "x"), (1, "X"), (2, "é"), (3, unicodedata.normalize("NFD", "é"))):
        for folder in ("images", "masks"):
            path = root / folder / f"{name_of(number)}.png"
            path.rename(path.with_name(f"{name}.png"))
    (root / "split.json").unlink()
    if len(list((root / "images").iterdir())) < 20:
        pytest.skip("this disk takes them for one")
    assert {problem.code for problem in check(root)} == {"names"}
    repaired = repair(root, tmp_path / "out")
    assert repaired.left == []
    assert len(read_dataset(repaired.folder).cases) == 20
    assert len(repaired.mended) == 2


def test_fields_of_view_and_observers_that_cannot_be_read(root: Path, tmp_path: Path) -> None:
    for folder in ("fov", "masks2"):
        (root / folder).mkdir()
        for k in range(20):
            put(root, k, np.full(SIZE, 255, np.uint8), folder)
        (root / folder / "cells_05.png").write_bytes(b"\x89PNG")
    put(root, 6, np.zeros(SIZE, np.uint8), "fov")
    put(root, 7, np.full((9, 9), 255, np.uint8), "fov")
    repaired = repair(root, tmp_path / "out")
    assert repaired.left == []
    cases = {case.id: case for case in read_dataset(repaired.folder).cases}
    assert len(cases) == 20
    assert [name for name, case in cases.items() if not case.fov] == [name_of(k) for k in (5, 6, 7)]
    assert [name for name, case in cases.items() if not case.observer] == ["cells_05"]


def test_groups_are_never_all_of_a_split(root: Path, tmp_path: Path) -> None:
    split = json.loads((root / "split.json").read_text())
    groups = {f"cells_{k:02d}": f"g{k}" for k in range(20)}
    groups |= dict.fromkeys([*split["val"], *split["train"][:9]], "all of val")
    (root / "groups.json").write_text(json.dumps(groups))
    repaired = repair(root, tmp_path / "out")
    assert [problem.code for problem in repaired.left] == ["leak"]
    assert repaired.mended == []


def test_what_cannot_be_repaired(root: Path, tmp_path: Path) -> None:
    (root / "images" / "cells_00.png").write_bytes(b"")
    for target, what in ((root / "out", "inside the set"), (tmp_path, "is not empty")):
        with pytest.raises(InputError, match=what):
            repair(root, target)
    with pytest.raises(InputError, match="no such folder"):
        repair(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        repair(root, tmp_path / "file" / "out")
    for path in (root / "images").iterdir():
        path.write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match="no case is left"):
        repair(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "set"]


def test_unlabelled_sets(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / "masks")
    put(root, 0, np.repeat(get(root, 0, "images")[..., None], 3, -1), "images")
    repaired = repair(root, tmp_path / "out", masks="optional")
    assert repaired.left == []
    assert [what.partition(":")[0] for what in repaired.mended] == ["images/cells_00.png"]
    stream = io.StringIO((repaired.folder / "repairs.csv").read_text())
    assert [row["case"] for row in csv.DictReader(stream)] == ["cells_00"]
