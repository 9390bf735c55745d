"""GeoTIFF: place, bands and nodata as rasterio (GDAL) writes and reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from unetkit.errors import InputError
from unetkit.image import Georeference, Image, open_image, read_image, read_labels, write_image

rasterio = pytest.importorskip("rasterio")

DATA = Path(__file__).parents[1].parent / "shared" / "data"
NORTH_UP = (30.0, 0.0, 500_000.0, 0.0, -20.0, 4_600_000.0)
ROTATED = (8.0, 3.0, 500_000.0, 2.0, -9.0, 4_600_000.0)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def write(path: Path, data: np.ndarray, crs: Any = "EPSG:32633", **options: Any) -> None:
    options = {"transform": rasterio.Affine(*NORTH_UP), **options}
    with rasterio.open(
        path, "w", driver="GTiff", count=len(data), height=data.shape[1], width=data.shape[2],
        dtype=data.dtype, crs=crs, **options,
    ) as file:  # fmt: skip
        file.write(data)


@pytest.mark.parametrize("transform", [NORTH_UP, ROTATED])
@pytest.mark.parametrize("point", [False, True])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 13])
def test_place_and_bands(
    tmp_path: Path,
    generator: np.random.Generator,
    transform: tuple[float, ...],
    point: bool,
    bands: int,
) -> None:
    data = generator.integers(0, 999, (bands, 40, 50), np.int16)
    path = tmp_path / "a.tif"
    with rasterio.Env(GTIFF_POINT_GEO_IGNORE=False):
        write(path, data, transform=rasterio.Affine(*transform), interleave="band", tiled=True,
              blockxsize=16, blockysize=16, compress="deflate")  # fmt: skip
        if point:
            with rasterio.open(path, "r+") as file:
                file.update_tags(AREA_OR_POINT="Point")
        with rasterio.open(path) as file:
            assert file.tags().get("AREA_OR_POINT") == ("Point" if point else "Area")
            reference = tuple(file.transform)[:6]
    image = read_image(path)
    np.testing.assert_array_equal(image.data, data)
    assert isinstance(image.frame, Georeference)
    np.testing.assert_allclose(image.frame.transform, reference, rtol=0, atol=1e-9)
    assert image.frame.crs == "EPSG:32633"
    assert image.spacing == image.frame.spacing
    if transform == NORTH_UP:
        assert image.spacing == (20.0, 30.0)
    assert image.nodata is None


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32633", "EPSG:3857", "EPSG:2154", "EPSG:7844"])
def test_coordinate_systems(tmp_path: Path, crs: str) -> None:
    write(tmp_path / "a.tif", np.zeros((1, 20, 30), np.uint8), crs)
    frame = read_image(tmp_path / "a.tif").frame
    assert isinstance(frame, Georeference)
    assert frame.crs == crs


def test_a_coordinate_system_without_number_gives_its_name(tmp_path: Path) -> None:
    own = "+proj=laea +lat_0=10 +lon_0=20 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs"
    write(tmp_path / "a.tif", np.zeros((1, 20, 30), np.uint8), rasterio.CRS.from_proj4(own))
    image = read_image(tmp_path / "a.tif")
    assert isinstance(image.frame, Georeference)
    assert image.frame.crs
    assert not image.frame.crs.startswith("EPSG")
    write_image(image, tmp_path / "b.tif")  # the tags keep what the name cannot say
    with rasterio.open(tmp_path / "a.tif") as first, rasterio.open(tmp_path / "b.tif") as second:
        assert first.crs == second.crs


def test_no_place(tmp_path: Path) -> None:
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        write(tmp_path / "a.tif", np.zeros((1, 20, 30), np.uint8), None,
              transform=rasterio.Affine.identity())  # fmt: skip
    image = read_image(tmp_path / "a.tif")
    assert image.frame is None
    assert image.spacing == (1.0, 1.0)


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("u1", 255), ("i2", -9999), ("f4", -9999.0), ("f4", np.nan), ("f8", 1e-3), ("u2", 0),
     ("f4", float(np.finfo(np.float32).min))],
)  # fmt: skip
def test_nodata(tmp_path: Path, generator: np.random.Generator, dtype: str, nodata: float) -> None:
    data = generator.integers(1, 99, (2, 20, 30)).astype(dtype)
    data[:, 3:7] = nodata
    write(tmp_path / "a.tif", data, nodata=nodata)
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_equal(image.nodata, nodata)
    with rasterio.open(tmp_path / "a.tif") as file:
        missing = file.read_masks() == 0
    np.testing.assert_array_equal(np.isnan(image.intensities()), missing)
    write_image(image, tmp_path / "b.tif")
    with rasterio.open(tmp_path / "b.tif") as file:
        np.testing.assert_equal(file.nodata, nodata)
        np.testing.assert_array_equal(file.read_masks() == 0, missing)
    np.testing.assert_equal(read_image(tmp_path / "b.tif").nodata, nodata)


def test_nodata_of_a_mask_is_ignored(tmp_path: Path) -> None:
    labels = np.array([[[0, 1, 2, 7]]])
    for dtype, nodata in (("u1", 7), ("u2", 7), ("i2", 7), ("u4", 7), ("f4", 7), ("f8", 7)):
        write(tmp_path / "a.tif", labels.astype(dtype), nodata=nodata)
        read = read_labels(tmp_path / "a.tif")
        assert read.tolist() == [[0, 1, 2, -1]]
        assert read.dtype == (np.int64 if dtype == "u4" else np.int32)
    write(tmp_path / "a.tif", labels.astype(np.uint8), nodata=0)
    assert read_labels(tmp_path / "a.tif").tolist() == [[0, 1, 2, 7]]
    floats = labels.astype(np.float32)
    floats[0, 0, 3] = np.nan
    write(tmp_path / "a.tif", floats, nodata=np.nan)
    assert read_labels(tmp_path / "a.tif").tolist() == [[0, 1, 2, -1]]


# ------------------------------------------------------------------------------------ writing


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 13])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "f4", "f8", "i4"])
@pytest.mark.parametrize("transform", [NORTH_UP, ROTATED])
def test_written_files_are_as_rasterio_wrote_them(
    tmp_path: Path,
    generator: np.random.Generator,
    bands: int,
    dtype: str,
    transform: tuple[float, ...],
) -> None:
    data = generator.integers(0, 200, (bands, 30, 40)).astype(dtype)
    write(tmp_path / "a.tif", data, nodata=7, transform=rasterio.Affine(*transform))
    write_image(read_image(tmp_path / "a.tif"), tmp_path / "b.tif")
    with rasterio.open(tmp_path / "a.tif") as first, rasterio.open(tmp_path / "b.tif") as second:
        np.testing.assert_array_equal(second.read(), data)
        assert second.transform == first.transform
        assert second.crs == first.crs
        assert second.nodata == first.nodata == 7
        assert second.dtypes == first.dtypes
        assert second.compression == rasterio.enums.Compression.deflate
    for code in (33550, 33922, 34264, 34735, 34736, 34737):  # the tags are the very same
        with tifffile.TiffFile(tmp_path / "a.tif") as a, tifffile.TiffFile(tmp_path / "b.tif") as b:
            one, two = a.pages[0].tags.get(code), b.pages[0].tags.get(code)
            assert (one is None) == (two is None)
            assert one is None or (one.value, one.dtype) == (two.value, two.dtype)


@pytest.mark.parametrize("point", [False, True])
@pytest.mark.parametrize("transform", [NORTH_UP, ROTATED])
def test_a_moved_window_lies_where_it_was(
    tmp_path: Path, generator: np.random.Generator, transform: tuple[float, ...], point: bool
) -> None:
    data = generator.integers(0, 200, (2, 30, 40), np.uint8)
    write(tmp_path / "a.tif", data, transform=rasterio.Affine(*transform))
    if point:
        with rasterio.open(tmp_path / "a.tif", "r+") as file:
            file.update_tags(AREA_OR_POINT="Point")
    with open_image(tmp_path / "a.tif") as opened:
        part = opened.read((slice(5, 25), slice(9, 30)))
        assert isinstance(opened.frame, Georeference)
        moved = Image(part, opened.spacing, opened.frame.moved(5, 9))
    write_image(moved, tmp_path / "b.tif")
    with rasterio.open(tmp_path / "a.tif") as first, rasterio.open(tmp_path / "b.tif") as second:
        np.testing.assert_array_equal(second.read(), data[:, 5:25, 9:30])
        for pixel in ((0, 0), (7, 11)):
            there = first.xy(pixel[0] + 5, pixel[1] + 9)
            np.testing.assert_allclose(second.xy(*pixel), there, rtol=1e-12)
        assert second.crs == first.crs
        assert second.tags().get("AREA_OR_POINT") == ("Point" if point else "Area")


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32633", "EPSG:7844", "EPSG:4087"])
def test_a_place_without_tags_gets_some(tmp_path: Path, crs: str) -> None:
    image = Image(np.zeros((1, 20, 30), np.uint8), frame=Georeference(NORTH_UP, crs))
    write_image(image, tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.crs == rasterio.CRS.from_user_input(crs)
        assert tuple(file.transform)[:6] == NORTH_UP
    back = read_image(tmp_path / "a.tif").frame
    assert isinstance(back, Georeference)
    assert (back.transform, back.crs) == (NORTH_UP, crs)


def test_a_name_survives(tmp_path: Path) -> None:
    frame = Georeference(ROTATED, "Landesvermessung, 3. Streifen")
    write_image(Image(np.zeros((1, 20, 30), np.uint8), frame=frame), tmp_path / "a.tif")
    back = read_image(tmp_path / "a.tif").frame
    assert isinstance(back, Georeference)
    assert (back.transform, back.crs) == (frame.transform, frame.crs)


def test_large_pictures_are_tiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.zeros((2, 2100, 2200), np.uint8)
    data[1, 2099, 7] = 9
    write_image(Image(data, frame=Georeference(NORTH_UP, "EPSG:32633")), tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.profile["tiled"]
        assert file.profile["interleave"] == "band"
        np.testing.assert_array_equal(file.read(), data)
    monkeypatch.setattr("unetkit.image.encoders._CLASSIC_BYTES", 1000)
    write_image(Image(data[:, :50, :50]), tmp_path / "b.tif")
    assert (tmp_path / "b.tif").read_bytes()[:4] == b"II+\0"
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif").data, data[:, :50, :50])


def test_a_volume_with_a_place(tmp_path: Path, generator: np.random.Generator) -> None:
    data = generator.integers(0, 200, (2, 4, 30, 40), np.uint8)
    frame = Georeference(NORTH_UP, "EPSG:32633")
    write_image(Image(data, (3.0, 20.0, 30.0), frame), tmp_path / "a.tif")
    back = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(back.data, data)
    assert back.spacing == (3.0, 20.0, 30.0)
    assert isinstance(back.frame, Georeference)
    assert (back.frame.transform, back.frame.crs) == (frame.transform, frame.crs)


def test_damaged_tags_are_no_disaster(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", np.zeros((1, 20, 30), np.uint8), nodata=3)
    whole = (tmp_path / "a.tif").read_bytes()
    for old, new in (
        (np.array(NORTH_UP[2]).tobytes(), np.array(np.nan).tobytes()),
        (np.array(30.0).tobytes(), np.array(0.0).tobytes()),
        (b"3\0", b"x\0"),
    ):
        assert old in whole
        (tmp_path / "b.tif").write_bytes(whole.replace(old, new))
        try:
            assert read_image(tmp_path / "b.tif").data.shape == (1, 20, 30)
        except InputError as error:
            assert "b.tif" in str(error)  # noqa: PT017


@pytest.mark.real
def test_real_geotiffs(tmp_path: Path) -> None:
    if not DATA.exists():
        pytest.skip("no real data beside the checkout")
    for name in ("images/Spain_7370579.tif", "images_s2/Spain_7370579.tif"):
        path = DATA / "sen1floods11" / name
        image = read_image(path)
        write_image(image, tmp_path / "a.tif")
        with rasterio.open(path) as reference, rasterio.open(tmp_path / "a.tif") as written:
            assert isinstance(image.frame, Georeference)
            assert image.frame.transform == tuple(reference.transform)[:6]
            assert image.frame.crs == "EPSG:4326"
            assert written.transform == reference.transform
            assert written.crs == reference.crs
            np.testing.assert_array_equal(written.read(), reference.read())
