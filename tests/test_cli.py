"""The command line is a contract: names, exit codes, and one line for every mistake of a user."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from conftest import TINY, blobs, environment
from unetkit import __version__
from unetkit.data import Normalization, Task, read_dataset
from unetkit.data.fingerprints import fingerprint
from unetkit.network import NetworkConfig, UNet
from unetkit.recipe import RECIPES, read_recipe, resolve
from unetkit.segmenter import Card, load, save

COMMANDS = ["demo", "check", "plan", "train", "predict", "evaluate", "report", "data", "recipes"]


def is_one_line(err, *parts):
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    assert err.startswith("error: ")
    for part in parts:
        assert part in err


def shell(*words, **options):
    """Run the command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "unetkit.cli", *map(str, words)],
        capture_output=True, text=True, timeout=120, **options,
    )  # fmt: skip


def changes(*more):
    return [word for change in (*TINY, *more) for word in ("--set", change)]


QUICK = ["train.epochs=1", "train.steps=1"]


@pytest.fixture
def mine(discs, tmp_path):
    """Give a copy of the discs that a test may break."""
    return shutil.copytree(discs, tmp_path / "mine")


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """Give an untrained model of the 2015 network's sizes, one channel wide."""
    config = NetworkConfig(ndim=2, channels=1, classes=2, head="softmax", width=1,
                           padding="valid", norm="none")  # fmt: skip
    task = Task(classes=("background", "cell"), kind="semantic", values=(0, 255), ignore=(),
                channels=1, ndim=2)  # fmt: skip
    card = Card(network=config, normalization=Normalization(), task=task)
    path = tmp_path_factory.mktemp("paper") / "model.safetensors"
    save(path, UNet(config).state_dict(), card)
    return path


