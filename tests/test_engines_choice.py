"""Which engine is chosen: the fastest safe one, or what was asked for, or one line."""

import sys

import numpy as np
import pytest
import torch

from test_engines_program import program_of, trained
from unetkit.engines import choice, choose_engine
from unetkit.errors import InputError
from unetkit.machine import has_bf16
from unetkit.network import NetworkConfig

CONFIG = NetworkConfig(ndim=2, channels=2, classes=1, depth=1, width=8)


@pytest.fixture(scope="module")
def net():
    return trained(CONFIG)


@pytest.fixture(scope="module")
def program(net):
    return program_of(net)


@pytest.fixture
def hardware(monkeypatch):
    """A machine that can do what is said of it."""

    def build(*, bf16, openvino):
        found = choice.find_spec
        hidden = () if openvino else ("openvino",)
        monkeypatch.setattr(choice, "has_bf16", lambda: bf16)
        monkeypatch.setattr(choice, "may_have_gpu", lambda: False)
        monkeypatch.setattr(choice, "find_spec", lambda n: None if n in hidden else found(n))

    return build


@pytest.mark.parametrize(("bf16", "openvino", "name"), [
    (True, True, "OpenVINO bf16 on cpu"),
    (False, True, "OpenVINO fp32 on cpu"),
    (True, False, "PyTorch bf16 on cpu"),
    (False, False, "PyTorch fp32 on cpu"),
])  # fmt: skip
def test_the_fastest_safe_engine_is_chosen(hardware, program, bf16, openvino, name):
    hardware(bf16=bf16, openvino=openvino)
    assert choose_engine(program).name == name


@pytest.mark.parametrize(("engine", "precision", "tolerance"), [
    ("torch", "fp32", 1e-5), ("openvino", "fp32", 1e-5), ("onnx", "fp32", 1e-5),
    ("onnx", "auto", 1e-5), ("torch", "bf16", 0.05), ("openvino", "bf16", 0.05),
])  # fmt: skip
def test_every_engine_computes_the_network(net, program, engine, precision, tolerance):
    if precision == "bf16" and not has_bf16():
        pytest.skip("this processor has no bf16")
    batch = np.random.default_rng(0).normal(size=(1, 2, 36, 52)).astype(np.float32)
    with torch.inference_mode():
        right = net(torch.from_numpy(batch)).numpy()
    chosen = choose_engine(program, device="cpu", engine=engine, precision=precision, threads=1)
    assert chosen.kind == engine
    assert np.abs(chosen.run(batch) - right).max() < tolerance * np.abs(right).max()


@pytest.mark.parametrize(("asked", "words"), [
    ({"engine": "openvno"}, "--engine: unknown engine openvno; did you mean openvino?"),
    ({"precision": "fp16"}, "--precision: unknown precision fp16; did you mean bf16?"),
    ({"engine": "onnx", "precision": "bf16"}, "--precision: ONNX Runtime computes in fp32 here"),
    ({"engine": "torch", "precision": "int8"}, "--precision: int8 is computed by OpenVINO on a"),
    ({"engine": "openvino", "device": "cuda"}, "--engine: openvino runs on the CPU here, not on c"),
])  # fmt: skip
def test_what_does_not_go_together_is_one_line(program, asked, words):
    with pytest.raises(InputError) as caught:
        choose_engine(program, **asked)
    assert str(caught.value).startswith(words) or words in str(caught.value)


def test_a_library_that_is_missing_is_one_line_when_it_is_asked_for(program, monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] == "openvino"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match=r"needs openvino; pip install 'unetkit\[fast\]'"):
        choose_engine(program, device="cpu", engine="openvino")
