"""What a run writes down and says: the model's card, the row of an epoch, warnings."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetkit.data import Dataset, Normalization
from unetkit.files import write_text
from unetkit.metrics import Calibration
from unetkit.recipe import Recipe, to_document
from unetkit.segmenter import Card
from unetkit.training.schedule import Progress
from unetkit.training.validate import Validation

_ERROR, _RAW = "val_ece", "val_ece_uncalibrated"  # scores of a card
_WAITING = 0.3  # share of the time from which on it is worth a word


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
        waited: share of this epoch's time in which the loop waited for cases to be decoded.
    """

    epoch: int
    step: int
    fraction: float
    loss: float
    rate: float
    dice: float
    waited: float = 0.0


def card(
    recipe: Recipe,
    dataset: Dataset,
    normalization: Normalization,
    result: Validation,
    seen: dict[str, tuple[str, ...]],
    environment: dict[str, Any],
) -> Card:
    """Fill in the card of a checkpoint; `seen` names the cases it learnt from and was chosen by."""
    count, every = len(seen["val"]), len(dataset.select("val"))
    images = f"{count} images" if count == every else f"{count} of {every} images"
    return Card(
        network=recipe.network,
        predict=recipe.predict,
        normalization=normalization,
        task=dataset.task,
        temperature=result.calibration.temperature,
        threshold=result.threshold,
        threshold_from=f"tuned on val ({images})",
        cases=seen,
        recipe=to_document(recipe),
        scores={"val_dice": result.dice, "val_loss": result.loss, **_errors(result.calibration)},
        environment={k: v for k, v in environment.items() if k != "data"},
    )


def recall(card: Card) -> Calibration:
    """Give what a card keeps of the calibration of its checkpoint."""
    return Calibration(
        card.temperature,
        "nothing could be fitted" if card.temperature == 1 else "",
        error=card.scores.get(_ERROR, math.nan),
        error_uncalibrated=card.scores.get(_RAW, math.nan),
    )


def calibrated(calibration: Calibration) -> str:
    """Say in a line what the temperature is, and what it does to the calibration error."""
    if calibration.temperature == 1 and calibration.reason:
        return f"probabilities are not calibrated: on val, {calibration.reason}"
    held = f" ({calibration.reason})" if calibration.reason else ""
    return (
        f"calibrated on val: temperature {calibration.temperature:.3g}{held}, "
        f"ECE {calibration.error_uncalibrated:.4f} before, {calibration.error:.4f} after"
    )


def _errors(calibration: Calibration) -> dict[str, float]:
    errors = {_ERROR: calibration.error, _RAW: calibration.error_uncalibrated}
    return {} if math.isnan(calibration.error) else errors  # a card holds numbers only


def row(
    progress: Progress,
    rate: float,
    losses: float,
    parts: dict[str, float],
    done: int,
    result: Validation,
) -> dict[str, Any]:
    """Give an epoch as a row of `history.csv`; sums are over its `done` steps."""
    numbers = {
        "epoch": progress.epoch,
        "step": progress.step,
        "seconds": round(progress.seconds, 3),
        "lr": rate,
        "train_loss": losses / max(done, 1),
        "val_loss": result.loss,
        "val_dice": result.dice,
        "threshold": result.threshold,
    }
    return numbers | {f"loss_{name}": value / max(done, 1) for name, value in parts.items()}


def write_history(path: Path, history: Sequence[dict[str, Any]]) -> None:
    """Write the rows of all epochs."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(path, text.getvalue())


def warn(result: Validation, progress: Progress, waited: float, say: Callable[[str], None]) -> None:
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
    if progress.epoch == 2 and waited > _WAITING:
        say(
            f"note: {waited:.0%} of the time passes in waiting for images to be decoded; if there "
            "is memory for more of them, raise train.cache"
        )
