"""Small sound files of each format, from writers that are not ours: what is damaged afterwards."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

Y, X = 40, 48


@cache
def noise(*shape: int, top: int = 256, dtype: str = "u1") -> np.ndarray:
    """Give numbers that no compression shrinks to nothing."""
    return np.random.default_rng(7).integers(0, top, shape or (Y, X)).astype(dtype)


def by_pillow(pixels: np.ndarray, kind: str, mode: str | None = None, **options: Any) -> bytes:
    """Encode with Pillow."""
    picture = Pillow.fromarray(pixels)
    if mode:
        picture = picture.convert(mode)
    target = io.BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def by_tifffile(pixels: np.ndarray, **options: Any) -> bytes:
    """Encode with tifffile."""
    import tifffile

    target = io.BytesIO()
    options.setdefault("photometric", "minisblack")
    tifffile.imwrite(target, pixels, **options)
    return target.getvalue()


def through_file(suffix: str, write: Callable[[Path], Any]) -> bytes:
    """Give what a writer that needs a path has written."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"sound{suffix}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write(path)
        return path.read_bytes()


def palette() -> bytes:
    """Give a PNG of 16 indices with colours."""
    picture = Pillow.fromarray(noise(top=16))
    picture.putpalette(list(range(0, 240, 5)))
    target = io.BytesIO()
    picture.save(target, "PNG", bits=4)
    return target.getvalue()


