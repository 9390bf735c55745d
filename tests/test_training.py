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
from safetensors.torch import load_file

from conftest import TINY, blobs
from unetkit.data import read_dataset
from unetkit.errors import InputError
from unetkit.recipe import read_recipe
from unetkit.segmenter import load
from unetkit.training import train
from unetkit.training.record import warn
from unetkit.training.schedule import Progress
from unetkit.training.validate import Validation, supervise


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
