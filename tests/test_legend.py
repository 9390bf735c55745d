"""Legends: every form that sets ship with says the same, and what is ambiguous says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unetkit.data.colours import colour_name, pack, read_colour, unpack
from unetkit.data.legend import Legend, find_legend, is_ignored, legend_of, read_legend
from unetkit.errors import InputError

DATA = Path(__file__).parents[1].parent / "shared" / "data"


def written(folder: Path, content: object, name: str = "classes.json") -> Legend:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_legend(path)


NUMBERS = {0: "background", 1: "road", 7: "car"}
COLOURS = {0x000000: "background", 0x6EC1E4: "road", 0xFF0000: "car"}


@pytest.mark.parametrize("content", [
    {"0": "background", "1": "road", "7": "car"},
    {"7": "car", "1": "road", "0": "background"},
    {"background": 0, "road": 1, "car": 7},
    {"background": "0", "road": "1", "car": "7"},
    {"classes": {"0": "background", "1": "road", "7": "car"}, "tags": []},
    [{"name": "background", "value": 0}, {"name": "car", "value": 7}, {"name": "road", "value": 1}],
    {"classes": [{"title": "background", "id": 0}, {"title": "road", "id": 1},
                 {"title": "car", "id": 7}]},
])  # fmt: skip
def test_numbers(tmp_path: Path, content: object) -> None:
    legend = written(tmp_path, content)
    assert list(legend.names.items()) == list(NUMBERS.items())
    assert (legend.ignore, legend.colours, legend.twin) == ((), False, None)
    assert legend.source == "classes.json"


def test_a_list_numbers_its_names(tmp_path: Path) -> None:
    assert written(tmp_path, ["sky", "road"]).names == {0: "sky", 1: "road"}


@pytest.mark.parametrize("content", [
    {"#000000": "background", "#6EC1E4": "road", "#FF0000": "car"},
    {"#000": "background", "#6ec1e4": "road", "#f00": "car"},
    {"0,0,0": "background", "110, 193, 228": "road", "rgb(255, 0, 0)": "car"},
    {"background": "#000000", "road": "#6EC1E4FF", "car": "rgba(255,0,0,255)"},
    {"background": [0, 0, 0], "road": [110, 193, 228], "car": [255, 0, 0, 255]},
    {"road": "110 193 228", "background": "(0,0,0)", "car": "[255,0,0]"},
    {"classes": [{"title": "background", "shape": "polygon", "color": "#000000"},
                 {"title": "road", "color": "#6EC1E4", "geometry_config": {}},
                 {"title": "car", "color": "#FF0000"}], "tags": []},
])  # fmt: skip
def test_colours(tmp_path: Path, content: object) -> None:
    legend = written(tmp_path, content)
    assert legend.names == COLOURS
    assert next(iter(legend.names)) == 0  # the background first, wherever it stood
    assert (legend.ignore, legend.colours, legend.twin) == ((), True, None)


@pytest.mark.parametrize("text", [
    "name,r,g,b\nbackground,0,0,0\nroad,110,193,228\ncar,255,0,0\n",
    "name, r, g, b\r\nbackground, 0, 0, 0\r\nroad, 110, 193, 228\r\ncar, 255, 0, 0\r\n",
    "\ufeffname;red;green;blue\nbackground;0;0;0\nroad;110;193;228\ncar;255;0;0",
    "0 0 0\tbackground\n110 193 228\t\troad\n255 0 0\tcar\n",
    "0 0 0 background\n110 193 228 road\n255 0 0 car",
    "background,0,0,0\nroad,110,193,228\ncar,255,0,0\n",
    "0,0,0,background\n110,193,228,road\n255,0,0,car\n",
    "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:110,193,228::\ncar:255,0,0::\n",
    'label,color\nbackground,"#000000"\nroad,"110,193,228"\ncar,#FF0000\n',
    "background\t#000000\nroad\t#6EC1E4\ncar\t#FF0000\n",
])  # fmt: skip
def test_tables_of_colours(tmp_path: Path, text: str) -> None:
    legend = written(tmp_path, text, "class_dict.csv")
    assert (legend.names, legend.colours) == (COLOURS, True)
    assert legend.source == "class_dict.csv"


@pytest.mark.parametrize("text", [
    "name,value\nbackground,0\nroad,1\ncar,7\n", "id,name\n0,background\n1,road\n7,car\n",
    "0 background\n1 road\n7 car\n", "0: background\n1: road\n7: car\n",
    "background 0\nroad 1\ncar 7\n", "value\tlabel\n0\tbackground\n1\troad\n7\tcar\n",
])  # fmt: skip
def test_tables_of_numbers(tmp_path: Path, text: str) -> None:
    legend = written(tmp_path, text, "labels.txt")
    assert (legend.names, legend.colours) == (NUMBERS, False)


def test_a_name_may_have_blanks_and_commas(tmp_path: Path) -> None:
    assert written(tmp_path, "0 sky\n1 traffic light\n", "a.txt").names[1] == "traffic light"
    assert written(tmp_path, "64 128 64 street lamp\n0 0 0 sky", "a.txt").names[0x408040]
    assert written(tmp_path, 'name,value\nsky,0\n"cars, lorries",1\n', "a.csv").names[1] == (
        "cars, lorries"
    )


def test_numbers_and_colours_together_are_two_legends(tmp_path: Path) -> None:
    content = [{"name": name, "id": number, "color": colour_name(colour)} for (number, name), colour
               in zip(NUMBERS.items(), COLOURS, strict=True)]  # fmt: skip
    text = "id,name,r,g,b\n0,background,0,0,0\n1,road,110,193,228\n7,car,255,0,0\n"
    for legend in (written(tmp_path, content), written(tmp_path, text, "a.csv")):
        assert (legend.names, legend.colours) == (NUMBERS, False)
        assert legend.twin is not None
        assert (legend.twin.names, legend.twin.colours) == (COLOURS, True)
    for entry in content:
        entry["color"] = "#000000"  # for show
    assert written(tmp_path, content).twin is None


def test_two_numbers_of_one_name_stay_two_numbers(tmp_path: Path) -> None:
    legend = written(tmp_path, {"0": "sky", "1": "car", "2": "car"})
    assert legend.names == {0: "sky", 1: "car", 2: "car"}


# ---------------------------------------------------------------------------------------- ignored


@pytest.mark.parametrize(("names", "ignore"), [
    ({0: "sky", 1: "road", 11: "unlabelled(ignore)"}, (11,)),
    ({0: "sky", 1: "road", 2: "Void"}, (2,)),
    ({0: "Unlabeled", 1: "building", 2: "land"}, (0,)),
    ({0: "unlabelled", 1: "building", 2: "land", -1: "no data"}, (0, -1)),
    ({0: "a", 1: "b", 2: "nodata", 3: "unannotated"}, (2, 3)),
    ({0: "a", 1: "avoidance lane", 2: "voids"}, ()),
    ({0: "a", 1: "b", 2: "IGNORED"}, (2,)),
    # where one class would be left, what is not labelled is its background
    ({0: "unlabelled", 1: "building"}, ()),
    ({0: "solid", 1: "void"}, ()),
    ({0: "solid", 1: "void", 255: "ignore"}, (255,)),
])  # fmt: skip
def test_what_does_not_count(names: dict[int, str], ignore: tuple[int, ...]) -> None:
    legend = legend_of(names)
    assert legend.ignore == ignore
    assert set(legend.names) == set(names) - set(ignore)
    assert all(is_ignored(names[number]) for number in ignore)


def test_one_class_has_a_background() -> None:
    assert legend_of({255: "vessel"}).names == {0: "background", 255: "vessel"}
    assert legend_of({255: "vessel", 7: "ignore"}).names == {0: "background", 255: "vessel"}
    painted = legend_of({0xFF0000: "roof"}, colours=True)
    assert list(painted.names) == [0, 0xFF0000]


def test_the_background_comes_first() -> None:
    assert list(legend_of({0: "cell", 255: "Background"}).names) == [255, 0]


# ------------------------------------------------------------------------------------- mistakes

WRONG = {
    "{0: background}": "is no readable JSON .*; write",
    "[" * 100_000: "is no readable JSON .*; write",
    '"road"': "does not name mask values; write",
    "[]": "does not name mask values; write",
    "{}": "does not name mask values; write",
    '{"road": "grey"}': "does not name mask values; write",
    '{"1": 2}': "does not name mask values; write",
    '{"0": "#FF0000"}': "does not name mask values; write",
    '{"0": "sky", "1": ""}': "does not name mask values; write",
    '{"0": "sky", "1.5": "road"}': "does not name mask values; write",
    '{"0": "sky", "1": ["road"]}': "does not name mask values; write",
    '{"0": "sky", "99999999999": "road"}': "does not name mask values; write",
    '{"sky": "#000000", "road": "#GG0000"}': "does not name mask values; write",
    '{"sky": [0, 0, 0], "road": [300, 0, 0]}': "does not name mask values; write",
    '{"0": "sky", "0": "road"}': "names 0 twice; keep one",
    '{"sky": 1, "road": 1}': "gives 1 to both sky and road; give every class",
    '{"sky": "#FF0000", "road": "255,0,0"}': "gives #FF0000 to both sky and road; give every",
    '{"0": "sky", "#FF0000": "road"}': "names some classes by number and others by colour; give",
    '[{"name": "sky", "value": 0}, {"name": "road"}]': "does not say name and value .*road",
    '{"0": "ignore", "255": "ignored"}': r"classes\.json ignores every value; name at least one",
    '{"0": "ignore", "1": "road"}': r"classes\.json leaves one class, road, .*; name the",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_each_mistake_has_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=WRONG[text]) as caught:
        written(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert caught.value.cure


def test_each_mistake_of_a_table_has_its_line(tmp_path: Path) -> None:
    for text, message in {
        "": "does not name mask values; write",
        "# only a comment\n": "does not name mask values; write",
        "name,r,g,b\n": "does not name mask values; write",
        "name,r,g,b\nroad,1,2\n": "does not say name and value .*road",
        "name,r,g,b\nroad,1,2,300\n": "does not say name and value .*road",
        "road,1,2\n": r"a\.csv: does not say name and value \(or r, g, b\) of a class: road,1,2;",
        "road,1,2,300\n": "does not say name and value",
        "just words\n": "does not say name and value",
        "0,sky\n0,road\n": "gives 0 to both sky and road",
        '0,"' + "x" * 200_000: "does not say name|gives|does not name|leaves one class|one class",
    }.items():
        with pytest.raises(InputError, match=message):
            written(tmp_path, text, "a.csv")
    (tmp_path / "b.csv").write_bytes(b"name,r\xff\xfe")
    with pytest.raises(InputError, match=r"b\.csv: is no text in UTF-8; write"):
        read_legend(tmp_path / "b.csv")
    (tmp_path / "c.json").write_text('{"0": "' + "x" * 2**20 + '"}')
    with pytest.raises(InputError, match="is too large for a list of classes"):
        read_legend(tmp_path / "c.json")
    with pytest.raises(InputError, match=r"none\.json: no such file; check"):
        read_legend(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_legend(tmp_path)


def test_the_first_folder_that_has_one(tmp_path: Path) -> None:
    assert find_legend(tmp_path) is None
    (tmp_path / "masks").mkdir()
    written(tmp_path, "name,value\nsky,0\nsea,1\n", "class_dict.csv")
    assert find_legend(tmp_path / "masks", tmp_path).source == "class_dict.csv"  # type: ignore[union-attr]
    written(tmp_path, ["sky", "lake"])
    assert find_legend(tmp_path).names[1] == "lake"  # type: ignore[union-attr]


# ---------------------------------------------------------------------------------------- colours


def test_colours_pack_and_unpack() -> None:
    import numpy as np

    picture = np.random.default_rng(0).integers(0, 256, (3, 5, 7), np.uint8)
    numbers = pack(picture)
    red, green, blue = (int(channel[2, 3]) for channel in picture)
    assert numbers[2, 3] == 65536 * red + 256 * green + blue
    np.testing.assert_array_equal(unpack(numbers), picture)


@pytest.mark.parametrize("text", [None, 7, "", "red", "#12345", "1,2", "1,2,3,4,5", "256,0,0",
                                  [1, 2], [1, 2, 3.0], [True, 0, 0], [-1, 0, 0],
                                  "#12345G"])  # fmt: skip
def test_what_is_no_colour(text: object) -> None:
    assert read_colour(text) is None


def test_colours_have_names() -> None:
    for number in (0, 0x3C1098, 0xFFFFFF):
        assert read_colour(colour_name(number)) == number


# ------------------------------------------------------------------------------------------- real


@pytest.mark.real
@pytest.mark.parametrize(("name", "count", "ignore", "first"), [
    ("camvid", 11, (11,), "sky"), ("dubai_aerial", 5, (0,), "building"),
    ("msd_hippocampus", 3, (), "background"),
])  # fmt: skip
def test_real_legends(name: str, count: int, ignore: tuple[int, ...], first: str) -> None:
    if not (DATA / name).exists():
        pytest.skip(f"no {name} beside the checkout")
    legend = read_legend(DATA / name / "classes.json")
    assert (len(legend.names), legend.ignore) == (count, ignore)
    assert next(iter(legend.names.values())) == first
    assert not legend.colours
