import itertools
import math

import numpy as np
import pytest
from scipy import stats

from unetkit.errors import InputError
from unetkit.study.comparison import holm
from unetkit.study.effects import main_effects, skip_columns

PATTERNS = [
    "".join(bits) for depth in (1, 2, 3, 4) for bits in itertools.product("01", repeat=depth)
]
PLANTED = {
    ("depth", 2): 0.10,
    ("depth", 3): 0.15,
    ("depth", 4): 0.16,
    ("skip 1", 1): 0.08,
    ("skip 2", 1): 0.03,
    ("skip 3", 1): 0.0,
    ("skip 4", 1): -0.02,
}


def factorial(repeats=1, **factors):
    """List every combination of the levels, `repeats` times."""
    settings = itertools.product(*factors.values())
    return [dict(zip(factors, one, strict=True)) for one in settings for _ in range(repeats)]


def thirty_networks(seeds=3):
    """List the runs of all patterns of depths 1 to 4, and the mean value planted in each."""
    patterns = [pattern for pattern in PATTERNS for _ in range(seeds)]
    rows, truth = [], []
    for k, (pattern, skips) in enumerate(zip(patterns, skip_columns(patterns), strict=True)):
        rows.append({"depth": len(pattern), **skips, "seed": k % seeds})
        value = 0.6 + PLANTED.get(("depth", len(pattern)), 0) + 0.01 * (k % seeds)
        for number, bit in enumerate(pattern, 1):
            value += PLANTED[f"skip {number}", 1] * (0.5 if bit == "1" else -0.5)
        truth.append(value)
    return rows, np.array(truth)


def by_level(fit):
    return {(effect.factor, effect.level): effect for effect in fit.effects}


# --- known answers ---------------------------------------------------------------------------


def test_a_balanced_two_by_two_by_hand():
    rows = factorial(norm=["batch", "none"], width=[32, 64])
    # Means: batch 2, none 5 (difference 3); 32: 2.5, 64: 4.5 (difference 2). Interaction contrast
    # (1 − 3 − 4 + 6) / 4 = 0, so all residuals are 0 but for a change of one corner by 4·d.
    fit = main_effects(rows, [1 + 0.4, 3 - 0.4, 4 - 0.4, 6 + 0.4])
    effects = by_level(fit)
    assert effects["norm", "none"].estimate == pytest.approx(3)
    assert effects["width", 64].estimate == pytest.approx(2)
    assert effects["norm", "none"].reference == "batch"
    assert effects["width", 64].reference == 32
    assert (fit.runs, fit.degrees) == (4, 1)
    assert fit.residual_sd == pytest.approx(0.8)  # 4 residuals of 0.4, 1 degree: sqrt(4 · 0.16)
    assert fit.r_squared == pytest.approx(1 - 0.64 / (9 + 4 + 0.64))
    half = stats.t.isf(0.025, 1) * 0.8  # variance of a difference of two means of two: sd²
    assert effects["norm", "none"].high == pytest.approx(3 + half)
    assert effects["norm", "none"].low == pytest.approx(3 - half)
    assert [effect.runs for effect in fit.effects] == [2, 2]


@pytest.mark.parametrize("counts", [(7, 7), (3, 9)])
def test_two_levels_alone_are_students_t_test(counts):
    random = np.random.default_rng(0)
    a, b = (random.normal(mean, 1, n) for mean, n in zip((0, 0.8), counts, strict=True))
    rows = [{"skip": 0}] * counts[0] + [{"skip": 1}] * counts[1]
    (effect,) = main_effects(rows, [*a, *b]).effects
    oracle = stats.ttest_ind(b, a)
    low, high = oracle.confidence_interval(0.95)
    assert effect.estimate == pytest.approx(b.mean() - a.mean())
    assert (effect.low, effect.high, effect.p) == pytest.approx((low, high, oracle.pvalue))
    assert effect.p_adjusted == effect.p
    assert effect.runs == counts[1]


def test_several_levels_alone_are_the_one_way_analysis():
    random = np.random.default_rng(1)
    groups = [random.normal(mean, 1, n) for mean, n in ((0, 5), (1, 8), (3, 6))]
    rows = [{"depth": depth} for depth, group in zip((2, 3, 5), groups, strict=True) for _ in group]
    fit = main_effects(rows, np.concatenate(groups))
    assert [effect.level for effect in fit.effects] == [3, 5]
    for effect, group in zip(fit.effects, groups[1:], strict=True):
        assert effect.estimate == pytest.approx(group.mean() - groups[0].mean())
    # F = (R² / 2) / ((1 − R²) / 16)
    f = fit.r_squared / 2 / ((1 - fit.r_squared) / fit.degrees)
    assert f == pytest.approx(stats.f_oneway(*groups).statistic)


