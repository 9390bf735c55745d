"""Signs of images and masks, against plain formulas, Pillow's box filter and planted faults."""

from __future__ import annotations

import io
import json
import time

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from unetkit.data.alignment import TURNS, align
from unetkit.data.checks.likeness import alike, invariant, weights
from unetkit.data.checks.masks import is_off
from unetkit.data.signs import Signs, examine
from unetkit.data.sketch import reduced, sketch
from unetkit.data.smear import smear
from unetkit.data.synthetic import cells, membranes, roads, vessels, volume

Bytes = NDArray[np.uint8]
BACK = {5: 6, 6: 5}  # turns that undo another one; all others undo themselves


def scene(kind: str = "cells", seed: int = 0, size: int = 192) -> tuple[Bytes, Bytes]:
    kinds = {"cells": cells, "membranes": membranes, "roads": roads, "vessels": vessels}
    image, mask, *_ = kinds[kind]((size, size), seed)
    return (image if image.ndim == 3 else image[None]), (mask > 0).astype(np.uint8) * 255


def jpeg(mask: Bytes, quality: int) -> Bytes:
    stream = io.BytesIO()
    Pillow.fromarray(mask).save(stream, "JPEG", quality=quality)
    return np.asarray(Pillow.open(stream))


# ------------------------------------------------------------------------------------ examine


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32, np.float32, np.float64]
)
@pytest.mark.parametrize("shape", [(1, 40, 30), (3, 33, 57), (2, 5, 20, 24), (13, 7, 9)])
def test_numbers_are_those_of_plain_formulas(dtype: type, shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 100, shape).astype(dtype)
    mask = generator.integers(-1, 3, shape[1:]).astype(np.int16)
    found = examine(image, mask)
    rest = tuple(range(1, len(shape)))
    assert found.lows == tuple(image.min(rest).astype(float))
    assert found.highs == tuple(image.max(rest).astype(float))
    assert found.mean == pytest.approx(float(image.mean()))
    assert found.spread == pytest.approx(float(image.std()))
    for channel, share in zip(image, found.ceilings, strict=True):
        assert share == pytest.approx(float((channel == channel.max()).mean()))
    assert found.broken == 0
    assert found.filled == pytest.approx(float((mask > 0).sum() / (mask >= 0).sum()))
    inside, outside = mask > 0, mask == 0
    light = image.astype(float).mean(0)
    expected = (light[inside].mean() - light[outside].mean()) / light.std()
    assert found.contrast == pytest.approx(expected, abs=1e-4)


def test_what_is_no_number_and_what_was_not_measured() -> None:
    image = np.random.default_rng(0).random((2, 24, 24), np.float32)
    image[0, 0, :3] = np.nan, np.inf, -np.inf
    image[1, 0, 0] = np.nan
    image[1, 5] = -9999
    found = examine(image, None)
    assert found.broken == 3
    assert found.lows[1] == -9999
    found = examine(image, None, nodata=-9999)
    assert found.broken == 3
    assert 0 <= found.lows[1] < 0.1
    assert examine(image, None, nodata=float("nan")).broken == 2  # the infinite ones
    mask = np.ones((24, 24), np.int16)
    mask[0, :2] = -1
    assert examine(image, mask).broken == 1  # the others do not count
    empty = examine(np.full((1, 8, 8), np.nan, np.float32), None)
    assert np.isnan(empty.lows[0])
    assert not empty.sketch.any()


def test_grey_is_told_from_colour() -> None:
    grey = np.repeat(scene()[0], 3, 0)
    assert examine(grey, None).grey
    assert not examine(grey[:1], None).grey
    grey[2, 101, 103] += 1  # between the points that are looked at first
    assert not examine(grey, None).grey


def test_a_digest_belongs_to_its_pixels() -> None:
    image, _ = scene()
    same = examine(image, None).digest
    assert examine(image.copy(), None).digest == same
    seen = {same}
    for y, x in ((0, 0), (95, 95), (191, 191)):
        other = image.copy()
        other[0, y, x] ^= 1
        seen.add(examine(other, None).digest)
    swapped = image.copy()
    swapped[0, 0, :2] = swapped[0, 0, 1::-1] + np.array([0, 1], np.uint8)
    seen.add(examine(swapped, None).digest)
    seen.add(examine(image.reshape(1, 96, 384), None).digest)
    seen.add(examine(image.astype(np.uint16), None).digest)
    seen.add(examine(np.ascontiguousarray(image[:, ::-1]), None).digest)
    assert len(seen) == 8
    for length in (1, 7, 8, 9, 8 * 2**16, 8 * 2**16 + 3):  # ends of words and of blocks
        line = np.zeros((1, 1, length), np.uint8)
        digests = {examine(line, None).digest}
        line[0, 0, -1] = 1
        digests.add(examine(line, None).digest)
        assert len(digests) == 2, length


