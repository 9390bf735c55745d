"""A country seen by a satellite: sky, season and sensor over the ground."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from unetkit.data.synthetic.drawing import Bytes, Seed, check_size
from unetkit.data.synthetic.ground import WATER, ground
from unetkit.data.synthetic.lattice import Real, Whole, noise, uniform
from unetkit.image import Georeference

IGNORE = 255  # in the mask: cloud, dark shadow, nothing measured
NODATA = 0  # in the image: outside of the swath
METRES = 10.0  # per pixel

_CORNER = (440_000.0, 5_440_000.0)  # easting and northing of the scenes' first pixel
_CLOUD = np.array([0.72, 0.73, 0.74, 0.75, 0.58, 0.46], np.float32)
_HAZE = np.array([1.0, 0.62, 0.42, 0.18, 0.05, 0.02], np.float32)
TILE = 256  # pixels; made at once, and the unit of the sensor's noise
_PUFFS = 5  # octaves of the clouds
_PAD = 2  # the blur needs a neighbour, the slope another

Window = tuple[slice, slice]


def satellite(
    size: tuple[int, int] = (256, 256),
    seed: Seed = 0,
    *,
    corner: tuple[int, int] = (0, 0),
    window: Window | None = None,
) -> tuple[NDArray[np.uint16], Bytes]:
    """Take a multispectral picture of a country with lakes, rivers, forests, fields and towns.

    The country is made of noise that belongs to places (see `lattice`), in pixels of 10 m as of
    Sentinel-2, with the six bands that it shares with Landsat. Lakes fill the hollows of a relief,
    rivers wander below its hills; districts with field parcels, each in its own direction, meet
    along roads that bridge the rivers. Woods stand on high ground, partly with ragged borders and
    partly with those of parcels; towns lie low and consist of houses, gardens, halls and streets.
    It is laid out in UTM zone 32 north, from 440 km east and 5440 km north (the Upper Rhine), but
    shows no real place.

    A picture is taken on a day of its own between March and October: crops sprout, ripen and are
    cut at different times, broadleaved trees turn green and bare, slopes lie in the shade of a low
    sun, and haze, glint on water and the gain of each band differ. Two in three have clouds and
    their shadows, two in five lack a corner that lay outside of the swath.

    Nothing is found by its colour alone. As dark as water are flooded fields, wet patches in bare
    ones, peat, shaded slopes and the fringes of shadows; as green as forest are crops, meadows and
    algae; as bright as towns are bare and ripe fields. Shapes and textures tell. Otsu's threshold
    scores Dice 0.62, the mean of the classes, each with the best band, ratio of two bands (as NDVI
    and NDWI are) and side for each picture.

    Args:
        size: of the whole picture (y, x).
        seed: the ground depends on its first number alone; day, sky and sensor on all.
        corner: first pixel (row, column) in the country; pictures that touch there continue
            each other.
        window: rows and columns to make of the picture; the same pixels as in the whole.

    Returns:
        image (6, y, x), uint16: reflectance × 10000 in `BANDS`, 0 where nothing was measured ·
        mask (y, x), uint8: index into `CLASSES`, 255 under cloud and deep shadow and where nothing
        was measured.

    Raises:
        InputError: a size that is too small or too large.
    """
    check_size(size, whole=False)
    window = window or (slice(0, size[0]), slice(0, size[1]))
    shape = tuple(part.stop - part.start for part in window)
    image, labels = np.empty((6, *shape), np.uint16), np.empty(shape, np.uint8)
    weather = _weather(size, seed, corner)
    for tile in _tiles(window):
        here = tuple(
            slice(part.start - whole.start, part.stop - whole.start)
            for part, whole in zip(tile, window, strict=True)
        )
        image[:, *here], labels[here] = _tile(weather, tile)
    return image, labels


def located(corner: tuple[int, int]) -> Georeference:
    """Say where in UTM zone 32 a picture lies whose first pixel is `corner` of the country."""
    west, north = _CORNER[0] + METRES * corner[1], _CORNER[1] - METRES * corner[0]
    return Georeference((METRES, 0.0, west, 0.0, -METRES, north), "EPSG:32632")


@dataclass(frozen=True, eq=False)
class _Weather:
    """What makes one picture of a place unlike another.

    Attributes:
        corner: its first pixel in the country.
        land: the seed of the ground.
        key: the seed of clouds and sensor noise.
        season: day of the year, 0 to 1.
        sun: where it stands (y, x); its length is how deep it throws the slopes into shade.
        gain: of the sensor and the light, per band.
        haze: reflectance that the air adds in the blue.
        glint: reflectance of the sky in water.
        clear: value of the cloud noise above which there is cloud.
        puff: size of the clouds, in pixels.
        drift: from a cloud to its shadow (y, x), in pixels.
        swath: (y, x) weights and an offset; below 0 nothing was measured.
    """

    corner: tuple[int, int]
    land: int
    key: int
    season: float
    sun: NDArray[np.float64]
    gain: Real
    haze: float
    glint: float
    clear: float
    puff: float
    drift: Whole
    swath: tuple[float, float, float]


def _weather(size: tuple[int, int], seed: Seed, corner: tuple[int, int]) -> _Weather:
    random = np.random.default_rng(seed)
    key = int(random.integers(2**32))
    season = random.uniform(0.2, 0.8)
    towards = random.uniform(0.3, 0.9) * np.pi
    low = 1 + 3 * abs(season - 0.47)  # a low sun in spring and autumn
    sun = low * np.array([np.sin(towards), np.cos(towards)])
    gain = random.uniform(0.82, 1.1) * random.normal(1, 0.05, 6)
    puff = float(np.clip(0.4 * min(size), 20, 110))
    drift = np.rint(random.uniform(0.13, 0.22) * puff * -sun).astype(np.int64)
    # So that no picture is all cloud and shadow, their share is chosen and not the threshold.
    share = max(0.0, random.uniform(-0.07, 0.13))
    grid = [np.linspace(0, axis - 1, min(axis, 64)).astype(np.int64) for axis in size]
    grid = [line + first for line, first in zip(grid, corner, strict=True)]
    moved = [line - step for line, step in zip(grid, drift, strict=True)]
    seen = [noise(key, y, x, puff, _PUFFS) for y, x in (grid, moved)]
    clear = float(np.quantile(seen, 1 - share)) if share else np.inf
    # In some a corner lies outside of the swath; the signs say which.
    down, right = random.choice([-1, 1], 2) / (random.uniform(0.15, 0.6, 2) * size)
    edge = -1 - min(down, 0) * (size[0] - 1) - min(right, 0) * (size[1] - 1)
    swath = (down, right, edge) if random.random() < 0.4 else (0.0, 0.0, 0.0)
    return _Weather(
        corner=corner,
        land=seed if isinstance(seed, int) else seed[0],
        key=key,
        season=season,
        sun=6 * sun,
        gain=gain.astype(np.float32),
        haze=random.uniform(0.0, 0.045),
        glint=max(0.0, random.uniform(-0.02, 0.035)),
        clear=clear,
        puff=puff,
        drift=drift,
        swath=swath,
    )


def _tiles(window: Window) -> Iterator[Window]:
    """Part a window along the multiples of `TILE`, on which the sensor's noise depends."""
    rows, columns = (_cuts(part) for part in window)
    for row in rows:
        for column in columns:
            yield row, column


