import itertools
import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics.panoptic_quality import compute_panoptic_quality
from skimage.measure import label
from skimage.metrics import contingency_table
from torchmetrics.functional.detection import panoptic_quality

from unetkit.errors import InputError
from unetkit.metrics.instances import (
    THRESHOLDS,
    Matching,
    aji,
    instance_scores,
    match,
    objects,
    overlap_table,
    seg,
)

SHAPES = [(30, 41), (6, 12, 13), (1, 1), (1, 9)]
SMALL = st.sampled_from([0, 0, 1, 2, 7, 300])


def pair(shape, seed=0, share=0.15):
    """Give blocks with strange ids, and a copy with new ids, a shift and noise."""
    random = np.random.default_rng(seed)
    coarse = random.choice([0, 0, 3, 8, 9, 70, 1000, 65535], [-(-n // 4) for n in shape])
    truth = np.kron(coarse, np.ones([4] * len(shape), int))[tuple(map(slice, shape))]
    ids = random.permutation([5, 6, 42, 128, 999, 4096])
    moved = np.roll(truth, 1, 0)
    prediction = np.zeros_like(truth)
    for k, one in enumerate([3, 8, 9, 70, 1000, 65535]):
        prediction[moved == one] = ids[k]
    noise = random.random(shape) < share
    prediction[noise] = random.choice([0, *ids], noise.sum())
    return prediction, truth


def sets(labels):
    """Give the pixels of each object as a set of indices: the slow, plain way."""
    flat = labels.ravel().tolist()
    return {k: {i for i, one in enumerate(flat) if one == k} for k in set(flat) - {0}}


def iou(a, b):
    return len(a & b) / len(a | b)


def by_sets(prediction, truth, threshold):
    p, t = sets(prediction), sets(truth)
    return [
        (i, j, iou(t[i], p[j])) for i in sorted(t) for j in sorted(p) if iou(t[i], p[j]) > threshold
    ]


def seg_by_sets(prediction, truth):
    p, t = sets(prediction), sets(truth)
    found = []
    for r in t.values():
        over = [s for s in p.values() if len(r & s) > len(r) / 2]
        found.append(iou(r, over[0]) if over else 0)
    return np.mean(found) if found else math.nan


def aji_by_sets(prediction, truth):
    """Algorithm 1 of Kumar et al. 2017."""
    p, t = sets(prediction), sets(truth)
    c, u, used = 0, 0, set()
    for g in t.values():
        best = max(sorted(p), key=lambda k: iou(g, p[k]), default=None)
        if best is None or not g & p[best]:
            u += len(g)
            continue
        c, u = c + len(g & p[best]), u + len(g | p[best])
        used.add(best)
    u += sum(len(p[k]) for k in p if k not in used)
    return c / u if u else 1.0


def assignment_by_trying(prediction, truth, threshold):
    """Try every one-to-one assignment; the most pairs win, then the most IoU."""
    edges = {(i, j): value for i, j, value in by_sets(prediction, truth, threshold)}
    t, p = sorted({i for i, _ in edges}), sorted({j for _, j in edges})
    swap = len(t) > len(p)
    short, long = (p, t) if swap else (t, p)
    best = (0, 0.0)
    for choice in itertools.permutations(long, len(short)):
        chosen = zip(choice, short, strict=True) if swap else zip(short, choice, strict=True)
        values = [edges[e] for e in chosen if e in edges]
        best = max(best, (len(values), sum(values)))
    return best


# --- the table -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_the_table_equals_scikit_image(shape, seed):
    prediction, truth = pair(shape, seed)
    table = overlap_table(prediction, truth)
    expected = contingency_table(truth, prediction, sparse_type="array").toarray()
    assert table.true_ids.tolist() == sorted(sets(truth))
    assert table.predicted_ids.tolist() == sorted(sets(prediction))
    assert table.true_areas.tolist() == expected.sum(1)[table.true_ids].tolist()
    assert table.predicted_areas.tolist() == expected.sum(0)[table.predicted_ids].tolist()
    dense = np.zeros((table.true_ids.size, table.predicted_ids.size))
    dense[table.true_index, table.predicted_index] = table.areas
    assert np.array_equal(dense, expected[np.ix_(table.true_ids, table.predicted_ids)])
    assert table.pixels == truth.size
    assert (table.areas > 0).all()


def test_ids_may_be_huge_and_of_any_integer_dtype():
    prediction, truth = pair((20, 20))
    expected = instance_scores(prediction, truth)
    assert instance_scores(prediction.astype(np.uint16), truth.astype(np.uint32)) == expected
    far = np.where(truth > 0, truth.astype(np.uint64) + np.uint64(2**63), np.uint64(0))
    assert instance_scores(prediction, far) == expected
    assert match(prediction, far, threshold=0.3).pairs[0][0] > 2**63


# --- matching --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.75, 0.95])
def test_matches_equal_sets(shape, threshold):
    prediction, truth = pair(shape, 1, share=0.05)
    got = match(prediction, truth, threshold=threshold)
    expected = by_sets(prediction, truth, threshold)
    assert [one[:2] for one in got.pairs] == [one[:2] for one in expected]
    assert [one[2] for one in got.pairs] == pytest.approx([one[2] for one in expected])
    assert got.fp == len(sets(prediction)) - len(expected)
    assert got.fn == len(sets(truth)) - len(expected)


@settings(max_examples=80, deadline=None)
@given(st.data(), st.sampled_from([0.0, 0.1, 0.25, 0.4]))
def test_below_a_half_the_assignment_is_the_best_of_all(data, threshold):
    prediction = data.draw(hnp.arrays(np.int32, (5, 6), elements=st.integers(0, 5)))
    truth = data.draw(hnp.arrays(np.int32, (5, 6), elements=st.integers(0, 5)))
    got = match(prediction, truth, threshold=threshold)
    count, total = assignment_by_trying(prediction, truth, threshold)
    assert got.tp == count
    assert sum(one[2] for one in got.pairs) == pytest.approx(total)
    assert len({i for i, _, _ in got.pairs}) == len({j for _, j, _ in got.pairs}) == count
    edges = by_sets(prediction, truth, threshold)
    assert {one[:2] for one in got.pairs} <= {one[:2] for one in edges}


def test_more_pairs_win_over_one_better_pair():
    # True 1 overlaps both predictions, true 2 only the first, which 1 would like best.
    truth = np.array([[1] * 10 + [2] * 4])
    prediction = np.array([[5] * 3 + [7] * 11])
    got = match(prediction, truth, threshold=0.2)
    assert [one[:2] for one in got.pairs] == [(1, 5), (2, 7)]
    assert match(prediction, truth, threshold=0.4).pairs == ((1, 7, 7 / 14),)


def test_an_iou_equal_to_the_threshold_is_no_match():
    truth = np.array([[1, 1]])
    for prediction in (np.array([[1, 2]]), np.array([[1, 0]])):
        assert match(prediction, truth).tp == 0
        assert match(prediction, truth, threshold=0.49).tp == 1


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=3, max_side=5), elements=SMALL))
def test_an_image_matches_itself_perfectly(labels):
    ids = np.unique(labels[labels > 0]).tolist()
    for threshold in (0, 0.3, 0.5, 0.99):
        got = match(labels, labels, threshold=threshold)
        assert got.pairs == tuple((k, k, 1.0) for k in ids)
        assert (got.fp, got.fn) == (0, 0)
    scores = instance_scores(labels, labels)
    names = ("ap50", "ap75", "ap", "f1_50", "pq", "sq", "rq", "aji")
    assert [scores[name] for name in names] == [1] * len(names)
    assert scores["seg"] == 1 if ids else math.isnan(scores["seg"])
    assert scores["objects_true"] == scores["objects_predicted"] == len(ids)
    assert scores["count_error"] == 0


