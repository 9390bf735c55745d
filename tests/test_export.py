"""A model for another runtime says there what it says here, and carries its card."""

import json

import numpy as np
import onnxruntime
import pytest

from unetkit import export as room
from unetkit.engines.openvino_cpu import run_openvino
from unetkit.engines.openvino_graph import load_openvino, read_notes
from unetkit.errors import InputError
from unetkit.export import export
from unetkit.image import read_image
from unetkit.segmenter import load, read_card


def normalised(run, discs):
    image = read_image(discs / "images" / "case0.png").data
    return read_card(run).normalization.apply(image)[None]


def expected(run, discs):
    """Logits that the segmenter's exact probabilities come from."""
    segment = load(run, device="cpu", engine="torch", precision="fp32")
    return segment.members[0].engine.run(normalised(run, discs))


def test_onnx_says_the_same_in_its_own_runtime(run, discs, tmp_path):
    written = export(run, "onnx", tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(written.path, providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"image": normalised(run, discs)})[0]
    right = expected(run, discs)
    assert np.abs(logits - right).max() < 1e-4 * np.abs(right).max()
    card = json.loads(session.get_modelmeta().custom_metadata_map["unetkit"])
    assert card["threshold"] == read_card(run).threshold
    assert "logits differ by at most" in written.sentence


def test_openvino_says_the_same_in_its_own_runtime(run, discs, tmp_path):
    written = export(run, "openvino", tmp_path / "model.xml")
    model = load_openvino(written.path)
    logits = run_openvino(model, "fp32", threads=1)(normalised(run, discs))
    right = expected(run, discs)
    assert np.abs(logits - right).max() < 1e-4 * np.abs(right).max()
    assert json.loads(read_notes(model)["unetkit"])["format"] == 1


def test_int8_is_calibrated_once_and_says_what_it_changes(run, discs, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    written = export(run, "openvino", tmp_path / "m.xml", precision="int8", cache=cache)
    assert "of calibration pixels change their class" in written.sentence
    (kept,) = cache.glob("int8/*/model.xml")
    changed = float(read_notes(load_openvino(kept))["changed"])
    assert 0 <= changed < 0.05
    monkeypatch.setattr(
        "unetkit.engines.int8.quantize", lambda *_: pytest.fail("is calibrated already")
    )
    segment = load(run, precision="int8", cache=cache, threads=1)
    assert segment.engine == f"OpenVINO int8 on cpu (changes {changed:.2%} of pixels)"
    exact = load(run, engine="torch", precision="fp32")
    image = discs / "images" / "case1.png"
    assert np.mean(segment(image).labels != exact(image).labels) < 0.05


def test_int8_without_its_training_images_is_one_line(run, discs, tmp_path):
    alone = tmp_path / "model.safetensors"
    alone.write_bytes((run / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match="name the data set with --calibrate DATA"):
        load(alone, precision="int8", cache=tmp_path / "cache")
    segment = load(alone, precision="int8", calibration=discs, cache=tmp_path / "cache")
    assert segment.engine.startswith("OpenVINO int8")


@pytest.mark.parametrize(("to", "out", "precision", "words"), [
    ("onx", "m.onnx", "fp32", "--to: unknown runtime onx; did you mean onnx?"),
    ("onnx", "m.onnx", "int8", "--precision: onnx is not written in int8; take fp32"),
    ("openvino", "m.xml", "bf16", "--precision: openvino is not written in bf16; take fp32"),
    ("onnx", "m.xml", "fp32", "m.xml: is no name for onnx; end it with .onnx"),
])  # fmt: skip
def test_a_wrong_request_is_one_line(run, tmp_path, to, out, precision, words):
    with pytest.raises(InputError) as caught:
        export(run, to, tmp_path / out, precision=precision)
    assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_says_something_else_is_not_written(run, tmp_path, monkeypatch):
    exact = room._reference
    monkeypatch.setattr(room, "_reference", lambda program: lambda x: exact(program)(x) * 1.01)
    with pytest.raises(InputError, match=r"the exported model differs by .* it is not written"):
        export(run, "onnx", tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_int8_that_changes_too_much_is_warned_of(run, tmp_path, monkeypatch):
    monkeypatch.setattr("unetkit.segmenter.quantized.changed_share", lambda *_: 0.3)
    written = export(run, "openvino", tmp_path / "m.xml", precision="int8", cache=tmp_path / "c")
    assert written.sentence.endswith(room.TOO_MANY)
