"""Every choice of the network, without the network: reading a model's header needs no PyTorch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from unetkit.geometry import Footprint, footprint

Norm = Literal["batch", "instance", "group", "none"]
Upsampling = Literal["transposed", "nearest", "linear"]


class NetworkConfig(BaseModel):
    """Every choice of the network. `None` means: taken from the data.

    Attributes:
        ndim: 2 for images, 3 for volumes.
        channels: channels of the input.
        classes: output channels. With a softmax head one per class, background included; with a
            sigmoid head one per label, so 1 for a binary mask.
        head: "softmax" (one class per pixel) or "sigmoid" (labels independent of each other).
            `None` takes sigmoid for one output channel, else softmax.
        depth: levels that are pooled, 1 to 6.
        width: channels of the first level; each further level has twice as many.
        padding: "same", or the paper's "valid" convolutions that shrink the image.
        skips: one 0 or 1 per level from the input to the deepest; a 0 omits the concatenation.
        norm: normalisation after each 3×3 convolution.
        block: "plain" or "residual" (He et al. 2016) levels.
        attention: additive attention gates on the skips (Oktay et al. 2018), applied at the skip's
            own resolution so that tiles stay exact.
        dropout: rate at the end of each level of the contracting path; one number for all, or one
            per level, the bottleneck last.
        upsampling: "transposed" (the paper's 2×2 up-convolution), or a 1×1 convolution followed by
            "nearest" or "linear" interpolation, which is faster on a CPU.
        deep_supervision: further heads on the coarser levels, used in training only.
        strides: pooling factor of each level, as one number or one per axis; `None`: 2.
        checkpointing: recompute levels in the backward pass, trading time for memory; batch
            norm's running statistics then take each batch in twice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ndim: Literal[2, 3] | None = None
    channels: int | None = Field(None, ge=1)
    classes: int | None = Field(None, ge=1)
    head: Literal["softmax", "sigmoid"] | None = None
    depth: int = Field(4, ge=1, le=6)
    width: int = Field(64, ge=1)
    padding: Literal["valid", "same"] = "same"
    skips: str | None = None
    norm: Norm = "batch"
    block: Literal["plain", "residual"] = "plain"
    attention: bool = False
    dropout: float | tuple[float, ...] = 0.0
    upsampling: Upsampling = "transposed"
    deep_supervision: bool = False
    strides: tuple[int | tuple[int, ...], ...] | None = None
    checkpointing: bool = False

    @field_validator("skips", mode="before")
    @classmethod
    def _digits(cls, value: Any) -> Any:
        # YAML reads 1001 as a number (and the recipe's reader keeps 0011 a word).
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _consistent(self) -> NetworkConfig:
        if self.skips is not None and (
            len(self.skips) != self.depth or set(self.skips) - {"0", "1"}
        ):
            raise ValueError(
                f"skips '{self.skips}' must be {self.depth} digits of 0 or 1, "
                f"one per level of depth {self.depth}"
            )
        rates = self.dropout if isinstance(self.dropout, tuple) else (self.dropout,)
        if any(not 0 <= rate < 1 for rate in rates):
            raise ValueError("dropout must be at least 0 and below 1")
        if isinstance(self.dropout, tuple) and len(self.dropout) != self.depth + 1:
            raise ValueError(f"dropout must have {self.depth + 1} rates, the bottleneck last")
        if self.strides is not None and len(self.strides) != self.depth:
            raise ValueError(f"strides must have {self.depth} entries, one per level")
        return self

    @property
    def activation(self) -> Literal["softmax", "sigmoid"]:
        """What turns logits into probabilities: the head that is used."""
        return self.head or ("sigmoid" if self.classes == 1 else "softmax")

    @property
    def factors(self) -> list[tuple[int, ...]]:
        """Pooling factor of each level and axis."""
        ndim = self.ndim or 2
        strides = self.strides or (2,) * self.depth
        return [(s,) * ndim if isinstance(s, int) else tuple(s) for s in strides]

    @property
    def footprint(self) -> Footprint:
        """Legal sizes, margin and stride of this network."""
        return footprint(
            self.factors,
            padding=self.padding,
            linear=self.upsampling == "linear",
            exact=self.norm in ("batch", "none"),
        )
