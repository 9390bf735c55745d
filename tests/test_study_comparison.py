import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unetkit.errors import InputError
from unetkit.study.comparison import difference, holm, mean_estimate, rank, spread

SIZES = [(3, 10), (5, 6), (10, 4), (6, 6), (2, 2), (2, 30)]


def crossed(random, shape, seed_sd=0.0, image_sd=0.0, residual_sd=1.0):
    """Draw seed + image + residual with mean 0."""
    seeds, images = shape
    return (
        random.normal(0, seed_sd, (seeds, 1))
        + random.normal(0, image_sd, (1, images))
        + random.normal(0, residual_sd, shape)
    )


def mean_squares(x):
    """Loop over the table: the textbook's two-way analysis of variance without replication."""
    s, i = len(x), len(x[0])
    mean = sum(map(sum, x)) / (s * i)
    rows = [sum(row) / i for row in x]
    columns = [sum(row[k] for row in x) / s for k in range(i)]
    a = sum(i * (row - mean) ** 2 for row in rows) / (s - 1)
    b = sum(s * (column - mean) ** 2 for column in columns) / (i - 1)
    total = sum((value - mean) ** 2 for row in x for value in row)
    return mean, a, b, (total - a * (s - 1) - b * (i - 1)) / ((s - 1) * (i - 1))


def half_width(x, miss=0.05):
    """Write the formula of the module text down, with scipy.stats."""
    (s, i), (_, a, b, e) = np.shape(x), mean_squares(x)
    t_a, t_b = stats.t.isf(miss / 2, s - 1) ** 2, stats.t.isf(miss / 2, i - 1) ** 2
    widest = max(t_a * a + t_b * b - min(t_a, t_b) * e, t_a * a, t_b * b)
    return math.sqrt(widest / (s * i))


# --- one cell --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("sds", [(0, 0, 1), (1, 0.2, 0.3), (0.1, 2, 1)])
def test_the_interval_is_the_formula_of_the_text(shape, sds):
    x = crossed(np.random.default_rng(0), shape, *sds) + 3
    found = mean_estimate(x)
    assert found.value == pytest.approx(mean_squares(x)[0])
    assert found.high - found.value == pytest.approx(half_width(x))
    assert found.value - found.low == pytest.approx(half_width(x))
    assert (found.units, found.seeds, found.images) == ("seeds × images", *shape)
    assert math.isnan(found.p)


@pytest.mark.parametrize("seed", range(5))
def test_seeds_and_images_are_treated_alike(seed):
    x = crossed(np.random.default_rng(seed), (4, 7), 0.5, 0.5)
    a, b = difference(x, 0 * x), difference(x.T, 0 * x.T)
    assert (a.value, a.low, a.high, a.p) == pytest.approx((b.value, b.low, b.high, b.p))


@pytest.mark.parametrize(
    ("shape", "units"), [((1, 8), "images"), ((8, 1), "seeds"), ((1, 2), "images")]
)
def test_one_seed_or_one_image_gives_the_t_test(shape, units):
    x = np.random.default_rng(1).normal(0.5, 1, shape)
    oracle = stats.ttest_1samp(x.ravel(), 0)
    low, high = oracle.confidence_interval(0.95)
    found = difference(x, np.zeros(shape))
    assert (found.low, found.high, found.p) == pytest.approx((low, high, oracle.pvalue))
    assert found.units == units
    assert mean_estimate(x).low == pytest.approx(low)


def test_without_effects_of_images_the_interval_is_the_t_interval_over_seeds():
    seeds = np.random.default_rng(2).normal(0.8, 0.1, 5)
    x = np.tile(seeds[:, None], (1, 9))
    low, high = stats.ttest_1samp(seeds, 0).confidence_interval(0.95)
    assert (mean_estimate(x).low, mean_estimate(x).high) == pytest.approx((low, high))
    assert (mean_estimate(x.T).low, mean_estimate(x.T).high) == pytest.approx((low, high))


def test_one_score_has_no_interval():
    found = difference([[0.75]], [[0.25]])
    assert (found.value, found.units, found.seeds, found.images) == (0.5, "none", 1, 1)
    assert all(math.isnan(n) for n in (found.low, found.high, found.p))


def test_an_image_undefined_in_one_seed_is_left_out():
    x = crossed(np.random.default_rng(3), (3, 6), 1, 1)
    holed = x.copy()
    holed[1, 4] = holed[0, 0] = math.nan
    assert mean_estimate(holed) == mean_estimate(x[:, [1, 2, 3, 5]])
    assert mean_estimate(holed).images == 4
    assert spread(holed) == spread(x[:, [1, 2, 3, 5]])


def test_a_failed_run_costs_its_seed_not_every_image():
    x = crossed(np.random.default_rng(4), (4, 6), 1, 1)
    holed = x.copy()
    holed[2] = math.nan
    holed[0, 5] = math.nan
    assert mean_estimate(holed) == mean_estimate(x[[0, 1, 3], :5])


