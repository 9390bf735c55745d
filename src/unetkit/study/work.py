"""One cell of a study: train, score, and note what it cost. Never done twice, never half done."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch.utils.flop_counter import FlopCounterMode

from unetkit.data import portion, read_dataset
from unetkit.errors import InputError
from unetkit.evaluation import evaluate
from unetkit.files import write_text
from unetkit.network import NetworkConfig, UNet
from unetkit.recipe import check_recipe
from unetkit.segmenter import load
from unetkit.training import Step, train

NOTE = "cell.json"
_ONE_AT_A_TIME = threading.Lock()  # torch's random state belongs to the whole process


@dataclass(frozen=True)
class Job:
    """A cell in a form that travels to any process on any machine that sees the same files.

    Attributes:
        key: of the cell.
        folder: its run folder.
        data: the data folder.
        recipe: a recipe as a document.
        report: the split whose scores are the run's `metrics.json`.
        select: the split that chooses among settings; scored into a folder of that name.
        topology: score clDice and Betti errors.
        boundary: score HD95, ASSD and NSD.
        threads: that it may use; None leaves the process as it is.
    """

    key: str
    folder: str
    data: str
    recipe: dict[str, Any]
    report: str
    select: str
    topology: bool
    boundary: bool
    threads: int | None


def work(job: Job) -> dict[str, Any]:
    """Run a cell to its end, or continue it from its last finished epoch; give its note.

    A lock in the cell's folder, which the system lets go when its holder dies, keeps a second
    process out; whoever comes second finds the work done.

    Returns:
        {"status": "done" or "failed", "error": …, "attempts": …, "cost": {…}}; also in `cell.json`.
    """
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _ONE_AT_A_TIME, FileLock(folder / ".lock"):
        before = read_note(folder)
        if is_done(job):
            return before
        note = {"status": "running", "attempts": before.get("attempts", 0) + 1}
        _write(folder, note)
        (folder / "error.txt").unlink(missing_ok=True)
        try:
            # Of a cell that was trained, and is scored anew, the cost of its training stays.
            note |= {"status": "done", "cost": _do(job, folder) | before.get("cost", {})}
        except InputError as error:
            note |= {"status": "failed", "error": str(error)}
        except Exception as error:
            note |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
            write_text(folder / "error.txt", traceback.format_exc())
        _write(folder, note)
    return note


def read_note(folder: str | Path) -> dict[str, Any]:
    """Give what a cell's folder says of it; empty where it was never begun or is damaged."""
    with suppress(OSError, ValueError):
        note = json.loads((Path(folder) / NOTE).read_text(encoding="utf-8"))
        if isinstance(note, dict):
            return note
    return {}


def is_done(job: Job) -> bool:
    """Tell whether a cell is done, and scored on the splits and by the metrics asked for today."""
    if read_note(job.folder).get("status") != "done":
        return False
    wanted = {"cl_dice"} if job.topology else set()
    wanted |= {"hd95"} if job.boundary else set()
    places = _places(Path(job.folder), job.report, job.select)
    found = [read_metrics(place, split).get("mean", {}) for split, place in places.items()]
    return all(mean and wanted <= mean.keys() for mean in found)


def read_metrics(folder: str | Path, split: str) -> dict[str, Any]:
    """Give the content of `metrics.json`; empty if missing, damaged or of another split."""
    with suppress(OSError, ValueError):
        metrics = json.loads((Path(folder) / "metrics.json").read_text(encoding="utf-8"))
        if isinstance(metrics, dict) and metrics.get("protocol", {}).get("split") == split:
            return metrics
    return {}


def fail(folder: str | Path, error: str) -> dict[str, Any]:
    """Note that a cell's process came to an end before the cell did."""
    note = read_note(folder) | {"status": "failed", "error": error}
    _write(Path(folder), note)
    return note


def flops(network: NetworkConfig, size: tuple[int, ...]) -> int:
    """Count the floating-point operations of one pass over one input, a multiply-add as two.

    Args:
        network: with channels and classes known.
        size: of the input, one of the network's legal sizes.
    """
    with torch.device("meta"):
        model, image = UNet(network).eval(), torch.empty(1, network.channels or 1, *size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    return int(counter.get_total_flops())


def _do(job: Job, folder: Path) -> dict[str, Any]:
    if job.threads is not None:
        torch.set_num_threads(job.threads)
    _forget_peak()
    dataset = read_dataset(job.data)
    recipe = check_recipe(job.recipe, job.key)
    places = _places(folder, job.report, job.select)
    for split in places:  # better now than after the training
        portion(dataset, recipe.data, recipe.seed).select(split)
    run = train(dataset, folder, recipe=recipe, resume=True, device="auto", on_step=_live)
    segmenter = load(folder)
    for split, place in places.items():
        evaluate(
            segmenter,
            dataset,
            split=split,
            out=place,
            topology=job.topology,
            boundary=job.boundary,
            also_at=0.5,
        )
    environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    history = (folder / "history.csv").read_text(encoding="utf-8").splitlines()
    last = dict(zip(history[0].split(","), history[-1].split(","), strict=True))
    patch = run.recipe.train.patch
    assert isinstance(patch, tuple)
    return {
        "parameters": environment["parameters"],
        "gflops": flops(run.recipe.network, patch) / 1e9,
        "patch": list(patch),
        "seconds": float(last["seconds"]),
        "steps": int(last["step"]),
        "memory_mib": _peak() // 2**20,
        "threads": torch.get_num_threads(),
        "processor": environment["processor"],
    }


def _places(folder: Path, report: str, select: str) -> dict[str, Path]:
    """Say where the scores of each split stand; once, if both are one."""
    return {select: folder / select, report: folder}


def _live(_: Step) -> None:
    """End with the study: a cell whose study was killed must not go on in the dark."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)  # what matters was written at the end of the last epoch


def _forget_peak() -> None:
    """Start measuring memory anew, where the system can (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak() -> int:
    """Peak resident memory in bytes: since `_forget_peak` on Linux, of the process elsewhere."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows does not have it
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _write(folder: Path, note: dict[str, Any]) -> None:
    write_text(folder / NOTE, json.dumps(note, indent=1) + "\n")
