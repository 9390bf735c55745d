"""Drawings: painted as shapely, COCO's own tools and plain formulas say, whatever a file holds."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from unetkit.data import read_dataset
from unetkit.data.case import Drawing
from unetkit.data.drawings import draw, meaning_of_drawings, name_classes
from unetkit.data.drawings.piece import fill
from unetkit.errors import InputError
from unetkit.evaluation import score

roifile = pytest.importorskip("roifile")
shapely = pytest.importorskip("shapely")
coco_masks = pytest.importorskip("pycocotools.mask")

SPACE = (40, 56)
GEOJSON, COCO, ROIS = Drawing("geojson"), Drawing("coco", key="a.png"), Drawing("rois")
SQUARE = [[4, 4], [20, 4], [20, 20], [4, 20], [4, 4]]


def star(seed: int, points: int = 12, centre: tuple[float, float] = (28, 20)) -> np.ndarray:
    """Give (n, 2) x, y of a polygon with teeth that does not cross itself."""
    chance = np.random.default_rng(seed)
    angle = 2 * np.pi * (np.arange(points) + chance.uniform(0, 0.9, points)) / points
    radius = chance.uniform(3, 18, points)
    return np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], 1)


def covered(shape: Any, space: tuple[int, int] = SPACE) -> np.ndarray:
    """Ask shapely which pixels have their centre inside."""
    y, x = np.indices(space) + 0.5
    return shapely.contains_xy(shape, x, y)


def refused(message: str, *words: Any) -> None:
    with pytest.raises(InputError, match=message) as caught:
        draw(*words)
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------------------- outlines


@pytest.mark.parametrize("seed", range(25))
def test_outlines_enclose_the_centres_that_shapely_says(seed: int) -> None:
    chance = np.random.default_rng(seed)
    outer = star(seed, int(chance.integers(3, 60)), tuple(chance.uniform((-4, -4), (60, 44))))
    hole = outer.mean(0) + 0.3 * (outer - outer.mean(0))
    expected = covered(shapely.Polygon(outer)) & ~covered(shapely.Polygon(hole))
    canvas = np.zeros(SPACE, bool)
    window, inside = fill([outer, hole], SPACE)
    canvas[window] = inside
    np.testing.assert_array_equal(canvas, expected)


def test_a_centre_on_the_line_belongs_to_one_of_two_neighbours() -> None:
    halves = [np.array([[a, 0.5], [b, 0.5], [b, 6.5], [a, 6.5]]) for a, b in ((0.5, 3.5), (3.5, 8))]
    canvas = np.zeros((8, 9), int)
    for half in halves:
        window, inside = fill([half], (8, 9))
        canvas[window] += inside
    assert canvas.max() == 1
    assert canvas[:6, :8].all()
    assert canvas.sum() == 48


def test_many_crossings_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    outline = star(3, 200)
    whole = fill([outline], SPACE)[1]
    monkeypatch.setattr("unetkit.data.drawings.piece._AT_ONCE", 10)
    np.testing.assert_array_equal(fill([outline], SPACE)[1], whole)


# ---------------------------------------------------------------------------------------- GeoJSON


def feature(coordinates: Any, name: str | None = None, kind: str = "Polygon", **more: Any) -> Any:
    properties = {"objectType": "annotation"}
    if name is not None:
        properties["classification"] = {"name": name, "color": [1, 2, 3]}
    geometry = {"type": kind, "coordinates": coordinates, **more}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def geojson(path: Path, *features: Any, form: str = "collection") -> Path:
    content: Any = list(features)
    if form == "collection":
        content = {"type": "FeatureCollection", "features": content}
    path.write_text(json.dumps(content if form != "single" else features[0]))
    return path


def test_polygons_with_holes_and_multipolygons(tmp_path: Path) -> None:
    outer, other = star(1, 20, (20, 20)), star(2, 9, (44, 12))
    hole = outer.mean(0) + 0.25 * (outer - outer.mean(0))
    inner = [outer.tolist(), hole.tolist()]
    many = feature([inner, [other.tolist()]], kind="MultiPolygon")
    expected = covered(shapely.Polygon(outer, [hole])) | covered(shapely.Polygon(other))
    found = draw(geojson(tmp_path / "a.geojson", many), GEOJSON, SPACE)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.int32
    parts = [{"type": "Polygon", "coordinates": one} for one in (inner, [other.tolist()])]
    collection = {"geometry": {"type": "GeometryCollection", "geometries": parts}}
    found = draw(geojson(tmp_path / "b.geojson", collection), GEOJSON, SPACE)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("form", ["collection", "list", "single"])
def test_forms_of_geojson(tmp_path: Path, form: str) -> None:
    found = draw(geojson(tmp_path / "a.json", feature([SQUARE]), form=form), GEOJSON, SPACE)
    assert (found[4:20, 4:20] == 1).all()
    assert found.sum() == 256
    (tmp_path / "b.json").write_text(json.dumps({"type": "Polygon", "coordinates": [SQUARE]}))
    np.testing.assert_array_equal(draw(tmp_path / "b.json", GEOJSON, SPACE), found)
    (tmp_path / "c.json").write_text('{"type": "FeatureCollection", "features": []}')
    assert not draw(tmp_path / "c.json", GEOJSON, SPACE).any()


def test_what_lies_inside_stays_visible(tmp_path: Path) -> None:
    """A nucleus in a cell, whichever was drawn first; of two of one size the later."""
    nucleus = (np.array(SQUARE) / 2 + 4).tolist()
    for order in ((SQUARE, nucleus), (nucleus, SQUARE)):
        found = draw(geojson(tmp_path / "a", *(feature([s]) for s in order)), GEOJSON, SPACE)
        number = 1 + order.index(nucleus)
        assert (found == number).sum() == 64
        assert (found == 3 - number).sum() == 256 - 64
    moved = (np.array(SQUARE) + 8).tolist()
    found = draw(geojson(tmp_path / "a", feature([SQUARE]), feature([moved])), GEOJSON, SPACE)
    assert ((found == 2).sum(), (found == 1).sum()) == (256, 256 - 64)


def test_classes_and_what_is_ignored(tmp_path: Path) -> None:
    """QuPath's `Ignore*`, in every spelling of a class."""
    inner, region = (np.array(SQUARE) / 2 + 4).tolist(), [[30, 0], [50, 0], [50, 9], [30, 9]]
    stroma = feature([region])
    stroma["properties"]["classification"] = "Stroma"
    both = feature([np.add(region, [0, 20]).tolist()])
    both["properties"]["classification"] = {"names": ["Stroma", "Positive"]}
    path = geojson(tmp_path / "a", feature([SQUARE], "Tumor"), feature([inner], "Ignore*"), stroma,
                   both)  # fmt: skip
    assert name_classes(path, "geojson") == ("Stroma", "Stroma: Positive", "Tumor")
    drawing = Drawing("geojson", classes=name_classes(path, "geojson"))
    found = draw(path, drawing, SPACE)
    assert {v: int((found == v).sum()) for v in (-1, 1, 2, 3)} == {-1: 64, 1: 180, 2: 180, 3: 192}
    found = draw(path, GEOJSON, SPACE)  # objects by number
    assert np.unique(found).tolist() == [-1, 0, 1, 2, 3]
    listed = Drawing("geojson", classes=("Ignore*", *drawing.classes))
    np.testing.assert_array_equal(draw(path, listed, SPACE), draw(path, drawing, SPACE))
    assert meaning_of_drawings([listed]) == meaning_of_drawings([drawing])


