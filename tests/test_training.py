"""The loop: it learns, resumes bit for bit, ends in time, and names a disaster."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from conftest import TINY, blobs
from unetkit.data import read_dataset
from unetkit.data.synthetic import make
from unetkit.errors import InputError
from unetkit.metrics import (
    Calibration,
    PixelSample,
    best_threshold,
    calibration_error,
    fit_temperature,
    histogram,
    retemper,
    uncertainty,
)
from unetkit.recipe import read_recipe
from unetkit.segmenter import Card, load, read_card, save
from unetkit.training import train
from unetkit.training.record import calibrated, card, recall, warn
from unetkit.training.schedule import Progress
from unetkit.training.validate import Validation, gather, supervise, tempered


def history(folder):
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def same_weights(one, other):
    a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_small_network_learns_the_discs(run):
    rows = history(run)
    assert float(rows[-1]["train_loss"]) < 0.5 * float(rows[0]["train_loss"])
    assert max(float(row["val_dice"]) for row in rows) > 0.85
    card = load(run).card
    assert card.threshold_from == "tuned on val (1 images)"
    assert card.scores["val_dice"] == pytest.approx(max(float(r["val_dice"]) for r in rows))
    assert {p.name for p in run.iterdir()} >= {
        "recipe.yaml", "model.safetensors", "last", "history.csv", "environment.json", "plan.json",
    }  # fmt: skip


def test_it_overfits_one_image(tmp_path):
    data = blobs(tmp_path / "one", count=3)
    for part in ("images", "masks"):  # the same image to learn and to be judged on
        shutil.copy(data / part / "case0.png", data / part / "case1.png")
    (data / "split.json").write_text(json.dumps({"train": ["case0"], "val": ["case1"]}))
    changes = [*TINY, "train.epochs=1", "train.steps=150", "optimizer.lr=0.01", "network.width=8",
               "train.patch=48", "train.ema=0", "augment.rotate=0", "augment.scale=0",
               "augment.elastic=0"]  # fmt: skip
    assert train(data, tmp_path / "run", changes=changes).best.dice > 0.99


PINNED = [
    1.7309, 1.6048, 1.5972, 1.6226, 1.4757,
    1.5101, 1.4352, 1.4289, 1.6182, 1.4180,
]  # fmt: skip


def test_the_first_ten_losses_are_those_of_before(discs, tmp_path):
    """A refactoring must not change what is learnt; change these only with a reason."""
    losses = []
    changes = [*TINY, "train.epochs=10", "train.steps=1"]
    train(discs, tmp_path / "run", changes=changes, on_step=lambda step: losses.append(step.loss))
    assert losses == pytest.approx(PINNED, abs=1e-3)


KILLED = """
import os, signal, sys
from unetkit.training import train
def hook(step):
    if step.epoch == 3 and step.step == 13:
        os.kill(os.getpid(), signal.SIGKILL)