def test_a_two_level_factor_is_a_regression_line():
    random = np.random.default_rng(2)
    x = random.integers(0, 2, 40)
    y = 0.3 * x + random.normal(0, 0.5, 40)
    (effect,) = main_effects([{"x": int(k)} for k in x], y).effects
    line = stats.linregress(x, y)
    assert (effect.estimate, effect.p) == pytest.approx((line.slope, line.pvalue))
    assert effect.high - effect.low == pytest.approx(2 * line.stderr * stats.t.isf(0.025, 38))


def test_two_runs_per_block_are_the_paired_t_test():
    random = np.random.default_rng(3)
    a = random.normal(0, 3, 9)  # data sets differ far more than the two settings
    b = a + random.normal(0.5, 0.4, 9)
    rows = [{"dataset": f"d{k}", "skip": skip} for skip in (0, 1) for k in range(9)]
    fit = main_effects(rows, [*a, *b], blocks=("dataset",))
    (effect,) = fit.effects
    assert effect.p == pytest.approx(stats.ttest_rel(b, a).pvalue)
    assert fit.degrees == 8
    unblocked = main_effects([{"skip": row["skip"]} for row in rows], [*a, *b]).effects[0]
    assert unblocked.p > effect.p


def test_an_unbalanced_design_equals_dummy_coding_with_lstsq():
    random = np.random.default_rng(4)
    rows = [
        {"a": str(random.choice(list("xyz"))), "b": int(random.integers(4)), "s": int(s % 3)}
        for s in range(60)
    ]
    y = random.normal(size=60)
    fit = main_effects(rows, y, blocks=("s",))
    columns = [np.ones(60)]
    for name, levels in (("a", "yz"), ("b", (1, 2, 3)), ("s", (1, 2))):
        columns += [np.array([float(row[name] == level) for row in rows]) for level in levels]
    x = np.stack(columns, axis=1)
    beta, rest, _, _ = np.linalg.lstsq(x, y, rcond=None)
    variance = rest[0] / (60 - 8)
    errors = np.sqrt(variance * np.diag(np.linalg.inv(x.T @ x)))
    assert [e.estimate for e in fit.effects] == pytest.approx(beta[1:6])
    halves = [(e.high - e.low) / 2 for e in fit.effects]
    assert halves == pytest.approx(errors[1:6] * stats.t.isf(0.025, 52))
    assert [e.p for e in fit.effects] == pytest.approx(
        2 * stats.t.sf(np.abs(beta / errors)[1:6], 52)
    )
    assert [e.p_adjusted for e in fit.effects] == holm([e.p for e in fit.effects])
    assert fit.residual_sd == pytest.approx(math.sqrt(variance))
    assert fit.r_squared == pytest.approx(1 - rest[0] / np.square(y - y.mean()).sum())


# --- networks with and without skip connections ----------------------------------------------


def test_skip_columns_read_from_the_input_downwards():
    assert skip_columns(["1011", "01"]) == [
        {"skip 1": 1, "skip 2": 0, "skip 3": 1, "skip 4": 1},
        {"skip 1": 0, "skip 2": 1, "skip 3": None, "skip 4": None},
    ]
    assert skip_columns([]) == []


def test_thirty_networks_without_noise_give_the_planted_effects():
    assert len(PATTERNS) == 30
    rows, truth = thirty_networks()
    fit = main_effects(rows, truth, blocks=("seed",))
    effects = by_level(fit)
    assert effects.keys() == PLANTED.keys()
    for key, planted in PLANTED.items():
        assert effects[key].estimate == pytest.approx(planted, abs=1e-12)
        assert effects[key].low == effects[key].high == effects[key].estimate
        assert effects[key].p == (1 if planted == 0 else 0)
        assert effects[key].note == ""
    assert (fit.residual_sd, fit.runs, fit.degrees) == (0, 90, 90 - 1 - 2 - 7)
    assert fit.r_squared == pytest.approx(1)
    assert effects["skip 4", 1].runs == 8 * 3
    assert effects["skip 1", 1].runs == 15 * 3


def test_thirty_networks_with_noise_cover_the_planted_effects():
    random = np.random.default_rng(5)
    rows, truth = thirty_networks()
    covered = np.zeros(len(PLANTED))
    for _ in range(200):
        fit = main_effects(rows, truth + random.normal(0, 0.03, 90), blocks=("seed",))
        covered += [one.low <= PLANTED[key] <= one.high for key, one in by_level(fit).items()]
    assert np.all((covered / 200 >= 0.9) & (covered / 200 <= 0.99))
    assert 0.93 <= covered.mean() / 200 <= 0.97


