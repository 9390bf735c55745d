"""Colours of classes: three channels ↔ one number, and the ways people write a colour."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

GREY = 0x010101
"""A grey of level v is v times this, packed."""


def pack(picture: Array) -> npt.NDArray[np.uint32]:
    """Turn (3, *space) of 8 bits into one number per pixel, 65536·red + 256·green + blue.

    Example:
        >>> f"{pack(np.array([[60], [16], [152]]))[0]:06X}"
        '3C1098'
    """
    red, green, blue = (channel.astype(np.uint32) for channel in picture)
    numbers: npt.NDArray[np.uint32] = red << 16 | green << 8 | blue
    return numbers


def unpack(numbers: Array) -> npt.NDArray[np.uint8]:
    """Turn packed colours (*space) into (3, *space); the inverse of `pack`."""
    return np.stack([numbers >> shift & 255 for shift in (16, 8, 0)]).astype(np.uint8)


def are_grey(numbers: Array) -> npt.NDArray[np.bool_]:
    """Tell of each packed colour whether it is a grey."""
    return np.asarray((numbers & 255) * GREY == numbers)


def colour_name(number: int) -> str:
    """Write a packed colour as people do.

    Example:
        >>> colour_name(65536 * 60 + 256 * 16 + 152)
        '#3C1098'
    """
    return f"#{number:06X}"


def read_colour(text: object) -> int | None:
    """Read `#3C1098`, `#F00`, `60,16,152`, `rgb(60, 16, 152)` or [60, 16, 152]; else None.

    An alpha that follows is dropped.

    Example:
        >>> read_colour("rgb(60, 16, 152)") == read_colour("#3C1098") == 0x3C1098
        True
    """
    if isinstance(text, list | tuple):
        parts = list(text)
    else:
        words = str(text).strip().lower()
        if re.fullmatch(r"#([0-9a-f]{6}|[0-9a-f]{8})", words):
            return int(words[1:7], 16)
        if re.fullmatch(r"#[0-9a-f]{3}", words):
            return int("".join(2 * digit for digit in words[1:]), 16)
        words = words.removeprefix("rgba").removeprefix("rgb").strip("()[] ")
        if not re.fullmatch(r"\d{1,3}(\s*[, ]\s*\d{1,3}){2,3}", words):
            return None
        parts = [int(word) for word in re.findall(r"\d+", words)]
    plain = len(parts) in (3, 4) and all(type(part) is int and 0 <= part < 256 for part in parts)
    return 65536 * parts[0] + 256 * parts[1] + parts[2] if plain else None
