"""The page: every value on it, nothing fetched, nothing injected, and pictures that do not lie."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.segmentation import find_boundaries

from unetkit.errors import InputError
from unetkit.report import (
    Sample,
    Sheet,
    charts,
    combine,
    compose,
    contents,
    difference,
    folder,
    overlay,
    page,
    pictures,
    reliability,
)

HOSTILE = '<script>alert("x")</script>"\' onerror="alert(1)'
GREY, ORANGE, BLUE = [225, 225, 225], [230, 159, 0], [86, 180, 233]
METRICS: dict[str, Any] = {
    "protocol": {
        "data": "stare",
        "split": "test",
        "cases": 3,
        "field_of_view": True,
        "average": "per-image",
        "threshold": 0.46,
        "threshold_from": "best Dice on val",
        "annotator": "AH",
        "date": "2025-01-31",
    },
    "mean": {"dice": 0.8125, "recall": 0.7041, "hd95": 12.34, "mcc": None, "oddity": 0.3333},
    "interval": {"dice": [0.7811, 0.8422]},
    "per_image": [
        {"id": "good", "dice": 0.9111, "recall": 0.8},
        {"id": "none", "dice": None, "recall": None},
        {"id": "bad", "dice": 0.6543, "recall": 0.5},
    ],
    "human": {"mean": {"dice": 0.7432}, "interval": {"dice": [0.7017, 0.7719]}},
}
HISTORY = """epoch,step,seconds,lr,train_loss,val_loss,val_dice,loss_dice,loss_cross_entropy
1,10,1.5,0.001,0.9,0.95,0.20,0.5,0.4
2,20,3.0,0.0007,0.5,0.55,0.7777,0.3,0.2
3,30,4.5,0.0001,0.4,0.60,0.71,0.2,0.2
"""


class Page(HTMLParser):
    """What a browser would find: the text, the attributes, and the tags."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.pieces: list[str] = []
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())

    def values(self, *names: str) -> list[str]:
        return [value for _, name, value in self.attributes if name in names]


def decode(address: str) -> np.ndarray[Any, Any]:
    content = base64.b64decode(address.partition(",")[2])
    return np.array(Image.open(io.BytesIO(content)).convert("RGB")).transpose(2, 0, 1)


def sheet(name: str, dice: float | None = None, size: int = 24, **more: Any) -> Sheet:
    random = np.random.default_rng(0)
    truth = np.zeros((size, size), dtype=np.int64)
    truth[4:12, 4:12] = 1
    given = {
        "id": name,
        "image": random.integers(0, 256, (3, size, size), dtype=np.uint8),
        "truth": truth,
        "prediction": np.roll(truth, 3, axis=1),
        "scores": {} if dice is None else {"dice": dice},
    }
    return Sheet(**(given | more))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "my run"
    path.mkdir()
    (path / "metrics.json").write_text(json.dumps(METRICS))
    (path / "history.csv").write_text(HISTORY)
    (path / "recipe.yaml").write_text("network:\n  depth: 4  # häufig\n", encoding="utf-8")
    (path / "environment.json").write_text('{"torch": "2.13.0", "cores": 2, "commit": "4f2a9d1"}')
    return path


@pytest.fixture
def full(run: Path) -> Page:
    truth = sheet("bad").truth
    assert truth is not None
    path = compose(
        run / "report.html",
        title="Vessels",
        run=run,
        plan=[("depth", "four levels", "the largest object is 90 px wide")],
        sheets=[sheet("good", 0.9111), sheet("bad", 0.6543)],
        targets=[
            Sample(sheet("t").image, truth, 1.0 + 9.0 * truth, truth, caption="first patch"),
        ],
        augmented=[Sample(sheet("a").image, truth, caption="turned")],
        notes=["masks hold one value only"],
        commands=["unet train somewhere"],
    )
    return Page(path)


# ---- pictures


def test_difference_of_two_by_two() -> None:
    truth, prediction = np.array([[1, 0], [1, 0]]), np.array([[1, 1], [0, 0]])
    shown = difference(truth, prediction)
    assert shown.dtype == np.uint8
    assert shown.transpose(1, 2, 0).tolist() == [[GREY, ORANGE], [BLUE, [0, 0, 0]]]


