"""Masks → counted numbers: what each holds and how often, small enough to keep for a whole set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.data.colours import GREY, are_grey, pack
from unetkit.errors import InputError
from unetkit.image import read_image, read_labels, read_shape

Array = npt.NDArray[Any]

_MOST_KEPT = 1024  # values of one mask; more are objects beyond need, or damage


@dataclass(frozen=True, eq=False)
class Counted:
    """What a mask holds.

    Attributes:
        path: the mask.
        dtype: of its numbers.
        values: that occur, in order. At most 1024: of a mask that holds more, the commonest, the
            least and the greatest.
        counts: how many pixels hold each; pixels of values left out are added to the rarest kept,
            so that the sum is that of all pixels.
        colours: the values are colours, 65536·red + 256·green + blue.
    """

    path: Path
    dtype: np.dtype[Any]
    values: Array
    counts: Array
    colours: bool = False


def count_mask(path: Path, *, colours: bool | None = None) -> Counted:
    """Count the numbers in a mask; a picture of three channels of 8 bits gives its colours.

    Args:
        path: the mask.
        colours: read greys and palettes as colours too (True), or every mask as numbers (False).

    Raises:
        InputError: it cannot be read.
    """
    if colours:
        labels, painted = read_coloured(path), True
    else:
        labels, painted = read_painted(path) if colours is None else (read_labels(path), False)
    return count_labels(path, labels, colours=painted)


def count_labels(path: Path, labels: Array, *, colours: bool = False) -> Counted:
    """Count the numbers of a mask that has been read; `colours` if that is what they are."""
    values, counts = count_values(labels)
    if len(values) > _MOST_KEPT:
        kept = np.argsort(-counts, kind="stable")[: _MOST_KEPT - 2]
        kept = np.unique(np.concatenate([kept, [0, len(values) - 1]]))
        rest = counts.sum() - counts[kept].sum()
        values, counts = values[kept], counts[kept]
        counts[np.argmin(counts)] += rest
    return Counted(path, labels.dtype, values, counts, colours)


def read_painted(path: Path) -> tuple[Array, bool]:
    """Read a mask (*space), and tell whether its numbers are packed colours."""
    labels = read_labels(path, colours=True)
    return labels, _is_packed(labels, path)


def count_values(labels: Array) -> tuple[Array, Array]:
    """Give the numbers that occur, in order, and how often each does."""
    if labels.size and labels.dtype.kind in "iu":
        # Most masks hold two numbers: then a few passes at the speed of memory tell everything.
        low, high = labels.min(), labels.max()
        often = np.count_nonzero(labels == low), np.count_nonzero(labels == high)
        if low == high or sum(often) == labels.size:
            kinds = 1 if low == high else 2
            return np.array([low, high][:kinds], np.int64), np.array(often[:kinds], np.int64)
    if labels.dtype in (np.uint8, np.uint16):
        counts = np.bincount(labels.ravel())  # many times faster than sorting
        values = np.flatnonzero(counts)
        return values, counts[values]
    return _added(*runs(labels))


def runs(labels: Array) -> tuple[Array, Array]:
    """Give the numbers along the rows, each as long as it stays the same, and these lengths.

    Masks are areas: there are a hundred times fewer runs than pixels, and sorting or looking up
    these few is as much faster.
    """
    flat = labels.ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    return flat[starts], np.diff(starts, append=flat.size)


def read_coloured(path: Path) -> Array:
    """Read a mask (*space) as packed colours, those of a palette and of grey levels too.

    Negative numbers, such as −1 for nodata, stay as they are.

    Raises:
        InputError: it cannot be read, or holds numbers that are no grey levels.
    """
    labels = read_labels(path, colours=True)
    if _is_packed(labels, path):
        return labels
    if labels.dtype == np.uint8 and read_shape(path)[0] == 3:  # a palette
        return pack(read_image(path).data)
    if labels.max() > 255:
        raise InputError(
            f"the mask holds numbers up to {labels.max()}, and others of its set are in colours",
            where=path,
            cure="save all masks of a set in one form",
        )
    return np.where(labels < 0, -1, labels.astype(np.int32) * GREY)


def in_colours(mask: Counted) -> Counted:
    """Give what a mask holds as colours.

    Raises:
        InputError: it is a palette that cannot be read again, or holds no grey levels.
    """
    return mask if mask.colours else count_mask(mask.path, colours=True)


def in_greys(mask: Counted) -> Counted:
    """Give what a mask holds as numbers: grey levels, where it is a grey picture in colours."""
    if not mask.colours:
        return mask
    return Counted(mask.path, np.dtype(np.uint8), mask.values & 255, mask.counts)


def is_coloured(mask: Counted) -> bool:
    """Tell whether a mask holds a colour that is no grey."""
    return mask.colours and not are_grey(mask.values).all()


def tally(masks: Sequence[Counted]) -> tuple[Array, Array]:
    """Add up the numbers of many masks: those that occur, in order, and how often."""
    values, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    rest = iter(masks)
    while batch := list(islice(rest, 256)):  # so that 20 000 masks of noise take little memory
        values, counts = _added(
            _joined(values, (mask.values for mask in batch)),
            _joined(counts, (mask.counts for mask in batch)),
        )
    return values, counts


def _joined(first: Array, others: Iterable[Array]) -> Array:
    return np.concatenate([first, *others]).astype(np.int64)


def _added(values: Array, counts: Array) -> tuple[Array, Array]:
    unique, index = np.unique(values, return_inverse=True)
    added = np.bincount(index, counts, minlength=len(unique))
    return unique.astype(np.int64), added.astype(np.int64)


def _is_packed(labels: Array, path: Path) -> bool:
    # Object ids of 32 bits have one channel, and palettes have indices of 8 bits.
    return labels.dtype == np.uint32 and read_shape(path)[0] == 3
