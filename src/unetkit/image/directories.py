"""Directories of a TIFF, one per page: whether their chain and their values are whole."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from unetkit.image.opened import Array

# Bytes of the types of values, by their code.
_WIDTHS = np.array([1, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 1, 1, 8, 8, 8])
# Tags that are made use of: those of the baseline, of maps, of "no data" and of ImageJ.
_USED = np.zeros(2**16, bool)
_USED[:1000] = True
_USED[[33550, 33922, 34264, 34735, 34736, 34737, 42113, 50838, 50839]] = True


def refuse_broken_directories(path: Path) -> None:
    """Refuse pages that end in nowhere or go round, and values beyond the end of the file.

    tifffile reads as much of such files as it can, and says so in a log only.

    Raises:
        ValueError: the file is damaged or cut short.
    """
    size = path.stat().st_size
    with path.open("rb", buffering=0) as file:
        start = file.read(16)
        order = {b"II*\0": "<", b"II+\0": "<", b"MM\0*": ">", b"MM\0+": ">"}.get(start[:4])
        if order is None or len(start) < 16:
            return
        large = b"+" in start[2:4]
        number = np.dtype(order + ("u8" if large else "u4"))
        short = np.dtype(order + "u2")
        entry = np.dtype([("code", short), ("type", short), ("count", number), ("value", number)])
        counter, pointer = order + ("Q" if large else "H"), order + ("Q" if large else "I")
        (place,) = struct.unpack(pointer, start[8:16] if large else start[4:8])
        seen: set[int] = set()
        while place:
            if place >= size or place in seen:
                raise ValueError("its list of pages leads astray")
            seen.add(place)
            file.seek(place)
            (count,) = struct.unpack(counter, file.read(struct.calcsize(counter)))
            length = count * entry.itemsize + number.itemsize
            content = file.read(min(length, size))
            if len(content) < length:
                raise ValueError("the file ends before its pages do")
            _refuse_distant(np.frombuffer(content, entry, count), number.itemsize, size)
            (place,) = struct.unpack(pointer, content[-number.itemsize :])


def _refuse_distant(entries: Array, inline: int, size: int) -> None:
    count, place = (
        np.minimum(entries[name], size + 1).astype(np.int64) for name in ("count", "value")
    )
    width = _WIDTHS[np.minimum(entries["type"], len(_WIDTHS) - 1)] * count
    if (_USED[entries["code"]] & (width > inline) & (place + width > size)).any():
        raise ValueError("the file ends before its tags do")
