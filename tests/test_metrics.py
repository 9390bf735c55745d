import itertools
import math
import time

import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from scipy.ndimage import binary_dilation
from skimage.draw import disk, line
from skimage.measure import euler_number
from skimage.morphology import ball, skeletonize

import unetkit.metrics as metrics
from unetkit.errors import InputError
from unetkit.metrics import (
    Counts,
    average_precision,
    best_threshold,
    betti_errors,
    betti_numbers,
    bootstrap_interval,
    cl_dice,
    class_counts,
    confusion,
    counts,
    measure,
    paired_permutation,
    roc_auc,
    scores,
)

SHAPES = [(33, 47), (9, 10, 11), (1, 1), (1, 7)]
MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=3, max_side=6))


def pair(shape, seed=0, share=0.3):
    random = np.random.default_rng(seed)
    truth = random.random(shape) < share
    return truth ^ (random.random(shape) < 0.2), truth


# --- overlap ---------------------------------------------------------------------------------


def test_a_hand_worked_example():
    prediction = np.array([[1, 1, 1, 0], [0, 0, 0, 0]], bool)
    truth = np.array([[1, 1, 0, 1], [1, 0, 0, 0]], bool)
    assert counts(prediction, truth) == Counts(tp=2, fp=1, fn=2, tn=3)
    assert scores(Counts(2, 1, 2, 3)) == pytest.approx(
        {
            "dice": 4 / 7,
            "iou": 2 / 5,
            "recall": 1 / 2,
            "precision": 2 / 3,
            "specificity": 3 / 4,
            "accuracy": 5 / 8,
            "balanced_accuracy": 5 / 8,
            "mcc": (2 * 3 - 1 * 2) / math.sqrt(3 * 4 * 4 * 5),
            "pixel_error": 3 / 8,
        }
    )


@pytest.mark.parametrize("shape", [(33, 47), (9, 10, 11)])
@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_torchmetrics(shape, seed):
    prediction, truth = pair(shape, seed)
    p, t = torch.from_numpy(prediction).int(), torch.from_numpy(truth).int()
    got = scores(counts(prediction, truth))
    assert got["dice"] == pytest.approx(float(oracle.binary_f1_score(p, t)))
    assert got["iou"] == pytest.approx(float(oracle.binary_jaccard_index(p, t)))
    assert got["recall"] == pytest.approx(float(oracle.binary_recall(p, t)))
    assert got["precision"] == pytest.approx(float(oracle.binary_precision(p, t)))
    assert got["specificity"] == pytest.approx(float(oracle.binary_specificity(p, t)))
    assert got["accuracy"] == pytest.approx(float(oracle.binary_accuracy(p, t)))
    assert got["mcc"] == pytest.approx(float(oracle.binary_matthews_corrcoef(p, t)), abs=1e-6)
    assert got["balanced_accuracy"] == pytest.approx((got["recall"] + got["specificity"]) / 2)
    assert got["pixel_error"] == pytest.approx(1 - got["accuracy"])


@given(st.data())
def test_counts_equal_a_loop_over_pixels(data):
    prediction = data.draw(MASKS)
    truth, valid = (data.draw(hnp.arrays(bool, prediction.shape)) for _ in range(2))
    seen = [(p, t) for p, t, v in zip(prediction.flat, truth.flat, valid.flat, strict=True) if v]
    loop = Counts(*(seen.count(k) for k in [(1, 1), (1, 0), (0, 1), (0, 0)]))
    assert counts(prediction, truth, valid) == loop
    assert loop.total == np.count_nonzero(valid)


def test_counts_are_python_integers_and_pool():
    a, b = (counts(*pair((20, 20), seed)) for seed in (0, 1))
    assert {type(n) for n in (a.tp, a.fp, a.fn, a.tn)} == {int}
    stacked = [np.stack(both) for both in zip(pair((20, 20), 0), pair((20, 20), 1), strict=True)]
    assert sum([a, b], Counts()) == counts(*stacked)


def test_masks_of_0_and_255_count_as_bool():
    prediction, truth = pair((20, 20))
    as_bytes = counts(prediction.astype(np.uint8) * 255, truth.astype(np.uint16) * 7)
    assert as_bytes == counts(prediction, truth)


