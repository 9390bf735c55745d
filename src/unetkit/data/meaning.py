"""What the numbers of a set of masks mean, as it is found out and as a model keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from unetkit.data.colours import colour_name, unpack
from unetkit.errors import InputError

Array = npt.NDArray[Any]
Kind = Literal["semantic", "instances"]

SMOOTHED = (
    "it was probably saved as JPEG or resized with smoothing: save PNG and resize by nearest "
    "neighbour, or threshold it; if the values are meant, name them in classes.json"
)
BLENDED = (
    "it was probably saved as JPEG or drawn or resized with smoothing: save PNG without "
    "anti-aliasing, or let unet check DATA --fix OUT take the nearest class; if the colours are "
    "meant, name them in classes.json"
)


class Task(BaseModel):
    """What is to be learnt from a set.

    Attributes:
        classes: names; index 0 is the background or the first class.
        kind: "semantic", or "instances" where a mask numbers its objects (class 1 is any object).
        values: the number in the masks of each class, in order; (0,) for instances.
        ignore: numbers in the masks that do not count; negative ones never do.
        channels: channels of the images.
        ndim: 2 or 3.
        colours: the masks are pictures in colours; their numbers are 65536·red + 256·green + blue.
        also: further numbers, each with the one of `values` that it stands for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[str, ...]
    kind: Kind
    values: tuple[int, ...]
    ignore: tuple[int, ...]
    channels: int
    ndim: int
    colours: bool = False
    also: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Meaning:
    """What the numbers of the masks mean: a `Task` but for the images, and a sentence."""

    kind: Kind
    classes: tuple[str, ...]
    values: tuple[int, ...]
    ignore: tuple[int, ...]
    sentence: str
    colours: bool = False
    also: tuple[tuple[int, int], ...] = ()

    def task(self, channels: int, ndim: int) -> Task:
        """Give the task of such masks beside images of these channels and axes."""
        return Task(
            classes=self.classes,
            kind=self.kind,
            values=self.values,
            ignore=self.ignore,
            channels=channels,
            ndim=ndim,
            colours=self.colours,
            also=self.also,
        )


def unexpected(values: Array, task: Task | Meaning) -> npt.NDArray[np.bool_]:
    """Tell which numbers of a mask have no class, and are not to be ignored."""
    known = [*task.values, *task.ignore, *(number for number, _ in task.also)]
    return np.asarray(~np.isin(values, known) & (values >= 0))


def complaint(path: Path, values: Array, counts: Array, task: Task | Meaning) -> InputError:
    """Say which numbers of a mask have no class, and in how many of its pixels they are."""
    odd = unexpected(values, task)
    share, many = counts[odd].sum() / counts.sum(), odd.sum() > 2
    if not task.colours:
        between = many and len(task.values) == 2
        return InputError(
            f"the mask holds unexpected values ({some(values[odd])}) in {share:.2%} of its pixels, "
            f"expected are {some(task.values)}",
            where=path,
            cure=SMOOTHED if between else "correct the mask, or name the value in classes.json",
        )
    commonest = int(values[odd][np.argmax(counts[odd])])
    index = int(nearest_colour(np.array([commonest]), task.values)[0])
    near, name = colour_name(task.values[index]), task.classes[index]
    near += "" if near == name else f" ({name})"
    return InputError(
        f"the mask holds unexpected colours ({some(values[odd], colours=True)}) in {share:.2%} of "
        f"its pixels; of the class colours, {near} is nearest to "
        f"{colour_name(commonest)}",
        where=path,
        cure=BLENDED if many else "correct the mask, or name the colour in classes.json",
    )


def nearest_colour(numbers: Array, colours: Sequence[int]) -> npt.NDArray[np.int64]:
    """Give for each packed colour (n) the index of the nearest of these, in RGB."""
    apart = unpack(numbers)[:, :, None].astype(np.int64) - unpack(np.array(colours))[:, None]
    return np.asarray((apart**2).sum(0).argmin(1))


def some(values: Sequence[int] | Array, most: int = 6, *, colours: bool = False) -> str:
    """List the first few numbers or colours."""
    shown = [colour_name(int(v)) if colours else str(v) for v in values[:most]]
    return ", ".join(shown) + (" …" if len(values) > most else "")
