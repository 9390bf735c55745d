"""Tiled equals whole, over depths, paddings, sizes and dimensions; and what blending promises."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from unetkit.errors import InputError
from unetkit.geometry import Tile, cores, footprint, tiles
from unetkit.network import NetworkConfig, UNet, probabilities
from unetkit.prediction import choose_tile, predict, read, seam_error
from unetkit.prediction.windows import bump, windows


def network(**choices):
    """Build a network as a trained one is: alive at every level, and conditioned by its norms."""
    torch.manual_seed(1)
    net = UNet(NetworkConfig(**{"channels": 1, "classes": 2, "width": 3, **choices}))
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d)]
    for norm in norms:
        torch.nn.init.normal_(norm.bias, 1.0, 0.3)
        norm.momentum = None  # the statistics become those of the one batch below
    if norms:
        size = net.footprint.enclose([2 * stride for stride in net.footprint.stride])
        with torch.inference_mode():
            net.train()(torch.randn(1, 1, *size))
    return net.eval()


def forward(net):
    return numbers(lambda x: probabilities(net(x), "softmax"))


def numbers(run):
    """Let a function of tensors take and give arrays, as an engine does."""

    def call(batch):
        with torch.inference_mode():
            return run(torch.from_numpy(batch)).numpy()

    return call


def difference(net, shape, tile, tta="none"):
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    run = forward(net)
    size = net.footprint.enclose(shape)
    with torch.inference_mode():  # logits of a trained network's size: rounding is relative to it
        logits = predict(numbers(net), image, net.footprint, tile=size)
        reach = float(np.abs(logits).max()) or 1.0
        net.head[0].weight.data *= 4 / reach
        net.head[0].bias.data *= 4 / reach
    whole = predict(run, image, net.footprint, tile=net.footprint.enclose(shape), tta=tta)
    tiled = predict(run, image, net.footprint, tile=tile, tta=tta)
    return np.abs(whole - tiled).max(), image, whole


@settings(max_examples=20, deadline=None)
@given(
    depth=st.integers(1, 5),
    padding=st.sampled_from(["valid", "same"]),
    upsampling=st.sampled_from(["transposed", "nearest", "linear"]),
    attention=st.booleans(),
    height=st.integers(1, 220),
    width=st.integers(1, 60),
    extra=st.integers(0, 2),
    bits=st.integers(0, 31),
)
def test_tiled_equals_whole_2d(depth, padding, upsampling, attention, height, width, extra, bits):
    net = network(
        ndim=2, depth=depth, padding=padding, upsampling=upsampling, attention=attention,
        block="residual" if attention else "plain", skips=f"{bits:05b}"[:depth],
    )  # fmt: skip
    tile = [
        n + extra * s for n, s in zip(net.footprint.least_tile, net.footprint.stride, strict=True)
    ]
    worst, _, whole = difference(net, (height, width), tile)
    assume(whole.std() > 1e-4)  # a constant output would prove nothing
    assert worst <= 1e-5


@settings(max_examples=8, deadline=None)
@given(
    depth=st.integers(1, 2),
    padding=st.sampled_from(["valid", "same"]),
    anisotropic=st.booleans(),
    shape=st.tuples(st.integers(1, 24), st.integers(1, 48), st.integers(1, 20)),
)
def test_tiled_equals_whole_3d(depth, padding, anisotropic, shape):
    strides = ((1, 2, 2), (2, 2, 2))[:depth] if anisotropic else None
    net = network(ndim=3, depth=depth, padding=padding, strides=strides)
    worst, _, whole = difference(net, shape, net.footprint.least_tile)
    assume(whole.std() > 1e-4)  # a constant output would prove nothing
    assert worst <= 1e-5


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_tiled_equals_whole_3d_at_every_depth(depth, padding):
    # One long axis is pooled at every level and cut; valid convolutions lose so much at depth that
    # the other two are not pooled, or a single tile would have tens of millions of voxels.
    strides = ((1, 1, 2),) * depth if padding == "valid" else None
    net = network(ndim=3, depth=depth, padding=padding, strides=strides, width=1)
    tile = net.footprint.least_tile
    shape = (2, 3, tile[2] - 2 * net.footprint.lost[2] + net.footprint.stride[2] + 1)
    worst, _, whole = difference(net, shape, tile)
    assert whole.std() > 1e-4, "a constant output would prove nothing"
    assert worst <= 1e-5
    assert len(list(tiles(shape, cores(shape, tile, net.footprint), net.footprint))) > 1


def test_whole_equals_the_network_itself():
    net = network(ndim=2, depth=3)
    _, image, whole = difference(net, (101, 67), net.footprint.least_tile)
    with torch.inference_mode():
        direct = probabilities(net(torch.from_numpy(image)[None]), "softmax")[0].numpy()
    np.testing.assert_allclose(whole, direct, atol=1e-6)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_flips_are_exact_in_tiles_too_and_equivariant(padding):
    net = network(ndim=2, depth=2, padding=padding)
    worst, image, whole = difference(net, (96, 64), net.footprint.least_tile, tta="flips")
    assert worst <= 1e-5
    flipped = predict(
        forward(net), image[:, ::-1].copy(), net.footprint,
        tile=net.footprint.enclose((96, 64)), tta="flips",
    )  # fmt: skip
    np.testing.assert_allclose(flipped[:, ::-1], whole, atol=1e-5)


def test_instance_norm_is_blended_and_whole_where_it_fits():
    net = network(ndim=2, depth=2, norm="instance")
    assert not net.footprint.exact
    worst, image, _ = difference(net, (120, 90), (60, 60))
    assert worst > 1e-5
    with torch.inference_mode():
        direct = forward(net)(image[None, :, :120, :88])[0]
    same = predict(forward(net), image[:, :120, :88], net.footprint, tile=(200, 200))
    np.testing.assert_allclose(same, direct, atol=1e-6)


def test_a_constant_forward_survives_blending():
    net = network(ndim=2, depth=2, norm="group")
    image = np.zeros((1, 130, 77), np.float32)
    flat = predict(lambda x: np.full_like(x, 0.25), image, net.footprint, tile=(64, 64))
    np.testing.assert_allclose(flat, 0.25, rtol=1e-5)


@given(st.integers(1, 300), st.integers(0, 12), st.tuples(st.integers(0, 299), st.integers(1, 80)))
def test_windows_cover_every_pixel_and_any_part_knows_its_own(size, extra, part):
    print_ = footprint([(2,)] * 2, padding="same", exact=False)
    tile = (4 + 4 * extra,)
    everything = list(windows((size,), tile, print_))
    count = np.zeros(size, int)
    for one in everything:
        count[one.write] += 1
        assert one.read[0].start + one.crop[0].start == one.write[0].start
        print_.require([one.read[0].stop - one.read[0].start])
    assert (count >= 1).all()
    assert (np.delete(count, [0, -1]) <= 3).all()
    part = slice(min(part[0], size - 1), min(sum(part), size))
    some = list(windows((size,), tile, print_, (part,)))
    assert [one.read for one in some] == [
        one.read for one in everything
        if one.write[0].start < part.stop and one.write[0].stop > part.start
    ]  # fmt: skip
    assert all(part.start <= one.write[0].start < one.write[0].stop <= part.stop for one in some)


def test_weights_are_greatest_in_the_middle_and_never_nothing():
    weight = bump((33, 16))
    assert np.unravel_index(weight.argmax(), weight.shape)[0] == 16
    np.testing.assert_allclose(weight, weight[::-1, ::-1], rtol=1e-6)
    assert weight.min() > 0


def test_the_seam_error_says_what_tiles_cost():
    image = np.random.default_rng(0).normal(size=(1, 150, 130)).astype(np.float32)
    exact = network(ndim=2, depth=2)
    assert seam_error(forward(exact), image, exact.footprint, (64, 64)) <= 1e-5
    assert seam_error(forward(exact), image, exact.footprint, (64, 64), blend=True) > 1e-5
    looks = network(ndim=2, depth=2, norm="instance")
    assert seam_error(forward(looks), image, looks.footprint, (64, 64)) > 1e-3


def test_any_number_type_and_memory_that_may_not_be_written():
    net = network(ndim=2, depth=2)
    image = np.random.default_rng(0).integers(0, 255, (1, 90, 70)).astype(np.uint8)
    locked = image.astype(np.float32)
    locked.flags.writeable = False  # as a memory map of a file is; torch would warn
    tile = net.footprint.least_tile
    expected = predict(forward(net), image, net.footprint, tile=tile)
    np.testing.assert_array_equal(predict(forward(net), locked, net.footprint, tile=tile), expected)
    turned = np.asfortranarray(image)[:, ::-1][:, ::-1]
    np.testing.assert_array_equal(predict(forward(net), turned, net.footprint, tile=tile), expected)


def test_progress_counts_tiles():
    seen = []
    net = network(ndim=2, depth=1)
    predict(
        forward(net), np.zeros((1, 90, 70), np.float32), net.footprint, tile=(32, 32),
        progress=lambda *n: seen.append(n),
    )  # fmt: skip
    assert len(seen) > 4
    assert seen == [(i + 1, len(seen)) for i in range(len(seen))]


def test_reading_a_tile_mirrors_outside():
    image = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    window = (slice(-2, 5), slice(-1, 6))
    expected = np.pad(image, ((0, 0), (2, 2), (1, 2)), mode="reflect").astype(np.float32)
    seen = read(image, Tile(window, window, window))
    np.testing.assert_array_equal(seen, expected)
    assert seen.dtype == np.float32


def test_a_tile_of_too_few_axes():
    net = network(ndim=2, depth=1)
    with pytest.raises(InputError, match="tile: has 3 axes, the image 2"):
        predict(forward(net), np.zeros((1, 9, 9)), net.footprint, tile=(32, 32, 32))


def test_blended_windows_must_be_legal_too():
    net = network(ndim=2, depth=2, norm="group")
    with pytest.raises(InputError, match=r"input size 61 is not legal.*60 and 64"):
        predict(forward(net), np.zeros((1, 99, 99)), net.footprint, tile=(61, 64))


def test_an_illegal_tile_is_one_line():
    net = network(ndim=2, depth=4, padding="valid")
    with pytest.raises(InputError, match="556 and 572"):
        predict(forward(net), np.zeros((1, 900, 900), np.float32), net.footprint, tile=(570, 570))


def test_the_chosen_tile_is_legal_and_about_the_size_asked_for():
    for padding in ("valid", "same"):
        print_ = network(ndim=2, depth=4, padding=padding).footprint
        tile = choose_tile(print_, (5000, 3000), 1_000_000)
        print_.require_tile(tile, (5000, 3000))
        assert 0.9e6 < tile[0] * tile[1] < 1.2e6
        assert choose_tile(print_, (100, 50), 1_000_000) == print_.enclose((100, 50))
