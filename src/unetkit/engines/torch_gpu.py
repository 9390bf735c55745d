"""PyTorch on a graphics card: folded weights, channels last, and recorded graphs on CUDA.

A tile of a small network is done sooner than Python can ask for its fifty operations; a graph
asks for all of them at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

from unetkit.engines.program import Array, Program, Run
from unetkit.engines.torch_plain import Place, Schedule, translate
from unetkit.errors import InputError

Shape = tuple[int, ...]

_KEPT = 2  # graphs at a time; each keeps the memory of all of its values


def run_gpu(
    program: Program, device: torch.device | str, precision: Literal["fp32", "bf16"]
) -> Run:
    """Make a program runnable on a graphics card; any other device of PyTorch does too.

    Args:
        program: the network.
        device: such as "cuda", "cuda:1" or "mps".
        precision: "fp32" is exact: TF32, which keeps 11 of the 24 bits, stays off. "bf16" gives
            fp32 logits.

    Raises:
        InputError: while running, the device's memory does not hold the values of an input.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    place = Place(torch.device(device), dtype, program.ndim)
    with torch.inference_mode():
        schedule = Schedule(translate(program, place))
    forward: Callable[[Tensor], Tensor] = schedule
    if place.device.type == "cuda":
        forward = remember(schedule, capture)

    def run(batch: Array) -> Array:
        with torch.inference_mode(), _exact() if precision == "fp32" else nullcontext():
            try:
                logits: Array = forward(place.receive(batch)).contiguous().cpu().numpy()
            except torch.OutOfMemoryError:
                size = " × ".join(str(n) for n in batch.shape[2:])
                raise InputError(
                    f"an input of {size} pixels does not fit into the memory of {place.device}",
                    cure="use a smaller tile",
                ) from None
        return logits

    return run


def _exact() -> AbstractContextManager[None]:
    exact: AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    return exact


def remember(
    forward: Callable[[Tensor], Tensor],
    prepare: Callable[[Callable[[Tensor], Tensor], Tensor], Callable[[Tensor], Tensor]],
) -> Callable[[Tensor], Tensor]:
    """Prepare `forward` for a shape that is seen for the second time, and keep it for a few.

    A folder of images that all differ in size is not worth the preparation. Where that fails,
    the shape is run unprepared.

    Args:
        forward: gives logits of a batch.
        prepare: gives the same function, faster, for inputs like the one it is shown.
    """
    seen: set[Shape] = set()
    kept: OrderedDict[Shape, Callable[[Tensor], Tensor]] = OrderedDict()

    def run(x: Tensor) -> Tensor:
        shape = tuple(x.shape)
        if shape not in kept and shape in seen:
            while len(kept) >= _KEPT:
                kept.popitem(last=False)  # before, so that its memory is free for the new one
            try:
                kept[shape] = prepare(forward, x)
            except RuntimeError:
                kept[shape] = forward
        seen.add(shape)
        if shape not in kept:
            return forward(x)
        kept.move_to_end(shape)
        return kept[shape](x)

    return run


def capture(forward: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[Tensor], Tensor]:
    """Record what `forward` asks of CUDA for inputs like `x`, to ask for it all at once.

    The result is overwritten by the next call. Never run where this was written, for want of such
    a device; it follows the steps of PyTorch's documentation of CUDA graphs.

    Raises:
        RuntimeError: something cannot be recorded.
    """
    still = x.clone(memory_format=torch.preserve_format)
    cuda: Any = torch.cuda  # without types in parts
    with cuda.device(x.device):
        stream = cuda.Stream()
        stream.wait_stream(cuda.current_stream())
        with cuda.stream(stream):
            for _ in range(2):  # libraries choose and load what they need at first calls
                forward(still)
        cuda.current_stream().wait_stream(stream)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            result = forward(still)

    def replay(x: Tensor) -> Tensor:
        still.copy_(x)
        graph.replay()
        return result

    return replay
