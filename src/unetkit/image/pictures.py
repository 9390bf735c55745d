"""BMP, WebP and GIF, which Pillow decodes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from unetkit.errors import InputError
from unetkit.image.channels import without_alpha
from unetkit.image.guard import quiet
from unetkit.image.limits import BOMB_CURE, in_parts, refuse_bomb
from unetkit.image.opened import Array, Opened
from unetkit.image.orientation import orientation, upright, upright_size


def open_picture(path: Path, indices: bool) -> Opened:
    """Open a BMP, WebP or GIF. It cannot be read in parts.

    Raises:
        InputError: it is animated, or declares more pixels than Pillow allows.
    """
    from PIL import BmpImagePlugin, GifImagePlugin, WebPImagePlugin
    from PIL.Image import DecompressionBombError

    kinds: dict[str, Any] = {
        ".bmp": BmpImagePlugin.BmpImageFile,
        ".gif": GifImagePlugin.GifImageFile,
        ".webp": WebPImagePlugin.WebPImageFile,
    }
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        try:
            with quiet():
                picture = kinds[path.suffix.lower()](file)
        except DecompressionBombError as error:
            raise InputError("declares too many pixels", where=path, cure=BOMB_CURE) from error
        if getattr(picture, "is_animated", False):
            raise InputError(
                f"holds {picture.n_frames} frames",
                where=path,
                cure="save each frame as a picture, or all as a multi-page TIFF",
            )
        turn = orientation(picture.info.get("exif", b""), picture.info.get("xmp", b""))
        greys = _greys(picture)
        flat = picture.mode in ("1", "L") or (indices and picture.mode == "P")
        space = upright_size(picture.height, picture.width, turn)
        shape = (1 if flat or greys is not None else 3, *space)
        refuse_bomb(path, shape[0] * space[0] * space[1], path.stat().st_size)
        close = stack.pop_all().close

    def decode() -> Array:
        with quiet():
            picture.load()
        if greys is not None:
            return upright(greys[np.asarray(picture)], turn)[None]
        if flat:
            levels = picture.convert("L") if picture.mode == "1" else picture
            return upright(np.asarray(levels), turn)[None]
        # A palette may be transparent; by way of RGBA its colours stay what they are.
        see_through = picture.mode in ("P", "PA", "RGBA", "RGBa")
        with quiet():
            coloured = picture.convert("RGBA" if see_through else "RGB")
        pixels = np.moveaxis(upright(np.asarray(coloured), turn), -1, 0)
        return without_alpha(pixels, indices) if see_through else pixels

    read = in_parts(decode, space)
    return Opened(shape, np.dtype(np.uint8), read, close=close, whole=True)


def _greys(picture: Any) -> Array | None:
    """Give the grey level of each index where a palette has no colour.

    GIF knows no grey but by palette, which puts the levels in any order, so that the indices of a
    black and white mask may well be its inverse.
    """
    if picture.mode != "P":
        return None
    colours = np.zeros((256, 3), np.uint8)
    listed = np.asarray(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)[:256]
    colours[: len(listed)] = listed
    return colours[:, 0] if (colours == colours[:, :1]).all() else None
