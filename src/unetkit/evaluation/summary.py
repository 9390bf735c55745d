"""Many images: means, intervals, and the document that carries them with their protocol."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unetkit.errors import InputError
from unetkit.image.names import NIFTI
from unetkit.metrics import bootstrap_interval

Scores = dict[str, float]

_OWN = "the files' own unit"


def document(
    protocol: Mapping[str, Any],
    ids: Sequence[str],
    rows: Sequence[Scores],
    by_class: Mapping[str, Sequence[Scores]],
    *,
    whole: Sequence[Scores] = (),
    human: Sequence[Scores] = (),
) -> dict[str, Any]:
    """Put scores and their protocol into the shape of `metrics.json`.

    Args:
        protocol: what the scores must be read with.
        ids: of the images.
        rows: one per image.
        by_class: one per image that holds the class.
        whole: one per image, of pixels outside the field of view too; none where all pixels count.
        human: one per image, of a second observer; none where an image has no such mask.
    """
    metrics = {"protocol": {**protocol}, **summary(ids, rows)}
    if len(by_class) > 1:
        metrics["per_class"] = {name: mean(scores) for name, scores in by_class.items()}
    if whole:
        metrics["whole_image"] = {"mean": mean(whole)}
    if human and len(human) == len(ids):
        metrics["human"] = {"mean": mean(human), "interval": interval(human)}
    return metrics


def summary(ids: Sequence[str], rows: Sequence[Scores]) -> dict[str, Any]:
    """Give mean, interval and the scores of each image."""
    return {
        "mean": mean(rows),
        "interval": interval(rows),
        "per_image": [{"id": name, **row} for name, row in zip(ids, rows, strict=True)],
    }


def mean(rows: Sequence[Scores]) -> Scores:
    """Average each score over the images where it is defined."""
    return {name: _nanmean(values) for name, values in _columns(rows).items()}


def interval(rows: Sequence[Scores]) -> dict[str, tuple[float, float]]:
    """Give the bootstrap interval of each mean."""
    return {name: bootstrap_interval(values) for name, values in _columns(rows).items()}


def averaging(several: bool) -> dict[str, str]:
    """Say how the mean is taken, of one class or of several."""
    words = "per-image mean"
    if several:
        words += (
            ", classes present in each image's truth; absent classes do not count, predicted or not"
        )
    return {"average": words, "interval": "95 % bootstrap over images, 10000 repeats, seed 0"}


def distances(spacings: Sequence[tuple[float, ...]], files: Sequence[Path]) -> dict[str, str]:
    """Say in which unit distances are, and the tolerance of `nsd`.

    Args:
        spacings: of the images.
        files: that state them.
    """
    silent = [all(size == 1 for size in spacing) for spacing in spacings]
    unit = "pixels"
    if not all(silent):
        units = [_unit(file) for file, none in zip(files, silent, strict=True) if not none]
        unit = " or ".join(dict.fromkeys(units))
        # A NIfTI of 1 mm says so; of the other formats, 1 is what a file without a size reads as.
        bare = [f for f, none in zip(files, silent, strict=True) if none and not _is_nifti(f)]
        unit += f", pixels in {len(bare)} images whose files state no size" if bare else ""
    widest = {max(spacing) for spacing in spacings}
    tolerance = "one pixel along each image's coarsest axis"
    if len(widest) == 1:
        one = widest.pop()
        size = f"{one:g} {'in ' if unit == _OWN else ''}{unit}"
        tolerance = "1 pixel" if unit == "pixels" else f"{size}, one pixel along the coarsest axis"
    return {"unit": unit, "nsd_tolerance": tolerance}


def today() -> str:
    """Give the date in UTC, as protocols have it."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def plain(value: Any) -> Any:
    """Replace nan, which JSON does not know, by null; round what is not measured that finely."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        # Six decimals, or as many digits: a distance may be in degrees or metres.
        small = abs(value) < 1e-3
        return None if math.isnan(value) else float(f"{value:.6g}") if small else round(value, 6)
    return value


def read_metrics(run: str | Path) -> dict[str, Any]:
    """Read a run's `metrics.json`.

    Raises:
        InputError: there is none, or it is not JSON.
    """
    path = Path(run) / "metrics.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("no metrics yet", where=path, cure="run unet evaluate") from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({error})", where=path) from None
    return content


def _columns(rows: Sequence[Scores]) -> dict[str, list[float]]:
    """Turn rows into columns; an image that holds no scored class has an empty row."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, math.nan) for row in rows] for name in names}


def _nanmean(values: Sequence[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return sum(known) / len(known) if known else math.nan


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(NIFTI)


def _unit(path: Path) -> str:
    """Name the unit of a file's spacing; NIfTI without one is in mm by custom."""
    if not _is_nifti(path):
        return _OWN
    from nibabel.loadsave import load

    header: Any = load(path).header
    words = {"micron": "µm", "meter": "m"}
    return words.get(header.get_xyzt_units()[0], "mm")
