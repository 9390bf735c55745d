"""DICOM files and series: made with pydicom, judged by SimpleITK."""

from __future__ import annotations

import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless, generate_uid

from unetkit.errors import InputError
from unetkit.image import read_image, read_labels, read_shape, write_image
from unetkit.image.dicom import open_dicom
from unetkit.image.opened import Opened

CT, ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def made(pixels: np.ndarray, **elements: Any) -> Dataset:
    """Give a data set of one slice; `pixels` (y, x) or (y, x, 3)."""
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = UID(CT)
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    one.SeriesInstanceUID, one.Modality = "1.2.3.4", "CT"
    one.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    one.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    if pixels.ndim == 3:
        one.PlanarConfiguration = 0
    one.Rows, one.Columns = pixels.shape[:2]
    one.BitsAllocated = one.BitsStored = 8 * pixels.dtype.itemsize
    one.HighBit = one.BitsStored - 1
    one.PixelRepresentation = int(pixels.dtype.kind == "i")
    one.PixelData = pixels.tobytes()
    if pixels.dtype.itemsize == 1:
        one["PixelData"].VR = "OB"
    for name, value in elements.items():
        setattr(one, name, value)
    return one


def save(one: Dataset, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    one.save_as(path, enforce_file_format=True)
    return path


ROW, COLUMN = np.array([0.8, 0.6, 0.0]), np.array([-0.36, 0.48, 0.8])
NORMAL = np.cross(ROW, COLUMN)


def series(folder: Path, volume: np.ndarray, order: Any = None, **elements: Any) -> Path:
    """Save an oblique volume (z, y, x), 2.5 mm apart, under names in another order."""
    names = np.arange(len(volume)) if order is None else order
    for z, pixels in enumerate(volume):
        place = {
            "ImagePositionPatient": [f"{v:.6f}" for v in np.array([-90, 20, 5]) + 2.5 * z * NORMAL],
            "ImageOrientationPatient": [*ROW, *COLUMN],
            "PixelSpacing": [0.75, 0.5],
            "SliceThickness": 9,
            "InstanceNumber": int(names[z]) + 1,
        }
        save(made(pixels, **place | elements), folder / f"IM{names[z]:04}.dcm")
    return folder


def whole(opened: Opened) -> np.ndarray:
    return opened.read(tuple(slice(0, n) for n in opened.shape[1:]))


def read(path: Path, indices: bool = False) -> np.ndarray:
    opened = open_dicom(path, indices)
    data = whole(opened)
    assert (data.shape, data.dtype) == (opened.shape, opened.dtype)
    assert data.flags.c_contiguous
    assert data.flags.writeable
    assert len(opened.spacing) == data.ndim - 1
    window = tuple(slice(n // 3, n // 3 + max(1, n // 2)) for n in opened.shape[1:])
    np.testing.assert_array_equal(opened.read(window), data[(slice(None), *window)])
    return data


def affine_of(image: SimpleITK.Image) -> np.ndarray:
    affine = np.eye(4)
    direction = np.reshape(image.GetDirection(), (3, 3))
    affine[:3, :3] = direction * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ affine


def agrees(path: Path, image: SimpleITK.Image) -> None:
    opened = open_dicom(path, False)
    reference = SimpleITK.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() == 3:
        reference = np.moveaxis(reference, -1, 0)
    else:
        reference = reference[None]
    reference = reference[:, 0] if len(opened.shape) == 3 else reference
    np.testing.assert_array_equal(read(path), reference)
    spacing = image.GetSpacing()[::-1][-len(opened.spacing) :]
    assert opened.spacing == pytest.approx(spacing, rel=1e-6)
    if opened.frame is not None:
        columns = slice(None) if len(opened.shape) == 4 else [0, 1, 3]
        np.testing.assert_allclose(
            opened.frame[:, columns], affine_of(image)[:, columns], atol=1e-5
        )


def read_series(folder: Path) -> SimpleITK.Image:
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    return SimpleITK.ReadImage(names)


# ------------------------------------------------------------------------------------- series


def test_a_series_is_sorted_by_position(tmp_path: Path, generator: np.random.Generator) -> None:
    volume = generator.integers(-2000, 2000, (6, 5, 4), np.int16)
    folder = series(tmp_path / "scan", volume, generator.permutation(6))
    np.testing.assert_array_equal(read(folder)[0], volume)
    opened = open_dicom(folder, False)
    assert opened.spacing == pytest.approx((2.5, 0.75, 0.5), abs=1e-5)  # not its thickness of 9
    agrees(folder, read_series(folder))
    # A voxel lies where DICOM says: position + 3 rows down + 2 columns on, in RAS.
    there = np.array([-90, 20, 5]) + 4 * 2.5 * NORMAL + 3 * 0.75 * COLUMN + 2 * 0.5 * ROW
    np.testing.assert_allclose((opened.frame @ [2, 3, 4, 1])[:3], there * [-1, -1, 1], atol=1e-4)


def test_without_positions_the_number_decides(
    tmp_path: Path, generator: np.random.Generator
) -> None:
    volume = generator.integers(0, 255, (12, 5, 4), np.uint8)
    for z, pixels in enumerate(volume):
        one = made(pixels, InstanceNumber=40 - z, SliceThickness="3.5", PixelSpacing=[2, 1])
        save(one, tmp_path / "a" / f"{z}.dcm")
        del one.InstanceNumber, one.SliceThickness
        save(one, tmp_path / "b" / f"{z}.dcm")
    np.testing.assert_array_equal(read(tmp_path / "a")[0], volume[::-1])
    assert open_dicom(tmp_path / "a", False).spacing == (3.5, 2, 1)
    assert open_dicom(tmp_path / "a", False).frame is None
    np.testing.assert_array_equal(read(tmp_path / "b")[0], volume)  # 9.dcm before 10.dcm
    assert open_dicom(tmp_path / "b", False).spacing == (1, 2, 1)


def test_a_tilted_gantry_shears_the_frame(tmp_path: Path) -> None:
    for z in range(3):
        place = {"ImagePositionPatient": [0, 0.75 * z, 2 * z], "PixelSpacing": [1, 1]}
        place["ImageOrientationPatient"] = [1, 0, 0, 0, 1, 0]
        save(made(np.full((4, 4), z, np.uint8), **place), tmp_path / "a" / f"{z}.dcm")
    opened = open_dicom(tmp_path / "a", False)
    np.testing.assert_allclose(opened.frame[:3, 2], [0, -0.75, 2])
    assert opened.spacing[0] == pytest.approx(np.hypot(0.75, 2))


def test_a_window_opens_only_its_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = np.arange(10 * 5 * 4, dtype=np.uint16).reshape(10, 5, 4)
    folder = series(tmp_path / "scan", volume)
    seen = []
    original = pydicom.pixels.pixel_array
    monkeypatch.setattr(
        pydicom.pixels, "pixel_array", lambda p, **k: [seen.append(p.name), original(p, **k)][1]
    )
    opened = open_dicom(folder, False)
    assert not seen
    window = opened.read((slice(3, 5), slice(1, 3), slice(0, 4)))
    np.testing.assert_array_equal(window[0], volume[3:5, 1:3])
    assert seen == ["IM0003.dcm", "IM0004.dcm"]


def test_notes_beside_the_slices_do_not_matter(tmp_path: Path) -> None:
    folder = series(tmp_path / "scan", np.ones((3, 5, 4), np.int16))
    for name in ("LICENSE", "notes.txt", ".DS_Store", "DICOMDIR", "report.pdf"):
        (folder / name).write_bytes(b"what is written here " * 20)
    (folder / "more").mkdir()
    report = Dataset()
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    save(report, folder / "report.dcm")
    assert read(folder).shape == (1, 3, 5, 4)
    with pytest.raises(InputError, match=r"holds no pixels \(Basic Text SR Storage\)"):
        open_dicom(folder / "report.dcm", False)


# ------------------------------------------------------------------------------------- pixels


@pytest.mark.parametrize(
    ("dtype", "stored", "slope", "intercept", "expected"),
    [
        ("u2", 12, 1, -1024, "i2"),
        ("u2", 16, 1, -1024, "i4"),
        ("i2", 16, 1, 0, "i2"),
        ("i2", 16, 1, -1024, "i4"),
        ("u1", 8, 1, 0, "u1"),
        ("u1", 8, 1, 100, "i2"),
        ("u2", 16, 0.37, 1.5, "f4"),
        ("u2", 16, 2, 0, "f4"),
        ("u4", 32, 1, 0, "u4"),
    ],
)
def test_rescaling(
    tmp_path: Path,
    generator: np.random.Generator,
    dtype: str,
    stored: int,
    slope: float,
    intercept: float,
    expected: str,
) -> None:
    pixels = generator.integers(0, 2 ** min(stored - 1, 16), (7, 6)).astype(dtype)
    one = made(pixels, BitsStored=stored, HighBit=stored - 1, PixelSpacing=[1, 1])
    one.RescaleSlope, one.RescaleIntercept = slope, intercept
    path = save(one, tmp_path / "a.dcm")
    data = read(path)
    assert data.dtype == np.dtype(expected)
    np.testing.assert_allclose(data[0], pixels * float(slope) + intercept, rtol=1e-6)
    np.testing.assert_allclose(
        data, SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)), rtol=1e-6
    )


def test_each_slice_has_its_own_slope(tmp_path: Path, generator: np.random.Generator) -> None:
    volume = generator.integers(0, 2000, (3, 5, 4), np.int16)
    folder = series(tmp_path / "pet", volume)
    for z, path in enumerate(sorted(folder.iterdir())):
        one = pydicom.dcmread(path)
        one.RescaleSlope, one.RescaleIntercept = 0.5 * (z + 1), z
        save(one, path)
    expected = volume * (0.5 * np.arange(1, 4)[:, None, None]) + np.arange(3)[:, None, None]
    np.testing.assert_allclose(read(folder)[0], expected, rtol=1e-6)
    assert read(folder).dtype == np.float32


def test_spare_bits_do_not_count(tmp_path: Path) -> None:
    pixels = np.array([[5, 4000], [0xF005, 0x1FA0]], np.uint16)  # old files put overlays there
    one = made(pixels, BitsStored=12, HighBit=11)
    assert read(save(one, tmp_path / "a.dcm")).tolist() == [[[5, 4000], [5, 0xFA0]]]
    one.PixelRepresentation = 1
    assert read(save(one, tmp_path / "a.dcm")).tolist() == [[[5, -96], [5, -96]]]


def test_monochrome1_is_inverted_for_images(tmp_path: Path) -> None:
    one = made(np.array([[0, 4095], [1, 7]], np.uint16), BitsStored=12, HighBit=11)
    one.PhotometricInterpretation = "MONOCHROME1"
    path = save(one, tmp_path / "a.dcm")
    assert read(path).tolist() == [[[4095, 0], [4094, 4088]]]
    assert read(path, indices=True).tolist() == [[[0, 4095], [1, 7]]]
    one = made(np.array([[-128, 127]], np.int8), PhotometricInterpretation="MONOCHROME1")
    assert read(save(one, tmp_path / "b.dcm")).tolist() == [[[127, -128]]]


def test_palettes(tmp_path: Path) -> None:
    for bits, factor in ((8, 1), (16, 257)):
        one = made(np.array([[0, 1], [2, 1]], np.uint8), PhotometricInterpretation="PALETTE COLOR")
        for name, levels in {
            "Red": [10, 200, 7],
            "Green": [20, 100, 8],
            "Blue": [30, 0, 9],
        }.items():
            setattr(one, f"{name}PaletteColorLookupTableDescriptor", [4, 0, bits])
            table = (np.array([*levels, 0]) * factor).astype("<u2" if bits == 16 else "u1")
            setattr(one, f"{name}PaletteColorLookupTableData", table.tobytes())
        path = save(one, tmp_path / "a.dcm")
        data = read(path)
        assert data.dtype == np.uint8
        assert data[:, 0, 1].tolist() == [200, 100, 0]
        assert data[:, 0, 0].tolist() == [10, 20, 30]
        assert read(path, indices=True).tolist() == [[[0, 1], [2, 1]]]


def test_colour_series(tmp_path: Path, generator: np.random.Generator) -> None:
    volume = generator.integers(0, 256, (3, 5, 4, 3), np.uint8)
    folder = series(tmp_path / "a", volume)
    np.testing.assert_array_equal(read(folder), np.moveaxis(volume, -1, 0))


def test_floats(tmp_path: Path, generator: np.random.Generator) -> None:
    values = generator.random((5, 4), np.float32)
    one = made(values.view(np.uint32))
    del one.PixelData, one.BitsStored, one.HighBit, one.PixelRepresentation
    one.FloatPixelData = values.tobytes()
    np.testing.assert_array_equal(read(save(one, tmp_path / "a.dcm"))[0], values)


COLOUR = ["dcmtk_+eb+cr", "dcmtk_+eb+cy+n1", "dcmtk_+eb+cy+s4", "gdcm_KY", "jls_lossy_line"]
FILES = [
    "693_J2KI", "CT_small", "ExplVR_BigEnd", "J2K_pixelrep_mismatch", "JPEG-lossy", "JPEG2000",
    "JPEGLSNearLossless_08", "JPEGLSNearLossless_16", "JPGExtended", "MR_small", "MR_small_RLE",
    "MR_small_bigendian", "MR_small_implicit", "MR_small_jp2klossless",
    "MR_small_jpeg_ls_lossless", "SC_rgb_rle", "SC_rgb_jpeg_gdcm", "SC_rgb_small_odd",
    "SC_ybr_full_422_uncompressed", "examples_overlay", "examples_palette", "examples_rgb_color",
    "image_dfl", *(f"SC_rgb_{name}" for name in COLOUR),
]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files_that_pydicom_brings_along(name: str) -> None:
    path = Path(get_testdata_file(f"{name}.dcm", download=False))
    agrees(path, SimpleITK.ReadImage(path))


def test_compressed_here(tmp_path: Path, generator: np.random.Generator) -> None:
    pixels = generator.integers(0, 4096, (50, 40), np.uint16)
    one = made(pixels, BitsStored=12, HighBit=11)
    one.compress(RLELossless, generate_instance_uid=False)
    np.testing.assert_array_equal(read(save(one, tmp_path / "a.dcm"))[0], pixels)
    one.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.100")
    save(one, tmp_path / "a.dcm")
    with pytest.raises(InputError, match=r"a\.dcm: is compressed as MPEG2 .*no decoder; save it"):
        read(tmp_path / "a.dcm")


# ------------------------------------------------------------------------------- many frames


def enhanced(volume: np.ndarray, order: Any) -> Dataset:
    """Give an enhanced CT of frames (z, y, x), stored in this order of z."""
    one = made(volume[0])
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = ENHANCED_CT
    one.NumberOfFrames = len(volume)
    one.PixelData = volume[order].tobytes()
    shared, measures, turned, values = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.75, 0.5], 9
    turned.ImageOrientationPatient = [*ROW, *COLUMN]
    values.RescaleSlope, values.RescaleIntercept = 1, -1000
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([turned])
    shared.PixelValueTransformationSequence = Sequence([values])
    one.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for z in order:
        frame, place, content = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [f"{v:.6f}" for v in np.array([-90, 20, 5]) + 2.5 * z * NORMAL]
        content.DimensionIndexValues = int(z) + 1
        frame.PlanePositionSequence = Sequence([place])
        frame.FrameContentSequence = Sequence([content])
        frames.append(frame)
    one.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return one


