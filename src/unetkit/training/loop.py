"""The training loop, top to bottom."""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unetkit.data import Dataset, Normalization, Sample, fingerprint, portion, read_dataset
from unetkit.data.batches import Batch, Patches, Wanted, whole
from unetkit.errors import InputError
from unetkit.files import write_text
from unetkit.machine import choose_device, choose_precision, describe, keep_memory
from unetkit.network import UNet, count_parameters
from unetkit.recipe import (
    OptimizerConfig,
    Reasons,
    Recipe,
    read_recipe,
    resolve,
    to_document,
    to_yaml,
)
from unetkit.segmenter import Card, autocast, save
from unetkit.training.resume import (
    named,
    optimizer_tensors,
    part,
    read_state,
    restore_optimizer,
    write_state,
)
from unetkit.training.schedule import Progress, fraction_done, has_ended, note_loss, pace
from unetkit.training.validate import Validation, batch_loss, validate


@dataclass(frozen=True)
class Step:
    """What the hook learns after each step.

    Attributes:
        epoch: counted from 1.
        step: steps since the start of the run.
        fraction: how much of the run is done, 0 to 1.
        loss: running mean of the training loss in this epoch.
        rate: patches per second in this epoch.
        dice: best validation Dice so far, or nan.
    """

    epoch: int
    step: int
    fraction: float
    loss: float
    rate: float
    dice: float


@dataclass(frozen=True)
class Run:
    """What training leaves behind: the folder, the complete recipe, and the best checkpoint."""

    path: Path
    recipe: Recipe
    reasons: Reasons
    best: Validation
    epoch: int


