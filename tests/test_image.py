"""Files ↔ arrays: written by independent libraries, read back here, and the other way round."""

from __future__ import annotations

import gzip
import pickle
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import imagecodecs
import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from unetkit.errors import InputError
from unetkit.image import (
    Image,
    list_images,
    natural,
    read_image,
    read_labels,
    read_shape,
    stem,
    write_image,
)

DATA = Path(__file__).parents[1].parent / "shared" / "data"


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def shape_agrees(path: Path) -> None:
    assert read_shape(path) == read_image(path).data.shape


# ------------------------------------------------------------------------------------- Pillow


def test_grey_and_colour(tmp_path: Path, generator: np.random.Generator) -> None:
    grey = generator.integers(0, 256, (7, 5), np.uint8)
    colour = generator.integers(0, 256, (7, 5, 3), np.uint8)
    for suffix in (".png", ".bmp", ".ppm", ".webp"):
        path = tmp_path / f"a{suffix}"
        keep = {"lossless": True} if suffix == ".webp" else {}
        Pillow.fromarray(colour).save(path, **keep)
        image = read_image(path)
        np.testing.assert_array_equal(image.data, np.moveaxis(colour, -1, 0))
        assert image.spacing == (1.0, 1.0)
        assert image.frame is None
        assert image.path == path
        shape_agrees(path)
    for suffix in (".png", ".bmp", ".pgm", ".gif"):
        Pillow.fromarray(grey).save(tmp_path / f"g{suffix}")
        np.testing.assert_array_equal(read_image(tmp_path / f"g{suffix}").data, grey[None])
        shape_agrees(tmp_path / f"g{suffix}")


def test_arrays_can_be_written_to(tmp_path: Path) -> None:
    Pillow.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").data.flags.writeable
    assert read_labels(tmp_path / "a.png").flags.writeable


def test_alpha_is_dropped_not_blended(tmp_path: Path, generator: np.random.Generator) -> None:
    four = generator.integers(0, 256, (6, 4, 4), np.uint8)
    Pillow.fromarray(four).save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.png").data, np.moveaxis(four[..., :3], -1, 0)
    )
    shape_agrees(tmp_path / "a.png")
    Pillow.fromarray(four[..., :2], "LA").save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png").data, four[None, ..., 0])
    shape_agrees(tmp_path / "b.png")


def palette_png(path: Path, indices: np.ndarray, **keywords: object) -> None:
    picture = Pillow.fromarray(indices, "P")
    picture.putpalette([10, 20, 30, 200, 100, 0, 7, 8, 9])
    picture.save(path, **keywords)


@pytest.mark.parametrize("keywords", [{}, {"transparency": b"\x00\xff\x80"}, {"transparency": 1}])
def test_palette_is_colour_for_images_and_indices_for_masks(
    tmp_path: Path, keywords: dict[str, object]
) -> None:
    indices = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    palette_png(tmp_path / "a.png", indices, **keywords)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), indices)
    image = read_image(tmp_path / "a.png").data
    assert image.shape == (3, 2, 3)
    assert image[:, 0, 1].tolist() == [200, 100, 0]
    assert image[:, 0, 0].tolist() == [10, 20, 30]
    shape_agrees(tmp_path / "a.png")


def test_palette_of_greys_is_grey(tmp_path: Path) -> None:
    picture = Pillow.fromarray(np.array([[0, 1, 1], [1, 1, 0]], np.uint8), "P")
    picture.putpalette([255, 255, 255, 0, 0, 0])
    for name in ("a.png", "a.gif"):
        picture.save(tmp_path / name)
        expected = [[255, 0, 0], [0, 0, 255]]
        assert read_labels(tmp_path / name).tolist() == expected
        assert read_image(tmp_path / name).data.tolist() == [expected]
        shape_agrees(tmp_path / name)


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    bits = np.array([[True, False, True]])
    Pillow.fromarray(bits).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").data.tolist() == [[[255, 0, 255]]]
    assert read_labels(tmp_path / "a.png").tolist() == [[255, 0, 255]]
    for photometric in ("minisblack", "miniswhite"):
        stored = bits if photometric == "minisblack" else ~bits
        tifffile.imwrite(tmp_path / "a.tif", stored, photometric=photometric)
        assert read_image(tmp_path / "a.tif").data.tolist() == [[[255, 0, 255]]]


