"""NIfTI and NumPy files: written by nibabel and NumPy, read back whole and by window."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest

from unetkit.errors import InputError
from unetkit.image import Image, open_image, read_image, read_labels, read_shape, write_image
from windows import windows_agree

AFFINE = np.array([[0, 2.0, 0, 5], [1.0, 0, 0, 6], [0, 0, 3.0, 7], [0, 0, 0, 1]])


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


# --------------------------------------------------------------------------------------- NIfTI


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_nifti_as_nibabel_reads_it(
    tmp_path: Path,
    generator: np.random.Generator,
    suffix: str,
    order: str,
    kind: type,
    dtype: str,
) -> None:
    voxels = (generator.random((7, 6, 5)) * 200).astype(dtype)
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype))
    path = tmp_path / f"a{suffix}"
    nibabel.save(kind(voxels, AFFINE, header), path)
    reference = nibabel.load(path)
    assert reference.header.endianness == order
    image = windows_agree(path, generator)
    np.testing.assert_array_equal(image.data[0], np.asarray(reference.dataobj).T)
    assert image.data.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(image.frame, reference.affine)
    assert image.spacing == (3.0, 2.0, 1.0)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("shape", [(7, 6), (7, 6, 1), (7, 6, 5), (7, 6, 5, 3), (7, 6, 5, 1, 3)])
def test_nifti_of_every_shape(
    tmp_path: Path, generator: np.random.Generator, suffix: str, shape: tuple[int, ...]
) -> None:
    voxels = generator.integers(0, 999, shape, np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), tmp_path / f"a{suffix}")
    data = windows_agree(tmp_path / f"a{suffix}", generator).data
    expected = voxels.T.reshape(-1, *shape[2::-1])
    np.testing.assert_array_equal(data, expected)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("dtype", "slope", "inter"),
    [("i2", 2.0, 1.0), ("u1", 0.5, -3), ("f4", 3, 0), ("f8", 3, 1), ("i2", np.nan, 4), ("i2", 1, 0),
     ("i2", 0, 5), ("u2", 1, 0.25)],
)  # fmt: skip
def test_nifti_scaling_as_nibabel_does_it(
    tmp_path: Path,
    generator: np.random.Generator,
    suffix: str,
    dtype: str,
    slope: float,
    inter: float,
) -> None:
    volume = nibabel.Nifti1Image((generator.random((7, 6, 5)) * 99).astype(dtype), AFFINE)
    raw = bytearray(volume.to_bytes())
    raw[112:120] = np.array([slope, inter], "<f4").tobytes()
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(raw) if suffix.endswith("gz") else raw)
    reference = np.asarray(nibabel.load(path).dataobj).T
    data = windows_agree(path, generator).data[0]
    np.testing.assert_array_equal(data, reference.astype(data.dtype))
    scaled = reference.dtype != np.dtype(dtype)
    assert data.dtype == (np.float64 if dtype == "f8" else np.float32 if scaled else dtype)


def test_nifti_of_colours(tmp_path: Path, generator: np.random.Generator) -> None:
    colours = generator.integers(0, 256, (7, 6, 5, 3), np.uint8)
    voxels = colours.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    for suffix in (".nii", ".nii.gz"):
        path = tmp_path / f"a{suffix}"
        nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), path)
        np.testing.assert_array_equal(windows_agree(path, generator).data, colours.T)


def test_nifti_orientation_is_kept(tmp_path: Path, generator: np.random.Generator) -> None:
    voxels = generator.integers(0, 9, (7, 6, 5), np.uint8)
    for qform in (False, True):
        volume = nibabel.Nifti1Image(voxels, None)
        lps = np.diag([-1.0, -2.0, 3.0, 1.0])
        volume.set_sform(lps, code=0 if qform else 1)
        volume.set_qform(lps, code=1)
        nibabel.save(volume, tmp_path / "a.nii.gz")
        image = read_image(tmp_path / "a.nii.gz")
        np.testing.assert_array_equal(image.data[0], voxels.T)
        np.testing.assert_allclose(image.frame, nibabel.load(tmp_path / "a.nii.gz").affine)
        assert image.spacing == (3.0, 2.0, 1.0)


def test_negative_and_missing_spacing(tmp_path: Path) -> None:
    volume = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), AFFINE)
    raw = bytearray(volume.to_bytes())
    raw[80:92] = np.array([-2, 0, np.nan], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    assert read_image(tmp_path / "a.nii").spacing == (1.0, 1.0, 2.0)


def test_gzip_of_several_members(tmp_path: Path, generator: np.random.Generator) -> None:
    voxels = generator.integers(0, 999, (7, 6, 50), np.int16)  # as pigz or bgzip write it
    raw = nibabel.Nifti1Image(voxels, AFFINE).to_bytes()
    parts = [gzip.compress(raw[start : start + 1000]) for start in range(0, len(raw), 1000)]
    (tmp_path / "a.nii.gz").write_bytes(b"".join(parts))
    np.testing.assert_array_equal(windows_agree(tmp_path / "a.nii.gz", generator).data[0], voxels.T)


def test_slabs_of_a_gzipped_volume_are_unpacked_once(
    tmp_path: Path, generator: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    voxels = generator.integers(0, 999, (40, 30, 20), np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), tmp_path / "a.nii.gz")
    with open_image(tmp_path / "a.nii.gz") as opened:
        unpacked, original = [], gzip.GzipFile.seek

        def seek(file: gzip.GzipFile, *place: int) -> int:
            unpacked.append(place)
            return original(file, *place)

        monkeypatch.setattr(gzip.GzipFile, "seek", seek)
        for z in range(0, 20, 5):
            for x in range(0, 40, 10):
                part = opened.read((slice(z, z + 5), slice(0, 30), slice(x, x + 10)))
                np.testing.assert_array_equal(part[0], voxels.T[z : z + 5, :, x : x + 10])
    assert len(unpacked) == 4


def test_a_window_of_a_large_volume_takes_little_memory(tmp_path: Path) -> None:
    path, plain = tmp_path / "a.nii.gz", tmp_path / "a.nii"
    shape = (1000, 1000, 300)
    head = nibabel.Nifti1Image(np.zeros((1, 1, 1), np.uint8), AFFINE).to_bytes()[:352]
    head = head[:40] + np.array([3, *shape, 1, 1, 1, 1], "<i2").tobytes() + head[56:]
    with plain.open("wb") as file:
        file.write(head)
        file.truncate(352 + 1000 * 1000 * 300)
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(head)
        for z in range(300):
            file.write(bytes([z % 256]) * 1_000_000)
    program = f"""