def test_enhanced_files(tmp_path: Path, generator: np.random.Generator) -> None:
    volume = generator.integers(0, 3000, (5, 6, 7), np.int16)
    path = save(enhanced(volume, np.arange(5)), tmp_path / "a.dcm")
    agrees(path, SimpleITK.ReadImage(path))
    np.testing.assert_array_equal(read(path)[0], volume.astype(int) - 1000)
    # Frames may come in any order: their positions tell. A folder may hold the file.
    path = save(enhanced(volume, generator.permutation(5)), tmp_path / "b" / "b.dcm")
    for one in (path, path.parent):
        np.testing.assert_array_equal(read(one)[0], volume.astype(int) - 1000)
        assert open_dicom(one, False).spacing == pytest.approx((2.5, 0.75, 0.5), abs=1e-5)


def test_films_and_several_stacks(tmp_path: Path) -> None:
    one = made(np.zeros((4, 4), np.uint8), NumberOfFrames=3, PixelData=bytes(48))
    assert read(save(one, tmp_path / "a.dcm")).shape == (1, 3, 4, 4)
    for pointer in (0x00181063, [0x00181065]):
        one.FrameIncrementPointer = pointer
        save(one, tmp_path / "a.dcm")
        with pytest.raises(InputError, match=r"a\.dcm: holds 3 frames of a film; save each"):
            open_dicom(tmp_path / "a.dcm", False)
    del one.FrameIncrementPointer
    for name in ("1.dcm", "2.dcm"):
        save(one, tmp_path / "b" / name)
    with pytest.raises(InputError, match="holds 2 files of several frames each; give one"):
        open_dicom(tmp_path / "b", False)
    one.NumberOfFrames = 10**8
    save(one, tmp_path / "a.dcm")
    with pytest.raises(InputError, match="promises 100000000 frames"):
        open_dicom(tmp_path / "a.dcm", False)


