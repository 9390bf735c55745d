"""Channels that are no picture: alpha goes (unless a mask is all alpha), ink becomes colour."""

from __future__ import annotations

import numpy as np

from unetkit.image.opened import Array


def without_alpha(pixels: Array, mask: bool) -> Array:
    """Give (c, *space) without the last channel, which is its alpha.

    Of a mask of one colour whose alpha varies (a cut-out, as web tools export it) the alpha takes
    the place of each channel: it is what was drawn.
    """
    colour, alpha = pixels[:-1], pixels[-1:]
    if mask and (alpha != alpha.flat[0]).any():
        first = colour[(slice(None), *(slice(0, 1),) * (colour.ndim - 1))]
        if (colour == first).all():
            return np.repeat(alpha, len(colour), axis=0)
    return colour


def from_ink(ink: Array) -> Array:
    """Give (…, 3) red, green and blue of (…, 4) cyan, magenta, yellow and black, 0 without ink.

    Args:
        ink: uint8 or uint16.
    """
    most = np.uint32(np.iinfo(ink.dtype).max)
    paper = most - ink.astype(np.uint32)
    return ((paper[..., :3] * paper[..., 3:] + most // 2) // most).astype(ink.dtype)
