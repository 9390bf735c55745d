import math
import tracemalloc
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics import (
    compute_average_surface_distance,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from scipy import ndimage
from scipy.spatial.distance import cdist

from unetkit.errors import InputError
from unetkit.metrics.boundary import (
    average_surface_distance,
    boundary_scores,
    hausdorff,
    surface_dice,
)

DOORS = [boundary_scores, hausdorff, average_surface_distance, surface_dice]
GRIDS = [((40, 57), None), ((40, 57), (0.5, 2.0)), ((12, 20, 17), (3.0, 1.0, 0.75))]


def blob(shape, seed, share=0.25, sigma=2.0):
    noise = np.random.default_rng(seed).standard_normal(shape)
    smooth = ndimage.gaussian_filter(noise, sigma)
    return smooth > np.quantile(smooth, 1 - share)


def pair(shape, seed):
    """Two masks that agree in part, both touching the image's border."""
    truth = blob(shape, seed)
    return truth ^ blob(shape, seed + 100, 0.1, 1.5), truth


def surface(mask):
    """Pixels with a face neighbour outside, by looking at each neighbour."""
    points = []
    for point in np.argwhere(mask):
        for axis in range(mask.ndim):
            for step in (-1, 1):
                other = point.copy()
                other[axis] += step
                inside = 0 <= other[axis] < mask.shape[axis]
                if not inside or not mask[tuple(other)]:
                    points.append(tuple(point))
    return np.array(sorted(set(points)), float).reshape(-1, mask.ndim)


def all_pairs(prediction, truth, spacing=None, tolerance=None, percentile=95):
    """The definitions, from the distances between all pairs of surface pixels."""
    sizes = np.ones(truth.ndim) if spacing is None else np.array(spacing)
    p, t = surface(prediction) * sizes, surface(truth) * sizes
    tolerance = sizes.max() if tolerance is None else tolerance
    if not len(p) and not len(t):
        return {"hd95": 0.0, "assd": 0.0, "nsd": 1.0}
    if not len(p) or not len(t):
        diagonal = np.sqrt(((truth.shape * sizes) ** 2).sum())
        return {"hd95": diagonal, "assd": diagonal, "nsd": 0.0}
    table = cdist(p, t)
    there, back = table.min(axis=1), table.min(axis=0)
    return {
        "hd95": max(np.percentile(there, percentile), np.percentile(back, percentile)),
        "assd": (there.sum() + back.sum()) / (len(p) + len(t)),
        "nsd": ((there <= tolerance + 1e-9).sum() + (back <= tolerance + 1e-9).sum())
        / (len(p) + len(t)),
    }


def monai(prediction, truth, spacing, tolerance, percentile=95):
    p, t = (torch.from_numpy(mask)[None, None] for mask in (prediction, truth))
    more = {"include_background": True, "spacing": spacing}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI 1.6 uses what it has deprecated
        return {
            "hd95": float(compute_hausdorff_distance(p, t, percentile=percentile, **more)),
            "assd": float(compute_average_surface_distance(p, t, symmetric=True, **more)),
            "nsd": float(compute_surface_dice(p, t, class_thresholds=[tolerance], **more)),
        }


@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
@pytest.mark.parametrize("seed", range(4))
def test_scores_equal_monai(shape, spacing, seed):
    prediction, truth = pair(shape, seed)
    # These sizes are exact in binary, so that a distance of exactly the tolerance is the same here
    # and in the single precision of MONAI.
    expected = monai(prediction, truth, spacing, max(spacing or (1.0,)))
    assert boundary_scores(prediction, truth, spacing=spacing) == pytest.approx(expected, abs=1e-4)
    for tolerance, percentile in [(0.0, 100), (1.7, 50), (5.0, 99)]:
        expected = monai(prediction, truth, spacing, tolerance, percentile)
        got = boundary_scores(prediction, truth, spacing=spacing, tolerance=tolerance)
        assert got["nsd"] == pytest.approx(expected["nsd"], abs=1e-6)
        greatest = hausdorff(prediction, truth, percentile=percentile, spacing=spacing)
        assert greatest == pytest.approx(expected["hd95"], abs=1e-4)
    # The scores are worth comparing: not at an end of their ranges.
    assert expected["assd"] > 0.1
    assert 0.1 < surface_dice(prediction, truth, tolerance=0) < 0.9


@pytest.mark.parametrize(("shape", "spacing"), [*GRIDS, ((25, 25), (0.1, 0.3))])
@pytest.mark.parametrize("seed", range(2))
def test_scores_equal_all_pairs(shape, spacing, seed):
    prediction, truth = pair(shape, seed)
    expected = all_pairs(prediction, truth, spacing)
    assert boundary_scores(prediction, truth, spacing=spacing) == pytest.approx(expected, abs=1e-12)


@st.composite
def cases(draw):
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, max_side=6))
    prediction, truth = (draw(hnp.arrays(bool, shape)) for _ in range(2))
    spacing = draw(st.tuples(*[st.floats(0.01, 100)] * len(shape)))
    return prediction, truth, spacing, draw(st.floats(0, 200))