def test_slices_of_a_stack(tmp_path: Path) -> None:
    one = feature([SQUARE], plane={"c": -1, "z": 2, "t": 0})
    found = draw(geojson(tmp_path / "a", one), GEOJSON, (4, *SPACE))
    assert found.shape == (4, *SPACE)
    assert found.sum((1, 2)).tolist() == [0, 0, 256, 0]
    one["geometry"]["plane"]["z"] = 4
    refused("annotation 1 is on slice 4, the image has slices 0 to 3",
            geojson(tmp_path / "a", one), GEOJSON, (4, *SPACE))  # fmt: skip


WRONG = {
    "{": "is no readable JSON .*; it is damaged or cut short",
    "[" * 100_000: "is no readable JSON",
    "3": "is no GeoJSON: it lists no features; export",
    '{"a": 1}': "is no GeoJSON",
    '{"features": 3}': "is no GeoJSON",
    '[{"geometry": null}]': "annotation 1 is without a geometry, no area; delete it, or draw",
    '[{"geometry": {"type": "Point", "coordinates": [1, 2]}}]': "annotation 1 is a Point, no area",
    '[{"type": "LineString", "coordinates": [[1, 2], [3, 4]]}]': "is a LineString, no area",
    '[{"type": "Polygon", "coordinates": []}]': "annotation 1 is an empty area",
    '[{"type": "Polygon"}]': "annotation 1 is an empty area",
    '[{"type": "MultiPolygon", "coordinates": [[]]}]': "annotation 1 is an empty area",
    '[{"type": "GeometryCollection", "geometries": []}]': "is an empty or nested collection",
    '[{"type": "Polygon", "coordinates": [[[1, 2], [3, 4]]]}]': "has 2 points and encloses nothing",
    '[{"type": "Polygon", "coordinates": [[[1, 2], [3], [4, 5]]]}]': "are no pairs of numbers",
    '[{"type": "Polygon", "coordinates": [[[1, 2], [3, NaN], [4, 5]]]}]': "are no pairs of numbers",
    '[{"type": "Polygon", "coordinates": [[[1, 2], [3, 1e999], [4, 5]]]}]': "are no pairs",
    '[{"type": "Polygon", "coordinates": [["a", "b", "c"]]}]': "are no pairs of numbers",
    '[{"type": "Polygon", "coordinates": [{"a": 1}]}]': "are no pairs of numbers",
    '[{"type": "Polygon", "coordinates": [[[60, 1], [70, 1], [65, 9]]]}]': (
        "annotation 1 lies at x 60 to 70, y 1 to 9, outside of an image 56 wide and 40 high; export"
    ),
    '[{"type": "Polygon", "coordinates": [[[0, 0], [5000, 0], [0, 5000]]]}]': "x 0 to 5000",
}


