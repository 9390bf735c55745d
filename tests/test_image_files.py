"""Files that are none, names of every kind, folders that are pictures, and what is written."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from unetkit.errors import InputError
from unetkit.image import (
    Georeference,
    Image,
    is_image,
    list_images,
    open_image,
    read_image,
    read_labels,
    read_shape,
    stem,
    write_image,
)
from unetkit.image.names import SUFFIXES, suffix_of

READERS: list[Callable[[Path], object]] = [read_image, read_labels, read_shape]


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


# -------------------------------------------------------------------------- what is not a file


@pytest.mark.parametrize("suffix", [".png", ".tif", ".nii.gz", ".npz", ".dcm", ".nrrd", ".jp2"])
def test_what_would_block_or_loop(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"pipe{suffix}")
    listening = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(tmp_path)  # the name of a socket may be 100 letters long
    try:
        listening.bind(f"socket{suffix}")
    finally:
        os.chdir(here)
    (tmp_path / f"device{suffix}").symlink_to("/dev/zero")
    (tmp_path / f"loop{suffix}").symlink_to(tmp_path / f"loop{suffix}")
    (tmp_path / f"dangling{suffix}").symlink_to(tmp_path / "nothing")
    (tmp_path / f"folder{suffix}").mkdir()
    for name, message in {
        "pipe": "is a pipe or a device, not a file; copy it",
        "socket": "is a pipe or a device, not a file; copy it",
        "device": "is a pipe or a device, not a file; copy it",
        "loop": "cannot be read",
        "dangling": "no such file; check the path",
        "folder": "a file is needed, this is a folder",
    }.items():
        for read in READERS:
            with pytest.raises(InputError, match=message) as caught:
                read(tmp_path / f"{name}{suffix}")
            assert name in str(caught.value)
    listening.close()
    with pytest.raises(InputError, match="no images found"):
        list_images(tmp_path)


def test_no_permission() -> None:
    pixels = np.arange(600, dtype=np.uint8).reshape(20, 30)
    program = """
import os, sys
from pathlib import Path
from unetkit.errors import InputError
from unetkit.image import read_image, list_images
paths = list_images(sys.argv[1])
for path in paths:
    read_image(path)  # whatever is imported, is imported now
    path.chmod(0)
if os.getuid() == 0:  # whom nothing is forbidden
    os.seteuid(65534)
for path in paths:
    try:
        read_image(path)
    except InputError as error:
        print(error)
