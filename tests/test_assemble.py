"""From a run folder and its data to what the page shows: every picture is the one it says."""

import json
import shutil

import numpy as np
import pytest

from conftest import blobs
from unetkit.data import Normalization, fingerprint, read_dataset
from unetkit.errors import InputError
from unetkit.evaluation import evaluate
from unetkit.evaluation.judge import Mask
from unetkit.evaluation.promises import promised
from unetkit.image import Image, write_image
from unetkit.metrics import calibration_error, retemper
from unetkit.network import UNet
from unetkit.recipe import read_recipe, resolve, to_yaml
from unetkit.report import assemble, write_report
from unetkit.report.contents import number
from unetkit.segmenter import Card, load, save
from unetkit.targets import border_weights, label_objects, skeleton


@pytest.fixture
def own(run, tmp_path):
    """Give a copy of the run that a test may change."""
    return shutil.copytree(run, tmp_path / "own")


@pytest.fixture
def shown(monkeypatch):
    """Catch what would be put on the page."""
    caught = {}

    def catch(path, **contents):
        caught.update(contents, path=path)
        return path

    monkeypatch.setattr(assemble, "compose", catch)
    return caught


def test_the_page_is_written_and_holds_what_was_found(own, discs):
    evaluate(load(own), discs, out=own)
    page = write_report(own)
    assert page == own / "report.html"
    text = page.read_text(encoding="utf-8")
    assert "case4" in text  # the test image
    assert "case3" not in text  # the image of val
    assert text.count("data:image/") >= 4 + 2 + 8  # one case, its targets, eight samples
    assert "http://" not in text.replace("http://www.w3.org", "")
    elsewhere = write_report(own, path=own / "pages" / "other.html")
    assert elsewhere.read_text(encoding="utf-8")


def test_cases_are_shown_with_the_model_s_own_answers(own, discs, shown):
    model = load(own)
    metrics = evaluate(model, discs, split="train", out=own)
    seen = []
    write_report(own, discs, on_case=lambda *counts: seen.append(counts))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    data = read_dataset(discs)
    assert [sheet.id for sheet in shown["sheets"]] == list(data.split["train"])
    for case, sheet, row in zip(data.select("train"), shown["sheets"], metrics["per_image"],
                                strict=True):  # fmt: skip
        sample = data.load(case)
        assert np.array_equal(sheet.image, sample.image.astype(np.uint8))  # 8 bits stay as they are
        assert np.array_equal(sheet.truth, sample.labels)
        answer = model(sample.image)
        assert np.array_equal(sheet.prediction, answer.labels)
        assert np.array_equal(sheet.probability, answer.probabilities[0])
        assert sheet.valid.all()
        assert sheet.scores == {k: v for k, v in row.items() if k != "id" and v is not None}
    assert shown["notes"] == []
    assert shown["title"] == f"{discs.name}: default"
    assert shown["plan"][0][0] == "input → output"
    assert shown["classes"] is None


def test_before_it_is_scored_the_cases_of_val_are_shown(own, shown):
    (own / "metrics.json").unlink(missing_ok=True)
    write_report(own)
    assert [(sheet.id, sheet.scores) for sheet in shown["sheets"]] == [("case3", {})]


# ---- how far probabilities can be believed


class Guess:
    """Something that segments by the values of an image, with stated probabilities."""

    def __init__(self, answer, **protocol):
        self.answer, self.protocol = answer, protocol

    def __call__(self, image):
        p = self.answer(image)
        return Mask((p[-1] > 0.5).astype(int) if len(p) < 3 else p.argmax(0), p)


def grey(image):
    """Brightness as a probability, as if it were one."""
    return (image[:1] / 255).astype(np.float32)


def judged(data, split):
    """Give image, truth and what counts of every case, flat, all images after each other."""
    samples = [data.load(case) for case in data.select(split)]
    valid = [sample.fov & (sample.labels >= 0) for sample in samples]
    image = np.concatenate([s.image[:, v] for s, v in zip(samples, valid, strict=True)], axis=1)
    truth = np.concatenate([s.labels[v] for s, v in zip(samples, valid, strict=True)])
    return image, truth


