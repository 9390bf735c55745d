"""What scores are called, and the protocol they were taken under, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unetkit.report.folder import plain

# The field's name of each score, and what it says in a few words.
NAMES: dict[str, tuple[str, str]] = {
    "dice": ("Dice", "overlap, equal to F1"),
    "iou": ("IoU", "intersection over union, Jaccard"),
    "recall": ("Recall", "share of the truth that was found, sensitivity"),
    "precision": ("Precision", "share of what was found that is true"),
    "specificity": ("Specificity", "share of the background left alone"),
    "accuracy": ("Accuracy", "share of right pixels, high whenever background dominates"),
    "balanced_accuracy": ("Balanced accuracy", "mean of recall and specificity"),
    "mcc": ("MCC", "Matthews correlation"),
    "auc": ("ROC AUC", "ranking of pixels, free of any threshold"),
    "roc_auc": ("ROC AUC", "ranking of pixels, free of any threshold"),
    "pr_auc": ("PR AUC", "precision over all recalls, free of any threshold"),
    "average_precision": ("PR AUC", "average precision, free of any threshold"),
    "cl_dice": ("clDice", "overlap of centre lines"),
    "cldice": ("clDice", "overlap of centre lines"),
    "hd95": ("HD95", "95th percentile of the border distance, lower is better"),
    "assd": ("ASSD", "mean border distance, lower is better"),
    "nsd": ("NSD", "share of the border within the tolerance"),
    "pixel_error": ("Pixel error", "lower is better"),
    "rand_error": ("Rand error", "lower is better"),
    "warping_error": ("Warping error", "lower is better"),
    "ece": ("ECE", "calibration error, lower is better"),
    "brier": ("Brier", "squared error of probabilities, lower is better"),
    "seg": ("SEG", "Cell Tracking Challenge"),
    "pq": ("PQ", "panoptic quality"),
    "aji": ("AJI", "aggregated Jaccard of instances"),
    "ap": ("AP", "objects matched, mean over IoU 0.5 to 0.95"),
    "ap50": ("AP@0.5", "objects matched at an IoU above 0.5"),
    "ap75": ("AP@0.75", "objects matched at an IoU above 0.75"),
    "f1_50": ("F1@0.5", "objects matched at an IoU above 0.5, as F-score"),
    "sq": ("SQ", "mean IoU of matched objects"),
    "rq": ("RQ", "recognition quality, equal to F1@0.5"),
    "objects_true": ("True objects", "per image"),
    "objects_predicted": ("Predicted objects", "per image"),
    "count_error": ("Count error", "predicted less true objects, 0 is best"),
}
_SAID = ("data", "split", "cases", "field_of_view", "average", "threshold", "threshold_from")


@dataclass(frozen=True)
class Score:
    """One score of a run: the mean, its interval, the same for a second observer.

    `whole` is the mean over whole images, where the others are inside a field of view.
    """

    key: str
    value: float | None
    interval: tuple[float, float] | None
    human: float | None = None
    human_interval: tuple[float, float] | None = None
    whole: float | None = None

    @property
    def name(self) -> str:
        """The field's name."""
        return title_of(self.key)

    @property
    def meaning(self) -> str:
        """What it says, in a few words."""
        return NAMES.get(self.key, ("", ""))[1]


def title_of(key: str) -> str:
    """The field's name of a score, or its key in words."""
    return NAMES[key][0] if key in NAMES else key.replace("_", " ")


def scores(metrics: Mapping[str, Any] | None) -> list[Score]:
    """All scores of `metrics.json`, known ones first in the usual order, then the others."""
    if not metrics:
        return []
    mean, interval = _numbers(metrics.get("mean")), _table(metrics.get("interval"))
    human = _table(metrics.get("human"))
    human_mean, human_interval = _numbers(human.get("mean")), _table(human.get("interval"))
    whole = _numbers(_table(metrics.get("whole_image")).get("mean"))
    known = [key for key in NAMES if key in mean]
    return [
        Score(
            key,
            mean[key],
            _pair(interval.get(key)),
            human_mean.get(key),
            _pair(human_interval.get(key)),
            whole.get(key),
        )
        for key in [*known, *(key for key in mean if key not in NAMES)]
    ]


def sentence(metrics: Mapping[str, Any], main: str) -> str:
    """The protocol of the main score in plain words, one sentence.

    Example:
        >>> sentence({"protocol": {"split": "test", "cases": 6, "average": "per-image"}}, "dice")
        'Mean of the per-image Dice over 6 images of the split “test”.'
    """
    protocol = _table(metrics.get("protocol"))
    name, average = title_of(main), str(protocol.get("average", ""))
    average, _, of = average.partition(", ")
    if "pool" in average:
        text = f"{name} of all pixels pooled"
    elif _per_image(average):
        text = f"Mean of the per-image {name}"
    else:
        text = f"{name} ({average})" if average else name
    text += f" ({of})" if of else ""
    cases = _count(protocol.get("cases")) or len(per_image(metrics))
    if cases:
        text += f" over {cases} image{'s' * (cases != 1)}"
    if protocol.get("split"):
        text += f" of the split “{protocol['split']}”"
    if protocol.get("data"):
        text += f" of {plain(protocol['data'])}"
    field = _field(protocol.get("field_of_view"))
    text += f", {field}" if field else ""
    threshold = _threshold(protocol)
    text += f", at {threshold}" if threshold else ""
    if protocol.get("annotator"):
        text += f", judged against “{plain(protocol['annotator'])}”"
    return text + "."


