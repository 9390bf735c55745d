"""A look at every file of a set before anything is trained: what is wrong, where, and the cure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from unetkit.data.checks.across import across
from unetkit.data.checks.content import summary
from unetkit.data.checks.problem import Problem, from_error
from unetkit.data.checks.rules import judge, smeared
from unetkit.data.dataset import Dataset, read_dataset
from unetkit.data.smear import LOSSY, smear
from unetkit.data.survey import Look, survey
from unetkit.errors import InputError
from unetkit.image import read_labels

__all__ = ["Problem", "across", "check", "from_error", "inspect", "judge", "summary"]

_SPECIFIC = ("jpeg-mask", "resized-mask")  # what says more than "unexpected values"
_MOST = 200  # masks of unexpected values that are read again to say why


def check(
    source: Dataset | str | Path,
    *,
    seed: int = 0,
    masks: Literal["required", "optional"] = "required",
) -> list[Problem]:
    """Look at every file of a set and give all problems, errors first.

    Args:
        source: a set, or its folder; only from the folder are unpaired files seen.
        seed: as for `read_dataset`.
        masks: as for `read_dataset`.
    """
    return inspect(source, seed=seed, masks=masks)[1]


def inspect(
    source: Dataset | str | Path,
    *,
    seed: int = 0,
    masks: Literal["required", "optional"] = "required",
    cache: Path | None = None,
    on_case: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, Any], list[Problem]]:
    """Give what is in a set, and all problems, errors first.

    Args:
        source: as for `check`.
        seed: as for `check`.
        masks: as for `check`.
        cache: as for `read_dataset`.
        on_case: called with how many cases were looked at, of how many.
    """
    problems: list[Problem] = []

    def note(error: InputError) -> None:
        problems.append(from_error(error))

    if not isinstance(source, Dataset):
        try:
            source = read_dataset(
                source,
                seed=seed,
                masks=masks,
                on_problem=note,
                cache=cache,
                pixels=True,
                on_case=on_case,
            )
        except InputError as error:
            note(error)
            return {}, ordered(problems)
    looks = source.looks
    if any(looks[case.id].signs is None for case in source.cases if case.id in looks) or not looks:
        looks = survey(source.cases, pixels=True, on_case=on_case)
    problems += judged(source, looks)
    return summary(source, looks), ordered(problems)


def judged(dataset: Dataset, looks: Mapping[str, Look]) -> list[Problem]:
    """Give what is wrong with each case of a set, and with the set."""
    problems: list[Problem] = []
    for case in dataset.cases:
        if case.id in looks:
            problems += judge(case, looks[case.id], dataset.task)
    return [*problems, *across(dataset, looks)]


def ordered(problems: Iterable[Problem]) -> list[Problem]:
    """Sort errors first, each problem once, and none that another one explains."""
    problems = list(dict.fromkeys(problems))
    explained = {problem.where for problem in problems if problem.code in _SPECIFIC}
    vague = [p for p in problems if p.code == "values" and p.where not in explained]
    for problem in vague[:_MOST]:
        better = _explained(problem)
        if better:
            problems[problems.index(problem)] = better
    problems = [p for p in problems if p.code != "values" or p.where not in explained]
    return sorted(dict.fromkeys(problems), key=lambda problem: problem.severity)


def _explained(problem: Problem) -> Problem | None:
    """Say why a mask holds unexpected values, if it was smoothed."""
    where = Path(problem.where)
    try:
        found = smear(read_labels(where), lossy=where.suffix.lower() in LOSSY)
    except InputError:
        return None
    if not found:
        return None
    better = smeared(problem.where, found)
    if problem.what.startswith("the masks hold"):  # there is nothing else to go by
        better = replace(better, what=f"{better.what}; so were others, for {problem.what}")
    return better
