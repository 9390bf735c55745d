"""One look at every file of a set, in threads, remembered in a cache: what all else is told by."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.data.case import Case
from unetkit.data.counted import Counted, count_labels, count_values, read_painted
from unetkit.data.drawings import draw
from unetkit.data.labels import fitting, read_fov
from unetkit.data.picture import join_shapes, measured_nothing, read_picture
from unetkit.data.signs import Signs, examine
from unetkit.errors import InputError
from unetkit.files import write_text
from unetkit.image import open_image
from unetkit.machine import cores

Array = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]
Inside = npt.NDArray[np.bool_]

_FORMAT = 1  # of the cache: raise it whenever looks change; files of another are not read
THOROUGH = 500  # cases, evenly chosen, whose masks are compared with their images
_PART = 8  # cases that a thread takes at a time
_SAVED_EVERY = 5000  # looks, so that an interrupted pass over a big set is not lost


@dataclass(frozen=True, eq=False)
class Look:
    """What one look at the files of a case shows: small, and kept in a cache.

    Attributes:
        id: that of the case.
        shape: (c, *space) of the image with its bands; () where it cannot be read.
        dtype: of the image in its file.
        spacing: size of a pixel per spatial axis, in the file's unit.
        faults: what is wrong with the files, in the order of image, mask, field of view.
        counted: the numbers in the mask and how often each occurs, where it could be read.
        inside: how often inside the field of view and where something was measured.
        signs: what the pixels show, where they were looked at.
    """

    id: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    spacing: tuple[float, ...] = ()
    faults: tuple[InputError, ...] = ()
    counted: Counted | None = None
    inside: Counts | None = None
    signs: Signs | None = None


def survey(
    cases: Sequence[Case],
    *,
    pixels: bool = False,
    cache: Path | None = None,
    on_case: Callable[[int, int], None] | None = None,
) -> dict[str, Look]:
    """Look at the files of all cases: headers of images and the numbers in masks.

    Memory does not grow with the set beyond the looks themselves, one to two kilobytes a case.

    Args:
        cases: of one set; their ids are unique.
        pixels: decode the images as well, for what `check` wants to know; masks are compared with
            images for 500 evenly chosen cases.
        cache: a file that remembers looks; those of files that have not changed are taken from it,
            and it is written anew. A cache that cannot be read or written is done without.
        on_case: called with cases done and cases in all.

    Returns:
        id → look, in the order of the cases.
    """
    known = _read_cache(cache) if cache else {}
    keys = {case.id: _key(case) for case in cases} if cache else {}
    looks: dict[str, Look] = {}
    fresh: list[Case] = []
    for case in cases:
        stored = known.get(keys.get(case.id, ""))
        if stored is not None and (stored.signs is not None or not pixels or stored.faults):
            looks[case.id] = replace(stored, id=case.id)
        else:
            fresh.append(case)
    close = {cases[k].id for k in np.linspace(0, len(cases) - 1, THOROUGH).astype(int)}
    done = len(looks)
    if on_case is not None:
        on_case(done, len(cases))
    for case, found in zip(fresh, _in_threads(fresh, pixels, close), strict=True):
        looks[case.id] = found
        done += 1
        if on_case is not None:
            on_case(done, len(cases))
        if cache and (done % _SAVED_EVERY == 0 or done == len(cases)):
            _write_cache(cache, {keys[i]: look for i, look in looks.items()})
    return {case.id: looks[case.id] for case in cases}


def look(case: Case, *, pixels: bool = False, thorough: bool = True) -> Look:
    """Look at the files of one case; whatever is wrong with them becomes a fault.

    Args:
        case: whose files.
        pixels: decode the image too.
        thorough: compare the mask with the image, which takes as long as all else.
    """
    faults: list[InputError] = []
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    dtype, nodata = "", False
    picture, signs = None, None
    try:
        if pixels and not case.bands:
            picture = read_picture(case)
            shape, dtype, spacing = picture.data.shape, str(picture.data.dtype), picture.spacing
            nodata = picture.nodata is not None
        else:
            shape, dtype, spacing, nodata = _header(case)
            # Where nothing was measured no class counts, whether pixels are asked for or not.
            picture = read_picture(case) if pixels or nodata else None
    except InputError as error:
        faults.append(error)
        shape = ()
    void = measured_nothing(picture) if picture is not None and nodata else None
    numbers, fov, counted, inside = None, None, None, None
    try:
        numbers, painted = _numbers(case, shape[1:])
        fov = read_fov(case.fov, shape[1:]) if case.fov and shape else None
    except InputError as error:
        faults.append(error)
    if numbers is not None and case.mask is not None:
        counted = count_labels(case.mask, numbers, colours=painted)
        inside = _count_inside(numbers, counted, fov, void)
    if pixels and picture is not None:
        signs = examine(
            picture.data,
            numbers,
            nodata=picture.nodata,
            suffix=case.mask.suffix.lower() if case.mask and not case.drawing else "",
            fov=fov,
            thorough=thorough,
        )
    return Look(case.id, shape, dtype, spacing, tuple(faults), counted, inside, signs)


# ------------------------------------------------------------------------------------ one case


def _header(case: Case) -> tuple[tuple[int, ...], str, tuple[float, ...], bool]:
    """Give shape with bands, dtype, spacing and whether a number stands for nothing measured."""
    shapes, nodata = [], False
    for path in (case.image, *case.bands):
        with open_image(path) as opened:
            shapes.append(opened.shape)
            nodata |= opened.nodata is not None
            if path == case.image:
                dtype, spacing = str(opened.dtype), opened.spacing
    return join_shapes(case, shapes), dtype, spacing, nodata


def _numbers(case: Case, space: tuple[int, ...]) -> tuple[Array | None, bool]:
    """Read the mask (*space) as numbers, and tell whether they are colours."""
    if case.mask is None or (case.drawing and not space):
        return None, False
    if case.drawing:
        return draw(case.mask, case.drawing, space), False
    numbers, painted = read_painted(case.mask)
    return fitting(numbers, space or None, case.mask, "mask"), painted


def _count_inside(
    numbers: Array, counted: Counted, fov: Inside | None, void: Inside | None
) -> Counts:
    """Count the numbers of a mask where they count."""
    if fov is None and void is None:
        return counted.counts
    inside = np.ones(numbers.shape, bool)
    if fov is not None:
        inside &= fov
    if void is not None:
        inside &= ~void
    values, counts = count_values(numbers[inside])
    kept = np.isin(values, counted.values)
    found = np.zeros(len(counted.values), np.int64)
    found[np.searchsorted(counted.values, values[kept])] = counts[kept]
    found[found.argmin()] += counts[~kept].sum()
    return found


def _in_threads(cases: Sequence[Case], pixels: bool, close: set[str]) -> Iterator[Look]:
    """Look at cases on all cores, in order; decoders let other threads run while they work."""

    def several(part: Sequence[Case]) -> list[Look]:
        return [look(case, pixels=pixels, thorough=case.id in close) for case in part]

    workers = cores()
    size = max(1, min(_PART, len(cases) // (4 * workers)))
    waiting = (cases[start : start + size] for start in range(0, len(cases), size))
    with ThreadPoolExecutor(workers) as pool:
        # A few parts are always under way, and no more, so that an interrupt is soon obeyed.
        running = deque(pool.submit(several, part) for part in islice(waiting, 2 * workers))
        try:
            while running:
                found = running.popleft().result()
                running.extend(pool.submit(several, part) for part in islice(waiting, 1))
                yield from found
        finally:
            for task in running:
                task.cancel()


# --------------------------------------------------------------------------------------- cache


def _key(case: Case) -> str:
    """Name a case by its files with their sizes and times: another name when one has changed."""
    digest = hashlib.blake2b(repr(case.drawing).encode(), digest_size=12)
    parts = case.drawing.parts if case.drawing else ()
    for path in (case.image, *case.bands, case.mask, case.fov, *parts):
        if path is None:
            continue
        try:
            state = path.stat()
            digest.update(f"{path}|{state.st_size}|{state.st_mtime_ns}|".encode(errors="replace"))
        except OSError:
            digest.update(f"{path}|missing|".encode(errors="replace"))
    return digest.hexdigest()


def _read_cache(path: Path) -> dict[str, Look]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != _FORMAT:
            return {}
        return {key: _from_row(row) for key, row in document["looks"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError):
        return {}


def _write_cache(path: Path, looks: Mapping[str, Look]) -> None:
    rows = {key: _to_row(look) for key, look in looks.items()}
    # Without it all is looked at again, that is all: no reason to stop anybody's work.
    with suppress(InputError):
        write_text(path, json.dumps({"format": _FORMAT, "looks": rows}, separators=(",", ":")))


def _to_row(look: Look) -> dict[str, Any]:
    counted = look.counted
    return {
        "shape": look.shape,
        "dtype": look.dtype,
        "spacing": look.spacing,
        "faults": [(str(fault.where), fault.what, fault.cure) for fault in look.faults],
        "mask": None
        if counted is None
        else (
            str(counted.path),
            counted.dtype.str,
            counted.values.tolist(),
            counted.counts.tolist(),
            counted.colours,
        ),
        "inside": None
        if look.inside is None or (counted and look.inside is counted.counts)
        else look.inside.tolist(),
        "signs": look.signs.to_json() if look.signs else None,
    }


def _from_row(row: dict[str, Any]) -> Look:
    counted, inside = None, None
    if row["mask"] is not None:
        path, dtype, values, counts, colours = row["mask"]
        numbers = np.array(values, np.int64), np.array(counts, np.int64)
        counted = Counted(Path(path), np.dtype(dtype), *numbers, colours)
        inside = counted.counts if row["inside"] is None else np.array(row["inside"], np.int64)
    return Look(
        "",
        tuple(row["shape"]),
        row["dtype"],
        tuple(row["spacing"]),
        tuple(InputError(what, where=Path(path), cure=cure) for path, what, cure in row["faults"]),
        counted,
        inside,
        Signs.from_json(row["signs"]) if row["signs"] else None,
    )
