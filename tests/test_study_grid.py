"""A study file becomes its cells: all of them, each once, under a name that never changes."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from unetkit.errors import InputError
from unetkit.recipe import Recipe, check_recipe, read_recipe, to_document
from unetkit.recipe import to_yaml as recipe_to_yaml
from unetkit.study import StudyConfig, cells, read_study
from unetkit.study.grid import to_yaml


@pytest.fixture
def plan(tmp_path, discs):
    """Write a study file beside the data `discs`, and give its study and cells."""

    def read(text, name="study.yaml"):
        link = tmp_path / "mine" / "discs"
        link.parent.mkdir(exist_ok=True)
        if not link.exists():
            shutil.copytree(discs, link)
        file = link.parent / name
        file.write_text(text)
        study = read_study(file)
        return study, cells(study)

    return read


def study_of(data, **keys):
    return StudyConfig(name="s", dataset=str(data), **keys)


def keys_of(data, **keys):
    return [cell.key for cell in cells(study_of(data, **keys))]


def key_of(data, **keys):
    (key,) = keys_of(data, **keys)
    return key


def labels_of(study, axis):
    return list(dict.fromkeys(cell.levels[axis] for cell in cells(study)))


# --------------------------------------------------------------------------- which cells there are

DEPTH_AND_SKIPS = """
dataset: discs
recipe: tavares2025
axes: {network.depth: [1, 2, 3, 4], network.skips: all}
seeds: [0, 1, 2]
set: {network.width: 8, train.minutes: 1}
select: {metric: dice, split: val}
"""


def test_depth_by_skips(plan):
    study, every = plan(DEPTH_AND_SKIPS)
    assert len(every) == 30 * 3
    assert len({cell.key for cell in every}) == 90
    assert len({cell.setting for cell in every}) == 30
    patterns = {depth: {format(n, f"0{depth}b") for n in range(2**depth)} for depth in range(1, 5)}
    for seed in (0, 1, 2):
        for depth, expected in patterns.items():
            found = [c for c in every if c.seed == seed and c.recipe.network.depth == depth]
            assert {cell.recipe.network.skips for cell in found} == expected
            assert len(found) == 2**depth
    for cell in every:
        network = cell.recipe.network
        assert cell.levels == {"network.depth": str(network.depth), "network.skips": network.skips}
        asked = read_recipe("tavares2025", [
            "network.width=8", "train.minutes=1", f"network.depth={network.depth}",
            f'network.skips="{network.skips}"', f"seed={cell.seed}",
        ])  # fmt: skip
        assert cell.recipe == asked
        assert (cell.dataset, cell.fold) == ("discs", None)
    assert every[0].levels["network.skips"] == "1"  # all skips first: the one to compare with
    assert study.name == "mine"


def test_seeds_vary_slowest_then_folds_then_data(plan, tmp_path, discs):
    shutil.copytree(discs, tmp_path / "mine" / "other")
    (tmp_path / "mine" / "other" / "note.txt").write_text("so that it is another content")
    _, every = plan(
        "datasets: {A: discs, B: other}\naxes: {network.depth: [1, 2]}\nseeds: [5, 3]\nfolds: 2"
    )
    order = [(c.seed, c.fold, c.dataset, c.levels["network.depth"]) for c in every]
    expected = [
        (seed, fold, data, depth)
        for seed in (5, 3) for fold in (0, 1) for data in "AB" for depth in "12"
    ]  # fmt: skip
    assert order == expected
    assert {cell.recipe.data.folds for cell in every} == {2}
    assert {cell.setting for cell in every} == {(d, n) for d in "AB" for n in "12"}
    assert len({cell.key for cell in every}) == 16


def test_a_study_without_axes_is_one_recipe_with_repeats(discs):
    every = cells(study_of(discs, seeds=(4, 2), recipe="thin"))
    assert [(c.seed, c.levels, c.setting) for c in every] == [
        (4, {}, (discs.name,)), (2, {}, (discs.name,)),
    ]  # fmt: skip
    assert every[0].recipe == read_recipe("thin", ["seed=4"])


def test_a_recipe_as_a_mapping_or_a_file(plan, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    mine = read_recipe("thin", ["network.width=6"])
    (tmp_path / "mine" / "my.yaml").write_text(recipe_to_yaml(mine))
    (_, (from_file,)) = plan("dataset: discs\nrecipe: my.yaml")
    document = json.dumps(to_document(mine))
    (_, (from_mapping,)) = plan(f"dataset: discs\nrecipe: {document}")
    assert from_file.recipe == from_mapping.recipe == mine
    (tmp_path / "cwd").mkdir()  # a file where the command runs counts before one beside the study
    monkeypatch.chdir(tmp_path / "cwd")
    Path("my.yaml").write_text(recipe_to_yaml(read_recipe("default", ["network.width=9"])))
    assert plan("dataset: discs\nrecipe: my.yaml")[1][0].recipe.network.width == 9


# ------------------------------------------------------------------------------------------ labels


def test_labels_are_what_a_reader_would_say(discs):
    axes = {
        "loss": [
            {"cross_entropy": 1, "dice": 1}, {"dice": 1}, {"cl_dice": 0.5, "dice": 0.5},
            {"skeleton_recall": 1, "cross_entropy": {"weight": 5, "border": {"w0": 10}}},
        ],
        "data.train_size": [1, 3, None],
        "optimizer.lr": [1e-4, 0.01],
        "network.skips": ["1111", "0000"],
    }  # fmt: skip
    study = study_of(discs, axes=axes)
    assert labels_of(study, "loss") == [
        "cross_entropy + dice", "dice", "0.5 cl_dice + 0.5 dice",
        "skeleton_recall + 5 cross_entropy*",
    ]  # fmt: skip
    assert labels_of(study, "data.train_size") == ["1", "3", "all"]
    assert labels_of(study, "optimizer.lr") == ["0.0001", "0.01"]
    assert labels_of(study, "network.skips") == ["1111", "0000"]
    every = cells(study)
    assert len(every) == 4 * 3 * 2 * 2
    by = {c.levels["data.train_size"]: c.recipe.data.train_size for c in every}
    assert by == {"1": 1, "3": 3, "all": None}


def test_an_axis_may_bring_its_own_labels(plan):
    _, every = plan("""
