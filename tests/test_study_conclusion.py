"""The words of a study: made from numbers, right in grammar, and silent on what chance explains."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from unetkit.study import words
from unetkit.study.comparison import Estimate
from unetkit.study.conclusion import conclude, conclude_part, conclude_whole
from unetkit.study.findings import Findings, find
from unetkit.study.grid import Cell, StudyConfig, cells
from unetkit.study.table import Judged, Row

LOSSES = {"BCE": {"cross_entropy": 1}, "Dice": {"dice": 1}, "Tversky": {"tversky": 1}}
NETWORKS = {"network.depth": [1, 2, 3], "network.skips": "all"}
COST = {"parameters": 1000, "gflops": 0.5, "seconds": 12.0, "memory_mib": 300, "threads": 1}


def make(
    truth: Callable[..., float],
    *,
    axes: Mapping[str, Any] | None = None,
    datasets: tuple[str, ...] = ("vessels",),
    seeds: tuple[int, ...] = (0, 1, 2),
    images: int = 12,
    choosers: int = 6,
    noise: float = 0.0,
    cost: Callable[[Mapping[str, str]], Mapping[str, float]] = lambda _: {},
    status: Callable[[Cell], tuple[str, str]] = lambda _: ("done", ""),
    fixed: bool = True,
    **study: Any,
) -> Findings:
    """Make findings of a study that was never run.

    Args:
        truth: (levels, dataset, split) → mean Dice.
        axes: of the study; default: three losses.
        datasets: names.
        seeds: one run of every setting each.
        images: on the reported split.
        choosers: images on val.
        noise: standard deviation of what run and image add to the truth.
        cost: levels → what differs from `COST`.
        status: cell → status, error.
        fixed: score at a threshold of 0.5 too.
        study: other keys of the study.
    """
    with tempfile.TemporaryDirectory() as folder:
        places = {name: Path(folder, f"set{n}") for n, name in enumerate(datasets)}
        for place in places.values():
            place.mkdir()
            (place / place.name).touch()  # cells of two sets of the same content would be one
        config = StudyConfig(
            **{
                "name": "made up",
                "datasets": {name: str(place) for name, place in places.items()},
                "axes": {"loss": LOSSES} if axes is None else dict(axes),
                "seeds": seeds,
                **study,
            }
        )
        every = cells(config)
    chance = np.random.default_rng(0)
    rows = []
    for cell in every:

        def judge(split: str, count: int, threshold: float, cell: Cell = cell) -> Judged:
            mean = truth(cell.levels, cell.dataset, split)
            scores = {
                f"{split}{k}": {
                    "dice": (value := mean + noise * chance.normal()),
                    "betti0_error": 10 * (1 - value),
                }
                for k in range(count)
            }
            means = {
                name: float(np.mean([one[name] for one in scores.values()]))
                for name in next(iter(scores.values()))
            }
            protocol = {
                "data": cell.dataset,
                "split": split,
                "cases": count,
                "field_of_view": True,
                "average": "per-image mean",
                "threshold": threshold,
                "threshold_from": f"tuned on val ({choosers} images)",
                "date": "2025-01-31",
                "seed": cell.seed,
            }
            return Judged(means, scores, protocol)

        state, error = status(cell)
        if state != "done":
            rows.append(Row(cell, state, error, 1, {}, None, None, None))
            continue
        scored = judge(config.report, images, 0.4 + cell.seed / 100)
        chosen = scored
        if config.select.split != config.report:
            chosen = judge(config.select.split, choosers, 0.5)
        half = judge(config.report, images, 0.5) if fixed else None
        rows.append(Row(cell, "done", "", 1, {**COST, **cost(cell.levels)}, chosen, scored, half))
    return find(config, rows)


def losses(bce: float, dice: float, tversky: float) -> Callable[..., float]:
    values = {"BCE": bce, "Dice": dice, "Tversky": tversky}
    return lambda levels, *_: values[levels["loss"]]


def pair(first: float, second: float) -> dict[str, Any]:
    """Two settings, a and b, of these scores."""
    return {
        "truth": lambda levels, *_: first if levels["loss"] == "a" else second,
        "axes": {"loss": {"a": {"dice": 1}, "b": {"tversky": 1}}},
    }


# ---- the best and its equals


def test_of_constant_scores_every_sentence_is_known() -> None:
    found = make(losses(0.5, 0.75, 0.7))
    assert conclude(found) == [
        (
            "By mean Dice on val (6 images, 3 seeds) the best of 3 settings is Dice; on test "
            "its Dice is 0.750 (95 % 0.750 to 0.750, over 3 seeds × 12 images)."
        ),
        (
            "It is distinguishable from all 2 others on test (paired tests over 3 seeds × 12 "
            "images, Holm-corrected at 5 %)."
        ),
        "2 are worse, the worst of them BCE by 0.250 (0.250 to 0.250).",
    ]


def test_two_settings_are_spoken_of_in_the_singular() -> None:
    assert conclude(make(**pair(0.5, 0.75)))[1:] == [
        (
            "It is distinguishable from the only other on test (paired tests over 3 seeds × "
            "12 images, Holm-corrected at 5 %)."
        ),
        "1 is worse: a by 0.250 (0.250 to 0.250).",
    ]
    equal = conclude(make(**pair(0.5, 0.5)))
    assert equal[0].startswith(
        "By mean Dice on val (6 images, 3 seeds) the best of 2 settings is a"
    )
    assert equal[1].startswith(
        "No difference between settings can be told from chance: the other, b, is not "
        "distinguishable from it on test (paired tests over"
    )


def test_a_difference_within_chance_is_none_and_equality_is_not_claimed() -> None:
    found = make(losses(0.70, 0.701, 0.702), noise=0.05)
    lines = conclude(found)
    assert lines[1] == (
        "No difference between settings can be told from chance: none of the 2 others is "
        "distinguishable from it on test (paired tests over 3 seeds × 12 images, Holm-corrected "
        "at 5 %). This does not show them to be equal: more seeds or images might tell them apart."
    )
    assert not any(word in " ".join(lines) for word in ("worse", "better"))


def test_some_equals_are_listed_and_the_others_counted() -> None:
    axes = {"optimizer.lr": [k / 1000 for k in range(1, 11)]}
    found = make(lambda of, *_: 0.5 if of["optimizer.lr"] == "0.01" else 0.7, axes=axes, noise=0.01)
    lines, ranking = conclude(found), found.parts[0].ranking
    assert ranking is not None
    equals = [name for name in ranking.indistinguishable if name != ranking.best]
    assert len(equals) == 8
    assert f"the best of 10 settings is lr {ranking.best};" in lines[0]
    assert lines[1].startswith("8 of the 9 others are not distinguishable from it on test (")
    assert "; ".join(f"lr {name}" for name in equals[:6]) + "; and 2 more. This" in lines[1]
    assert re.fullmatch(r"1 is worse: lr 0\.01 by 0\.\d{3} \(0\.1\d\d to 0\.2\d\d\)\.", lines[2])


def test_one_equal_of_several_is_spoken_of_in_the_singular() -> None:
    lines = conclude(make(losses(0.3, 0.75, 0.75), noise=0.01))
    assert lines[1].startswith("1 of the 2 others is not distinguishable from it on test (")
    assert lines[2].startswith("1 is worse: BCE by 0.4")


def test_the_score_and_its_interval_are_those_of_the_matrix() -> None:
    """With one image a mean has the plain t interval over seeds."""
    found = make(losses(0.2, 0.75, 0.3), noise=0.02, images=1, seeds=(0, 1, 2, 3))
    score = found.parts[0].setting("Dice").scores["dice"]
    spread = found.parts[0].setting("Dice").spread["dice"][0]
    half = student.ppf(0.975, 3) * spread / 2
    assert (
        f"is {score.value:.3f} (95 % {score.value - half:.3f} to {score.value + half:.3f}, over 4 "
        "seeds, one image)."
    ) in conclude(found)[0]


def test_a_choice_that_the_test_images_refute_is_said() -> None:
    def truth(levels: Mapping[str, str], _: str, split: str) -> float:
        return {"val": {"a": 0.8, "b": 0.7}, "test": {"a": 0.6, "b": 0.72}}[split][levels["loss"]]

    lines = conclude(make(truth, axes=pair(0, 0)["axes"]))
    assert "the best of 2 settings is a; on test its Dice is 0.600" in lines[0]
    assert lines[2] == (
        "1 is better than it on test: b by 0.120 (0.120 to 0.120). The choice on val missed it."
    )
    assert "worse" not in " ".join(lines)


def test_of_a_distance_the_least_is_best_and_more_is_worse() -> None:
    lines = conclude(make(losses(0.5, 0.75, 0.7), select={"metric": "betti0_error"}))
    assert (
        "By mean betti0 error on val (6 images, 3 seeds) the best of 3 settings is Dice" in lines[0]
    )
    assert "its betti0 error is 2.500 (95 %" in lines[0]
    assert lines[2] == "2 are worse, the worst of them BCE by 2.500 (2.500 to 2.500)."


def test_only_one_setting_is_compared_with_nothing() -> None:
    found = make(lambda *_: 0.5, axes={})
    assert conclude(found) == [
        (
            "Only the recipe has scores, so nothing is compared; on test its Dice is 0.500 (95 % "
            "0.500 to 0.500, over 3 seeds × 12 images)."
        )
    ]


# ---- what forbids or limits a conclusion


def test_a_study_with_faults_is_no_result_and_has_no_best() -> None:
    lines = conclude(make(losses(0.5, 0.75, 0.7), select={"split": "test"}))
    assert lines[0].startswith("This is not a result: the settings were chosen on the same split")
    assert any(
        line.startswith("Highest of 3 settings by mean Dice on test (12 images, 3 seeds), as an ")
        and "exploration, is Dice; on test its Dice is 0.750" in line
        for line in lines
    )
    named = [line for line in lines if not line.startswith("This is not a result")]
    assert not any("best" in line for line in named)
    least = conclude(make(losses(1, 2, 3), select={"split": "test", "metric": "betti0_error"}))
    assert any(line.startswith("Lowest of 3 settings by mean betti0 error") for line in least)


def test_one_seed_says_nothing_of_another_training() -> None:
    lines = conclude(make(losses(0.5, 0.75, 0.7), seeds=(7,), noise=0.01))
    assert lines[0].startswith("Every setting was trained with one seed only: ")
    assert "say nothing of another training." in lines[0]
    assert "(6 images, 1 seed)" in lines[1]
    assert "over 12 images, one seed)" in lines[1]
    assert "paired tests over 1 seed × 12 images" in lines[2]
    more = conclude(make(losses(0.5, 0.75, 0.7), noise=0.01))
    assert not any("one seed only" in line for line in more)


def test_few_images_are_said_and_many_are_not() -> None:
    few = make(losses(0.5, 0.75, 0.7), images=6, choosers=2)
    assert conclude(few)[1] == (
        "The choice is by only 2 images of val, and the scores are of only 6 images of test."
    )
    one = make(losses(0.5, 0.75, 0.7), images=1, choosers=1)
    assert conclude(one)[1] == (
        "The choice is by only 1 image of val, and the scores are of only 1 image of test, which "
        "says nothing of others."
    )
    many = conclude(make(losses(0.5, 0.75, 0.7), images=10, choosers=5))
    assert not any("only 10" in line or "only 5" in line for line in many)


def test_failed_and_missing_runs_are_counted() -> None:
    def status(cell: Cell) -> tuple[str, str]:
        if cell.levels["loss"] == "BCE" and cell.seed == 0:
            return "failed", "no memory"
        return ("waiting", "") if cell.seed == 2 else ("done", "")

    lines = conclude(make(losses(0.5, 0.75, 0.7), status=status, noise=0.01))
    assert (
        lines[0]
        == "Of 9 runs 1 failed and 3 are not done yet; what follows is of the 5 that are done."
    )
    assert "(6 images, 2 seeds)" in lines[1]
    assert "(paired tests over 1 seed × 12 images or more, Holm-corrected at 5 %)" in " ".join(
        lines
    )
    one = make(
        losses(0.5, 0.75, 0.7),
        status=lambda c: ("running" if c.seed == 2 and c.levels["loss"] == "Dice" else "done", ""),
    )
    assert conclude(one)[0].startswith("Of 9 runs 1 is not done yet; ")
    single = make(
        losses(0.5, 0.75, 0.7),
        status=lambda c: ("done" if c.seed == 0 and c.levels["loss"] == "Dice" else "failed", "x"),
    )
    assert conclude(single)[0] == "Of 9 runs 8 failed; what follows is of the 1 that is done."


def test_a_test_that_rests_on_one_seed_of_several_says_so() -> None:
    def status(cell: Cell) -> tuple[str, str]:
        return ("failed", "x") if cell.levels["loss"] == "BCE" and cell.seed else ("done", "")

    lines = conclude(make(losses(0.5, 0.75, 0.7), status=status, noise=0.01))
    assert "1 of these tests rests on a single seed, and says nothing of another training." in lines
    best = conclude(make(losses(0.9, 0.75, 0.7), status=status, noise=0.01))
    assert "2 of these tests rest on a single seed, and say nothing of another training." in best


def test_without_runs_there_is_no_conclusion() -> None:
    found = make(losses(0, 0, 0), status=lambda _: ("waiting", ""))
    assert conclude(found) == [
        "No run is done, so there is nothing to conclude: of 9 runs 9 are not done yet."
    ]
    assert conclude_part(found, found.parts[0]) == ["No run is done."]


def test_a_setting_without_scores_is_not_tested() -> None:
    found = make(
        losses(0.5, 0.75, 0.7),
        images=1,
        seeds=(0,),
    )
    lines = conclude(found)
    assert "Too few scores to test against it: Tversky; BCE." in lines
    assert any("(a single score, without an interval)" in line for line in lines)
    assert not any("distinguishable" in line for line in lines)


def test_no_score_to_choose_by_is_said() -> None:
    found = make(losses(math.nan, math.nan, math.nan))
    assert conclude(found) == ["No run has a Dice on val, so nothing can be chosen."]


# ---- main effects


def additive(levels: Mapping[str, str], *_: str) -> float:
    """Level 1's skip is worth 0.1, level 2's −0.05, depth 2 as much as 1, depth 3 0.2 more."""
    pattern = levels["network.skips"]
    worth = (0.1, -0.05, 0.0)
    skips = sum(w * (digit == "1") for w, digit in zip(worth, pattern, strict=False))
    # Centred, as the model takes a skip that a network lacks to be half on.
    missing = sum(w / 2 for w in worth[len(pattern) :])
    return 0.5 + skips + missing + 0.2 * (len(pattern) == 3)


def test_effects_are_those_of_the_model_that_made_the_scores() -> None:
    lines = conclude(make(additive, axes=NETWORKS, noise=0.001))
    start = next(k for k, line in enumerate(lines) if line.startswith("Each axis, averaged"))
    assert "of 42 runs that explains" in lines[start]
    assert "for other seeds on these images" in lines[start]
    depth, skips = lines[start + 1 : start + 3]
    assert re.fullmatch(
        r"Against depth 1, depth 3 raises Dice by 0\.200 \(0\.\d{3} to 0\.\d{3}\); depth 2 "
        r"\(−?0\.000\d+, −0\.00\d+ to 0\.00\d+\) makes no difference that can be told from "
        r"chance\.",
        depth,
    )
    assert re.fullmatch(
        r"A skip connection raises Dice by 0\.100 \(0\.\d{3} to 0\.\d{3}\) at level 1, nearest the "
        r"input; lowers Dice by 0\.050 \(0\.0\d\d to 0\.0\d\d\) at level 2; makes no difference "
        r"that can be told from chance at level 3 \(−?0\.000\d*, −0\.00\d+ to 0\.00\d+\)\.",
        skips,
    )


def test_effects_without_distinction_are_joined_in_the_plural() -> None:
    lines = conclude(make(lambda *_: 0.5, axes=NETWORKS, noise=0.05))
    depth = next(line for line in lines if line.startswith("Against depth 1, depth 2 ("))
    assert re.search(
        r"\) and depth 3 \(.*\) make no difference that can be told from chance\.$", depth
    )
    assert any(line.startswith("A skip connection makes no difference that") for line in lines)
    assert any(
        "No difference between settings can be told from chance: none" in line for line in lines
    )


def test_effects_that_show_contradict_no_difference_between_settings() -> None:
    """Effects pool runs: they may be clear where no single setting is. Then both are said."""
    found = make(
        lambda levels, *_: 0.7 + 0.02 * (levels["network.skips"][0] == "1"),
        axes=NETWORKS,
        noise=0.03,
        images=3,
    )
    part = found.parts[0]
    assert part.ranking is not None
    assert len(part.ranking.indistinguishable) == 14
    assert part.fit is not None
    assert min(effect.p_adjusted for effect in part.fit.effects) < 0.05
    lines = conclude(found)
    assert any(line.startswith("None of the 13 others is distinguishable") for line in lines)
    assert not any("No difference between settings" in line for line in lines)


def test_an_effect_that_cannot_be_told_from_another_is_unknown() -> None:
    def status(cell: Cell) -> tuple[str, str]:  # width and depth change together only
        same = (cell.levels["network.depth"] == "1") == (cell.levels["network.width"] == "8")
        return ("done", "") if same else ("failed", "not wanted")

    axes = {"network.depth": [1, 2], "network.width": [8, 16]}
    found = make(
        lambda levels, *_: 0.5 + 0.1 * int(levels["network.depth"]),
        axes=axes,
        status=status,
        noise=0.01,
    )
    lines = conclude(found)
    assert (
        "Against depth 1, depth 2 has an unknown effect (cannot be told from network.width)."
        in lines
    )


def test_one_axis_has_no_effects_beside_the_comparison() -> None:
    lines = conclude(make(losses(0.5, 0.75, 0.7), noise=0.01))
    assert not any("averaged over" in line or "Against" in line for line in lines)


# ---- accuracy against cost


def widths(levels: Mapping[str, str]) -> dict[str, float]:
    width = int(levels["network.width"])
    return {"parameters": 1000 * width**2, "gflops": 0.01 * width}


def test_the_cheapest_equal_is_named_with_what_it_saves() -> None:
    def truth(levels: Mapping[str, str], _: str, split: str) -> float:
        better = 0.001 * (levels["network.width"] == "16") * (split == "val")
        return 0.3 if levels["network.width"] == "4" else 0.7 + better

    found = make(truth, axes={"network.width": [4, 8, 16]}, cost=widths)
    lines = conclude(found)
    assert "the best of 3 settings is width 16;" in lines[0]
    assert lines[-2:] == [
        (
            "Of the settings not distinguishable from the best, width 8 has the fewest "
            "parameters: 64,000, 4 times fewer than the best's 256,000; on test its Dice is "
            "0.700 against 0.700 (difference by itself 0.000, 0.000 to 0.000)."
        ),
        (
            "It also needs the fewest operations: 0.08 GFLOPs, 2 times fewer than the best's "
            "0.16 GFLOPs."
        ),
    ]


def test_where_nothing_equal_is_cheaper_that_is_said() -> None:
    def truth(levels: Mapping[str, str], _: str, split: str) -> float:
        return 0.8 if levels["network.width"] == "4" and split == "val" else 0.7

    lines = conclude(make(truth, axes={"network.width": [4, 8]}, cost=widths))
    assert lines[-1] == (
        "No setting with fewer parameters or operations is indistinguishable from the best."
    )


def test_equal_costs_are_not_spoken_of() -> None:
    lines = conclude(make(losses(0.7, 0.7, 0.7), noise=0.01))
    assert not any("parameters" in line or "operations" in line for line in lines)


# ---- several data sets


def test_several_data_sets_are_named_and_what_they_share_comes_first() -> None:
    def truth(levels: Mapping[str, str], dataset: str, _: str) -> float:
        best = {"vessels": "Dice", "field of view": "BCE"}[dataset]
        return 0.8 if levels["loss"] in (best, "Tversky") else 0.5

    found = make(truth, datasets=("vessels", "field of view"), noise=0.01)
    lines = conclude(found)
    assert (
        lines[0]
        == "One setting is the best or indistinguishable from it on both data sets: Tversky."
    )
    assert lines[0] in conclude_whole(found)
    assert all(line.startswith(("vessels: ", "field of view: ")) for line in lines[1:])
    apart = make(
        lambda levels, dataset, _: 0.8 if levels["loss"] == dataset else 0.5,
        datasets=("BCE", "Dice"),
        noise=0.01,
    )
    assert (
        conclude(apart)[0]
        == "No setting is the best or indistinguishable from it on both data sets."
    )
    same = make(lambda *_: 0.5, datasets=("a", "b", "c"), noise=0.01)
    assert conclude(same)[0] == "On all 3 data sets no setting is distinguishable from the best."


# ---- numbers in words


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (0.77649, None, "0.776"),
        (-0.12, None, "−0.120"),
        (12.345, None, "12.3"),
        (123.45, None, "123"),
        (0.00234, None, "0.0023"),
        (0.00234, 0.5, "0.002"),
        (-0.0001, 0.5, "0.000"),
        (0.0, None, "0.000"),
        (1.0, None, "1.000"),
        (math.nan, None, "–"),
        (3e-5, None, "0.000030"),
    ],
)
def test_numbers_have_the_decimals_that_mean_something(
    value: float, scale: float | None, text: str
) -> None:
    assert words.number(value, scale) == text


def test_words_for_counts_lists_and_estimates() -> None:
    assert words.many(1, "run") == "1 run"
    assert words.many(2000, "run") == "2,000 runs"
    assert words.listed(list("abcdef")) == "a; b; c; d; e; f"
    assert words.listed(list("abcdefg")) == "a; b; c; d; e; f; and 1 more"
    assert [words.join(list("abc"[:n])) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
    assert words.word("data.train_size") == "train size"
    assert words.told(None) == "unknown"
    assert words.told(Estimate(0.5, 0.4, 0.6, math.nan, "seeds × images", 1, 2)) == (
        "0.500 (95 % 0.400 to 0.600, over 1 seed × 2 images)"
    )