def test_16_bit_png_keeps_its_depth(tmp_path: Path, generator: np.random.Generator) -> None:
    for channels in (1, 3, 4):
        deep = generator.integers(0, 65536, (5, 6, channels), np.uint16)
        path = tmp_path / f"{channels}.png"
        path.write_bytes(imagecodecs.png_encode(deep.squeeze()))
        kept = min(channels, 3)
        data = read_image(path).data
        assert data.dtype == np.uint16
        np.testing.assert_array_equal(data, np.moveaxis(deep[..., :kept], -1, 0))
        shape_agrees(path)


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_rotation(tmp_path: Path, turn: int) -> None:
    upright = np.kron(np.array([[0, 80, 160], [240, 200, 40]], np.uint8), np.ones((16, 16)))
    upright = upright.astype(np.uint8)
    # What a camera stores so that the viewer's turn gives the upright picture (EXIF 2.3, 4.6.4).
    stored = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).T,
        8: lambda a: np.rot90(a, -1),
    }[turn](upright)
    exif = Pillow.Exif()
    exif[0x0112] = turn
    for suffix, tolerance in ((".jpg", 6), (".png", 0)):
        path = tmp_path / f"a{suffix}"
        Pillow.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, quality=100)
        data = read_image(path).data
        assert data.shape == (1, 32, 48)
        assert np.abs(data[0].astype(int) - upright).max() <= tolerance
        shape_agrees(path)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    red = Pillow.new("RGB", (16, 16), (255, 0, 0)).convert("CMYK")
    red.save(tmp_path / "a.jpg", quality=100)
    data = read_image(tmp_path / "a.jpg").data
    assert data.shape == (3, 16, 16)
    assert np.abs(data[:, 8, 8].astype(int) - [255, 0, 0]).max() < 12
    shape_agrees(tmp_path / "a.jpg")


def test_several_frames_are_refused(tmp_path: Path) -> None:
    frames = [Pillow.new("L", (4, 4), value) for value in (0, 90, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match=r"a\.gif: holds 3 frames; save each"):
        read_image(tmp_path / "a.gif")


# --------------------------------------------------------------------------------------- TIFF


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "i2", "u4", "f2", "f4", "f8"])
def test_tiff_depths(tmp_path: Path, generator: np.random.Generator, dtype: str) -> None:
    data = (generator.random((9, 7)) * 100).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", data)
    read = read_image(tmp_path / "a.tif").data
    np.testing.assert_array_equal(read, data[None])
    assert read.dtype == np.dtype(dtype).newbyteorder("=")
    shape_agrees(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd", "packbits"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_tiff_colour(
    tmp_path: Path,
    generator: np.random.Generator,
    compression: str,
    planar: str,
    tile: tuple[int, int] | None,
) -> None:
    colour = generator.integers(0, 256, (3, 20, 30), np.uint8)
    stored = np.moveaxis(colour, 0, -1) if planar == "contig" else colour
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        photometric="rgb",
        planarconfig=planar,
        compression=compression,
        tile=tile,
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data, colour)
    shape_agrees(tmp_path / "a.tif")


def test_tiff_alpha_goes_but_a_fourth_band_stays(
    tmp_path: Path, generator: np.random.Generator
) -> None:
    four = generator.integers(0, 256, (20, 30, 4), np.uint8)
    for extra, kept in (("unassalpha", 3), ("unspecified", 4)):
        tifffile.imwrite(tmp_path / "a.tif", four, photometric="rgb", extrasamples=[extra])
        data = read_image(tmp_path / "a.tif").data
        np.testing.assert_array_equal(data, np.moveaxis(four, -1, 0)[:kept])
        shape_agrees(tmp_path / "a.tif")