dataset: discs
axes:
  loss: {BCE: {cross_entropy: 1}, "0": {dice: 2}, 7: {tversky: 1}}
  augment: {with elastic: {}, without: {elastic: 0}}
""")
    found = {
        cell.setting[1:]: (
            [(name, term.weight) for name, term in cell.recipe.loss.terms()],
            cell.recipe.augment.elastic > 0,
        )
        for cell in every
    }
    assert found == {
        (name, augment): (terms, augment == "with elastic")
        for name, terms in
        {"BCE": [("cross_entropy", 1)], "0": [("dice", 2)], "7": [("tversky", 1)]}.items()
        for augment in ("with elastic", "without")
    }  # fmt: skip


def test_digits_of_skips_stay_digits(plan):
    _, every = plan("dataset: discs\naxes: {network.skips: [0011, 1100, 0000]}")
    assert [cell.recipe.network.skips for cell in every] == ["0011", "1100", "0000"]
    assert [cell.levels["network.skips"] for cell in every] == ["0011", "1100", "0000"]


def test_later_axes_change_what_earlier_ones_set(discs):
    axes = {"augment": [{}, {"elastic": 0}], "augment.rotate": [0, 90]}
    study = study_of(discs, axes=axes)
    found = {(c.recipe.augment.elastic > 0, c.recipe.augment.rotate) for c in cells(study)}
    assert found == {(True, 0), (True, 90), (False, 0), (False, 90)}
    assert study.axes == {"augment": [{}, {"elastic": 0}], "augment.rotate": [0, 90]}


def test_a_term_that_is_off_can_be_reached(discs):
    (cell,) = cells(study_of(discs, set={"loss.skeleton_recall.radius": 3}))
    assert cell.recipe.loss.skeleton_recall.radius == 3
    assert [name for name, _ in cell.recipe.loss.terms()] == [
        "cross_entropy", "dice", "skeleton_recall",
    ]  # fmt: skip


def test_all_skips_of_a_recipe_that_had_its_own(discs):
    every = cells(study_of(
        discs, set={"network.skips": "1010"}, axes={"network.skips": "all", "network.depth": [2]}
    ))  # fmt: skip
    assert [cell.recipe.network.skips for cell in every] == ["11", "10", "01", "00"]


# -------------------------------------------------------------------------- one recipe is one cell


def test_identical_combinations_are_one_cell(discs):
    twice = [{"dice": 1}, {"dice": {"weight": 1.0, "smooth": 1}}, {"dice": 1, "focal": None}]
    every = cells(study_of(discs, axes={"loss": twice}, seeds=(0, 1)))
    assert [(c.levels["loss"], c.seed) for c in every] == [("dice", 0), ("dice", 1)]
    every = cells(study_of(discs, axes={"network.depth": {"four": 4, "default": 4, "two": 2}}))
    assert [cell.levels["network.depth"] for cell in every] == ["four", "two"]


def test_the_same_recipe_by_another_route_is_the_same_cell(discs):
    thin = {"cross_entropy": 1, "dice": 1, "skeleton_recall": 1}
    routes = [
        {"recipe": "thin", "set": {"network.depth": 2}},
        {"recipe": "thin", "axes": {"network.depth": [2]}},
        {"recipe": {"name": "thin", "loss": thin, "network": {"width": 16, "depth": 2}}},
        {"set": {"name": "thin", "loss.skeleton_recall": 1, "network.depth": 2}},
        {"recipe": "thin", "axes": {"loss": {"x": thin}}, "set": {"network.depth": 2}},
        {"recipe": "thin", "set": {"network": {"width": 16, "depth": 2}}, "seeds": (0,)},
    ]
    assert len({key_of(discs, **route) for route in routes}) == 1
    assert key_of(discs, recipe="thin") != key_of(discs, **routes[0])


def test_growing_a_study_keeps_its_cells(discs):
    small = keys_of(discs, axes={"network.depth": [1, 2]}, seeds=(0, 1))
    large = keys_of(discs, axes={"network.depth": [3, 2, 1]}, seeds=(1, 0, 2))
    assert set(small) < set(large)
    assert len(large) == 9


def test_two_settings_may_not_share_a_label(discs):
    twins = [{"dice": {"smooth": 1}}, {"dice": {"smooth": 5}}]
    for axes in ({"loss": twins}, {"train.batch": [2], "loss": twins}):
        with pytest.raises(InputError) as caught:
            cells(study_of(discs, axes=axes))
        line = str(caught.value)
        assert "loss=dice: two different settings have these same labels" in line.replace("*", "")
        assert "a mapping of labels" in line
    named = {"smooth 1": twins[0], "smooth 5": twins[1]}
    assert len(cells(study_of(discs, axes={"loss": named}))) == 2


# ------------------------------------------------------------------------------ the name of a cell


def test_the_key_by_hand(tmp_path):
    """Finished studies lie on people's disks: what their folders are called must never change."""
    (tmp_path / "set" / "images").mkdir(parents=True)
    (tmp_path / "set" / "images" / "a.png").write_bytes(b"12345")
    (tmp_path / "set" / "split.json").write_bytes(b"{}")
    (tmp_path / "set" / ".hidden").write_bytes(b"not counted")

    def digest(text):
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    data = digest('[["images/a.png",5],["split.json",2]]')
    (cell,) = cells(study_of(tmp_path / "set", set={"network.width": 8}, seeds=(3,)))
    told = '"recipe":{"network":{"width":8},"seed":3}'
    assert cell.key == digest(f'{{"data":"{data}",{told}}}')


