"""A model applied to files: every image gets its outputs, whatever the others do."""

import csv
import shutil
import threading
import time
import weakref
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch

from conftest import segmenter_of
from unetkit.application import OUTPUTS, folder, predict
from unetkit.application.request import Job, Request
from unetkit.data import Normalization, Task
from unetkit.data.case import Case
from unetkit.errors import InputError
from unetkit.image import Georeference, Image, read_image, read_labels, write_image
from unetkit.network import NetworkConfig, UNet
from unetkit.segmenter import Card, Segmenter, load, save


@pytest.fixture(scope="module")
def model(run):
    return load(run, device="cpu", precision="fp32")


def written(root):
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


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
    predict(model, discs / "images", tmp_path, threshold=0.0, overwrite=True)
    assert (read_labels(tmp_path / "labels" / "case0.png") == 255).all()


def test_two_images_of_one_name_stay_apart(model, discs, tmp_path):
    for side in ("left", "right"):
        (tmp_path / side).mkdir()
        shutil.copy(discs / "images" / "case0.png", tmp_path / side / "eye.png")
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
    return segmenter_of(UNet(config), card)


def test_volumes_keep_their_place_in_the_world(tmp_path):
    frame = np.diag([0.5, 0.7, 2.0, 1.0])
    frame[:3, 3] = 10, 20, 30
    data = np.random.default_rng(0).normal(size=(1, 5, 12, 9)).astype(np.float32)
    write_image(Image(data, (2.0, 0.7, 0.5), frame), tmp_path / "scan.nii.gz")
    predict(volume_model(3), tmp_path / "scan.nii.gz", tmp_path / "out", save=OUTPUTS)
    assert written(tmp_path / "out") == [
        "labels/scan.nii.gz", "overlay/scan.png", "probability/scan.nii.gz",
        "uncertainty/scan.nii.gz",
    ]  # fmt: skip
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
    return segmenter_of(UNet(config), card)


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


# ---------------------------------------------------------------------------- a folder of images


def untrained(seed=0, **network):
    """Give a segmenter of grey pictures whose answer varies."""
    torch.manual_seed(seed)
    config = NetworkConfig(
        **{"ndim": 2, "channels": 1, "classes": 1, "depth": 1, "width": 4, **network}
    )
    task = Task(classes=("a", "b"), kind="semantic", values=(0, 255), ignore=(),
                channels=config.channels, ndim=2)  # fmt: skip
    net = UNet(config)
    with torch.no_grad():
        net.head[0].bias.zero_()
    return segmenter_of(net, Card(network=config, normalization=Normalization(), task=task))


def with_run(segmenter, wrap):
    """Give a segmenter whose engine is wrapped."""
    (member,) = segmenter.members
    return Segmenter(replace(member, engine=replace(member.engine, run=wrap(member.engine.run))))


def grey(seed, *shape, dtype=np.uint8):
    chance = np.random.default_rng(seed)
    return chance.integers(0, np.iinfo(dtype).max, shape or (1, 40, 36)).astype(dtype)


def pictures(root, count):
    for k in range(count):
        write_image(Image(grey(k)), root / f"p{k:02d}.png")
    return root


def threads():
    return [one.name for one in threading.enumerate() if one.name.startswith("unetkit")]


def hidden(root):
    return list(root.rglob(".*"))


def times(root):
    return {name: (root / name).stat().st_mtime_ns for name in written(root)}