@pytest.mark.parametrize("text", WRONG)
def test_each_mistake_of_geojson_has_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.geojson").write_text(text)
    refused(r"a\.geojson: .*" + WRONG[text], tmp_path / "a.geojson", GEOJSON, SPACE)


def test_more_mistakes_of_geojson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused("no such file; check", tmp_path / "none", GEOJSON, SPACE)
    refused("cannot be read", tmp_path, GEOJSON, SPACE)
    drawing = Drawing("geojson", classes=("Tumor", "Stroma"))
    refused("annotation 1 is of the class Fat, the set has Tumor, Stroma; give it",
            geojson(tmp_path / "a", feature([SQUARE], "Fat")), drawing, SPACE)  # fmt: skip
    refused("annotation 1 has no class", geojson(tmp_path / "a", feature([SQUARE])), drawing, SPACE)
    chance = np.random.default_rng(0)
    wild = chance.uniform(0, 40, (2000, 2)).tolist()
    monkeypatch.setattr("unetkit.data.drawings.piece._MOST_CROSSINGS", 1000)
    refused("has too many and too long lines; simplify",
            geojson(tmp_path / "a", feature([wild])), GEOJSON, SPACE)  # fmt: skip
    monkeypatch.setattr("unetkit.data.drawings.geojson._MOST_BYTES", 10)
    refused("is larger than 0 GiB; divide", tmp_path / "a", GEOJSON, SPACE)


# ------------------------------------------------------------------------------------------- COCO


def coco(path: Path, *annotations: Any, **more: Any) -> Path:
    listed = [{"id": 7 + k, "image_id": 3, "category_id": 2, "iscrowd": 0, **one}
              for k, one in enumerate(annotations)]  # fmt: skip
    content = {
        "images": [{"id": 3, "file_name": "a.png", "height": SPACE[0], "width": SPACE[1]}],
        "annotations": listed,
        "categories": [{"id": 5, "name": "rod"}, {"id": 2, "name": "cell"}, {"id": 9, "name": "x"}],
        **more,
    }
    path.write_text(json.dumps(content))
    return path


# What newer NumPy warns of in pycocotools' own `decode`.
OLD = pytest.mark.filterwarnings("ignore:__array__ implementation")


def by_their_own_tools(path: Path) -> list[np.ndarray]:
    from pycocotools import coco as theirs

    with contextlib.redirect_stdout(io.StringIO()):
        reader = theirs.COCO(str(path))
    return [reader.annToMask(one).astype(bool) for one in reader.dataset["annotations"]]


@OLD
@pytest.mark.parametrize("seed", range(20))
def test_polygons_are_those_of_cocos_own_tools(tmp_path: Path, seed: int) -> None:
    chance = np.random.default_rng(seed)
    centre = tuple(chance.uniform((-2, -2), (58, 42)))
    parts = [star(seed, int(chance.integers(3, 40)), centre), star(seed + 99, 5, (50, 34))]
    path = coco(tmp_path / "a.json", {"segmentation": [part.ravel().tolist() for part in parts]})
    np.testing.assert_array_equal(draw(path, COCO, SPACE) == 1, by_their_own_tools(path)[0])


@OLD
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_run_lengths_are_those_of_cocos_own_tools(tmp_path: Path, seed: int, packed: bool) -> None:
    chance = np.random.default_rng(seed)
    inside = chance.random(SPACE) < chance.choice([0, 0.01, 0.5, 1])
    inside[: seed * 4] = seed % 2
    drawn = coco_masks.encode(np.asfortranarray(inside.astype(np.uint8)))
    drawn = {"size": list(SPACE), "counts": drawn["counts"].decode()}
    if not packed:
        columns = np.concatenate([[False], inside.ravel(order="F")])
        edges = np.flatnonzero(columns[1:] != columns[:-1])
        drawn["counts"] = np.diff(np.concatenate([[0], edges, [inside.size]])).tolist()
    path = coco(tmp_path / "a.json", {"segmentation": drawn})
    np.testing.assert_array_equal(draw(path, COCO, SPACE) == 1, inside)
    np.testing.assert_array_equal(by_their_own_tools(path)[0], inside)


