"""ONNX Runtime: fp32 on any processor, and on a GPU where its build has one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from unetkit.engines.program import Array, Run
from unetkit.errors import InputError
from unetkit.machine import cores


def run_onnx(model: bytes, *, threads: int | None = None, device: str = "cpu") -> Run:
    """Prepare a network for ONNX Runtime, in fp32.

    Args:
        model: what `to_onnx` gave, or the content of such a file.
        threads: default: every core this process may use.
        device: "cpu", or "cuda".

    Raises:
        InputError: onnxruntime is not installed, has no such device, or cannot read the model.
    """
    try:
        runtime: Any = import_module("onnxruntime")
    except ModuleNotFoundError:
        cure = "pip install 'unetkit[export]'"
        raise InputError("the ONNX engine needs onnxruntime", cure=cure) from None
    runtime.disable_telemetry_events()  # the builds for Windows have some
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    options.log_severity_level = 4  # what fails is raised as well
    # Its arena doubles the memory; `machine.keep_memory` saves the same time without.
    options.enable_cpu_mem_arena = False
    # Else idle threads keep their cores busy, which reading and writing of images need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = runtime.InferenceSession(model, options, providers=_providers(runtime, device))
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "onnxruntime":
            raise
        what = f"the ONNX model cannot be run ({str(error).splitlines()[0]})"
        raise InputError(what, cure="export it again") from None
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name

    def run(batch: Array) -> Array:
        image = np.ascontiguousarray(batch, np.float32)
        logits: Array = session.run([output], {name: image})[0]
        return logits

    return run


def _providers(runtime: Any, device: str) -> list[Any]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in runtime.get_available_providers():
        cure = "pip install onnxruntime-gpu, or use --device cpu"
        raise InputError("this build of onnxruntime has no CUDA", cure=cure)
    exact = {"use_tf32": "0"}  # TF32 keeps 10 bits, and fp32 is promised
    return [("CUDAExecutionProvider", exact), "CPUExecutionProvider"]
