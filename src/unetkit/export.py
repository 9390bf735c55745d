"""A model for another runtime, written only if it says the same there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unetkit.engines import Program, Run, fold
from unetkit.errors import InputError, nearest
from unetkit.files import write_bytes
from unetkit.segmenter import Card, read_card, read_weights

RUNTIMES = ("onnx", "openvino")
MANY = 0.01  # share of changed pixels from which int8 is not to be trusted
TOO_MANY = "that is too many: train the network longer, or keep to bf16"
_FLOAT_ERROR = 1e-3  # of the logits' largest: rounding in another order, no more


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        sentence: what it takes and gives, and how it compares with the model it was made of.
    """

    path: Path
    sentence: str


def export(
    model: str | Path,
    to: str,
    out: str | Path,
    *,
    precision: str = "fp32",
    calibration: str | Path | None = None,
    cache: Path | None = None,
) -> Exported:
    """Write a model for ONNX or OpenVINO.

    The file takes "image", a normalised batch (b, c, *in) of any size that the network allows, and
    gives "logits" (b, k, *out); the model's card stands in its metadata under "unetkit", with the
    normalisation, temperature, threshold and classes that belong to it.

    Args:
        model: a run folder or a `.safetensors` file.
        to: "onnx" or "openvino".
        out: the `.onnx` or `.xml` file; beside the latter comes a `.bin`.
        precision: "fp32", or "int8" for OpenVINO, calibrated on training images.
        calibration: the data set to calibrate on; default: that of the training.
        cache: folder where the calibration is kept for `predict --precision int8`.

    Raises:
        InputError: no such model or runtime, a precision that it has not, another suffix, or the
            exported model says something else than the original.
    """
    out = Path(out)
    _require(to, precision, out)
    card = read_card(model)
    program = fold(card.network, read_weights(model))
    if to == "onnx":
        from unetkit.engines.onnx_graph import to_onnx
        from unetkit.engines.onnx_runtime import run_onnx

        content = to_onnx(program, {"unetkit": card.model_dump_json()})
        error = _compare(run_onnx(content), program, card)
        _refuse(error, out)
        write_bytes(out, content)
    elif precision == "int8":
        from unetkit.engines.openvino_graph import load_openvino, read_notes, save_openvino
        from unetkit.segmenter.quantized import quantized_file

        quantized = load_openvino(
            quantized_file(model, card, program, data=calibration, cache=cache)
        )
        changed = float(read_notes(quantized)["changed"])
        save_openvino(quantized, out)
        warning = f"; {TOO_MANY}" if changed > MANY else ""
        return Exported(
            out, f"{_TAKES}; {changed:.3%} of calibration pixels change their class{warning}"
        )
    else:
        from unetkit.engines.openvino_cpu import run_openvino
        from unetkit.engines.openvino_graph import save_openvino, to_openvino

        written = to_openvino(program)
        error = _compare(run_openvino(written, "fp32"), program, card)
        _refuse(error, out)
        save_openvino(written, out, {"unetkit": card.model_dump_json()})
    return Exported(out, f"{_TAKES}; logits differ by at most {error:.0e} of their largest")


_TAKES = "takes a normalised image, gives logits; the card in it says how to normalise"


def _require(to: str, precision: str, out: Path) -> None:
    if to not in RUNTIMES:
        raise InputError(f"unknown runtime {to}", where="--to", cure=nearest(to, RUNTIMES))
    known = ("fp32", "int8") if to == "openvino" else ("fp32",)
    if precision not in known:
        raise InputError(
            f"{to} is not written in {precision}",
            where="--precision",
            cure=f"take {' or '.join(known)}; bf16 is chosen when a model is run",
        )
    suffix = {"onnx": ".onnx", "openvino": ".xml"}[to]
    if out.suffix != suffix:
        raise InputError(f"is no name for {to}", where=out, cure=f"end it with {suffix}")


def _compare(run: Run, program: Program, card: Card) -> float:
    """Give the largest difference of logits to PyTorch's, as a share of the largest logit."""
    ours = _reference(program)
    footprint = card.network.footprint
    chance = np.random.default_rng(0)
    worst = 0.0
    for times in (1, 2):  # two sizes, for both must be open
        size = footprint.enclose([times * (s + m) for s, m in zip(
            footprint.stride, footprint.margin, strict=True)])  # fmt: skip
        batch = chance.normal(size=(1, program.channels, *size)).astype(np.float32)
        right = ours(batch)
        worst = max(worst, float(np.abs(run(batch) - right).max() / np.abs(right).max()))
    return worst


def _reference(program: Program) -> Run:
    from unetkit.engines.torch_cpu import run_torch

    return run_torch(program, "fp32")


def _refuse(error: float, out: Path) -> None:
    if not error < _FLOAT_ERROR:
        raise InputError(
            f"the exported model differs by {error:.1%} of the largest logit; it is not written",
            where=out,
            cure="report this with the model's card",
        )
