"""Drawings → numbers per pixel: one picture per object, COCO, QuPath's GeoJSON and ImageJ's ROIs.

A drawing is a list of pieces. They are painted from the largest to the smallest, so that what lies
inside another stays visible; of pieces of one size the later wins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.data.case import Drawing
from unetkit.data.drawings import coco, geojson, objects, rois
from unetkit.data.drawings.piece import Piece
from unetkit.data.legend import is_ignored
from unetkit.data.meaning import Meaning
from unetkit.errors import InputError

__all__ = ["draw", "meaning_of_drawings", "name_classes"]

Array = npt.NDArray[Any]
Space = tuple[int, ...]

_KINDS: dict[str, Callable[[Path, Drawing, Space], list[Piece]]] = {
    "objects": objects.pieces,
    "coco": coco.pieces,
    "geojson": geojson.pieces,
    "rois": rois.pieces,
}
_WORDS = {
    "objects": "one picture per object",
    "coco": "objects outlined in COCO's JSON",
    "geojson": "objects outlined in GeoJSON",
    "rois": "objects outlined as ImageJ ROIs",
}


def draw(mask: Path, drawing: Drawing, space: Space) -> npt.NDArray[np.int32]:
    """Paint a drawing.

    Args:
        mask: its file, or the folder of the objects.
        drawing: how it is to be read.
        space: size of the image, in pixels.

    Returns:
        (*space) numbers of objects in the order of the drawing, or numbers of classes where it
        names more than one that counts; 0 for none, and −1 for COCO's crowds and for outlines of
        a class that is to be ignored by its name (`legend.is_ignored`).

    Raises:
        InputError: unreadable, of another size, outside of the image, or without an area; a class
            that is not among those of the set; an object that others hide.
    """
    pieces = _KINDS[drawing.kind](mask, drawing, space)
    classes = _counting(drawing.classes)
    numbers = _numbers(pieces, classes, mask)
    canvas = np.zeros(space, np.int32)
    for index in sorted(range(len(pieces)), key=lambda index: -pieces[index].area):
        window, inside = pieces[index].paint()
        np.copyto(canvas[window], numbers[index], where=inside)
    if drawing.kind == "objects" and len(classes) < 2:
        _refuse_hidden(canvas, pieces, mask)
    return canvas


def meaning_of_drawings(drawings: Sequence[Drawing]) -> Meaning:
    """Say what the numbers mean that `draw` gives for a set.

    Raises:
        InputError: the drawings of the set list different classes.
    """
    lists = dict.fromkeys(_counting(drawing.classes) for drawing in drawings)
    if len(lists) != 1:
        raise InputError(f"{len(lists)} lists of classes in one set", where="drawings")
    classes = next(iter(lists))
    words = " or ".join(dict.fromkeys(_WORDS[drawing.kind] for drawing in drawings))
    if len(classes) > 1:
        names = ("background", *classes)
        sentence = f"masks are {words}, of {len(classes)} classes"
        return Meaning("semantic", names, tuple(range(len(names))), (), sentence)
    names = ("background", classes[0] if classes else "object")
    return Meaning("instances", names, (0,), (), f"masks are {words}")


def name_classes(mask: Path, kind: str) -> tuple[str, ...]:
    """Give the classes that the objects of a drawing belong to, those to be ignored left out.

    COCO's come in the order of their ids, those of GeoJSON by name; the other kinds have none.

    Raises:
        InputError: the file cannot be read.
    """
    if kind == "coco":
        return coco.classes(mask)
    return geojson.classes(mask) if kind == "geojson" else ()


def _counting(classes: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in classes if not is_ignored(name))


def _numbers(pieces: Sequence[Piece], classes: Sequence[str], mask: Path) -> list[int]:
    places = {name: index for index, name in enumerate(classes, start=1)}
    numbers, objects = [], 0
    for piece in pieces:
        if piece.ignored:
            numbers.append(-1)
        elif len(places) < 2:
            objects += 1
            numbers.append(objects)
        elif piece.name in places:
            numbers.append(places[piece.name])
        else:
            named = f"is of the class {piece.name}" if piece.name else "has no class"
            raise InputError(
                f"{piece.title} {named}, the set has {', '.join(classes[:6])}",
                where=mask,
                cure="give it one of these classes, or name it ignore",
            )
    return numbers


def _refuse_hidden(canvas: Array, pieces: Sequence[Piece], mask: Path) -> None:
    seen = np.bincount(canvas.ravel(), minlength=len(pieces) + 1)[1:]
    for piece, visible in zip(pieces, seen, strict=True):
        if 2 * visible < piece.area:
            raise InputError(
                f"of {piece.title} {1 - visible / piece.area:.0%} is hidden by other objects",
                where=mask,
                cure="remove objects that were drawn twice",
            )