train(sys.argv[1], sys.argv[2], changes=sys.argv[3:], on_step=hook)
"""


@pytest.mark.parametrize("extra", [
    ["train.ema=0.9"],
    ["network.dropout=0.2", "optimizer.name=sgd", "schedule.name=plateau", "schedule.patience=0"],
    ["loss.skeleton_recall=1", "loss.boundary=1", "loss.cross_entropy.border={}",
     "train.cache=1e-6", "normalize=dataset"],
])  # fmt: skip
def test_killed_and_resumed_equals_never_killed_bit_for_bit(discs, tmp_path, extra):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    train(discs, straight, changes=[*TINY, *extra])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, discs, killed, *TINY, *extra], capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert len(history(killed)) == 2  # the running third epoch is lost, and nothing else
    load(killed)
    train(discs, killed, resume=True)
    assert same_weights(straight, killed)
    plain = [{k: v for k, v in r.items() if k != "seconds"} for r in history(straight)]
    assert plain == [{k: v for k, v in r.items() if k != "seconds"} for r in history(killed)]
    last = [load_file(f / "last" / "state.safetensors") for f in (straight, killed)]
    assert all(torch.equal(last[0][name], last[1][name]) for name in last[0])


def test_an_interrupt_is_130_and_says_how_to_go_on(discs, tmp_path):
    command = [sys.executable, "-m", "unetkit.cli", "train", discs, "-o", tmp_path / "run"]
    for change in [*TINY, "train.epochs=500"]:
        command += ["--set", change]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # A shell's background job ignores the interrupt, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (tmp_path / "run" / "last" / "state.safetensors").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"--resume" in errors
    assert b"Traceback" not in errors
    assert not [p for p in (tmp_path / "run").rglob(".*") if p.is_file()]


def test_a_run_is_not_overwritten_by_mistake(discs, run):
    with pytest.raises(InputError, match="--resume, or choose another"):
        train(discs, run, changes=TINY)
    with pytest.raises(InputError, match="leave out --recipe and --set"):
        train(discs, run, changes=TINY, resume=True)
    with pytest.raises(InputError, match="leave out --recipe and --set"):
        train(discs, run, recipe="thin", resume=True)


def test_minutes_end_the_run_in_time(discs, tmp_path):
    changes = [*TINY, "train.epochs=null", "train.minutes=0.05", "train.steps=20"]
    fractions = []
    train(discs, tmp_path / "r", changes=changes, on_step=lambda s: fractions.append(s.fraction))
    assert float(history(tmp_path / "r")[-1]["seconds"]) == pytest.approx(3, abs=1)
    assert fractions == sorted(fractions)
    assert fractions[-1] <= 1
    rates = [float(row["lr"]) for row in history(tmp_path / "r")]
    assert rates[-1] < 0.1 * max(rates)


def test_early_stop(discs, tmp_path):
    changes = [*TINY, "train.epochs=40", "train.early_stop=2", "optimizer.lr=1e-9", "train.ema=0",
               "network.norm=none"]  # fmt: skip
    train(discs, tmp_path / "run", changes=changes)
    assert len(history(tmp_path / "run")) < 10


def test_a_loss_that_explodes_is_named(discs, tmp_path):
    changes = [*TINY, "optimizer.lr=1e30", "network.norm=none", "optimizer.name=sgd",
               "train.clip=null", "schedule.warmup=0"]  # fmt: skip
    with pytest.raises(InputError, match=r"loss became .* lower optimizer\.lr"):
        train(discs, tmp_path / "run", changes=changes)


def test_a_network_that_says_nothing_is_named():
    said = []
    empty = Validation(1.0, 0.0, 0.5, (0.0, 0.2))
    warn(empty, Progress(epoch=3), 0.0, said.append)
    warn(Validation(1.0, 0.2, 0.5, (1.0, 0.2)), Progress(epoch=10), 0.0, said.append)
    warn(Validation(1.0, 0.9, 0.5, (0.2, 0.2)), Progress(epoch=10), 0.0, said.append)
    assert len(said) == 2
    assert "almost nothing" in said[0]
    assert "everywhere" in said[1]


# ---- calibration


@pytest.fixture(scope="module")
def vessels(tmp_path_factory):
    """Give generated vessels, and a run on them that is neither bad nor perfect."""
    folder = tmp_path_factory.mktemp("vessels")
    make("vessels", folder / "data", count=10, size=(128, 128))
    said = []
    changes = [*TINY, "network.width=8", "train.epochs=2", "train.steps=45", "train.batch=4",
               "train.patch=64", "train.ema=0.9", "optimizer.lr=0.02", "augment.rotate=0",
               "augment.scale=0", "augment.elastic=0"]  # fmt: skip
    train(folder / "data", folder / "run", changes=changes, say=said.append)
    return folder / "data", folder / "run", said


def answers(model, data, split):
    """Probabilities (k, n) and truth (n) of the pixels of a split that count, image by image."""
    dataset = read_dataset(data)
    for case in dataset.select(split):
        sample = dataset.load(case)
        valid = sample.fov & (sample.labels >= 0)
        answer = model(sample.image)
        yield answer.probabilities[:, valid], sample.labels[valid], answer.labels[valid]


def test_the_temperature_is_fitted_on_val_and_stored(vessels):
    data, run, said = vessels
    card = load(run).card
    assert card.temperature != 1
    p, truth, _ = map(np.concatenate, zip(
        *((p[0], t > 0, t) for p, t, _ in answers(load(run, precision="fp32"), data, "val")),
        strict=True,
    ))  # fmt: skip

    def loss(temperature):
        q = retemper(p[None], temperature)[0]
        return -np.mean(np.log(np.where(truth, q, 1 - q)))

    raw = 1 / card.temperature
    assert loss(1) <= loss(raw)  # no worse than without it,
    assert loss(1) <= min(loss(0.98), loss(1.02))  # nor than with another
    before = calibration_error(retemper(p[None], raw)[0], truth)
    assert card.scores["val_ece"] == pytest.approx(calibration_error(p, truth), abs=2e-3)
    assert card.scores["val_ece_uncalibrated"] == pytest.approx(before, abs=2e-3)
    assert said[-1] == calibrated(recall(card))
    assert f"temperature {card.temperature:.3g}, ECE" in said[-1]


def test_decisions_at_the_tuned_threshold_do_not_depend_on_the_temperature(vessels, tmp_path):
    data, run, _ = vessels

    def at(temperature, threshold):
        card = read_card(run).model_copy(
            update={"temperature": temperature, "threshold": tempered(threshold, temperature)}
        )
        save(tmp_path / "model.safetensors", load_file(run / "model.safetensors"), card)
        return load(tmp_path, precision="fp32")

    val = list(answers(at(1, 0.5), data, "val"))
    tuned, _ = best_threshold([p[0] for p, _, _ in val], [t > 0 for _, t, _ in val])
    model, plain, cautious = load(run, precision="fp32"), at(1, tuned), at(3, tuned)
    assert model.card.threshold == pytest.approx(tempered(tuned, model.card.temperature))
    for split in ("train", "val", "test"):
        each = zip(*(answers(one, data, split) for one in (model, plain, cautious)), strict=True)
        for (_, _, mine), (p, _, without), (q, _, other) in each:
            assert np.array_equal(mine, without)
            assert np.array_equal(mine, other)
            assert np.abs(p - q).max() > 0.1


def test_errors_rise_with_the_stated_uncertainty(vessels):
    """On images that were held out, from each quarter of the pixels to the next less sure one."""
    data, run, _ = vessels
    entropy, wrong = map(np.concatenate, zip(
        *((uncertainty(p)[0], answer != truth) for p, truth, answer in
          answers(load(run), data, "test")),
        strict=True,
    ))  # fmt: skip
    quarter = np.searchsorted(np.quantile(entropy, [0.25, 0.5, 0.75]), entropy)
    shares = [float(wrong[quarter == k].mean()) for k in range(4)]
    assert shares == sorted(shares)
    assert shares[3] > 3 * shares[1]


@pytest.mark.parametrize("temperature", [0.25, 0.4, 1, 3, 20])
def test_a_tempered_threshold_divides_tempered_probabilities_alike(temperature):
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 2, 20_000).astype(np.float32))
    before, after = (torch.sigmoid(logits / one).numpy() for one in (1, temperature))
    for threshold in (0.05, 0.31, 0.5, 0.77, 0.95):
        clear = np.abs(before - threshold) > 1e-6
        answer = after >= tempered(threshold, temperature)
        assert np.array_equal(answer[clear], (before >= threshold)[clear])
    assert tempered(0.5, temperature) == 0.5
    assert tempered(0.31, 1) == 0.31


@pytest.mark.parametrize("threshold", [0.05, 0.95])
def test_a_threshold_stays_between_0_and_1_in_single_precision(threshold):
    assert 0 < np.float32(tempered(threshold, 0.05)) < 1


def test_a_temperature_is_fitted_to_every_head():
    random = np.random.default_rng(0)
    network = read_recipe().network
    labels = random.integers(0, 3, 900)
    three = random.normal(0, 1, (3, 900)).astype(np.float32)
    three[labels, np.arange(900)] += 1
    softmax = network.model_copy(update={"head": "softmax", "classes": 3})
    sample = gather(gather(None, three[:, :500], labels[:500], softmax), three[:, 500:],
                    labels[500:], softmax)  # fmt: skip
    assert fit_temperature(sample) == fit_temperature(PixelSample.of(3).with_image(three, labels))
    one = network.model_copy(update={"head": "sigmoid", "classes": 1})
    mask = gather(gather(None, three[:1, :500], labels[:500], one), three[:1, 500:], labels[500:],
                  one)  # fmt: skip
    assert fit_temperature(mask).temperature == pytest.approx(
        fit_temperature(histogram(three[0], labels > 0)).temperature
    )
    two = network.model_copy(update={"head": "softmax", "classes": 2})
    assert fit_temperature(gather(None, three[:2], labels > 0, two)).temperature == pytest.approx(
        fit_temperature(histogram(three[1] - three[0], labels > 0)).temperature
    )
    several = network.model_copy(update={"head": "sigmoid", "classes": 2})
    both = fit_temperature(gather(None, three[1:], labels, several))
    assert both.pixels == 1800
    expected = histogram(three[1], labels == 1) + histogram(three[2], labels == 2)
    assert both.temperature == pytest.approx(fit_temperature(expected).temperature)


def test_what_is_said_of_the_calibration():
    fit = Calibration(1.834, "", 0.1, 0.2, 0.0123, 0.0456, 99)
    assert calibrated(fit) == (
        "calibrated on val: temperature 1.83, ECE 0.0456 before, 0.0123 after"
    )
    held = Calibration(20.0, "held at the bound of 20", 0.1, 0.2, 0.0123, 0.0456, 99)
    assert "temperature 20 (held at the bound of 20), ECE" in calibrated(held)
    assert calibrated(Calibration(reason="every pixel is background")) == (
        "probabilities are not calibrated: on val, every pixel is background"
    )


def test_a_card_keeps_the_calibration_and_gives_it_back(discs, run):
    old = read_card(run)
    dataset = read_dataset(discs)
    recipe = read_recipe(run / "recipe.yaml")

    def written(fit):
        result = Validation(0.5, 0.9, 0.4, (0.2, 0.2), fit)
        seen = {"train": (), "val": ("case3",)}
        return Card.model_validate_json(
            card(recipe, dataset, old.normalization, result, seen, {}).model_dump_json()
        )

    fit = Calibration(1.834, "", 0.1, 0.2, 0.0123, 0.0456, 99)
    kept = written(fit)
    assert kept.temperature == 1.834
    assert kept.scores == {
        "val_dice": 0.9, "val_loss": 0.5, "val_ece": 0.0123, "val_ece_uncalibrated": 0.0456,
    }  # fmt: skip
    assert calibrated(recall(kept)) == calibrated(fit)
    nothing = written(Calibration())
    assert nothing.temperature == 1
    assert set(nothing.scores) == {"val_dice", "val_loss"}  # a header holds no nan
    assert calibrated(recall(nothing)) == (
        "probabilities are not calibrated: on val, nothing could be fitted"
    )


def test_a_val_without_foreground_is_not_calibrated_and_says_so(tmp_path):
    data = blobs(tmp_path / "data")
    empty = np.zeros((48, 48), np.uint8)
    Image.fromarray(empty).save(data / "masks" / "case3.png")
    said = []
    done = train(data, tmp_path / "run", changes=[*TINY, "train.epochs=1"], say=said.append)
    assert said[-1] == "probabilities are not calibrated: on val, every pixel is background"
    assert done.best.calibration.temperature == load(tmp_path / "run").card.temperature == 1
    said.clear()
    again = train(data, tmp_path / "run", resume=True, say=said.append)
    assert again.best.threshold == done.best.threshold
    assert said[-1].startswith("probabilities are not calibrated: ")


FORMS = {
    "valid": ["network.padding=valid", "train.patch=60", "network.norm=none"],
    "softmax": ["network.head=softmax"],
    "deep": ["network.deep_supervision=true", "network.block=residual", "network.attention=true"],
    "instance": ["network.norm=instance", "network.upsampling=linear"],
    "group": ["network.norm=group", "network.upsampling=nearest", "network.checkpointing=true"],
    "losses": ["loss={focal: 1, tversky: 1, cl_dice: 0.5}", "network.skips=01"],
    "bf16": ["train.precision=bf16", "train.allocator=true"],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_trains_and_predicts(discs, tmp_path, form):
    changes = [*TINY, "train.epochs=1", "train.steps=2", *FORMS[form]]
    train(discs, tmp_path / "run", changes=changes)
    answer = load(tmp_path / "run")(np.zeros((1, 50, 41), np.float32))
    assert answer.labels.shape == (50, 41)
    assert np.isfinite(answer.probabilities).all()


def test_a_state_of_another_version_is_not_resumed(discs, tmp_path, monkeypatch):
    monkeypatch.setattr("unetkit.training.resume._FORMAT", 1)
    train(discs, tmp_path / "run", changes=[*TINY, "train.epochs=1"])
    monkeypatch.undo()
    with pytest.raises(InputError, match="another version of unetkit; resume with that version"):
        train(discs, tmp_path / "run", resume=True)


def test_several_sigmoid_labels():
    labels = torch.tensor([[[0, 1, 2, -1]]])
    network = read_recipe().network.model_copy(update={"head": "sigmoid", "classes": 2})
    assert supervise(labels, network).tolist() == [[[[0, 1, 0, -1]], [[0, 0, 1, -1]]]]
    one = network.model_copy(update={"classes": 1})
    assert supervise(labels, one) is labels


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(("name", "changes"), [
    ("camvid", []), ("dsb2018", []), ("sen1floods11", []), ("ctc_phc_u373", []),
    ("msd_hippocampus", ["train.patch=32", "network.depth=2"]), ("dubai_aerial", []),
    ("isbi2012_em", []),
])  # fmt: skip
def test_the_main_job_runs_on_every_real_set(real, tmp_path, name, changes):
    tiny = [c for c in TINY if "patch" not in c]
    data = real(name)
    tiny += ["train.epochs=1", "train.steps=2", "train.patch=64"]
    train(data, tmp_path / "run", changes=[*tiny, *changes])
    dataset = read_dataset(data)
    answer = load(tmp_path / "run")(dataset.load(dataset.select("val")[0]).image)
    assert answer.labels.max() < len(dataset.task.classes)