@pytest.mark.parametrize("shape", [(30, 41), (6, 12, 13)])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.7])
def test_panoptic_quality_equals_monai(shape, seed, threshold):
    prediction, truth = pair(shape, seed, share=0.08)
    tensors = torch.from_numpy(prediction), torch.from_numpy(truth)
    expected = compute_panoptic_quality(
        *tensors, match_iou_threshold=threshold, output_confusion_matrix=True
    ).tolist()
    got = match(prediction, truth, threshold=threshold)
    if threshold >= 0.5:  # below, MONAI maximises IoU alone and drops pairs afterwards
        assert [got.tp, got.fp, got.fn] == expected[:3]
        assert sum(one[2] for one in got.pairs) == pytest.approx(expected[3], rel=1e-5)
    assert got.tp >= expected[0]
    assert got.panoptic_quality == pytest.approx(got.segmentation_quality * got.f1)


@pytest.mark.parametrize("seed", range(5))
def test_panoptic_quality_equals_torchmetrics(seed):
    prediction, truth = pair((30, 41), seed, share=0.05)
    # Category 0 is a "thing" of arbitrary ids, 1 is background, left out of the mean.
    as_pairs = [
        torch.from_numpy(np.stack([labels == 0, labels], -1)[None]).long()
        for labels in (prediction, truth)
    ]
    parts = panoptic_quality(
        *as_pairs, things={0}, stuffs={1}, return_sq_and_rq=True, return_per_class=True
    )
    got = instance_scores(prediction, truth)
    assert [got["pq"], got["sq"], got["rq"]] == pytest.approx(parts[0].tolist(), abs=1e-6)


