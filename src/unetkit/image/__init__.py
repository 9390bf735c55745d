"""Files ↔ arrays: every picture becomes (channel, [z,] y, x) with spacing, whatever its format.

Legend of shapes: `c` channels, `*space` is `(y, x)` or `(z, y, x)`. Nothing is ever unpickled, and
every file that cannot be read or written is an `InputError` that names it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.errors import InputError
from unetkit.files import atomic, write_bytes
from unetkit.image.creation import attach_image, create_image
from unetkit.image.encoders import encode_png, narrowed, write_nifti, write_tiff
from unetkit.image.georeference import Georeference
from unetkit.image.labels import to_colours, to_labels
from unetkit.image.limits import everything
from unetkit.image.names import (
    ITK,
    NIFTI,
    TIFF,
    ZARR,
    is_image,
    list_images,
    natural,
    stem,
    suffix_of,
)
from unetkit.image.opened import Frame, Opened
from unetkit.image.opening import open_image
from unetkit.image.staging import Created

__all__ = [
    "Created",
    "Georeference",
    "Image",
    "Opened",
    "attach_image",
    "create_image",
    "is_image",
    "list_images",
    "natural",
    "open_image",
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
    0/255, CMYK becomes RGB, a camera's EXIF rotation is applied, and the pages of a TIFF become z.

    Raises:
        InputError: the file is missing, empty, damaged, no picture, or larger than it could be.
    """
    path = Path(path)
    with open_image(path) as opened:
        data = opened.read(everything(opened.shape[1:]))
        return Image(data, opened.spacing, opened.frame, path, opened.nodata)


def read_labels(path: str | Path, *, colours: bool = False) -> Array:
    """Read a mask as whole numbers (*space): a palette keeps its indices, grey stays as it is.

    Three equal channels become one, floats that are whole numbers become integers. A 1-bit
    picture gives 0/255, as its lossless 8-bit twin would; a Boolean array gives 0/1. Of a mask of
    one colour that varies in transparency, the alpha counts. What the file declares to be "no
    data" (unless that is 0), and NaN among whole numbers, become −1.

    Args:
        path: the mask.
        colours: give 65536·red + 256·green + blue (uint32) for a mask of three 8-bit channels,
            instead of refusing it.

    Raises:
        InputError: as `read_image`; or the mask holds colours, or fractions.
    """
    path = Path(path)
    with open_image(path, indices=True) as opened:
        data, nodata = opened.read(everything(opened.shape[1:])), opened.nodata
    if colours and len(data) == 3 and data.dtype == np.uint8:
        return to_colours(data)
    return to_labels(data, nodata, path)


def read_shape(path: str | Path) -> tuple[int, ...]:
    """Give the shape (c, *space) that `read_image` will have, from the header alone.

    Raises:
        InputError: as `read_image`, as far as the header shows it.
    """
    with open_image(path) as opened:
        return opened.shape


def write_image(image: Image, path: str | Path) -> None:
    """Write PNG, TIFF, NIfTI, NPY, Zarr, NRRD or MHA by the suffix, compressed and atomically.

    Spacing is kept by all but PNG and NPY, the affine by NIfTI, NRRD and MHA, the georeference and
    "no data" by TIFF (then a GeoTIFF, else an OME-TIFF), all of it by Zarr. Whole numbers take the
    narrowest type that the format needs; True is written as 1.

    Raises:
        InputError: the format cannot hold such data, or the disk refuses.
    """
    path, suffix = Path(path), suffix_of(Path(path))
    data = image.data.astype(np.uint8) if image.data.dtype.kind == "b" else image.data
    if data.dtype.kind not in "iuf":
        raise InputError(f"{data.dtype} pixels cannot be written", where=path)
    if data.size == 0:
        raise InputError("there are no pixels to write", where=path)
    image = replace(image, data=data)
    if suffix == ".png":
        write_bytes(path, encode_png(data, path))
    elif suffix in TIFF:
        write_tiff(replace(image, data=narrowed(data, path)), path)
    elif suffix in NIFTI:
        write_nifti(replace(image, data=narrowed(data, path)), path)
    elif suffix == ".npy":
        with atomic(path) as temporary:
            np.save(temporary, data, allow_pickle=False)
    elif suffix in ZARR:
        from unetkit.image.zarrs import write_zarr

        write_zarr(image, path)
    elif suffix in ITK:
        from unetkit.image.itk import write_itk

        write_itk(image, path)
    else:
        raise InputError(
            f"{suffix} is not written, because most of its kind lose values or depth",
            where=path,
            cure="choose .png, .tif, .nii.gz, .npy or .zarr",
        )