@OLD
def test_crowds_are_ignored_and_classes_named(tmp_path: Path) -> None:
    crowd = {"size": list(SPACE), "counts": [0, 40 * 30, 40 * 26]}
    square = np.array(SQUARE[:4]).ravel().tolist()
    path = coco(
        tmp_path / "a.json",
        {"segmentation": [square]},
        {"segmentation": crowd, "iscrowd": 1},
        {"segmentation": [(np.array(square) + 15).tolist()], "category_id": 5},
    )
    assert name_classes(path, "coco") == ("cell", "rod")  # by id, and none without objects
    found = draw(path, COCO, SPACE)
    assert np.unique(found).tolist() == [-1, 0, 1, 2]
    cell = by_their_own_tools(path)[0]
    assert (found[cell] == 1).sum() > 200  # the object is seen on the crowd
    classes = draw(path, Drawing("coco", key="a.png", classes=("cell", "rod")), SPACE)
    np.testing.assert_array_equal(classes, found)
    swapped = draw(path, Drawing("coco", key="a.png", classes=("rod", "cell")), SPACE)
    np.testing.assert_array_equal(swapped, np.choose(found + 1, [-1, 0, 2, 1]))


def test_images_without_objects_and_files_that_change(tmp_path: Path) -> None:
    path = coco(tmp_path / "a.json")
    assert not draw(path, COCO, SPACE).any()
    before = path.stat()
    coco(path, {"segmentation": [[4, 4, 20, 4, 20, 20, 4, 20], [1, 1, 2, 2]]})
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    assert draw(path, COCO, SPACE).any()
    flat = coco(tmp_path / "b.json", {"segmentation": [4, 4, 20, 4, 20, 20, 4, 20]})
    np.testing.assert_array_equal(draw(flat, COCO, SPACE), draw(path, COCO, SPACE))
    plain = {"segmentation": [[4, 4, 20, 4, 20, 20, 4, 20]], "image_id": 3}
    elsewhere = {"image_id": 99, "segmentation": [[1, 1, 2, 1, 5, 5]]}
    bare = coco(tmp_path / "d.json", plain, elsewhere, categories=[])
    np.testing.assert_array_equal(draw(bare, COCO, SPACE), draw(path, COCO, SPACE))
    nothing = coco(tmp_path / "c.json", {"segmentation": [[1, 1, 2, 2]]})
    assert not draw(nothing, COCO, SPACE).any()


def test_an_image_is_found_by_its_name_alone(tmp_path: Path) -> None:
    image = {"id": 3, "file_name": "set\\images/a.png", "height": SPACE[0], "width": SPACE[1]}
    square = {"segmentation": [np.array(SQUARE).ravel().tolist()]}
    path = coco(tmp_path / "a.json", square, images=[image])
    assert draw(path, Drawing("coco", key="train/a.png"), SPACE).any()
    refused("names no image b.png; let", path, Drawing("coco", key="b.png"), SPACE)
    path = coco(
        tmp_path / "a.json", square, images=[image, {**image, "id": 4, "file_name": "a.png"}]
    )
    refused("names 2 images x/a.png", path, Drawing("coco", key="x/a.png"), SPACE)


