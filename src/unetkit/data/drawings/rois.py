"""ImageJ's regions of interest: one `.roi`, or the zip that its ROI manager saves."""

from __future__ import annotations

import importlib
import logging
import zipfile
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from unetkit.data.case import Drawing
from unetkit.data.drawings.piece import Piece, Polygon, Ring, outlined, ring
from unetkit.errors import InputError

# Of the regions of a file together; the largest published sets of ROIs have some ten MB.
_MOST_BYTES, _MOST_ENTRIES = 2**28, 2**17
_POINTS_OF_CURVE = 16

logging.getLogger("roifile").addHandler(logging.NullHandler())


def pieces(mask: Path, drawing: Drawing, space: tuple[int, ...]) -> list[Piece]:
    """Give the regions of a file: polygon, freehand, traced, rectangle, oval and composite.

    In a stack each is on its own slice, or on all where it names none. A region belongs to the
    class whose name begins its own, as `nucleus-12` does.

    Raises:
        InputError: unreadable, a line or a point, outside of the image, of several slices where
            the image has one, or roifile is missing.
    """
    found, slices = [], set[int]()
    for title, content in _entries(mask):
        region = _region(content, title, mask)
        polygon = _outline(region, title, mask)
        position = int(region.z_position or region.position)
        slices.add(position)
        page = position - 1 if len(space) > 2 and position > 0 else None
        if page is not None and page >= space[0]:
            raise InputError(
                f"{title} is on slice {position}, the image has {space[0]}",
                where=mask,
                cure="give the stack that the regions were drawn on",
            )
        name = _class(str(region.name), drawing.classes)
        found.append(outlined([polygon], space, mask, title=title, name=name, page=page))
    if len(space) == 2 and len(slices - {0}) > 1:
        raise InputError(
            f"holds regions of {len(slices - {0})} slices, the image is flat",
            where=mask,
            cure="save the regions of each slice in a file of its own",
        )
    return found


def _entries(path: Path) -> Iterator[tuple[str, bytes]]:
    """Give name and bytes of every region; nothing is unpacked to the disk."""
    damaged = InputError(
        "is no readable file of ImageJ regions",
        where=path,
        cure="it is damaged or cut short: save it again from the ROI manager",
    )
    large = InputError("holds more than regions ever need", where=path, cure="divide it into parts")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise large
        if path.suffix.lower() != ".zip":
            yield f"the region {path.name}", path.read_bytes()
            return
        left = _MOST_BYTES
        with zipfile.ZipFile(path) as bundle:
            infos = [info for info in bundle.infolist() if _is_region(info.filename)]
            if not infos:
                raise InputError("holds no .roi", where=path, cure="save it from the ROI manager")
            if len(infos) > _MOST_ENTRIES:
                raise large
            for info in infos:
                with bundle.open(info) as file:  # the size it states may be a lie
                    content = file.read(left + 1)
                left -= len(content)
                if left < 0:
                    raise large
                yield f"the region {Path(info.filename).name}", content
    except FileNotFoundError as error:
        raise InputError("no such file", where=path, cure="check the path") from error
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise damaged from error
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or an unknown compression
        raise InputError(
            f"cannot be unpacked ({error})", where=path, cure="save it again from the ROI manager"
        ) from error


def _is_region(name: str) -> bool:
    return name.lower().endswith(".roi") and not name.split("/")[-1].startswith(".")


def _region(content: bytes, title: str, path: Path) -> Any:
    try:
        tool = importlib.import_module("roifile")
    except ImportError:
        raise InputError(
            "ImageJ's regions need roifile", where=path, cure="pip install 'unetkit[vectors]'"
        ) from None
    try:
        return tool.ImagejRoi.frombytes(content)
    except Exception as error:
        # On damaged bytes it raises whatever comes to hand, as decoders of pictures do.
        raise InputError(
            f"{title} cannot be read ({error or type(error).__name__})",
            where=path,
            cure="it is damaged or cut short: save it again from the ROI manager",
        ) from error


