"""What is written as ONNX is valid, and ONNX Runtime computes from it what PyTorch computes."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from test_engines_openvino import VARIANTS, batch, eager, error, network
from test_engines_program import program_of, roomy
from unetkit.engines.onnx_graph import to_onnx
from unetkit.engines.onnx_runtime import run_onnx
from unetkit.errors import InputError

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("name", VARIANTS)
def test_parity(name):
    net = network(**VARIANTS[name])
    content = to_onnx(program_of(net))
    onnx.checker.check_model(content, full_check=True)
    x = batch(2, 2, *roomy(net.config))
    assert error(run_onnx(content, threads=1)(x), eager(net, x)) < 1e-4


def test_the_reference_evaluator_agrees():
    # A runtime other than the one we use, written by the makers of the format.
    from onnx.reference import ReferenceEvaluator

    net = network(depth=1, width=2, padding="valid", norm="group")
    x = batch(1, 2, *roomy(net.config))
    content = to_onnx(program_of(net))
    [logits] = ReferenceEvaluator(content).run(None, {"image": x})
    assert error(logits, eager(net, x)) < 1e-4


def test_any_size_after_any_other():
    net = network()
    run = run_onnx(to_onnx(program_of(net)))
    for number, shape in enumerate([(1, 32, 32), (2, 16, 24), (1, 64, 48), (3, 32, 8)]):
        x = batch(shape[0], 2, *shape[1:], seed=number)
        assert error(run(x), eager(net, x)) < 1e-4


def test_views_and_other_number_types():
    run = run_onnx(to_onnx(program_of(network())))
    x = batch(1, 2, 16, 16)
    turned = np.ascontiguousarray(x.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)
    np.testing.assert_array_equal(run(turned), run(x))
    np.testing.assert_array_equal(run(x.astype(np.float64)), run(x))


def test_what_the_file_says_of_itself():
    model = onnx.load_from_string(to_onnx(program_of(network()), {"card": '{"a": "é"}'}))
    assert {entry.key: entry.value for entry in model.metadata_props} == {"card": '{"a": "é"}'}
    assert [one.version for one in model.opset_import] == [17]
    image, logits = model.graph.input[0], model.graph.output[0]
    assert (image.name, logits.name) == ("image", "logits")
    sizes = [one.dim_param or one.dim_value for one in image.type.tensor_type.shape.dim]
    assert sizes == ["batch", 2, "height", "width"]
    sizes = [one.dim_param or one.dim_value for one in logits.type.tensor_type.shape.dim]
    assert sizes == ["batch", 3, "out_height", "out_width"]


def test_the_same_network_gives_the_same_bytes():
    program = program_of(network())
    assert to_onnx(program) == to_onnx(program)


def test_more_than_a_file_holds():
    program = program_of(network())
    step = program.steps[0]
    endless = np.broadcast_to(np.float32(0), (2**15, 2**15, 1, 1))  # 4 GiB that take no memory
    large = replace(program, steps=(replace(step, weight=endless), *program.steps[1:]))
    with pytest.raises(InputError, match=r"weights are 4\.3 GB .* export to openvino"):
        to_onnx(large)


def test_a_file_of_someone_else():
    with pytest.raises(InputError, match="cannot be run") as caught:
        run_onnx(b"not a model")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="there is CUDA"
)
def test_no_cuda():
    with pytest.raises(InputError, match="has no CUDA"):
        run_onnx(to_onnx(program_of(network())), device="cuda")


def test_without_the_libraries(monkeypatch):
    program = program_of(network())
    content = to_onnx(program)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnx", None)
        with pytest.raises(InputError, match=r"needs onnx; pip install 'unetkit\[export\]'"):
            to_onnx(program)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"needs onnxruntime; pip install 'unetkit\[export\]'"):
        run_onnx(content)


QUIET = """
import sys, threading

def watch(event, _):
    if event.startswith(("socket.", "subprocess.", "os.posix_spawn", "os.fork", "webbrowser.")):
        raise SystemExit(f"{event} was tried")

sys.addaudithook(watch)
import numpy as np
from pathlib import Path
from unetkit.engines.onnx_runtime import run_onnx

run_onnx(Path(sys.argv[1]).read_bytes())(np.zeros((1, 2, 16, 16), np.float32))
assert not {"torch", "scipy", "onnx"} & set(sys.modules)
print("quiet")
"""


def test_nothing_is_sent_and_pytorch_is_not_imported(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(to_onnx(program_of(network())))
    command = [sys.executable, "-c", QUIET, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout == "quiet\n", done.stdout + done.stderr
