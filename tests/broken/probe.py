"""A process that reads broken files under limits of time and memory and writes what became of them.

Run as `python -m broken.probe FOLDER NAME...`: one line of JSON before each item and one after.
"""

from __future__ import annotations

import faulthandler
import json
import math
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS = 10  # for one item
MEMORY = 2**31  # bytes of address space beyond what the libraries take


def probe(path: Path) -> dict[str, list[str]]:
    """Do everything that reads with a file: what it gave, or how it failed."""
    from unetkit.image import open_image, read_image, read_labels, read_shape

    def part() -> Any:
        with open_image(path) as opened:
            window = tuple(slice(size // 3, size // 3 + 5) for size in opened.shape[1:])
            pixels = opened.read(window)
            assert pixels.dtype == opened.dtype, (pixels.dtype, opened.dtype)
            return pixels

    return {
        "shape": _told(path, lambda: read_shape(path)),
        "part": _told(path, part),
        "image": _told(path, lambda: read_image(path)),
        "labels": _told(path, lambda: read_labels(path)),
        "colours": _told(path, lambda: read_labels(path, colours=True)),
    }


def _told(path: Path, act: Callable[[], Any]) -> list[str]:
    from unetkit.errors import InputError

    try:
        result = act()
        return ["fine", _faults(result)]
    except InputError as error:
        line = str(error)
        if not _names(error.where, path) or "\n" in line:
            return ["wrong", f"a message that does not name the file in one line: {line!r}"]
        return ["error", line[:400].encode("utf-8", "replace").decode()]
    except BaseException:
        return ["wrong", traceback.format_exc()]


def _names(where: object, path: Path) -> bool:
    """Tell whether an error is about this file, or about one in this folder."""
    return isinstance(where, Path) and path in (where, *where.parents)


def _faults(result: Any) -> str:
    """Say what is not sound in a result, if anything."""
    import numpy as np

    if isinstance(result, tuple):
        return "" if len(result) in (3, 4) and min(result) > 0 else f"the shape {result}"
    if isinstance(result, np.ndarray):
        sound = result.dtype.kind in "iufb" and result.size and 2 <= result.ndim <= 4
        return "" if sound else f"{result.dtype} {result.shape}"
    data = result.data
    if data.ndim not in (3, 4) or not data.size or data.dtype.kind not in "iuf":
        return f"{data.dtype} {data.shape}"
    if len(result.spacing) != result.data.ndim - 1:
        return f"the spacing {result.spacing}"
    if not all(math.isfinite(s) and s > 0 for s in result.spacing):
        return f"the spacing {result.spacing}"
    if isinstance(result.frame, np.ndarray) and not np.isfinite(result.frame).all():
        return f"the frame {result.frame}"
    return ""


def _limit_memory() -> None:
    """Import what reads, then forbid more memory than is stated."""
    import imagecodecs  # noqa: F401
    import nibabel  # noqa: F401
    import pydicom  # noqa: F401
    import rasterio  # noqa: F401
    import SimpleITK  # noqa: F401
    import tifffile  # noqa: F401
    import zarr  # noqa: F401

    import unetkit.image  # noqa: F401

    if sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _main(folder: Path, names: list[str]) -> None:
    from broken import CORPUS

    _limit_memory()
    for name in names:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            path = CORPUS[name].build(Path(place))
            print(json.dumps({"begun": name}), flush=True)
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            begun = time.perf_counter()
            outcome = probe(path)
            faulthandler.cancel_dump_traceback_later()
            seconds = time.perf_counter() - begun
            print(json.dumps({"done": name, "seconds": seconds, "outcome": outcome}), flush=True)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), json.loads(sys.stdin.read()))
