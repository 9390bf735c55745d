"""Prepared cases kept in memory up to a stated size, the coming ones prepared in the background."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

_PASSING = 1 / 8  # share of the memory for what is on its way and is not kept
_AHEAD = 16  # cases prepared before their turn at most


class Sized(Protocol):
    """What says how much memory it takes."""

    @property
    def nbytes(self) -> int:
        """Bytes."""
        ...


T = TypeVar("T", bound=Sized)


class Memory:
    """So many bytes for prepared cases, shared by the caches of a run, and threads that fill them.

    Seven eighths of it keep cases, one eighth is for those in use and those prepared ahead; two of
    these there always are, however large they may be.

    Args:
        limit: bytes.
        workers: threads; with none, every case is prepared when it is taken.

    Attributes:
        waited: seconds in which a case that was taken was not there yet.
    """

    def __init__(self, limit: float = math.inf, *, workers: int = 0) -> None:
        self.limit = limit
        self.used = 0
        self.waited = 0.0
        self._largest = 0
        self._pool = ThreadPoolExecutor(workers, "prepare") if workers else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def keep(self, size: int) -> bool:
        """Take note of a prepared case; tell whether there is room to keep it."""
        self._largest = max(self._largest, size)
        if self.used + size > keepable(self.limit):
            return False
        self.used += size
        return True

    def submit(self, make: Callable[[int], T], index: int) -> Future[T] | None:
        """Prepare in the background, where there is one."""
        return None if self._pool is None else self._pool.submit(make, index)

    def ahead(self) -> int:
        """How many cases each of two caches, training's and validation's, may prepare ahead."""
        if not self._largest:
            return 1
        return int(min(max(self.limit * _PASSING / 2 / self._largest - 1, 1), _AHEAD))


def keepable(limit: float) -> float:
    """Give the part of a limit, in bytes, that prepared cases are kept in."""
    return limit * (1 - _PASSING)


class Cache(Generic[T]):
    """Cases by number, each prepared when it is taken and kept if it fits.

    What is kept stays. Cases come in rounds, each once a round in an order that is not known
    before, so that nothing is gained by giving one up for another: of a set of which a third fits,
    a third is there; had the least recently used been given up, one in fifteen would be.

    Args:
        make: prepares a case; called from other threads too, and must depend on the number alone.
        count: how many cases there are.
        memory: where it is kept.
    """

    def __init__(self, make: Callable[[int], T], count: int, memory: Memory) -> None:
        self._make, self._count, self._memory = make, count, memory
        self._kept: dict[int, T] = {}
        self._coming: dict[int, Future[T]] = {}

    def take(self, index: int, coming: Iterable[int] = ()) -> T:
        """Give a case, and have those that will be taken next prepared meanwhile."""
        if len(self._kept) == self._count:
            return self._kept[index]
        due = self._coming.pop(index, None)
        for later in islice(coming, self._memory.ahead()):
            if later != index and later not in self._kept and later not in self._coming:
                future = self._memory.submit(self._make, later)
                if future is None:
                    break
                self._coming[later] = future
        if index in self._kept:
            return self._kept[index]
        since = time.perf_counter()
        try:
            # What no thread has begun yet is here sooner than there.
            made = self._make(index) if due is None or due.cancel() else due.result()
        finally:
            self._memory.waited += time.perf_counter() - since
        if self._memory.keep(made.nbytes):
            self._kept[index] = made
        return made