def test_the_effect_of_a_skip_is_a_mean_over_the_networks_deep_enough():
    # Skip 2 of the networks of depths 2 to 4, whose patterns are complete: a difference of means.
    rows, truth = thirty_networks(1)
    y = truth + np.random.default_rng(6).normal(0, 0.1, 30)
    effect = by_level(main_effects(rows, y, blocks=("seed",)))["skip 2", 1]
    on, off = (y[[row["skip 2"] == bit for row in rows]].mean() for bit in (1, 0))
    assert effect.estimate == pytest.approx(on - off)


def test_depths_are_compared_at_half_of_the_skips():
    # Only the fully connected and the bare network of each depth: the depth effect is that of the
    # means of these two, whatever the sum of skips, which grows with the depth.
    rows, y = [], []
    for depth in (1, 2):
        for bit in (0, 1):
            rows.append({"depth": depth, **skip_columns([str(bit) * depth, "00"])[0]})
            y.append({1: 0.5, 2: 0.7}[depth] + bit * {1: 0.1, 2: 0.3}[depth])
    effects = by_level(main_effects(rows, y))
    assert effects["depth", 2].estimate == pytest.approx(0.85 - 0.55)
    assert effects["skip 1", 1].estimate == pytest.approx(0.1)
    assert effects["skip 2", 1].estimate == pytest.approx(0.2)


def test_several_levels_that_do_not_apply_everywhere():
    # Kinds of attention exist only where attention is on; its own effect is at the kinds' mean.
    rows = [{"attention": 0, "kind": None}] * 2
    rows += [{"attention": 1, "kind": kind} for kind in "abc" for _ in range(2)]
    effects = by_level(main_effects(rows, [1, 1.2, 2, 2.2, 3, 3.2, 7, 7.2]))
    assert effects["attention", 1].estimate == pytest.approx(4.1 - 1.1)
    assert effects["kind", "b"].estimate == pytest.approx(1)
    assert effects["kind", "c"].estimate == pytest.approx(5)
    assert effects["kind", "c"].runs == 2


def test_interactions_make_the_interval_wider_not_too_narrow():
    random = np.random.default_rng(7)
    rows = factorial(3, a=[0, 1], b=[0, 1, 2, 3])
    truth = np.repeat(random.normal(0, 1, 8), 3)  # far from additive
    planted = {key: one.estimate for key, one in by_level(main_effects(rows, truth)).items()}
    covered = []
    for _ in range(200):
        fit = main_effects(rows, truth + random.normal(0, 0.5, 24))
        covered += [one.low <= planted[key] <= one.high for key, one in by_level(fit).items()]
    assert np.mean(covered) >= 0.95


# --- levels ----------------------------------------------------------------------------------


def test_the_first_level_that_occurs_is_the_reference():
    rows = factorial(2, norm=["instance", "batch"])
    y = [5, 5.2, 1, 1.2]
    (effect,) = main_effects(rows, y).effects  # sorted
    assert (effect.level, effect.reference) == ("instance", "batch")
    assert effect.estimate == pytest.approx(4)
    (effect,) = main_effects(rows, y, levels={"norm": ["none", "instance", "batch"]}).effects
    assert (effect.level, effect.reference) == ("batch", "instance")
    assert effect.estimate == pytest.approx(-4)


def test_numbers_are_sorted_as_numbers_and_before_words():
    rows = factorial(2, width=["auto", 128, 16, 64.0])
    fit = main_effects(rows, range(8))
    assert [one.level for one in fit.effects] == [64.0, 128, "auto"]
    assert {one.reference for one in fit.effects} == {16}


def test_effects_follow_the_rows_keys():
    fit = main_effects(factorial(1, z=[0, 1], a=[2, 1, 3]), np.arange(6.0))
    assert [(e.factor, e.level) for e in fit.effects] == [("z", 1), ("a", 2), ("a", 3)]


def test_runs_without_a_value_are_left_out():
    rows = factorial(3, a=[0, 1], b=["x", "y"])
    y = np.random.default_rng(8).normal(size=12)
    holed = y.copy()
    holed[[2, 7]] = math.nan
    left = [k for k in range(12) if k not in (2, 7)]
    assert main_effects(rows, holed) == main_effects([rows[k] for k in left], y[left])
    assert main_effects(rows, holed).runs == 10


# --- what cannot be known --------------------------------------------------------------------


def all_nan(effect):
    numbers = (effect.estimate, effect.low, effect.high, effect.p, effect.p_adjusted)
    return all(map(math.isnan, numbers))


def test_one_level_only_is_no_effect():
    fit = main_effects(
        [{"norm": "batch", "depth": depth, "tile": None} for depth in (1, 1, 2, 2)], [1, 2, 3, 4.5]
    )
    norm, depth, tile = fit.effects
    assert all_nan(norm)
    assert (norm.level, norm.reference, norm.runs) == ("batch", None, 4)
    assert norm.note == "no other level to compare with"
    assert all_nan(tile)
    assert (tile.level, tile.runs, tile.note) == (None, 0, "applies to no run")
    assert depth.estimate == pytest.approx(2.25)
    assert depth.p_adjusted == depth.p  # the others are no tests


