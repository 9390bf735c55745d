"""Masks that do not fit their images: inverted, shifted, mirrored or turned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.data.alignment import REACH, TURNS, Alignment, combined
from unetkit.data.case import Case
from unetkit.data.checks.problem import Problem, plural
from unetkit.data.dataset import Dataset
from unetkit.data.signs import Signs
from unetkit.data.survey import Look

Array = npt.NDArray[Any]

_FEWEST = 4  # masks that it takes to call one of them inverted
# Heights of peaks in standard deviations. Of 360 sound pairs of eleven public sets, none has a peak
# off its centre without 57 % of it at the centre; of 2000 pairs of noise none has a peak of 6, nor
# a turn of 5; the best wrong turn of a sound pair has 5.6, beside a peak of 14 where the mask is.
_CLEAR, _CLEAR_TURN = 9.0, 6.5
_REST = 0.4  # of the peak, at most, at the place where the mask is
_SUMMED, _SUMMED_TURN = 12.0, 8.0  # the same over a set


def inverted(dataset: Dataset, looks: Mapping[str, Look]) -> Iterator[Problem]:
    """Give masks whose foreground is the background of the others.

    Of such a mask, what is left after inverting looks like the others in share and at the frame,
    and its contrast is opposite to theirs.
    """
    task = dataset.task
    if len(task.classes) != 2 and task.kind != "instances":
        return
    known: list[tuple[Case, Signs]] = []
    for case in dataset.cases:
        signs = looks[case.id].signs if case.mask and case.id in looks else None
        if signs is not None and signs.filled is not None and 0 < signs.filled < 1:
            known.append((case, signs))
    if task.kind != "instances" and task.values and max(task.values) != task.values[-1]:
        return  # the foreground is the lesser number: `filled` speaks of the other class
    filled = np.array([signs.filled for _, signs in known], float)
    frame = np.array([signs.frame for _, signs in known], float)
    contrast = np.array([np.nan if s.contrast is None else s.contrast for _, s in known], float)
    whole = _all_inverted(known, filled, frame)
    if whole:
        yield Problem(
            "warning",
            str(dataset.root),
            f"in {whole} of {plural(len(known), 'mask')} the foreground is most of the image and "
            "all of its frame: they may be inverted",
            "exchange the values of the masks if what is to be found is the rest; else all is well",
            "inverted",
        )
        return
    if len(known) < _FEWEST:
        return
    usual = np.median(filled), np.median(frame)
    as_is = np.abs(filled - usual[0]) + np.abs(frame - usual[1])
    turned = np.abs(1 - filled - usual[0]) + np.abs(1 - frame - usual[1])
    far = (np.abs(filled - usual[0]) >= 0.3) & (np.abs(frame - usual[1]) >= 0.4)
    odd = far & (turned < 0.3 * as_is)
    others = contrast[~odd & np.isfinite(contrast)]
    if len(others) and abs(np.median(others)) >= 0.2:
        side = np.sign(np.median(others))
        if (np.sign(others) == side).mean() >= 0.8:
            odd &= ~(np.sign(contrast) == side)
            # A plain change of sides is enough where shares are near one half.
            near = (np.sign(contrast) == -side) & (np.abs(contrast) >= 0.5 * abs(np.median(others)))
            steady = filled[~odd].std() < 0.06 and frame[~odd].std() < 0.08
            odd |= near & steady & (turned < 0.5 * as_is)
    if 2 * odd.sum() >= len(known):
        return
    for position in np.flatnonzero(odd):
        case, signs = known[position]
        yield Problem(
            "warning",
            str(case.mask),
            f"the mask looks inverted: {signs.filled:.0%} of it is foreground, where others have "
            f"{usual[0]:.0%}",
            "exchange its values, unless the image really is so different",
            "inverted",
        )


def _all_inverted(known: Sequence[tuple[Case, Signs]], filled: Array, frame: Array) -> int:
    """Count the masks with most of the image and all of its frame as foreground, if most are so."""
    holes = [signs.holes for _, signs in known if signs.holes is not None]
    full = int((filled > 0.5).sum())
    most = len(known) > 2 and full >= 0.75 * len(known) and np.median(frame) >= 0.9
    return full if most and holes and np.mean(holes) >= 0.7 else 0


def misplaced(dataset: Dataset, looks: Mapping[str, Look]) -> Iterator[Problem]:
    """Give masks that are shifted, mirrored or turned against their images."""
    known: list[tuple[Case, Alignment]] = []
    for case in dataset.cases:
        signs = looks[case.id].signs if case.mask and case.id in looks else None
        if signs is not None and signs.alignment is not None:
            known.append((case, signs.alignment))
    everything = [found for _, found in known]
    turned = {case.id: turn for case, found in known if (turn := _turn(found))}
    shifted = {c.id: found.shift for c, found in known if c.id not in turned and is_off(found)}
    turn, shift = _common_turn(everything), _common_shift(everything)
    if turn:
        yield Problem(
            "error",
            str(dataset.root),
            f"the masks of the set fit their images only when {TURNS[turn][0]}",
            "look at one over its image, and exchange or reverse the axes of the masks",
            "turned",
        )
        turned, shifted = {name: t for name, t in turned.items() if t != turn}, {}
    elif shift:
        yield Problem(
            "error",
            str(dataset.root),
            f"the masks of the set are shifted against their images by about {_way(shift)}",
            "look at one over its image; was one of the two cropped or padded?",
            "shifted",
        )
        near = 2 * max(found.step for found in everything)
        shifted = {
            name: own
            for name, own in shifted.items()
            if max(abs(a - b) for a, b in zip(own, shift, strict=True)) > near
        }
        turned = {}
    masks = {case.id: case.mask for case, _ in known}
    for name, way in turned.items():
        yield Problem(
            "error",
            str(masks[name]),
            f"the mask fits its image only when {TURNS[way][0]}",
            "look at it over its image, and exchange or reverse its axes",
            "turned",
        )
    for name, own in shifted.items():
        yield Problem(
            "error",
            str(masks[name]),
            f"the mask is shifted against its image by about {_way(own)}",
            "look at it over its image; was one of the two cropped or padded?",
            "shifted",
        )


def is_off(found: Alignment) -> bool:
    """Tell whether a mask is clearly shifted: a high peak, away from the centre, and none there."""
    away = max(map(abs, found.shift)) / found.step
    return found.peak >= _CLEAR and away >= 2 and found.centre < _REST * found.peak


def _turn(found: Alignment) -> int:
    """Give the turn that the mask clearly wants, or 0."""
    best = int(np.argmax(found.turns))
    high, own = found.turns[best], found.turns[0]
    # A mask that lies well somewhere else is shifted: then the peak is higher than any turn's.
    return best if high >= _CLEAR_TURN and own < _REST * high and found.peak < 1.3 * high else 0


def _common_turn(found: Sequence[Alignment]) -> int:
    """Give the turn that all masks want, if what they say together is clear; else 0."""
    if len(found) < 2:
        return 0
    count = min(len(one.turns) for one in found)
    # No single case may speak for all, hence the limit.
    heights = [np.clip(one.turns[:count], -4, 8) for one in found]
    total = np.sum(heights, axis=0) / np.sqrt(len(found))
    total -= np.median(total)  # each is the better of two contrasts, so all are above 0 by chance
    best = int(np.argmax(total))
    return best if total[best] >= _SUMMED_TURN and total[0] < _REST * total[best] else 0


def _common_shift(found: Sequence[Alignment]) -> tuple[int, int] | None:
    """Give by how much all masks are off, (y, x) in pixels, if what they say together is clear."""
    if len(found) < 2:
        return None
    step = Counter(one.step for one in found).most_common(1)[0][0]
    # No single case may speak for all, hence the limit.
    surfaces = [np.clip(one.surface, -4, 8) for one in found if one.step == step]
    total = np.sum(surfaces, axis=0, dtype=np.float64) / np.sqrt(len(surfaces))
    both = max((combined(total, sign) for sign in (1, -1)), key=lambda one: float(one.max()))
    y, x = np.unravel_index(int(both.argmax()), both.shape)
    away = int(y) - REACH, int(x) - REACH
    centre = float(both[REACH - 1 : REACH + 2, REACH - 1 : REACH + 2].max())
    peak = float(both.max())
    if peak < _SUMMED or max(map(abs, away)) < 2 or centre >= _REST * peak:
        return None
    return -away[0] * step, -away[1] * step


def _way(shift: tuple[int, int]) -> str:
    words = []
    for pixels, (less, more) in zip(shift, (("up", "down"), ("left", "right")), strict=True):
        if pixels:
            words.append(f"{plural(abs(pixels), 'pixel')} {more if pixels > 0 else less}")
    return " and ".join(words)
