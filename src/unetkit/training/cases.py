"""The cases a run is fed from: decoded when wanted, a few of many, and those that are left out."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path

import numpy as np

from unetkit.data import Case, Dataset, Normalization, Sample
from unetkit.data.batches import Memory, Wanted, whole
from unetkit.data.cache import Cache
from unetkit.data.prepared import Whole
from unetkit.errors import InputError
from unetkit.files import write_text
from unetkit.image import stem

Row = tuple[str, str, str, bool]  # case, file, reason; found when the set was read, not decoded


class Decoded:
    """Cases of a data set by number, decoded each time they are asked for."""

    def __init__(self, dataset: Dataset, cases: Sequence[Case]) -> None:
        self._dataset, self._cases = dataset, cases

    def __len__(self) -> int:
        return len(self._cases)

    def __getitem__(self, index: int, /) -> Sample:
        # Nothing is learnt from the second annotator.
        return self._dataset.load(replace(self._cases[index], observer=None))


class LeftOut:
    """Cases that cannot be used: said once each, listed in `skipped.csv`, and never too many.

    Args:
        folder: the run's.
        allowed: leave out; otherwise the first such case ends the run.
        say: takes sentences.
        rows: what an interrupted run had left out.
    """

    def __init__(
        self,
        folder: Path,
        *,
        allowed: bool,
        say: Callable[[str], None],
        rows: Iterable[Sequence[str | bool]] = (),
    ) -> None:
        self._folder, self._allowed, self._say = folder, allowed, say
        self.rows: list[Row] = [(str(a), str(b), str(c), bool(d)) for a, b, c, d in rows]
        self._undecodable = {case for case, _, _, reading in self.rows if not reading}
        self._total: int | None = None
        if self.rows:
            say(f"{len(self.rows)} files stay left out as before; see {folder / 'skipped.csv'}")

    def report(self, error: InputError) -> None:
        """Leave out what `read_dataset` has found."""
        self._note(stem(Path(str(error.where or ""))), error, reading=True)

    def drop(self, case: Case, error: InputError) -> None:
        """Leave out a case that turns out to be unreadable when it is decoded."""
        self._note(case.id, error, reading=False)
        self._undecodable.add(case.id)
        self._write()
        self._require_enough()

    def undecodable(self) -> set[str]:
        """Name the cases that were left out when they were decoded."""
        return self._undecodable

    def start(self, dataset: Dataset) -> None:
        """Take note of what there is, after the set was read.

        Raises:
            InputError: more than half of its cases are left out.
        """
        unread = {case for case, _, _, reading in self.rows if reading}
        self._total, self._where = len({case.id for case in dataset.cases} | unread), dataset.root
        if self.rows:
            self._write()
        self._require_enough()

    def without(self, dataset: Dataset, error: InputError) -> Dataset:
        """Leave out the case that stood in the way before the first step, if there is one."""
        cases = [case for case in dataset.cases if _owns(case, error.where)]
        if len(cases) != 1:
            raise error
        self._note(cases[0].id, error, reading=True)
        self._write()
        self._require_enough()
        return _less(dataset, {cases[0].id})

    def rest(self, dataset: Dataset) -> Dataset:
        """Give the data set without what was left out when it was decoded."""
        return _less(dataset, self._undecodable)

    def _note(self, case: str, error: InputError, *, reading: bool) -> None:
        if not self._allowed:
            rest = "go on without it with --skip-bad"
            cure = f"{error.cure}, or {rest}" if error.cure else rest
            raise InputError(error.what, where=error.where, cure=cure) from error
        row = (case, str(error.where), " ".join(error.what.split()), reading)
        if any(row[:2] == known[:2] for known in self.rows):
            return
        self.rows.append(row)
        self._say(f"left out: {error}")

    def _write(self) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("case", "file", "reason"))
        writer.writerows(known[:3] for known in self.rows)
        write_text(self._folder / "skipped.csv", text.getvalue())

    def _require_enough(self) -> None:
        bad = len({case for case, _, _, _ in self.rows})
        if self._total is not None and 2 * bad > self._total:
            raise InputError(
                f"{bad} of {self._total} cases cannot be used, the first for: {self.rows[0][2]}",
                where=self._where,
                cure="see what is wrong with unet check",
            )


class Judged:
    """The cases that checkpoints are judged by, prepared anew for each unless memory holds them.

    Args:
        dataset: the set.
        cases: of `val`.
        normalization: applied to every image.
        wanted: targets of the loss.
        memory: where prepared cases are kept.
        left: what is left out, and takes what turns out to be unreadable.
    """

    def __init__(
        self,
        dataset: Dataset,
        cases: Sequence[Case],
        normalization: Normalization,
        wanted: Wanted,
        memory: Memory,
        left: LeftOut,
    ) -> None:
        samples = Decoded(dataset, cases)
        self._cache = Cache(
            lambda index: whole(samples[index], normalization, wanted), len(cases), memory
        )
        self._cases, self._left = cases, left

    def __iter__(self) -> Iterator[Whole]:
        for index, case in enumerate(self._cases):
            bad = self._left.undecodable()
            if case.id in bad:
                continue
            later = (k for k in range(index + 1, len(self._cases)) if self._cases[k].id not in bad)
            try:
                one = self._cache.take(index, later)
            except InputError as error:
                self._left.drop(case, error)
            else:
                yield one

    def ids(self) -> tuple[str, ...]:
        """Name those that are not left out."""
        return tuple(c.id for c in self._cases if c.id not in self._left.undecodable())


def spread(cases: Sequence[Case], limit: int | None) -> list[Case]:
    """Take at most so many, evenly spread from the first to the last."""
    if limit is None or len(cases) <= limit:
        return list(cases)
    return [cases[i] for i in np.linspace(0, len(cases) - 1, limit).round().astype(int).tolist()]


def usable(dataset: Dataset, cases: Sequence[Case], left: LeftOut) -> Iterator[Sample]:
    """Decode one after another, without those that are left out."""
    samples = Decoded(dataset, cases)
    for index, case in enumerate(cases):
        if case.id in left.undecodable():
            continue
        try:
            sample = samples[index]
        except InputError as error:
            left.drop(case, error)
            continue
        yield sample


def again(dataset: Dataset, cases: Mapping[str, Sequence[str]], left: LeftOut) -> Dataset:
    """Give the data set with the `train` and `val` that an interrupted run had.

    What is not there any more keeps its place in the order of turns, and is left out.

    Raises:
        InputError: something is not there any more, and may not be left out.
    """
    there = {case.id: case for case in dataset.cases}
    used = {name: there.get(name) for part in cases.values() for name in part}
    for name, known in used.items():
        if known is None:
            used[name] = case = Case(name, dataset.root / name)
            if name not in left.undecodable():
                cure = "restore it, train anew with another -o"
                left.drop(case, InputError("was there when the run began", where=name, cure=cure))
    kept = [case for case in used.values() if case is not None]
    others = [case for case in dataset.cases if case.id not in used]
    split = {name: tuple(part) for name, part in cases.items()} | {
        name: tuple(i for i in part if i not in used)
        for name, part in dataset.split.items()
        if name not in cases
    }
    split = {name: part for name, part in split.items() if part}
    return replace(dataset, cases=(*kept, *others), split=split)


def _less(dataset: Dataset, ids: Set[str]) -> Dataset:
    split = {
        name: left
        for name, part in dataset.split.items()
        if (left := tuple(i for i in part if i not in ids))
    }
    return replace(
        dataset, cases=tuple(case for case in dataset.cases if case.id not in ids), split=split
    )


def _owns(case: Case, where: object) -> bool:
    """Tell whether a path is one of the files of a case, or lies in a folder that is."""
    if where is None:
        return False
    path = Path(str(where))
    parts = case.drawing.parts if case.drawing else ()
    own = {p for p in (case.image, case.mask, case.fov, *case.bands, *parts) if p is not None}
    return not own.isdisjoint((path, *path.parents))
