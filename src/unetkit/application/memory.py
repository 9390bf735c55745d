"""What a prediction may take of the memory, beside what the process holds already."""

from __future__ import annotations

import math

from unetkit.application.request import Job, Request
from unetkit.errors import InputError
from unetkit.image import Opened
from unetkit.machine import free_memory, resident_memory

WHOLE = 3  # a file that is read or written whole may take this part of the memory, one in so many


def allowed(request: Request) -> int:
    """Give the bytes that the process may hold in all."""
    return request.memory or resident_memory() + free_memory() // 2


def held(request: Request) -> int:
    """Give the bytes that libraries and weights take.

    Not what the process holds now: of that, much is what an engine or the allocator keeps of the
    image before, and will use again.
    """
    return resident_memory() if request.base is None else request.base


def require_room(request: Request) -> None:
    """Refuse less memory than the process holds before it has predicted anything.

    Raises:
        InputError: says what would be enough for it.
    """
    if request.memory is not None and request.memory <= held(request):
        least = math.ceil(held(request) / 1e8) / 10
        raise InputError(
            f"libraries and model alone take {least:.1f} GB of memory",
            where="--max-memory",
            cure=f"allow more than {least:.1f}",
        )


def decoded(job: Job, picture: Opened, request: Request) -> int:
    """Give the bytes of a file that must be decoded whole to be read in parts; else 0.

    Raises:
        InputError: it does not fit.
    """
    if not picture.whole:
        return 0
    pixels = picture.dtype.itemsize * math.prod(picture.shape)
    if WHOLE * pixels > allowed(request):
        raise InputError(
            f"must be decoded whole, which takes {pixels / 1e9:.1f} GB",
            where=job.case.image,
            cure="convert it to a tiled TIFF or Zarr, or raise --max-memory to "
            f"{math.ceil(WHOLE * pixels / 1e8) / 10:.1f}",
        )
    return pixels
