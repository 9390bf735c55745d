"""The whole way on generated images: what a newcomer runs first."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetkit.application import predict
from unetkit.data import Problem, check, read_dataset
from unetkit.data.synthetic import make, vessels
from unetkit.errors import InputError
from unetkit.evaluation import evaluate
from unetkit.image import Image, write_image
from unetkit.report import write_report
from unetkit.segmenter import load
from unetkit.training import Run, train

_LARGE = (700, 900)  # larger than any image of the training set


@dataclass(frozen=True)
class Demo:
    """What the demo left behind."""

    report: Path
    run: Run
    metrics: dict[str, Any]
    problems: list[Problem]
    predicted: list[Path]


def run_demo(
    out: str | Path = "demo",
    *,
    minutes: float = 1.5,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
    **hooks: Any,
) -> Demo:
    """Make vessel-like images, check them, train, evaluate, predict a larger image, report.

    Args:
        out: folder; an older demo in it is replaced.
        minutes: of training.
        seed: of the images and of the training.
        say: takes a sentence before each part.
        hooks: `on_plan` and `on_step` of `train`.

    Raises:
        InputError: the folder holds something else.
    """
    say = say or (lambda _: None)
    if not minutes > 0:
        raise InputError(
            f"{minutes:g} minutes of training", where="minutes", cure="use more than 0"
        )
    out = Path(out)
    data, run, large = out / "data", out / "run", out / "large"
    if out.exists() and any(out.iterdir()) and not (data / "meta.json").is_file():
        raise InputError("holds something else", where=out, cure="choose another -o")
    for old in (run, large, out / "predictions"):
        shutil.rmtree(old, ignore_errors=True)
    say(f"1/5  making 12 images of vessels with masks in {data}")
    make("vessels", data, count=12, seed=seed)
    write_image(Image(vessels(_LARGE, seed=(seed, 999))[0]), large / "large.png")
    say("2/5  checking them")
    problems = check(data)
    say(f"3/5  training for {minutes:g} minutes")
    result = train(
        read_dataset(data),
        run,
        changes=[f"train.minutes={minutes}", f"seed={seed}"],
        say=say,
        **hooks,
    )
    say("4/5  scoring the test images, which the training has not seen")
    model = load(run)
    metrics = evaluate(model, data, split="test", out=run)
    say(f"5/5  predicting an image of {_LARGE[1]} × {_LARGE[0]} pixels, and writing the report")
    applied = predict(model, large, out / "predictions", save=("labels", "probability", "overlay"))
    return Demo(write_report(run), result, metrics, problems, applied.written)