def train(
    data: Dataset | str | Path,
    out: str | Path,
    *,
    recipe: Recipe | str | Path = "default",
    changes: Sequence[str] = (),
    resume: bool = False,
    device: str = "auto",
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
        on_plan: called once with the data set and the completed recipe.
        on_step: called after each step.
        say: takes sentences about the run (warnings, the best checkpoint).

    Raises:
        InputError: the data, the recipe or the folder is at fault.
    """
    say = say or (lambda _: None)
    out, state_path = Path(out), Path(out) / "last" / "state.safetensors"
    dataset = data if isinstance(data, Dataset) else read_dataset(data)
    tensors, numbers = _resumed(out, state_path, resume, say)
    asked = recipe if isinstance(recipe, Recipe) else read_recipe(recipe, changes)
    begun = read_recipe(out / "recipe.yaml") if tensors else asked
    dataset = portion(dataset, begun.data, begun.seed)
    measured = fingerprint(dataset)
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

    # Everything is decoded once; at prediction the same normalisation is in the model.
    samples = [dataset.load(case) for case in dataset.select("train")]
    judged = [dataset.load(case) for case in dataset.select("val")]
    normalization = Normalization.fit(recipe.normalize, samples)
    wanted = _wanted(recipe)
    wholes = [whole(sample, normalization, wanted) for sample in judged]

    chosen = choose_device(device)
    precision = choose_precision(chosen, recipe.train.precision)
    if recipe.train.allocator and chosen.type == "cpu":
        keep_memory()
    torch.manual_seed(recipe.seed)
    network = UNet(recipe.network).place(chosen)
    average = {name: t.detach().clone() for name, t in network.state_dict().items()}
    shadow = UNet(recipe.network).place(chosen).eval()
    optimizer = _optimizer(recipe.optimizer, network)
    patches = _patches(recipe, samples, normalization, wanted)
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

    config, best = recipe.train, None
    reached = 0.0  # of the run; the time kept back may shrink, what is shown only grows
    resting = 0.0  # seconds of the last validation, kept back so that a time limit is not overrun
    ended = has_ended(recipe, progress, 0.0)
    while not ended:
        network.train()
        since, losses, parts = time.monotonic(), 0.0, dict[str, float]()
        done = 0
        for _ in range(config.steps or 1):
            seconds = progress.seconds + time.monotonic() - since
            fraction = fraction_done(recipe, progress.step, seconds + resting)
            if fraction >= 1 and done:
                break
            for group in optimizer.param_groups:
                group["lr"] = recipe.optimizer.lr * pace(recipe.schedule, fraction, progress)
            batch = patches.draw()
            loss, terms = _learn(network, optimizer, batch, recipe, chosen, precision)
            if not math.isfinite(loss):
                raise InputError(
                    f"the loss became {loss} at step {progress.step + 1}",
                    where=out,
                    cure="lower optimizer.lr, or check the images for extreme values",
                )
            _follow(average, network, config.ema, progress.step)
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
                         done * config.batch / passed, progress.best if history else math.nan)
                )  # fmt: skip

        shadow.load_state_dict(average)
        started = time.monotonic()
        result = validate(shadow, wholes, judged, recipe.loss, device=chosen, precision=precision)
        # The next validation may be slower than this one, and a step may be under way before it.
        resting = 1.5 * (time.monotonic() - started) + (started - since) / max(done, 1)
        progress.epoch += 1
        progress.seconds += time.monotonic() - since
        history.append(_row(progress, optimizer, losses, parts, done, result))
        note_loss(recipe.schedule, progress, result.loss)
        score = result.dice if config.select == "dice" else -result.loss
        if score > progress.best:
            progress.best, progress.best_epoch, progress.since_best = score, progress.epoch, 0
            best = result
            save(out / "model.safetensors", average,
                 _card(recipe, dataset, normalization, result, environment))  # fmt: skip
        else:
            progress.since_best += 1
        _write_history(out / "history.csv", history)
        write_state(
            state_path,
            {
                **named("network", network.state_dict()),
                **named("average", average),
                **named("optimizer", optimizer_tensors(optimizer)),
                "patches": patches.state(),
                "chance": torch.get_rng_state(),
            },
            {"progress": vars(progress), "history": history},
        )
        _guard(result, progress, say)
        ended = has_ended(recipe, progress, resting)
    if best is None:
        row = history[progress.best_epoch - 1]
        best = Validation(row["val_loss"], row["val_dice"], row["threshold"], (0.0, 0.0))
    say(
        f"best checkpoint: epoch {progress.best_epoch} of {progress.epoch}, "
        f"val Dice {best.dice:.4f}"
        + (f" at threshold {best.threshold:.2f}" if (recipe.network.classes or 1) <= 2 else "")
    )
    return Run(out, recipe, reasons, best, progress.best_epoch)


def _learn(
    network: UNet,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    recipe: Recipe,
    device: torch.device,
    precision: torch.dtype,
) -> tuple[float, dict[str, float]]:
    """Take one step of descent; give the loss and its parts."""
    images = batch.images.to(device).contiguous(memory_format=network.layout)
    with autocast(device, precision):
        scales = network.scales(images)
    loss, parts = batch_loss(scales[0], batch, recipe.loss, recipe.network)
    if len(scales) > 1:  # coarser heads count half as much each; the sum keeps the finest's size
        shares = [0.5**level for level in range(len(scales))]
        loss = loss * shares[0]
        for share, logits in zip(shares[1:], scales[1:], strict=True):
            loss = loss + share * batch_loss(logits, batch, recipe.loss, recipe.network)[0]
        loss = loss / sum(shares)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if recipe.train.clip is not None:
        torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.train.clip)
    optimizer.step()
    return loss.item(), {name: value.item() for name, value in parts.items()}


def _follow(average: dict[str, Tensor], network: UNet, decay: float, step: int) -> None:
    """Move the average towards the weights; early on faster, so that it forgets the start."""
    decay = min(decay, (1 + step) / (10 + step))
    current = network.state_dict()
    floats = [name for name, tensor in average.items() if tensor.is_floating_point()]
    with torch.no_grad():
        torch._foreach_lerp_(
            [average[name] for name in floats], [current[name] for name in floats], 1 - decay
        )
        for name in average.keys() - set(floats):
            average[name].copy_(current[name])


def _optimizer(config: OptimizerConfig, network: UNet) -> torch.optim.Optimizer:
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]  # biases and norms
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, fused=True)


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
    recipe: Recipe, samples: Sequence[Sample], normalization: Normalization, wanted: Wanted
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
    )


def _card(
    recipe: Recipe,
    dataset: Dataset,
    normalization: Normalization,
    result: Validation,
    environment: dict[str, Any],
) -> Card:
    return Card(
        network=recipe.network,
        predict=recipe.predict,
        normalization=normalization,
        task=dataset.task,
        threshold=result.threshold,
        threshold_from=f"tuned on val ({len(dataset.select('val'))} images)",
        cases={name: dataset.split[name] for name in ("train", "val")},
        recipe=to_document(recipe),
        scores={"val_dice": result.dice, "val_loss": result.loss},
        environment={k: v for k, v in environment.items() if k != "data"},
    )


def _row(
    progress: Progress,
    optimizer: torch.optim.Optimizer,
    losses: float,
    parts: dict[str, float],
    done: int,
    result: Validation,
) -> dict[str, Any]:
    row = {
        "epoch": progress.epoch,
        "step": progress.step,
        "seconds": round(progress.seconds, 3),
        "lr": optimizer.param_groups[0]["lr"],
        "train_loss": losses / max(done, 1),
        "val_loss": result.loss,
        "val_dice": result.dice,
        "threshold": result.threshold,
    }
    return row | {f"loss_{name}": value / max(done, 1) for name, value in parts.items()}


def _write_history(path: Path, history: Sequence[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(path, text.getvalue())


def _guard(result: Validation, progress: Progress, say: Callable[[str], None]) -> None:
    """Name the usual disasters in plain words, once each time they could still be stopped."""
    predicted, true = result.share
    if progress.epoch in (3, 10, 30) and true > 0:
        if predicted < 0.02 * true:
            say(
                f"warning: after {progress.epoch} epochs the network still predicts almost nothing "
                f"({predicted:.2%} of pixels, truth {true:.2%}); check that masks and images "
                "match, raise optimizer.lr, or add a dice loss"
            )
        elif predicted > 0.98 and true < 0.9:
            say(
                f"warning: after {progress.epoch} epochs the network predicts foreground "
                "everywhere; check that the masks are not inverted"
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
