"""The page of a study, as HTML and as Markdown: conclusion, protocol, figures, tables."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from unetkit.files import write_text
from unetkit.report.contents import protocol_rows, short, title_of
from unetkit.study.canvas import role, score
from unetkit.study.comparison import Estimate
from unetkit.study.conclusion import conclude_part, conclude_whole
from unetkit.study.figures import draw, inline_svg, write_svg
from unetkit.study.findings import Findings, Part, Setting
from unetkit.study.grid import to_yaml
from unetkit.study.words import called, leader, number, over, span, word

# Of one run each, or said elsewhere: not what all runs of the study share.
_OWN = {
    "data", "split", "cases", "interval", "threshold", "threshold_from", "temperature", "seed",
    "recipe",
}  # fmt: skip
TESTS = (
    "Seeds and images are crossed sources of chance, and every setting has the same ones, so that "
    "differences are taken run by run and image by image. Intervals are of 95 %, each by itself; p "
    "is corrected by Holm for all comparisons on a data set at once."
)
LUCK = (
    "Choosing on other images keeps luck with the reported ones out of the choice, but not luck "
    "with the seeds: train the first and its rivals again with new seeds before relying on a "
    "small lead."
)


@dataclass(frozen=True)
class Entry:
    """What stands in one place of a table.

    Attributes:
        text: as it is read.
        small: an interval below it.
        key: by which a column of numbers is sorted; empty sorts by text.
    """

    text: str
    small: str = ""
    key: str = ""


@dataclass(frozen=True)
class Line:
    """One setting in a table: its role ("best", "equal", "better" or none) and its entries."""

    role: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Table:
    """A table of settings.

    Attributes:
        title: what it holds.
        columns: their heads; the first `names` of them hold words, the others numbers.
        names: how many columns name the setting.
        lines: of settings.
    """

    title: str
    columns: tuple[str, ...]
    names: int
    lines: tuple[Line, ...]


def write_page(findings: Findings, path: str | Path, *, machine: str = "") -> Path:
    """Write what a study found as a single HTML file that needs no network.

    Args:
        findings: of the study.
        path: the file to write.
        machine: what the runs ran on, if known.
    """
    path = Path(path)
    figures = {
        part.dataset: [
            (plate, Markup(inline_svg(plate, f"d{number_}-{plate.kind}")))
            for plate in draw(findings, part)
        ]
        for number_, part in enumerate(findings.parts, 1)
    }
    page = _environment(autoescape=True).get_template("page.html.jinja")
    write_text(path, page.render(**_contents(findings, machine), figures=figures))
    return path


def write_markdown(
    findings: Findings, path: str | Path, figures: str | Path, *, machine: str = ""
) -> Path:
    """Write the same as Markdown, with the figures as SVG files beside it.

    Args:
        findings: of the study.
        path: the file to write.
        figures: folder for the figures; best beside `path` or below it.
        machine: what the runs ran on, if known.
    """
    path, folder = Path(path), Path(figures)
    links: dict[str, list[Any]] = {}
    for part, name in zip(findings.parts, _slugs(findings), strict=True):
        for plate in draw(findings, part):
            file = write_svg(plate, folder / f"{name}-{plate.kind}.svg")
            link = quote(Path(os.path.relpath(file, path.parent)).as_posix())
            links.setdefault(part.dataset, []).append((plate, link))
    page = _environment(autoescape=False).get_template("page.md.jinja")
    text = page.render(**_contents(findings, machine), figures=links)
    write_text(path, re.sub(r"\n{3,}", "\n\n", text).strip() + "\n")
    return path


def _environment(*, autoescape: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["md"] = _plain
    return environment


def _plain(text: object) -> str:
    """Keep Markdown from reading a name as markup, a table's border or HTML."""
    words = " ".join(str(text).split())
    return re.sub(r"([\\`*_\[\]<>|#~$&])", r"\\\1", words)


def _slugs(findings: Findings) -> list[str]:
    """Make file names of data sets' names, each once."""
    names: list[str] = []
    for part in findings.parts:
        name = re.sub(r"[^a-z0-9]+", "-", part.dataset.lower()).strip("-") or "data"
        names.append(f"{name}-{len(names) + 1}" if name in names else name)
    return names