def test_difference_of_several_classes_and_pixels_not_judged() -> None:
    truth, prediction = np.array([[2, 1, 0], [1, 1, -1]]), np.array([[2, 2, 1], [0, 2, 2]])
    valid = np.array([[True, True, True], [True, False, True]])
    shown = difference(truth, prediction, valid).transpose(1, 2, 0).tolist()
    red, hidden = list(pictures.WRONG), list(pictures.NOT_JUDGED)
    assert shown == [[GREY, red, red], [red, hidden, hidden]]


def test_one_class_can_be_told_to_be_one_of_several() -> None:
    one = np.ones((1, 1), dtype=int)
    assert difference(0 * one, one, several=True)[:, 0, 0].tolist() == list(pictures.WRONG)
    assert difference(0 * one, one)[:, 0, 0].tolist() == ORANGE


@pytest.mark.parametrize("channels", [1, 3])
def test_overlay_draws_inside_labels_only_and_leaves_its_input_alone(channels: int) -> None:
    random = np.random.default_rng(1)
    image = random.integers(0, 256, (channels, 30, 41), dtype=np.uint8)
    labels = np.kron(random.integers(-1, 4, (5, 6)), np.ones((6, 7), dtype=int))[:, :41]
    before = image.copy()
    shown = overlay(image, labels, outline=1.0, tint=0.5)
    assert shown.shape == (3, 30, 41)
    assert shown.dtype == np.uint8
    assert np.array_equal(image, before)
    outside = labels <= 0
    assert np.array_equal(shown[:, outside], np.broadcast_to(image, shown.shape)[:, outside])
    # An independent border: scikit-image's, with ignored pixels as background.
    border = find_boundaries(np.maximum(labels, 0), mode="inner", background=0)
    for label in (1, 2, 3):
        colour = np.array(pictures.PALETTE[label - 1])
        assert (shown[:, border & (labels == label)] == colour[:, None]).all()
        inner = (labels == label) & ~border
        mixed = (np.broadcast_to(image, shown.shape)[:, inner] + colour[:, None]) / 2
        assert np.abs(shown[:, inner] - mixed).max(initial=0) <= 1


def test_overlay_takes_stated_colours_and_refuses_other_sizes() -> None:
    shown = overlay(np.zeros((2, 2)), np.array([[7, 0], [0, 0]]), colours={7: (1, 2, 3)})
    assert shown[:, 0, 0].tolist() == [1, 2, 3]
    with pytest.raises(InputError, match=r"\(2, 2\).*\(3, 2\).*do not fit"):
        overlay(np.zeros((2, 2)), np.zeros((3, 2), dtype=int))
    with pytest.raises(InputError, match="no image"):
        overlay(np.zeros((1, 1, 2, 2)), np.zeros((2, 2), dtype=int))
    with pytest.raises(InputError, match="one slice"):
        overlay(np.zeros((2, 2)), np.zeros((1, 2, 2), dtype=int))
    with pytest.raises(InputError, match="do not fit"):
        difference(np.zeros((2, 2), dtype=int), np.zeros((2, 3), dtype=int))


def test_colours_of_24_labels_differ() -> None:
    assert len({pictures.colour_of(label) for label in range(1, 25)}) == 24


def test_images_of_any_range_become_visible() -> None:
    eight = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    assert np.array_equal(pictures.to_rgb(eight), eight)
    ramp = np.linspace(-700.0, 3000.0, 10_000).reshape(100, 100)
    shown = pictures.to_rgb(ramp)
    assert (shown.min(), shown.max()) == (0, 255)
    assert np.array_equal(shown[0], shown[2])
    assert (np.diff(shown[0].ravel().astype(int)) >= 0).all()
    ramp[0, 0] = np.nan
    assert pictures.to_rgb(ramp)[0, 0, 0] == 0
    for flat in (np.full((4, 4), 5.0), np.full((4, 4), np.nan), np.zeros((4, 4), dtype=bool)):
        assert pictures.to_rgb(flat).shape == (3, 4, 4)
    assert pictures.to_rgb(np.ones((1, 2, 2), dtype=bool)).min() == 255
    assert pictures.to_rgb(np.zeros((13, 2, 2), dtype=np.uint16)).shape == (3, 2, 2)


def test_label_maps_are_white_for_one_class_and_coloured_for_several() -> None:
    one = pictures.label_map(np.array([[0, 1]]))
    assert one.transpose(1, 2, 0).tolist() == [[[0, 0, 0], [255, 255, 255]]]
    two = pictures.label_map(np.array([[2, 1]]))
    assert two.transpose(1, 2, 0).tolist() == [[ORANGE, BLUE]]


