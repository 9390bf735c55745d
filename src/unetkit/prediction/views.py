"""Test-time augmentation: an image seen several ways, and the answers brought back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from unetkit.geometry import Footprint, Size, Slices, Tile, around, mirror
from unetkit.prediction import rotation
from unetkit.prediction.config import Array, Augmentation, Floats

ROTATIONS = 7  # Ronneberger et al. 2015, section 4, of the ISBI challenge


@dataclass(frozen=True)
class View:
    """One way to look at an image.

    Attributes:
        flipped: axes of space that are mirrored.
        turned: y and x change places after that; with the mirrorings, all quarter turns.
        angle: rotation in the plane (y, x), in radians; not together with the others.
    """

    flipped: tuple[int, ...] = ()
    turned: bool = False
    angle: float = 0.0


def views(tta: Augmentation, ndim: int) -> tuple[View, ...]:
    """Give the views that are averaged; the first is the image as it is.

    "flips" has 2**ndim, "rotations" 8 in 2D and 16 in 3D, "paper" 7. The paper says "averaged over
    7 rotated versions" without their angles: here they are k · 360° / 7, about z.
    """
    if tta == "none":
        return (View(),)
    if tta == "paper":
        return tuple(View(angle=2 * math.pi * k / ROTATIONS) for k in range(ROTATIONS))
    mirrored = [
        tuple(axis for axis, flipped in enumerate(choice) if flipped)
        for choice in product((False, True), repeat=ndim)
    ]
    turns = (False, True) if tta == "rotations" else (False,)
    return tuple(View(flipped, turned) for turned in turns for flipped in mirrored)


def passes(tta: Augmentation, ndim: int, members: int = 1) -> int:
    """Count how often the network, or the members of an ensemble, see each pixel.

    Example:
        >>> passes("flips", 2), passes("rotations", 3), passes("paper", 2, members=5)
        (4, 16, 35)
    """
    return len(views(tta, ndim)) * members


def turned(footprint: Footprint) -> Footprint:
    """Give the footprint of a network that sees y as x, in the image's own order of axes."""

    def swap(values: Size) -> Size:
        return (*values[:-2], values[-1], values[-2])

    return replace(
        footprint,
        stride=swap(footprint.stride),
        margin=swap(footprint.margin),
        residue=swap(footprint.residue),
        minimum=swap(footprint.minimum),
    )


def needed(view: View, tile: Tile, shape: Sequence[int], footprint: Footprint) -> Slices:
    """Give the part of the image that a view of this tile is made from; may reach outside."""
    if view.angle:
        lattice = _lattice(view, tile, shape, footprint)
        affine = rotation.onto_image(view.angle, shape[-2:])
        return (*lattice.read[:-2], *rotation.reach(lattice.read[-2:], affine))
    return _straight(view, tile, shape, footprint).read


def inputs(view: View, tile: Tile, shape: Sequence[int], footprint: Footprint) -> Size:
    """Give the size of the network's input for a view of this tile, in the image's axes."""
    pick = _lattice if view.angle else _straight
    return tuple(part.stop - part.start for part in pick(view, tile, shape, footprint).read)


def look(
    view: View,
    tile: Tile,
    shape: Sequence[int],
    footprint: Footprint,
    cut: Callable[[Slices], Floats],
) -> tuple[Floats, Callable[[Floats], Floats]]:
    """Give the network's input (1, c, *in) for a view of a tile, and what brings its output back.

    Args:
        view: how to look.
        tile: what is decided, and read where the view is the image as it is.
        shape: of the image.
        footprint: the network's.
        cut: gives the pixels (c, *part) of any part, continued by mirroring.

    Returns:
        The input, and a function from (k, *out) to (k, *tile.write).
    """
    if view.angle:
        return _rotate(view, tile, shape, footprint, cut)
    mine = _straight(view, tile, shape, footprint)
    axes = tuple(axis + 1 for axis in view.flipped)

    def back(output: Floats) -> Floats:
        upright = output.swapaxes(-1, -2) if view.turned else output
        return np.flip(upright, axes)[(slice(None), *mine.crop)]

    seen = np.flip(cut(mine.read), axes)
    seen = seen.swapaxes(-1, -2) if view.turned else seen
    return np.ascontiguousarray(seen)[None], back


def take(image: Array, part: Slices, shape: Sequence[int], origin: Sequence[int]) -> Floats:
    """Cut (c, *part) as float32 from an image continued by mirroring.

    Args:
        image: (c, *window), the pixels that there are.
        part: what is wanted, in pixels of the whole image; may reach outside of it.
        shape: of the whole image.
        origin: where the window starts in it.
    """
    for axis, (one, n, first) in enumerate(zip(part, shape, origin, strict=True), start=1):
        if one.start >= 0 and one.stop <= n:
            there = slice(one.start - first, one.stop - first)
            image = image[(slice(None),) * axis + (there,)]
        else:
            image = image.take(mirror(one.start, one.stop, n) - first, axis=axis)
    pixels = np.ascontiguousarray(image, np.float32)
    return pixels if pixels.flags.writeable else pixels.copy()  # torch wants to own what it is lent


def _straight(view: View, tile: Tile, shape: Sequence[int], footprint: Footprint) -> Tile:
    """Give the tile that a view without rotation reads; legal for the network as it will see it."""
    other = turned(footprint) if view.turned else footprint
    if other == footprint:
        return tile
    if footprint.exact:
        return around(tile.write, other, shape)
    # A blended window decides the same pixels, from an input of a size that is legal when turned.
    starts = [part.start - crop.start for part, crop in zip(tile.write, tile.crop, strict=True)]
    size = other.enclose(
        [
            part.stop - part.start - 2 * lost
            for part, lost in zip(tile.read, footprint.lost, strict=True)
        ]
    )
    read = tuple(
        slice(start - lost, start - lost + n)
        for start, lost, n in zip(starts, other.lost, size, strict=True)
    )
    return Tile(read, tile.write, tile.crop)


def _lattice(view: View, tile: Tile, shape: Sequence[int], footprint: Footprint) -> Tile:
    """Give the tile of the rotated lattice that decides a tile: z of the image, then u and v."""
    affine = rotation.onto_lattice(view.angle, shape[-2:])
    wanted = rotation.reach(tile.write[-2:], affine)
    aligned = tuple(
        slice(part.start // stride * stride, part.stop)
        for part, stride in zip(wanted, footprint.stride[-2:], strict=True)
    )
    plane = around((*tile.write[:-2], *aligned), footprint)  # no end: context on every side
    upright = _straight(View(), tile, shape, footprint)
    return Tile(
        (*upright.read[:-2], *plane.read[-2:]),
        (*tile.write[:-2], *aligned),
        (*upright.crop[:-2], *plane.crop[-2:]),
    )


def _rotate(
    view: View,
    tile: Tile,
    shape: Sequence[int],
    footprint: Footprint,
    cut: Callable[[Slices], Floats],
) -> tuple[Floats, Callable[[Floats], Floats]]:
    lattice = _lattice(view, tile, shape, footprint)
    onto_image = rotation.onto_image(view.angle, shape[-2:])
    onto_lattice = rotation.onto_lattice(view.angle, shape[-2:])
    part = (*lattice.read[:-2], *rotation.reach(lattice.read[-2:], onto_image))
    seen = rotation.resample(cut(part), part[-2:], lattice.read[-2:], onto_image)

    def back(output: Floats) -> Floats:
        decided = output[(slice(None), *lattice.crop)]
        at = lattice.write[-2:]
        return rotation.resample(decided, at, tile.write[-2:], onto_lattice)

    return seen[None], back
