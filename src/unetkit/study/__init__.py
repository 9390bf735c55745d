"""Studies: a grid of recipes over seeds, data sets and folds, and an answer that can be trusted."""

from unetkit.study.comparison import Estimate
from unetkit.study.findings import Findings, Part, Setting, compare, find
from unetkit.study.grid import Cell, StudyConfig, cells, read_study
from unetkit.study.run import Study, run_study, write_study
from unetkit.study.table import Row, read_rows

__all__ = [
    "Cell",
    "Estimate",
    "Findings",
    "Part",
    "Row",
    "Setting",
    "Study",
    "StudyConfig",
    "cells",
    "compare",
    "find",
    "read_rows",
    "read_study",
    "run_study",
    "write_study",
]