def _cuts(part: slice) -> list[slice]:
    inner = range((part.start // TILE + 1) * TILE, part.stop, TILE)
    return [slice(a, b) for a, b in pairwise((part.start, *inner, part.stop))]


def _tile(weather: _Weather, tile: Window) -> tuple[NDArray[np.uint16], Bytes]:
    """Make one tile, as every window makes it."""
    rows, columns = (np.arange(part.start, part.stop) for part in tile)
    y, x = rows + weather.corner[0], columns + weather.corner[1]
    tall, wide = (np.arange(line[0] - _PAD, line[-1] + 1 + _PAD) for line in (y, x))
    below = ground(weather.land, tall, wide, weather.season)

    high = below.elevation
    slopes = (high[2:, 1:-1] - high[:-2, 1:-1]) / 2, (high[1:-1, 2:] - high[1:-1, :-2]) / 2
    light = sum(s * np.float32(-towards) for s, towards in zip(slopes, weather.sun, strict=True))
    wet = below.labels[1:-1, 1:-1] == WATER
    light = np.where(wet, 1, np.clip(1 + light, 0.35, 1.5))
    bands = below.reflectance[:, 1:-1, 1:-1] * light + wet * np.float32(weather.glint)
    bands = _blurred(bands)

    cloud, shadow = np.zeros((2, len(y), len(x)), np.float32)
    if np.isfinite(weather.clear):
        over = noise(weather.key, y, x, weather.puff, _PUFFS)
        cloud = np.clip(1.6 * (over - weather.clear) + 0.25, 0, 1)
        away = noise(weather.key, y - weather.drift[0], x - weather.drift[1], weather.puff, _PUFFS)
        shadow = np.clip(1.8 * (away - weather.clear) + 0.35, 0, 1)
    bands *= 1 - 0.66 * shadow
    bands += cloud * (_CLOUD[:, None, None] - bands)
    bands += (weather.haze * _HAZE)[:, None, None]

    numbers = np.arange(6)[:, None]
    stripes = 1 + np.float32(0.02) * (uniform(weather.key, numbers, columns) - np.float32(0.5))
    bands *= (weather.gain[:, None] * stripes)[:, None]
    bands += (np.float32(0.0015) + np.float32(0.012) * bands) * _grain(weather.key, tile)
    image = np.rint(np.clip(bands * 10_000, 1, 16_000)).astype(np.uint16)

    a, b, c = weather.swath
    outside = (a * rows[:, None] + b * columns + c) < 0
    labels = below.labels[_PAD:-_PAD, _PAD:-_PAD].copy()
    labels[(cloud > 0.25) | (shadow > 0.55) | outside] = IGNORE
    image[:, outside] = NODATA
    return image, labels


def _blurred(bands: Real) -> Real:
    """Blur by the width of a pixel, as optics do; loses a pixel on each side."""
    side, middle = np.float32(0.17), np.float32(0.66)
    bands = side * (bands[:, 2:] + bands[:, :-2]) + middle * bands[:, 1:-1]
    return np.asarray(side * (bands[..., 2:] + bands[..., :-2]) + middle * bands[..., 1:-1])


def _grain(key: int, tile: Window) -> Real:
    """Give the sensor's noise (6, y, x), deviation 1, of a tile within a block."""
    block = [part.start // TILE for part in tile]
    normal = np.random.default_rng((key, *block)).standard_normal((6, TILE, TILE), np.float32)
    rows, columns = (
        slice(part.start - at * TILE, part.stop - at * TILE)
        for part, at in zip(tile, block, strict=True)
    )
    return normal[:, rows, columns]
