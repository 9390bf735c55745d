"""Test-time augmentation equals averaging by hand, and rotations do not depend on the tiling."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from unetkit.geometry import footprint
from unetkit.network import NetworkConfig, UNet, probabilities
from unetkit.prediction import Cost, passes, plan, predict, state_cost, stream
from unetkit.prediction.views import views

SAME = footprint([(2, 2)] * 2, padding="same")
UNEVEN = footprint([(1, 2), (2, 2)], padding="same")
TTAS = ("none", "flips", "rotations", "paper")


def network(**choices):
    torch.manual_seed(3)
    net = UNet(NetworkConfig(**{"channels": 1, "classes": 2, "width": 4, "depth": 2, **choices}))
    net.eval()
    with torch.no_grad():
        net.head[0].weight *= 8

    def forward(batch):
        with torch.inference_mode():
            return probabilities(net(torch.from_numpy(batch)), "softmax").numpy()

    return forward, net.footprint


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def collect(forward, pixels, one):
    parts = {"p": np.zeros((one.outputs, *one.space)), "s": np.zeros((1, *one.space))}

    def write(window, pieces):
        for name, piece in pieces.items():
            parts[name][(slice(None), *window)] = piece

    stream(
        forward, lambda w: pixels[(slice(None), *w)], write, one,
        finish=lambda p, s: {"p": p, **({} if s is None else {"s": s})},
    )  # fmt: skip
    return parts


# -- mirrorings and quarter turns


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_quarter_turns_equal_averaging_by_hand(padding):
    forward, print_ = network(ndim=2, padding=padding)
    image = noise(1, 40, 64)
    tile = [n + 4 for n in print_.least_tile]
    whole = print_.enclose((64, 64))
    expected = []
    for turns, flip in product(range(4), (False, True)):
        seen = np.rot90(image[:, ::-1] if flip else image, turns, (1, 2))
        one = predict(forward, np.ascontiguousarray(seen), print_, tile=whole)
        back = np.rot90(one, -turns, (1, 2))
        expected.append(back[:, ::-1] if flip else back)
    answer = predict(forward, image, print_, tile=tile, tta="rotations")
    np.testing.assert_allclose(answer, np.mean(expected, axis=0), atol=1e-5)
    assert np.abs(expected[0] - answer).max() > 1e-3  # it does change something
    assert len({view.tobytes() for view in expected}) == 8


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("shape", [(40, 46), (31, 47)])
def test_turned_tiles_are_exact_where_the_axes_are_pooled_differently(padding, shape):
    forward, print_ = network(ndim=2, padding=padding, strides=((1, 2), (2, 2)))
    assert print_.stride == (2, 4)
    image, whole = noise(1, *shape), print_.enclose(shape)
    tile = [n + 4 for n in print_.least_tile]
    one = predict(forward, image, print_, tile=whole, tta="rotations")
    tiled = predict(forward, image, print_, tile=tile, tta="rotations")
    np.testing.assert_allclose(tiled, one, atol=1e-5)


def test_volumes_are_turned_about_z_and_mirrored():
    forward, print_ = network(ndim=3, depth=1)
    image = noise(1, 6, 40, 44)
    expected = []
    for turns, flip, upside in product(range(4), (False, True), (False, True)):
        seen = np.rot90(image[:, :, ::-1] if flip else image, turns, (2, 3))
        seen = np.ascontiguousarray(seen[:, ::-1] if upside else seen)
        one = predict(forward, seen, print_, tile=(6, 44, 44))
        one = np.rot90(one[:, ::-1] if upside else one, -turns, (2, 3))
        expected.append(one[:, :, ::-1] if flip else one)
    answer = predict(forward, image, print_, tile=(6, 36, 36), tta="rotations")
    np.testing.assert_allclose(answer, np.mean(expected, axis=0), atol=1e-5)


def test_blended_windows_are_turned_too():
    forward, print_ = network(ndim=2, norm="instance", strides=((1, 2), (2, 2)))
    image = noise(1, 70, 90)
    one = predict(forward, image, print_, tile=(48, 48), tta="rotations")
    np.testing.assert_allclose(one.sum(0), 1, atol=1e-5)
    # Turning the image by half a turn only changes the order of the views, but for the lattice of
    # the windows, which starts at the other corner.
    back = predict(forward, image[:, ::-1, ::-1], print_, tile=(96, 96), tta="rotations")
    whole = predict(forward, image, print_, tile=(96, 96), tta="rotations")
    assert np.abs(whole - one).mean() < 0.05
    np.testing.assert_allclose(back.shape, whole.shape)


# -- the paper's rotations


def identity(batch):
    return batch.copy()


def test_a_constant_stays_constant_when_rotated():
    flat = np.full((1, 75, 50), 0.3, np.float32)
    answer = predict(identity, flat, SAME, tile=(64, 64), tta="paper")
    np.testing.assert_allclose(answer, 0.3, atol=1e-6)


def test_rotated_there_and_back_is_what_it_was():
    smooth = gaussian_filter(noise(90, 120), 6, mode="mirror")[None]
    smooth /= np.abs(smooth).max()
    answer = predict(identity, smooth, SAME, tile=(64, 64), tta="paper")
    assert np.abs(answer - smooth).max() < 0.01


def test_rotations_equal_resampling_the_whole_plane_by_hand():
    """An independent way: finite differences along the rotated axis, by cubic interpolation."""
    image = gaussian_filter(noise(60, 44), 4, mode="mirror")
    image /= np.abs(image).max()

    def gradient(batch):  # depends on the direction, so that a wrong angle or sense shows
        return np.roll(batch, -2, 2) - batch

    answer = predict(gradient, image[None], SAME, tile=(64, 64), tta="paper")[0]
    inner = slice(None, -2)  # where the image as it is does not wrap around
    y, x = np.indices(image.shape).astype(float)
    cy, cx = (image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2
    total = np.zeros_like(image)
    for k in range(7):
        angle = 2 * np.pi * k / 7
        # Two pixels further in the rotated frame's first axis, in the image's own axes:
        step = (2 * np.cos(angle), -2 * np.sin(angle))
        there = map_coordinates(image, [y + step[0], x + step[1]], order=3, mode="mirror")
        total += (there - image) / 7
    assert cy > cx  # not square: the centre matters
    assert np.abs(answer - total)[inner].max() < 0.005
    assert np.abs(total)[inner].max() > 0.05


@pytest.mark.parametrize("choices", [
    {"ndim": 2, "padding": "same"}, {"ndim": 2, "padding": "valid"},
    {"ndim": 2, "strides": ((1, 2), (2, 2))}, {"ndim": 3, "depth": 1},
])  # fmt: skip
def test_rotations_do_not_depend_on_the_tiling(choices):
    forward, print_ = network(**choices)
    image = noise(1, *((5,) if print_.stride[2:] else ()), 37, 45)
    least = [n + 4 for n in print_.least_tile]
    whole = print_.enclose(image.shape[1:])
    one = predict(forward, image, print_, tile=whole, tta="paper")
    tiled = predict(forward, image, print_, tile=least, tta="paper")
    np.testing.assert_allclose(tiled, one, atol=1e-5)
    np.testing.assert_allclose(tiled.sum(0), 1, atol=1e-5)
    plain = predict(forward, image, print_, tile=whole)
    assert np.abs(plain - tiled).max() > 1e-3


@pytest.mark.parametrize("tta", TTAS)
def test_streamed_views_equal_those_in_memory(tta):
    forward, print_ = network(ndim=2)
    image, tile = noise(1, 90, 70), [n + 8 for n in print_.least_tile]
    one = plan(image.shape[1:], 1, 4, 2, print_, cost=Cost(8), tile=tile, tta=tta)
    whole = predict(forward, image, print_, tile=tile, tta=tta)
    np.testing.assert_array_equal(collect(forward, image, one)["p"], whole)


# -- ensembles and their spread


def entropy(p):
    p = np.clip(p, 1e-30, 1)
    return -(p * np.log(p)).sum(0) / np.log(len(p))


@pytest.mark.parametrize("exact", [True, False])
def test_ensembles_average_and_their_spread_is_mutual_information(exact):
    print_ = footprint([(2, 2)] * 2, padding="same", exact=exact)
    image = noise(1, 80, 60)

    def member(scale, shift):
        def forward(batch):
            p = 1 / (1 + np.exp(-(scale * batch + shift), dtype=np.float32))
            return np.concatenate([1 - p, p], axis=1).astype(np.float32)

        return forward

    crew = [member(1, 0), member(3, 0.5), member(-0.4, 1)]
    tile = print_.fit([n + 8 for n in print_.least_tile])
    one = plan(
        image.shape[1:], 1, 4, 2, print_, cost=Cost(8), tile=tile, members=3, spread=True,
        tta="flips",
    )  # fmt: skip
    assert one.blend is not exact
    answer = collect(crew, image, one)
    each = np.array([forward(image[None])[0] for forward in crew])
    mean = each.mean(0)
    np.testing.assert_allclose(answer["p"], mean, atol=1e-5)
    np.testing.assert_allclose(predict(crew, image, print_, tile=tile), mean, atol=1e-5)
    expected = entropy(mean) - np.mean([entropy(p) for p in each], axis=0)
    np.testing.assert_allclose(answer["s"][0], expected, atol=1e-5)
    assert answer["s"].min() >= 0
    assert answer["s"].max() > 0.1


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_members_that_agree_have_no_spread(outputs):
    image = noise(1, 50, 40)

    def forward(batch):
        raw = np.concatenate([np.exp(batch * k) for k in range(outputs)], axis=1)
        return raw / raw.sum(1, keepdims=True) if outputs > 1 else 1 / (1 + np.exp(-batch))

    one = plan(
        (50, 40), 1, 4, outputs, SAME, cost=Cost(8), tile=SAME.least_tile, members=3, spread=True
    )
    answer = collect([forward] * 3, image, one)
    assert answer["s"].min() >= 0
    assert answer["s"].max() < 1e-6


def test_an_ensemble_of_none_is_refused():
    with pytest.raises(ValueError, match="at least one network"):
        predict([], noise(1, 9, 9), SAME, tile=(64, 64))


# -- what it costs


def test_passes_are_counted():
    assert [passes(tta, 2) for tta in TTAS] == [1, 4, 8, 7]
    assert [passes(tta, 3) for tta in TTAS] == [1, 8, 16, 7]
    assert passes("flips", 3, members=5) == 40
    for tta, ndim in product(TTAS, (2, 3)):
        assert len(set(views(tta, ndim))) == passes(tta, ndim)


def test_the_cost_is_said_before_it_starts():
    def said(**choices):
        return state_cost(plan((600, 500), 1, 1, 2, SAME, cost=Cost(8, pixels=300**2), **choices))

    assert said() == "1 pass over the image"
    assert said(tta="rotations") == "8 passes over the image: about 8 times the time of one"
    assert said(members=5, tta="flips").startswith("20 passes over the image: about 20 times")
    line = said(tta="paper")
    assert line.startswith("7 passes over the image: about ")
    assert 7 < int(line.split("about ")[1].split()[0]) < 20
    assert line.endswith("times the time of one, since rotated tiles are larger")


def test_the_effort_is_what_the_network_is_given():
    pixels = {tta: [0] for tta in TTAS}
    image = noise(1, 300, 260)
    for tta in TTAS:

        def forward(batch, tta=tta):
            pixels[tta][0] += batch.size
            return np.concatenate([batch, batch], axis=1)

        one = plan(image.shape[1:], 1, 4, 2, SAME, cost=Cost(8), tile=(128, 128), tta=tta)
        collect(forward, image, one)
        assert pixels[tta][0] / pixels["none"][0] == pytest.approx(one.effort, rel=0.05)
