"""Where a run stands: what a resumed run must know, when it ends, how the learning rate moves."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unetkit.recipe import Recipe, ScheduleConfig


@dataclass
class Progress:
    """Every plain number that a resumed run must know; all of it goes into the state's header."""

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best: float = -math.inf
    best_epoch: int = 0
    since_best: int = 0
    factor: float = 1.0  # of the plateau schedule
    lowest: float = math.inf
    bad: int = 0


def fraction_done(recipe: Recipe, step: int, seconds: float) -> float:
    """How much of the run is done, by steps or by time, whichever is further."""
    config = recipe.train
    by_step = step / (config.epochs * (config.steps or 1)) if config.epochs else 0.0
    by_time = seconds / (60 * config.minutes) if config.minutes else 0.0
    return max(by_step, by_time)


def has_ended(recipe: Recipe, progress: Progress, resting: float) -> bool:
    """Tell whether the run is over; `resting` seconds are kept back for the last validation."""
    config = recipe.train
    if config.epochs is not None and progress.epoch >= config.epochs:
        return True
    if config.early_stop is not None and progress.since_best >= config.early_stop:
        return True
    limit = math.inf if config.minutes is None else 60 * config.minutes
    return progress.epoch > 0 and progress.seconds + resting >= limit


def pace(schedule: ScheduleConfig, fraction: float, progress: Progress) -> float:
    """Factor of the learning rate at this point of the run."""
    if fraction < schedule.warmup:
        return max(fraction / schedule.warmup, 1e-3)
    match schedule.name:
        case "cosine":
            rest = min(1.0, (fraction - schedule.warmup) / (1 - schedule.warmup))
            return 0.5 * (1 + math.cos(math.pi * rest))
        case "plateau":
            return progress.factor
        case "constant":
            return 1.0


def note_loss(schedule: ScheduleConfig, progress: Progress, loss: float) -> None:
    """Count epochs without a lower validation loss, as torch's ReduceLROnPlateau does."""
    if loss < progress.lowest * (1 - 1e-4):
        progress.lowest, progress.bad = loss, 0
        return
    progress.bad += 1
    if progress.bad > schedule.patience:
        progress.factor, progress.bad = progress.factor * schedule.factor, 0
