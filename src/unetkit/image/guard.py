"""Guards around foreign decoders: what they raise, print and promise stays within one line."""

from __future__ import annotations

import math
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from unetkit.errors import InputError

_COPY_AGAIN = "it is damaged or cut short: copy it again from its source"

# `warnings.catch_warnings` swaps process-wide state, so threads take turns for it.
_warnings_lock = threading.RLock()


@contextmanager
def damage(
    path: Path, kind: str, explain: Callable[[Exception], InputError] | None = None
) -> Iterator[None]:
    """Turn whatever a decoder raises into an `InputError` that names the file.

    Decoders raise whatever comes to hand on damaged bytes: struct.error, KeyError, zlib.error,
    RecursionError. All mean the same to the user; the original stays as the cause.
    """
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError("no such file", where=path, cure="check the path") from error
    except PermissionError as error:
        raise InputError("may not be read", where=path, cure="change its permissions") from error
    except MemoryError as error:
        cure = "read it by window, or cut it into parts"
        raise InputError("does not fit into memory", where=path, cure=cure) from error
    except Exception as error:
        if explain is not None:
            raise explain(error) from error
        reason = str(error).replace(str(path), "the file").strip() or type(error).__name__
        what = f"cannot be read as {kind} ({' '.join(reason.split())[:160]})"
        raise InputError(what, where=path, cure=_COPY_AGAIN) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep a decoder's warnings from the user, who is told what matters by `InputError`."""
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def need(module: str, path: Path, extra: str) -> Any:
    """Import an optional library, or say in one line how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(
            f"reading this needs {module.partition('.')[0]}",
            where=path,
            cure=f"pip install 'unetkit[{extra}]'",
        ) from error


def refuse_excess(path: Path, shape: Sequence[int], itemsize: int) -> None:
    """Raise an `InputError` where so many pixels cannot fit into the memory of this machine."""
    promised = math.prod(shape) * itemsize
    if promised > memory():
        raise InputError(
            f"promises {promised / 2**30:.1f} GiB of pixels, more than this machine's memory",
            where=path,
            cure="read it by window, or cut it into parts",
        )


def memory() -> int:
    """Give the bytes of memory that this process may have at most: the machine's, or its share."""
    limits = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path("/sys/fs/cgroup", name).read_text()))
        except (OSError, ValueError):
            continue
    return min((limit for limit in limits if limit > 0), default=2**35)


def slices_size(window: Sequence[slice]) -> tuple[int, ...]:
    """Give the size of a window of slices with plain start and stop."""
    return tuple(max(0, part.stop - part.start) for part in window)
