"""The files of each case: what can be read, under which name, and what must be left out."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unetkit.data.case import Case
from unetkit.data.counted import count_mask
from unetkit.data.layout import Layout
from unetkit.data.picture import read_picture
from unetkit.data.repair.masks import is_probability, turn_to_fit
from unetkit.data.repair.work import Work
from unetkit.data.survey import Look, look
from unetkit.errors import InputError
from unetkit.image import is_image, read_labels

_RENAME = "rename it to "  # how a reader says that a suffix is wrong
_TURNS = {4: "transposed", 5: "turned to the left", 6: "turned to the right",
          7: "transposed about the other diagonal"}  # fmt: skip


def note_layout(work: Work, layout: Layout, said: Sequence[InputError]) -> None:
    """Note what the layout leaves out: names in lists that are no case, files of no pair."""
    used: set[Path] = set()
    for case in layout.cases:
        parts = case.drawing.parts if case.drawing else ()
        files = (case.image, *case.bands, case.mask, case.fov, case.observer, *parts)
        used |= {file for file in files if file}
    for folder in sorted({file.parent for file in used} - used):
        for file in sorted(folder.iterdir()):
            if file not in used and file.is_file() and is_image(file):
                work.note(file, "", "left out: it belongs to no pair")
    for problem in said:
        if not Path(str(problem.where)).is_file() or not is_image(Path(str(problem.where))):
            work.note(problem.where, "", f"{problem.what}: mended in the copy")


def look_at(work: Work, case: Case, seen: Look) -> None:
    """Give a case files that can be read, as far as its first look says they cannot; or drop it."""
    for _ in range(6):
        if not seen.faults:
            break
        fault = seen.faults[0]
        found = _mend_file(work, case, fault)
        if found is None:
            if not _mend_mask(work, case, seen, fault):
                work.drop(case, fault.where, fault.what)
                return
            break
        case = found
        seen = look(case, pixels=True, thorough=False)
    case = _with_observer(work, case)
    work.change(case, case)
    work.looks[case.id] = seen
    signs = seen.signs
    if signs is None:
        return
    if seen.counted is not None:
        work.counted[case.id] = seen.counted
    if all(not low < high for low, high in zip(signs.lows, signs.highs, strict=True)):
        work.drop(case, case.image, "the image is constant")
    elif signs.broken and case.mask:
        work.plans[case.id] = replace(work.plan_of(case), blank=True)
        work.note(case.image, case.id, f"{signs.broken} pixels without a number are ignored")
    if case.fov and signs.seen == 0:
        work.note(case.fov, case.id, "the empty field of view is left out")
        work.change(case, replace(case, fov=None))


def _mend_file(work: Work, case: Case, fault: InputError) -> Case | None:
    """Give the case with a file under its right suffix, or without a bad field of view."""
    where = Path(str(fault.where))
    if fault.cure.startswith(_RENAME):
        fresh = work.stage / f"{len(work.notes)}" / fault.cure.removeprefix(_RENAME)
        fresh.parent.mkdir()
        shutil.copyfile(where, fresh)
        work.note(where, case.id, f"renamed to {fresh.name}: {fault.what}")
        return Case(
            case.id,
            fresh if case.image == where else case.image,
            fresh if case.mask == where else case.mask,
            fresh if case.fov == where else case.fov,
            fresh if case.observer == where else case.observer,
            case.group,
            tuple(fresh if band == where else band for band in case.bands),
            case.drawing,
        )
    if case.fov is not None and where == case.fov:
        work.note(where, case.id, f"the field of view is left out: {fault.what}")
        return replace(case, fov=None)
    return None


def _mend_mask(work: Work, case: Case, seen: Look, fault: InputError) -> bool:
    """Plan what makes a mask fit that does not; False where nothing does."""
    if case.mask is None or Path(str(fault.where)) != case.mask or case.drawing or not seen.shape:
        return False
    space = seen.shape[1:]
    try:
        if "fractions" in fault.what and is_probability(case.mask):
            work.plans[case.id] = replace(work.plan_of(case), half=True)
            work.note(case.mask, case.id, "a probability, taken for foreground from one half")
            return True
        numbers = read_labels(case.mask)
        if numbers.shape != (*space[:-2], space[-1], space[-2]) or numbers.shape == space:
            return False
        turn = turn_to_fit(read_picture(case).data, numbers)
        work.counted[case.id] = count_mask(case.mask)
    except InputError:
        return False
    work.plans[case.id] = replace(work.plan_of(case), turn=turn)
    work.note(case.mask, case.id, f"its sides were exchanged: {_TURNS[turn]}")
    return True


def _with_observer(work: Work, case: Case) -> Case:
    if case.observer is None:
        return case
    try:
        read_labels(case.observer, colours=True)
    except InputError as error:
        renamed = _mend_file(work, case, error)
        if renamed is not None:
            return renamed
        work.note(case.observer, case.id, f"the second observer is left out: {error.what}")
        return replace(case, observer=None)
    return case
