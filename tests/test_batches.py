"""Batches of patches: aligned, as often foreground as asked, and the same after a restore."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from unetkit.augment import NOTHING, AugmentConfig, sample_field, warp
from unetkit.data import Normalization, Sample
from unetkit.data.batches import Memory, Patches, Wanted, copied, prepared_bytes, whole
from unetkit.data.prepared import prepare
from unetkit.errors import InputError
from unetkit.targets import border_weights, distances, label_objects, part_touching, skeleton

AS_IT_IS = Normalization(method="none")


def sample(labels, image=None, *, name="a", fov=None, instances=None):
    labels = np.asarray(labels, np.int16)
    image = labels[None].astype(np.float32) if image is None else np.asarray(image, np.float32)
    return Sample(
        id=name, image=image, labels=labels, instances=instances,
        fov=np.ones(labels.shape, bool) if fov is None else fov, observer=None,
        spacing=(1.0,) * labels.ndim, path=Path(f"{name}.png"),
    )  # fmt: skip


def discs(size=64, count=6, seed=0):
    chance, grid = np.random.default_rng(seed), np.indices((size, size))
    labels = np.zeros((size, size), np.int16)
    for _ in range(count):
        labels[((grid - chance.uniform(4, size - 4, (2, 1, 1))) ** 2).sum(0) < 20] = 1
    return labels


def patches(samples, *, patch=(16, 16), core=None, batch=4, foreground=0.5, augment=NOTHING,
            wanted=None, seed=0, normalization=AS_IT_IS, **more):  # fmt: skip
    return Patches(
        samples, normalization, patch=patch, core=core or patch, batch=batch,
        foreground=foreground, augment=augment, wanted=wanted, seed=seed, **more,
    )  # fmt: skip


def coordinates(*shape):
    """Give an image whose channels hold where each pixel lies, so that a patch tells its place."""
    return np.indices(shape).astype(np.float32)


def test_without_augmentation_a_patch_is_a_crop_of_the_image():
    """Where it lies between pixels, it is that crop interpolated: a ramp stays a ramp."""
    source = patches([sample(discs(40), coordinates(40, 40))], batch=64)
    images = source.draw().images
    assert images.shape == (64, 2, 16, 16)
    for y, x in images:
        assert torch.allclose(y, y[:1, :1] + torch.arange(16.0)[:, None], atol=1e-3)
        assert torch.allclose(x, x[:1, :1] + torch.arange(16.0), atol=1e-3)
    assert images.min() >= -1e-3
    assert images.max() <= 39 + 1e-3
    corners = images[:, :, 0, 0]
    assert corners.amin(0).max() < 6  # they lie everywhere, not in the middle only
    assert corners.amax(0).min() > 18


BENT = NOTHING.model_copy(update={"elastic": 4.0, "scale": 0.3, "rotate": 180.0, "flip": True})


@pytest.mark.parametrize("augment", [NOTHING, BENT])
def test_labels_stay_with_their_pixels(augment):
    """The image is its own mask; the nearest of four pixels has at least a quarter of the say."""
    batch = patches([sample(discs())], batch=32, augment=augment).draw()
    image, labels = batch.images[:, 0], batch.labels
    assert labels.dtype == torch.int64
    sure = (image < 0.249) | (image > 0.751)
    assert sure.float().mean() > 0.8
    assert (labels[sure] == (image[sure] > 0.5)).all()
    assert 0.05 < labels.float().mean() < 0.6


def test_the_labels_are_those_of_the_valid_core():
    at = coordinates(64, 64)
    labels = (at[0].astype(int) * 64 + at[1].astype(int)).astype(np.int16)
    batch = patches([sample(labels, at)], patch=(28, 32), core=(8, 12), batch=16).draw()
    assert batch.labels.shape == (16, 8, 12)
    inner = batch.images[:, :, 10:18, 10:22]
    assert torch.allclose(batch.labels.div(64, rounding_mode="floor").float(), inner[:, 0],
                          atol=0.51)  # fmt: skip
    assert torch.allclose((batch.labels % 64).float(), inner[:, 1], atol=0.51)


@pytest.mark.parametrize("augment", [NOTHING, AugmentConfig()])
def test_a_restored_source_goes_on_as_if_nothing_had_been(augment):
    cases = [sample(discs(seed=k), name=str(k)) for k in range(3)]
    one = patches(cases, augment=augment)
    for _ in range(2):
        one.draw()
    state = one.state()
    expected = [one.draw() for _ in range(4)]
    other = patches(cases, augment=augment)  # as the resumed run makes it: of the same seed
    other.draw()
    other.restore(state)
    for batch in expected:
        again = other.draw()
        assert torch.equal(again.images, batch.images)
        assert torch.equal(again.labels, batch.labels)
    assert torch.equal(other.state(), one.state())
    fresh = patches(cases, augment=augment, seed=7).draw()
    assert not torch.equal(fresh.images, patches(cases, augment=augment).draw().images)


def test_the_state_is_a_tensor_of_bytes_that_later_draws_leave_alone():
    source = patches([sample(discs())])
    state = source.state()
    assert state.dtype == torch.uint8
    copy = state.clone()
    source.draw()
    assert torch.equal(state, copy)
    source.restore(state)
    source.draw()
    assert torch.equal(state, copy)


@pytest.mark.parametrize("share", [0, 0.25, 0.5, 1])
def test_the_share_of_foreground_patches_is_about_as_asked(share):
    """The foreground is one far corner: a patch either is near it or is not."""
    labels = np.zeros((400, 400), np.int16)
    labels[380:, 380:] = 1
    source = patches([sample(labels)], batch=400, foreground=share)
    held = (source.draw().labels == 1).flatten(1).any(1).float().mean()
    by_chance = 0.01  # a centre drawn anywhere hits the corner's surroundings this seldom
    assert float(held) == pytest.approx(share + (1 - share) * by_chance, abs=0.08)


def test_patches_lie_in_the_field_of_view_and_not_on_ignored_pixels():
    fov = np.zeros((400, 400), bool)
    fov[:200, :200] = True
    labels = discs(400, 200)
    labels[:200, :100] = -1
    batch = patches([sample(labels, coordinates(400, 400), fov=fov)], batch=200).draw()
    centre = batch.images[:, :, 7:9, 7:9].mean((2, 3))
    room = 16 / 4 + 1  # a patch is shifted by up to a quarter of its size about its pixel
    assert centre[:, 0].max() <= 200 + room
    assert centre[:, 1].min() >= 100 - room
    assert centre[:, 1].max() <= 200 + room


def test_ignored_pixels_stay_ignored():
    labels = discs()
    labels[:, 32:] = -1
    batch = patches([sample(labels, coordinates(64, 64))], batch=32).draw()
    x = batch.images[:, 1]
    assert (batch.labels[x > 32] == -1).all()
    assert (batch.labels[x < 31] >= 0).all()
    nothing = np.full((64, 64), -1)
    middle = patches([sample(nothing, coordinates(64, 64))], batch=4).draw()
    assert (middle.labels == -1).all()
    assert torch.allclose(middle.images.mean((2, 3)), torch.tensor(31.5), atol=1e-3)


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_every_case_has_its_turn(batch):
    cases = [sample(np.full((20, 20), k), name=str(k)) for k in range(5)]
    source = patches(cases, batch=batch)
    drawn = [int(v) for _ in range(15) for v in source.draw().labels[:, 0, 0]]
    rounds = [drawn[k : k + 5] for k in range(0, len(drawn) - 4, 5)]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1


@pytest.mark.parametrize("size", [(5, 7), (1, 30), (16, 16), (17, 3)])
def test_an_image_smaller_than_the_patch_is_continued_by_mirroring(size):
    at = coordinates(*size)
    batch = patches([sample(np.ones(size), at)], batch=8, augment=AugmentConfig(noise=0)).draw()
    assert batch.images.shape == (8, 2, 16, 16)
    assert torch.isfinite(batch.images).all()
    assert (batch.labels == 1).all()
    plain = patches([sample(np.ones(size), at)], batch=8).draw().images
    for axis, n in enumerate(size):
        assert plain[:, axis].min() >= -1e-3
        assert plain[:, axis].max() <= n - 1 + 1e-3
        steps = plain[:, axis].diff(dim=axis + 1).abs()
        assert steps.max() <= 1 + 1e-3  # mirrored, not wrapped around or repeated from afar


def test_weights_skeleton_and_distance_go_with_the_labels():
    labels = np.zeros((40, 40), np.int16)
    labels[5:15, 5:35] = 1
    labels[18:35, 5:35] = 2
    wanted = Wanted(border=(10.0, 5.0), tube=2, distance=2)
    case = sample(labels)
    batch = patches([case], batch=3, wanted=wanted).draw()
    assert batch.weights.shape == batch.skeleton.shape == (3, 16, 16)
    assert batch.distance.shape == (3, 2, 16, 16)
    for n in range(3):
        truth = batch.labels[n].numpy()
        assert np.array_equal(batch.skeleton[n].numpy(), skeleton(truth, 2))
        for k in (1, 2):
            assert np.array_equal(batch.distance[n, k - 1].numpy(), distances(truth == k))
    one = whole(case, AS_IT_IS, wanted).batch
    assert np.array_equal(one.images[0].numpy(), case.image)
    assert np.array_equal(one.labels[0].numpy(), labels)
    assert np.array_equal(one.weights[0].numpy(), border_weights(labels, 10.0, 5.0))
    assert one.weights.max() > 5  # the gap between the two is narrow
    assert np.array_equal(one.skeleton[0].numpy(), skeleton(labels, 2))
    assert one.distance.shape == (1, 2, 40, 40)
    bare = patches([case]).draw()
    assert (bare.weights, bare.skeleton, bare.distance) == (None, None, None)


def test_the_weight_map_lies_where_the_labels_say():
    """Weights of the core of a patch are the image's own, at the place the image channel tells."""
    labels = discs(64, 12)
    at = coordinates(64, 64)
    map_ = border_weights(label_objects(labels), 10.0, 5.0)
    batch = patches([sample(labels, at)], patch=(24, 24), core=(8, 8), batch=16,
                    wanted=Wanted(border=(10.0, 5.0))).draw()  # fmt: skip
    assert batch.weights.shape == (16, 8, 8)
    y, x = batch.images[:, 0, 8:16, 8:16], batch.images[:, 1, 8:16, 8:16]
    low, high = (y.floor().long(), x.floor().long()), (y.ceil().long(), x.ceil().long())
    around = torch.stack([
        torch.from_numpy(map_)[a[0].clamp(0, 63), b[1].clamp(0, 63)]
        for a in (low, high) for b in (low, high)
    ])  # fmt: skip
    assert (batch.weights >= around.amin(0) - 1e-2).all()
    assert (batch.weights <= around.amax(0) + 1e-2).all()
    assert batch.weights.std() > 0.1


