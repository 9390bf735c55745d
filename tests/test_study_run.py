"""Each cell of a study is done once, whatever befalls it; the table says what the cells say."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file

from conftest import PATIENCE, TINY, blobs, environment, wait_for
from unetkit.errors import InputError
from unetkit.machine import cores
from unetkit.network import NetworkConfig, UNet
from unetkit.recipe import read_recipe, to_document
from unetkit.segmenter import load, read_card
from unetkit.study import StudyConfig, cells, run_study, write_study
from unetkit.study.crew import _outcome, run_here
from unetkit.study.grid import to_yaml
from unetkit.study.run import _job
from unetkit.study.work import Job, flops, read_note

QUICK = ["train.epochs=2", "train.steps=3"]
LAST = 14
LONG = [f"train.epochs={LAST}", "train.steps=4", "network.depth=1"]  # time to interrupt it


def study_of(data, changes=(), **keys):
    pairs = [change.split("=", 1) for change in (*TINY, *changes)]
    fixed = {key: yaml.safe_load(value) for key, value in pairs}
    keys = {"axes": {"network.width": [2, 4]}, "topology": False, **keys}
    return StudyConfig(name="widths", dataset=str(data), set=fixed, **keys)


def slow(data, **keys):
    """Give a study whose cells take long enough to be interrupted, on one thread each."""
    return study_of(data, LONG, threads=1, **keys)


def told(study, out, **options):
    """Run a study; give it, and what the hook was told: cell → note."""
    notes = {}

    def on_cell(done, total, cell, note):
        assert total == len(cells(study))
        assert cell.key not in notes
        notes[cell.key] = {**note, "done": done}

    return run_study(study, out, on_cell=on_cell, **options), notes


def folders(study, out):
    return [Path(out) / "cells" / cell.key for cell in cells(study)]


def table(out):
    with (Path(out) / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def history(folder):
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def epochs(folder):
    with suppress(FileNotFoundError):
        return [int(row["epoch"]) for row in history(folder)]
    return []


def attempts(study, out):
    return [read_note(folder).get("attempts") for folder in folders(study, out)]


def times(folder):
    """Give the time of the last change of every file; a lock is touched by whoever asks."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path: path.stat().st_mtime_ns for path in files}


def same_run(one, other):
    """Compare models bit for bit and histories but for the time they took."""
    a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    rows = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in history(folder)]
        for folder in (one, other)
    ]
    assert rows[0] == rows[1]
    assert [int(row["epoch"]) for row in rows[0]] == list(range(1, len(rows[0]) + 1))
    return True


def holder(folder):
    """Find the process that has a cell under way: it holds the lock in its folder."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any(file.path == str(folder / ".lock") for file in process.open_files()):
                return process
    return None


def under_way(study, out):
    """Find a cell that can be resumed and goes on, and its process.

    The history is written before the state to resume from, so the last epoch may not count yet.
    """
    for folder in folders(study, out):
        if len(epochs(folder)) > 1 and read_note(folder).get("status") == "running":
            process = holder(folder)
            if process is not None:
                return folder, process
    return None


@contextmanager
def meanwhile(action):
    """Do something in a thread while the body runs; its failure is the test's."""
    faults = []

    def act():
        try:
            action()
        except BaseException as error:
            faults.append(error)

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    yield
    thread.join(PATIENCE)
    assert not thread.is_alive()
    for fault in faults:
        raise fault


SCRIPT = """
import sys
from unetkit.study import run_study
if __name__ == "__main__":
    run_study(sys.argv[1], sys.argv[2])
"""


def start(study, out, folder):
    """Run a study in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(to_yaml(study))
    (folder / "script.py").write_text(SCRIPT)
    with (folder / "said.txt").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, folder / "script.py", folder / "study.yaml", out],
            stdout=said, stderr=said, env=environment(),
        )  # fmt: skip


@pytest.fixture(scope="module")
def small(discs, tmp_path_factory):
    """Give a finished study of two widths and two seeds, done two at a time."""
    out = tmp_path_factory.mktemp("studies") / "small"
    study = study_of(discs, QUICK, seeds=(0, 1))
    result, notes = told(study, out, workers=2)
    return SimpleNamespace(study=study, out=out, result=result, notes=notes)


@pytest.fixture
def mine(small, tmp_path):
    """Give a copy of the small study that a test may change."""
    return SimpleNamespace(study=small.study, out=shutil.copytree(small.out, tmp_path / "mine"))


@pytest.fixture(scope="module")
def straight(discs, tmp_path_factory):
    """Give the slow study as it is when nobody disturbs it."""
    out = tmp_path_factory.mktemp("studies") / "straight"
    study = slow(discs)
    run_study(study, out, workers=2)
    assert [epochs(folder)[-1] for folder in folders(study, out)] == [LAST, LAST]
    return out


@pytest.fixture(autouse=True)
def _plain_page(request, monkeypatch):
    """Save the seconds that figures take; the command and the module's own studies draw them."""
    if "unet" not in request.fixturenames:
        monkeypatch.setattr("unetkit.study.run.write_page", lambda _, path, **__: path)
        monkeypatch.setattr("unetkit.study.run.write_markdown", lambda *_, **__: None)


