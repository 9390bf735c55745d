"""What each factor of a study is worth, averaged over the settings of the others.

One additive model for all runs: value = intercept + blocks + factors + residual, by ordinary least
squares. A factor's levels are coded as contrasts to its reference level, centred: the column of
level l holds [this run has l] − 1/L where the factor has L levels, and 0 where it does not apply.
Two levels are thus coded ±1/2, every coefficient is a difference of two levels, and a network
without the part in question sits midway between the levels of that part. Whatever decides where a
factor applies (the depth, for a skip connection) must be a factor too: otherwise its own effect is
read as theirs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from unetkit.errors import InputError, nearest
from unetkit.study.comparison import holm

Level = str | int | float | None
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Effect:
    """The mean change of the value from one level of a factor to another.

    Attributes:
        factor: its name.
        level: the level the effect is of; None if the factor applies to no run.
        reference: the level it is compared with; None if there is no other.
        estimate: value at `level` − value at `reference`; nan where `note` says why.
        low: lower end of the 95 % interval.
        high: upper end.
        p: two-sided, of the hypothesis that the effect is 0.
        p_adjusted: by Holm over all effects of the fit.
        runs: how many carry the level.
        note: why a number is missing, else empty.
    """

    factor: str
    level: Level
    reference: Level
    estimate: float
    low: float
    high: float
    p: float
    p_adjusted: float
    runs: int
    note: str = ""


@dataclass(frozen=True)
class Fit:
    """The effects, and how well they describe the runs.

    Attributes:
        effects: by factor in the order of the rows' keys, then by level.
        residual_sd: of the runs about the model; nan without degrees of freedom.
        r_squared: share of the variance that the model explains, blocks included; nan if none.
        runs: how many had a value.
        degrees: of freedom of the residual.
    """

    effects: tuple[Effect, ...]
    residual_sd: float
    r_squared: float
    runs: int
    degrees: int


def main_effects(
    rows: Sequence[Mapping[str, Level]],
    values: Sequence[float] | NDArray[np.floating],
    *,
    levels: Mapping[str, Sequence[Level]] | None = None,
    blocks: Sequence[str] = (),
) -> Fit:
    """Fit the main effects of all factors at once.

    Estimated is the best additive description of the settings that were run. The residual holds the
    chance of a run (its seed) and lack of fit (interactions). Taken as independent with one spread,
    it makes t intervals with the residual's degrees of freedom: about right for other seeds of the
    same settings, wider than need be where factors interact. They do not account for the test
    images, which all runs share, nor for settings that were not run.

    An effect that the runs cannot tell from others (it is outside the row space of the design) is
    nan with a note that names them.

    Args:
        rows: factor → level of each run, all with the same factors. Levels are categories, numbers
            too. None: the factor does not apply to this run.
        values: one per run; runs with nan are left out.
        levels: factor → its levels in order; the first that occurs is the reference. Else sorted,
            numbers before words.
        blocks: factors of no interest (seed, dataset, fold), fitted but not reported.

    Raises:
        InputError: no run, as many values as rows are not given, an infinite value, rows of unequal
            factors, unknown names in levels or blocks, a level that is nan or not in `levels`.

    Example:
        >>> rows = [{"depth": depth} for depth in (1, 1, 2, 2)]
        >>> round(main_effects(rows, [0.70, 0.72, 0.80, 0.82]).effects[0].estimate, 3)
        0.1
    """
    y = np.asarray(values, np.float64)
    _check(rows, y, levels or {}, blocks)
    kept = [row for row, value in zip(rows, y, strict=True) if not math.isnan(value)]
    y = y[~np.isnan(y)]
    if not kept:
        raise InputError("no run has a value", where="values")
    factors = [name for name in rows[0] if name not in blocks]
    known = {name: _levels(name, kept, (levels or {}).get(name, ())) for name in factors}
    parts = [("", np.ones((y.size, 1)))]
    parts += [(name, _indicators(name, kept)) for name in dict.fromkeys(blocks)]
    parts += [(name, _contrasts(name, kept, known[name])) for name in factors]
    owners = [name for name, columns in parts for _ in range(columns.shape[1])]
    fit = _solve(np.hstack([columns for _, columns in parts]), y)
    effects = []
    for name in factors:
        runs = [sum(row[name] == level for row in kept) for level in known[name]]
        if len(runs) < 2:
            note = "no other level to compare with" if runs else "applies to no run"
            effects.append(_missing(name, next(iter(known[name]), None), None, sum(runs), note))
            continue
        reference, *others = known[name]
        for j, (level, carry) in enumerate(zip(others, runs[1:], strict=True), owners.index(name)):
            if mixed := _mixed_with(fit, j, owners):
                effects.append(_missing(name, level, reference, carry, mixed))
            else:
                effects.append(_judge(fit, j, name, level, reference, carry))
    adjusted = holm([effect.p for effect in effects])
    return Fit(
        effects=tuple(replace(one, p_adjusted=p) for one, p in zip(effects, adjusted, strict=True)),
        residual_sd=fit.residual_sd,
        r_squared=fit.r_squared,
        runs=y.size,
        degrees=fit.degrees,
    )


def skip_columns(patterns: Sequence[str]) -> list[dict[str, Level]]:
    """Turn patterns of skip connections into one two-level factor per level of the network.

    Levels that a network does not have are None, so that in `main_effects` a skip's effect is the
    mean change over the networks deep enough for it, and an effect of depth compares networks half
    of whose skips are on.

    Args:
        patterns: of 0 and 1, one per run; the first character is the level nearest the input, the
            length is the depth.

    Returns:
        Per run, "skip 1", "skip 2", … up to the greatest depth → 1, 0 or None.

    Raises:
        InputError: a pattern that is empty or holds other characters.

    Example:
        >>> skip_columns(["10", "1"])
        [{'skip 1': 1, 'skip 2': 0}, {'skip 1': 1, 'skip 2': None}]
    """
    for pattern in patterns:
        if not pattern or set(pattern) - {"0", "1"}:
            raise InputError(
                f"pattern {pattern!r}", where="skips", cure="use one 0 or 1 per level, like 1011"
            )
    depth = max(map(len, patterns), default=0)
    return [
        {f"skip {k + 1}": int(pattern[k]) if k < len(pattern) else None for k in range(depth)}
        for pattern in patterns
    ]


@dataclass(frozen=True)
class _Solution:
    """Least squares, by column: β, its error in units of the residual's, and what is undetermined.

    β_j is estimable where the unit vector e_j lies in the row space of the design. What sticks out
    of it (row j of `outside`) combines columns to 0 in every run: it says with what j is mixed.
    """

    beta: Array
    error: Array
    outside: Array
    residual_sd: float
    r_squared: float
    degrees: int
    nothing: float


def _solve(x: Array, y: Array) -> _Solution:
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    rank = int(np.count_nonzero(s > s[0] * max(x.shape) * np.finfo(np.float64).eps))
    u, s, vt = u[:, :rank], s[:rank], vt[:rank]
    beta = vt.T @ (u.T @ y / s)
    degrees = y.size - rank
    nothing = 1e-12 * float(np.abs(y).max())  # rounding: a residual or effect below it is none
    rest, total = (float(np.linalg.norm(part)) for part in (y - x @ beta, y - y.mean()))
    return _Solution(
        beta=beta,
        error=np.sqrt(np.square(vt.T / s).sum(axis=1)),
        outside=np.eye(beta.size) - vt.T @ vt,
        residual_sd=(rest / math.sqrt(degrees) if rest > nothing else 0.0) if degrees else math.nan,
        r_squared=1 - (rest / total) ** 2 if total > nothing else math.nan,
        degrees=degrees,
        nothing=nothing,
    )


def _mixed_with(fit: _Solution, j: int, owners: Sequence[str]) -> str:
    """Say what the effect of column j cannot be told from; empty if it is determined."""
    if fit.outside[j, j] < 1e-8:
        return ""
    mixed = {owners[int(k)] for k in np.flatnonzero(np.abs(fit.outside[j]) > 1e-8)}
    others = [name for name in dict.fromkeys(owners) if name in mixed - {"", owners[j]}]
    return f"cannot be told from {', '.join(others) or 'the mean'}"


def _judge(
    fit: _Solution, j: int, factor: str, level: Level, reference: Level, runs: int
) -> Effect:
    """Give the effect of column j with its t interval and test."""
    estimate, error = float(fit.beta[j]), float(fit.error[j]) * fit.residual_sd
    if not fit.degrees:
        low = high = p = math.nan
    else:
        half = -float(stdtrit(fit.degrees, 0.025)) * error
        low, high = estimate - half, estimate + half
        if error:
            p = 2 * float(stdtr(fit.degrees, -abs(estimate) / error))
        else:
            p = float(abs(estimate) <= fit.nothing)
    note = "" if fit.degrees else "no run is left to judge chance by"
    return Effect(factor, level, reference, estimate, low, high, p, math.nan, runs, note)


def _missing(factor: str, level: Level, reference: Level, runs: int, note: str) -> Effect:
    return Effect(factor, level, reference, *(math.nan,) * 5, runs, note)


def _levels(name: str, rows: Sequence[Mapping[str, Level]], given: Sequence[Level]) -> list[Level]:
    """List the levels that occur, in the given order or sorted, numbers before words."""
    found = dict.fromkeys(row[name] for row in rows if row[name] is not None)
    if given:
        return [level for level in dict.fromkeys(given) if level in found]
    return sorted(found, key=lambda level: (isinstance(level, str), level))


def _contrasts(name: str, rows: Sequence[Mapping[str, Level]], levels: Sequence[Level]) -> Array:
    """Code a factor in one column per level but the reference; see the module text."""
    columns = np.zeros((len(rows), max(len(levels) - 1, 0)))
    for line, row in zip(columns, rows, strict=True):
        if row[name] is not None:
            line[:] = [(row[name] == level) - 1 / len(levels) for level in levels[1:]]
    return columns


def _indicators(name: str, rows: Sequence[Mapping[str, Level]]) -> Array:
    """Code a block in one column per level but the first; None is a level like others."""
    levels = list(dict.fromkeys(row[name] for row in rows))[1:]
    return np.array([[float(row[name] == level) for level in levels] for row in rows])


def _check(
    rows: Sequence[Mapping[str, Level]],
    values: Array,
    levels: Mapping[str, Sequence[Level]],
    blocks: Sequence[str],
) -> None:
    if values.shape != (len(rows),):
        raise InputError(
            f"{len(rows)} rows against values of shape {values.shape}",
            where="rows, values",
            cure="give one value per run",
        )
    if np.isinf(values).any():
        raise InputError("an infinite value", where="values", cure="use nan where it is undefined")
    for number, row in enumerate(rows):
        if row.keys() != rows[0].keys():
            raise InputError(
                f"run {number} has other factors than run 0: "
                f"{', '.join(sorted(row.keys() ^ rows[0].keys()))}",
                where="rows",
                cure="use None where a factor does not apply",
            )
        for name, level in row.items():
            if isinstance(level, float) and math.isnan(level):
                raise InputError(
                    f"run {number} has the level nan",
                    where=name,
                    cure="use None where a factor does not apply",
                )
            if level is not None and name in levels and level not in levels[name]:
                raise InputError(
                    f"run {number} has the level {level}",
                    where=name,
                    cure=f"levels are {', '.join(map(str, levels[name]))}",
                )
    for where, names in (("levels", levels), ("blocks", blocks)):
        for name in names:
            if rows and name not in rows[0]:
                raise InputError(f"no factor {name}", where=where, cure=nearest(name, rows[0]))
