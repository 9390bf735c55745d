"""Zarr folders: written by ome-zarr and zarr, read here, and the other way round."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numcodecs import GZip, Pickle

from unetkit.errors import InputError
from unetkit.image import Image, read_image, read_labels, read_shape, write_image
from unetkit.image.georeference import Georeference
from unetkit.image.opened import Opened
from unetkit.image.zarrs import create_zarr, open_zarr, write_zarr

with warnings.catch_warnings():  # it warns of its own old functions when it is imported
    warnings.simplefilter("ignore")
    from ome_zarr.format import format_from_version
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader
    from ome_zarr.writer import write_image as ome_write
    from ome_zarr.writer import write_labels as ome_labels


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def whole(opened: Opened) -> np.ndarray:
    return opened.read(tuple(slice(0, n) for n in opened.shape[1:]))


def read(path: Path, indices: bool = False) -> np.ndarray:
    opened = open_zarr(path, indices)
    data = whole(opened)
    assert (data.shape, data.dtype) == (opened.shape, opened.dtype)
    assert data.flags.c_contiguous
    assert data.flags.writeable
    assert data.dtype.isnative
    window = tuple(slice(n // 3, n // 3 + max(1, n // 2)) for n in opened.shape[1:])
    np.testing.assert_array_equal(opened.read(window), data[(slice(None), *window)])
    return data


def ome(path: Path, data: np.ndarray, version: str, axes: str, **keywords: Any) -> None:
    """Write with ome-zarr, the consortium's own library."""
    form = format_from_version(version)
    group = zarr.open_group(str(path), mode="w", zarr_format=2 if version == "0.4" else 3)
    ome_write(data, group, fmt=form, axes=axes, scale_factors=[], **keywords)


def edit(path: Path, change: Any) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


# ------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    ("axes", "stored", "expected"),
    [
        ("yx", (40, 50), (1, 40, 50)),
        ("cyx", (5, 40, 50), (5, 40, 50)),
        ("zyx", (3, 40, 50), (1, 3, 40, 50)),
        ("czyx", (2, 1, 40, 50), (2, 1, 40, 50)),
        ("tczyx", (1, 2, 1, 40, 50), (2, 40, 50)),
        ("tczyx", (1, 2, 6, 40, 50), (2, 6, 40, 50)),
        ("tyx", (1, 40, 50), (1, 40, 50)),
    ],
)
def test_what_ome_zarr_writes(
    tmp_path: Path,
    generator: np.random.Generator,
    version: str,
    axes: str,
    stored: tuple[int, ...],
    expected: tuple[int, ...],
) -> None:
    data = generator.integers(0, 65536, stored, np.uint16)
    ome(tmp_path / "a.zarr", data, version, axes)
    read_back = read(tmp_path / "a.zarr")
    np.testing.assert_array_equal(read_back, data.reshape(expected))
    assert read_back.dtype == np.uint16


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_spacing_in_micrometres(tmp_path: Path, version: str) -> None:
    data = np.zeros((2, 3, 40, 50), np.uint8)
    scale = {"c": 1.0, "z": 2.0, "y": 0.5, "x": 250.0}
    units = {"z": "millimeter", "y": "micrometer", "x": "nanometer"}
    ome(tmp_path / "a.zarr", data, version, "czyx", scale=scale, axes_units=units)
    assert open_zarr(tmp_path / "a.zarr", False).spacing == pytest.approx((2000.0, 0.5, 0.25))
    # The pyramid's own scale multiplies that of the level; an unknown unit is kept as it is.
    meta = tmp_path / "a.zarr" / (".zattrs" if version == "0.4" else "zarr.json")

    def change(content: Any) -> None:
        content = content if version == "0.4" else content["attributes"]["ome"]
        pyramid = content["multiscales"][0]
        pyramid["coordinateTransformations"] = [{"type": "scale", "scale": [1, 1, 10, 1]}]
        pyramid["axes"][1]["unit"] = "furlong"
        pyramid["datasets"][0]["coordinateTransformations"][0]["scale"][3] = -1

    edit(meta, change)
    assert open_zarr(tmp_path / "a.zarr", False).spacing == pytest.approx((2.0, 5.0, 1.0))


