"""OpenVINO on the CPU: the fastest engine there, in fp32, bf16 or int8."""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unetkit.engines.openvino_graph import to_openvino
from unetkit.engines.program import Array, Program, Run
from unetkit.engines.silence import import_openvino
from unetkit.machine import cores, has_bf16

if TYPE_CHECKING:
    from openvino import Model

# A network compiled for one size needs a third less memory, but takes 0.1 to 0.2 s to compile.
# So batches of this many pixels get one of their own; smaller ones share one for all sizes.
_LARGE = 2**20
_KERNELS = 200  # compiled and kept for further sizes: four or five of them; each holds megabytes


def run_openvino(
    model: Model | Program,
    precision: Literal["fp32", "bf16", "int8"] = "fp32",
    *,
    threads: int | None = None,
) -> Run:
    """Prepare a network for OpenVINO's CPU plugin.

    What is compiled is not cached on disk: compiling takes 0.1 to 0.2 s, and reading back no less.

    Beside its weights it needs, in bytes per pixel and channel of the first level, about 8 in bf16,
    5 in int8 and 16 in fp32; up to 1.8 times that for batches below 2²⁰ pixels.

    Args:
        model: a program, or what `to_openvino`, `quantize` or `load_openvino` gave.
        precision: of the computation; fp32 is exact, bf16 needs a processor that multiplies it,
            and int8 a model from `quantize`.
        threads: default: every core this process may use.

    Raises:
        InputError: openvino is not installed.
    """
    openvino = import_openvino()
    graph = to_openvino(model) if isinstance(model, Program) else model
    core = openvino.Core()
    # What of a quantised network is not int8 takes the faster of the two.
    exact = precision == "fp32" or (precision == "int8" and not has_bf16())
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32" if exact else "bf16",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads or cores(),
        "ENABLE_CPU_PINNING": False,  # else two processes of one thread each share one core
        "CPU_RUNTIME_CACHE_CAPACITY": _KERNELS,
    }

    def prepare(shape: tuple[int, ...] | None) -> Any:
        fitted = graph
        if shape is not None:
            fitted = graph.clone()
            fitted.reshape(list(shape))
        return core.compile_model(fitted, "CPU", settings).create_infer_request()

    return _runner(openvino, prepare)


def _runner(openvino: Any, prepare: Callable[[tuple[int, ...] | None], Any]) -> Run:
    # One network at a time, for it keeps the memory of its largest batch.
    lock = Lock()  # and one caller at a time
    ready: dict[tuple[int, ...] | None, Any] = {}

    def run(batch: Array) -> Array:
        key = batch.shape if batch.shape[0] * math.prod(batch.shape[2:]) >= _LARGE else None
        with lock:
            if key not in ready:
                ready.clear()
                ready[key] = prepare(key)
            request = ready[key]
            image = openvino.Tensor(np.ascontiguousarray(batch, np.float32), shared_memory=True)
            request.set_input_tensor(image)
            request.infer()
            logits: Array = np.array(request.get_output_tensor().data, np.float32)
            return logits

    return run