# ---------------------------------------------------------------------- what a study leaves behind


def test_every_cell_is_done_and_told_once(small):
    every = cells(small.study)
    assert len(every) == 4
    assert set(small.notes) == {cell.key for cell in every}
    assert sorted(note["done"] for note in small.notes.values()) == [1, 2, 3, 4]
    for cell in every:
        note = small.notes[cell.key]
        assert (note["status"], note["attempts"]) == ("done", 1)
        assert read_note(small.out / "cells" / cell.key) == {
            key: value for key, value in note.items() if key != "done"
        }
    assert {path.name for path in small.out.iterdir()} >= {
        "cells", "study.yaml", "results.csv", "study.html", "study.md",
    }  # fmt: skip
    assert small.result.page == small.out / "study.html"
    assert small.result.page.read_text().lstrip().startswith("<")
    assert small.result.findings.runs == 4
    assert small.result.sentences


def test_a_cell_is_an_ordinary_run(small, unet, tmp_path, discs):
    for cell in cells(small.study):
        folder = small.out / "cells" / cell.key
        assert {path.name for path in folder.iterdir()} >= {
            "recipe.yaml", "model.safetensors", "metrics.json", "history.csv", "cell.json",
            "environment.json", "last", "val",
        }  # fmt: skip
        segmenter = load(folder)
        recipe = read_recipe(folder / "recipe.yaml")
        assert recipe.network.width == int(cell.levels["network.width"])
        assert recipe.seed == cell.seed
        assert (recipe.train.epochs, recipe.train.steps) == (2, 3)
        assert segmenter.card.recipe == to_document(recipe)
    before = json.loads((folder / "metrics.json").read_text())
    copy = shutil.copytree(folder, tmp_path / "run")
    code, out, err = unet("evaluate", copy, discs)
    assert (code, err) == (0, "")
    assert "test: 1 images" in out
    after = json.loads((copy / "metrics.json").read_text())
    assert after["mean"] == before["mean"]


