"""The page a person reads: one self-contained HTML file for a run, or for several side by side.

The room takes plain values and the files of a run folder, so it knows nothing of how a run was
made. Nothing on the page is fetched: images are embedded, fonts are those of the system.
"""

from __future__ import annotations

from unetkit.report.cases import Sample, Sheet
from unetkit.report.page import combine, write_report
from unetkit.report.pictures import difference, overlay

__all__ = ["Sample", "Sheet", "combine", "difference", "overlay", "write_report"]
