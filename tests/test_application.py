"""A model applied to files: every image gets its outputs, whatever the others do."""

import csv
import shutil

import numpy as np
import pytest

from unetkit.application import OUTPUTS, predict
from unetkit.data import Normalization, Task
from unetkit.errors import InputError
from unetkit.image import Georeference, Image, read_image, read_labels, write_image
from unetkit.network import NetworkConfig, UNet
from unetkit.segmenter import Card, Segmenter, load


@pytest.fixture(scope="module")
def model(run):
    return load(run, device="cpu", precision="fp32")


def written(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_every_output_is_what_the_model_says(model, discs, tmp_path):
    images = sorted((discs / "images").iterdir())
    applied = predict(model, discs / "images", tmp_path, save=OUTPUTS)
    assert applied.failures == []
    assert sorted(applied.written) == sorted(p for p in tmp_path.rglob("*") if p.is_file())
    for image in images:
        answer = model(image)
        labels = read_labels(tmp_path / "labels" / f"{image.stem}.png")
        assert set(np.unique(labels)) <= {0, 255}
        assert np.array_equal(labels, answer.labels * 255)
        probability = read_image(tmp_path / "probability" / f"{image.stem}.tif").data
        assert probability.dtype == np.float32
        assert np.array_equal(probability, answer.probabilities)
        overlay = read_image(tmp_path / "overlay" / f"{image.stem}.png").data
        assert overlay.shape == (3, 48, 48)
        grey = read_image(image).data[0]
        assert (overlay != grey).any()
        plain = answer.labels == 0
        assert np.mean(overlay[0][plain] == grey[plain]) > 0.6  # away from the outlines


def test_inputs_are_files_folders_or_patterns_and_each_counts_once(model, discs, tmp_path):
    images = discs / "images"
    seen = []
    sources = [images / "case1.png", str(images / "case[12].png"), images / "case1.png"]
    applied = predict(model, sources, tmp_path, on_image=lambda *said: seen.append(said))
    assert written(tmp_path) == ["labels/case1.png", "labels/case2.png"]
    assert len(applied.written) == 2
    assert seen == [(0, 2, "case1.png"), (1, 2, "case2.png"), (2, 2, "")]


def test_a_run_folder_is_a_model_and_tiles_are_reported(run, discs, tmp_path):
    tiles = []
    predict(run, discs / "images" / "case0.png", tmp_path, on_tile=lambda *c: tiles.append(c))
    assert tiles == [(1, 1)]


def test_a_broken_image_does_not_stop_the_others(model, discs, tmp_path):
    images = shutil.copytree(discs / "images", tmp_path / "images")
    whole = (images / "case1.png").read_bytes()
    (images / "case1.png").write_bytes(whole[: len(whole) // 2])
    write_image(Image(np.zeros((3, 20, 20), np.uint8)), images / "case3.png")
    applied = predict(model, images, tmp_path / "out")
    assert written(tmp_path / "out") == ["failures.csv", "labels/case0.png", "labels/case2.png",
                                         "labels/case4.png"]  # fmt: skip
    with (tmp_path / "out" / "failures.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [str(images / f"case{k}.png") for k in (1, 3)]
    assert [(str(path), reason) for path, reason in applied.failures] == [
        (row["image"], row["error"]) for row in rows
    ]
    assert rows[0]["error"].startswith("cannot be read as png")
    assert rows[1]["error"].startswith("the image has 3 channels, the model was trained on 1;")


def test_a_broken_image_alone_is_an_error(model, tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(InputError, match=r"a\.png: cannot be read as png"):
        predict(model, tmp_path / "a.png", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_request_that_is_wrong_for_all_stops_at_once(model, discs, tmp_path):
    with pytest.raises(InputError, match="tile 30 is not legal for this network"):
        predict(model, discs / "images", tmp_path, tile=30)
    with pytest.raises(InputError, match=r"--save: unknown output lables; did you mean labels\?"):
        predict(model, discs / "images", tmp_path, save=["lables"])
    with pytest.raises(InputError, match="no such file or folder; check the path"):
        predict(model, [discs / "images", tmp_path / "nothing"], tmp_path)
    assert written(tmp_path) == []


def test_results_are_not_overwritten_by_mistake(model, discs, tmp_path):
    predict(model, discs / "images" / "case0.png", tmp_path)
    before = (tmp_path / "labels" / "case0.png").read_bytes()
    with pytest.raises(InputError, match=r"1 of the outputs exist already; use --overwrite"):
        predict(model, discs / "images", tmp_path, threshold=0.01)
    assert written(tmp_path) == ["labels/case0.png"]
    assert (tmp_path / "labels" / "case0.png").read_bytes() == before
    predict(model, discs / "images", tmp_path, threshold=0.0001, overwrite=True)
    assert (read_labels(tmp_path / "labels" / "case0.png") == 255).all()


def test_two_images_of_one_name_stay_apart(model, discs, tmp_path):
    for folder in ("left", "right"):
        (tmp_path / folder).mkdir()
        shutil.copy(discs / "images" / "case0.png", tmp_path / folder / "eye.png")
    write_image(read_image(tmp_path / "left" / "eye.png"), tmp_path / "left" / "eye.tif")
    predict(model, [tmp_path / "left", tmp_path / "right"], tmp_path / "out")
    assert written(tmp_path / "out") == [
        "labels/eye.tif.tif", "labels/left_eye.png.png", "labels/right_eye.png.png",
    ]  # fmt: skip
    shutil.copytree(tmp_path / "left", tmp_path / "again" / "left")
    with pytest.raises(InputError, match="two inputs would have the same output; predict them sep"):
        predict(model, [tmp_path / "left", tmp_path / "again" / "left"], tmp_path / "out")


def volume_model(classes):
    task = Task(classes=tuple("abcde"[:classes]), kind="semantic", values=tuple(range(classes)),
                ignore=(), channels=1, ndim=3)  # fmt: skip
    config = NetworkConfig(ndim=3, channels=1, classes=classes, depth=1, width=2)
    card = Card(network=config, normalization=Normalization(method="image"), task=task)
    return Segmenter(UNet(config), card, device="cpu", precision="fp32")


def test_volumes_keep_their_place_in_the_world(tmp_path):
    frame = np.diag([0.5, 0.7, 2.0, 1.0])
    frame[:3, 3] = 10, 20, 30
    data = np.random.default_rng(0).normal(size=(1, 5, 12, 9)).astype(np.float32)
    write_image(Image(data, (2.0, 0.7, 0.5), frame), tmp_path / "scan.nii.gz")
    predict(volume_model(3), tmp_path / "scan.nii.gz", tmp_path / "out", save=OUTPUTS)
    assert written(tmp_path / "out") == ["labels/scan.nii.gz", "overlay/scan.png",
                                         "probability/scan.nii.gz"]  # fmt: skip
    labels = read_image(tmp_path / "out" / "labels" / "scan.nii.gz")
    assert labels.data.shape == (1, 5, 12, 9)
    assert labels.spacing == pytest.approx((2.0, 0.7, 0.5))
    assert np.allclose(labels.frame, frame)
    assert read_image(tmp_path / "out" / "probability" / "scan.nii.gz").data.shape == (3, 5, 12, 9)
    assert read_image(tmp_path / "out" / "overlay" / "scan.png").data.shape == (3, 12, 9)


def test_a_disk_that_fills_up_is_an_error_at_once(model, discs, tmp_path, monkeypatch):
    predict(model, discs / "images", tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in written(tmp_path)}

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unetkit.files.os.fsync", full)
    with pytest.raises(InputError, match=r"case0\.png: the disk is full; free some space"):
        predict(model, discs / "images", tmp_path, threshold=0.0001, overwrite=True)
    assert {name: (tmp_path / name).read_bytes() for name in written(tmp_path)} == before


def two_channels(**task):
    """Give an untrained model of two channels: what it says does not matter, only where it goes."""
    config = NetworkConfig(ndim=2, channels=2, classes=1, depth=1, width=4, padding="same")
    semantic = {"classes": ("a", "b"), "kind": "semantic", "values": (0, 255), "ignore": ()}
    card = Card(
        network=config,
        normalization=Normalization(),
        task=Task(**{**semantic, "channels": 2, "ndim": 2, **task}),
    )
    return Segmenter(UNet(config), card, device="cpu", precision="fp32")


def test_channels_in_files_of_their_own_become_one_image(tmp_path):
    chance = np.random.default_rng(0)
    both = chance.integers(0, 255, (2, 24, 16), np.uint8)
    for case in ("p1", "p2"):
        for channel in (0, 1):
            write_image(Image(both[channel][None]), tmp_path / "in" / f"{case}_000{channel}.tif")
    write_image(Image(both), tmp_path / "whole.tif")
    model = two_channels()
    predict(model, tmp_path / "in", tmp_path / "out", save=("probability",))
    assert written(tmp_path / "out") == ["probability/p1.tif", "probability/p2.tif"]
    found = read_image(tmp_path / "out" / "probability" / "p2.tif").data
    np.testing.assert_array_equal(found, model(tmp_path / "whole.tif").probabilities)
    (tmp_path / "in" / "p2_0001.tif").unlink()  # then they are what they are: of one channel
    failed = predict(model, tmp_path / "in", tmp_path / "again").failures
    assert len(failed) == 3
    assert "has 1 channels, the model was trained on 2" in failed[0][1]


def test_class_colours_and_places_reach_the_output(tmp_path):
    import rasterio

    place = Georeference((10.0, 0.0, 5e5, 0.0, -10.0, 5e6), "EPSG:32632")
    pixels = np.random.default_rng(0).integers(1, 999, (2, 32, 40), np.uint16)
    write_image(Image(pixels, frame=place, nodata=0), tmp_path / "scene.tif")
    model = two_channels(values=(0, 0x3C1098), colours=True)
    predict(model, tmp_path / "scene.tif", tmp_path / "out", threshold=0.5)
    with rasterio.open(tmp_path / "out" / "labels" / "scene.tif") as file:
        assert file.crs.to_epsg() == 32632
        assert tuple(file.transform)[:6] == place.transform
        labels = model(tmp_path / "scene.tif", threshold=0.5).labels
        colours = np.array([[0, 0, 0], [0x3C, 0x10, 0x98]])
        np.testing.assert_array_equal(file.read(), np.moveaxis(colours[labels], -1, 0))
