"""The training loop, top to bottom."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unetkit.data import Dataset, Fingerprint, Normalization, fingerprint, portion, read_dataset
from unetkit.data.batches import Memory, Patches, Samples, Wanted
from unetkit.errors import InputError
from unetkit.files import write_text
from unetkit.machine import choose_device, choose_precision, cores, describe, keep_memory
from unetkit.network import UNet, count_parameters
from unetkit.recipe import Reasons, Recipe, read_recipe, resolve, to_yaml
from unetkit.recipe.resolving import MEASURED
from unetkit.segmenter import read_card, save
from unetkit.training.cases import Decoded, Judged, LeftOut, again, spread, usable
from unetkit.training.descent import choose_optimizer, follow, learn
from unetkit.training.record import Step, calibrated, card, recall, row, warn, write_history
from unetkit.training.resume import (
    named,
    optimizer_tensors,
    part,
    read_state,
    restore_optimizer,
    write_state,
)
from unetkit.training.schedule import Progress, fraction_done, has_ended, note_loss, pace
from unetkit.training.validate import Validation, validate

_WORKERS = 4  # threads that decode at most; on small machines half of the cores


@dataclass(frozen=True)
class Run:
    """What training leaves behind.

    Attributes:
        path: the run folder.
        recipe: complete.
        reasons: rows of (what, value, why).
        best: how the kept checkpoint did on `val`.
        epoch: that of the kept checkpoint.
        dataset: what it was trained on, without the cases that were left out.
    """

    path: Path
    recipe: Recipe
    reasons: Reasons
    best: Validation
    epoch: int
    dataset: Dataset


def train(
    data: Dataset | str | Path,
    out: str | Path,
    *,
    recipe: Recipe | str | Path = "default",
    changes: Sequence[str] = (),
    resume: bool = False,
    device: str = "auto",
    skip_bad: bool = False,
    cache: Path | None = None,
    on_plan: Callable[[Dataset, Recipe, Reasons], None] | None = None,
    on_step: Callable[[Step], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Run:
    """Train a network on the `train` split, keep the checkpoint that does best on `val`.

    Args:
        data: a data set, or its folder.
        out: the run folder; see the legend in `docs/run-folder.md`.
        recipe: a recipe, its name or its file.
        changes: `key.path=value` changes of the recipe.
        resume: continue an interrupted run from its last finished epoch; on a CPU the weights
            become the same, bit for bit, as without the interruption.
        device: "auto", "cpu", "cuda" or "mps".
        skip_bad: leave out cases that cannot be used, now or when they are decoded: each is said,
            and all are listed in `skipped.csv`. A run that was begun so is resumed so.
        cache: folder in which what was learnt of a data set's files is kept, so that the next run
            need not look at them again.
        on_plan: called once with the data set and the completed recipe.
        on_step: called after each step.
        say: takes sentences about the run (warnings, the best checkpoint).

    Raises:
        InputError: the data, the recipe or the folder is at fault; a case cannot be used, or with
            `skip_bad` more than half of them cannot.
    """
    say = say or (lambda _: None)
    out, state_path = Path(out), Path(out) / "last" / "state.safetensors"
    tensors, numbers = _resumed(out, state_path, resume, say)
    allowed = skip_bad or bool(numbers.get("skip_bad"))
    left = LeftOut(out, allowed=allowed, say=say, rows=numbers.get("left_out", ()))
    if not isinstance(data, Dataset):
        data = read_dataset(data, on_problem=left.report, cache=cache)
    left.start(data)
    asked = recipe if isinstance(recipe, Recipe) else read_recipe(recipe, changes)
    begun = read_recipe(out / "recipe.yaml") if tensors else asked
    if tensors:
        dataset = again(data, numbers["cases"], left)
        measured = Fingerprint.model_validate(numbers["fingerprint"])
    else:
        dataset, measured = _measured(data, begun, left)
    recipe, reasons = resolve(asked, measured)
    if tensors:
        stored, reasons = resolve(begun, measured)
        if asked != Recipe() and recipe != stored:
            raise InputError(
                "was started with another recipe, which --resume continues",
                where=out,
                cure="leave out --recipe and --set",
            )
        recipe = stored
    if on_plan is not None:
        on_plan(dataset, recipe, reasons)

    taught = dataset.select("train")
    chosen_by = spread(dataset.select("val"), recipe.train.val_cases)
    if tensors:
        normalization = Normalization.model_validate(numbers["normalization"])
    else:
        measurable = spread(taught, MEASURED)
        normalization = Normalization.fit(recipe.normalize, usable(dataset, measurable, left))
    chosen = choose_device(device)
    precision = choose_precision(chosen, recipe.train.precision)
    if recipe.train.allocator and chosen.type == "cpu":
        keep_memory()
    torch.manual_seed(recipe.seed)
    network = UNet(recipe.network).place(chosen)
    average = {name: t.detach().clone() for name, t in network.state_dict().items()}
    shadow = UNet(recipe.network).place(chosen).eval()
    optimizer = choose_optimizer(recipe.optimizer, network)
    progress, history = Progress(), list[dict[str, Any]]()
    environment = {
        **describe(chosen),
        "precision": str(precision).removeprefix("torch."),
        "parameters": count_parameters(network),
        "data": str(dataset.root.resolve()),
        "dataset": dataset.root.resolve().name,
        "recipe": recipe.name,
        "seed": recipe.seed,
    }
    config, best, wanted = recipe.train, None, _wanted(recipe)
    workers = max(1, min(cores() // 2, _WORKERS))
    with Memory(config.cache * 2**30, workers=workers) as memory:
        # Cases are decoded when their turn comes, and kept as long as there is room.
        patches = _patches(
            recipe, Decoded(dataset, taught), normalization, wanted, memory=memory,
            bad=[index for index, case in enumerate(taught) if case.id in left.undecodable()],
            on_bad=lambda index, error: left.drop(taught[index], error),
        )  # fmt: skip
        judged = Judged(dataset, chosen_by, normalization, wanted, memory, left)
        if tensors:
            network.load_state_dict(part("network", tensors))
            average = {name: t.to(chosen) for name, t in part("average", tensors).items()}
            restore_optimizer(optimizer, part("optimizer", tensors))
            patches.restore(tensors["patches"])
            torch.set_rng_state(tensors["chance"])
            progress, history = Progress(**numbers["progress"]), numbers["history"]
        else:
            write_text(out / "recipe.yaml", to_yaml(recipe))
            write_text(out / "environment.json", json.dumps(environment, indent=1) + "\n")
            write_text(out / "plan.json", json.dumps({"rows": reasons}, indent=1) + "\n")

        reached = 0.0  # of the run; the time kept back may shrink, what is shown only grows
        resting = 0.0  # seconds of the last validation, kept back so that a limit is not overrun
        ended = has_ended(recipe, progress, 0.0)
        while not ended:
            network.train()
            since, losses, parts = time.monotonic(), 0.0, dict[str, float]()
            done, waited = 0, memory.waited
            for _ in range(config.steps or 1):
                seconds = progress.seconds + time.monotonic() - since
                fraction = fraction_done(recipe, progress.step, seconds + resting)
                if fraction >= 1 and done:
                    break
                for group in optimizer.param_groups:
                    group["lr"] = recipe.optimizer.lr * pace(recipe.schedule, fraction, progress)
                batch = patches.draw()
                loss, terms = learn(network, optimizer, batch, recipe, chosen, precision)
                if not math.isfinite(loss):
                    raise InputError(
                        f"the loss became {loss} at step {progress.step + 1}",
                        where=out,
                        cure="lower optimizer.lr, or check the images for extreme values",
                    )
                follow(average, network, config.ema, progress.step)
                progress.step += 1
                done += 1
                losses += loss
                for name, value in terms.items():
                    parts[name] = parts.get(name, 0.0) + value
                if on_step is not None:
                    passed = time.monotonic() - since
                    reached = max(reached, min(fraction, 1.0))
                    on_step(
                        Step(progress.epoch + 1, progress.step, reached, losses / done,
                             done * config.batch / passed, progress.best if history else math.nan,
                             (memory.waited - waited) / passed)
                    )  # fmt: skip

            shadow.load_state_dict(average)
            started = time.monotonic()
            waited = (memory.waited - waited) / (started - since)
            result = validate(shadow, judged, recipe.loss, device=chosen, precision=precision)
            # The next validation may be slower than this one, and a step may be under way then.
            resting = 1.5 * (time.monotonic() - started) + (started - since) / max(done, 1)
            progress.epoch += 1
            progress.seconds += time.monotonic() - since
            history.append(row(progress, optimizer.param_groups[0]["lr"], losses, parts, done,
                               result))  # fmt: skip
            note_loss(recipe.schedule, progress, result.loss)
            score = result.dice if config.select == "dice" else -result.loss
            if score > progress.best:
                progress.best, progress.best_epoch, progress.since_best = score, progress.epoch, 0
                best = result
                seen = {
                    "train": tuple(taught[index].id for index in patches.seen()),
                    "val": judged.ids(),
                }
                save(out / "model.safetensors", average,
                     card(recipe, dataset, normalization, result, seen, environment))  # fmt: skip
            else:
                progress.since_best += 1
            write_history(out / "history.csv", history)
            write_state(
                state_path,
                {
                    **named("network", network.state_dict()),
                    **named("average", average),
                    **named("optimizer", optimizer_tensors(optimizer)),
                    "patches": patches.state(),
                    "chance": torch.get_rng_state(),
                },
                {
                    "progress": vars(progress),
                    "history": history,
                    "cases": {n: [c.id for c in dataset.select(n)] for n in ("train", "val")},
                    "fingerprint": measured.model_dump(),
                    "normalization": normalization.model_dump(),
                    "skip_bad": allowed,
                    "left_out": left.rows,
                },
            )
            warn(result, progress, waited, say)
            ended = has_ended(recipe, progress, resting)
    if best is None:
        kept = history[progress.best_epoch - 1]
        fitted = recall(read_card(out))
        best = Validation(kept["val_loss"], kept["val_dice"], kept["threshold"], (0.0, 0.0), fitted)
    say(
        f"best checkpoint: epoch {progress.best_epoch} of {progress.epoch}, "
        f"val Dice {best.dice:.4f}"
        + (f" at threshold {best.threshold:.2f}" if (recipe.network.classes or 1) <= 2 else "")
    )
    say(calibrated(best.calibration))
    return Run(out, recipe, reasons, best, progress.best_epoch, left.rest(dataset))


def _measured(data: Dataset, recipe: Recipe, left: LeftOut) -> tuple[Dataset, Fingerprint]:
    """Give the part of the data that a run sees, and its measures, which decode a few cases."""
    while True:
        part = portion(data, recipe.data, recipe.seed)
        try:
            return part, fingerprint(part)
        except InputError as error:
            data = left.without(data, error)


def _wanted(recipe: Recipe) -> Wanted:
    """Which targets the recipe's losses need."""
    loss = recipe.loss
    border = loss.cross_entropy.border if loss.cross_entropy else None
    foreground = (recipe.network.classes or 1) - (recipe.network.activation == "softmax")
    return Wanted(
        border=(border.w0, border.sigma) if border else None,
        tube=loss.skeleton_recall.radius if loss.skeleton_recall else None,
        distance=foreground if loss.boundary else 0,
    )


def _patches(
    recipe: Recipe,
    samples: Samples,
    normalization: Normalization,
    wanted: Wanted,
    *,
    memory: Memory | None = None,
    bad: Sequence[int] = (),
    on_bad: Callable[[int, InputError], None] | None = None,
) -> Patches:
    patch = recipe.train.patch
    assert isinstance(patch, tuple)
    return Patches(
        samples,
        normalization,
        patch=patch,
        core=recipe.network.footprint.shrink(patch),
        batch=recipe.train.batch,
        foreground=recipe.train.foreground,
        augment=recipe.augment,
        wanted=wanted,
        seed=recipe.seed,
        memory=memory,
        bad=bad,
        on_bad=on_bad,
    )


def _resumed(
    out: Path, state: Path, resume: bool, say: Callable[[str], None]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the state to continue from; empty for a run that starts."""
    if state.exists() and not resume:
        raise InputError(
            "holds a run already", where=out, cure="continue it with --resume, or choose another -o"
        )
    if not resume:
        return {}, {}
    if not state.exists():
        say(f"nothing to resume in {out}: starting from the beginning")
        return {}, {}
    return read_state(state)