@pytest.mark.parametrize(("annotation", "message"), [
    ({"bbox": [1, 2, 3, 4]}, r"annotation 1 \(a\.png\) has no segmentation, only a box; outline"),
    ({"segmentation": [], "bbox": [1, 2, 3, 4]}, "has no segmentation, only a box"),
    ({}, "has no segmentation; outline"),
    ({"segmentation": "text"}, "the points of annotation 1 .* are no list"),
    ({"segmentation": [[1, 2, 3]]}, "are no pairs of numbers"),
    ({"segmentation": [[1, 2, 3, 4, 5, "x"]]}, "are no pairs of numbers"),
    ({"segmentation": [[1, 2, 3, 4, 5, float("nan")]]}, "are no pairs of numbers"),
    ({"segmentation": [None]}, "are no pairs of numbers"),
    ({"segmentation": [[1, 1, 10**9, 1, 5, 5]]}, "lies at x 1 to 1e.09, .*outside of an image"),
    ({"segmentation": [[1, 1, 2, 1, 5, 5]], "category_id": 4}, "has no category"),
    ({"segmentation": [[1, 1, 2, 1, 5, 5]], "category_id": None}, "has no category"),
    ({"segmentation": {"size": [40, 50], "counts": [2000]}}, r"for a size of \[40, 50\], the"),
    ({"segmentation": {"size": [40, 56], "counts": [2000]}}, "run lengths of .* do not fill it"),
    ({"segmentation": {"size": [40, 56], "counts": [2241, -1]}}, "do not fill it"),
    ({"segmentation": {"size": [40, 56], "counts": [2**70]}}, "do not fill it"),
    ({"segmentation": {"size": [40, 56], "counts": [2**63 - 1, 2**63 - 1, 2242]}}, "not fill it"),
    ({"segmentation": {"size": [40, 56], "counts": []}}, "do not fill it"),
    ({"segmentation": {"size": [40, 56], "counts": [[1], 2]}}, "do not fill it"),
    ({"segmentation": {"size": [40, 56], "counts": "o" * 99}}, "do not fill it"),
    ({"segmentation": {"size": [40, 56], "counts": "\x00é"}}, "do not fill it"),
    ({"segmentation": {"size": [40, 56]}}, "do not fill it"),
    ({"image_id": [3], "segmentation": [[1, 1, 2, 1, 5, 5]]}, "lacks what it needs"),
    ({"category_id": [1], "segmentation": [[1, 1, 2, 1, 5, 5]]}, "lacks what it needs"),
])  # fmt: skip
def test_each_mistake_of_coco_has_its_line(
    tmp_path: Path, annotation: dict[str, Any], message: str
) -> None:
    refused(r"a\.json: .*" + message, coco(tmp_path / "a.json", annotation), COCO, SPACE)


def test_more_mistakes_of_coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    refused("cannot be read .No such file", path, COCO, SPACE)
    for text in ("[]", "{}", '{"images": [], "annotations": {}, "categories": []}',
                 '{"images": [3], "annotations": [], "categories": []}'):  # fmt: skip
        path.write_text(text)
        refused("is no COCO: it lacks images, annotations; export", path, COCO, SPACE)
    image = {"id": 3, "file_name": "a.png", "height": 40, "width": 56}
    refused("lacks what it needs", coco(path, images=[{"id": 3}]), COCO, SPACE)
    refused(r"names the image a\.png twice; keep",
            coco(path, images=[image, {**image, "id": 4}]), COCO, SPACE)  # fmt: skip
    refused(r"a\.png is 40 × 56 in it and 56 × 40 \(y, x\) as it is; it looks transposed",
            coco(path), COCO, SPACE[::-1])  # fmt: skip
    refused("is 40 × 56 in it and 80 × 112 .*; give the images at the size", path, COCO, (80, 112))
    refused("outlines flat images, this is a stack", path, COCO, (3, *SPACE))
    coco(path, {"segmentation": [[1, 1, 20, 1, 5, 15]]})
    monkeypatch.setattr("unetkit.data.drawings.coco._MOST_STEPS", 10)
    refused("has too many and too long lines", path, COCO, SPACE)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    refused(r"polygons need pycocotools; pip install 'unetkit\[vectors\]'", path, COCO, SPACE)


# ------------------------------------------------------------------------------------------- ROIs


def roi(points: Any, **more: Any) -> Any:
    one = roifile.ImagejRoi.frompoints(np.asarray(points), name=more.pop("name", "r"))
    for key, value in more.items():
        setattr(one, key, value)
    return one


def box(kind: str, left: int, top: int, right: int, bottom: int, **more: Any) -> Any:
    one = roifile.ImagejRoi()
    one.roitype = roifile.ROI_TYPE[kind]
    one.left, one.top, one.right, one.bottom = left, top, right, bottom
    for key, value in more.items():
        setattr(one, key, value)
    return one


def rois(path: Path, *regions: Any) -> Path:
    path.unlink(missing_ok=True)
    roifile.roiwrite(path, list(regions), name=[f"{k:03}.roi" for k in range(len(regions))])
    return path


@pytest.mark.parametrize("kind", ["POLYGON", "FREEHAND", "TRACED"])
@pytest.mark.parametrize("whole", [True, False])
def test_regions_enclose_the_centres_that_shapely_says(
    tmp_path: Path, kind: str, whole: bool
) -> None:
    points = star(5, 16)
    points = points.round().astype(int) if whole else points.astype(np.float32)
    one = roi(points, roitype=roifile.ROI_TYPE[kind])
    found = draw(rois(tmp_path / "a.zip", one), ROIS, SPACE)
    shape = shapely.Polygon(points)
    y, x = np.indices(SPACE) + 0.5
    clear = shapely.distance(shape.boundary, shapely.points(x, y)) > 1e-6  # not on the very line
    np.testing.assert_array_equal(found[clear], covered(shape)[clear])
    one.tofile(tmp_path / "a.roi")
    np.testing.assert_array_equal(draw(tmp_path / "a.roi", ROIS, SPACE), found)


