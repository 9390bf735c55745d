"""Settings as a map: skip patterns as a tree, or any two axes as rows and columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from unetkit.report.contents import title_of
from unetkit.study.canvas import INK, SOFT, WIDTH, Plate, fold, role, score, title_figure
from unetkit.study.findings import Findings, Part, Setting
from unetkit.study.words import number, span, word

DEPTH, SKIPS = "network.depth", "network.skips"
PANELS = 4  # trees in one figure
LEVELS = 5  # of the deepest network in a tree: 32 columns
CELLS = 12  # rows or columns of a map
_GAP = 0.032  # inches from a cell's edge to its neighbour's frame


def map_settings(findings: Findings, part: Part, axes: Mapping[str, Sequence[str]]) -> Plate | None:
    """Draw the map that suits the axes that vary; None if no map does."""
    panels = _panels(part.settings, axes)
    if panels:
        return _draw_trees(findings, part, panels)
    if len(axes) == 2 and max(map(len, axes.values())) <= CELLS:
        return _draw_table(findings, part, axes)
    return None


def _panels(
    settings: Sequence[Setting], axes: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Setting]]:
    """Group settings by what they share but depth and skips: label → pattern → setting.

    Empty where patterns are not complete at each depth, or would be too many to draw.
    """
    if SKIPS not in axes or any(set(pattern) - {"0", "1"} for pattern in axes[SKIPS]):
        return {}
    panels: dict[str, dict[str, Setting]] = {}
    for setting in settings:
        rest = [f"{word(a)} {setting.levels[a]}" for a in axes if a not in (DEPTH, SKIPS)]
        panels.setdefault(", ".join(rest), {})[setting.levels[SKIPS]] = setting
    for panel in panels.values():
        depths = {len(pattern) for pattern in panel}
        if max(depths) > LEVELS or sum(2**depth for depth in depths) != len(panel):
            return {}
    return panels if len(panels) <= PANELS else {}


def _draw_trees(
    findings: Findings, part: Part, panels: Mapping[str, Mapping[str, Setting]]
) -> Plate:
    """Draw one row per depth; below each cell stand the two networks one level deeper."""
    depths = sorted({len(pattern) for panel in panels.values() for pattern in panel})
    high = (0.6 * len(depths) + 0.45) * len(panels) + 0.55
    figure = Figure((WIDTH, high), layout="constrained")
    title = title_figure(findings, part, figure)
    colours = _colours(findings, part)
    plots = np.ravel(np.asarray(figure.subplots(len(panels), 1, squeeze=False)))
    for plot, (label, panel) in zip(plots, panels.items(), strict=True):
        _bare(plot, 1, len(depths))
        plot.set_title(fold(label, 90))
        plot.set_yticks([k + 0.5 for k in range(len(depths))], [f"depth {d}" for d in depths])
        plot.set_xticks([0.25, 0.75], ["skip at level 1 on", "skip at level 1 off"])
        for pattern, setting in panel.items():
            left = sum(0.5 ** (k + 1) for k, digit in enumerate(pattern) if digit == "0")
            place = (left, float(depths.index(len(pattern))), 0.5 ** len(pattern), 1.0)
            _cell(plot, place, findings, part, setting, colours, pattern)
    _scale(figure, plots, findings, colours)
    caption = (
        "A pattern has one digit per level from the input down, 1 with the skip connection and 0 "
        "without. Below each cell stands the same network one level deeper, with and without the "
        f"skip of that level. {_key(findings, part)}"
    )
    return Plate("settings", title, caption, figure)


def _draw_table(findings: Findings, part: Part, axes: Mapping[str, Sequence[str]]) -> Plate:
    """Draw two axes as rows and columns; the one with long labels goes down, else the first."""
    down, across = sorted(axes, key=lambda axis: max(map(len, axes[axis])) <= 8)
    rows, columns = list(axes[down]), list(axes[across])
    figure = Figure((WIDTH, 0.52 * len(rows) + 1.5), layout="constrained")
    title = title_figure(findings, part, figure)
    plot: Any = figure.subplots()
    _bare(plot, len(columns), len(rows))
    plot.set(xlabel=word(across), ylabel=word(down))
    breadth = max(6, 64 // len(columns))
    plot.set_xticks([k + 0.5 for k in range(len(columns))], [fold(c, breadth) for c in columns])
    plot.set_yticks([k + 0.5 for k in range(len(rows))], [fold(row, 26) for row in rows])
    colours = _colours(findings, part)
    for setting in part.settings:
        x, y = columns.index(setting.levels[across]), rows.index(setting.levels[down])
        estimate = score(findings, setting)
        interval = span(estimate.low, estimate.high) if len(columns) <= 5 else ""
        _cell(plot, (x, y, 1, 1), findings, part, setting, colours, "", interval)
    _scale(figure, np.asarray([plot]), findings, colours)
    return Plate("settings", title, _key(findings, part), figure)


def _bare(plot: Any, wide: float, high: float) -> None:
    plot.set(xlim=(0, wide), ylim=(high, 0))
    plot.tick_params(length=0)
    plot.spines[:].set_visible(False)


def _colours(findings: Findings, part: Part) -> ScalarMappable:
    """Span the colours over the scores; bright is good."""
    values = [v for s in part.settings if not math.isnan(v := score(findings, s).value)]
    low, high = min(values), max(values)
    map_ = mpl.colormaps["viridis_r" if findings.lower else "viridis"]
    return ScalarMappable(Normalize(low, high if high > low else low + 1e-9), map_)


def _cell(
    plot: Any,
    place: tuple[float, float, float, float],
    findings: Findings,
    part: Part,
    setting: Setting,
    colours: ScalarMappable,
    above: str = "",
    below: str = "",
) -> None:
    """Draw a setting as a coloured box with its score, framed by its role."""
    x, y, wide, high = place
    across = 5.9 * wide / (plot.get_xlim()[1])  # inches, about: the axes are laid out later
    value = score(findings, setting).value
    dx, dy = _GAP * wide / across, _GAP * high / 0.55
    box = Rectangle((x + dx, y + dy), wide - 2 * dx, high - 2 * dy, linewidth=0)
    plot.add_patch(box)
    if math.isnan(value):
        box.set(facecolor="none", edgecolor=SOFT, linewidth=0.8, linestyle=":")
        ink = SOFT
    else:
        colour = colours.cmap(float(np.asarray(colours.norm(np.asarray(value)))))
        box.set_facecolor(colour)
        light = 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]
        ink = "#000000" if light > 0.42 else "#ffffff"
        how = role(findings, part, setting.name)
        if how.filled:
            box.set(edgecolor=how.colour, linewidth=3 if how.marker == "*" else 1.8)
    narrow = across < 0.3
    lines = [line for line in (above, number(value), below) if line]
    text = "  ".join(lines) if narrow else "\n".join(lines)
    plot.text(
        x + wide / 2,
        y + high / 2,
        text,
        color=ink,
        ha="center",
        va="center",
        rotation=90 if narrow else 0,
        fontsize=7 if narrow else 7.5 if across < 0.45 else 8.5,
        linespacing=1.25,
    )


def _scale(figure: Figure, plots: Any, findings: Findings, colours: ScalarMappable) -> None:
    bar = figure.colorbar(colours, ax=plots, fraction=0.025, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2, labelsize=8)
    bar.set_label(title_of(findings.metric), color=INK)


def _key(findings: Findings, part: Part) -> str:
    """Say what the frames mean, as far as they occur."""
    first = role(findings, part, part.best or "").name
    seen = {role(findings, part, s.name).name for s in part.settings if s.runs}
    frames = {
        first: "thick",
        "not distinguishable from it": "thin",
        "better than it": "green",
        "worse": "no",
    }
    said = "; ".join(f"{frame} frame: {name}" for name, frame in frames.items() if name in seen)
    return f"{said[:1].upper()}{said[1:]}."
