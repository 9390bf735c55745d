"""Masks as whole numbers: grey levels, colours, floats that are whole, and what does not count."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unetkit.errors import InputError
from unetkit.image.opened import Array


def to_labels(data: Array, nodata: float | None, path: Path) -> Array:
    """Give the numbers (*space) of a mask (c, *space), −1 where it holds no data.

    Raises:
        InputError: its channels differ, or its numbers are not whole.
    """
    if len(data) > 1 and not (data[1:] == data[:1]).all():
        colour = np.argmax((data[1:] != data[:1]).any(0))
        example = ",".join(str(channel.flat[colour]) for channel in data)
        raise InputError(
            f"the mask holds colours (such as {example}), not class numbers",
            where=path,
            cure="save one grey value per class, or a palette PNG",
        )
    labels: Array = data[0]
    missing = labels == nodata if nodata else np.False_
    if labels.dtype.kind == "f":
        return _whole(labels, missing | np.isnan(labels), path)
    if not missing.any():
        return labels
    # What does not fit into 32 bits is a number beyond any class; it stays what it is.
    wide = labels.dtype.itemsize > 4 or labels.dtype == np.uint32
    filled: Array = np.where(missing, -1, labels.astype(np.int64 if wide else np.int32))
    return filled


def to_colours(data: Array) -> Array:
    """Give 65536·red + 256·green + blue (*space), uint32, of 8-bit colours (3, *space)."""
    packed: Array = data[0].astype(np.uint32) << 16
    packed |= data[1].astype(np.uint32) << 8
    packed |= data[2]
    return packed


def _whole(labels: Array, missing: Array, path: Path) -> Array:
    """Give floats as int32, −1 where they are missing."""
    if missing.any() and not missing.all():
        labels = np.where(missing, labels.dtype.type(-1), labels)
    with np.errstate(invalid="ignore"):
        whole = labels.astype(np.int32)
        if (labels == whole).all():
            return whole
    raise InputError(
        "the mask holds fractions, NaN or numbers beyond 32 bits",
        where=path,
        cure="save whole class numbers; threshold a probability map first",
    )
