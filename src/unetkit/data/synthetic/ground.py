"""The ground that a satellite sees: land cover, what grows and stands there, and its spectrum.

A pure function of the seed, the place and the day of the year. See `satellite` for what it shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.data.synthetic.lattice import (
    Cells,
    Hash,
    Real,
    Whole,
    cells_around,
    hashed,
    noise,
    uniform,
)

BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")
CLASSES = ("water", "forest", "field", "built")
WATER, FOREST, FIELD, BUILT = range(4)

# Typical reflectances in the six bands, rounded.
_SPECTRA: dict[str, tuple[float, ...]] = {
    "deep": (0.045, 0.040, 0.025, 0.016, 0.013, 0.010),
    "silty": (0.070, 0.090, 0.085, 0.055, 0.038, 0.027),
    "algae": (0.035, 0.065, 0.040, 0.170, 0.065, 0.030),
    "conifer": (0.022, 0.035, 0.024, 0.210, 0.095, 0.042),
    "broadleaf": (0.029, 0.054, 0.031, 0.350, 0.160, 0.070),
    "twigs": (0.045, 0.060, 0.070, 0.190, 0.190, 0.125),
    "crop": (0.031, 0.058, 0.034, 0.370, 0.165, 0.075),
    "ripe": (0.070, 0.110, 0.140, 0.290, 0.290, 0.205),
    "grass": (0.037, 0.068, 0.048, 0.310, 0.185, 0.095),
    "soil": (0.085, 0.115, 0.150, 0.215, 0.280, 0.240),
    "peat": (0.034, 0.043, 0.053, 0.075, 0.090, 0.070),
    "flooded": (0.057, 0.065, 0.057, 0.038, 0.026, 0.019),
    "asphalt": (0.080, 0.090, 0.100, 0.115, 0.130, 0.120),
    "tile": (0.075, 0.095, 0.150, 0.220, 0.270, 0.245),
    "concrete": (0.150, 0.175, 0.195, 0.225, 0.255, 0.240),
    "metal": (0.330, 0.340, 0.350, 0.360, 0.340, 0.310),
    "garden": (0.040, 0.068, 0.052, 0.260, 0.170, 0.095),
}
_NUMBER = {name: np.uint8(number) for number, name in enumerate(_SPECTRA)}
_TABLE = np.array(list(_SPECTRA.values()), np.float32)

# How much of the soil plants hide over the year (0 = 1 January), and from when they are ripe.
_CROPS = {
    "cereal": ([0, 0.2, 0.35, 0.55, 0.6, 1], [0.3, 0.5, 0.95, 0.9, 0.05, 0.3], 0.47),
    "maize": ([0, 0.38, 0.5, 0.75, 0.8, 1], [0, 0.03, 0.9, 0.95, 0.05, 0], 0.71),
    "meadow": ([0, 0.25, 0.4, 0.7, 1], [0.7, 0.8, 0.95, 0.85, 0.7], 2.0),
    "fallow": ([0, 0.3, 0.6, 1], [0.02, 0.1, 0.3, 0.1], 2.0),
    "rice": ([0, 0.35, 0.55, 0.7, 0.75, 1], [0, 0.05, 0.9, 0.9, 0.05, 0], 0.67),
}
_DAYS = 64  # steps of the year in a table
_SHARES = (0.33, 0.60, 0.77, 0.89)  # of fields, up to each crop but the last

_FIELDS = (
    *("elevation", "bend_y", "bend_x", "cells", "river", "breadth", "town", "wood"),
    *("silt", "algae", "conifer", "wet", "grain", "patch"),
)


@dataclass(frozen=True, eq=False)
class Ground:
    """A window of the ground: labels (y, x), reflectance (6, y, x) and elevation (y, x)."""

    labels: NDArray[np.uint8]
    reflectance: Real
    elevation: Real


@dataclass(frozen=True, eq=False)
class _Parcels:
    """The land register: random bits of each parcel, and coordinates along its sides in pixels."""

    name: Hash
    along: Real
    across: Real
    margin: Real


def ground(seed: int, rows: Whole, columns: Whole, season: float) -> Ground:
    """Make the ground at consecutive rows and columns, on a day from 0 to 1 of the year."""
    state = np.random.SeedSequence(seed).generate_state(len(_FIELDS))
    keys = dict(zip(_FIELDS, state.tolist(), strict=True))

    def wavy(name: str, wave: float, octaves: int = 1) -> Real:
        return noise(keys[name], rows, columns, wave, octaves)

    y, x = (
        line + 9 * wavy(name, 60, 2)
        for line, name in (
            (rows[:, None].astype(np.float32), "bend_y"),
            (columns.astype(np.float32), "bend_x"),
        )
    )
    cells = cells_around(keys["cells"], y, x, 130)
    parcels = _parcels(cells)
    own = (uniform(1, parcels.name) - np.float32(0.5)) * np.float32(3.46)  # deviation 1
    elevation = wavy("elevation", 150, 4)
    lake = elevation < -1.2
    river = _river(keys, rows, columns, elevation) & ~lake
    town = wavy("town", 120, 3) + 0.3 * own - 0.35 * np.maximum(elevation, 0)
    # Roads run along the borders of the register's districts, and bridge rivers but no lakes.
    road = (cells.edge < 1.3) & (uniform(2, cells.owner ^ cells.beyond) < 0.7)
    wood = 0.85 * wavy("wood", 100, 3) + 0.4 * elevation + 0.35 * own

    labels = np.full(elevation.shape, FIELD, np.uint8)
    labels[wood > 0.45] = FOREST
    labels[town > 0.8] = BUILT
    labels[river] = WATER
    labels[road] = BUILT
    labels[lake] = WATER

    grain, patch = wavy("grain", 1.8), wavy("patch", 14, 2)
    layers = {
        WATER: _water(wavy("silt", 90, 2), wavy("algae", 40, 3), river, grain),
        FOREST: _forest(wavy("conifer", 70, 2) + 0.5 * own, season, grain, patch),
        FIELD: _field(parcels, wavy("wet", 45, 3) - 0.4 * elevation, season, grain, patch),
        BUILT: _built(parcels, cells.owner, town, road, grain),
    }
    kinds = (np.uint8, np.uint8, np.float32, np.float32)
    first, second, share, light = whole = [np.empty(labels.shape, kind) for kind in kinds]
    for number, layer in layers.items():
        for target, part in zip(whole, layer, strict=True):
            np.copyto(target, part, where=labels == number)
    light = np.maximum(light, np.float32(0.3))
    bands = [(t[first] * (1 - share) + t[second] * share) * light for t in _TABLE.T]
    return Ground(labels, np.stack(bands), elevation)


Layer = tuple[Any, Any, Any, Any]  # two materials, the share of the second, brightness


def _parcels(cells: Cells) -> _Parcels:
    """Part each cell into strips and these into parcels; each cell lies its own way."""
    owner = cells.owner
    turn = uniform(3, owner) * np.float32(np.pi)
    (dy, dx), sine, cosine = cells.away, np.sin(turn), np.cos(turn)
    along, across = dx * cosine + dy * sine, dy * cosine - dx * sine
    width, length = 10 + 16 * uniform(4, owner), 20 + 40 * uniform(5, owner)
    strip = np.floor(across / width)
    place = along / length + 5 * uniform(6, owner, strip.astype(np.int64))
    piece = np.floor(place)
    name = hashed(7, owner, strip.astype(np.int64), piece.astype(np.int64))
    sides = (across / width - strip, width), (place - piece, length)
    margins = [np.minimum(part, 1 - part) * whole for part, whole in sides]
    return _Parcels(name, along, across, np.minimum(*margins))


def _river(keys: dict[str, int], rows: Whole, columns: Whole, elevation: Real) -> NDArray[np.bool_]:
    """Rivers flow where a noise is 0: its height over its slope is the distance from there."""
    y, x = (np.arange(line[0] - 1, line[-1] + 2) for line in (rows, columns))
    height = noise(keys["river"], y, x, 280, 3)
    slope = np.hypot(height[2:, 1:-1] - height[:-2, 1:-1], height[1:-1, 2:] - height[1:-1, :-2]) / 2
    breadth = np.clip(2.4 + 1.4 * noise(keys["breadth"], rows, columns, 150), 1, 5.5)
    breadth *= np.clip(3 - 3 * elevation, 0, 1)  # none on the hills
    return np.asarray(np.abs(height[1:-1, 1:-1]) < breadth * slope)


def _water(silt: Real, algae: Real, river: NDArray[np.bool_], grain: Real) -> Layer:
    green = np.clip(1.2 * (algae - 0.7), 0, 1)
    muddy = np.clip(0.35 + 0.4 * silt + 0.35 * river, 0, 1)
    muddy = np.maximum(muddy, np.clip(3 * algae - 1.1, 0, 1))  # algae grow out of muddy water
    first = np.where(green > 0, _NUMBER["silty"], _NUMBER["deep"])
    second = np.where(green > 0, _NUMBER["algae"], _NUMBER["silty"])
    return first, second, np.where(green > 0, green, muddy), 1 + 0.03 * grain


def _forest(conifer: Real, season: float, grain: Real, patch: Real) -> Layer:
    days, bare = [0, 0.24, 0.36, 0.74, 0.88, 1], [1, 0.9, 0, 0, 0.9, 1]
    leafless = float(np.interp(season, days, bare))
    needles = conifer > 0.35
    first = np.where(needles, _NUMBER["conifer"], _NUMBER["broadleaf"])
    second = np.where(needles, _NUMBER["conifer"], _NUMBER["twigs"])
    share = np.clip(leafless + 0.2 * patch, 0, 1)
    return first, second, share, 1 + 0.2 * grain + 0.09 * patch  # crowns and their shadows


def _field(parcels: _Parcels, wet: Real, season: float, grain: Real, patch: Real) -> Layer:
    chance = uniform(8, parcels.name)
    crop = np.searchsorted(np.array(_SHARES, np.float32), chance).astype(np.int64)
    early = 0.09 * (uniform(9, parcels.name) - np.float32(0.5))
    day = np.clip(((season + early) * _DAYS).astype(np.int64), 0, _DAYS - 1)
    days = (np.arange(_DAYS) + 0.5) / _DAYS
    grown = np.array([np.interp(days, x, y) for x, y, _ in _CROPS.values()], np.float32)
    ripe = np.array([days > since for *_, since in _CROPS.values()])
    share = np.clip(grown[crop, day] + 0.12 * patch, 0, 1)
    meadow, rice = crop == 2, crop == 4
    second = np.where(meadow, _NUMBER["grass"], _NUMBER["crop"])
    second = np.where(ripe[crop, day], _NUMBER["ripe"], second)
    # Bare soil is dark where it is peat or wet, and where it is wettest water stands on it.
    dark = (uniform(10, parcels.name) < 0.25) | (wet > 1.1)
    first = np.where(dark, _NUMBER["peat"], _NUMBER["soil"])
    first = np.where(rice | (wet > 1.45), _NUMBER["flooded"], first)
    share = np.where(wet > 1.45, 0.5 * share, share)
    first = np.where((parcels.margin < 0.8) & ~dark, _NUMBER["grass"], first)
    period = 2.3 + 2 * uniform(11, parcels.name)
    lines = np.abs(parcels.across / period % 1 - 0.5) - 0.25  # ploughed and sown in lines
    tone = 0.82 + 0.36 * uniform(12, parcels.name)
    light = tone * (1 + 0.05 * grain + 0.06 * patch + 0.3 * lines * (1 - 0.6 * meadow))
    return first, second, share, light


def _built(
    parcels: _Parcels, owner: Hash, town: Real, road: NDArray[np.bool_], grain: Real
) -> Layer:
    along, across = parcels.along, parcels.across
    lot = np.floor(across / 6.5), np.floor(along / 5.5)
    works = uniform(13, parcels.name) < 0.16  # a hall fills the parcel
    house = hashed(14, owner, *(part.astype(np.int64) for part in lot))
    house = np.where(works, hashed(15, parcels.name), house)
    sides = across / 6.5 - lot[0], along / 5.5 - lot[1]
    inside = (sides[0] > 0.14) & (sides[0] < 0.78) & (sides[1] > 0.14) & (sides[1] < 0.8)
    dense = np.clip(0.5 + 0.45 * (town - 0.8), 0.5, 0.95)
    roof = np.where(works, parcels.margin > 2, inside & (uniform(16, house) < dense))
    street = road | (across % 19.5 < 1.7) | (along % 33 < 1.7)
    kind, kinds = uniform(17, house), ("tile", "asphalt", "concrete", "metal")
    sort = np.searchsorted(np.array([0.42, 0.66, 0.9], np.float32), kind)
    sort = np.where(works, np.maximum(sort, 1), sort)
    roofs = np.array([_NUMBER[name] for name in kinds])[sort]
    yard = np.where(uniform(18, house) < 0.75, _NUMBER["garden"], _NUMBER["concrete"])
    material = np.where(street & ~(works & roof), _NUMBER["asphalt"], np.where(roof, roofs, yard))
    material = np.where(road, _NUMBER["asphalt"], material)
    light = (0.78 + 0.44 * uniform(19, house)) * (1 + 0.06 * grain)
    return material, material, np.float32(0), np.where(road, 1 + 0.06 * grain, light)
