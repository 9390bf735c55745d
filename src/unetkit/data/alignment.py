"""Does a mask lie where its image has edges: by how much is it shifted, or which way is it turned.

Both are reduced to at most 128² and freed of everything coarser than a few pixels, so that uneven
light, the rim of a field of view or a bright corner do not speak. Two correlations are taken, of
the borders of the mask with the edges of the image, and of the inside of the mask with brightness;
both are whitened by half (between plain and phase correlation), which makes their peaks sharp. A
peak is measured in standard deviations of the surface around it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.data.sketch import blocks

Array = npt.NDArray[Any]
Plane = npt.NDArray[np.float32]
Spectrum = npt.NDArray[np.complex64]

GRID = 128  # pixels a side, at most, of what is compared
REACH = 20  # pixels of that grid up to which the shifts of a set are summed
_LEAST = 16  # pixels a side, on the grid, below which nothing can be said
_PLANES = 6  # of a volume, among those with the most borders
_FINE, _COARSE = 9, 31  # widths of the windows that decide what is an edge

# What must be done to a mask so that it lies as its image does; the first four keep the shape.
TURNS: tuple[tuple[str, Callable[[Array], Array]], ...] = (
    ("as it is", lambda m: m),
    ("mirrored left to right", lambda m: m[..., :, ::-1]),
    ("mirrored top to bottom", lambda m: m[..., ::-1, :]),
    ("turned by 180°", lambda m: m[..., ::-1, ::-1]),
    ("transposed", lambda m: m.swapaxes(-1, -2)),
    ("turned by 90° to the left", lambda m: m.swapaxes(-1, -2)[..., ::-1, :]),
    ("turned by 90° to the right", lambda m: m.swapaxes(-1, -2)[..., :, ::-1]),
    ("transposed about the other diagonal", lambda m: m.swapaxes(-1, -2)[..., ::-1, ::-1]),
)


@dataclass(frozen=True, eq=False)
class Alignment:
    """How a mask lies on its image.

    Attributes:
        step: pixels of the image per pixel of the grid.
        shift: (y, x) in pixels of the image by which the mask is off, where the peak is.
        peak: its height in standard deviations.
        centre: the height without a shift.
        turns: the height without a shift for the mask turned by each of `TURNS`; four of them
            where the image is not square.
        surface: (2, 2·REACH + 1, 2·REACH + 1) float16, both correlations around no shift in
            standard deviations, borders first; the sign of the second is that of the contrast.
    """

    step: int
    shift: tuple[int, int]
    peak: float
    centre: float
    turns: tuple[float, ...]
    surface: npt.NDArray[np.float16]


def align(image: Array, mask: Array) -> Alignment | None:
    """Measure how a mask lies on its image; None where nothing can be said.

    Args:
        image: (c, *space), any number type; NaN and infinite pixels are passed over.
        mask: (*space) whole numbers, negative where it does not count.
    """
    planes = [(image, mask)] if mask.ndim == 2 else _slices(image, mask)
    step = max(1, -(-max(mask.shape[-2:]) // GRID))
    if min(mask.shape[-2:]) < _LEAST * step:
        return None
    compared = [_compare(picture, labels, step) for picture, labels in planes]
    parts = [part for part in compared if part is not None]
    if not parts:
        return None
    surfaces = np.sum([part[0] for part in parts], axis=0)
    return _read(surfaces, np.sum([part[1] for part in parts], axis=0), step)


def _read(surfaces: Plane, turned: Array, step: int) -> Alignment:
    scales = [_scale(surface) for surface in surfaces]
    surfaces = np.stack([(surfaces[k] - scales[k][0]) / scales[k][1] for k in (0, 2)])
    both = [combined(surfaces, sign) for sign in (1, -1)]
    height = max(both, key=lambda surface: float(surface.max()))
    y, x = np.unravel_index(int(height.argmax()), height.shape)
    rows, columns = height.shape
    # The peak says how the mask would have to move, so it is off by the opposite.
    shift = (
        -((int(y) + rows // 2) % rows - rows // 2) * step,
        -((int(x) + columns // 2) % columns - columns // 2) * step,
    )
    heights = np.stack([(t - m) / d for t, (m, d) in zip(turned, scales[1::2], strict=True)])
    turns = np.max([combined(heights, sign) for sign in (1, -1)], axis=0)
    centre = max(float(surface[np.ix_([-1, 0, 1], [-1, 0, 1])].max()) for surface in both)
    near = np.arange(-REACH, REACH + 1)
    window = np.zeros((2, 2 * REACH + 1, 2 * REACH + 1), np.float16)
    inner = [near[abs(near) <= n // 2 - 1] for n in height.shape]
    low = [REACH - len(i) // 2 for i in inner]
    window[:, low[0] : low[0] + len(inner[0]), low[1] : low[1] + len(inner[1])] = surfaces[
        :, inner[0][:, None], inner[1]
    ]
    return Alignment(
        step, shift, float(height.max()), centre, tuple(turns.round(2).tolist()), window
    )


def combined(surfaces: Array, sign: int) -> Array:
    """Add the two correlations, still in standard deviations; `sign` is that of the contrast."""
    both: Array = (surfaces[0] + sign * surfaces[1]) / np.sqrt(2)
    return both


def _scale(surface: Plane) -> tuple[float, float]:
    """Give the middle and the spread of a surface, whatever its peaks."""
    points = surface[::2, ::2]
    middle = float(np.median(points))
    return middle, 1.4826 * float(np.median(np.abs(points - middle))) + 1e-12


def _compare(image: Array, mask: Array, step: int) -> tuple[Plane, Array] | None:
    """Give both correlations for every shift, and without one for every turn.

    Returns:
        (4, y, x): borders, borders with their neighbours, inside, inside with its neighbours; and
        (2, turns): both with their neighbours.
    """
    border = np.zeros(mask.shape, np.uint8)
    border[:-1] = mask[1:] != mask[:-1]
    border[:, :-1] |= mask[:, 1:] != mask[:, :-1]
    if mask.dtype.kind == "i" and (void := mask < 0).any():
        border[void] = 0
        border[:-1][void[1:]] = 0
        border[:, :-1][void[:, 1:]] = 0
    if not border.any():
        return None
    brightness = _grey(image, step)
    coarse = contrast(brightness, _COARSE)
    edges = np.hypot(*np.gradient(coarse))
    light = contrast(brightness, _FINE)
    surfaces, turned = [], []
    count = 8 if mask.shape[0] == mask.shape[1] else 4
    for seen, drawn in (
        (edges, blocks(border, (step, step))),
        (light, blocks(mask > 0, (step, step))),
    ):
        first, second = _whitened(seen), _whitened(drawn)
        # Odd sizes leave half a pixel between a mask and its mirror image, hence the neighbours.
        near = first * _around(*drawn.shape)[1]
        surfaces += [_back(one * np.conj(second), drawn) for one in (first, near)]
        around, plain = _back(near, drawn), _back(second, drawn)
        turned.append([float(np.vdot(around, turn(plain))) for _, turn in TURNS[:count]])
    return np.stack(surfaces), np.array(turned)


def _whitened(plane: Plane) -> Spectrum:
    """Give the spectrum without what is coarse, every frequency with the root of its strength."""
    from scipy.fft import rfft2

    spectrum: Spectrum = rfft2(plane) * _around(*plane.shape)[0]
    size = np.abs(spectrum)
    spectrum /= np.sqrt(size + 1e-4 * size.max() + 1e-12)
    return spectrum


def _back(spectrum: Spectrum, plane: Plane) -> Plane:
    from scipy.fft import irfft2

    back: Plane = irfft2(spectrum, plane.shape)
    return back


@lru_cache(maxsize=16)
def _around(rows: int, columns: int) -> tuple[Plane, Plane]:
    """Give the filters that take off the mean of 17² pixels, and that average nine neighbours."""
    y, x = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None]

    def box(width: int) -> Plane:
        from scipy.special import diric

        return np.asarray(diric(2 * np.pi * y, width) * diric(2 * np.pi * x, width), np.float32)

    return 1 - box(_COARSE // 2 + 2), box(3)


def contrast(plane: Plane, width: int) -> Plane:
    """Give by how many local standard deviations each pixel differs from its neighbourhood."""
    rest = plane - _mean(plane, width)
    spread = np.sqrt(np.maximum(_mean(rest * rest, 2 * width + 1), 0))
    contrast: Plane = np.clip(rest / (spread + 0.05 * spread.mean() + 1e-9), -2.5, 2.5)
    return contrast


def _mean(plane: Plane, width: int) -> Plane:
    from scipy.ndimage import uniform_filter

    mean: Plane = uniform_filter(plane, width, mode="nearest")
    return mean


def _grey(image: Array, step: int) -> Plane:
    channels = image[:: max(1, len(image) // 4)]
    with np.errstate(invalid="ignore", over="ignore"):
        total = sum(blocks(channel, (step, step)) for channel in channels)
    grey = np.asarray(total / len(channels), np.float32)
    finite = np.isfinite(grey)
    if not finite.all():
        grey[~finite] = grey[finite].mean() if finite.any() else 0
    return grey


def _slices(image: Array, mask: Array) -> list[tuple[Array, Array]]:
    """Give the planes of a volume that hold the most borders, evenly among the good ones."""
    borders = np.array([np.count_nonzero(m[:, 1:] != m[:, :-1]) for m in mask])
    if not borders.any():
        return []
    good = np.flatnonzero(borders >= 0.3 * borders.max())
    chosen = good[np.unique(np.linspace(0, len(good) - 1, _PLANES).astype(int))]
    return [(image[:, z], mask[z]) for z in chosen]
