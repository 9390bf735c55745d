"""A trained network as a flat list of steps, which every engine translates into its own words.

Batch normalisation stands still after training, so it is folded into the convolution before it:
with y = γ(Wx + b − μ)/√(σ² + ε) + β the convolution has weights W·γ/√(σ² + ε) and bias
(b − μ)·γ/√(σ² + ε) + β. Everything else is kept as it is, in the order of `UNet.forward`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unetkit.network.config import NetworkConfig

Array = NDArray[np.float32]
Run = Callable[[Array], Array]  # logits (b, k, *out) of a normalised batch (b, c, *in)
Kind = Literal["conv", "up", "pool", "resize", "norm", "crop", "cat", "add", "gate"]

_EPSILON = 1e-5  # of all of PyTorch's normalisations


@dataclass(frozen=True, eq=False)
class Step:
    """One operation on (b, c, *space). Value 0 is the input; step i makes value i + 1.

    Attributes:
        kind: "conv" a convolution of stride 1; "up" a transposed convolution whose kernel is its
            stride, `factor`; "pool" the maximum over blocks of `factor`; "resize" interpolation by
            `factor`, nearest or (half-pixel centres) linear; "norm" over each image and group of
            channels, then `weight`·x + `bias` per channel; "crop" cuts `cut`; "cat" joins channels;
            "add" sums; "gate" scales the first by the sigmoid of the second, which has one channel.
        inputs: the values it takes.
        weight: (out, in, *kernel) of a conv, (in, out, *factor) of an up, (channels) of a norm.
        bias: (out); zeros where the network has none.
        padding: zeros on each side, per axis, of a conv.
        factor: per axis.
        linear: of a resize.
        groups: of a norm; as many as channels for instance normalisation.
        cut: pixels cut (before, after) per axis.
        relu: followed by max(0, ·); of conv, norm and add.
    """

    kind: Kind
    inputs: tuple[int, ...]
    weight: Array | None = None
    bias: Array | None = None
    padding: tuple[int, ...] = ()
    factor: tuple[int, ...] = ()
    linear: bool = False
    groups: int = 0
    cut: tuple[tuple[int, int], ...] = ()
    relu: bool = False


@dataclass(frozen=True, eq=False)
class Program:
    """A network to be run: inputs (b, channels, *in) of legal size → logits (b, classes, *out)."""

    ndim: int
    channels: int
    classes: int
    steps: tuple[Step, ...]

    def flops(self, size: Sequence[int]) -> int:
        """Count the operations of the convolutions of one input of `size`; 2 a multiply-add."""
        sizes, total = [tuple(size)], 0
        for step in self.steps:
            sizes.append(_size(step, sizes))
            if step.weight is not None and step.kind in ("conv", "up"):
                pixels = math.prod(sizes[-1] if step.kind == "conv" else sizes[step.inputs[0]])
                total += 2 * step.weight.size * pixels
        return total


def fold(config: NetworkConfig, state: Mapping[str, Array]) -> Program:
    """Write a trained network down as a program, batch norm folded away.

    Args:
        config: complete choices of the network.
        state: its weights and running statistics by the names of `UNet.state_dict()`.

    Raises:
        ValueError: a weight is missing or has another shape than the choices say.
    """
    assert config.channels is not None, "a trained network knows its channels"
    assert config.classes is not None, "a trained network knows its classes"
    writer = _Writer(config, {name: np.asarray(value) for name, value in state.items()})
    depth = config.depth
    skips = config.skips or "1" * depth
    widths = [config.width * 2**level for level in range(depth + 1)]
    x, passed = 0, []
    for level in range(depth):
        x = writer.level(f"encoder.{level}", x, widths[level])
        passed.append(x)
        x = writer.add(Step("pool", (x,), factor=config.factors[level]))
    x = writer.level(f"encoder.{depth}", x, widths[depth])
    for level in reversed(range(depth)):
        x = writer.up(f"up.{level}", x, widths[level], config.factors[level])
        if skips[level] == "1":
            skip = writer.centre(passed[level], x)
            if config.attention:
                skip = writer.attend(f"gate.{level}", skip, x)
            x = writer.add(Step("cat", (skip, x)))
        x = writer.level(f"decoder.{level}", x, widths[level])
    writer.convolve("head.0", x, config.classes, 1)
    return Program(config.ndim or 2, config.channels, config.classes, tuple(writer.steps))


@dataclass
class _Writer:
    config: NetworkConfig
    state: Mapping[str, Array]
    steps: list[Step] = field(default_factory=list)
    sizes: list[tuple[int, ...]] = field(default_factory=list)
    channels: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        # What a centre crop cuts is the same for every legal input: take a small one.
        self.sizes.append(self.config.footprint.minimum)
        self.channels.append(self.config.channels or 1)

    def add(self, step: Step) -> int:
        self.steps.append(step)
        self.sizes.append(_size(step, self.sizes))
        joined = sum(self.channels[x] for x in step.inputs)
        made = joined if step.kind == "cat" else self.channels[step.inputs[0]]
        if step.kind in ("conv", "up") and step.bias is not None:
            made = len(step.bias)
        self.channels.append(made)
        return len(self.steps)

    def take(self, name: str, *shape: int) -> Array:
        found = self.state.get(name)
        if found is None or found.shape != shape:
            there = "missing" if found is None else f"of shape {found.shape}"
            raise ValueError(f"{name} is {there}, not {shape}")
        return found

    def level(self, name: str, x: int, width: int) -> int:
        y = self.convolve(f"{name}.conv1", x, width, 3, norm=f"{name}.norm1", relu=True)
        if self.config.block == "plain":
            return self.convolve(f"{name}.conv2", y, width, 3, norm=f"{name}.norm2", relu=True)
        y = self.convolve(f"{name}.conv2", y, width, 3, norm=f"{name}.norm2")
        shortcut = self.convolve(f"{name}.shortcut", self.centre(x, y), width, 1)
        return self.add(Step("add", (y, shortcut), relu=True))

    def convolve(
        self,
        name: str,
        x: int,
        width: int,
        side: int,
        *,
        norm: str = "",
        relu: bool = False,
        bias_free: bool = False,
    ) -> int:
        kernel = (side,) * (self.config.ndim or 2)
        weight = self.take(f"{name}.weight", width, self.channels[x], *kernel)
        kind = self.config.norm if norm else "none"
        if bias_free or (norm and kind != "none"):
            bias = np.zeros(width, np.float32)
        else:
            bias = self.take(f"{name}.bias", width)
        if kind == "batch":
            part = {
                key: self.take(f"{norm}.{key}", width).astype(np.float64) for key in _STATISTICS
            }
            scale = part["weight"] / np.sqrt(part["running_var"] + _EPSILON)
            bias = ((bias - part["running_mean"]) * scale + part["bias"]).astype(np.float32)
            weight = (weight * scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.float32)
        same = self.config.padding == "same"
        padding = tuple(n // 2 if same else 0 for n in weight.shape[2:])
        last = kind in ("batch", "none")
        x = self.add(Step("conv", (x,), weight, bias, padding, relu=relu and last))
        if last:
            return x
        groups = len(weight) if kind == "instance" else math.gcd(8, len(weight))
        weight, bias = self.take(f"{norm}.weight", width), self.take(f"{norm}.bias", width)
        return self.add(Step("norm", (x,), weight, bias, groups=groups, relu=relu))

    def up(self, name: str, x: int, width: int, factor: tuple[int, ...]) -> int:
        if self.config.upsampling == "transposed":
            weight = self.take(f"{name}.conv.weight", self.channels[x], width, *factor)
            bias = self.take(f"{name}.conv.bias", width)
            return self.add(Step("up", (x,), weight, bias, factor=factor))
        linear = self.config.upsampling == "linear"
        x = self.convolve(f"{name}.conv", x, width, 1)
        x = self.add(Step("resize", (x,), factor=factor, linear=linear))
        if linear and self.config.padding == "valid":
            cut = tuple((int(f > 1), int(f > 1)) for f in factor)
            x = self.add(Step("crop", (x,), cut=cut))
        return x

    def attend(self, name: str, skip: int, signal: int) -> int:
        inner = max(1, self.channels[skip] // 2)
        left = self.convolve(f"{name}.skip", skip, inner, 1, bias_free=True)
        right = self.convolve(f"{name}.signal", signal, inner, 1)
        hidden = self.add(Step("add", (left, right), relu=True))
        return self.add(Step("gate", (skip, self.convolve(f"{name}.weight", hidden, 1, 1))))

    def centre(self, x: int, like: int) -> int:
        surplus = [a - b for a, b in zip(self.sizes[x], self.sizes[like], strict=True)]
        if not any(surplus):
            return x
        return self.add(Step("crop", (x,), cut=tuple((n // 2, n - n // 2) for n in surplus)))


_STATISTICS = ("weight", "bias", "running_mean", "running_var")


def _size(step: Step, sizes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Give the spatial size of what a step makes, from those of all values before it."""
    size = sizes[step.inputs[0]]
    match step.kind:
        case "conv":
            assert step.weight is not None, "a convolution has weights"
            kernel = step.weight.shape[2:]
            return tuple(
                n + 2 * p - k + 1 for n, p, k in zip(size, step.padding, kernel, strict=True)
            )
        case "up" | "resize":
            return tuple(n * f for n, f in zip(size, step.factor, strict=True))
        case "pool":
            return tuple(n // f for n, f in zip(size, step.factor, strict=True))
        case "crop":
            return tuple(n - a - b for n, (a, b) in zip(size, step.cut, strict=True))
    return size