def test_tiff_pages_are_depth_only_when_they_agree(tmp_path: Path) -> None:
    stack = np.arange(5 * 20 * 30, dtype=np.uint16).reshape(5, 20, 30)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data, stack[None])
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), stack)
    shape_agrees(tmp_path / "a.tif")
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        for page in stack:  # separate pages without tifffile's own description
            writer.write(page, contiguous=False, metadata=None, description="")
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif").data, stack[None])
    with tifffile.TiffWriter(tmp_path / "c.tif") as writer:
        writer.write(stack[0])
        writer.write(stack[0, :10])
    with pytest.raises(InputError, match="2 pictures of different sizes"):
        read_image(tmp_path / "c.tif")


def test_tiff_float_with_channels_last(tmp_path: Path, generator: np.random.Generator) -> None:
    data = generator.random((40, 30, 3), np.float32)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data, np.moveaxis(data, -1, 0))
    shape_agrees(tmp_path / "a.tif")


def test_tiff_palette(tmp_path: Path) -> None:
    indices = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    table = np.zeros((3, 256), np.uint16)
    table[:, 1] = [200 << 8, 100 << 8, 0]
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=table)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), indices)
    assert read_image(tmp_path / "a.tif").data[:, 0, 1].tolist() == [200, 100, 0]
    shape_agrees(tmp_path / "a.tif")


def test_tiff_spacing_of_imagej_and_geotiff(tmp_path: Path) -> None:
    data = np.zeros((3, 20, 30), np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif",
        data,
        imagej=True,
        resolution=(4, 2),
        metadata={"spacing": 3.0, "unit": "um", "axes": "ZYX"},
    )
    assert read_image(tmp_path / "a.tif").spacing == (3.0, 0.5, 0.25)
    tifffile.imwrite(
        tmp_path / "b.tif", data[0], extratags=[(33550, "d", 3, (10.0, 20.0, 0.0), True)]
    )
    assert read_image(tmp_path / "b.tif").spacing == (20.0, 10.0)
    tifffile.imwrite(tmp_path / "c.tif", data[0], resolution=(300, 300))
    assert read_image(tmp_path / "c.tif").spacing == (1.0, 1.0)


def test_tiff_with_time_and_depth_is_refused(tmp_path: Path) -> None:
    data = np.zeros((2, 3, 20, 30), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", data, imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(InputError, match=r"TZYX.*one file per time point"):
        read_image(tmp_path / "a.tif")


# -------------------------------------------------------------------------------------- NIfTI


def test_nifti_axes_spacing_and_affine(tmp_path: Path, generator: np.random.Generator) -> None:
    voxels = generator.integers(0, 999, (4, 5, 6), np.int16)  # x, y, z
    affine = np.array([[0, 2.0, 0, 5], [1.0, 0, 0, 6], [0, 0, 3.0, 7], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "a.nii.gz")
    image = read_image(tmp_path / "a.nii.gz")
    assert image.data.shape == (1, 6, 5, 4)
    assert image.data[0, 3, 2, 1] == voxels[1, 2, 3]
    assert image.data.dtype == np.int16
    assert image.spacing == (3.0, 2.0, 1.0)
    np.testing.assert_array_equal(image.frame, affine)
    shape_agrees(tmp_path / "a.nii.gz")


def test_nifti_scaling_and_channels(tmp_path: Path, generator: np.random.Generator) -> None:
    voxels = generator.integers(0, 99, (4, 5, 6, 2), np.int16)
    volume = nibabel.Nifti1Image(voxels, np.eye(4))
    volume.header.set_slope_inter(2.0, 1.0)
    nibabel.save(volume, tmp_path / "a.nii")
    image = read_image(tmp_path / "a.nii")
    assert image.data.dtype == np.float32
    # nibabel itself is the reference: it stores round((value − 1) / 2).
    reference = nibabel.load(tmp_path / "a.nii").get_fdata()
    np.testing.assert_allclose(image.data, reference.transpose(3, 2, 1, 0))
    assert len(image.spacing) == 3
    shape_agrees(tmp_path / "a.nii")


def test_nifti_2d_and_zero_affine(tmp_path: Path) -> None:
    volume = nibabel.Nifti1Image(np.arange(12, dtype=np.uint8).reshape(4, 3), None)
    volume.header["pixdim"] = 0
    volume.header["sform_code"] = 1
    nibabel.save(volume, tmp_path / "a.nii")
    image = read_image(tmp_path / "a.nii")
    assert image.data.shape == (1, 3, 4)
    assert image.spacing == (1.0, 1.0)
    assert image.frame is None


# -------------------------------------------------------------------------------------- NumPy


def test_numpy_axes(tmp_path: Path) -> None:
    cases = {
        (20, 30): (1, 20, 30),
        (3, 20, 30): (3, 20, 30),
        (13, 20, 30): (13, 20, 30),
        (20, 30, 3): (3, 20, 30),
        (40, 20, 30): (1, 40, 20, 30),
        (2, 40, 20, 30): (2, 40, 20, 30),
        (40, 20, 30, 2): (2, 40, 20, 30),
    }
    for stored, expected in cases.items():
        array = np.arange(np.prod(stored), dtype=np.float32).reshape(stored)
        np.save(tmp_path / "a.npy", array)
        np.savez_compressed(tmp_path / "a.npz", image=array, other=np.zeros(3))
        for name in ("a.npy", "a.npz"):
            assert read_image(tmp_path / name).data.shape == expected
            shape_agrees(tmp_path / name)
    np.save(tmp_path / "m.npy", np.zeros((9, 20, 30), bool))
    assert read_labels(tmp_path / "m.npy").shape == (9, 20, 30)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("was unpickled",)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[Evil()]], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", image=np.array([[Evil()]], dtype=object))
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Evil()))
    for name in ("a.npy", "a.npz", "b.npy", "b.npz"):
        with pytest.raises(InputError, match=name):
            read_image(tmp_path / name)


