import math
from functools import reduce
from operator import add

import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as oracle
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unetkit.errors import InputError
from unetkit.metrics.calibration import Reliability, brier, calibration_error, reliability

DOORS = [reliability, calibration_error, brier]


def sample(shape, seed=0, dtype=np.float32, bias=0.15):
    """Probabilities below 1 and a truth that is foreground less often than they say."""
    random = np.random.default_rng(seed)
    probability = random.beta(0.4, 0.6, shape).astype(dtype)
    probability = np.minimum(probability, np.nextafter(dtype(1), dtype(0)))
    return probability, random.random(shape) < probability - bias


def by_hand(probability, truth, bins):
    """The definition, one bin after the other; fractions, as edges are quotients."""
    members = [[] for _ in range(bins)]
    for p, t in zip(probability.ravel().tolist(), truth.ravel().tolist(), strict=True):
        members[max(k for k in range(bins) if p >= k / bins)].append((p, t))
    error = 0.0
    for inside in filter(None, members):
        p, t = (math.fsum(column) / len(inside) for column in zip(*inside, strict=True))
        error += len(inside) / probability.size * abs(p - t)
    return error, [len(inside) for inside in members]


@pytest.mark.parametrize("bins", [1, 2, 10, 15, 40])
@pytest.mark.parametrize("shape", [(30, 41), (7, 8, 9)])
def test_error_equals_torchmetrics(shape, bins):
    probability, truth = sample(shape, bins, np.float64)
    expected = oracle.binary_calibration_error(
        torch.from_numpy(probability), torch.from_numpy(truth).int(), n_bins=bins, norm="l1"
    )
    got = calibration_error(probability, truth, bins=bins)
    assert got == pytest.approx(float(expected), abs=1e-12)
    assert 0.01 < got < 0.5


def test_error_equals_torchmetrics_on_valid_pixels():
    probability, truth = sample((30, 41))
    valid = np.random.default_rng(1).random(truth.shape) < 0.6
    target = torch.from_numpy(np.where(valid, truth, -1))
    expected = oracle.binary_calibration_error(
        torch.from_numpy(probability), target, n_bins=15, ignore_index=-1
    )
    got = calibration_error(probability, truth, valid)
    assert got == pytest.approx(float(expected), abs=1e-6)
    assert got == calibration_error(probability[valid], truth[valid])
    assert got != calibration_error(probability, truth)


@given(st.data())
def test_error_equals_the_definition(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=6))
    levels = data.draw(st.sampled_from([1, 4, 15, 255]))
    # Quotients, of which many lie on edges; 0 and 1 among them.
    probability = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(0, levels))) / levels
    truth = data.draw(hnp.arrays(bool, shape))
    bins = data.draw(st.sampled_from([1, 2, 3, 7, 10, 15]))
    error, count = by_hand(probability, truth, bins)
    got = reliability(probability, truth, bins=bins)
    assert got.error() == pytest.approx(error, abs=1e-12)
    assert got.count.tolist() == count
    assert calibration_error(probability, truth, bins=bins) == got.error()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("bins", [3, 10, 15, 49, 100])
def test_a_bin_holds_its_lower_edge_and_the_last_holds_one(bins, dtype):
    whole = np.arange(bins + 1)
    probability = (whole / bins).astype(dtype)
    got = reliability(probability, np.ones(bins + 1, bool), bins=bins)
    assert got.count.tolist() == [1] * (bins - 1) + [2]
    assert got.positive.tolist() == got.count.tolist()
    below = np.nextafter(probability[1:], dtype(0))
    assert reliability(below, np.ones(bins, bool), bins=bins).count.tolist() == [1] * bins


def test_probability_of_one_joins_the_last_bin():
    """Here torchmetrics differs: it keeps a bin of its own for exactly 1."""
    probability = np.array([0.95, 1.0])
    truth = np.array([True, False])
    assert calibration_error(probability, truth, bins=10) == pytest.approx(abs(0.975 - 0.5))
    theirs = oracle.binary_calibration_error(
        torch.from_numpy(probability), torch.from_numpy(truth).int(), n_bins=10
    )
    assert float(theirs) == pytest.approx((0.05 + 1) / 2)


def test_known_answers():
    # Ten pixels of 0.8, eight of them right, and ten of 0.3, none of them.
    probability = np.repeat([0.8, 0.3], 10)
    truth = np.arange(20) < 8
    got = reliability(probability, truth, bins=5)
    assert got.edges.tolist() == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert got.count.tolist() == [0, 10, 0, 0, 10]
    assert got.positive.tolist() == [0, 0, 0, 0, 8]
    assert np.allclose(got.confidence, [np.nan, 0.3, np.nan, np.nan, 0.8], equal_nan=True)
    assert np.allclose(got.frequency, [np.nan, 0, np.nan, np.nan, 0.8], equal_nan=True)
    assert got.error() == pytest.approx(0.15)
    single = reliability(np.array([0.25]), np.array([True]), bins=2)
    assert (single.confidence[0], single.frequency[0]) == (0.25, 1)
    assert brier(probability, truth) == pytest.approx((8 * 0.04 + 2 * 0.64 + 10 * 0.09) / 20)
    sure = np.array([1.0, 0.0])
    right, wrong = np.array([True, False]), np.array([False, True])
    assert (calibration_error(sure, right), brier(sure, right)) == (0, 0)
    assert (calibration_error(sure, wrong), brier(sure, wrong)) == (1, 1)
    assert calibration_error(np.full(4, 0.5), np.array([True, False, False, True])) == 0


