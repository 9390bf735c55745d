"""Strips and tiles of TIFF pages: which of them a window touches, and nothing but those is read."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unetkit.errors import InputError
from unetkit.image.guard import slices_size
from unetkit.image.limits import DEFLATE, cut, mapped, refuse_impossible
from unetkit.image.opened import Array

Box = tuple[slice, ...]

_KEPT_BYTES = 2**26  # of decoded strips and tiles, because neighbouring windows share some
# How much a compression shrinks at most: none, LZW, JPEG, deflate twice, PackBits; others more.
_RATIOS = {1: 1, 5: 1500, 7: DEFLATE, 8: DEFLATE, 32946: DEFLATE, 32773: 64}
_LARGEST_RATIO = 100_000
JPEG_KINDS = (6, 7, 34892, 33007)  # what tifffile hands the tables of a page to


def reader(path: Path, series: Any, order: Sequence[int]) -> Callable[[Box], Array]:
    """Give a function that reads a box, one slice per axis of the series, in the order of its axes.

    What lies in one piece is read through a map of the file. Few exotic files (whose pages lie in
    several files, or are arranged otherwise) are decoded whole and kept.

    Args:
        path: the file.
        series: of tifffile.
        order: of the axes in memory, from the slowest to the fastest.
    """
    whole = tuple(slice(0, size) for size in series.shape)
    dtype = series.dtype.newbyteorder("=")
    back = [order.index(axis) for axis in range(len(order))]
    fill: Callable[[Box, Array], None]
    if _is_mapped(series):
        view = mapped(path, _stored(series), series.dataoffset, series.shape)

        def fill(box: Box, target: Array) -> None:
            cut(view, box, target)
    else:
        fill = _from_pages(path, series) if _is_regular(series) else _from_all(series)

    def read_all_or_part(box: Box) -> Array:
        if box != whole:
            sizes = slices_size(box)
            target = np.empty([sizes[axis] for axis in order], dtype).transpose(back)
            fill(box, target)
            return target
        if _is_mapped(series):  # in one go is faster than through a map
            stored, count = _stored(series), math.prod(series.shape)
            flat: Array = np.fromfile(path, stored, count, offset=series.dataoffset)
            return flat.reshape(series.shape)
        refuse_cut_pages(path, series)
        pixels: Array = series.asarray()  # which decodes in several threads
        return pixels

    return read_all_or_part


def layout(series: Any) -> tuple[bool, tuple[int, ...] | None]:
    """Tell whether a series is decoded whole, and else the size of its strips or tiles per axis."""
    page = series.keyframe
    if _is_mapped(series):
        return False, None
    if not _is_regular(series):
        return True, None
    if page.is_tiled:
        sizes = {"Z": page.tiledepth, "Y": page.tilelength, "X": page.tilewidth}
    else:
        sizes = {"Z": 1, "Y": min(page.rowsperstrip, page.imagelength), "X": page.imagewidth}
    inner = [sizes.get(axis, 1) for axis in page.axes]
    return False, (*(1,) * (len(series.shape) - len(inner)), *map(int, inner))


def refuse_incomplete(path: Path, series: Any) -> None:
    """Refuse a series that is not all there, as far as its header and its first page tell.

    Raises:
        InputError: the file cannot hold so much, or a file of the series is missing.
        ValueError: the file is cut short.
    """
    if series.kind == "ome" and any(page is None for page in series):
        raise InputError(
            "lacks pages that its OME metadata promise",
            where=path,
            cure="put all files of the set into one folder, or save it as one file",
        )
    if series.is_multifile:
        return
    size, promised = path.stat().st_size, math.prod(series.shape) * bits_of(series.keyframe) // 8
    if series.keyframe.compression == 1:
        refuse_impossible(path, promised, size, 1)
    if series.dataoffset is not None and series.dataoffset + promised > size:
        raise ValueError("the file ends before its pixels do")
    _refuse_cut(series.keyframe, series.keyframe, size)


def refuse_cut_pages(path: Path, series: Any) -> None:
    """Refuse a series of which a page reaches beyond the end of the file.

    Raises:
        ValueError: one does.
    """
    if not series.is_multifile:
        size = path.stat().st_size
        for page in series:
            _refuse_cut(page, series.keyframe, size)


def bits_of(page: Any) -> int:
    """Give the bits of one number as the file holds it."""
    bits = page.bitspersample
    return int(bits) if isinstance(bits, int) else int(page.dtype.itemsize) * 8


def ratio_of(page: Any) -> int:
    """Say how much the compression of a page can shrink it."""
    return _RATIOS.get(int(page.compression), _LARGEST_RATIO)


def _refuse_cut(page: Any, keyframe: Any, size: int) -> None:
    if len(page.dataoffsets) == 1 and keyframe.is_contiguous:
        end = page.dataoffsets[0] + keyframe.nbytes
    else:
        number = math.prod(keyframe.chunked)
        if min(len(page.dataoffsets), len(page.databytecounts)) < number:
            raise ValueError("some of its strips or tiles are missing")
        offsets = np.asarray(page.dataoffsets[:number], np.int64)
        counts = np.asarray(page.databytecounts[:number], np.int64)
        # Empty strips and tiles have neither place nor size.
        if ((offsets == 0) != (counts == 0)).any():
            raise ValueError("some of its strips or tiles are nowhere")
        end = int((offsets + counts).max(initial=0))
    if end > size:
        raise ValueError("the file ends before its pixels do")


def _stored(series: Any) -> str:
    return str(series.keyframe.parent.byteorder + series.dtype.char)


def _is_regular(series: Any) -> bool:
    """Tell whether the last axes of a series are those of its pages, one page per place before."""
    page, shape = series.keyframe, tuple(series.shape)
    inner = len(page.shape)
    return (
        not series.is_multifile
        and series.transform is None
        and shape[-inner:] == tuple(page.shape)
        and math.prod(shape[:-inner]) == len(series)
        and set(page.axes) <= set("SZYX")
        and page.jpegheader is None
    )


def _is_mapped(series: Any) -> bool:
    return series.dataoffset is not None and not series.is_multifile and series.transform is None


def _from_all(series: Any) -> Callable[[Box, Array], None]:
    kept: list[Array] = []

    def read(box: Box, target: Array) -> None:
        if not kept:
            kept.append(series.asarray())
        target[...] = kept[0][box]

    return read


def _from_pages(path: Path, series: Any) -> Callable[[Box, Array], None]:
    keyframe = series.keyframe
    inner = len(keyframe.shape)
    outer = tuple(series.shape[:-inner])
    decode = _decoder(path, series)
    # Pages are (separate samples, depth, length, width, interleaved samples) to tifffile.
    names = {"S": 0 if keyframe.planarconfig == 2 else 4, "Z": 1, "Y": 2, "X": 3}
    places = [names[axis] for axis in keyframe.axes]
    shown = tuple(slice(None) if place in places else 0 for place in range(5))

    def read_page(number: int, box: Box, result: Array) -> None:
        page = series[number]
        if page.is_final:
            cut(mapped(path, _stored(series), page.dataoffsets[0], keyframe.shape), box, result)
            return
        wanted = [slice(0, length) for length in keyframe.shaped]
        for place, part in zip(places, box, strict=True):
            wanted[place] = part
        for index in _touched(keyframe, wanted):
            pixels, begin, shape = decode(number, index)
            # Where the segment, which may reach beyond the page, and the window overlap.
            target, source = list[slice](), list[slice]()
            for first, length, part in zip(begin, (1, *shape), wanted[:4], strict=False):
                low, high = max(first, part.start), min(first + length, part.stop)
                target.append(slice(low - part.start, high - part.start))
                source.append(slice(low - first, high - first))
            there = tuple([*target, slice(None)][place] for place in places)
            if pixels is None:
                result[there] = keyframe.nodata
            else:
                result[there] = pixels[None][(*source, wanted[4])][shown]

    def read(box: Box, target: Array) -> None:
        before, inside = box[: len(outer)], box[len(outer) :]
        for place in itertools.product(*(range(part.start, part.stop) for part in before)):
            number = int(np.ravel_multi_index(place, outer)) if outer else 0
            here = tuple(i - part.start for i, part in zip(place, before, strict=True))
            read_page(number, inside, target[here])

    return read


def _decoder(path: Path, series: Any) -> Callable[[int, int], tuple[Array | None, Any, Any]]:
    """Give a function that decodes a strip or tile of a page.

    It gives pixels (depth, length, width, samples), or None where nothing was stored; where they
    begin in the page; and their shape.
    """
    keyframe, size = series.keyframe, path.stat().st_size
    promised = math.prod(keyframe.chunks) * keyframe.dtype.itemsize
    kept: OrderedDict[tuple[int, int], Array] = OrderedDict()
    most = max(1, _KEPT_BYTES // promised)

    def decode(number: int, index: int) -> tuple[Array | None, Any, Any]:
        pixels = kept.get((number, index))
        page, content = series[number], None
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if pixels is None and count:
            if offset + count > size:
                raise ValueError("the file ends before its pixels do")
            refuse_impossible(path, promised, count, 8 * ratio_of(keyframe))
            handle = page.parent.filehandle
            with handle.lock:
                handle.seek(offset)
                content = handle.read(count)
        tables = {"jpegtables": page.jpegtables} if keyframe.compression in JPEG_KINDS else {}
        decoded, begin, shape = keyframe.decode(content, index, **tables)
        if decoded is not None:
            kept[number, index] = decoded
            while len(kept) > most:
                kept.popitem(last=False)
        return decoded if pixels is None else pixels, begin[:4], shape

    return decode


def _touched(page: Any, wanted: list[slice]) -> Iterator[int]:
    """Give the numbers of the strips or tiles that a window touches."""
    separate, depth, length, width, _ = page.shaped
    if page.is_tiled:
        steps = (1, page.tiledepth, page.tilelength, page.tilewidth)
    else:
        steps = (1, 1, page.rowsperstrip, page.imagewidth)
    sizes = (separate, depth, length, width)
    counts = [math.ceil(size / step) for size, step in zip(sizes, steps, strict=True)]
    touched = [
        range(part.start // step, math.ceil(part.stop / step))
        for part, step in zip(wanted, steps, strict=False)
    ]
    for place in itertools.product(*touched):
        yield int(np.ravel_multi_index(place, counts))