def nifti(suffix: str = ".nii", dtype: str = "i2", **fields: Any) -> bytes:
    """Give a NIfTI of 10 × 12 × 14 voxels, with fields of its header overwritten."""
    import nibabel

    image = nibabel.Nifti1Image(noise(10, 12, 14, dtype=dtype), np.diag([2.0, 1, 1, 1]))
    plain = through_file(".nii", lambda path: nibabel.save(image, path))
    header = nibabel.Nifti1Header(plain[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    plain = header.binaryblock + plain[348:]
    if suffix == ".nii":
        return plain
    import gzip

    return gzip.compress(plain, mtime=0)


def geotiff() -> bytes:
    """Give a GeoTIFF of two bands, by GDAL."""
    import rasterio

    def write(path: Path) -> None:
        with rasterio.open(
            path, "w", driver="GTiff", height=Y, width=X, count=2, dtype="uint16", nodata=0,
            crs="EPSG:32633", transform=rasterio.Affine(10, 0, 500000, 0, -10, 5e6),
            compress="deflate",
        ) as file:  # fmt: skip
            file.write(noise(2, Y, X, top=5000, dtype="u2"))

    return through_file(".tif", write)


def dicom(**changes: Any) -> bytes:
    """Give a DICOM slice; attributes of the dataset are changed, or left out where None."""
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["a"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content: dict[str, Any] = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "SeriesInstanceUID": generate_uid(entropy_srcs=["b"]),
        "Modality": "CT", "Rows": Y, "Columns": X, "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": 0, "PixelSpacing": [0.5, 0.5],
        "ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelData": noise(top=4000, dtype="u2").tobytes(),
    }  # fmt: skip
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    for name, value in (content | changes).items():
        if value is not None:
            setattr(dataset, name, value)
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.dcmwrite(target, dataset, enforce_file_format=True)
    return target.getvalue()


def itk(suffix: str, compressed: bool) -> bytes:
    """Give a volume by SimpleITK."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(noise(6, 10, 12, top=900, dtype="i2"))
    return through_file(suffix, lambda path: SimpleITK.WriteImage(image, str(path), compressed))


def npy(pixels: np.ndarray) -> bytes:
    """Give an NPY; objects are pickled."""
    target = io.BytesIO()
    np.save(target, pixels, allow_pickle=True)
    return target.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    """Give a compressed NPZ."""
    target = io.BytesIO()
    np.savez_compressed(target, **arrays)
    return target.getvalue()


def jpeg2000() -> bytes:
    """Give a JPEG 2000 file."""
    import imagecodecs

    return bytes(imagecodecs.jpeg2k_encode(noise(), level=0, codecformat="jp2"))


_MAKERS: dict[str, Callable[[], bytes]] = {
    "grey.png": lambda: by_pillow(noise(), "PNG"),
    "deep.png": lambda: by_pillow(noise(top=60000, dtype="u2"), "PNG"),
    "rgba.png": lambda: by_pillow(noise(Y, X, 4), "PNG"),
    "palette.png": palette,
    "grey.jpg": lambda: by_pillow(noise(), "JPEG"),
    "colour.jpg": lambda: by_pillow(noise(Y, X, 3), "JPEG", progressive=True),
    "ink.jpg": lambda: by_pillow(noise(Y, X, 3), "JPEG", "CMYK"),
    "strips.tif": lambda: by_tifffile(noise(), rowsperstrip=8),
    "deflate.tif": lambda: by_tifffile(noise(3, Y, X), compression="zlib"),
    "tiles.tif": lambda: by_tifffile(noise(top=9), tile=(16, 16), compression="lzw"),
    "float.tif": lambda: by_tifffile(noise(dtype="f4"), compression="zstd"),
    "jpeg.tif": lambda: by_tifffile(noise(64, 64), compression="jpeg", tile=(32, 32)),
    "imagej.tif": lambda: by_tifffile(noise(3, Y, X), imagej=True, photometric=None),
    "ome.ome.tif": lambda: by_tifffile(noise(3, Y, X), ome=True, metadata={"axes": "ZYX"}),
    "big.tif": lambda: by_tifffile(noise(), bigtiff=True, compression="packbits"),
    "map.tif": geotiff,
    "plain.nii": nifti,
    "packed.nii.gz": lambda: nifti(".nii.gz"),
    "array.npy": lambda: npy(noise()),
    "arrays.npz": lambda: npz(image=noise(), mask=noise(top=3)),
    "slice.dcm": dicom,
    "volume.nrrd": lambda: itk(".nrrd", False),
    "packed.nrrd": lambda: itk(".nrrd", True),
    "volume.mha": lambda: itk(".mha", False),
    "packed.mha": lambda: itk(".mha", True),
    "lossless.webp": lambda: by_pillow(noise(Y, X, 3), "WEBP", lossless=True),
    "grey.bmp": lambda: by_pillow(noise(), "BMP"),
    "grey.gif": lambda: by_pillow(noise(), "GIF"),
    "grey.pgm": lambda: by_pillow(noise(), "PPM"),
    "text.ppm": lambda: b"P3 4 3 99\n" + b" ".join(b"%d" % (k % 99) for k in range(36)),
    "grey.jp2": jpeg2000,
}
# Name → bytes of a sound file; made when they are first asked for.
CONTENTS: dict[str, Callable[[], bytes]] = {name: cache(make) for name, make in _MAKERS.items()}


def zarr3(folder: Path) -> Path:
    """Write a Zarr v3 array in compressed chunks."""
    import zarr

    path = folder / "array.zarr"
    array = zarr.create_array(path, shape=(Y, X), chunks=(20, 24), dtype="u1", zarr_format=3)
    array[:] = noise()
    return path


def zarr2(folder: Path) -> Path:
    """Write a Zarr v2 array."""
    import zarr

    path = folder / "old.zarr"
    array = zarr.create_array(path, shape=(Y, X), chunks=(20, 24), dtype="u1", zarr_format=2)
    array[:] = noise()
    return path


def ome_zarr(folder: Path) -> Path:
    """Write what OME-Zarr 0.5 asks for, with zarr alone."""
    import zarr

    path = folder / "image.ome.zarr"
    group = zarr.create_group(path, zarr_format=3)
    array = group.create_array("0", shape=(2, Y, X), chunks=(1, 20, 48), dtype="u2")
    array[:] = noise(2, Y, X, top=900, dtype="u2")
    scale = [{"type": "scale", "scale": [1.0, 0.5, 0.5]}]
    pyramid = {
        "axes": [
            {"name": "c", "type": "channel"},
            *({"name": n, "type": "space", "unit": "micrometer"} for n in "yx"),
        ],
        "datasets": [{"path": "0", "coordinateTransformations": scale}],
    }
    group.attrs["ome"] = {"version": "0.5", "multiscales": [pyramid]}
    return path


def series(folder: Path) -> Path:
    """Write a folder of DICOM slices."""
    path = folder / "series"
    path.mkdir()
    for k in range(4):
        content = dicom(ImagePositionPatient=[0, 0, 2 * k], InstanceNumber=k + 1)
        (path / f"{k}.dcm").write_bytes(content)
    return path


# Folders that are one picture.
FOLDERS: dict[str, Callable[[Path], Path]] = {
    "zarr3": zarr3, "zarr2": zarr2, "ome-zarr": ome_zarr, "series": series
}  # fmt: skip
