"""PyTorch on a processor, through oneDNN's fused operations.

A convolution takes its ReLU, or an addition and its ReLU, along, and its weights are brought into
oneDNN's own order once. PyTorch's compiler uses the same operations, but takes half a minute to get
there. They are not part of PyTorch's public door: where they are missing, or give something else,
the public operations do the same work.

Compared on a processor with AVX512-BF16, and therefore so: concat-then-convolve is a sum of two
convolutions, the second added in place onto the first, which is faster at the finest level, even at
the others, and needs less memory; pooling is a maximum of slices, since `max_pool2d` also notes
where the maximum was; `conv_transpose2d` stays, since a 1×1 convolution whose pixels are shuffled
afterwards is slower at every level.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache, reduce
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from unetkit.engines.program import Array, Program, Run, Step
from unetkit.engines.torch_plain import (
    Call,
    Operation,
    Place,
    Schedule,
    convert,
    rounded,
    translate,
)

_ROWS = 2**14  # pixels that the head makes fp32 at a time, so that they stay in the cache


def run_torch(
    program: Program, precision: Literal["fp32", "bf16"], threads: int | None = None
) -> Run:
    """Make a program runnable on the processor.

    Args:
        program: the network.
        precision: "fp32" is exact; "bf16" keeps 8 of the 24 bits of weights and values, sums in
            fp32 and gives fp32 logits.
        threads: that PyTorch may use, in this whole process; `None` leaves them as they are.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    place = Place(torch.device("cpu"), dtype, program.ndim)
    with torch.inference_mode():
        fused = has_fused(program.ndim, dtype) and has_fused(program.ndim, torch.float32)
        schedule = Schedule(fuse(program, place) if fused else translate(program, place))

    def run(batch: Array) -> Array:
        # OpenMP counts threads per calling thread, so this one may not know of it yet.
        if threads is not None and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        with torch.inference_mode():
            logits: Array = schedule(place.receive(batch)).contiguous().numpy()
        return logits

    return run


@cache
def has_fused(ndim: int, dtype: torch.dtype) -> bool:
    """Tell whether oneDNN's fused operations are here and right, by trying them on a few pixels."""
    place = Place(torch.device("cpu"), dtype, ndim)
    chance = np.random.default_rng(0)
    weight = chance.normal(size=(16, 16, *[3] * ndim)).astype(np.float32)
    bias = chance.normal(size=16).astype(np.float32)
    step = Step("conv", (0,), weight, bias, (1,) * ndim, relu=True)
    try:
        with torch.inference_mode():
            x = place.receive(chance.normal(size=(1, 16, *[4] * ndim)).astype(np.float32)).to(dtype)
            right = convert(replace(step, relu=False), place)(x)
            pairs = (
                (_convolve(step, place)(x), right.relu()),
                (_convolve_onto(step, place)(x, x.clone()), (right + x).relu()),
            )
            scale = float(right.abs().max()) * (2e-2 if dtype == torch.bfloat16 else 1e-5)
            return all(float((a - b).abs().max()) < scale for a, b in pairs)
    except (AttributeError, RuntimeError, TypeError):
        return False


def fuse(program: Program, place: Place) -> list[Operation]:
    """Write a program as fused calls, as few as possible; the last one gives fp32."""
    fusion = _Fusion(program, place)
    for at in range(1, len(program.steps) + 1):
        fusion.write(at)
    return fusion.operations