def test_touching_objects_are_parted_where_border_weights_are_wanted():
    instances = np.zeros((20, 20), np.int32)
    instances[4:16, 4:10], instances[4:16, 10:16] = 1, 2
    case = sample(instances > 0, instances=instances)
    judged = whole(case, AS_IT_IS, Wanted(border=(10.0, 5.0)))
    assert np.array_equal(judged.labels, case.labels)  # the gap is for the loss, not for the score
    apart = judged.batch
    assert np.array_equal(apart.labels[0].numpy() > 0, part_touching(instances) > 0)
    assert (apart.labels[0, 4:16, 9:11] == 0).all()
    assert apart.weights[0, 8, 9] > 5
    assert (whole(case, AS_IT_IS, Wanted()).batch.labels[0].numpy() == (instances > 0)).all()
    drawn = patches([case], patch=(20, 20), batch=1, wanted=Wanted(border=(10.0, 5.0))).draw()
    assert (drawn.labels == 0).sum() > (apart.labels == 0).sum() - 30
    assert np.array_equal(case.labels, instances > 0)  # the user's sample is as it was


def test_the_image_is_normalised_once():
    image = np.random.default_rng(0).normal(50, 20, (2, 64, 64)).astype(np.float32)
    case = sample(discs(), image)
    one = whole(case, Normalization(method="image"), Wanted()).batch.images[0]
    assert torch.allclose(one.mean((1, 2)), torch.zeros(2), atol=1e-4)
    assert torch.allclose(one.std((1, 2)), torch.ones(2), atol=1e-3)
    assert np.array_equal(case.image, image)


