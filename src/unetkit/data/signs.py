"""What an image and its mask look like from afar: a few numbers by which faults can be told.

Every pixel is touched once or twice at most, by numpy calls that let other threads run meanwhile,
because a check should cost little beside the decoding that it needs anyway.
"""

from __future__ import annotations

import base64
import hashlib
import math
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.data.alignment import REACH, Alignment, align
from unetkit.data.sketch import SIDE, sketch
from unetkit.data.smear import LOSSY, Smear, smear

Array = npt.NDArray[Any]

_SAMPLED, _PLANES = 96, 12  # points per axis, and planes, that shares and means are taken from
_PRIME = np.uint64(0x9E3779B97F4A7C15)  # odd, near 2⁶⁴ divided by the golden ratio


@dataclass(frozen=True, eq=False)
class Signs:
    """What is remembered of an image and its mask.

    Attributes:
        lows: least finite number of each channel; NaN where there is none.
        highs: greatest finite number of each channel.
        floors: share of the pixels of each channel that hold its least number (sampled).
        ceilings: share that hold its greatest number (sampled).
        mean: of the sampled pixels.
        spread: their standard deviation.
        broken: pixels that are NaN or infinite in any channel, but for those where nothing was
            measured and those that the mask says do not count.
        grey: several channels that are all the same.
        digest: a number that only equal pixels share, as 16 hexadecimal digits; it does not
            depend on the format, but on the type of the numbers.
        sketch: (32, 32) int8, the image from afar in 1/30 of its standard deviation.
        filled: share of the mask that is foreground (> 0, or above the least number where there
            is no 0), of what counts; None without a mask.
        frame: share of the mask's outermost pixels that are foreground.
        contrast: mean of the foreground less mean of the rest, in standard deviations; None where
            there is only one of the two.
        buried: share of the foreground that holds the least number of the image.
        holes: the background consists of pieces that mostly do not reach the frame; None where it
            was not looked at.
        smear: how the odd numbers of the mask lie, if it has any.
        seen: share of the image inside the field of view; None without one.
        alignment: how the mask lies on the image; None where it was not looked at.
    """

    lows: tuple[float, ...]
    highs: tuple[float, ...]
    floors: tuple[float, ...]
    ceilings: tuple[float, ...]
    mean: float
    spread: float
    broken: int
    grey: bool
    digest: str
    sketch: npt.NDArray[np.int8]
    filled: float | None = None
    frame: float | None = None
    contrast: float | None = None
    buried: float | None = None
    holes: bool | None = None
    smear: Smear | None = None
    seen: float | None = None
    alignment: Alignment | None = None

    def to_json(self) -> dict[str, Any]:
        """Give plain numbers, lists and texts, from which `from_json` makes the same signs."""
        content = {
            name: value
            for name, value in vars(self).items()
            if name not in ("sketch", "smear", "alignment")
        }
        content["sketch"] = _packed(self.sketch)
        content["smear"] = asdict(self.smear) if self.smear else None
        if self.alignment:
            content["alignment"] = vars(self.alignment) | {
                "surface": _packed(self.alignment.surface)
            }
        return {name: value for name, value in content.items() if value is not None}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Signs:
        """Undo `to_json`, also after a way through a JSON file."""
        known = {name: _tupled(value) for name, value in content.items()}
        known["sketch"] = _unpacked(content["sketch"], np.int8, (SIDE, SIDE))
        known["smear"] = Smear(**content["smear"]) if "smear" in content else None
        if "alignment" in content:
            found = {name: _tupled(value) for name, value in content["alignment"].items()}
            side = 2 * REACH + 1
            found["surface"] = _unpacked(found["surface"], np.float16, (2, side, side))
            known["alignment"] = Alignment(**found)
        return cls(**known)


def examine(
    image: Array,
    mask: Array | None,
    *,
    nodata: float | None = None,
    suffix: str = "",
    fov: Array | None = None,
    thorough: bool = True,
) -> Signs:
    """Look at a decoded image and its mask.

    Args:
        image: (c, *space) as in the file.
        mask: (*space) whole numbers as `read_labels` gives them, negative where they do not
            count; None without a mask. It must have the size of the image.
        nodata: the number that stands for "nothing measured here" in the image.
        suffix: of the mask's file; JPEG masks are told by it.
        fov: (*space) bool, true inside the field of view.
        thorough: also measure how the mask lies on the image (which takes longer than the rest).
    """
    image = np.ascontiguousarray(image)
    with np.errstate(all="ignore"):
        signs = _of_image(image, nodata, mask)
        if fov is not None:
            signs = replace(signs, seen=float(np.count_nonzero(fov)) / fov.size)
        if mask is None:
            return signs
        return replace(
            signs,
            smear=smear(mask, lossy=suffix.lower() in LOSSY),
            alignment=align(image, mask) if thorough else None,
            **_of_mask(image, mask, signs, thorough),
        )


# ------------------------------------------------------------------------------------ the image


