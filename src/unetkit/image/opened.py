"""An open file: what its header says, and a way to read any window of its pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.image.georeference import Georeference

Array = npt.NDArray[Any]
Window = tuple[slice, ...]
Frame = npt.NDArray[np.float64] | Georeference | None


@dataclass(frozen=True, eq=False)
class Opened:
    """A picture that is not in memory.

    Attributes:
        shape: (c, *space).
        dtype: of what `read` gives.
        read: gives (c, *window), C-contiguous and writeable, for a slice with plain start and stop
            per axis of space. Formats that cannot be read in parts decode everything and cut.
        spacing: size of a pixel per spatial axis.
        frame: where the picture lies: affine, georeference or None.
        nodata: the number that stands for "nothing measured here", or None.
        close: to be called once, when nothing is read any more.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Window], Array]
    spacing: tuple[float, ...] = ()
    frame: Frame = None
    nodata: float | None = None
    close: Callable[[], None] = lambda: None
