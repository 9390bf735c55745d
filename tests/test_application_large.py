"""An image larger than memory gets the same answer as one that fits, and a kill costs little."""

import math
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import environment, member_of, segmenter_of, wait_for
from unetkit.application import apply, folder, large, memory, predict
from unetkit.application.large import measured, predict_large
from unetkit.application.request import Job, Request
from unetkit.data import Task
from unetkit.data.case import Case
from unetkit.errors import InputError
from unetkit.files import atomic
from unetkit.image import Georeference, Image, Opened, create_image, read_image, write_image
from unetkit.network import NetworkConfig, UNet
from unetkit.segmenter import Card, Segmenter, save
from unetkit.segmenter import segmenter as segmenter_module

TILE = 96  # of which 64 pixels are decided, so that there are several slabs
ARRAYS = ("labels", "probability", "uncertainty")
BY_SET = {"method": "dataset", "mean": (90.0,), "std": (60.0,)}


def model(seed=0, *, task=None, card=None, normalization=None, **network):
    """Give an untrained network whose answer varies, and its card."""
    torch.manual_seed(seed)
    config = NetworkConfig(**{
        "ndim": 2, "channels": 1, "classes": 1, "depth": 1, "width": 4, "padding": "same",
        **network,
    })  # fmt: skip
    net = UNet(config)
    with torch.no_grad():  # probabilities around one half, so that labels vary
        net.head[0].weight.mul_(2)
        net.head[0].bias.zero_()
    classes = max(2, config.classes)
    meaning = {
        "classes": tuple("abcde"[:classes]), "kind": "semantic",
        "values": (0, 255) if classes == 2 else tuple(range(classes)), "ignore": (),
        "channels": config.channels, "ndim": config.ndim, **(task or {}),
    }  # fmt: skip
    settled = normalization or {"method": "image"}
    return net, Card(network=config, normalization=settled, task=Task(**meaning), **(card or {}))


def segmenter(seed=0, **options):
    net, card = model(seed, **options)
    return segmenter_of(net, card, digest=f"model {seed}")


def counted(segment):
    """Give the same segmenter, and the list that grows with each call of a network."""
    calls, members = [], []
    for member in segment.members:

        def run(batch, real=member.engine.run):
            calls.append(batch.shape)
            return real(batch)

        members.append(replace(member, engine=replace(member.engine, run=run)))
    return Segmenter(*members), calls


