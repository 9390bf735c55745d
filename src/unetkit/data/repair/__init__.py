"""A damaged set → a copy with every mendable fault mended; the original is never touched."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unetkit.data.checks import Problem, check
from unetkit.data.checks.across import known_groups
from unetkit.data.dataset import Dataset
from unetkit.data.layout import find_layout
from unetkit.data.meaning import Meaning
from unetkit.data.repair.files import look_at, note_layout
from unetkit.data.repair.masks import mended
from unetkit.data.repair.sets import (
    drop_twins,
    meaning_of,
    one_kind,
    plan_masks,
    regrouped,
    rename_twins,
)
from unetkit.data.repair.work import Work
from unetkit.data.rewrite import check_target, write_dataset
from unetkit.data.survey import survey
from unetkit.errors import InputError
from unetkit.files import write_text


@dataclass(frozen=True)
class Repaired:
    """What a repair did.

    Attributes:
        folder: the copy.
        mended: what was done, in sentences that begin with the file.
        left: what is still wrong with the copy.
    """

    folder: Path
    mended: list[str]
    left: list[Problem]


def repair(
    path: str | Path,
    out: str | Path,
    *,
    seed: int = 0,
    masks: Literal["required", "optional"] = "required",
    on_case: Callable[[int, int], None] | None = None,
) -> Repaired:
    """Write a repaired copy of a set in our folder layout; its `repairs.csv` says what was done.

    Masks that were smoothed or saved as JPEG take the nearest class, those of exchanged sides are
    turned, 0/1 and 0/255 are made one, probabilities are cut at one half; pixels that are NaN, or
    of a number without a class, are ignored. Left out are cases whose files cannot be read, are
    constant, do not fit each other or the set, and duplicates (that of test stays, else of val).
    Grey saved as colour becomes grey again, files with a wrong suffix get the right one, colliding
    names another one, and groups go to the split where most of them lies.

    Args:
        path: the set.
        out: where to; must not exist or be empty, nor lie inside the set.
        seed: as for `read_dataset`.
        masks: as for `read_dataset`.
        on_case: called with cases written and cases in all.

    Raises:
        InputError: the set cannot be recognised, no case is left, or `out` cannot be written.
    """
    root, out = Path(path), Path(out)
    check_target(out, root)
    said: list[InputError] = []
    layout = find_layout(root, seed=seed, required=masks == "required", report=said.append)
    try:
        out.resolve().parent.mkdir(parents=True, exist_ok=True)
        stage = tempfile.TemporaryDirectory(prefix=".repair-", dir=out.resolve().parent)
    except OSError as error:
        what = f"cannot be written ({error.strerror})"
        raise InputError(what, where=out, cure="choose another folder") from error
    with stage as place:
        work = Work(root, Path(place), list(layout.cases), dict(layout.split))
        note_layout(work, layout, said)
        looks = survey(layout.cases, pixels=True)
        for case in layout.cases:
            look_at(work, case, looks[case.id])
        one_kind(work)
        meaning = meaning_of(work, layout)
        plan_masks(work, meaning)
        drop_twins(work, known_groups(_dataset(work, layout.sentence, meaning))[0])
        rename_twins(work)
        if not work.cases:
            raise InputError("no case is left without a problem", where=root)
        dataset = regrouped(work, _dataset(work, layout.sentence, meaning))
        write_dataset(
            dataset,
            out,
            meta={"repaired": len(work.notes)},
            mend=lambda case: mended(case, work.plan_of(case), dataset.task),
            on_case=on_case,
        )
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerows([("file", "case", "what"), *work.notes])
    write_text(out / "repairs.csv", table.getvalue())
    lines = [f"{file}: {what}" for file, _, what in work.notes]
    return Repaired(out, lines, check(out, seed=seed, masks=masks))


def _dataset(work: Work, sentence: str, meaning: Meaning) -> Dataset:
    """Give what is left as a set."""
    ndim = len(work.looks[work.cases[0].id].shape) - 1 if work.cases else 2
    return Dataset(
        root=work.root,
        layout=sentence,
        cases=tuple(work.cases),
        task=meaning.task(work.channels, ndim),
        split={name: members for name, members in work.split.items() if members},
        looks={case.id: work.looks[case.id] for case in work.cases},
    )