# ------------------------------------------------------------------------------------- labels


def test_labels_of_equal_channels_floats_and_bools(tmp_path: Path) -> None:
    labels = np.array([[0, 3], [255, 7]], np.uint8)
    Pillow.fromarray(np.repeat(labels[..., None], 3, -1)).save(tmp_path / "rgb.png")
    Pillow.fromarray(
        np.concatenate([np.repeat(labels[..., None], 3, -1), labels[..., None] * 0 + 9], -1)
    ).save(tmp_path / "rgba.png")
    tifffile.imwrite(tmp_path / "float.tif", labels.astype(np.float32))
    for name in ("rgb.png", "rgba.png", "float.tif"):
        read = read_labels(tmp_path / name)
        np.testing.assert_array_equal(read, labels)
        assert read.dtype.kind in "iu"
    np.save(tmp_path / "bool.npy", labels > 4)
    assert read_labels(tmp_path / "bool.npy").tolist() == [[0, 0], [1, 1]]


def test_labels_refuse_colours_and_fractions(tmp_path: Path) -> None:
    colour = np.zeros((4, 4, 3), np.uint8)
    colour[2, 1] = 226, 169, 41
    Pillow.fromarray(colour).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: .*226,169,41.*; save one grey value per class"):
        read_labels(tmp_path / "a.png")
    for value in (0.5, np.nan, np.inf, 1e20):
        np.save(tmp_path / "b.npy", np.full((4, 4), value))
        with pytest.raises(InputError, match=r"b\.npy: the mask holds fractions.*threshold"):
            read_labels(tmp_path / "b.npy")


# ------------------------------------------------------------------------------------ writing


