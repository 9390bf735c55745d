"""A scan of a body: an organ of two parts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unetkit.data.synthetic.drawing import Bytes, Field, Seed, begin, noise, within

SPACING = (2.0, 1.0, 1.0)  # mm per voxel of `volume`: thick slices, as scanners give


def volume(
    size: tuple[int, int, int] = (24, 64, 64), seed: Seed = 0
) -> tuple[NDArray[np.float32], Bytes]:
    """Draw a scan with one organ in two parts (1 in front of 2) among blobs of the same brightness.

    Voxels are 2 mm thick and 1 mm wide (`SPACING`); shapes are round in millimetres. Otsu's
    threshold scores Dice 0.25 on the organ.

    Returns:
        image (1, z, y, x), float32 in arbitrary units · labels (z, y, x), 0 background, 1, 2.
    """
    random, _ = begin(size, seed)
    spacing = np.array(SPACING)
    mm = (np.moveaxis(np.indices(size), 0, -1) + 0.5) * spacing
    extent = np.array(size) * spacing
    wobble = 1 + 0.1 * noise(random, size, 4)

    def blob(centre: Field, radii: Field, angle: float) -> Field:
        away = mm - centre
        y = away[..., 1] * np.cos(angle) + away[..., 2] * np.sin(angle)
        x = away[..., 2] * np.cos(angle) - away[..., 1] * np.sin(angle)
        distance = np.sqrt(
            (away[..., 0] / radii[0]) ** 2 + (y / radii[1]) ** 2 + (x / radii[2]) ** 2
        )
        return np.asarray(distance * wobble)

    middle = extent * random.uniform(0.42, 0.58, 3)
    angle, reach = random.uniform(0, 2 * np.pi), extent.min() * random.uniform(0.22, 0.27)
    ahead = np.array([0, np.cos(angle), np.sin(angle)]) * reach * 0.65
    front = blob(middle + ahead, reach * random.uniform(0.7, 1, 3), angle)
    back = blob(middle - ahead, reach * random.uniform([0.5, 1, 0.5], [0.8, 1.5, 0.8]), angle)
    labels = np.where(np.minimum(front, back) < 1, np.where(front < back, 1, 2), 0)
    organ = np.minimum(front, back)
    grey = 100 * (1 + 0.1 * noise(random, size, 9)) + 62 * within(organ)
    grey += 14 * within(front)
    for _ in range(6):
        where, radii = extent * random.uniform(0, 1, 3), reach * random.uniform(0.3, 0.75, 3)
        other = within(blob(where, radii, random.uniform(0, np.pi)))
        grey += random.uniform(40, 75) * other * (organ > 1.25)
    grey += 9 * noise(random, size, 0.8) + random.normal(0, 5, size)
    return grey[None].astype(np.float32), labels.astype(np.uint8)
