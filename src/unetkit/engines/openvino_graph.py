"""A program in the words of OpenVINO, written operation by operation: no converter is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unetkit.engines.openvino_exact import convolve_exactly
from unetkit.engines.program import Program, Step
from unetkit.engines.silence import import_openvino
from unetkit.errors import InputError
from unetkit.files import atomic

if TYPE_CHECKING:
    from openvino import Model

INPUT, OUTPUT = "image", "logits"
_KEY = "unetkit"  # of our own entries among the model's runtime information
_EPSILON = 1e-5  # of all of PyTorch's normalisations


def to_openvino(program: Program) -> Model:
    """Write `program` as an OpenVINO model in fp32, whose first convolution stays in fp32.

    Its input "image" is (b, c, *in) and its output "logits" (b, k, *out), both fp32; batch and
    sizes are left open.

    Raises:
        InputError: openvino is not installed.
    """
    openvino = import_openvino()
    words = _Words(openvino, program.ndim, frozenset(image_convolutions(program)))
    shape = openvino.PartialShape([-1, program.channels, *[-1] * program.ndim])
    image = words.operations.parameter(shape, np.float32, INPUT)
    image.output(0).set_names({INPUT})
    values = [image]
    for number, step in enumerate(program.steps, start=1):
        values.append(words.write(step, [values[i] for i in step.inputs], f"{step.kind}_{number}"))
    result = words.operations.result(values[-1])
    result.output(0).set_names({OUTPUT})
    result.set_friendly_name(OUTPUT)
    model: Model = openvino.Model([result], [image], _KEY)
    return model


def save_openvino(model: Model, path: str | Path, notes: Mapping[str, str] | None = None) -> None:
    """Write a model as `path` (.xml) and, beside it, its weights (.bin).

    A reader finds the old pair, the new pair, or for a moment none; never one file of each.

    Args:
        model: of `to_openvino` or `quantize`.
        path: the .xml file; the .bin has its name.
        notes: key and text of what else the file shall say of itself.

    Raises:
        InputError: the path does not end in .xml, or cannot be written.
    """
    path = Path(path)
    if path.suffix != ".xml":
        raise InputError("an OpenVINO model is a .xml file", where=path, cure="name it model.xml")
    openvino = import_openvino()
    for key, text in (notes or {}).items():
        model.set_rt_info(text, [_KEY, key])
    with atomic(path) as graph, atomic(path.with_suffix(".bin")) as weights:
        try:
            openvino.serialize(model, graph, weights)
        except RuntimeError:  # all that it says of a full disk is "iostream error"
            cure = "free some space, or choose another folder"
            raise InputError("cannot be written", where=path, cure=cure) from None
        path.unlink(missing_ok=True)


def load_openvino(path: str | Path) -> Model:
    """Read what `save_openvino` wrote.

    Raises:
        InputError: no such file, or it or its .bin is damaged; openvino is not installed.
    """
    path = Path(path)
    openvino = import_openvino()
    for file in (path, path.with_suffix(".bin")):
        if not file.is_file():
            raise InputError("no such file", where=file, cure="export the model again")
    try:
        model: Model = openvino.Core().read_model(path)
    except RuntimeError:
        what = "is not a readable OpenVINO model"
        raise InputError(what, where=path, cure="export the model again") from None
    return model


def read_notes(model: Model) -> dict[str, str]:
    """Give the notes that a model was saved with."""
    if not model.has_rt_info([_KEY]):
        return {}
    notes: Any = model.get_rt_info([_KEY])
    return {str(key): str(text) for key, text in notes.value.items()}


def image_convolutions(program: Program) -> list[str]:
    """Name the convolutions that see the image itself: the first, and a shortcut beside it."""
    image, found = {0}, []
    for number, step in enumerate(program.steps, start=1):
        if image.issuperset(step.inputs):
            if step.kind == "crop":
                image.add(number)
            elif step.kind == "conv":
                found.append(f"conv_{number}")
    return found


class _Words:
    """OpenVINO's operations for the kinds of steps."""

    def __init__(self, openvino: Any, ndim: int, exact: frozenset[str]) -> None:
        self.openvino = openvino
        self.operations = openvino.opset14
        self.ndim = ndim
        self.exact = exact  # names of the convolutions that stay in fp32
        self.axes = list(range(2, 2 + ndim))

    def write(self, step: Step, inputs: list[Any], name: str) -> Any:
        """Give the node of one step; the operation itself, before bias and ReLU, gets `name`."""
        operations, first = self.operations, inputs[0]
        match step.kind:
            case "conv":
                node = self._convolve(step, first, name)
            case "up":
                node = operations.convolution_backprop_data(
                    first, self._constant(step.weight), list(step.factor), name=name
                )
                node = operations.add(node, self._channels(step.bias))
            case "pool":
                none, factor = [0] * self.ndim, list(step.factor)
                node = operations.max_pool(first, factor, [1] * self.ndim, none, none, factor)
                node = node.output(0)
            case "resize":
                node = self._resize(step, first)
            case "norm":
                node = self._normalise(step, first)
            case "crop":
                begin = np.array([before for before, _ in step.cut], np.int64)
                far = np.iinfo(np.int32).max  # to the end, however long the axis is
                end = np.array([-after if after else far for _, after in step.cut], np.int64)
                ones, axes = np.ones(self.ndim, np.int64), np.array(self.axes, np.int64)
                node = operations.slice(first, begin, end, ones, axes)
            case "cat":
                node = operations.concat(inputs, 1)
            case "add":
                node = operations.add(first, inputs[1])
            case "gate":
                node = operations.multiply(first, operations.sigmoid(inputs[1]))
        return operations.relu(node) if step.relu else node

    def _convolve(self, step: Step, x: Any, name: str) -> Any:
        ones, padding = [1] * self.ndim, list(step.padding)
        weight = np.ascontiguousarray(step.weight, np.float32)
        if name in self.exact:
            node = convolve_exactly(self.openvino, x, weight, padding, name)
        else:
            constant = self._constant(weight)
            node = self.operations.convolution(x, constant, ones, padding, padding, ones, name=name)
        return self.operations.add(node, self._channels(step.bias))

    def _resize(self, step: Step, x: Any) -> Any:
        return self.operations.interpolate(
            x,
            np.array(step.factor, np.float32),
            mode="linear_onnx" if step.linear else "nearest",
            shape_calculation_mode="scales",
            coordinate_transformation_mode="half_pixel" if step.linear else "asymmetric",
            nearest_mode="floor",
            axes=np.array(self.axes, np.int64),
        )

    def _normalise(self, step: Step, x: Any) -> Any:
        assert step.weight is not None, "a norm has weights"
        operations = self.operations
        if step.groups == len(step.weight):  # each channel for itself
            axes = np.array(self.axes, np.int64)
            node = operations.mvn(x, axes, True, _EPSILON, "INSIDE_SQRT")
            node = operations.multiply(node, self._channels(step.weight))
            return operations.add(node, self._channels(step.bias))
        scale, shift = self._constant(step.weight), self._constant(step.bias)
        return operations.group_normalization(x, scale, shift, step.groups, _EPSILON)

    def _constant(self, array: Any) -> Any:
        return self.operations.constant(np.ascontiguousarray(array, np.float32))

    def _channels(self, array: Any) -> Any:
        return self._constant(np.reshape(array, (1, -1, *[1] * self.ndim)))
