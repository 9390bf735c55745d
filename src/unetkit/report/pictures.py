"""From arrays to pictures: label colours, overlays, differences, heat maps, embedded images.

Arrays of images are `(c, y, x)`, label maps `(y, x)` with 0 as background; every picture made here
is uint8 `(3, y, x)`. The colours are those of Okabe and Ito, which people with the usual kinds of
colour blindness can tell apart (Wong, Nature Methods 8:441, 2011).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from unetkit.errors import InputError

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

PALETTE: tuple[Colour, ...] = (
    (86, 180, 233),  # sky blue first: it stands out on tissue, on fundus images and on greys
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (0, 114, 178),
    (170, 170, 170),
)
RIGHT: Colour = (225, 225, 225)  # true positive, or the right class
FALSE_POSITIVE: Colour = (230, 159, 0)
FALSE_NEGATIVE: Colour = (86, 180, 233)
WRONG: Colour = (222, 60, 36)  # several classes: any wrong pixel
NOT_JUDGED: Colour = (58, 61, 68)

# Anchors of viridis (van der Walt and Smith, 2015), dark to bright.
_HEAT = np.array(
    [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], dtype=np.float32
)


def to_rgb(image: NDArray[Any]) -> Picture:
    """Show any image: uint8 as it is, everything else stretched between its 0.5 and 99.5 per cent.

    Args:
        image: `(y, x)` or `(c, y, x)`. One channel becomes grey, of two the first is shown, of more
            than three the first three.

    Raises:
        InputError: the array has another number of axes.
    """
    image = image[None] if image.ndim == 2 else image
    if image.ndim != 3 or image.size == 0:
        raise InputError(
            f"an array of shape {image.shape} is no image", cure="pass (y, x) or (c, y, x)"
        )
    image = image[:3] if image.shape[0] >= 3 else image[:1]
    if image.dtype == np.bool_:
        image = image.astype(np.uint8) * np.uint8(255)
    if image.dtype != np.uint8:
        values = image.astype(np.float32)
        finite = values[np.isfinite(values)]
        low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 1.0)
        if high <= low:
            low, high = float(finite.min(initial=0.0)), float(finite.max(initial=1.0))
        scaled = (np.nan_to_num(values, nan=low) - low) / max(high - low, 1e-12)
        image = (np.clip(scaled, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.array(np.broadcast_to(image, (3, *image.shape[1:])), dtype=np.uint8, order="C")


def colour_of(label: int, colours: Mapping[int, Colour] | None = None) -> Colour:
    """Give the colour of one label: the stated one, else of the palette, then paler and darker."""
    if colours and label in colours:
        return colours[label]
    turn, place = divmod(label - 1, len(PALETTE))
    red, green, blue = PALETTE[place]
    match turn % 3:
        case 1:
            return (red + 255) // 2, (green + 255) // 2, (blue + 255) // 2
        case 2:
            return red // 2, green // 2, blue // 2
        case _:
            return red, green, blue


def overlay(
    image: NDArray[Any],
    labels: NDArray[Any],
    *,
    colours: Mapping[int, Colour] | None = None,
    tint: float = 0.35,
    outline: float = 1.0,
) -> Picture:
    """Draw labels over an image: a tint inside each one and a firm line along its inner border.

    Pixels of label 0 (and below, for ignored ones) keep the colour of the image.

    Args:
        image: `(y, x)` or `(c, y, x)`, any type; see `to_rgb`.
        labels: `(y, x)` integers: classes or instances.
        colours: label to red, green, blue (0 to 255); labels not named take the palette.
        tint: share of the label's colour inside, 0 to 1.
        outline: share of the label's colour on the inner border, 0 to 1.

    Returns:
        uint8 `(3, y, x)`.

    Raises:
        InputError: image and labels differ in size.
    """
    picture = to_rgb(image)
    labels = _labels(labels)
    if picture.shape[1:] != labels.shape:
        raise InputError(
            f"an image of {picture.shape[1:]} and labels of {labels.shape} do not fit",
            cure="pass both at the same size",
        )
    inside = labels > 0
    share = np.where(_border(labels), outline, tint)[inside]
    picture[:, inside] = (
        picture[:, inside] * (1 - share) + _paint(labels[inside], colours) * share + 0.5
    ).astype(np.uint8)
    return picture


def label_map(
    labels: NDArray[Any],
    valid: NDArray[np.bool_] | None = None,
    colours: Mapping[int, Colour] | None = None,
) -> Picture:
    """Draw labels alone on black: white if 1 is the only one and has no colour, else in colours."""
    labels = _labels(labels)
    if not colours and labels.max(initial=0) <= 1:
        colours = {1: (255, 255, 255)}
    picture = np.zeros((3, *labels.shape), dtype=np.uint8)
    inside = labels > 0
    picture[:, inside] = _paint(labels[inside], colours)
    return _hide(picture, labels, valid)


def difference(
    truth: NDArray[Any],
    prediction: NDArray[Any],
    valid: NDArray[np.bool_] | None = None,
    *,
    several: bool | None = None,
) -> Picture:
    """Colour each pixel by how prediction and truth agree.

    With one foreground class: true positives light grey, false positives orange, false negatives
    blue. With several: the right class light grey, wrong pixels red. Agreed background is black,
    and pixels that are not judged (`valid` is false, or the truth is negative) are dark grey.

    Args:
        truth: `(y, x)` integers.
        prediction: `(y, x)` integers.
        valid: `(y, x)`, true where pixels count.
        several: whether there are several classes; by default seen from the labels.

    Returns:
        uint8 `(3, y, x)`.
    """
    truth, prediction = _labels(truth), _labels(prediction)
    if truth.shape != prediction.shape:
        raise InputError(
            f"truth of {truth.shape} and prediction of {prediction.shape} do not fit",
            cure="pass both at the same size",
        )
    if several is None:
        several = max(truth.max(initial=0), prediction.max(initial=0)) > 1
    picture = np.zeros((3, *truth.shape), dtype=np.uint8)
    wrong = truth != prediction
    picture[:, ~wrong & (truth > 0)] = _column(RIGHT)
    picture[:, wrong & (prediction > 0)] = _column(WRONG if several else FALSE_POSITIVE)
    picture[:, wrong & (prediction <= 0)] = _column(WRONG if several else FALSE_NEGATIVE)
    return _hide(picture, truth, valid)


def heat(values: NDArray[Any], image: NDArray[Any] | None = None) -> tuple[Picture, float, float]:
    """Draw values in viridis; over an image, low values let its greys show through.

    Returns:
        The picture and the values at the dark and at the bright end of the scale. Bright is the
        99.9th percentile, so that one extreme pixel does not darken the rest.
    """
    values = np.nan_to_num(values.astype(np.float32))
    low, high = float(values.min()), float(np.percentile(values, 99.9))
    share = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    at = np.linspace(0, 1, len(_HEAT))
    picture = np.stack([np.interp(share, at, _HEAT[:, channel]) for channel in range(3)])
    if image is not None:
        grey = to_rgb(image).mean(axis=0)
        opacity = 0.15 + 0.85 * np.sqrt(share)
        picture = picture * opacity + grey * (1 - opacity)
    return (picture + 0.5).astype(np.uint8), low, high


def embed(picture: Picture, *, side: int, flat: bool) -> tuple[str, int, int]:
    """Encode a picture as a `data:` address, no side longer than `side`.

    Args:
        picture: uint8 `(3, y, x)`.
        side: longest side in pixels; larger pictures are averaged down.
        flat: drawn in few colours, so PNG; photographs take JPEG.

    Returns:
        The address, the width and the height.
    """
    shown = Pillow.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
    scale = side / max(shown.size)
    if scale < 1:
        width, height = (max(1, round(length * scale)) for length in shown.size)
        shown = shown.resize((width, height), Pillow.Resampling.BOX)
    content = io.BytesIO()
    if flat:
        shown.quantize(64, dither=Pillow.Dither.NONE).save(content, "PNG", optimize=True)
    else:
        shown.save(content, "JPEG", quality=85, subsampling=0)
    kind = "png" if flat else "jpeg"
    text = base64.b64encode(content.getvalue()).decode("ascii")
    return f"data:image/{kind};base64,{text}", shown.width, shown.height


def _labels(labels: NDArray[Any]) -> NDArray[np.int64]:
    if labels.ndim != 2:
        raise InputError(f"labels of shape {labels.shape} are not (y, x)", cure="pass one slice")
    return labels.astype(np.int64)


def _border(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Pixels with a neighbour (of four) of another label; the edge of the image is no border."""
    border = np.zeros(labels.shape, dtype=bool)
    down, across = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    border[1:] |= down
    border[:-1] |= down
    border[:, 1:] |= across
    border[:, :-1] |= across
    return border


def _column(colour: Colour) -> Picture:
    return np.array(colour, dtype=np.uint8)[:, None]


def _paint(labels: NDArray[np.int64], colours: Mapping[int, Colour] | None) -> Picture:
    """Colours `(3, n)` of the positive labels `(n,)`."""
    present, index = np.unique(labels, return_inverse=True)
    table = [colour_of(int(label), colours) for label in present]
    return np.array(table, dtype=np.uint8).reshape(-1, 3)[index].T


def _hide(picture: Picture, truth: NDArray[np.int64], valid: NDArray[np.bool_] | None) -> Picture:
    hidden = truth < 0 if valid is None else (truth < 0) | ~valid.astype(bool)
    picture[:, hidden] = _column(NOT_JUDGED)
    return picture
