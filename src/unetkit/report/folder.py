"""The files of a run folder as plain values.

Everything but the folder itself may be absent; what is there but cannot be read is an error.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetkit.errors import InputError


@dataclass(frozen=True)
class Run:
    """The files of a run folder as plain values.

    Attributes:
        path: the folder.
        recipe: text of `recipe.yaml`, empty if absent.
        environment: `environment.json`, every value as text.
        history: columns of `history.csv` by name, `None` where a cell is empty.
        metrics: `metrics.json`, `None` if the run has not been evaluated.
    """

    path: Path
    recipe: str
    environment: dict[str, str]
    history: dict[str, list[float | None]]
    metrics: dict[str, Any] | None

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.resolve().name

    @property
    def epochs(self) -> list[float]:
        """The `epoch` column; numbers from 1 where it is absent."""
        count = max((len(column) for column in self.history.values()), default=0)
        column = self.history.get("epoch", [])
        if any(value is None for value in column) or not column:
            return [float(index + 1) for index in range(count)]
        return [value for value in column if value is not None]


def read_run(path: Path) -> Run:
    """Read a run folder.

    Raises:
        InputError: there is no such folder, or a file in it cannot be understood.
    """
    if not path.is_dir():
        raise InputError("is no run folder", where=path, cure="pass the folder unet train wrote")
    metrics = _read_json(path / "metrics.json")
    environment = _read_json(path / "environment.json") or {}
    recipe = path / "recipe.yaml"
    return Run(
        path=path,
        recipe=_read_text(recipe) if recipe.is_file() else "",
        environment={str(key): plain(value) for key, value in environment.items()},
        history=_read_history(path / "history.csv"),
        metrics=metrics,
    )


def best_epoch(run: Run) -> tuple[int, str] | None:
    """Row of the best epoch and what it is best in: validation Dice, else validation loss."""
    for column, pick, words in (
        ("val_dice", max, "best validation Dice"),
        ("val_loss", min, "lowest validation loss"),
    ):
        known = [
            (value, row)
            for row, value in enumerate(run.history.get(column, []))
            if value is not None and math.isfinite(value)
        ]
        if known:
            best = pick(value for value, _ in known)
            return next(row for value, row in known if value == best), words
    return None


def plain(value: object) -> str:
    """A value of JSON in words."""
    if value is True or value is False:
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items())
    return "" if value is None else str(value)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "cannot be read as text", where=path, cure="restore or delete it"
        ) from error


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(
            f"is no valid JSON (line {error.lineno})",
            where=path,
            cure="write it again or delete it",
        ) from error
    if not isinstance(content, dict):
        raise InputError("holds no JSON object", where=path, cure="write it again or delete it")
    return content


def _read_history(path: Path) -> dict[str, list[float | None]]:
    if not path.is_file():
        return {}
    rows = list(csv.DictReader(_read_text(path).splitlines()))
    return {
        name: [_cell(row.get(name)) for row in rows]
        for name in (rows[0] if rows else [])
        if isinstance(name, str)
    }


def _cell(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
