"""A convolution that OpenVINO computes in fp32 where the rest of the network is bf16.

The first convolution sees the image's own values, and nothing later mends what is rounded there: on
trained networks bf16 changes fewer pixels with it in fp32, for little time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unetkit.engines.program import Array

# The mark is an attribute of a node that Python can read but not set, so the node comes from text.
_MARK = '<rt_info><attribute name="precise" version="0"/></rt_info>'


def convolve_exactly(
    openvino: Any, image: Any, weight: Array, padding: Sequence[int], name: str
) -> Any:
    """Give the node of a convolution of stride 1 that stays in fp32.

    Args:
        openvino: the module.
        image: node of (b, c, *in).
        weight: (out, c, *kernel).
        padding: zeros on each side, per axis.
        name: of the node.
    """
    ones, pads = _join([1] * len(padding)), _join(padding)
    shape = [-1, weight.shape[1], *[-1] * len(padding)]
    text = f"""<net name="part" version="11"><layers>
        {_value(0, "image", shape)}{_value(1, "weight", weight.shape)}
        <layer id="2" name="{name}" type="Convolution" version="opset1">
        <data strides="{ones}" dilations="{ones}" pads_begin="{pads}" pads_end="{pads}"
            auto_pad="explicit"/>
        <input>{_port(0, shape)}{_port(1, weight.shape)}</input>
        <output>{_port(2, [-1] * len(shape))}</output>{_MARK}</layer>
        <layer id="3" name="end" type="Result" version="opset1">
        <input>{_port(0, [-1] * len(shape))}</input></layer></layers><edges>
        <edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>
        <edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>
        <edge from-layer="2" from-port="2" to-layer="3" to-port="0"/></edges></net>"""
    part = openvino.Core().read_model(text.encode(), b"")
    node = next(one for one in part.get_ops() if one.get_type_name() == "Convolution")
    node.input(0).replace_source_output(image.output(0))
    node.input(1).replace_source_output(openvino.opset14.constant(weight).output(0))
    return node


def _value(number: int, name: str, shape: Sequence[int]) -> str:
    return (
        f'<layer id="{number}" name="{name}" type="Parameter" version="opset1">'
        f'<data shape="{_join("?" if n < 0 else n for n in shape)}" element_type="f32"/>'
        f"<output>{_port(0, shape)}</output></layer>"
    )


def _port(number: int, shape: Sequence[int]) -> str:
    axes = "".join(f"<dim>{n}</dim>" for n in shape)
    return f'<port id="{number}" precision="FP32">{axes}</port>'


def _join(values: Any) -> str:
    return ",".join(map(str, values))
