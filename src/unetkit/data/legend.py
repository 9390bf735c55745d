"""A legend: which number or colour in a mask is which class."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Legend:
    """What somebody wrote down about the masks of a set.

    Attributes:
        names: number in the masks → name of the class. Where `colours`, the number is
            65536·red + 256·green + blue.
        ignore: numbers that do not count.
        colours: the masks are pictures in class colours.
        source: the file it comes from, for messages.
    """

    names: dict[int, str]
    ignore: tuple[int, ...] = ()
    colours: bool = False
    source: str = "classes.json"
