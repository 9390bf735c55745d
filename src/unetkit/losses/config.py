"""Which losses, with which options and weights; and their sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from torch import Tensor

from unetkit.losses import terms
from unetkit.losses.prepared import Prepared

_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

Factor = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class BorderConfig(BaseModel):
    """Height and width (pixels) of the term of `targets.border_weights`, read by the data."""

    model_config = _STRICT
    w0: Factor = 10.0
    sigma: Positive = 5.0


class CrossEntropyConfig(BaseModel):
    """Options of `cross_entropy`; with `border` the data must bring border weights."""

    model_config = _STRICT
    weight: Factor = 1.0
    border: BorderConfig | None = None
    class_weights: tuple[Positive, ...] | None = None
    label_smoothing: Share = 0.0


class DiceConfig(BaseModel):
    """Options of `dice`."""

    model_config = _STRICT
    weight: Factor = 1.0
    batch: bool = True
    smooth: Factor = 1.0


class TverskyConfig(BaseModel):
    """Options of `tversky`."""

    model_config = _STRICT
    weight: Factor = 1.0
    alpha: Factor = 0.3
    beta: Factor = 0.7
    batch: bool = True
    smooth: Factor = 1.0


class FocalConfig(BaseModel):
    """Options of `focal`."""

    model_config = _STRICT
    weight: Factor = 1.0
    gamma: Factor = 2.0


class FocalTverskyConfig(BaseModel):
    """Options of `focal_tversky`."""

    model_config = _STRICT
    weight: Factor = 1.0
    alpha: Factor = 0.3
    beta: Factor = 0.7
    gamma: Positive = 4 / 3
    batch: bool = True
    smooth: Factor = 1.0


class SkeletonRecallConfig(BaseModel):
    """Options of `skeleton_recall`; the data must bring tubes of this `radius`."""

    model_config = _STRICT
    weight: Factor = 1.0
    radius: Annotated[int, Field(ge=0)] = 2
    smooth: Factor = 1e-5


class ClDiceConfig(BaseModel):
    """Options of `cl_dice`."""

    model_config = _STRICT
    weight: Factor = 1.0
    iterations: Annotated[int, Field(ge=0)] = 3
    smooth: Factor = 1.0


class BoundaryConfig(BaseModel):
    """Options of `boundary`; the data must bring signed distances."""

    model_config = _STRICT
    weight: Factor = 1.0


def _from_weight(value: object) -> object:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {"weight": value} if number else value


_BARE = BeforeValidator(_from_weight)


class LossConfig(BaseModel):
    """A weighted sum of losses; a term that is named takes part, a bare number is its weight.

    Without any key it is cross-entropy + Dice, 1 each; with keys, exactly the terms named. A term
    of `None` or of weight 0 is off; at least one must be on.

    Example:
        >>> LossConfig.model_validate({"cross_entropy": 1, "dice": {"weight": 0.5}}).dice.weight
        0.5
    """

    model_config = _STRICT
    cross_entropy: Annotated[CrossEntropyConfig | None, _BARE] = None
    dice: Annotated[DiceConfig | None, _BARE] = None
    tversky: Annotated[TverskyConfig | None, _BARE] = None
    focal: Annotated[FocalConfig | None, _BARE] = None
    focal_tversky: Annotated[FocalTverskyConfig | None, _BARE] = None
    skeleton_recall: Annotated[SkeletonRecallConfig | None, _BARE] = None
    cl_dice: Annotated[ClDiceConfig | None, _BARE] = None
    boundary: Annotated[BoundaryConfig | None, _BARE] = None

    @model_validator(mode="before")
    @classmethod
    def _default(cls, value: Any) -> Any:
        return {"cross_entropy": 1, "dice": 1} if value == {} else value

    def terms(self) -> list[tuple[str, Any]]:
        """Each term that is on: its name and its options, in the order of the fields."""
        return [(name, term) for name, term in self if term is not None and term.weight]

    @model_validator(mode="after")
    def _some_term(self) -> LossConfig:
        if not self.terms():
            known = ", ".join(type(self).model_fields)
            raise ValueError(f"no loss is switched on; name at least one of {known}")
        return self


_LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": terms.cross_entropy,
    "dice": terms.dice,
    "tversky": terms.tversky,
    "focal": terms.focal,
    "focal_tversky": terms.focal_tversky,
    "skeleton_recall": terms.skeleton_recall,
    "cl_dice": terms.cl_dice,
    "boundary": terms.boundary,
}
_NOT_OPTIONS = {"weight", "border", "radius"}  # read by the sum and by whoever makes the targets


def total(config: LossConfig, prepared: Prepared) -> tuple[Tensor, dict[str, Tensor]]:
    """Add up the losses of the config, each times its weight.

    Returns:
        The sum, a scalar with gradient, and each term by name, detached and before its weight.
    """
    loss = prepared.logits.new_zeros(())
    parts = {}
    for name, term in config.terms():
        value = _LOSSES[name](prepared, **term.model_dump(exclude=_NOT_OPTIONS))
        loss = loss + term.weight * value
        parts[name] = value.detach()
    return loss, parts
