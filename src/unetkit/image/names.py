"""Names of picture files: suffix, stem, natural order, and what a folder holds."""

from __future__ import annotations

import glob
import os
import re
import stat
from pathlib import Path

from unetkit.errors import InputError

# Formats of whole numbers in 8 or 16 bits.
PNG = (".png",)
JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
NETPBM = (".ppm", ".pgm", ".pbm", ".pnm", ".ppm.gz", ".pgm.gz", ".pbm.gz", ".pnm.gz")
PILLOW = (".bmp", ".webp", ".gif")
PICTURES = (*PNG, *JPEG, *NETPBM, *PILLOW)
TIFF = (".tif", ".tiff", ".ome.tif", ".ome.tiff")
NIFTI = (".nii", ".nii.gz")
NUMPY = (".npy", ".npz")
ZARR = (".zarr", ".ome.zarr")  # folders
DICOM = (".dcm",)
ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
RASTER = (".jp2", ".vrt", ".img")
SUFFIXES = sorted(
    (*PICTURES, *TIFF, *NIFTI, *NUMPY, *ZARR, *DICOM, *ITK, *RASTER), key=len, reverse=True
)

_SERIES = b"\x20\x00\x0e\x00"  # the DICOM tag SeriesInstanceUID, little-endian as nearly all are


def list_images(source: str | Path) -> list[Path]:
    """List the pictures of a folder, a glob pattern or a single picture, in natural order.

    Hidden files are skipped (macOS leaves `._name.png` beside `name.png`), as are other suffixes.
    A folder that is one picture counts as one: `x.zarr`, or a folder of the slices of one DICOM
    series; DICOM files of several series in one folder are pictures of their own.

    Raises:
        InputError: nothing is there, or nothing that is a picture.
    """
    path = Path(source)
    known = f"known suffixes are {', '.join(sorted(SUFFIXES))}"
    try:
        if path.is_file():
            suffix_of(path)
            return [path]
        if path.is_dir():
            if path.name.lower().endswith(ZARR) or _is_one_series(path):
                return [path]
            found = list(path.iterdir())
        elif glob.has_magic(str(source)):
            found = [Path(name) for name in glob.glob(str(source), recursive=True)]  # noqa: PTH207
        else:
            raise InputError("no such file or folder", where=path, cure="check the path")
        pictures = [one for one in found if is_image(one) and (one.is_file() or is_volume(one))]
    except OSError as error:
        raise InputError(f"cannot be listed ({error.strerror})", where=path) from error
    if not pictures:
        raise InputError("no images found", where=path, cure=known)
    return sorted(pictures, key=natural)


def is_image(path: Path) -> bool:
    """Tell whether a file or folder is a picture of a known format and not hidden.

    Its name tells, except for a folder of DICOM files, which may be called anything.
    """
    if path.name.startswith("."):
        return False
    return path.name.lower().endswith(tuple(SUFFIXES)) or is_series(path)


def is_volume(path: Path) -> bool:
    """Tell whether this is a folder that is a picture: Zarr, or the files of a DICOM series."""
    return (path.name.lower().endswith(ZARR) and path.is_dir()) or is_series(path)


def is_zarr(path: Path) -> bool:
    """Tell whether this is a folder with metadata of Zarr, whatever its name."""
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))


def is_series(folder: Path) -> bool:
    """Tell whether this is a folder of DICOM files, by its first file that is not hidden."""
    files = _files(folder)
    return bool(files) and _is_dicom(files[0])


def stem(path: str | Path) -> str:
    """Give the name without folder and suffix, where `.nii.gz` and `.ome.tif` are one suffix.

    A folder of DICOM files has no suffix, whatever dots its name has.

    Example:
        >>> stem("scans/case_7.nii.gz")
        'case_7'
    """
    path = Path(path)
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name if is_series(path) else path.stem


def natural(path: str | Path) -> tuple[list[str | int], str]:
    """Sort key that puts `9.png` before `10.png`."""
    # Splitting at digits yields text and number in turn, so positions compare like with like.
    parts = re.split(r"([0-9]+)", str(path))
    return [int(p) if i % 2 else p.lower() for i, p in enumerate(parts)], str(path)


def suffix_of(path: Path) -> str:
    """Give the suffix in lower case, if it is that of a known format; ".dcm" for a DICOM folder.

    Raises:
        InputError: it is not.
    """
    name = path.name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return suffix
    if is_series(path):
        return ".dcm"
    raise InputError(
        f"{path.suffix or 'a name without suffix'} is no known image format",
        where=path,
        cure=f"known are {', '.join(sorted(SUFFIXES))}",
    )


def _is_one_series(folder: Path) -> bool:
    """Tell whether the first and the last of several DICOM files belong to the same series."""
    files = _files(folder)
    return len(files) > 1 and _is_dicom(files[0]) and _series(files[0]) == _series(files[-1])


def _files(folder: Path) -> list[Path]:
    """Give the first and the last that is not hidden, in the order of their letters."""
    try:
        names = [name for name in os.listdir(folder) if not name.startswith(".")]  # noqa: PTH208
    except (OSError, ValueError):  # no folder, or nobody may look into it
        return []
    return [folder / name for name in dict.fromkeys((min(names), max(names)))] if names else []


def _is_dicom(file: Path) -> bool:
    start = _start(file, 132)
    return bool(start) and (file.name.lower().endswith(DICOM) or start[128:] == b"DICM")


def _series(file: Path) -> bytes:
    """Give the 64 bytes in which the number of the series stands, or nothing."""
    _, tag, after = _start(file, 2**16).partition(_SERIES)
    length = int.from_bytes(after[2:4] if after[:2] == b"UI" else after[:4], "little")
    return after[4 : 4 + min(length, 64)] if tag else b""


def _start(file: Path, size: int) -> bytes:
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # a pipe would wait for ever
            return b""
        with file.open("rb") as content:
            return content.read(size)
    except (OSError, ValueError):
        return b""