def test_two_cells_merged_into_one():
    truth = np.zeros((8, 20), int)
    truth[2:6, 2:10], truth[2:6, 10:18] = 4, 9  # two touching cells of 32 pixels
    merged = (truth > 0) * 3
    scores = instance_scores(merged, truth)
    assert scores["ap50"] == scores["pq"] == scores["f1_50"] == 0  # IoU of each is 0.5, not more
    assert scores["seg"] == 0.5
    assert scores["aji"] == (32 + 32) / (64 + 64)  # the flaw: the merged cell counts twice
    assert (scores["objects_true"], scores["objects_predicted"]) == (2, 1)
    assert scores["count_error"] == -1
    split = instance_scores(truth, merged)
    assert split["seg"] == 0  # neither half covers more than half of the cell
    assert split["aji"] == 32 / (64 + 32)
    assert split["count_error"] == 1


def test_one_cell_missed_one_invented_one_shifted():
    truth, prediction = np.zeros((2, 10, 30), int)
    truth[:, 0:10], prediction[:, 1:11] = 1, 7  # IoU 9/11
    truth[0:5, 13:17] = 2
    prediction[0:5, 20:30] = 8
    got = match(prediction, truth)
    assert got == Matching(((1, 7, 9 / 11),), fp=1, fn=1)
    assert (got.tp, got.precision, got.recall, got.f1) == (1, 0.5, 0.5, 0.5)
    assert got.average_precision == 1 / 3
    assert got.segmentation_quality == 9 / 11
    assert got.panoptic_quality == 9 / 22
    scores = instance_scores(prediction, truth)
    assert scores["ap"] == pytest.approx((7 * 1 / 3 + 3 * 0) / 10)  # 0.5 … 0.8 are below 9/11
    assert (scores["ap50"], scores["ap75"]) == (1 / 3, 1 / 3)
    assert scores["seg"] == 9 / 22
    assert scores["aji"] == 90 / (110 + 20 + 50)
    assert instance_scores(prediction, truth, thresholds=[0.9])["ap"] == 0
    assert THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def test_scores_of_images_pool_or_average():
    images = [pair((30, 41), seed, share=0.05) for seed in range(4)]
    each = [match(*image) for image in images]
    pooled = sum(each, Matching())
    # Laid side by side with ids of their own, the images are one image.
    both = [
        np.hstack([np.where(one[k] > 0, one[k] + 10**6 * n, 0) for n, one in enumerate(images)])
        for k in (0, 1)
    ]
    whole = match(*both)
    assert (pooled.tp, pooled.fp, pooled.fn) == (whole.tp, whole.fp, whole.fn)
    assert pooled.panoptic_quality == pytest.approx(whole.panoptic_quality)
    assert pooled.average_precision == pytest.approx(whole.average_precision)
    lone = Matching(((1, 1, 1.0),)), Matching(fp=3)
    assert np.mean([one.average_precision for one in lone]) == 0.5
    assert sum(lone, Matching()).average_precision == 0.25


