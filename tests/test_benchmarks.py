"""The benchmarks of prediction run from end to end, and their results hold what they promise."""

import json
import sys
import threading
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest
import torch

from unetkit.image import read_image
from unetkit.network import NetworkConfig, UNet

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """Give benchmarks by name, whose processes are threads of this one: no time is measured here.

    Each process would import PyTorch anew.
    """
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr("unetkit.machine.keep_memory", lambda: False)  # it is the whole process's
    monkeypatch.setattr("unetkit.training.loop.keep_memory", lambda: False)
    import inference
    import large_images

    def alone(function, *arguments):
        function(*arguments)

    def seat(function, *arguments):
        here, there = Pipe()
        thread = threading.Thread(target=function, args=(*arguments, there))
        thread.start()
        thread.pid, thread.exitcode = 0, 0
        return inference.Seat(thread, here, here.recv())

    real = inference.seat
    chance = np.random.default_rng(0)
    scenes = [np.kron(chance.integers(0, 256, (32, 32, 3), np.uint8), np.ones((32, 32, 1), "u1"))]
    for module in (inference, large_images):
        monkeypatch.setattr(module, "alone", alone)
        monkeypatch.setattr(module, "seat", seat)
        monkeypatch.setattr(module, "PAUSE", 0)
    monkeypatch.setattr(inference, "TURN", 0.01)
    monkeypatch.setattr(large_images, "scenes", lambda: scenes * 4)
    monkeypatch.setattr(large_images, "lump", lambda: scenes[0][:128, :128, 0].repeat(128, 0)
                        .reshape(128, 128, 128))  # fmt: skip

    def run(module, *words):
        monkeypatch.setattr(sys, "argv", [module, *map(str, words)])
        {"inference": inference, "large_images": large_images}[module].main()

    run.inference, run.large_images, run.seat = inference, large_images, real
    return run


# ------------------------------------------------------------------------------- the peers


@pytest.mark.usefixtures("benchmark")
def test_milesials_network_is_ours_with_its_operations():
    from peers import Milesial

    torch.manual_seed(0)
    peer, ours = Milesial(3, 2, 4), UNet(NetworkConfig(ndim=2, channels=3, classes=2, width=4))
    state = dict(ours.state_dict())
    levels = [(f"encoder.{k}", block) for k, block in enumerate(peer.down)]
    levels += [(f"decoder.{k}", block) for k, block in enumerate(peer.merge)]
    for name, block in levels:
        for kind, at in (("conv1", 0), ("norm1", 1), ("conv2", 3), ("norm2", 4)):
            for key, value in block[at].state_dict().items():
                if value.ndim == 1:
                    value.uniform_(0.5, 1.5)
                state[f"{name}.{kind}.{key}"] = value
    for k, up in enumerate(peer.up):
        state |= {f"up.{k}.conv.{key}": value for key, value in up.state_dict().items()}
    state |= {f"head.0.{key}": value for key, value in peer.head.state_dict().items()}
    ours.load_state_dict(state)
    image = torch.randn(1, 3, 48, 64)
    with torch.inference_mode():
        expected, seen = ours.eval()(image), peer.eval()(image)
    assert seen.shape == (1, 2, 48, 64)
    torch.testing.assert_close(seen, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("benchmark")
def test_nnunets_network_is_that_of_its_package_where_it_is_installed():
    import peers

    network, source = peers.plain_conv_unet(3, 1, 4)
    afresh = peers.Plain(3, 1, 4)
    if isinstance(network, peers.Plain):
        assert source.startswith("written afresh")
    else:
        assert source.startswith("dynamic-network-architectures")
        # The package keeps heads of the coarser levels that it does not use here.
        unused = sum(4 * 2**k + 1 for k in range(1, 4))
        assert count(network) == count(afresh) + unused
    # As published: two convolutions a stage, strided ones for pooling, biases everywhere.
    names = [type(layer).__name__ for layer in afresh.modules()]
    assert names.count("Conv2d") == 2 * 9 + 1
    assert names.count("ConvTranspose2d") == 4
    assert names.count("InstanceNorm2d") == names.count("LeakyReLU") == 2 * 9
    assert "MaxPool2d" not in names
    convolutions = [layer for layer in afresh.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert all(layer.bias is not None for layer in convolutions)
    assert [layer.stride for layer in convolutions].count((2, 2)) == 4
    with torch.inference_mode():
        assert afresh.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 1, 32, 32)


@pytest.mark.usefixtures("benchmark")
def test_monais_network_has_the_width_it_is_asked_for():
    pytest.importorskip("monai")
    import peers

    network, source = peers.basic_unet(3, 1, 8)
    assert source.startswith("monai ")
    first = next(layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d))
    assert first.out_channels == 8
    with torch.inference_mode():
        assert network.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 1, 32, 32)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