def test_axes_in_another_order_are_put_right(
    tmp_path: Path, generator: np.random.Generator
) -> None:
    data = generator.integers(0, 256, (20, 30, 3), np.uint8)
    array = zarr.create_array(
        str(tmp_path / "a.zarr"), data=data, dimension_names=["row", "column", "band"]
    )
    del array
    np.testing.assert_array_equal(read(tmp_path / "a.zarr"), np.moveaxis(data, -1, 0))
    # xarray's convention for version 2, with coordinates beside the data.
    group = zarr.open_group(str(tmp_path / "b.zarr"), mode="w", zarr_format=2)
    for name, values, axes in (
        ("reflectance", data.T, ["x", "band", "y"]),
        ("y", np.arange(20.0), ["y"]),
    ):
        member = group.create_array(name, data=np.ascontiguousarray(values))
        member.attrs["_ARRAY_DIMENSIONS"] = axes
    group["reflectance"].attrs.update({"_ARRAY_DIMENSIONS": ["band", "x", "y"], "_FillValue": 7})
    opened = open_zarr(tmp_path / "b.zarr", False)
    np.testing.assert_array_equal(whole(opened), np.moveaxis(data, -1, 0))
    assert opened.nodata == 7


@pytest.mark.parametrize("form", [2, 3])
def test_plain_arrays_are_guessed_as_npy(tmp_path: Path, form: int) -> None:
    cases = [(20, 30), (3, 20, 30), (13, 20, 30), (20, 30, 3), (40, 20, 30), (2, 40, 20, 30)]
    for stored in (*cases, (40, 20, 30, 2), (9, 20, 30)):
        data = np.arange(np.prod(stored), dtype=np.float32).reshape(stored)
        np.save(tmp_path / "a.npy", data)
        shutil.rmtree(tmp_path / "a.zarr", ignore_errors=True)
        zarr.create_array(str(tmp_path / "a.zarr"), data=data, zarr_format=form)
        np.testing.assert_array_equal(
            read(tmp_path / "a.zarr"), read_image(tmp_path / "a.npy").data
        )
        if stored in ((20, 30), (9, 20, 30), (40, 20, 30)):
            expected = read_labels(tmp_path / "a.npy")
            np.testing.assert_array_equal(read(tmp_path / "a.zarr", True)[0], expected)


@pytest.mark.parametrize("dtype", ["bool", "u1", ">u2", "i2", "u4", "i8", "f2", ">f4", "f8"])
def test_types(tmp_path: Path, generator: np.random.Generator, dtype: str) -> None:
    data = (generator.random((20, 30)) * 3).astype(dtype)
    for form in (2, 3):
        zarr.create_array(str(tmp_path / f"{form}.zarr"), data=data, zarr_format=form)
        back = read(tmp_path / f"{form}.zarr")
        np.testing.assert_array_equal(back[0], data)
        expected = np.uint8 if dtype == "bool" else np.dtype(dtype).newbyteorder("=")
        assert back.dtype == expected