def test_heat_runs_from_dark_to_bright_and_names_its_ends() -> None:
    values = np.repeat(np.array([[1.0, 11.0]]), 50, axis=0)
    shown, low, high = pictures.heat(values)
    assert (low, high) == (1.0, 11.0)
    assert shown[:, 0, 0].tolist() == [68, 1, 84]
    assert shown[:, 0, 1].tolist() == [253, 231, 37]
    # Over an image the bright end stays, the dark end lets the image through.
    over, *_ = pictures.heat(values, np.full((50, 2), 255, dtype=np.uint8))
    assert over[:, 0, 1].tolist() == [253, 231, 37]
    assert over[:, 0, 0].min() > 200
    assert pictures.heat(np.ones((3, 3)))[1:] == (1.0, 1.0)


def test_flat_pictures_are_embedded_exactly_and_large_ones_shrunk() -> None:
    shown = difference(np.array([[1, 0], [1, 0]]), np.array([[1, 1], [0, 0]]))
    address, width, height = pictures.embed(shown, side=100, flat=True)
    assert (width, height) == (2, 2)
    assert address.startswith("data:image/png;base64,")
    assert np.array_equal(decode(address), shown)
    large = np.full((3, 40, 80), 7, dtype=np.uint8)
    address, width, height = pictures.embed(large, side=20, flat=False)
    assert (width, height) == (20, 10)
    assert address.startswith("data:image/jpeg;base64,")
    assert decode(address).shape == (3, 10, 20)


# ---- charts


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.12, 0.93, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.0, 0.001, [0.0, 0.0002, 0.0004, 0.0006, 0.0008, 0.001]),
        (1, 60, [0, 20, 40, 60]),
        (-3, 3, [-4, -2, 0, 2, 4]),
        (0.5, 0.5, [0.44, 0.46, 0.48, 0.5, 0.52, 0.54, 0.56]),
    ],
)
def test_ticks_are_round_and_cover(low: float, high: float, expected: list[float]) -> None:
    found = charts.ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert found == expected


def test_lines_pass_through_their_points_and_break_at_nan() -> None:
    drawn = charts.lines(
        [1, 2, 3, 4, 5],
        {"a": [0.0, 1.0, float("nan"), 0.5, 0.5], "b": [0.0, None, 1.0, None, 0.0]},
        label="x",
    )
    found = re.findall(r'class="line (s\d)" points="([^"]+)"', drawn)
    lines = [
        (name, [tuple(map(float, pair.split(","))) for pair in points.split()])
        for name, points in found
    ]
    assert [(name, len(points)) for name, points in lines] == [("s0", 2), ("s0", 2), ("s1", 3)]
    (_, first), (_, second), (_, third) = lines
    bottom, top = charts.HEIGHT - charts.BOTTOM, charts.TOP
    assert first[0] == (charts.LEFT, bottom)
    assert [y for _, y in third] == [bottom, top, bottom]
    assert second[0][1] == (bottom + top) / 2
    assert third[1][0] == pytest.approx((third[0][0] + third[2][0]) / 2)


def test_lines_without_values_draw_nothing_and_one_value_draws_a_dot() -> None:
    assert charts.lines([1, 2], {"a": [None, float("inf")]}, label="x") == ""
    assert charts.lines([], {}, label="x") == ""
    one = charts.lines([1], {"a": [0.5]}, label="x", mark=1, mark_text="best")
    assert "<circle" in one
    assert "nan" not in one


def test_names_at_the_end_of_lines_do_not_overlap() -> None:
    drawn = charts.lines([1, 2], {name: [1.0, 1.0] for name in "abcde"}, label="x")
    heights = [float(y) for y in re.findall(r'class="name [^"]*" x="[^"]*" y="([^"]*)"', drawn)]
    assert len(heights) == 5
    assert min(np.diff(sorted(heights))) >= 15.9
    assert max(heights) <= charts.HEIGHT


def test_bar_places_the_score_and_keeps_to_its_scale() -> None:
    drawn = charts.bar(0.5, (0.25, 2.0), 0.0, 1.0, human=1.0)
    assert 'cx="80.0"' in drawn
    assert "M43.0 9H154.0" in drawn
    assert "M154.0 2V16" in drawn


# ---- calibration


