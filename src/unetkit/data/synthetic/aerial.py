"""A landscape from an aeroplane: roads."""

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
    turned,
    walk,
)


def roads(size: tuple[int, int] = (256, 256), seed: Seed = 0) -> tuple[Bytes, Bytes]:
    """Draw a landscape from the air: roads between fields, half hidden by trees, beside roofs.

    Roofs and bare fields have the colour of the roads; a stream has their shape. Otsu's
    threshold scores Dice 0.34 (the best channel and side for each image).

    Returns:
        image (3, y, x) · mask (y, x), 255 = road (under trees too).
    """
    random, (height, width) = begin(size, seed)
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
        path, _ = walk(random, start, span, angle=angle, wander=wander)
        return draw(size, path, np.full(len(path), girth))

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
            near, v, u = turned(size, (cy, cx), 10, main)
            roof = (np.abs(u) < random.uniform(3, 6)) & (np.abs(v) < random.uniform(4, 8))
            tone = (np.array([150, 96, 80]) if random.random() < 0.4 else paint)[:, None, None]
            tone = tone * random.normal(1, 0.06) * np.where(u > 0, 1.07, 0.9)  # two slopes
            image[:, *near] = np.where(roof, tone, image[:, *near])
    grove = random.uniform(0, size, (1 + height * width // 2200, 2))
    at = np.concatenate([home + random.normal(0, 11, (random.integers(2, 9), 2)) for home in grove])
    r = random.uniform(2, 5.5, len(at))
    shade, trees = draw(size, at + 2, r), draw(size, at, r, random.uniform(0.8, 1, len(at)))
    image *= 1 - 0.4 * shade
    leaves = np.array([58, 82, 50])[:, None, None] * (1 + 0.22 * noise(random, size, 1.2))
    image += trees * (leaves - image)
    light = 1 + 0.06 * noise(random, size, 40) + 0.035 * noise(random, size, 2)
    image = ndimage.gaussian_filter(image * light, (0, 0.7, 0.7)) + random.normal(0, 4, image.shape)
    return to_bytes(image), to_bytes((cover >= 0.5) * 255)
