"""Which engine computes: the fastest that is safe on this machine, or the one that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from unetkit.engines.program import Program, Run
from unetkit.errors import InputError, nearest
from unetkit.machine import choose_device, has_bf16, may_have_gpu

EngineName = Literal["auto", "torch", "openvino", "onnx"]
PrecisionName = Literal["auto", "fp32", "bf16", "int8"]
ENGINES = ("auto", "torch", "openvino", "onnx")
PRECISIONS = ("auto", "fp32", "bf16", "int8")


@dataclass(frozen=True, eq=False)
class Engine:
    """A network ready to be run.

    Attributes:
        kind: "torch", "openvino" or "onnx".
        precision: "fp32", "bf16" or "int8".
        device: "cpu", "cuda" or "mps".
        run: logits (b, k, *out) of a normalised batch (b, c, *in) of a legal size.
        changed: share of calibration pixels that have another class than in fp32; None if exact
            enough not to be asked.
    """

    kind: str
    precision: str
    device: str
    run: Run
    changed: float | None = None

    @property
    def name(self) -> str:
        """What computes, in words."""
        kinds = {"torch": "PyTorch", "openvino": "OpenVINO", "onnx": "ONNX Runtime"}
        known = "" if self.changed is None else f" (changes {self.changed:.2%} of pixels)"
        return f"{kinds[self.kind]} {self.precision} on {self.device}{known}"


def choose_engine(
    program: Program,
    *,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    quantized: Path | None = None,
) -> Engine:
    """Make a network ready on the engine asked for, or on the fastest safe one.

    On a CPU that is OpenVINO in bf16 where it is installed and the processor multiplies bf16, else
    in fp32; without it PyTorch, by the same rule. On a GPU it is PyTorch in bf16. int8 is never
    chosen by itself, since its error depends on the data it was calibrated on.

    Args:
        program: the network.
        device: "auto", "cpu", "cuda" or "mps".
        engine: "auto", "torch", "openvino" or "onnx"; all but torch run on the CPU.
        precision: "auto", "fp32" (exact), "bf16" or "int8" (OpenVINO only).
        threads: of the CPU; default: all there are.
        quantized: the file that `save_openvino` wrote of this network's int8 form.

    Raises:
        InputError: no such engine, precision or device, or they do not go together.
    """
    _require(engine, ENGINES, "--engine")
    _require(precision, PRECISIONS, "--precision")
    place = "cpu"
    if device != "cpu" and engine in ("auto", "torch") and (device != "auto" or may_have_gpu()):
        place = choose_device(device).type
    elif device not in ("auto", "cpu"):
        raise InputError(
            f"{engine} runs on the CPU here, not on {device}",
            where="--engine",
            cure="leave out --device, or take --engine torch",
        )
    if precision == "int8":
        if engine not in ("auto", "openvino") or place != "cpu":
            raise InputError(
                "int8 is computed by OpenVINO on a CPU only",
                where="--precision",
                cure="take --engine openvino --device cpu, or --precision bf16",
            )
        if quantized is None:
            raise ValueError("int8 needs the quantised network")
        from unetkit.engines.openvino_cpu import run_openvino
        from unetkit.engines.openvino_graph import load_openvino, read_notes

        graph = load_openvino(quantized)
        changed = read_notes(graph).get("changed")
        run = run_openvino(graph, "int8", threads=threads)
        return Engine("openvino", "int8", "cpu", run, None if changed is None else float(changed))
    if place != "cpu":
        from unetkit.engines.torch_gpu import run_gpu

        chosen = choose_device(device)
        number = _floating(precision, gpu=str(chosen))
        return Engine("torch", number, place, run_gpu(program, chosen, number))
    if engine == "auto":
        engine = "openvino" if find_spec("openvino") is not None else "torch"
    if engine == "onnx":
        if precision == "bf16":
            raise InputError(
                "ONNX Runtime computes in fp32 here",
                where="--precision",
                cure="take --engine openvino or torch for bf16",
            )
        from unetkit.engines.onnx_graph import to_onnx
        from unetkit.engines.onnx_runtime import run_onnx

        return Engine("onnx", "fp32", "cpu", run_onnx(to_onnx(program), threads=threads))
    number = _floating(precision)
    if engine == "openvino":
        from unetkit.engines.openvino_cpu import run_openvino

        run = run_openvino(program, number, threads=threads)
        return Engine("openvino", number, "cpu", run)
    from unetkit.engines.torch_cpu import run_torch

    return Engine("torch", number, "cpu", run_torch(program, number, threads))


def _floating(precision: str, gpu: str | None = None) -> Literal["fp32", "bf16"]:
    """Choose bf16 where the hardware multiplies it, unless told."""
    if precision != "auto":
        return "bf16" if precision == "bf16" else "fp32"
    if gpu is None:
        return "bf16" if has_bf16() else "fp32"
    import torch

    fast = gpu.startswith("cuda") and torch.cuda.is_bf16_supported()
    return "bf16" if fast else "fp32"


def _require(name: str, known: tuple[str, ...], where: str) -> None:
    if name not in known:
        what = where.removeprefix("--")
        raise InputError(f"unknown {what} {name}", where=where, cure=nearest(name, known))