@pytest.mark.parametrize(
    "holes", [np.ones((3, 3), bool), np.eye(3, dtype=bool)], ids=["everywhere", "in every image"]
)
def test_nothing_defined_gives_nan(holes):
    x = np.where(holes, math.nan, 1.0)
    found = mean_estimate(x)
    assert all(math.isnan(n) for n in (found.value, found.low, found.high))
    assert (found.units, found.seeds * found.images) == ("none", 0)
    assert all(map(math.isnan, spread(x)))


def test_spread_is_that_of_the_means():
    x = crossed(np.random.default_rng(5), (4, 9), 1, 2)
    over_seeds, over_images = spread(x)
    _, a, b, _ = mean_squares(x)
    assert over_seeds**2 == pytest.approx(a / 9)
    assert over_images**2 == pytest.approx(b / 4)
    assert math.isnan(spread(x[:1])[0])
    assert spread(x[:1])[1] == pytest.approx(x[0].std(ddof=1))
    assert math.isnan(spread(x[:, :1])[1])


# --- differences -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SIZES)
def test_p_is_the_level_whose_interval_just_reaches_zero(shape):
    random = np.random.default_rng(6)
    for shift in (0.01, 0.3, 1, 5):
        x = crossed(random, shape, 0.3, 0.5) + shift
        found = difference(x, 0 * x)
        assert half_width(x, found.p) == pytest.approx(abs(found.value), rel=1e-6)
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


def test_far_apart_gives_a_small_p_not_an_overflow():
    x = crossed(np.random.default_rng(7), (5, 20), 1e-3, 1e-3, 1e-3)
    few = difference(x + 1, 0 * x).p
    many = difference(np.tile(x, (20, 5)) + 1e9, 0 * np.tile(x, (20, 5))).p
    assert 0 <= many < few < 1e-6


@given(st.integers(0, 10**6), st.sampled_from(SIZES))
@settings(max_examples=60, deadline=None)
def test_difference_changes_sign_with_its_order_and_scales_with_the_unit(seed, shape):
    random = np.random.default_rng(seed)
    a, b = crossed(random, shape, 1, 1), crossed(random, shape, 0.5, 1)
    one, other, percent = difference(a, b), difference(b, a), difference(100 * a, 100 * b)
    assert (other.value, other.low, other.high) == pytest.approx((-one.value, -one.high, -one.low))
    assert other.p == pytest.approx(one.p) == percent.p
    assert percent.high == pytest.approx(100 * one.high)
    assert one.low <= one.value <= one.high
    assert 0 <= one.p <= 1


def test_what_all_cells_share_drops_out():
    random = np.random.default_rng(8)
    a, b = random.normal(size=(2, 4, 8))
    shared = crossed(random, (4, 8), 5, 5)
    found, plain = difference(a + shared, b + shared), difference(a, b)
    assert (found.low, found.p) == pytest.approx((plain.low, plain.p))


def test_a_pair_with_a_nan_leaves_out_the_image():
    random = np.random.default_rng(9)
    a, b = random.normal(size=(2, 3, 5))
    whole = difference(a[:, 1:4], b[:, 1:4])
    a[0, 0] = b[2, 4] = math.nan
    assert difference(a, b) == whole


def test_equal_scores_are_no_finding():
    x = np.random.default_rng(10).random((3, 5))
    for other in (x, x * (1 + 1e-15), (x / 3) * 3):
        found = difference(x, other)
        assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)
    constant = mean_estimate(np.full((3, 7), 0.8))
    assert constant.low == constant.value == constant.high == pytest.approx(0.8)


def test_a_difference_without_any_variation_has_p_zero():
    # In binary fractions and in others, whose differences vary by rounding.
    for step in (0.25, 0.1):
        x = np.random.default_rng(11).integers(0, 8, (3, 5)) / 8
        found = difference(x + step, x)
        assert (found.value, found.low, found.high) == pytest.approx((step,) * 3)
        assert found.p < 1e-12
    assert difference(np.full((2, 2), 0.75), np.full((2, 2), 0.5)).p == 0


# --- many tests ------------------------------------------------------------------------------


def test_holm_by_hand():
    # Sorted: 0.005 × 4, 0.01 × 3, 0.03 × 2, 0.04 × 1, then never below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []
    assert holm([0.04]) == [0.04]


def test_nan_is_not_a_test():
    found = holm([math.nan, 0.02, math.nan, 0.03])
    assert found[1::2] == pytest.approx([0.04, 0.04])
    assert math.isnan(found[0])
    assert math.isnan(found[2])
    assert all(map(math.isnan, holm([math.nan, math.nan])))


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.001, 0.5))
def test_holm_rejects_as_the_step_down_procedure(p_values, level):
    rejected = set()
    left = sorted(range(len(p_values)), key=lambda k: p_values[k])
    while left and p_values[left[0]] * len(left) < level:
        rejected.add(left.pop(0))
    assert {k for k, p in enumerate(holm(p_values)) if p < level} == rejected


# --- ranking ---------------------------------------------------------------------------------


def four_cells():
    random = np.random.default_rng(12)
    image = random.normal(0.8, 0.05, (1, 12))  # hard and easy images, the same for all
    return {
        name: image + mean + random.normal(0, 0.002, (6, 12))
        for name, mean in [("good", 0.0), ("alike", 0.0002), ("bad", -0.05), ("great", 0.05)]
    }


