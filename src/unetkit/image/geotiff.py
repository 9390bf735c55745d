"""GeoTIFF tags ↔ `Georeference` (OGC 19-008r4), as GDAL reads and writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from unetkit.image.georeference import Georeference

Transform = tuple[float, float, float, float, float, float]
Tags = tuple[tuple[int, tuple[int | float, ...] | str], ...]

_SCALE, _TIEPOINTS, _MATRIX = 33550, 33922, 34264
_KEYS, _DOUBLES, _ASCII = 34735, 34736, 34737
_PLACE, _ALL = (_SCALE, _TIEPOINTS, _MATRIX), (_SCALE, _TIEPOINTS, _MATRIX, _KEYS, _DOUBLES, _ASCII)
NODATA = 42113
# Keys: kind of model, whether pixels are areas or points, and the names of coordinate systems.
_MODEL, _RASTER, _CITATION = 1024, 1025, 1026
_GEOGRAPHIC, _GEOGRAPHIC_CITATION, _PROJECTED, _PROJECTED_CITATION = 2048, 2049, 3072, 3073
_IS_PROJECTED, _IS_GEOGRAPHIC, _IS_POINT, _OWN = 1, 2, 2, 32767
_IDENTITY: Transform = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def read_georeference(tags: Mapping[int, Any]) -> Georeference | None:
    """Give the place of a TIFF by its tags, or None where they tell none.

    Args:
        tags: code → value as tifffile gives it.
    """
    kept: Tags = tuple((code, _plain(tags[code])) for code in _ALL if code in tags)
    transform = _transform(dict(kept))
    keys = _keys(dict(kept))
    if transform in (None, _IDENTITY) and not keys:
        return None
    return Georeference(transform or _IDENTITY, _crs(keys), kept)


def read_nodata(tags: Mapping[int, Any], dtype: np.dtype[Any]) -> float | None:
    """Give the number that GDAL's tag declares for "no data", or None."""
    try:
        nodata = float(str(tags[NODATA]).strip(" \0"))
    except (KeyError, ValueError):
        return None
    return nodata if dtype.kind == "f" or math.isfinite(nodata) else None


def write_tags(place: Georeference | None, nodata: float | None) -> list[tuple[Any, ...]]:
    """Give the tags (code, type, count, value, once) as tifffile's `extratags` takes them.

    The tags a file had are written as they were; only a picture that has been moved or whose place
    came from elsewhere gets new ones.
    """
    tags: dict[int, Any] = dict(place.tags) if place else {}
    if place is not None:
        keys = _keys(tags)
        if not keys and place.crs:
            tags |= _new_keys(place.crs)
            keys = _keys(tags)
        if (_transform(tags) or _IDENTITY) != place.transform:
            tags = {code: value for code, value in tags.items() if code not in _PLACE}
            tags |= _new_place(place.transform, keys.get(_RASTER) == _IS_POINT)
    extra: list[tuple[Any, ...]] = []
    for code, value in sorted(tags.items()):
        if isinstance(value, str):
            extra.append((code, "s", 0, value, True))
        else:
            extra.append((code, "H" if code == _KEYS else "d", len(value), value, True))
    if nodata is not None:
        whole = math.isfinite(nodata) and nodata == int(nodata) and abs(nodata) < 2**53
        extra.append((NODATA, "s", 0, str(int(nodata)) if whole else repr(float(nodata)), True))
    return extra