def test_counts_do_not_overflow():
    n = 10**9
    assert scores(Counts(n, n, n, n))["mcc"] == 0
    assert scores(Counts(n, 0, 0, n))["mcc"] == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_empty_and_full_masks(shape):
    empty, full = np.zeros(shape, bool), np.ones(shape, bool)
    both_empty = scores(counts(empty, empty))
    assert both_empty["dice"] == both_empty["iou"] == both_empty["accuracy"] == 1
    assert both_empty["specificity"] == 1
    assert both_empty["pixel_error"] == 0
    assert all(
        math.isnan(both_empty[k]) for k in ("recall", "precision", "balanced_accuracy", "mcc")
    )
    missed = scores(counts(empty, full))
    assert missed["dice"] == missed["iou"] == missed["recall"] == missed["accuracy"] == 0
    assert math.isnan(missed["precision"])
    assert math.isnan(missed["specificity"])
    invented = scores(counts(full, empty))
    assert invented["dice"] == invented["precision"] == invented["specificity"] == 0
    assert math.isnan(invented["recall"])
    both_full = scores(counts(full, full))
    assert both_full["dice"] == both_full["recall"] == both_full["precision"] == 1
    assert math.isnan(both_full["specificity"])


def test_without_a_valid_pixel_nothing_is_defined():
    mask = np.ones((4, 4), bool)
    assert all(math.isnan(value) for value in scores(counts(mask, mask, ~mask)).values())


def test_confusion_equals_torchmetrics():
    random = np.random.default_rng(0)
    prediction, truth = random.integers(0, 4, (2, 30, 40)).astype(np.uint8)
    valid = random.random((30, 40)) < 0.8
    target = torch.from_numpy(np.where(valid, truth, 255).astype(np.int64))
    expected = oracle.multiclass_confusion_matrix(
        torch.from_numpy(prediction).long(), target, num_classes=4, ignore_index=255
    )
    got = confusion(prediction, truth, 4, valid)
    assert np.array_equal(got, expected.numpy())
    for k, one in enumerate(class_counts(got)):
        assert one == counts(prediction == k, truth == k, valid)


def test_confusion_keeps_absent_classes_and_refuses_strange_labels():
    labels = np.array([[0, 2], [2, 0]], np.uint8)
    matrix = confusion(labels, labels, 4)
    assert matrix.tolist() == [[2, 0, 0, 0], [0, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0]]
    absent = scores(class_counts(matrix)[3])
    assert absent["dice"] == 1
    assert math.isnan(absent["recall"])
    with pytest.raises(InputError, match="truth: label 255 is none of the 3 classes"):
        confusion(labels, np.full((2, 2), 255, np.uint8), 3)
    with pytest.raises(InputError, match="prediction: label -1"):
        confusion(np.full((2, 2), -1), labels, 3)
    with pytest.raises(InputError, match="labels are float64"):
        confusion(labels * 1.0, labels, 3)


def auc_by_definition(probability, truth):
    """Chance that a positive outranks a negative, ties one half."""
    p, n = probability[truth][:, None], probability[~truth][None]
    return np.mean((p > n) + 0.5 * (p == n))


def precision_by_definition(probability, truth):
    area, before = 0.0, 0.0
    for threshold in np.unique(probability)[::-1]:
        chosen = probability >= threshold
        recall = (chosen & truth).sum() / truth.sum()
        area += (recall - before) * (chosen & truth).sum() / chosen.sum()
        before = recall
    return area


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("levels", [3, 20, 10**6])
def test_areas_equal_their_definitions_and_torchmetrics(dtype, levels):
    random = np.random.default_rng(levels)
    truth = random.random((30, 31)) < 0.2
    soft = np.clip(0.3 * truth + 0.7 * random.random(truth.shape), 0, 1)
    probability = np.round(soft * min(levels, 255 if dtype == np.uint8 else levels)).astype(dtype)
    if dtype != np.uint8:
        probability /= levels
    valid = random.random(truth.shape) < 0.7
    p, t = probability[valid], truth[valid]
    assert roc_auc(probability, truth, valid) == pytest.approx(auc_by_definition(p, t), abs=1e-12)
    assert average_precision(probability, truth, valid) == pytest.approx(
        precision_by_definition(p, t), abs=1e-12
    )
    if dtype != np.uint8:
        as_tensor = torch.from_numpy(p), torch.from_numpy(t).int()
        assert roc_auc(p, t) == pytest.approx(float(oracle.binary_auroc(*as_tensor)), abs=1e-5)
        assert average_precision(p, t) == pytest.approx(
            float(oracle.binary_average_precision(*as_tensor)), abs=1e-5
        )


