"""An eye from inside: vessels in a round field of view."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from unetkit.data.synthetic.drawing import (
    Bytes,
    Field,
    Seed,
    begin,
    draw,
    noise,
    to_bytes,
    walk,
    within,
)


def vessels(size: tuple[int, int] = (256, 256), seed: Seed = 0) -> tuple[Bytes, Bytes, Bytes]:
    """Draw an eye's fundus: branching, tapering vessels inside a round field of view.

    Distractors: wide soft streaks, dark spots, bright patches, uneven light, noise. Vessels get
    more numerous rather than much wider with the size. Otsu's threshold scores Dice 0.26 (the best
    channel and side for each image).

    Returns:
        image (3, y, x) · mask (y, x), 255 = vessel · fov (y, x), 255 = inside.
    """
    random, (height, width) = begin(size, seed)
    radius = min(0.485 * max(size), 0.53 * min(size))
    centre = np.array([height / 2, width / 2])
    y, x = np.mgrid[:height, :width] + 0.5
    far = np.hypot(y - centre[0], x - centre[1]) / radius
    side = random.choice([-1, 1])  # the optic disc lies left or right
    disc = centre + radius * np.array([random.uniform(-0.1, 0.1), side * random.uniform(0.5, 0.66)])

    points, radii, depth = _vessel_tree(random, centre, disc, radius, side)
    cover = draw(size, points, radii)
    absorb = draw(size, points, radii, depth)
    absorb *= 1 - 0.3 * draw(size, points, np.where(radii > 1.6, radii * 0.3, 0))  # light reflex

    streaks = np.zeros(size)
    for _ in range(random.integers(9, 15)):
        path, _ = walk(random, centre + random.normal(0, radius / 2, 2), radius * 0.9, wander=0.05)
        girth = np.full(len(path), random.uniform(3, 6))
        streaks = np.maximum(streaks, random.uniform(0.3, 0.75) * draw(size, path, girth))
    streaks = ndimage.gaussian_filter(streaks, 2.2)
    spots, bright = np.zeros(size), np.zeros(size)
    for target, number, spread in ((spots, 14, 0.5), (bright, 40, 0.15)):
        home = centre + random.normal(0, radius * 0.3, 2)
        at = home + random.normal(0, radius * spread, (random.integers(number // 3, number), 2))
        target += draw(size, at, random.uniform(0.8, 3.2, len(at)), random.uniform(0.4, 1, len(at)))
    spots, bright = ndimage.gaussian_filter(spots, 0.8), ndimage.gaussian_filter(bright, 0.9)

    from_disc = np.hypot(y - disc[0], (x - disc[1]) * 1.12) / (radius * 0.155)
    glow = within(from_disc) + 0.25 * np.exp(-((from_disc / 2.2) ** 2))
    macula = np.exp(
        -(((y - centre[0]) ** 2 + (x - 2 * centre[1] + disc[1]) ** 2) / (radius / 4) ** 2)
    )
    tilt = random.normal(0, 0.16, 2) @ np.stack([y - centre[0], x - centre[1]]).reshape(2, -1)
    light = 1 - 0.38 * far**2 + tilt.reshape(size) / radius
    light *= 1 + 0.09 * noise(random, size, radius / 4) + 0.035 * noise(random, size, 3)
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
    return to_bytes(hue), to_bytes(((cover >= 0.5) & inside) * 255), to_bytes(inside * 255)


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
        path, heading = walk(random, start, length, angle=angle, bend=bend)
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
