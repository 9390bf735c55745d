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
            per axis of space. Its memory is the window, and a few chunks that are kept.
        spacing: size of a pixel per spatial axis.
        frame: where the picture lies: affine, georeference or None.
        nodata: the number that stands for "nothing measured here", or None.
        close: to be called once, when nothing is read any more.
        whole: reading the smallest window decodes everything, and keeps all of it in memory: PNG,
            JPEG and other formats that cannot be read in parts.
        chunks: size per axis of space of what is stored in one piece (a tile, a strip, a chunk), so
            that a window that cuts through costs more than its pixels; None where any window is
            as good as another, or where it is not known.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Window], Array]
    spacing: tuple[float, ...] = ()
    frame: Frame = None
    nodata: float | None = None
    close: Callable[[], None] = lambda: None
    whole: bool = False
    chunks: tuple[int, ...] | None = None