@pytest.mark.parametrize(
    ("shape", "dtype", "suffix"),
    [
        ((1, 8, 9), "u1", ".png"),
        ((3, 8, 9), "u1", ".png"),
        ((1, 8, 9), "u2", ".png"),
        ((3, 8, 9), "u2", ".png"),
        ((1, 8, 9), "f4", ".tif"),
        ((3, 8, 9), "u1", ".tif"),
        ((5, 8, 9), "f4", ".tiff"),
        ((1, 4, 8, 9), "i2", ".ome.tif"),
        ((2, 4, 8, 9), "f8", ".tif"),
        ((1, 8, 9), "u1", ".nii"),
        ((1, 4, 8, 9), "f4", ".nii.gz"),
        ((2, 4, 8, 9), "i4", ".nii.gz"),
        ((1, 8, 9), "f4", ".npy"),
        ((1, 40, 8, 9), "u2", ".npy"),
    ],
)
def test_write_then_read(
    tmp_path: Path,
    generator: np.random.Generator,
    shape: tuple[int, ...],
    dtype: str,
    suffix: str,
) -> None:
    data = (generator.random(shape) * 250).astype(dtype)
    spacing = (2.0, 0.5, 0.25)[4 - len(shape) :]
    path = tmp_path / "new" / f"a{suffix}"
    write_image(Image(data, spacing), path)
    back = read_image(path)
    np.testing.assert_array_equal(back.data, data)
    assert back.data.dtype == data.dtype
    assert back.spacing == (spacing if suffix not in (".png", ".npy") else (1.0,) * len(spacing))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_written_files_open_elsewhere(tmp_path: Path, generator: np.random.Generator) -> None:
    data = generator.integers(0, 256, (3, 8, 9), np.uint8)
    write_image(Image(data), tmp_path / "a.png")
    write_image(Image(data), tmp_path / "a.tif")
    for name in ("a.png", "a.tif"):
        with Pillow.open(tmp_path / name) as picture:
            np.testing.assert_array_equal(np.asarray(picture), np.moveaxis(data, 0, -1))
    ids = generator.integers(0, 3000, (1, 8, 9), np.int64)
    write_image(Image(ids), tmp_path / "b.png")
    with Pillow.open(tmp_path / "b.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), ids[0])
    affine = np.array([[0, 2.0, 0, 5], [1.0, 0, 0, 6], [0, 0, 3.0, 7], [0, 0, 0, 1]])
    volume = generator.random((1, 4, 5, 6), np.float32)
    write_image(Image(volume, (3.0, 2.0, 1.0), affine), tmp_path / "a.nii.gz")
    there = nibabel.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(there.get_fdata(dtype=np.float32), volume[0].T)
    np.testing.assert_array_equal(there.affine, affine)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (np.zeros((1, 4, 4), np.float32), "a.png", "whole numbers.*choose .tif"),
        (np.full((1, 4, 4), -1), "a.png", "0 to 65535"),
        (np.zeros((1, 4, 4, 4), np.uint8), "a.png", "does not fit into a PNG.*nii.gz"),
        (np.zeros((3, 4, 4), np.uint8), "a.nii", "does not hold 2D colour"),
        (np.zeros((1, 4, 4), np.uint8), "a.jpg", "is not written.*choose .png"),
        (np.zeros((1, 4, 4), np.uint8), "a.xyz", "known are .*png"),
        (np.full((1, 4, 4), 2**40), "a.tif", "beyond 32 bits.*npy"),
        (np.zeros((1, 4, 4), np.complex64), "a.tif", "complex64 pixels"),
    ],
)
def test_what_a_format_cannot_hold(
    tmp_path: Path, data: np.ndarray, name: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        write_image(Image(data), tmp_path / name)
    assert name in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------------- broken files


def examples(folder: Path) -> list[Path]:
    """One sound file of each format, with pixels that do not compress to nothing."""
    generator = np.random.default_rng(1)
    grey = generator.integers(0, 256, (40, 50), np.uint8)
    colour = generator.integers(0, 256, (40, 50, 3), np.uint8)
    for suffix in (".png", ".jpg", ".bmp", ".webp", ".gif", ".ppm"):
        Pillow.fromarray(grey if suffix == ".gif" else colour).save(folder / f"a{suffix}")
    (folder / "deep.png").write_bytes(imagecodecs.png_encode(colour.astype(np.uint16) * 9))
    tifffile.imwrite(folder / "plain.tif", grey)
    tifffile.imwrite(folder / "deflate.tif", colour, photometric="rgb", compression="zlib")
    tifffile.imwrite(folder / "stack.tif", np.stack([grey] * 3), photometric="minisblack")
    nibabel.save(nibabel.Nifti1Image(colour, np.eye(4)), folder / "a.nii")
    nibabel.save(nibabel.Nifti1Image(colour, np.eye(4)), folder / "a.nii.gz")
    np.save(folder / "a.npy", grey)
    np.savez_compressed(folder / "a.npz", grey)
    return list_images(folder)


def test_cut_short_at_every_tenth_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "cut").mkdir()
    for path in examples(tmp_path):
        whole = path.read_bytes()
        read_image(path)
        for tenth in range(10):
            cut = tmp_path / "cut" / path.name
            cut.write_bytes(whole[: len(whole) * tenth // 10])
            with pytest.raises(InputError) as caught:
                read_image(cut)
            assert str(cut) in str(caught.value)
            assert caught.value.cure
            assert "\n" not in str(caught.value)


def test_flipped_bytes_never_escape(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    (tmp_path / "bad").mkdir()
    for path in examples(tmp_path):
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(15):
            damaged = whole.copy()
            where = generator.integers(0, min(len(whole), 400), 3)
            damaged[where] = generator.integers(0, 256, 3)
            bad = tmp_path / "bad" / path.name
            bad.write_bytes(damaged.tobytes())
            for read in (read_image, read_labels, read_shape):
                try:
                    read(bad)
                except InputError as error:
                    assert str(bad) in str(error)  # noqa: PT017


def test_names_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").touch()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "text.png").write_text("<html>not found</html>")
    (tmp_path / "lfs.png").write_text("version https://git-lfs.github.com/spec/v1\noid x\n")
    (tmp_path / "a.doc").write_text("x")
    for name, message in {
        "none.png": "no such file; check the path",
        "folder.png": "a file is needed",
        "empty.png": "the file is empty; copy it again",
        "loop.png": "cannot be read",
        "text.png": "cannot be read as png.*damaged",
        "lfs.png": "git lfs pull",
        "a.doc": "no known image format; known are",
        "x" * 300 + ".png": "cannot be read",
    }.items():
        for read in (read_image, read_labels, read_shape):
            with pytest.raises(InputError, match=message) as caught:
                read(tmp_path / name)
            assert name in str(caught.value)


def test_wrong_suffix_names_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "wrong").mkdir()
    right = {".png", ".jpg", ".bmp", ".webp", ".gif", ".tif", ".npy", ".npz"}
    for path in examples(tmp_path):
        if path.suffix not in right:
            continue
        for suffix in right - {path.suffix}:
            wrong = tmp_path / "wrong" / f"a{suffix}"
            wrong.write_bytes(path.read_bytes())
            with pytest.raises(InputError, match=f"rename it to a{path.suffix}"):
                read_image(wrong)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content)) + kind + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )  # fmt: skip


