"""Which images there are, and what their outputs are called."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from unetkit.data.case import Case
from unetkit.errors import InputError, nearest
from unetkit.image import list_images, stem

FORMATS = ("tif", "png", "zarr", "ome.zarr", "nii.gz", "nii", "npy", "nrrd", "mha")


def find_cases(inputs: str | Path | Iterable[str | Path], channels: int) -> list[Case]:
    """Make one case of each picture; of `CASE_0000`, `CASE_0001` … one, if all are named so.

    That is how nnU-Net keeps channels, and how such sets are read for training.

    Raises:
        InputError: there are no such files, or two would have the same output.
    """
    sources = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    paths = list(dict.fromkeys(path for source in sources for path in list_images(source)))
    if channels > 1:
        parts = [_CHANNEL.fullmatch(stem(path)) for path in paths]
        bands: dict[tuple[Path, str], list[Path]] = {}
        for path, part in zip(paths, parts, strict=True):
            if part:
                bands.setdefault((path.parent, part[1]), []).append(path)
        numbers = [f"_{channel:04d}" for channel in range(channels)]
        if all(parts) and all(
            [stem(path)[-5:] for path in files] == numbers for files in bands.values()
        ):
            firsts = [files[0] for files in bands.values()]
            names = [name.removesuffix("_0000") for name in _names(firsts)]
            return [
                Case(name, files[0], bands=tuple(files[1:]))
                for name, files in zip(names, bands.values(), strict=True)
            ]
    return [Case(name, path) for path, name in zip(paths, _names(paths), strict=True)]


def targets(case: Case, out: Path, save: Sequence[str], form: str | None) -> dict[str, Path]:
    """Give the file of each kind of output of a case, in a folder for each kind.

    Args:
        case: the image.
        out: folder of all outputs.
        save: kinds.
        form: the ending asked for; `None` chooses one that keeps what the input says.
    """
    kept = _suffix(case.image) if form is None else f".{form}"
    fractions = ".tif" if kept == ".png" else kept  # a PNG holds no fractions
    suffix = {"labels": kept, "overlay": ".png"}
    return {
        kind: out / kind / f"{case.id}{suffix.get(kind, fractions)}" for kind in dict.fromkeys(save)
    }


def require_format(form: str | None) -> None:
    """Refuse an ending that cannot be written.

    Raises:
        InputError: it is none of those known.
    """
    if form is not None and form not in FORMATS:
        cure = nearest(form, FORMATS)
        raise InputError(f"unknown format {form}", where="--format", cure=cure)


def _names(paths: Sequence[Path]) -> list[str]:
    """Name outputs by stem; where two inputs share one, keep what tells them apart."""
    count = Counter(stem(path) for path in paths)
    full = Counter(path.name for path in paths)
    names = []
    for path in paths:
        name = stem(path)
        if count[name] > 1:
            name = path.name if full[path.name] == 1 else f"{path.parent.name}_{path.name}"
        names.append(name)
    if len(set(names)) < len(names):
        twice = next(name for name, times in Counter(names).items() if times > 1)
        raise InputError(
            "two inputs would have the same output", where=twice, cure="predict them separately"
        )
    return names


def _suffix(path: Path) -> str:
    """Choose a format that keeps what the input says of spacing, depth and place."""
    name = path.name.lower()
    for ending, suffix in _KEPT.items():
        if name.endswith(ending):
            return suffix
    return ".nii.gz" if path.is_dir() else ".png"  # a folder is a DICOM series


_CHANNEL = re.compile(r"(.+)_\d{4}")
_KEPT = {
    ".nii": ".nii.gz",
    ".nii.gz": ".nii.gz",
    ".dcm": ".nii.gz",
    ".nrrd": ".nrrd",
    ".nhdr": ".nrrd",
    ".mha": ".mha",
    ".mhd": ".mha",
    ".ome.zarr": ".ome.zarr",
    ".zarr": ".zarr",
    **dict.fromkeys((".tif", ".tiff", ".npy", ".npz", ".jp2", ".vrt", ".img"), ".tif"),
}
