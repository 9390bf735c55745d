"""A trained model applied to files: every image gets its outputs, whatever the others do."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from unetkit.data.case import Case
from unetkit.data.picture import read_picture
from unetkit.errors import InputError, nearest
from unetkit.files import write_text
from unetkit.image import Image, list_images, stem, write_image
from unetkit.report import overlay
from unetkit.segmenter import Segmentation, Segmenter, load

Output = Literal["labels", "probability", "overlay"]
OUTPUTS: tuple[str, ...] = get_args(Output)


@dataclass(frozen=True)
class Applied:
    """What came of a folder: the files written, and the images that failed with the reason."""

    written: list[Path]
    failures: list[tuple[Path, str]]


def predict(
    model: Segmenter | str | Path,
    inputs: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    save: Sequence[str] = ("labels",),
    tile: int | None = None,
    tta: bool | None = None,
    threshold: float | None = None,
    overwrite: bool = False,
    on_image: Callable[[int, int, str], None] | None = None,
    on_tile: Callable[[int, int], None] | None = None,
) -> Applied:
    """Segment images and write the results under their own names.

    Args:
        model: a segmenter, a run folder, or a `.safetensors` file.
        inputs: files, folders or glob patterns.
        out: folder; each kind of output has a subfolder in it.
        save: any of "labels" (mask values as in the training data), "probability" (float TIFF,
            one page per channel) and "overlay" (the image with the labels drawn on it).
        tile: size of the network's input; default: by memory.
        tta: average over mirror images; default: the model's.
        threshold: of the foreground; default: the model's, tuned on `val`.
        overwrite: replace outputs that exist.
        on_image: called with images done, images in all and the name of the next.
        on_tile: called with tiles done and tiles in all of the running image.

    Returns:
        The written files and the failures, which also stand in `failures.csv`.

    Raises:
        InputError: no such model or input, an unknown output, or outputs that exist already.
    """
    for kind in save:
        if kind not in OUTPUTS:
            raise InputError(f"unknown output {kind}", where="--save", cure=nearest(kind, OUTPUTS))
    segmenter = model if isinstance(model, Segmenter) else load(model)
    sources = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    paths = list(dict.fromkeys(path for source in sources for path in list_images(source)))
    out = Path(out)
    cases = _cases(paths, segmenter.card.task.channels)
    plan = [_targets(case.image, case.id, out, save) for case in cases]
    there = [target for targets in plan for target in targets.values() if target.exists()]
    if there and not overwrite:
        raise InputError(
            f"{len(there)} of the outputs exist already",
            where=there[0],
            cure="use --overwrite, or another -o",
        )
    written: list[Path] = []
    failures: list[tuple[Path, str]] = []
    for done, (case, targets) in enumerate(zip(cases, plan, strict=True)):
        if on_image is not None:
            on_image(done, len(cases), case.image.name)
        try:
            image = read_picture(case)
            answer = segmenter(image, tile=tile, tta=tta, threshold=threshold, progress=on_tile)
        except InputError as error:
            files = {case.image, *case.bands}  # or folders, of which one file is at fault
            where = Path(str(error.where))
            if len(cases) == 1 or files.isdisjoint((where, *where.parents)):
                raise  # the request is at fault, not one image
            own = where == case.image
            reason = str(InputError(error.what, cure=error.cure)) if own else str(error)
            failures.append((case.image, reason))
            continue
        for kind, target in targets.items():
            write_image(_output(kind, image, answer), target)
            written.append(target)
    if on_image is not None:
        on_image(len(cases), len(cases), "")
    if failures:
        _write_failures(out / "failures.csv", failures)
    return Applied(written, failures)


def _cases(paths: Sequence[Path], channels: int) -> list[Case]:
    """Make one case of each picture; of `CASE_0000`, `CASE_0001` … one, if all are named so.

    That is how nnU-Net keeps channels, and how such sets are read for training.
    """
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


def _targets(path: Path, name: str, out: Path, save: Sequence[str]) -> dict[str, Path]:
    kept = _suffix(path)
    suffix = {
        "labels": kept,
        "probability": ".tif" if kept == ".png" else kept,  # a PNG holds no fractions
        "overlay": ".png",
    }
    return {kind: out / kind / f"{name}{suffix[kind]}" for kind in dict.fromkeys(save)}


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


def _output(kind: str, image: Image, answer: Segmentation) -> Image:
    match kind:
        case "labels":
            mask = np.asarray(answer.mask)
            mask = mask[None] if mask.ndim == answer.labels.ndim else mask
            return Image(mask, image.spacing, image.frame)
        case "probability":
            return Image(answer.probabilities, image.spacing, image.frame)
    labels, pixels = answer.labels, image.data
    if labels.ndim == 3:  # a picture has two axes: the fullest slice
        fullest = int((labels > 0).sum(axis=(1, 2)).argmax())
        labels, pixels = labels[fullest], pixels[:, fullest]
    return Image(overlay(pixels[:3] if len(pixels) >= 3 else pixels[:1], labels))


def _write_failures(path: Path, failures: Sequence[tuple[Path, str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "error"))
    writer.writerows((str(image), reason) for image, reason in failures)
    write_text(path, text.getvalue())
