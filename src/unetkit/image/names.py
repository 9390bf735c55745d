"""Names of picture files: suffix, stem, natural order, and what a folder holds."""

from __future__ import annotations

import glob
import re
from pathlib import Path

from unetkit.errors import InputError

# Which of Pillow's decoders may open which suffix; MPO is what many cameras call JPEG.
PILLOW = {
    ".png": ("PNG",),
    ".jpg": ("JPEG", "MPO"),
    ".jpeg": ("JPEG", "MPO"),
    ".bmp": ("BMP",),
    ".webp": ("WEBP",),
    ".gif": ("GIF",),
    ".ppm": ("PPM",),
    ".pgm": ("PPM",),
    ".pbm": ("PPM",),
}
TIFF = (".tif", ".tiff", ".ome.tif", ".ome.tiff")
NIFTI = (".nii", ".nii.gz")
NUMPY = (".npy", ".npz")
SUFFIXES = sorted((*PILLOW, *TIFF, *NIFTI, *NUMPY), key=len, reverse=True)


def list_images(source: str | Path) -> list[Path]:
    """List the pictures of a folder, a glob pattern or a single file, in natural order.

    Hidden files are skipped (macOS leaves `._name.png` beside `name.png`), as are other suffixes.

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
            found = list(path.iterdir())
        elif glob.has_magic(str(source)):
            found = [Path(name) for name in glob.glob(str(source), recursive=True)]  # noqa: PTH207
        else:
            raise InputError("no such file or folder", where=path, cure="check the path")
        pictures = [file for file in found if is_image(file) and file.is_file()]
    except OSError as error:
        raise InputError(f"cannot be listed ({error.strerror})", where=path) from error
    if not pictures:
        raise InputError("no images found", where=path, cure=known)
    return sorted(pictures, key=natural)


def is_image(path: Path) -> bool:
    """Tell by its name whether a file is a picture of a known format and not hidden."""
    return not path.name.startswith(".") and path.name.lower().endswith(tuple(SUFFIXES))


def stem(path: str | Path) -> str:
    """Give the name without folder and suffix, where `.nii.gz` and `.ome.tif` are one suffix.

    Example:
        >>> stem("scans/case_7.nii.gz")
        'case_7'
    """
    name = Path(path).name
    return next((name[: -len(s)] for s in SUFFIXES if name.lower().endswith(s)), Path(path).stem)


def natural(path: str | Path) -> tuple[list[str | int], str]:
    """Sort key that puts `9.png` before `10.png`."""
    # Splitting at digits yields text and number in turn, so positions compare like with like.
    parts = re.split(r"(\d+)", str(path))
    return [int(p) if i % 2 else p.lower() for i, p in enumerate(parts)], str(path)


def suffix_of(path: Path) -> str:
    """Give the suffix in lower case, if it is that of a known format.

    Raises:
        InputError: it is not.
    """
    name = path.name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return suffix
    raise InputError(
        f"{path.suffix or 'a name without suffix'} is no known image format",
        where=path,
        cure=f"known are {', '.join(sorted(SUFFIXES))}",
    )
