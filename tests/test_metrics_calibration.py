import math
import subprocess
import sys
from functools import reduce
from operator import add

import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as oracle
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import optimize, special, stats

from unetkit.errors import InputError
from unetkit.metrics.calibration import Reliability, brier, calibration_error, reliability
from unetkit.metrics.entropy import disagreement, uncertainty
from unetkit.metrics.temperature import PixelSample, fit_temperature, histogram, retemper

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


# ---- temperature


def drawn(size=40_000, seed=0, scale=1.0):
    """Logits of a model that is right, and a truth drawn as often as they say; times `scale`."""
    random = np.random.default_rng(seed)
    logits = random.normal(-1, 2, size)
    truth = random.random(size) < 1 / (1 + np.exp(-logits))
    return (scale * logits).astype(np.float32), truth


def drawn_classes(size=40_000, classes=4, seed=0, scale=1.0):
    """The same of classes that exclude each other: (k, n) and (n)."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (classes, size))
    p = special.softmax(logits, axis=0)
    labels = (random.random(size) > p.cumsum(0)).sum(0).clip(0, classes - 1)
    return (scale * logits).astype(np.float32), labels


def best_inverse(loss):
    found = optimize.minimize_scalar(
        lambda a: loss(math.exp(a)), bounds=(math.log(0.05), math.log(20)), method="bounded",
        options={"xatol": 1e-7},
    )  # fmt: skip
    return math.exp(found.x), found.fun


@pytest.mark.parametrize("scale", [0.02, 0.3, 1, 3, 12])
def test_temperature_equals_scipy_on_the_raw_logits(scale):
    logits, truth = drawn(seed=1, scale=scale)
    z = logits.astype(np.float64)
    inverse, least = best_inverse(lambda a: np.mean(np.logaddexp(0, a * z) - a * z * truth))
    fit = fit_temperature(histogram(logits, truth))
    expected = max(1 / inverse, 0.05)
    assert fit.temperature == pytest.approx(expected, rel=1e-3)
    assert fit.temperature == pytest.approx(max(scale, 0.05), rel=0.05)  # the known answer
    assert fit.loss == pytest.approx(least, abs=1e-5)
    raw = -np.mean(special.log_expit(np.where(truth, z, -z)))
    assert fit.loss_uncalibrated == pytest.approx(raw, abs=1e-5)
    assert fit.pixels == truth.size
    assert fit.reason == ("held at the bound of 0.05" if scale == 0.02 else "")
    for error, t in ((fit.error, fit.temperature), (fit.error_uncalibrated, 1)):
        assert error == pytest.approx(calibration_error(special.expit(z / t), truth), abs=2e-3)
    assert fit.error < (0.02 if fit.reason == "" else fit.error_uncalibrated)


@pytest.mark.parametrize(("classes", "scale"), [(2, 3), (4, 0.5), (4, 3), (7, 1)])
def test_temperature_of_several_classes_equals_scipy(classes, scale):
    logits, labels = drawn_classes(20_000, classes, scale=scale)
    z = logits.T.astype(np.float64)
    inverse, least = best_inverse(
        lambda a: np.mean(
            special.logsumexp(a * z, axis=1) - a * z[np.arange(len(labels)), labels]
        )
    )  # fmt: skip
    fit = fit_temperature(PixelSample.of(classes).with_image(logits, labels))
    assert fit.temperature == pytest.approx(1 / inverse, rel=1e-5)
    assert fit.temperature == pytest.approx(scale, rel=0.05)
    assert fit.loss == pytest.approx(least, abs=1e-9)
    raw = -special.log_softmax(z, axis=1)[np.arange(len(labels)), labels].mean()
    assert fit.loss_uncalibrated == pytest.approx(raw, abs=1e-9)
    for error, t in ((fit.error, fit.temperature), (fit.error_uncalibrated, 1)):
        p = special.softmax(z / t, axis=1)
        pooled = np.concatenate([p[:, k] for k in range(1, classes)])
        hits = np.concatenate([labels == k for k in range(1, classes)])
        assert error == pytest.approx(calibration_error(pooled, hits), abs=1e-9)


def test_two_classes_of_a_softmax_are_one_sigmoid():
    logits, labels = drawn_classes(classes=2, scale=2)
    both = fit_temperature(PixelSample.of(2).with_image(logits, labels))
    one = fit_temperature(histogram(logits[1] - logits[0], labels == 1))
    assert one.temperature == pytest.approx(both.temperature, rel=1e-3)
    assert one.error == pytest.approx(both.error, abs=2e-3)


@given(st.integers(0, 10**6))
def test_a_fit_never_worsens_the_likelihood(seed):
    random = np.random.default_rng(seed)
    size, scale = random.integers(2, 40), 10 ** random.uniform(-4, 3)
    logits = random.normal(random.normal(), scale, size)
    truth = random.random(size) < random.random()
    sample = PixelSample.of(3).with_image(
        random.normal(0, scale, (3, size)), random.integers(0, 3, size)
    )
    for evidence in (histogram(logits, truth), sample):
        fit = fit_temperature(evidence)
        assert 0.05 <= fit.temperature <= 20
        assert fit.loss <= fit.loss_uncalibrated
        assert fit.loss == pytest.approx(evidence.loss(1 / fit.temperature))
        if fit.reason == "":
            for other in (0.99, 1.01):
                assert evidence.loss(1 / (other * fit.temperature)) >= fit.loss - 1e-12


def test_histograms_of_images_add_up():
    logits, truth = drawn(30_000)
    parts = [histogram(logits[i::3].reshape(100, 100), truth[i::3].reshape(100, 100))
             for i in range(3)]  # fmt: skip
    together, whole = reduce(add, parts), histogram(logits, truth)
    assert together.count.tolist() == whole.count.tolist()
    assert together.count.nbytes < 100_000  # whatever the images hold
    assert fit_temperature(together).temperature == pytest.approx(
        fit_temperature(whole).temperature, rel=1e-9
    )


def test_a_sample_of_many_pixels_is_every_so_manieth_and_bounded(monkeypatch):
    monkeypatch.setattr("unetkit.metrics.temperature._NUMBERS", 600)
    sample, numbers = PixelSample.of(2), 0
    for size in (7, 301, 1, 64, 1000, 5):
        every = np.arange(numbers, numbers + size)
        numbers += size
        sample = sample.with_image(np.stack([every, -every]).astype(np.float32), every % 11)
        kept = np.arange(0, numbers, sample.step)
        assert sample.logits.tolist() == np.stack([kept, -kept], 1).tolist()
        assert sample.labels.tolist() == (kept % 11).tolist()
        assert sample.logits.size <= 600
        assert sample.seen == numbers
    assert sample.step == 9


def test_a_sampled_fit_is_that_of_all_pixels(monkeypatch):
    logits, labels = drawn_classes(200_000, 3, scale=2)
    every = fit_temperature(PixelSample.of(3).with_image(logits, labels))
    monkeypatch.setattr("unetkit.metrics.temperature._NUMBERS", 60_000)
    some = fit_temperature(PixelSample.of(3).with_image(logits, labels))
    assert some.pixels < 20_000 < every.pixels
    assert some.temperature == pytest.approx(every.temperature, rel=0.03)


RIGHT = "every pixel is right, so no certainty would be too much"


@pytest.mark.parametrize(("logits", "truth", "reason"), [
    ([], [], "no pixel counts"),
    ([np.nan], [True], "no pixel counts"),
    ([-1.0, 2.0], [False, False], "every pixel is background"),
    ([-1.0, 2.0], [True, True], "every pixel is foreground"),
    ([-1.0, 0.0, 5.0], [False, True, True], RIGHT),
])  # fmt: skip
def test_where_there_is_nothing_to_fit_the_temperature_is_1(logits, truth, reason):
    z = np.array(logits, np.float32)
    fit = fit_temperature(histogram(z, np.array(truth, bool)))
    assert (fit.temperature, fit.reason) == (1, reason)
    several = PixelSample.of(3).with_image(np.stack([0 * z, z, 0 * z - 9]), np.array(truth, int))
    fit = fit_temperature(several)
    assert fit.temperature == 1
    assert fit.reason == reason.replace("background", "of class 0").replace(
        "foreground", "of class 1"
    )


def test_a_network_that_knows_nothing_is_held_at_the_bound():
    logits, truth = drawn()
    wrong = fit_temperature(histogram(logits, ~truth))
    assert (wrong.temperature, wrong.reason) == (20, "held at the bound of 20")
    assert wrong.loss < wrong.loss_uncalibrated


def test_extreme_logits_and_nan_are_survived():
    logits, truth = drawn(1000)
    logits[:4], truth[:4] = [np.inf, -np.inf, np.nan, 3e38], [False, True, True, True]
    fit = fit_temperature(histogram(logits, truth))
    assert 1 < fit.temperature <= 20
    assert fit.pixels == 999
    assert math.isfinite(fit.loss)


def test_logits_and_truth_must_fit():
    with pytest.raises(InputError, match=r"truth: shape \(2,\) differs from the logits' \(3,\)"):
        histogram(np.zeros(3), np.zeros(2, bool))


@pytest.mark.parametrize("temperature", [0.3, 1, 2.5])
def test_retempering_divides_the_logits(temperature):
    logits, _ = drawn_classes(500)
    p = special.softmax(logits.astype(np.float64), axis=0)
    logits = logits.astype(np.float64)
    assert retemper(p, temperature) == pytest.approx(special.softmax(logits / temperature, axis=0))
    one = special.expit(logits[:1])
    assert retemper(one, temperature) == pytest.approx(special.expit(logits[:1] / temperature))
    each = special.expit(logits)
    assert retemper(each, temperature, exclusive=False) == pytest.approx(
        special.expit(logits / temperature)
    )
    assert retemper(retemper(p, temperature), 1 / temperature) == pytest.approx(p)
    assert retemper(np.array([[0.0, 0.5, 1.0]]), temperature).tolist() == [[0, 0.5, 1]]


# ---- uncertainty


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_uncertainty_equals_scipy(classes):
    logits, _ = drawn_classes(600, classes, scale=2)
    p = special.softmax(logits, axis=0).reshape(classes, 20, 30)
    expected = stats.entropy(p.astype(np.float64), base=classes, axis=0)
    got = uncertainty(p)
    assert got.dtype == np.float32
    assert got.shape == (1, 20, 30)
    assert got[0] == pytest.approx(expected, abs=1e-6)
    if classes == 2:
        assert uncertainty(p[1:])[0] == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4)])
def test_uncertainty_from_none_to_all(shape):
    assert (uncertainty(np.zeros((1, *shape))) == 0).all()
    assert (uncertainty(np.ones((1, *shape), np.float32)) == 0).all()
    assert uncertainty(np.full((1, *shape), 0.5, np.float16)) == pytest.approx(1)
    assert uncertainty(np.full((3, *shape), 1 / 3)) == pytest.approx(1)
    assert uncertainty(np.full((3, *shape), 1 / 3)).max() <= 1
    assert np.isnan(uncertainty(np.full((1, *shape), np.nan))).all()


@pytest.mark.parametrize("classes", [1, 2, 4])
def test_disagreement_is_mutual_information(classes):
    members = np.stack([drawn_classes(300, max(2, classes), seed=s)[0] for s in range(5)])
    p = special.softmax(members.astype(np.float64), axis=1)[:, -classes:]
    entropy = np.mean([uncertainty(one) for one in p], axis=0)
    full = np.concatenate([1 - p, p], axis=1) if classes == 1 else p
    # Mean Kullback-Leibler divergence of the members from their mean: the same, otherwise written.
    apart = stats.entropy(full, full.mean(0, keepdims=True), axis=1).mean(0)
    got = disagreement(p.mean(0), entropy)
    assert got.shape == (1, 300)
    assert got[0] == pytest.approx(apart / np.log(max(2, classes)), abs=1e-5)
    same = disagreement(p[0], uncertainty(p[0]))
    assert (same == 0).all()
    assert (disagreement(p[0], uncertainty(p[0]) + 1e-3) == 0).all()


def test_what_prediction_needs_loads_nothing_heavy():
    code = """
import sys
from unetkit.metrics import disagreement, uncertainty
from unetkit.metrics.temperature import retemper
there = [name for name in ("torch", "scipy", "skimage", "pandas") if name in sys.modules]
assert not there, there
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