@pytest.mark.parametrize("temperature", [1, 0.5, 3])
@pytest.mark.parametrize("chunk", [2**20, 100])
def test_calibration_is_of_all_pixels_that_count_and_of_before(
    tmp_path, monkeypatch, temperature, chunk
):
    monkeypatch.setattr("unetkit.evaluation.promises._CHUNK", chunk)
    data = read_dataset(blobs(tmp_path / "data", fov=True))
    found = evaluate(Guess(grey, temperature=temperature), data, split="train")["calibration"]
    image, truth = judged(data, "train")
    assert truth.size < 3 * 48 * 48
    assert (found["images"], found["pixels"]) == (3, truth.size)
    assert found["temperature"] == temperature
    p = image[0] / 255
    assert found["ece"] == pytest.approx(calibration_error(p, truth > 0), abs=1e-6)
    assert sum(found["bins"]["count"]) == truth.size
    if temperature == 1:
        assert "ece_uncalibrated" not in found
    else:
        odds = (p / np.maximum(1 - p, 1e-300)) ** temperature
        before = np.where(p < 1, odds / (1 + odds), 1)
        assert found["ece_uncalibrated"] == pytest.approx(
            calibration_error(before, truth > 0), abs=1e-6
        )
        assert found["bins_uncalibrated"]["count"] != found["bins"]["count"]


def test_calibration_of_several_classes_pools_each_but_the_background(tmp_path):
    chance = np.random.default_rng(0)
    for name in "abc":
        labels = chance.integers(0, 3, (20, 30)).astype(np.uint8)
        write_image(Image(labels[None] * 100), tmp_path / "data" / "images" / f"{name}.png")
        write_image(Image(labels[None]), tmp_path / "data" / "masks" / f"{name}.png")
    data = read_dataset(tmp_path / "data")
    assert len(data.task.classes) == 3
    given = chance.dirichlet([1, 2, 3], (20, 30)).transpose(2, 0, 1).astype(np.float32)
    found = evaluate(Guess(lambda _: given, temperature=2), data, split="test")["calibration"]
    truth = data.load(data.select("test")[0]).labels
    for name, p in (("ece", given), ("ece_uncalibrated", retemper(given, 0.5))):
        hits = np.stack([truth == 1, truth == 2])
        assert found[name] == pytest.approx(calibration_error(p[1:], hits), abs=1e-6)
    assert found["pixels"] == 600
    assert sum(found["bins"]["count"]) == 1200


def test_what_is_no_probability_is_not_calibrated(discs):
    assert "calibration" not in evaluate(Guess(lambda x: x[:1].astype(float)), discs)  # to 255
    truth = np.ones((2, 2), int)
    assert promised(np.full((1, 2, 2), np.nan), truth, truth > 0, ("no", "yes"), 1) is None
    assert promised(np.full((1, 2, 2), 0.5), truth, truth < 0, ("no", "yes"), 1) is None
    assert "calibration" not in evaluate(lambda x: Mask((x[0] > 100).astype(int)), discs)
    over = evaluate(Guess(lambda x: grey(x) * np.float32(1.000001)), discs)  # rounding
    assert over["calibration"]["images"] == 1
    several = evaluate(Guess(grey, temperature=2, members=3), discs)["calibration"]
    assert several["temperature"] is None  # each member has its own
    assert "ece_uncalibrated" not in several


def test_the_page_shows_the_calibration_that_was_evaluated(own, discs, shown):
    found = evaluate(load(own), discs, split="train", out=own)
    assert found["calibration"]["images"] == 3
    write_report(own)
    assert shown["calibration"] is None  # compose takes it from metrics.json
    shown.clear()
    (own / "metrics.json").unlink()
    write_report(own)  # of the cases that are shown, those of val
    val = evaluate(load(own), discs, split="val")["calibration"]
    assert shown["calibration"] == val
    assert (val["images"], val["pixels"]) == (1, 48 * 48)