def test_bombs_are_refused_before_they_go_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unetkit.image.limits._HARMLESS_BYTES", 2**20)
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(bytes(1000))) + png_chunk(b"IEND", b"")
    )  # fmt: skip
    deep = struct.pack(">IIBBBBB", 60_000, 60_000, 16, 2, 0, 0, 0)
    (tmp_path / "b.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", deep)
        + png_chunk(b"IDAT", zlib.compress(bytes(1000))) + png_chunk(b"IEND", b"")
    )  # fmt: skip
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((64, 64), np.uint8), rowsperstrip=64)
    with tifffile.TiffFile(tmp_path / "c.tif", mode="r+b") as file:
        for name in ("ImageWidth", "ImageLength"):
            file.pages[0].tags[name].overwrite(65_535)
    volume = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4))
    raw = bytearray(volume.to_bytes())
    raw[40:56] = struct.pack("<8h", 3, 30_000, 30_000, 30_000, 1, 1, 1, 1)
    (tmp_path / "d.nii.gz").write_bytes(gzip.compress(raw))
    (tmp_path / "e.nii").write_bytes(raw)
    np.savez_compressed(tmp_path / "f.npz", np.zeros((1_700, 1_700), np.uint8))
    np.save(tmp_path / "g.npy", np.zeros((4, 4), np.uint8))
    text = (tmp_path / "g.npy").read_bytes().replace(b"(4, 4), }     ", b"(99999,99999)}")
    (tmp_path / "g.npy").write_bytes(text)
    for name in ("a.png", "b.png", "c.tif", "d.nii.gz", "e.nii", "g.npy"):
        with pytest.raises(InputError, match=name) as caught:
            read_image(tmp_path / name)
        assert caught.value.cure
    # 1000-fold shrinking is what zeros do, so an honest empty mask must still pass.
    assert read_image(tmp_path / "f.npz").data.shape == (1, 1_700, 1_700)