CALIBRATION: dict[str, Any] = {
    "temperature": 1.834,
    "images": 6,
    "pixels": 1234567,
    "ece": 0.0123,
    "ece_uncalibrated": 0.0456,
    "bins": {
        "count": [1_000_000, 0, 99, 234_468],
        "stated": [0.125, None, 0.6, 0.875],
        "true": [0.25, None, 0.9, 0.75],
    },
    "bins_uncalibrated": {
        "count": [900_000, 5, 0, 334_562],
        "stated": [0.01, 0.3, None, 1.0],
        "true": [0.02, 0.4, None, 0.5],
    },
}


def test_the_diagram_has_a_dot_for_each_bin_with_enough_pixels() -> None:
    found = reliability.section(CALIBRATION)
    assert found is not None
    (_, _, drawn), (_, _, heights) = found.figures
    dots = re.findall(r'class="dot (s\d)" cx="([^"]+)" cy="([^"]+)"', drawn)
    left, bottom, size = charts.LEFT, reliability._BOTTOM, reliability.SIZE

    def place(stated: float, true: float) -> tuple[float, float]:
        return left + stated * size, bottom - true * size

    at = [(name, (float(x), float(y))) for name, x, y in dots]
    expected = [
        ("s1", place(0.01, 0.02)),
        ("s1", place(1.0, 0.5)),
        ("s0", place(0.125, 0.25)),  # the one that counts lies on top
        ("s0", place(0.875, 0.75)),
    ]
    assert [name for name, _ in at] == [name for name, _ in expected]
    for (_, got), (_, wanted) in zip(at, expected, strict=True):
        assert got == pytest.approx(wanted, abs=0.06)
    assert re.findall(r'class="name (s\d) start"[^>]*>(\w+)<', drawn) == [
        ("s0", "calibrated"), ("s1", "before"),
    ]  # fmt: skip
    diagonal = re.search(r'class="mark" d="M(\d+) (\d+)L(\d+) (\d+)"', drawn)
    assert diagonal is not None
    assert [float(v) for v in diagonal.groups()] == [*place(0, 0), *place(1, 1)]
    # The height of a bar is its logarithm; the empty bin has none.
    bars = [float(v) for v in re.findall(r'class="column"[^>]*height="([^"]+)"', heights)]
    assert bars == pytest.approx(
        [size * np.log10(n) / 6 for n in (1_000_000, 99, 234_468)], abs=0.06
    )
    assert "1 M" in heights


def test_the_calibration_in_plain_words() -> None:
    found = reliability.section(CALIBRATION, METRICS["protocol"])
    assert found is not None
    assert found.facts == (
        "Expected calibration error (ECE, lower is better) 0.012 · 0.046 before temperature "
        "scaling · split test · 6 images · 1\u2009234\u2009567 pixels · inside the field of view"
    )
    assert (
        "too sure of itself: its logits are divided by the temperature 1.83, which brings the"
        in (found.note)
    )
    assert found.columns[:4] == ["probability", "pixels", "mean stated", "share true"]
    assert found.rows[0] == [
        "0.00 to 0.25", "1\u2009000\u2009000", "0.125", "0.250", "900\u2009000", "0.010", "0.020",
    ]  # fmt: skip
    assert found.rows[1][2] == "–"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperature": 0.5}, "not sure enough of itself"),
        ({"temperature": 1.02}, "about as sure as it was right"),
        ({"ece": 0.05}, "does not bring the error down"),
        ({"temperature": None}, "each with a temperature of its own"),
        ({"temperature": 1, "ece_uncalibrated": None}, "No temperature is applied"),
    ],
)
def test_what_the_temperature_did(change: dict[str, Any], words: str) -> None:
    found = reliability.section(CALIBRATION | change)
    assert found is not None
    assert words in found.note


def test_one_curve_where_nothing_was_tempered_and_classes_have_their_words() -> None:
    alone = {k: v for k, v in CALIBRATION.items() if "uncalibrated" not in k}
    found = reliability.section(alone | {"temperature": 1, "images": 1}, several=True)
    assert found is not None
    assert "as stated" in found.figures[0][2]
    assert "before" not in found.figures[0][2]
    assert "gives a class a probability of 0.8, eight in ten should be of that class" in found.lead
    assert "classes times pixels" in found.figures[1][2]
    words = "1 image · 1\u2009234\u2009567 pixels · each foreground class against all others"
    assert found.facts.endswith(words)
    assert len(found.columns) == len(found.rows[0]) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        *(None, 3, [], {}, {"bins": 3}, {"bins": {"count": [1], "stated": [0.5]}}),
        {"bins": {"count": [1, 2], "stated": [0.5], "true": [0.5]}},
        {"bins": {"count": ["x"], "stated": [0.5], "true": [0.5]}},
        {"bins": {"count": [0, 0], "stated": [None, None], "true": [None, None]}},
    ],
)
def test_what_is_no_calibration_is_left_out(wrong: object, run: Path) -> None:
    assert reliability.section(wrong) is None
    (run / "metrics.json").write_text(json.dumps(METRICS | {"calibration": wrong}))
    found = Page(compose(run / "r.html", title="T", run=run))
    assert "No probabilities have been held against a truth yet." in found.text


