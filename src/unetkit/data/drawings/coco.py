"""COCO's JSON: polygons and run lengths of the objects of many images in one file."""

from __future__ import annotations

import importlib
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.data.case import Drawing
from unetkit.data.drawings.geojson import read_json
from unetkit.data.drawings.piece import (
    Piece,
    Ring,
    Window,
    enclosed,
    intricate,
    refuse_outside,
    ring,
)
from unetkit.data.legend import is_ignored
from unetkit.errors import InputError

Array = npt.NDArray[Any]

_LISTS = ("images", "annotations")
_MOST_STEPS = 2**24  # pixels along the outline of an object
_SHAPE = "export from the drawing tool as COCO instances (polygons or RLE)"


@dataclass(frozen=True)
class _Content:
    sizes: dict[str, tuple[Any, Any]]  # file_name → height, width
    drawn: dict[str, list[tuple[int, dict[str, Any]]]]  # file_name → annotations with their number
    names: dict[Any, str]  # category_id → name
    twice: frozenset[str]  # file_names of several images


def pieces(mask: Path, drawing: Drawing, space: tuple[int, ...]) -> list[Piece]:
    """Give the objects of one image; crowds are to be ignored.

    Polygons become what COCO's own tools make of them; those that touch no pixel are nothing.

    Raises:
        InputError: unreadable, the image is not in it or of another size, an object has a box
            alone, or pycocotools is missing.
    """
    content = _read(mask)
    key = drawing.key if drawing.key in content.sizes else _alike(drawing.key, content, mask)
    if len(space) != 2:
        raise InputError("outlines flat images, this is a stack", where=mask)
    if key in content.twice:
        raise InputError(f"names the image {key} twice", where=mask, cure="keep one entry of it")
    stated = content.sizes[key]
    if stated != space and all(type(size) is int and size > 0 for size in stated):
        turned = stated == space[::-1]
        raise InputError(
            f"{key} is {stated[0]} × {stated[1]} in it and {space[0]} × {space[1]} (y, x) as it is",
            where=mask,
            cure="it looks transposed: turn the image as it was outlined"
            if turned
            else "give the images at the size at which they were outlined",
        )
    found = []
    for number, annotation in content.drawn.get(key, ()):
        title = f"annotation {number} ({Path(key).name})"
        piece = _piece(annotation, title, space, mask, content.names)
        if piece is not None:
            found.append(piece)
    return found


def classes(mask: Path) -> tuple[str, ...]:
    """Name the categories that have objects, in the order of their ids, ignored ones left out.

    Raises:
        InputError: unreadable.
    """
    content = _read(mask)
    used = {one.get("category_id") for drawn in content.drawn.values() for _, one in drawn}
    named = [name for key, name in content.names.items() if key in used and not is_ignored(name)]
    return tuple(dict.fromkeys(named))


def _read(path: Path) -> _Content:
    try:
        state = path.stat()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path) from error
    return _parse(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=2)  # one file serves all images of a set
def _parse(path: Path, changed: int, size: int) -> _Content:
    del changed, size
    content = read_json(path)
    lists: list[Any] = [content.get(key) if isinstance(content, dict) else None for key in _LISTS]
    lists.append(content.get("categories", []) if isinstance(content, dict) else None)
    if not all(isinstance(part, list) and all(isinstance(o, dict) for o in part) for part in lists):
        raise InputError(f"is no COCO: it lacks {', '.join(_LISTS)}", where=path, cure=_SHAPE)
    images, annotations, categories = lists
    try:
        files = {image["id"]: str(image["file_name"]) for image in images}
        names = {one["id"]: str(one["name"]).strip() for one in categories}
        names = {key: names[key] for key in sorted(names)}
        drawn: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        for number, annotation in enumerate(annotations, start=1):
            hash(annotation.get("category_id"))
            if annotation["image_id"] in files:  # else it is of an image that was taken out
                drawn.setdefault(files[annotation["image_id"]], []).append((number, annotation))
    except (KeyError, TypeError) as error:
        what = f"an image, annotation or category lacks what it needs ({error})"
        raise InputError(what, where=path, cure=_SHAPE) from error
    often = Counter(str(one["file_name"]) for one in images)
    sizes = {str(one["file_name"]): (one.get("height"), one.get("width")) for one in images}
    return _Content(sizes, drawn, names, frozenset(name for name in often if often[name] > 1))


def _alike(key: str, content: _Content, path: Path) -> str:
    """Find an image by its name alone, whatever folder the tool wrote before it."""
    same = [name for name in content.sizes if _last(name) == _last(key)]
    if len(same) != 1:
        raise InputError(
            f"names {len(same) or 'no'} image{'s' if same else ''} {key}",
            where=path,
            cure="let file_name be the name of the image",
        )
    return same[0]