def _outline(region: Any, title: str, path: Path) -> Polygon:
    kind, subtype = region.roitype.name, region.subtype.name
    if kind == "RECT" and region.composite:
        rings = [ring(points, title, path) for points in _walk(region, title, path)]
        if not rings:
            raise _areas(title, path)
        return rings
    if kind in ("RECT", "OVAL") and subtype in ("UNDEFINED", "UNKNOWN"):
        left, top = region.left, region.top
        width, height = region.right - left, region.bottom - top
        if region.subpixelrect:
            left, top, width, height = region.xd, region.yd, region.widthd, region.heightd
        if not (0 < width < 2**17 and 0 < height < 2**17):
            raise _areas(title, path)
        if kind == "OVAL":
            centre = np.array([left + width / 2, top + height / 2])
            return [ring(centre + _ellipse(width, height), title, path)]
        return [ring(_rectangle(left, top, width, height, region), title, path)]
    if kind in ("POLYGON", "FREEHAND", "TRACED"):
        return [ring(region.coordinates(), title, path)]
    what = subtype.lower() if kind in ("RECT", "OVAL") else kind.lower()
    raise InputError(
        f"{title} is of the kind {what}, which encloses nothing",
        where=path,
        cure="delete it, or draw it as an area",
    )


def _areas(title: str, path: Path) -> InputError:
    return InputError(f"{title} has no area", where=path, cure="delete it, or draw it again")


def _ellipse(width: float, height: float) -> Ring:
    """Give points on an ellipse around (0, 0), so many that no pixel tells it from the curve."""
    count = 4 * int(np.clip(2 * (width + height), 16, 2048))
    angle = 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angle) * width, np.sin(angle) * height], 1) / 2


def _rectangle(left: float, top: float, width: float, height: float, region: Any) -> Ring:
    corners: Ring = np.array([[width, height], [0, height], [0, 0], [width, 0]], float)
    arc = min(float(region.rounded_rect_arc_size), width, height)
    if arc > 0:
        curve = _ellipse(arc, arc).reshape(4, -1, 2)
        inner = np.clip(corners, arc / 2, [width - arc / 2, height - arc / 2])
        corners = np.concatenate(list(curve + inner[:, None]))
    return np.asarray(corners + np.array([left, top]))


def _walk(region: Any, title: str, path: Path) -> list[list[tuple[float, float]]]:
    """Follow the path of a composite, curves included; a ring that lies in another is a hole."""
    steps = region.multi_coordinates.astype(float).tolist()
    rings: list[list[tuple[float, float]]] = []
    place, needed = 0, {0: 2, 1: 2, 2: 4, 3: 6, 4: 0}
    while place < len(steps):
        step = steps[place]
        given = needed.get(step, -1)  # NaN is no key
        numbers = steps[place + 1 : place + 1 + max(0, given)]
        if given < 0 or len(numbers) < given or (step != 0 and not rings):
            raise InputError(f"{title} is damaged", where=path, cure="save it again from ImageJ")
        place += 1 + given
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        if step == 0:
            rings.append(points)
        elif step == 1:
            rings[-1] += points
        elif step in (2, 3):
            rings[-1] += _curve([rings[-1][-1], *points])
    return [points for points in rings if len(points) > 2]


def _curve(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Give points along a Bézier curve (de Casteljau), the first left out."""
    t = np.linspace(0, 1, _POINTS_OF_CURVE + 1)[1:, None]
    curve = [np.array(point) for point in points]
    while len(curve) > 1:
        curve = [(1 - t) * a + t * b for a, b in pairwise(curve)]
    return [(float(x), float(y)) for x, y in curve[0]]


def _class(name: str, classes: tuple[str, ...]) -> str:
    named = [one for one in classes if name.lower().startswith(one.lower())]
    return max(named, key=len, default=name)
