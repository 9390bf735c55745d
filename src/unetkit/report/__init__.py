"""The page a person reads: one self-contained HTML file for a run, or for several side by side.

`write_report` gathers what there is to show of a run; `compose` makes the page of plain values, so
it knows nothing of how a run was made. Nothing on the page is fetched: images are embedded, fonts
are those of the system.
"""

from __future__ import annotations

from unetkit.report.assemble import write_report
from unetkit.report.cases import Sample, Sheet
from unetkit.report.page import combine, compose
from unetkit.report.pictures import difference, overlay

__all__ = [
    "Sample",
    "Sheet",
    "combine",
    "compose",
    "difference",
    "overlay",
    "write_report",
]
