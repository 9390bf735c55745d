"""Was a mask resized with smoothing, or saved as JPEG: told by how its numbers change along rows.

In a sound mask numbers jump from one region to the next. Smoothing puts ramps in between: three
neighbours that rise, or fall, one by one. JPEG puts ripples around each border: many changes that
are small beside the range. Measured on the masks of seven public sets, sound ones have at most 2 %
ramps, resized ones 17 % and more, JPEG of quality 30 to 98 6 to 32 % with ripples in 23 % and more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif")
_ROWS = 192  # of the mask, at most, that are looked at
_FEW_CLASSES = 8  # range of numbers below which ramps may be meant
_WIDE = 64  # range below which small changes are those between classes or objects
_MANY = 1000  # changes, from which on a smaller share of ramps says enough
_POLES = 0.6  # share of pixels near the least or greatest number in masks of two classes, at least
_PICTURE = 0.75  # share of the pixels that change, from which on it is a picture, and no mask
_FEWEST = 24  # changes, below which nothing can be said


@dataclass(frozen=True)
class Smear:
    """How numbers change along the rows of a mask.

    Attributes:
        ramps: share of the changes that go on in the same direction at the next pixel.
        ripples: share of the changes that are at most 1/32 of the range, if that is at least 64.
        poles: share of the pixels whose number is within 1/16 of the range of the least or the
            greatest one: nearly all in a mask of two classes.
        lossy: the file is a JPEG or has another suffix of pictures that lose detail.
    """

    ramps: float
    ripples: float
    poles: float
    lossy: bool

    @property
    def cause(self) -> Literal["resized", "jpeg", "either"]:
        """What has happened to the mask."""
        if self.lossy:
            return "jpeg"
        if self.poles < _POLES:
            return "either"
        return "jpeg" if self.ramps < 0.33 and self.ripples >= 0.15 else "resized"


def smear(mask: Array, *, lossy: bool = False) -> Smear | None:
    """Measure how numbers change along the rows; None where they jump, as they should.

    Args:
        mask: (*space) whole numbers; of packed colours (65536·r + 256·g + b) green is looked at.
        lossy: the suffix of the file is that of a picture that loses detail.
    """
    rows = mask.reshape(-1, mask.shape[-1])
    # An odd step, lest rows fall onto the grid of an enlargement.
    rows = rows[:: max(1, len(rows) // _ROWS) | 1]
    if rows.dtype == np.uint32 and rows.size and int(rows.max()) > 0xFFFF:
        rows = ((rows >> 8) & 255).astype(np.uint8)
    rise, fall = rows[:, 1:] > rows[:, :-1], rows[:, 1:] < rows[:, :-1]
    changes = int(np.count_nonzero(rise)) + int(np.count_nonzero(fall))
    if not _FEWEST <= changes <= _PICTURE * rows.size:
        return None
    going_on = np.count_nonzero(rise[:, 1:] & rise[:, :-1])
    going_on += np.count_nonzero(fall[:, 1:] & fall[:, :-1])
    ramps = float(going_on) / changes
    if ramps < (0.001 if lossy else 0.015):
        return None
    low, high = int(rows.min()), int(rows.max())
    jumps = np.abs(np.diff(rows.astype(np.int64), axis=1))
    small = int(np.count_nonzero((jumps > 0) & (jumps <= (high - low) // 32)))
    small = small if high - low >= _WIDE else 0
    edge = (high - low) / 16
    poles = int(np.count_nonzero((rows <= low + edge) | (rows >= high - edge)))
    found = Smear(round(ramps, 4), round(small / changes, 4), round(poles / rows.size, 4), lossy)
    if lossy or (found.poles >= _POLES and found.ripples >= 0.3):
        return found
    # A third of what resizing does at least, and thrice what sound masks of many classes have;
    # where a thin class lies between two others by its number, it makes sound ramps.
    least = 0.06 if high - low >= _FEW_CLASSES else 0.1 if changes >= _MANY else 0.3
    return found if ramps >= least else None