def _last(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def _piece(
    annotation: dict[str, Any],
    title: str,
    space: tuple[int, ...],
    path: Path,
    names: dict[Any, str],
) -> Piece | None:
    drawn = annotation.get("segmentation")
    category = annotation.get("category_id")
    if names and category not in names:
        raise InputError(f"{title} has no category", where=path, cure=_SHAPE)
    name = names.get(category, "")
    ignored = bool(annotation.get("iscrowd")) or is_ignored(name)
    if not drawn:
        raise InputError(
            f"{title} has no segmentation{', only a box' if 'bbox' in annotation else ''}",
            where=path,
            cure="outline the objects, for boxes say nothing about pixels",
        )
    label = "" if annotation.get("iscrowd") else name
    if isinstance(drawn, dict):
        lengths = _lengths(drawn, space, title, path)
        return Piece(
            title, int(lengths[1::2].sum()), partial(_runs, lengths, space), label, ignored
        )
    if not isinstance(drawn, list):
        raise InputError(f"the points of {title} are no list", where=path, cure=_SHAPE)
    rings = _rings(drawn, title, path)
    if not rings:
        return None
    refuse_outside(rings, space, title, path)
    steps = sum(float(np.abs(np.diff(r, axis=0, append=r[:1])).max(1).sum()) for r in rings)
    if steps > _MOST_STEPS:
        raise intricate(title, path)
    try:
        tool = importlib.import_module("pycocotools.mask")
    except ImportError:
        raise InputError(
            "COCO's polygons need pycocotools",
            where=path,
            cure="pip install 'unetkit[vectors]'",
        ) from None
    paint = partial(_painted, rings, space, tool)
    return Piece(title, sum(map(enclosed, rings)), paint, label, ignored)


def _rings(drawn: list[Any], title: str, path: Path) -> list[Ring]:
    """Give the outlines of an object; those of one or two points have no pixel."""
    flat = [drawn] if isinstance(drawn[0], int | float) else drawn
    rings = []
    for points in flat:
        if not isinstance(points, list) or len(points) % 2:
            what = f"the points of {title} are no pairs of numbers"
            raise InputError(what, where=path, cure=_SHAPE)
        if len(points) >= 6:
            rings.append(ring([points[i : i + 2] for i in range(0, len(points), 2)], title, path))
    return rings


def _painted(rings: list[Ring], space: tuple[int, ...], tool: Any) -> tuple[Window, Array]:
    """Let COCO's own code fill polygons."""
    parts = tool.frPyObjects([ring.ravel().tolist() for ring in rings], *space)
    return _runs(np.array(_unpacked(tool.merge(parts)["counts"].decode())), space)


def _lengths(drawn: dict[str, Any], space: tuple[int, ...], title: str, path: Path) -> Array:
    """Give the lengths of runs, outside and inside in turn, down the columns.

    They are read here, for COCO's own code trusts that they do not run over the end.
    """
    counts, size = drawn.get("counts"), drawn.get("size")
    if not isinstance(size, list) or tuple(size) != space:
        raise InputError(
            f"the run lengths of {title} are for a size of {size}, the image is {list(space)}",
            where=path,
            cure="give the images at the size at which they were outlined",
        )
    try:
        numbers = _unpacked(counts) if isinstance(counts, str) else counts
        lengths = np.asarray(numbers)
        sound = lengths.ndim == 1 and lengths.dtype.kind == "i"
        sound = sound and lengths.min() >= 0 and lengths.max() <= 2**40
    except (ValueError, TypeError, OverflowError):
        sound = False
    if not sound or lengths.sum() != space[0] * space[1]:
        raise InputError(f"the run lengths of {title} do not fill it", where=path, cure=_SHAPE)
    return lengths


def _unpacked(text: str) -> list[int]:
    """Decode COCO's text of run lengths: six bits a character, differences from the third on."""
    lengths: list[int] = []
    number, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError(character)
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                number -= 1 << shift
            lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
            number, shift = 0, 0
    if shift:
        raise ValueError("cut short")
    return lengths


def _runs(lengths: Array, space: tuple[int, ...]) -> tuple[Window, Array]:
    """Paint runs, in the columns alone that hold any."""
    height, width = space
    if len(lengths) == 1:
        return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), bool)
    lengths = lengths.copy()
    left = int(lengths[0]) // height
    right = width - (int(lengths[-1]) // height if len(lengths) % 2 else 0)
    lengths[0] -= left * height
    if len(lengths) % 2:
        lengths[-1] -= (width - right) * height
    inside = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(right - left, height).T
    return (slice(0, height), slice(left, right)), inside