def picture(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


# ---------------------------------------------------------------------------------- the commands


def test_help_names_every_command_and_version(unet):
    code, out, err = unet("--help")
    assert (code, err) == (0, "")
    for name in COMMANDS:
        assert name in out
        assert unet(name, "--help")[0] == 0
    assert unet("--version") == (0, f"unetkit {__version__}\n", "")
    code, out, err = unet()
    assert (code, err) == (2, "")
    assert "predict" in out


def test_the_way_through_the_house(unet, discs, tmp_path):
    assert unet("check", discs)[0] == 0
    code, out, err = unet("plan", discs, "-o", tmp_path / "plan.yaml", *changes(*QUICK))
    assert (code, err) == (0, "")
    assert "margin 22 px" in out
    run = tmp_path / "run"
    code, out, err = unet("train", discs, "-o", run, "--recipe", tmp_path / "plan.yaml")
    assert (code, err) == (0, "")
    assert f"next: unet evaluate {run} {discs} --split test" in out
    assert read_recipe(run / "recipe.yaml") == read_recipe(tmp_path / "plan.yaml")
    code, out, err = unet("evaluate", run, discs, "--split", "test")
    assert (code, err) == (0, "")
    assert "test: 1 images, per-image mean, all pixels, threshold" in out
    assert "dice" in out
    first = (run / "metrics.json").read_text()
    code, out, err = unet("evaluate", run, discs, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == json.loads(first) == json.loads((run / "metrics.json").read_text())
    options = ["--save", "labels, probability,overlay", "--tta", "--tile", 64]
    code, out, err = unet("predict", run, discs / "images", "-o", tmp_path / "out", *options)
    assert (code, err) == (0, "")
    assert f"15 files in {tmp_path / 'out'}" in out
    page = run / "report.html"
    page.unlink()
    assert unet("report", run) == (0, f"report: {page}\n", "")
    assert page.stat().st_size > 10_000
    both = tmp_path / "both.html"
    shutil.copytree(run, tmp_path / "again")
    assert unet("report", run, tmp_path / "again", "-o", both)[0] == 0
    assert "again" in both.read_text(encoding="utf-8")


def test_evaluate_elsewhere_leaves_the_run_alone(unet, run, discs, tmp_path):
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    code, _, _ = unet("evaluate", run, discs, "-o", tmp_path / "scores", "--topology")
    assert code == 0
    assert "cl_dice" in json.loads((tmp_path / "scores" / "metrics.json").read_text())["mean"]
    assert unet("evaluate", run / "model.safetensors", discs, "--json")[0] == 0
    assert {path.name: path.stat().st_mtime_ns for path in run.iterdir()} == before


def test_scores_on_data_that_has_only_a_test_split(unet, run, discs, tmp_path):
    own = shutil.copytree(run, tmp_path / "run")
    foreign = shutil.copytree(discs, tmp_path / "foreign")
    names = [f"case{k}" for k in range(5)]
    (foreign / "split.json").write_text(json.dumps({"test": names}))
    code, out, err = unet("evaluate", own, foreign)
    assert (code, err) == (0, "")
    assert "report: " in out
    assert json.loads((own / "metrics.json").read_text())["protocol"]["cases"] == 5


def test_a_second_observer_stands_beside_the_model(unet, run, mine):
    shutil.copytree(mine / "masks", mine / "masks2")
    code, out, _ = unet("evaluate", run / "model.safetensors", mine)
    assert code == 0
    assert "second observer" in out
    dice = next(line for line in out.splitlines() if line.startswith("dice"))
    assert dice.endswith("1.0000")


def test_resume_goes_on(unet, discs, tmp_path):
    run = tmp_path / "run"
    assert unet("train", discs, "-o", run, *changes(*QUICK))[0] == 0
    code, out, _ = unet("train", discs, "-o", run, "--resume")
    assert code == 0
    assert "best checkpoint: epoch 1 of 1" in out


def test_recipes(unet, tmp_path):
    code, out, _ = unet("recipes", "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(RECIPES)
    for name in RECIPES:
        code, out, _ = unet("recipes", "show", name)
        assert code == 0
        head = [line[1:].strip() for line in out.splitlines() if line.startswith("#")]
        assert " ".join(head).split() == RECIPES[name].__doc__.split()
        (tmp_path / "shown.yaml").write_text(out, encoding="utf-8")
        assert read_recipe(tmp_path / "shown.yaml") == RECIPES[name]()
    code, out, _ = unet("recipes", "show", tmp_path / "shown.yaml")
    assert not out.startswith("#")
    assert yaml.safe_load(out)["name"] == name


def test_a_plan_is_the_recipe_that_training_would_resolve(unet, discs, tmp_path):
    plan = tmp_path / "plan.yaml"
    assert unet("plan", discs, "-o", plan, "--recipe", "thin")[0] == 0
    data = fingerprint(read_dataset(discs))
    assert read_recipe(plan) == resolve(read_recipe("thin"), data)[0]


def test_check_says_what_is_in_it_and_what_is_wrong(unet, mine):
    code, out, err = unet("check", mine)
    assert (code, err) == (0, "")
    assert "no problems found" in out
    assert "train 3, val 1, test 1" in out
    (mine / "masks" / "case1.png").unlink()
    code, out, err = unet("check", mine)
    assert (code, err) == (1, "")
    assert "case1.png: the image has no mask; add" in out
    assert out.endswith("1 problem\n")
    code, out, err = unet("check", mine, "--json")
    assert (code, err) == (1, "")
    found = json.loads(out)
    assert found["summary"]["cases"] == 4
    assert found["problems"][0]["where"] == str(mine / "images" / "case1.png")
    assert found["problems"][0]["code"] == "unpaired"
    assert set(found["problems"][0]) == {"severity", "where", "what", "cure", "code"}
    shutil.rmtree(mine / "masks")
    code, out, _ = unet("check", mine, "--json")
    assert code == 1
    assert json.loads(out)["summary"] == {}


def test_one_broken_image_among_several_is_1(unet, run, discs, tmp_path):
    images = shutil.copytree(discs / "images", tmp_path / "images")
    (images / "case2.png").write_bytes((images / "case2.png").read_bytes()[:200])
    code, out, err = unet("predict", run, images, "-o", tmp_path / "out")
    assert code == 1
    assert f"4 files in {tmp_path / 'out'}" in out
    assert err.startswith(f"failed {images / 'case2.png'}: cannot be read as png")
    assert err.count("\n") == 1
    names = sorted(path.name for path in (tmp_path / "out").rglob("*.*"))
    assert names == ["case0.png", "case1.png", "case3.png", "case4.png", "failures.csv"]


PLAIN = """
import sys
from unetkit import cli
cli.main()
heavy = {"torch", "scipy", "skimage", "matplotlib", "pandas", "sklearn", "numba"}
print("imported", sorted(heavy & sys.modules.keys()))
"""


@pytest.mark.parametrize("save", ["labels", "labels,probability,uncertainty"])
def test_openvino_predicts_without_importing_anything_heavy(run, discs, tmp_path, save):
    """PyTorch alone takes two seconds to import, and `unet predict` is to end in three."""
    pytest.importorskip("openvino")
    words = ["predict", run, discs / "images", "-o", tmp_path / "out", "--engine", "openvino",
             "--save", save]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, *map(str, words)], env=environment(),
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "engine: OpenVINO" in done.stdout
    assert done.stdout.endswith("imported []\n")


def test_models_are_averaged_over_all_their_views(unet, run, discs, tmp_path):
    other = shutil.copytree(run, tmp_path / "other")
    words = ["predict", run, discs / "images" / "case0.png", "-o", tmp_path / "out",
             "--with", other, "--views", "rotations", "--save", "uncertainty"]  # fmt: skip
    code, out, _ = unet(*words)
    assert code == 0
    assert "engine: 2 models, " in out
    assert "16 passes over the image: about 16 times the time of one" in out
    pages = tifffile.imread(tmp_path / "out" / "uncertainty" / "case0.tif")
    assert pages.shape == (2, 48, 48)


def test_interrupted_is_130(unet, discs, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("unetkit.training.train", interrupt)
    code, _, err = unet("train", discs, "-o", tmp_path / "run")
    how = "a run continues with --resume, a study or a download by the same command"
    assert (code, err) == (130, f"interrupted; {how}\n")


def test_make_data(unet, tmp_path):
    folder = tmp_path / "vessels"
    assert unet("data", "make", "cells", "-o", folder, "--count", 3)[0] == 0
    assert len(read_dataset(folder).cases) == 3
    code, _, err = unet("data", "make", "vesels", "-o", folder)
    assert code == 2
    is_one_line(err, "unknown kind vesels", "did you mean vessels?")


# --------------------------------------------------------------------------- mistakes in the data


def no_images(data):
    for path in (data / "images").iterdir():
        path.unlink()


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_size(data):
    picture(data / "masks" / "case1.png", np.eye(40, 48) * 255)


def unexpected(data):
    mask = np.array(Image.open(data / "masks" / "case1.png"))
    mask[:3] = 7
    picture(data / "masks" / "case1.png", mask)


def colours(data):
    picture(data / "masks" / "case1.png", np.random.default_rng(0).integers(0, 255, (48, 48, 3)))


BROKEN = {
    "no folder": (shutil.rmtree, ["mine: no such folder", "give the folder that holds images/"]),
    "no images": (no_images, ["images: no images found", "known suffixes are"]),
    "no images folder": (lambda d: shutil.rmtree(d / "images"), ["mine: no images/ folder",
                                                                 "put the images into images/"]),
    "no masks": (lambda d: [p.unlink() for p in (d / "masks").iterdir()],
                 ["masks: no masks found", "put one per image there"]),
    "no masks folder": (lambda d: shutil.rmtree(d / "masks"), ["no masks/ folder beside images/"]),
    "image without mask": (lambda d: (d / "masks" / "case1.png").unlink(),
                           ["case1.png: the image has no mask", "or take the image out"]),
    "sizes differ": (other_size, ["case1.png: the mask is 40 × 48 and its image 48 × 48",
                                  "make the mask of the size of the image"]),
    "unexpected values": (unexpected, ["case1.png: the mask holds unexpected values (7)",
                                       "expected are 0, 255", "classes.json"]),
    "mask in colours": (colours, ["case1.png: the mask holds colours", "palette PNG"]),
    "truncated image": (lambda d: half(d / "images" / "case1.png"),
                        ["images/case1.png: cannot be read as png", "copy it again"]),
    "truncated mask": (lambda d: half(d / "masks" / "case1.png"),
                       ["masks/case1.png: cannot be read as png", "copy it again"]),
    "empty file": (lambda d: (d / "images" / "case1.png").write_bytes(b""),
                   ["case1.png: the file is empty", "copy it again"]),
    "split of nobody": (lambda d: (d / "split.json").write_text('{"train": ["nobody"]}'),
                        ["split.json: train names nobody, which is no image here", "correct"]),
    "split is no JSON": (lambda d: (d / "split.json").write_text("train:"),
                         ["split.json: is no readable JSON", "write {"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_mistake_in_the_data_is_one_line_and_2(unet, mine, tmp_path, name):
    damage, parts = BROKEN[name]
    damage(mine)
    code, _, err = unet("train", mine, "-o", tmp_path / "run", *changes(*QUICK))
    assert code == 2
    is_one_line(err, *parts)
    assert not (tmp_path / "run").exists()
    code, _, err = unet("plan", mine)
    assert code == 2
    is_one_line(err, *parts)


def test_a_user_sees_no_traceback(discs, mine, tmp_path):
    """The same through a real shell, where nothing of the test's own is in between."""
    run = tmp_path / "run"
    unexpected(mine)
    for words, parts in (
        (["train", mine, "-o", run], ["unexpected values (7)"]),
        (["train", discs, "-o", run, "--set", "network.dpeth=3"], ["did you mean depth?"]),
        (["train", discs], ["Missing option '-o'"]),
        (["predict", tmp_path / "no", discs / "images", "-o", run], ["no such model"]),
    ):  # fmt: skip
        done = shell(*words)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        is_one_line(done.stderr, *parts)
    assert not run.exists()
    assert shell("check", mine).returncode == 1


# ------------------------------------------------------------------------- mistakes in the recipe


@pytest.mark.parametrize(("change", "parts"), [
    ("network.dpeth=3", ["unknown key network.dpeth", "did you mean depth?"]),
    ("network.depth=deep", ["network.depth: input should be a valid integer"]),
    ("train.batch=[1]", ["train.batch: input should be a valid integer"]),
    ("train.minutes", ["not of the form key.path=value"]),
    ("train.epochs=null", ["both epochs and minutes are off", "set one of them"]),
    ("network.channels=3", ["network.channels is 3, but the data needs 1", "remove"]),
    ("train.patch=30", ["train.patch: input size 30 is not legal", "nearest legal: 28 and 32"]),
    ("predict.tile=30", ["predict.tile: tile 30 is not legal", "the nearest legal: 52"]),
    ("optimizer.lr=fast", ["optimizer.lr: input should be a valid number", "(given 'fast')"]),
])  # fmt: skip
def test_a_wrong_change_is_one_line_and_2(unet, discs, tmp_path, change, parts):
    code, _, err = unet("train", discs, "-o", tmp_path / "run", *changes(change))
    assert code == 2
    is_one_line(err, *parts)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("text", "parts"), [
    ("network:\n  dpeth: 3\n", ["mine.yaml: unknown key network.dpeth", "did you mean depth?"]),
    ("networks: {}\n", ["mine.yaml: unknown key networks", "did you mean network?"]),
    ("train: {batch: many}\n", ["mine.yaml: train.batch: input should be a valid integer"]),
    ("network:\n  depth: 3\n width: 2", ["mine.yaml: is not YAML (line 3)", "indentation"]),
    (b"\x89PNG\r\n\x1a\n\xff", ["mine.yaml: cannot be read"]),
    ("a list, not keys", ["mine.yaml: a recipe is a mapping"]),
])  # fmt: skip
def test_a_wrong_recipe_file_is_one_line_and_2(unet, discs, tmp_path, text, parts):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for words in (["train", discs, "-o", tmp_path / "run"], ["plan", discs]):
        code, _, err = unet(*words, "--recipe", path)
        assert code == 2
        is_one_line(err, *parts)
    assert not (tmp_path / "run").exists()


def test_an_unknown_recipe_names_the_nearest(unet, discs, tmp_path):
    for words in (["plan", discs, "--recipe", "ronneberger"], ["recipes", "show", "ronneberger"]):
        code, _, err = unet(*words)
        assert code == 2
        is_one_line(err, "unknown recipe ronneberger", "did you mean ronneberger2015?")
    code, _, err = unet("plan", discs, "--recipe", tmp_path / "no.yaml")
    assert code == 2
    is_one_line(err, "no.yaml: no such recipe file", "check the path")


# ------------------------------------------------------------ mistakes with models and predictions


def test_a_tile_that_is_illegal_at_this_depth(unet, paper, tmp_path):
    picture(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (420, 420)))
    words = ["predict", paper, tmp_path / "a.png", "-o", tmp_path / "out", "--tile"]
    code, _, err = unet(*words, 570)
    assert code == 2
    is_one_line(err, "tile 570 is not legal for this network", "nearest legal: 556 and 572")
    for tile in (0, -572, 100):
        code, _, err = unet(*words, tile)
        assert code == 2
        is_one_line(err, f"tile {tile} is not legal", "nearest legal: 204")
    assert not (tmp_path / "out").exists()
    assert unet(*words, 572)[0] == 0


def test_an_image_of_other_channels(unet, run, tmp_path):
    picture(tmp_path / "rgb.png", np.zeros((20, 20, 3)))
    code, _, err = unet("predict", run, tmp_path / "rgb.png", "-o", tmp_path / "out")
    assert code == 2
    is_one_line(err, "rgb.png: the image has 3 channels, the model was trained on 1", "convert")


def test_models_that_are_none(unet, run, discs, tmp_path):
    whole = (run / "model.safetensors").read_bytes()
    other = tmp_path / "other.safetensors"

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    for content, part in (
        (None, "no such model; give a run folder or a .safetensors"),
        (b"", "is not a readable model"),
        (whole[: len(whole) // 2], "is not a readable model"),
        (pickle.dumps(Bomb()), "is not a readable model"),
        (b"\x02\0\0\0\0\0\0\0{}", "has no unetkit header; train a model with unet train"),
    ):
        if content is not None:
            other.write_bytes(content)
        for words in (["predict", other, discs / "images", "-o", tmp_path / "out"],
                      ["evaluate", other, discs]):  # fmt: skip
            code, _, err = unet(*words)
            assert code == 2
            is_one_line(err, f"{other}: {part}")
    assert not (tmp_path / "exploded").exists()
    code, _, err = unet("evaluate", tmp_path, discs)
    assert code == 2
    is_one_line(err, f"{tmp_path}: holds no model.safetensors; train it first")
    code, _, err = unet("report", tmp_path)
    assert code == 2
    is_one_line(err, f"{tmp_path}: holds no model.safetensors; train it first")


@pytest.mark.parametrize(("words", "parts"), [
    ("evaluate RUN DATA --split tset", ["no cases in a split named tset", "train (3), val (1)"]),
    ("evaluate RUN DATA --device tpu", ["unknown device tpu; use auto, cpu, cuda or mps"]),
    ("evaluate RUN DATA --precision fp16", ["unknown precision fp16; did you mean bf16?"]),
    ("evaluate RUN", ["Missing argument 'data' (see unet evaluate --help)"]),
    ("evaluate RUN NEW", ["no such folder; give the folder that holds images/ and masks/"]),
    ("predict RUN DATA/images", ["Missing option '-o' / '--out' (see unet predict --help)"]),
    ("predict RUN DATA -o NEW", ["DATA: no images found; known suffixes are"]),
    ("predict RUN DATA/*.jpg -o NEW", ["*.jpg: no images found"]),
    ("predict RUN DATA/images -o NEW --threshold 1.5", ["--threshold: threshold 1.5 is not betwe"]),
    ("predict RUN DATA/images -o NEW --threshold 0", ["threshold 0 is not between 0 and 1"]),
    ("predict RUN DATA/images -o NEW --tile big", ["Invalid value for '--tile'"]),
    ("predict RUN DATA/images -o NEW --max-memory 0", ["--max-memory: 0 GB is nothing"]),
    ("predict RUN DATA/images -o NEW --max-memory 0.001",
     ["--max-memory: libraries and model alone take ", " GB of memory; allow more than "]),
    ("predict RUN DATA/images -o NEW --format jpg", ["unknown format jpg; did you mean png?"]),
    ("predict RUN DATA/images -o NEW --views all", ["unknown test-time augmentation all; take"]),
    ("predict RUN DATA/images -o NEW --with NO", ["NO: no such model; give a run folder or a"]),
    ("predict RUN DATA/images -o NEW --engine tvm", ["--engine: unknown engine tvm; known are"]),
    ("predict RUN DATA/images -o NEW --save mask", ["--save: unknown output mask; known are lab"]),
    ("predict RUN DATA/images -o NEW --sav labels", ["No such option: --sav"]),
    ("predict RUN DATA/images -o RUN/recipe.yaml", ["recipe.yaml/labels: a file stands where a"]),
    ("train DATA -o RUN", ["RUN: holds a run already; continue it with --resume, or choose"]),
    ("train DATA -o RUN --resume --set seed=1", ["RUN: was started with another recipe"]),
    ("train DATA -o NEW --device tpu", ["unknown device tpu"]),
    ("train DATA -o RUN/recipe.yaml/x", ["a file stands where a folder is needed"]),
    ("check NEW", ["NEW: no such folder; give the folder that holds images/"]),
    ("check NEW --json", ["NEW: no such folder"]),
    ("plan DATA -o RUN/recipe.yaml/plan.yaml", ["a file stands where a folder is needed"]),
    ("report NEW", ["no such model"]),
    ("report RUN --data NEW", ["no such folder"]),
    ("report RUN NEW", ["NEW: is no run folder"]),
    ("demo -o DATA", ["DATA: holds something else; choose another -o"]),
    ("demo -o NEW --minutes 0", ["minutes: 0 minutes of training; use more than 0"]),
    ("demo -o NEW --seed x", ["Invalid value for '--seed'"]),
    ("frobnicate", ["No such command 'frobnicate' (see unet --help)"]),
    ("data", ["Missing command (see unet data --help)"]),
    ("recipes shwo default", ["No such command 'shwo'"]),
])  # fmt: skip
def test_every_other_mistake_is_one_line_and_2(unet, run, discs, tmp_path, words, parts):
    places = {"RUN": str(run), "DATA": str(discs), "NEW": str(tmp_path / "new")}

    def placed(text):
        for name, place in places.items():
            text = text.replace(name, place)
        return text

    code, out, err = unet(*map(placed, words.split()))
    assert code == 2
    is_one_line(err, *map(placed, parts))
    assert "--json" not in words or out == ""
    assert not (tmp_path / "new").exists()


def test_results_that_exist_are_kept(unet, run, discs, tmp_path):
    words = ["predict", run, discs / "images", "-o", tmp_path / "out"]
    assert unet(*words)[0] == 0
    code, _, err = unet(*words)
    assert code == 2
    how = "use --overwrite, --resume to keep them, or another -o"
    is_one_line(err, f"5 of the outputs exist already; {how}")
    assert unet(*words, "--overwrite")[0] == 0


# --------------------------------------------------------------------------------------- the disk


def full_after(monkeypatch, writes):
    """Let the disk fill up after so many files."""
    left = [writes]

    def fsync(_):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("unetkit.files.os.fsync", fsync)


def test_a_disk_that_fills_up_costs_no_more_than_the_running_epoch(unet, discs, tmp_path,
                                                                   monkeypatch):  # fmt: skip
    run, straight = tmp_path / "run", tmp_path / "straight"
    long = changes("train.epochs=3", "train.steps=2")
    assert unet("train", discs, "-o", straight, *long)[0] == 0
    # recipe, environment, plan; then history and state of each epoch, and the model of the better
    with monkeypatch.context() as patch:
        full_after(patch, 3 + 3 + 1)
        code, _, err = unet("train", discs, "-o", run, *long)
    assert code == 2
    is_one_line(err, str(run), "the disk is full; free some space and run again")
    assert not [path for path in run.rglob(".*") if path.is_file()]
    load(run)
    assert unet("train", discs, "-o", run, "--resume")[0] == 0
    one, other = (load_file(f / "last" / "state.safetensors") for f in (straight, run))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_full_disk_at_prediction_and_evaluation(unet, run, discs, tmp_path, monkeypatch):
    own = shutil.copytree(run, tmp_path / "run")
    assert unet("evaluate", own, discs)[0] == 0
    before = (own / "metrics.json").read_bytes()
    full_after(monkeypatch, 0)
    for words in (
        ["predict", own, discs / "images", "-o", tmp_path / "out"],
        ["evaluate", own, discs],
        ["report", own],
        ["plan", discs, "-o", tmp_path / "plan.yaml"],
    ):
        code, _, err = unet(*words)
        assert code == 2
        is_one_line(err, "the disk is full; free some space and run again")
    assert (own / "metrics.json").read_bytes() == before


def test_a_folder_that_may_not_be_written(unet, run, discs, tmp_path, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    code, _, err = unet("predict", run, discs / "images", "-o", tmp_path / "out")
    assert code == 2
    is_one_line(err, str(tmp_path / "out"), "may not be written; choose another folder")


# ------------------------------------------------------------------------------------ what is shown


def test_names_are_shown_as_they_are(unet, tmp_path):
    """Nothing in a name is taken for a colour or a picture."""
    data = blobs(tmp_path / "[red]a :smile:")
    (data / "masks" / "case1.png").unlink()
    code, out, _ = unet("check", data)
    assert code == 1
    assert f"{data / 'images' / 'case1.png'}: the image has no mask" in out
    code, _, err = unet("plan", data)
    assert code == 2
    is_one_line(err, f"{data / 'images' / 'case1.png'}: the image has no mask")


def test_a_terminal_that_knows_only_ascii(mine):
    poor = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    other_size(mine)
    done = shell("plan", mine, env=poor)
    assert done.returncode == 2
    is_one_line(done.stderr, r"the mask is 40 \xd7 48 and its image 48 \xd7 48")
    assert shell("recipes", "show", "ronneberger2015", env=poor).returncode == 0


def test_check_writes_a_mended_copy(unet, mine, tmp_path):
    (mine / "masks" / "case1.png").unlink()
    before = {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()}
    code, out, err = unet("check", mine, "--fix", tmp_path / "mended")
    assert (code, err) == (1, "")
    assert "case1" in out
    assert out.endswith(f"repaired copy: {tmp_path / 'mended'}\n")
    assert {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()} == before
    assert unet("check", tmp_path / "mended")[0] == 0
    code, out, err = unet("check", mine, "--fix", mine / "inside", "--json")
    assert code == 2
    assert err.count("\n") == 1


def test_data_list_get_and_sizes(unet, tmp_path):
    names = unet("data", "list", "--names")[1].split()
    entries = json.loads(unet("data", "list", "--json")[1])
    assert names == [entry["name"] for entry in entries]
    assert {"stare", "chase_db1", "dsb2018", "isic2018", "camvid", "sen1floods11"} <= set(names)
    shown = unet("data", "list")[1]
    assert all(entry["licence"] in shown and entry["citation"] in shown for entry in entries)
    code, _, err = unet("data", "get", "drive", "-o", tmp_path / "drive")
    assert (code, err.count("\n")) == (2, 1)
    assert "--archive FILE" in err
    code, _, err = unet("data", "get", "stair", "-o", tmp_path / "x")
    assert code == 2
    assert "did you mean stare?" in err
    folder = tmp_path / "set"
    assert unet("data", "make", "roads", "-o", folder, "--count", 3, "--size", "40x64")[0] == 0
    assert read_dataset(folder).looks["roads_0"].shape == (3, 40, 64)
    code, _, err = unet("data", "make", "roads", "-o", folder, "--size", "wide")
    assert (code, "--size: wide is no size" in err) == (2, True)