# ------------------------------------------------------------------------------ what is refused


def test_several_series_are_listed(tmp_path: Path) -> None:
    volume = np.ones((3, 5, 4), np.int16)
    folder = series(tmp_path / "scan", volume, SeriesDescription="T1 axial")
    series(folder, volume[:2], [5, 6], SeriesInstanceUID="1.9", SeriesDescription="")
    message = r"scan: holds 2 series: T1 axial \(3 files\), no name \(2 files\); put each series"
    with pytest.raises(InputError, match=message):
        open_dicom(folder, False)
    for number in range(20):
        one = made(volume[0], SeriesInstanceUID=f"1.8.{number}")
        save(one, folder / f"s{number}.dcm")
    with pytest.raises(InputError, match=r"holds 22 series.* and 14 more;"):
        open_dicom(folder, False)


def test_gaps_and_doubles(tmp_path: Path) -> None:
    volume = np.ones((8, 5, 4), np.int16)
    folder = series(tmp_path / "scan", volume)
    shutil.copy(folder / "IM0003.dcm", folder / "copy.dcm")
    message = (
        r"two slices lie at the same place \((IM0003|copy).dcm and (IM0003|copy).dcm\); remove"
    )
    with pytest.raises(InputError, match=message):
        open_dicom(folder, False)
    (folder / "copy.dcm").unlink()
    (folder / "IM0003.dcm").unlink()
    message = r"2\.5 mm apart, but 5 mm between IM0002.dcm and IM0004.dcm; add the slices"
    with pytest.raises(InputError, match=message):
        open_dicom(folder, False)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="two slices lie at the same place"):
        open_dicom(series(folder, volume, ImagePositionPatient=[0, 0, 0]), False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Rows": 4, "PixelData": bytes(32)}, "different sizes .*5 × 4.*4 × 4"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}, "slices of different directions"),
        ({"PixelRepresentation": 0}, "different types of numbers"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "different colours"),
        ({"NumberOfFrames": 2, "PixelData": bytes(80)}, "different numbers of frames"),
    ],
)
def test_mixtures(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = series(tmp_path / "scan", np.ones((3, 5, 4), np.int16))
    one = pydicom.dcmread(folder / "IM0001.dcm")
    for name, value in change.items():
        setattr(one, name, value)
    save(one, folder / "IM0001.dcm")
    with pytest.raises(InputError, match=message) as caught:
        open_dicom(folder, False)
    assert caught.value.cure


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"BitsAllocated": 1, "BitsStored": 1}, "holds numbers of 1 in 1 bits"),
        ({"BitsStored": 99}, "holds numbers of 99 in 16 bits"),
        ({"SamplesPerPixel": 4}, "has 4 samples a pixel"),
        ({"Rows": 0}, "holds no pixels"),
        ({"Rows": 60000, "Columns": 60000}, "the file ends before its pixels do"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, "is a DICOM segmentation object"),
    ],
)
def test_headers_that_lie(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    one = made(np.ones((50, 40), np.int16))
    for name, value in change.items():
        setattr(one, name, value)
    save(one, tmp_path / "a.dcm")
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path / "a.dcm")
    assert caught.value.cure
    assert "a.dcm" in str(caught.value)


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = made(np.zeros((40, 40), np.uint16))
    one.compress(RLELossless, generate_instance_uid=False)
    one.Rows = one.Columns = 60_000
    save(one, tmp_path / "a.dcm")
    with pytest.raises(InputError, match=r"promises 6\.7 GiB of pixels in a file of"):
        open_dicom(tmp_path / "a.dcm", False)
    monkeypatch.setattr("unetkit.image.dicom._LARGEST_DEFLATED", 1000)
    path = get_testdata_file("image_dfl.dcm", download=False)
    with pytest.raises(InputError, match="bytes of deflated DICOM; save it uncompressed"):
        open_dicom(Path(path), False)


