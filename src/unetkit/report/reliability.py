"""Can the probabilities be believed? The reliability diagram, its numbers, and how to read it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from unetkit.report import charts, contents

FEW = 100  # pixels; the share of fewer is chance, and would draw the eye
SIZE = 330  # of the diagram, both ways
_WIDTH, _TOP = 540, 34
_BOTTOM = _TOP + SIZE


@dataclass(frozen=True)
class Bins:
    """Pixels by what they were promised.

    Attributes:
        count: pixels in each bin; with several classes a pixel counts once for each.
        stated: mean probability of each; `None` where it is empty.
        true: share of each that is of the class.
    """

    count: list[int]
    stated: list[float | None]
    true: list[float | None]

    def points(self) -> list[tuple[float, float, int]]:
        """What is drawn: stated, true and count of the bins with enough pixels."""
        rows = zip(self.stated, self.true, self.count, strict=True)
        return [(a, b, n) for a, b, n in rows if a is not None and b is not None and n >= FEW]


@dataclass(frozen=True)
class Section:
    """What the page says of the calibration.

    Attributes:
        lead: how to read the diagram.
        facts: the errors, and of which pixels, in one line.
        note: what temperature scaling did, in one sentence.
        figures: title, caption and drawing.
        columns: of the table of numbers.
        rows: of the same.
    """

    lead: str
    facts: str
    note: str
    figures: list[tuple[str, str, Markup]]
    columns: list[str]
    rows: list[list[str]]


def section(
    calibration: object, protocol: Mapping[str, Any] | None = None, *, several: bool = False
) -> Section | None:
    """Make the section of what `evaluate` says under `calibration`; `None` if it says nothing.

    Args:
        calibration: temperature, images, pixels, errors and bins.
        protocol: of the scores, for split and field of view.
        several: whether there are several classes.
    """
    if not isinstance(calibration, Mapping):
        return None
    after = _bins(calibration.get("bins"))
    if after is None:
        return None
    before = _bins(calibration.get("bins_uncalibrated"))
    series = {"calibrated": after, "before": before} if before else {"as stated": after}
    error = _number(calibration.get("ece"))
    raw = _number(calibration.get("ece_uncalibrated"))
    temperature = _number(calibration.get("temperature"))
    edges = [k / len(after.count) for k in range(len(after.count) + 1)]
    what = "of that class" if several else "foreground"
    given = "a class a probability" if several else "a foreground probability"
    much = "" if several else " foreground"
    shown = "classes times pixels" if several else "pixels"
    columns = ["probability", shown, "mean stated", "share true"]
    columns += [f"{name}, before" for name in columns[1:]] if before else []
    dots = (
        "Each dot is a bin of probabilities: what was stated, and how often it was true. Bins of "
        f"fewer than {FEW} {shown} are not drawn."
    )
    heights = (
        "Each line is ten times the one below it. The error is a mean over all of them, so the "
        "tallest bars weigh most in it."
    )
    return Section(
        lead=f"Of the pixels to which the model gives {given} of 0.8, eight in ten should be "
        f"{what}. On the dashed line they are; below it the model promises too much{much}, above "
        "it too little.",
        facts=_facts(calibration, protocol or {}, error, raw, several),
        note=_note(temperature, error, raw),
        figures=[
            ("Reliability", dots, diagram(series)),
            ("How often each probability is stated", heights, columns_of(after, edges, shown)),
        ],
        columns=columns,
        rows=[
            [f"{edges[k]:.2f} to {edges[k + 1]:.2f}"]
            + [cell for bins in series.values() for cell in _cells(bins, k)]
            for k in range(len(after.count))
        ],
    )


def diagram(series: Mapping[str, Bins]) -> Markup:
    """Draw the share that is true over what was stated, with the diagonal on which both agree."""
    right = charts.LEFT + SIZE
    said = "; ".join(
        f"{name}: " + ", ".join(f"{b:.2f} at {a:.2f}" for a, b, _ in bins.points())
        for name, bins in series.items()
    )
    label = f"Share that is true at each stated probability. {said}"
    parts = [charts._open(_WIDTH, _BOTTOM + charts.BOTTOM, label)]
    for k in range(6):
        parts += _line(k / 5, right)
        x = charts.LEFT + k / 5 * SIZE
        parts.append(charts._text(x, _BOTTOM + 20, charts.number(k / 5)))
    parts.append(
        Markup('<path class="mark" d="M{} {}L{} {}"/>').format(charts.LEFT, _BOTTOM, right, _TOP)
    )
    parts.append(charts._text(charts.LEFT + 12, _TOP + 22, "promises too little", "axis start"))
    parts.append(charts._text(right - 12, _BOTTOM - 14, "promises too much", "axis end"))
    parts += _titles(charts.LEFT + SIZE / 2, "share that is true")
    ends: list[tuple[float, str, int]] = []
    # The one that counts is drawn last, over the other.
    for colour, (name, bins) in reversed(list(enumerate(series.items()))):
        placed = [
            (charts.LEFT + a * SIZE, _BOTTOM - b * SIZE, f"{a:.3f} stated, {b:.3f} true, {n} px")
            for a, b, n in bins.points()
        ]
        if not placed:
            continue
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in placed)
        parts.append(Markup('<polyline class="line s{}" points="{}"/>').format(colour, drawn))
        parts += [
            Markup(
                '<circle class="dot s{}" cx="{:.1f}" cy="{:.1f}" r="4"><title>{}: {}</title>'
                "</circle>"
            ).format(colour, x, y, name, words)
            for x, y, words in placed
        ]
        ends.append((placed[-1][1], name, colour))
    for y, name, colour in charts._apart(ends, 16, _BOTTOM):
        parts.append(charts._text(right + 14, y + 4, name, f"name s{colour} start"))
    return Markup("").join([*parts, Markup("</svg>")])


def columns_of(bins: Bins, edges: Sequence[float], shown: str) -> Markup:
    """Draw how many pixels each bin holds, on a logarithmic scale."""
    right = _WIDTH - 14
    wide = right - charts.LEFT
    top = max(1, math.ceil(math.log10(max(*bins.count, 10)) - 1e-9))
    label = f"Number of {shown} by stated probability: " + ", ".join(
        f"{count} from {edge:.2f}" for edge, count in zip(edges[:-1], bins.count, strict=True)
    )
    parts = [charts._open(_WIDTH, _BOTTOM + charts.BOTTOM, label)]
    for power in range(top + 1):
        parts += _line(power / top, right, _short(10**power))
    for k in range(6):
        x = charts.LEFT + k / 5 * wide
        parts.append(charts._text(x, _BOTTOM + 20, charts.number(k / 5)))
    parts += _titles(charts.LEFT + wide / 2, shown)
    for low, high, count in zip(edges[:-1], edges[1:], bins.count, strict=True):
        if count:
            # One pixel would have no height at all.
            height = max(2.0, math.log10(count) / top * SIZE)
            parts.append(
                Markup(
                    '<rect class="column" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
                    "<title>{:.2f} to {:.2f}: {} {}</title></rect>"
                ).format(
                    charts.LEFT + low * wide + 1, _BOTTOM - height, (high - low) * wide - 2, height,
                    low, high, count, shown,
                )
            )  # fmt: skip
    return Markup("").join([*parts, Markup("</svg>")])


def _line(share: float, right: float, text: str = "") -> list[Markup]:
    """One line across, so far up, and its number."""
    y = _BOTTOM - share * SIZE
    grid = Markup('<path class="grid" d="M{} {:.1f}H{:.1f}"/>').format(charts.LEFT, y, right)
    words = text or charts.number(share)
    return [grid, charts._text(charts.LEFT - 8, y + 4, words, "axis end")]


def _titles(middle: float, upright: str) -> list[Markup]:
    """What the two axes are."""
    return [
        charts._text(charts.LEFT - 44, _TOP - 18, upright, "axis start"),
        charts._text(middle, _BOTTOM + 37, "stated probability"),
    ]


def _facts(
    calibration: Mapping[str, Any],
    protocol: Mapping[str, Any],
    error: float | None,
    raw: float | None,
    several: bool,
) -> str:
    """The errors and what they were measured on; the number of images is no one's guess."""
    images, pixels = (_number(calibration.get(name)) for name in ("images", "pixels"))
    parts = [
        f"Expected calibration error (ECE, lower is better) {contents.number(error)}",
        f"{contents.number(raw)} before temperature scaling" if raw is not None else "",
        f"split {protocol['split']}" if protocol.get("split") else "",
        f"{images:.0f} image{'s' * (images != 1)}" if images is not None else "",
        f"{_grouped(pixels)} pixels" if pixels is not None else "",
        "inside the field of view" if protocol.get("field_of_view") is True else "",
        "each foreground class against all others" if several else "",
    ]
    return " · ".join(part for part in parts if part)