def test_rectangles_and_ovals(tmp_path: Path) -> None:
    path = rois(tmp_path / "a.zip", box("RECT", 3, 5, 13, 9), box("OVAL", 20, 4, 51, 35))
    found = draw(path, ROIS, SPACE)
    assert (found[5:9, 3:13] == 1).all()
    assert (found == 1).sum() == 40
    y, x = np.indices(SPACE) + 0.5
    np.testing.assert_array_equal(found == 2, np.hypot(x - 35.5, y - 19.5) < 15.5)
    options = roifile.ROI_OPTIONS.SUB_PIXEL_RESOLUTION
    fine = box("OVAL", 0, 0, 9, 9, options=options, xd=7.3, yd=4.2, widthd=20.5, heightd=11.1)
    found = draw(rois(tmp_path / "b.zip", fine), ROIS, SPACE)
    inside = ((x - 17.55) / 10.25) ** 2 + ((y - 9.75) / 5.55) ** 2 < 1
    np.testing.assert_array_equal(found == 1, inside)
    round_one = box("RECT", 4, 4, 44, 34, rounded_rect_arc_size=20)
    found = draw(rois(tmp_path / "c.zip", round_one), ROIS, SPACE)
    soft = shapely.box(14, 14, 34, 24).buffer(10, quad_segs=500)
    np.testing.assert_array_equal(found == 1, covered(soft))


def test_composites_have_holes_and_curves(tmp_path: Path) -> None:
    k = 4 * (np.sqrt(2) - 1) / 3 * 8  # a circle of radius 8 around (30, 20) in four curves
    circle = [0, 38, 20, 3, 38, 20 + k, 30 + k, 28, 30, 28, 3, 30 - k, 28, 22, 20 + k, 22, 20,
              3, 22, 20 - k, 30 - k, 12, 30, 12, 3, 30 + k, 12, 38, 20 - k, 38, 20, 4]  # fmt: skip
    square = [0, 10, 5, 1, 50, 5, 1, 50, 35, 1, 10, 35, 4]
    path = np.array(square + circle, np.float32)
    one = box("RECT", 10, 5, 50, 35, shape_roi_size=len(path), multi_coordinates=path)
    found = draw(rois(tmp_path / "a.zip", one), ROIS, SPACE)
    y, x = np.indices(SPACE) + 0.5
    expected = (x > 10) & (x < 50) & (y > 5) & (y < 35) & (np.hypot(x - 30, y - 20) > 8)
    np.testing.assert_array_equal(found == 1, expected)


def test_regions_of_a_stack_and_of_classes(tmp_path: Path) -> None:
    first = roi(SQUARE, position=2, name="cell-1")
    every = roi(np.add(SQUARE, [25, 0]), name="rod-1")
    deep = roi(SQUARE, z_position=3, position=7, name="cell wall-2")
    path = rois(tmp_path / "a.zip", first, every, deep)
    found = draw(path, ROIS, (3, *SPACE))
    assert [np.unique(page).tolist() for page in found] == [[0, 2], [0, 1, 2], [0, 2, 3]]
    drawing = Drawing("rois", classes=("cell", "cell wall", "rod"))
    classes = draw(path, drawing, (3, *SPACE))
    assert [np.unique(page).tolist() for page in classes] == [[0, 3], [0, 1, 3], [0, 2, 3]]
    refused("001.roi|is on slice 3, the image has 2", path, ROIS, (2, *SPACE))
    refused("holds regions of 2 slices, the image is flat; save", path, ROIS, SPACE)
    assert draw(rois(tmp_path / "b.zip", first), ROIS, SPACE).any()
    refused("the region 000.roi is of the class cell-1, the set has a",
            rois(tmp_path / "b.zip", first), Drawing("rois", classes=("a", "b")),
            SPACE)  # fmt: skip


@pytest.mark.parametrize(("one", "message"), [
    (roi(SQUARE, roitype=roifile.ROI_TYPE.POLYLINE), "is of the kind polyline, which encloses"),
    (roi(SQUARE, roitype=roifile.ROI_TYPE.POINT), "is of the kind point, which encloses"),
    (box("LINE", 1, 1, 9, 9), "is of the kind line"),
    (box("RECT", 5, 5, 5, 9), "has no area"),
    (roi([[1, 1], [5, 5]]), "has 2 points and encloses nothing"),
    (roi(np.array(SQUARE) + 100), r"lies at x 104 to 120, .*outside of an image"),
    (box("RECT", 5, 5, 9, 9, shape_roi_size=2, multi_coordinates=np.array([4, 9], np.float32)),
     "is damaged"),
    (box("RECT", 5, 5, 9, 9, shape_roi_size=3, multi_coordinates=np.array([0, 9, 9], np.float32)),
     "has no area"),
    (box("RECT", 5, 5, 9, 9, shape_roi_size=2,
         multi_coordinates=np.array([0, np.nan], np.float32)), "is damaged"),
])  # fmt: skip
def test_each_mistake_of_rois_has_its_line(tmp_path: Path, one: Any, message: str) -> None:
    refused(r"a\.zip: the region 000\.roi " + message, rois(tmp_path / "a.zip", one), ROIS, SPACE)