def test_bins_with_few_pixels_only_leave_the_diagram_empty() -> None:
    few = CALIBRATION | {"bins": {"count": [3, 1], "stated": [0.2, 0.9], "true": [0.0, 1.0]}}
    found = reliability.section(few)
    assert found is not None
    assert "nan" not in str(found).lower()
    assert 'class="dot s0"' not in found.figures[0][2]
    assert len(re.findall('class="column"', found.figures[1][2])) == 2


def test_the_calibration_is_that_of_metrics_unless_another_is_given(run: Path) -> None:
    (run / "metrics.json").write_text(json.dumps(METRICS | {"calibration": CALIBRATION}))
    found = Page(compose(run / "r.html", title="T", run=run))
    assert "0.046 before temperature scaling · split test · 6 images" in found.text
    assert "#calibration" in found.values("href")
    given = Page(
        compose(run / "r.html", title="T", run=run, calibration=CALIBRATION | {"images": 77})
    )
    assert "77 images" in given.text


# ---- words


def test_protocol_in_plain_words() -> None:
    assert contents.sentence(METRICS, "dice") == (
        "Mean of the per-image Dice over 3 images of the split “test” of stare, inside the field "
        "of view, at threshold 0.46 (best Dice on val), judged against “AH”."
    )
    pooled = {"protocol": {"average": "pooled", "cases": ["a"], "field_of_view": False}}
    assert contents.sentence(pooled, "iou") == (
        "IoU of all pixels pooled over 1 image, over the whole image."
    )
    several = {"protocol": {"average": "per-image mean, classes present in each image"}}
    assert contents.sentence(several, "dice") == (
        "Mean of the per-image Dice (classes present in each image)."
    )
    assert contents.short(several) == "mean over images · classes present in each image"
    assert contents.sentence({}, "dice") == "Dice."
    assert contents.short({}) == "protocol not stated"
    assert contents.short({"protocol": {"split": "val"}}, each=True) == "split val"


def test_scores_keep_the_usual_order_and_flatten_classes() -> None:
    found = contents.scores({"mean": {"zeta": 1, "iou": 0.5, "dice": 0.6, "classes": {"cell": 2}}})
    assert [row.key for row in found] == ["dice", "iou", "zeta", "classes · cell"]
    assert found[3].value == 2.0
    assert contents.scores(None) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.8125, "0.812"), (None, "–"), (float("nan"), "–"), (12.34, "12.3"), (250.0, "250")],
)
def test_numbers_on_the_page(value: float | None, text: str) -> None:
    assert contents.number(value) == text


def test_best_epoch_is_by_dice_then_by_loss(run: Path) -> None:
    assert folder.best_epoch(folder.read_run(run)) == (1, "best validation Dice")
    (run / "history.csv").write_text("epoch,val_loss\n1,nan\n2,0.5\n3,0.4\n")
    assert folder.best_epoch(folder.read_run(run)) == (2, "lowest validation loss")
    (run / "history.csv").write_text("epoch,train_loss\n1,0.5\n")
    assert folder.best_epoch(folder.read_run(run)) is None


# ---- the page


