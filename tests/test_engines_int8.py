"""A quantised network stays near the one it came from, comes out the same again, and is quiet."""

import subprocess
import sys

import numpy as np
import pytest

from test_engines_openvino import batch, eager, network
from test_engines_program import program_of
from unetkit.engines.int8 import quantize
from unetkit.engines.openvino_cpu import run_openvino
from unetkit.engines.openvino_graph import load_openvino, save_openvino
from unetkit.engines.silence import import_openvino
from unetkit.errors import InputError

pytest.importorskip("nncf")

VARIANTS = {
    "plain": {},
    "paper": {"padding": "valid", "norm": "none"},
    "residual with gates": {"block": "residual", "attention": True},
    "linear": {"upsampling": "linear"},
    "instance": {"norm": "instance"},
    "volume": {"ndim": 3, "depth": 1, "upsampling": "nearest", "norm": "group"},
}


def images(net, count, side=None):
    side = side or {2: 64, 3: 24}[net.config.ndim]
    size = net.footprint.fit([side] * net.config.ndim)
    return [batch(1, 2, *size, seed=seed) for seed in range(count)]


@pytest.mark.parametrize("name", VARIANTS)
def test_labels_stay(name):
    net = network(**VARIANTS[name])
    *shown, unseen = images(net, 7)
    run = run_openvino(quantize(program_of(net), shown), "int8")
    computed, exact = run(unseen), eager(net, unseen)
    assert computed.shape == exact.shape
    spread = np.abs(computed - exact).std() / exact.std()
    assert 1e-4 < spread < 0.1  # exact would mean that nothing is quantised
    assert np.mean(computed.argmax(1) == exact.argmax(1)) > 0.94  # of a network that saw nothing


def test_all_convolutions_but_the_first_are_int8():
    model = quantize(program_of(network()), images(network(), 3))
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = import_openvino().Core().compile_model(model, "CPU", settings)
    found = {}
    for node in compiled.get_runtime_model().get_ordered_ops():
        information = node.get_rt_info()
        if information["layerType"].astype(str) in ("Convolution", "Deconvolution"):
            for name in information["originalLayersNames"].astype(str).split(","):
                found[name] = information["runtimePrecision"].astype(str)
    convolutions = {name: number for name, number in found.items() if name.startswith("conv_")}
    assert convolutions.pop("conv_1") == "f32"
    assert len(convolutions) == 9  # without the last, whose name is lost
    assert set(convolutions.values()) <= {"u8", "i8"}


def test_the_same_images_give_the_same_network():
    net = network()
    unseen = batch(2, 2, 48, 32, seed=99)
    one, other = (
        run_openvino(quantize(program_of(net), iter(images(net, 4))), "int8")(unseen)
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, other)
    different = run_openvino(quantize(program_of(net), images(net, 1, side=16)), "int8")(unseen)
    assert not np.array_equal(one, different)


def test_one_strange_image_does_not_spoil_the_rest():
    net = network()
    *shown, unseen = images(net, 31)
    shown[0] = shown[0] * 20  # a saturated or otherwise broken one
    computed = run_openvino(quantize(program_of(net), shown), "int8")(unseen)
    exact = eager(net, unseen)
    assert np.mean(computed.argmax(1) == exact.argmax(1)) > 0.9


def test_a_file_computes_the_same(tmp_path):
    net = network()
    *shown, unseen = images(net, 4)
    model = quantize(program_of(net), shown)
    save_openvino(model, tmp_path / "model.xml", {"precision": "int8"})
    loaded = run_openvino(load_openvino(tmp_path / "model.xml"), "int8")
    np.testing.assert_array_equal(loaded(unseen), run_openvino(model, "int8")(unseen))


def test_no_image():
    with pytest.raises(InputError, match="int8 needs images to calibrate on"):
        quantize(program_of(network()), [])


def test_without_nncf(monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(InputError, match=r"needs nncf; pip install 'unetkit\[fast\]'"):
        quantize(program_of(network()), images(network(), 1))


QUIET = """
import sys, threading

def watch(event, arguments):
    if event.startswith(("socket.", "webbrowser.")):
        raise SystemExit(f"{event} was tried")

sys.addaudithook(watch)
threading.excepthook = lambda failure: sys.exit(9)
import numpy as np
from unetkit.engines import fold
from unetkit.engines.int8 import quantize
from unetkit.network.config import NetworkConfig

program = fold(NetworkConfig.model_validate_json(sys.argv[2]), np.load(sys.argv[1]))
quantize(program, [np.zeros((1, 2, 16, 16), np.float32)] * 2)
assert "openvino_telemetry" not in sys.modules
print("quiet")
"""


def test_nothing_is_sent_and_nothing_said(tmp_path):
    net = network()
    stored = tmp_path / "weights.npz"
    np.savez(stored, **{name: value.numpy() for name, value in net.state_dict().items()})
    command = [sys.executable, "-c", QUIET, str(stored), net.config.model_dump_json()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout == "quiet\n", done.stdout + done.stderr
    assert done.stderr == ""