@pytest.mark.parametrize("form", [2, 3])
def test_groups(tmp_path: Path, form: int) -> None:
    root = tmp_path / "a.zarr"
    group = zarr.open_group(str(root), mode="w", zarr_format=form)
    with pytest.raises(InputError, match=r"a\.zarr: holds no array"):
        open_zarr(root, False)
    group.create_array("something", data=np.full((20, 20), 1, np.uint8))
    assert read(root)[0, 0, 0] == 1  # the only one
    group.create_array("else", data=np.full((20, 20), 2, np.uint8))
    with pytest.raises(InputError, match="holds the arrays else, something; name the one"):
        open_zarr(root, False)
    for value, name in enumerate(("0", "mask", "data", "image"), 3):
        group.create_array(name, data=np.full((20, 20), value, np.uint8))
        assert read(root)[0, 0, 0] == (3 if name in ("0", "mask") and value == 3 else value)
        assert read(root, True)[0, 0, 0] == (3 if value == 3 else 4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of ome-zarr's own default
def test_labels_of_ome_zarr(tmp_path: Path, generator: np.random.Generator) -> None:
    pixels = generator.integers(0, 256, (3, 40, 50), np.uint8)
    labels = generator.integers(0, 9, (40, 50), np.int32)
    for version in ("0.4", "0.5"):
        root, form = tmp_path / f"{version}.zarr", format_from_version(version)
        ome(root, pixels, version, "cyx")
        np.testing.assert_array_equal(read(root, True), pixels)  # none there yet
        group = zarr.open_group(str(root), mode="r+")
        ome_labels(labels, group, name="cells", axes="yx", fmt=form, scale_factors=[])
        np.testing.assert_array_equal(read(root, True), labels[None])
        np.testing.assert_array_equal(read(root), pixels)
        ome_labels(labels + 1, group, name="nuclei", axes="yx", fmt=form, scale_factors=[])
        with pytest.raises(InputError, match="holds the labels cells, nuclei; name the one to use"):
            open_zarr(root, True)
        ome_labels(labels + 2, group, name="mask", axes="yx", fmt=form, scale_factors=[])
        np.testing.assert_array_equal(read(root, True), labels[None] + 2)


def test_bioformats2raw_and_plates(tmp_path: Path) -> None:
    root = tmp_path / "a.zarr"
    group = zarr.open_group(str(root), mode="w", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    group.create_group("OME").attrs["series"] = ["0"]
    ome(root / "0", np.full((1, 2, 1, 20, 30), 5, np.uint8), "0.4", "tczyx")
    assert read(root).shape == (2, 20, 30)
    ome(root / "1", np.full((1, 2, 1, 20, 30), 5, np.uint8), "0.4", "tczyx")
    with pytest.raises(InputError, match="holds several pictures"):
        open_zarr(root, False)
    zarr.open_group(str(tmp_path / "p.zarr"), mode="w").attrs["ome"] = {"plate": {}}
    with pytest.raises(InputError, match=r"plate of wells.*A/1/0"):
        open_zarr(tmp_path / "p.zarr", False)


def test_old_versions_without_axes(tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    group.create_array("s0", data=np.zeros((1, 3, 1, 20, 30), np.uint8))
    group.attrs["multiscales"] = [{"datasets": [{"path": "s0"}], "version": "0.1"}]
    assert read(tmp_path / "a.zarr").shape == (3, 20, 30)
    group.attrs["multiscales"] = [
        {"datasets": [{"path": "s0"}], "axes": list("tczyx"), "version": "0.3"}
    ]
    assert read(tmp_path / "a.zarr").shape == (3, 20, 30)


def test_shards(tmp_path: Path, generator: np.random.Generator) -> None:
    data = generator.integers(0, 65536, (3, 200, 300), np.uint16)
    zarr.create_array(str(tmp_path / "a.zarr"), data=data, chunks=(1, 32, 32), shards=(3, 64, 64))
    np.testing.assert_array_equal(read(tmp_path / "a.zarr"), data)


# ------------------------------------------------------------------------------------ writing


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("shape", [(1, 30, 40), (3, 1100, 900), (2, 5, 30, 40), (1, 1, 7, 9)])
def test_ome_zarr_reads_what_we_write(
    tmp_path: Path, generator: np.random.Generator, version: Any, shape: tuple[int, ...]
) -> None:
    data = generator.integers(0, 65536, shape, np.uint16)
    spacing = (2.5, 0.5, 0.25)[3 - (len(shape) - 1) :]
    path = tmp_path / "a.ome.zarr"
    write_zarr(Image(data, spacing), path, version)
    node = next(iter(Reader(parse_url(path))()))
    levels = [np.asarray(level) for level in node.data]
    np.testing.assert_array_equal(levels[0], data)
    names = [axis["name"] for axis in node.metadata["axes"]]
    assert names == list("czyx" if len(shape) == 4 else "cyx")
    steps = node.metadata["coordinateTransformations"]
    for factor, (level, step) in enumerate(zip(levels, steps, strict=True)):
        thinned = data[..., :: 2**factor, :: 2**factor]
        np.testing.assert_array_equal(level, thinned)
        scale = [1.0, *spacing[:-2], *(s * 2**factor for s in spacing[-2:])]
        assert step[0]["scale"] == scale
    assert len(levels) == (2 if max(shape) > 1024 else 1)
    assert open_zarr(path, False).spacing == spacing
    np.testing.assert_array_equal(read(path), data)
    assert [p.name for p in tmp_path.iterdir()] == ["a.ome.zarr"]


def test_the_metadata_is_valid(tmp_path: Path) -> None:
    import ome_zarr_models

    for version in ("0.4", "0.5"):
        path = tmp_path / f"{version}.zarr"
        write_zarr(Image(np.zeros((2, 1030, 40), np.uint8), (0.5, 0.25)), path, version)
        model = ome_zarr_models.open_ome_zarr(zarr.open_group(str(path), mode="r"), version=version)
        assert type(model).__name__ == "Image"
        zarr_array = zarr.open_array(str(path / "0"), mode="r")
        assert zarr_array.chunks == (1, 1024, 40)
        assert "blosc" in str(zarr_array.compressors).lower()
    assert zarr_array.metadata.dimension_names == ("c", "y", "x")


def test_frames_and_nodata_come_back(tmp_path: Path) -> None:
    affine = np.array([[-0.5, 0, 0, 9], [0, 0.1, 0, 8], [0, 0, 2, 1 / 3], [0, 0, 0, 1]])
    write_zarr(Image(np.ones((1, 2, 3, 4), np.int16), (2, 0.1, 0.5), affine), tmp_path / "a.zarr")
    np.testing.assert_array_equal(open_zarr(tmp_path / "a.zarr", False).frame, affine)
    place = Georeference(
        (10.0, 0.0, 5e5, 0.0, -10.0, 4.2e6),
        "EPSG:32633",
        ((33550, (10.0, 10.0, 0.0)), (34735, (1, 1, 0, 0)), (34737, "WGS 84|")),
    )
    for number, version in ((-9999.0, "0.4"), (float("nan"), "0.5"), (float("inf"), "0.5")):
        image = Image(np.ones((1, 3, 4), np.float32), (10, 10), place, nodata=number)
        write_zarr(image, tmp_path / "b.zarr", version)
        opened = open_zarr(tmp_path / "b.zarr", False)
        assert opened.frame == place
        assert repr(opened.nodata) == repr(number)
    # Metadata must stay JSON that any reader takes: bare NaN is none.
    json.loads((tmp_path / "b.zarr" / "zarr.json").read_text(), parse_constant=pytest.fail)


def test_a_stream_of_slabs(tmp_path: Path, generator: np.random.Generator) -> None:
    data = generator.random((2, 2500, 70), np.float32)
    with create_zarr(tmp_path / "a.zarr", data.shape, "f4", spacing=(3, 2), nodata=-1) as array:
        assert not (tmp_path / "a.zarr").exists()
        for start in range(0, 2000, 1024):
            array[:, start : start + 1024] = data[:, start : start + 1024]
    assert np.array_equal(read(tmp_path / "a.zarr")[:, :2048], data[:, :2048])
    assert (read(tmp_path / "a.zarr")[:, 2048:] == -1).all()  # never written
    coarse = zarr.open_array(str(tmp_path / "a.zarr" / "2"), mode="r")
    assert coarse.shape == (2, 625, 18)
    np.testing.assert_array_equal(coarse[:, :512], data[:, :2048:4, ::4])

    # A block that fails leaves the older folder as it was.
    def stop() -> None:
        with create_zarr(tmp_path / "a.zarr", (1, 8, 8), "u1") as array:
            array[...] = 1
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stop()
    assert read(tmp_path / "a.zarr").shape == data.shape
    with create_zarr(tmp_path / "a.zarr", (1, 8, 8), "u1") as array:
        array[...] = 1
    assert read(tmp_path / "a.zarr").shape == (1, 8, 8)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_nothing_else_is_ever_replaced(tmp_path: Path) -> None:
    image = Image(np.zeros((1, 4, 4), np.uint8))
    (tmp_path / "thesis.zarr").mkdir()
    (tmp_path / "thesis.zarr" / "chapter.tex").touch()
    (tmp_path / "file.zarr").touch()
    (tmp_path / "file").touch()
    for name in ("thesis.zarr", "file.zarr"):
        with pytest.raises(InputError, match=f"{name}: something that is no Zarr folder stands"):
            write_zarr(image, tmp_path / name)
    with pytest.raises(InputError, match="cannot be written"):
        write_zarr(image, tmp_path / "file" / "a.zarr")
    with pytest.raises(InputError, match="complex64 pixels"):
        write_zarr(Image(np.zeros((1, 4, 4), np.complex64)), tmp_path / "c.zarr")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "file.zarr", "thesis.zarr"]
    assert (tmp_path / "thesis.zarr" / "chapter.tex").exists()


def test_booleans_are_written_as_0_and_1(tmp_path: Path) -> None:
    write_zarr(Image(np.array([[[True, False]]])), tmp_path / "a.zarr")
    assert read(tmp_path / "a.zarr").tolist() == [[[1, 0]]]


# ------------------------------------------------------------------------------ what is refused


def test_time_is_refused(tmp_path: Path) -> None:
    ome(tmp_path / "a.zarr", np.zeros((4, 20, 30), np.uint8), "0.5", "tyx")
    with pytest.raises(InputError, match=r"a\.zarr: has 4 time points; save one file per time"):
        open_zarr(tmp_path / "a.zarr", False)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("was unpickled",)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    import pickle

    root = tmp_path / "a.zarr"
    zarr.create_array(
        str(root), shape=(4, 4), chunks=(4, 4), dtype="u1", zarr_format=2, filters=None,
        compressors=GZip(),
    )  # fmt: skip
    (root / "0.0").write_bytes(pickle.dumps(Evil()))
    edit(root / ".zarray", lambda c: c.update(compressor=Pickle().get_config()))
    with pytest.raises(InputError, match="by the codec pickle, which is not understood; save it"):
        whole(open_zarr(root, False))
    edit(root / ".zarray", lambda c: c.update(compressor=None, filters=[Pickle().get_config()]))
    with pytest.raises(InputError, match="by the codec pickle"):
        whole(open_zarr(root, False))
    edit(root / ".zarray", lambda c: c.update(dtype="|O"))
    with pytest.raises(InputError, match=r"pixels of type \|O are not understood"):
        whole(open_zarr(root, False))


def refused(root: Path, message: str) -> None:
    for indices in (False, True):
        with pytest.raises(InputError, match=message) as caught:
            whole(open_zarr(root, indices))
        assert str(root) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.cure


def test_no_path_leads_out(tmp_path: Path) -> None:
    zarr.create_array(str(tmp_path / "secret"), data=np.zeros((8, 8), np.uint8), zarr_format=3)
    root = tmp_path / "a.zarr"
    ome(root, np.zeros((8, 8), np.uint8), "0.5", "yx")
    for name in ("../secret", str(tmp_path / "secret"), "0/../../secret", "", "C:/secret", "..\\s"):

        def change(content: Any, name: str = name) -> None:
            content["attributes"]["ome"]["multiscales"][0]["datasets"][0]["path"] = name

        edit(root / "zarr.json", change)
        refused(root, "names a member .* outside itself")
    labels = zarr.open_group(str(root), mode="r+").create_group("labels")
    labels.attrs["ome"] = {"labels": ["../../secret"]}
    with pytest.raises(InputError, match="outside itself"):
        open_zarr(root, True)


def test_petabytes_are_read_by_window_only(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    array = zarr.create_array(
        str(path), shape=(4, 2**24, 2**24), chunks=(1, 256, 256), dtype="u1", fill_value=3
    )
    array[1, 1000:1010, 2000:2010] = 9
    opened = open_zarr(path, False)
    assert opened.shape == (4, 2**24, 2**24)
    window = opened.read((slice(995, 1015), slice(1990, 2020)))
    assert window.sum() == 4 * 600 * 3 + 100 * 6
    with pytest.raises(InputError, match=r"promises 1048576.0 GiB.*read it by window"):
        whole(opened)
    zarr.create_array(str(tmp_path / "b.zarr"), shape=(10**5, 10**5), chunks=(1, 1), dtype="u1")
    with pytest.raises(InputError, match="chunks of 1 × 1; save it in chunks such"):
        open_zarr(tmp_path / "b.zarr", False).read((slice(0, 1000), slice(0, 1000)))


def test_chunks_that_swell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for form, key in ((2, "0.0"), (3, "c/0/0")):
        root = tmp_path / f"{form}.zarr"
        data = np.ones((64, 64), np.uint8)
        zarr.create_array(
            str(root), data=data, zarr_format=form, chunks=(64, 64),
            compressors=GZip() if form == 2 else zarr.codecs.GzipCodec(),
        )  # fmt: skip
        (root / key).write_bytes(gzip.compress(bytes(2**27)))  # 130 kB for 4 kB of pixels
        refused(root, f"its chunk {key} is larger than its pixels")
    zarr.create_array(str(tmp_path / "b.zarr"), shape=(9, 10**6), chunks=(9, 10**6), dtype="u1")
    monkeypatch.setattr("unetkit.image.zarr_chunks.memory", lambda: 10**6)
    with pytest.raises(InputError, match="chunks of 9 × 1000000, too large"):
        open_zarr(tmp_path / "b.zarr", False).read((slice(0, 1), slice(0, 1)))


def test_folders_that_are_no_zarr(tmp_path: Path) -> None:
    (tmp_path / "empty.zarr").mkdir()
    (tmp_path / "file.zarr").write_bytes(b"x")
    (tmp_path / "loop.zarr").symlink_to(tmp_path / "loop.zarr")
    for name in ("empty.zarr", "file.zarr", "none.zarr"):
        refused(tmp_path / name, "holds no Zarr metadata; give the folder")
    refused(tmp_path / "loop.zarr", "loop.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("shape", [8, -8], "declares the size"),
        ("shape", [8], "names the axes y, x of an array with 1|chunks do not fit"),
        ("shape", "many", "names the axes y, x of an array with 4"),
        ("shape", [8, 0], "has no pixels"),
        ("shape", [8, 2**70], "declares the size"),
        ("chunks", [0, 0], "declares the size"),
        ("chunks", [8], "chunks do not fit"),
        ("chunks", [4, 4], "cannot be read as zarr"),  # the one chunk holds more
        ("chunks", [10**6, 10**6], "chunks of 1000000 × 1000000, too large for this machine"),
        ("type", "|S8", "pixels of type"),
        ("type", "string", "pixels of type"),
        ("type", [["a", "u1"]], "pixels of type"),
        ("type", "<f8", "cannot be read as zarr|pixels of type"),
        ("codec", "b64", "stored by the codec b64"),
        ("codec", 7, "cannot be read as zarr|codec"),
    ],
)
def test_metadata_that_lies(
    tmp_path: Path, version: str, key: str, value: Any, message: str
) -> None:
    root = tmp_path / "a.zarr"
    ome(root, np.arange(64, dtype=np.uint8).reshape(8, 8), version, "yx")

    def change(content: Any) -> None:
        if version == "0.4":
            content[{"type": "dtype", "codec": "compressor"}.get(key, key)] = (
                {"id": value} if key == "codec" else value
            )
        elif key == "chunks":
            content["chunk_grid"]["configuration"]["chunk_shape"] = value
        elif key == "codec":
            content["codecs"] = [{"name": value}]
        else:
            content["data_type" if key == "type" else key] = value

    edit(root / "s0" / (".zarray" if version == "0.4" else "zarr.json"), change)
    refused(root, message)


@pytest.mark.parametrize("form", [2, 3])
def test_cut_short_at_every_tenth(
    tmp_path: Path, generator: np.random.Generator, form: int
) -> None:
    data = generator.integers(0, 256, (50, 60), np.uint8)
    root = tmp_path / "a.zarr"
    for compressor in ("auto", None):
        shutil.rmtree(root, ignore_errors=True)
        zarr.create_array(str(root), data=data, zarr_format=form, compressors=compressor)
        for file in [p for p in root.rglob("*") if p.is_file() and p.name != ".zattrs"]:
            sound = file.read_bytes()
            for tenth in range(10):
                file.write_bytes(sound[: len(sound) * tenth // 10])
                refused(root, "cannot be read as zarr|no Zarr metadata")
            file.write_bytes(sound)
        np.testing.assert_array_equal(read(root)[0], data)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_garbage_never_escapes(
    tmp_path: Path, generator: np.random.Generator, version: str
) -> None:
    root = tmp_path / "a.zarr"
    data = generator.integers(0, 256, (2, 50, 60), np.uint8)
    ome(root, data, version, "cyx", storage_options={"chunks": (1, 32, 32)})
    files = sorted(p for p in root.rglob("*") if p.is_file())
    for _ in range(150):
        file = files[generator.integers(len(files))]
        sound = file.read_bytes()
        damaged = np.frombuffer(sound, np.uint8).copy()
        where = generator.integers(0, len(sound), 2)
        if file.name.startswith(".z") or file.name == "zarr.json":
            damaged[where] = generator.choice(np.frombuffer(b'019-{}[]",:ae', np.uint8), 2)
        else:
            damaged[where] = generator.integers(0, 256, 2)
        file.write_bytes(damaged.tobytes())
        try:
            opened = open_zarr(root, False)
            if np.prod(opened.shape) < 10**7:
                whole(opened)
        except InputError as error:
            assert str(root) in str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
        file.write_bytes(sound)
    np.testing.assert_array_equal(read(root), data)


def test_nothing_is_printed_at_the_end(tmp_path: Path, generator: np.random.Generator) -> None:
    root = tmp_path / "a.zarr"
    zarr.create_array(str(root), data=generator.integers(0, 9, (400, 400)), chunks=(10, 10))
    for file in (root / "c").rglob("*"):
        if file.is_file():
            file.write_bytes(b"no chunk")
    program = """
import sys
from pathlib import Path
from unetkit.errors import InputError
from unetkit.image.zarrs import open_zarr
try:
    open_zarr(Path(sys.argv[1]), False).read((slice(0, 400), slice(0, 400)))
except InputError:
    print("refused")
"""
    answer = subprocess.run([sys.executable, "-c", program, root], capture_output=True, text=True)
    assert (answer.stdout, answer.stderr) == ("refused\n", "")


def test_deep_json_and_endless_groups(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text("[" * 200_000)
    refused(tmp_path / "a.zarr", "cannot be read as zarr")
    (tmp_path / "a.zarr" / "zarr.json").write_text("[]")
    refused(tmp_path / "a.zarr", "is no Zarr metadata")
    zarr.open_group(str(tmp_path / "b.zarr"), mode="w", zarr_format=3)
    (tmp_path / "b.zarr" / "0").symlink_to(tmp_path / "b.zarr")
    refused(tmp_path / "b.zarr", "groups lie within groups without end")


def test_import_is_light() -> None:
    listed = "[m for m in ('zarr', 'numcodecs') if m in sys.modules]"
    program = f"import sys, unetkit.image.zarrs; print({listed})"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert answer.stdout.strip() == b"[]"


def test_through_the_door(tmp_path: Path, generator: np.random.Generator) -> None:
    data = generator.integers(0, 65536, (2, 30, 40), np.uint16)
    place = Georeference((10.0, 0.0, 5e5, 0.0, -10.0, 4.2e6), "EPSG:32633")
    for name in ("a.zarr", "b.OME.zarr"):
        write_image(Image(data, (10, 10), place, nodata=0), tmp_path / name)
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.data, data)
        assert (image.spacing, image.frame, image.nodata) == ((10, 10), place, 0)
        assert image.path == tmp_path / name
        assert read_shape(tmp_path / name) == (2, 30, 40)
    write_image(Image(data[:1] % 3), tmp_path / "m.zarr")
    np.testing.assert_array_equal(read_labels(tmp_path / "m.zarr"), data[0] % 3)
    (tmp_path / "a.zarr" / "0" / "zarr.json").write_text("{")
    with pytest.raises(InputError, match=r"a\.zarr: cannot be read as zarr.*copy it again"):
        read_image(tmp_path / "a.zarr")