def _plain(value: Any) -> tuple[int | float, ...] | str:
    if isinstance(value, (str, bytes)):
        return value if isinstance(value, str) else value.decode("latin-1")
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _transform(tags: Mapping[int, Any]) -> Transform | None:
    """Give x and y of the outer corner of pixels from the tags, as GDAL does."""
    matrix, scale, points = (tags.get(code, ()) for code in (_MATRIX, _SCALE, _TIEPOINTS))
    if len(scale) >= 2 and len(points) >= 6 and all(scale[:2]):
        right, down = float(scale[0]), -abs(float(scale[1]))
        column, row, x, y = (float(points[i]) for i in (0, 1, 3, 4))
        a, b, c, d, e, f = right, 0.0, x - column * right, 0.0, down, y - row * down
    elif len(matrix) == 16:
        a, b, c, d, e, f = (float(matrix[i]) for i in (0, 1, 3, 4, 5, 7))
    else:
        return None
    if not all(map(math.isfinite, (a, b, c, d, e, f))) or a * e == b * d:
        return None
    if _keys(tags).get(_RASTER) == _IS_POINT:  # coordinates are those of centres of pixels
        c, f = c - (a + b) / 2, f - (d + e) / 2
    return a, b, c, d, e, f


def _keys(tags: Mapping[int, Any]) -> dict[int, int | float | str]:
    """Give the GeoTIFF keys by their number."""
    directory = tags.get(_KEYS, ())
    found: dict[int, int | float | str] = {}
    for place in range(4, len(directory) - 3, 4):
        key, home, count, value = directory[place : place + 4]
        if home == 0:
            found[int(key)] = int(value)
        elif home == _ASCII and isinstance(tags.get(_ASCII), str):
            found[int(key)] = tags[_ASCII][value : value + count].rstrip("|\0 ")
        elif home == _DOUBLES and value < len(tags.get(_DOUBLES, ())):
            found[int(key)] = float(tags[_DOUBLES][value])
    return found


def _crs(keys: Mapping[int, int | float | str]) -> str:
    geographic = keys.get(_MODEL) == _IS_GEOGRAPHIC or _PROJECTED not in keys
    code = keys.get(_GEOGRAPHIC if geographic else _PROJECTED, _OWN)
    if isinstance(code, int) and 0 < code < _OWN:
        return f"EPSG:{code}"
    named = _GEOGRAPHIC_CITATION if geographic else _PROJECTED_CITATION
    return str(keys.get(named) or keys.get(_CITATION) or "")


def _new_place(transform: Transform, point: bool) -> dict[int, tuple[float, ...]]:
    a, b, c, d, e, f = transform
    if point:
        c, f = c + (a + b) / 2, f + (d + e) / 2
    if b == d == 0 and a > 0 > e:
        return {_SCALE: (a, -e, 0.0), _TIEPOINTS: (0.0, 0.0, 0.0, c, f, 0.0)}
    return {_MATRIX: (a, b, 0.0, c, d, e, 0.0, f, *(0.0,) * 4, 0.0, 0.0, 0.0, 1.0)}


def _new_keys(crs: str) -> dict[int, Any]:
    """Give the tags of keys that name a coordinate system."""
    code = re.fullmatch(r"EPSG:(\d{1,5})", crs)
    if code is None or int(code[1]) >= _OWN:
        citation = crs.encode("ascii", "replace").decode() + "|"
        keys = ((_MODEL, 0, 1, _OWN), (_RASTER, 0, 1, 1), (_CITATION, _ASCII, len(citation), 0))
        return {_KEYS: _directory(keys), _ASCII: citation}
    number = int(code[1])
    geographic = _is_geographic(number)
    keys = (
        (_MODEL, 0, 1, _IS_GEOGRAPHIC if geographic else _IS_PROJECTED),
        (_RASTER, 0, 1, 1),
        (_GEOGRAPHIC if geographic else _PROJECTED, 0, 1, number),
    )
    return {_KEYS: _directory(keys)}


def _directory(keys: tuple[tuple[int, int, int, int], ...]) -> tuple[int, ...]:
    return (1, 1, 0, len(keys), *(number for key in keys for number in key))


def _is_geographic(code: int) -> bool:
    """Tell degrees from metres: by rasterio where it is installed, else by EPSG's old blocks."""
    try:
        return bool(import_module("rasterio.crs").CRS.from_epsg(code).is_geographic)
    except (ImportError, ValueError):
        return 4000 <= code < 5000