# --- SEG and AJI -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_seg_and_aji_equal_sets(shape, seed):
    prediction, truth = pair(shape, seed, share=0.1 * seed)
    assert seg(prediction, truth) == pytest.approx(seg_by_sets(prediction, truth), nan_ok=True)
    assert aji(prediction, truth) == pytest.approx(aji_by_sets(prediction, truth))
    assert aji(truth, prediction) == pytest.approx(aji_by_sets(truth, prediction))


def test_aji_takes_the_lowest_of_equal_ids():
    truth = np.array([[1, 1, 1, 1, 0, 0, 0, 0]])
    one, two = np.array([[5, 0, 9, 9, 9, 9, 9, 9]]), np.array([[9, 0, 5, 5, 5, 5, 5, 5]])
    assert iou({0}, {0, 1, 2, 3}) == iou({2, 3}, set(range(8))) == 1 / 4
    assert aji(one, truth) == 1 / (4 + 6)
    assert aji(two, truth) == 2 / (8 + 1)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_every_score_equals_sets_on_any_image(data):
    prediction = data.draw(hnp.arrays(np.int32, (4, 5), elements=SMALL))
    truth = data.draw(hnp.arrays(np.int32, (4, 5), elements=SMALL))
    got = instance_scores(prediction, truth)
    n, m = len(sets(prediction)), len(sets(truth))
    assert got["seg"] == pytest.approx(seg_by_sets(prediction, truth), nan_ok=True)
    assert got["aji"] == pytest.approx(aji_by_sets(prediction, truth))
    assert got["objects_predicted"] - got["objects_true"] == got["count_error"] == n - m
    tp = {x: len(by_sets(prediction, truth, x)) for x in THRESHOLDS}
    ap = {x: tp[x] / (n + m - tp[x]) if n + m else 1 for x in THRESHOLDS}
    assert (got["ap50"], got["ap75"]) == pytest.approx((ap[0.5], ap[0.75]))
    assert got["ap"] == pytest.approx(np.mean(list(ap.values())))
    assert got["f1_50"] == got["rq"] == pytest.approx(2 * tp[0.5] / (n + m) if n + m else 1)
    assert got["pq"] == pytest.approx(got["sq"] * got["rq"])


@pytest.mark.parametrize("seed", range(3))
def test_scores_do_not_depend_on_ids(seed):
    prediction, truth = pair((30, 41), seed)
    renamed = np.random.default_rng(seed).permutation(5000)[:4097] + 1
    other = np.where(prediction > 0, renamed[prediction], 0)
    expected = instance_scores(prediction, truth)
    assert instance_scores(other, truth) == pytest.approx(expected)


# --- edges -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_without_objects(shape):
    empty, full = np.zeros(shape, np.uint8), np.ones(shape, np.uint8)
    names = ("ap50", "ap75", "ap", "f1_50", "pq", "sq", "rq", "aji")
    both = instance_scores(empty, empty)
    assert [both[name] for name in names] == [1] * 8
    assert math.isnan(both["seg"])
    for prediction, truth, count in ((empty, full, -1), (full, empty, 1)):
        scores = instance_scores(prediction, truth)
        assert [scores[name] for name in names] == [0] * 8
        assert scores["count_error"] == count
    assert seg(empty, full) == 0
    assert math.isnan(seg(full, empty))
    assert math.isnan(match(empty, full).precision)
    assert math.isnan(match(full, empty).recall)
    assert match(empty, full).recall == match(full, empty).precision == 0