"""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for name in ("a.png", "a.tif", "a.npy", "a.nii.gz"):
            write_image(Image(pixels[None]), Path(folder) / name)
        for name in ("a.jpg", "a.ppm", "a.gif"):
            Pillow.fromarray(pixels).save(Path(folder) / name)
        answer = subprocess.run(
            [sys.executable, "-c", program, folder], capture_output=True, text=True, check=True
        )
    lines = answer.stdout.splitlines()
    assert len(lines) == 7
    assert all(line.endswith("may not be read; change its permissions") for line in lines)


def test_names_of_every_kind(tmp_path: Path) -> None:
    pixels = np.arange(600, dtype=np.uint8).reshape(20, 30)
    names = [
        "Größe µm 😀.png",
        unicodedata.normalize("NFD", "Größe.tif"),
        " space .npy",
        "new\nline.png",
        "-dash.png",
        "a" * 251 + ".png",
        os.fsdecode(b"latin-\xe9\xff.png"),
        os.fsdecode(b"latin-\xe9\xff.tif"),
        os.fsdecode(b"latin-\xe9\xff.nii.gz"),
        os.fsdecode(b"latin-\xe9\xff.npy"),
        "UPPER.PNG",
        "UPPER.NII.GZ",
        "%s{0}.png",
    ]
    for name in names:
        path = tmp_path / name
        lower = name.lower()
        if lower.endswith(".png"):
            path.write_bytes(imagecodecs.png_encode(pixels))
        elif lower.endswith(".tif"):
            with path.open("wb") as file:
                tifffile.imwrite(file, pixels)
        elif lower.endswith(".npy"):
            with path.open("wb") as file:
                np.save(file, pixels)
        else:
            volume = nibabel.Nifti1Image(pixels.T, np.eye(4))
            path.write_bytes(gzip.compress(volume.to_bytes()))
        np.testing.assert_array_equal(read_image(path).data[0], pixels)
        path.write_bytes(path.read_bytes()[:20])
        for read in READERS:
            with pytest.raises(InputError) as caught:
                read(path)
            assert "\n" not in str(caught.value)
    assert len(list_images(tmp_path)) == len(names)
    with pytest.raises(InputError, match="cannot be read"):
        read_image(tmp_path / "zero\0byte.png")


# ----------------------------------------------------------------------------------------- names


def test_every_suffix_has_a_reader(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        path = tmp_path / f"case.7{suffix.upper()}"
        assert is_image(path)
        assert stem(path) == "case.7"
        assert suffix_of(path) == suffix
        with pytest.raises(InputError, match=r"no such file|no such folder"):
            read_image(path)
        if not suffix.endswith("zarr"):
            path.write_bytes(b"this is none of them" * 20)
            with pytest.raises(InputError) as caught:
                read_image(path)
            assert str(path) in str(caught.value)


def dicom_file(path: Path, series: bytes, explicit: bool = True) -> None:
    length = len(series)
    header = b"UI" + length.to_bytes(2, "little") if explicit else length.to_bytes(4, "little")
    path.write_bytes(bytes(128) + b"DICM" + bytes(40) + b"\x20\0\x0e\0" + header + series)


@pytest.mark.parametrize("explicit", [False, True])
def test_folders_that_are_pictures(tmp_path: Path, explicit: bool) -> None:
    series, photos = tmp_path / "scan.2024.1", tmp_path / "x-rays"
    series.mkdir(), photos.mkdir()
    for number in range(3):
        dicom_file(series / f"IM{number}", b"1.2.840.1", explicit)
        dicom_file(photos / f"{number}.dcm", b"1.2.840.%d" % number, explicit)
    (series / ".DS_Store").write_bytes(b"x")
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "b.ome.zarr").mkdir()
    (tmp_path / "c.zarr").write_bytes(b"x")  # listed, so that somebody hears of it
    (tmp_path / "empty").mkdir()
    assert is_image(series)
    assert stem(series) == "scan.2024.1"
    assert list_images(series) == [series]
    assert stem(tmp_path / "b.ome.zarr") == "b"
    assert not is_image(tmp_path / "empty")
    assert not is_image(tmp_path / "notes.txt")
    # X-rays of many patients in one folder are pictures of their own.
    assert list_images(photos) == [photos / f"{number}.dcm" for number in range(3)]
    assert [path.name for path in list_images(tmp_path)] == [
        "a.zarr", "b.ome.zarr", "c.zarr", "scan.2024.1", "x-rays",
    ]  # fmt: skip
    assert list_images(tmp_path / "a.zarr") == [tmp_path / "a.zarr"]
    with pytest.raises(InputError, match="a folder is needed, this is a file; unpack"):
        read_image(tmp_path / "c.zarr")


@pytest.mark.parametrize(
    ("start", "name", "right"),
    [
        (b"NRRD0004\n", "a.mha", "a.nrrd"),
        (bytes(128) + b"DICM", "a.png", "a.dcm"),
        (b"\0\0\0\x0cjP  \r\n", "a.tif", "a.jp2"),
        (b"\x89PNG\r\n", "a.dcm", "a.png"),
        (b"\x1f\x8b\x08", "a.nii", "a.nii.gz"),
        (b"MM\0+", "a.png", "a.tif"),
    ],
)
def test_wrong_suffix_of_the_other_formats(
    tmp_path: Path, start: bytes, name: str, right: str
) -> None:
    (tmp_path / name).write_bytes(start + bytes(400))
    with pytest.raises(InputError, match=f"under the suffix .*rename it to {right}"):
        read_image(tmp_path / name)


# --------------------------------------------------------------------------------------- labels


def test_colours_as_numbers(tmp_path: Path, generator: np.random.Generator) -> None:
    colour = generator.integers(0, 256, (20, 30, 3), np.uint8)
    grey = np.repeat(colour[..., :1], 3, -1)
    expected = {"colour": colour, "grey": grey}
    for name, pixels in expected.items():
        wide = pixels.astype(np.uint32)
        packed = 65536 * wide[..., 0] + 256 * wide[..., 1] + wide[..., 2]
        opaque = np.concatenate([pixels, np.full((20, 30, 1), 255, np.uint8)], -1)
        Pillow.fromarray(pixels).save(tmp_path / f"{name}.png")
        Pillow.fromarray(opaque).save(tmp_path / f"{name}-alpha.png")
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels, photometric="rgb")
        for suffix in (".png", "-alpha.png", ".tif"):
            labels = read_labels(tmp_path / f"{name}{suffix}", colours=True)
            np.testing.assert_array_equal(labels, packed)
            assert labels.dtype == np.uint32
    np.testing.assert_array_equal(read_labels(tmp_path / "grey.png"), grey[..., 0])
    # What has not three 8-bit channels is read as ever.
    Pillow.fromarray(colour[..., 0]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png", colours=True), colour[..., 0])
    indices = Pillow.fromarray(colour[..., 0] % 3, "P")
    indices.putpalette([10, 20, 30, 200, 100, 0, 7, 8, 9])
    indices.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "p.png", colours=True), colour[..., 0] % 3)
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(colour.astype(np.uint16) * 200))
    with pytest.raises(InputError, match="colours"):
        read_labels(tmp_path / "deep.png", colours=True)


def test_nan_among_whole_numbers_does_not_count(tmp_path: Path) -> None:
    for dtype in (np.float16, np.float32, np.float64):
        np.save(tmp_path / "a.npy", np.array([[0, 3, np.nan], [255, np.nan, 7]], dtype))
        labels = read_labels(tmp_path / "a.npy")
        assert labels.tolist() == [[0, 3, -1], [255, -1, 7]]
        assert labels.dtype == np.int32
    for rest in (0.5, np.inf, 1e20):
        np.save(tmp_path / "a.npy", np.array([[np.nan, rest]]))
        with pytest.raises(InputError, match="the mask holds fractions"):
            read_labels(tmp_path / "a.npy")


# --------------------------------------------------------------------------------------- writing


def imagej(path: Path) -> tuple[np.ndarray, str]:
    """Read a TIFF as ImageJ's own opener would: pages, and the resolution tags."""
    with tifffile.TiffFile(path, is_ome=False, is_shaped=False) as file:
        page = file.pages[0]
        x, y = (page.tags[name].value for name in ("XResolution", "YResolution"))
        unit = {2: 25_400.0, 3: 10_000.0}[page.tags["ResolutionUnit"].value]
        return np.stack([one.asarray() for one in file.pages]), (
            f"{unit * y[1] / y[0]:.4f} {unit * x[1] / x[0]:.4f}"
        )