def test_zips_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zip"
    refused("no such file", path, ROIS, SPACE)
    for content in (b"", b"PK\x03\x04 rubbish", b"x" * 100):
        path.write_bytes(content)
        refused("is no readable file of ImageJ regions; it is damaged", path, ROIS, SPACE)
    sound = roi(SQUARE).tobytes()
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("readme.txt", "nothing")
    refused("holds no .roi; save", path, ROIS, SPACE)
    with zipfile.ZipFile(path, "w") as bundle:
        for name in ("../../escaped.roi", "/tmp/absolute.roi", "__MACOSX/._a.roi", "folder/"):
            bundle.writestr(name, sound if "._" not in name else b"rubbish")
    before = sorted(tmp_path.parent.iterdir())
    assert draw(path, ROIS, SPACE).max() == 2
    assert sorted(tmp_path.parent.iterdir()) == before
    assert not Path("/tmp/absolute.roi").exists()
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("a.roi", b"rubbish")
    refused(r"the region a\.roi cannot be read \(.*too short", path, ROIS, SPACE)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("a.roi", bytes(10**6))
    monkeypatch.setattr("unetkit.data.drawings.rois._MOST_BYTES", 10**5)
    refused("holds more than regions ever need; divide", path, ROIS, SPACE)
    monkeypatch.setattr("unetkit.data.drawings.rois._MOST_ENTRIES", 0)
    refused("holds more than regions ever need; divide", path, ROIS, SPACE)
    monkeypatch.undo()
    (tmp_path / "a.roi").write_bytes(sound)
    monkeypatch.setitem(sys.modules, "roifile", None)
    refused(r"need roifile; pip install 'unetkit\[vectors\]'", tmp_path / "a.roi", ROIS, SPACE)


def test_damaged_regions_are_refused_or_painted(tmp_path: Path) -> None:
    """Cut short or with changed bytes: an array or one line, never anything else."""
    path, sound = tmp_path / "a.roi", roi(star(1)).tobytes()
    chance = np.random.default_rng(0)
    for trial in range(400):
        changed = bytearray(sound)
        for place in chance.integers(0, len(sound), 3):
            changed[place] = chance.integers(256)
        path.write_bytes(bytes(changed) if trial % 2 else sound[: int(chance.integers(len(sound)))])
        with contextlib.suppress(InputError):
            draw(path, ROIS, SPACE)


# ---------------------------------------------------------------------------------------- objects


def objects(folder: Path, *masks: np.ndarray, suffix: str = ".png") -> Drawing:
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for k, mask in enumerate(masks):
        Pillow.fromarray(mask).save(
            folder / f"{k}{suffix}", **{"quality": 70} if "j" in suffix else {}
        )
    return Drawing("objects", parts=tuple(sorted(folder.iterdir())))


def patch(top: int, left: int, size: int, value: int = 255) -> np.ndarray:
    mask = np.zeros(SPACE, np.uint8)
    mask[top : top + size, left : left + size] = value
    return mask


def test_one_picture_per_object(tmp_path: Path) -> None:
    colour = np.zeros((*SPACE, 3), np.uint8)
    colour[30:34, 40:44] = (200, 0, 90)
    drawing = objects(
        tmp_path / "o", patch(2, 2, 8), np.zeros(SPACE, np.uint8), patch(20, 30, 6, 1), colour
    )
    found = draw(tmp_path / "o", drawing, SPACE)
    expected = np.zeros(SPACE, int)
    expected[2:10, 2:10], expected[20:26, 30:36], expected[30:34, 40:44] = 1, 2, 3
    np.testing.assert_array_equal(found, expected)
    blurred = draw(tmp_path / "j", objects(tmp_path / "j", patch(2, 2, 8), suffix=".jpg"), SPACE)
    np.testing.assert_array_equal(blurred == 1, expected == 1)
    assert not draw(tmp_path, Drawing("objects"), SPACE).any()


def test_objects_may_overlap_but_not_vanish(tmp_path: Path) -> None:
    drawing = objects(tmp_path / "o", patch(2, 2, 8), patch(2, 6, 8))
    found = draw(tmp_path / "o", drawing, SPACE)
    assert ((found == 1).sum(), (found == 2).sum()) == (32, 64)  # the later one
    drawing = objects(tmp_path / "o", patch(2, 2, 8), patch(2, 2, 20))
    assert (draw(tmp_path / "o", drawing, SPACE) == 1).sum() == 64  # the smaller one
    drawing = objects(tmp_path / "o", patch(2, 2, 8), patch(2, 5, 8), patch(2, 2, 8))
    refused(r"o: of 0\.png 100% is hidden by other objects; remove", tmp_path / "o", drawing, SPACE)


