"""Folds never part what belongs together; few images are drawn fairly; a model knows its fold."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from conftest import TINY, blobs
from unetkit.data import Case, Dataset, PortionConfig, Task, groups, portion, read_dataset
from unetkit.errors import InputError
from unetkit.evaluation import evaluate
from unetkit.recipe import read_recipe
from unetkit.segmenter import load
from unetkit.training import train

TASK = Task(classes=("background", "cell"), kind="semantic", values=(0, 255), ignore=(),
            channels=1, ndim=2)  # fmt: skip
OWN = ("train", "val", "test")


def some(ids, root=Path("nowhere"), **split):
    """Give a data set of these names; without a split all are in train."""
    ids = tuple(ids)
    cases = tuple(Case(name, root / f"{name}.png") for name in ids)
    split = split or {"train": ids}
    return Dataset(root, "", cases, TASK, {name: tuple(part) for name, part in split.items()})


def names(count, start=0):
    return [f"image{index:03}" for index in range(start, start + count)]


def ids(dataset, split):
    return [case.id for case in dataset.select(split)]


def folded(dataset, folds):
    return [portion(dataset, PortionConfig(folds=folds, fold=k)).split for k in range(folds)]


def is_one_line(caught, *parts):
    line = str(caught.value)
    assert "\n" not in line
    for part in parts:
        assert part in line


# -------------------------------------------------------------------------------------- few images


def test_without_a_wish_the_set_is_as_it_was():
    dataset = some(names(9), train=names(7), val=names(1, 7), test=names(1, 8))
    assert portion(dataset, PortionConfig()) is dataset


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_fewer_images_are_a_subset_of_more(seed):
    dataset = some(names(20), train=names(14), val=names(2, 14), test=names(4, 16), more=names(3))
    before = {name: list(part) for name, part in dataset.split.items()}
    drawn = [
        ids(portion(dataset, PortionConfig(train_size=size), seed), "train")
        for size in range(1, 15)
    ]
    assert [len(part) for part in drawn] == list(range(1, 15))
    assert all(set(few) < set(more) for few, more in pairwise(drawn))
    assert all(part == sorted(part) for part in drawn)  # in the order of the set
    assert drawn[-1] == names(14)
    part = portion(dataset, PortionConfig(train_size=3), seed)
    assert {k: v for k, v in part.split.items() if k != "train"} == {
        k: tuple(v) for k, v in before.items() if k != "train"
    }
    assert {name: list(part) for name, part in dataset.split.items()} == before


def test_every_seed_draws_its_own_images():
    dataset = some(names(20))
    drawn = {portion(dataset, PortionConfig(train_size=4), s).split["train"] for s in range(30)}
    assert len(drawn) > 25  # of 4845
    often = Counter(name for part in drawn for name in part)
    assert set(often) == set(names(20))  # nobody is left out for ever
    again = [portion(dataset, PortionConfig(train_size=4), 3).split["train"] for _ in range(2)]
    assert again[0] == again[1]


def test_more_training_images_than_there_are():
    dataset = some(names(5), train=names(4), val=names(1, 4))
    with pytest.raises(InputError) as caught:
        portion(dataset, PortionConfig(train_size=5))
    is_one_line(caught, "train_size is 5, but there are 4 training cases", "lower data.train_size")


def test_few_images_of_a_fold():
    """The size counts within the fold; it draws from its training part alone."""
    dataset = some(names(12))
    whole = portion(dataset, PortionConfig(folds=4, fold=1))
    few = portion(dataset, PortionConfig(folds=4, fold=1, train_size=2), seed=5)
    assert len(few.split["train"]) == 2
    assert set(few.split["train"]) < set(whole.split["train"])
    assert {k: few.split[k] for k in ("val", "test")} == {
        k: whole.split[k] for k in ("val", "test")
    }


# ------------------------------------------------------------------------------------------- folds


def test_folds_of_lone_cases_are_neighbours():
    """Twenty cases in five parts by hand: four for test, the three that follow for val (15 %)."""
    found = folded(some(names(20)), 5)
    for k, split in enumerate(found):
        assert list(split["test"]) == names(4, 4 * k)
        behind = [*names(20), *names(20)][4 * k + 4 :]
        assert set(split["val"]) == set(behind[:3])
        assert len(split["train"]) == 13


@st.composite
def structures(draw):
    """Give cases in any order, most in groups, and the lists of the set's own split."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=9))
    group_of = {}
    for group, size in enumerate(sizes):
        for member in range(size):
            group_of[f"c{group}x{member}"] = f"group {group}"
    order = draw(st.permutations(list(group_of)))
    apart = draw(st.sets(st.sampled_from(order), max_size=len(order) // 3))
    split = {"train": [], "val": [], "test": [], "partial": sorted(apart)}
    for name in order:
        if name not in apart:
            split[draw(st.sampled_from(OWN))].append(name)
    return order, group_of, split, draw(st.integers(2, 6))


@settings(deadline=None)
@given(structures())
def test_folds_partition_and_never_part_a_group(tmp_path_factory, structure):
    order, group_of, split, folds = structure
    root = tmp_path_factory.getbasetemp() / "structures"
    root.mkdir(exist_ok=True)
    (root / "groups.json").write_text(json.dumps(group_of))
    dataset = some(order, root, **split)
    own = {name for part in OWN for name in split[part]}
    count = len({group_of[name] for name in own})
    largest = -(-count // folds)  # groups of the largest test part
    if count < folds or count - largest < 2:
        for fold in range(folds):
            with pytest.raises(InputError, match="cannot be parted"):
                portion(dataset, PortionConfig(folds=folds, fold=fold))
        return
    found = folded(dataset, folds)
    tested = [name for part in found for name in part["test"]]
    assert sorted(tested) == sorted(own)  # every case exactly once
    for part in found:
        assert all(part[name] for name in OWN)
        assert sorted(name for key in OWN for name in part[key]) == sorted(own)
        for name in OWN:
            inside = {group_of[case] for case in part[name]}
            others = {group_of[case] for key in OWN if key != name for case in part[key]}
            assert not inside & others
        assert part["partial"] == tuple(split["partial"])
    blocks = [len({group_of[name] for name in part["test"]}) for part in found]
    assert max(blocks) - min(blocks) <= 1


def test_folds_are_the_same_for_every_seed_and_whatever_the_own_split():
    one = some(names(10), train=names(6), val=names(2, 6), test=names(2, 8))
    other = replace(one, split={"train": tuple(names(10))})
    for fold in range(3):
        config = PortionConfig(folds=3, fold=fold)
        parts = [portion(d, config, seed).split for d in (one, other) for seed in (0, 9)]
        assert all(part == parts[0] for part in parts)


def test_the_user_s_own_lists_stay_apart(tmp_path):
    data = blobs(tmp_path / "set", count=8)
    split = {"train": ["case0", "case1", "case2"], "test": ["case3"], "val": ["case4"],
             "partial": ["case5", "case6", "case7"]}  # fmt: skip
    (data / "split.json").write_text(json.dumps(split))
    for part in folded(read_dataset(data), 5):
        assert part["partial"] == ("case5", "case6", "case7")
        assert {name for key in OWN for name in part[key]} == {f"case{i}" for i in range(5)}


@pytest.mark.parametrize(("count", "folds", "cure"), [
    (4, 5, "set data.folds to at most 4"), (3, 2, "set data.folds to 3"), (2, 2, "add cases"),
])  # fmt: skip
def test_too_many_folds(count, folds, cure):
    for fold in range(folds):
        with pytest.raises(InputError) as caught:
            portion(some(names(count)), PortionConfig(folds=folds, fold=fold))
        is_one_line(caught, f"{count} groups of cases cannot be parted into {folds} folds", cure)
    if count >= 3:  # the cure is one
        assert all(all(part[k] for k in OWN) for part in folded(some(names(count)), count))


def test_a_fold_that_is_not_there():
    with pytest.raises(ValidationError, match="counted from 0"):
        PortionConfig(folds=3, fold=3)
    with pytest.raises(InputError) as caught:
        read_recipe("default", ["data.folds=3", "data.fold=3"])
    is_one_line(caught, "data: fold 3 of 3: they are counted from 0")
    with pytest.raises(InputError) as caught:
        read_recipe("default", ["data.fold_s=3"])
    is_one_line(caught, "unknown key data.fold_s; did you mean folds?")


# ------------------------------------------------------------------------------------------ groups


@pytest.mark.parametrize(("ids", "expected"), [
    (["01_t000", "01_t001", "02_t000", "02_t001"], ["01", "01", "02", "02"]),
    (["brain7_slice_12", "brain7_slice_13", "brain8_slice_1", "brain8_slice_2"],
     ["brain7_slice", "brain7_slice", "brain8_slice", "brain8_slice"]),
    (["a-f1", "a-f2", "b-f1", "b-f2", "b-f3"], ["a", "a", "b", "b", "b"]),
    (["x_frame0001", "x_frame0002", "y_frame0001", "y_frame0002"], ["x", "x", "y", "y"]),
    (["img_1", "img_2", "img_3"], None),  # one series: a way of numbering, not a video
    (["a_1", "a_2", "b_1"], None),  # a series of one
    (["a_1", "a_2", "b_1", "b_2", "odd"], None),  # one that is in no series
    (["im0001", "im0002", "im0003"], None),
])  # fmt: skip
def test_series_are_known_by_their_names(ids, expected):
    assert groups(some(ids)) == (expected and dict(zip(ids, expected, strict=True)))


def test_frames_of_a_video_stay_together_without_a_file():
    videos = [f"{video:02}_t{frame:03}" for video in (1, 2, 3) for frame in range(6)]
    for k, part in enumerate(folded(some(videos), 3)):
        assert {name[:2] for name in part["test"]} == {f"0{k + 1}"}
        assert [len(part[name]) for name in OWN] == [6, 6, 6]


def test_the_user_s_groups_count_before_the_names(tmp_path):
    dataset = some(["01_t0", "01_t1", "02_t0", "02_t1"], tmp_path)
    told = {"01_t0": "x", "01_t1": 7, "02_t0": 7, "02_t1": "x", "gone": "y"}
    (tmp_path / "groups.json").write_text(json.dumps(told))
    assert groups(dataset) == {"01_t0": "x", "01_t1": "7", "02_t0": "7", "02_t1": "x"}


@pytest.mark.parametrize(("text", "fault"), [
    ("{", "is no readable JSON"), ("[1]", "is not a table of cases"),
    ('{"a": "x"}', "says nothing of b"),
])  # fmt: skip
def test_a_damaged_file_of_groups(tmp_path, text, fault):
    (tmp_path / "groups.json").write_text(text)
    dataset = some(["a", "b", "c", "d"], tmp_path)
    for ask in (groups, lambda d: portion(d, PortionConfig(folds=2))):
        with pytest.raises(InputError) as caught:
            ask(dataset)
        is_one_line(caught, str(tmp_path / "groups.json"), fault)


# ------------------------------------------------------------------------------ a model's own fold


@pytest.fixture(scope="module")
def of_a_fold(tmp_path_factory):
    """Give a set of seven discs and a model of its fold 1 of 3, trained on two of its images."""
    data = blobs(tmp_path_factory.mktemp("folds") / "seven", count=7)
    run = tmp_path_factory.mktemp("folds") / "run"
    changes = [*TINY, "train.epochs=1", "train.steps=2", "data.folds=3", "data.fold=1",
               "data.train_size=2", "seed=4"]  # fmt: skip
    train(data, run, changes=changes)
    return data, run


def test_a_model_of_a_fold_is_judged_on_its_fold(of_a_fold):
    data, run = of_a_fold
    dataset = read_dataset(data)
    segmenter = load(run)
    expected = portion(dataset, PortionConfig(folds=3, fold=1))
    own, seen = segmenter.judged_on(dataset)
    assert own.split == expected.split  # all that may train, not the two that did
    drawn = portion(dataset, PortionConfig(folds=3, fold=1, train_size=2), seed=4).split
    assert segmenter.card.cases == {k: drawn[k] for k in ("train", "val")}
    assert seen == {*drawn["train"], *drawn["val"]}
    assert len(drawn["train"]) == 2
    assert not seen & set(own.split["test"])
    metrics = evaluate(segmenter, data, split="test")
    assert [image["id"] for image in metrics["per_image"]] == list(expected.split["test"])
    assert "seen_in_training" not in metrics["protocol"]
    told = evaluate(segmenter, data, split="train")["protocol"]
    assert told["seen_in_training"] == 2


def test_in_another_set_no_case_counts_as_seen(of_a_fold, tmp_path):
    _, run = of_a_fold
    other = read_dataset(blobs(tmp_path / "another", count=7))
    _, seen = load(run).judged_on(other)
    assert seen == frozenset()


def test_a_set_of_other_cases_keeps_its_own_split(of_a_fold, tmp_path):
    _, run = of_a_fold
    other = read_dataset(blobs(tmp_path / "another", count=2))  # too few for the model's folds
    own, _ = load(run).judged_on(other)
    assert own.split == other.split


def test_a_set_that_was_renamed_keeps_the_fold(of_a_fold, tmp_path):
    data, run = of_a_fold
    moved = read_dataset(shutil.copytree(data, tmp_path / "moved"))
    own, _ = load(run).judged_on(moved)
    assert own.split == portion(moved, PortionConfig(folds=3, fold=1)).split


def test_a_model_without_folds_is_judged_on_the_set_s_own_split(run, discs):
    dataset = read_dataset(discs)
    own, seen = load(run).judged_on(dataset)
    assert own.split == dataset.split
    assert seen == {"case0", "case1", "case2", "case3"}
