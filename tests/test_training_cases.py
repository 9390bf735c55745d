"""The cases of a run: decoded when wanted, few of many, and those that are left out."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from conftest import TINY, blobs
from unetkit.data import Dataset, read_dataset
from unetkit.errors import InputError
from unetkit.metrics import best_threshold
from unetkit.recipe import read_recipe
from unetkit.segmenter import load
from unetkit.training import train
from unetkit.training.cases import LeftOut
from unetkit.training.record import warn
from unetkit.training.schedule import Progress
from unetkit.training.validate import Validation, best, curve


def history(folder):
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def same_weights(one, other):
    a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


# ------------------------------------------------------------- sets that do not fit into memory


def test_memory_does_not_change_what_is_learnt(discs, tmp_path):
    extra = ["loss.skeleton_recall=1", "loss.boundary=1", "loss.cross_entropy.border={}"]
    for name, cache in (("all", "4"), ("one", "2e-5"), ("none", "1e-9")):
        train(discs, tmp_path / name, changes=[*TINY, *extra, f"train.cache={cache}"])
    for name in ("one", "none"):
        assert same_weights(tmp_path / "all", tmp_path / name)
        rows = [
            [{k: v for k, v in row.items() if k != "seconds"} for row in history(tmp_path / one)]
            for one in ("all", name)
        ]
        assert rows[0] == rows[1]


@pytest.fixture
def decodings(monkeypatch):
    """Give the list of cases that are decoded, as it grows."""
    done, load = [], Dataset.load

    def counted(self, case):
        done.append(case.id)
        return load(self, case)

    monkeypatch.setattr(Dataset, "load", counted)
    return done


def test_a_case_is_decoded_when_its_turn_comes(tmp_path, decodings):
    data = blobs(tmp_path / "data", count=60, size=24)
    begun = []
    train(
        data, tmp_path / "run", changes=[*TINY, "train.epochs=2", "train.steps=4"],
        on_plan=lambda *_: decodings.clear(),
        on_step=lambda _: begun.append(len(decodings)),
    )  # fmt: skip
    assert begun[0] <= 2 + 16  # those of one step, and those prepared ahead
    assert begun[3] <= 8 + 16
    assert len(set(decodings)) == len(decodings) < 40  # memory holds them: none is decoded twice


def test_what_does_not_fit_is_decoded_again(tmp_path, decodings):
    data = blobs(tmp_path / "data", count=8, size=24)
    train(data, tmp_path / "run", changes=[*TINY, "train.epochs=3", "train.cache=1e-9"],
          on_plan=lambda *_: decodings.clear())  # fmt: skip
    assert decodings.count("case6") == 3  # of val, once each epoch
    assert 30 <= len(decodings) <= 30 + 3 + 2


@pytest.mark.parametrize("limit", ["null", "5", "30"])
def test_some_validation_cases_stand_for_many(tmp_path, decodings, limit):
    data = blobs(tmp_path / "data", count=12, size=24)
    names = [f"case{k}" for k in range(12)]
    split = {"train": names[:2], "val": names[2:11], "test": names[11:]}
    (data / "split.json").write_text(json.dumps(split))
    rows = []
    train(data, tmp_path / "run", changes=[*TINY, "train.epochs=1", f"train.val_cases={limit}"],
          on_plan=lambda *plan: (decodings.clear(), rows.extend(plan[2])))  # fmt: skip
    card = load(tmp_path / "run").card
    some = ("case2", "case4", "case6", "case8", "case10")
    assert card.cases["val"] == (some if limit == "5" else tuple(names[2:11]))
    assert set(decodings) == {*names[:2], *card.cases["val"]}
    shown = {row[0]: row[1] for row in rows}["judged"]
    assert shown == ("5 of 9 cases" if limit == "5" else "9 cases")
    images = "5 of 9 images" if limit == "5" else "9 images"
    assert card.threshold_from == f"tuned on val ({images})"
    assert read_recipe(tmp_path / "run" / "recipe.yaml").train.val_cases == (
        5 if limit == "5" else 9
    )


def test_the_card_names_the_cases_that_had_a_turn(tmp_path):
    data = blobs(tmp_path / "data", count=12, size=24)
    train(data, tmp_path / "run", changes=[*TINY, "train.epochs=1", "train.steps=2"])
    seen = load(tmp_path / "run").card.cases["train"]
    assert len(set(seen)) == 4
    assert set(seen) < set(read_dataset(data).split["train"])


@pytest.mark.parametrize("form", ["smooth", "coarse", "equal"])
def test_the_threshold_is_the_one_that_the_metrics_find(form):
    chance = np.random.default_rng(0)
    truths = [chance.random((30, 20)) < share for share in (0.2, 0.5, 0.0, 0.01)]
    noise = [chance.normal(0, 1, t.shape) for t in truths]
    images = [1 / (1 + np.exp(-(3 * t - 1 + n))) for t, n in zip(truths, noise, strict=True)]
    if form == "coarse":  # many fall on the thresholds themselves
        images = [image.round(2) for image in images]
    elif form == "equal":
        images = [np.full_like(image, 0.3) for image in images]
    images = [image.astype(np.float32) for image in images]
    valids = [chance.random(t.shape) < 0.8 for t in truths]
    valids[1][:] = False
    curves = [curve(i[v], t[v]) for i, t, v in zip(images, truths, valids, strict=True)]
    found = best(curves)
    assert found == best_threshold(images, truths, valids)
    share = (images[0][valids[0]] >= found[0]).mean()
    assert curves[0].share(found[0]) == share


def test_validation_without_a_pixel_is_named(tmp_path):
    data = blobs(tmp_path / "data", fov=True)
    split = read_dataset(data).split
    (data / "fov" / f"{split['val'][0]}.png").unlink()
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(data / "fov" / f"{split['val'][0]}.png")
    with pytest.raises(InputError, match="no pixel of val counts; check the masks and fields"):
        train(data, tmp_path / "run", changes=[*TINY, "train.epochs=1"])


def test_waiting_for_images_is_named_and_told(discs, tmp_path):
    said, steps = [], []
    result = Validation(1.0, 0.9, 0.5, (0.2, 0.2))
    warn(result, Progress(epoch=2), 0.5, said.append)
    warn(result, Progress(epoch=2), 0.1, said.append)
    warn(result, Progress(epoch=3), 0.5, said.append)
    (line,) = said
    assert line.startswith("note: 50% of the time passes in waiting for images to be decoded")
    assert line.endswith("raise train.cache")
    train(discs, tmp_path / "run", changes=[*TINY, "train.epochs=2"], on_step=steps.append)
    assert all(0 <= step.waited < 1 for step in steps)
    assert steps[0].waited > steps[-1].waited == 0


# ------------------------------------------------------------------------------ cases left out


def tear(path):
    """Leave the head of a file, as a broken copy does."""
    path.write_bytes(path.read_bytes()[:60])


def rows_of(folder):
    with (folder / "skipped.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def torn(tmp_path):
    """Give a set of twelve cases, two of which cannot be read at all."""
    data = blobs(tmp_path / "torn", count=12, size=24)
    (data / "images" / "case3.png").write_bytes(b"")
    (data / "masks" / "case5.png").write_bytes(b"no picture")
    return data


def test_a_bad_file_stops_the_run_with_the_cure(torn, tmp_path):
    with pytest.raises(InputError, match=r"case[35]\.png: .*--skip-bad$") as caught:
        train(torn, tmp_path / "run", changes=TINY)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "skipped.csv").exists()


def test_bad_files_are_left_out_said_and_listed(torn, tmp_path):
    said = []
    done = train(torn, tmp_path / "run", changes=TINY, skip_bad=True, say=said.append)
    told = [line for line in said if line.startswith("left out: ")]
    assert [any(f"case{k}.png" in line for line in told) for k in (3, 5)] == [True, True]
    assert len(told) == 2
    rows = rows_of(tmp_path / "run")
    assert [(row["case"], row["file"]) for row in sorted(rows, key=lambda row: row["case"])] == [
        ("case3", str(torn / "images" / "case3.png")), ("case5", str(torn / "masks" / "case5.png")),
    ]  # fmt: skip
    assert all(row["reason"] for row in rows)
    assert {case.id for case in done.dataset.cases} == {f"case{k}" for k in range(12)} - {
        "case3", "case5",
    }  # fmt: skip
    sound = blobs(tmp_path / "sound", count=12, size=24)
    for part in ("images", "masks"):
        for k in (3, 5):
            (sound / part / f"case{k}.png").unlink()
    split = json.loads((sound / "split.json").read_text())
    split["train"] = [i for i in split["train"] if i not in ("case3", "case5")]
    (sound / "split.json").write_text(json.dumps(split))
    train(sound, tmp_path / "other", changes=TINY)
    assert same_weights(tmp_path / "run", tmp_path / "other")
    assert not (tmp_path / "other" / "skipped.csv").exists()


def test_what_turns_out_to_be_unreadable_is_left_out_too(tmp_path):
    """Of training, whose next case takes the turn, and of validation."""
    data = blobs(tmp_path / "data", count=12, size=24)
    names = [f"case{k}" for k in range(12)]
    split = {"train": names[:8], "val": names[8:11], "test": names[11:]}
    (data / "split.json").write_text(json.dumps(split))

    def spoil(*_):
        for k in (1, 9):
            tear(data / "images" / f"case{k}.png")

    with pytest.raises(InputError, match=r"case1\.png: .*--skip-bad$"):
        train(data, tmp_path / "no", changes=TINY, on_plan=spoil)
    blobs(data, count=12, size=24)
    (data / "split.json").write_text(json.dumps(split))
    said = []
    done = train(data, tmp_path / "run", changes=[*TINY, "train.cache=1e-9"], skip_bad=True,
                 on_plan=spoil, say=said.append)  # fmt: skip
    assert len([line for line in said if line.startswith("left out: ")]) == 2
    assert [row["case"] for row in rows_of(tmp_path / "run")] == ["case1", "case9"]
    card = load(tmp_path / "run").card
    assert card.cases["val"] == ("case8", "case10")
    assert "case1" not in card.cases["train"]
    assert len(card.cases["train"]) == 7
    assert card.threshold_from == "tuned on val (2 of 3 images)"
    assert {"case1", "case9"}.isdisjoint(case.id for case in done.dataset.cases)


def test_a_resumed_run_leaves_out_what_it_had_left_out(torn, tmp_path):
    """Though the files have been mended in the meantime, so that a straight run is repeated."""
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    whole = blobs(tmp_path / "whole", count=12, size=24)

    def spoil(*_):
        tear(torn / "images" / "case1.png")

    class StopError(Exception):
        pass

    def stop(step):
        if step.epoch == 3:
            raise StopError

    train(torn, straight, changes=TINY, skip_bad=True, on_plan=spoil)
    shutil.copy(whole / "images" / "case1.png", torn / "images")
    with pytest.raises(StopError):
        train(torn, killed, changes=TINY, skip_bad=True, on_plan=spoil, on_step=stop)
    for part in ("images", "masks"):
        shutil.copytree(whole / part, torn / part, dirs_exist_ok=True)
    said = []
    train(torn, killed, resume=True, say=said.append)
    assert "3 files stay left out as before" in said[0]
    assert not [line for line in said if line.startswith("left out: ")]
    assert same_weights(straight, killed)
    assert sorted(row["case"] for row in rows_of(killed)) == ["case1", "case3", "case5"]
    assert load(killed).card.cases == load(straight).card.cases


def test_more_than_half_bad_is_no_set_to_train_on(tmp_path):
    data = blobs(tmp_path / "data", count=12, size=24)
    for k in range(7):
        (data / "images" / f"case{k}.png").write_bytes(b"")
    line = "7 of 12 cases cannot be used, the first for: .*; see what is wrong with unet check"
    with pytest.raises(InputError, match=line):
        train(data, tmp_path / "run", changes=TINY, skip_bad=True)
    assert len(rows_of(tmp_path / "run")) == 7


def test_more_than_half_bad_is_noticed_while_they_are_decoded(tmp_path):
    data = blobs(tmp_path / "data", count=12, size=24)

    def spoil(*_):
        for k in range(8):
            tear(data / "images" / f"case{k}.png")

    with pytest.raises(InputError, match="7 of 12 cases cannot be used"):
        train(data, tmp_path / "run", changes=TINY, skip_bad=True, on_plan=spoil)
    assert len(rows_of(tmp_path / "run")) == 7


def test_without_a_validation_case_there_is_nothing_to_choose_by(tmp_path):
    data = blobs(tmp_path / "data", count=12, size=24)
    with pytest.raises(InputError, match="no case of val is left to judge a checkpoint by"):
        train(data, tmp_path / "run", changes=[*TINY, "train.epochs=1"], skip_bad=True,
              on_plan=lambda *_: tear(data / "images" / "case10.png"))  # fmt: skip


def test_a_run_is_not_resumed_without_its_cases(tmp_path):
    data = blobs(tmp_path / "data", count=6, size=24)
    train(data, tmp_path / "run", changes=[*TINY, "train.epochs=1"])
    for part in ("images", "masks"):
        (data / part / "case0.png").unlink()
    split = json.loads((data / "split.json").read_text())
    (data / "split.json").write_text(json.dumps({**split, "train": split["train"][1:]}))
    with pytest.raises(InputError, match=r"case0: was there when the run began; restore it.*skip"):
        train(data, tmp_path / "run", resume=True)
    train(data, tmp_path / "run", resume=True, skip_bad=True)
    assert [row["case"] for row in rows_of(tmp_path / "run")] == ["case0"]


def test_a_run_that_a_bad_file_stopped_can_go_on_without_it(tmp_path):
    """Whether the file is noticed when the set is read, or when it is decoded."""
    data = blobs(tmp_path / "data", count=8, size=24)

    def spoil(step):
        if (step.epoch, step.step) == (2, 6):
            tear(data / "images" / "case2.png")

    small, torn, gone = [*TINY, "train.cache=1e-9"], tmp_path / "torn", tmp_path / "gone"
    with pytest.raises(InputError, match=r"case2\.png: .*--skip-bad$"):
        train(data, torn, changes=small, on_step=spoil)
    assert len(history(torn)) == 1
    shutil.copytree(torn, gone)
    train(data, torn, resume=True, skip_bad=True)
    (data / "images" / "case2.png").write_bytes(b"")
    train(data, gone, resume=True, skip_bad=True)
    for run in (torn, gone):
        assert len(history(run)) == 4
        assert {row["case"] for row in rows_of(run)} == {"case2"}
        cases = load(run).card.cases["train"]
        assert cases == ("case0", "case1", "case3", "case4", "case5")
    assert same_weights(torn, gone)


def test_a_resumed_run_keeps_to_its_cases_where_there_are_more(tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    data = blobs(tmp_path / "data", count=6, size=24)
    train(data, straight, changes=TINY)
    train(data, killed, changes=[*TINY, "train.epochs=2"])
    recipe = killed / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("epochs: 2", "epochs: 4"))
    more = blobs(tmp_path / "data", count=9, size=24)
    train(more, killed, resume=True)
    kept = load(killed).card.cases
    assert kept == load(straight).card.cases == {
        "train": ("case0", "case1", "case2", "case3"), "val": ("case4",),
    }  # fmt: skip


def test_what_is_unreadable_when_the_set_is_measured_is_left_out(tmp_path):
    """A torn picture has a sound header: reading the set does not notice, measuring it does."""
    data = blobs(tmp_path / "data", count=12, size=24)
    tear(data / "images" / "case1.png")
    with pytest.raises(InputError, match=r"case1\.png: .*--skip-bad$"):
        train(data, tmp_path / "no", changes=TINY)
    said = []
    done = train(data, tmp_path / "run", changes=TINY, skip_bad=True, say=said.append)
    assert [row["case"] for row in rows_of(tmp_path / "run")] == ["case1"]
    assert len([line for line in said if line.startswith("left out: ")]) == 1
    assert "case1" not in {case.id for case in done.dataset.cases}
    assert len(load(tmp_path / "run").card.cases["train"]) == 9


def test_an_error_that_is_no_case_s_fault_is_not_left_out(tmp_path):
    data = blobs(tmp_path / "data")
    with pytest.raises(InputError, match=r"no such folder|no images|nothing") as caught:
        train(data / "nowhere", tmp_path / "run", changes=TINY, skip_bad=True)
    assert "--skip-bad" not in str(caught.value)
    left = LeftOut(tmp_path, allowed=True, say=print)
    left.start(read_dataset(data))
    with pytest.raises(InputError, match="elsewhere"):
        left.without(read_dataset(data), InputError("is torn", where="elsewhere"))