def _contents(findings: Findings, machine: str) -> dict[str, Any]:
    """Gather what both pages say."""
    study = findings.study
    failed = [
        (part.dataset, called(setting), error)
        for part in findings.parts
        for setting in part.settings
        for error in setting.failed
    ]
    return {
        "name": study.name or "study",
        "faults": findings.faults,
        "whole": conclude_whole(findings),
        "several": len(findings.parts) > 1,
        "parts": [_part(findings, part, n) for n, part in enumerate(findings.parts, 1)],
        "facts": _facts(findings, machine),
        "failed": failed,
        "yaml": to_yaml(study),
    }


def _part(findings: Findings, part: Part, place: int) -> dict[str, Any]:
    """Gather what is said of one data set."""
    best = part.setting(part.best) if part.best is not None else None
    estimate = score(findings, best) if best else None
    told = {"threshold": "each run's own"} if "threshold" in part.protocol else {}
    images = {"cases": estimate.images} if estimate else {}
    tables = _tables(findings, part) if findings.runs else []
    return {
        "dataset": part.dataset,
        "anchor": f"data-{place}",
        "lines": conclude_part(findings, part) if findings.runs else [],
        "first": called(best) if best else "",
        "leader": f"{leader(findings)} on {findings.study.select.split}",
        "metric": f"{title_of(findings.metric)} on {findings.study.report}",
        "value": number(estimate.value) if estimate else "",
        "interval": span(estimate.low, estimate.high) if estimate else "",
        "over": over(estimate.seeds, estimate.images) if estimate else "",
        "protocol": short({"protocol": {**part.protocol, **told, **images}}) if best else "",
        "tables": tables,
        "equals": any(line.role == "equal" for table in tables for line in table.lines),
        "better": any(line.role == "better" for table in tables for line in table.lines),
    }


def _facts(findings: Findings, machine: str) -> list[tuple[str, str]]:
    """List the protocol that all data sets share."""
    study = findings.study
    metric = title_of(findings.metric)
    protocol: Mapping[str, Any] = next((p.protocol for p in findings.parts if p.protocol), {})
    sets = ", ".join(f"{name} ({path})" for name, path in study.datasets.items())
    facts = [("data", sets)]
    facts += [
        (f"axis {axis}", _levels(findings, axis, whole=values == "all"))
        for axis, values in study.axes.items()
    ]
    recipe = study.recipe if isinstance(study.recipe, str) else "given in the study file"
    facts += [("recipe of all", recipe)]
    facts += [("set for all", ", ".join(f"{k} {_word(v)}" for k, v in study.set.items()))]
    facts += [("seeds", ", ".join(map(str, study.seeds)))]
    facts += [("folds", str(study.folds or ""))]
    rule = f"{'least' if findings.lower else 'greatest'} mean {metric} on {study.select.split}"
    own = ", at each run's own threshold" if "threshold" in protocol else ""
    facts += [("choice", f"{rule}; the checkpoint of every run was chosen on val")]
    facts += [("reported", study.report + own)]
    facts += [("threshold from", str(protocol.get("threshold_from", "")))]
    shared = [(key, value) for key, value in protocol.items() if key not in _OWN]
    facts += protocol_rows({"protocol": dict(shared)})
    facts += [
        ("intervals and tests", TESTS if findings.runs else ""),
        ("caution", LUCK if not findings.faults and findings.runs else ""),
        ("runs", _progress(findings)),
        ("time", f"{_duration(findings.seconds)} of training in all" if findings.runs else ""),
        ("machine", machine),
    ]
    return [(name, text) for name, text in facts if text]


def _levels(findings: Findings, axis: str, *, whole: bool) -> str:
    if whole:
        return "every pattern of the depth"
    settings = [setting for part in findings.parts for setting in part.settings]
    return "; ".join(dict.fromkeys(s.levels[axis] for s in settings if axis in s.levels))


def _word(value: Any) -> str:
    return "none" if value is None else str(value)