@settings(max_examples=150, deadline=None)
@given(cases())
def test_small_masks_of_any_kind_equal_all_pairs(case):
    prediction, truth, spacing, tolerance = case
    got = boundary_scores(prediction, truth, spacing=spacing, tolerance=tolerance)
    expected = all_pairs(prediction, truth, spacing, tolerance)
    assert got["hd95"] == pytest.approx(expected["hd95"], rel=1e-9)
    assert got["assd"] == pytest.approx(expected["assd"], rel=1e-9)
    low = all_pairs(prediction, truth, spacing, tolerance * (1 - 1e-6) - 1e-8)["nsd"]
    high = all_pairs(prediction, truth, spacing, tolerance * (1 + 1e-6))["nsd"]
    assert low <= got["nsd"] <= high
    swapped = boundary_scores(truth, prediction, spacing=spacing, tolerance=tolerance)
    assert swapped == pytest.approx(got, rel=1e-12)
    diagonal = math.hypot(*(n * s for n, s in zip(truth.shape, spacing, strict=True)))
    assert max(got["assd"], got["hd95"]) <= diagonal * (1 + 1e-12)


@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
def test_single_doors_equal_the_common_one(shape, spacing):
    prediction, truth = pair(shape, 7)
    valid = blob(shape, 8, 0.8)
    more = {"valid": valid, "spacing": spacing}
    for tolerance in (None, 0.9):
        assert boundary_scores(prediction, truth, tolerance=tolerance, **more) == {
            "hd95": hausdorff(prediction, truth, **more),
            "assd": average_surface_distance(prediction, truth, **more),
            "nsd": surface_dice(prediction, truth, tolerance=tolerance, **more),
        }


def box(shape, low, high):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def measured(truth, prediction, spacing):
    """Surface distances by DeepMind's package, and the package."""
    package = pytest.importorskip("surface_distance")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports scipy.ndimage.filters
        return package, package.compute_surface_distances(truth, prediction, spacing)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 0.5), (0.5, 3.0)])
@pytest.mark.parametrize("seed", range(3))
def test_boxes_equal_surface_distance(spacing, seed):
    """Faces are as far apart between corners of pixels as between centres: definitions coincide."""
    random = np.random.default_rng(seed)
    shape = (40,) * len(spacing)
    truth = box(shape, *(edge + random.integers(-4, 5, len(shape)) for edge in (5, 34)))
    prediction = box(shape, *(edge + random.integers(-4, 5, len(shape)) for edge in (5, 34)))
    package, theirs = measured(truth, prediction, spacing)
    greatest = hausdorff(prediction, truth, percentile=100, spacing=spacing)
    assert greatest == pytest.approx(package.compute_robust_hausdorff(theirs, 100))
    assert greatest > 0
    for tolerance in (greatest, 100.0):
        assert package.compute_surface_dice_at_tolerance(theirs, tolerance + 1e-9) == 1
        assert surface_dice(prediction, truth, tolerance=tolerance, spacing=spacing) == 1
    assert package.compute_surface_dice_at_tolerance(theirs, greatest - 0.01) < 1
    assert surface_dice(prediction, truth, tolerance=greatest - 0.01, spacing=spacing) < 1