def test_cut_short_at_every_tenth(tmp_path: Path, generator: np.random.Generator) -> None:
    folder = series(tmp_path / "scan", generator.integers(0, 99, (3, 50, 40), np.int16))
    compressed = made(generator.integers(0, 255, (40, 40), np.uint8))
    compressed.compress(RLELossless, generate_instance_uid=False)
    single = save(compressed, tmp_path / "rle.dcm")
    for path, target in ((folder / "IM0001.dcm", folder), (single, single)):
        sound = path.read_bytes()
        for tenth in range(10):
            path.write_bytes(sound[: len(sound) * tenth // 10])
            with pytest.raises(InputError) as caught:
                read(target)
            assert str(target) in str(caught.value)
            assert caught.value.cure
            assert "\n" not in str(caught.value)
        path.write_bytes(sound)
        read(target)


def test_garbage_never_escapes(tmp_path: Path, generator: np.random.Generator) -> None:
    files = ["CT_small", "MR_small_RLE", "SC_rgb_jpeg_dcmtk", "MR_small_jpeg_ls_lossless"]
    paths = [Path(get_testdata_file(f"{name}.dcm", download=False)) for name in files]
    paths.append(save(enhanced(np.ones((3, 5, 4), np.int16), np.arange(3)), tmp_path / "e.dcm"))
    bad = tmp_path / "bad.dcm"
    for path in paths:
        sound = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(40):
            damaged = sound.copy()
            where = generator.integers(128, min(len(sound), 3000), 4)
            damaged[where] = generator.integers(0, 256, 4)
            bad.write_bytes(damaged.tobytes())
            try:
                opened = open_dicom(bad, False)
                if np.prod(opened.shape) < 10**7:
                    whole(opened)
            except InputError as error:
                assert str(bad) in str(error)  # noqa: PT017
                assert "\n" not in str(error)  # noqa: PT017


def test_names_that_are_no_dicom(tmp_path: Path) -> None:
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "text.dcm").write_text("<html>not found</html>" * 20)
    (tmp_path / "zeros.dcm").write_bytes(bytes(5000))
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop.dcm").symlink_to(tmp_path / "loop.dcm")
    for name, message in {
        "empty.dcm": "is no DICOM file; copy it again",
        "text.dcm": "is no DICOM file; copy it again",
        "zeros.dcm": "is no DICOM file; copy it again",
        "none.dcm": "no such file",
        "folder": "holds no DICOM picture; give the folder in which the slices",
        "loop.dcm": "cannot be read as dicom",
    }.items():
        with pytest.raises(InputError, match=message) as caught:
            open_dicom(tmp_path / name, False)
        assert name in str(caught.value)
    folder = series(tmp_path / "scan", np.ones((3, 5, 4), np.int16))
    for name in ("IM0007", "9.dcm", "1.2.840.99"):
        (folder / name).write_bytes(b"half a download")
        with pytest.raises(InputError, match=f"{name}: is no DICOM file, in a folder of such"):
            open_dicom(folder, False)
        (folder / name).unlink()


def test_the_hint_when_pydicom_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r"needs pydicom; pip install 'unetkit\[medical\]'"):
        open_dicom(tmp_path / "a.dcm", False)


