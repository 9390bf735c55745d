"""The sections of a recipe: each room's own model, and the run's own, which stand here."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from unetkit.augment import AugmentConfig
from unetkit.data import PortionConfig
from unetkit.losses import LossConfig
from unetkit.network import NetworkConfig
from unetkit.prediction import PredictConfig

_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OptimizerConfig(BaseModel):
    """The rule of descent.

    Attributes:
        name: "adamw", "adam" or "sgd".
        lr: learning rate at its highest.
        weight_decay: decoupled for adamw, else added to the gradient.
        momentum: of sgd.
    """

    model_config = _STRICT

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(5e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)


class ScheduleConfig(BaseModel):
    """How the learning rate moves.

    Attributes:
        name: "cosine" falls to nothing at the end of the run; "constant"; "plateau" multiplies by
            `factor` after `patience` epochs without a lower validation loss.
        warmup: share of the run in which the rate rises linearly from 0.
        patience: epochs, for "plateau".
        factor: for "plateau".
    """

    model_config = _STRICT

    name: Literal["cosine", "constant", "plateau"] = "cosine"
    warmup: float = Field(0.03, ge=0, lt=1)
    patience: int = Field(5, ge=0)
    factor: float = Field(0.1, gt=0, lt=1)


class TrainConfig(BaseModel):
    """The loop.

    Attributes:
        epochs: end after so many; `null` switches it off.
        minutes: end after so much training time, validation included; `null` switches it off.
            Where both are set, the first to be reached ends the run.
        batch: patches per step.
        patch: size of the network's input, as one number or per axis; `null` chooses.
        steps: steps per epoch; `null` takes as many as show every training pixel about once, at
            least 100, and at most 1000 where only `minutes` end the run.
        foreground: share of patches centred on a foreground pixel.
        select: the checkpoint that is kept: highest validation "dice", or lowest "loss".
        val_cases: cases judged after each epoch, evenly spread over `val`; `null` takes all of up
            to 200, else 200.
        cache: GiB of decoded cases kept in memory; what does not fit is decoded again whenever its
            turn comes. The result does not depend on it.
        ema: decay of the moving average of the weights that is validated and kept; 0 is off.
        clip: largest norm of the gradient; `null` is off.
        early_stop: end after so many epochs without a better checkpoint; `null` is off.
        precision: "auto" takes bf16 where the hardware multiplies it.
        allocator: let glibc keep freed memory (Linux): faster steps for 15 % more memory.
    """

    model_config = _STRICT

    epochs: int | None = Field(None, ge=1)
    minutes: float | None = Field(10.0, gt=0)
    batch: int = Field(4, ge=1)
    patch: int | tuple[int, ...] | None = None
    steps: int | None = Field(None, ge=1)
    foreground: float = Field(0.5, ge=0, le=1)
    select: Literal["dice", "loss"] = "dice"
    val_cases: int | None = Field(None, ge=1)
    cache: float = Field(4.0, gt=0)
    ema: float = Field(0.99, ge=0, lt=1)
    clip: float | None = Field(1.0, gt=0)
    early_stop: int | None = Field(None, ge=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    allocator: bool = True


class Recipe(BaseModel):
    """Every choice of a run. See each section's own model for its keys."""

    model_config = _STRICT

    name: str = "default"
    seed: int = Field(0, ge=0)
    data: PortionConfig = PortionConfig()
    normalize: Literal["image", "dataset", "none"] = "image"
    network: NetworkConfig = NetworkConfig(width=16)
    train: TrainConfig = TrainConfig()
    loss: LossConfig = LossConfig()
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    predict: PredictConfig = PredictConfig()