def test_field_of_view_frame_and_holes() -> None:
    image, _ = scene()
    fov = np.zeros(image.shape[1:], bool)
    assert examine(image, None, fov=fov).seen == 0
    fov[: len(fov) // 4] = True
    assert examine(image, None, fov=fov).seen == 0.25
    mask = np.full(image.shape[1:], 255, np.uint8)
    mask[20:60, 20:60] = 0
    mask[100:150, 100:120] = 0
    found = examine(image, mask)
    assert found.frame == 1
    assert found.holes
    mask[:, 90:100] = mask[:, 10:20] = 0  # now most of the background reaches the frame
    assert not examine(image, mask).holes
    assert examine(image, np.full_like(mask, 255)).filled == 1
    assert examine(image, np.zeros_like(mask)).filled == 0
    assert examine(image, np.full(mask.shape, -1, np.int16)).filled == 0


def test_signs_survive_a_file() -> None:
    image, mask = scene()
    mask = jpeg(mask, 80)
    one = examine(image, mask, fov=mask > 3)
    again = Signs.from_json(json.loads(json.dumps(one.to_json())))
    assert again.to_json() == one.to_json()
    np.testing.assert_array_equal(again.sketch, one.sketch)
    assert again.alignment is not None
    assert one.alignment is not None
    np.testing.assert_array_equal(again.alignment.surface, one.alignment.surface)
    assert again.smear == one.smear
    assert len(json.dumps(examine(image, mask, thorough=False).to_json())) < 2500


# ----------------------------------------------------------------------------------- sketches


@pytest.mark.parametrize("size", [(64, 64), (512, 384), (200, 331), (1000, 77), (32, 40), (20, 9)])
def test_a_reduction_is_the_mean_of_areas(size: tuple[int, int]) -> None:
    image = ndimage.gaussian_filter(np.random.default_rng(0).random(size), 3).astype(np.float32)
    ours = reduced(image[None], (32, 32))
    # Pillow's box filter is the same where sizes divide; else it rounds supports to whole pixels.
    box = np.asarray(Pillow.fromarray(image).resize((32, 32), Pillow.Resampling.BOX))
    exact = not (size[0] % 32 or size[1] % 32)
    assert np.abs(ours - box).max() < (1e-5 if exact else 0.5 * np.ptp(image))
    assert np.corrcoef(ours.ravel(), box.ravel())[0, 1] > (0.9999 if exact else 0.9)


def test_a_sketch_does_not_care_for_size_light_or_format() -> None:
    image, _ = scene("roads", size=256)
    own = sketch(image).astype(float).ravel()
    picture = Pillow.fromarray(np.moveaxis(image, 0, -1).squeeze())
    for other in (
        np.asarray(picture.resize((150, 150), Pillow.Resampling.LANCZOS)),
        np.asarray(picture.resize((333, 333), Pillow.Resampling.BICUBIC)),
        np.asarray(picture).astype(np.float32) * 17 + 1000,
        (np.asarray(picture).astype(np.uint16) * 200),
    ):
        data = np.moveaxis(other, -1, 0) if other.ndim == 3 else other[None]
        assert np.corrcoef(sketch(data).astype(float).ravel(), own)[0, 1] > 0.98
    assert not sketch(np.full((3, 50, 50), 7, np.uint8)).any()


def test_likeness_is_found_in_every_orientation() -> None:
    generator = np.random.default_rng(1)
    noise = ndimage.gaussian_filter(generator.standard_normal((12, 32, 32)), (0, 1.5, 1.5))
    drawn = (noise / noise.std() * 30).clip(-127, 127).astype(np.int8)
    for turn in range(8):
        sketches = np.concatenate([drawn, TURNS[turn][1](drawn[3])[None]])
        found = weights(sketches)
        (one,) = alike(found[12:], found[:12], 0.9)
        assert (one.second, one.turn) == (3, turn)
        assert one.strength > 0.99
        invariants = invariant(found)
        np.testing.assert_allclose(invariants[12], invariants[3], atol=1e-5)
        np.testing.assert_allclose((invariants**2).sum(1), 1, atol=1e-5)
    assert alike(weights(drawn)[:6], weights(drawn)[6:], 0.85) == []


def test_sorting_out_by_invariants_loses_nothing() -> None:
    # Of what is alike in the best of eight orientations, the invariants are at least as alike.
    generator = np.random.default_rng(2)
    noise = ndimage.gaussian_filter(generator.standard_normal((40, 32, 32)), (0, 2, 2))
    found = weights((noise / noise.std() * 30).clip(-127, 127).astype(np.int8))
    upper = invariant(found) @ invariant(found).T
    for first in range(6):
        for second in range(6, 40):
            sign = (-1.0) ** np.arange(16)
            turned = [
                (found[first] * (w * a[:, None] * b)).sum()
                for w in (found[second], found[second].T)
                for a in (np.ones(16), sign)
                for b in (np.ones(16), sign)
            ]
            assert max(turned) <= upper[first, second] + 1e-5


# -------------------------------------------------------------------------------------- smear


@pytest.mark.parametrize("kind", ["cells", "membranes", "roads", "vessels"])
def test_smoothing_and_jpeg_are_told_apart(kind: str) -> None:
    _, mask = scene(kind, size=256)
    assert smear(mask) is None
    nearest = Pillow.fromarray(mask).resize((389, 389), Pillow.Resampling.NEAREST)
    assert smear(np.asarray(nearest)) is None
    for quality in (30, 50, 75, 90, 95):
        found = smear(jpeg(mask, quality))
        assert found is not None, quality
        assert found.cause == "jpeg", (quality, found)
    ways = Pillow.Resampling
    for factor, way in (
        (0.5, ways.BILINEAR),
        (0.4, ways.BOX),
        (1.7, ways.BICUBIC),
        (2, ways.LANCZOS),
    ):
        size = round(256 * factor)
        found = smear(np.asarray(Pillow.fromarray(mask).resize((size, size), way)))
        assert found is not None, way
        assert found.cause == "resized", (way, found)


def test_many_classes_objects_and_pictures() -> None:
    _, mask = scene(size=256)
    objects = ndimage.label(mask)[0].astype(np.uint16)
    assert smear(objects) is None
    classes = (objects % 12).astype(np.uint8)
    assert smear(classes) is None
    halved = Pillow.fromarray(classes).resize((128, 128), Pillow.Resampling.BILINEAR)
    found = smear(np.asarray(halved))
    assert found is not None
    assert found.cause in ("either", "resized")
    assert smear(mask, lossy=True) is None
    painted = smear(jpeg(mask, 80).astype(np.uint32) * 0x010101, lossy=True)
    assert painted is not None
    assert painted.cause == "jpeg"
    noise = np.random.default_rng(0).integers(0, 256, (256, 256), np.uint8)
    assert smear(noise) is None
    assert smear(np.zeros((5, 5), np.uint8)) is None


# ---------------------------------------------------------------------------------- alignment


@pytest.mark.parametrize("kind", ["cells", "membranes", "roads", "vessels"])
@pytest.mark.parametrize("way", [(16, -22), (-30, 0), (0, 12), (25, 25)])
def test_a_shift_is_found_and_its_way(kind: str, way: tuple[int, int]) -> None:
    image, mask = scene(kind)
    sound = align(image, mask)
    assert sound is not None
    assert not is_off(sound)
    moved = align(image, np.roll(mask, way, (0, 1)))
    assert moved is not None
    assert is_off(moved)
    assert all(abs(a - b) <= moved.step for a, b in zip(moved.shift, way, strict=True))


@pytest.mark.parametrize("kind", ["cells", "membranes", "roads"])
@pytest.mark.parametrize("turn", range(1, 8))
def test_a_turn_is_found(kind: str, turn: int) -> None:
    image, mask = scene(kind, seed=5)
    found = align(image, np.ascontiguousarray(TURNS[turn][1](mask)))
    assert found is not None
    assert int(np.argmax(found.turns)) == BACK.get(turn, turn)
    assert found.turns[0] < 0.4 * max(found.turns)


def test_noise_says_nothing() -> None:
    generator = np.random.default_rng(0)
    for _ in range(60):
        fields = [
            ndimage.gaussian_filter(generator.standard_normal((120, 150)), generator.uniform(0, 6))
            for _ in range(2)
        ]
        drawn = (fields[1] > fields[1].mean()).astype(np.uint8)
        found = align(fields[0][None].astype(np.float32), drawn)
        assert found is not None
        assert not is_off(found)


def test_volumes_odd_sizes_and_nothing_to_see() -> None:
    image, mask = volume((12, 48, 64), 3)
    image = image.reshape(1, *mask.shape)
    sound = align(image, mask)
    assert sound is not None
    assert len(sound.turns) == 4
    assert sound.centre == sound.peak
    moved = align(image, np.roll(mask, (9, -11), (1, 2)))
    assert moved is not None
    assert moved.shift == (9, -11)
    picture, drawn = scene(size=131)
    assert align(picture, np.zeros_like(drawn)) is None
    assert align(picture[:, :10], drawn[:10]) is None
    ignored = np.where(drawn > 0, -1, 0)
    assert align(picture, ignored) is None
    broken = picture.astype(np.float32)
    broken[:, :40] = np.nan
    assert align(broken, drawn) is not None
    found = align(picture, drawn)
    assert found is not None
    assert not is_off(found)


@pytest.mark.slow
def test_all_pairs_of_a_big_set_in_seconds() -> None:
    generator = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(generator.standard_normal((20_000, 32, 32)), (0, 1, 1))
    sketches = (noise / noise.std() * 30).clip(-127, 127).astype(np.int8)
    sketches[17_000] = TURNS[6][1](sketches[5])
    begin = time.perf_counter()
    found = weights(sketches)
    train, val, test = found[:14_000], found[14_000:17_000], found[17_000:]
    pairs = [alike(*both, 0.85) for both in ((val, train), (test, train), (test, val))]
    assert time.perf_counter() - begin < 10
    assert [len(some) for some in pairs] == [0, 1, 0]
    assert (pairs[1][0].first, pairs[1][0].second, pairs[1][0].turn) == (0, 5, 6)