def test_large_pictures_do_not_warn(tmp_path: Path) -> None:
    # Pillow warns above 89 million pixels; the suite turns warnings into errors.
    header = struct.pack(">IIBBBBB", 10_000, 9_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(9_000 * 1251))
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")
    )  # fmt: skip
    assert read_shape(tmp_path / "a.png") == (1, 9_000, 10_000)


# -------------------------------------------------------------------------------------- names


def test_list_images(tmp_path: Path) -> None:
    for name in ("10.png", "9.png", "a2.tif", "a10.TIF", ".hidden.png", "._9.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    names = [path.name for path in list_images(tmp_path)]
    assert names == ["9.png", "10.png", "a2.tif", "a10.TIF"]
    assert [p.name for p in list_images(f"{tmp_path}/*.png")] == ["9.png", "10.png"]
    assert list_images(tmp_path / "9.png") == [tmp_path / "9.png"]
    (tmp_path / "[1].png").touch()
    assert list_images(tmp_path / "[1].png") == [tmp_path / "[1].png"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", "no such file or folder; check the path"),
        ("*.png", "no images found; known suffixes are .bmp"),
        (".", "no images found"),
        ("notes.txt", "no known image format"),
        ("x" * 300, "cannot be listed"),
    ],
)
def test_list_images_finds_nothing(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=message):
        list_images(f"{tmp_path}/{source}")


def test_stem_and_natural_order() -> None:
    assert stem("a/b.nii.gz") == "b"
    assert stem("b.ome.tif") == "b"
    assert stem("im0001.ah.ppm") == "im0001.ah"
    assert stem("B.PNG") == "B"
    assert stem("b") == "b"
    assert sorted(["b10", "B9", "b", "2", "10"], key=natural) == ["2", "10", "b", "B9", "b10"]


def test_import_is_light() -> None:
    heavy = ["PIL", "tifffile", "nibabel", "imagecodecs", "scipy", "torch"]
    program = f"import sys, unetkit.image; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert answer.stdout.strip() == b"[]"


@pytest.mark.real
def test_real_images() -> None:
    if not DATA.exists():
        pytest.skip("no real data beside the checkout")
    expected = {
        "stare/images/im0001.png": ((3, 605, 700), np.uint8),
        "drive/images/21_training.png": ((3, 584, 565), np.uint8),
        "dubai_aerial/images/image_part_001.jpg": ((3, 644, 797), np.uint8),
        "sen1floods11/images/Spain_7370579.tif": ((2, 512, 512), np.float32),
        "sen1floods11/images_s2/Spain_7370579.tif": ((13, 512, 512), np.int16),
        "ctc_phc_u373/masks/01_t001.png": ((1, 520, 696), np.uint16),
    }
    for name, (shape, dtype) in expected.items():
        image = read_image(DATA / name)
        assert (image.data.shape, image.data.dtype) == (shape, dtype), name
        shape_agrees(DATA / name)
    path = list_images(DATA / "msd_hippocampus" / "images")[0]
    image, reference = read_image(path), nibabel.load(path)
    np.testing.assert_array_equal(image.data[0], np.asarray(reference.dataobj).transpose(2, 1, 0))
    assert image.spacing == (1.0, 1.0, 1.0)
    np.testing.assert_array_equal(image.frame, reference.affine)
