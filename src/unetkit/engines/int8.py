"""Calibration to int8: weights and activations on 256 steps, whose ranges training images show."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

from unetkit.engines.openvino_graph import image_convolutions, to_openvino
from unetkit.engines.program import Array, Program
from unetkit.engines.silence import import_nncf
from unetkit.errors import InputError

if TYPE_CHECKING:
    from openvino import Model


def quantize(program: Program, batches: Iterable[Array]) -> Model:
    """Quantise a network after training, by NNCF; `run_openvino(…, "int8")` runs it.

    Each convolution's weights are int8, one scale per output channel; activations are 8 bits with
    one scale, set by the mean over the batches of their least and greatest value. The same program
    and batches give the same model.

    The first convolution stays in floating point, for it sees the image's own values and is a small
    part of the work. NNCF's correction of biases is left out: it takes most of the time, and what
    int8 changes is within a tenth of a per cent of pixels without it (`benchmarks/inference.py`).

    Args:
        program: the network.
        batches: normalised training images or tiles of legal size, (b, c, *in); 30 or more tiles
            of 256² do.

    Raises:
        InputError: openvino or nncf is not installed, or there is no image.
    """
    nncf = import_nncf()
    shown = list(batches)  # they are gone through once for each thing that is measured
    if not shown:
        raise InputError("int8 needs images to calibrate on", cure="give the training data")
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # bars and tables of progress
        model: Model = nncf.quantize(
            to_openvino(program),
            nncf.Dataset(shown),
            preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(shown),
            ignored_scope=nncf.IgnoredScope(names=image_convolutions(program)),
            advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
        )
    return model