def test_a_ranking_tells_apart_what_differs():
    cells = four_cells()
    found = rank(cells, "good")
    assert list(found.comparisons) == ["great", "alike", "bad"]
    assert found.indistinguishable == ("good", "alike")
    assert found.better == ("great",)
    raw = [difference(cells[name], cells["good"]) for name in found.comparisons]
    assert [one.difference for one in found.comparisons.values()] == raw
    assert [one.p_adjusted for one in found.comparisons.values()] == holm([one.p for one in raw])
    assert [one.distinguishable for one in found.comparisons.values()] == [True, False, True]


def test_lower_may_be_better():
    found = rank(four_cells(), "good", higher_is_better=False)
    assert list(found.comparisons) == ["bad", "alike", "great"]
    assert found.better == ("bad",)
    assert found.comparisons["great"].difference.value > 0


def test_a_stricter_level_tells_less_apart():
    cells = four_cells()
    p = max(
        one.p_adjusted for one in rank(cells, "good").comparisons.values() if one.distinguishable
    )
    assert len(rank(cells, "good", level=p / 2).indistinguishable) > 2


def test_a_cell_without_scores_is_last_and_not_counted():
    cells = {"lost": np.full((6, 12), math.nan), **four_cells()}
    found = rank(cells, "good")
    assert list(found.comparisons)[-1] == "lost"
    assert not found.comparisons["lost"].distinguishable
    assert "lost" in found.indistinguishable
    assert math.isnan(found.comparisons["lost"].p_adjusted)
    assert found.comparisons["bad"] == rank(four_cells(), "good").comparisons["bad"]


def test_one_cell_ranks_alone():
    found = rank({"only": [[0.5, 0.6]]}, "only")
    assert (found.comparisons, found.indistinguishable, found.better) == ({}, ("only",), ())


# --- simulations -----------------------------------------------------------------------------

SIMULATED = [(0, 0, 1), (1, 0, 1), (0, 1, 0.3), (0.3, 0.3, 1), (1, 1, 0.1)]


@pytest.mark.parametrize("shape", [(3, 10), (5, 6)])
@pytest.mark.parametrize("sds", SIMULATED)
def test_the_interval_covers_the_true_mean(shape, sds):
    random = np.random.default_rng(13)
    found = [mean_estimate(crossed(random, shape, *sds)) for _ in range(400)]
    assert np.mean([one.low <= 0 <= one.high for one in found]) >= 0.93


def test_the_interval_is_no_wider_than_need_be_where_images_dominate():
    random = np.random.default_rng(14)
    found = [mean_estimate(crossed(random, (5, 20), 0, 1, 0.3)) for _ in range(400)]
    assert np.mean([one.low <= 0 <= one.high for one in found]) <= 0.98


def test_ignoring_seeds_covers_too_little():
    random = np.random.default_rng(15)
    tables = [crossed(random, (3, 10), 1, 0.3, 1) for _ in range(400)]
    by_images = [mean_estimate(x.mean(axis=0, keepdims=True)) for x in tables]
    assert by_images[0].units == "images"
    assert np.mean([one.low <= 0 <= one.high for one in by_images]) < 0.75
    assert np.mean([(e := mean_estimate(x)).low <= 0 <= e.high for x in tables]) >= 0.93


@pytest.mark.parametrize(("shape", "sds"), [((3, 20), (1, 0.3, 1)), ((5, 6), (0.3, 1, 0.5))])
def test_thirty_equal_cells_rarely_give_a_finding(shape, sds):
    random = np.random.default_rng(16)
    false = 0
    for _ in range(250):
        shared = crossed(random, shape, 1, 3, 0)
        cells = {str(k): shared + crossed(random, shape, *sds) for k in range(30)}
        false += len(rank(cells, "0").indistinguishable) < 30
    # 0.05 at most in truth; of 250 studies 0.06 leaves room for chance.
    assert false / 250 <= 0.06


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_estimate([0.1, 0.2]), r"^scores: shape \(2,\); give .*\(seeds, images\)"),
        (lambda: mean_estimate(np.ones((0, 3))), r"^scores: shape \(0, 3\)"),
        (lambda: spread([[1.0, math.inf]]), "^scores: an infinite score; use nan"),
        (lambda: difference([[1.0]], [[1.0, 2.0]]), r"^a, b: \(1, 1\) scores against \(1, 2\)"),
        (lambda: difference([[1.0]], [1.0]), r"^b: shape \(1,\)"),
        (lambda: holm([0.5, 1.5]), "^p_values: a p outside"),
        (lambda: rank({"depth4": [[1.0]]}, "depht4"), "^best: no cell depht4; did you mean depth4"),
        (lambda: rank({"a": [[1.0]]}, "a", level=5), "^level: 5 is no share; use"),
        (
            lambda: rank({"a": [[1.0, 2.0]], "b": [[1.0]]}, "a"),
            r"^b: \(1, 1\) scores against \(1, 2\) of a; score the same",
        ),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