def test_areas_at_the_ends():
    truth = np.array([True, True, False, False])
    best, worst = np.array([0.9, 0.8, 0.2, 0.1]), np.array([0.1, 0.2, 0.8, 0.9])
    assert (roc_auc(best, truth), average_precision(best, truth)) == (1, 1)
    assert roc_auc(worst, truth) == 0
    assert average_precision(worst, truth) == pytest.approx((1 / 3 + 2 / 4) / 2)
    constant = np.full(4, 0.7)
    assert (roc_auc(constant, truth), average_precision(constant, truth)) == (0.5, 0.5)
    for one_class in (np.ones(4, bool), np.zeros(4, bool)):
        assert math.isnan(roc_auc(best, one_class))
        assert math.isnan(average_precision(best, one_class))
    assert math.isnan(roc_auc(best, truth, np.zeros(4, bool)))
    with pytest.raises(InputError, match="probability: holds nan"):
        roc_auc(np.array([0.1, np.nan]), np.array([True, False]))


def test_areas_are_fast_enough_for_a_fundus_image():
    random = np.random.default_rng(0)
    probability = random.random(400_000, dtype=np.float32)
    truth = random.random(400_000) < probability * 0.2
    start = time.perf_counter()
    roc_auc(probability, truth)
    assert time.perf_counter() - start < 1  # measured 0.02 s; a Python loop takes minutes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["dice", "iou", "accuracy"])
def test_best_threshold_equals_trying_each(dtype, metric):
    random = np.random.default_rng(1)
    truths = [random.random(shape) < 0.3 for shape in [(20, 30), (7, 8), (5, 6, 7)]]
    truths.append(np.zeros((5, 5), bool))
    probabilities = [
        # Two decimals: many values lie exactly on the grid.
        np.round(np.clip(0.35 * t + 0.6 * random.random(t.shape), 0, 1), 2).astype(dtype)
        for t in truths
    ]
    valids = [random.random(t.shape) < 0.9 for t in truths[:-1]] + [None]
    means = {}
    for k in range(5, 96):
        single = [
            scores(counts(p >= k / 100, t, v))[metric]
            for p, t, v in zip(probabilities, truths, valids, strict=True)
        ]
        means[k / 100] = np.mean(single)
    threshold, value = best_threshold(probabilities, truths, valids, metric)
    assert value == pytest.approx(max(means.values()), abs=1e-12)
    assert means[threshold] == pytest.approx(value, abs=1e-12)
    ties = [abs(t - 0.5) for t, mean in means.items() if mean > value - 1e-12]
    assert abs(threshold - 0.5) == pytest.approx(min(ties))


def test_best_threshold_prefers_the_middle_and_skips_images_without_valid_pixels():
    truth = np.array([[True, False]])
    assert best_threshold([np.array([[1.0, 0.0]])], [truth]) == (0.5, 1.0)
    assert best_threshold([np.array([[0.3, 0.0]])], [truth]) == (0.3, 1.0)
    assert best_threshold([np.array([[1.0, 0.8]])], [truth])[0] == 0.81
    ignored = (np.array([[0.0, 1.0]]), truth, np.zeros((1, 2), bool))
    two = [list(x) for x in zip((np.array([[0.3, 0.0]]), truth, None), ignored, strict=True)]
    assert best_threshold(*two) == (0.3, 1.0)


def test_best_threshold_says_what_is_wrong():
    truth = np.array([[True, False]])
    with pytest.raises(InputError, match="did you mean dice"):
        best_threshold([truth * 1.0], [truth], metric="dyce")
    with pytest.raises(InputError, match="2 probabilities, 1 truths"):
        best_threshold([truth * 1.0] * 2, [truth])
    with pytest.raises(InputError, match="no image with a valid pixel"):
        best_threshold([], [])


@pytest.mark.parametrize(
    "score", [counts, cl_dice, betti_errors, roc_auc, average_precision, measure]
)
def test_shapes_must_agree(score):
    with pytest.raises(InputError, match=r"truth: shape \(4, 5\) differs from the prediction's"):
        score(np.zeros((1, 4, 5), bool), np.zeros((4, 5), bool))


@pytest.mark.parametrize("score", [counts, cl_dice, betti_errors])
def test_probabilities_are_refused_as_masks(score):
    mask = np.zeros((4, 5), bool)
    with pytest.raises(InputError, match="prediction: a mask of float32; threshold it first"):
        score(mask.astype(np.float32), mask)
    with pytest.raises(InputError, match="valid: shape"):
        score(mask, mask, mask[:2])


# --- topology --------------------------------------------------------------------------------


def reference_cl_dice(p, t):
    """The formula of the paper, where both skeletons exist."""
    tprec = (skeletonize(p) & t).sum() / skeletonize(p).sum()
    tsens = (skeletonize(t) & p).sum() / skeletonize(t).sum()
    return 2 * tprec * tsens / (tprec + tsens)