def short(metrics: Mapping[str, Any], *, each: bool = False) -> str:
    """The protocol as a line that fits beside a table; `each` for scores of single images."""
    protocol = _table(metrics.get("protocol"))
    cases = _count(protocol.get("cases")) or len(per_image(metrics))
    average, _, of = str(protocol.get("average", "")).partition(", ")
    if _per_image(average) or average == "pooled":
        average = "mean over images" if _per_image(average) else "pixels pooled"
    parts = [
        f"split {protocol['split']}" if protocol.get("split") else "",
        f"{cases} image{'s' * (cases != 1)}" if cases and not each else "",
        _field(protocol.get("field_of_view")),
        "" if each else average,
        of,
        _threshold(protocol),
        f"annotator {plain(protocol['annotator'])}" if protocol.get("annotator") else "",
    ]
    return " · ".join(part for part in parts if part) or "protocol not stated"


def protocol_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The whole protocol, key by key, those everyone asks for first."""
    protocol = _table(metrics.get("protocol"))
    keys = [key for key in _SAID if key in protocol]
    keys += [key for key in protocol if key not in _SAID]
    return [(key.replace("_", " "), plain(protocol[key])) for key in keys]


def differences(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys in which protocols differ; dates may, and what was fitted to `val` in the same way."""
    protocols = [dict(protocol_rows(metrics)) for metrics in runs]
    keys = {key for protocol in protocols for key in protocol} - {"date", "temperature"}
    differ = {key for key in keys if len({protocol.get(key) for protocol in protocols}) > 1}
    if "threshold from" in keys - differ:
        differ -= {"threshold"}
    return sorted(differ)


def per_image(metrics: Mapping[str, Any] | None) -> list[tuple[str, dict[str, float | None]]]:
    """Identity and scores of each image, in the order of the file."""
    rows = (metrics or {}).get("per_image") or []
    return [
        (str(row.get("id", index)), _numbers({k: v for k, v in row.items() if k != "id"}))
        for index, row in enumerate(rows)
        if isinstance(row, dict)
    ]


def number(value: float | None) -> str:
    """Three decimals where scores lie between 0 and 1, fewer for lengths and counts."""
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2e}" if 0 < abs(value) < 5e-4 else f"{value:.3f}"


def order(key: str) -> tuple[int, str]:
    """Sort key that puts the known scores first, in the usual order."""
    known = list(NAMES)
    return (known.index(key) if key in known else len(known), key)


def per_class(metrics: Mapping[str, Any] | None) -> list[tuple[str, dict[str, float | None]]]:
    """Name and mean scores of each class, where there are several."""
    table = _table((metrics or {}).get("per_class"))
    return [(str(name), _numbers(values)) for name, values in table.items()]


def _per_image(average: str) -> bool:
    return average.replace("_", "-").startswith(("per-image", "image", "per-case", "case"))


def _field(value: object) -> str:
    if value is True or value in ("inside", "in"):
        return "inside the field of view"
    if value is False or value in ("none", "ignored", "whole", "whole image"):
        return "over the whole image"
    return "" if value is None else f"field of view: {value}"


def _threshold(protocol: Mapping[str, Any]) -> str:
    value, source = protocol.get("threshold"), protocol.get("threshold_from")
    if value is None:
        return ""
    text = f"threshold {plain(value)}"
    return f"{text} ({plain(source)})" if source else text


def _count(value: object) -> int:
    if isinstance(value, int):
        return value
    return len(value) if isinstance(value, Sequence) and not isinstance(value, str) else 0


def _table(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _numbers(value: object, before: str = "") -> dict[str, float | None]:
    """Numbers of a table; a table within it (one per class) adds its keys to the name."""
    found: dict[str, float | None] = {}
    for key, item in _table(value).items():
        name = f"{before}{key}"
        if isinstance(item, Mapping):
            found |= _numbers(item, f"{name} · ")
        elif item is None or (isinstance(item, float) and not math.isfinite(item)):
            found[name] = None
        elif isinstance(item, int | float) and not isinstance(item, bool):
            found[name] = float(item)
    return found


def _pair(value: object) -> tuple[float, float] | None:
    if isinstance(value, list | tuple) and len(value) == 2:
        low, high = value
        if all(isinstance(v, int | float) and math.isfinite(v) for v in (low, high)):
            return float(low), float(high)
    return None