def test_three_dimensions():
    labels = np.zeros((12, 30, 30), np.int16)
    labels[4:8, 10:20, 10:20] = 1
    batch = patches([sample(labels, coordinates(12, 30, 30))], patch=(8, 16, 16), core=(4, 8, 8),
                    batch=4, augment=AugmentConfig(rotate=0, scale=0, elastic=0, flip=False),
                    wanted=Wanted(border=(10.0, 2.0), tube=1, distance=1)).draw()  # fmt: skip
    assert batch.images.shape == (4, 3, 8, 16, 16)
    assert batch.labels.shape == batch.weights.shape == batch.skeleton.shape == (4, 4, 8, 8)
    assert batch.distance.shape == (4, 1, 4, 8, 8)
    assert batch.labels.max() == 1


# --------------------------------------------------------------------- what memory may not change


class Slow:
    """Cases that take a while to decode, some longer than others, and are new each time."""

    def __init__(self, cases, seed=0, bad=()):
        self.cases, self.bad, self.decoded = cases, set(bad), []
        self._chance = np.random.default_rng(seed)

    def __len__(self):
        return len(self.cases)

    def __getitem__(self, index):
        time.sleep(0.004 * float(self._chance.random()))
        self.decoded.append(index)
        if index in self.bad:
            raise InputError("is torn", where=f"{index}.png")
        return replace(self.cases[index], image=self.cases[index].image.copy())