import resource
from unetkit.image import open_image
import nibabel, imagecodecs
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in ({str(path)!r}, {str(plain)!r}):
    with open_image(path) as opened:
        assert opened.shape == (1, 300, 1000, 1000)
        part = opened.read((slice(150, 158), slice(5, 517), slice(8, 520)))
        print(part[0, :, 0, 0].tolist())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    first, second, grown = answer.stdout.splitlines()
    assert first == str(list(range(150, 158)))
    assert second == str([0] * 8)
    assert int(grown) < 40_000  # KiB; the volume has 293,000


def test_damaged_nifti(tmp_path: Path) -> None:
    volume = nibabel.Nifti1Image(np.ones((4, 5, 6), np.int16), AFFINE)
    raw = volume.to_bytes()
    complex_raw = raw[:70] + np.array([32, 64], "<i2").tobytes() + raw[74:] + bytes(2000)
    for content, message in {
        raw[:200]: "cannot be read as nii .*header",
        b"\1\2\3\4" + raw[4:]: "no NIfTI header",
        raw[:-1]: "ends before its voxels do",
        raw[:40] + np.array([1], "<i2").tobytes() + raw[42:]: "has 1 axes, no picture",
        raw[:42] + np.array([-4], "<i2").tobytes() + raw[44:]: "has 3 axes, no picture",
        raw[:70] + np.array([77], "<i2").tobytes() + raw[72:]: "cannot be read as nii",
        complex_raw: "pixels of type complex64",
        raw[:42]
        + np.array([30_000] * 3, "<i2").tobytes()
        + raw[48:]: r"promises 50291\.4 GiB|prom",
    }.items():
        (tmp_path / "a.nii").write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_image(tmp_path / "a.nii")
    packed = bytearray(gzip.compress(raw))
    packed[-6] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(packed)
    with pytest.raises(InputError, match=r"cannot be read as nii\.gz"):
        read_image(tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").write_bytes(raw)
    with pytest.raises(InputError, match=r"holds NIfTI data under the suffix .nii.gz; rename it"):
        read_image(tmp_path / "a.nii.gz")


# --------------------------------------------------------------------------------------- NumPy


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["?", "u1", ">i2", "u2", "i8", "f2", ">f4", "f8"])
@pytest.mark.parametrize("shape", [(20, 30), (3, 20, 30), (40, 20, 3), (2, 18, 20, 30)])
def test_numpy_by_window(
    tmp_path: Path,
    generator: np.random.Generator,
    order: str,
    dtype: str,
    shape: tuple[int, ...],
) -> None:
    array = np.asarray((generator.random(shape) * 100).astype(dtype), order=order)
    moved = np.moveaxis(array, -1, 0) if shape[-1] == 3 else array
    expected = moved[None] if array.ndim == 2 else moved
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", array)
    np.savez_compressed(tmp_path / "b.npz", array)
    for name in ("a.npy", "a.npz", "b.npz"):
        data = windows_agree(tmp_path / name, generator).data
        np.testing.assert_array_equal(data, expected)
        assert data.dtype == (np.uint8 if dtype == "?" else np.dtype(dtype).newbyteorder("="))