def test_balls_differ_from_surface_distance_by_its_thicker_surface():
    """The figures of the module's docstring."""
    grid = ((np.indices((31, 31, 31)) - 15) ** 2).sum(axis=0)
    truth, prediction = grid <= 12.3**2, grid <= 9.3**2
    package, theirs = measured(truth, prediction, (1, 1, 1))
    assert average_surface_distance(prediction, truth) == pytest.approx(2.82, abs=0.005)
    means = package.compute_average_surface_distance(theirs)
    assert np.mean(means) == pytest.approx(2.50, abs=0.005)


def test_known_answers():
    truth = np.zeros((20, 30), bool)
    truth[5:15, 5:15] = True
    moved = np.roll(truth, 3, axis=1)
    got = boundary_scores(moved, truth, spacing=(1.0, 0.2), tolerance=0.6)
    # Left and right lie 3 pixels of 0.2 off, and nothing lies further.
    assert hausdorff(moved, truth, percentile=100, spacing=(1.0, 0.2)) == pytest.approx(0.6)
    assert got["nsd"] == 1  # 0.2 · 3 is 0.6000000000000001
    point, other = np.zeros((2, 4, 6, 9), bool)
    point[0, 0, 0] = other[3, 4, 8] = True
    far = math.sqrt((3 * 2) ** 2 + 4**2 + (8 * 0.5) ** 2)
    assert boundary_scores(point, other, spacing=(2, 1, 0.5)) == pytest.approx(
        {"hd95": far, "assd": far, "nsd": 0}
    )
    for mask in (truth, point, np.ones((5, 6), bool), np.ones((1, 1), bool)):
        assert boundary_scores(mask, mask) == {"hd95": 0, "assd": 0, "nsd": 1}
        assert surface_dice(mask, mask, tolerance=0) == 1


def test_a_mask_has_a_surface_along_the_border_of_the_image():
    full, one = np.ones((9, 9), bool), np.zeros((9, 9), bool)
    one[4, 4] = True
    # From the centre 4 to the border; from the border's 32 pixels between 4 and √32.
    assert hausdorff(one, full, percentile=100) == pytest.approx(math.sqrt(32))
    distances = [4.0] + [math.hypot(y, x) for y, x in surface(full) - 4]
    assert len(distances) == 33
    assert average_surface_distance(one, full) == pytest.approx(np.mean(distances))


def test_each_direction_counts():
    """A missed object shows in one direction only, and the greater one is reported."""
    truth = np.zeros((10, 60), bool)
    truth[4:7, 4:7] = truth[4:7, 50:53] = True
    missed = truth.copy()
    missed[:, 20:] = False
    assert hausdorff(missed, truth) == hausdorff(truth, missed) > 40
    assert average_surface_distance(missed, truth) == pytest.approx(
        (44 + 45 + 46) * 8 / 3 / 24, 0.1
    )
    assert surface_dice(missed, truth) == pytest.approx(16 / 24)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (6, 8), (3, 4, 5)])
def test_empty_masks(shape):
    empty, some = np.zeros((2, *shape), bool)
    some[(0,) * len(shape)] = True
    spacing = (2.0, 0.5, 3.0)[: len(shape)]
    assert boundary_scores(empty, empty, spacing=spacing) == {"hd95": 0, "assd": 0, "nsd": 1}
    diagonal = math.dist([0] * len(shape), np.array(shape) * spacing)
    for masks in [(some, empty), (empty, some)]:
        got = boundary_scores(*masks, spacing=spacing, tolerance=2 * diagonal)
        assert got == pytest.approx({"hd95": diagonal, "assd": diagonal, "nsd": 0})


