"""A set of many images: how fast it is checked and trained from, and in how much memory.

    python benchmarks/big_set.py make FOLDER [--count 20000] [--size 512]
    python benchmarks/big_set.py check FOLDER [--rounds 3] [-o FILE]
    python benchmarks/big_set.py train FOLDER [--cache 1] [--steps 300] [--rounds 3] [-o FILE]

`make` writes grey PNG images of cells with masks: a hundred generated scenes, each time mirrored,
rolled, brightened and covered with noise anew, so that no two files are the same; a tenth of them
is `val`, a tenth `test`.

`check` looks at the whole set as `unet check` does, without a cache, and beside it only decodes
every image and mask, with as many threads as there are cores; in turns, each a process of its own.

`train` trains with the default recipe and says, for a stated `train.cache`: the seconds from the
call to the end of the first step, on a set that was never seen and on one whose fingerprint is
cached; the largest resident memory of the process and its children, beside that with hardly any
cache; and the steps per second, beside those on a small part of the same set that fits into memory.
Every run is a process of its own, measured from outside; the two whose speed is compared take
turns, and their medians are quoted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCENES = 100
SMALL = 48  # cases of the set that fits into memory, whatever the cache
FIRST = 20  # steps that do not count, while threads and allocator find their pace
NO_CACHE = 1e-6  # GiB


# ------------------------------------------------------------------------------------------- make


@lru_cache(maxsize=SCENES)
def scene(size: int, number: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    from unetkit.data.synthetic import cells

    image, instances = cells((size, size), seed=number)
    return image[0], instances > 0


def write_case(folder: Path, size: int, seed: int, number: int) -> None:
    """Write one image and its mask: a scene, varied by the number of the case."""
    from PIL import Image

    chance = np.random.default_rng((seed, number))
    image, mask = scene(size, int(chance.integers(SCENES)))
    turn, flips, shift = chance.integers(4), chance.integers(0, 2, 2), chance.integers(0, size, 2)
    for axis, flipped in enumerate(flips):
        if flipped:
            image, mask = np.flip(image, axis), np.flip(mask, axis)
    image, mask = (np.roll(np.rot90(a, turn), tuple(shift), (0, 1)) for a in (image, mask))
    noise = chance.standard_normal((size, size), np.float32) * np.float32(chance.uniform(2, 6))
    pixels = np.clip(image * np.float32(chance.uniform(0.6, 1.1)) + noise, 0, 255).astype(np.uint8)
    name = f"case{number:06d}.png"
    Image.fromarray(pixels).save(folder / "images" / name, compress_level=1)
    Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / name, compress_level=1)


def make(folder: Path, count: int, size: int, seed: int = 0) -> None:
    """Write the set with as many processes as there are cores; the same files for the same seed."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    since = time.perf_counter()
    with ProcessPoolExecutor() as pool:
        for _ in pool.map(partial(write_case, folder, size, seed), range(count), chunksize=50):
            pass
    names = [f"case{k:06d}" for k in range(count)]
    split = {"train": [], "val": [], "test": []}
    for k, name in enumerate(names):
        split["val" if k % 10 == 8 else "test" if k % 10 == 9 else "train"].append(name)
    (folder / "split.json").write_text(json.dumps(split))
    print(f"{count} cases of {size}² in {folder}: {time.perf_counter() - since:.0f} s")


def part_of(folder: Path, small: Path) -> None:
    """Give the first cases of a set as a set of its own, without copying them."""
    names = [f"case{k:06d}" for k in range(SMALL)]
    for kind in ("images", "masks"):
        (small / kind).mkdir(parents=True)
        for name in names:
            os.link(folder / kind / f"{name}.png", small / kind / f"{name}.png")
    split = {"train": names[:-16], "val": names[-16:-8], "test": names[-8:]}
    (small / "split.json").write_text(json.dumps(split))


# ------------------------------------------------------------------------------------------ check


def decode(folder: Path) -> dict[str, Any]:
    """Decode all files and keep nothing."""
    from unetkit.image import read_image, read_labels
    from unetkit.machine import cores

    def both(name: str) -> None:
        read_image(folder / "images" / name)
        read_labels(folder / "masks" / name)

    since = time.perf_counter()
    names = sorted(path.name for path in (folder / "images").iterdir())
    with ThreadPoolExecutor(cores()) as pool:
        for _ in pool.map(both, names):
            pass
    return {"seconds": round(time.perf_counter() - since, 2), "cases": len(names)}


