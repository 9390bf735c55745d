"""Broken NPY, NPZ and Zarr arrays, and masks of numbers that are no labels."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from broken.item import Fate, Item, from_bytes
from broken.sound import X, Y, noise, npy, npz, ome_zarr, zarr2, zarr3


def header(text: str, after: bytes = b"", version: bytes = b"\x01\0") -> bytes:
    """Give an NPY whose header is this text."""
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text.encode() + after


def _npy(shape: str, kind: str = "'|u1'") -> bytes:
    text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}}}\n"
    return header(text, bytes(90))


def _zip(**files: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in files.items():
            bundle.writestr(f"{name}.npy", content)
    return target.getvalue()


def _zip_bomb() -> bytes:
    """Give 256 MiB of zeros in an archive that says they are 4 GiB."""
    target = io.BytesIO()
    start = _npy("(16384, 16384)")[:-90]
    with (
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bundle,
        bundle.open("image.npy", "w") as file,
    ):
        file.write(start)
        for _ in range(256):
            file.write(bytes(2**20))
    content = bytearray(target.getvalue())
    place = content.rindex(b"PK\x01\x02")
    content[place + 24 : place + 28] = (2**32 - 2).to_bytes(4, "little")
    return bytes(content)


def _changed(make: Callable[[Path], Path], name: str, **fields: Any) -> Callable[[Path], Path]:
    """Write a Zarr folder with changes in a file of its metadata."""

    def build(folder: Path) -> Path:
        path = make(folder)
        file = path / name
        document = json.loads(file.read_text())
        file.write_text(json.dumps(document | fields))
        return path

    return build


def _zarr(name: str, fate: Fate = "refused", **fields: Any) -> Item:
    return Item(f"Zarr {name}", _changed(zarr3, "zarr.json", **fields), fate)


def _old(name: str, fate: Fate = "refused", **fields: Any) -> Item:
    return Item(f"Zarr v2 {name}", _changed(zarr2, ".zarray", **fields), fate)


def _ome(name: str, pyramid: Any, fate: Fate = "refused") -> Item:
    attributes = {"ome": {"version": "0.5", "multiscales": pyramid}}
    return Item(f"OME-Zarr {name}", _changed(ome_zarr, "zarr.json", attributes=attributes), fate)


def _grid(*chunks: int) -> dict[str, Any]:
    return {"name": "regular", "configuration": {"chunk_shape": list(chunks)}}


def _chunk(content: bytes) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        path = zarr3(folder)
        next(file for file in sorted(path.rglob("c/*/*"))).write_bytes(content)
        return path

    return build


def _chunk_missing(folder: Path) -> Path:
    path = zarr3(folder)
    (path / "c" / "0" / "0").unlink()
    return path


def _mask(name: str, pixels: np.ndarray, fate: Fate) -> Item:
    return from_bytes(f"NPY of {name}", "mask.npy", partial(npy, pixels), fate)


def _deep(folder: Path) -> Path:
    path = inner = folder / "deep.zarr"
    for _ in range(30):
        inner.mkdir()
        (inner / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
        inner = inner / "a"
    return path


_DATASET = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}]}

ARRAYS = [
    from_bytes("NPY of 10¹²", "a.npy", lambda: _npy("(1000000, 1000000)")),
    from_bytes("NPY of 10³⁶", "a.npy", lambda: _npy(f"({10**18}, {10**18})")),
    from_bytes("NPY of negative size", "a.npy", lambda: _npy("(-9, -10)")),
    from_bytes("NPY of no size", "a.npy", lambda: _npy("(0, 10)")),
    from_bytes("NPY of a shape of words", "a.npy", lambda: _npy("('a', 'b')")),
    from_bytes("NPY of an unknown type", "a.npy", lambda: _npy("(9, 10)", "'what'")),
    from_bytes("NPY of empty records", "a.npy", lambda: _npy("(9, 10)", "'|V0'")),
    from_bytes("NPY of a header that calls", "a.npy",
               lambda: header("__import__('os').system('true')\n", bytes(90))),
    from_bytes("NPY of a header of brackets", "a.npy", lambda: header("(" * 5000, bytes(90))),
    from_bytes("NPY of version 99", "a.npy", lambda: header("{}", bytes(90), b"\x63\0")),
    from_bytes("NPY of objects", "a.npy", lambda: npy(np.array([[{}, []], [1, None]], object))),
    from_bytes("NPY of records", "a.npy",
               lambda: npy(np.zeros((Y, X), [("a", "u1"), ("b", "f4")]))),
    from_bytes("NPY of text", "a.npy", lambda: npy(np.full((Y, X), "word"))),
    from_bytes("NPY of dates", "a.npy", lambda: npy(np.zeros((Y, X), "M8[s]"))),
    from_bytes("NPY of complex numbers", "a.npy", lambda: npy(noise(dtype="c16"))),
    from_bytes("NPY of one axis", "a.npy", lambda: npy(noise(90))),
    from_bytes("NPY of six axes", "a.npy", lambda: npy(noise(2, 2, 2, 2, 2, 2))),
    from_bytes("NPY of a number", "a.npy", lambda: npy(np.float32(3))),
    _mask("fractions", noise() / np.float32(7), "no mask"),
    _mask("infinity", np.full((Y, X), np.inf, np.float32), "no mask"),
    _mask("NaN alone", np.full((Y, X), np.nan, np.float32), "either"),
    _mask("labels beyond 32 bits", np.full((Y, X), 2**63 + 5, np.uint64), "either"),
    _mask("floats beyond 32 bits", np.full((Y, X), 2.0**40), "no mask"),
    _mask("half floats", noise(top=9).astype("f2"), "readable"),
    from_bytes("NPZ of nothing", "a.npz", lambda: npz()),
    from_bytes("NPZ of strange names", "a.npz", lambda: npz(one=noise(), two=noise())),
    from_bytes("NPZ of objects", "a.npz", lambda: npz(image=np.array([[{}]], object))),
    from_bytes("NPZ of text", "a.npz", lambda: _zip(image=b"no array")),
    from_bytes("NPZ of 10¹²", "a.npz", lambda: _zip(image=_npy("(1000000, 1000000)"))),
    from_bytes("NPZ of negative size", "a.npz", lambda: _zip(image=_npy("(-9, -10)"))),
    from_bytes("NPZ bomb", "a.npz", _zip_bomb),
    from_bytes("NPZ with a wrong CRC", "a.npz",
               lambda: npz(image=noise())[:90] + bytes(20) + npz(image=noise())[110:]),
    _zarr("of 10¹⁸", shape=[10**9, 10**9]),
    _zarr("of 10¹⁸ in one chunk", shape=[10**9, 10**9], chunk_grid=_grid(10**9, 10**9)),
    _zarr("of chunks of 10⁹", chunk_grid=_grid(10**9, 10**9)),
    _zarr("of chunks of 0", chunk_grid=_grid(0, 0)),
    _zarr("of negative chunks", chunk_grid=_grid(-20, -24)),
    _zarr("of negative size", shape=[-40, 48]),
    _zarr("of no size", shape=[0, 48]),
    _zarr("of a shape of words", shape=["a", "b"]),
    _zarr("of a shape that is none", shape=None),
    _zarr("of an unknown type", data_type="what"),
    _zarr("of complex numbers", data_type="complex64"),
    _zarr("of unknown codecs", codecs=[{"name": "pickle"}]),
    _zarr("of codecs that are a number", codecs=7),
    _zarr("of format 99", zarr_format=99),
    _zarr("of an unknown node", node_type="what"),
    _zarr("of a fill value of words", "either", fill_value="what"),
    _zarr("of attributes that are a list", "either", attributes=[1, 2]),
    _old("of 10¹⁸", shape=[10**9, 10**9]),
    _old("of objects", dtype="|O"),
    _old("of a pickling filter", filters=[{"id": "pickle"}]),
    _old("of an unknown compressor", compressor={"id": "what"}),
    _old("of a separator that climbs", "either", dimension_separator="/../../"),
    _ome("of no pyramid", [{}]),
    _ome("of a pyramid that is a word", ["what"]),
    _ome("of levels elsewhere", [{"datasets": [{"path": "../../etc"}]}]),
    _ome("of a level that is missing", [{"datasets": [{"path": "9"}]}]),
    _ome("of axes that are numbers", [{"axes": [1, 2, 3], "datasets": [_DATASET]}]),
    _ome("of two axes for three", [{"axes": ["y", "x"], "datasets": [_DATASET]}]),
    _ome("of scales of words", [{"axes": ["c", "y", "x"], "datasets": [
        {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": ["a"] * 3}]}]}]),
    _ome("of scales of −1 and nothing", [{"axes": ["c", "y", "x"], "datasets": [
        {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, -1, 0]}]}]}],
        "no mask"),
    Item("Zarr with a chunk of noise", _chunk(noise(900).tobytes())),
    Item("Zarr with an empty chunk", _chunk(b"")),
    Item("Zarr without a chunk", _chunk_missing, "readable"),
    Item("Zarr of groups in groups", _deep),
    Item("Zarr whose metadata are no JSON", lambda folder: _no_json(folder)),
    Item("Zarr whose metadata are a list without end", lambda folder: _nested(folder)),
]  # fmt: skip


def _no_json(folder: Path) -> Path:
    path = zarr3(folder)
    (path / "zarr.json").write_bytes(b"\xff\xfe{")
    return path


def _nested(folder: Path) -> Path:
    path = zarr3(folder)
    (path / "zarr.json").write_bytes(b"[" * 200_000)
    return path