def _progress(findings: Findings) -> str:
    words = [f"{findings.runs} done"]
    words += [f"{findings.failed} failed"] if findings.failed else []
    words += [f"{findings.waiting} not done yet"] if findings.waiting else []
    return ", ".join(words)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _tables(findings: Findings, part: Part) -> list[Table]:
    """Make the table of settings, and those of all metrics."""
    axes = list(part.settings[0].levels)
    order = [part.best, *part.ranking.comparisons] if part.ranking else []
    settings = sorted(
        part.settings, key=lambda s: order.index(s.name) if s.name in order else len(order)
    )
    roles = {s.name: _role(findings, part, s) for s in settings}

    def table(title: str, heads: Sequence[str], rows: Mapping[str, Sequence[Entry]]) -> Table:
        lines = [
            Line(roles[s.name], (*(Entry(s.levels[axis]) for axis in axes), *rows[s.name]))
            for s in settings
        ]
        return Table(title, (*map(word, axes), *heads), len(axes), tuple(lines))

    split, report, metric = findings.study.select.split, findings.study.report, findings.metric
    name = title_of(metric)
    heads = ["runs", *([f"{name} on {split}"] if split != report else []), f"{name} on {report}"]
    heads += ["sd, seeds", "sd, images"]
    heads += [f"minus {leader(findings)}", "p", "parameters", "GFLOPs", "seconds", "MiB"]
    tables = [table("Settings", heads, {s.name: _main(findings, part, s) for s in settings})]
    scores: dict[str, dict[str, Mapping[str, Estimate]]] = {
        "each run at its own threshold": {s.name: s.scores for s in settings},
        "at a threshold of 0.5": {s.name: s.fixed for s in settings},
    }
    for how, found in scores.items():
        keys = list(dict.fromkeys(key for one in found.values() for key in one))
        if keys:
            rows = {s.name: [_estimate(found[s.name].get(key)) for key in keys] for s in settings}
            title = f"All metrics on {report}, {how}"
            tables.append(table(title, [title_of(key) for key in keys], rows))
    return tables


def _role(findings: Findings, part: Part, setting: Setting) -> str:
    if not setting.runs:
        return ""
    shape = role(findings, part, setting.name).marker
    return {"*": "best", "^": "better"}.get(shape, "equal" if _equal(part, setting) else "")


def _equal(part: Part, setting: Setting) -> bool:
    return part.ranking is not None and setting.name in part.ranking.indistinguishable


def _main(findings: Findings, part: Part, setting: Setting) -> list[Entry]:
    """Give the entries of one setting in the first table."""
    study = findings.study
    planned = len(study.seeds) * (study.folds or 1)
    apart = setting.spread.get(findings.metric, (math.nan, math.nan))
    compared = part.ranking.comparisons.get(setting.name) if part.ranking else None
    entries = [
        Entry(f"{setting.runs}/{planned}", key=str(setting.runs)),
        *([_number(setting.chosen)] if study.select.split != study.report else []),
        _estimate(setting.scores.get(findings.metric)),
        *(_number(value, setting.chosen) for value in apart),
    ]
    if compared is None:
        entries += [Entry("–"), Entry("–")]
    else:
        gap, p = compared.difference, compared.p_adjusted
        text = "–" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
        entries += [
            _estimate(gap, scale=setting.chosen),
            Entry(text, key="" if math.isnan(p) else f"{p:g}"),
        ]
    for cost in ("parameters", "gflops", "seconds", "memory_mib"):
        value = setting.cost.get(cost, math.nan)
        text = "–" if math.isnan(value) else f"{value:.3g}" if cost == "gflops" else f"{value:,.0f}"
        entries.append(Entry(text, key="" if math.isnan(value) else f"{value:g}"))
    return entries


def _number(value: float, scale: float | None = None) -> Entry:
    return Entry(number(value, scale), key="" if math.isnan(value) else f"{value:.9g}")


def _estimate(estimate: Estimate | None, *, scale: float | None = None) -> Entry:
    """Give an entry with its interval; a difference has its sign, and the score's decimals."""
    if estimate is None or math.isnan(estimate.value):
        return Entry("–")
    text = number(estimate.value, scale)
    plus = "+" if scale is not None and estimate.value > 0 and text.strip("0.") else ""
    return Entry(plus + text, span(estimate.low, estimate.high, scale), f"{estimate.value:.9g}")
