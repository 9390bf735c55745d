"""The generators: pure functions of size and seed.

In each something looks like the foreground by grey value and is none, so that a threshold does not
do the work of a network.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, special
from skimage.segmentation import watershed

from unetkit.errors import InputError

Seed = int | tuple[int, ...]
Bytes = NDArray[np.uint8]
Field = NDArray[np.float64]

LEAST = 32  # pixels per axis in the plane: below, the shapes do not fit
SPACING = (2.0, 1.0, 1.0)  # mm per voxel of `volume`: thick slices, as scanners give


def vessels(size: tuple[int, int] = (256, 256), seed: Seed = 0) -> tuple[Bytes, Bytes, Bytes]:
    """Draw an eye's fundus: branching, tapering vessels inside a round field of view.

    Distractors: wide soft streaks, dark spots, bright patches, uneven light, noise. Vessels get
    more numerous rather than much wider with the size.

    Returns:
        image (3, y, x) · mask (y, x), 255 = vessel · fov (y, x), 255 = inside.
    """
    random, (height, width) = _begin(size, seed)
    radius = min(0.485 * max(size), 0.53 * min(size))
    centre = np.array([height / 2, width / 2])
    y, x = np.mgrid[:height, :width] + 0.5
    far = np.hypot(y - centre[0], x - centre[1]) / radius
    side = random.choice([-1, 1])  # the optic disc lies left or right
    disc = centre + radius * np.array([random.uniform(-0.1, 0.1), side * random.uniform(0.5, 0.66)])

    points, radii, depth = _vessel_tree(random, centre, disc, radius, side)
    cover = _draw(size, points, radii)
    absorb = _draw(size, points, radii, depth)
    absorb *= 1 - 0.3 * _draw(size, points, np.where(radii > 1.6, radii * 0.3, 0))  # light reflex

    streaks = np.zeros(size)
    for _ in range(random.integers(9, 15)):
        path, _ = _walk(random, centre + random.normal(0, radius / 2, 2), radius * 0.9, wander=0.05)
        girth = np.full(len(path), random.uniform(3, 6))
        streaks = np.maximum(streaks, random.uniform(0.3, 0.75) * _draw(size, path, girth))
    streaks = ndimage.gaussian_filter(streaks, 2.2)
    spots, bright = np.zeros(size), np.zeros(size)
    for target, number, spread in ((spots, 14, 0.5), (bright, 40, 0.15)):
        home = centre + random.normal(0, radius * 0.3, 2)
        at = home + random.normal(0, radius * spread, (random.integers(number // 3, number), 2))
        target += _draw(
            size, at, random.uniform(0.8, 3.2, len(at)), random.uniform(0.4, 1, len(at))
        )
    spots, bright = ndimage.gaussian_filter(spots, 0.8), ndimage.gaussian_filter(bright, 0.9)

    from_disc = np.hypot(y - disc[0], (x - disc[1]) * 1.12) / (radius * 0.155)
    glow = _within(from_disc) + 0.25 * np.exp(-((from_disc / 2.2) ** 2))
    macula = np.exp(
        -(((y - centre[0]) ** 2 + (x - 2 * centre[1] + disc[1]) ** 2) / (radius / 4) ** 2)
    )
    tilt = random.normal(0, 0.16, 2) @ np.stack([y - centre[0], x - centre[1]]).reshape(2, -1)
    light = 1 - 0.38 * far**2 + tilt.reshape(size) / radius
    light *= 1 + 0.09 * _noise(random, size, radius / 4) + 0.035 * _noise(random, size, 3)
    light *= 1 - 0.22 * macula
    tint = np.array([215, 112, 42]) * random.normal(1, [0.05, 0.1, 0.2])
    hue = tint[:, None, None] * light
    hue += glow * (np.array([75, 92, 62])[:, None, None] - 0.15 * hue)
    hue += bright * np.array([25, 60, 15])[:, None, None]
    dark = np.array([0.17, 0.42, 0.3])[:, None, None]
    hue *= (1 - dark * absorb) * (1 - 0.8 * dark * streaks) * (1 - 0.9 * dark * spots)
    hue = ndimage.gaussian_filter(hue, (0, 0.6, 0.6)) + random.normal(0, 3.2, hue.shape)
    inside = far <= 1
    hue = np.where(inside, hue, random.normal(6, 1.5, hue.shape))
    return _bytes(hue), _bytes(((cover >= 0.5) & inside) * 255), _bytes(inside * 255)


def _vessel_tree(
    random: np.random.Generator, centre: Field, disc: Field, radius: float, side: int
) -> tuple[Field, Field, Field]:
    """Grow trunks from the optic disc; return points (n, 2), radii and contrasts in pixels."""
    girth = 2.7 * np.sqrt(radius / 124)
    # Angle at the disc, total turn, length: arcades around the macula, nasal and macular vessels.
    plan = [(-1.35, 1.45, 1.9), (-0.95, 0.85, 1.7), (-2.3, 0.1, 0.8), (-0.35, 0.3, 0.75)]
    grow = []
    for upper in (1, -1):
        for number, (angle, turn, length) in enumerate(plan):
            a, bend = (
                upper * (angle + random.normal(0, 0.12)),
                upper * turn * random.normal(1, 0.15),
            )
            a, bend = (a, bend) if side < 0 else (np.pi - a, -bend)
            thick = girth * random.uniform(0.8, 1.1) * (1, 0.8, 0.6, 0.4)[number]
            contrast = random.uniform(0.75, 1.1)
            grow.append((disc + random.normal(0, 2, 2), a, bend, length * radius, thick, contrast))
    points, radii, depth = [], [], []
    while grow:
        start, angle, bend, length, thick, contrast = grow.pop()
        path, heading = _walk(random, start, length, angle=angle, bend=bend)
        gone = np.flatnonzero(np.hypot(*(path - centre).T) > radius + 3)
        path = path[: gone[0] if gone.size else None]
        along = np.arange(len(path)) / length
        calibre = np.maximum(thick * (1 - 0.7 * along), 0.5)
        points.append(path)
        radii.append(calibre)
        depth.append(contrast * np.clip(0.35 + 0.4 * calibre, 0, 1))
        at, hand = random.uniform(0.08, 0.2) * radius, random.choice([-1, 1])
        while at < len(path):
            i = int(at)
            child = calibre[i] * random.uniform(0.45, 0.85)
            if child > 0.5:
                fork, hand = heading[i] + hand * random.uniform(0.4, 1.0), -hand
                reach = radius * random.uniform(0.25, 0.75) * min(1, 0.3 + 1.2 * child / girth)
                bend = hand * random.normal(0.5, 0.5)  # side branches turn along with the trunk
                grow.append((path[i], fork, bend, reach, child, contrast))
            at += random.exponential(0.13 * radius) + 0.04 * radius
    return np.concatenate(points), np.concatenate(radii), np.concatenate(depth)


def cells(size: tuple[int, int] = (256, 256), seed: Seed = 0) -> tuple[Bytes, NDArray[np.uint16]]:
    """Draw fluorescent nuclei, many of them touching, of unequal brightness under uneven light.

    Returns:
        image (1, y, x) · instances (y, x), ids 1 … n in no order, 0 = background.
    """
    random, (height, width) = _begin(size, seed)
    number = max(3, round(height * width / random.uniform(1300, 2600)))
    homes = random.uniform(0, size, (max(1, number // 4), 2))
    wanted = homes[random.integers(0, len(homes), number * 3)] + random.normal(
        0, 22, (number * 3, 2)
    )
    closest, markers = np.full(size, np.inf), np.zeros(size, np.int32)
    bright, placed = np.zeros(size), np.empty((0, 3))
    for centre in wanted:
        r = random.uniform(7, 13)
        apart = np.hypot(*(placed[:, :2] - centre).T) - 0.85 * (placed[:, 2] + r)
        if (
            (apart < 0).any()
            or len(placed) >= number
            or not ((centre >= 0) & (centre < size)).all()
        ):
            continue
        placed = np.vstack([placed, [*centre, r]])
        turn, long = random.uniform(0, np.pi), random.uniform(1, 1.25)
        window, u, v = _turned(size, centre, 2 * r, turn)
        round_ = np.arctan2(v, u)
        edge = r * (1 + 0.06 * np.sin(2 * round_ + turn) + 0.04 * np.sin(3 * round_ - turn))
        rho = np.hypot(u / long, v * long) / edge
        markers[int(centre[0]), int(centre[1])] = len(placed)
        profile = np.sqrt(np.clip(1.08 - rho**3, 0, None)) * random.lognormal(0, 0.45)
        bright[window] = np.where(rho < closest[window], profile, bright[window])
        closest[window] = np.minimum(closest[window], rho)
    instances = watershed(closest, markers, mask=closest < 1)  # type: ignore[no-untyped-call]
    texture = 1 + 0.22 * _noise(random, size, 1.6) + 0.12 * _noise(random, size, 4)
    light = 1 + 0.25 * _noise(random, size, min(size) / 4)
    haze = ndimage.gaussian_filter(bright, 9)  # light from out of focus: a bright background
    signal = 95 * bright * texture + 45 * haze + 14 + 4 * _noise(random, size, 12)
    signal = ndimage.gaussian_filter(signal * np.clip(light, 0.4, None), 1.0)
    signal = random.poisson(np.clip(signal, 0, None) * 1.5) / 1.5 + random.normal(0, 2, size)
    return _bytes(signal)[None], instances.astype(np.uint16)


def membranes(size: tuple[int, int] = (256, 256), seed: Seed = 0) -> tuple[Bytes, Bytes]:
    """Draw nerve tissue in an electron microscope: cell bodies, membranes, vesicles, mitochondria.

    Vesicles and mitochondria have outlines as dark as the membranes and count as cell interior.

    Returns:
        image (1, y, x) · mask (y, x), 255 = cell interior, 0 = membrane.
    """
    random, (height, width) = _begin(size, seed)
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
    shift = np.stack([7 * _noise(random, shape, 20) + 1.2 * _noise(random, shape, 5) for _ in "yx"])
    warped = np.clip(np.indices(shape) + shift, 0, np.array(shape)[:, None, None] - 1).astype(int)
    region = canvas[tuple(where)][tuple(warped)][margin:-margin, margin:-margin]
    edge = np.zeros(size, bool)
    edge[1:] |= region[1:] != region[:-1]
    edge[:, 1:] |= region[:, 1:] != region[:, :-1]
    off = ndimage.distance_transform_edt(~edge) if edge.any() else np.full(size, 99.0)
    thick = np.clip(1.9 + 0.5 * _noise(random, size, 18), 1.1, 3.2)
    fade = np.clip(0.85 + 0.22 * _noise(random, size, 20), 0.35, 1.1)  # cut at a slant
    dark = fade * np.exp(-((off / (1.15 * thick)) ** 2))

    rings = np.zeros(size)
    spots = random.uniform(0, size, (height * width // 420, 2)).astype(int)
    crowded = _noise(random, size, 25)
    for cy, cx in spots:
        if off[cy, cx] > 7 and crowded[cy, cx] > -0.2:
            near, v, u = _turned(size, (cy, cx), 7, 0)
            ring = np.hypot(u, v) - random.uniform(1.8, 4.2)
            rings[near] = np.maximum(rings[near], random.uniform(0.5, 1) * np.exp(-(ring**2) / 1.4))
    for cy, cx in spots[: len(spots) // 2]:
        if off[cy, cx] > 13 and random.random() < 0.5:
            r = min(off[cy, cx] - 3, 20)
            near, u, v = _turned(size, (cy, cx), 1.2 * r, random.uniform(0, np.pi))
            rho = np.hypot(u / r, v / (r * 0.62))
            cristae = 0.38 + 0.22 * np.sin(v * 1.7 + 2 * np.sin(u / 5))
            body = np.where(rho < 1, cristae, 0) + 0.55 * np.exp(-(((rho - 1) * r / 1.4) ** 2))
            rings[near] = np.where(rho < 1.15, body, rings[near])
    grey = 168 + 9 * _noise(random, size, 45) + 9 * _noise(random, size, 2)
    grey -= 122 * np.maximum(dark, rings)
    grey = ndimage.gaussian_filter(grey, 0.7) + random.normal(0, 11, size)
    return _bytes(grey)[None], _bytes((off > thick) * 255)


def roads(size: tuple[int, int] = (256, 256), seed: Seed = 0) -> tuple[Bytes, Bytes]:
    """Draw a landscape from the air: roads between fields, half hidden by trees, beside roofs.

    Roofs and bare fields have the colour of the roads; a stream has their shape.

    Returns:
        image (3, y, x) · mask (y, x), 255 = road (under trees too).
    """
    random, (height, width) = _begin(size, seed)
    seeds = random.uniform(0, size, (max(4, height * width // 2600), 2))
    canvas = np.zeros(size, np.int64)
    canvas[tuple(seeds.astype(int).T)] = np.arange(len(seeds)) + 1
    where = ndimage.distance_transform_edt(canvas == 0, return_distances=False, return_indices=True)
    field = canvas[tuple(where)]
    crops = np.array(
        [[92, 116, 66], [120, 130, 80], [146, 138, 106], [80, 102, 64], [152, 147, 134]]
    )
    colours = crops[random.integers(0, len(crops), len(seeds) + 1)].astype(float)
    colours += random.normal(0, 8, (len(seeds) + 1, 1)) + random.normal(0, 2.5, colours.shape)
    rows = random.uniform(-0.9, 0.9, (2, len(seeds) + 1))[:, field]  # ploughed, each its own way
    y, x = np.mgrid[:height, :width]
    image = colours[field].transpose(2, 0, 1) + 4 * np.sin(rows[0] * y + rows[1] * x)

    def street(angle: float, middle: Field, girth: float, wander: float) -> Field:
        span = 2.2 * max(size)
        start = middle - span / 2 * np.array([np.sin(angle), np.cos(angle)])
        path, _ = _walk(random, start, span, angle=angle, wander=wander)
        return _draw(size, path, np.full(len(path), girth))

    main, cover = random.uniform(0, np.pi), np.zeros(size)
    stream = street(random.uniform(0, np.pi), random.uniform(0, size), 4.5, 0.03)
    image += stream * (np.array([84, 100, 104])[:, None, None] - image)
    for angle in (main, main + random.normal(np.pi / 2, 0.1)):
        across = np.array([np.cos(angle), -np.sin(angle)])
        first, far = random.uniform(-0.2, 0.2) * min(size), max(size) // 150 + 1
        for step in range(-far, far + 1):
            if step == 0 or random.random() < 0.75:  # the first is there in any image
                offset = first + step * random.normal(75, 10)
                middle = np.array(size) / 2 + across * offset
                cover = np.maximum(cover, street(angle, middle, random.uniform(1.6, 3.6), 0.004))
    paint = np.array([158, 153, 146]) + random.normal(0, 6)
    image += cover * (paint[:, None, None] - image)

    beside = ndimage.distance_transform_edt(cover == 0)
    for cy, cx in random.uniform(0, size, (height * width // 900, 2)):
        off = beside[int(cy), int(cx)]
        if 9 < off < 24:  # a house
            near, v, u = _turned(size, (cy, cx), 10, main)
            roof = (np.abs(u) < random.uniform(3, 6)) & (np.abs(v) < random.uniform(4, 8))
            tone = (np.array([150, 96, 80]) if random.random() < 0.4 else paint)[:, None, None]
            tone = tone * random.normal(1, 0.06) * np.where(u > 0, 1.07, 0.9)  # two slopes
            image[:, *near] = np.where(roof, tone, image[:, *near])
    grove = random.uniform(0, size, (1 + height * width // 2200, 2))
    at = np.concatenate([home + random.normal(0, 11, (random.integers(2, 9), 2)) for home in grove])
    r = random.uniform(2, 5.5, len(at))
    shade, trees = _draw(size, at + 2, r), _draw(size, at, r, random.uniform(0.8, 1, len(at)))
    image *= 1 - 0.4 * shade
    leaves = np.array([58, 82, 50])[:, None, None] * (1 + 0.22 * _noise(random, size, 1.2))
    image += trees * (leaves - image)
    light = 1 + 0.06 * _noise(random, size, 40) + 0.035 * _noise(random, size, 2)
    image = ndimage.gaussian_filter(image * light, (0, 0.7, 0.7)) + random.normal(0, 4, image.shape)
    return _bytes(image), _bytes((cover >= 0.5) * 255)


def volume(
    size: tuple[int, int, int] = (24, 64, 64), seed: Seed = 0
) -> tuple[NDArray[np.float32], Bytes]:
    """Draw a scan with one organ in two parts (1 in front of 2) among blobs of the same brightness.

    Voxels are 2 mm thick and 1 mm wide (`SPACING`); shapes are round in millimetres.

    Returns:
        image (1, z, y, x), float32 in arbitrary units · labels (z, y, x), 0 background, 1, 2.
    """
    random, _ = _begin(size, seed)
    spacing = np.array(SPACING)
    mm = (np.moveaxis(np.indices(size), 0, -1) + 0.5) * spacing
    extent = np.array(size) * spacing
    wobble = 1 + 0.1 * _noise(random, size, 4)

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
    grey = 100 * (1 + 0.1 * _noise(random, size, 9)) + 62 * _within(organ)
    grey += 14 * _within(front)
    for _ in range(6):
        where, radii = extent * random.uniform(0, 1, 3), reach * random.uniform(0.3, 0.75, 3)
        other = _within(blob(where, radii, random.uniform(0, np.pi)))
        grey += random.uniform(40, 75) * other * (organ > 1.25)
    grey += 9 * _noise(random, size, 0.8) + random.normal(0, 5, size)
    return grey[None].astype(np.float32), labels.astype(np.uint8)


def _begin(size: tuple[int, ...], seed: Seed) -> tuple[np.random.Generator, tuple[int, ...]]:
    if min(size[-2:]) < LEAST or min(size) < LEAST // 4:
        cure = f"use {LEAST} pixels or more per axis, {LEAST // 4} slices or more"
        raise InputError(f"{size} is too small", where="size", cure=cure)
    return np.random.default_rng(seed), tuple(size)


def _noise(random: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Field:
    """Make smooth noise of mean 0 and deviation 1; by Fourier, so that any sigma costs the same."""
    spectrum = fft.rfftn(random.standard_normal(shape))
    sigma = min(sigma, max(shape) / 5)  # beyond, a small image would be constant
    spectrum = ndimage.fourier_gaussian(spectrum, sigma, n=shape[-1])
    field = fft.irfftn(spectrum, shape)
    return np.asarray((field - field.mean()) / field.std())


def _walk(
    random: np.random.Generator,
    start: Field,
    length: float,
    *,
    angle: float | None = None,
    bend: float = 0.0,
    wander: float = 0.035,
) -> tuple[Field, Field]:
    """Walk in steps of one pixel; return points (n, 2) as y, x and headings (n,) in radians."""
    n = max(2, int(length))
    angle = random.uniform(0, 2 * np.pi) if angle is None else angle
    wiggle = ndimage.gaussian_filter1d(random.standard_normal(n), 5) * 0.5
    heading = angle + bend * np.arange(n) / n + wiggle + np.cumsum(random.normal(0, wander, n))
    steps = np.stack([np.sin(heading), np.cos(heading)], axis=1)
    return start + np.cumsum(steps, axis=0), heading


def _turned(
    size: tuple[int, int], centre: Field | tuple[int, int], reach: float, angle: float
) -> tuple[tuple[slice, slice], Field, Field]:
    """Return the window around `centre` and its coordinates along the angle and across it."""
    low = np.maximum(np.floor(np.subtract(centre, reach)), 0).astype(int)
    high = np.minimum(np.ceil(np.add(centre, reach)), size).astype(int)
    window = (slice(low[0], high[0]), slice(low[1], high[1]))
    y, x = (np.mgrid[window].T + 0.5 - centre).T
    along, across = y * np.sin(angle) + x * np.cos(angle), y * np.cos(angle) - x * np.sin(angle)
    return window, along, across


def _draw(size: tuple[int, int], points: Field, radii: Field, values: Field | float = 1.0) -> Field:
    """Draw discs with soft edges at `points`, the largest value winning; close ones make lines."""
    canvas = np.zeros(size)
    order = np.argsort(-radii)
    points, radii = points[order], radii[order]
    values = np.broadcast_to(values, radii.shape)[order]
    radii = radii[radii > 0]
    reach = int(np.ceil(radii.max(initial=0))) + 1
    corner = np.floor(points).astype(int)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            # A point lies up to half a pixel from the centre of its own: thin ones end early.
            n = int(np.searchsorted(-radii, 1.21 - np.hypot(dy, dx)))
            pixel = corner[:n] + np.array([dy, dx])
            depth = radii[:n] + 0.5 - np.hypot(*(pixel + 0.5 - points[:n]).T)
            hit = (depth > 0) & ((pixel >= 0) & (pixel < size)).all(axis=1)
            ink = values[:n][hit] * np.minimum(depth[hit], 1)
            np.maximum.at(canvas, tuple(pixel[hit].T), ink)
    return canvas


def _within(distance: Field) -> Field:
    """Turn distances, 1 at the edge, into a soft disc: 1 inside, 0 outside."""
    return np.asarray(special.expit(9 * (1 - distance)))


def _bytes(array: NDArray[Any]) -> Bytes:
    return np.asarray(np.clip(np.rint(array), 0, 255).astype(np.uint8))
