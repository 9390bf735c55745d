"""Under the microscope: fluorescent nuclei, and nerve tissue cut for electrons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from unetkit.data.synthetic.drawing import Bytes, Seed, begin, noise, to_bytes, turned

_APART = 23  # pixels: nuclei whose centres are further apart never get in each other's way


def cells(size: tuple[int, int] = (256, 256), seed: Seed = 0) -> tuple[Bytes, NDArray[np.uint16]]:
    """Draw fluorescent nuclei, many of them touching, of unequal brightness under uneven light.

    Otsu's threshold scores Dice 0.79, and joins the nuclei that touch.

    Returns:
        image (1, y, x) · instances (y, x), ids 1 … n in no order, 0 = background.
    """
    random, (height, width) = begin(size, seed)
    number = max(3, round(height * width / random.uniform(1300, 2600)))
    homes = random.uniform(0, size, (max(1, number // 4), 2))
    wanted = homes[random.integers(0, len(homes), number * 3)] + random.normal(
        0, 22, (number * 3, 2)
    )
    closest, markers = np.full(size, np.inf), np.zeros(size, np.int32)
    bright, placed = np.zeros(size), 0
    squares: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
    for centre in wanted:
        r = random.uniform(7, 13)
        if placed >= number or not ((centre >= 0) & (centre < size)).all():
            continue
        row, column = (centre // _APART).astype(int)
        home, *around = [(row + i, column + j) for i in (0, -1, 1) for j in (0, -1, 1)]
        near = [one for square in (home, *around) for one in squares.get(square, ())]
        others = np.reshape(near, (-1, 3))
        apart = np.hypot(*(others[:, :2] - centre).T) - 0.85 * (others[:, 2] + r)
        if (apart < 0).any():
            continue
        placed += 1
        squares.setdefault(home, []).append((centre[0], centre[1], r))
        turn, long = random.uniform(0, np.pi), random.uniform(1, 1.25)
        window, u, v = turned(size, centre, 2 * r, turn)
        round_ = np.arctan2(v, u)
        edge = r * (1 + 0.06 * np.sin(2 * round_ + turn) + 0.04 * np.sin(3 * round_ - turn))
        rho = np.hypot(u / long, v * long) / edge
        markers[int(centre[0]), int(centre[1])] = placed
        profile = np.sqrt(np.clip(1.08 - rho**3, 0, None)) * random.lognormal(0, 0.45)
        bright[window] = np.where(rho < closest[window], profile, bright[window])
        closest[window] = np.minimum(closest[window], rho)
    instances = watershed(closest, markers, mask=closest < 1)  # type: ignore[no-untyped-call]
    texture = 1 + 0.22 * noise(random, size, 1.6) + 0.12 * noise(random, size, 4)
    light = 1 + 0.25 * noise(random, size, min(size) / 4)
    haze = ndimage.gaussian_filter(bright, 9)  # light from out of focus: a bright background
    signal = 95 * bright * texture + 45 * haze + 14 + 4 * noise(random, size, 12)
    signal = ndimage.gaussian_filter(signal * np.clip(light, 0.4, None), 1.0)
    signal = random.poisson(np.clip(signal, 0, None) * 1.5) / 1.5 + random.normal(0, 2, size)
    return to_bytes(signal)[None], instances.astype(np.uint16)


def membranes(size: tuple[int, int] = (256, 256), seed: Seed = 0) -> tuple[Bytes, Bytes]:
    """Draw nerve tissue in an electron microscope: cell bodies, membranes, vesicles, mitochondria.

    Vesicles and mitochondria have outlines as dark as the membranes and count as cell interior.
    Otsu's threshold scores Dice 0.83 on the membranes.

    Returns:
        image (1, y, x) · mask (y, x), 255 = cell interior, 0 = membrane.
    """
    random, (height, width) = begin(size, seed)
    margin = 24
    shape = (height + 2 * margin, width + 2 * margin)
    # A jittered grid gives rounder cells than independent points.
    seeds = np.mgrid[0 : shape[0] : 24, 0 : shape[1] : 24].reshape(2, -1).T
    seeds = np.minimum(seeds + random.uniform(0, 24, seeds.shape), np.array(shape) - 1)
    owner = np.arange(1, len(seeds) + 1)
    for home in random.uniform(0, shape, (max(2, len(seeds) // 20), 2)):  # some cells are large
        owner[np.hypot(*(seeds - home).T) < random.uniform(18, 50)] = owner.max() + 1
    canvas = np.zeros(shape, np.int64)
    canvas[tuple(seeds.astype(int).T)] = owner
    where = ndimage.distance_transform_edt(canvas == 0, return_distances=False, return_indices=True)
    shift = np.stack([7 * noise(random, shape, 20) + 1.2 * noise(random, shape, 5) for _ in "yx"])
    warped = np.clip(np.indices(shape) + shift, 0, np.array(shape)[:, None, None] - 1).astype(int)
    region = canvas[tuple(where)][tuple(warped)][margin:-margin, margin:-margin]
    edge = np.zeros(size, bool)
    edge[1:] |= region[1:] != region[:-1]
    edge[:, 1:] |= region[:, 1:] != region[:, :-1]
    off = ndimage.distance_transform_edt(~edge) if edge.any() else np.full(size, 99.0)
    thick = np.clip(1.9 + 0.5 * noise(random, size, 18), 1.1, 3.2)
    fade = np.clip(0.85 + 0.22 * noise(random, size, 20), 0.35, 1.1)  # cut at a slant
    dark = fade * np.exp(-((off / (1.15 * thick)) ** 2))

    rings = np.zeros(size)
    spots = random.uniform(0, size, (height * width // 420, 2)).astype(int)
    crowded = noise(random, size, 25)
    for cy, cx in spots:
        if off[cy, cx] > 7 and crowded[cy, cx] > -0.2:
            near, v, u = turned(size, (cy, cx), 7, 0)
            ring = np.hypot(u, v) - random.uniform(1.8, 4.2)
            rings[near] = np.maximum(rings[near], random.uniform(0.5, 1) * np.exp(-(ring**2) / 1.4))
    for cy, cx in spots[: len(spots) // 2]:
        if off[cy, cx] > 13 and random.random() < 0.5:
            r = min(off[cy, cx] - 3, 20)
            near, u, v = turned(size, (cy, cx), 1.2 * r, random.uniform(0, np.pi))
            rho = np.hypot(u / r, v / (r * 0.62))
            cristae = 0.38 + 0.22 * np.sin(v * 1.7 + 2 * np.sin(u / 5))
            body = np.where(rho < 1, cristae, 0) + 0.55 * np.exp(-(((rho - 1) * r / 1.4) ** 2))
            rings[near] = np.where(rho < 1.15, body, rings[near])
    grey = 168 + 9 * noise(random, size, 45) + 9 * noise(random, size, 2)
    grey -= 122 * np.maximum(dark, rings)
    grey = ndimage.gaussian_filter(grey, 0.7) + random.normal(0, 11, size)
    return to_bytes(grey)[None], to_bytes((off > thick) * 255)
