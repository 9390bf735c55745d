from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage.measure import label as skimage_label
from skimage.morphology import diamond, dilation, octahedron, skeletonize

from unetkit.errors import InputError
from unetkit.targets import border_weights, distances, label_objects, part_touching, skeleton

DATA = Path(__file__).parents[1].parent / "shared" / "data"


def border_by_definition(labels, w0, sigma):
    """One distance transform of the whole image per object, in float64."""
    every = [
        ndimage.distance_transform_edt(labels != number) for number in np.unique(labels[labels > 0])
    ]
    if len(every) < 2:
        return np.zeros(labels.shape)
    first, second = np.sort(every, axis=0)[:2]
    return np.where(labels > 0, 0, w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2)))


def blobs(shape, seed, density=0.004, size=2):
    random = np.random.default_rng(seed)
    seeds = np.zeros(shape, int)
    where = random.random(shape) < density
    seeds[where] = random.permutation(where.sum()) + 1
    return ndimage.maximum_filter(seeds, size=2 * size + 1) * (random.random(shape) < 0.9)


# --- border weights


@pytest.mark.parametrize("shape", [(90, 70), (16, 40, 33), (1, 80), (80, 1), (3, 1, 60)])
@pytest.mark.parametrize(("w0", "sigma"), [(10, 5), (10, 7), (50, 1.5), (1, 40)])
def test_border_equals_one_distance_transform_per_object(shape, w0, sigma):
    labels = blobs(shape, seed=3, density=0.01 if len(shape) == 2 else 0.003)
    found = border_weights(labels, w0, sigma, balance=False) - 1
    truth = border_by_definition(labels, w0, sigma)
    assert truth.max() > 0.1 * w0 * np.exp(-((3 / sigma) ** 2) / 2) or min(shape) == 1
    np.testing.assert_allclose(found, truth, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    labels=st.integers(2, 3).flatmap(
        lambda n: arrays(np.int32, st.tuples(*[st.integers(1, 9)] * n), elements=st.integers(0, 4))
    ),
    w0=st.floats(0, 20),
    sigma=st.floats(0.2, 12),
)
def test_border_of_any_labels(labels, w0, sigma):
    found = border_weights(labels, w0, sigma, balance=False) - 1
    np.testing.assert_allclose(found, border_by_definition(labels, w0, sigma), atol=1e-5)


def test_border_in_a_gap_by_hand():
    row = border_weights(np.array([[7, 7, 0, 0, 0, 2]]), w0=10, sigma=5, balance=False)
    gap = 1 + 10 * np.exp(-16 / 50)  # d1 + d2 = 1 + 3 = 2 + 2
    np.testing.assert_allclose(row, [[1, 1, gap, gap, gap, 1]], rtol=1e-6)


def test_border_needs_two_objects_and_background():
    one = np.zeros((30, 30), int)
    one[5:9, 5:9] = 3
    touching = np.ones((4, 8), int)
    touching[:, 4:] = 2
    for labels in (one, touching, np.zeros((30, 30), int), np.ones((5, 5), int)):
        assert (border_weights(labels, balance=False) == 1).all()


@pytest.mark.parametrize(
    ("scale", "kind"),
    [(1, np.int8), (2, np.uint8), (900, np.uint16), (10**8, np.int32), (10**15, np.int64)],
)
def test_border_is_the_same_for_any_ids_and_integer_type(scale, kind):
    labels = blobs((60, 60), seed=1) % 70
    found = border_weights((labels * scale).astype(kind))
    assert found.dtype == np.float32
    known = border_by_definition(labels, 10, 5) + border_weights(labels, w0=0)
    np.testing.assert_allclose(found, known, atol=1e-5)


def test_classes_balance_to_a_mean_of_one():
    labels = np.zeros((10, 10), int)
    labels[0, :] = 1  # a tenth: 100 / (2 · 10) inside, 100 / (2 · 90) outside
    weights = border_weights(labels)
    np.testing.assert_allclose(weights[0], 5)
    np.testing.assert_allclose(weights[1:], 100 / 180, rtol=1e-6)
    assert weights.mean() == pytest.approx(1)


