"""Files ↔ arrays: every picture becomes (channel, [z,] y, x) with spacing, whatever its format.

Legend of shapes: `c` channels, `*space` is `(y, x)` or `(z, y, x)`. Nothing is ever unpickled, and
every file that cannot be read or written is an `InputError` that names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.errors import InputError
from unetkit.files import atomic, write_bytes
from unetkit.image.decoders import decode
from unetkit.image.encoders import encode_png, narrowed, write_nifti, write_tiff
from unetkit.image.georeference import Georeference
from unetkit.image.names import NIFTI, TIFF, is_image, list_images, natural, stem, suffix_of
from unetkit.image.opened import Frame

__all__ = [
    "Georeference",
    "Image",
    "is_image",
    "list_images",
    "natural",
    "read_image",
    "read_labels",
    "read_shape",
    "stem",
    "write_image",
]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Image:
    """A picture in memory.

    Attributes:
        data: (c, *space) in the dtype of the file.
        spacing: size of a pixel per spatial axis, in the file's physical unit; 1.0 where the file
            does not say (PNG, JPEG and their like never do: their dpi is about paper).
        frame: where the picture lies in the world: a 4 × 4 affine (x, y, z order, as nibabel gives
            it) for medical formats, a `Georeference` for maps; None where the file does not say.
        path: the file it came from.
        nodata: the number that stands for "nothing measured here", or None.
    """

    data: Array
    spacing: tuple[float, ...] = ()
    frame: Frame = None
    path: Path | None = None
    nodata: float | None = None

    def __post_init__(self) -> None:
        if not self.spacing:
            object.__setattr__(self, "spacing", (1.0,) * (self.data.ndim - 1))

    def intensities(self) -> npt.NDArray[np.float32]:
        """Give the pixels as float32, NaN where nothing was measured."""
        pixels = self.data.astype(np.float32)
        if self.nodata is not None:
            pixels[self.data == self.nodata] = np.nan
        return pixels


def read_image(path: str | Path) -> Image:
    """Read a picture of any known format as (c, *space), in the dtype of the file.

    Palettes become RGB (or grey, where they hold nothing else), alpha is dropped, 1-bit becomes
    0/255, a camera's EXIF rotation is applied, and the pages of a TIFF become z.

    Raises:
        InputError: the file is missing, empty, damaged, no picture, or larger than it could be.
    """
    path = Path(path)
    data, spacing, frame = decode(path, indices=False, header=False)
    return Image(data, spacing, frame, path)


def read_labels(path: str | Path) -> Array:
    """Read a mask as whole numbers (*space): a palette keeps its indices, grey stays as it is.

    Three equal channels become one, floats that are whole numbers become integers. A 1-bit
    picture gives 0/255, as its lossless 8-bit twin would; a Boolean array gives 0/1.

    Raises:
        InputError: as `read_image`; or the mask holds colours, or fractions.
    """
    path = Path(path)
    data, _, _ = decode(path, indices=True, header=False)
    if len(data) > 1 and not (data[1:] == data[:1]).all():
        colour = np.argmax((data[1:] != data[:1]).any(0))
        example = ",".join(str(channel.flat[colour]) for channel in data)
        raise InputError(
            f"the mask holds colours (such as {example}), not class numbers",
            where=path,
            cure="save one grey value per class, or a palette PNG",
        )
    labels: Array = data[0]
    if labels.dtype.kind != "f":
        return labels
    with np.errstate(invalid="ignore"):
        whole = labels.astype(np.int32)
        if not (labels == whole).all():
            raise InputError(
                "the mask holds fractions, NaN or numbers beyond 32 bits",
                where=path,
                cure="save whole class numbers; threshold a probability map first",
            )
    return whole


def read_shape(path: str | Path) -> tuple[int, ...]:
    """Give the shape (c, *space) that `read_image` will have, from the header alone.

    Raises:
        InputError: as `read_image`, as far as the header shows it.
    """
    data, _, _ = decode(Path(path), indices=False, header=True)
    return data.shape


def write_image(image: Image, path: str | Path) -> None:
    """Write PNG, TIFF (as OME-TIFF), NIfTI or NPY by the suffix, compressed and atomically.

    Spacing is kept by TIFF and NIfTI, the affine by NIfTI. Whole numbers take the narrowest type
    that the format needs; True is written as 1.

    Raises:
        InputError: the format cannot hold such data, or the disk refuses.
    """
    path, suffix = Path(path), suffix_of(Path(path))
    data = image.data.astype(np.uint8) if image.data.dtype.kind == "b" else image.data
    if data.dtype.kind not in "iuf":
        raise InputError(f"{data.dtype} pixels cannot be written", where=path)
    if suffix == ".png":
        write_bytes(path, encode_png(data, path))
    elif suffix in TIFF:
        write_tiff(narrowed(data, path), image.spacing, path)
    elif suffix in NIFTI:
        write_nifti(narrowed(data, path), image.spacing, _affine(image.frame), path)
    elif suffix == ".npy":
        with atomic(path) as temporary:
            np.save(temporary, data, allow_pickle=False)
    else:
        raise InputError(
            f"{suffix} is not written, because most of its kind lose values or depth",
            where=path,
            cure="choose .png, .tif, .nii.gz or .npy",
        )


def _affine(frame: Frame) -> npt.NDArray[np.float64] | None:
    return None if isinstance(frame, Georeference) else frame