def test_every_section_and_value_is_there(full: Page) -> None:
    for text in (
        *("Vessels", "Plan", "Curves", "Scores", "Cases", "Targets", "Augmentation", "Reproduce"),
        *("depth", "four levels", "the largest object is 90 px wide"),
        *("Validation Dice", "Learning rate", "Parts of the loss", "cross entropy"),
        "best validation Dice: epoch 2",
        *("0.812", "95 % interval 0.781 to 0.842", "12.3", "0.704", "oddity", "0.333"),
        "A second observer reaches 0.743 under the same protocol.",
        "0.702 to 0.772",
        "Mean of the per-image Dice over 3 images of the split “test”",
        "split test · 3 images · inside the field of view · mean over images",
        *("2025-01-31", "best Dice on val", "0.7777", "0.654", "0.911"),
        *("true positive", "false positive", "false negative"),
        *("Image", "Truth", "Prediction", "Difference", "first patch", "Weight map", "Skeleton"),
        *("turned", "masks hold one value only", "unet train somewhere"),
        *("depth: 4 # häufig", "torch", "2.13.0", "4f2a9d1"),
    ):
        assert text in full.text, text
    assert "1.000" in full.text  # ends of the scale of weights
    assert "10.000" in full.text or "10.0" in full.text


def test_classes_and_whole_images_have_their_place(run: Path) -> None:
    more = {
        "per_class": {"car": {"dice": 0.4321, "iou": 0.2756}, "tree": {"dice": 0.6789}},
        "whole_image": {"mean": {"dice": 0.8035}},
    }
    (run / "metrics.json").write_text(json.dumps(METRICS | more))
    found = Page(compose(run / "r.html", title="T", run=run))
    for text in ("Class by class", "car 0.432 0.276", "tree 0.679 –", "Whole image", "0.803"):
        assert text in found.text, text
    plain = compose(run / "r.html", title="T", run=other(run, "plain"))
    assert "Whole image" not in Page(plain).text


def test_headings_descend_and_every_picture_has_words(full: Page) -> None:
    levels = [int(tag[1]) for tag in full.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) <= 1
    images = [
        i for i, (tag, name, _) in enumerate(full.attributes) if (tag, name) == ("img", "alt")
    ]
    assert len(images) == full.tags.count("img")
    shown = [v for tag, name, v in full.attributes if (tag, name) == ("img", "alt")]
    assert len(shown) == full.tags.count("img")
    assert sum(not words for words in shown) == 1  # the empty frame that enlarges
    drawings = [v for tag, name, v in full.attributes if (tag, name) == ("svg", "aria-label")]
    assert all(drawings)


def test_nothing_is_loaded_from_elsewhere(full: Page) -> None:
    for address in full.values("src", "srcset", "poster", "data", "action", "xlink:href"):
        assert address.startswith("data:image/")
    assert all(link.startswith("#") for link in full.values("href"))
    assert not {"link", "iframe", "object", "embed", "base"} & set(full.tags)
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttp|WebSocket", full.source)
    policy = next(v for v in full.values("content") if "default-src" in v)
    assert "default-src 'none'" in policy


def test_links_lead_somewhere_and_names_are_used_once(full: Page) -> None:
    names = full.values("id")
    assert len(names) == len(set(names))
    assert {link.removeprefix("#") for link in full.values("href")} <= set(names)
    assert "#case-1" in full.values("href")


def test_rows_are_worst_first_and_unscored_ones_last(full: Page) -> None:
    table = full.source[full.source.index("Scores of each image") :]
    places = [table.index(f">{name}<") for name in ("bad", "good", "none")]
    assert places == sorted(places)
    assert re.search(r'<a href="#case-1">bad</a>', table)
    assert '<article class="case" id="case-1">\n    <header><h3>bad</h3>' in full.source


def test_empty_run_folder_makes_a_page_that_says_so(tmp_path: Path) -> None:
    found = Page(compose(tmp_path / "a.html", title="Empty", run=tmp_path))
    assert "has not been evaluated yet" in found.text
    assert "no history" in found.text
    assert "No plan was recorded." in found.text
    assert "svg" not in found.tags


def test_missing_columns_and_cells_are_tolerated(run: Path) -> None:
    (run / "metrics.json").unlink()
    (run / "history.csv").write_text("train_loss,val_dice,note\n0.9,,x\nnan,0.61,\n0.5\n")
    found = Page(compose(run / "r.html", title="T", run=run, sheets=[sheet("a")]))
    assert "best validation Dice: epoch 2" in found.text
    assert "0.610" in found.text
    assert "no measure of quality on new images" in found.text
    assert "Learning rate" not in found.text
    assert "NaN" not in found.source


