"""Scores of surfaces in physical units: how far off is the contour, and how much of it is right?

One definition holds for every score here:

* The surface of a mask is its pixels with a face neighbour outside it (4 in 2D, 6 in 3D). Outside
  the image lies background, so a mask that touches the image's border has a surface there.
* A distance is the Euclidean one from the centre of a surface pixel to the nearest centre of a
  surface pixel of the other mask, each axis times its spacing.
* `valid`: both masks are cleared where it is false. A mask that leaves the field of view therefore
  has a surface along its rim, which both masks share where both leave it.
* Both masks empty: distance 0, surface Dice 1. Only one of them empty: the distance is the diagonal
  of the image (all of it, whatever `valid` says), more than any distance inside it, and surface
  Dice is 0. MONAI says inf or nan there: no mean survives the one, and the other drops the worst
  image from it.
* No valid pixel: every score is nan, as in `unetkit.metrics.overlap`.

MONAI counts pixels of surfaces in the same way and agrees wherever neither mask is empty. The
package `surface-distance` (DeepMind) does not: its elements are the cells between pixels that the
surface crosses (as in marching squares and cubes), each weighed by its length or area, so means,
percentiles and shares are of area. That layer is thicker, and distances to it are shorter: for two
concentric balls of radii 12.3 and 9.3 an ASSD of 2.50 (mean of both ways), here 2.82.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from unetkit.errors import InputError
from unetkit.metrics.overlap import binary

Array = NDArray[Any]
Distances = NDArray[np.float64]

SLACK = 1e-9  # of the tolerance: 3 pixels of 0.1 are 0.30000000000000004


def boundary_scores(
    prediction: Array,
    truth: Array,
    *,
    valid: Array | None = None,
    spacing: Sequence[float] | None = None,
    tolerance: float | None = None,
) -> dict[str, float]:
    """Give all scores of the surfaces of one binary image from distances measured once.

    Args:
        prediction: bool, or 0 and non-zero; (y, x) or (z, y, x).
        truth: the same, same shape.
        valid: both masks are cleared where it is false.
        spacing: size of a pixel along each axis; `None` measures in pixels.
        tolerance: for `nsd`, in the unit of `spacing`; `None` is one pixel along the coarsest axis,
            max(spacing).

    Returns:
        hd95, see `hausdorff` · assd, see `average_surface_distance` · nsd, see `surface_dice`. The
        first two are in the unit of `spacing`; the module says what empty masks score.

    Raises:
        InputError: shapes differ, an array holds floats or has neither 2 nor 3 axes, or spacing or
            tolerance makes no sense.

    Example:
        >>> boundary_scores(np.array([[1, 0, 0, 0]]), np.array([[0, 0, 1, 0]]), spacing=(2.0, 1.5))
        {'hd95': 3.0, 'assd': 3.0, 'nsd': 0.0}
    """
    sizes = _sizes(np.ndim(prediction), spacing)
    within = _tolerance(tolerance, sizes)
    there, back = _distances(prediction, truth, valid, sizes)
    return {
        "hd95": _hausdorff(there, back, 95.0),
        "assd": _average(there, back),
        "nsd": _share(there, back, within),
    }


def hausdorff(
    prediction: Array,
    truth: Array,
    *,
    percentile: float = 95.0,
    valid: Array | None = None,
    spacing: Sequence[float] | None = None,
) -> float:
    """Give the Hausdorff distance: how far apart the surfaces are nearly everywhere (HD95).

    The greater of two percentiles: of the distances from the prediction's surface to the truth's,
    and from the truth's to the prediction's (Huttenlocher et al. 1993, the partial distance). Some
    tools take one percentile of both sets together instead, which hides a missing part.

    Args:
        prediction: bool, or 0 and non-zero; (y, x) or (z, y, x).
        truth: the same, same shape.
        percentile: above 0, up to 100; between two distances it is interpolated linearly. 100 is
            the classical maximum, which one stray pixel decides.
        valid: both masks are cleared where it is false.
        spacing: size of a pixel along each axis; `None` measures in pixels.

    Returns:
        A distance in the unit of `spacing`; the module says what empty masks score.

    Raises:
        InputError: as `boundary_scores`, or the percentile lies outside its range.
    """
    if not 0 < percentile <= 100:
        raise InputError(
            f"{percentile} is none", where="percentile", cure="use a number like 95, up to 100"
        )
    sizes = _sizes(np.ndim(prediction), spacing)
    return _hausdorff(*_distances(prediction, truth, valid, sizes), percentile)


def average_surface_distance(
    prediction: Array,
    truth: Array,
    *,
    valid: Array | None = None,
    spacing: Sequence[float] | None = None,
) -> float:
    """Give the average symmetric surface distance (ASSD): the mean over both surfaces' pixels.

    The distances of both directions are pooled before the mean (as in Heimann et al. 2009), so the
    longer surface weighs more; the mean of the two directed means is another number.

    Args:
        prediction: bool, or 0 and non-zero; (y, x) or (z, y, x).
        truth: the same, same shape.
        valid: both masks are cleared where it is false.
        spacing: size of a pixel along each axis; `None` measures in pixels.

    Returns:
        A distance in the unit of `spacing`; the module says what empty masks score.

    Raises:
        InputError: as `boundary_scores`.
    """
    sizes = _sizes(np.ndim(prediction), spacing)
    return _average(*_distances(prediction, truth, valid, sizes))


def surface_dice(
    prediction: Array,
    truth: Array,
    *,
    tolerance: float | None = None,
    valid: Array | None = None,
    spacing: Sequence[float] | None = None,
) -> float:
    """Give the normalised surface Dice (NSD): the share of both surfaces within the tolerance.

    Surface pixels of either mask no further than the tolerance from the other's surface, over all
    surface pixels (Nikolov et al. 2018, arXiv 1809.04430, counted in pixels instead of area).

    Args:
        prediction: bool, or 0 and non-zero; (y, x) or (z, y, x).
        truth: the same, same shape.
        tolerance: in the unit of `spacing`, itself included; `None` is one pixel along the coarsest
            axis, max(spacing). Best is the disagreement of two people on the same images.
        valid: both masks are cleared where it is false.
        spacing: size of a pixel along each axis; `None` measures in pixels.

    Returns:
        0 to 1, where 1 is best; the module says what empty masks score.

    Raises:
        InputError: as `boundary_scores`.
    """
    sizes = _sizes(np.ndim(prediction), spacing)
    within = _tolerance(tolerance, sizes)
    return _share(*_distances(prediction, truth, valid, sizes), within)


def _sizes(axes: int, spacing: Sequence[float] | None) -> tuple[float, ...]:
    if axes not in (2, 3):
        raise InputError(
            f"{axes} axes", where="boundary", cure="give one image as (y, x) or (z, y, x)"
        )
    if spacing is None:
        return (1.0,) * axes
    sizes = tuple(float(size) for size in np.atleast_1d(spacing))
    if len(sizes) != axes:
        raise InputError(
            f"{len(sizes)} numbers for {axes} axes", where="spacing", cure="give one for each axis"
        )
    if not all(0 < size < math.inf for size in sizes):
        raise InputError(f"{sizes} is no size", where="spacing", cure="use numbers above 0")
    return sizes


def _tolerance(tolerance: float | None, sizes: tuple[float, ...]) -> float:
    if tolerance is None:
        return max(sizes)
    if not 0 <= tolerance < math.inf:
        raise InputError(
            f"{tolerance} is no distance", where="tolerance", cure="use 0 or a number above it"
        )
    return float(tolerance)


def _distances(
    prediction: Array, truth: Array, valid: Array | None, sizes: tuple[float, ...]
) -> tuple[Distances, Distances]:
    """Measure from each surface pixel to the other surface: prediction to truth, truth to it.

    A mask that is empty has no distances, and the other's are the diagonal. Without a valid pixel,
    both are one nan.
    """
    p, t, v = binary(prediction, truth, valid)
    if v is not None:
        p, t = p & v, t & v
    if not p.size or (v is not None and not v.any()):
        return np.array([math.nan]), np.array([math.nan])
    # Nothing of either mask lies outside this box, so its rim is as good as the image's.
    found = ndimage.find_objects((p | t).view(np.uint8))
    box = found[0] if found else (slice(0),) * p.ndim
    surfaces = [_surface(mask[box], sizes) for mask in (p, t)]
    diagonal = math.hypot(*(n * size for n, size in zip(p.shape, sizes, strict=True)))
    there, back = (_nearest(a, b, diagonal) for a, b in (surfaces, surfaces[::-1]))
    return there, back


def _surface(mask: NDArray[np.bool_], sizes: tuple[float, ...]) -> Distances:
    """List a mask's surface pixels as (pixel, axis) in physical units."""
    points: Distances = np.argwhere(mask & ~ndimage.binary_erosion(mask)) * np.array(sizes)
    return points


def _nearest(surface: Distances, other: Distances, diagonal: float) -> Distances:
    if not len(surface) or not len(other):
        return np.full(len(surface), diagonal)
    # A tree of the surface, not a distance transform of the box: time and memory then follow the
    # surface, not the volume. Only where a mask is all surface, as noise is, the tree is slower.
    # Balancing it costs more than it gains.
    tree = KDTree(other, leafsize=32, balanced_tree=False)
    return np.asarray(tree.query(surface)[0], np.float64)


def _hausdorff(there: Distances, back: Distances, percentile: float) -> float:
    return max(
        (float(np.percentile(way, percentile)) for way in (there, back) if way.size), default=0.0
    )


def _average(there: Distances, back: Distances) -> float:
    both = np.concatenate([there, back])
    return float(both.mean()) if both.size else 0.0


def _share(there: Distances, back: Distances, tolerance: float) -> float:
    both = np.concatenate([there, back])
    if np.isnan(both).any():
        return math.nan
    if not there.size or not back.size:  # a tolerance above the diagonal forgives no empty mask
        return float(not both.size)
    return float(np.mean(both <= tolerance * (1 + SLACK)))