def look(folder: Path) -> dict[str, Any]:
    """Check the set as the command does."""
    from unetkit.data.checks import inspect

    since = time.perf_counter()
    described, problems = inspect(folder)
    seconds = round(time.perf_counter() - since, 2)
    return {"seconds": seconds, "cases": described["cases"], "problems": len(problems)}


def check(folder: Path, rounds: int) -> dict[str, Any]:
    """Measure both, in turns."""
    rows: dict[str, list[dict[str, Any]]] = {"decode": [], "look": []}
    for _ in range(rounds):
        for kind in rows:
            command = [sys.executable, __file__, kind, str(folder)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
            rows[kind].append(json.loads(output))
            print(kind, rows[kind][-1], flush=True)
    cases = rows["decode"][0]["cases"]
    speeds = {
        kind: round(cases / statistics.median(row["seconds"] for row in runs), 1)
        for kind, runs in rows.items()
    }
    return {
        "cases": cases,
        "cases_per_second": {"decoding alone": speeds["decode"], "check": speeds["look"]},
        "ratio": round(speeds["look"] / speeds["decode"], 3),
        "peak_gib": max(row["peak_gib"] for row in rows["look"]),
        "runs": rows,
    }


# ------------------------------------------------------------------------------------------ train


def run(
    data: Path, out: Path, steps: int, cache: float, kept: Path, changes: Sequence[str]
) -> None:
    """Train in this process, write what was seen as one line of JSON, and wait to be measured."""
    from unetkit.training import Step, train

    times: list[float] = []
    waited: list[float] = []
    plan: dict[str, str] = {}

    def note(step: Step) -> None:
        times.append(time.perf_counter())
        waited.append(step.waited)

    changes = ["train.minutes=null", "train.epochs=1", f"train.steps={steps}",
               f"train.cache={cache}", *changes]  # fmt: skip
    first = min(FIRST, steps // 4)
    since = time.perf_counter()
    train(
        data, out, changes=changes, cache=kept, on_step=note,
        on_plan=lambda _, __, rows: plan.update({row[0]: f"{row[1]}: {row[2]}" for row in rows}),
    )  # fmt: skip
    seen = {
        "seconds_to_first_step": round(times[0] - since, 2),
        "steps_per_second": round((len(times) - 1 - first) / (times[-1] - times[first]), 3),
        "share_of_time_waiting": round(waited[-1], 4),
        "seconds_of_validation": round(time.perf_counter() - times[-1], 1),
        "cache": plan["cache"],
        "judged": plan["judged"],
    }
    print(json.dumps(seen), flush=True)
    sys.stdin.readline()


def measure(
    data: Path, steps: int, cache: float, kept: Path, changes: Sequence[str]
) -> dict[str, Any]:
    """Train in a process of its own and watch its memory."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, __file__, "run", data, "--out", Path(out) / "run"]
        command += ["--steps", steps, "--cache", cache, "--kept", kept]
        command += [word for change in changes for word in ("--set", change)]
        process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        peak, line = 0.0, b""
        while not line.endswith(b"\n") and process.poll() is None:
            peak = max(peak, resident(process.pid))
            line += process.stdout.read() or b""
            time.sleep(0.1)
        if process.poll() is not None:
            raise SystemExit(f"the run ended with {process.returncode}")
        peak = max(peak, highest(process.pid))
        process.communicate(b"\n")
    return {**json.loads(line), "peak_gib": round(peak / 2**20, 3)}


def resident(pid: int) -> float:
    """KiB of memory that a process and its descendants have now, as the system says."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        own = status(pid, "VmRSS")
    except (OSError, ProcessLookupError):
        return 0
    return own + sum(resident(int(child)) for child in children)


def highest(pid: int) -> float:
    """KiB of memory that a process had at most."""
    return status(pid, "VmHWM")


def status(pid: int, key: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return float(line.split()[1])
    return 0


def train(
    folder: Path, cache: float, steps: int, rounds: int, changes: Sequence[str]
) -> dict[str, Any]:
    """Measure all runs of the protocol."""
    cases = sum(1 for _ in (folder / "images").iterdir())
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        small, kept = Path(place) / "small", Path(place) / "cache"
        part_of(folder, small)
        cold = say("first time", measure(folder, steps, cache, kept, changes))
        bare = say("no cache", measure(folder, steps, NO_CACHE, kept, changes))
        large, little = [], []
        for _ in range(rounds):
            large.append(say("large", measure(folder, steps, cache, kept, changes)))
            little.append(say("small", measure(small, steps, cache, kept, changes)))
    speeds = [statistics.median(r["steps_per_second"] for r in rows) for rows in (large, little)]
    warm = statistics.median(r["seconds_to_first_step"] for r in large)
    peak = max(r["peak_gib"] for r in (cold, *large))
    return {
        "cases": cases,
        "cache_gib": cache,
        "steps": steps,
        "changes": list(changes),
        "seconds_to_first_step": {"never seen": cold["seconds_to_first_step"], "seen": warm},
        "peak_gib": peak,
        "peak_gib_without_cache": bare["peak_gib"],
        "peak_gib_of_small": max(r["peak_gib"] for r in little),
        "peak_more_per_gib_of_cache": round((peak - bare["peak_gib"]) / cache, 3),
        "steps_per_second": {"large": speeds[0], "small, in memory": speeds[1]},
        "ratio": round(speeds[0] / speeds[1], 3),
        "runs": {"first": cold, "no cache": bare, "large": large, "small": little},
    }


def say(what: str, row: dict[str, Any]) -> dict[str, Any]:
    print(
        f"{what:<11} first step after {row['seconds_to_first_step']:>6} s  "
        f"{row['steps_per_second']:>7} steps/s  waiting {row['share_of_time_waiting']:.1%}  "
        f"peak {row['peak_gib']} GiB  cache {row['cache']}",
        flush=True,
    )
    return row


def report(name: str, protocol: str, result: dict[str, Any], out: Path) -> None:
    """Put a result into the file of results, beside those of the other commands."""
    from unetkit.machine import describe

    out = out / "big_set.json" if out.is_dir() else out
    document = json.loads(out.read_text()) if out.is_file() else {}
    document[name] = {"protocol": protocol, "environment": describe(), **result}
    out.write_text(json.dumps(document, indent=1) + "\n")
    print(f"results: {out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    maker = commands.add_parser("make", help="write the set")
    maker.add_argument("folder", type=Path)
    maker.add_argument("--count", type=int, default=20_000)
    maker.add_argument("--size", type=int, default=512)
    checker = commands.add_parser("check", help="check the set")
    checker.add_argument("folder", type=Path)
    checker.add_argument("--rounds", type=int, default=3)
    checker.add_argument("-o", "--out", type=Path, default=Path(__file__).parent / "results")
    for name in ("decode", "look"):  # what `check` measures
        commands.add_parser(name).add_argument("folder", type=Path)
    trainer = commands.add_parser("train", help="train from the set")
    trainer.add_argument("folder", type=Path)
    trainer.add_argument("--cache", type=float, default=1.0, help="GiB")
    trainer.add_argument("--steps", type=int, default=300, help="of a run")
    trainer.add_argument("--rounds", type=int, default=3)
    trainer.add_argument("-o", "--out", type=Path, default=Path(__file__).parent / "results")
    runner = commands.add_parser("run")  # what `train` measures
    for one in (trainer, runner):
        one.add_argument("--set", dest="changes", action="append", default=[])
    runner.add_argument("folder", type=Path)
    for name, kind in (("out", Path), ("steps", int), ("cache", float), ("kept", Path)):
        runner.add_argument(f"--{name}", type=kind)
    arguments = parser.parse_args()
    match arguments.command:
        case "make":
            make(arguments.folder, arguments.count, arguments.size)
        case "decode" | "look":
            done = (decode if arguments.command == "decode" else look)(arguments.folder)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(json.dumps({**done, "peak_gib": round(peak / 2**20, 3)}))
        case "check":
            protocol = (
                "reading every image and mask with one thread a core, beside all that unet check "
                "does, without its cache; start of Python left out; each run a process of its own, "
                f"in turns, medians of {arguments.rounds}"
            )
            report("check", protocol, check(arguments.folder, arguments.rounds), arguments.out)
        case "run":
            run(arguments.folder, arguments.out, arguments.steps, arguments.cache, arguments.kept,
                arguments.changes)  # fmt: skip
        case "train":
            result = train(arguments.folder, arguments.cache, arguments.steps, arguments.rounds,
                           arguments.changes)  # fmt: skip
            protocol = (
                f"default recipe, {arguments.steps} steps of 4 patches of 256² and one validation "
                "a run; each run a process of its own, large and small in turns, medians of "
                f"{arguments.rounds}; memory is the largest resident size of process and children"
            )
            report("train", protocol, result, arguments.out)


if __name__ == "__main__":
    main()
