"""Every problem that `check` knows is planted into a sound set, found, and found alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from unetkit.data import Problem, check, read_dataset, summary

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


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, problems
    assert problems[0].cure
    return problems[0]


def labels(root: Path, name: str, content: np.ndarray) -> None:
    Pillow.fromarray(content).save(root / "masks" / f"{name}.png")


def change(root: Path, name: str, position: object, value: object) -> None:
    image = tifffile.imread(root / "images" / f"{name}.tif")
    image[position] = value
    tifffile.imwrite(root / "images" / f"{name}.tif", image)


def test_a_sound_set_has_no_problem(root: Path) -> None:
    assert check(root) == []
    assert check(str(root)) == []
    assert check(read_dataset(root)) == []


def test_unpaired(root: Path) -> None:
    (root / "masks" / "a2.png").unlink()
    problem = only(check(root))
    assert problem.severity == "error"
    assert problem.where.endswith("a2.tif")
    assert "has no mask" in problem.what
    (root / "images" / "a3.tif").unlink()
    # a3 is gone from val as well, and split.json still names it
    found = " ".join(problem.what for problem in check(root))
    assert "the mask has no image" in found
    assert "val names a3" in found


@pytest.mark.parametrize(
    ("content", "severity", "what"),
    [
        (np.zeros(SPACE, np.uint8), "warning", "the mask is empty"),
        (np.full(SPACE, 255, np.uint8), "warning", "the mask is full"),
        (np.zeros((24, 30), np.uint8), "error", "the mask is 24 × 30 and its image 24 × 32"),
        (np.arange(24 * 32, dtype=np.uint8).reshape(SPACE), "error", "unexpected values"),
    ],
)
def test_masks(root: Path, content: np.ndarray, severity: str, what: str) -> None:
    labels(root, "a1", content)
    problem = only(check(root))
    assert problem.severity == severity
    assert problem.where.endswith("masks/a1.png")
    assert what in problem.what


def test_unreadable_files_do_not_stop_it(root: Path) -> None:
    for name, folder in (("a0.tif", "images"), ("a1.png", "masks")):
        path = root / folder / name
        path.write_bytes(path.read_bytes()[:-200] if folder == "images" else b"\x89PNG")
    labels(root, "a4", np.zeros(SPACE, np.uint8))
    problems = check(root)
    assert [problem.severity for problem in problems] == ["error", "error", "warning"]
    assert {Path(problem.where).name for problem in problems} == {"a0.tif", "a1.png", "a4.png"}


def test_odd_pixels(root: Path) -> None:
    change(root, "a1", (0, slice(0, 3)), (np.nan, np.inf, -np.inf))
    problem = only(check(root))
    assert problem.severity == "warning"
    assert problem.what.startswith("3 pixels are NaN or infinite (0.39%)")


def test_constant_images_and_channels(root: Path) -> None:
    change(root, "a1", ..., 7)
    assert only(check(root)).what == "the image is constant"
    for path in (root / "images").iterdir():
        two = np.stack([np.random.default_rng(len(path.name)).random(SPACE), np.zeros(SPACE)])
        two[0, 0, 0] = int(path.stem[1])
        tifffile.imwrite(path, two, photometric="minisblack", planarconfig="separate")
    problems = check(root)
    assert len(problems) == 6
    assert {problem.what for problem in problems} == {"channel 1 of it is constant"}


def test_duplicates(root: Path) -> None:
    # The same pixels in another format: a PNG cannot hold floats, so whole numbers are used.
    pixels = np.random.default_rng(5).integers(0, 256, SPACE, np.uint8)
    for name in ("a0", "a4"):
        tifffile.imwrite(root / "images" / f"{name}.tif", pixels)
    (root / "images" / "a4.tif").unlink()
    Pillow.fromarray(pixels).save(root / "images" / "a4.png")
    problem = only(check(root))
    assert problem.severity == "error"
    assert "a0 (train), a4 (test)" in problem.what
    (root / "images" / "a4.png").unlink()
    tifffile.imwrite(root / "images" / "a4.tif", pixels + 1)
    tifffile.imwrite(root / "images" / "a1.tif", pixels)
    problem = only(check(root))
    assert problem.severity == "warning"
    assert "a0 (train), a1 (train)" in problem.what


def test_one_case_is_no_duplicate_of_itself(root: Path) -> None:
    for k in range(1, 6):
        (root / "images" / f"a{k}.tif").unlink()
        (root / "masks" / f"a{k}.png").unlink()
    (root / "split.json").unlink()
    assert check(root) == []


def test_absent_classes(root: Path) -> None:
    (root / "classes.json").write_text('{"0": "background", "255": "cell", "9": "mitosis"}')
    problem = only(check(root))
    assert problem.what == "the class mitosis is in no mask"
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


def test_what_cannot_be_a_set_is_one_problem(tmp_path: Path) -> None:
    assert "no images/ folder" in only(check(tmp_path)).what
    assert "no such folder" in only(check(tmp_path / "nowhere")).what


def test_summary(root: Path) -> None:
    content = np.zeros(SPACE, np.uint8)
    content[:12] = 255
    for k in range(6):
        labels(root, f"a{k}", content)
    (root / "fov").mkdir()
    half = np.zeros(SPACE, np.uint8)
    half[:, :16] = 255
    Pillow.fromarray(half).save(root / "fov" / "a0.png")
    found = summary(read_dataset(root))
    assert found["split"] == {"train": 3, "val": 1, "test": 2}
    assert found["cases"] == 6
    assert found["classes"] == {"background": 0.5, "foreground": 0.5}
    assert found["ignored"] == pytest.approx(1 / 12, abs=1e-5)
    assert found["sizes"] == {"smallest": [24, 32], "median": [24, 32], "largest": [24, 32]}
    assert (found["fov"], found["observers"]) == (1, 0)
    json.dumps(found)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stare", set()),
        ("drive", set()),
        ("isbi2012_em", set()),
        ("dsb2018", set()),
        ("ctc_phc_u373", set()),
        ("msd_hippocampus", set()),
        ("sen1floods11", {"the mask is empty"}),
        ("dubai_aerial", {"the class vegetation is in no mask of val"}),
    ],
)
def test_real_sets(name: str, expected: set[str]) -> None:
    if not (DATA / name).exists():
        pytest.skip(f"no {name} beside the checkout")
    assert {problem.what for problem in check(DATA / name)} == expected
