"""The page of a study: every number on it, nothing fetched, nothing injected, figures that fit."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib._pylab_helpers import Gcf

from test_study_conclusion import LOSSES, NETWORKS, additive, losses, make, widths
from unetkit.study.canvas import Plate
from unetkit.study.conclusion import conclude
from unetkit.study.figures import draw, inline_svg
from unetkit.study.findings import Findings
from unetkit.study.grid import Cell, read_study
from unetkit.study.page import write_markdown, write_page

HOSTILE = '<script>alert("x")</script>"\' onerror="alert(1) | `a` $\\frac **b**'
VOID = {"meta", "link", "br", "img", "input", "hr"}
SVG = "{http://www.w3.org/2000/svg}"


class Page(HTMLParser):
    """What a browser would find; an element that is not closed fails."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.pieces: list[tuple[str, str]] = []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.pieces.append((self.open[-1] if self.open else "", data))

    @property
    def text(self) -> str:
        shown = [text for tag, text in self.pieces if tag not in ("script", "style")]
        return " ".join(" ".join(shown).split())

    def rows(self) -> list[list[str]]:
        """The rows of all tables, as text."""
        found = re.findall(r"<tr[^>]*>(.*?)</tr>", self.source, re.DOTALL)
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in found]
        return [[re.sub(r"<[^>]+>", " ", one).strip() for one in row] for row in cells]


def page_of(found: Findings, folder: Path, **more: str) -> Page:
    path = write_page(found, folder / "study.html", **more)
    assert path == folder / "study.html"
    return Page(path.read_text(encoding="utf-8"))


def drawn(found: Findings) -> dict[str, Plate]:
    return {plate.kind: plate for plate in draw(found, found.parts[0])}


def words_of(plate: Plate) -> list[str]:
    """The text of a figure, one string per element; lines of a name are joined."""
    svg = ElementTree.fromstring(inline_svg(plate, "a"))
    return [" ".join("".join(one.itertext()).split()) for one in svg.iter("text")] or [
        " ".join("".join(one.itertext()).split()) for one in svg.iter(f"{SVG}text")
    ]


@pytest.fixture(scope="module")
def networks() -> Findings:
    """14 networks of three depths on two data sets."""
    return make(
        additive,
        axes=NETWORKS,
        datasets=("vessels", "field of view"),
        noise=0.01,
        cost=lambda levels: {
            "parameters": 7000 * 4 ** len(levels["network.skips"]),
            "gflops": 0.1 + 0.01 * levels["network.skips"].count("1"),
        },
        set={"train.epochs": 3},
    )