def test_the_form_of_the_class_chosen_can_miss_too_much_foreground():
    probability = np.repeat([0.8, 0.2], 10)
    truth = np.arange(20) < 6  # foreground in 0.6 and 0 of the pixels: everywhere 0.2 less
    assert calibration_error(probability, truth) == pytest.approx(0.2)
    both = torch.from_numpy(np.stack([1 - probability, probability], axis=1))
    chosen = oracle.multiclass_calibration_error(both, torch.from_numpy(truth).long(), 2, 15)
    assert float(chosen) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_brier_equals_the_mean_squared_error(dtype):
    probability, truth = sample((40, 50), 2, dtype)
    valid = np.random.default_rng(3).random(truth.shape) < 0.6
    p, t = (torch.from_numpy(array[valid]).double() for array in (probability, truth))
    expected = float(torch.nn.functional.mse_loss(p, t))
    assert brier(probability, truth, valid) == pytest.approx(expected, rel=1e-12)
    assert brier(probability, truth) != pytest.approx(expected, rel=1e-6)


def test_brier_is_reliability_minus_resolution_plus_uncertainty():
    """Murphy's partition (1973), exact where each bin holds one probability."""
    random = np.random.default_rng(4)
    probability = random.integers(0, 11, 5000) / 10
    truth = random.random(5000) < probability**2
    got = reliability(probability, truth, bins=11)  # k/10 lies inside the k-th of 11 bins
    share = got.count / got.count.sum()
    base = truth.mean()
    parts = (got.confidence - got.frequency) ** 2 - (got.frequency - base) ** 2
    assert brier(probability, truth) == pytest.approx(share @ parts + base * (1 - base), rel=1e-12)


def test_statistics_of_images_add_up():
    images = [sample(shape, seed) for seed, shape in enumerate([(20, 30), (5, 6, 7), (1, 1)])]
    parts = [reliability(*image) for image in images]
    pooled = reduce(add, parts)
    flat = [np.concatenate([image[k].ravel() for image in images]) for k in range(2)]
    together = reliability(*flat)
    assert isinstance(pooled, Reliability)
    assert pooled.count.tolist() == together.count.tolist()
    assert pooled.positive.tolist() == together.positive.tolist()
    assert np.allclose(pooled.mass, together.mass, rtol=1e-12)
    assert pooled.error() == pytest.approx(calibration_error(*flat), rel=1e-12)
    assert parts[0].count.sum() == 600  # adding changed no part
    same = [reliability(*sample((20, 30), seed)) for seed in range(6)]
    assert reduce(add, same).error() < np.mean([part.error() for part in same])
    with pytest.raises(InputError, match="bins: 15 against 10; bin every image alike"):
        parts[0] + reliability(*images[0], bins=10)


def test_without_a_valid_pixel_nothing_is_defined():
    probability, truth = sample((4, 5))
    nowhere = np.zeros((4, 5), bool)
    assert math.isnan(calibration_error(probability, truth, nowhere))
    assert math.isnan(brier(probability, truth, nowhere))
    none = reliability(probability, truth, nowhere)
    assert none.count.tolist() == none.positive.tolist() == [0] * 15
    assert np.isnan(none.confidence).all()
    assert np.isnan(none.frequency).all()
    some = reliability(probability, truth)
    assert (none + some).error() == some.error()


def test_single_precision_does_not_lose_millions_of_pixels():
    probability = np.full(3_000_000, 0.1, np.float32)
    truth = np.zeros(probability.shape, bool)
    assert calibration_error(probability, truth) == pytest.approx(float(np.float32(0.1)), rel=1e-9)
    assert brier(probability, truth) == pytest.approx(float(np.float32(0.1)) ** 2, rel=1e-9)


def test_a_hard_mask_is_a_probability_and_a_truth_of_255_a_mask():
    probability, truth = sample((20, 20))
    hard = probability >= 0.5
    assert brier(hard, truth) == pytest.approx(np.mean(hard != truth))
    assert calibration_error(hard, truth) == calibration_error(hard.astype(float), truth)
    assert calibration_error(hard.astype(np.uint8), truth) == calibration_error(hard, truth)
    assert brier(probability, truth.astype(np.uint8) * 255) == brier(probability, truth)


@pytest.mark.parametrize("score", DOORS)
def test_mistakes_are_named(score):
    probability, truth = sample((4, 5))
    with pytest.raises(InputError, match=r"truth: shape \(4, 5\) differs from the prediction's"):
        score(probability[None], truth)
    with pytest.raises(InputError, match="valid: shape"):
        score(probability, truth, truth[:2])
    with pytest.raises(InputError, match="truth: a mask of float32"):
        score(probability, probability)
    for wrong in (-0.25, 1.5, np.inf, -np.inf):
        strange = probability.copy()
        strange[1, 2] = wrong
        with pytest.raises(InputError, match=r"probability: holds .* to .*; use 0 to 1: logits"):
            score(strange, truth)
        assert score(strange, truth, np.isin(strange, probability)) is not None
    strange[1, 2] = np.nan
    with pytest.raises(InputError, match="probability: holds nan"):
        score(strange, truth)
    score(strange, truth, ~np.isnan(strange))
    with pytest.raises(InputError, match="holds 0 to 255"):
        score(np.array([0, 255], np.uint8), np.array([False, True]))


@pytest.mark.parametrize("score", [reliability, calibration_error])
def test_there_is_at_least_one_bin(score):
    for bins in (0, -3):
        with pytest.raises(InputError, match=f"bins: {bins} bins; use 1 or more"):
            score(*sample((4, 5)), bins=bins)
