"""TIFF of every kind, by window and whole: written by tifffile and rasterio, read back here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

import windows
from unetkit.errors import InputError
from unetkit.image import open_image, read_image, read_labels, read_shape


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def windows_agree(path: Path, generator: np.random.Generator, count: int = 12) -> np.ndarray:
    """Check header and random windows against the whole, whose pixels are given."""
    return windows.windows_agree(path, generator, count).data


LAYOUTS: dict[str, tuple[tuple[int, ...], str, dict[str, Any]]] = {
    "plain": ((70, 90), "u1", {}),
    "strips": ((70, 90), "u2", {"rowsperstrip": 7}),
    "deflate strips": ((70, 90), "u2", {"rowsperstrip": 7, "compression": "zlib"}),
    "one strip": ((70, 90), "f4", {"rowsperstrip": 70, "compression": "zlib"}),
    "tiles": ((70, 90), "u2", {"tile": (16, 32)}),
    "tiles, deflate, predictor": (
        (70, 90), "u2", {"tile": (16, 32), "compression": "zlib", "predictor": True},
    ),
    "float predictor": ((70, 90), "f4", {"compression": "zlib", "predictor": True}),
    "zstd tiles": ((70, 90), "f8", {"tile": (32, 32), "compression": "zstd"}),
    "lzw": ((70, 90), "u1", {"compression": "lzw", "rowsperstrip": 9}),
    "packbits": ((70, 90), "i2", {"compression": "packbits", "rowsperstrip": 9}),
    "lzma": ((70, 90), "i4", {"compression": "lzma"}),
    "big-endian": ((70, 90), "u2", {"byteorder": ">"}),
    "big-endian deflate": ((70, 90), "f4", {"byteorder": ">", "compression": "zlib"}),
    "BigTIFF": ((70, 90), "u2", {"bigtiff": True, "tile": (16, 16), "compression": "zlib"}),
    "big-endian BigTIFF": (
        (3, 70, 90), "u2", {"bigtiff": True, "byteorder": ">", "photometric": "minisblack"},
    ),
    "RGB": ((70, 90, 3), "u1", {"photometric": "rgb"}),
    "RGB tiles": ((70, 90, 3), "u1", {"photometric": "rgb", "tile": (32, 32)}),
    "RGB planar": (
        (3, 70, 90), "u1", {"photometric": "rgb", "planarconfig": "separate", "rowsperstrip": 9},
    ),
    "RGB planar deflate tiles": (
        (3, 70, 90),
        "u2",
        {"photometric": "rgb", "planarconfig": "separate", "tile": (16, 16), "compression": "zlib"},
    ),
    "RGBA": ((70, 90, 4), "u1", {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    "13 bands": ((70, 90, 13), "i2", {"photometric": "minisblack", "planarconfig": "contig"}),
    "pages": ((5, 70, 90), "u2", {"photometric": "minisblack"}),
    "deflate pages": ((5, 70, 90), "u2", {"photometric": "minisblack", "compression": "zlib"}),
    "pages of tiles": (
        (5, 70, 90), "f4",
        {"photometric": "minisblack", "tile": (32, 16), "compression": "zlib"},
    ),
    "pages of RGB": ((4, 70, 90, 3), "u1", {"photometric": "rgb", "compression": "zlib"}),
    "volumetric tiles": (
        (20, 70, 90), "u2",
        {"photometric": "minisblack", "volumetric": True, "tile": (16, 32, 32)},
    ),
    "ImageJ": ((5, 2, 70, 90), "u2", {"imagej": True, "metadata": {"axes": "ZCYX"}}),
    "ImageJ float": ((5, 70, 90), "f4", {"imagej": True, "metadata": {"axes": "ZYX"}}),
    "ImageJ RGB": ((5, 70, 90, 3), "u1", {"imagej": True, "metadata": {"axes": "ZYXS"}}),
    "OME": ((2, 5, 70, 90), "u2", {"ome": True, "metadata": {"axes": "CZYX"}}),
    "OME tiles": (
        (2, 5, 70, 90), "u2",
        {"ome": True, "metadata": {"axes": "CZYX"}, "tile": (32, 32), "compression": "zlib"},
    ),
    "OME RGB": ((5, 70, 90, 3), "u1", {"ome": True, "metadata": {"axes": "ZYXS"}}),
    "float, channels last": ((40, 30, 3), "f4", {"photometric": "minisblack"}),
    "one column": ((70, 1), "u1", {}),
    "one row": ((1, 90), "u2", {"compression": "zlib"}),
}  # fmt: skip
AXES = {
    "RGB": "yxc", "RGB tiles": "yxc", "13 bands": "yxc", "RGBA": "yxc", "pages of RGB": "zyxc",
    "ImageJ": "zcyx", "ImageJ RGB": "zyxc", "OME": "czyx", "OME tiles": "czyx", "OME RGB": "zyxc",
    "RGB planar": "cyx", "RGB planar deflate tiles": "cyx", "float, channels last": "yxc",
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_window_equals_the_crop(
    tmp_path: Path, generator: np.random.Generator, name: str
) -> None:
    shape, dtype, options = LAYOUTS[name]
    stored = (generator.random(shape) * 250).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    whole = windows_agree(tmp_path / "a.tif", generator)
    axes = AXES.get(name, "zyx"[3 - len(shape) :])
    channel = [axes.index("c")] if "c" in axes else []
    moved = np.moveaxis(stored, channel, [0] * len(channel))
    expected = moved if channel else moved[None]
    np.testing.assert_array_equal(whole, expected[:3] if name == "RGBA" else expected)
    assert whole.dtype == np.dtype(dtype)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i1", "i4", "u4", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_depths_and_orders(
    tmp_path: Path, generator: np.random.Generator, dtype: str, order: str, compression: str | None
) -> None:
    data = (generator.random((33, 21)) * 100).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", data, byteorder=order, compression=compression)
    np.testing.assert_array_equal(windows_agree(tmp_path / "a.tif", generator), data[None])


@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12])
def test_packed_integers(tmp_path: Path, generator: np.random.Generator, bits: int) -> None:
    data = generator.integers(0, 2**bits, (20, 33), np.uint16 if bits > 8 else np.uint8)
    if bits == 1:
        data = data.astype(bool)
    options = {"compression": "zlib"} if bits == 1 else {"bitspersample": bits}
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", **options)
    expected = data.astype(np.uint8) * 255 if bits == 1 else data
    np.testing.assert_array_equal(windows_agree(tmp_path / "a.tif", generator)[0], expected)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_lzw", "tiff_adobe_deflate"])
def test_one_bit_as_libtiff_writes_it(
    tmp_path: Path, generator: np.random.Generator, compression: str
) -> None:
    bits = generator.random((40, 64)) > 0.5
    Pillow.fromarray(bits).save(tmp_path / "a.tif", compression=compression)
    whole = windows_agree(tmp_path / "a.tif", generator)
    np.testing.assert_array_equal(whole[0], bits * 255)


@pytest.mark.parametrize("tile", [None, (32, 32)])
def test_jpeg_in_tiff(
    tmp_path: Path, generator: np.random.Generator, tile: tuple[int, int] | None
) -> None:
    colour = (np.add.outer(np.arange(70), np.arange(90))[..., None] + [0, 20, 40]).astype(np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif", colour, photometric="ycbcr", compression="jpeg", tile=tile,
        compressionargs={"level": 95},
    )  # fmt: skip
    whole = windows_agree(tmp_path / "a.tif", generator)
    with Pillow.open(tmp_path / "a.tif") as picture:
        reference = np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0).astype(int)
    assert np.abs(whole - reference).max() <= 4


def test_jpeg_tables_are_those_of_each_page(tmp_path: Path, generator: np.random.Generator) -> None:
    # libtiff keeps the tables apart from the strips.
    grey = np.add.outer(np.arange(80), np.arange(96)).astype(np.uint8)
    Pillow.fromarray(grey).save(tmp_path / "a.tif", compression="jpeg", quality=95)
    whole = windows_agree(tmp_path / "a.tif", generator)
    with Pillow.open(tmp_path / "a.tif") as picture:
        np.testing.assert_array_equal(whole[0], np.asarray(picture))


def test_cmyk_becomes_rgb_as_pillow_makes_it(
    tmp_path: Path, generator: np.random.Generator
) -> None:
    ink = generator.integers(0, 256, (50, 40, 4), np.uint8)
    Pillow.fromarray(ink, "CMYK").save(tmp_path / "a.tif")
    reference = np.asarray(Pillow.fromarray(ink, "CMYK").convert("RGB"))
    for name, options in {"b.tif": {}, "c.tif": {"planarconfig": "separate"}}.items():
        stored = np.moveaxis(ink, -1, 0) if options else ink
        tifffile.imwrite(tmp_path / name, stored, photometric="separated", **options)
    for name in ("a.tif", "b.tif", "c.tif"):
        whole = windows_agree(tmp_path / name, generator)
        np.testing.assert_array_equal(whole, np.moveaxis(reference, -1, 0))
    deep = ink.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "d.tif", deep, photometric="separated")
    light = 1 - deep / 65535
    np.testing.assert_allclose(
        windows_agree(tmp_path / "d.tif", generator),
        np.moveaxis(light[..., :3] * light[..., 3:], -1, 0) * 65535,
        atol=0.5001,
    )
    tifffile.imwrite(
        tmp_path / "e.tif", np.zeros((20, 30, 5), np.uint8), photometric="separated",
    )  # fmt: skip
    with pytest.raises(InputError, match=r"e\.tif: is a TIFF of special inks; save it as RGB"):
        read_shape(tmp_path / "e.tif")


def test_luminance_without_jpeg_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((16, 32, 3), np.uint8), photometric="ycbcr")
    with pytest.raises(InputError, match=r"a\.tif: is a YCbCr TIFF without JPEG; save it as RGB"):
        read_shape(tmp_path / "a.tif")


def test_palettes(tmp_path: Path, generator: np.random.Generator) -> None:
    indices = generator.integers(0, 4, (40, 30), np.uint8)
    deep = np.zeros((3, 256), np.uint16)
    deep[:, :4] = generator.integers(0, 65536, (3, 4))
    shallow, grey = deep >> 8, np.zeros((3, 256), np.uint16)
    grey[:, :4] = [65535, 0, 257 * 90, 257 * 7]
    for name, table in {"deep": deep, "shallow": shallow, "grey": grey}.items():
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, indices, photometric="palette", colormap=table)
        expected = (table >> 8 if name != "shallow" else table).astype(np.uint8)[:, indices]
        whole = windows_agree(path, generator)
        np.testing.assert_array_equal(whole, expected[:1] if name == "grey" else expected)
        np.testing.assert_array_equal(read_labels(path), indices)


def test_alpha_that_is_all_a_mask_has(tmp_path: Path, generator: np.random.Generator) -> None:
    four = np.full((40, 30, 4), 200, np.uint8)
    four[..., 3] = generator.integers(0, 2, (40, 30)) * 255
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, four, photometric="rgb", extrasamples=["unassalpha"], tile=(16, 16))
    np.testing.assert_array_equal(read_labels(path), four[..., 3])
    assert (read_image(path).data == 200).all()
    with open_image(path, indices=True) as opened:  # a part alone could not tell
        part = opened.read((slice(3, 9), slice(4, 7)))
        np.testing.assert_array_equal(part, np.repeat(four[None, 3:9, 4:7, 3], 3, 0))


# ------------------------------------------------------------------------------------ metadata


def test_ome_spacing_is_in_micrometres(tmp_path: Path) -> None:
    data = np.zeros((2, 3, 20, 30), np.uint16)
    metadata = {
        "axes": "CZYX",
        "PhysicalSizeX": 650.0, "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.0007, "PhysicalSizeYUnit": "mm",
        "PhysicalSizeZ": 2.5,
    }  # fmt: skip
    tifffile.imwrite(tmp_path / "a.ome.tif", data, metadata=metadata)
    image = read_image(tmp_path / "a.ome.tif")
    assert image.data.shape == (2, 3, 20, 30)
    np.testing.assert_allclose(image.spacing, (2.5, 0.7, 0.65))
    metadata |= {f"PhysicalSize{axis}Unit": "pixel" for axis in "XY"}
    tifffile.imwrite(tmp_path / "b.ome.tif", data, metadata=metadata)
    np.testing.assert_allclose(read_image(tmp_path / "b.ome.tif").spacing, (2.5, 0.0007, 650))


def test_imagej_hyperstack(tmp_path: Path, generator: np.random.Generator) -> None:
    data = generator.integers(0, 999, (4, 3, 20, 30), np.uint16)  # z, c, y, x
    tifffile.imwrite(
        tmp_path / "a.tif",
        data,
        imagej=True,
        resolution=(4.0, 2.0),
        metadata={"spacing": 3.0, "unit": "um", "axes": "ZCYX"},
    )
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.data, data.swapaxes(0, 1))
    assert image.spacing == (3.0, 0.5, 0.25)


def test_an_ome_set_of_several_files(tmp_path: Path, generator: np.random.Generator) -> None:
    data = generator.integers(0, 999, (2, 20, 30), np.uint16)
    for z in range(2):
        tifffile.imwrite(tmp_path / f"{z}.ome.tif", data[z], metadata=None)
    blocks = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{z}.ome.tif">urn:uuid:{z}</UUID></TiffData>'
        for z in range(2)
    )

    def describe(blocks: str) -> str:
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:0">'
            '<Image ID="Image:0"><Pixels DimensionOrder="XYZCT" ID="Pixels:0" SizeC="1" SizeT="1" '
            f'SizeX="30" SizeY="20" SizeZ="2" Type="uint16">{blocks}</Pixels></Image></OME>'
        )

    path = tmp_path / "0.ome.tif"
    tifffile.imwrite(path, data[0], metadata=None, description=describe(blocks))
    np.testing.assert_array_equal(windows_agree(path, generator)[0], data)
    # A file may know itself by the place where it was made.
    text = describe(blocks.replace("0.ome.tif", "/home/somebody/0.ome.tif"))
    tifffile.imwrite(path, data[0], metadata=None, description=text)
    np.testing.assert_array_equal(read_image(path).data[0], data)
    tifffile.imwrite(path, data[0], metadata=None, description=describe(blocks))
    (tmp_path / "1.ome.tif").unlink()
    with pytest.raises(InputError, match=r"lacks pages.*; put all files of the set into one"):
        read_image(path)
    for strange in ("../1.ome.tif", "/dev/zero", "pipe"):
        text = describe(blocks.replace("1.ome.tif", strange))
        tifffile.imwrite(path, data[0], metadata=None, description=text)
        if strange == "pipe":
            os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InputError, match=r"belongs to an OME set with.*; put all files"):
            read_image(path)


def test_overviews_and_masks_are_no_pictures(
    tmp_path: Path, generator: np.random.Generator
) -> None:
    rasterio = pytest.importorskip("rasterio")
    data = generator.integers(0, 256, (1, 300, 400), np.uint8)
    path = tmp_path / "a.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        options = {"driver": "GTiff", "count": 1, "height": 300, "width": 400, "dtype": "uint8"}
        place = rasterio.Affine(1, 0, 5, 0, -1, 50)
        with rasterio.open(path, "w", transform=place, tiled=True, **options) as file:
            file.write(data)
            file.write_mask(data[0] > 9)
            file.build_overviews([2, 4])
    np.testing.assert_array_equal(windows_agree(path, generator), data)


# ----------------------------------------------------------------------------------- large files


def test_a_window_of_a_large_file_takes_little_memory(tmp_path: Path) -> None:
    size, tile = 24_000, 256

    def tiles() -> Any:
        for number in range((-(-size // tile)) ** 2):
            yield np.full((tile, tile), number % 251, np.uint8)

    path = tmp_path / "large.tif"
    tifffile.imwrite(
        path, tiles(), shape=(size, size), dtype=np.uint8, tile=(tile, tile), compression="zlib",
        photometric="minisblack", maxworkers=1,
    )  # fmt: skip
    assert path.stat().st_size < 2**23
    program = f"""