def test_the_calibration_stands_on_the_page(own, discs):
    for split in ("val", "test"):
        found = evaluate(load(own), discs, split=split)["calibration"]
        if split == "test":
            evaluate(load(own), discs, split=split, out=own)
        else:
            (own / "metrics.json").unlink(missing_ok=True)
        text = write_report(own).read_text(encoding="utf-8")
        section = text[text.index('id="calibration"') : text.index('id="cases"')]
        assert f"lower is better) {number(found['ece'])}" in section
        assert "1 image · 2\N{THIN SPACE}304 pixels" in section
        assert section.count("<svg") == 2


@pytest.mark.parametrize(("changes", "w0", "sigma", "radius", "used"), [
    ([], 10, 5, 2, "neither"),
    (["loss.cross_entropy.border={w0: 7, sigma: 3}"], 7, 3, 2, "weight map"),
    (["loss.skeleton_recall.radius=1"], 10, 5, 1, "skeleton"),
    (["loss.skeleton_recall=1", "loss.cross_entropy.border.w0=4"], 4, 5, 2,
     "weight map and skeleton"),
])  # fmt: skip
def test_targets_are_those_of_the_recipe(own, discs, shown, changes, w0, sigma, radius, used):
    (own / "recipe.yaml").write_text(to_yaml(read_recipe(own / "recipe.yaml", changes)))
    write_report(own)
    data = read_dataset(discs)
    sample = data.load(data.select("train")[0])
    (target,) = shown["targets"]
    assert np.array_equal(target.labels, sample.labels)
    assert np.array_equal(
        target.weights, border_weights(label_objects(sample.labels > 0), float(w0), float(sigma))
    )
    assert np.array_equal(target.skeleton, skeleton(sample.labels, radius))
    assert f"w0 {w0}, σ {sigma} px; skeleton tube radius {radius} px" in target.caption
    assert target.caption.endswith(f"used by this recipe's loss: {used}")


def test_samples_are_augmented_patches_with_their_labels(own, shown):
    write_report(own)
    assert len(shown["augmented"]) == 8
    for one in shown["augmented"]:
        assert one.image.shape == (1, 32, 32)
        assert one.image.dtype == np.uint8
        assert one.labels.shape == (32, 32)
    images = [one.image for one in shown["augmented"]]
    assert not any(np.array_equal(images[0], other) for other in images[1:])
    pairs = [(one.image[0][one.labels > 0], one.image[0][one.labels == 0])
             for one in shown["augmented"]]  # fmt: skip
    assert all(inside.mean() > outside.mean() + 20 for inside, outside in pairs if len(inside))
    again = [one.image for one in shown["augmented"]]
    write_report(own)
    assert all(np.array_equal(a, b.image) for a, b in zip(again, shown["augmented"], strict=True))


@pytest.mark.parametrize(("broken", "note"), [
    (lambda moved: shutil.rmtree(moved), "The data is not where it was when this was trained"),
    (lambda moved: shutil.rmtree(moved / "masks"), "The data cannot be read any more (.*no masks/"),
])  # fmt: skip
def test_data_that_has_gone_is_a_note_and_not_an_error(own, discs, tmp_path, shown, broken, note):
    moved = shutil.copytree(discs, tmp_path / "moved")
    environment = json.loads((own / "environment.json").read_text())
    (own / "environment.json").write_text(json.dumps(environment | {"data": str(moved)}))
    broken(moved)
    write_report(own)
    assert shown["sheets"] == shown["targets"] == shown["augmented"] == []
    (said,) = shown["notes"]
    assert said.startswith(note.split("(")[0])
    assert "no cases are shown" in said
    with pytest.raises(InputError):
        write_report(own, moved)  # but what the user names must be there


def test_other_splits_of_other_data(own, discs, tmp_path, shown):
    foreign = shutil.copytree(discs, tmp_path / "foreign")
    (foreign / "split.json").write_text(json.dumps({"test": ["case0", "case1"]}))
    evaluate(load(own), foreign, out=own)
    write_report(own, foreign)
    assert [sheet.id for sheet in shown["sheets"]] == ["case0", "case1"]
    assert shown["targets"] == shown["augmented"] == []  # nobody trains on it
    (own / "metrics.json").unlink()
    write_report(own, foreign)
    assert shown["sheets"] == []
    assert shown["notes"] == ["The data has no split named val: no cases are shown."]


