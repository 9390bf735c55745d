"""Fuzzed files and documents: whatever their bytes, a sound result or an `InputError`."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from broken import CONTENTS, FOLDERS
from unetkit.data import read_dataset
from unetkit.data.legend import read_legend
from unetkit.errors import InputError
from unetkit.image import open_image, read_image, read_labels, read_shape

MANY = 40  # times as many examples in the long tests
QUICK = {
    "deadline": None, "derandomize": True, "database": None,
    "suppress_health_check": list(HealthCheck),
}  # fmt: skip
SUFFIXES = sorted({name[name.index(".") :] for name in CONTENTS})


def profile(examples: int) -> Callable[[Any], Any]:
    return settings(max_examples=examples, **QUICK)


# ---------------------------------------------------------------------------------- what is done


@st.composite
def mutations(draw: Callable[[Any], Any]) -> list[tuple[str, float, int, bytes]]:
    """Draw what is done to a file: kind, place as a fraction of its length, length, bytes."""
    kinds = st.sampled_from(("flip", "set", "insert", "delete", "repeat", "copy", "cut", "number"))
    # Headers stand at the beginning and, in TIFF and zip, at the end.
    place = st.one_of(st.floats(0, 0.02), st.floats(0, 1), st.floats(0.98, 1), st.floats(0, 0.2))
    one = st.tuples(kinds, place, st.integers(1, 64), st.binary(min_size=1, max_size=8))
    return draw(st.lists(one, min_size=1, max_size=6))


def mutated(content: bytes, changes: list[tuple[str, float, int, bytes]]) -> bytes:
    """Do to a file what was drawn."""
    for kind, place, length, data in changes:
        at = min(int(place * len(content)), max(0, len(content) - 1))
        head, tail = content[:at], content[at:]
        match kind:
            case "flip":
                content = head + bytes(b ^ (1 << length % 8) for b in tail[:1]) + tail[1:]
            case "set":
                content = head + data + tail[len(data) :]
            case "insert":
                content = head + data + tail
            case "delete":
                content = head + tail[length:]
            case "repeat":
                content = head + tail[:length] * 3 + tail[length:]
            case "copy":
                other = length * len(content) // 65
                piece = content[other : other + 4 * len(data)]
                content = head + piece + tail[len(piece) :]
            case "cut":
                content = head
            case "number":  # of a size that programs do not expect
                known = (0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 10**6)
                number = known[length % len(known)]
                order = "little" if data[0] % 2 else "big"
                content = head + number.to_bytes(4, order) + tail[4:]
    return content


# ------------------------------------------------------------------------------- what must be so


@contextmanager
def one_line(where: Path) -> Any:
    """Let nothing but an `InputError` of one line pass that names a file here."""
    said = str(where)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            yield
        except InputError as error:
            said = str(error)
    assert "\n" not in said
    assert str(where) in said, said


def read_all(path: Path) -> None:
    """Read a file in every way: each gives something sound or an error of one line."""
    with one_line(path):
        shape = read_shape(path)
        assert len(shape) in (3, 4)
        assert min(shape) > 0
    with one_line(path):
        image = read_image(path)
        assert image.data.dtype.kind in "iuf"
        assert image.data.size
        assert len(image.spacing) == image.data.ndim - 1
        assert all(np.isfinite(s) and s > 0 for s in image.spacing)
        assert read_shape(path) == image.data.shape
        if isinstance(image.frame, np.ndarray):
            assert np.isfinite(image.frame).all()
        with open_image(path) as opened:
            window = tuple(slice(size // 2, size // 2 + 3) for size in opened.shape[1:])
            part = opened.read(window)
        np.testing.assert_array_equal(part, image.data[:, *window])
    with one_line(path):
        labels = read_labels(path)
        assert labels.dtype.kind in "iu" and labels.ndim in (2, 3)  # noqa: PT018
    with one_line(path):
        read_labels(path, colours=True)


def check_bytes(suffix: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"fuzzed{suffix}"
        path.write_bytes(content)
        read_all(path)


def check_folder(make: Callable[[Path], Path], which: int, changes: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = make(Path(folder))
        files = sorted(file for file in path.rglob("*") if file.is_file())
        # Every other time it is one of the files that say what the others are.
        said = [file for file in files if "zarr" in file.name] or files
        file = (said if which % 2 else files)[which // 2 % len(said if which % 2 else files)]
        file.write_bytes(mutated(file.read_bytes(), changes))
        read_all(path)


@pytest.mark.parametrize("name", CONTENTS)
def test_mutated_files(name: str) -> None:
    fuzz_file(name, 10)


@pytest.mark.long
@pytest.mark.parametrize("name", CONTENTS)
def test_many_mutated_files(name: str) -> None:
    fuzz_file(name, 10 * MANY)


def fuzz_file(name: str, examples: int) -> None:
    content, suffix = CONTENTS[name](), name[name.index(".") :]

    @profile(examples)
    @given(mutations())
    def fuzz(changes: Any) -> None:
        check_bytes(suffix, mutated(content, changes))

    fuzz()


@pytest.mark.parametrize("name", FOLDERS)
def test_mutated_folders(name: str) -> None:
    fuzz_folder(name, 10)


@pytest.mark.long
@pytest.mark.parametrize("name", FOLDERS)
def test_many_mutated_folders(name: str) -> None:
    fuzz_folder(name, 10 * MANY)


def fuzz_folder(name: str, examples: int) -> None:
    @profile(examples)
    @given(st.integers(0, 63), mutations())
    def fuzz(which: int, changes: Any) -> None:
        check_folder(FOLDERS[name], which, changes)

    fuzz()


_STARTS = sorted({content()[:16] for content in CONTENTS.values()} | {b""})
_ANY = (st.sampled_from(SUFFIXES), st.sampled_from(_STARTS), st.binary(max_size=400))


@profile(150)
@given(*_ANY)
def test_any_bytes(suffix: str, start: bytes, rest: bytes) -> None:
    check_bytes(suffix, start + rest)


@pytest.mark.long
@profile(150 * MANY)
@given(*_ANY)
def test_many_bytes(suffix: str, start: bytes, rest: bytes) -> None:
    check_bytes(suffix, start + rest)


# ------------------------------------------------------------------------------------- documents

# Of each kind a sound one, into which is put what does not belong there.
_RING = [[[1, 1], [9, 1], [9, 9], [1, 9], [1, 1]]]
_COCO = {
    "images": [{"id": k, "file_name": f"a{k}.png", "height": 16, "width": 16} for k in range(4)],
    "categories": [{"id": 1, "name": "cell"}, {"id": 2, "name": "wall"}],
    "annotations": [
        {"id": 2 * k, "image_id": k, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}
        for k in range(4)
    ]
    + [
        {"id": 9, "image_id": 0, "category_id": 2, "iscrowd": 1,
         "segmentation": {"size": [16, 16], "counts": [100, 20, 136]}},
        {"id": 8, "image_id": 1, "category_id": 2, "iscrowd": 1,
         "segmentation": {"size": [16, 16], "counts": "PP1"}},
    ],
}  # fmt: skip
_QUPATH = {
    "type": "FeatureCollection",
    "features": [
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": _RING},
         "properties": {"classification": {"name": "cell", "color": [1, 2, 3]}}}
    ],
}  # fmt: skip
DOCUMENTS: dict[str, Any] = {
    "split.json": {"train": ["a0", "a1"], "val": ["a2"], "test": ["a3"]},
    "groups.json": {"a0": "x", "a1": "x", "a2": "y", "a3": "z"},
    "classes.json": {"background": 0, "cell": 255},
    "dataset.yaml": {
        "images": "images", "masks": "masks", "classes": {"0": "none", "255": "cell"},
    },
    "annotations.json": _COCO,
    "geojson": _QUPATH,
}  # fmt: skip

_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 300), st.sampled_from((10**30, -(2**63), 1e308)),
    st.floats(), st.text(max_size=8), st.sampled_from(("a0", "..", "/etc", "images", "a0.png", "")),
)  # fmt: skip
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List where in a document something stands."""
    found = [path]
    if isinstance(document, dict | list):
        pairs = document.items() if isinstance(document, dict) else enumerate(document)
        for key, value in pairs:
            found += places(value, (*path, key))
    return found


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Give a copy of a document with something else in one place."""
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give for each kind of document a small set in which it counts."""
    made: dict[str, Path] = {}

    def give(kind: str) -> Path:
        if kind in made:
            return made[kind]
        root = made[kind] = tmp_path_factory.mktemp("documents")
        drawn = kind in ("annotations.json", "geojson", "rois")
        for part in ("images", "masks"):
            for k in range(4):
                if part == "masks" and drawn:
                    continue
                pixels = np.random.default_rng(k).integers(0, 256, (16, 16)).astype(np.uint8)
                pixels = pixels if part == "images" else (pixels > 90).astype(np.uint8) * 255
                (root / part).mkdir(exist_ok=True)
                Pillow.fromarray(pixels).save(root / part / f"a{k}.png")
        if kind in ("geojson", "rois"):
            (root / "masks").mkdir()
            for k in range(4):
                if kind == "geojson":
                    (root / "masks" / f"a{k}.geojson").write_text(json.dumps(_QUPATH))
                else:
                    (root / "masks" / f"a{k}.zip").write_bytes(rois())
        return root

    return give


