"""A piece of a drawing, and outlines: polygons ↔ the pixels whose centres they enclose.

A point (x, y) of an outline is measured in pixels from the corner of the image, so that the first
pixel covers 0 to 1 and its centre is at 0.5. A pixel belongs to an outline if its centre does; a
centre on the very line belongs to what is right of it. Rings cut holes by the even-odd rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.errors import InputError

Array = npt.NDArray[Any]
Window = tuple[slice, ...]
Ring = npt.NDArray[np.float64]  # (n, 2) x, y; the last point joins the first
Polygon = Sequence[Ring]  # the outer ring and those of its holes

_MOST_CROSSINGS = 2**27  # of lines with rows of pixels, in one piece
_AT_ONCE = 2**20


@dataclass(frozen=True, eq=False)
class Piece:
    """One object of a drawing.

    Attributes:
        title: what to call it in a message, such as "annotation 12".
        area: in pixels; of outlines, that which they enclose.
        paint: gives where it lies, a slice per axis, and which pixels there are inside.
        name: of its class, or nothing.
        ignored: it marks what does not count.
    """

    title: str
    area: float
    paint: Callable[[], tuple[Window, Array]]
    name: str = ""
    ignored: bool = False


def ring(points: Any, title: str, path: Path) -> Ring:
    """Check the points of an outline and give them as (n, 2).

    Raises:
        InputError: these are no finite pairs of numbers, or fewer than three.
    """
    try:
        with np.errstate(invalid="ignore"):
            given = np.asarray(points, np.float64)
        sound = given.ndim == 2 and given.shape[1] in (2, 3) and np.isfinite(given).all()
    except (ValueError, TypeError, OverflowError):
        sound = False
    if not sound:
        raise InputError(
            f"the points of {title} are no pairs of numbers", where=path, cure="export it again"
        )
    if len(given) < 3:
        raise InputError(
            f"{title} has {len(given)} points and encloses nothing",
            where=path,
            cure="delete it, or draw it as an area",
        )
    return given[:, :2]


def outlined(
    polygons: Sequence[Polygon],
    space: tuple[int, ...],
    path: Path,
    *,
    title: str,
    name: str = "",
    ignored: bool = False,
    page: int | None = None,
) -> Piece:
    """Make a piece of all that some polygons enclose.

    Args:
        polygons: may overlap; together they are one object.
        space: size of the image; of a stack, the piece is on the slice `page`, or on all.
        path: of the drawing, for messages.
        title: as in `Piece`.
        name: as in `Piece`.
        ignored: as in `Piece`.
        page: index of the slice.

    Raises:
        InputError: it lies outside of the image, or is too intricate.
    """
    refuse_outside([ring for polygon in polygons for ring in polygon], space, title, path)
    sizes = [[enclosed(ring) for ring in polygon] for polygon in polygons]
    area = sum(max(0.0, rings[0] - sum(rings[1:])) for rings in sizes)
    height, width = space[-2:]
    crossings = sum(
        float(np.abs(np.diff(ring[:, 1], append=ring[:1, 1])).clip(0, height).sum()) + len(ring)
        for polygon in polygons
        for ring in polygon
    )
    if crossings > _MOST_CROSSINGS:
        raise intricate(title, path)
    pages: Window = ()
    if len(space) > 2:
        pages = (slice(0, space[0]),) if page is None else (slice(page, page + 1),)

    def paint() -> tuple[Window, Array]:
        window, inside = _united([fill(polygon, (height, width)) for polygon in polygons])
        return (*pages, *window), inside

    return Piece(title, area, paint, name, ignored)


def fill(rings: Polygon, size: tuple[int, int]) -> tuple[Window, npt.NDArray[np.bool_]]:
    """Find the pixels whose centres lie inside rings, by the even-odd rule.

    Args:
        rings: outlines of one polygon and its holes.
        size: (y, x) of the image.

    Returns:
        The rows and columns that hold it, and which pixels there are inside.
    """
    starts = np.concatenate(rings)
    ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    low = np.ceil(starts.min(0) - 0.5).astype(int)
    high = np.ceil(starts.max(0) - 0.5).astype(int)
    (left, top), (right, bottom) = np.clip(low, 0, size[::-1]), np.clip(high, 0, size[::-1])
    window = (slice(int(top), int(bottom)), slice(int(left), int(right)))
    # Each line toggles, on every row it crosses, all pixels right of the crossing.
    toggled = np.zeros((bottom - top, right - left + 1), np.uint8)
    rows = np.ceil(np.stack([starts[:, 1], ends[:, 1]]) - 0.5)
    rows = np.sort(np.clip(rows, top, bottom), axis=0).astype(int)
    counts = rows[1] - rows[0]
    lines = np.flatnonzero(counts)
    parts = np.cumsum(counts[lines]) // _AT_ONCE
    for part in np.unique(parts):
        chosen = lines[parts == part]
        many = counts[chosen]
        which = np.repeat(chosen, many)
        row = rows[0, which] + np.arange(len(which)) - np.repeat(np.cumsum(many) - many, many)
        (x, y), (xs, ys) = starts[which].T, (ends - starts)[which].T
        crossing = x + (row + 0.5 - y) * (xs / ys)
        column = np.clip(np.ceil(crossing - 0.5), left, right).astype(int)
        np.bitwise_xor.at(toggled, (row - top, column - left), np.uint8(1))
    return window, np.bitwise_xor.accumulate(toggled, axis=1)[:, :-1].astype(bool)


def refuse_outside(rings: Sequence[Ring], space: tuple[int, ...], title: str, path: Path) -> None:
    """Refuse an outline that lies outside of the image, or reaches further out than its size.

    Raises:
        InputError: so it is.
    """
    size = np.array(space[-2:][::-1])
    low = np.min([ring.min(0) for ring in rings], axis=0)
    high = np.max([ring.max(0) for ring in rings], axis=0)
    if (high < 0).any() or (low > size).any() or (low < -size).any() or (high > 2 * size).any():
        raise InputError(
            f"{title} lies at x {low[0]:.6g} to {high[0]:.6g}, y {low[1]:.6g} to {high[1]:.6g}, "
            f"outside of an image {size[0]} wide and {size[1]} high",
            where=path,
            cure="export it in pixels of this image, at full resolution and from its corner",
        )


def intricate(title: str, path: Path) -> InputError:
    """Say that an outline has more lines than can be painted in reasonable time."""
    return InputError(
        f"{title} has too many and too long lines", where=path, cure="simplify the outline"
    )


def enclosed(ring: Ring) -> float:
    """Give the area of a ring (the shoelace formula)."""
    x, y = (ring - ring[0]).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _united(parts: Sequence[tuple[Window, Array]]) -> tuple[Window, Array]:
    """Join what several polygons enclose."""
    if len(parts) == 1:
        return parts[0]
    low = np.min([[span.start for span in window] for window, _ in parts], axis=0)
    high = np.max([[span.stop for span in window] for window, _ in parts], axis=0)
    whole = np.zeros(high - low, bool)
    for window, inside in parts:
        whole[tuple(slice(s.start - o, s.stop - o) for s, o in zip(window, low, strict=True))] |= (
            inside
        )
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)), whole