@pytest.fixture(scope="module")
def page(networks: Findings, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return page_of(networks, tmp_path_factory.mktemp("page"), machine="a small computer")


@pytest.fixture(scope="module")
def plates(networks: Findings) -> dict[str, Plate]:
    return drawn(networks)


@pytest.fixture(scope="module")
def markdown(networks: Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("markdown")
    (folder / "docs").mkdir()
    return write_markdown(networks, folder / "docs" / "study.md", folder / "pictures of it")


# ---- HTML


def test_the_page_is_whole_and_fetches_nothing(page: Page) -> None:
    assert page.tags.count("svg") == 6
    assert page.tags.count("h1") == 1
    for tag, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            # The scale of colours is a picture within its figure.
            assert value.startswith(("#", "data:image/png;base64,")), (tag, name, value)
        if name.startswith("xmlns"):
            continue
        assert "://" not in value, (tag, name, value)
        assert not re.search(r"url\((?!#)", value), (tag, name, value)
        assert not name.startswith("on"), (tag, name)
    styles = " ".join(text for tag, text in page.pieces if tag == "style")
    assert "url(" not in styles
    assert "@import" not in styles
    assert "prefers-color-scheme: dark" in styles
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    links = {value for _, name, value in page.attributes if name.endswith("href")}
    assert {link[1:] for link in links if link[0] == "#"} <= set(ids)


def test_conclusion_protocol_figures_and_tables_come_in_this_order(
    networks: Findings, page: Page
) -> None:
    marks = ["<h2>Conclusion", conclude(networks)[0], "<h2>Protocol", "<svg", '<table class="sort']
    places = [page.source.index(mark) for mark in marks]
    assert places == sorted(places)
    for line in conclude(networks):
        assert line.removeprefix("vessels: ").removeprefix("field of view: ") in page.text
    facts = {row[0]: row[1] for row in page.rows() if len(row) == 2}
    assert facts["axis network.depth"] == "1; 2; 3"
    assert facts["axis network.skips"] == "every pattern of the depth"
    assert facts["set for all"] == "train.epochs 3"
    assert facts["seeds"] == "0, 1, 2"
    assert facts["choice"].startswith("greatest mean Dice on val; ")
    assert facts["reported"] == "test, at each run&#39;s own threshold"
    assert facts["threshold from"] == "tuned on val (6 images)"
    assert facts["field of view"] == "yes"
    assert facts["runs"] == "84 done"
    assert facts["time"] == "17 min of training in all"
    assert facts["machine"] == "a small computer"
    assert facts["date"] == "2025-01-31"
    assert "Holm" in facts["intervals and tests"]
    assert "threshold" not in facts  # each run has its own


def test_every_setting_has_a_row_with_its_numbers(networks: Findings, page: Page) -> None:
    rows = page.rows()
    for part in networks.parts:
        for setting in part.settings:
            score = setting.scores["dice"]
            mine = [
                row
                for row in rows
                if row[:2] == [setting.levels["network.depth"], setting.levels["network.skips"]]
                and len(row) == 13
                and " ".join(row[4].split())
                == f"{score.value:.3f} {score.low:.3f} to {score.high:.3f}"
            ]
            assert len(mine) >= 1
            row = mine[0]
            assert row[2] == "3/3"
            assert row[3] == f"{setting.chosen:.3f}"
            assert row[9] == f"{setting.cost['parameters']:,.0f}"
            assert row[11:] == ["12", "300"]
    vessels = networks.parts[0]
    assert vessels.ranking is not None
    worst = list(vessels.ranking.comparisons)[-1]
    gap = vessels.ranking.comparisons[worst]
    text = f"{gap.difference.value:.3f} {gap.difference.low:.3f} to {gap.difference.high:.3f}"
    assert text.replace("-", "−") in [" ".join(row[7].split()) for row in rows if len(row) == 13]


def test_tables_come_best_first_and_mark_roles(tmp_path: Path) -> None:
    page = page_of(make(losses(0.5, 0.75, 0.75), noise=0.01), tmp_path)
    roles = re.findall(r'<tr class="(\w+)"><th scope="row">(\w+)', page.source)
    assert roles[0][0] == "best"
    assert roles[1][0] == "equal"
    assert {name for _, name in roles[:2]} == {"Dice", "Tversky"}
    assert '<tr><th scope="row">BCE' in page.source


def test_all_metrics_stand_at_both_thresholds(tmp_path: Path) -> None:
    page = page_of(make(losses(0.5, 0.75, 0.7)), tmp_path)
    assert "All metrics on test, each run at its own threshold" in page.text
    assert "All metrics on test, at a threshold of 0.5" in page.text
    heads = [row for row in page.rows() if row[:1] == ["loss"]]
    assert [" ".join(row) for row in heads[1:]] == ["loss Dice betti0 error"] * 2
    several = page_of(make(losses(0.5, 0.75, 0.7), fixed=False), tmp_path)
    assert "at a threshold of 0.5" not in several.text


def test_a_study_with_faults_says_so_above_all(tmp_path: Path) -> None:
    found = make(losses(0.5, 0.75, 0.7), select={"split": "test"})
    page = page_of(found, tmp_path)
    assert page.text.index("Exploration, not a result.") < page.text.index("Conclusion")
    assert "This is not a result: " in page.text
    assert "best" not in page.text.replace("best part", "").split("Repeat")[0].replace(
        found.faults[0], ""
    ).replace(found.faults[0].capitalize(), "")
    markdown = write_markdown(found, tmp_path / "study.md", tmp_path / "figures")
    assert "> **Exploration, not a result.**" in markdown.read_text(encoding="utf-8")
    assert ["loss", "runs", "Dice on test", "sd, seeds"] in [row[:4] for row in page.rows()]
    clean = page_of(make(losses(0.5, 0.75, 0.7)), tmp_path)
    assert "Exploration" not in clean.text


def test_failed_runs_are_named_with_their_errors(tmp_path: Path) -> None:
    def status(cell: Cell) -> tuple[str, str]:
        whole = cell.levels["loss"] == "Tversky" or cell.seed == 1
        return ("failed", f"no memory for seed {cell.seed}") if whole else ("done", "")

    found = make(losses(0.5, 0.75, 0.7), status=status, noise=0.01)
    page = page_of(found, tmp_path)
    assert ["Tversky", "no memory for seed 0"] in page.rows()
    assert ["BCE", "no memory for seed 1"] in page.rows()
    rows = {row[0]: row for row in page.rows() if len(row) == 12}
    assert rows["BCE"][1] == "2/3"
    assert rows["Tversky"][1] == "0/3"
    assert rows["Tversky"][2:] == ["–"] * 10
    text = write_markdown(found, tmp_path / "s.md", tmp_path).read_text(encoding="utf-8")
    assert "| vessels | Tversky | no memory for seed 2 |" in text


def test_without_runs_there_is_a_page_all_the_same(tmp_path: Path) -> None:
    found = make(losses(0, 0, 0), status=lambda _: ("waiting", ""))
    page = page_of(found, tmp_path)
    assert "svg" not in page.tags
    assert "nothing to conclude" in page.text
    assert "0 done, 9 not done yet" in page.text
    write_markdown(found, tmp_path / "study.md", tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


def test_one_run_of_each_has_a_page_without_intervals(tmp_path: Path) -> None:
    found = make(losses(0.5, 0.75, 0.7), images=1, choosers=1, seeds=(0,))
    page = page_of(found, tmp_path)
    assert "nan" not in page.text
    assert "settings" in drawn(found)


def test_a_study_can_be_repeated_from_its_page(
    networks: Findings, markdown: Path, tmp_path: Path
) -> None:
    text = markdown.read_text(encoding="utf-8")
    document = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert document is not None
    for path in networks.study.datasets.values():
        Path(path).mkdir(parents=True, exist_ok=True)
    (tmp_path / "again.yaml").write_text(document[1], encoding="utf-8")
    assert read_study(tmp_path / "again.yaml") == networks.study
    for path in networks.study.datasets.values():
        shutil.rmtree(Path(path).parent, ignore_errors=True)
    assert "unet study study.yaml -o DIR" in text


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    axes = {"loss": {HOSTILE: {"dice": 1}, "b": {"tversky": 1}, "c": {"cross_entropy": 1}}}

    def status(cell: Cell) -> tuple[str, str]:
        return ("failed", HOSTILE) if cell.levels["loss"] == "c" else ("done", "")

    found = make(
        lambda levels, *_: 0.5 + 0.1 * (levels["loss"] == "b"),
        axes=axes,
        datasets=(HOSTILE, "b"),
        noise=0.01,
        status=status,
        name=HOSTILE,
    )
    page = page_of(found, tmp_path)
    assert page.tags.count("script") == 1
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert page.text.count('<script>alert("x")</script>') > 10
    markdown = write_markdown(found, tmp_path / "study.md", tmp_path / "figures")
    before, _, _ = markdown.read_text(encoding="utf-8").partition("```yaml")
    assert "\n# \\<script\\>" in f"\n{before}"
    assert not re.search(r"(?<!\\)<script", before)
    for line in before.splitlines():
        if line.startswith("| ") and HOSTILE[:8] in line.replace("\\", ""):
            assert not re.search(r"(?<!\\)`", line)
    for file in (tmp_path / "figures").iterdir():
        assert re.fullmatch(r"[a-z0-9-]+\.svg", file.name)
        assert "script" not in {one.tag for one in ElementTree.parse(file).iter()}


# ---- Markdown


def test_markdown_says_the_same_in_tables_that_fit(networks: Findings, markdown: Path) -> None:
    text = markdown.read_text(encoding="utf-8")
    plain = text.replace("\\", "")
    for line in conclude(networks):
        assert line.removeprefix("vessels: ").removeprefix("field of view: ") in plain
    blocks = re.findall(r"(?:^\|.*\|[ ]*\n)+", text, re.MULTILINE)
    assert len(blocks) == 7  # protocol, and three tables of each data set
    for block in blocks:
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(counts) == 1
        assert re.fullmatch(r"\|(---\||--:\|)+", block.splitlines()[1].strip())
    for setting in networks.parts[0].settings:
        depth, skips = setting.levels.values()
        assert re.search(rf"^\| (\*\*)?{depth}(\*\*)? \| {skips} \| 3/3 \|", text, re.MULTILINE)
    links = re.findall(r"\]\((.*?)\)", text)
    assert links[0] == "../pictures%20of%20it/vessels-settings.svg"
    assert len(links) == 6
    for link in links:
        file = markdown.parent / link.replace("%20", " ")
        root = ElementTree.parse(file).getroot()
        assert root.tag == f"{SVG}svg"
        assert "var(--" not in file.read_text(encoding="utf-8")  # a file has no style sheet
    assert "\n\n\n" not in text


def test_the_same_study_gives_the_same_files(tmp_path: Path) -> None:
    found = make(losses(0.5, 0.75, 0.7), noise=0.01)
    for name in ("a", "b"):
        write_page(found, tmp_path / name / "study.html")
        write_markdown(found, tmp_path / name / "study.md", tmp_path / name / "figures")
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 3
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


# ---- figures


def test_figures_leave_no_trace_in_matplotlib(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    page_of(make(losses(0.5, 0.75, 0.7)), tmp_path)
    assert dict(mpl.rcParams) == before
    assert not Gcf.figs


def test_skip_patterns_are_a_tree_with_every_network(
    networks: Findings, plates: dict[str, Plate]
) -> None:
    assert list(plates) == ["settings", "effects", "cost"]
    part = networks.parts[0]
    text = words_of(plates["settings"])
    for setting in part.settings:
        assert setting.levels["network.skips"] in text
        assert f"{setting.scores['dice'].value:.3f}" in text
    assert "vessels: Dice on test, 3 seeds × 12 images" in text
    axes = plates["settings"].figure.axes[0]
    boxes = {text.get_text().split("\n")[0]: text.get_position() for text in axes.texts}
    for pattern, (x, y) in boxes.items():  # 1 is left, deeper is below its own beginning
        if pattern[:-1]:
            parent = boxes[pattern[:-1]]
            assert (x < parent[0]) == (pattern[-1] == "1")
            assert y > parent[1]
    frames = sorted(round(box.get_linewidth(), 1) for box in axes.patches)
    assert part.ranking is not None
    assert frames.count(3.0) == 1
    assert frames.count(1.8) == len(part.ranking.indistinguishable) - 1


def test_brighter_cells_are_better_whatever_the_metric() -> None:
    axes = {"optimizer.lr": [0.1, 0.2], "network.width": [4, 8]}

    def truth(levels: Mapping[str, str], *_: str) -> float:
        return (
            0.5 + 0.1 * (levels["optimizer.lr"] == "0.1") + 0.2 * (levels["network.width"] == "4")
        )

    for metric in ("dice", "betti0_error"):
        found = make(truth, axes=axes, select={"metric": metric})
        plot = drawn(found)["settings"].figure.axes[0]
        light = {}
        for box in plot.patches:
            middle = round(box.get_x() + box.get_width() / 2, 1), round(box.get_y() + 0.5, 0)
            light[middle] = float(np.dot(box.get_facecolor()[:3], (0.2126, 0.7152, 0.0722)))
        assert plot.get_xlabel() == "width"
        assert plot.get_ylabel() == "lr"
        assert max(light, key=light.__getitem__)[0] == 0.5
        assert sorted(light, key=light.__getitem__)[-1] == min(light)  # upper left: 0.1, 4


def test_one_axis_is_a_list_with_the_paired_difference() -> None:
    found = make(losses(0.5, 0.75, 0.7), noise=0.01)
    plates = drawn(found)
    assert list(plates) == ["settings"]
    left, right = plates["settings"].figure.axes
    assert [one.get_text() for one in left.get_yticklabels()] == ["Dice", "Tversky", "BCE"]
    assert "paired difference to Dice" in right.get_xlabel()
    ranking = found.parts[0].ranking
    assert ranking is not None
    points = sorted(
        float(line.get_xdata()[0]) for line in right.lines if line.get_marker() not in ("None", "")
    )
    expected = sorted([0.0, *(one.difference.value for one in ranking.comparisons.values())])
    assert points == pytest.approx(expected)


def test_a_list_that_is_too_long_is_cut_and_keeps_the_first() -> None:
    labels = {f"number {k}": {"dice": k + 1} for k in range(50)}

    def truth(levels: Mapping[str, str], _: str, split: str) -> float:
        number = int(levels["loss"].split()[1])
        return 0.9 if split == "val" and number == 0 else 0.2 + number / 100

    found = make(truth, axes={"loss": labels}, seeds=(0, 1), images=2)
    plate = drawn(found)["settings"]
    names = [one.get_text() for one in plate.figure.axes[0].get_yticklabels()]
    assert len(names) == 40
    assert names[0] == "number 49"
    assert "number 0" in names
    assert "10 settings below are not shown." in plate.caption


def test_training_sizes_are_a_curve_with_a_line_per_level() -> None:
    axes = {
        "data.train_size": {"2": 2, "8": 8, "all": None},
        "augment": {"with": {}, "without": {"elastic": 0}},
    }
    worth = {"2": 0.5, "8": 0.6, "all": 0.7}
    found = make(lambda levels, *_: worth[levels["data.train_size"]], axes=axes, noise=0.001)
    plates = drawn(found)
    assert "settings" not in plates
    plot = plates["curve"].figure.axes[0]
    lines = [line for line in plot.lines if line.get_label().startswith("augment")]
    assert [line.get_label() for line in lines] == ["augment with", "augment without"]
    for line in lines:
        assert list(line.get_ydata()) == pytest.approx([0.5, 0.6, 0.7], abs=0.01)
        assert np.allclose(np.asarray(line.get_xdata()) / [2, 8, 16], 1, atol=0.05)
    assert [one.get_text() for one in plot.get_xticklabels()] == ["2", "8", "all"]
    assert "whole training split" in plates["curve"].caption
    single = make(
        lambda levels, *_: 0.1 * int(levels["data.train_size"]),
        axes={"data.train_size": [1, 2, 4]},
        noise=0.001,
    )
    assert list(drawn(single)) == ["curve"]
    assert "whole training split" not in drawn(single)["curve"].caption


def test_effects_are_drawn_at_their_estimates(networks: Findings, plates: dict[str, Plate]) -> None:
    fit = networks.parts[0].fit
    assert fit is not None
    plot = plates["effects"].figure.axes[0]
    labels = [one.get_text() for one in plot.get_yticklabels()]
    assert labels == [
        "depth 2 against 1",
        "depth 3 against 1",
        "skip at level 1, nearest the input",
        "skip at level 2",
        "skip at level 3",
    ]
    marks = [line for line in plot.lines if line.get_marker() == "o"]
    drawn_at = [float(line.get_xdata()[0]) for line in marks]
    assert drawn_at == pytest.approx([effect.estimate for effect in fit.effects])
    hollow = [line.get_markerfacecolor() == "#fcfcfa" for line in marks]
    assert hollow == [effect.p_adjusted >= 0.05 for effect in fit.effects]


def test_an_effect_that_is_unknown_is_drawn_as_its_note() -> None:
    def status(cell: Cell) -> tuple[str, str]:
        same = (cell.levels["network.depth"] == "1") == (cell.levels["network.width"] == "8")
        return ("done", "") if same else ("failed", "not wanted")

    axes = {"network.depth": [1, 2], "network.width": [8, 16]}
    found = make(lambda *_: 0.5, axes=axes, status=status, noise=0.01)
    text = " ".join(words_of(drawn(found)["effects"]))
    assert "cannot be told from network.width" in text


def test_the_front_joins_what_nothing_cheaper_beats() -> None:
    worth = {"4": 0.5, "8": 0.7, "16": 0.6, "32": 0.8}
    axes = {"network.width": [4, 8, 16, 32]}
    found = make(lambda of, *_: worth[of["network.width"]], axes=axes, cost=widths, noise=0.001)
    first, second = drawn(found)["cost"].figure.axes
    for plot, cost in ((first, "parameters"), (second, "gflops")):
        front = next(line for line in plot.lines if line.get_drawstyle() == "steps-post")
        expected = [widths({"network.width": w})[cost] for w in ("4", "8", "32")]
        assert list(front.get_xdata()) == expected
        assert [one.get_text() for one in plot.texts] == ["width 4", "width 8", "width 32"]
        assert list(plot.get_xticks()) == [widths({"network.width": w})[cost] for w in worth]
    assert drawn(make(losses(0.5, 0.75, 0.7))).keys() == {"settings"}  # all cost the same


def test_a_run_gone_wrong_does_not_flatten_the_cost_figure() -> None:
    chance = np.random.default_rng(1)

    def truth(levels: Mapping[str, str], *_: str) -> float:
        wild = levels["network.width"] == "8"
        return 0.7 + (0.2 if wild else 0.002) * chance.normal()

    found = make(truth, axes={"network.width": [4, 8, 16, 32]}, cost=widths, noise=0.002)
    plate = drawn(found)["cost"]
    estimate = found.parts[0].setting("8").scores["dice"]
    bottom, top = plate.figure.axes[0].get_ylim()
    assert estimate.high - estimate.low > top - bottom
    assert "Intervals that reach out of the frame are cut." in plate.caption
    for setting in found.parts[0].settings:
        assert bottom < setting.scores["dice"].value < top


def test_names_that_matplotlib_has_no_letters_for_make_no_warning(tmp_path: Path) -> None:
    axes = {"loss": {"损失 $a_b$": {"dice": 1}, "فقدان": {"tversky": 1}, "c": {"cross_entropy": 1}}}
    found = make(lambda *_: 0.5, axes=axes, noise=0.01)
    assert "损失 $a_b$" in page_of(found, tmp_path).text


def test_figures_for_a_page_take_its_colours(plates: dict[str, Plate]) -> None:
    for kind, plate in plates.items():
        text = inline_svg(plate, f"x-{kind}")
        ElementTree.fromstring(text)
        assert "var(--ink)" in text
        assert "#1d2126" not in text
        assert "<style" not in text
        assert "font-family: 'DejaVu" not in text
        assert f'id="x-{kind}-' in text


def test_several_axes_beyond_a_map_are_a_list() -> None:
    axes = {"loss": LOSSES, "network.width": [4, 8], "optimizer.lr": [0.1, 0.2]}
    found = make(lambda *_: 0.5, axes=axes, noise=0.01, cost=widths)
    plates = drawn(found)
    assert list(plates) == ["settings", "effects", "cost"]
    assert len(plates["settings"].figure.axes[0].get_yticklabels()) == 12


def test_skip_patterns_of_another_axis_are_panels_and_incomplete_ones_a_map() -> None:
    axes = {"network.depth": [2], "network.skips": "all", "optimizer.lr": [0.1, 0.2]}
    found = make(lambda *_: 0.5, axes=axes, noise=0.01)
    plots = drawn(found)["settings"].figure.axes
    assert [plot.get_title(loc="left") for plot in plots[:2]] == ["lr 0.1", "lr 0.2"]
    some = {"network.depth": [2], "network.skips": ["11", "01"], "optimizer.lr": [0.1, 0.2]}
    found = make(lambda *_: 0.5, axes=some, noise=0.01)
    assert drawn(found)["settings"].figure.axes[0].get_xlabel() in ("skips", "lr")


# ---- in a browser


@pytest.mark.browser
def test_chromium_sorts_by_a_click_and_fits_a_telephone(page: Page, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    probe = """<script>
      const table = document.querySelector(".sortable");
      const column = n => [...table.tBodies[0].rows].map(row => row.cells[n].textContent);
      const click = n => table.tHead.rows[0].cells[n].querySelector("button").click();
      click(9); const up = column(9); click(9); const down = column(9); click(1);
      document.body.dataset.report = JSON.stringify({
        up, down, skips: column(1), gaps: (click(7), table.tBodies[0].lastElementChild.className),
        wide: document.documentElement.scrollWidth <= innerWidth,
        sorted: table.tHead.rows[0].cells[7].getAttribute("aria-sort"),
      });
    </script></body>"""
    path = tmp_path / "study.html"
    path.write_text(page.source.replace("</body>", probe), encoding="utf-8")
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
    match = re.search(r'data-report="([^"]+)"', done.stdout)
    assert match is not None
    seen = json.loads(match[1].replace("&quot;", '"'))
    counts = [int(text.replace(",", "")) for text in seen["up"]]
    assert counts == sorted(counts)
    assert seen["down"] == [f"{count:,}" for count in sorted(counts, reverse=True)]
    assert seen["skips"][0] in ("0", "00", "000")
    assert seen["gaps"] == "best"  # has no difference to itself, and what is unknown comes last
    assert seen["sorted"] == "ascending"
    assert seen["wide"]
