"""NRRD and MetaImage: written by SimpleITK, read here, and the other way round."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from unetkit.errors import InputError
from unetkit.image import Image, read_image, read_labels, read_shape, write_image
from unetkit.image.itk import open_itk, write_itk
from unetkit.image.opened import Opened

SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
OBLIQUE = (0.8, -0.36, 0.48, 0.6, 0.48, -0.64, 0.0, 0.8, 0.6)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def written(path: Path, data: np.ndarray, packed: bool = True, vector: bool = False) -> Path:
    """Write with SimpleITK; `data` is ([z,] y, x[, c])."""
    path.parent.mkdir(exist_ok=True)
    image = SimpleITK.GetImageFromArray(data, isVector=vector)
    if image.GetDimension() == 3:
        image.SetDirection(OBLIQUE)
        image.SetSpacing((0.1, 1 / 3, 2.5))
        image.SetOrigin((1.0, 2.0, 1 / 3))
    SimpleITK.WriteImage(image, str(path), useCompression=packed)
    return path


def meta(**fields: str) -> bytes:
    known = {"NDims": "2", "DimSize": "4 4", "ElementType": "MET_UCHAR", "ElementDataFile": "LOCAL"}
    lines = [f"{key} = {value}\n" for key, value in (known | fields).items() if value]
    lines.sort(key=lambda line: line.startswith("ElementDataFile"))
    return "".join(lines).encode() + bytes(16)


def whole(opened: Opened) -> np.ndarray:
    return opened.read(tuple(slice(0, n) for n in opened.shape[1:]))


def read(path: Path) -> np.ndarray:
    opened = open_itk(path, False)
    window = tuple(slice(n // 3, n // 3 + max(1, n // 2)) for n in opened.shape[1:])
    part = opened.read(window)
    data = whole(opened)
    assert (data.shape, data.dtype) == (opened.shape, opened.dtype)
    assert data.flags.c_contiguous
    assert data.flags.writeable
    assert part.flags.c_contiguous
    assert part.flags.writeable
    np.testing.assert_array_equal(part, data[(slice(None), *window)])
    np.testing.assert_array_equal(opened.read(window), part)
    return data


# ------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "i8", "f4", "f8"])
def test_volumes(
    tmp_path: Path, generator: np.random.Generator, suffix: str, packed: bool, dtype: str
) -> None:
    data = (generator.random((5, 6, 7)) * 100).astype(dtype)
    path = written(tmp_path / f"a{suffix}", data, packed)
    np.testing.assert_array_equal(read(path)[0], data)
    opened = open_itk(path, False)
    assert opened.dtype == np.dtype(dtype)
    assert opened.spacing == pytest.approx((2.5, 1 / 3, 0.1))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("packed", [True, False])
def test_vectors_planes_and_a_fourth_axis(
    tmp_path: Path, generator: np.random.Generator, suffix: str, packed: bool
) -> None:
    volume = generator.integers(0, 256, (5, 6, 7, 3), np.uint8)
    path = written(tmp_path / f"a{suffix}", volume, packed, vector=True)
    np.testing.assert_array_equal(read(path), np.moveaxis(volume, -1, 0))
    path = written(tmp_path / f"b{suffix}", volume[0], packed, vector=True)
    np.testing.assert_array_equal(read(path), np.moveaxis(volume[0], -1, 0))
    path = written(tmp_path / f"c{suffix}", volume[0, ..., 0], packed)
    np.testing.assert_array_equal(read(path), volume[:1, ..., 0])
    assert open_itk(path, False).spacing == (1.0, 1.0)
    path = written(tmp_path / f"d{suffix}", volume, packed)  # x = 3, y = 7, z = 6, and five of it
    np.testing.assert_array_equal(read(path), volume)
    assert len(open_itk(path, False).spacing) == 3


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_frame_is_nibabels(tmp_path: Path, generator: np.random.Generator, suffix: str) -> None:
    data = generator.integers(0, 99, (5, 6, 7), np.int16)
    path = written(tmp_path / f"a{suffix}", data)
    SimpleITK.WriteImage(SimpleITK.ReadImage(path), tmp_path / "a.nii.gz")
    reference = nibabel.load(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(open_itk(path, False).frame, reference.affine, atol=1e-5)
    np.testing.assert_array_equal(read(path)[0].T, np.asarray(reference.dataobj))


def test_a_header_that_says_nothing_of_place(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_bytes(
        b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 1\nspacings: 0.5 2 3\nencoding: raw\n\n"
        b"\1\2\3\4"
    )
    (tmp_path / "a.mha").write_bytes(
        b"NDims = 3\nDimSize = 2 2 1\nElementSpacing = 0.5 2 3\nElementType = MET_UCHAR\n"
        b"ElementDataFile = LOCAL\n\1\2\3\4"
    )
    for name in ("a.nrrd", "a.mha"):
        opened = open_itk(tmp_path / name, False)
        assert opened.frame is None
        assert opened.spacing == (3, 2, 0.5)
        assert read(tmp_path / name).tolist() == [[[[1, 2], [3, 4]]]]


def test_byte_order(tmp_path: Path) -> None:
    import zlib

    values = np.arange(6, dtype=">u2").tobytes()
    for packed, content in (("False", values), ("True", zlib.compress(values))):
        (tmp_path / "a.mha").write_bytes(
            b"NDims = 2\nBinaryDataByteOrderMSB = True\nCompressedData = " + packed.encode() +
            b"\nDimSize = 3 2\nElementType = MET_USHORT\nElementDataFile = LOCAL\n" + content
        )  # fmt: skip
        assert read(tmp_path / "a.mha").tolist() == [[[0, 1, 2], [3, 4, 5]]]


@pytest.mark.parametrize(
    "changes",
    [
        {"ElementSize": "0.5 0.25"},
        {"ElementSize": "0.5 0.25", "ElementSpacing": "3 2"},
        {"Position": "7 8", "ElementSpacing": "3 2"},
        {"Origin": "7 8", "Orientation": "0 1 -1 0"},
        {"Rotation": "0.6 0.8 -0.8 0.6", "Offset": "1 2"},
        {"ElementType": "MET_LONG", "DimSize": "2 2"},
        {"ElementType": "MET_ULONG_LONG", "DimSize": "2 1"},
        {"ElementType": "MET_UCHAR_ARRAY", "ElementNumberOfChannels": "4", "DimSize": "2 2"},
        {"HeaderSize": "-1"},
        {"ElementByteOrderMSB": "True", "ElementType": "MET_USHORT", "DimSize": "4 2"},
        {"NDims": "3", "DimSize": "2 2 4", "TransformMatrix": "0 1 0 0 0 1 1 0 0"},
    ],
)
def test_meta_headers_as_itk_reads_them(tmp_path: Path, changes: dict[str, str]) -> None:
    path = tmp_path / "a.mha"
    path.write_bytes(meta(**changes)[:-16] + bytes(range(16)))
    there, here = SimpleITK.ReadImage(path), open_itk(path, False)
    assert here.spacing == there.GetSpacing()[::-1]
    pixels = SimpleITK.GetArrayFromImage(there)
    pixels = np.moveaxis(pixels, -1, 0) if "ElementNumberOfChannels" in changes else pixels[None]
    np.testing.assert_array_equal(read(path), pixels)
    if here.frame is not None:
        corner = there.TransformIndexToPhysicalPoint((1,) * there.GetDimension())
        n = there.GetDimension()
        found = here.frame @ ([1, 1, 0, 1] if n == 2 else [1, 1, 1, 1]) * [-1, -1, 1, 1]
        np.testing.assert_allclose(found[:n], corner)


def test_nothing_is_read_to_open(tmp_path: Path, generator: np.random.Generator) -> None:
    path = written(tmp_path / "a.mhd", generator.integers(0, 99, (50, 60, 70), np.int16), False)
    raw = tmp_path / "a.raw"
    raw.write_bytes(bytes(raw.stat().st_size))
    opened = open_itk(path, False)
    assert opened.shape == (1, 50, 60, 70)
    with raw.open("r+b") as file:  # the window sees what is written after opening
        file.seek(2 * (3 * 60 * 70 + 4 * 70 + 5))
        file.write(b"\7\0")
    window = opened.read((slice(3, 5), slice(4, 6), slice(5, 7)))
    assert window.ravel().tolist() == [7] + 7 * [0]


# ------------------------------------------------------------------------------------ writing


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_simpleitk_reads_what_we_write(
    tmp_path: Path, generator: np.random.Generator, suffix: str
) -> None:
    affine = np.array([[-1.5, 0, 0, 9], [0, 0, -2, 8], [0, 0.5, 0, 1 / 3], [0, 0, 0, 1]])
    data = generator.integers(0, 999, (1, 5, 6, 7), np.int32)
    path = tmp_path / f"a{suffix}"
    write_itk(Image(data, (2, 0.5, 1.5), affine), path)
    there = SimpleITK.ReadImage(path)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(there), data[0])
    assert there.GetSpacing() == pytest.approx((1.5, 0.5, 2))
    assert there.GetOrigin() == pytest.approx((-9, -8, 1 / 3))
    corner = there.TransformContinuousIndexToPhysicalPoint((1.0, 2.0, 3.0))
    expected = (affine @ [1, 2, 3, 1])[:3] * [-1, -1, 1]
    np.testing.assert_allclose(corner, expected)
    np.testing.assert_allclose(open_itk(path, False).frame, affine, atol=1e-12)
    np.testing.assert_array_equal(read(path), data)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i8", "f2", "f4", "bool"])
@pytest.mark.parametrize("shape", [(1, 6, 7), (3, 6, 7), (2, 5, 6, 7)])
def test_write_then_read(
    tmp_path: Path,
    generator: np.random.Generator,
    suffix: str,
    dtype: str,
    shape: tuple[int, ...],
) -> None:
    data = (generator.random(shape) * 5).astype(dtype)
    spacing = (3.0, 0.5, 0.25)[-(len(shape) - 1) :]
    write_itk(Image(data, spacing), tmp_path / f"a{suffix}")
    back = read(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(back, data)
    assert back.dtype == {"bool": np.uint8, "f2": np.float32}.get(dtype, np.dtype(dtype))
    assert open_itk(tmp_path / f"a{suffix}", False).spacing == spacing


def test_frames_that_itk_cannot_hold(tmp_path: Path) -> None:
    data = np.zeros((1, 4, 4), np.uint8)
    upright = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    write_itk(Image(data, (0.5, 0.25), upright), tmp_path / "a.mha")  # a plane that stands
    assert open_itk(tmp_path / "a.mha", False).spacing == (0.5, 0.25)
    write_itk(Image(data, (0.5, 0.25), np.full((4, 4), np.nan)), tmp_path / "a.mha")
    flat = np.diag([0.25, 0.5, 1.0, 1.0])
    write_itk(Image(data, (0.5, 0.25), flat), tmp_path / "a.mha")
    np.testing.assert_allclose(open_itk(tmp_path / "a.mha", False).frame, flat)


@pytest.mark.parametrize(
    ("name", "dtype", "message"),
    [
        ("a.mhd", "u1", "is not written, because it needs a second file; choose .nrrd or .mha"),
        ("a.nhdr", "u1", "is not written"),
        ("a.mha", "c8", "complex64 pixels cannot be written"),
    ],
)
def test_what_is_not_written(tmp_path: Path, name: str, dtype: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_itk(Image(np.zeros((1, 4, 4), dtype)), tmp_path / name)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------ what is refused


def refused(path: Path, message: str = "") -> None:
    with pytest.raises(InputError) as caught:
        whole(open_itk(path, False))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.cure
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_no_pixels_from_elsewhere(tmp_path: Path, suffix: str) -> None:
    data = np.arange(120, dtype=np.uint8).reshape(4, 5, 6)
    path = written(tmp_path / "in" / f"a{suffix}", data, packed=False)
    sound = path.read_text()
    shutil.copy(tmp_path / "in" / "a.raw", tmp_path / "secret.raw")
    outside = "outside its folder; save it as one file, .mha or .nrrd"
    for name, message in {
        "../secret.raw": outside,
        str(tmp_path / "secret.raw"): outside,
        "sub/../../secret.raw": outside,
        "b.raw": "should lie in b.raw, which is missing; copy both",
        "a%d.raw 1 4 1": "spread over several files; save it as one file",
        "%s%s%s%n": "spread over several files",
        "LIST": "spread over several files",
        "LIST 2": "spread over several files",
    }.items():
        path.write_text(sound.replace("a.raw", name))
        refused(path, message)
    if suffix == ".nhdr":
        path.write_text(sound.replace("a.raw", "-"))  # standard input
        refused(path, "outside its folder")
    (tmp_path / "in" / "sub").mkdir()
    shutil.move(tmp_path / "in" / "a.raw", tmp_path / "in" / "sub" / "my pixels.raw")
    path.write_text(sound.replace("a.raw", "sub/my pixels.raw"))
    np.testing.assert_array_equal(read(path)[0], data)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("packed", [True, False])
def test_cut_short_at_every_tenth(
    tmp_path: Path,
    generator: np.random.Generator,
    capfd: pytest.CaptureFixture[str],
    suffix: str,
    packed: bool,
) -> None:
    data = generator.integers(0, 60000, (5, 20, 30), np.uint16)
    written(tmp_path / f"a{suffix}", data, packed)
    for path in list(tmp_path.iterdir()):
        sound = path.read_bytes()
        # Without its last letter, a header of text still says everything.
        for tenth in [*range(10), *([] if path.suffix in (".mhd", ".nhdr") else [9.99])]:
            path.write_bytes(sound[: int(len(sound) * tenth / 10)])
            refused(tmp_path / f"a{suffix}")
        path.write_bytes(sound)
    np.testing.assert_array_equal(read(tmp_path / f"a{suffix}")[0], data)
    assert capfd.readouterr() == ("", "")  # ITK would print


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_damaged_packed_pixels_do_not_pass(
    tmp_path: Path,
    generator: np.random.Generator,
    capfd: pytest.CaptureFixture[str],
    suffix: str,
) -> None:
    path = written(tmp_path / f"a{suffix}", generator.integers(0, 60000, (5, 20, 30), np.uint16))
    sound = path.read_bytes()
    for where in range(len(sound) - 5000, len(sound), 100):
        damaged = bytearray(sound)
        damaged[where] ^= 0x55
        path.write_bytes(damaged)
        refused(path, "cannot be read as")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_garbage_never_escapes(
    tmp_path: Path,
    generator: np.random.Generator,
    capfd: pytest.CaptureFixture[str],
    suffix: str,
) -> None:
    path = written(tmp_path / f"a{suffix}", generator.integers(0, 60000, (5, 20, 30), np.uint16))
    sound = np.frombuffer(path.read_bytes(), np.uint8)
    letters = np.frombuffer(b"0123456789. =:eNM()\n\0\xff", np.uint8)
    for turn in range(250):
        damaged = sound.copy()
        end = 480 if turn % 2 else len(sound)
        damaged[generator.integers(0, end, 2)] = generator.choice(letters, 2)
        path.write_bytes(damaged.tobytes())
        try:
            whole(open_itk(path, False))
        except InputError as error:
            assert str(path) in str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "header ends too soon"),
        (bytes(1000), "header ends too soon"),
        (b"x" * 2**21, "header holds the line"),
        (b"a = b\n" * 2**19, "header ends too soon"),
        (meta(DimSize=""), "cannot be read as mha"),
        (meta(DimSize="4 4 4"), "declares the size 4 4 4"),
        (meta(DimSize="4 -4"), "declares the size 4 -4"),
        (meta(DimSize="60000 60000"), "ends before its pixels do"),
        (meta(DimSize="99999999999 9999999999"), "ends before its pixels do"),
        (meta(DimSize="60000 60000", CompressedData="True"), "promises 3.4 GiB of pixels in a"),
        (meta(CompressedData="True"), "cannot be read as mha"),
        (meta(BinaryData="False"), "holds its numbers as text; save it as binary"),
        (meta(ElementType="STRING"), "pixels of type STRING are not understood"),
        (meta(NDims="1", DimSize="16"), "has 1 axes"),
        (meta(NDims="5", DimSize="2 2 2 2 1"), "has 5 axes"),
        (meta(ElementSpacing="1 nan"), "has elementspacing 1 nan"),
        (meta(TransformMatrix="1 0"), "has transformmatrix 1 0"),
        (meta(ElementNumberOfChannels="0"), "declares 0 channels"),
        (meta(HeaderSize="99"), "ends before its pixels do"),
        (meta(DimSize="400 400", HeaderSize="-1"), "ends before its pixels do"),
        (meta(NDims="2\nnonsense"), "holds the line b'nonsense"),
    ],
)
def test_meta_headers_that_lie(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    (tmp_path / "a.mha").write_bytes(content)
    refused(tmp_path / "a.mha", message)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((b"NRRD0004", b"PNG\r\n\0\0\0"), "does not begin with NRRD"),
        ((b"sizes: 4 4", b"sizes: 60000 60000"), "ends before its pixels do"),
        ((b"4 4\ntype: uchar\nencoding: raw", b"60000 60000\ntype: uchar\nencoding: gzip"),
         "promises 3.4 GiB of pixels in a"),
        ((b"sizes: 4 4", b"sizes: 99999999999 99999999999"), "cannot be read as nrrd"),
        ((b"type: uchar", b"type: block\nblock size: 1"), "pixels of type|cannot be read"),
        ((b"encoding: raw", b""), "cannot be read as nrrd"),
        ((b"\n\n", b"\n# " + b"x" * 2**21), "header is too long"),
        ((b"dimension: 2\nsizes: 4 4", b"dimension: 1\nsizes: 16"), "has 1 axes|cannot be read"),
    ],
)  # fmt: skip
def test_nrrd_headers_that_lie(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    change: tuple[bytes, bytes],
    message: str,
) -> None:
    sound = b"NRRD0004\ndimension: 2\nsizes: 4 4\ntype: uchar\nencoding: raw\n\n" + bytes(16)
    (tmp_path / "a.nrrd").write_bytes(sound)
    assert read(tmp_path / "a.nrrd").shape == (1, 4, 4)
    (tmp_path / "a.nrrd").write_bytes(sound.replace(*change))
    with pytest.raises(InputError, match=message):
        whole(open_itk(tmp_path / "a.nrrd", False))
    assert capfd.readouterr() == ("", "")


def test_names_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "folder.mha").mkdir()
    (tmp_path / "loop.nrrd").symlink_to(tmp_path / "loop.nrrd")
    (tmp_path / "empty.nrrd").touch()
    for name in ("none.mha", "folder.mha", "loop.nrrd", "empty.nrrd"):
        refused(tmp_path / name)
    refused(tmp_path / "none.mha", "no such file; check the path")


def test_the_hint_when_simpleitk_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    hint = r"a\.nrrd: reading this needs SimpleITK; pip install 'unetkit\[medical\]'"
    with pytest.raises(InputError, match=hint):
        open_itk(tmp_path / "a.nrrd", False)
    (tmp_path / "a.mha").write_bytes(meta())
    assert read(tmp_path / "a.mha").shape == (1, 4, 4)  # this needs no library
    with pytest.raises(InputError, match=hint):
        write_itk(Image(np.zeros((1, 4, 4), np.uint8)), tmp_path / "a.nrrd")


def test_through_the_door(tmp_path: Path, generator: np.random.Generator) -> None:
    affine = np.array([[-1.5, 0, 0, 9], [0, 0, -2, 8], [0, 0.5, 0, 1 / 3], [0, 0, 0, 1]])
    data = generator.integers(0, 4, (1, 5, 6, 7), np.uint8)
    for name in ("a.nrrd", "a.mha", "b.NRRD"):
        write_image(Image(data, (2, 0.5, 1.5), affine), tmp_path / name)
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.data, data)
        np.testing.assert_allclose(image.frame, affine, atol=1e-12)
        np.testing.assert_array_equal(read_labels(tmp_path / name), data[0])
        assert read_shape(tmp_path / name) == data.shape
    path = written(tmp_path / "in" / "c.mhd", data[0])
    np.testing.assert_array_equal(read_image(path).data, data)