def _of_image(image: Array, nodata: float | None, mask: Array | None) -> Signs:
    sample = _sample(image, image.ndim - 1)
    lows, highs, floors, ceilings = [], [], [], []
    broken: Array = np.zeros(1, bool)
    total, square, count = 0.0, 0.0, 0
    for channel, points in zip(image, sample, strict=True):
        low, high = channel.min(), channel.max()
        points = points.ravel()
        void = nodata is not None and not math.isnan(nodata)
        if void or not (np.isfinite(low) and np.isfinite(high)):
            low, high, bad = _finite_range(channel, nodata)
            broken = broken | bad
            points = points[np.isfinite(points) & (points != nodata if void else True)]
        lows.append(float(low))
        highs.append(float(high))
        floors.append(float(np.count_nonzero(points == low)) / max(1, points.size))
        ceilings.append(float(np.count_nonzero(points == high)) / max(1, points.size))
        numbers = points.astype(np.float64)
        total, count = total + float(numbers.sum()), count + points.size
        square += float(np.dot(numbers, numbers))
    if mask is not None and mask.dtype.kind == "i" and broken.any():
        broken = broken & (mask >= 0)
    mean = total / max(1, count)
    return Signs(
        lows=tuple(lows),
        highs=tuple(highs),
        floors=tuple(floors),
        ceilings=tuple(ceilings),
        mean=mean,
        spread=math.sqrt(max(0.0, square / max(1, count) - mean * mean)),
        broken=int(np.count_nonzero(broken)),
        grey=_is_grey(image, sample),
        digest=_digest(image),
        sketch=sketch(image),
    )


def _finite_range(channel: Array, nodata: float | None) -> tuple[float, float, Array]:
    """Give the range of what was measured, and where there is no number and should be one."""
    finite = np.isfinite(channel)
    if nodata is None:
        broken = ~finite
    elif math.isnan(nodata):
        broken = np.isinf(channel)
    else:
        broken = ~finite
        finite &= channel != nodata
    if not finite.any():
        return math.nan, math.nan, broken
    kind = np.finfo if channel.dtype.kind == "f" else np.iinfo
    low = channel.min(where=finite, initial=kind(channel.dtype).max)
    return low, channel.max(where=finite, initial=kind(channel.dtype).min), broken


def _is_grey(image: Array, sample: Array) -> bool:
    if len(image) not in (3, 4) or not (sample[1:3] == sample[:1]).all():
        return False
    return bool((image[1:3] == image[:1]).all())


def _digest(image: Array) -> str:
    """Give a fingerprint of all pixels; equal by chance once in 2⁶⁰ or so, unless on purpose."""
    content = image.reshape(-1).view(np.uint8)
    whole = content.size // 8 * 8
    words = content[:whole].view(np.uint64)
    part = _weights().size
    # One weight per word of a block, another per block: sums wrap around at 2⁶⁴ as they should.
    total = np.uint64(0)
    with np.errstate(over="ignore"):
        for place in range(0, words.size, part):
            block = words[place : place + part]
            total = total * _PRIME + np.dot(block, _weights()[: block.size])
        total = total * _PRIME + np.uint64(int.from_bytes(content[whole:].tobytes(), "little"))
        mixed = (total ^ (total >> np.uint64(32))) * _PRIME
    about = f"{image.dtype.str}{image.shape}".encode()
    return f"{int(mixed) ^ int.from_bytes(hashlib.blake2b(about, digest_size=8).digest()):016x}"


@lru_cache(maxsize=1)
def _weights() -> npt.NDArray[np.uint64]:
    drawn = np.random.Generator(np.random.PCG64(0)).integers(0, 2**64 - 1, 2**16, np.uint64)
    return drawn | np.uint64(1)


# ------------------------------------------------------------------------------------- the mask


def _of_mask(image: Array, mask: Array, signs: Signs, thorough: bool) -> dict[str, Any]:
    least = max(0, int(mask.min()))
    least = 0 if least == int(mask.max()) else least  # nothing but foreground
    counted = mask.size - (np.count_nonzero(mask < 0) if mask.dtype.kind == "i" else 0)
    if counted == 0:
        return {"filled": 0.0, "frame": 0.0}
    filled = np.count_nonzero(mask > least) if least else np.count_nonzero(mask)
    filled -= mask.size - counted if not least else 0
    border = np.concatenate([mask[..., k, :].ravel() for k in (0, -1)])
    border = np.concatenate([border, *(mask[..., :, k].ravel() for k in (0, -1))])
    found: dict[str, Any] = {
        "filled": float(filled) / float(counted),
        "frame": float(np.count_nonzero(border > least)) / border.size,
    }
    drawn, pixels = _sample(mask, mask.ndim), _sample(image, mask.ndim)
    inside, outside = drawn > least, (drawn >= 0) & (drawn <= least)
    light = pixels.astype(np.float32).mean(0)
    usable = np.isfinite(light)
    inside, outside = inside & usable, outside & usable
    if inside.any():
        black = (pixels == np.reshape(signs.lows, (-1,) + (1,) * mask.ndim)).all(0)
        found["buried"] = float(np.count_nonzero(black & inside)) / float(np.count_nonzero(inside))
        if outside.any():
            spread = float(light[usable].std()) or 1.0
            apart = float(light[inside].mean()) - float(light[outside].mean())
            found["contrast"] = apart / spread
    if thorough and found["filled"] > 0.5:
        found["holes"] = _has_holes(drawn, least)
    return found


def _has_holes(drawn: Array, least: int) -> bool:
    """Tell whether the background consists of pieces that mostly do not reach the frame."""
    from scipy.ndimage import label

    plane = drawn if drawn.ndim == 2 else drawn[len(drawn) // 2]
    pieces, count = label(plane <= least)
    rim = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    return bool(count and 2 * sizes[rim].sum() < sizes.sum())


def _sample(array: Array, ndim: int) -> Array:
    """Give at most 96 points per axis (12 planes of a volume), the same of image and mask."""
    most = (_PLANES, _SAMPLED, _SAMPLED)[-ndim:]
    sizes = array.shape[-ndim:]
    steps = [slice(None, None, -(-n // m)) for n, m in zip(sizes, most, strict=True)]
    return array[(..., *steps)]  # type: ignore[arg-type]


def _packed(array: Array) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _unpacked(text: str, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> Array:
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape)


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list | tuple) else value
