"""What can be wrong with one case: its files, its image, its mask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from unetkit.data.case import Case
from unetkit.data.checks.problem import Problem, from_error, listed
from unetkit.data.fingerprints import looked_counts
from unetkit.data.meaning import Task
from unetkit.data.signs import Signs
from unetkit.data.smear import Smear
from unetkit.data.survey import Look

_CAUSES = {
    "jpeg": (
        "jpeg-mask",
        "the mask was saved as JPEG: its numbers ripple around every border",
        "draw or export it anew as PNG, or let --fix take the nearest class",
    ),
    "resized": (
        "resized-mask",
        "the mask was resized with smoothing: numbers in between lie along its borders",
        "resize by nearest neighbour only, or let --fix take the nearest class",
    ),
    "either": (
        "resized-mask",
        "the mask was smoothed by resizing or JPEG: numbers in between lie along its borders",
        "resize by nearest neighbour only and save as PNG, or let --fix take the nearest class",
    ),
}


def judge(case: Case, look: Look, task: Task) -> Iterator[Problem]:
    """Give what is wrong with a case in itself."""
    yield from map(from_error, look.faults)
    signs = look.signs
    if signs is None:
        return
    yield from _image(case, look, signs)
    if case.fov and signs.seen == 0:
        yield Problem(
            "error", str(case.fov), "the field of view is empty", "draw it, or remove it", "no-fov"
        )
    if not case.mask:
        return
    if signs.smear:
        yield smeared(str(case.mask), signs.smear)
    if look.counted is not None:
        yield from _mask(case, look, task)


def smeared(where: str, smear: Smear) -> Problem:
    """Say what has happened to a mask whose numbers change in ramps or ripples."""
    code, what, cure = _CAUSES[smear.cause]
    return Problem("error", where, what, cure, code)


def _image(case: Case, look: Look, signs: Signs) -> Iterator[Problem]:
    where = str(case.image)
    if signs.broken:
        pixels = int(np.prod(look.shape[1:], dtype=np.int64)) or 1
        yield Problem(
            "warning",
            where,
            f"{signs.broken} pixel{'s are' if signs.broken > 1 else ' is'} NaN or infinite "
            f"({signs.broken / pixels:.2%})",
            "they are taken as average ones; mark them to be ignored in the mask if they are many",
            "not-finite",
        )
    steady = [
        channel
        for channel, (low, high) in enumerate(zip(signs.lows, signs.highs, strict=True))
        if not low < high
    ]
    if steady:
        every = len(steady) == len(signs.lows)
        what = "the image is" if every else f"channel {listed([str(c) for c in steady])} of it is"
        yield Problem(
            "error" if every else "warning",
            where,
            f"{what} constant",
            "take the image out, or look whether its export went wrong",
            "constant",
        )


def _mask(case: Case, look: Look, task: Task) -> Iterator[Problem]:
    counts = looked_counts(look, task)
    present = np.flatnonzero(counts)
    if len(present) == 0:
        yield Problem(
            "warning",
            str(case.mask),
            "no pixel of the mask counts: all are ignored or outside the field of view",
            "take the case out, or draw its mask",
            "nothing-counts",
        )
    elif len(present) == 1:
        what, code = f"the mask is nothing but {task.classes[present[0]]}", "one-class"
        if len(task.classes) == 2:
            empty = present[0] == 0
            what = "the mask is empty" if empty else "the mask is full"
            code = "empty-mask" if empty else "full-mask"
        yield Problem(
            "warning",
            str(case.mask),
            what,
            "fine if the image really shows nothing else; otherwise draw the mask",
            code,
        )