def noise(*shape, seed=0, dtype=np.uint8):
    """Give smooth noise, as images are."""
    chance = np.random.default_rng(seed)
    coarse = chance.normal(size=(shape[0], *(n // 4 + 2 for n in shape[1:])))
    for axis in range(1, coarse.ndim):
        coarse = np.repeat(coarse, 4, axis)
    fine = coarse[(slice(None), *(slice(0, n) for n in shape[1:]))] + chance.normal(0, 0.3, shape)
    scaled = (fine - fine.min()) / np.ptp(fine)
    if np.dtype(dtype).kind == "f":
        return scaled.astype(dtype)
    return (1 + scaled * min(4000, np.iinfo(dtype).max - 1)).astype(dtype)


@pytest.fixture
def in_parts(monkeypatch):
    """Let every image count as too large to be kept; give the images that were cut."""
    cut = []

    def spy(segmenter, job, request, **options):
        cut.append(job.case.image.name)
        return predict_large(segmenter, job, request, **options)

    monkeypatch.setattr(folder, "_SHARE", 10**15)
    monkeypatch.setattr(folder, "predict_large", spy)
    return cut


def same_place(one, other):
    assert one.spacing == pytest.approx(other.spacing)
    if isinstance(other.frame, np.ndarray):
        np.testing.assert_allclose(one.frame, other.frame)
    else:
        assert one.frame == other.frame


def files(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


def assert_same(root, reference, count):
    """Compare outputs with those of another prediction: pixels to the bit, and the place."""
    found = sorted(path.relative_to(root) for kind in ARRAYS for path in (root / kind).glob("*"))
    assert len(found) == count
    assert not list(root.glob("*/.*")), "something is left of the making"
    for name in found:
        one, other = read_image(root / name), read_image(reference / name)
        assert one.data.dtype == other.data.dtype
        np.testing.assert_array_equal(one.data, other.data)
        same_place(one, other)
    return found


PLACE = Georeference((10.0, 0.0, 5e5, 0.0, -10.0, 5e6), "EPSG:32632")
AFFINE = np.array([[0.0, 0.7, 0, 3], [0.5, 0, 0, -8], [0, 0, 2.0, 1], [0, 0, 0, 1]])


def holed(pixels):
    pixels = pixels.copy()
    pixels[:, 20:40, 30:110] = 0
    return pixels


def with_nan(pixels):
    pixels = pixels.copy()
    pixels[:, 10:20, 60:130] = np.nan
    return pixels


SET3 = {"method": "dataset", "mean": (90.0, 120.0, 60.0), "std": (60.0, 50.0, 70.0)}
PICTURES = {
    "grey png": ("a.png", Image(noise(1, 170, 141)), {"normalization": BY_SET}),
    "three classes": ("a.tif", Image(noise(1, 170, 141), (0.5, 0.5)),
                      {"classes": 3, "head": "softmax", "task": {"values": (0, 7, 300)}}),
    "class colours": ("a.tif", Image(noise(3, 150, 141)),
                      {"channels": 3, "normalization": SET3,
                       "task": {"values": (0, 0x3C1098), "colours": True}}),
    "a map with holes": ("a.tif", Image(holed(noise(2, 150, 170, dtype=np.uint16)), frame=PLACE,
                                        nodata=0), {"channels": 2}),
    "fractions with holes": ("a.tif", Image(with_nan(noise(1, 150, 141, dtype=np.float32))), {}),
    "no normalisation": ("a.tif", Image(noise(1, 140, 141, dtype=np.float32)),
                         {"normalization": {"method": "none"}}),
    "zarr": ("a.zarr", Image(noise(1, 150, 141, dtype=np.uint16), (0.25, 0.5)), {}),
    "instance norm": ("a.tif", Image(noise(1, 200, 180)), {"norm": "instance"}),
    "valid": ("a.tif", Image(noise(1, 200, 141)), {"padding": "valid", "norm": "none"}),
    "hot": ("a.npy", Image(noise(1, 150, 141)), {"card": {"temperature": 2.5, "threshold": 0.45}}),
    "nifti": ("a.nii.gz", Image(noise(1, 40, 44, 39, dtype=np.int16), (2.0, 0.7, 0.5), AFFINE),
              {"ndim": 3, "classes": 3, "head": "softmax"}),
    "volume in zarr": ("a.ome.zarr", Image(noise(1, 40, 44, 39), (2.0, 0.7, 0.5)), {"ndim": 3}),
}  # fmt: skip


@pytest.mark.parametrize("what", PICTURES)
def test_in_parts_as_in_memory_to_the_bit(what, tmp_path, in_parts, monkeypatch):
    name, image, options = PICTURES[what]
    write_image(image, tmp_path / name)
    segment = segmenter(**options)
    size = 72 if segment.footprint.valid else TILE if image.data.ndim == 3 else 32
    tile = segment.footprint.fit([size] * (image.data.ndim - 1))
    chosen = {"save": ARRAYS, "tile": tile}
    with monkeypatch.context() as patch:
        patch.setattr(folder, "_SHARE", 1)
        predict(segment, tmp_path / name, tmp_path / "whole", **chosen)
    assert in_parts == []
    tiles = []
    applied = predict(
        segment, tmp_path / name, tmp_path / "parts", **chosen, on_tile=lambda *n: tiles.append(n)
    )
    assert in_parts == [name]
    assert tiles == [(k + 1, len(tiles)) for k in range(len(tiles))]
    assert len(tiles) >= 4
    found = assert_same(tmp_path / "parts", tmp_path / "whole", 3)
    assert sorted(applied.written) == [tmp_path / "parts" / one for one in found]
    # Not only like each other, but as the network says of the whole picture.
    answer = segment(tmp_path / name, tile=tile)
    by_kind = {one.parts[0]: read_image(tmp_path / "parts" / one) for one in found}
    np.testing.assert_array_equal(by_kind["probability"].data, answer.probabilities)
    np.testing.assert_array_equal(by_kind["uncertainty"].data, answer.uncertainty[None])
    mask = by_kind["labels"].data
    np.testing.assert_array_equal(mask if len(mask) == 3 else mask[0], answer.mask)
    assert len(np.unique(mask)) > 1
    same_place(by_kind["labels"], read_image(tmp_path / name))


def test_a_map_keeps_its_place_for_other_programs(tmp_path, in_parts):
    import rasterio

    write_image(Image(noise(1, 150, 141), frame=PLACE), tmp_path / "map.tif")
    predict(segmenter(), tmp_path / "map.tif", tmp_path / "out", tile=TILE)
    assert in_parts == ["map.tif"]
    with rasterio.open(tmp_path / "out" / "labels" / "map.tif") as file:
        assert file.crs.to_epsg() == 32632
        assert tuple(file.transform)[:6] == PLACE.transform


def test_bands_in_files_of_their_own(tmp_path, in_parts, monkeypatch):
    both = noise(2, 150, 141)
    for channel in (0, 1):
        nodata = 3 if channel else None
        write_image(Image(both[channel][None], nodata=nodata), tmp_path / f"in/p_000{channel}.tif")
    segment, options = segmenter(channels=2), {"save": ARRAYS, "tile": TILE}
    with monkeypatch.context() as patch:
        patch.setattr(folder, "_SHARE", 1)
        predict(segment, tmp_path / "in", tmp_path / "whole", **options)
    predict(segment, tmp_path / "in", tmp_path / "parts", **options)
    assert in_parts == ["p_0000.tif"]
    assert [path.name for path in files(tmp_path / "parts")] == ["p.tif"] * 3
    assert_same(tmp_path / "parts", tmp_path / "whole", 3)


@pytest.mark.parametrize("tta", ["flips", "rotations", "paper"])
def test_views_and_members_disagree_alike(tta, tmp_path, in_parts, monkeypatch):
    write_image(Image(noise(1, 150, 141)), tmp_path / "a.tif")
    segment = Segmenter(*(segmenter(seed).members[0] for seed in (0, 1)))
    options = {"save": ARRAYS, "tile": TILE, "tta": tta}
    with monkeypatch.context() as patch:
        patch.setattr(folder, "_SHARE", 1)
        predict(segment, tmp_path / "a.tif", tmp_path / "whole", **options)
    predict(segment, tmp_path / "a.tif", tmp_path / "parts", **options)
    assert in_parts == ["a.tif"]
    assert_same(tmp_path / "parts", tmp_path / "whole", 3)
    entropy, spread = read_image(tmp_path / "parts" / "uncertainty" / "a.tif").data
    answer = segment(tmp_path / "a.tif", tile=TILE, tta=tta)
    np.testing.assert_array_equal(entropy, answer.uncertainty)
    np.testing.assert_array_equal(spread, answer.spread[0])
    assert spread.max() > 0


@pytest.mark.parametrize("form", ["tif", "zarr", "ome.zarr", "npy", "png"])
def test_the_format_asked_for(form, tmp_path, in_parts):
    write_image(Image(noise(1, 150, 141)), tmp_path / "a.tif")
    segment = segmenter()
    predict(segment, tmp_path / "a.tif", tmp_path / "out", tile=TILE, form=form)
    assert in_parts == ["a.tif"]
    mask = read_image(tmp_path / "out" / "labels" / f"a.{form}").data[0]
    np.testing.assert_array_equal(mask, segment(tmp_path / "a.tif", tile=TILE).mask)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), ndim=st.sampled_from([2, 3]))
def test_every_pixel_is_measured_once(data, ndim):
    space = tuple(data.draw(st.lists(st.integers(1, 30), min_size=ndim, max_size=ndim)))
    chunks = data.draw(
        st.none() | st.tuples(*[st.integers(1, 40) for _ in space]), label="stored in pieces of"
    )
    seen, sizes = np.zeros(space, int), []

    def read(window):
        assert all(0 <= part.start < part.stop <= n for part, n in zip(window, space, strict=True))
        seen[window] += 1
        sizes.append(2 * math.prod(part.stop - part.start for part in window))
        return np.zeros((2, *(part.stop - part.start for part in window)), np.uint8)

    picture = Opened((2, *space), np.dtype(np.uint8), read, chunks=chunks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large, "_WINDOW", 2000)
        windows = list(measured(picture, read))
    assert (seen == 1).all()
    assert all(window.shape[0] == 2 for window in windows)
    piece = 2 * math.prod(min(c, n) for c, n in zip(chunks or (1,) * ndim, space, strict=True))
    assert max(sizes) <= max(2000, piece)


# ------------------------------------------------------------------------------- taken up again


class StopError(Exception):
    """What ends a prediction midway."""


def broken_off(segment, *request, after, **options):
    """Predict until the network has been called so often."""
    calls, members = [], []
    for member in segment.members:

        def run(batch, real=member.engine.run):
            calls.append(1)
            if len(calls) > after:
                raise StopError
            return real(batch)

        members.append(replace(member, engine=replace(member.engine, run=run)))
    with pytest.raises(StopError):
        predict(Segmenter(*members), *request, **options)


@pytest.fixture
def begun(tmp_path, in_parts):
    """Give an image of five slabs of three tiles, begun and left after ten tiles."""
    write_image(Image(noise(1, 310, 150)), tmp_path / "a.tif")
    segment = segmenter()
    chosen = {"save": ("labels", "probability"), "tile": TILE}
    predict(segment, tmp_path / "a.tif", tmp_path / "straight", **chosen)
    broken_off(segment, tmp_path / "a.tif", tmp_path / "out", after=10, **chosen)
    staging = tmp_path / "out" / "labels" / ".a.tif.partial"
    finished = sorted(path.name for path in (staging / "done").iterdir())
    assert finished in (["0", "1"], ["0", "1", "2"])  # what was queued then is not written
    assert not (tmp_path / "out" / "labels" / "a.tif").exists()
    assert in_parts == ["a.tif"] * 2
    return tmp_path, chosen, 15 - 3 * len(finished)


def resumed(where, segment, chosen, **changes):
    """Go on with a prediction; give how often the network was called."""
    segment, calls = counted(segment)
    options = {**chosen, "resume": True, **changes}
    applied = predict(segment, where / "a.tif", where / "out", **options)
    return len(calls), applied


def test_resumed_from_the_slabs_that_are_finished(begun):
    where, chosen, left = begun
    calls, applied = resumed(where, segmenter(), chosen)
    assert calls == left
    assert_same(where / "out", where / "straight", 2)
    assert sorted(applied.written) == files(where / "out")
    again, applied = resumed(where, segmenter(), chosen)
    assert (again, applied.written) == (0, [])


def test_an_output_that_was_lost_is_made_anew(begun):
    where, chosen, _ = begun
    resumed(where, segmenter(), chosen)
    (where / "out" / "labels" / "a.tif").unlink()
    before = (where / "out" / "probability" / "a.tif").stat().st_mtime_ns
    calls, applied = resumed(where, segmenter(), chosen)
    assert calls == 15
    assert applied.written == [where / "out" / "labels" / "a.tif"]
    assert (where / "out" / "probability" / "a.tif").stat().st_mtime_ns == before
    assert_same(where / "out", where / "straight", 2)


def test_without_resume_everything_is_computed_again(begun):
    where, chosen, _ = begun
    calls, _ = resumed(where, segmenter(), chosen, resume=False)
    assert calls == 15
    assert_same(where / "out", where / "straight", 2)


@pytest.mark.parametrize("other", ["threshold", "model", "input", "precision"])
def test_what_was_made_of_other_things_is_not_gone_on_with(begun, other):
    where, chosen, _ = begun
    segment, changes = segmenter(), {}
    match other:
        case "threshold":
            changes = {"threshold": 0.45}
        case "model":
            segment = segmenter(5)
        case "input":
            write_image(Image(noise(1, 310, 150, seed=3)), where / "a.tif")
        case "precision":
            net, card = model()
            segment = Segmenter(member_of(net, card, digest="model 0", precision="bf16"))
    calls, _ = resumed(where, segment, chosen, **changes)
    assert calls == 15
    options = {**chosen, **changes, "overwrite": True}
    predict(segment, where / "a.tif", where / "straight", **options)
    assert_same(where / "out", where / "straight", 2)


@pytest.mark.usefixtures("in_parts")
def test_a_chunk_of_a_folder_that_changed_is_noticed(tmp_path):
    segment, options = segmenter(), {"tile": TILE}
    write_image(Image(noise(1, 310, 150)), tmp_path / "a.zarr")
    broken_off(segment, tmp_path / "a.zarr", tmp_path / "out", after=10, **options)
    chunk = max(files(tmp_path / "a.zarr"), key=lambda path: path.stat().st_size)
    os.utime(chunk, ns=(1, 1))
    segment, calls = counted(segment)
    predict(segment, tmp_path / "a.zarr", tmp_path / "out", resume=True, **options)
    assert len(calls) == 15


@pytest.mark.usefixtures("in_parts")
def test_a_model_without_a_file_leaves_nothing_behind(tmp_path):
    write_image(Image(noise(1, 310, 150)), tmp_path / "a.tif")
    broken_off(segmenter_of(*model()), tmp_path / "a.tif", tmp_path / "out", after=10, tile=TILE)
    assert list((tmp_path / "out" / "labels").iterdir()) == []


def test_another_memory_does_not_cut_the_image_differently(tmp_path):
    """The tile is chosen by memory, so what was begun keeps the memory of its beginning."""
    write_image(Image(noise(1, 1500, 700)), tmp_path / "a.tif")
    job = Job(Case("a", tmp_path / "a.tif"), {"labels": tmp_path / "out" / "a.tif"})
    little, much = (Request(memory=n * 10**6, base=0) for n in (65, 3000))

    def attempt(request):
        """Begin and give up; give the size of blocks, how many slabs there are, and are left."""
        with suppress(StopError), large.start(segmenter(), job, request) as started:
            raise StopError
        return started.plan.core, len(started.plan.slabs), len(started.left)

    core, slabs, left = attempt(little)
    assert (slabs, left) == (len(range(0, 1500, core[0])), slabs)
    assert slabs >= 3
    segment, calls = counted(segmenter())
    with suppress(StopError), large.start(segment, job, little) as started:
        large.run_slabs(segment, replace(started, left=(1,)), little)
        raise StopError
    done = len(calls)
    assert attempt(replace(much, resume=True)) == (core, slabs, slabs - 1)
    assert attempt(replace(little, resume=True)) == (core, slabs, slabs - 1)
    assert attempt(Request(base=0, resume=True)) == (core, slabs, slabs - 1)
    segment, calls = counted(segmenter())
    predict_large(segment, job, replace(much, resume=True))
    assert len(calls) == done * (slabs - 1)
    mask = read_image(tmp_path / "out" / "a.tif").data[0]
    np.testing.assert_array_equal(mask, segmenter()(tmp_path / "a.tif").mask)
    # But it is given up where it does not fit any more, or where nobody asks for it.
    (tmp_path / "out" / "a.tif").unlink()
    smaller = Request(memory=50 * 10**6, base=0, resume=True)
    assert attempt(much)[1] < slabs
    assert attempt(smaller)[0] != core
    assert attempt(much)[1] < slabs


SCRIPT = """
import sys, time
from unetkit import cli
from unetkit.application import folder
from unetkit.segmenter import Segmenter

folder._SHARE = 10**15
real = Segmenter.forwards

def slow(self, normalizations):
    def later(forward):
        def run(batch):
            time.sleep(0.1)
            return forward(batch)
        return run
    return [later(one) for one in real(self, normalizations)]

Segmenter.forwards = slow
cli.main()
"""


@pytest.mark.usefixtures("in_parts")
def test_killed_and_resumed(tmp_path, unet, monkeypatch):
    """Kill -9 of the command midway; --resume computes the rest, and nothing differs."""
    net, card = model()
    save(tmp_path / "m.safetensors", net.state_dict(), card)
    write_image(Image(noise(1, 900, 150)), tmp_path / "a.tif")
    words = [
        "predict", tmp_path / "m.safetensors", tmp_path / "a.tif", "--tile", TILE,
        "--engine", "torch", "--precision", "fp32", "--device", "cpu",
    ]  # fmt: skip
    done = tmp_path / "out" / "labels" / ".a.tif.partial" / "done"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, words), "-o", str(tmp_path / "out")],
        env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        wait_for(lambda: (done / "1").exists() or process.poll() is not None, "two slabs")
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGKILL, said.decode()
    finished = len(list(done.iterdir()))
    assert 2 <= finished < 15
    calls, real = [], Segmenter.forwards

    def counting(self, normalizations):
        def seen(forward):
            return lambda batch: calls.append(1) or forward(batch)

        return [seen(one) for one in real(self, normalizations)]

    monkeypatch.setattr(Segmenter, "forwards", counting)
    code, _, err = unet(*words, "-o", tmp_path / "out", "--resume")
    assert (code, err) == (0, "")
    assert len(calls) == 3 * (15 - finished)
    assert unet(*words, "-o", tmp_path / "straight")[0] == 0
    assert_same(tmp_path / "out", tmp_path / "straight", 1)
    assert unet(*words, "-o", tmp_path / "out", "--resume")[1].endswith(
        f"0 files in {tmp_path}/out\n"
    )