def _note(temperature: float | None, error: float | None, raw: float | None) -> str:
    if temperature is None:
        return "Several models vote, each with a temperature of its own."
    if temperature == 1 or error is None or raw is None:
        return "No temperature is applied: the probabilities are the network's own."
    lean = "too sure of itself" if temperature > 1 else "not sure enough of itself"
    lean = "about as sure as it was right" if abs(temperature - 1) < 0.05 else lean
    did = {True: "brings the error down", False: "does not bring the error down"}[error < raw]
    return (
        f"On val the network was {lean}: its logits are divided by the temperature "
        f"{temperature:.3g}, which {did} on these images, from {contents.number(raw)} to "
        f"{contents.number(error)}. At a tuned threshold no pixel changes its class by it."
    )


def _bins(value: object) -> Bins | None:
    """Read bins; `None` if they are not what `evaluate` writes, or hold nothing."""
    if not isinstance(value, Mapping):
        return None
    columns = [value.get(name) for name in ("count", "stated", "true")]
    if not all(isinstance(column, list) for column in columns):
        return None
    count, stated, true = ([_number(item) for item in column or ()] for column in columns)
    if not (len(count) == len(stated) == len(true)) or None in count or not any(count):
        return None
    return Bins([int(n or 0) for n in count], stated, true)


def _cells(bins: Bins, k: int) -> list[str]:
    stated, true = bins.stated[k], bins.true[k]
    return [_grouped(bins.count[k]), contents.number(stated), contents.number(true)]


def _number(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def _grouped(value: float) -> str:
    """A whole number with thin spaces between its thousands."""
    return f"{value:,.0f}".replace(",", "\N{THIN SPACE}")


def _short(value: int) -> str:
    """A power of ten as people say it."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value // size} {letter}"
    return str(value)
