"""The words and numbers that the conclusion, the figures and the page of a study share."""

from __future__ import annotations

import math
from collections.abc import Sequence

from unetkit.study.comparison import Estimate
from unetkit.study.effects import Effect, Fit
from unetkit.study.findings import Findings, Part, Setting

LEVEL = 0.05  # of every corrected test
LISTED = 6  # names in one sentence; the others are counted


def leader(findings: Findings) -> str:
    """Name the setting that comes first: best, unless that would call no result a result."""
    if not findings.faults:
        return "best"
    return "lowest" if findings.lower else "highest"


def has_effects(fit: Fit | None) -> bool:
    """Tell whether main effects say more than the comparison of settings: two factors or more."""
    return fit is not None and len({effect.factor for effect in fit.effects}) > 1


def explained(fit: Fit) -> str:
    """Say how much of the variance a fit explains; nothing where that is unknown."""
    if math.isnan(fit.r_squared):
        return ""
    return f" that explains {100 * fit.r_squared:.3g} % of their variance"


def is_skip(effect: Effect) -> bool:
    """Tell whether an effect is that of one skip connection."""
    return effect.factor.startswith("skip ")


def seeds(findings: Findings, part: Part) -> int:
    """Count the seeds that some setting has scores of; fewer than planned while a study runs."""
    scores = [setting.scores.get(findings.metric) for setting in part.settings]
    return max((score.seeds for score in scores if score is not None), default=0)


def word(axis: str) -> str:
    """Name an axis or factor as a reader would.

    Example:
        >>> word("data.train_size")
        'train size'
    """
    return axis.rpartition(".")[2].replace("_", " ")


def called(setting: Setting) -> str:
    """Name a setting; one whose only level is a bare number gets the axis before it."""
    if len(setting.levels) == 1 and setting.name.replace(".", "").isdigit():
        return f"{word(next(iter(setting.levels)))} {setting.name}"
    return setting.name


def number(value: float, scale: float | None = None) -> str:
    """Write a score or a difference; nan is a dash.

    Three decimals, fewer for lengths and counts above 10, more for what would vanish.

    Args:
        value: to be written.
        scale: by the size of which decimals are chosen; default: the value.
    """
    if math.isnan(value):
        return "–"
    size = abs(value if scale is None or math.isnan(scale) else scale)
    digits = 0 if size >= 100 else 1 if size >= 10 else 3
    if 0 < size < 0.0095:
        digits = min(1 - math.floor(math.log10(size)), 7)
    text = f"{value:.{digits}f}".replace("-", "−")
    return text.lstrip("−") if not text.strip("−0.") else text


def span(low: float, high: float, scale: float | None = None) -> str:
    """Write an interval: 0.710 to 0.790; empty where there is none."""
    if math.isnan(low) or math.isnan(high):
        return ""
    size = max(abs(low), abs(high)) if scale is None else scale
    return f"{number(low, size)} to {number(high, size)}"


def many(count: int, noun: str) -> str:
    """Count things: 1 run, 2 runs; thousands are set apart."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def over(seeds: int, images: int) -> str:
    """Say over what was averaged.

    Example:
        >>> over(3, 10)
        '3 seeds × 10 images'
    """
    return f"{many(seeds, 'seed')} × {many(images, 'image')}"


def listed(names: Sequence[str]) -> str:
    """List names that may hold commas, as many as a sentence bears."""
    if len(names) <= LISTED:
        return "; ".join(names)
    return f"{'; '.join(names[:LISTED])}; and {len(names) - LISTED:,} more"


def join(words: Sequence[str]) -> str:
    """Join words to one list.

    Example:
        >>> join(["a", "b", "c"])
        'a, b and c'
    """
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def told(estimate: Estimate | None) -> str:
    """Write a score with its interval and what that is over."""
    if estimate is None or math.isnan(estimate.value):
        return "unknown"
    text = number(estimate.value)
    if math.isnan(estimate.low):
        return f"{text} (a single score, without an interval)"
    source = {
        "seeds": f"over {many(estimate.seeds, 'seed')}, one image",
        "images": f"over {many(estimate.images, 'image')}, one seed",
    }.get(estimate.units, f"over {over(estimate.seeds, estimate.images)}")
    return f"{text} (95 % {span(estimate.low, estimate.high)}, {source})"