def rois() -> bytes:
    import roifile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rois.zip"
        for k in range(3):
            points = np.array([[1, 1], [9 + k, 1], [9, 9]], np.float32)
            roi = roifile.ImagejRoi.frompoints(points, name=f"cell-{k}")
            roi.tofile(path)
        return path.read_bytes()


def document_of(root: Path, kind: str) -> Path:
    return root / ("masks/a1.geojson" if kind == "geojson" else kind)


def read_whole(root: Path) -> None:
    """Read a set, and each of its cases."""
    with one_line(root):
        dataset = read_dataset(root)
        assert dataset.cases
        for case in dataset.cases:
            sample = dataset.load(case)
            assert sample.labels.shape == sample.image.shape[1:]
    reported: list[InputError] = []
    with one_line(root):
        dataset = read_dataset(root, on_problem=reported.append)
        assert dataset.cases
    for error in reported:
        assert "\n" not in str(error)


def fuzz_document(folders: Callable[[str], Path], kind: str, examples: int) -> None:
    root, sound = folders(kind), DOCUMENTS[kind]
    path = document_of(root, kind)

    @profile(examples)
    @given(st.sampled_from(places(sound)), _VALUES)
    @example((), sound)
    def fuzz(place: tuple[Any, ...], value: Any) -> None:
        path.write_text(json.dumps(replaced(sound, place, value)), encoding="utf-8")
        read_whole(root)

    @profile(examples)
    @given(mutations())
    def fuzz_text(changes: Any) -> None:
        path.write_bytes(mutated(json.dumps(sound).encode(), changes))
        read_whole(root)

    fuzz()
    fuzz_text()


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_documents(folders: Callable[[str], Path], kind: str) -> None:
    fuzz_document(folders, kind, 30)


