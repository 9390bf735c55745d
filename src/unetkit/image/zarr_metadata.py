"""What a Zarr folder says about itself: which array is the picture, its axes and their scale.

Sources: the Zarr v2 and v3 specifications; OME-Zarr 0.1 to 0.5 (https://ngff.openmicroscopy.org).
Metadata is read here as plain JSON, so that nothing in it can name a codec or a path of its own
choice before the library sees it.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from unetkit.errors import InputError

_LARGEST_METADATA, _MOST_CHILDREN, _DEEPEST = 2**26, 1000, 8
_PREFERRED = ("image", "data", "mask", "labels", "0")
_PREFERRED_LABELS = ("mask", "labels", "image", "data", "0")

# Names of axes that writers use: OME's, xarray's and rioxarray's.
_AXES = {
    "t": ("t", "time", "frame"),
    "c": ("c", "channel", "channels", "band", "bands"),
    "z": ("z", "depth", "plane", "slice"),
    "y": ("y", "row", "rows", "height", "lat", "latitude"),
    "x": ("x", "column", "columns", "width", "lon", "longitude"),
}
_LETTERS = {name: letter for letter, names in _AXES.items() for name in names}

# Micrometres in the units of length that OME-Zarr takes from UDUNITS-2.
_PREFIXES = {
    "yocto": -24, "zepto": -21, "atto": -18, "femto": -15, "pico": -12, "nano": -9, "micro": -6,
    "milli": -3, "centi": -2, "deci": -1, "": 0, "deca": 1, "hecto": 2, "kilo": 3, "mega": 6,
    "giga": 9, "tera": 12, "peta": 15, "exa": 18, "zetta": 21, "yotta": 24,
}  # fmt: skip
_UNITS = {
    **{f"{prefix}meter": 10.0 ** (power + 6) for prefix, power in _PREFIXES.items()},
    "angstrom": 1e-4, "inch": 25_400.0, "foot": 304_800.0, "yard": 914_400.0,
    "mile": 1.609344e9, "parsec": 3.0856775814913673e22,
    "um": 1.0, "µm": 1.0, "micron": 1.0, "nm": 1e-3, "mm": 1e3, "m": 1e6,
}  # fmt: skip

# Codecs that only move numbers. Others may unpickle, call for plugins, or hold objects.
_CODECS = {
    "adler32", "astype", "bitround", "blosc", "bytes", "bz2", "crc32", "crc32c", "delta",
    "endian", "fixedscaleoffset", "fletcher32", "gzip", "jenkins_lookup3", "lz4", "lzma",
    "packbits", "pcodec", "quantize", "sharding_indexed", "shuffle", "transpose", "zfpy", "zlib",
    "zstd",
}  # fmt: skip
_NUMBERS = "save whole numbers of up to 64 bits, or floats"
_NUMBERS_2 = re.compile(r"[<>|]([biu][1248]|f[248])")
_NUMBERS_3 = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64)")


@dataclass(frozen=True)
class Located:
    """The array in a Zarr folder that is the picture.

    Attributes:
        folder: of the array.
        version: of the Zarr format.
        shape: as stored.
        chunks: the size of a piece that can be read alone.
        axes: a letter of "tczyx" per stored axis; "" where the file does not say.
        scale: size of a pixel per stored axis, in µm where the file names a unit of length.
        attributes: of the array, and of the group that speaks for it.
    """

    folder: Path
    version: Literal[2, 3]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    axes: str
    scale: tuple[float, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class _Node:
    folder: Path
    version: Literal[2, 3]
    array: dict[str, Any] | None  # None for a group
    attributes: dict[str, Any]

    @property
    def ome(self) -> dict[str, Any]:
        inner = self.attributes.get("ome")
        return inner if isinstance(inner, dict) else self.attributes


def locate(root: Path, indices: bool) -> Located:
    """Find the picture in a Zarr folder, or with `indices` the labels that go with it.

    Raises:
        InputError: there is none, there are several, or it is not what we understand.
    """
    node = _node(root)
    if node is None:
        raise InputError(
            "the folder holds no Zarr metadata",
            where=root,
            cure="give the folder in which zarr.json, .zgroup or .zarray lies",
        )
    if node.array is None and indices:
        node = _labels(root, node) or node
    for _ in range(_DEEPEST):
        if node.array is not None:
            return _located(root, node, _named_axes(node), (), node.attributes)
        if node.ome.get("multiscales"):
            return _finest(root, node)
        node = _child(root, node, indices)
    raise InputError(
        "groups lie within groups without end", where=root, cure="give the inner one itself"
    )


def _finest(root: Path, group: _Node) -> Located:
    """Give level 0 of the first pyramid of a group."""
    pyramid = group.ome["multiscales"][0]
    level = pyramid["datasets"][0]
    array = _node(_inside(root, group.folder, level["path"]))
    if array is None or array.array is None:
        raise InputError(f"its level {level['path']} is missing", where=root, cure="copy it again")
    ndim = len(array.array["shape"])
    axes, units = _ome_axes(root, pyramid.get("axes"), ndim)
    scale = [1.0] * ndim
    for owner in (level, pyramid):
        for step in owner.get("coordinateTransformations") or []:
            factors = step.get("scale")
            if step.get("type") == "scale" and factors is not None and len(factors) == ndim:
                scale = [a * float(b) for a, b in zip(scale, factors, strict=True)]
    scale = [a * unit for a, unit in zip(scale, units, strict=True)]
    both = array.attributes | group.attributes
    return _located(root, array, axes, tuple(scale), both)


def _ome_axes(root: Path, listed: Any, ndim: int) -> tuple[str, list[float]]:
    if not listed:  # OME-Zarr 0.1 and 0.2 know five axes and no others
        return "tczyx" if ndim == 5 else "", [1.0] * ndim
    letters, units = [], []
    for axis in listed:
        axis = {"name": axis} if isinstance(axis, str) else axis
        letter = _LETTERS.get(str(axis.get("name")).lower())
        letter = {"time": "t", "channel": "c"}.get(str(axis.get("type")), letter)
        if letter is None or letter in letters:
            raise InputError(
                f"has an axis {axis.get('name')!r} that is not understood",
                where=root,
                cure="known are t, c, z, y and x, each once",
            )
        letters.append(letter)
        units.append(_UNITS.get(str(axis.get("unit")).lower(), 1.0) if letter in "zyx" else 1.0)
    if len(letters) != ndim or not {"y", "x"} <= set(letters):
        raise InputError(
            f"names the axes {', '.join(letters)} of an array with {ndim}",
            where=root,
            cure="y and x are needed, and a name for each axis",
        )
    return "".join(letters), units


def _named_axes(node: _Node) -> str:
    """Give the axes that a plain array names as Zarr v3 or as xarray does, if it names them all."""
    array = node.array or {}
    names = array.get("dimension_names") or node.attributes.get("_ARRAY_DIMENSIONS") or ()
    letters = [_LETTERS.get(str(name).lower(), "") for name in names]
    sound = len(letters) == len(array["shape"]) == len(set(letters)) and {"y", "x"} <= set(letters)
    return "".join(letters) if sound and all(letters) else ""


def _labels(root: Path, group: _Node) -> _Node | None:
    """Give the one picture of labels that an OME-Zarr image carries, or None."""
    folder = group.folder / "labels"
    labels = _node(folder)
    if labels is None or labels.array is not None or labels.ome.get("multiscales"):
        return None  # none, or what `_child` finds by itself
    names = labels.ome.get("labels") or [node.folder.name for node in _children(labels)]
    if len(names) > 1:
        chosen = [name for name in names if name in _PREFERRED_LABELS[:2]][:1]
        if not chosen:
            raise InputError(
                f"holds the labels {_listed(names)}",
                where=root,
                cure="name the one to use mask, or keep it alone",
            )
        names = chosen
    return _node(_inside(root, folder, names[0])) if names else None


def _child(root: Path, group: _Node, indices: bool) -> _Node:
    """Give the member of a group that is the picture."""
    if "plate" in group.ome or "well" in group.ome:
        raise InputError(
            "is a plate of wells, not one picture",
            where=root,
            cure="copy each field of view (such as A/1/0) to a .zarr folder of its own",
        )
    if "bioformats2raw.layout" in group.ome and _node(group.folder / "1") is not None:
        raise InputError(
            "holds several pictures (0, 1, …)",
            where=root,
            cure="copy each to a .zarr folder of its own",
        )
    for name in _PREFERRED_LABELS if indices else _PREFERRED:
        node = _node(group.folder / name)
        if node is not None:
            return node
    children = _children(group)
    if len(children) != 1:
        names = _listed([node.folder.name for node in children])
        raise InputError(
            f"holds the arrays {names}" if children else "holds no array",
            where=root,
            cure="name the one to read image or mask",
        )
    return children[0]


def _children(group: _Node) -> list[_Node]:
    """Give the groups and arrays in a group, without those that name coordinates."""
    names = sorted(path.name for path in islice(group.folder.iterdir(), _MOST_CHILDREN))
    nodes = [_node(group.folder / name) for name in names if not name.startswith(".")]
    return [n for n in nodes if n is not None and (n.array is None or len(n.array["shape"]) > 1)]


def _located(
    root: Path, node: _Node, axes: str, scale: tuple[float, ...], attributes: dict[str, Any]
) -> Located:
    array = node.array
    assert array is not None  # only arrays come here
    shape = _sizes(root, array["shape"], least=0)
    if node.version == 2:
        kind, chunks = array["dtype"], array["chunks"]
        codecs = [array.get("compressor"), *(array.get("filters") or [])]
        known = _NUMBERS_2
    else:
        kind, codecs = array["data_type"], array["codecs"]
        chunks = array["chunk_grid"]["configuration"]["chunk_shape"]
        known = _NUMBERS_3
    if not (isinstance(kind, str) and known.fullmatch(kind)):
        raise InputError(f"pixels of type {kind} are not understood", where=root, cure=_NUMBERS)
    pieces = _check_codecs(root, [codec for codec in codecs if codec is not None])
    chunks = _sizes(root, pieces or chunks, least=1)
    if len(chunks) != len(shape):
        raise InputError("its chunks do not fit its shape", where=root, cure="copy it again")
    if math.prod(shape) == 0:
        raise InputError("has no pixels", where=root, cure="copy it again from its source")
    return Located(node.folder, node.version, shape, chunks, axes, scale, attributes)


def _check_codecs(root: Path, codecs: list[Any]) -> list[int] | None:
    """Refuse codecs that do more than move numbers; give the inner chunks of a shard."""
    pieces = None
    for codec in codecs:
        name = codec if isinstance(codec, str) else codec.get("name", codec.get("id"))
        if str(name).removeprefix("numcodecs.") not in _CODECS:
            raise InputError(
                f"its chunks are stored by the codec {name}, which is not understood",
                where=root,
                cure="save it again with blosc, zstd or gzip",
            )
        if name == "sharding_indexed":
            inner = codec["configuration"]
            deeper = _check_codecs(root, inner["codecs"] + inner.get("index_codecs", []))
            pieces = deeper or inner["chunk_shape"]
    return pieces


def _sizes(root: Path, listed: Any, least: int) -> tuple[int, ...]:
    if not all(type(n) is int and least <= n < 2**63 for n in listed):
        raise InputError(f"declares the size {listed}", where=root, cure="copy it again")
    return tuple(listed)


def _node(folder: Path) -> _Node | None:
    """Read what stands at a folder, or give None where nothing does."""
    if (folder / "zarr.json").is_file():
        content = _json(folder / "zarr.json")
        kind, attributes = content.get("node_type"), content.get("attributes") or {}
        return _Node(folder, 3, content if kind == "array" else None, attributes)
    attributes = _json(folder / ".zattrs") if (folder / ".zattrs").is_file() else {}
    if (folder / ".zarray").is_file():
        return _Node(folder, 2, _json(folder / ".zarray"), attributes)
    return _Node(folder, 2, None, attributes) if _is_group(folder) else None


def _is_group(folder: Path) -> bool:
    return (folder / ".zgroup").is_file() or (folder / ".zattrs").is_file()


def _json(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _LARGEST_METADATA:
        raise InputError("is too long for metadata", where=path, cure="copy it again")
    content = json.loads(path.read_bytes())
    if not isinstance(content, dict):
        raise InputError("is no Zarr metadata", where=path, cure="copy it again from its source")
    return content


def _inside(root: Path, folder: Path, name: Any) -> Path:
    """Give the path of a member by its name, unless the name leads out of the folder."""
    parts = PurePosixPath(str(name)).parts
    if not parts or any(part in ("..", "/") or "\\" in part or ":" in part for part in parts):
        raise InputError(
            f"names a member {name!r} outside itself", where=root, cure="copy it again"
        )
    return folder.joinpath(*parts)


def _listed(names: list[Any]) -> str:
    return ", ".join(map(str, names[:6])) + (" …" if len(names) > 6 else "")