def test_a_hostile_name_stays_text(run: Path) -> None:
    metrics = METRICS | {"per_image": [{"id": HOSTILE, "dice": 0.5}, {"id": "b", "dice": 0.6}]}
    metrics["protocol"] = METRICS["protocol"] | {"annotator": HOSTILE, HOSTILE: HOSTILE}
    metrics["mean"] = {"dice": 0.5, HOSTILE: 0.1}
    (run / "metrics.json").write_text(json.dumps(metrics))
    (run / "environment.json").write_text(json.dumps({HOSTILE: HOSTILE}))
    (run / "recipe.yaml").write_text(HOSTILE)
    (run / "history.csv").write_text('epoch,train_loss,"loss_<script>"\n1,1,1\n2,1,1\n')
    sample = Sample(np.zeros((1, 8, 8)), weights=np.ones((8, 8)), caption=HOSTILE)
    found = Page(
        compose(
            run / "r.html",
            title=HOSTILE,
            run=run,
            plan=[(HOSTILE, HOSTILE, HOSTILE)],
            sheets=[sheet(HOSTILE, 0.5)],
            targets=[sample],
            augmented=[sample],
            notes=[HOSTILE],
            commands=[HOSTILE],
            classes={1: HOSTILE, 2: HOSTILE},
        )
    )
    assert found.tags.count("script") == 1  # the page's own
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]
    assert found.text.count('<script>alert("x")</script>') > 10
    compared = Page(combine([run], run / "c.html"))
    assert compared.tags.count("script") == 0
    assert not [name for _, name, _ in compared.attributes if name.startswith("on")]


def test_of_many_cases_the_worst_and_the_best_are_shown(run: Path) -> None:
    sheets = [sheet(f"n{i}", i / 10, size=16) for i in (5, 1, 8, 3, 7, 2, 6, 4)]
    found = Page(compose(run / "r.html", title="T", run=run, sheets=sheets, shown=2))
    order = re.findall(r"<h3>(n\d)</h3>", found.source)
    assert order == ["n1", "n2", "n8", "n7"]
    assert found.text.index("Worst") < found.text.index("n1 ") < found.text.index("Best")
    (run / "metrics.json").write_text('{"mean": {"hd95": 3.0}}')
    far = [sheet(f"n{i}", size=16, scores={"hd95": float(i)}) for i in (2, 9, 5)]
    found = Page(compose(run / "r.html", title="T", run=run, sheets=far, main="hd95", shown=1))
    assert re.findall(r"<h3>(n\d)</h3>", found.source) == ["n9", "n2"]


def test_difference_on_the_page_has_the_right_colours(run: Path) -> None:
    truth, prediction = np.array([[1, 0], [1, 0]]), np.array([[1, 1], [0, 0]])
    tiny = Sheet("tiny", np.zeros((1, 2, 2), dtype=np.uint8), truth, prediction)
    source = compose(run / "r.html", title="T", run=run, sheets=[tiny]).read_text("utf-8")
    address = re.search(r'src="([^"]+)" alt="Difference of tiny"', source)
    assert address is not None
    assert decode(address[1]).transpose(1, 2, 0).tolist() == [[GREY, ORANGE], [BLUE, [0, 0, 0]]]
    assert "not judged" not in source
    hidden = Sheet("tiny", tiny.image, truth, prediction, valid=np.array([[True, False]] * 2))
    source = compose(run / "r.html", title="T", run=run, sheets=[hidden]).read_text("utf-8")
    assert "not judged" in source


def test_cases_without_truth_or_with_probabilities(run: Path) -> None:
    probability = np.stack([np.full((24, 24), 0.25), np.full((24, 24), 0.75)])
    found = Page(
        compose(
            run / "r.html",
            title="T",
            run=run,
            sheets=[sheet("a", truth=None, probability=probability)],
        )
    )
    names = found.values("data-name")
    assert names == ["Image", "Prediction", "Probability"]
    address = re.search(r'src="([^"]+)" alt="Probability of a"', found.source)
    assert address is not None
    assert abs(int(decode(address[1])[0, 5, 5]) - 191) <= 2  # 0.75 · 255, any foreground