@dataclass
class _Fusion:
    program: Program
    place: Place
    operations: list[Operation] = field(default_factory=list)

    def __post_init__(self) -> None:
        steps = self.program.steps
        self.users: list[list[Step]] = [[] for _ in range(len(steps) + 1)]
        self.channels = [self.program.channels]
        for step in steps:
            for value in step.inputs:
                self.users[value].append(step)
            self.channels.append(_count_channels(step, self.channels))

    def write(self, at: int) -> None:
        """Write the step that makes value `at`, unless later steps do its work."""
        step = self.program.steps[at - 1]
        inputs, call = step.inputs, None
        if at == len(self.program.steps):
            call = _head(step)
        elif step.kind == "conv":
            if not self.waits(at):
                self.convolve(step, at)
            return
        elif step.kind == "add" and self.waits(inputs[0]):
            convolution = replace(self.program.steps[inputs[0] - 1], relu=step.relu)
            self.convolve(convolution, at, onto=inputs[1])
            return
        elif step.kind == "cat" and self.is_split(at):
            return
        elif step.kind == "pool":
            call = _pool(step)
        elif 0 in inputs:
            call = rounded(convert(step, self.place), self.place)
        self.operations.append(Operation(call or convert(step, self.place), inputs, at))

    def convolve(self, step: Step, at: int, onto: int | None = None) -> None:
        """Write a convolution, as a sum of several over joined channels, perhaps onto a value."""
        assert step.weight is not None, "a convolution has weights"
        assert step.bias is not None, "a convolution has a bias"
        parts = step.inputs
        if self.is_split(parts[0]):
            parts = self.program.steps[parts[0] - 1].inputs
        ends = np.cumsum([self.channels[part] for part in parts])
        weights = np.split(step.weight, ends[:-1], axis=1)
        for number, (part, weight) in enumerate(zip(parts, weights, strict=True)):
            bias = step.bias if number == 0 else np.zeros_like(step.bias)
            relu = step.relu and number == len(parts) - 1
            piece = replace(step, weight=weight, bias=bias, relu=relu)
            if part == 0 and onto is None:  # as in `translate`
                exact = replace(self.place, dtype=torch.float32)
                call = rounded(_convolve(piece, exact), self.place)
                self.operations.append(Operation(call, (part,), at))
            elif onto is None:
                self.operations.append(Operation(_convolve(piece, self.place), (part,), at))
            else:
                call = _convolve_onto(piece, self.place)
                self.operations.append(Operation(call, (part, onto), at))
            onto = at

    def is_split(self, at: int) -> bool:
        """Tell whether value `at` joins channels for convolutions only, and so is never made."""
        made = at > 0 and self.program.steps[at - 1].kind == "cat"
        return made and all(user.kind == "conv" for user in self.users[at])

    def waits(self, at: int) -> bool:
        """Tell whether value `at` is a convolution that is added onto another value instead."""
        if self.program.steps[at - 1].kind != "conv" or self.program.steps[at - 1].relu:
            return False
        user, *others = self.users[at]
        if others or user.kind != "add" or user.inputs[0] != at:
            return False
        onto = user.inputs[1]  # is overwritten, so it must be made for this alone
        fresh = onto > 0 and self.program.steps[onto - 1].kind in ("conv", "norm")
        return fresh and len(self.users[onto]) == 1


def _count_channels(step: Step, channels: list[int]) -> int:
    if step.kind == "cat":
        return sum(channels[i] for i in step.inputs)
    if step.weight is None or step.kind == "norm":
        return channels[step.inputs[0]]
    return int(step.weight.shape[0 if step.kind == "conv" else 1])


def _convolve(step: Step, place: Place) -> Call:
    """A convolution and its ReLU."""
    weight, bias = _pack(step, place)
    ones, padding = [1] * place.ndim, list(step.padding)
    relu = "relu" if step.relu else "none"
    call: Any = torch.ops.mkldnn._convolution_pointwise.default

    def run(x: Tensor) -> Tensor:
        out: Tensor = call(x, weight, bias, padding, ones, ones, 1, relu, [], "")
        return out

    return run


def _convolve_onto(step: Step, place: Place) -> Call:
    """A convolution added to the second value, in its place, and its ReLU."""
    weight, bias = _pack(step, place)
    ones, padding = [1] * place.ndim, list(step.padding)
    relu = "relu" if step.relu else None
    call: Any = torch.ops.mkldnn._convolution_pointwise_.binary

    def run(x: Tensor, onto: Tensor) -> Tensor:
        out: Tensor = call(onto, x, weight, bias, padding, ones, ones, 1, "add", 1.0, relu, [], "")
        return out

    return run


def _pack(step: Step, place: Place) -> tuple[Tensor, Tensor]:
    """Weights in oneDNN's own order, and the bias."""
    assert step.weight is not None, "a convolution has weights"
    assert step.bias is not None, "a convolution has a bias"
    reorder: Any = torch.ops.mkldnn._reorder_convolution_weight
    ones = [1] * place.ndim
    weight: Tensor = reorder(place.put(step.weight), list(step.padding), ones, ones, 1)
    return weight, place.put(step.bias)


def _pool(step: Step) -> Call:
    """The maximum over blocks, one axis after the other."""

    def run(x: Tensor) -> Tensor:
        for axis, factor in enumerate(step.factor, start=2):
            stop = x.shape[axis] // factor * factor
            window = (slice(None),) * axis
            x = reduce(torch.maximum, [x[(*window, slice(i, stop, factor))] for i in range(factor)])
        return x

    return run


def _head(step: Step) -> Call:
    """The last, 1×1 convolution: fp32 logits in the usual order of axes, whatever comes before."""
    assert step.weight is not None, "a convolution has weights"
    assert step.bias is not None, "a convolution has a bias"
    weight = torch.from_numpy(step.weight.reshape(step.weight.shape[:2]))
    bias = torch.from_numpy(step.bias)[:, None]

    def run(x: Tensor) -> Tensor:
        logits = torch.empty((len(x), len(weight), *x.shape[2:]))
        for one, out in zip(x.movedim(1, -1), logits.flatten(2), strict=True):
            pixels = one.reshape(-1, weight.shape[1])
            for start in range(0, len(pixels), _ROWS):
                some = pixels[start : start + _ROWS].float()
                out[:, start : start + _ROWS] = torch.addmm(bias, weight, some.T)
        return logits

    return run
