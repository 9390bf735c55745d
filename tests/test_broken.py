"""Broken files: each is refused in one line that names it, in bounded time and memory."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from broken import CORPUS, Item
from broken.probe import SECONDS
from conftest import TINY
from unetkit.data import read_dataset
from unetkit.data.checks import check
from unetkit.errors import InputError
from unetkit.image import read_image, stem

HERE = Path(__file__).parent
Y, X = 40, 48  # as the files of the corpus


# ------------------------------------------------------------------------------------- one by one


def outcomes(names: list[str], folder: Path) -> dict[str, dict[str, Any]]:
    """Read items in processes of limited time and memory; one that dies gives way to the next."""
    found: dict[str, dict[str, Any]] = {}
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
    while names:
        done = subprocess.run(
            [sys.executable, "-m", "broken.probe", str(folder)],
            input=json.dumps(names), capture_output=True, text=True, check=False,
            cwd=HERE, env=environment,
        )  # fmt: skip
        begun = None
        for line in map(json.loads, done.stdout.splitlines()):
            begun = line.get("begun")
            if begun is None:
                found[line["done"]] = line
        if begun is None:
            assert done.returncode == 0, done.stderr
            # Decoders that print to the user's terminal are as bad as a traceback.
            assert done.stderr == ""
            break
        found[begun] = {"died": f"exit code {done.returncode}: {done.stderr[-3000:]}"}
        names = names[names.index(begun) + 1 :]
    return found


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    found = outcomes(list(CORPUS), tmp_path_factory.mktemp("corpus"))
    return found.__getitem__


def test_the_corpus_is_large() -> None:
    assert len(CORPUS) >= 700
    assert sum(item.fate == "refused" for item in CORPUS.values()) >= 600


@pytest.mark.parametrize("name", CORPUS)
def test_each(outcome: Callable[[str], dict[str, Any]], name: str) -> None:
    found = outcome(name)
    assert "died" not in found, found["died"]
    assert found["seconds"] < SECONDS
    for way, (verdict, text) in found["outcome"].items():
        assert verdict != "wrong", f"{way}: {text}"
        assert verdict == "error" or not text, f"{way}: {text}"
    became = tuple(found["outcome"][way][0] for way in ("image", "labels"))
    said = [found["outcome"][way][1] for way in ("image", "labels")]
    match CORPUS[name].fate:
        case "refused":
            assert became == ("error", "error"), said
        case "no mask":
            assert became == ("fine", "error"), said
        case "readable":
            assert became == ("fine", "fine"), said


def test_a_process_that_dies_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The same as what a crash would do, so that the test above is known to notice one.
    real = subprocess.run

    def crash(command: list[str], **options: Any) -> Any:
        code = (
            "import os, sys, broken.probe as p\n"
            "p.probe = lambda path: os.abort() if 'huge' in path.name else {}\n"
            "p._main(p.Path(sys.argv[1]), p.json.loads(sys.stdin.read()))"
        )
        return real([command[0], "-c", code, command[3]], **options)

    monkeypatch.setattr(subprocess, "run", crash)
    names = ["TIFF of no rows", "PNG of 2³¹ columns", "TIFF of no columns"]
    found = outcomes(names, tmp_path)
    assert list(found) == names
    assert [name for name, one in found.items() if "died" in one] == [names[1]]


def test_broken_files_in_threads_do_not_wait_for_each_other(tmp_path: Path) -> None:
    def read(number: int) -> float:
        folder = tmp_path / str(number)
        folder.mkdir()
        path = CORPUS["zarr3 with a file cut"].build(folder)
        begun = time.perf_counter()
        for _ in range(8):
            with pytest.raises(InputError):
                read_image(path)
        return time.perf_counter() - begun

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(read, range(4))) < 8


# ------------------------------------------------------------------------------------ whole sets


def plant_sound(root: Path, count: int) -> None:
    """Write noise with a square in it, and a mask of the square."""
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True, exist_ok=True)
    for k in range(count):
        mask = np.zeros((Y, X), np.uint8)
        mask[4 + k % 9 : 22, 6 : 20 + k % 7] = 255
        noise = np.random.default_rng(k).integers(0, 120, mask.shape)
        for part, pixels in (("images", noise + mask // 2), ("masks", mask)):
            Pillow.fromarray(pixels.astype(np.uint8)).save(root / part / f"sound{k}.png")


def plant(root: Path, items: Sequence[Item], part: str) -> dict[str, Path]:
    """Put broken files beside sound ones, as images or as masks; give them by name."""
    other = {"images": "masks", "masks": "images"}[part]
    planted = {}
    for k, item in enumerate(items):
        with tempfile.TemporaryDirectory(dir=root) as place:
            path = item.build(Path(place))
            suffix = path.name[len(stem(path)) :]
            planted[item.name] = path.rename(root / part / f"broken{k}{suffix}")
        sound = (root / other / "sound0.png").read_bytes()
        (root / other / f"broken{k}.png").write_bytes(sound)
    return planted


# What is no file, or a folder that only bears the name of one, is no image to a folder of images.
ABSENT = ("pipe", "folder called", "symlink to a device", "file as .zarr", "NPY as .zarr")
PLANTED = [
    item
    for item in CORPUS.values()
    if item.plain and item.fate == "refused" and not item.name.startswith(ABSENT)
    if " cut at " not in item.name or "50" in item.name
]
BATCH = 45
BATCHES = [PLANTED[k : k + BATCH] for k in range(0, len(PLANTED), BATCH)]


def load_all(root: Path) -> None:
    """Do with a set what training does, with no mercy."""
    dataset = read_dataset(root)
    for case in dataset.cases:
        dataset.load(case)


def about(errors: Sequence[Any], path: Path) -> bool:
    """Tell whether one of several errors or problems names a file, or one in this folder."""
    return any(str(error.where).startswith(str(path)) for error in errors)


@pytest.mark.parametrize("part", ["images", "masks"])
@pytest.mark.parametrize("number", range(len(BATCHES)))
def test_in_a_set(tmp_path: Path, number: int, part: str) -> None:
    items = BATCHES[number]
    plant_sound(tmp_path, len(items) + 8)
    planted = plant(tmp_path, items, part)
    problems = check(tmp_path)
    unnamed = [name for name, path in planted.items() if not about(problems, path)]
    assert not unnamed, [problem for problem in problems if problem.severity == "error"]
    with pytest.raises(InputError) as caught:
        load_all(tmp_path)
    assert "broken" in str(caught.value)  # a picture of another size is at odds with its mask
    assert "\n" not in str(caught.value)
    left: list[InputError] = []
    dataset = read_dataset(tmp_path, on_problem=left.append, pixels=True)
    kept = {case.id for case in dataset.cases}
    assert kept >= {f"sound{k}" for k in range(len(items) + 8)}
    # A name like `broken3` may stay where the layout knows a sound file of that name, never else.
    assert not {name for name in kept if not name.startswith("sound")}
    assert all(about(left, path) for path in planted.values())


def test_one_at_a_time(tmp_path: Path) -> None:
    chosen = [CORPUS[f"{name} cut at 50 %"] for name in ("grey.png", "plain.nii", "tiles.tif")]
    for k, item in enumerate(chosen):
        root = tmp_path / str(k)
        plant_sound(root, 8)
        (path,) = plant(root, [item], "masks").values()
        with pytest.raises(InputError) as caught:
            read_dataset(root)
        assert caught.value.where == path
        left: list[InputError] = []
        dataset = read_dataset(root, on_problem=left.append)
        assert {case.id for case in dataset.cases} == {f"sound{k}" for k in range(8)}
        assert [error.where for error in left] == [path]


# -------------------------------------------------------------------------------------- commands


FEW = [
    CORPUS[name]
    for name in (
        "grey.png cut at 50 %", "zarr3 with a file cut", "series with a file cut", "JPEG as .png",
        "LFS pointer as .tif (strips.tif)", "PNG bomb", "symlinks in a loop", "pipe called .png",
        "TIFF of a chain to itself", "NPY of objects", "plain.nii of 0 zeros",
    )
]  # fmt: skip
ODD = [
    item for item in CORPUS.values() if item.fate == "readable" and item.name.startswith("name ")
]


@pytest.fixture
def holed(tmp_path: Path) -> Path:
    """Give a set in which some images and some masks are broken."""
    root = tmp_path / "set"
    plant_sound(root, 16)
    plant(root, FEW, "images")
    return root


def lines(text: str) -> Iterator[str]:
    """Give the lines of a text after looking for what no user should see."""
    assert "Traceback" not in text
    return iter(text.splitlines())


def test_check_by_the_command(unet: Any, holed: Path) -> None:
    code, said, err = unet("check", holed)
    assert (code, err) == (1, "")
    assert all(any(f"broken{k}" in line for line in lines(said)) for k in range(len(FEW)))
    code, said, err = unet("check", holed, "--json")
    assert (code, err) == (1, "")
    named = " ".join(problem["where"] for problem in json.loads(said)["problems"])
    assert all(f"broken{k}" in named for k in range(len(FEW)))


def test_train_goes_on(unet: Any, holed: Path, tmp_path: Path) -> None:
    changes = [word for change in [*TINY, "train.epochs=1"] for word in ("--set", change)]
    code, _, err = unet("train", holed, "-o", tmp_path / "strict", *changes)
    assert code == 2
    assert len(list(lines(err))) == 1
    code, said, err = unet("train", holed, "-o", tmp_path / "run", "--skip-bad", *changes)
    assert code == 0, err
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert "left out" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    with (tmp_path / "run" / "skipped.csv").open() as file:
        rows = list(csv.DictReader(file))
    broken = {f"broken{k}" for k in range(len(FEW))}
    assert all(any(name in f"{row['case']} {row['file']}" for row in rows) for name in broken)
    assert all(any(name in line for line in lines(said + err)) for name in broken)
    assert not any("sound" in row["case"] for row in rows)


def test_predict_goes_on(unet: Any, run: Path, holed: Path, tmp_path: Path) -> None:
    code, _, err = unet("predict", run, holed / "images", "-o", tmp_path / "out")
    assert code == 1, err
    assert "Traceback" not in err
    written = {path.stem for path in (tmp_path / "out" / "labels").iterdir()}
    assert written == {f"sound{k}" for k in range(16)}
    with (tmp_path / "out" / "failures.csv").open() as file:
        failed = {Path(row["image"]).name for row in csv.DictReader(file)}
    # What is no file (a loop, a pipe, a folder called .png) is no picture to a listing.
    assert failed >= {path.name for path in (holed / "images").glob("broken*") if path.is_file()}


def test_odd_names(unet: Any, run: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for item in ODD:
        try:
            item.build(images)
        except (OSError, ValueError):  # this file system does not know such names
            continue
    (images / os.fsdecode(b"bad\xff.png")).write_bytes(b"\x89PNG")
    (images / "bad\nline.png").write_bytes(b"\x89PNG")
    names = {path.name for path in images.iterdir()}
    assert len(names) > 8
    code, _, err = unet("predict", run, images, "-o", tmp_path / "out", "--tile", "64")
    assert code == 1, err
    assert len(list(lines(err))) == 2
    written = {path.name for path in (tmp_path / "out" / "labels").iterdir()}
    assert {Path(name).stem for name in written} == {
        Path(name).stem for name in names if not name.startswith(("bad", "."))
    }
    rows = (tmp_path / "out" / "failures.csv").read_text(encoding="utf-8")
    assert rows.count("cannot be read as png") == 2


def test_odd_names_in_a_set(unet: Any, tmp_path: Path) -> None:
    plant_sound(tmp_path, 8)
    for item in ODD:
        for part in ("images", "masks"):
            with tempfile.TemporaryDirectory() as place:
                name = item.build(Path(place)).name
            content = (tmp_path / part / "sound0.png").read_bytes()
            (tmp_path / part / name).write_bytes(content)
    bad = tmp_path / "images" / os.fsdecode(b"bad\xff.png")
    bad.write_bytes(b"\x89PNG")
    (tmp_path / "masks" / bad.name).write_bytes((tmp_path / "masks" / "sound0.png").read_bytes())
    left: list[InputError] = []
    dataset = read_dataset(tmp_path, on_problem=left.append)
    assert about(left, bad)
    assert len(dataset.cases) >= 8
    for words in ((), ("--json",)):
        code, said, err = unet("check", tmp_path, *words)
        assert (code, err) == (1, "")
        assert "Traceback" not in said
