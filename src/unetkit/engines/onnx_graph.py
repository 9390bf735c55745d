"""A program as an ONNX file, written operation by operation: no exporter is run."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from unetkit.engines.program import Program, Step
from unetkit.errors import InputError

INPUT, OUTPUT = "image", "logits"
_OPSET, _FORMAT = 17, 8  # old enough for the runtimes of 2022, and all that is needed
_MOST = 2**31 - 2**20  # bytes that one file can hold, less what is no weight
_EPSILON = 1e-5  # of all of PyTorch's normalisations
_AXES = ("depth", "height", "width")


def to_onnx(program: Program, notes: Mapping[str, str] | None = None) -> bytes:
    """Write `program` as an ONNX model in fp32, opset 17.

    Its input "image" is (b, c, *in) and its output "logits" (b, k, *out), both fp32; batch and
    sizes are left open.

    Args:
        program: the network.
        notes: key and text of what else the file shall say of itself.

    Raises:
        InputError: onnx is not installed, or the weights exceed the 2 GB that one file may hold.
    """
    onnx = _import_onnx()
    arrays = [a for step in program.steps for a in (step.weight, step.bias) if a is not None]
    size = sum(array.nbytes for array in arrays)
    if size > _MOST:
        what = f"the weights are {size / 1e9:.1f} GB and an ONNX file holds 2 GB at most"
        raise InputError(what, cure="export to openvino, or train with a smaller network.width")
    writer = _Writer(onnx, program.ndim)
    names = [INPUT]
    for number, step in enumerate(program.steps, start=1):
        last = number == len(program.steps)
        name = OUTPUT if last else f"{step.kind}_{number}"
        writer.write(step, [names[i] for i in step.inputs], name)
        names.append(name)
    axes = _AXES[-program.ndim :]
    float32, describe = onnx.TensorProto.FLOAT, onnx.helper.make_tensor_value_info
    image = describe(INPUT, float32, ["batch", program.channels, *axes])
    logits = describe(OUTPUT, float32, ["batch", program.classes, *[f"out_{a}" for a in axes]])
    graph = onnx.helper.make_graph(writer.nodes, "unetkit", [image], [logits], writer.constants)
    opset = onnx.helper.make_opsetid("", _OPSET)
    model = onnx.helper.make_model(
        graph, opset_imports=[opset], ir_version=_FORMAT, producer_name="unetkit"
    )
    onnx.helper.set_model_props(model, dict(notes or {}))
    content: bytes = model.SerializeToString()
    return content


def _import_onnx() -> Any:
    try:
        onnx = import_module("onnx")
        import_module("onnx.helper")
        import_module("onnx.numpy_helper")
    except ModuleNotFoundError:
        cure = "pip install 'unetkit[export]'"
        raise InputError("writing ONNX needs onnx", cure=cure) from None
    return onnx


class _Writer:
    """ONNX's operations for the kinds of steps."""

    def __init__(self, onnx: Any, ndim: int) -> None:
        self.onnx = onnx
        self.ndim = ndim
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def write(self, step: Step, inputs: list[str], name: str) -> None:
        """Add the nodes of one step, the last of which makes the value `name`."""
        made = f"{name}.linear" if step.relu else name
        first = inputs[0]
        match step.kind:
            case "conv":
                pads = [*step.padding, *step.padding]
                parts = [first, *self._weights(step, name)]
                self._node("Conv", parts, made, pads=pads)
            case "up":
                parts = [first, *self._weights(step, name)]
                self._node("ConvTranspose", parts, made, strides=list(step.factor))
            case "pool":
                factor = list(step.factor)
                self._node("MaxPool", [first], made, kernel_shape=factor, strides=factor)
            case "resize":
                self._resize(step, first, made)
            case "norm":
                self._normalise(step, first, made)
            case "crop":
                far = np.iinfo(np.int64).max  # to the end, however long the axis is
                begin = [before for before, _ in step.cut]
                end = [-after if after else far for _, after in step.cut]
                bounds = {"begin": begin, "end": end, "axes": range(2, 2 + self.ndim)}
                parts = [self._integers(f"{name}.{key}", v) for key, v in bounds.items()]
                self._node("Slice", [first, *parts], made)
            case "cat":
                self._node("Concat", inputs, made, axis=1)
            case "add":
                self._node("Add", inputs, made)
            case "gate":
                self._node("Sigmoid", [inputs[1]], f"{name}.opening")
                self._node("Mul", [first, f"{name}.opening"], made)
        if step.relu:
            self._node("Relu", [made], name)

    def _resize(self, step: Step, x: str, made: str) -> None:
        scales = self._constant(f"{made}.scales", np.array([1, 1, *step.factor], np.float32))
        self._node(
            "Resize",
            [x, "", scales],
            made,
            mode="linear" if step.linear else "nearest",
            coordinate_transformation_mode="half_pixel" if step.linear else "asymmetric",
            nearest_mode="floor",
        )

    def _normalise(self, step: Step, x: str, made: str) -> None:
        weight, bias = self._weights(step, made)
        assert step.weight is not None, "a norm has weights"
        if step.groups == len(step.weight):
            self._node("InstanceNormalization", [x, weight, bias], made, epsilon=_EPSILON)
            return
        # A group is one channel of all its pixels; then back, and each channel gets its own scale.
        joined, normed, back = f"{made}.joined", f"{made}.normed", f"{made}.back"
        one = self._constant(f"{made}.one", np.ones(step.groups, np.float32))
        zero = self._constant(f"{made}.zero", np.zeros(step.groups, np.float32))
        self._node("Reshape", [x, self._integers(f"{made}.groups", [0, step.groups, -1])], joined)
        self._node("InstanceNormalization", [joined, one, zero], normed, epsilon=_EPSILON)
        self._node("Shape", [x], f"{made}.shape")
        self._node("Reshape", [normed, f"{made}.shape"], back)
        ones = [1] * self.ndim
        scale = self._constant(f"{made}.scale", step.weight.reshape(-1, *ones))
        shift = self._constant(f"{made}.shift", np.reshape(np.asarray(step.bias), (-1, *ones)))
        self._node("Mul", [back, scale], f"{made}.scaled")
        self._node("Add", [f"{made}.scaled", shift], made)

    def _weights(self, step: Step, name: str) -> tuple[str, str]:
        return (
            self._constant(f"{name}.weight", np.asarray(step.weight)),
            self._constant(f"{name}.bias", np.asarray(step.bias)),
        )

    def _integers(self, name: str, values: Any) -> str:
        return self._constant(name, np.array(list(values), np.int64))

    def _constant(self, name: str, array: Any) -> str:
        tensor = self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        self.constants.append(tensor)
        return name

    def _node(self, operation: str, inputs: list[str], output: str, **attributes: Any) -> None:
        node = self.onnx.helper.make_node(operation, inputs, [output], output, **attributes)
        self.nodes.append(node)