def lines(seed):
    random = np.random.default_rng(seed)
    mask = np.zeros((60, 60), bool)
    for y0, x0, y1, x1 in random.integers(2, 58, (5, 4)):
        mask[line(y0, x0, y1, x1)] = True
    return mask


def test_cl_dice_by_hand():
    truth = np.zeros((7, 20), bool)
    truth[3, :] = True
    prediction = np.zeros((7, 20), bool)
    prediction[3, :10] = True
    # One pixel wide lines are their own skeletons: precision 1, sensitivity 1/2.
    assert cl_dice(prediction, truth) == pytest.approx(2 / 3)
    # A line moved by one pixel covers nothing of the other's centre.
    assert cl_dice(np.roll(truth, 1, axis=0), truth) == 0
    # Width does not matter as long as the centre lines are covered; Dice would be 1/3.
    assert cl_dice(truth[[0, 3, 3, 3, 3, 3, 0]], truth) > 0.9


@pytest.mark.parametrize("seed", range(4))
def test_cl_dice_equals_the_formula(seed):
    prediction, truth = binary_dilation(lines(seed), iterations=2), binary_dilation(lines(seed + 9))
    assert cl_dice(prediction, truth) == pytest.approx(reference_cl_dice(prediction, truth))
    assert cl_dice(prediction, truth) == pytest.approx(cl_dice(truth, prediction))
    assert cl_dice(truth, truth) == 1
    # In 3D two tubes with one line in common.
    flat = lines(seed)[:30, :30], lines(seed + 9)[:30, :30] | lines(seed)[:30, :30]
    tubes = [np.pad(binary_dilation(np.stack([mask] * 3)), 2) for mask in flat]
    assert cl_dice(*tubes) == pytest.approx(reference_cl_dice(*tubes))


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 8)])
def test_cl_dice_of_empty_masks_and_of_masks_that_thinning_erases(shape):
    empty, solid = np.zeros(shape, bool), np.zeros(shape, bool)
    solid[(slice(1, 5),) * len(shape)] = True
    assert cl_dice(empty, empty) == 1
    assert cl_dice(empty, solid) == cl_dice(solid, empty) == 0
    assert cl_dice(solid, solid) == 1
    point = empty.copy()
    point[(2,) * len(shape)] = True
    assert cl_dice(point, point) == 1
    if len(shape) == 3:
        assert not skeletonize(solid).any()  # why the guard is there


def test_cl_dice_looks_only_at_valid_pixels():
    truth = lines(0)
    valid = np.zeros_like(truth)
    valid[:, :30] = True
    noisy = truth | ~valid
    assert cl_dice(noisy, truth, valid) == 1
    assert cl_dice(noisy, truth) < 1
    assert betti_errors(noisy, truth, valid) == (0, 0)


def test_betti_numbers_of_known_shapes():
    ring = np.zeros((20, 20), bool)
    ring[disk((9, 9), 8)] = True
    ring[disk((9, 9), 4)] = False
    assert betti_numbers(ring) == (1, 1)
    assert betti_numbers(np.hstack([ring, ring])) == (2, 2)
    assert betti_numbers(np.zeros((5, 5), bool)) == (0, 0)
    assert betti_numbers(np.ones((5, 5), bool)) == (1, 0)
    diagonal = np.eye(4, dtype=bool)  # corners connect foreground ...
    assert betti_numbers(diagonal) == (1, 0)
    diamond = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)  # ... and close off background
    assert betti_numbers(diamond) == (1, 1)
    shell = np.pad(ball(6), 1).astype(bool)
    shell[1:-1, 1:-1, 1:-1] &= ~np.pad(ball(3), 3).astype(bool)
    assert betti_numbers(shell) == (1, 0, 1)
    torus = np.zeros((5, 20, 20), bool)
    torus[1:4] = ring
    assert betti_numbers(torus) == (1, 1, 0)
    assert betti_errors(ring, np.ones_like(ring)) == (0, 1)
    assert betti_errors(torus, np.zeros_like(torus)) == (1, 1, 0)


@settings(max_examples=60)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8)))
def test_pieces_minus_holes_is_the_euler_number(mask):
    pieces, holes = betti_numbers(mask)
    assert pieces - holes == euler_number(np.pad(mask, 1), connectivity=2)


def test_topology_wants_two_or_three_axes():
    with pytest.raises(InputError, match="4 axes"):
        cl_dice(np.ones((1, 2, 2, 2), bool), np.ones((1, 2, 2, 2), bool))
    with pytest.raises(InputError, match="1 axes"):
        betti_errors(np.ones(3, bool), np.ones(3, bool))