import resource, time
from unetkit.image import open_image, read_shape
import tifffile, imagecodecs
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
assert read_shape({str(path)!r}) == (1, {size}, {size})
opening = time.perf_counter() - start
with open_image({str(path)!r}) as opened:
    window = opened.read((slice(9_900, 10_412), slice(20_000, 20_512)))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(after - before, opening, window[0, 0, 0], window.shape)
"""
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    grown, opening, first, *_ = answer.stdout.split()
    assert int(grown) < 20_000  # KiB; the picture has 562,500
    assert float(opening) < 1
    assert int(first) == ((9_900 // tile) * -(-size // tile) + 20_000 // tile) % 251


def test_empty_tiles_are_nodata(tmp_path: Path, generator: np.random.Generator) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "a.tif"
    options = {
        "driver": "GTiff", "count": 1, "height": 30_000, "width": 30_000, "dtype": "int16",
        "nodata": -5, "tiled": True, "sparse_ok": True, "compress": "deflate",
        "transform": rasterio.Affine(1, 0, 5, 0, -1, 50),
    }  # fmt: skip
    data = generator.integers(0, 99, (100, 100), np.int16)
    with rasterio.open(path, "w", **options) as file:
        file.write(data, 1, window=((512, 612), (768, 868)))
    with open_image(path) as opened:
        part = opened.read((slice(500, 600), slice(760, 860)))
        assert (part[0, :12] == -5).all()
        np.testing.assert_array_equal(part[0, 12:, 8:], data[:88, :92])
        assert (opened.read((slice(29_000, 29_500), slice(0, 9))) == -5).all()
    with pytest.raises(InputError, match=r"promises 1\.7 GiB of pixels.*; if the picture is genui"):
        read_image(path)


def test_strips_are_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: np.random.Generator
) -> None:
    data = generator.integers(0, 256, (64, 64), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", data, rowsperstrip=64, compression="zlib")
    count, original = [], tifffile.FileHandle.read

    def counted(handle: tifffile.FileHandle, size: int = -1) -> bytes:
        count.append(size)
        return original(handle, size)

    with open_image(tmp_path / "a.tif") as opened:
        monkeypatch.setattr(tifffile.FileHandle, "read", counted)
        for row in range(0, 64, 4):
            part = opened.read((slice(row, row + 4), slice(0, 64)))
            np.testing.assert_array_equal(part[0], data[row : row + 4])
    assert len(count) == 1


# ---------------------------------------------------------------------------------- broken files


def test_a_circle_of_pages_is_refused(tmp_path: Path) -> None:
    stack = np.zeros((3, 20, 30), np.uint8)
    for options in ({}, {"bigtiff": True}, {"byteorder": ">"}):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, stack, photometric="minisblack", compression="zlib", **options)
        with tifffile.TiffFile(path) as file:
            first, last = file.pages[0].offset, file.pages[2]
            tags = len(last.tags)
            large = file.is_bigtiff
            place = last.offset + (8 + 20 * tags if large else 2 + 12 * tags)
            order = file.byteorder
        whole = bytearray(path.read_bytes())
        width = 8 if large else 4
        name = "little" if order == "<" else "big"
        for target in (first, len(whole) + 99):
            whole[place : place + width] = target.to_bytes(width, name)
            path.write_bytes(whole)
            with pytest.raises(InputError, match=r"its list of pages leads astray.*copy it again"):
                read_image(path)


def test_missing_and_misplaced_strips_are_refused(tmp_path: Path) -> None:
    data = np.arange(6400, dtype=np.uint16).reshape(80, 80)
    path = tmp_path / "a.tif"
    for name, value, message in (
        ("StripByteCounts", (0, *(99,) * 9), "nowhere"),
        ("StripOffsets", (10**6, *(99,) * 9), "ends before"),
        ("ImageLength", 800, "missing"),
    ):
        tifffile.imwrite(path, data, rowsperstrip=8, compression="zlib", metadata=None)
        with tifffile.TiffFile(path, mode="r+b") as file:
            file.pages[0].tags[name].overwrite(value)
        with pytest.raises(InputError, match=message):
            read_shape(path)


def test_values_beyond_the_end_are_refused(tmp_path: Path) -> None:
    # The pixels are all there; what tells their spacing is not.
    data = np.zeros((20, 30), np.uint8)
    path = tmp_path / "a.tif"
    metadata = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    for options in ({}, {"bigtiff": True}, {"byteorder": ">"}):
        tifffile.imwrite(path, data, ome=True, metadata=metadata, compression="zlib", **options)
        assert read_image(path).spacing == (0.5, 0.5)
        with tifffile.TiffFile(path) as file:
            tag = file.pages[0].tags["ImageDescription"]
            end = tag.valueoffset + tag.valuebytecount
        path.write_bytes(path.read_bytes()[: end - 1])
        with pytest.raises(InputError, match="ends before its tags do"):
            read_shape(path)