def test_objects_of_another_size(tmp_path: Path) -> None:
    drawing = objects(tmp_path / "o", patch(2, 2, 8)[:30])
    refused(r"0\.png: the object is 30 × 56 and its image 40 × 56; make",
            tmp_path / "o", drawing, SPACE)  # fmt: skip
    (tmp_path / "o" / "0.png").write_bytes(b"rubbish")
    refused(r"0\.png: ", tmp_path / "o", drawing, SPACE)


# ---------------------------------------------------------------------------------------- meaning


def test_what_drawings_mean() -> None:
    one = meaning_of_drawings([GEOJSON, ROIS])
    assert (one.kind, one.classes, one.values) == ("instances", ("background", "object"), (0,))
    assert (
        one.sentence == "masks are objects outlined in GeoJSON or objects outlined as ImageJ ROIs"
    )
    named = meaning_of_drawings([Drawing("objects", classes=("nucleus",))] * 3)
    assert (named.kind, named.classes) == ("instances", ("background", "nucleus"))
    many = meaning_of_drawings([Drawing("coco", classes=("cell", "rod"))])
    assert (many.kind, many.classes) == ("semantic", ("background", "cell", "rod"))
    assert many.values == (0, 1, 2)
    assert many.sentence == "masks are objects outlined in COCO's JSON, of 2 classes"
    assert many.task(3, 2).values == (0, 1, 2)
    with pytest.raises(InputError, match="2 lists of classes in one set"):
        meaning_of_drawings([GEOJSON, Drawing("geojson", classes=("a", "b"))])


# ------------------------------------------------------------------------------------- whole sets


def scene(root: Path, form: str) -> np.ndarray:
    """Write three images of two squares each, their labels in one form; give the squares."""
    boxes = [(4, 4, 16, 20), (30, 10, 44, 30)]  # x, y, x, y
    expected = np.zeros(SPACE, int)
    rings = [[[a, b], [c, b], [c, d], [a, d], [a, b]] for a, b, c, d in boxes]
    for number, (left, top, right, bottom) in enumerate(boxes, start=1):
        expected[top:bottom, left:right] = number
    images, annotations = [], []
    for k in range(3):
        name = f"im{k}"
        folder = root / name / "images" if form == "objects" else root / "images"
        folder.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(np.full(SPACE, 50 * k, np.uint8) + expected.astype(np.uint8)).save(
            folder / f"{name}.png"
        )
        images.append({"id": k, "file_name": f"{name}.png", "height": 40, "width": 56})
        for ring in rings:
            drawn = [np.array(ring[:4]).ravel().tolist()]
            annotations.append({"image_id": k, "category_id": 1, "segmentation": drawn})
        masks = root / name / "masks" if form == "objects" else root / "masks"
        masks.mkdir(parents=True, exist_ok=True)
        if form == "objects":
            for number in (1, 2):
                picture = Pillow.fromarray(((expected == number) * 255).astype(np.uint8))
                picture.save(masks / f"{number}.png")
        elif form == "geojson":
            geojson(masks / f"{name}.geojson", *(feature([ring]) for ring in rings))
        elif form == "rois":
            rois(masks / f"{name}.zip", *(roi(ring) for ring in rings))
    if form == "coco":
        masks.rmdir()
        categories = [{"id": 1, "name": "cell"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations").mkdir()
        (root / "annotations" / "instances_all.json").write_text(json.dumps(content))
    return expected


@pytest.mark.parametrize("form", ["objects", "geojson", "rois", "coco"])
def test_a_set_of_drawings_is_read_and_scored(tmp_path: Path, form: str) -> None:
    expected = scene(tmp_path / "set", form)
    dataset = read_dataset(tmp_path / "set")
    assert (dataset.task.kind, dataset.task.values) == ("instances", (0,))
    sample = dataset.load(dataset.cases[1])
    assert sample.instances is not None
    np.testing.assert_array_equal(sample.labels, expected > 0)
    np.testing.assert_array_equal(sample.instances, expected)
    (tmp_path / "said").mkdir()
    for case in dataset.cases:
        Pillow.fromarray(expected.astype(np.uint8)).save(tmp_path / "said" / f"{case.id}.png")
    metrics = score(tmp_path / "said", tmp_path / "set", instances=True, split="all")
    assert (metrics["mean"]["dice"], metrics["mean"]["ap"]) == (1, 1)
    assert metrics["mean"]["objects_true"] == 2