# ------------------------------------------------------------------------------- inference


def test_inference_from_end_to_end(benchmark, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(benchmark.inference, "STARTS", ())
    out, work = tmp_path / "result.json", tmp_path / "work"
    only = ["channels last", "torch fp32", "openvino fp32"]
    words = ["--quick", "--only", *only, "--work", work, "-o", out]
    benchmark("inference", *words, "--models", f"{work / 'width4_0'}={work / 'vessels64x64'}")
    result = json.loads(out.read_text())
    assert set(result) == {
        "protocol", "targets", "environment", "rows", "ceilings", "idle", "trained", "models",
        "start",
    }  # fmt: skip
    rows = {(row["engine"], row["precision"]): row for row in result["rows"]}
    assert set(rows) == {
        ("PyTorch eager", "fp32"), ("PyTorch eager, channels last", "fp32"),
        ("PyTorch fp32 on cpu", "fp32"), ("OpenVINO fp32 on cpu", "fp32"),
    }  # fmt: skip
    for row in rows.values():
        assert row["width"] == 4
        assert row["images_per_second"] > 0
        assert row["share_of_ceiling"] > 0
        assert len(row["seconds_per_image"]) == 2
    slow = rows["PyTorch eager", "fp32"]
    assert (slow["contestant"], slow["ratio"]) == ("milesial/Pytorch-UNet", 1.0)
    assert slow["pixels_changed"] is None
    ours = rows["OpenVINO fp32 on cpu", "fp32"]
    assert ours["ratio"] == pytest.approx(
        ours["images_per_second"] / slow["images_per_second"], rel=0.02, abs=0.01
    )
    assert ours["pixels_changed"] <= 0.001  # exact but for pixels that lie on the threshold
    # The peer's operations, counted by PyTorch, are ours, counted by the program.
    assert slow["gflops"] / slow["images_per_second"] == pytest.approx(
        ours["gflops"] / ours["images_per_second"], rel=0.1
    )
    (ceiling,) = result["ceilings"]
    assert {"fp32", "int8"} <= set(ceiling["gflops"])
    for precision, top in ceiling["gflops"].items():
        assert top == max(ceiling["of"][precision].values())
    assert {row["precision"] for row in result["models"]} == {"fp32", "bf16", "int8"}
    exact = [row for row in result["models"] if row["precision"] == "fp32"]
    assert all(row["pixels_changed"] <= 0.001 for row in exact)
    assert exact[0]["dice_change"] == 0
    assert result["trained"][0]["steps"] == 2
    (helped, predicted) = result["start"]["rows"]
    assert helped["command"] == "unet --help"
    assert predicted["command"] == "unet predict"
    assert predicted["seconds"] > 0


def test_a_contestant_that_cannot_run_says_why(benchmark, tmp_path, monkeypatch):
    def prepare(*_):
        raise ImportError("no module\nof that name")

    monkeypatch.setitem(benchmark.inference.PREPARE, "engine", prepare)
    contestant = benchmark.inference.Contestant("ours", "engine", str(tmp_path))
    seat = benchmark.inference.seat(benchmark.inference.contest, contestant, 4, tmp_path)
    assert seat.told == {"missing": "no module of that name"}
    seat.process.join()


def test_processes_take_turns_and_idle_ones_do_nothing(benchmark):
    seat = benchmark.seat(benchmark.inference.rate_torch, True)
    try:
        reached = seat.ask("run")
        assert all(value > 0 for value in reached["fp32"].values())
        idle = benchmark.inference.busy([seat.process.pid], 0.2)
        assert idle["cores"] is None or idle["cores"] < 0.5
    finally:
        seat.leave()
    assert seat.process.exitcode == 0


def test_a_process_that_dies_is_missing(benchmark):
    seat = benchmark.seat(sys.exit)  # is given its end of the pipe as exit code
    assert seat.told == {"missing": "its process ended with 1"}
    seat.leave()


# ---------------------------------------------------------------------------- large images


def test_the_kinds_of_large_images_hold_the_same_pixels(benchmark, tmp_path):
    pytest.importorskip("rasterio")
    large = benchmark.large_images
    images = {
        kind: read_image(large.make_image(kind, tmp_path, 60 if "volume" in kind else 600)).data
        for kind in large.WRITERS
    }
    assert images["TIFF in tiles"].shape == (3, 600, 600)
    assert images["TIFF in tiles"].std() > 30
    for kind in ("TIFF in strips", "GeoTIFF", "Zarr"):
        np.testing.assert_array_equal(images[kind], images["TIFF in tiles"])
    assert images["volume, Zarr"].shape == (1, 60, 60, 60)
    np.testing.assert_array_equal(images["volume, NIfTI"], images["volume, Zarr"])
    assert not list(tmp_path.glob("part_*"))


def test_pieces_of_large_images_join_where_they_should(benchmark):
    large = benchmark.large_images
    bands = list(large.bands(1100, 512))
    assert [len(band) for band in bands] == [512, 512, 76]
    image = np.concatenate(bands)
    assert image.shape == (1100, 1100, 3)
    np.testing.assert_array_equal(image[1024:, 1024:], large.piece(1, 1)[:76, :76])


def test_sizes_from_end_to_end(benchmark, tmp_path):
    out = tmp_path / "result.json"
    benchmark("large_images", "sizes", tmp_path / "work", "--quick", "-o", out)
    result = json.loads(out.read_text())["sizes"]
    assert [row["side"] for row in result["rows"]] == [100, 200]
    middle = result["median_ns_per_pixel"]
    for row in result["rows"]:
        assert row["ns_per_pixel"] == pytest.approx(
            row["seconds"][0] / row["side"] ** 2 * 1e9, rel=0.2
        )
        assert row["deviation"] == pytest.approx(row["ns_per_pixel"] / middle - 1, abs=0.01)


def test_memory_from_end_to_end(benchmark, tmp_path):
    out = tmp_path / "result.json"
    words = ["memory", tmp_path / "work", "--quick", "--only", "Zarr", "-o", out]
    benchmark("large_images", *words)
    result = json.loads(out.read_text())["memory"]
    assert [row["kind"] for row in result["rows"]] == ["Zarr", "volume, Zarr"]
    for row in result["rows"]:
        assert row["exit_code"] == 0
        assert 0.02 < row["peak_gb"] < 2
        assert row["held"]


def test_the_peak_is_that_of_a_process_and_its_children(benchmark):
    child = "bytearray(300 << 20); import time; time.sleep(0.3)"
    code = f"""import subprocess, sys
a = bytearray(200 << 20)
subprocess.run([sys.executable, "-c", {child!r}])"""
    seen = benchmark.large_images.watch([sys.executable, "-c", code])
    assert (seen["exit_code"], seen["processes"]) == (0, 2)
    assert 500 * 2**20 < seen["peak_gb"] * 1e9 < 600 * 2**20


def test_seams_from_end_to_end(benchmark, tmp_path):
    pytest.importorskip("monai")
    out = tmp_path / "result.json"
    words = ["seams", tmp_path / "work", "--quick", "--precisions", "fp32", "-o", out]
    benchmark("large_images", *words)
    rows = {row["contestant"]: row for row in json.loads(out.read_text())["seams"]["rows"]}
    monai, ours = rows["MONAI sliding_window_inference"], rows["unetkit"]
    assert "224×224" in ours["engine"]
    assert ours["max_difference"] <= 1e-5
    assert monai["max_difference"] > 1e-4
    assert monai["ratio"] == 1
    assert ours["ratio"] == pytest.approx(monai["seconds"] / ours["seconds"], rel=0.2, abs=0.02)


def test_a_folder_with_broken_images_from_end_to_end(benchmark, tmp_path):
    out = tmp_path / "result.json"
    benchmark("large_images", "folder", tmp_path / "work", "--quick", "-o", out)
    result = json.loads(out.read_text())["folder"]
    assert result["command"]["exit_code"] == 1
    assert result["outputs"] == 20
    broken = [row["image"] for row in result["failures"]]
    assert len(broken) == 10
    assert all("_broken_" in name for name in broken)
    assert set(result["images_per_second"]) == {"loop", "network alone"}
    # a second run keeps the images, and another command's results stay
    benchmark("large_images", "folder", tmp_path / "work", "--quick", "-o", out)
    assert len(list((tmp_path / "work").glob("many*/images/*"))) == 30
