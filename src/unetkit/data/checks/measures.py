"""Images of one set that were not measured alike: types, scales, spacings, clipped numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from unetkit.data.checks.masks import is_off
from unetkit.data.checks.problem import Problem, plural, share
from unetkit.data.dataset import Dataset
from unetkit.data.signs import Signs
from unetkit.data.survey import Look

T = TypeVar("T")

_SCALES = 30  # times that intensities of one set may spread more or less than usual
_SPACINGS = 0.01  # part by which the spacing may differ
_WHITE = 0.3  # share of the pixels at the greatest number from which an image is clipped
_BLACK = 0.5  # share of what is drawn at the least number
_NOTHING = 0.98  # the same of an image without a mask


def unequal(dataset: Dataset, looks: Mapping[str, Look]) -> Iterator[Problem]:
    """Give one problem for each thing in which the images of a set differ."""
    where = {case.id: case.image for case in dataset.cases}
    there = {name: looks[name] for name in where if name in looks and looks[name].shape}
    yield from _types(there, where)
    yield from _spacings(there, where)
    yield from _scales(there, where)


def saturated(dataset: Dataset, looks: Mapping[str, Look]) -> Iterator[Problem]:
    """Give images whose brightest part, or what is drawn in them, is cut off.

    Black surroundings (the corners of a fundus, the ground of fluorescence) are none, as long as
    what the mask shows is not black as well.
    """
    white: dict[str, float] = {}
    for case in dataset.cases:
        signs = looks[case.id].signs if case.id in looks else None
        if signs is None or not all(a < b for a, b in zip(signs.lows, signs.highs, strict=True)):
            continue
        if min(signs.ceilings) >= _WHITE:
            white[case.id] = min(signs.ceilings)
            continue
        # A mask that lies beside its objects says nothing about them.
        beside = signs.alignment is not None and is_off(signs.alignment)
        black = signs.buried if case.mask and not beside else None
        if (black or 0) >= _BLACK:
            what = f"{share(black or 0)} of what is drawn is at the least number of the image"
        elif case.mask is None and min(signs.floors) >= _NOTHING:
            what = f"{share(min(signs.floors))} of its pixels are at the least number"
        else:
            continue
        yield Problem(
            "warning",
            str(case.image),
            f"{what}, so that nothing can be told there",
            "export it again without cutting off dark parts, or take it out",
            "saturated",
        )
    if not white:
        return
    images = {case.id: case.image for case in dataset.cases}
    cure = "export again without cutting off bright parts; fine if the ground is really white"
    if len(white) > max(3, len(images) / 2):
        name = max(white, key=lambda one: white[one])
        yield Problem(
            "warning",
            str(images[name]),
            f"{len(white)} of {plural(len(images), 'image')} have more than {_WHITE:.0%} of their "
            f"pixels at the greatest number (this one {share(white[name])})",
            cure,
            "saturated",
        )
        return
    for name, part in white.items():
        what = f"{share(part)} of its pixels are at the greatest number"
        yield Problem("warning", str(images[name]), what, cure, "saturated")


def _types(looks: Mapping[str, Look], where: Mapping[str, Path]) -> Iterator[Problem]:
    found = _minority(looks, lambda look: look.dtype)
    if found:
        usual, others, odd = found
        kinds = ", ".join(f"{count} {kind}" for kind, count in others.items())
        yield Problem(
            "warning",
            str(where[odd]),
            f"the images differ in type: {usual[1]} {usual[0]}, {kinds} (such as this one)",
            "export all in one type; with normalize: image it does less harm",
            "types",
        )


def _spacings(looks: Mapping[str, Look], where: Mapping[str, Path]) -> Iterator[Problem]:
    known = {name: look.spacing for name, look in looks.items() if len(look.spacing)}
    if len({len(spacing) for spacing in known.values()}) != 1:
        return
    names, sizes = list(known), np.array(list(known.values()))
    middle = np.median(sizes, axis=0)
    apart = (np.abs(sizes - middle) > _SPACINGS * middle).any(1)
    if not apart.any():
        return
    odd = int(np.argmax(np.abs(np.log(sizes / middle)).max(1)))
    low, high = (_written(f(sizes, axis=0)) for f in (np.min, np.max))
    yield Problem(
        "warning",
        str(where[names[odd]]),
        f"the size of a pixel differs in {int(apart.sum())} of {len(names)} images: from {low} to "
        f"{high} (this one {_written(sizes[odd])})",
        "resample all to one spacing: a network knows pixels, not millimetres",
        "spacing",
    )


def _written(spacing: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    return " × ".join(f"{size:.4g}" for size in spacing)


def _scales(looks: Mapping[str, Look], where: Mapping[str, Path]) -> Iterator[Problem]:
    signs: dict[str, Signs] = {n: look.signs for n, look in looks.items() if look.signs}
    spread = {name: sign.spread for name, sign in signs.items() if sign.spread > 0}
    if len(spread) < 2:
        return
    middle = float(np.median(list(spread.values())))
    odd = {name: s / middle for name, s in spread.items() if not 1 / _SCALES < s / middle < _SCALES}
    if not odd:
        return
    worst = max(odd, key=lambda name: abs(np.log(odd[name])))
    low, high = (_range(signs[name]) for name in (_nearest(spread, middle), worst))
    yield Problem(
        "warning",
        str(where[worst]),
        f"the intensities of {plural(len(odd), 'image')} are on another scale: this one has {high} "
        f"where others have {low}",
        "export all on one scale; with normalize: image it does less harm",
        "scales",
    )


def _nearest(spread: Mapping[str, float], middle: float) -> str:
    return min(spread, key=lambda name: abs(spread[name] - middle))


def _range(signs: Signs) -> str:
    return f"{np.nanmin(signs.lows):.4g} to {np.nanmax(signs.highs):.4g}"


def _minority(
    looks: Mapping[str, Look], of: Callable[[Look], T]
) -> tuple[tuple[T, int], dict[T, int], str] | None:
    """Give what most have with its count, what others have, and the first of these others."""
    kinds = {name: of(look) for name, look in looks.items()}
    often = Counter(kinds.values()).most_common()
    if len(often) < 2:
        return None
    odd = next(name for name, kind in kinds.items() if kind != often[0][0])
    return often[0], dict(often[1:]), odd