# --- statistics ------------------------------------------------------------------------------


def test_bootstrap_agrees_with_scipy_and_repeats():
    values = np.random.default_rng(0).normal(0.8, 0.05, 20)
    low, high = bootstrap_interval(values, seed=1)
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(5)
    ).confidence_interval
    assert (low, high) == pytest.approx(tuple(expected), abs=0.002)
    assert (low, high) == bootstrap_interval([*values, math.nan], seed=1)
    assert (low, high) != bootstrap_interval(values, seed=2)
    narrow = bootstrap_interval(values, level=0.5)
    assert low < narrow[0] < values.mean() < narrow[1] < high


def test_bootstrap_at_the_ends():
    for too_few in ([], [0.8], [0.8, math.nan]):
        assert all(map(math.isnan, bootstrap_interval(too_few)))
    assert bootstrap_interval([0.25, 0.25, 0.25]) == (0.25, 0.25)
    # Two values have three equally spaced means, the outer ones with chance 1/4 each.
    assert bootstrap_interval([0.0, 1.0]) == (0, 1)
    with pytest.raises(InputError, match="level"):
        bootstrap_interval([1, 2], level=95)


def test_bootstrap_of_a_long_list_is_the_same_in_blocks():
    values = np.random.default_rng(0).random(30_000)
    low, high = bootstrap_interval(values, repeats=200)
    spread = 1.96 * values.std() / math.sqrt(values.size)
    assert (low, high) == pytest.approx(
        (values.mean() - spread, values.mean() + spread), abs=spread * 0.3
    )


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_permutation_equals_every_sign_pattern(n):
    random = np.random.default_rng(n)
    a, b = random.random((2, n)).round(1)
    difference = a - b
    sums = [abs(np.dot(s, difference)) for s in itertools.product([1, -1], repeat=n)]
    expected = np.mean([s >= abs(difference.sum()) - 1e-9 for s in sums])
    assert paired_permutation(a, b) == pytest.approx(expected)
    assert paired_permutation(b, a) == pytest.approx(expected)


def test_permutation_agrees_with_scipy():
    random = np.random.default_rng(0)
    a = random.random(12)
    b = a - random.normal(0.02, 0.05, 12)
    expected = stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert paired_permutation(a, b) == pytest.approx(expected, abs=1e-12)
    a = random.random(40)
    b = a - random.normal(0.02, 0.05, 40)
    normal = stats.ttest_rel(a, b).pvalue
    assert paired_permutation(a, b) == pytest.approx(normal, abs=0.02)
    assert paired_permutation(a, b) == paired_permutation(a, b)


def test_permutation_at_the_ends():
    assert paired_permutation([0.5] * 6, [0.5] * 6) == 1
    assert paired_permutation([1.0] * 5, [0.0] * 5) == 2 / 2**5
    assert paired_permutation([1.0] * 5 + [math.nan], [0.0] * 5 + [1.0]) == 2 / 2**5
    assert paired_permutation([1.0] * 50, [0.0] * 50) == pytest.approx(1 / 10_001)
    assert math.isnan(paired_permutation([], []))
    with pytest.raises(InputError, match="2 scores against 1"):
        paired_permutation([1.0, 2.0], [1.0])


# --- all together ----------------------------------------------------------------------------


def test_measure_composes_the_parts():
    prediction, truth = pair((30, 30))
    probability = np.random.default_rng(3).random((30, 30), dtype=np.float32)
    valid = np.zeros((30, 30), bool)
    valid[5:25, 5:25] = True
    plain = measure(prediction, truth, valid=valid)
    assert plain == scores(counts(prediction[valid], truth[valid]))
    full = measure(prediction, truth, valid=valid, probability=probability, topology=True)
    assert full == {
        **plain,
        "roc_auc": roc_auc(probability[valid], truth[valid]),
        "average_precision": average_precision(probability[valid], truth[valid]),
        "cl_dice": cl_dice(prediction & valid, truth & valid),
        "betti0_error": betti_errors(prediction & valid, truth & valid)[0],
        "betti1_error": betti_errors(prediction & valid, truth & valid)[1],
    }
    assert "betti2_error" in measure(ball(2), ball(3)[1:-1, 1:-1, 1:-1], topology=True)


def test_the_door():
    assert sorted(metrics.__all__) == metrics.__all__
    assert all(callable(getattr(metrics, name)) for name in metrics.__all__)
