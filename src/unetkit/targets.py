"""What is derived from a mask: border weights, objects, skeleton tubes and signed distances.

Pure functions, numpy arrays in and out, for 2D and 3D; `*space` is `([z,] y, x)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import skeletonize

from unetkit.errors import InputError

Labels = NDArray[Any]

_VANISHED = 5e-6  # a border weight below this counts as zero


def border_weights(
    labels: Labels, w0: float = 10.0, sigma: float = 5.0, *, balance: bool = True
) -> NDArray[np.float32]:
    """Weigh the gaps between neighbouring objects: w_c + w0 · exp(−(d1 + d2)² / 2σ²).

    d1 and d2 are the Euclidean distances (pixels) to the nearest pixel of the nearest and of the
    second nearest object. The border term stands on background pixels only, as in the paper, where
    it forces narrow ridges of background between touching cells; inside objects it is 0, and it is
    0 everywhere where there are fewer than two objects. Objects that touch without a background
    pixel between them have no gap to weigh. Border weights below 5e-6 are set to 0, which bounds
    the search, so that the time depends on σ and the number of pixels, not on the objects.

    w_c balances foreground and background: each class that occurs gets the same total, and the
    mean of w_c over the labelled pixels is 1. Where one class is absent, or with
    `balance=False`, w_c is 1 everywhere.

    Args:
        labels: `(*space)` integer instance ids, 0 background. Negative values (ignored pixels) are
            weighed like background and not counted in the frequencies.
        w0: height of the border term.
        sigma: its width in pixels.
        balance: whether w_c balances the classes.

    Returns:
        `(*space)` float32.

    Raises:
        InputError: `sigma` is not positive or `w0` is negative.

    Source: Ronneberger, Fischer, Brox, MICCAI 2015 (arXiv 1505.04597), eq. 2.

    Example:
        >>> row = border_weights(np.array([[1, 0, 0, 2]]), balance=False)[0]
        >>> [round(float(w), 3) for w in row]  # in the gap 1 + 10 · exp(−(1 + 2)² / 50)
        [1.0, 9.353, 9.353, 1.0]
    """
    if not sigma > 0:
        raise InputError(f"sigma is {sigma}", where="border_weights", cure="give a positive width")
    if not w0 >= 0:
        raise InputError(f"w0 is {w0}", where="border_weights", cure="give 0 or more")
    foreground = labels > 0
    weights = _class_balance(labels) if balance else np.ones(labels.shape, np.float32)
    if w0 <= _VANISHED or not foreground.any():
        return weights
    vanished = sigma * np.sqrt(2 * np.log(w0 / _VANISHED))  # of d1 + d2
    reach = int(np.ceil(vanished - 1))  # of d2, because d1 is at least 1 in the background
    if reach < 1:
        return weights
    first, second = _two_nearest(labels, reach, half=int(vanished / 2))
    near = (second <= reach**2) & (first <= reach**2) & ~foreground
    total = np.sqrt(first[near], dtype=np.float32) + np.sqrt(second[near], dtype=np.float32)
    weights[near] += np.float32(w0) * np.exp(total**2 / np.float32(-2 * sigma**2))
    return weights


def label_objects(mask: Labels) -> NDArray[np.int32]:
    """Number the connected components of a mask that carries no ids.

    Full connectivity: pixels that meet at an edge or only at a corner belong together (8
    neighbours in 2D, 26 in 3D), because thin vessels often run along a diagonal.

    Args:
        mask: `(*space)`; values above 0 are foreground.

    Returns:
        `(*space)` int32, 0 background, components 1..n in scan order.
    """
    objects: NDArray[np.int32] = np.empty(mask.shape, np.int32)
    ndimage.label(mask > 0, structure=np.ones((3,) * mask.ndim), output=objects)
    return objects


def part_touching(labels: Labels) -> Labels:
    """Open a gap of background between objects that touch.

    Ronneberger 2015 (section 3) lets the network learn background between touching cells, under the
    high weights of eq. 2: with ids that meet without a gap there would be nothing to weigh.

    Args:
        labels: `(*space)` object ids, 0 background.

    Returns:
        The labels, with 0 wherever a neighbour (4 or 6 of them) is of another object.

    Example:
        >>> part_touching(np.array([[1, 1, 1, 2, 2, 2, 0]]))
        array([[1, 1, 0, 0, 2, 2, 0]])
    """
    parted = labels.copy()
    for axis in range(labels.ndim):
        one, other = np.moveaxis(labels, axis, 0)[:-1], np.moveaxis(labels, axis, 0)[1:]
        meet = (one != other) & (one > 0) & (other > 0)
        for side in (np.moveaxis(parted, axis, 0)[:-1], np.moveaxis(parted, axis, 0)[1:]):
            side[meet] = 0
    return parted


def skeleton(labels: Labels, radius: int = 2) -> Labels:
    """Draw the tube of skeleton recall: the thickened centre line, carrying the class.

    All foreground is merged, thinned to its skeleton (2D Zhang–Suen, 3D Lee), dilated `radius`
    times with the cross of direct neighbours, and multiplied by the label map, which gives the
    class and clips the tube to the mask. Every connected component of the foreground has a
    non-empty tube: where thinning removes a whole one (scikit-image does so for solid 3D cuboids
    with even sides), the ridge of its distance map takes the place of its skeleton.

    Args:
        labels: `(*space)` class indices; values ≤ 0 (background, ignored) are no foreground.
        radius: number of dilations; 2 gives a line 5 pixels wide, 0 the skeleton itself.

    Returns:
        `(*space)` of the same dtype: the class inside the tube, 0 elsewhere.

    Source: Kirchhoff et al., ECCV 2024 (arXiv 2404.03010), section 3.
    """
    foreground = labels > 0
    if not foreground.any():
        return np.zeros_like(labels)
    method = "zhang" if labels.ndim == 2 else "lee"
    line = skeletonize(foreground, method=method).astype(bool)  # type: ignore[no-untyped-call]
    objects = label_objects(foreground)
    lost = np.bincount(objects[line], minlength=objects.max() + 1) == 0
    lost[0] = False
    if lost.any():
        for number, box in enumerate(ndimage.find_objects(objects), 1):
            if lost[number]:
                line[box] |= _ridge(objects[box] == number)
    if radius > 0:
        line = ndimage.binary_dilation(line, iterations=radius)
    tube: Labels = np.where(line & foreground, labels, 0).astype(labels.dtype)
    return tube


def distances(mask: Labels, spacing: Sequence[float] | None = None) -> NDArray[np.float32]:
    """Measure the signed Euclidean distance to the contour, for the boundary loss.

    Outside it is the distance to the nearest foreground pixel, inside minus the distance to the
    nearest background pixel, so it steps from −1 to 1 across the contour (unit spacing). A mask
    without a contour (empty or full) gives 0 everywhere, hence no boundary loss.

    Args:
        mask: `(*space)`; values above 0 are foreground.
        spacing: size of a pixel along each axis; `None` measures in pixels.

    Returns:
        `(*space)` float32 in the unit of `spacing`.

    Source: Kervadec et al., MIDL 2019 (arXiv 1812.07032), level-set function φ_G.
    """
    foreground = mask > 0
    if foreground.all() or not foreground.any():
        return np.zeros(mask.shape, np.float32)
    outside = ndimage.distance_transform_edt(~foreground, sampling=spacing)
    inside = ndimage.distance_transform_edt(foreground, sampling=spacing)
    signed: NDArray[np.float32] = (outside - inside).astype(np.float32)
    return signed


def _class_balance(labels: Labels) -> NDArray[np.float32]:
    """Give each of the two classes half of the total weight, with mean 1."""
    foreground = labels > 0
    many, few = np.count_nonzero(labels >= 0), np.count_nonzero(foreground)
    if few in (0, many):
        return np.ones(labels.shape, np.float32)
    pair = np.array([many / (2 * (many - few)), many / (2 * few)], np.float32)
    return pair[foreground.view(np.uint8)]


def _ridge(mask: Labels) -> NDArray[np.bool_]:
    """Mark the local maxima of the distance to the background; never empty for a filled mask."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[(slice(1, -1),) * mask.ndim]
    ridge: NDArray[np.bool_] = mask & (depth == ndimage.maximum_filter(depth, size=3))
    return ridge


