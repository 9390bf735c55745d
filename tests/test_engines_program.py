"""A program computes what the network computes: over every choice, sizes and operations counted."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from unetkit.engines.program import fold
from unetkit.network import NetworkConfig, UNet


def trained(config, seed=0):
    """Build a network in which every number of every normalisation matters, as after training."""
    torch.manual_seed(seed)
    net = UNet(config)
    norms = [m for m in net.modules() if hasattr(m, "running_mean") or hasattr(m, "num_groups")]
    for norm in norms:
        torch.nn.init.normal_(norm.weight, 1.0, 0.3)
        torch.nn.init.normal_(norm.bias, 0.3, 0.3)
        norm.momentum = None  # the statistics become those of the one batch below
    with torch.inference_mode():
        net.train()(torch.randn(2, config.channels, *roomy(config)))
    return net.eval()


def roomy(config):
    """Give a legal size whose coarsest level still has some pixels; all axes differ."""
    network = config.footprint
    least = zip(network.minimum, network.stride, strict=True)
    return network.fit([n + (axis + 1) * s for axis, (n, s) in enumerate(least)])


def program_of(net):
    return fold(net.config, {name: value.numpy() for name, value in net.state_dict().items()})


def interpret(program, x):
    """Compute a program as `Step` describes it, in fp64, as slowly as need be."""
    flat = program.ndim == 2
    values = [torch.from_numpy(x).double()]
    for step in program.steps:
        a = values[step.inputs[0]]
        weight, bias = (
            None if array is None else torch.from_numpy(array).double()
            for array in (step.weight, step.bias)
        )
        match step.kind:
            case "conv":
                y = (F.conv2d if flat else F.conv3d)(a, weight, bias, padding=step.padding)
            case "up":
                transposed = F.conv_transpose2d if flat else F.conv_transpose3d
                y = transposed(a, weight, bias, stride=step.factor)
            case "pool":
                y = (F.max_pool2d if flat else F.max_pool3d)(a, step.factor)
            case "resize":
                size = [n * f for n, f in zip(a.shape[2:], step.factor, strict=True)]
                mode = ("bilinear" if flat else "trilinear") if step.linear else "nearest"
                y = F.interpolate(a, size=size, mode=mode)
            case "norm":
                groups = a.reshape(len(a), step.groups, -1)
                mean, variance = groups.mean(-1, True), groups.var(-1, correction=0, keepdim=True)
                y = ((groups - mean) / (variance + 1e-5).sqrt()).reshape(a.shape).movedim(1, -1)
                y = (y * weight + bias).movedim(-1, 1)
            case "crop":
                y = a
                for axis, (before, after) in enumerate(step.cut, start=2):
                    y = y.narrow(axis, before, y.shape[axis] - before - after)
            case "cat":
                y = torch.cat([values[i] for i in step.inputs], 1)
            case "add":
                y = a + values[step.inputs[1]]
            case "gate":
                y = a * torch.sigmoid(values[step.inputs[1]])
        values.append(y.clamp(min=0) if step.relu else y)
    return values[-1].numpy()


@st.composite
def choices(draw):
    dimensions = draw(st.sampled_from([2, 3]))
    depth = draw(st.integers(1, 4 if dimensions == 2 else 2))
    axis = st.sampled_from([1, 2, 2, 3] if depth < 3 else [1, 2])
    return NetworkConfig(
        ndim=dimensions,
        channels=draw(st.integers(1, 4)),
        classes=draw(st.integers(1, 3)),
        depth=depth,
        width=draw(st.sampled_from([3, 8])),
        padding=draw(st.sampled_from(["same", "valid"])),
        skips=draw(st.none() | st.text("01", min_size=depth, max_size=depth)),
        norm=draw(st.sampled_from(["batch", "batch", "instance", "group", "none"])),
        block=draw(st.sampled_from(["plain", "residual"])),
        attention=draw(st.booleans()),
        upsampling=draw(st.sampled_from(["transposed", "nearest", "linear"])),
        deep_supervision=draw(st.booleans()),
        strides=draw(st.none() | st.tuples(*[st.tuples(*[axis] * dimensions)] * depth)),
    )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(config=choices())
def test_a_program_is_the_network(config):
    net = trained(config)
    x = np.random.default_rng(0).normal(size=(2, config.channels, *roomy(config)))
    with torch.inference_mode():
        right = net.double()(torch.from_numpy(x)).numpy()
    result = interpret(program_of(net.float()), x)
    assert result.shape == right.shape
    assert np.abs(result - right).max() <= 2e-6 * np.abs(right).max()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(config=choices())
def test_operations_are_those_that_pytorch_counts(config):
    net = UNet(config).eval()
    size = roomy(config)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, config.channels, *size))
    counted = program_of(net).flops(size)
    if config.padding == "valid" and config.block == "residual":
        assert counted < counter.get_total_flops()  # a program crops before the shortcut
    else:
        assert counted == counter.get_total_flops()


def test_a_small_network_multiplies_as_often_as_computed_by_hand():
    net = UNet(NetworkConfig(ndim=2, channels=1, classes=2, depth=1, width=2, norm="none"))
    pixels = 8 * 8
    level = 2 * 9 * (1 * 2 + 2 * 2) * pixels
    bottom = 2 * 9 * (2 * 4 + 4 * 4) * pixels // 4
    up = 2 * 4 * 2 * pixels  # each output pixel sees one input pixel
    decoder = 2 * 9 * (4 * 2 + 2 * 2) * pixels
    head = 2 * 2 * 2 * pixels
    assert program_of(net).flops((8, 8)) == level + bottom + up + decoder + head


def test_batch_normalisation_is_folded_away():
    net = trained(NetworkConfig(ndim=2, channels=1, classes=2, width=3))
    assert {step.kind for step in program_of(net).steps} == {"conv", "up", "pool", "cat"}


def test_a_missing_weight_is_named():
    net = UNet(NetworkConfig(ndim=2, channels=1, classes=2, width=3))
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    del state["decoder.0.conv2.weight"]
    with pytest.raises(ValueError, match=r"decoder\.0\.conv2\.weight is missing"):
        fold(net.config, state)


def test_programs_need_no_pytorch():
    code = "import sys, unetkit.engines.program; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