def test_the_key_does_not_know_places_and_names(plan, discs, tmp_path, monkeypatch):
    _, (first,) = plan("dataset: discs\nset: {network.width: 5}")
    moved = shutil.copytree(discs, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    others = [
        plan("name: x\ndatasets: {y: discs}\nset: {network.width: 5}", "other.yaml")[1][0],
        cells(StudyConfig(dataset="moved", set={"network.width": 5}))[0],
        cells(StudyConfig(dataset=str(moved), recipe={"network": {"width": 5}}, threads=1,
                          report="val", topology=False))[0],
    ]  # fmt: skip
    assert {cell.key for cell in others} == {first.key}
    assert [cell.dataset for cell in others] == ["y", "moved", "moved"]


def test_the_key_knows_the_data(discs, tmp_path):
    data = shutil.copytree(discs, tmp_path / "set")
    seen = [key_of(data)]
    (data / "split.json").write_text((data / "split.json").read_text() + " ")
    seen.append(key_of(data))
    (data / "images" / "case0.png").rename(data / "images" / "renamed.png")
    seen.append(key_of(data))
    (data / "images" / "case1.png").unlink()
    seen.append(key_of(data))
    assert len(set(seen)) == 4
    (data / "images" / ".DS_Store").write_text("what a file manager leaves")
    assert key_of(data) == seen[-1]


def leaves(document, path=""):
    for key, value in document.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


WORDS = [
    "valid", "instance", "residual", "linear", "adam", "constant", "loss", "fp32", "none", "flips",
    "another",
]  # fmt: skip


def others(value):
    """Give values that a key might take instead."""
    match value:
        case bool():
            return [not value]
        case int() | float():
            return [value + 1, value + 0.1, value / 2]
        case str():
            return [word for word in WORDS if word != value]
        case None:
            return [1, 2, True, "softmax", "1010", [2, 2, 2, 2], [0.5] * 5]
    return [[]]


def test_the_key_knows_every_value_of_the_recipe(discs):
    base = to_document(Recipe())
    keys, tried = {key_of(discs): "the default"}, []
    for path, value in leaves(base):
        if path == "seed" or path.startswith("data.fold"):
            continue
        for other in others(value):
            try:
                key = key_of(discs, set={path: other})
            except InputError:
                continue
            assert key not in keys, f"{path}={other} is the same cell as {keys[key]}"
            keys[key] = f"{path}={other}"
            tried.append(path)
            break
    assert len(tried) > 45
    assert {path.split(".")[0] for path in tried} == set(base) - {"seed"}
    assert key_of(discs, seeds=(1,)) not in keys
    assert not set(keys_of(discs, folds=3)) & set(keys)
    assert len(set(keys_of(discs, folds=3)) | set(keys_of(discs, folds=2))) == 5


# ---------------------------------------------------------------------------------------- the file


def test_paths_from_the_working_directory_and_from_the_file(plan, discs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study, (beside,) = plan("dataset: discs")
    assert Path(beside.data).resolve() == (tmp_path / "mine" / "discs").resolve()
    here = shutil.copytree(discs, tmp_path / "discs")
    study, (cell,) = plan("dataset: discs")
    assert Path(cell.data).resolve() == here.resolve()  # where the command runs comes first
    assert study.datasets == {"discs": "discs"}
    assert cell.dataset == "discs"
    monkeypatch.chdir(here)
    _, (cell,) = plan("dataset: .")
    assert cell.dataset == "discs"
    _, (cell,) = plan(f"dataset: {discs}")
    assert Path(cell.data) == discs


def test_the_name_of_a_study(plan):
    assert plan("dataset: discs", "study.yaml")[0].name == "mine"
    assert plan("dataset: discs", "depth.yaml")[0].name == "depth"
    assert plan("name: mine too\ndataset: discs", "depth.yaml")[0].name == "mine too"


FULL = """
name: σ and more
datasets: {one: discs, two words: discs}
recipe: {name: mine, network: {width: 3}, optimizer: {lr: 1e-5}}
axes:
  network.skips: [0011, 1100]
  loss: {"001": {dice: 1}, 2: {cross_entropy: 1, dice: 5e-2}}
  data.train_size: [1, null]
  optimizer.lr: [1e-5, 0.1]
seeds: [3, 0]
folds: 3
set: {train.clip: null, schedule: {name: constant}}
select: {metric: iou}
report: val
topology: false
threads: 2
"""


@pytest.mark.parametrize("text", [DEPTH_AND_SKIPS, FULL, "dataset: discs"])
def test_a_written_study_is_the_same_study(plan, text):
    study, every = plan(text)
    again, cells_again = plan(to_yaml(study), "again.yaml")
    assert to_yaml(again) == to_yaml(study)
    assert [(c.key, c.levels, c.dataset) for c in cells_again] == [
        (c.key, c.levels, c.dataset) for c in every
    ]


def test_a_study_made_in_python(discs):
    study = StudyConfig(dataset=str(discs), axes={"network.depth": (1, 2)}, seeds=[1])
    assert [(c.levels, c.seed) for c in cells(study)] == [
        ({"network.depth": "1"}, 1), ({"network.depth": "2"}, 1),
    ]  # fmt: skip
    with pytest.raises(ValidationError, match="named twice"):
        StudyConfig(dataset=str(discs), seeds=(1, 1))


BAD = {
    "dataset: discs\nseedz: [1]": "unknown key seedz; did you mean seeds?",
    "dataset: discs\nselect: {metrik: dice}": "unknown key select.metrik; did you mean metric?",
    "dataset: discs\nselect: {metric: dize}":
        "study.yaml: select.metric: dize is not scored; did you mean dice?",
    "dataset: discs\naxes: {network.detph: [1]}":
        "mine: network.detph=1: unknown key network.detph; did you mean depth?",
    "dataset: discs\naxes: {netwrok.depth: [1]}":
        "mine: axes: unknown key netwrok.depth; did you mean network?",
    "dataset: discs\naxes: {network.depth.x: [1]}":
        "unknown key network.depth.x; depth has no keys of its own",
    "dataset: discs\naxes: {depth: [1]}": "unknown key depth; ",
    "dataset: discs\nset: {train.epoch: 1}":
        "mine: set: unknown key train.epoch; did you mean epochs?",
    "dataset: discs\nset: {optimiser.lr: 1}":
        "mine: set: unknown key optimiser.lr; did you mean optimizer?",
    "dataset: discs\nrecipe: {los: {}}": "mine: recipe: unknown key los; did you mean loss?",
    "dataset: discs\nrecipe: tavares2052": "unknown recipe tavares2052; did you mean tavares2025?",
    "dataset: discs\nrecipe: none.yaml": "none.yaml: no such recipe file",
    "dataset: discs\naxes: {network.depth: all}":
        "study.yaml: axes.network.depth: only network.skips can be `all`",
    "dataset: discs\naxes: {network.depth: 4}":
        "study.yaml: axes.network.depth: should be a list of values, or a mapping of labels to "
        "values (given 4)",
    "dataset: discs\naxes: {network.depth: }":
        "study.yaml: axes.network.depth: should be a list of values",
    "dataset: discs\naxes: {network.depth: deep}":
        "study.yaml: axes.network.depth: should be a list of values",
    "dataset: discs\naxes: {network.depth: []}": "study.yaml: axes.network.depth has no values",
    "dataset: discs\naxes: {seed: [1, 2]}": "study.yaml: axes.seed: use seeds of the study",
    "dataset: discs\naxes: {data.fold: [1, 2]}": "axes.data.fold: use folds of the study",
    "dataset: discs\naxes: {data.folds: [2, 3]}": "axes.data.folds: use folds of the study",
    "dataset: discs\nset: {seed: 4}": "study.yaml: set.seed: use seeds of the study",
    "dataset: discs\naxes: [network.depth]": "axes: ",
    "dataset: discs\ndatasets: {a: discs}": "study.yaml: name one dataset, or several as datasets",
    "seeds: [1]": "study.yaml: name one dataset, or several as datasets",
    "dataset: gone": "study.yaml: there is no data folder gone, neither here nor beside the file",
    "datasets: {a: discs, b: gone}": "there is no data folder gone",
    "dataset: discs\nseeds: [1, 2, 1]": "study.yaml: seeds: one of them is named twice",
    "dataset: discs\nseeds: []": "seeds: ",
    "dataset: discs\nseeds: [one]": "seeds.0: input should be a valid integer",
    "dataset: discs\nseeds: [-1]": "seed: input should be greater than or equal to 0 (given -1)",
    "dataset: discs\nfolds: 1": "folds: input should be greater than or equal to 2 (given 1)",
    "dataset: discs\nthreads: 0": "threads: input should be greater than or equal to 1 (given 0)",
    "dataset: discs\naxes: {network.width: [2], network.depth: [1, 9]}":
        "mine: network.width=2, network.depth=9: network.depth: input should be less than or "
        "equal to 6 (given 9)",
    "dataset: discs\naxes: {network.depth: [two], network.skips: all}":
        "mine: network.depth=two: network.depth: input should be a valid integer",
    "dataset: discs\naxes: {network.skips: ['11']}": "mine: network.skips=11: network: skips '11'",
    "dataset: discs\naxes: {data: [3]}\nfolds: 2": "mine: data=3: unknown key data.folds",
    "dataset: discs\nset: {train.batch: 0}":
        "mine: set: train.batch: input should be greater than or equal to 1 (given 0)",
    "dataset: discs\nset: {network: 3}": "mine: set: network: should be keys with values, not 3",
    "dataset: [": "study.yaml: is not YAML (line ",
    "- dataset": "study.yaml: a study is a mapping of keys to values",
    "": "study.yaml: a study is a mapping of keys to values",
}  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_a_mistake_is_one_line(plan, text):
    with pytest.raises(InputError) as caught:
        plan(text)
    line = str(caught.value)
    assert BAD[text] in line
    assert "\n" not in line
    for internal in ("[key]", "literal[", "list[", "dict[", "function-", ": : ", "Value error"):
        assert internal not in line


def test_no_such_file(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(InputError, match="no such study file; check the path"):
            read_study(path)
    with pytest.raises(InputError, match="gone: no such data folder; correct dataset"):
        cells(StudyConfig(dataset=str(tmp_path / "gone")))


def test_the_recipes_of_cells_can_be_read_again(discs):
    for cell in cells(study_of(discs, axes={"network.skips": "all"}, folds=2)):
        assert check_recipe(to_document(cell.recipe), "again") == cell.recipe
