"""Small charts as inline SVG, in the colours of the page, so that they follow light and dark.

Only what the report needs: lines over epochs, one dot per image, and a score with its interval.
Classes (`line s0`, `dot s1`, `axis`, `mark`) are coloured by the style sheet of the page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 540, 290
LEFT, TOP, BOTTOM = 54, 26, 40
DOT = 9.0


@dataclass(frozen=True)
class Point:
    """One image in `strip`: what it is called, its score, and the place on the page it links to."""

    name: str
    value: float
    link: str = ""


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) that cover low to high.

    Example:
        >>> ticks(0.12, 0.93)
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not high > low:
        pad = abs(low) * 0.1 or 0.5
        low, high = low - pad, high + pad
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.10g}") for index in range(first, last + 1)]


def number(value: float) -> str:
    """Write a tick as short as it can be without losing digits."""
    text = f"{value:.6g}"
    if value and (abs(value) < 1e-4 or abs(value) >= 1e6):
        mantissa, exponent = f"{value:.3e}".split("e")
        text = f"{float(mantissa):g}e{int(exponent)}"
    return text.replace("-", "−")


def lines(
    x: Sequence[float],
    series: Mapping[str, Sequence[float | None]],
    *,
    label: str,
    mark: float | None = None,
    mark_text: str = "",
    from_zero: bool = False,
    first_colour: int = 0,
) -> Markup:
    """Draw series over epochs, each named at its end; a NaN breaks its line.

    Args:
        x: positions, rising.
        series: name to one value per position. `None`, nothing measured there, is bridged;
            a number that is not finite leaves a gap.
        label: what the chart shows, in words, for those who do not see it.
        mark: a position to mark with a dashed line.
        mark_text: what the marked position is.
        from_zero: start the vertical axis at 0.
        first_colour: number of the first line's colour; the others follow.
    """
    values = [v for line in series.values() for v in line if _known(v)]
    known: list[float] = [v for v in values if v is not None]
    if not known or not x:
        return Markup("")
    across = ticks(min(x), max(x), 6) if len(x) > 1 else [float(x[0])]
    if all(float(v).is_integer() for v in x):
        across = [v for v in across if v.is_integer()]
    up = ticks(min(0.0, *known) if from_zero else min(known), max(known))
    edge = WIDTH - min(200, 24 + 8 * max(len(name) for name in series))
    left, right = min(x), max(x)
    if right == left:
        left, right = left - 1, right + 1

    def at(position: float, value: float) -> tuple[float, float]:
        wide, high = edge - LEFT, HEIGHT - TOP - BOTTOM
        return (
            LEFT + (position - left) / (right - left) * wide,
            HEIGHT - BOTTOM - (value - up[0]) / (up[-1] - up[0]) * high,
        )

    parts = [_open(WIDTH, HEIGHT, label)]
    for value in up:
        y = at(left, value)[1]
        parts.append(Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(LEFT, y, edge))
        parts.append(_text(LEFT - 8, y + 4, number(value), "axis end"))
    for position in across:
        if left <= position <= right:
            parts.append(_text(at(position, up[0])[0], HEIGHT - BOTTOM + 20, number(position)))
    parts.append(_text((LEFT + edge) / 2, HEIGHT - 4, "epoch"))
    if mark is not None:
        place = at(mark, up[0])[0]
        parts.append(
            Markup('<path class="mark" d="M{:.1f} {}V{}"/>').format(place, TOP - 6, HEIGHT - BOTTOM)
        )
        anchor = "axis end" if place > WIDTH * 0.55 else "axis start"
        parts.append(_text(place, TOP - 12, mark_text, anchor))
    ends: list[tuple[float, str, int]] = []
    for index, (name, line) in enumerate(series.items(), first_colour):
        last: tuple[float, float] | None = None
        for run in _runs(x, line):
            points = [at(*pair) for pair in run]
            last = points[-1]
            drawn = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
            parts.append(
                Markup('<polyline class="line s{}" points="{}"/>').format(index % 6, drawn)
            )
            if len(points) == 1:
                parts.append(_circle(*points[0], f"dot s{index % 6}", 3))
        if mark is not None and mark in x:
            marked = line[list(x).index(mark)]
            if marked is not None and _known(marked):
                parts.append(_circle(*at(mark, marked), f"dot s{index % 6}", 4))
        if last is not None:
            ends.append((last[1], name, index % 6))
    for y, name, index in _apart(ends, 16, HEIGHT - BOTTOM):
        parts.append(_text(edge + 8, y + 4, name, f"name s{index} start"))
    return Markup("").join([*parts, Markup("</svg>")])


def strip(
    points: Sequence[Point],
    *,
    label: str,
    mean: float | None,
    interval: tuple[float, float] | None,
    human: float | None = None,
) -> Markup:
    """Draw one dot per image along the score, the mean with its interval as a band behind them."""
    every = [p.value for p in points] + [
        v for v in (mean, human, *(interval or ())) if v is not None
    ]
    if not points:
        return Markup("")
    axis = ticks(min(every), max(every), 6)
    width, left, right = 1080, 24, 24

    def at(value: float) -> float:
        return left + (value - axis[0]) / (axis[-1] - axis[0]) * (width - left - right)

    piles: dict[int, int] = {}
    dots: list[tuple[float, float, Point]] = []
    for point in sorted(points, key=lambda p: p.value):
        pile = round(at(point.value) / (DOT + 1))
        nth = piles[pile] = piles.get(pile, 0) + 1
        dots.append((at(point.value), (nth // 2) * (DOT + 1) * (-1) ** nth, point))
    half = min(160.0, max(34.0, 14 + max(abs(y) for _, y, _ in dots)))
    middle, height = 30 + half, 30 + 2 * half + 46
    parts = [_open(width, round(height), label)]
    for value in axis:
        parts.append(
            Markup('<path class="grid" d="M{:.1f} {}V{:.1f}"/>').format(
                at(value), 30, middle + half
            )
        )
        parts.append(_text(at(value), middle + half + 20, number(value)))
    if interval is not None:
        low, high = at(interval[0]), at(interval[1])
        parts.append(
            Markup('<rect class="band" x="{:.1f}" y="30" width="{:.1f}" height="{:.1f}"/>').format(
                low, max(high - low, 1), 2 * half
            )
        )
    if mean is not None:
        parts.append(
            Markup('<path class="mean" d="M{:.1f} 30V{:.1f}"/>').format(at(mean), middle + half)
        )
        parts.append(_text(at(mean), 20, f"mean {mean:.3f}", _anchor(at(mean), width, "name s0")))
    if human is not None:
        parts.append(
            Markup('<path class="human" d="M{:.1f} 30V{:.1f}"/>').format(at(human), middle + half)
        )
        parts.append(
            _text(
                at(human),
                middle + half + 40,
                f"second observer {human:.3f}",
                _anchor(at(human), width, "name s1"),
            )
        )
    for x, y, point in dots:
        circle = Markup('<circle class="dot s0" cx="{:.1f}" cy="{:.1f}" r="{}">{}</circle>').format(
            x,
            middle + max(-half, min(half, y)),
            DOT / 2,
            Markup("<title>{}: {:.3f}</title>").format(point.name, point.value),
        )
        parts.append(
            Markup('<a href="{}" tabindex="-1">{}</a>').format(point.link, circle)
            if point.link
            else circle
        )
    return Markup("").join([*parts, Markup("</svg>")])


def bar(
    value: float,
    interval: tuple[float, float] | None,
    low: float,
    high: float,
    human: float | None = None,
) -> Markup:
    """Draw a score and its interval on a scale from low to high, as wide as a cell of a table."""
    width, wide = 160, max(high - low, 1e-12)

    def at(score: float) -> float:
        return 6 + (min(max(score, low), high) - low) / wide * (width - 12)

    parts = [
        Markup('<svg class="bar" viewBox="0 0 {} 18" aria-hidden="true">').format(width),
        Markup('<path class="grid" d="M6 9H{}"/>').format(width - 6),
    ]
    if interval is not None:
        parts.append(
            Markup('<path class="whisker" d="M{:.1f} 9H{:.1f}"/>').format(
                at(interval[0]), at(interval[1])
            )
        )
    if human is not None:
        parts.append(Markup('<path class="human" d="M{:.1f} 2V16"/>').format(at(human)))
    parts.append(_circle(at(value), 9, "dot s0", 4))
    return Markup("").join([*parts, Markup("</svg>")])


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _runs(x: Sequence[float], line: Sequence[float | None]) -> list[list[tuple[float, float]]]:
    """Stretches of known values; a missing validation between two known ones does not break it."""
    pairs = [(a, b) for a, b in zip(x, line, strict=True) if b is not None]
    runs: list[list[tuple[float, float]]] = [[]]
    for position, value in pairs:
        if math.isfinite(value):
            runs[-1].append((position, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _apart(
    ends: list[tuple[float, str, int]], gap: float, bottom: float
) -> list[tuple[float, str, int]]:
    """Push names apart until none overlaps, and up again where that ran over the bottom."""
    placed: list[tuple[float, str, int]] = []
    for y, name, index in sorted(ends):
        placed.append((max(y, placed[-1][0] + gap) if placed else y, name, index))
    over = max(0.0, placed[-1][0] - bottom) if placed else 0.0
    return [(y - over, name, index) for y, name, index in placed]


def _anchor(x: float, width: float, kind: str) -> str:
    if x > width * 0.88:
        return f"{kind} end"
    return f"{kind} start" if x < width * 0.12 else kind


def _open(width: int, height: int, label: str) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        width, height, label
    )


def _text(x: float, y: float, text: str, kind: str = "axis") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(
        kind, x, y, escape(text)
    )


def _circle(x: float, y: float, kind: str, radius: float) -> Markup:
    return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(kind, x, y, radius)
