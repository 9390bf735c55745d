"""JPEG 2000, ERDAS Imagine and virtual rasters: written by rasterio, read here."""

from __future__ import annotations

import os
import socket
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.shutil import copy
from rasterio.transform import Affine

from unetkit.errors import InputError
from unetkit.image import read_image, read_labels, read_shape, write_image
from unetkit.image.georeference import Georeference
from unetkit.image.opened import Opened
from unetkit.image.raster import open_raster

PLACE = Affine(10.0, 0.0, 5e5, 0.0, -20.0, 4.2e6)
DRIVERS = {".img": "HFA", ".jp2": "JP2OpenJPEG", ".tif": "GTiff"}


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def written(path: Path, data: np.ndarray, **profile: Any) -> Path:
    """Write (c, y, x) with rasterio, losslessly, with a place on a map unless told otherwise."""
    profile = {"crs": "EPSG:32633", "transform": PLACE} | profile
    if path.suffix == ".jp2":
        profile |= {"QUALITY": 100, "REVERSIBLE": "YES"}
    path.parent.mkdir(exist_ok=True, parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(
            path, "w", driver=DRIVERS[path.suffix], count=len(data), height=data.shape[1],
            width=data.shape[2], dtype=data.dtype, **profile,
        ) as dataset:  # fmt: skip
            dataset.write(data)
    return path


def virtual(path: Path, source: Path) -> Path:
    """Write a VRT of one file, as `gdal_translate -of VRT` does."""
    copy(source, path, driver="VRT")
    return path


def whole(opened: Opened) -> np.ndarray:
    return opened.read(tuple(slice(0, n) for n in opened.shape[1:]))


def read(path: Path, indices: bool = False) -> np.ndarray:
    opened = open_raster(path, indices)
    data = whole(opened)
    assert (data.shape, data.dtype) == (opened.shape, opened.dtype)
    assert data.flags.c_contiguous
    assert data.flags.writeable
    window = tuple(slice(n // 3, n // 3 + max(1, n // 2)) for n in opened.shape[1:])
    np.testing.assert_array_equal(opened.read(window), data[(slice(None), *window)])
    opened.close()
    return data


# ------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize("suffix", [".img", ".jp2", ".vrt"])
@pytest.mark.parametrize("bands", [1, 3, 5])
def test_bands_and_place(
    tmp_path: Path, generator: np.random.Generator, suffix: str, bands: int
) -> None:
    data = generator.integers(0, 4000, (bands, 130, 70), np.uint16)
    if suffix == ".vrt":
        path = virtual(tmp_path / "a.vrt", written(tmp_path / "a.tif", data, nodata=0))
    else:
        path = written(tmp_path / f"a{suffix}", data, nodata=0)
    np.testing.assert_array_equal(read(path), data)
    opened = open_raster(path, False)
    assert opened.dtype == np.uint16
    assert opened.spacing == (20.0, 10.0)
    assert opened.nodata == 0
    assert opened.frame == Georeference((10.0, 0.0, 5e5, 0.0, -20.0, 4.2e6), "EPSG:32633")
    opened.close()


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f4", "f8"])
def test_types_of_imagine_files(tmp_path: Path, generator: np.random.Generator, dtype: str) -> None:
    data = (generator.random((2, 30, 40)) * 100).astype(dtype)
    path = written(tmp_path / "a.img", data)
    np.testing.assert_array_equal(read(path), data)
    assert open_raster(path, False).dtype == np.dtype(dtype)
    assert open_raster(path, False).nodata is None


def test_turned_maps_and_maps_without_a_name(tmp_path: Path) -> None:
    turned = Affine(3.0, 4.0, 100.0, 8.0, -6.0, 200.0)
    source = written(tmp_path / "a.tif", np.ones((1, 8, 9), np.uint8), transform=turned, crs=None)
    opened = open_raster(virtual(tmp_path / "a.vrt", source), False)
    assert opened.frame == Georeference((3.0, 4.0, 100.0, 8.0, -6.0, 200.0), "")
    assert opened.spacing == pytest.approx((np.hypot(4, 6), np.hypot(3, 8)))


def test_pictures_without_a_place(tmp_path: Path, generator: np.random.Generator) -> None:
    data = generator.integers(0, 256, (4, 30, 40), np.uint8)
    for place, kept in (({"crs": None, "transform": Affine.identity()}, 3), ({}, 4)):
        path = written(tmp_path / "a.tif", data, photometric="RGB", ALPHA="YES", **place)
        path = virtual(tmp_path / "a.vrt", path)
        np.testing.assert_array_equal(read(path), data[:kept])
        np.testing.assert_array_equal(read(path, indices=True), data[:3])
        assert (open_raster(path, False).frame is None) == (kept == 3)


def test_palettes(tmp_path: Path) -> None:
    indices = np.array([[[0, 1, 2], [2, 1, 0]]], np.uint8)
    path = written(tmp_path / "a.img", indices)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {0: (10, 20, 30), 1: (200, 100, 0), 2: (7, 8, 9)})
        dataset.colorinterp = [ColorInterp.palette]
    assert read(path, indices=True).tolist() == indices.tolist()
    data = read(path)
    assert data.shape == (3, 2, 3)
    assert data[:, 0, 1].tolist() == [200, 100, 0]
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {0: (5, 5, 5), 1: (6, 6, 6), 2: (9, 9, 9)})
    assert read(path).tolist() == [[[5, 6, 9], [9, 6, 5]]]


def test_mosaics_of_mosaics(tmp_path: Path, generator: np.random.Generator) -> None:
    data = generator.integers(0, 256, (1, 40, 60), np.uint8)
    for name, columns in (("left", slice(0, 30)), ("right", slice(30, 60))):
        written(tmp_path / "tiles" / f"{name}.tif", np.ascontiguousarray(data[:, :, columns]))
        virtual(tmp_path / "tiles" / f"{name}.vrt", tmp_path / "tiles" / f"{name}.tif")
    sources = "".join(
        f"""<SimpleSource><SourceFilename relativeToVRT="1">tiles/{name}.vrt</SourceFilename>
        <SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0" xSize="30" ySize="40"/>
        <DstRect xOff="{x}" yOff="0" xSize="30" ySize="40"/></SimpleSource>"""
        for name, x in (("left", 0), ("right", 30))
    )
    (tmp_path / "a.vrt").write_text(
        '<?xml version="1.0"?>\n<VRTDataset rasterXSize="60" rasterYSize="40">'
        f'<VRTRasterBand dataType="Byte" band="1" subClass="VRTSourcedRasterBand">{sources}'
        "</VRTRasterBand></VRTDataset>"
    )
    np.testing.assert_array_equal(read(tmp_path / "a.vrt"), data)
    (tmp_path / "link").symlink_to(tmp_path / "tiles")
    (tmp_path / "link.vrt").symlink_to(tmp_path / "tiles" / "left.vrt")
    np.testing.assert_array_equal(read(tmp_path / "link.vrt"), data[:, :, :30])


def test_large_rasters_are_read_by_window(tmp_path: Path) -> None:
    text = virtual(
        tmp_path / "a.vrt", written(tmp_path / "a.tif", np.ones((1, 10, 10), np.uint8))
    ).read_text()
    text = text.replace('rasterXSize="10"', 'rasterXSize="2000000000"')
    (tmp_path / "a.vrt").write_text(text.replace('rasterYSize="10"', 'rasterYSize="2000000000"'))
    opened = open_raster(tmp_path / "a.vrt", False)
    assert opened.shape == (1, 2_000_000_000, 2_000_000_000)
    assert opened.read((slice(5, 15), slice(5, 15))).sum() == 25
    with pytest.raises(InputError, match="more than this machine's memory; read it by window"):
        whole(opened)
    with pytest.raises(InputError, match=r"promises 3\.7 GiB of pixels in a file of"):
        opened.read((slice(0, 20000), slice(0, 200_000)))


# ------------------------------------------------------------------------------ what is refused


def refused(path: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        whole(open_raster(path, False))
    assert path.stem in str(caught.value)
    assert caught.value.cure
    assert "\n" not in str(caught.value)


@pytest.fixture
def vrt(tmp_path: Path) -> Path:
    """Give a sound VRT of `a.tif` in a folder of its own; a secret lies outside."""
    data = np.arange(100, dtype=np.uint8).reshape(1, 10, 10)
    written(tmp_path / "secret.tif", data)
    return virtual(tmp_path / "in" / "a.vrt", written(tmp_path / "in" / "a.tif", data))


def test_nothing_outside_the_folder_is_read(
    vrt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = '<SourceFilename relativeToVRT="1">a.tif</SourceFilename>'
    text = vrt.read_text()
    assert named in text
    inside = tmp_path / "in" / "a.tif"
    vrt.write_text(text.replace(named, f"<SourceFilename>{inside}</SourceFilename>"))
    assert read(vrt).shape == (1, 10, 10)
    monkeypatch.chdir(tmp_path / "in")
    vrt.write_text(text.replace(named, '<SourceFilename relativeToVRT="0">a.tif</SourceFilename>'))
    assert read(vrt).shape == (1, 10, 10)
    outside = "outside its folder; copy its pixels into one file: gdal_translate"
    for name, message in {
        "../secret.tif": outside,
        "../in/a.tif": outside,
        str(tmp_path / "secret.tif"): outside,
        "/vsicurl/http://127.0.0.1:1/a.tif": outside,
        "/vsizip/a.zip/a.tif": outside,
        "http://127.0.0.1:1/a.tif": "which is missing",
        "WMS:http://127.0.0.1:1/": "which is missing",
        "vrt://a.tif?bands=1": "which is missing",
        "b.tif": "is made of b.tif, which is missing; copy it",
        " a.tif": outside,
        "": outside,
        ".": outside,
        "&#0;": "cannot be read as vrt",
        "<!-- -->a.tif": "holds comments",
        "<![CDATA[a.tif]]>": "holds comments",
        "&lt;VRTDataset/&gt;": "which is missing",
    }.items():
        for relative in ("0", "1"):
            one = f'<SourceFilename relativeToVRT="{relative}">{name}</SourceFilename>'
            vrt.write_text(text.replace(named, one))
            refused(vrt, message)
    vrt.write_text(text.replace(named, '<sourcefilename relativeToVRT="1">../x</sourcefilename>'))
    refused(vrt, outside)
    vrt.write_text(text.replace(named, named.replace('"1"', '"yes"')))
    refused(vrt, "what its names are relative to")


@pytest.mark.parametrize(
    "change",
    [
        ("<VRTDataset ", '<VRTDataset subClass="VRTWarpedDataset" '),
        ("<VRTRasterBand ", '<VRTRasterBand subClass="VRTRawRasterBand" '),
        ("<VRTRasterBand ", '<VRTRasterBand SUBCLASS="VRTDerivedRasterBand" '),
        ("<SimpleSource>", '<SimpleSource SourceFilename="/etc/passwd">'),
        ("<SimpleSource>", "<SimpleSource><OpenOptions/>"),
        ("<SourceBand>", "<PixelFunctionCode>import os</PixelFunctionCode><SourceBand>"),
        ("</VRTDataset>", "<Overview/></VRTDataset>"),
        (
            "</VRTDataset>",
            '<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">x</MDI></Metadata></VRTDataset>',
        ),
    ],
)
def test_only_mosaics_are_read(vrt: Path, change: tuple[str, str]) -> None:
    text = vrt.read_text()
    assert change[0] in text
    vrt.write_text(text.replace(*change))
    refused(vrt, "which is more than a mosaic; copy its pixels into one file")


def test_sources_are_plain_pictures(vrt: Path) -> None:
    network = "<GDAL_WMS><Service name='TMS'><ServerUrl>http://127.0.0.1:1/</ServerUrl></Service>"
    for content in (network, "%PDF-1.4", "SQLite format 3\0", "\x89HDF\r\n\x1a\n", "x"):
        (vrt.parent / "a.tif").write_bytes(content.encode("latin-1"))
        refused(vrt, "is made of a.tif, no plain picture")
    (vrt.parent / "a.tif").unlink()
    (vrt.parent / "a.tif").symlink_to(vrt)
    refused(vrt, "refers to itself without end")


def test_no_socket_is_opened(vrt: Path) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.2)
    address = f"http://127.0.0.1:{server.getsockname()[1]}/a.tif"
    text = vrt.read_text()
    for name in (address, f"/vsicurl/{address}", f"/vsicurl_streaming/{address}"):
        vrt.write_text(text.replace("a.tif", name))
        refused(vrt, "outside its folder|missing")
    # Files beside a source, which GDAL would open of its own accord, do not count.
    vrt.write_text(text)
    overview = (
        f"<GDAL_WMS><Service name='TMS'><ServerUrl>{address}</ServerUrl></Service></GDAL_WMS>"
    )
    (vrt.parent / "a.tif.ovr").write_text(overview)
    (vrt.parent / "a.tif.aux.xml").write_text(
        "<PAMDataset><Metadata domain='OVERVIEWS'><MDI key='OVERVIEW_FILE'>"
        f"/vsicurl/{address}</MDI></Metadata></PAMDataset>"
    )
    large, small = '<DstRect xOff="0" yOff="0" xSize="10" ySize="10"', 'xSize="3" ySize="3"'
    assert large in text
    text = text.replace(large, f'<DstRect xOff="0" yOff="0" {small}')  # which asks for overviews
    vrt.write_text(text)
    whole(open_raster(vrt, False))
    with pytest.raises(TimeoutError):
        server.accept()
    server.close()


def test_bands_of_several_nodata_values(vrt: Path) -> None:
    band = (
        """<VRTRasterBand dataType="Byte" band="2"><NoDataValue>7</NoDataValue></VRTRasterBand>"""
    )
    vrt.write_text(vrt.read_text().replace("</VRTDataset>", band + "</VRTDataset>"))
    refused(vrt, r"different nodata values \(7.0, None\); give them one: gdal_translate -a_nodata")


def test_complex_numbers(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", np.ones((1, 8, 9), np.complex64))
    refused(virtual(tmp_path / "a.vrt", path), "pixels of type complex64")


@pytest.mark.parametrize("suffix", [".img", ".jp2", ".vrt"])
def test_cut_short_at_every_tenth(
    tmp_path: Path,
    generator: np.random.Generator,
    capfd: pytest.CaptureFixture[str],
    suffix: str,
) -> None:
    data = generator.integers(0, 4000, (2, 130, 70), np.uint16)
    source = written(tmp_path / ("a.tif" if suffix == ".vrt" else f"a{suffix}"), data)
    target = virtual(tmp_path / "a.vrt", source) if suffix == ".vrt" else source
    for path in {source, target}:
        sound = path.read_bytes()
        for tenth in range(10):
            path.write_bytes(sound[: len(sound) * tenth // 10])
            refused(target, "a")
        path.write_bytes(sound)
    np.testing.assert_array_equal(read(target), data)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".img", ".jp2", ".vrt"])
def test_garbage_never_escapes(
    tmp_path: Path,
    generator: np.random.Generator,
    capfd: pytest.CaptureFixture[str],
    suffix: str,
) -> None:
    data = generator.integers(0, 256, (1, 64, 64), np.uint8)
    source = written(tmp_path / ("a.tif" if suffix == ".vrt" else f"a{suffix}"), data)
    path = virtual(tmp_path / "a.vrt", source) if suffix == ".vrt" else source
    sound = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(80):
        damaged = sound.copy()
        where = generator.integers(0, min(len(sound), 4000), 3)
        damaged[where] = generator.integers(32 if suffix == ".vrt" else 0, 256, 3)
        path.write_bytes(damaged.tobytes())
        try:
            opened = open_raster(path, False)
            if np.prod(opened.shape) < 10**7:
                whole(opened)
            opened.close()
        except InputError as error:
            assert str(path) in str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
    output, errors = capfd.readouterr()
    assert output == ""
    # A library that GDAL reads the place by prints what it finds wrong, past GDAL and us.
    assert not [line for line in errors.splitlines() if ": Key " not in line]


def test_what_is_no_raster(tmp_path: Path) -> None:
    (tmp_path / "a.img").write_bytes(b"\x5c\x01\0\0" + bytes(344))  # Analyze 7.5
    refused(tmp_path / "a.img", r"is no ERDAS Imagine file; if it is a pair of \.hdr and \.img")
    (tmp_path / "b.jp2").write_bytes(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99))
    refused(tmp_path / "b.jp2", "cannot be read as jp2")
    (tmp_path / "c.vrt").write_text("<OGRVRTDataSource/>")
    refused(tmp_path / "c.vrt", "holds <OGRVRTDataSource>")
    (tmp_path / "d.vrt").write_text("<VRTDataset>" * 100_000)
    refused(tmp_path / "d.vrt", "cannot be read as vrt")
    bomb = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    (tmp_path / "e.vrt").write_text(f'<!DOCTYPE x [<!ENTITY a0 "x">{bomb}]><VRTDataset/>')
    refused(tmp_path / "e.vrt", "holds comments or entities")
    (tmp_path / "f.vrt").symlink_to(tmp_path / "f.vrt")
    refused(tmp_path / "f.vrt", "f.vrt")
    refused(tmp_path / "g.vrt", "no such file; check the path")
    with (tmp_path / "h.vrt").open("wb") as file:
        os.truncate(file.fileno(), 2**30)
    refused(tmp_path / "h.vrt", "is too long")


def test_the_hint_when_rasterio_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(InputError, match=r"needs rasterio; pip install 'unetkit\[geo\]'"):
        open_raster(tmp_path / "a.jp2", False)


@pytest.mark.parametrize("suffix", [".img", ".jp2", ".vrt"])
def test_through_the_door(tmp_path: Path, generator: np.random.Generator, suffix: str) -> None:
    data = generator.integers(0, 4, (1, 130, 70), np.uint8)
    source = written(tmp_path / ("a.tif" if suffix == ".vrt" else f"a{suffix}"), data, nodata=3)
    path = virtual(tmp_path / "a.vrt", source) if suffix == ".vrt" else source
    image = read_image(path)
    np.testing.assert_array_equal(image.data, data)
    assert np.isnan(image.intensities()).sum() == (data == 3).sum()
    assert image.spacing == (20, 10)
    assert read_shape(path) == data.shape
    np.testing.assert_array_equal(
        read_labels(path), np.where(data[0] == 3, -1, data[0].astype(int))
    )
    write_image(image, tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as there:
        assert there.crs.to_epsg() == 32633
        assert there.transform == PLACE
        assert there.nodata == 3