def test_ignored_pixels_do_not_count_in_the_balance():
    labels = np.zeros((10, 10), int)
    labels[0, :], labels[5:, :] = 1, -1
    weights = border_weights(labels)
    np.testing.assert_allclose(weights[0], 50 / 20)
    np.testing.assert_allclose(weights[1:], 50 / 80)
    assert weights[:5].mean() == pytest.approx(1)


@pytest.mark.parametrize("value", [0, 1, -1])
def test_one_class_alone_weighs_one(value):
    assert (border_weights(np.full((6, 6), value)) == 1).all()


@pytest.mark.parametrize(("w0", "sigma"), [(10, 0), (10, -1), (10, float("nan")), (-1, 5)])
def test_border_refuses_impossible_options(w0, sigma):
    with pytest.raises(InputError, match=r"^border_weights: (sigma|w0) is"):
        border_weights(np.eye(4, dtype=int), w0, sigma)


# --- objects


def test_corners_join_objects():
    assert label_objects(np.eye(5, dtype=bool)).max() == 1
    corner = np.zeros((4, 4, 4), np.uint8)
    corner[0, 0, 0] = corner[1, 1, 1] = corner[3, 3, 3] = 255
    objects = label_objects(corner)
    assert objects.dtype == np.int32
    assert objects[0, 0, 0] == objects[1, 1, 1] == 1
    assert objects[3, 3, 3] == 2


@pytest.mark.parametrize("shape", [(40, 50), (12, 15, 18)])
def test_objects_equal_scikit_image(shape):
    mask = np.random.default_rng(0).integers(-1, 3, shape) * (blobs(shape, 5, 0.02) > 0)
    np.testing.assert_array_equal(label_objects(mask), skimage_label(mask > 0))


# --- skeletons


def test_tube_of_a_wide_bar_is_five_pixels_wide():
    labels = np.zeros((31, 80), np.uint8)
    labels[5:26, 5:75] = 4
    tube = skeleton(labels)
    assert tube.dtype == np.uint8
    assert set(np.unique(tube)) == {0, 4}
    assert ((tube > 0).sum(0)[30:50] == 5).all()
    assert (skeleton(labels, radius=0) > 0).sum(0)[30:50].tolist() == [1] * 20


def test_tube_is_clipped_to_a_thin_mask():
    labels = np.zeros((9, 30), np.int64)
    labels[4, 3:27] = 1
    np.testing.assert_array_equal(skeleton(labels), labels)


def test_all_foreground_is_merged_before_thinning():
    labels = np.zeros((30, 60), np.int16)
    labels[10:15, 5:55], labels[15:19, 5:55] = 1, 2
    line = skeleton(labels, radius=0)
    merged = skeletonize(labels > 0)
    np.testing.assert_array_equal(line, merged * labels)
    tube = skeleton(labels)
    assert (tube[:, 30] == 1).sum() + (tube[:, 30] == 2).sum() == 5
    assert {1, 2} <= set(tube[:, 30])


def test_ignored_and_background_are_no_foreground():
    labels = np.full((12, 12), -1, np.int8)
    labels[6:] = 0
    assert not skeleton(labels).any()
    labels[2:5, 2:10] = 3
    tube = skeleton(labels)
    assert set(np.unique(tube)) == {0, 3}
    assert tube.dtype == np.int8


