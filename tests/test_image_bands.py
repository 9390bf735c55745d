"""Reading larger files than memory: bands of full width, and what they cost."""

from __future__ import annotations

import gzip
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image as Pillow

import windows
from unetkit.errors import InputError
from unetkit.image import Image, create_image, open_image, write_image

READ = """
import sys
from unetkit.image import open_image
import imagecodecs, tifffile, zarr, nibabel.nifti1, nibabel.nifti2

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

path, thick = sys.argv[1], int(sys.argv[2])
total = 0
with open_image(path) as opened:  # what the first pixel needs is no pixels
    opened.read(tuple(slice(0, 1) for _ in opened.shape[1:]))
before = peak()
with open_image(path) as opened:
    for start in range(0, opened.shape[1], thick):
        first = slice(start, min(start + thick, opened.shape[1]))
        band = opened.read((first, *(slice(0, size) for size in opened.shape[2:])))
        size, total = max(band.nbytes, size if start else 0), total + int(band[..., ::97].sum())
        del band
print(total, size // 1024, peak() - before)
"""


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@cache
def picture(size: int) -> np.ndarray:
    grid = np.arange(size)
    return ((grid[:, None, None] // 7 + grid[:, None] // 5) % 251 + np.arange(3)).astype(np.uint8)


def volume(size: int) -> np.ndarray:
    z, y, x = np.ogrid[:size, :size, :size]
    return (z * 3 + y // 4 + x // 9).astype(np.uint16)


FLAT: dict[str, dict[str, Any]] = {
    "tiles": {"tile": (256, 256), "compression": "zlib"},
    "deflate strips": {"rowsperstrip": 16, "compression": "zlib"},
    "LZW strips": {"rowsperstrip": 16, "compression": "lzw"},
    "as it is": {},
    "tiles as they are": {"tile": (256, 256)},
}


@pytest.mark.parametrize("name", FLAT)
def test_bands_of_a_tiff(tmp_path: Path, name: str) -> None:
    data = picture(7000)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb", maxworkers=1, **FLAT[name])
    _bands_take_little(tmp_path / "a.tif", 256, np.moveaxis(data, -1, 0))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".tif", ".zarr", ".npy"])
def test_bands_of_a_volume(tmp_path: Path, suffix: str) -> None:
    data = volume(480)
    path = tmp_path / f"a{suffix}"
    if suffix.endswith(".gz"):
        write_image(Image(data[None]), tmp_path / "a.nii")
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write((tmp_path / "a.nii").read_bytes())
    elif suffix == ".zarr":
        array = zarr.create_array(path, shape=data.shape, chunks=(32, 96, 96), dtype="u2")
        array[...] = data
    elif suffix == ".tif":
        tifffile.imwrite(path, data, photometric="minisblack", compression="zlib")
    else:
        write_image(Image(data[None]), path)
    _bands_take_little(path, 32, data[None])


def _bands_take_little(path: Path, thick: int, data: np.ndarray) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", READ, path, str(thick)], capture_output=True, check=True, text=True
    )
    total, band, grown = map(int, answer.stdout.split())
    assert total == int(data[..., ::97].sum())
    # The band, 64 MiB of tiles and strips, 16 MiB of a map, and what libraries take.
    assert grown < band + 96 * 1024
    assert grown < 0.75 * data.nbytes / 1024


