"""The figures of a study: settings, learning curves, effects, score against cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from unetkit.report.contents import title_of
from unetkit.study.canvas import (
    INK,
    MARKERS,
    PAPER,
    SERIES,
    SOFT,
    WIDTH,
    Plate,
    Role,
    fold,
    inline_svg,
    legend,
    mark,
    role,
    score,
    style,
    tick_costs,
    title_figure,
    whisker,
    write_svg,
)
from unetkit.study.comparison import Estimate
from unetkit.study.effects import Effect
from unetkit.study.findings import Findings, Part, Setting
from unetkit.study.maps import DEPTH, SKIPS, map_settings
from unetkit.study.words import LEVEL, called, explained, has_effects, is_skip, many, word

__all__ = ["Plate", "draw", "inline_svg", "write_svg"]

ROWS = 40  # settings in a list
SIZE = "data.train_size"
_PLACES = ((6, 3), (-6, 3), (0, 7), (6, -4), (-6, -4), (0, -8), (12, 10), (-12, 10), (12, -12))


def draw(findings: Findings, part: Part) -> list[Plate]:
    """Draw the figures that apply to one data set; none where nothing can be compared."""
    scored = [s for s in part.settings if not math.isnan(score(findings, s).value)]
    if len(scored) < 2 or part.best not in {setting.name for setting in scored}:
        return []
    axes = _axes(part.settings)
    with style():
        plates = [
            _draw_curves(findings, part, scored, axes)
            or map_settings(findings, part, axes)
            or _draw_list(findings, part, scored),
            _draw_effects(findings, part),
            _draw_costs(findings, part, scored),
        ]
    return [plate for plate in plates if plate is not None]


def _axes(settings: Sequence[Setting]) -> dict[str, list[str]]:
    """List the axes that vary, with their labels in the order of the study."""
    labels: dict[str, list[str]] = {}
    for setting in settings:
        for axis, label in setting.levels.items():
            seen = labels.setdefault(axis, [])
            if label not in seen:
                seen.append(label)
    return {axis: seen for axis, seen in labels.items() if len(seen) > 1}


def _draw_list(findings: Findings, part: Part, scored: Sequence[Setting]) -> Plate:
    """Draw settings by score, best first, and beside it the paired difference to the first."""
    sign = 1 if findings.lower else -1
    order = sorted(scored, key=lambda setting: sign * score(findings, setting).value)
    shown = order[:ROWS]
    best = part.setting(part.best or "")
    if best not in shown:
        shown[-1] = best
    labels = [fold(called(setting), 34) for setting in shown]
    lines = sum(1 + 0.55 * label.count("\n") for label in labels)
    figure = Figure((WIDTH, 0.27 * lines + 1.5), layout="constrained")
    title = title_figure(findings, part, figure)
    left, right = figure.subplots(1, 2, sharey=True)
    roles = [role(findings, part, setting.name) for setting in shown]
    for y, (setting, how) in enumerate(zip(shown, roles, strict=True)):
        estimate = score(findings, setting)
        whisker(left, y, estimate, how.colour, upright=False)
        mark(left, estimate.value, y, how)
        compared = part.ranking.comparisons.get(setting.name) if part.ranking else None
        if compared is not None:
            whisker(right, y, compared.difference, how.colour, upright=False)
            mark(right, compared.difference.value, y, how)
    mark(right, 0, shown.index(best), role(findings, part, best.name))
    right.axvline(0, color=SOFT, linewidth=1, zorder=1)
    left.set_yticks(range(len(shown)), labels, color=INK)
    left.set_ylim(len(shown) - 0.4, -0.6)
    for plot, name in ((left, "95 % interval"), (right, f"paired difference to {called(best)}")):
        plot.grid(axis="x")
        plot.tick_params(length=0)
        plot.spines[["left", "bottom"]].set_visible(False)
        plot.set_xlabel(fold(f"{title_of(findings.metric)}, {name}", 44))
        plot.locator_params(axis="x", nbins=5)
    legend(figure, roles)
    hidden = f" {many(len(order) - len(shown), 'setting')} below are not shown."
    caption = (
        "Left, each setting by itself; right, run by run and image by image against the "
        "first, which is what the tests are of: intervals on the left may overlap where a "
        f"difference is clear.{hidden if len(order) > len(shown) else ''}"
    )
    return Plate("settings", title, caption, figure)


def _draw_curves(
    findings: Findings, part: Part, scored: Sequence[Setting], axes: Mapping[str, Sequence[str]]
) -> Plate | None:
    """Draw the score over the number of training images, a line per level of the other axes."""
    if SIZE not in axes:
        return None
    lines: dict[str, list[Setting]] = {}
    for setting in scored:
        rest = [f"{word(axis)} {setting.levels[axis]}" for axis in axes if axis != SIZE]
        lines.setdefault(", ".join(rest), []).append(setting)
    place = _sizes(findings, axes[SIZE])
    if len(lines) > len(MARKERS):
        return None
    figure = Figure((WIDTH, 3.9), layout="constrained")
    title = title_figure(findings, part, figure)
    plot: Any = figure.subplots()
    apart = np.linspace(-0.012, 0.012, len(lines)) * (len(lines) > 1)
    for shift, colour, marker, (name, settings) in zip(
        apart, SERIES, MARKERS, lines.items(), strict=False
    ):
        settings.sort(key=lambda setting: place[setting.levels[SIZE]])
        x = [place[setting.levels[SIZE]] * 2 ** (3 * shift) for setting in settings]
        y = [score(findings, setting).value for setting in settings]
        plot.plot(x, y, color=colour, linewidth=1.8, zorder=2, label=name, marker=marker,
                  markersize=6, markeredgecolor=PAPER, markeredgewidth=0.7)  # fmt: skip
        for at, setting in zip(x, settings, strict=True):
            whisker(plot, at, score(findings, setting), colour, upright=True)
    plot.set_xscale("log", base=2)
    plot.set_xticks([place[label] for label in axes[SIZE]], list(axes[SIZE]))
    plot.xaxis.set_minor_locator(NullLocator())
    plot.set(xlabel="training images", ylabel=title_of(findings.metric))
    plot.grid(axis="y")
    if len(lines) > 1:
        figure.legend(loc="outside lower left", ncols=3)
    caption = (
        "Mean and 95 % interval over seeds and images, the sources of chance that the study has. "
        "Settings share seeds and images, so that differences are surer than the intervals show."
    )
    if "all" in axes[SIZE]:
        caption += " “all” is the whole training split, set one doubling beyond."
    return Plate("curve", title, caption, figure)


def _sizes(findings: Findings, labels: Sequence[str]) -> dict[str, float]:
    """Place the numbers of training images; a whole split stands one doubling beyond them."""
    values: Any = findings.study.axes[SIZE]
    pairs = (
        values.items()
        if isinstance(values, Mapping)
        else [("all", v) if v is None else (str(v), v) for v in values]
    )
    known = {str(label): value for label, value in pairs}
    most = max((v for v in known.values() if v is not None), default=1)
    return {label: float(known[label] or 2 * most) for label in labels}


def _draw_effects(findings: Findings, part: Part) -> Plate | None:
    """Draw main effects with their intervals around none."""
    fit = part.fit
    if fit is None or not has_effects(fit):
        return None
    figure = Figure((WIDTH, 0.3 * len(fit.effects) + 1.5), layout="constrained")
    title = title_figure(findings, part, figure, "main effects on ")
    plot: Any = figure.subplots()
    plot.axvline(0, color=SOFT, linewidth=1, zorder=1)
    sure = Role("distinguishable from none", SERIES[0], "o")
    open_ = Role("not distinguishable from none", SERIES[5], "o", filled=False)
    roles, before, y, places = [], "", 0.0, []
    for effect in fit.effects:
        group = "skip" if is_skip(effect) else effect.factor
        y += 0 if not before else 1 if group == before else 1.5
        before = group
        places.append(y)
        if math.isnan(effect.estimate):
            plot.text(0, y, f"  {effect.note}", color=SOFT, va="center", fontsize=8)
            continue
        how = sure if effect.p_adjusted < LEVEL else open_
        roles.append(how)
        if not math.isnan(effect.low):
            plot.hlines(y, effect.low, effect.high, color=how.colour, linewidth=1.8, zorder=3)
        mark(plot, effect.estimate, y, how)
    plot.set_yticks(places, [_effect_label(effect) for effect in fit.effects], color=INK)
    plot.set_ylim(y + 0.6, -0.6)
    plot.grid(axis="x")
    plot.tick_params(length=0)
    plot.spines[["left", "bottom"]].set_visible(False)
    plot.set_xlabel(f"change of {title_of(findings.metric)}")
    legend(figure, roles)
    caption = (
        f"One additive model of {many(fit.runs, 'run')}{explained(fit)}: each effect is averaged "
        "over the settings of the other axes. Intervals (95 %) are for other seeds on these "
        "images; shape and colour are by the test corrected for all effects."
    )
    return Plate("effects", title, caption, figure)


def _draw_costs(findings: Findings, part: Part, scored: Sequence[Setting]) -> Plate | None:
    """Draw the score over what a network costs, with the front that no cheaper one beats."""
    names = {"parameters": "parameters", "gflops": "GFLOPs, one training patch forward"}
    costs = [
        cost
        for cost in names
        if all(cost in s.cost for s in scored) and len({s.cost[cost] for s in scored}) > 1
    ]
    if not costs:
        return None
    figure = Figure((WIDTH, 0.7 + 3 * len(costs)), layout="constrained")
    title = title_figure(findings, part, figure, "cost against ")
    plots = np.ravel(np.asarray(figure.subplots(len(costs), 1, squeeze=False)))
    bottom, top, cut = _frame([score(findings, setting) for setting in scored])
    # The less telling roles first, so that the others lie on top of them.
    order = sorted(scored, key=lambda s: (role(findings, part, s.name).filled, s.name == part.best))
    for plot, cost in zip(plots, costs, strict=True):
        for setting in order:
            how = role(findings, part, setting.name)
            estimate = score(findings, setting)
            whisker(plot, setting.cost[cost], estimate, how.colour, upright=True)
            mark(plot, setting.cost[cost], estimate.value, how)
        front = _front(findings, scored, cost)
        plot.step(
            [setting.cost[cost] for setting in front],
            [score(findings, setting).value for setting in front],
            where="post",
            color=SERIES[3],
            linewidth=1.4,
            zorder=2,
        )
        plot.set_xscale("log")
        tick_costs(plot, [setting.cost[cost] for setting in scored])
        plot.margins(x=0.07)
        plot.set_ylim(bottom, top)
        plot.set_ylabel(title_of(findings.metric))
        plot.set_xlabel(names[cost])
        plot.grid(axis="y")
    legend(figure, [role(findings, part, setting.name) for setting in reversed(order)])
    figure.draw_without_rendering()  # from here on places are known
    for plot, cost in zip(plots, costs, strict=True):
        first = part.setting(part.best or "")
        named = {setting.name: setting for setting in (*_front(findings, scored, cost), first)}
        places = {s.name: (s.cost[cost], score(findings, s).value) for s in scored}
        _label(plot, [(*places[n], _short(s)) for n, s in named.items()], [*places.values()])
    caption = (
        "95 % intervals over seeds and images. The line joins the settings that none with as "
        "little cost beats (the Pareto front, by the means alone); they and the first are named."
        f"{' Intervals that reach out of the frame are cut.' if cut else ''}"
    )
    return Plate("cost", title, caption, figure)


def _frame(estimates: Sequence[Estimate]) -> tuple[float, float, bool]:
    """Give limits for all means and the usual interval; a run gone wrong may have a longer one."""
    values = [one.value for one in estimates]
    halves = [one.high - one.value for one in estimates if not math.isnan(one.high)]
    pad = 0.12 * (max(values) - min(values)) + 1.2 * float(np.median(halves or [0.0]))
    bottom, top = min(values) - (pad or 0.1), max(values) + (pad or 0.1)
    return bottom, top, any(one.low < bottom or one.high > top for one in estimates)


def _front(findings: Findings, scored: Sequence[Setting], cost: str) -> list[Setting]:
    """Keep the settings that no other with the same cost or less beats."""
    sign = -1 if findings.lower else 1
    front: list[Setting] = []
    for setting in sorted(scored, key=lambda s: (s.cost[cost], -sign * score(findings, s).value)):
        value = sign * score(findings, setting).value
        if not front or value > sign * score(findings, front[-1]).value:
            front.append(setting)
    return front


def _short(setting: Setting) -> str:
    """Name a setting for a crowded plot: a skip pattern says its depth by its length."""
    if setting.levels.keys() == {DEPTH, SKIPS}:
        return setting.levels[SKIPS]
    return fold(called(setting), 24)


def _label(
    plot: Any,
    names: Sequence[tuple[float, float, str]],
    points: Sequence[tuple[float, float]],
) -> None:
    """Name points where that covers least of points, names and the edge; after the layout."""
    inside = plot.get_window_extent().extents
    taken = [np.array([x - 4, y - 4, x + 4, y + 4]) for x, y in plot.transData.transform(points)]
    for x, y, name in names:
        text = plot.annotate(
            name, (x, y), (0, 0), textcoords="offset points", fontsize=7.5, color=INK, zorder=5
        )
        text.set_in_layout(False)
        tried = []
        for place in _PLACES:
            _move(text, place)
            box = text.get_window_extent().extents
            outside = _shared(box, box) - _shared(box, inside)
            tried.append(sum(_shared(box, one) for one in taken) + 9 * outside)
        _move(text, _PLACES[int(np.argmin(tried))])
        taken.append(text.get_window_extent().extents)


def _move(text: Any, place: tuple[int, int]) -> None:
    """Put a name so far from its point, on the side away from it."""
    text.xyann = place
    text.set_ha(("center", "left", "right")[np.sign(place[0])])
    text.set_va(("center", "bottom", "top")[np.sign(place[1])])


def _shared(a: Any, b: Any) -> float:
    """Give the area that two boxes (left, bottom, right, top) share."""
    wide, high = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return float(max(wide, 0) * max(high, 0))


def _effect_label(effect: Effect) -> str:
    if is_skip(effect):
        level = effect.factor.split()[1]
        return f"skip at level {level}" + (", nearest the input" if level == "1" else "")
    return fold(f"{word(effect.factor)} {effect.level} against {effect.reference}", 34)