def test_only_valid_pixels_count():
    prediction, truth = pair((30, 41), 2)
    valid = np.zeros((30, 41), bool)
    valid[5:25, 8:30] = True
    expected = instance_scores(prediction[5:25, 8:30], truth[5:25, 8:30])
    assert instance_scores(prediction, truth, valid=valid) == expected
    assert match(prediction, truth, valid=valid).pairs
    ignored = np.where(valid, truth, -1)  # negative truth says the same
    assert instance_scores(prediction, ignored) == expected
    assert instance_scores(np.where(valid, prediction, -5), ignored) == expected
    half = np.where(np.arange(41) < 20, truth, -1)
    assert instance_scores(prediction, half, valid=valid) == instance_scores(
        prediction[5:25, 8:20], truth[5:25, 8:20]
    )
    assert seg(prediction, truth, valid) == expected["seg"]
    assert aji(prediction, truth, valid) == expected["aji"]


def test_an_object_outside_valid_vanishes():
    truth = np.array([[1, 1, 0, 2, 2]])
    valid = np.array([[1, 1, 1, 0, 0]], bool)
    assert instance_scores(truth, truth, valid=valid)["objects_true"] == 1
    assert match(np.zeros_like(truth), truth, valid=valid).fn == 1


def test_without_a_valid_pixel_nothing_is_defined():
    labels = np.ones((3, 4), int)
    for nothing in (
        instance_scores(labels, labels, valid=labels == 0),
        instance_scores(labels, -labels),
        instance_scores(labels[:0], labels[:0]),
    ):
        counted = {"objects_true", "objects_predicted", "count_error"}
        assert all(math.isnan(nothing[name]) for name in nothing.keys() - counted)
        assert all(nothing[name] == 0 for name in counted)
    assert math.isnan(aji(labels, -labels))


def test_mistakes_are_named():
    labels = np.ones((4, 5), int)
    with pytest.raises(InputError, match=r"truth: shape \(4, 5\) differs from the prediction's"):
        match(labels[:3], labels)
    with pytest.raises(InputError, match=r"prediction: labels are float64; number .* objects\("):
        match(labels * 0.5, labels)
    with pytest.raises(InputError, match=r"truth: labels are bool; number the objects first"):
        seg(labels, labels > 0)
    with pytest.raises(InputError, match="prediction: label -1; use 0 for background"):
        aji(-labels, labels)
    with pytest.raises(InputError, match="prediction: 4 axes; give one image"):
        instance_scores(labels[None, None], labels[None, None])
    for wrong in (1, -0.1, 75, math.nan):
        with pytest.raises(InputError, match=r"threshold: .*; use a number like 0.5, below 1"):
            match(labels, labels, threshold=wrong)
    with pytest.raises(InputError, match="thresholds: is empty; give one"):
        instance_scores(labels, labels, thresholds=[])
    with pytest.raises(InputError, match="mask: a mask of float64; threshold it first"):
        objects(labels * 0.5)


# --- pieces ----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=3, max_side=7)))
def test_objects_equal_scikit_image(mask):
    for corners, connectivity in ((True, mask.ndim), (False, 1)):
        got = objects(mask, corners=corners)
        assert got.dtype == np.int32
        assert np.array_equal(got, label(mask, connectivity=connectivity))
    assert np.array_equal(objects(mask.astype(np.uint8) * 255), objects(mask))


def test_objects_meet_at_corners_or_not():
    diagonal = np.eye(3, dtype=bool)
    assert objects(diagonal).max() == 1
    assert objects(diagonal, corners=False).max() == 3


# --- speed -----------------------------------------------------------------------------------


def test_thousands_of_objects_are_fast():
    row = np.arange(2048) // 28
    truth = row[:, None] * 74 + row + 1  # 5476 squares
    start = time.perf_counter()
    scores = instance_scores(np.roll(truth, 3, 1), truth)
    match(np.roll(truth, 14, 1), truth, threshold=0.1)
    assert time.perf_counter() - start < 3  # measured 0.2 s; a loop over objects takes minutes
    assert scores["objects_true"] == 5476
