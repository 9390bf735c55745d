"""GeoJSON as QuPath exports it: areas in pixels, with the name of their class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unetkit.data.case import Drawing
from unetkit.data.drawings.piece import Piece, Polygon, outlined, ring
from unetkit.data.legend import is_ignored
from unetkit.errors import InputError

_MOST_BYTES = 2**30


def pieces(mask: Path, drawing: Drawing, space: tuple[int, ...]) -> list[Piece]:
    """Give the areas of a file, each with its class and, in a stack, on its slice.

    Raises:
        InputError: unreadable, no area, or outside of the image.
    """
    del drawing
    found = []
    for index, feature in enumerate(_features(mask), start=1):
        title = f"annotation {index}"
        geometry = feature.get("geometry")
        polygons = _polygons(geometry, title, mask)
        name = _name(feature)
        page = _page(geometry, space, title, mask) if len(space) > 2 else None
        found.append(
            outlined(
                polygons, space, mask, title=title, name=name, ignored=is_ignored(name), page=page
            )
        )
    return found


def classes(mask: Path) -> tuple[str, ...]:
    """Name the classes of the areas in a file, those to be ignored left out.

    Raises:
        InputError: unreadable.
    """
    names = {_name(feature) for feature in _features(mask)}
    return tuple(sorted(name for name in names if name and not is_ignored(name)))


def read_json(path: Path) -> Any:
    """Read a file of JSON of at most 1 GiB.

    Raises:
        InputError: it is missing, too large, damaged or no JSON.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            what = f"is larger than {_MOST_BYTES // 2**30} GiB"
            raise InputError(what, where=path, cure="divide it into parts")
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError("no such file", where=path, cure="check the path") from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path) from error
    except MemoryError as error:
        what = "does not fit into memory"
        raise InputError(what, where=path, cure="divide it into parts") from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"is no readable JSON ({error})",
            where=path,
            cure="it is damaged or cut short: export it again",
        ) from error


def _features(path: Path) -> list[dict[str, Any]]:
    content = read_json(path)
    if isinstance(content, dict) and "features" in content:
        content = content["features"]
    listed = content if isinstance(content, list) else [content]
    if not all(isinstance(one, dict) and ("geometry" in one or "type" in one) for one in listed):
        raise InputError(
            "is no GeoJSON: it lists no features",
            where=path,
            cure="export annotations from QuPath as GeoJSON",
        )
    return [one if "geometry" in one else {"geometry": one} for one in listed]


def _polygons(geometry: Any, title: str, path: Path) -> list[Polygon]:
    """Give the polygons of a geometry, each as its outer ring and its holes."""
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind == "GeometryCollection":
        parts = geometry.get("geometries")
        if not isinstance(parts, list) or not parts or any(_is_collection(part) for part in parts):
            raise _odd(title, "an empty or nested collection", path)
        return [polygon for part in parts for polygon in _polygons(part, title, path)]
    if kind not in ("Polygon", "MultiPolygon"):
        raise _odd(title, f"a {kind}" if isinstance(kind, str) else "without a geometry", path)
    listed = [geometry.get("coordinates")] if kind == "Polygon" else geometry.get("coordinates")
    if not isinstance(listed, list) or not listed:
        raise _odd(title, "an empty area", path)
    for polygon in listed:
        if not isinstance(polygon, list) or not polygon:
            raise _odd(title, "an empty area", path)
    return [[ring(points, title, path) for points in polygon] for polygon in listed]


def _is_collection(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "GeometryCollection"


def _odd(title: str, what: str, path: Path) -> InputError:
    return InputError(
        f"{title} is {what[:40]}, no area", where=path, cure="delete it, or draw it as an area"
    )


def _name(feature: dict[str, Any]) -> str:
    """Give the class of a feature: QuPath's classification, or nothing."""
    about = feature.get("properties")
    given = about.get("classification") if isinstance(about, dict) else None
    if isinstance(given, dict):
        parts = given.get("names")
        given = given.get("name") or (": ".join(map(str, parts)) if isinstance(parts, list) else "")
    return given.strip() if isinstance(given, str) else ""


def _page(geometry: Any, space: tuple[int, ...], title: str, path: Path) -> int:
    plane = geometry.get("plane")
    page = plane.get("z", 0) if isinstance(plane, dict) else 0
    if type(page) is not int or not 0 <= page < space[0]:
        raise InputError(
            f"{title} is on slice {page}, the image has slices 0 to {space[0] - 1}", where=path
        )
    return page