def test_maps_in_small_pieces(
    tmp_path: Path, generator: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unetkit.image.limits._MAPPED_BYTES", 100)
    data = generator.integers(0, 2**16, (7, 33, 40)).astype(np.uint16)
    write_image(Image(data[None]), tmp_path / "a.nii")
    np.save(tmp_path / "c.npy", np.moveaxis(data, 0, -1)[..., :3])
    np.save(tmp_path / "f.npy", np.asfortranarray(data[:3]))
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack")
    tifffile.imwrite(tmp_path / "rgb.tif", np.moveaxis(data, 0, -1)[..., :3], photometric="rgb")
    tifffile.imwrite(tmp_path / "b.tif", data, photometric="minisblack", byteorder=">")
    for name in ("a.nii", "c.npy", "f.npy", "a.tif", "rgb.tif", "b.tif"):
        windows.windows_agree(tmp_path / name, generator)


# --------------------------------------------------------------------------- a large .nii.gz


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unetkit.image.nifti._SMALL_BYTES", 0)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("shape", [(30, 20, 12), (30, 20), (30, 20, 12, 2)])
def test_a_large_gzipped_volume_is_unpacked_once(
    tmp_path: Path, generator: np.random.Generator, monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, ...],
) -> None:  # fmt: skip
    voxels = generator.integers(0, 999, shape, np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii.gz")
    windows.windows_agree(tmp_path / "a.nii.gz", generator)
    opened_files = []
    original = gzip.GzipFile.__init__

    def counted(file: gzip.GzipFile, *arguments: Any, **options: Any) -> None:
        opened_files.append(file)
        original(file, *arguments, **options)

    with open_image(tmp_path / "a.nii.gz") as opened:
        monkeypatch.setattr(gzip.GzipFile, "__init__", counted)
        for start in range(0, opened.shape[1] - 2, 3):
            opened.read((slice(start, start + 3), *(slice(2, n) for n in opened.shape[2:])))
    assert len(opened_files) == 2  # for the first window, and for all


@pytest.mark.usefixtures("small")
def test_a_damaged_gzip_is_noticed_when_unpacked(
    tmp_path: Path, generator: np.random.Generator
) -> None:
    voxels = generator.integers(0, 999, (30, 20, 12), np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii.gz")
    content = (tmp_path / "a.nii.gz").read_bytes()
    for broken in (content[:-3000], content[:-8] + bytes(8)):
        (tmp_path / "b.nii.gz").write_bytes(broken)
        with open_image(tmp_path / "b.nii.gz") as opened:
            opened.read((slice(0, 2), slice(0, 20), slice(0, 30)))
            with pytest.raises(InputError, match=r"b\.nii\.gz: cannot be read as nii\.gz"):
                opened.read((slice(2, 4), slice(0, 20), slice(0, 30)))


@pytest.mark.usefixtures("small")
def test_no_room_to_unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: bytes) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None: ...

    write_image(Image(np.ones((1, 9, 20, 30), np.int16)), tmp_path / "a.nii.gz")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with open_image(tmp_path / "a.nii.gz") as opened:
        opened.read((slice(0, 1), slice(0, 20), slice(0, 30)))
        message = r"a\.nii\.gz: needs 0\.0 GiB in .* to be unpacked; free some space there, or unpa"
        with pytest.raises(InputError, match=message):
            opened.read((slice(1, 2), slice(0, 20), slice(0, 30)))


# --------------------------------------------------------------------------- what openers say


def test_pieces_in_which_files_are_stored(tmp_path: Path) -> None:
    grey = np.zeros((100, 90), np.uint8)
    stack = np.zeros((5, 100, 90), np.uint8)
    options: dict[str, Any] = {"photometric": "minisblack", "compression": "zlib"}
    tifffile.imwrite(tmp_path / "tiles.tif", grey, tile=(32, 64), **options)
    tifffile.imwrite(tmp_path / "strips.tif", grey, rowsperstrip=7, **options)
    tifffile.imwrite(tmp_path / "stack.tif", stack, tile=(16, 16), **options)
    deep = {"volumetric": True, "tile": (16, 32, 32)}
    tifffile.imwrite(tmp_path / "deep.tif", np.zeros((20, 100, 90), np.uint8), **deep, **options)
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((100, 90, 3), np.uint8), tile=(48, 16))
    tifffile.imwrite(tmp_path / "plain.tif", grey)
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(3, 90, 80), chunks=(1, 32, 48), dtype="u1"
    )
    array[...] = 1
    with create_image(tmp_path / "b.zarr", (1, 100, 90), "u1", block=(40, 30)):
        pass
    Pillow.fromarray(grey).save(tmp_path / "a.png")
    Pillow.fromarray(grey).save(tmp_path / "a.jpg")
    Pillow.fromarray(grey).save(tmp_path / "a.bmp")
    Pillow.fromarray(grey).save(tmp_path / "a.pgm")
    np.save(tmp_path / "a.npy", grey)
    np.savez(tmp_path / "a.npz", grey)
    for suffix in (".nii", ".nii.gz", ".mha", ".nrrd"):
        write_image(Image(stack[None]), tmp_path / f"a{suffix}")
    expected: dict[str, tuple[bool, tuple[int, ...] | None]] = {
        "tiles.tif": (False, (32, 64)),
        "strips.tif": (False, (7, 90)),
        "stack.tif": (False, (1, 16, 16)),
        "deep.tif": (False, (16, 32, 32)),
        "rgb.tif": (False, (48, 16)),
        "plain.tif": (False, None),
        "a.zarr": (False, (32, 48)),
        "b.zarr": (False, (40, 30)),
        "a.png": (True, None),
        "a.jpg": (True, None),
        "a.bmp": (True, None),
        "a.pgm": (True, None),
        "a.npy": (False, None),
        "a.npz": (True, None),
        "a.nii": (False, None),
        "a.nii.gz": (False, None),
        "a.mha": (True, None),
        "a.nrrd": (True, None),
    }
    found = {}
    for name in expected:
        with open_image(tmp_path / name) as opened:
            found[name] = (opened.whole, opened.chunks)
    assert found == expected


def test_a_png_takes_twice_its_pixels(tmp_path: Path, generator: np.random.Generator) -> None:
    noise = generator.integers(0, 256, (3000, 3000, 3), np.uint8)  # packed as large as it is
    Pillow.fromarray(noise).save(tmp_path / "a.png", compress_level=1)
    answer = subprocess.run(
        [sys.executable, "-c", READ.replace("    opened.read(", "    id("), tmp_path / "a.png",
         "3000"],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    *_, size, grown = map(int, answer.stdout.split())
    assert grown < 2.3 * size
