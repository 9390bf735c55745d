"""What the pages of the four studies share: read a finished study, put numbers into words."""

from __future__ import annotations

import csv
import shutil
from datetime import UTC, datetime
from pathlib import Path

from unetkit.study import Estimate, Findings, Row, StudyConfig, cells, find, read_rows, read_study

HERE = Path(__file__).parent


def load(name: str, folder: Path) -> tuple[StudyConfig, list[Row], Findings]:
    """Read the study file beside the page, and the cells that a run of it left in `folder`."""
    study = read_study(HERE / name / "study.yaml")
    rows = read_rows(study, cells(study), folder)
    return study, rows, find(study, rows)


def source(name: str) -> dict[str, dict[str, str]]:
    """Read the source's own table: setting → its row."""
    with (HERE / name / "source.csv").open(encoding="utf-8") as file:
        return {f"depth {r['depth']}, skips {r['skips']}": r for r in csv.DictReader(file)}


def gap(estimate: Estimate, digits: int = 3) -> str:
    """Write a difference with its interval."""
    ends = f"{estimate.low:+.{digits}f} to {estimate.high:+.{digits}f}"
    return f"{estimate.value:+.{digits}f} ({ends})".replace("-", "−")


def level(estimate: Estimate, digits: int = 3) -> str:
    """Write a mean with its interval."""
    ends = f"{estimate.low:.{digits}f} – {estimate.high:.{digits}f}"
    return f"{estimate.value:.{digits}f} ({ends})"


def is_told(estimate: Estimate) -> bool:
    """Tell whether a difference that was planned is distinguishable from none, at 5 %."""
    return estimate.p < 0.05


def table(head: list[str], rows: list[list[str]]) -> str:
    """Write a Markdown table; the first column is text, the others numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def facts(findings: Findings, folder: Path) -> str:
    """Say when, where and how long the study ran, from the files of its cells."""
    begun = [p.stat().st_mtime for p in folder.glob("cells/*/environment.json")]
    ended = [p.stat().st_mtime for p in folder.glob("cells/*/cell.json")]
    day = datetime.fromtimestamp(max(ended), UTC).strftime("%Y-%m-%d")
    cell = next(folder.glob("cells/*/environment.json")).read_text(encoding="utf-8")
    processor = cell.partition('"processor": "')[2].partition('"')[0]
    hours, seconds = findings.seconds / 3600, findings.seconds / max(findings.runs, 1)
    return (
        f"{findings.runs} runs ({findings.failed} failed), {max(ended) - min(begun):.0f} s wall time, "
        f"{hours:.2f} h of training, {seconds:.0f} s a run on average, on {processor}, "
        f"one thread a run, {day}."
    )


def write(name: str, folder: Path, title: str, text: str) -> None:
    """Write the page: the answer first, then what `unet study` wrote; bring its files along."""
    place = HERE / name
    shutil.rmtree(place / "figures", ignore_errors=True)
    shutil.copytree(folder / "figures", place / "figures")
    shutil.copy(folder / "results.csv", place)
    told = (folder / "study.md").read_text(encoding="utf-8").split("\n", 1)[1].strip()
    page = f"# {title}\n\n{text.strip()}\n\n## The study in full\n\nWritten by `unet study`.\n\n{told}\n"
    (place / "README.md").write_text(page, encoding="utf-8")
    print(place / "README.md")