@pytest.mark.parametrize(
    "shape", [(1, 30, 40), (3, 30, 40), (2, 30, 40), (1, 5, 30, 40), (3, 5, 30, 40)]
)
def test_ome_tiff_says_what_is_what(
    tmp_path: Path, generator: np.random.Generator, shape: tuple[int, ...]
) -> None:
    data = generator.integers(0, 65536, shape, np.uint16)
    spacing = (2.0, 0.5, 0.25)[4 - len(shape) :]
    write_image(Image(data, spacing), tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        metadata = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        axes, stored = file.series[0].axes, file.asarray()
    for axis, size in zip("ZYX"[3 - len(spacing) :], spacing, strict=True):
        assert metadata[f"PhysicalSize{axis}"] == size
        assert metadata[f"PhysicalSize{axis}Unit"] == "µm"
    expected = np.moveaxis(data, 0, -1) if axes.endswith("S") else data.squeeze()
    np.testing.assert_array_equal(stored, expected)
    pages, resolution = imagej(tmp_path / "a.tif")
    assert resolution == "0.5000 0.2500"
    np.testing.assert_array_equal(pages.reshape(expected.shape), expected)


def test_unknown_spacing_is_not_claimed(tmp_path: Path) -> None:
    write_image(Image(np.zeros((1, 30, 40), np.uint8)), tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert "PhysicalSize" not in file.ome_metadata


def test_nodata_is_kept_by_tiff(tmp_path: Path) -> None:
    image = Image(np.zeros((1, 30, 40), np.float32), (0.5, 0.5), nodata=-9999.0)
    write_image(image, tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif").nodata == -9999.0
    assert read_image(tmp_path / "a.tif").spacing == (0.5, 0.5)


def test_the_place_of_a_map_is_no_affine(tmp_path: Path) -> None:
    frame = Georeference((30.0, 0, 5, 0, -30.0, 6), "EPSG:4326")
    write_image(Image(np.zeros((1, 5, 6), np.uint8), (30.0, 30.0), frame), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(
        nibabel.load(tmp_path / "a.nii.gz").affine, np.diag([30.0, 30.0, 1.0, 1.0])
    )


def test_nothing_is_not_written(tmp_path: Path) -> None:
    for name in ("a.png", "a.tif", "a.nii.gz", "a.npy"):
        with pytest.raises(InputError, match="there are no pixels to write"):
            write_image(Image(np.zeros((1, 0, 5), np.uint8)), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".zarr", ".ome.zarr", ".nrrd", ".mha"])
@pytest.mark.parametrize("shape", [(1, 30, 40), (1, 5, 30, 40)])
def test_other_formats_round_trip(
    tmp_path: Path, generator: np.random.Generator, suffix: str, shape: tuple[int, ...]
) -> None:
    if suffix in (".nrrd", ".mha"):
        pytest.importorskip("SimpleITK")
    data = generator.integers(0, 9999, shape, np.uint16)
    spacing = (2.0, 0.5, 0.25)[4 - len(shape) :]
    write_image(Image(data, spacing), tmp_path / f"a{suffix}")
    back = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(back.data, data)
    np.testing.assert_allclose(back.spacing, spacing)
    with open_image(tmp_path / f"a{suffix}") as opened:
        window = tuple(slice(1, size - 1) for size in shape[1:])
        np.testing.assert_array_equal(opened.read(window), data[:, *window])
    assert list_images(tmp_path) == [tmp_path / f"a{suffix}"]


# ---------------------------------------------------------------------------------------- limits


def test_more_than_the_machine_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 300, 400), np.uint8)
    for suffix in (".png", ".tif", ".nii", ".nii.gz", ".npy"):
        write_image(Image(noise), tmp_path / f"a{suffix}")
    np.savez_compressed(tmp_path / "a.npz", noise)
    monkeypatch.setattr("unetkit.image.limits._HARMLESS_BYTES", 1000)
    for path in list_images(tmp_path):
        assert read_image(path).data.shape == noise.shape
    monkeypatch.setattr("unetkit.image.limits.memory", lambda: 100_000)
    for path in list_images(tmp_path):
        with pytest.raises(InputError, match=r"more than this machine's memory; if the picture is"):
            read_image(path)
    for suffix in (".tif", ".nii", ".nii.gz", ".npy"):  # a part does fit
        with open_image(tmp_path / f"a{suffix}") as opened:
            part = opened.read((slice(5, 9), slice(7, 300)))
            np.testing.assert_array_equal(part, noise[:, 5:9, 7:300])


def test_many_pixels_may_not_swell_as_few_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = np.zeros((1, 3000, 3000), np.uint8)
    for suffix in (".png", ".tif", ".nii.gz"):
        write_image(Image(nothing), tmp_path / f"a{suffix}")
    monkeypatch.setattr("unetkit.image.limits._HARMLESS_BYTES", 2**20)
    for path in list_images(tmp_path):  # an empty mask of moderate size is no bomb
        assert path.stat().st_size < nothing.size / 200
        assert not read_image(path).data.any()
    monkeypatch.setattr("unetkit.image.limits._LARGE_BYTES", 2**22)
    for path in list_images(tmp_path):
        with pytest.raises(InputError, match=r"promises .* GiB of pixels in a file of"):
            read_image(path)
    for suffix in (".tif", ".nii.gz"):
        with open_image(tmp_path / f"a{suffix}") as opened:
            assert not opened.read((slice(2000, 2100), slice(7, 300))).any()