@pytest.mark.parametrize("radius", [0, 1, 2, 4])
@pytest.mark.parametrize("shape", [(64, 64), (20, 24, 28)])
def test_tube_by_its_definition(shape, radius):
    field = ndimage.gaussian_filter(np.random.default_rng(7).normal(size=shape), 2.5)
    labels = (field > 0.02).astype(np.int32) * (1 + (np.indices(shape)[0] > shape[0] // 2))
    thin = skeletonize(labels > 0).astype(bool)
    ball = (diamond if len(shape) == 2 else octahedron)(radius)
    known = dilation(thin, ball) * labels
    objects = label_objects(labels)
    kept = np.isin(objects, np.unique(objects[thin]))  # the rest is what thinning lost
    np.testing.assert_array_equal(skeleton(labels, radius)[kept], known[kept])
    assert kept.sum() > 0.9 * (labels > 0).sum()


@pytest.mark.parametrize(
    "sides", [(2, 2, 2), (4, 4, 4), (2, 2, 20), (4, 4, 20), (4, 6, 8), (10, 10, 10), (1, 1, 1)]
)
@pytest.mark.parametrize("margin", [0, 3])
def test_solid_cuboids_keep_a_skeleton(sides, margin):
    labels = np.pad(np.full(sides, 2, np.uint8), margin)
    line = skeleton(labels, radius=0)
    assert (line == 2).any()
    assert line.sum() < labels.sum() or min(sides) <= 2
    longest = int(np.argmax(sides))
    along = line.any(axis=tuple(a for a in range(3) if a != longest)).sum()
    assert along >= sides[longest] - min(sides)  # as long as the medial axis, no mere point


@settings(max_examples=40, deadline=None)
@given(
    mask=st.integers(2, 3).flatmap(
        lambda n: arrays(np.int8, st.tuples(*[st.integers(1, 8)] * n), elements=st.integers(-1, 2))
    )
)
def test_every_object_has_a_skeleton_inside_it(mask):
    tube = skeleton(mask, radius=1)
    objects = label_objects(mask)
    assert set(np.unique(objects[tube > 0])) == set(np.unique(objects)) - {0}
    assert ((tube == mask) | (tube == 0)).all()


# --- distances


def test_distance_by_hand():
    row = np.array([[0, 0, 1, 1, 1, 0]])
    found = distances(row)
    assert found.dtype == np.float32
    assert found.tolist() == [[2, 1, -1, -2, -1, 1]]
    assert distances(row, spacing=(1, 0.5)).tolist() == [[1, 0.5, -0.5, -1, -0.5, 0.5]]


@pytest.mark.parametrize(("shape", "spacing"), [((9, 11), (2.0, 0.7)), ((5, 6, 7), (3.0, 1, 1))])
def test_distance_equals_the_nearest_of_all_pairs(shape, spacing):
    mask = np.random.default_rng(2).random(shape) < 0.3
    points = np.argwhere(np.ones(shape)) * spacing
    pairs = np.linalg.norm(points[:, None] - points[None], axis=-1)
    flat = mask.ravel()
    known = np.where(flat, -pairs[:, ~flat].min(1), pairs[:, flat].min(1)).reshape(shape)
    np.testing.assert_allclose(distances(mask, spacing), known, rtol=1e-6)


@pytest.mark.parametrize("mask", [np.zeros((4, 4), int), np.ones((3, 4, 5), bool)])
def test_distance_without_a_contour_is_zero(mask):
    assert (distances(mask) == 0).all()


# --- real masks


@pytest.mark.real
@pytest.mark.skipif(not DATA.exists(), reason="the real data is not beside this checkout")
def test_real_masks():
    from skimage.io import imread

    vessels = imread(sorted((DATA / "stare" / "masks").iterdir())[0]) > 0
    tube = skeleton(vessels.astype(np.int64))
    objects = label_objects(vessels)
    assert set(np.unique(objects[tube > 0])) == set(range(1, objects.max() + 1))
    cells = imread(sorted((DATA / "dsb2018" / "masks").iterdir())[0])
    weights = border_weights(cells)
    known = border_by_definition(cells, 10, 5) + border_weights(cells, w0=0)
    np.testing.assert_allclose(weights, known, atol=1e-5)


@pytest.mark.parametrize("shape", [(20, 20), (8, 9, 10)])
def test_objects_that_touch_are_parted_and_nothing_else_changes(shape):
    labels = np.random.default_rng(0).integers(0, 3, shape).repeat(4, axis=0).repeat(4, axis=1)
    parted = part_touching(labels)
    faces = ndimage.generate_binary_structure(labels.ndim, 1)
    for one in (1, 2):
        other = 3 - one
        assert not (ndimage.binary_dilation(parted == one, faces) & (parted == other)).any()
        near = ndimage.binary_dilation(labels == other, faces)
        assert np.array_equal(parted == one, (labels == one) & ~near)
