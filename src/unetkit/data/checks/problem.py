"""What a check finds: a problem, and the words it is written with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from unetkit.errors import InputError

# Only these are meant to be apart; other lists in split.json are the user's own.
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Problem:
    """Something wrong with a set.

    Attributes:
        severity: "error" spoils training or its scores, "warning" may be meant so.
        where: the file at fault.
        what: what is wrong, in a sentence without a full stop.
        cure: what to do about it.
        code: what stays the same whatever the sentence says, for programs. Of files: unpaired,
            unreadable, size, channels, axes, values, split, names, other. Of images: not-finite,
            constant, saturated, types, scales, spacing. Of masks: empty-mask, full-mask,
            one-class, nothing-counts, no-fov, jpeg-mask, resized-mask, inverted, shifted, turned.
            Of the set: duplicate, near-duplicate, leak, absent-class, small-train.
    """

    severity: Literal["error", "warning"]
    where: str
    what: str
    cure: str
    code: str = "other"


# How the sentences of readers, layouts and masks are told apart.
_UNREADABLE = (
    "cannot be read|is empty$|cut short|may not be read|no such file|data under the suffix|promises"
    "|declares|Git LFS|does not fit into memory|no pixels|is no known image|ends before"
    "|holds (the arrays|[0-9]+ (frames|pictures))"
)
_CODES = (
    ("unpaired", r"has no mask|has no image|no mask has the name"),
    ("names", r"has the same name as"),
    ("turned", r"^the mask is [\d ×]+ and its image.*\[transposed\]"),
    ("size", r"^the (mask|field of view|band) is [\d ×]+ and "),
    (
        "values",
        r"unexpected (values|colours)|hold \d+ (values|colours)|hold(s)? (colours|fractions)",
    ),
    ("channels", r"^has \d+ channels where"),
    ("axes", r"^is \dD where"),
    ("split", r"^\S+ names .*which is no|is in both|split"),
    ("empty-mask", r"every mask is empty"),
    ("unreadable", _UNREADABLE),
)


def from_error(error: InputError) -> Problem:
    """Make a problem of what a reader, a layout or a mask has complained about."""
    text = error.what + (" [transposed]" if "transposed" in error.cure else "")
    code = next((code for code, pattern in _CODES if re.search(pattern, text)), "other")
    return Problem("error", str(error.where), error.what, error.cure, code)


def listed(names: list[str], most: int = 4) -> str:
    """List the first few names, and say how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def plural(count: int, word: str) -> str:
    """Write a number with its word: 1 image, 2 images."""
    return f"{count} {word}{'s' * (count != 1)}"


def share(part: float) -> str:
    """Write a share of the pixels as people read it."""
    return f"{part:.0%}" if part >= 0.1 else f"{part:.2%}"
