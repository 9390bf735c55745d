"""Pictures written by window: read back by other libraries, killed and taken up again."""

from __future__ import annotations

import errno
import itertools
import json
import multiprocessing
import signal
import subprocess
import sys
import tempfile
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
import zarr

from unetkit.errors import InputError
from unetkit.image import (
    Created,
    Georeference,
    Image,
    attach_image,
    create_image,
    list_images,
    open_image,
    read_image,
    staging,
    write_image,
)
from unetkit.image.grid import choose_chunks

MAP = Georeference((0.5, 0.0, 1000.0, 0.0, -0.5, 2000.0), "EPSG:32633")
AFFINE = np.array([[-2.0, 0, 0, 5], [0, 3, 0, -7], [0, 0, 1.5, 9], [0, 0, 0, 1]])


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def grid(shape: tuple[int, ...], block: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    starts = [range(0, n, b) for n, b in zip(shape[1:], block, strict=True)]
    for corner in itertools.product(*starts):
        yield tuple(
            slice(a, min(a + b, n)) for a, b, n in zip(corner, block, shape[1:], strict=True)
        )


def fill(image: Created, data: np.ndarray, slabs: range | None = None) -> None:
    for slab in range(image.slabs) if slabs is None else slabs:
        for window in grid(data.shape, image.state.block):
            if window[0].start == slab * image.state.block[0]:
                image.write(window, data[:, *window])
        image.finish(slab)


def create(path: Path, data: np.ndarray, block: tuple[int, ...], **options: Any) -> None:
    with create_image(path, data.shape, data.dtype, block=block, **options) as image:
        windows = list(grid(data.shape, block))
        np.random.default_rng(1).shuffle(windows)  # in any order
        for window in windows:
            image.write(tuple(window), data[:, *window])


def fail(path: Path, data: np.ndarray, slabs: range, **options: Any) -> frozenset[int]:
    """Write some bands, then fail; give those that were done already."""
    done: frozenset[int] = frozenset()
    with (
        suppress(KeyboardInterrupt),
        create_image(path, data.shape, data.dtype, **options) as image,
    ):
        done = image.done
        fill(image, data, slabs)
        raise KeyboardInterrupt
    return done


def numbers(generator: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if dtype.startswith("f"):
        return generator.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return generator.integers(max(limits.min, -9999), min(limits.max, 60_000), shape, dtype)


# ------------------------------------------------------------------- the same as written at once

SHAPES: dict[str, tuple[tuple[int, ...], str, tuple[int, ...]]] = {
    "labels": ((1, 301, 517), "u1", (96, 128)),
    "larger than a tile": ((1, 1100, 530), "u1", (300, 530)),
    "colours": ((3, 130, 90), "u1", (64, 64)),
    "probabilities": ((4, 130, 90), "f4", (130, 37)),
    "three floats": ((3, 130, 90), "f4", (32, 90)),
    "signed": ((1, 13, 90), "i2", (1, 90)),
    "64 bits": ((1, 70, 90), "i8", (64, 64)),
    "half": ((1, 70, 90), "f2", (64, 64)),
    "volume": ((1, 21, 70, 50), "u2", (8, 64, 50)),
    "volume of probabilities": ((2, 21, 70, 50), "f4", (21, 16, 16)),
    "one pixel": ((1, 1, 1), "u1", (512, 512)),
}
SUFFIXES = (".tif", ".ome.tiff", ".zarr", ".npy", ".nii", ".nii.gz", ".mha", ".png")


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_as_if_written_at_once(
    tmp_path: Path, generator: np.random.Generator, name: str, suffix: str
) -> None:
    shape, dtype, block = SHAPES[name]
    flat = len(shape) == 3
    if suffix.startswith(".nii") and flat and shape[0] > 1:
        pytest.skip("NIfTI has no 2D colour")
    if suffix == ".png" and (not flat or dtype not in ("u1", "u2") or shape[0] not in (1, 3)):
        pytest.skip("no PNG")
    data = numbers(generator, shape, dtype)
    spacing = (2.0, 0.5, 0.25)[4 - len(shape) :]
    name = "Größe µm 😀 " + unicodedata.normalize("NFD", "ö")
    create(tmp_path / f"{name}{suffix}", data, block, spacing=spacing, nodata=3)
    write_image(Image(data, spacing, nodata=3), tmp_path / f"other{suffix}")
    ours, other = read_image(tmp_path / f"{name}{suffix}"), read_image(tmp_path / f"other{suffix}")
    np.testing.assert_array_equal(ours.data, data)
    assert ours.data.dtype == other.data.dtype
    assert ours.spacing == other.spacing
    assert ours.nodata == other.nodata
    assert str(ours.frame) == str(other.frame)
    assert names(tmp_path) == sorted([f"{name}{suffix}", f"other{suffix}"])


@pytest.mark.parametrize("name", SHAPES)
def test_tiff_as_tifffile_sees_it(
    tmp_path: Path, generator: np.random.Generator, name: str
) -> None:
    shape, dtype, block = SHAPES[name]
    data = numbers(generator, shape, dtype)
    spacing = (2.0, 0.5, 0.25)[4 - len(shape) :]
    create(tmp_path / "a.tif", data, block, spacing=spacing)
    write_image(Image(data, spacing), tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as a, tifffile.TiffFile(tmp_path / "b.tif") as b:
        np.testing.assert_array_equal(a.asarray(), b.asarray())
        assert a.series[0].axes == b.series[0].axes
        assert a.series[0].dtype == b.series[0].dtype
        assert a.pages.first.photometric == b.pages.first.photometric
        assert a.pages.first.tags["XResolution"].value == b.pages.first.tags["XResolution"].value
        assert a.pages.first.is_tiled
        assert a.pages.first.compression == 8  # deflate, which all readers know
        assert not a.is_bigtiff


@pytest.mark.parametrize(("channels", "dtype"), [(1, "u1"), (3, "u1"), (5, "f4")])
def test_geotiff_as_gdal_sees_it(
    tmp_path: Path, generator: np.random.Generator, channels: int, dtype: str
) -> None:
    rasterio = pytest.importorskip("rasterio")
    data = numbers(generator, (channels, 300, 200), dtype)
    create(tmp_path / "a.tif", data, (128, 128), frame=MAP, spacing=MAP.spacing, nodata=255)
    write_image(Image(data, MAP.spacing, MAP, nodata=255), tmp_path / "b.tif")
    with rasterio.open(tmp_path / "a.tif") as a, rasterio.open(tmp_path / "b.tif") as b:
        np.testing.assert_array_equal(a.read(), data)
        assert a.crs.to_epsg() == 32633
        assert tuple(a.transform)[:6] == MAP.transform
        assert a.nodatavals == (255.0,) * channels
        assert (a.crs, a.transform, a.nodatavals) == (b.crs, b.transform, b.nodatavals)
        assert a.tags() == b.tags()
        assert a.colorinterp == b.colorinterp
        assert a.interleaving == b.interleaving


def test_what_may_exceed_4_gb_is_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unetkit.image.encoders._CLASSIC_BYTES", 1000)
    data = np.zeros((1, 64, 64), np.uint8)
    create(tmp_path / "a.tif", data, (64, 64))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff
        np.testing.assert_array_equal(file.asarray(), data[0])


def test_zarr_as_zarr_sees_it(tmp_path: Path, generator: np.random.Generator) -> None:
    data = numbers(generator, (2, 1500, 1100), "i2")
    data[:, :512] = -7  # chunks that hold nothing but nodata have no file
    create(tmp_path / "a.zarr", data, (512, 1100), spacing=(3, 2), frame=MAP, nodata=-7)
    write_image(Image(data, (3, 2), MAP, nodata=-7), tmp_path / "b.zarr")
    ours, other = (zarr.open_group(tmp_path / f"{name}.zarr", mode="r") for name in "ab")
    assert ours.attrs["ome"] | {"multiscales": 0} == other.attrs["ome"] | {"multiscales": 0}
    assert ours.attrs["unetkit"] == other.attrs["unetkit"]
    (pyramid,), (expected,) = ours.attrs["ome"]["multiscales"], other.attrs["ome"]["multiscales"]
    assert pyramid | {"name": ""} == expected | {"name": ""}
    assert sorted(ours.array_keys()) == ["0", "1"]
    for level in "01":
        np.testing.assert_array_equal(ours[level][...], other[level][...])
        assert ours[level].metadata.dimension_names == ("c", "y", "x")
        assert ours[level].fill_value == -7
    names = {file.name for file in (tmp_path / "a.zarr" / "0").rglob("*") if file.is_file()}
    assert not any(name.startswith(".") for name in names)
    assert not (tmp_path / "a.zarr/0/c/0/0").exists()
    part = read_image(tmp_path / "a.zarr")
    np.testing.assert_array_equal(part.data, data)
    assert part.nodata == -7


@pytest.mark.parametrize("nodata", [np.nan, np.inf, -np.inf, -1.5])
def test_zarr_keeps_what_was_never_written(tmp_path: Path, nodata: float) -> None:
    with create_image(tmp_path / "a.zarr", (1, 8, 8), "f4", block=(4, 4), nodata=nodata) as image:
        image.write((slice(0, 4), slice(4, 8)), np.ones((1, 4, 4), np.float32))
    expected = np.full((1, 8, 8), nodata, np.float32)
    expected[:, :4, 4:] = 1
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.zarr/0", mode="r")[...], expected)
    np.testing.assert_array_equal(read_image(tmp_path / "a.zarr").data, expected)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
def test_nifti_as_nibabel_and_itk_see_it(
    tmp_path: Path, generator: np.random.Generator, suffix: str, dtype: str
) -> None:
    data = numbers(generator, (1, 21, 30, 40), dtype)
    create(tmp_path / f"a{suffix}", data, (8, 16, 40), frame=AFFINE, spacing=(1.5, 3, 2))
    write_image(Image(data, (1.5, 3, 2), AFFINE), tmp_path / f"b{suffix}")
    ours, other = nibabel.load(tmp_path / f"a{suffix}"), nibabel.load(tmp_path / f"b{suffix}")
    np.testing.assert_array_equal(np.asarray(ours.dataobj), data[0].T)
    assert ours.header.binaryblock == other.header.binaryblock
    itk = pytest.importorskip("SimpleITK")
    np.testing.assert_array_equal(
        itk.GetArrayFromImage(itk.ReadImage(tmp_path / f"a{suffix}")), data[0]
    )


def test_gzip_in_many_blocks(
    tmp_path: Path, generator: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unetkit.image.completion._GZIP_BLOCK", 1000)
    monkeypatch.setattr("unetkit.image.completion._BAND_BYTES", 7000)
    data = numbers(generator, (2, 21, 30, 40), "f4")
    create(tmp_path / "a.nii.gz", data, (8, 16, 40))
    np.testing.assert_array_equal(nibabel.load(tmp_path / "a.nii.gz").get_fdata(), data.T)
    subprocess.run(["gzip", "--test", tmp_path / "a.nii.gz"], check=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii.gz").data, data)


@pytest.mark.parametrize("suffix", [".tif", ".npy", ".nii"])
@pytest.mark.parametrize("name", SHAPES)
def test_in_narrow_bands(
    tmp_path: Path, generator: np.random.Generator, monkeypatch: pytest.MonkeyPatch,
    name: str, suffix: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("unetkit.image.completion._BAND_BYTES", 5000)
    monkeypatch.setattr("unetkit.image.completion._TILE", 48)
    shape, dtype, block = SHAPES[name]
    if suffix == ".nii" and len(shape) == 3 and shape[0] > 1:
        pytest.skip("NIfTI has no 2D colour")
    data = numbers(generator, shape, dtype)
    create(tmp_path / f"a{suffix}", data, block)
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}").data, data)


def test_an_axis_too_long_for_nifti_1(tmp_path: Path) -> None:
    data = np.arange(40_000, dtype=np.int32).reshape(1, 1, 40_000)
    create(tmp_path / "a.nii", data, (1, 4000))
    assert isinstance(nibabel.load(tmp_path / "a.nii"), nibabel.Nifti2Image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii").data, data)
    write_image(Image(data), tmp_path / "b.nii")
    np.testing.assert_array_equal(read_image(tmp_path / "b.nii").data, data)


def test_truth_becomes_numbers(tmp_path: Path) -> None:
    mask = np.eye(20, dtype=bool)[None]
    with create_image(tmp_path / "a.tif", mask.shape, bool, block=(20, 20)) as image:
        image.write((slice(0, 20), slice(0, 20)), mask)
    back = tifffile.imread(tmp_path / "a.tif")
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, mask[0])


def test_unions_of_blocks(tmp_path: Path, generator: np.random.Generator) -> None:
    data = numbers(generator, (1, 100, 100), "u1")
    with create_image(tmp_path / "a.npy", data.shape, "u1", block=(32, 32)) as image:
        for y in (slice(0, 64), slice(64, 100)):
            for x in (slice(0, 32), slice(32, 100)):
                image.write((y, x), data[:, y, x])
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), data)


@pytest.mark.parametrize(
    ("size", "block", "chunk"),
    [
        (30_000, 1920, 480), (30_000, 512, 512), (30_000, 1024, 512), (100, 3, 3), (997, 997, 512),
        (5, 5, 5), (30_000, 1021, 1021), (30_000, 2 * 1021, 1021), (30_000, 1858, 929),
    ],
)  # fmt: skip
def test_chunks_divide_the_block(size: int, block: int, chunk: int) -> None:
    assert choose_chunks((40, size), (40, block)) == (40, chunk)
    assert choose_chunks((64, 1000, 1000), (64, 256, 96)) == (32, 128, 96)


# ---------------------------------------------------------------------------- taken up again


def test_taken_up_after_an_exception(tmp_path: Path, generator: np.random.Generator) -> None:
    path, data = tmp_path / "a.tif", numbers(generator, (2, 100, 60), "f4")
    options: dict[str, Any] = {"block": (32, 32), "key": "one"}
    assert fail(path, data, range(2), **options) == set()
    assert names(tmp_path) == [".a.tif.partial"]
    assert attach_image(path).done == {0, 1}
    with (
        pytest.raises(InputError, match=r"a\.tif: only 3 of 4 bands are finished; run again with"),
        create_image(path, data.shape, "f4", **options) as image,
    ):
        fill(image, data, range(2, 3))
    with create_image(path, data.shape, "f4", **options) as image:
        assert image.done == {0, 1, 2}
        fill(image, data, range(3, 4))
    np.testing.assert_array_equal(read_image(path).data, data)
    assert names(tmp_path) == ["a.tif"]


@pytest.mark.parametrize("change", ["key", "shape", "dtype", "block", "nodata"])
def test_anything_else_begins_anew(tmp_path: Path, change: str) -> None:
    path, data = tmp_path / "a.tif", np.ones((1, 100, 60), np.uint8)
    options: dict[str, Any] = {"block": (32, 32), "nodata": None, "key": "one"}
    assert fail(path, data, range(1), **options) == set()
    assert fail(path, data, range(0), **options) == {0}
    if change == "shape":
        data = data[:, :, 1:]
    elif change == "dtype":
        data = data.astype("u2")
    else:
        options[change] = {"key": "two", "block": (32, 64), "nodata": 9}[change]
    with create_image(path, data.shape, data.dtype, **options) as image:
        assert not image.done
        for slab in range(image.slabs):
            image.finish(slab)
    assert (read_image(path).data == (9 if change == "nodata" else 0)).all()


def test_another_version_begins_anew(tmp_path: Path) -> None:
    path, data = tmp_path / "a.tif", np.ones((1, 8, 8), np.uint8)
    fail(path, data, range(1), block=(8, 8), key="k")
    state = tmp_path / ".a.tif.partial" / "state.json"
    state.write_text(state.read_text().replace('"version": 1', '"version": 0'))
    with pytest.raises(InputError, match=r"a\.tif: nothing is being written there; let the proce"):
        attach_image(path)
    assert fail(path, data, range(0), block=(8, 8), key="k") == set()


def _kept(path: Path, size: int = 8) -> Any:
    return create_image(path, (1, size, size), "u1", block=(8, 8), key="k")


PROGRAM = """
import os, signal, sys
import numpy as np
from unetkit.image import create_image
path, moment = sys.argv[1:]
data = np.random.default_rng(5).integers(0, 99, (1, 200, 100)).astype("u2")
if moment == "completion":
    import unetkit.image.completion as completion, unetkit.image.zarrs as zarrs
    original = completion._bands, zarrs._thin_out
    def killed(*arguments, **options):
        for band in original[0](*arguments, **options):
            yield band
            os.kill(os.getpid(), signal.SIGKILL)
    completion._bands = killed
    def killed_too(source, target):
        original[1](source, target)
        os.kill(os.getpid(), signal.SIGKILL)
    zarrs._thin_out = killed_too
    zarrs._LARGEST_LEVEL = completion._TILE = 64
    completion._BAND_BYTES = 1
with create_image(path, data.shape, "u2", block=(64, 100), key="k") as image:
    for slab in range(image.slabs):
        band = slice(64 * slab, min(64 * slab + 64, 200))
        image.write((band, slice(0, 100)), data[:, band])
        if moment == "writing" and slab == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        image.finish(slab)
"""


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
@pytest.mark.parametrize("moment", ["writing", "completion"])
def test_taken_up_after_a_kill(tmp_path: Path, suffix: str, moment: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(Image(np.full((1, 9, 9), 7, np.uint8)), path)  # an older one
    answer = subprocess.run([sys.executable, "-c", PROGRAM, path, moment], check=False)
    assert answer.returncode == -signal.SIGKILL
    assert (read_image(path).data == 7).all()  # is there until the new one is whole
    staging = tmp_path / f".a{suffix}.partial"
    chunks = sorted(file for file in (staging / "pixels/0/c/0/2").rglob("*") if file.is_file())
    assert chunks
    if moment == "writing":
        for chunk in chunks:  # half written, as some network disks leave them
            chunk.write_bytes(chunk.read_bytes()[:40])
    data = np.random.default_rng(5).integers(0, 99, (1, 200, 100)).astype("u2")
    with create_image(path, data.shape, "u2", block=(64, 100), key="k") as image:
        assert image.done == ({0, 1} if moment == "writing" else {0, 1, 2, 3})
        for slab in set(range(image.slabs)) - image.done:
            fill(image, data, range(slab, slab + 1))
    np.testing.assert_array_equal(read_image(path).data, data)
    assert names(tmp_path) == [path.name]


def test_half_a_chunk_is_no_pixels(tmp_path: Path, generator: np.random.Generator) -> None:
    data = numbers(generator, (1, 64, 64), "u2")
    for size in (0, 10, 4000, -1):
        creation = create_image(tmp_path / "a.tif", data.shape, "u2", block=(64, 64))
        image = creation.__enter__()
        fill(image, data)
        (chunk,) = (image.folder / "pixels/0/c/0/0").iterdir()
        chunk.write_bytes(chunk.read_bytes()[:size])
        with pytest.raises(InputError, match=r"a\.tif: cannot be read as staging .*; it is damag"):
            creation.__exit__(None, None, None)
        assert not names(tmp_path)


# ---------------------------------------------------------------------------- several processes


def _work(path: Path, data: np.ndarray, slabs: list[int]) -> None:
    image = attach_image(path, "k")
    for slab in slabs:
        fill(image, data, range(slab, slab + 1))


def test_two_processes_write_alternate_bands(
    tmp_path: Path, generator: np.random.Generator
) -> None:
    data = numbers(generator, (2, 330, 90), "f4")
    create(tmp_path / "alone.npy", data, (32, 32))
    context = multiprocessing.get_context("fork")
    with create_image(tmp_path / "a.npy", data.shape, "f4", block=(32, 32), key="k") as image:
        workers = [
            context.Process(target=_work, args=(image.path, data, [*range(first, 11, 2)]))
            for first in (0, 1)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert image.done == set(range(11))
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "alone.npy").read_bytes()


def test_threads_write_at_once(tmp_path: Path, generator: np.random.Generator) -> None:
    data = numbers(generator, (1, 256, 256), "i2")
    with create_image(tmp_path / "a.zarr", data.shape, "i2", block=(16, 16)) as image:
        windows = list(grid(data.shape, (16, 16)))
        threads = [
            threading.Thread(
                target=lambda part: [image.write(w, data[:, *w]) for w in part],
                args=(windows[first::4],),
            )
            for first in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    np.testing.assert_array_equal(read_image(tmp_path / "a.zarr").data, data)


def test_only_one_creates(tmp_path: Path) -> None:
    program = """
import sys
from unetkit.image import create_image
with create_image(sys.argv[1], (1, 8, 8), "u1", block=(8, 8), key="k") as image:
    print(flush=True)
    sys.stdin.read()
"""
    path = tmp_path / "a.tif"
    other = subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    other.stdout.readline()
    message = r"a\.tif: is being written by another process; wait for it"
    with pytest.raises(InputError, match=message), _kept(path):
        pass
    assert (tmp_path / ".a.tif.partial").is_dir()  # is the other's
    other.kill()
    other.communicate()
    with _kept(path) as image:  # the dead one's lock is free
        with pytest.raises(InputError, match=message), _kept(path):
            pass
        image.finish(0)
    assert names(tmp_path) == ["a.tif"]


def test_attaching(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for key in (None, "k"):
        with pytest.raises(InputError, match=r"a\.tif: nothing is being written there; let the p"):
            attach_image(path, key)
    with _kept(path) as image:
        assert attach_image(path) == attach_image(str(path), "k") == image
        with pytest.raises(InputError, match=r"a\.tif: is made with other settings; let the proc"):
            attach_image(path, "other")
        attach_image(path).finish(0)


# ------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize("suffix", [".tif", ".zarr", ".npy"])
def test_failure_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    data = np.ones((1, 8, 8), np.uint8)
    fail(path, data, range(1), block=(8, 8))
    assert not names(tmp_path)
    write_image(Image(np.ones((1, 5, 5), np.uint8)), path)
    fail(path, data, range(1), block=(8, 8))
    assert names(tmp_path) == [path.name]
    assert read_image(path).data.shape == (1, 5, 5)


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    message = r"a\.tif: the disk is full; free some space and run again"
    ones = np.ones((1, 8, 8), np.uint8)
    places: tuple[Any, ...] = (
        (Path, "write_bytes"), (staging, "_flush_system"), (tifffile, "imwrite")
    )  # fmt: skip
    for owner, name in places:
        with (  # noqa: PT012
            pytest.raises(InputError, match=message),
            monkeypatch.context() as patch,
            _kept(tmp_path / "a.tif") as image,
        ):
            patch.setattr(owner, name, full)
            fill(image, ones)
    with _kept(tmp_path / "a.tif") as image:  # and run again
        assert image.done == {0}
    assert (read_image(tmp_path / "a.tif").data == 1).all()


def test_where_nothing_may_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a file stands where a folder is needed; choose another"):
        create(tmp_path / "file" / "a.tif", np.ones((1, 8, 8), np.uint8), (8, 8))
    (tmp_path / "b.tif").mkdir()
    with pytest.raises(InputError, match=r"b\.tif: a folder stands there; choose another name"):
        create(tmp_path / "b.tif", np.ones((1, 8, 8), np.uint8), (8, 8))
    for name in ("c.zarr", "d.zarr"):
        (tmp_path / name).mkdir() if name == "c.zarr" else (tmp_path / name).touch()
        with pytest.raises(InputError, match=r"zarr: something that is no Zarr folder stands ther"):
            create(tmp_path / name, np.ones((1, 8, 8), np.uint8), (8, 8))
    assert names(tmp_path) == ["b.tif", "c.zarr", "d.zarr", "file"]


def test_permissions() -> None:
    program = """
import os, sys
from unetkit.errors import InputError
from unetkit.image import create_image
import filelock, imagecodecs
if os.getuid() == 0:  # whom nothing is forbidden
    os.seteuid(65534)
try:
    with create_image(sys.argv[1], (1, 8, 8), "u1", block=(8, 8)):
        pass
except InputError as error:
    print(error)
"""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "closed").mkdir(mode=0o700)
        (Path(folder) / "open").mkdir(mode=0o555)
        for name in ("closed", "open"):
            answer = subprocess.run(
                [sys.executable, "-c", program, Path(folder) / name / "a.tif"],
                capture_output=True, check=True, text=True,
            )  # fmt: skip
            assert answer.stdout.endswith("a.tif: may not be written; choose another folder\n")


REFUSED: dict[str, tuple[str, tuple[int, ...], str, str]] = {
    "no numbers": ("a.tif", (1, 8, 8), "c8", "complex64 pixels cannot be written"),
    "no pixels": ("a.tif", (1, 0, 8), "u1", r"pixels of shape \(1, 0, 8\) cannot be written"),
    "no depth": ("a.tif", (8, 8), "u1", r"pixels of shape \(8, 8\) cannot be written"),
    "unknown": ("a.xyz", (1, 8, 8), "u1", r"\.xyz is no known image format; known are"),
    "lossy": ("a.jpg", (1, 8, 8), "u1", r"\.jpg is not written, because .*; choose \.png, \.tif"),
    "two files": ("a.mhd", (1, 8, 8), "u1", r"\.mhd is not written, because .*; choose \.png"),
    "colour": ("a.nii", (3, 8, 8), "u1", r"NIfTI does not hold 2D colour; choose \.tif or \.zarr"),
    "float": ("a.png", (1, 8, 8), "f4", r"float32 pixels of .* do not fit into a PNG; choose \.t"),
    "deep": ("a.png", (1, 8, 8, 8), "u1", r"do not fit into a PNG; choose \.tif"),
    "large": (
        "a.png",
        (1, 40_000, 40_000),
        "u1",
        r"1\.5 GiB .* too many for \.png, .*; choose \.t",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_any_work(tmp_path: Path, name: str) -> None:
    file, shape, dtype, message = REFUSED[name]
    with (
        pytest.raises(InputError, match=message),
        create_image(tmp_path / file, shape, dtype, block=shape[1:]),
    ):
        raise AssertionError
    assert not names(tmp_path)


def test_itk_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with (
        pytest.raises(InputError, match=r"needs SimpleITK; pip install 'unetkit\[medical\]'"),
        create_image(tmp_path / "a.mha", (1, 8, 8), "u1", block=(8, 8)),
    ):
        raise AssertionError


@pytest.mark.parametrize("dtype", ["i8", "u8"])
def test_numbers_beyond_32_bits(tmp_path: Path, dtype: str) -> None:
    data = np.array([[[0, 2**40]]], dtype)
    with pytest.raises(InputError, match=r"numbers beyond 32 bits do not fit; choose \.npy"):
        create(tmp_path / "a.tif", data, (1, 2))
    assert not names(tmp_path)
    create(tmp_path / "a.npy", data, (1, 2))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), data)


def test_what_makes_no_sense_is_the_callers_fault(tmp_path: Path) -> None:
    with _kept(tmp_path / "a.tif", 20) as image:
        for window, size in (
            ((slice(0, 7), slice(0, 8)), (7, 8)),
            ((slice(4, 8), slice(0, 8)), (4, 8)),
            ((slice(16, 24), slice(0, 8)), (8, 8)),
            ((slice(8, 8), slice(0, 8)), (0, 8)),
        ):
            with pytest.raises(ValueError, match=r"does not lie on the grid of \(8, 8\)"):
                image.write(window, np.zeros((1, *size), np.uint8))
        with pytest.raises(ValueError, match="do not fit the window"):
            image.write((slice(0, 8), slice(0, 8)), np.zeros((2, 8, 8), np.uint8))
        with pytest.raises(TypeError, match="same_kind"):
            image.write((slice(0, 8), slice(0, 8)), np.zeros((1, 8, 8), np.float32))
        for slab in (-1, 3):
            with pytest.raises(ValueError, match="there are 3 bands, so none is number"):
                image.finish(slab)
        for slab in range(3):
            image.finish(slab)
    with (
        pytest.raises(ValueError, match="does not fit pixels of shape"),
        create_image(tmp_path / "b.tif", (1, 8, 8), "u1", block=(8,)),
    ):
        pass


def test_names_as_long_as_they_may_be(tmp_path: Path) -> None:
    data = np.ones((1, 8, 8), np.uint8)
    for name in ("a" * 209 + ".npy", "ö" * 100 + ".zarr", "a" * 245 + ".tif"):
        create(tmp_path / name, data, (8, 8))
        np.testing.assert_array_equal(read_image(tmp_path / name).data, data)
    assert len(names(tmp_path)) == 3


def test_a_staging_is_no_picture(tmp_path: Path) -> None:
    with _kept(tmp_path / "a.zarr") as image:
        image.finish(0)
        with pytest.raises(InputError, match="no images found"):
            list_images(tmp_path)
        assert json.loads((image.folder / "state.json").read_text())["key"] == "k"


# --------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_memory_is_bounded(tmp_path: Path, suffix: str) -> None:
    program = """
import sys
import numpy as np
from unetkit.image import create_image
import imagecodecs, tifffile, zarr, filelock, nibabel
from unetkit.image import zarrs, completion

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

part = np.arange(1024, dtype="u2")[None, :, None] + np.arange(512, dtype="u2")
before = peak()
with create_image(sys.argv[1], (1, 9216, 9216), "u2", block=(1024, 512)) as image:
    for y in range(0, 9216, 1024):
        for x in range(0, 9216, 512):
            image.write((slice(y, y + 1024), slice(x, x + 512)), part)
print(peak() - before)
"""
    path = tmp_path / f"a{suffix}"
    answer = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, check=True, text=True
    )
    assert int(answer.stdout) < 120_000  # KiB; the picture has 165,888
    with open_image(path) as opened:
        part = opened.read((slice(9000, 9216), slice(9000, 9216)))
    expected = np.arange(9000, 9216)[:, None] % 1024 + np.arange(9000, 9216) % 512
    np.testing.assert_array_equal(part[0], expected)