def test_aliased_factors_are_named_and_the_rest_is_estimated():
    rows = [
        {"depth": depth, "width": 64 // depth, "skip": skip, "seed": seed}
        for depth in (1, 2)
        for skip in (0, 1)
        for seed in range(3)
    ]
    y = np.random.default_rng(9).normal(size=12)
    depth, width, skip = main_effects(rows, y, blocks=("seed",)).effects
    assert all_nan(depth)
    assert all_nan(width)
    assert depth.note == "cannot be told from width"
    assert width.note == "cannot be told from depth"
    alone = main_effects([{k: row[k] for k in ("skip", "depth", "seed")} for row in rows], y)
    assert skip.estimate == pytest.approx(by_level(alone)["skip", 1].estimate)


def test_a_factor_aliased_with_a_block_is_not_credited():
    rows = [{"dataset": name, "modality": name[0]} for name in ("a1", "a2", "b1", "b2")] * 3
    (effect,) = main_effects(rows, np.arange(12.0), blocks=("dataset",)).effects
    assert all_nan(effect)
    assert effect.note == "cannot be told from dataset"


def test_only_the_aliased_level_is_missing():
    # Depth 3 was only run without skips and no other network was: it is mixed with the skip.
    rows = [{"depth": d, "skip": s} for d in (1, 2) for s in ("on", "off")] * 2
    rows += [{"depth": 3, "skip": "none"}] * 2
    y = np.random.default_rng(10).normal(size=10)
    effects = by_level(main_effects(rows, y, levels={"skip": ["off", "on", "none"]}))
    assert all_nan(effects["depth", 3])
    assert effects["depth", 3].note == "cannot be told from skip"
    assert all_nan(effects["skip", "none"])
    plain = by_level(main_effects(rows[:8], y[:8]))
    for key in (("depth", 2), ("skip", "on")):
        assert effects[key].estimate == pytest.approx(plain[key].estimate)
        assert effects[key].note == ""


def test_more_effects_than_runs():
    fit = main_effects([{"a": 0, "b": 0}, {"a": 1, "b": 1}], [1.0, 2.0])
    assert all(map(all_nan, fit.effects))
    assert fit.degrees == 0
    assert math.isnan(fit.residual_sd)


def test_as_many_effects_as_runs_have_no_interval():
    (effect,) = main_effects([{"a": 0}, {"a": 1}], [1.0, 2.0]).effects
    assert effect.estimate == pytest.approx(1)
    assert all(map(math.isnan, (effect.low, effect.high, effect.p)))
    assert effect.note == "no run is left to judge chance by"


def test_equal_values_have_no_effect_and_nothing_to_explain():
    fit = main_effects(factorial(3, a=[0, 1], b=[0, 1]), [0.1] * 12)
    for effect in fit.effects:
        assert effect.estimate == pytest.approx(0, abs=1e-12)
        assert effect.p == 1
    assert fit.residual_sd == 0
    assert math.isnan(fit.r_squared)


# --- errors ----------------------------------------------------------------------------------

ROWS = [{"a": 0}, {"a": 1}]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: main_effects([], []), "^values: no run has a value"),
        (lambda: main_effects(ROWS, [math.nan] * 2), "^values: no run has a value"),
        (lambda: main_effects(ROWS, [1.0]), r"^rows, values: 2 rows against .* \(1,\); give one"),
        (lambda: main_effects(ROWS, [1.0, math.inf]), "^values: an infinite value; use nan"),
        (
            lambda: main_effects([{"a": 0}, {"a": 0, "b": 1}], [1.0, 2.0]),
            "^rows: run 1 has other factors than run 0: b; use None",
        ),
        (
            lambda: main_effects([{"a": 0}, {"a": math.nan}], [1.0, 2.0]),
            "^a: run 1 has the level nan; use None",
        ),
        (
            lambda: main_effects(ROWS, [1.0, 2.0], levels={"a": [0, 2]}),
            "^a: run 1 has the level 1; levels are 0, 2",
        ),
        (
            lambda: main_effects([{"depth": 1}], [1.0], levels={"dept": [1]}),
            "^levels: no factor dept; did you mean depth",
        ),
        (
            lambda: main_effects([{"seed": 1}], [1.0], blocks=("sed",)),
            "^blocks: no factor sed; did you mean seed",
        ),
        (lambda: skip_columns(["101", "12"]), "^skips: pattern '12'; use one 0 or 1"),
        (lambda: skip_columns([""]), "^skips: pattern ''; use one 0 or 1"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
