"""Model files → a segmenter on the engine that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unetkit.engines import Program, choose_engine, fold
from unetkit.errors import InputError
from unetkit.segmenter.card import Card, digest, read_card, read_weights
from unetkit.segmenter.member import Member, Source
from unetkit.segmenter.segmenter import Segmenter


def load(
    path: str | Path | Sequence[str | Path],
    *,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    threads: int | None = None,
    calibration: str | Path | None = None,
    cache: Path | None = None,
) -> Segmenter:
    """Load a model from a run folder or a `.safetensors` file. Nothing is unpickled.

    Args:
        path: the model; of several the probabilities are averaged.
        device: "auto", "cpu", "cuda" or "mps".
        precision: "auto", "fp32", "bf16" or "int8".
        engine: "auto" (the fastest safe one), "torch", "openvino" or "onnx".
        threads: of the CPU; default: all there are.
        calibration: for int8, the data set to calibrate on; default: the one the model was trained
            on, where it still is. The first calibration is kept in `cache`.
        cache: folder in which what was calibrated or compiled is kept for the next time.

    Raises:
        InputError: no such model, or not one of ours; models of different tasks; no such engine.
    """
    paths = [path] if isinstance(path, str | Path) else list(path)
    members = []
    for one in paths:
        card = read_card(one)
        program = _program(one, card)
        quantized = None
        if precision == "int8":
            from unetkit.segmenter.quantized import quantized_file

            quantized = quantized_file(one, card, program, data=calibration, cache=cache)
        chosen = choose_engine(
            program,
            device=device,
            engine=engine,
            precision=precision,
            threads=threads,
            quantized=quantized,
        )
        members.append(Member(card, chosen, digest(one)))
    source = Source(
        tuple(str(Path(one).resolve()) for one in paths), device, precision, engine,
        None if calibration is None else str(Path(calibration).resolve()), cache,
    )  # fmt: skip
    return Segmenter(*members, source=source)


def reload(source: Source, threads: int | None = None) -> Segmenter:
    """Load what another process has loaded, on so many threads."""
    return load(
        source.paths, device=source.device, precision=source.precision, engine=source.engine,
        threads=threads, calibration=source.calibration, cache=source.cache,
    )  # fmt: skip


def _program(path: str | Path, card: Card) -> Program:
    """Read the network of a model.

    Raises:
        InputError: header and weights contradict each other.
    """
    weights = read_weights(path)
    try:
        if card.network.channels and card.network.classes:  # which no training leaves open
            return fold(card.network, weights)
    except ValueError:  # other names or shapes
        pass
    raise InputError(
        "weights and header do not fit together", where=path, cure="train the model again"
    )