def test_sixty_images_of_which_six_are_broken(unet, tmp_path):
    segment = untrained()
    images = pictures(tmp_path / "in", 60)
    card, net = segment.card, UNet(segment.card.network)
    save(tmp_path / "m.safetensors", net.state_dict(), card)
    whole = (images / "p03.png").read_bytes()
    (images / "p03.png").write_bytes(whole[: len(whole) // 2])
    (images / "p11.png").write_bytes(b"")
    (images / "p22.png").write_text("this is no picture")
    write_image(Image(grey(1, 3, 20, 20)), images / "p33.png")
    (images / "p44.png").unlink()
    write_image(Image(grey(1, 1, 5, 20, 20)), images / "p44.nii.gz")
    (images / "p59.png").unlink()
    (images / "p59.tif").write_bytes(b"II*\0\xff\xff\xff\xff")
    broken = ["p03.png", "p11.png", "p22.png", "p33.png", "p44.nii.gz", "p59.tif"]
    words = ["predict", tmp_path / "m.safetensors", images, "-o", tmp_path / "out",
             "--engine", "torch"]  # fmt: skip
    code, out, err = unet(*words)
    assert code == 1
    assert f"54 files in {tmp_path / 'out'}" in out
    assert [line.split(": ")[0] for line in err.splitlines()] == [
        f"failed {images / name}" for name in broken
    ]
    with (tmp_path / "out" / "failures.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [str(images / name) for name in broken]
    assert "3 channels, the model was trained on 1" in rows[3]["error"]
    assert "3 axes, the model was trained on 2D images" in rows[4]["error"]
    good = [f"p{k:02d}.png" for k in range(60) if k not in (3, 11, 22, 33, 44, 59)]
    assert written(tmp_path / "out") == ["failures.csv", *(f"labels/{name}" for name in good)]
    before = {
        name: (tmp_path / "out" / name).stat().st_mtime_ns for name in written(tmp_path / "out")
    }
    code, _, err = unet(*words)
    assert (code, err.count("\n")) == (2, 1)
    assert "54 of the outputs exist already; use --overwrite" in err
    assert times(tmp_path / "out") == before
    for name in broken:  # mended, so that only these are left
        (images / name).unlink()
        write_image(Image(grey(7)), images / f"{name.split('.')[0]}.png")
    code, out, err = unet(*words, "--resume")
    assert (code, err) == (0, "")
    assert f"6 files in {tmp_path / 'out'}" in out
    assert len(written(tmp_path / "out")) == 60  # and no failures any more
    assert times(tmp_path / "out")["labels/p00.png"] == before["labels/p00.png"]


def test_16_bits_palettes_and_spacing_reach_the_output(tmp_path):
    segment, deep = untrained(), grey(0, 1, 40, 36, dtype=np.uint16)
    write_image(Image(deep), tmp_path / "in" / "deep.png")
    write_image(Image(deep, (0.25, 0.5)), tmp_path / "in" / "scaled.ome.tif")
    indices = grey(1, 40, 36) % 4
    palette = PIL.Image.fromarray(indices, "P")
    palette.putpalette([v for shade in (10, 90, 170, 250) for v in (shade,) * 3])
    palette.save(tmp_path / "in" / "palette.png")
    applied = predict(segment, tmp_path / "in", tmp_path / "out", save=("labels", "probability"))
    assert applied.failures == []
    assert written(tmp_path / "out" / "labels") == ["deep.png", "palette.png", "scaled.tif"]
    shades = np.array([10, 90, 170, 250])[indices][None]
    for name, pixels in (("deep", deep), ("scaled", deep), ("palette", shades)):
        found = read_image(tmp_path / "out" / "probability" / f"{name}.tif")
        np.testing.assert_array_equal(found.data, segment(pixels).probabilities)
        assert found.spacing == ((0.25, 0.5) if name == "scaled" else (1, 1))
    assert read_image(tmp_path / "out" / "labels" / "scaled.tif").spacing == (0.25, 0.5)


def test_images_follow_in_order_and_each_is_told(tmp_path):
    images = pictures(tmp_path / "in", 9)
    (images / "p04.png").write_bytes(b"nothing")
    told, tiles = [], []
    applied = predict(
        untrained(), images, tmp_path / "out", on_image=lambda *said: told.append(said),
        on_tile=lambda *said: tiles.append(said),
    )  # fmt: skip
    assert told == [*((k, 9, f"p{k:02d}.png") for k in range(9)), (9, 9, "")]
    assert tiles == [(1, 1)] * 8
    assert [path.stem for path in applied.written] == [f"p{k:02d}" for k in range(9) if k != 4]


def test_decoding_and_writing_hide_behind_computing(tmp_path, monkeypatch):
    """While one image is computed, the next is decoded and the last is written: or this hangs."""
    images, count = pictures(tmp_path / "in", 6), 6
    read, computed = ([threading.Event() for _ in range(count)] for _ in range(2))
    real_read, real_write = folder.read_picture, folder.write_image

    def reading(case):
        picture = real_read(case)
        read[int(case.id[1:])].set()
        return picture

    def writing(image, path):
        after = min(count - 1, int(path.stem[1:]) + 1)
        assert computed[after].wait(60), "computing waits for the disk"
        real_write(image, path)

    calls = iter(range(count))

    def wrap(run):
        def slow(batch):
            k = next(calls)
            assert read[min(k + 1, count - 1)].wait(60), "computing waits for the decoder"
            computed[k].set()
            return run(batch)

        return slow

    monkeypatch.setattr(folder, "read_picture", reading)
    monkeypatch.setattr(folder, "write_image", writing)
    applied = predict(with_run(untrained(), wrap), images, tmp_path / "out")
    assert len(applied.written) == count
    assert threads() == []


def test_memory_holds_only_a_few_images_at_once(tmp_path, monkeypatch):
    """However slow the disk, and however many there are."""
    images, alive = pictures(tmp_path / "in", 30), weakref.WeakSet()
    most, real_read, real_write = [0], folder.read_picture, folder.write_image

    def reading(case):
        picture = real_read(case)
        alive.add(picture)
        most[0] = max(most[0], len(alive))
        return picture

    def writing(image, path):
        time.sleep(0.005)
        real_write(image, path)

    monkeypatch.setattr(folder, "read_picture", reading)
    monkeypatch.setattr(folder, "write_image", writing)
    assert len(predict(untrained(), images, tmp_path / "out").written) == 30
    assert 2 <= most[0] <= 10


def test_who_does_not_want_the_rest_leaves_no_thread(tmp_path, monkeypatch):
    images, reads, real = pictures(tmp_path / "in", 9), [], folder.read_picture

    def slow(case):
        reads.append(case.id)
        time.sleep(0.3 if len(reads) > 1 else 0)
        return real(case)

    monkeypatch.setattr(folder, "read_picture", slow)
    jobs = [
        Job(Case(path.stem, path), {"labels": tmp_path / "out" / path.name})
        for path in sorted(images.iterdir())
    ]
    results = folder.predict_jobs(untrained(), jobs, Request())
    job, fault = next(results)
    assert (job.case.id, fault) == ("p00", None)
    assert read_labels(tmp_path / "out" / "p00.png").shape == (40, 36)
    results.close()
    assert reads in (["p00", "p01"], ["p00", "p01", "p02"])  # what was begun, not what was queued
    assert threads() == []
    assert hidden(tmp_path / "out") == []


def test_a_full_disk_stops_soon(tmp_path, monkeypatch):
    images, calls = pictures(tmp_path / "in", 30), []

    def wrap(run):
        return lambda batch: calls.append(1) or run(batch)

    left = [3]

    def fsync(_):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("unetkit.files.os.fsync", fsync)
    with pytest.raises(InputError, match=r"p03\.png: the disk is full; free some space"):
        predict(with_run(untrained(), wrap), images, tmp_path / "out")
    assert len(calls) <= 3 + 1 + 4  # those ahead of it
    assert written(tmp_path / "out") == [f"labels/p{k:02d}.png" for k in range(3)]
    assert threads() == []


def test_ctrl_c_stops_at_once_and_leaves_whole_files(tmp_path):
    images, calls = pictures(tmp_path / "in", 30), []

    def wrap(run):
        def run_some(batch):
            calls.append(1)
            if len(calls) == 6:
                raise KeyboardInterrupt
            return run(batch)

        return run_some

    with pytest.raises(KeyboardInterrupt):
        predict(with_run(untrained(), wrap), images, tmp_path / "out")
    assert len(calls) == 6
    assert threads() == []
    assert hidden(tmp_path / "out") == []
    done = written(tmp_path / "out")
    assert done == [f"labels/p{k:02d}.png" for k in range(5)]
    for name in done:
        assert read_labels(tmp_path / "out" / name).shape == (40, 36)
    applied = predict(untrained(), images, tmp_path / "out", resume=True)
    assert len(applied.written) == 25


def test_what_it_costs_is_said_before_it_starts(tmp_path):
    write_image(Image(grey(0, 1, 200, 200)), tmp_path / "a.png")
    said = []
    for k, (segment, options) in enumerate((
        (untrained(), {}),
        (untrained(), {"tta": "flips"}),
        (Segmenter(*untrained().members, *untrained(1).members), {"tta": "rotations"}),
        (untrained(norm="instance"), {"tile": 64}),
        (untrained(norm="instance"), {}),  # as one tile, it is exact
    )):  # fmt: skip
        told = []
        predict(segment, tmp_path / "a.png", tmp_path / f"{k}", **options, say=told.append)
        said.append(told)
    blended = ("instance normalisation looks at all of its input, so no tile is exact: tiles "
               "overlap by half and are blended")  # fmt: skip
    assert said == [
        [],
        ["4 passes over the image: about 4 times the time of one"],
        ["16 passes over the image: about 16 times the time of one"],
        [blended],
        [],
    ]


def test_an_unknown_format_or_augmentation_is_one_line(tmp_path):
    write_image(Image(grey(0)), tmp_path / "a.png")
    with pytest.raises(InputError, match=r"^--format: unknown format tiff; did you mean tif\?$"):
        predict(untrained(), tmp_path / "a.png", tmp_path / "out", form="tiff")
    with pytest.raises(InputError, match=r"^--tta: unknown test-time augmentation all; take none"):
        predict(untrained(), tmp_path / "a.png", tmp_path / "out", tta="all")
    assert not (tmp_path / "out").exists()
