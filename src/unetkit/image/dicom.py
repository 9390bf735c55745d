"""DICOM files and series: colours, rescaled numbers, spacing and place; needs pydicom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from unetkit.errors import InputError
from unetkit.image.dicom_slices import Slice, Stack, stack
from unetkit.image.guard import damage, need, quiet, refuse_excess, slices_size
from unetkit.image.limits import refuse_bomb
from unetkit.image.opened import Array, Opened, Window

_GROUPS = (b"\x02\0", b"\x08\0", b"\0\x08")  # how a file without preamble begins
_DEFLATED = "1.2.840.10008.1.2.1.99"
_LARGEST_DEFLATED = 2**23  # pydicom inflates all of such a file at once, up to 1032 times
_JPEG_12 = "1.2.840.10008.1.2.4.51"

# Compressions for which pydicom wants a plugin, and the decoder of imagecodecs that knows them.
_DECODERS = {
    _JPEG_12: "jpeg_decode",
    "1.2.840.10008.1.2.4.57": "ljpeg_decode",
    "1.2.840.10008.1.2.4.70": "ljpeg_decode",
    "1.2.840.10008.1.2.4.80": "jpegls_decode",
    "1.2.840.10008.1.2.4.81": "jpegls_decode",
    "1.2.840.10008.1.2.4.201": "htj2k_decode",
    "1.2.840.10008.1.2.4.202": "htj2k_decode",
    "1.2.840.10008.1.2.4.203": "htj2k_decode",
}


def open_dicom(path: Path, indices: bool) -> Opened:
    """Open a DICOM file, or a folder that holds one series, as (c, [z,] y, x).

    One slice has no z. Numbers are rescaled by slope and intercept; they stay whole where those
    are, else they become float32. MONOCHROME1 is inverted, so that more is brighter; palettes
    become RGB. With `indices` both stay as they are stored, as a mask wants them. The spacing is
    in mm, its z the distance of positions where these are known.

    Raises:
        InputError: damaged, several series, missing or double slices, a film, or no pictures.
    """
    pydicom = need("pydicom", path, "medical")
    with damage(path, "dicom"):
        found = stack(path, _header_reader(pydicom))
        stored, dtype, channels = _types(path, found, indices)
        rows, columns = int(found.header.Rows), int(found.header.Columns)
        _refuse_lies(found, (rows, columns, _samples(found)), stored.itemsize)

    def read(window: Window) -> Array:
        refuse_excess(path, (channels, *slices_size(window)), dtype.itemsize)
        wanted = found.slices if found.flat else found.slices[window[0]]
        data = np.empty((channels, len(wanted), *slices_size(window)[-2:]), dtype)
        for z, one in enumerate(wanted):
            with damage(one.path, "dicom"):
                pixels = _pixels(pydicom, found, one, stored, indices, dtype)
                if pixels.shape != (rows, columns, channels):
                    raise ValueError(f"its pixels have the shape {pixels.shape}")
                data[:, z] = np.moveaxis(pixels[window[-2], window[-1]], -1, 0)
        return data[:, 0] if found.flat else data

    space = (rows, columns) if found.flat else (len(found.slices), rows, columns)
    spacing = found.spacing[3 - len(space) :]
    chunks = (*(1,) * (len(space) - 2), rows, columns)
    return Opened((channels, *space), dtype, read, spacing, found.affine, chunks=chunks)


def _header_reader(pydicom: Any) -> Callable[[Path, list[str]], Any]:
    def read(path: Path, tags: list[str]) -> Any:
        """Read these elements of a header, or give None where the file does not look like DICOM."""
        with damage(path, "dicom"):
            with path.open("rb") as file:
                start = file.read(132)
            # Files of the time before 1996, and some tools, lack the preamble.
            if start[128:] != b"DICM" and start[:2] not in _GROUPS:
                return None
            with quiet():
                header = pydicom.dcmread(
                    path, stop_before_pixels=True, force=True, specific_tags=tags
                )
                _touch(header)
            return header

    return read


def _touch(header: Any) -> None:
    """Have pydicom convert each element now, and warn of what it finds odd where nobody hears."""
    for element in header:
        if element.VR == "SQ":
            for item in element.value:
                _touch(item)


def _syntax(header: Any) -> str:
    syntax = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
    implicit, little = header.original_encoding
    guess = "1.2.840.10008.1.2" + ("" if implicit else ".1" if little else ".2")
    return str(syntax or guess)


def _samples(found: Stack) -> int:
    return int(found.header.get("SamplesPerPixel") or 1)


def _types(path: Path, found: Stack, indices: bool) -> tuple[Any, Any, int]:
    """Give the type of the stored numbers, that of the numbers we give, and the channels."""
    header, samples = found.header, _samples(found)
    bits, signed = int(header.BitsAllocated), int(header.get("PixelRepresentation") or 0)
    used = int(header.get("BitsStored") or 0)
    if not used and bits in (32, 64):  # parametric maps hold floats
        stored = np.dtype(f"f{bits // 8}")
    elif bits in (8, 16, 32) and 0 < used <= bits and signed in (0, 1):
        stored = np.dtype(f"{'i' if signed else 'u'}{bits // 8}")
    else:
        raise InputError(
            f"holds numbers of {used} in {bits} bits", where=path, cure="save 8, 16 or 32 bits"
        )
    if samples not in (1, 3):
        raise InputError(f"has {samples} samples a pixel", where=path, cure="save grey or RGB")
    if samples == 3:
        return stored, stored, 3
    if header.get("PhotometricInterpretation") == "PALETTE COLOR" and not indices:
        return stored, np.dtype(np.uint8), 3
    slopes = {one.slope for one in found.slices}
    shifts = {one.intercept for one in found.slices}
    if stored.kind == "f" or (slopes == {1.0} and shifts == {0.0}):
        return stored, stored, 1
    if slopes == {1.0} and all(shift.is_integer() for shift in shifts):
        least = -(2 ** (used - 1)) if signed else 0
        low, high = least + min(shifts), least + 2**used - 1 + max(shifts)
        for name in ("i2", "i4"):
            if np.iinfo(name).min <= low and high <= np.iinfo(name).max:
                return stored, np.dtype(name), 1
    return stored, np.dtype(np.float32), 1


def _refuse_lies(found: Stack, shape: tuple[int, ...], itemsize: int) -> None:
    """Refuse files that hold fewer bytes than their headers promise."""
    syntax = _syntax(found.header)
    rows, columns, samples = shape
    promised = rows * columns * samples * itemsize * found.frames
    if found.header.get("PhotometricInterpretation") == "YBR_FULL_422":
        promised = promised * 2 // 3
    for file in {one.path for one in found.slices}:
        held = file.stat().st_size
        if syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"):
            if held < promised:
                raise ValueError("the file ends before its pixels do")
        elif syntax == _DEFLATED and held > _LARGEST_DEFLATED:
            raise InputError(
                f"is {held} bytes of deflated DICOM",
                where=file,
                cure="save it uncompressed, for instance with gdcmconv --raw",
            )
        refuse_bomb(file, promised, held)


def _pixels(
    pydicom: Any, found: Stack, one: Slice, stored: Any, indices: bool, dtype: Any
) -> Array:
    """Give the pixels (y, x, c) of a slice as they are meant."""
    with quiet():
        pixels: Array = _decode(pydicom, found, one)
    kind = found.header.get("PhotometricInterpretation")
    pixels = pixels.astype(stored, copy=False)
    if pixels.ndim == 3:
        return pixels
    if kind == "PALETTE COLOR" and not indices:
        coloured: Array = pydicom.pixels.apply_color_lut(pixels, found.header)
        deep = coloured.dtype.itemsize > 1
        return (coloured >> 8).astype(np.uint8) if deep else coloured.astype(np.uint8)
    if kind == "MONOCHROME1" and not indices and stored.kind in "iu":
        used = int(found.header.BitsStored)
        pixels = stored.type(2**used - 1) - pixels if stored.kind == "u" else ~pixels
    if (one.slope, one.intercept) != (1.0, 0.0) and stored.kind != "f":
        with np.errstate(over="ignore", invalid="ignore"):  # a slope may lead beyond all floats
            pixels = (pixels * one.slope + one.intercept).astype(dtype)
    return pixels[..., None]


def _decode(pydicom: Any, found: Stack, one: Slice) -> Array:
    syntax = _syntax(found.header)
    deep = int(found.header.get("BitsStored") or 0) > 8
    if syntax in _DECODERS and (syntax != _JPEG_12 or deep):
        return _decode_otherwise(pydicom, found, one, _DECODERS[syntax])
    try:
        ready = pydicom.pixels.get_decoder(syntax).is_available
    except NotImplementedError:
        ready = False
    if not ready:
        raise InputError(
            f"is compressed as {pydicom.uid.UID(syntax).name}, for which there is no decoder",
            where=one.path,
            cure="save it uncompressed, for instance with gdcmconv --raw",
        )
    source = pydicom.dcmread(one.path) if syntax == _DEFLATED else one.path
    options = {} if syntax == _DEFLATED else {"transfer_syntax_uid": syntax}
    index = one.index if found.frames > 1 else None
    return np.asarray(pydicom.pixels.pixel_array(source, index=index, **options))


def _decode_otherwise(pydicom: Any, found: Stack, one: Slice, decoder: str) -> Array:
    import imagecodecs

    content = pydicom.dcmread(one.path, force=True)
    frame = pydicom.encaps.get_frame(content.PixelData, one.index, number_of_frames=found.frames)
    pixels: Array = np.asarray(getattr(imagecodecs, decoder)(frame))
    header = found.header
    spare = int(header.BitsAllocated) - int(header.BitsStored)
    if header.get("PixelRepresentation") and spare:  # JPEG knows no sign: copy its bit upwards
        pixels = (pixels.astype(f"u{int(header.BitsAllocated) // 8}") << spare).view(
            f"i{int(header.BitsAllocated) // 8}"
        ) >> spare
    return pixels
