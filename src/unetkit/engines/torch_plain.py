"""The steps of a program in PyTorch's public operations, on any device and in any precision.

A graphics card runs them as they are; a processor where oneDNN's fused operations are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unetkit.engines.program import Array, Program, Step

Call = Callable[..., Tensor]


@dataclass(frozen=True, eq=False)
class Operation:
    """One call: takes the values `inputs`, makes the value `output` (maybe in an input's place)."""

    call: Call
    inputs: tuple[int, ...]
    output: int


class Schedule:
    """Operations in their order; a value is let go as soon as no later operation takes it."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.operations = operations
        last = {value: at for at, one in enumerate(operations) for value in one.inputs}
        self.past: list[list[int]] = [[] for _ in operations]
        for value, at in last.items():
            self.past[at].append(value)

    def __call__(self, x: Tensor) -> Tensor:
        """Give the last operation's value, with `x` as value 0."""
        values = {0: x}
        for one, past in zip(self.operations, self.past, strict=True):
            values[one.output] = one.call(*[values[value] for value in one.inputs])
            for value in past:
                del values[value]
        return values[self.operations[-1].output]


@dataclass(frozen=True, eq=False)
class Place:
    """Where arrays are brought to: a device, in a type, channels last as convolutions like it."""

    device: torch.device
    dtype: torch.dtype
    ndim: int

    @property
    def layout(self) -> torch.memory_format:
        """The order of axes in memory; Apple's device knows the usual one only."""
        if self.device.type == "mps":
            return torch.contiguous_format
        return torch.channels_last if self.ndim == 2 else torch.channels_last_3d

    def put(self, array: Array) -> Tensor:
        """Bring weights here; those of convolutions channels last."""
        tensor = torch.from_numpy(np.array(array)).to(self.device, self.dtype)
        if tensor.ndim != self.ndim + 2:
            return tensor
        return tensor.contiguous(memory_format=self.layout)

    def receive(self, batch: Array) -> Tensor:
        """Bring a batch (b, c, *in) here in fp32; PyTorch takes no mirrored or read-only arrays."""
        if not batch.flags.writeable or any(stride < 0 for stride in batch.strides):
            batch = batch.copy()
        tensor = torch.from_numpy(batch).to(self.device, torch.float32)
        return tensor.contiguous(memory_format=self.layout)


def translate(program: Program, place: Place) -> list[Operation]:
    """Write every step as one call; what takes the image, and the last one, compute in fp32.

    The first convolution sees the image's own values, and nothing later mends what is rounded
    there. Rounded to bf16, two logits of about the same size would differ by 0.4 % of it or not at
    all.
    """
    exact = replace(place, dtype=torch.float32)
    *steps, head = program.steps
    last = convert(head, exact)
    calls: list[Call] = [
        rounded(convert(step, exact), place) if 0 in step.inputs else convert(step, place)
        for step in steps
    ]
    calls.append(lambda x: last(x.float()))
    return [
        Operation(call, step.inputs, at)
        for at, (call, step) in enumerate(zip(calls, program.steps, strict=True), start=1)
    ]


def rounded(call: Call, place: Place) -> Call:
    """Give a call whose value is brought into the type of a place."""
    return lambda *values: call(*values).to(place.dtype)


def convert(step: Step, place: Place) -> Call:
    """Give the function of a step, its weights brought to their place."""
    flat = place.ndim == 2
    weight, bias = (
        place.put(np.zeros(0, np.float32) if array is None else array)
        for array in (step.weight, step.bias)
    )
    match step.kind:
        case "conv":
            convolve = F.conv2d if flat else F.conv3d
            return _rectify(step, lambda x: convolve(x, weight, bias, padding=step.padding))
        case "up":
            transposed = F.conv_transpose2d if flat else F.conv_transpose3d
            return lambda x: transposed(x, weight, bias, stride=step.factor)
        case "pool":
            pool = F.max_pool2d if flat else F.max_pool3d
            return lambda x: pool(x, step.factor)
        case "resize":
            linear = "bilinear" if flat else "trilinear"
            mode, corners = (linear, False) if step.linear else ("nearest", None)
            scale = [float(factor) for factor in step.factor]
            return lambda x: F.interpolate(x, scale_factor=scale, mode=mode, align_corners=corners)
        case "norm":
            return _rectify(step, lambda x: F.group_norm(x, step.groups, weight, bias))
        case "crop":
            window = [slice(before, -after or None) for before, after in step.cut]
            return lambda x: x[(slice(None), slice(None), *window)]
        case "cat":
            return lambda *parts: torch.cat(parts, dim=1)
        case "add":
            return _rectify(step, torch.add)
        case "gate":
            return lambda x, weights: x * torch.sigmoid(weights)


def _rectify(step: Step, call: Call) -> Call:
    """Add the ReLU where the step has one, in the place of the fresh value."""
    return (lambda *values: F.relu_(call(*values))) if step.relu else call
