import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.measure import label
from skimage.metrics import adapted_rand_error, variation_of_information
from skimage.segmentation import watershed

from unetkit.errors import InputError
from unetkit.metrics.em import (
    LEVELS,
    after_thinning,
    minimum_over_thresholds,
    pixel_error,
    rand_error,
    v_info,
    v_rand,
    warp,
    warping_error,
)
from unetkit.metrics.instances import objects
from unetkit.metrics.overlap import counts, scores

LABELS = hnp.arrays(np.int32, (4, 5), elements=st.sampled_from([0, 0, 1, 2, 9]))
TRUTHS = hnp.arrays(np.int32, (4, 5), elements=st.sampled_from([-1, 0, 0, 1, 2, 9]))
MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))
CROSS, SQUARE = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]]), np.ones((3, 3))


def pair(shape, seed=0):
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 6, [-(-n // 5) for n in shape])
    truth = np.kron(coarse, np.ones([5] * len(shape), int))[tuple(map(slice, shape))]
    noise = random.random(shape) < 0.1
    return np.where(noise, random.integers(0, 5, shape), np.roll(truth, 1, -1)), truth


def neurites(size=128, count=30, width=2.0, seed=0):
    """Give the inside of cells that fill the image, and a bent copy of it."""
    random = np.random.default_rng(seed)
    seeds = np.zeros((size, size), int)
    seeds[tuple(random.integers(0, size, (2, count)))] = np.arange(1, count + 1)
    ground = ndimage.gaussian_filter(random.random((size, size)), 4)
    cells = watershed(ground, seeds, watershed_line=True)
    truth = ndimage.distance_transform_edt(cells > 0) > width
    push = [ndimage.gaussian_filter(random.normal(size=truth.shape), 10) * 25 for _ in "yx"]
    where = np.indices(truth.shape) + np.stack(push)
    return ndimage.map_coordinates(truth * 1.0, where, order=1, mode="nearest") > 0.5, truth


def segments(prediction, truth, foreground, border, valid):
    """List (predicted, true) of each pixel that counts; a border pixel gets a name of its own."""
    kept = []
    for n, (p, t, v) in enumerate(zip(prediction.flat, truth.flat, valid.flat, strict=True)):
        if v and t >= 0 and (t > 0 or not foreground):
            kept.append((-1 - n if border and p == 0 else int(p), int(t)))
    return kept


def rand_by_pairs(kept):
    """Draw two pixels freely: how often are they together?"""
    both = p = t = 0
    for (p1, t1), (p2, t2) in itertools.product(kept, repeat=2):
        both, p, t = both + (p1 == p2 and t1 == t2), p + (p1 == p2), t + (t1 == t2)
    return 2 * both / (p + t), both / t, both / p


def info_by_definition(kept):
    n = len(kept)

    def entropy(names):
        shares = [names.count(name) / n for name in set(names)]
        return -sum(share * math.log2(share) for share in shares)

    s, t = entropy([p for p, _ in kept]), entropy([t for _, t in kept])
    shared = s + t - entropy(kept)
    return 2 * shared / (s + t) if s + t else 1, shared / s if s else 1, shared / t if t else 1


# --- Rand and information --------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(LABELS, TRUTHS, hnp.arrays(bool, (4, 5)), st.booleans(), st.booleans())
def test_scores_equal_their_definitions(prediction, truth, valid, foreground, border):
    kept = segments(prediction, truth, foreground, border, valid)
    chosen = {"foreground": foreground, "border": border, "valid": valid}
    got = v_rand(prediction, truth, **chosen), v_info(prediction, truth, **chosen)
    if not kept:
        assert all(map(math.isnan, [*got[0], *got[1], rand_error(prediction, truth, **chosen)]))
        return
    assert got[0] == pytest.approx(rand_by_pairs(kept))
    assert got[1] == pytest.approx(info_by_definition(kept), abs=1e-9)
    assert rand_error(prediction, truth, **chosen) == 1 - got[0][0]
    assert all(0 <= one <= 1 for one in (*got[0], *got[1]))
    assert {type(one) for one in (*got[0], *got[1])} == {float}


@pytest.mark.parametrize("shape", [(30, 41), (6, 12, 13)])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("foreground", [True, False])
def test_scores_equal_scikit_image(shape, seed, foreground):
    prediction, truth = pair(shape, seed)
    ignored = (0,) if foreground else ()
    _, recall, precision = adapted_rand_error(truth, prediction, ignore_labels=ignored)
    # scikit-image draws two different pixels, the paper any two. It calls "precision" what it
    # divides by the pairs of the truth.
    kept = truth > 0 if foreground else truth >= 0
    n = kept.sum()
    t, s = (np.square(np.bincount(one[kept])).sum() for one in (truth, prediction))
    got = v_rand(prediction, truth, foreground=foreground, border=False)
    assert got[1] == pytest.approx((recall * (t - n) + n) / t)
    assert got[2] == pytest.approx((precision * (s - n) + n) / s)
    assert got[0] == pytest.approx(2 / (1 / got[1] + 1 / got[2]))

    split, merge = variation_of_information(truth, prediction, ignore_labels=ignored)
    shares = [np.bincount(one[kept]) / n for one in (prediction, truth)]
    h_s, h_t = (-sum(x * math.log2(x) for x in one if x) for one in shares)
    got = v_info(prediction, truth, foreground=foreground, border=False)
    assert got[1] == pytest.approx(1 - split / h_s)
    assert got[2] == pytest.approx(1 - merge / h_t)
    assert got[0] == pytest.approx(1 - (split + merge) / (h_s + h_t))


def test_rand_error_approaches_scikit_image_as_objects_grow():
    prediction, truth = pair((30, 41))
    large = [np.kron(one, np.ones((8, 8), int)) for one in (prediction, truth)]
    expected = adapted_rand_error(large[1], large[0])[0]
    assert rand_error(*large, border=False) == pytest.approx(expected, abs=1e-4)
    assert rand_error(prediction, truth, border=False) == rand_error(*large, border=False)


def test_splits_and_merges_are_told_apart():
    truth = np.repeat([[1, 2, 3, 4]], 4, 0)
    merged, split = np.repeat([[1, 1, 3, 3]], 4, 0), np.arange(16).reshape(4, 4) + 1
    assert v_rand(truth, truth) == (1, 1, 1)
    assert v_info(truth, truth) == pytest.approx((1, 1, 1))
    assert v_rand(merged, truth) == (pytest.approx(2 / 3), 1, 0.5)
    assert v_rand(split, truth) == (pytest.approx(0.4), 0.25, 1)
    assert v_info(merged, truth) == pytest.approx((2 / 3, 1, 0.5))
    assert v_info(split, truth) == pytest.approx((2 / 3, 0.5, 1))
    border = np.zeros_like(truth)  # nothing but border: each pixel on its own
    assert v_rand(border, truth) == v_rand(split, truth)
    assert v_info(border, truth) == pytest.approx(v_info(split, truth))
    one = np.ones_like(truth)
    assert v_info(border, truth, border=False) == v_info(one, truth) == (0, 1, 0)
    assert v_info(truth, one) == (0, 0, 1)
    assert v_info(one, one) == v_rand(one, one) == (1, 1, 1)


def test_a_prediction_on_the_border_of_the_truth_costs_nothing():
    truth = np.array([[1, 1, 0, 0, 2, 2]])
    for prediction in ([[1, 1, 1, 2, 2, 2]], [[1, 1, 0, 7, 2, 2]], [[2, 2, 1, 1, 3, 3]]):
        assert v_rand(np.array(prediction), truth) == (1, 1, 1)
        assert v_info(np.array(prediction), truth) == pytest.approx((1, 1, 1))
    assert v_rand(np.array([[1, 1, 1, 2, 2, 2]]), truth, foreground=False)[0] < 1


def test_negative_truth_is_ignored():
    prediction, truth = pair((30, 41))
    valid = np.random.default_rng(1).random(truth.shape) < 0.5
    hidden = np.where(valid, truth, -1)
    for foreground, border in itertools.product((True, False), repeat=2):
        chosen = {"foreground": foreground, "border": border}
        expected = v_rand(prediction, truth, valid=valid, **chosen)
        assert v_rand(prediction, hidden, **chosen) == expected
        assert v_info(prediction, hidden, **chosen) == v_info(
            prediction, truth, valid=valid, **chosen
        )
    small = prediction.astype(np.uint8), truth.astype(np.uint8) + 250  # 255 + 1 does not wrap
    assert v_rand(*small, foreground=False) == v_rand(prediction, truth, foreground=False)


# --- thinning --------------------------------------------------------------------------------


def test_thinning_leaves_one_pixel_in_the_middle():
    for width, places in ((1, [10]), (2, [10, 11]), (5, [12]), (8, [13, 14])):
        inside = np.ones((12, 30), bool)
        inside[:, 10 : 10 + width] = False
        labels = after_thinning(inside)
        assert labels.dtype == np.int32
        rows, columns = np.nonzero(labels == 0)
        assert rows.tolist() == list(range(12))  # one in each row
        assert set(columns) <= set(places)
        assert np.unique(labels).tolist() == [0, 1, 2]


def test_border_width_does_not_matter_after_thinning():
    truth = np.ones((40, 40), bool)
    truth[:, 19:22] = truth[19:22] = False
    wide = ~ndimage.binary_dilation(~truth, SQUARE, 4)
    labels = objects(truth, corners=False)
    assert v_rand(objects(wide, corners=False), labels)[0] < 0.7
    assert v_rand(after_thinning(wide), labels) == v_rand(after_thinning(truth), labels)
    assert v_rand(after_thinning(wide), labels)[0] == 1
    gap = wide.copy()
    gap[10, :] = True
    assert v_rand(after_thinning(gap), labels)[2] < 0.8  # a merge stays one


@pytest.mark.parametrize("seed", range(3))
def test_thinned_labels_keep_the_pieces_apart(seed):
    inside, _ = neurites(seed=seed)
    inside[::7] |= np.random.default_rng(seed).random(inside[::7].shape) < 0.1
    labels, pieces = after_thinning(inside), label(inside, connectivity=1)
    assert np.array_equal(labels[inside], pieces[inside])
    for axis in (0, 1):
        a, b = np.moveaxis(labels, axis, 0)[:-1], np.moveaxis(labels, axis, 0)[1:]
        assert ((a == b) | (a == 0) | (b == 0)).all()
    lines = ndimage.binary_opening(labels == 0, np.ones((3, 3)))
    assert not lines.any()
    assert (labels == 0).sum() < (~inside).sum() / 3


def test_thinning_at_the_ends():
    spur = np.ones((9, 9), bool)
    spur[4, :6] = False
    assert (after_thinning(spur) == 1).all()  # it separates nothing
    assert (after_thinning(np.ones((5, 5), bool)) == 1).all()
    assert (after_thinning(np.zeros((5, 5), bool)) == 0).all()
    diagonal = ~np.eye(7, dtype=bool)  # corners do not connect insides
    assert np.unique(after_thinning(diagonal)).tolist() == [0, 1, 2]
    rooms = np.ones((9, 6, 6), np.uint8) * 255
    rooms[3:6] = 0
    assert np.array_equal(after_thinning(rooms)[:, 0, 0], [1, 1, 1, 1, 0, 2, 2, 2, 2])


# --- pixels and warping ----------------------------------------------------------------------


def test_pixel_error_is_the_share_that_differs():
    random = np.random.default_rng(0)
    prediction, truth, valid = random.random((3, 20, 30)) < 0.5
    assert pixel_error(prediction, truth) == np.mean(prediction != truth)
    assert pixel_error(prediction, truth, valid) == np.mean((prediction != truth)[valid])
    assert pixel_error(prediction, truth * 255) == scores(counts(prediction, truth))["pixel_error"]
    assert math.isnan(pixel_error(prediction, truth, np.zeros_like(valid)))


def pieces(inside):
    """Count pieces of inside (4-connected) and of membrane (8-connected), beyond lies membrane."""
    inside = np.pad(inside, 1)
    return ndimage.label(inside, CROSS)[1], ndimage.label(~inside, SQUARE)[1]


def simple(patch):
    """Tell by counting pieces of the 3 x 3 patch whether its middle is simple.

    4-connected pieces of inside that touch the middle at a face, 8-connected ones of membrane: one
    of each.
    """
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    inside = ndimage.label(patch & ring, CROSS)[0]
    membrane = ndimage.label(~patch & ring, SQUARE)[1]
    return len(set(inside[[0, 1, 1, 2], [1, 0, 2, 1]]) - {0}) == 1 and membrane == 1


def test_exactly_simple_points_are_flipped():
    # All 512 patches in an image of their own: the middle differs, so it is flipped or not.
    for code in range(512):
        patch = np.array([code >> k & 1 for k in range(9)], bool).reshape(3, 3)
        wanted = patch.copy()
        wanted[1, 1] ^= True
        assert np.array_equal(warp(wanted, patch), wanted if simple(patch) else patch)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_warping_keeps_topology_until_no_simple_point_differs(data):
    truth = data.draw(MASKS)
    prediction, valid = (data.draw(hnp.arrays(bool, truth.shape)) for _ in range(2))
    for allowed in (None, valid):
        warped = warp(prediction, truth, valid=allowed)
        assert pieces(warped) == pieces(truth)
        changed = warped != truth
        assert (warped == prediction)[changed].all()
        assert allowed is None or not changed[~allowed].any()
        wide = np.pad(warped, 1)
        for y, x in np.argwhere(warped != prediction):
            stuck = not simple(wide[y : y + 3, x : x + 3])
            assert stuck or (allowed is not None and not allowed[y, x])
        counted = np.ones_like(truth) if allowed is None else allowed
        error = warping_error(prediction, truth, valid=allowed)
        if counted.any():
            assert error == pytest.approx((warped != prediction)[counted].mean())
            assert error <= pixel_error(prediction, truth, allowed)
        else:
            assert math.isnan(error)


@settings(max_examples=60, deadline=None)
@given(MASKS, st.integers(0, 2**32 - 1))
def test_a_bent_copy_has_no_error(truth, seed):
    """Wherever simple points only are taken away, warping finds the way back."""
    random, bent = np.random.default_rng(seed), np.pad(truth, 1)
    for _ in range(3):
        for y, x in random.permutation(np.argwhere(bent)):
            if simple(bent[y - 1 : y + 2, x - 1 : x + 2]) and random.random() < 0.4:
                bent[y, x] = False
    bent = bent[1:-1, 1:-1]
    assert warping_error(bent, truth) == 0
    assert warping_error(truth, bent) == 0


def rooms(wall=slice(18, 22)):
    inside = np.ones((30, 40), bool)
    inside[:, wall] = False
    return inside


def test_a_shifted_or_wider_border_is_no_error():
    truth = rooms()
    for wall in (slice(20, 24), slice(15, 19), slice(10, 30), slice(19, 20), slice(16, 20)):
        assert pixel_error(rooms(wall), truth) > 0
        assert warping_error(rooms(wall), truth) == 0
    squares = []
    for side in (3, 4, 5):  # outlines one pixel wide, each inside the next
        squares.append(np.ones((20, 20), bool))
        squares[-1][10 - side : 11 + side, 10 - side : 11 + side] = False
        squares[-1][11 - side : 10 + side, 11 - side : 10 + side] = True
    assert warping_error(squares[1], squares[0]) == 0  # a step of one pixel is found ...
    stuck = warping_error(squares[2], squares[0])  # ... two are not: the lines do not touch
    assert stuck == (24 + 40 - 4) / 400  # of the old outline, corners can be cut, no more
    assert pixel_error(squares[2], squares[0]) == (24 + 40) / 400


def test_errors_of_topology_are_counted():
    truth = rooms()
    gap = truth.copy()
    gap[14:17] = True  # merges the two rooms: one line of three pixels must stay
    assert warping_error(gap, truth) == 3 / truth.size
    split = truth.copy()
    split[15:17, :18] = False
    assert warping_error(split, truth) == 2 / truth.size  # the wall grows, but may not close
    hole = truth.copy()
    hole[10:13, 5:8] = False  # membrane out of nothing cannot be warped at all
    assert warping_error(hole, truth) == pixel_error(hole, truth) == 9 / truth.size
    lost = truth.copy()
    lost[:, 22:] = False  # a room can be shrunk to its last pixel
    assert warping_error(lost, truth) == 1 / truth.size
    assert warping_error(truth, truth) == 0


def test_where_nothing_can_be_warped_the_error_is_the_pixel_error():
    empty, full = np.zeros((6, 7), bool), np.ones((6, 7), bool)
    prediction = np.random.default_rng(0).random((6, 7)) < 0.5
    assert warping_error(prediction, empty) == pixel_error(prediction, empty)
    assert warping_error(full, empty, within=3) == 1
    assert warping_error(empty, full) == 1 / 42
    inner = np.zeros((6, 7), bool)
    inner[2:4, 2:5] = True
    assert warping_error(full, inner) == 0


def test_pixels_far_from_the_true_border_stay():
    truth = rooms(slice(18, 22))
    moved = rooms(slice(18, 30))
    assert warping_error(moved, truth) == 0
    for within in (0, 1, 2.9, 3, 8):
        far = [
            # To the old wall, and to the membrane beyond the image.
            min(x - 21, y + 1, 30 - y) > within
            for y in range(30)
            for x in range(22, 30)
        ]
        # Of the old wall, all of it within 2 pixels of its border, nothing may be left.
        assert warping_error(moved, truth, within=within) == pytest.approx(sum(far) / 1200)


@pytest.mark.parametrize("seed", range(3))
def test_bent_neurites_have_hardly_an_error(seed):
    prediction, truth = neurites(seed=seed)
    error = warping_error(prediction, truth)
    assert 0 <= error < pixel_error(prediction, truth) / 20
    assert pieces(warp(prediction, truth)) == pieces(truth)


def test_warping_is_fast():
    prediction, truth = neurites(512, 300)
    start = time.perf_counter()
    warping_error(prediction, truth)
    assert time.perf_counter() - start < 2  # measured 0.07 s
    start = time.perf_counter()
    warping_error(~truth, truth)  # the worst: every pixel wants to flip
    assert time.perf_counter() - start < 8  # measured 1 s


# --- thresholds ------------------------------------------------------------------------------


def test_the_best_threshold_equals_trying_each():
    random = np.random.default_rng(0)
    truths = [neurites(48, 8, seed=seed)[1] for seed in range(3)]
    soft = [np.clip(0.25 + 0.5 * t + random.normal(0, 0.25, t.shape), 0, 1) for t in truths]
    for error in (pixel_error, warping_error):
        tried = {
            k / 10: np.mean([error(p > k / 10, t) for p, t in zip(soft, truths, strict=True)])
            for k in range(10)
        }
        least, threshold = minimum_over_thresholds(soft, truths, error)
        assert least == pytest.approx(min(tried.values()))
        assert tried[threshold] == pytest.approx(least)
        assert minimum_over_thresholds(np.stack(soft), np.stack(truths), error) == (
            least,
            threshold,
        )
    assert LEVELS == (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    assert minimum_over_thresholds(soft, truths, pixel_error, [0.99])[1] == 0.99


def test_thresholds_with_labels_and_undefined_images():
    soft = np.full((2, 6, 9), 0.8)
    soft[0, :, 4] = 0.4  # not above 0.4
    truth = np.ones((2, 6, 9), int)
    truth[0, :, 4], truth[0, :, 5:], truth[1] = 0, 2, 0

    def error(mask, labels):
        return rand_error(after_thinning(mask), labels)

    # The second slice has no foreground: it is undefined and left out.
    assert minimum_over_thresholds(soft, truth, error) == (0, 0.4)
    nothing = minimum_over_thresholds(soft[1:], truth[1:], error)
    assert all(map(math.isnan, nothing))


def test_mistakes_are_named():
    labels, mask = np.ones((4, 5), int), np.ones((4, 5), bool)
    for score in (v_rand, v_info, rand_error):
        for border in (True, False):
            with pytest.raises(InputError, match="prediction: labels are float64; number the"):
                score(labels * 0.5, labels, border=border)
            with pytest.raises(InputError, match="prediction: label -1; use 0"):
                score(-labels, labels, border=border)
        with pytest.raises(InputError, match="truth: labels are bool"):
            score(labels, mask, foreground=False)
        with pytest.raises(InputError, match=r"truth: shape \(4, 5\) differs"):
            score(labels[:2], labels)
    for score in (pixel_error, warping_error, warp):
        with pytest.raises(InputError, match="prediction: a mask of float64; threshold it first"):
            score(labels * 0.5, mask)
        with pytest.raises(InputError, match=r"truth: shape \(4, 5\) differs"):
            score(mask[:2], mask)
    with pytest.raises(InputError, match="warping: 3 axes; score a stack slice by slice"):
        warping_error(mask[None], mask[None])
    with pytest.raises(InputError, match="mask: a mask of float64; threshold it first"):
        after_thinning(labels * 0.5)
    with pytest.raises(InputError, match="inside: 4 axes; give one image"):
        after_thinning(mask[None, None])
    soft = [labels * 0.5]
    for wrong in (([], []), (soft, []), (soft, [mask], pixel_error, [])):
        with pytest.raises(InputError, match="give one of each per image, and a threshold"):
            minimum_over_thresholds(*wrong, *[pixel_error][len(wrong) - 2 :])
    for value in (255.0, -1.0, math.nan):
        with pytest.raises(InputError, match=r"probability: values .*; scale to 0 … 1"):
            minimum_over_thresholds([labels * value], [mask], pixel_error)