@pytest.mark.long
@pytest.mark.parametrize("kind", DOCUMENTS)
def test_many_documents(folders: Callable[[str], Path], kind: str) -> None:
    fuzz_document(folders, kind, 20 * MANY)


_TABLE = "image,mask,split,group\n" + "".join(
    f"images/a{k}.png,masks/a{k}.png,{s},{k}\n"
    for k, s in enumerate(("train", "train", "val", "test"))
)


def fuzz_table(folders: Callable[[str], Path], examples: int) -> None:
    root = folders("dataset.csv")
    path = root / "dataset.csv"

    @profile(examples)
    @given(mutations())
    @example([])
    def fuzz(changes: Any) -> None:
        path.write_bytes(mutated(_TABLE.encode(), changes))
        read_whole(root)

    fuzz()


def fuzz_rois(folders: Callable[[str], Path], examples: int) -> None:
    root, sound = folders("rois"), rois()

    @profile(examples)
    @given(mutations())
    @example([])
    def fuzz(changes: Any) -> None:
        (root / "masks" / "a1.zip").write_bytes(mutated(sound, changes))
        read_whole(root)

    fuzz()


_LEGENDS = (
    (".json", json.dumps([{"name": "cell", "color": [1, 2, 3], "id": 1}])),
    (".yaml", "0: background\n1: [cell, '#ff0000']\n"),
    (".csv", "name,r,g,b\nroad,1,2,3\nwall,255,0,9\n"),
    (".txt", "0 0 0 background\n255 0 0 cell\n"),
)


def fuzz_legend(examples: int) -> None:
    @profile(examples)
    @given(st.sampled_from(_LEGENDS), mutations())
    def fuzz(kind: tuple[str, str], changes: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"classes{kind[0]}"
            path.write_bytes(mutated(kind[1].encode(), changes))
            with one_line(path.parent):  # a legend may count only together with others beside it
                read_legend(path)

    fuzz()


def test_tables(folders: Callable[[str], Path]) -> None:
    fuzz_table(folders, 40)


def test_rois(folders: Callable[[str], Path]) -> None:
    fuzz_rois(folders, 40)


def test_legends() -> None:
    fuzz_legend(200)


@pytest.mark.long
def test_many_tables_rois_and_legends(folders: Callable[[str], Path]) -> None:
    fuzz_table(folders, 20 * MANY)
    fuzz_rois(folders, 20 * MANY)
    fuzz_legend(200 * MANY)