def test_odd_but_sound_headers_do_not_warn(tmp_path: Path) -> None:
    # The suite turns warnings into errors; pydicom warns of much that does not matter here.
    one = made(np.ones((5, 4), np.int16), PixelSpacing=[0.75, 0.5])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one.add_new("SeriesDescription", "LO", "much too long " * 20)
        one.add_new("SliceThickness", "DS", "1.234567890123456789")
        one.add_new("InstanceNumber", "IS", "7.0")
        path = save(one, tmp_path / "a.dcm")
    assert read(path).shape == (1, 5, 4)
    content = path.read_bytes()
    path.write_bytes(content[132:])  # neither preamble nor magic
    assert read(path).shape == (1, 5, 4)


def test_through_the_door(tmp_path: Path, generator: np.random.Generator) -> None:
    volume = generator.integers(0, 4, (6, 5, 4), np.int16)
    folder = series(tmp_path / "scan", volume, generator.permutation(6))
    image = read_image(folder)
    np.testing.assert_array_equal(image.data[0], volume)
    assert image.spacing == pytest.approx((2.5, 0.75, 0.5), abs=1e-5)
    np.testing.assert_array_equal(image.frame, open_dicom(folder, False).frame)
    np.testing.assert_array_equal(read_labels(folder), volume)
    assert read_shape(folder) == (1, 6, 5, 4)
    assert read_image(folder / "IM0003.dcm").data.shape == (1, 5, 4)
    write_image(image, tmp_path / "a.nii.gz")  # the same place, as nibabel sees it
    np.testing.assert_allclose(nibabel.load(tmp_path / "a.nii.gz").affine, image.frame, atol=1e-4)
