"""Train on a data set as `unet train` does, score one split, and keep the result as JSON.

    python benchmarks/accuracy.py DATA [--recipe NAME] [--set key=value]... [--split test] [-o FILE]

What is written: the protocol and every score of `unet evaluate`, the time and steps that training
took, the trivial answer's pixel error (all background or all foreground, whichever is better), and
the machine. Score the test split once, at the end; tune on `val`.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path

import numpy as np

from unetkit import evaluate, load, read_dataset, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--set", dest="changes", action="append", default=[])
    parser.add_argument("--split", default="test")
    parser.add_argument("--run", type=Path, help="keep the run folder here")
    parser.add_argument("-o", "--out", type=Path)
    arguments = parser.parse_args()
    name = f"accuracy_{arguments.data.resolve().name}_{arguments.recipe}.json"
    out = arguments.out or Path(__file__).parent / "results" / name

    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.run or Path(temporary) / "run"
        train(arguments.data, folder, recipe=arguments.recipe, changes=arguments.changes, say=print)
        dataset = read_dataset(arguments.data)
        metrics = evaluate(load(folder), dataset, split=arguments.split, topology=True)
        with (folder / "history.csv").open() as file:
            history = list(csv.DictReader(file))
        environment = json.loads((folder / "environment.json").read_text())
    environment.pop("data")  # a path of this machine
    document = {
        "command": " ".join(
            [
                "python benchmarks/accuracy.py",
                dataset.root.resolve().name,
                f"--recipe {arguments.recipe}",
                *(f"--set {change}" for change in arguments.changes),
                f"--split {arguments.split}",
            ]
        ),
        "training": {
            "seconds": float(history[-1]["seconds"]),
            "steps": int(history[-1]["step"]),
            "epochs": len(history),
            "first_epoch_loss": float(history[0]["train_loss"]),
            "last_epoch_loss": float(history[-1]["train_loss"]),
            "best_val_dice": max(float(row["val_dice"]) for row in history),
        },
        "trivial_pixel_error": trivial(dataset, arguments.split),
        **metrics,
        "environment": environment,
    }
    out.write_text(json.dumps(document, indent=1) + "\n")
    mean, interval = metrics["mean"], metrics["interval"]["dice"]
    print(f"{arguments.split} Dice {mean['dice']:.4f} ({interval[0]:.4f} to {interval[1]:.4f})")
    print(f"pixel error {mean['pixel_error']:.4f}, trivial {document['trivial_pixel_error']:.4f}")
    print(f"results: {out}")


def trivial(dataset, split: str) -> float:
    """Give the mean pixel error of the better constant answer."""
    shares = []
    for case in dataset.select(split):
        sample = dataset.load(case)
        shares.append((sample.labels > 0)[sample.fov & (sample.labels >= 0)].mean())
    return float(np.mean([min(share, 1 - share) for share in shares]))


if __name__ == "__main__":
    main()