def test_valid_clears_both_masks():
    prediction, truth = pair((30, 40), 3)
    valid = np.zeros((30, 40), bool)
    valid[3:28, 5:33] = True
    cut = [np.where(valid, mask, False) for mask in (prediction, truth)]
    assert boundary_scores(prediction, truth, valid=valid) == boundary_scores(*cut)
    assert boundary_scores(prediction, truth, valid=valid) != boundary_scores(prediction, truth)
    # What is wrong outside does not count, and an empty rest still has the image's diagonal.
    assert boundary_scores(truth | ~valid, truth, valid=valid)["hd95"] == 0
    assert hausdorff(truth & ~valid, truth, valid=valid) == 50


def test_without_a_valid_pixel_nothing_is_defined():
    mask = np.ones((4, 5), bool)
    got = boundary_scores(mask, ~mask, valid=np.zeros((4, 5), bool))
    assert list(got) == ["hd95", "assd", "nsd"]
    assert all(math.isnan(value) for value in got.values())
    nothing = np.zeros((0, 5), bool)
    assert all(math.isnan(value) for value in boundary_scores(nothing, nothing).values())


def test_masks_of_0_and_255_count_as_bool_and_are_left_alone():
    prediction, truth = pair((20, 20), 1)
    as_bytes = prediction.astype(np.uint8) * 255, truth.astype(np.uint16) * 7
    before = [mask.copy() for mask in as_bytes]
    assert boundary_scores(*as_bytes) == boundary_scores(prediction, truth)
    assert all(np.array_equal(a, b) for a, b in zip(as_bytes, before, strict=True))
    assert {type(value) for value in boundary_scores(*as_bytes).values()} == {float}
    # Views of another order are the same image.
    assert boundary_scores(prediction.T, truth.T) == pytest.approx(
        boundary_scores(prediction, truth)
    )


def test_memory_follows_the_surface_not_the_volume():
    """Far apart, so that their box is the volume: a distance transform takes 46 bytes a voxel."""
    shape = (60, 250, 250)
    truth, prediction = box(shape, (5, 5, 5), (9, 9, 9)), box(shape, (50, 240, 240), (54, 244, 244))
    tracemalloc.start()
    got = average_surface_distance(prediction, truth)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert got == pytest.approx(math.hypot(45, 235, 235), abs=6)
    assert peak < 10 * truth.size


@pytest.mark.parametrize("score", DOORS)
def test_mistakes_are_named(score):
    mask = np.zeros((4, 5), bool)
    with pytest.raises(InputError, match=r"truth: shape \(4, 5\) differs from the prediction's"):
        score(np.zeros((1, 4, 5), bool), mask)
    with pytest.raises(InputError, match="valid: shape"):
        score(mask, mask, valid=mask[:2])
    with pytest.raises(InputError, match="prediction: a mask of float32; threshold it first"):
        score(mask.astype(np.float32), mask)
    for axes in (1, 4):
        with pytest.raises(InputError, match=f"boundary: {axes} axes; give one image as"):
            score(np.ones((2,) * axes, bool), np.ones((2,) * axes, bool))
    for spacing in ((1.0,), (1.0, 1.0, 1.0), 2.0):
        with pytest.raises(InputError, match=r"spacing: \d numbers for 2 axes"):
            score(mask, mask, spacing=spacing)
    for size in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match=r"spacing: \(1.0, .*\) is no size; use numbers above"):
            score(mask, mask, spacing=(1.0, size))


def test_tolerance_and_percentile_have_ranges():
    mask = np.ones((4, 5), bool)
    for tolerance in (-1.0, math.nan, math.inf):
        for score in (boundary_scores, surface_dice):
            with pytest.raises(InputError, match=r"tolerance: .* is no distance"):
                score(mask, mask, tolerance=tolerance)
    for percentile in (0, -5, 100.1, math.nan):
        with pytest.raises(InputError, match=r"percentile: .* is none; use a number like 95"):
            hausdorff(mask, mask, percentile=percentile)
