"""The grid on which a picture is written: windows, blocks and chunks, integers only."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from unetkit.image.opened import Window

_FLAT, _DEEP = (512, 512), (32, 128, 128)  # the largest chunks where the block can be divided so
_LEAST = 4  # chunks are not smaller than the largest by more than this, for there would be too many


def choose_chunks(space: Sequence[int], block: Sequence[int]) -> tuple[int, ...]:
    """Choose the size of chunks, so that a window of whole blocks is one of whole chunks.

    Example:
        >>> choose_chunks((30_000, 30_000), (1920, 1920))
        (480, 480)
    """
    return tuple(map(_chunk, space, block, _DEEP if len(space) == 3 else _FLAT))


def refuse_off_grid(window: Window, block: Sequence[int], space: Sequence[int]) -> None:
    """Refuse a window that would share a chunk with its neighbours.

    Raises:
        ValueError: it does not begin and end on the grid, or lies outside of the picture.
    """
    for part, size, length in zip(window, block, space, strict=True):
        ends = part.stop % size == 0 or part.stop == length
        if not (0 <= part.start < part.stop <= length and part.start % size == 0 and ends):
            raise ValueError(f"the window {window} does not lie on the grid of {tuple(block)}")


def chunks_of(box: Window, chunks: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Window]]:
    """Give the place of every chunk that a box touches, and what of the box lies in it."""
    ranges = [range(p.start // n, -(-p.stop // n)) for p, n in zip(box, chunks, strict=True)]
    for place in itertools.product(*ranges):
        yield (
            place,
            tuple(
                slice(max(p.start, i * n), min(p.stop, (i + 1) * n))
                for i, n, p in zip(place, chunks, box, strict=True)
            ),
        )


def within(part: Window, box: Window) -> Window:
    """Give a part of a box as seen from the corner of the box."""
    return tuple(slice(p.start - b.start, p.stop - b.start) for p, b in zip(part, box, strict=True))


def _chunk(size: int, block: int, largest: int) -> int:
    """Give the size of chunks along an axis: the largest divisor of the block that is allowed."""
    if block >= size:  # windows go from end to end, so that no chunk is shared
        return min(size, largest)
    whole = [n for n in range(1, block + 1) if block % n == 0]
    small = max(n for n in whole if n <= largest)
    # Of a prime number the only small divisor is 1; then larger chunks are the lesser evil.
    if small * _LEAST >= min(largest, block):
        return small
    return min((n for n in whole if n * _LEAST >= largest), default=block)