def _two_nearest(labels: Labels, reach: int, half: int) -> tuple[Labels, Labels]:
    """Square the distances to the nearest and second nearest object, exact up to `reach`.

    One axis after the other, each pixel keeps (d1², its label, d2²), where d2 is the distance to
    the nearest pixel of any *other* label. That is enough: of a line across the finished axes, the
    nearest object other than A is the line's first or, where that one is A, its second.

    Args:
        labels: `(*space)` instance ids.
        reach: largest distance of interest; farther ones come out as `reach**2 + 1`.
        half: d1 need not be right where it is larger than this; there the two roots add up to no
            less than the true distances do.

    Returns:
        d1² and d2², `(*space)` integers.
    """
    far = reach**2 + 1
    # Branch-free arithmetic on the narrowest integers: masked copies are ten times slower. The
    # nearest object travels as one key, d1² in the high bits and its label in the low ones.
    if labels.max() >= 2**31:  # leaves no room for the distance: number the ids afresh
        labels = np.unique(np.maximum(labels, 0), return_inverse=True)[1].reshape(labels.shape)
    bits = int(labels.max()).bit_length()
    keys: Any = np.int32 if (2 * far).bit_length() + bits < 32 else np.int64
    squares: Any = np.uint16 if far + reach**2 < 2**15 else np.uint32
    never = squares(2 ** (squares().itemsize * 8 - 1))  # lifts a candidate above every real one
    ids = np.min_scalar_type(2**bits - 1)
    key: Labels = np.where(labels > 0, labels.astype(keys), keys(far << bits))
    second = np.full(labels.shape, far, squares)
    for axis in range(labels.ndim):
        bound = min(reach, len(key) - 1)
        near = min(half, bound) if axis == labels.ndim - 1 else bound
        nearest = np.full_like(key, far << bits)
        for step in range(-near, near + 1):
            here, there = _shifted(step)
            np.minimum(nearest[here], key[there] + keys(step**2 << bits), out=nearest[here])
        mine, label = ((state & keys(2**bits - 1)).astype(ids) for state in (nearest, key))
        first, other = (key >> bits).astype(squares), np.full_like(second, far)
        for step in range(-bound, bound + 1):
            here, there = _shifted(step)
            candidate = first[there] + (label[there] == mine[here]) * never
            np.minimum(candidate, second[there], out=candidate)
            candidate += squares(step**2)
            np.minimum(other[here], candidate, out=other[here])
        # The next axis comes to the front; after the last one the order is the first again.
        key, second = (np.ascontiguousarray(np.moveaxis(s, 0, -1)) for s in (nearest, other))
    return key >> bits, second


def _shifted(step: int) -> tuple[slice, slice]:
    """Pair each index of the first axis with the one `step` further, as slices here and there."""
    low, high = slice(None, -abs(step) or None), slice(abs(step), None)
    return (low, high) if step >= 0 else (high, low)