SEVERAL = [sample(discs(40 + 5 * k, seed=k), name=str(k)) for k in range(7)]
ALL_TARGETS = Wanted(border=(10.0, 5.0), tube=2, distance=1)


def same(one, other):
    parts = ("images", "labels", "weights", "skeleton", "distance")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in parts)


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("limit", [1, 60_000, 1e9])
def test_what_is_drawn_depends_on_neither_memory_nor_threads(limit, workers):
    form = {"augment": AugmentConfig(), "wanted": ALL_TARGETS, "batch": 3}
    expected = patches(SEVERAL, **form)
    slow = Slow(SEVERAL, seed=workers)
    with Memory(limit, workers=workers) as memory:
        source = patches(slow, memory=memory, **form)
        for _ in range(8):
            assert same(source.draw(), expected.draw())
        assert torch.equal(source.state(), expected.state())
    if limit == 1e9:
        assert sorted(slow.decoded) == list(range(7))
    elif limit == 1:
        assert len(slow.decoded) >= 24


def test_a_restored_source_need_not_have_the_memory_it_had():
    form = {"augment": AugmentConfig(), "wanted": ALL_TARGETS, "batch": 2}
    first = patches(SEVERAL, **form)
    for _ in range(5):
        first.draw()
    with Memory(1, workers=2) as memory:
        second = patches(Slow(SEVERAL), memory=memory, **form)
        second.restore(first.state())
        for _ in range(5):
            assert same(second.draw(), first.draw())


def test_the_positions_of_a_case_are_its_own():
    """They do not depend on what else is in the set, or on which case was prepared before."""
    alone = prepare(SEVERAL[2], AS_IT_IS, Wanted(), seed=5)
    again = prepare(SEVERAL[2], AS_IT_IS, Wanted(), seed=5)
    other = prepare(SEVERAL[2], AS_IT_IS, Wanted(), seed=6)
    assert torch.equal(alone.foreground, again.foreground)
    assert not torch.equal(alone.foreground, other.foreground)
    labels = SEVERAL[2].labels.ravel()
    assert (labels[alone.foreground.numpy()] > 0).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_case_that_cannot_be_decoded_gives_its_turn_to_the_next(workers):
    flat = [sample(np.full((20, 20), k), name=str(k)) for k in range(6)]
    told = []
    with Memory(1, workers=workers) as memory:
        source = patches(Slow(flat, bad=(1, 4)), batch=1, memory=memory,
                         on_bad=lambda index, error: told.append((index, error.what)))  # fmt: skip
        drawn = [int(source.draw().labels[0, 0, 0]) for _ in range(12)]
    assert sorted(told) == [(1, "is torn"), (4, "is torn")]
    assert all(sorted(drawn[k : k + 4]) == [0, 2, 3, 5] for k in (0, 4, 8))
    sound = patches(flat, batch=1)
    order = [int(sound.draw().labels[0, 0, 0]) for _ in range(18)]
    assert drawn == [k for k in order if k not in (1, 4)]
    assert source.seen() == [0, 2, 3, 5]
    # As a resumed run makes it: it knows them, and does not ask again.
    known = Slow(flat, bad=(1, 4))
    resumed = patches(known, batch=1, bad=(1, 4))
    assert [int(resumed.draw().labels[0, 0, 0]) for _ in range(12)] == drawn
    assert {1, 4}.isdisjoint(known.decoded)