def test_pictures_shrink_until_the_page_fits(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sheets = [sheet(f"n{i}", 0.5, size=500) for i in range(2)]
    large = compose(run / "r.html", title="T", run=run, sheets=sheets).stat().st_size
    monkeypatch.setattr(page, "BUDGET", large // 2)
    small = compose(run / "r.html", title="T", run=run, sheets=sheets)
    assert small.stat().st_size <= large // 2
    assert "data:image/jpeg" in small.read_text("utf-8")


def test_long_histories_are_thinned_in_the_table_but_not_in_the_curve(run: Path) -> None:
    rows = "\n".join(f"{i},{1 / i}" for i in range(1, 1002))
    (run / "history.csv").write_text(f"epoch,train_loss\n{rows}\n")
    source = compose(run / "r.html", title="T", run=run).read_text("utf-8")
    line = re.search(r'class="line s0" points="([^"]+)"', source)
    assert line is not None
    assert len(line[1].split()) == 1001
    body = source[source.index('aria-label="History"') : source.index('id="scores"')]
    assert body.count("<tr>") <= page.ROWS + 2
    assert '<td class="n">1001</td>' in body


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("metrics.json", "{", "no valid JSON"),
        ("environment.json", "[]", "no JSON object"),
        ("recipe.yaml", b"\xff\xfe", "cannot be read"),
    ],
)
def test_broken_files_are_named(run: Path, name: str, text: str | bytes, words: str) -> None:
    (run / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=f"{name}.*{words}"):
        compose(run / "r.html", title="T", run=run)


def test_errors_leave_an_older_page_alone(run: Path) -> None:
    (run / "r.html").write_text("old")
    wrong = sheet("a", prediction=np.zeros((3, 3), dtype=int))
    with pytest.raises(InputError, match=r"^a: .*differ in size"):
        compose(run / "r.html", title="T", run=run, sheets=[wrong])
    assert (run / "r.html").read_text() == "old"
    with pytest.raises(InputError, match="no run folder"):
        compose(run / "r.html", title="T", run=run / "absent")


# ---- several runs


def other(run: Path, name: str, **protocol: Any) -> Path:
    path = run.parent / name
    path.mkdir()
    metrics = METRICS | {"protocol": METRICS["protocol"] | protocol}
    metrics["mean"] = {"dice": 0.9, "hd95": 20.0}
    (path / "metrics.json").write_text(json.dumps(metrics))
    return path


def test_runs_under_one_protocol_are_ranked(run: Path) -> None:
    (run / "report.html").write_text("x")
    second = other(run, "second", date="2026-01-01", threshold=0.5, temperature=1.7)
    third = run.parent / "third"
    third.mkdir()
    found = Page(combine([run, second, third], run.parent / "out" / "all.html"))
    best = re.findall(r'class="best">([^<]+)<', found.source)
    assert best == ["0.704", "12.3", "0.333", "0.900"]  # recall, HD95 and oddity of one, then Dice
    assert found.values("href") == ["../my%20run/report.html"]
    assert "not evaluated yet" in found.text
    assert "differ" not in found.text
    assert "0.781 to 0.842" in found.text


def test_runs_under_different_protocols_are_not(run: Path) -> None:
    second = other(run, "second", split="val", field_of_view=False)
    found = Page(combine([run, second], run.parent / "all.html"))
    assert "The protocols differ in field of view, split" in found.text
    assert 'class="best"' not in found.source
    assert "split val · 3 images · over the whole image" in found.text
    assert "split test · 3 images · inside the field of view" in found.text


def test_comparing_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run to compare"):
        combine([], tmp_path / "a.html")
    found = Page(combine([tmp_path], tmp_path / "a.html"))
    assert "None of these runs has been evaluated yet" in found.text


# ---- in a browser


@pytest.mark.browser
def test_chromium_shows_every_picture_and_enlarges_one(
    run: Path, full: Page, tmp_path: Path
) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    probe = """<script>
      const images = [...document.images].filter(image => image.alt);
      const broken = images.filter(image => !(image.complete && image.naturalWidth > 0));
      document.querySelectorAll(".zoom")[1].click();
      dialog.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
      document.body.dataset.report = JSON.stringify({
        images: images.length, broken: broken.length, open: dialog.open, large: large.alt,
        wide: document.documentElement.scrollWidth <= innerWidth, title: document.title,
      });
    </script></body>"""
    path = run / "probed.html"
    path.write_text(full.source.replace("</body>", probe), encoding="utf-8")
    done = subprocess.run(
        [
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}"),
            *("--window-size=420,900", "--virtual-time-budget=2000", "--dump-dom", path.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'data-report="([^"]+)"', done.stdout)
    assert found is not None, "the page's own script failed"
    report = json.loads(found[1].replace("&quot;", '"'))
    assert report == {
        "images": 2 * 4 + 3 + 1,
        "broken": 0,
        "open": True,
        "large": "Prediction of bad",
        "wide": True,
        "title": "Vessels",
    }
    assert "0.812" in done.stdout
