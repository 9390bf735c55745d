"""Identity leaves everything, fields equal an independent library, arrays stay aligned."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from unetkit.augment import NOTHING, AugmentConfig, change_intensity, grow, sample_field, warp


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def centre(shape):
    return torch.tensor([(n - 1) / 2 for n in shape]).view(-1, *[1] * len(shape))


@pytest.mark.parametrize("shape", [(17, 24), (6, 7, 9)])
@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_without_augmentation_the_warp_is_the_identity(shape, mode):
    arrays = torch.randn(2, *shape)
    where = sample_field(NOTHING, shape, chance()) + centre(shape)
    torch.testing.assert_close(warp(arrays, where, mode), arrays, atol=1e-5, rtol=0)
    images = arrays[None]
    assert torch.equal(change_intensity(NOTHING, images, chance()), images)


@pytest.mark.parametrize("shape", [(40, 52), (12, 15, 18)])
def test_a_random_field_equals_scipy_s_interpolation(shape):
    config = AugmentConfig(rotate=30, elastic=3)
    array = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), 2)
    where = sample_field(config, shape, chance(3)) + centre(shape)
    expected = ndimage.map_coordinates(array, where.numpy(), order=1, mode="mirror")
    got = warp(torch.from_numpy(array).float()[None], where, "linear")[0].numpy()
    np.testing.assert_allclose(got, expected, atol=2e-4)


def test_rotation_and_flips_keep_distances_and_stay_in_range():
    plain = sample_field(NOTHING, (21, 33), chance())
    config = NOTHING.model_copy(update={"rotate": 20.0})
    angles = []
    for seed in range(200):
        turned = sample_field(config, (21, 33), chance(seed))
        torch.testing.assert_close(turned.norm(dim=0), plain.norm(dim=0), atol=1e-4, rtol=0)
        angles.append(torch.rad2deg(torch.atan2(turned[0, 10, 32], turned[1, 10, 32])).item())
    assert -20 <= min(angles) < -17
    assert 17 < max(angles) <= 20
    flips = NOTHING.model_copy(update={"flip": True})
    seen = {
        tuple((sample_field(flips, (21, 33), chance(s))[:, 0, 0] / plain[:, 0, 0]).tolist())
        for s in range(40)
    }
    assert seen == {(1, 1), (1, -1), (-1, 1), (-1, -1)}


def test_image_and_labels_move_together():
    labels = np.zeros((64, 64), np.float32)
    labels[20:40, 10:50] = 1
    pair = torch.from_numpy(np.stack([labels, labels]))
    where = sample_field(AugmentConfig(elastic=6), (48, 48), chance(5)) + centre((64, 64))
    soft, hard = warp(pair, where, "linear")[0], warp(pair, where, "nearest")[1]
    assert hard.unique().tolist() == [0, 1]
    assert ((soft > 0.5).float() != hard).float().mean() < 0.005


def test_the_paper_s_elastic_deformation_has_its_deviation_and_grid():
    config = NOTHING.model_copy(update={"elastic": 10.0})
    plain = sample_field(NOTHING, (101, 101), chance())
    offsets = torch.stack([sample_field(config, (101, 101), chance(s)) - plain for s in range(300)])
    corners = offsets[:, :, ::50, ::50]  # the 3×3 grid itself
    assert corners.std().item() == pytest.approx(10, rel=0.05)
    assert corners.mean().item() == pytest.approx(0, abs=0.4)


def test_growing_is_torch_s_bicubic():
    coarse = torch.randn(2, 3, 4)
    expected = torch.nn.functional.interpolate(
        coarse[None], size=(31, 20), mode="bicubic", align_corners=True
    )[0]
    torch.testing.assert_close(grow(coarse, (31, 20)), expected, atol=1e-5, rtol=1e-4)


def test_intensity_changes_are_bounded_and_depend_only_on_the_generator():
    images = torch.randn(6, 3, 32, 32)
    config = AugmentConfig()
    one, two = (change_intensity(config, images, chance(7)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, change_intensity(config, images, chance(8)))
    assert one.isfinite().all()
    assert torch.isfinite(change_intensity(config, torch.zeros(2, 1, 8, 8), chance())).all()


def test_blur_equals_scipy_s():
    from unetkit.augment import _blur

    image = np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32)
    expected = ndimage.gaussian_filter(image, 1.0, mode="nearest", truncate=3.0)
    np.testing.assert_allclose(_blur(torch.from_numpy(image)[None], 1.0)[0], expected, atol=1e-5)