def test_a_case_that_cannot_be_decoded_is_an_error_unless_it_may_be_left_out():
    with pytest.raises(InputError, match=r"2\.png: is torn"):
        patches(Slow(SEVERAL, bad=(2,)), batch=7).draw()
    told = []
    with pytest.raises(InputError, match="is torn"):
        patches(Slow(SEVERAL, bad=range(7)), on_bad=lambda *one: told.append(one)).draw()
    assert len(told) == 7


def test_the_cases_that_had_a_turn_are_known():
    source = patches(SEVERAL, batch=3)
    assert source.seen() == []
    source.draw()
    assert len(source.seen()) == 3
    for _ in range(2):
        source.draw()
    assert source.seen() == list(range(7))


@pytest.mark.parametrize(("space", "patch"), [
    ((64, 50), (32, 40)), ((5, 90), (16, 16)), ((1, 7), (16, 16)), ((9, 20, 30), (8, 16, 16)),
])  # fmt: skip
def test_labels_are_copied_as_warp_copies_them(space, patch):
    chance = torch.Generator().manual_seed(0)
    labels = torch.randint(-1, 300, space, generator=chance).to(torch.int16)
    for _ in range(10):
        centre = torch.tensor(space) * torch.rand(len(space), generator=chance)
        field = sample_field(AugmentConfig(), patch, chance)
        where = field + centre.view(-1, *[1] * len(space))
        mine = copied(labels, where)
        theirs = warp(labels.float()[None], where, "nearest")[0]
        assert mine.dtype == torch.int16
        # Where two pixels are equally near, to rounding, either may be taken.
        assert (mine == theirs).float().mean() > 0.999


def test_what_a_case_takes_is_known_before_it_is_read():
    for shape, channels, wanted in (
        ((100, 200), 3, Wanted()), ((300, 400), 1, ALL_TARGETS), ((20, 30, 40), 2, Wanted()),
    ):  # fmt: skip
        labels = np.zeros(shape, np.int16)
        labels[tuple(slice(n // 4, None) for n in shape)] = 1
        case = sample(labels, np.zeros((channels, *shape)))
        one = prepare(case, AS_IT_IS, wanted, seed=0)
        stated = prepared_bytes(shape, channels, wanted)
        assert stated * 0.85 <= one.nbytes <= stated
        assert whole(case, AS_IT_IS, Wanted()).nbytes <= stated * 1.6


def test_many_classes_need_more_bytes_than_few():
    labels = np.full((20, 20), 126, np.int16)
    labels[0] = -1
    small = prepare(sample(labels), AS_IT_IS, Wanted(), seed=0).hard
    large = prepare(sample(labels + 2), AS_IT_IS, Wanted(), seed=0).hard
    assert (small.dtype, large.dtype) == (torch.int8, torch.int16)
    assert np.array_equal(small.numpy(), labels)
    assert np.array_equal(large.numpy(), labels + 2)


def test_pixels_without_a_measured_number_become_average_ones():
    image = np.random.default_rng(0).normal(50, 20, (1, 64, 64)).astype(np.float32)
    image[:, 20:40] = np.nan
    labels = discs()
    labels[20:40] = -1
    case = sample(labels, image)
    normal = Normalization(method="image")
    drawn = patches([case], normalization=normal, batch=32).draw()
    assert torch.isfinite(drawn.images).all()
    one = whole(case, normal, Wanted()).batch
    assert (one.images[0, :, 20:40] == 0).all()
    assert abs(float(one.images[0, :, :20].mean())) < 0.1