def test_a_volume_of_three_classes_is_shown_by_its_fullest_slice(tmp_path, shown):
    chance = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        labels = np.zeros((6, 16, 16), np.uint8)
        labels[1, 2:4, 2:4], labels[4, 2:9, 2:12], labels[4, 10:, 10:] = 1, 1, 2
        write_image(Image((chance.normal(size=labels.shape) + labels).astype(np.float32)[None]),
                    tmp_path / "data" / "images" / f"{name}.nii.gz")  # fmt: skip
        write_image(Image(labels[None]), tmp_path / "data" / "masks" / f"{name}.nii.gz")
    split = {"train": ["a"], "val": ["b"], "test": ["c"]}
    (tmp_path / "data" / "split.json").write_text(json.dumps(split))
    data = read_dataset(tmp_path / "data")
    recipe, _ = resolve(
        read_recipe("volume", ["network.width=2", "network.depth=1"]), fingerprint(data)
    )
    run = tmp_path / "run"
    card = Card(network=recipe.network, normalization=Normalization(), task=data.task)
    save(run / "model.safetensors", UNet(recipe.network).state_dict(), card)
    (run / "recipe.yaml").write_text(to_yaml(recipe))
    write_report(run, data)
    (sheet,) = shown["sheets"]
    assert sheet.image.shape == (1, 16, 16)
    assert sheet.image.dtype == np.uint8
    assert np.array_equal(sheet.truth, data.load(data.select("val")[0]).labels[4])
    assert sheet.probability.shape == (3, 16, 16)
    assert shown["classes"] == {0: "background", 1: "class_1", 2: "class_2"}
    assert shown["targets"][0].skeleton.shape == (16, 16)
    assert all(one.image.ndim == 3 for one in shown["augmented"])


@pytest.mark.parametrize(("pixels", "low", "high"), [
    (np.array([[[0, 100, 255]]], np.uint8), 0, 255),
    (np.array([[[10.0, 20.0, 200.0]]]), 10, 200),  # 8-bit values stay as they are
    (np.array([[[-1.0, 0.0, 1.0]]]), 0, 255),
    (np.array([[[0.0, 0.5, 1.0]]]), 0, 255),
    (np.array([[[0, 30000, 60000]]], np.uint16), 0, 255),
    (np.array([[[-1.0, np.nan, 1.0]]]), 0, 255),
    (np.array([[[7.0, 7.0, 7.0]]]) / 10, 0, 0),
    (np.array([[[np.nan, np.inf, np.nan]]]), 0, 0),
])  # fmt: skip
def test_what_a_screen_can_show(pixels, low, high):
    out = assemble._shown(pixels)
    assert out.dtype == np.uint8
    assert (out.min(), out.max()) == (low, high)
    assert assemble._shown(np.repeat(pixels, 5, 0)).shape == (3, 1, 3)
    assert assemble._shown(np.repeat(pixels, 2, 0)).shape == (1, 1, 3)


@pytest.mark.parametrize(("name", "line"), [
    ("metrics.json", r"metrics\.json: cannot be read"),
    ("environment.json", r"environment\.json: cannot be read"),
    ("plan.json", r"plan\.json: cannot be read"),
    ("model.safetensors", r"model\.safetensors: is not a readable model"),
])  # fmt: skip
def test_a_damaged_run_is_one_line(own, name, line):
    (own / name).write_text("{")
    with pytest.raises(InputError, match=line):
        write_report(own)


def test_a_folder_that_is_no_run(tmp_path, discs):
    with pytest.raises(InputError, match=r"holds no model\.safetensors; train it first"):
        write_report(tmp_path)
    with pytest.raises(InputError, match="no such model"):
        write_report(tmp_path / "nowhere", discs)
