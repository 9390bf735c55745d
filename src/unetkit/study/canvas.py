"""What the figures of a study share: their look, the roles of settings, and SVG.

Colours are the report's. In a page they become its CSS variables, so that figures follow light and
dark; in files they stay, on paper. Roles differ in shape as well as in colour.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from unetkit.files import write_text
from unetkit.report.contents import title_of
from unetkit.study.comparison import Estimate
from unetkit.study.findings import Findings, Part, Setting
from unetkit.study.words import leader, over

PAPER, INK, SOFT, LINE = "#fcfcfa", "#1d2126", "#59616a", "#e3e4e0"
SERIES = ("#0a6ea3", "#b4520a", "#0b7a5b", "#8d3f78", "#6b6a12", "#565d66")
MARKERS = ("o", "s", "D", "^", "v", "P")
WIDTH = 7.2  # inches, at 9 points: legible where the page is 700 pixels wide
_VARIABLES = {PAPER: "paper", INK: "ink", SOFT: "soft", LINE: "line"}
_VARIABLES |= {colour: f"s{n}" for n, colour in enumerate(SERIES)}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
    "svg.hashsalt": "unetkit",  # the same figure gives the same file
    "text.parse_math": False,
    "text.color": INK,
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": SOFT,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}


@dataclass(frozen=True)
class Plate:
    """A figure with what a reader needs beside it.

    Attributes:
        kind: "settings", "curve", "effects" or "cost".
        title: what it shows, of which data set, split and runs; it stands in the figure too.
        caption: how to read it.
        figure: drawn.
    """

    kind: str
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Role:
    """How a setting compares with the first one, and how that is drawn."""

    name: str
    colour: str
    marker: str
    filled: bool = True


@contextmanager
def style() -> Iterator[None]:
    """Set the look of what is drawn inside, and of nothing outside."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # Names may be in any script; the reader's fonts will have what matplotlib's lack.
        warnings.filterwarnings("ignore", "Glyph")
        yield


def inline_svg(plate: Plate, name: str) -> str:
    """Give a figure as SVG to stand in a page, with the page's colours and ids of its own.

    Args:
        plate: the figure.
        name: of letters, digits and hyphens, unique in the page.
    """
    text = _svg(plate.figure)
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<style.*?</style>", "", text, count=1, flags=re.DOTALL)  # it would leak
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"(font-family:|px) '[^;\"]+", r"\1 var(--sans)", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    text = re.sub(r' (width|height)="[^"]*pt"', "", text, count=2)
    head = '<svg role="img" style="stroke-linejoin: round; stroke-linecap: butt"'
    return text.replace("<svg", f"{head} aria-label={quoteattr(plate.title)}", 1)


def write_svg(plate: Plate, path: str | Path) -> Path:
    """Write a figure as an SVG file, on paper."""
    plate.figure.set_facecolor(PAPER)
    write_text(path, _svg(plate.figure))
    plate.figure.set_facecolor("none")
    return Path(path)


def score(findings: Findings, setting: Setting) -> Estimate:
    """Give the choosing metric on the reported split; nan where there is none."""
    nothing = Estimate(math.nan, math.nan, math.nan, math.nan, "none", 0, 0)
    return setting.scores.get(findings.metric, nothing)


def role(findings: Findings, part: Part, name: str) -> Role:
    """Tell how a setting compares with the first one."""
    if name == part.best:
        return Role(f"{leader(findings)} on {findings.study.select.split}", SERIES[1], "*")
    if part.ranking is None or name not in part.ranking.comparisons:
        return Role("other", SERIES[5], "o", filled=False)
    if name in part.ranking.better:
        return Role("better than it", SERIES[2], "^")
    if name in part.ranking.indistinguishable:
        return Role("not distinguishable from it", SERIES[0], "o")
    return Role("worse", SERIES[5], "o", filled=False)


def title_figure(findings: Findings, part: Part, figure: Figure, what: str = "") -> str:
    """Put data set, metric, split and runs above a figure.

    Args:
        findings: of the study.
        part: the data set.
        figure: to be titled.
        what: is shown; the metric follows.
    """
    best = score(findings, part.setting(part.best or ""))
    text = f"{part.dataset}: {what}{title_of(findings.metric)} on {findings.study.report}"
    text = " ".join(f"{text}, {over(best.seeds, best.images)}".split())
    wrapped = textwrap.fill(text, 80)
    figure.suptitle(wrapped, x=0.012, ha="left", fontsize=10.5, fontweight="bold")
    return text


def mark(plot: Any, x: float, y: float, how: Role, size: float = 6.5) -> None:
    """Draw a setting as its role's shape."""
    plot.plot(
        [x],
        [y],
        linestyle="none",
        marker=how.marker,
        markersize=size * (1.8 if how.marker == "*" else 1),
        markerfacecolor=how.colour if how.filled else PAPER,
        markeredgecolor=PAPER if how.filled else how.colour,
        markeredgewidth=0.7 if how.filled else 1.2,
        zorder=4,
    )


def whisker(plot: Any, at: float, estimate: Estimate, colour: str, *, upright: bool) -> None:
    """Draw an interval; nothing where there is none."""
    if not math.isnan(estimate.low):
        line = plot.vlines if upright else plot.hlines
        line(at, estimate.low, estimate.high, color=colour, linewidth=1.8, alpha=0.7, zorder=3)


def legend(figure: Figure, roles: Sequence[Role]) -> None:
    """Say below a figure what the shapes of roles mean, the first one first."""
    every = sorted(dict.fromkeys(roles), key=lambda one: (one.marker != "*", not one.filled))
    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=one.marker,
            markersize=11 if one.marker == "*" else 6.5,
            markerfacecolor=one.colour if one.filled else "none",
            markeredgecolor=one.colour,
            label=one.name,
        )
        for one in every
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=4)


def tick_costs(plot: Any, costs: Sequence[float]) -> None:
    """Tick the costs themselves where they are few and apart, else round numbers."""
    values = sorted(set(costs))
    spread = values[-1] / values[0]
    apart = min(b / a for a, b in pairwise(values))
    round_numbers = LogLocator(subs=(1, 2, 5) if spread < 300 else (1,))
    few = len(values) <= 6 and apart > spread**0.1
    plot.xaxis.set_major_locator(FixedLocator(values) if few else round_numbers)
    plot.xaxis.set_major_formatter(FuncFormatter(_short))
    plot.xaxis.set_minor_locator(NullLocator())


def fold(text: str, breadth: int) -> str:
    """Break a name into lines."""
    return textwrap.fill(" ".join(text.split()), breadth)


def _short(value: float, _: int) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    with style():
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    return text.getvalue()