def test_the_table_says_what_the_cells_say(small):
    rows = table(small.out)
    every = cells(small.study)
    assert [row["cell"] for row in rows] == [cell.key for cell in every]
    scores = list(json.loads((folders(small.study, small.out)[0] / "metrics.json").read_text())
                  ["mean"])  # fmt: skip
    assert scores[:2] == ["dice", "iou"]
    assert list(rows[0]) == [
        "cell", "dataset", "network.width", "seed", "status", "error", "attempts", "parameters",
        "gflops", "seconds", "steps", "memory_mib", "threads", "threshold",
        *(f"test_{name}" for name in scores), *(f"test_{name}_at_0.5" for name in scores),
        *(f"val_{name}" for name in scores),
    ]  # fmt: skip
    for row, cell in zip(rows, every, strict=True):
        folder = small.out / "cells" / cell.key
        test = json.loads((folder / "metrics.json").read_text())
        val = json.loads((folder / "val" / "metrics.json").read_text())
        assert (test["protocol"]["split"], val["protocol"]["split"]) == ("test", "val")
        expected = {
            **{f"test_{name}": value for name, value in test["mean"].items()},
            **{f"test_{k}_at_0.5": v for k, v in test["fixed_threshold"]["mean"].items()},
            **{f"val_{name}": value for name, value in val["mean"].items()},
        }
        assert {k: None if row[k] == "" else float(row[k]) for k in expected} == expected
        assert row["dataset"] == Path(cell.data).name
        assert (row["network.width"], row["seed"]) == (cell.levels["network.width"], str(cell.seed))
        assert (row["status"], row["error"], row["attempts"]) == ("done", "", "1")
        assert float(row["threshold"]) == test["protocol"]["threshold"]
        # Costs, each by another way than the study's.
        network = UNet(read_card(folder).network)
        assert int(row["parameters"]) == sum(p.numel() for p in network.parameters())
        assert float(row["gflops"]) * 1e9 == flops(network.config, (32, 32))
        assert int(row["steps"]) == 6
        assert row["seconds"] == history(folder)[-1]["seconds"]
        assert 50 < int(row["memory_mib"]) < 20000
        assert int(row["threads"]) == max(1, cores() // 2)  # two at a time share the cores
    assert len({row["test_dice"] for row in rows}) > 1


@pytest.mark.parametrize(("skip", "taken"), [("1", 2), ("0", 1)])
def test_flops_by_hand(skip, taken):
    """A multiply-add is two: 2 · k² · channels in · channels out · pixels, layer by layer."""
    w, h, size, classes, colours = 6, 32, 48, 2, 3
    layers = [
        (9, colours, w, h * size), (9, w, w, h * size),
        (9, w, 2 * w, h * size // 4), (9, 2 * w, 2 * w, h * size // 4),
        (4, 2 * w, w, h * size // 4),  # the up-convolution, per pixel it reads
        (9, taken * w, w, h * size), (9, w, w, h * size), (1, w, classes, h * size),
    ]  # fmt: skip
    config = NetworkConfig(ndim=2, channels=colours, classes=classes, depth=1, width=w, skips=skip)
    assert flops(config, (h, size)) == sum(2 * k * i * o * pixels for k, i, o, pixels in layers)


def test_folds_are_scored_on_their_own_parts(tmp_path):
    """Every case is tested once over the folds, and the rows say which fold they are."""
    data = blobs(tmp_path / "six", count=6)
    study = study_of(data, QUICK, axes={}, folds=3)
    run_study(study, tmp_path / "out", workers=2)
    tested = []
    for row, folder in zip(table(tmp_path / "out"), folders(study, tmp_path / "out"), strict=True):
        metrics = json.loads((folder / "metrics.json").read_text())
        tested += [(row["fold"], image["id"]) for image in metrics["per_image"]]
        assert "seen_in_training" not in metrics["protocol"]
    assert tested == [(str(index // 2), f"case{index}") for index in range(6)]


# --------------------------------------------------------------------------------------- once only


def test_a_second_call_runs_nothing(mine):
    before = [times(folder) for folder in folders(mine.study, mine.out)]
    (mine.out / "results.csv").unlink()
    result, notes = told(mine.study, mine.out, workers=2)
    assert notes == {}
    assert [times(folder) for folder in folders(mine.study, mine.out)] == before
    assert attempts(mine.study, mine.out) == [1, 1, 1, 1]
    assert result.findings.runs == len(table(mine.out)) == 4


def test_a_study_that_grows_runs_what_is_new(mine, discs):
    before = {folder: times(folder) for folder in folders(mine.study, mine.out)}
    grown = study_of(discs, QUICK, axes={"network.width": [4, 2]}, seeds=(1, 0, 2))
    grown = grown.model_copy(update={"axes": {"network.width": [2]}})
    result, notes = told(grown, mine.out)
    (new,) = (cell for cell in cells(grown) if cell.seed == 2)
    assert set(notes) == {new.key}
    assert notes[new.key]["done"] == 3  # two were
    assert {folder: times(folder) for folder in before} == before
    assert [row["seed"] for row in table(mine.out)] == ["1", "0", "2"]
    assert attempts(grown, mine.out) == [1, 1, 1]
    assert result.findings.runs == 3


def test_other_splits_and_metrics_are_scored_without_training(mine):
    """What `test` scored must never stand in the table as `val`."""
    update = {"axes": {"network.width": [2]}, "seeds": (0,)}
    study = mine.study.model_copy(update=update)
    (folder,) = folders(study, mine.out)
    before, cost = times(folder), read_note(folder)["cost"]
    for change in ({"report": "val"}, {"report": "train"}, {"topology": True}, {"boundary": True}):
        study = study.model_copy(update=change)
        write_study(study, mine.out)
        if "report" in change:
            (row,) = table(mine.out)
            assert row["status"] == "failed"
            assert "run the study again" in row["error"]
            assert not any(name.startswith(("test_", "val_", "train_")) for name in row)
        _, notes = told(study, mine.out)
        assert len(notes) == 1
        (row,) = table(mine.out)
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics["protocol"]["split"] == study.report
        assert float(row[f"{study.report}_dice"]) == metrics["mean"]["dice"]
        assert row["status"] == "done"
        assert told(study, mine.out)[1] == {}
    assert {"train_cl_dice", "train_hd95", "val_hd95"} <= set(row)
    kept = ("model.safetensors", "history.csv", "recipe.yaml", "state.safetensors")
    after = times(folder)
    assert all(after[path] == before[path] for path in before if path.name in kept)
    assert read_note(folder)["cost"] == cost  # of the training


def test_lost_scores_are_taken_again(mine):
    (folder, *_) = folders(mine.study, mine.out)
    model = times(folder)[folder / "model.safetensors"]
    before = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text("{")
    result = write_study(mine.study, mine.out)
    assert (result.findings.runs, result.findings.failed) == (3, 1)
    _, notes = told(mine.study, mine.out)
    assert list(notes) == [folder.name]
    assert json.loads((folder / "metrics.json").read_text())["mean"] == before["mean"]
    assert times(folder)[folder / "model.safetensors"] == model


@pytest.mark.slow
def test_two_studies_on_one_folder_run_each_cell_once(discs, straight, tmp_path):
    study, out, heard = slow(discs), tmp_path / "out", []
    jobs = [_job(cell, study, out) for cell in cells(study)]
    with meanwhile(lambda: run_here(jobs, 1, lambda job, note: heard.append((job.key, note)))):
        wait_for(lambda: under_way(study, out), "the first cell")
        _, notes = told(study, out)  # meets a locked cell first
    assert len(notes) == 2
    for key, note in heard:  # both are told of every cell
        assert notes[key] == {**note, "done": notes[key]["done"]}
        assert (note["status"], note["attempts"]) == ("done", 1)
    assert attempts(study, out) == [1, 1]
    for folder in folders(study, out):
        assert same_run(folder, straight / "cells" / folder.name)


# --------------------------------------------------------------------------------- what goes wrong


def test_a_cell_that_fails_is_a_row_and_is_tried_again(discs, tmp_path, unet):
    """One command after the other, as a user meets it."""
    file, out = tmp_path / "study.yaml", tmp_path / "out"
    study = study_of(discs, QUICK, axes={"data.train_size": [99, 2]}, seeds=(3,))
    file.write_text(to_yaml(study))
    for attempt in (1, 2):
        code, said, err = unet("study", file, "-o", out)
        assert code == 1
        assert err.startswith(f"failed {attempt}/2  discs0: train_size 99, seed 3: ")
        assert "train_size is 99, but there are 3 training cases" in err
        assert ("2/2  discs0: train_size 2, seed 3" in said) is (attempt == 1)  # once is enough
        assert "open the study:" in said
        bad, good = table(out)
        assert (bad["status"], bad["attempts"]) == ("failed", str(attempt))
        assert "lower data.train_size" in bad["error"]
        assert bad["test_dice"] == ""
        assert (good["status"], good["attempts"]) == ("done", "1")
    file.write_text(to_yaml(study.model_copy(update={"axes": {"data.train_size": [2]}})))
    code, said, err = unet("study", file, "-o", out)
    assert (code, err) == (0, "")
    assert f"table: {out / 'results.csv'}" in said
    assert "min left" not in said  # nothing was run


def test_a_split_that_is_missing_fails_before_the_training(discs, tmp_path):
    study = study_of(discs, QUICK, axes={}, report="tset")
    with pytest.raises(
        InputError, match=r"no cases in a split named tset; choose one of train \(3"
    ):
        run_study(study, tmp_path / "out")
    assert not (tmp_path / "out" / "cells").exists()


def test_the_command_says_how_far_it_is(discs, tmp_path, unet):
    file = tmp_path / "mine.yaml"
    file.write_text(to_yaml(study_of(discs, QUICK, axes={"network.width": [2]}, seeds=(0, 5))))
    code, said, err = unet("study", file, "-o", tmp_path / "out", "--workers", "2")
    assert (code, err) == (0, "")
    lines = said.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["1/2", "2/2"]
    assert {line.split("  ")[1] for line in lines[:2]} == {
        "discs0: width 2, seed 0", "discs0: width 2, seed 5",
    }  # fmt: skip
    assert all(re.fullmatch(r"\d+ s, \d+ min left", line.split("  ")[2]) for line in lines[:2])
    assert lines[-1] == f"open the study: {tmp_path / 'out' / 'study.html'}"


@pytest.mark.parametrize(("text", "words", "fault"), [
    ("dataset: gone", [], "there is no data folder gone"),
    ("seedz: 1", [], "unknown key seedz; did you mean seeds?"),
    (None, ["--workers", "0"], "--workers: there must be at least one"),
    (None, ["--scheduler", "nonsense://"], "nonsense://: no Dask scheduler answers"),
])  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_2(discs, tmp_path, unet, text, words, fault):
    if "--scheduler" in words:
        pytest.importorskip("distributed")
    file = tmp_path / "study.yaml"
    file.write_text(f"dataset: {discs}" if text is None else text)
    code, said, err = unet("study", file, "-o", tmp_path / "out", *words)
    assert (code, said) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert fault in err


@pytest.mark.slow
def test_a_killed_cell_is_a_failed_row_and_goes_on_from_its_last_epoch(discs, straight, tmp_path):
    study, out = slow(discs), tmp_path / "out"
    killed = []

    def kill():
        folder, process = wait_for(lambda: under_way(study, out), "a cell with an epoch done")
        process.send_signal(signal.SIGKILL)
        killed.append(folder)

    with meanwhile(kill):
        _, notes = told(study, out, workers=2)
    (folder,) = killed
    (other,) = set(folders(study, out)) - {folder}
    note = notes[folder.name]
    assert note["status"] == "failed"
    assert "SIGKILL" in note["error"]
    assert notes[other.name]["status"] == "done"  # the rest went on
    row = next(row for row in table(out) if row["cell"] == folder.name)
    assert (row["status"], row["error"], row["attempts"]) == ("failed", note["error"], "1")
    rows, before = history(folder), times(other)
    assert 2 <= len(rows) < LAST
    _, notes = told(study, out, workers=2)
    assert set(notes) == {folder.name}
    assert (notes[folder.name]["status"], notes[folder.name]["attempts"]) == ("done", 2)
    assert "error" not in read_note(folder)
    assert history(folder)[: len(rows) - 1] == rows[:-1]  # not trained again: the same seconds
    assert times(other) == before
    for run in (folder, other):
        assert same_run(run, straight / "cells" / run.name)


@pytest.mark.slow
def test_a_killed_study_ends_its_workers_and_is_completed(discs, straight, tmp_path):
    study, out = slow(discs), tmp_path / "out"
    first, second = folders(study, out)
    process = start(study, out, tmp_path / "other")
    wait_for(lambda: read_note(first).get("status") == "done", "the first cell")
    (_, worker) = wait_for(lambda: under_way(study, out), "the second cell")
    process.kill()
    process.wait(PATIENCE)
    before = times(first)
    _, alive = psutil.wait_procs([worker], PATIENCE)
    assert not alive  # nobody trains in the dark
    assert read_note(second) == {"status": "running", "attempts": 1}
    assert not (out / "results.csv").exists()
    rows = history(second)
    assert 2 <= len(rows) < LAST
    _, notes = told(study, out, workers=2)
    assert set(notes) == {second.name}
    assert attempts(study, out) == [1, 2]
    assert times(first) == before
    assert history(second)[: len(rows) - 1] == rows[:-1]
    for folder in (first, second):
        assert same_run(folder, straight / "cells" / folder.name)


@pytest.mark.slow
def test_an_interrupt_leaves_table_and_page(discs, tmp_path, unet):
    study, out = study_of(discs, ["train.epochs=5000"], axes={}), tmp_path / "out"
    (tmp_path / "study.yaml").write_text(to_yaml(study))
    workers = []

    def interrupt():
        _, process = wait_for(lambda: under_way(study, out), "a cell with an epoch done")
        workers.append(process)
        os.kill(os.getpid(), signal.SIGINT)

    # A shell's background job ignores the interrupt.
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with meanwhile(interrupt):
            code, _, err = unet("study", tmp_path / "study.yaml", "-o", out)
    finally:
        signal.signal(signal.SIGINT, usual)
    assert code == 130
    assert "Traceback" not in err
    assert not psutil.wait_procs(workers, PATIENCE)[1]
    (row,) = table(out)
    assert (row["status"], row["attempts"]) == ("running", "1")
    assert (out / "study.html").stat().st_size > 0
    assert (out / "study.md").is_file()


def test_a_process_that_dies_after_its_cell_is_done_took_nothing_along(mine):
    (folder, *_) = folders(mine.study, mine.out)
    job = Job(folder.name, str(folder), "", {}, "test", "val", False, False, None)
    note = read_note(folder)
    assert _outcome(job, -signal.SIGKILL) == note
    assert read_note(folder) == note
    (folder / "cell.json").write_text('{"status": "running", "attempts": 1}')
    for code, words in ((-signal.SIGKILL, "SIGKILL; is there enough memory?"),
                        (-signal.SIGSEGV, "SIGSEGV"), (255, "code 255")):  # fmt: skip
        failed = _outcome(job, code)
        assert (failed["status"], failed["attempts"]) == ("failed", 1)
        assert failed["error"].endswith(words)
        assert read_note(folder) == failed


# -------------------------------------------------------------------------------------------- Dask


@pytest.mark.slow
def test_a_dask_worker_that_is_killed_loses_no_cell(discs, straight, tmp_path, cluster):
    study, out = slow(discs, axes={"network.width": [2, 4, 3]}), tmp_path / "out"
    killed = []

    def kill():
        folder, worker = wait_for(lambda: under_way(study, out), "a cell with an epoch done")
        nanny = worker.parent()
        for process in (nanny, worker):  # the nanny first: it would start another
            process.send_signal(signal.SIGKILL)
        killed.append((folder, history(folder)))

    with meanwhile(kill):
        _, notes = told(study, out, scheduler=cluster)
    ((folder, rows),) = killed
    assert {note["status"] for note in notes.values()} == {"done"}
    assert len(notes) == 3
    expected = [2 if one == folder else 1 for one in folders(study, out)]
    assert attempts(study, out) == expected
    assert [row["attempts"] for row in table(out)] == list(map(str, expected))
    assert 2 <= len(rows) < LAST
    assert history(folder)[: len(rows) - 1] == rows[:-1]  # the other worker went on from there
    for one in folders(study, out)[:2]:
        assert same_run(one, straight / "cells" / one.name)
    assert epochs(folders(study, out)[2]) == list(range(1, LAST + 1))


def test_dask_missing_or_silent_is_one_line(discs, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    real = distributed.Client
    monkeypatch.setattr(distributed, "Client", lambda *a, **k: real(*a, **{**k, "timeout": "1s"}))
    study = study_of(discs)
    with pytest.raises(InputError) as caught:  # nobody listens at port 1
        run_study(study, tmp_path / "out", scheduler="tcp://127.0.0.1:1")
    line = str(caught.value)
    assert line.startswith("tcp://127.0.0.1:1: no Dask scheduler answers")
    assert "start one with dask scheduler" in line
    assert "\n" not in line
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError) as caught:
        run_study(study, tmp_path / "out", scheduler="tcp://127.0.0.1:1")
    assert str(caught.value) == (
        "a Dask cluster needs the extra `dist`; pip install 'unetkit[dist]'"
    )
    assert {row["status"] for row in table(tmp_path / "out")} == {"waiting"}


def test_what_dask_says_of_a_cell_is_noted(discs, tmp_path, monkeypatch):
    """A cluster that answers as told: one cell done, one that kills, one that cannot run."""
    killed = type("KilledWorker", (Exception,), {})
    answers = {}

    class Client:
        def __init__(self, address, **_):
            assert address == "tcp://there:8786"
            self.loop = None

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def submit(self, function, job, key):
            fault, status = answers[job.recipe["network"]["width"]]
            if fault is None and status == "finished":
                function(job)
            return SimpleNamespace(
                key=key, status=status, exception=lambda: fault, release=lambda: None,
                result=lambda: read_note(job.folder),
            )  # fmt: skip

    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(
        Client=Client, KilledWorker=killed, as_completed=lambda futures, **_: futures,
    ))  # fmt: skip
    study = study_of(discs, QUICK, axes={"network.width": [2, 3, 4]})
    answers |= {2: (None, "finished"), 3: (killed("x"), "error"),
                4: (ModuleNotFoundError("No module named 'unetkit'"), "error")}  # fmt: skip
    told(study, tmp_path / "out", scheduler="tcp://there:8786")
    assert [(row["status"], row["error"]) for row in table(tmp_path / "out")] == [
        ("done", ""),
        ("failed", "several workers died over it; is there enough memory?"),
        ("failed", "ModuleNotFoundError: No module named 'unetkit'"),
    ]
    answers |= {3: (None, "cancelled")}
    with pytest.raises(InputError, match=r"there:8786: the Dask scheduler went away; start it"):
        told(study, tmp_path / "out", scheduler="tcp://there:8786")


def test_a_study_file_in_its_own_folder_keeps_its_comments(discs, tmp_path):
    file = tmp_path / "study.yaml"
    text = f"# why we do this\ndataset: {discs}\nset: {{train.steps: 1, data.train_size: 999}}\n"
    file.write_text(text)
    result = run_study(file, tmp_path)
    assert result.findings.failed == 1
    assert file.read_text() == text