# ------------------------------------------------------------------------------- what cannot be


def line(*given, **options):
    """Give the one line that a prediction ends in."""
    with pytest.raises(InputError) as caught:
        predict(*given, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def weightless(monkeypatch):
    """Let the libraries take no memory, so that little of it is needed."""
    monkeypatch.setattr(apply, "resident_memory", lambda: 0)


@pytest.mark.usefixtures("in_parts", "weightless")
def test_a_file_that_must_be_decoded_whole_and_does_not_fit(tmp_path):
    write_image(Image(noise(1, 300, 300)), tmp_path / "a.png")
    said = line(segmenter(), tmp_path / "a.png", tmp_path / "out", memory=2e-4)
    assert said == (
        f"{tmp_path / 'a.png'}: must be decoded whole, which takes 0.0 GB; "
        "convert it to a tiled TIFF or Zarr, or raise --max-memory to 0.1"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("in_parts", "weightless")
def test_too_little_memory_says_how_much_is_enough(tmp_path):
    write_image(Image(noise(1, 300, 300)), tmp_path / "a.tif")
    said = line(segmenter(), tmp_path / "a.tif", tmp_path / "out", memory=1e-3)
    pattern = r"a\.tif: prediction needs (\d\.\d) GB, 0\.0 GB are allowed; --max-memory \1"
    enough = float(re.search(pattern, said)[1])
    predict(segmenter(), tmp_path / "a.tif", tmp_path / "out", memory=enough + 0.1)


def test_a_picture_that_would_be_made_in_memory_and_does_not_fit(tmp_path, monkeypatch):
    write_image(Image(noise(1, 1500, 2000)), tmp_path / "a.tif")
    job = Job(Case("a", tmp_path / "a.tif"), {"labels": tmp_path / "out" / "a.png"})
    request = Request(memory=60 * 10**6, base=0)
    with monkeypatch.context() as patch:
        patch.setattr(large, "WHOLE", 30)  # or the image of the test must be very large
        with pytest.raises(InputError) as caught:
            predict_large(segmenter(), job, request)
    assert str(caught.value) == (
        f"{tmp_path / 'a.tif'}: a.png would be made in memory, which takes 0.1 GB; "
        "take --format tif or zarr"
    )
    predict_large(segmenter(), job, request)


@pytest.mark.usefixtures("in_parts")
def test_no_overlay_of_what_is_never_whole(tmp_path, monkeypatch):
    write_image(Image(noise(1, 300, 300)), tmp_path / "a.tif")
    save = ("labels", "overlay")
    predict(segmenter(), tmp_path / "a.tif", tmp_path / "out", save=save)  # alone, it fits
    assert (tmp_path / "out" / "overlay" / "a.png").is_file()
    monkeypatch.setattr(folder, "_ALONE", 10**15)
    said = line(segmenter(), tmp_path / "a.tif", tmp_path / "other", save=save)
    assert said.startswith(
        f"{tmp_path / 'a.tif'}: no overlay is drawn of an image that is predicted in parts; "
        "leave overlay out of --save, or --max-memory "
    )
    job = Job(Case("a", tmp_path / "a.tif"), {"overlay": tmp_path / "a.png"})
    with pytest.raises(InputError, match="no overlay is drawn"):
        predict_large(segmenter(), job, Request())


def test_a_large_image_that_fails_does_not_stop_the_others(tmp_path, in_parts):
    for name in "abcd":
        write_image(Image(noise(1, 150, 141)), tmp_path / "in" / f"{name}.tif")
    with (tmp_path / "in" / "b.tif").open("r+b") as file:
        file.truncate(4000)  # the header is whole, most of the pixels are gone
    write_image(Image(noise(3, 150, 141)), tmp_path / "in" / "c.tif")
    applied = predict(segmenter(), tmp_path / "in", tmp_path / "out", tile=TILE)
    assert [path.name for path, _ in applied.failures] == ["b.tif", "c.tif"]
    assert "3 channels, the model was trained on 1" in applied.failures[1][1]
    assert [path.name for path in applied.written] == ["a.tif", "d.tif"]
    assert [path.name for path in files(tmp_path / "out")] == ["failures.csv", "a.tif", "d.tif"]
    assert not list((tmp_path / "out" / "labels").glob(".*"))
    assert "c.tif" not in in_parts


@pytest.mark.usefixtures("in_parts")
def test_a_format_that_cannot_hold_one_image_is_that_image_s_fault(tmp_path):
    """A volume among pictures, asked for as PNG."""
    for name, depth in (("flat", 1), ("deep", 5)):
        write_image(Image(noise(1, depth, 60, 44)), tmp_path / "in" / f"{name}.nii.gz")
    segment = segmenter(ndim=3, strides=((1, 2, 2),))
    given = (tmp_path / "in", tmp_path / "out")
    applied = predict(segment, *given, form="png")
    assert applied.written == []
    assert [path.name for path, _ in applied.failures] == ["deep.nii.gz", "flat.nii.gz"]
    assert applied.failures[0][1].startswith("deep.png: uint8 pixels of shape (1, 5, 60, 44) do")


@pytest.mark.usefixtures("in_parts")
def test_a_full_disk_stops_everything_and_is_gone_on_with(tmp_path, monkeypatch):
    for name in "ab":
        write_image(Image(noise(1, 310, 150)), tmp_path / "in" / f"{name}.tif")
    segment, calls = counted(segmenter())
    given, options = (tmp_path / "in", tmp_path / "out"), {"tile": TILE, "resume": True}
    with monkeypatch.context() as patch:
        real = large.Created.finish

        def full(self, slab):
            if slab == 3:
                with atomic(self.path):
                    raise OSError(28, "No space left on device")
            real(self, slab)

        patch.setattr(large.Created, "finish", full)
        with pytest.raises(InputError, match=r"labels/a\.tif: the disk is full; free some space"):
            predict(segment, *given, **options)
    assert len(calls) <= 15  # of the second image nothing was begun
    calls.clear()
    predict(segment, *given, **options)
    assert len(calls) == 2 * 3 + 15


# --------------------------------------------------------------------------------------- memory


def test_what_an_image_leaves_behind_does_not_cut_the_next_differently(
    tmp_path, in_parts, monkeypatch
):
    """An engine keeps memory for the next image; it must not count as taken."""
    for name in "abc":
        write_image(Image(noise(1, 1000, 700)), tmp_path / "in" / f"{name}.tif")
    plans, real, resident = [], Segmenter.plan, [0]

    def planned(self, *given, **options):
        plans.append(real(self, *given, **options))
        return plans[-1]

    def grown():
        resident[0] += 10**7
        return resident[0]

    for module in (memory, segmenter_module):
        monkeypatch.setattr(module, "resident_memory", grown)
    monkeypatch.setattr(Segmenter, "plan", planned)
    cases = [Case(name, tmp_path / "in" / f"{name}.tif") for name in "abc"]
    jobs = [Job(case, {"labels": tmp_path / "out" / f"{case.id}.tif"}) for case in cases]
    results = list(folder.predict_jobs(segmenter(), jobs, Request(memory=65 * 10**6, base=10**6)))
    assert [fault for _, fault in results] == [None] * 3
    assert in_parts == ["a.tif", "b.tif", "c.tif"]
    assert len({plan.core for plan in plans}) == 1
    assert all(plan.bytes <= 64 * 10**6 for plan in plans)
    assert len(plans[0].slabs) > 1


WATCHED = """
import re, sys
from unetkit import cli
try:
    cli.main()
finally:
    status = open("/proc/self/status").read()
    print("peak", re.search(r"VmHWM:\\s*(\\d+) kB", status)[1], file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_a_process_stays_within_its_memory(tmp_path):
    """Two large images, one after the other: what the first one leaves counts too."""
    net, card = model(channels=3)
    save(tmp_path / "m.safetensors", net.state_dict(), card)
    chance, names = np.random.default_rng(0), ("a.tif", "b.tif")
    block = chance.integers(0, 255, (3, 1000, 1000), np.uint8)
    for name, side in zip(names, (8000, 3000), strict=True):
        with create_image(
            tmp_path / "in" / name, (3, side, side), "uint8", block=(1000, 1000)
        ) as f:
            for y in range(0, side, 1000):
                for x in range(0, side, 1000):
                    f.write((slice(y, y + 1000), slice(x, x + 1000)), block)
    words = ["predict", tmp_path / "m.safetensors", tmp_path / "in", "-o", tmp_path / "out",
             "--max-memory", "1", "--engine", "torch", "--save", "labels,probability"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *map(str, words)], env=environment(),
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    peak = int(re.search(r"peak (\d+)", done.stderr)[1]) * 1024
    assert peak < 1e9
    assert read_image(tmp_path / "out" / "labels" / "b.tif").data.shape == (1, 3000, 3000)
