"""Normalisation against plain NumPy, and finite whatever the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from unetkit.data import Normalization, Sample
from unetkit.errors import InputError


def sample(image: np.ndarray) -> Sample:
    space = image.shape[1:]
    return Sample(
        id="a",
        image=image.astype(np.float32),
        labels=np.zeros(space, np.int16),
        instances=None,
        fov=np.ones(space, bool),
        observer=None,
        spacing=(1.0,) * len(space),
        path=Path("a.png"),
    )


@pytest.mark.parametrize("shape", [(1, 20, 30), (3, 20, 30), (2, 5, 20, 30)])
def test_image_is_the_z_score_of_each_channel(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).normal(50, 20, shape)
    image[0] *= 100
    axes = tuple(range(1, len(shape)))
    expected = (image - image.mean(axes, keepdims=True)) / image.std(axes, keepdims=True)
    result = Normalization(method="image").apply(image)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_dataset_is_one_large_image() -> None:
    generator = np.random.default_rng(1)
    images = [generator.normal(5 * k, 1 + k, (2, 10 + k, 12)) for k in range(4)]
    pixels = np.concatenate([image.reshape(2, -1) for image in images], 1)
    fitted = Normalization.fit("dataset", (sample(image) for image in images))
    assert fitted.mean == pytest.approx(pixels.mean(1).tolist(), rel=1e-6)
    assert fitted.std == pytest.approx(pixels.std(1).tolist(), rel=1e-6)
    expected = (images[2] - pixels.mean(1)[:, None, None]) / pixels.std(1)[:, None, None]
    np.testing.assert_allclose(fitted.apply(images[2]), expected, atol=1e-5)


def test_none_passes_on_and_nothing_is_changed_in_place() -> None:
    image = np.array([[[0.0, 255.0], [np.nan, 3.0]]])
    kept = image.copy()
    for method in ("none", "image"):
        Normalization.fit(method, []).apply(image)
        np.testing.assert_array_equal(image, kept)
    assert Normalization(method="none").apply(image).tolist() == [[[0, 255], [0, 3]]]


@pytest.mark.parametrize("value", [0.0, 0.1, 255.0, -1e6, 1e30, np.nan, np.inf])
def test_constant_images_stay_finite(value: float) -> None:
    image = np.full((2, 8, 8), value)
    assert not Normalization(method="image").apply(image).any()
    fitted = Normalization.fit("dataset", [sample(image)])
    assert np.isfinite(fitted.apply(np.random.default_rng(0).random((2, 8, 8)))).all()


def test_small_and_faint_images_keep_their_contrast() -> None:
    image = np.random.default_rng(0).normal(1e-8, 1e-9, (1, 16, 16))
    assert Normalization(method="image").apply(image).std() == pytest.approx(1, abs=1e-4)


def test_odd_pixels_become_average_and_do_not_count() -> None:
    image = np.random.default_rng(0).normal(50, 20, (1, 20, 30)).astype(np.float32)
    odd = image.copy()
    odd[0, 0, :3] = np.nan, np.inf, -np.inf
    rest = odd[np.isfinite(odd)].astype(np.float64)
    result = Normalization(method="image").apply(odd)
    assert result[0, 0, :3].tolist() == [0, 0, 0]
    np.testing.assert_allclose(result[0, 1:], (image[0, 1:] - rest.mean()) / rest.std(), atol=1e-5)
    fitted = Normalization.fit("dataset", [sample(odd)])
    assert fitted.mean == pytest.approx((rest.mean(),))
    assert fitted.std == pytest.approx((rest.std(),))
    assert fitted.apply(odd)[0, 0, :3].tolist() == [0, 0, 0]


def test_survives_json_and_refuses_nonsense() -> None:
    fitted = Normalization.fit("dataset", [sample(np.random.default_rng(0).random((3, 8, 8)))])
    assert Normalization.model_validate_json(fitted.model_dump_json()) == fitted
    for broken in (
        {"method": "dataset"},
        {"method": "dataset", "mean": (1.0,), "std": (0.0,)},
        {"method": "dataset", "mean": (1.0, 2.0), "std": (1.0,)},
        {"method": "dataset", "mean": (float("nan"),), "std": (1.0,)},
        {"method": "image", "sigma": 3},
        {"method": "median"},
    ):
        with pytest.raises(ValidationError):
            Normalization.model_validate(broken)


def test_channels_must_agree() -> None:
    fitted = Normalization.fit("dataset", [sample(np.ones((3, 8, 8)))])
    with pytest.raises(InputError, match="has 1 channels, the model was trained on 3; give"):
        fitted.apply(np.ones((1, 8, 8)))
    with pytest.raises(InputError, match=r"a\.png: has 1 channels where others have 3"):
        Normalization.fit("dataset", [sample(np.ones((c, 8, 8))) for c in (3, 1)])
    with pytest.raises(InputError, match="at least one image"):
        Normalization.fit("dataset", [])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_settled_by_windows_equals_the_image_in_memory(dtype: type) -> None:
    image = np.random.default_rng(3).gamma(2, 40, (2, 70, 90)).clip(0, 255).astype(dtype)
    windows = (image[:, y : y + 32, x : x + 50] for y in range(0, 70, 32) for x in (0, 50))
    settled = Normalization(method="image").settle(windows)
    np.testing.assert_allclose(
        settled.apply(image[:, 10:20]),
        Normalization(method="image").apply(image)[:, 10:20],
        atol=2e-6,
    )


def test_settled_leaves_out_what_is_no_number_and_keeps_a_stored_transform() -> None:
    image = np.random.default_rng(4).normal(5, 2, (1, 40, 40)).astype(np.float32)
    image[0, :7, 3] = np.nan
    settled = Normalization(method="image").settle([image[:, :20], image[:, 20:]])
    assert settled.mean is not None
    assert settled.mean[0] == pytest.approx(float(np.nanmean(image.astype(np.float64))), rel=1e-6)
    stored = Normalization(method="dataset", mean=(1.0,), std=(2.0,))
    assert stored.settle(iter(())) is stored