def test_npz_of_image_and_label(tmp_path: Path, generator: np.random.Generator) -> None:
    image, label = generator.random((20, 30)), generator.integers(0, 9, (20, 30))
    np.savez(tmp_path / "a.npz", image=image, label=label)
    np.testing.assert_array_equal(read_image(tmp_path / "a.npz").data[0], image)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.npz"), label)
    np.savez(tmp_path / "b.npz", first=image, second=label)
    with pytest.raises(InputError, match="holds the arrays first, second; name the one to read"):
        read_shape(tmp_path / "b.npz")


def test_damaged_npz(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.save(content, np.zeros((40, 50), np.uint8))
    whole = content.getvalue()
    for name, array, message in (
        ("short", whole[:-1], "ends before its pixels do"),
        ("long", whole + b"x", "holds more than its header says"),
        ("none", b"", "cannot be read as npz"),
        ("other", b"x" * 300, "cannot be read as npz"),
        ("five", whole.replace(b"(40, 50)", b"(1,1,1,1,2000)"), "cannot be read|has 5 axes"),
    ):
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as bundle:
            bundle.writestr(f"{name}.npy", array)
        with pytest.raises(InputError, match=message):
            read_image(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz", "w"):
        pass
    with pytest.raises(InputError, match="holds the arrays none; name the one to read"):
        read_image(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("a.npy", whole)
    raw = bytearray((tmp_path / "a.npz").read_bytes())
    raw[60] ^= 255
    (tmp_path / "a.npz").write_bytes(raw)
    with pytest.raises(InputError, match=r"a\.npz"):
        read_image(tmp_path / "a.npz")


def test_an_array_of_other_things(tmp_path: Path) -> None:
    for array, message in (
        (np.zeros((20, 30), complex), "pixels of type complex128 are not understood"),
        (np.zeros((20, 30), "U3"), "pixels of type <U3 are not understood"),
        (np.zeros((20, 30), "M8[s]"), "are not understood"),
        (np.zeros(20), r"has 1 axes; save \(y, x\)"),
        (np.zeros((0, 30)), "has no pixels"),
        (np.zeros(()), "has 0 axes"),
    ):
        np.save(tmp_path / "a.npy", array)
        np.savez(tmp_path / "a.npz", array)
        for name in ("a.npy", "a.npz"):
            with pytest.raises(InputError, match=message):
                read_shape(tmp_path / name)


def test_a_window_that_makes_no_sense_is_the_callers_fault(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((20, 30)))
    with open_image(tmp_path / "a.npy") as opened, pytest.raises(ValueError, match="zip"):
        opened.read((slice(0, 3),))


def test_files_are_closed(tmp_path: Path, generator: np.random.Generator) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("no /proc here")
    data = generator.integers(0, 9, (1, 20, 30), np.uint8)
    for suffix in (".png", ".tif", ".nii", ".nii.gz", ".npy"):
        path = tmp_path / f"a{suffix}"
        write_image(Image(data), path)
        for _ in range(3):
            read_image(path)
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            with pytest.raises(InputError):
                read_image(path)
            write_image(Image(data), path)
        held = [link for link in Path("/proc/self/fd").iterdir() if link.exists()]
        assert not [link for link in held if str(link.resolve()).startswith(str(tmp_path))]
