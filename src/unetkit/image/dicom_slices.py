"""The slices of a DICOM series: which files they are, in which order, and where they lie.

Source: DICOM PS3.3, C.7.6.2 (image plane), C.7.6.16 (functional groups), C.11.1 (rescaling).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unetkit.errors import InputError
from unetkit.image.names import natural

Vector = npt.NDArray[np.float64]

_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
_FRAME_TIME = (0x00181063, 0x00181065)
_TOLERANCE = 0.1  # of the usual distance: positions are written rounded, patients breathe
_MOST_FRAMES = 2**20
_SUFFIXES = (".dcm", ".dicom", ".ima", ".img")

# What is read of each header; reading no more makes a series of 500 slices open in a second.
_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesDescription", "InstanceNumber",
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelSpacing",
    "ImagerPixelSpacing", "SliceThickness", "SpacingBetweenSlices", "ImagePositionPatient",
    "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "FrameIncrementPointer",
    "GridFrameOffsetVector", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData",
]  # fmt: skip


@dataclass(frozen=True)
class Slice:
    """One plane of pixels.

    Attributes:
        path: its file.
        index: of the frame in the file.
        position: of the centre of its first pixel (LPS, mm), or None.
        orientation: directions of a row and of a column, (2, 3), or None.
        slope: of the rescaling.
        intercept: of the rescaling.
    """

    path: Path
    index: int
    position: Vector | None
    orientation: Vector | None
    slope: float
    intercept: float


@dataclass(frozen=True)
class Stack:
    """The slices that make up one picture, in order.

    Attributes:
        slices: from the first to the last along their normal.
        header: of one of them, without pixels.
        frames: how many each file holds.
        flat: there is one slice, and so no axis z.
        spacing: (z, y, x) in mm.
        affine: from (x, y, z) of voxels to RAS as nibabel gives it, or None.
    """

    slices: tuple[Slice, ...]
    header: Any
    frames: int
    flat: bool
    spacing: tuple[float, float, float]
    affine: Vector | None


def stack(path: Path, read_header: Callable[[Path, list[str]], Any]) -> Stack:
    """Find the slices of a file or a folder that holds one series.

    Args:
        path: the file or folder.
        read_header: gives the header of a file with these elements, or None where it is no DICOM.

    Raises:
        InputError: several series, a gap, doubles, or slices that do not fit together.
    """
    headers = _headers(path, read_header)
    _refuse_mixtures(path, headers)
    files = sorted(headers, key=natural)
    frames = int(headers[files[0]].get("NumberOfFrames") or 1)
    if frames > 1:
        if len(files) > 1:
            raise InputError(
                f"holds {len(files)} files of several frames each",
                where=path,
                cure="give one of the files, or keep each in a folder of its own",
            )
        if frames > min(files[0].stat().st_size, _MOST_FRAMES):
            raise ValueError(f"it promises {frames} frames")
        pointer = headers[files[0]].get("FrameIncrementPointer")
        if any(one in _FRAME_TIME for one in (pointer if isinstance(pointer, list) else [pointer])):
            raise InputError(
                f"holds {frames} frames of a film", where=path, cure="save each frame by itself"
            )
    slices = [_slice(file, headers[file], i) for file in files for i in range(frames)]
    header = headers[files[0]]
    apart, order = _order(path, slices, headers)
    slices = [slices[i] for i in order]
    y, x = _pixel_size(header, slices[0].index)
    step, spacing = _step(slices, apart or _thickness(header), (y, x))
    return Stack(tuple(slices), header, frames, len(slices) == 1, spacing, step)


def _headers(path: Path, read_header: Callable[[Path, list[str]], Any]) -> dict[Path, Any]:
    if not path.is_dir():
        header = read_header(path, _TAGS)
        if header is None:
            raise InputError("is no DICOM file", where=path, cure="copy it again from its source")
        return {path: _picture(path, header)}
    headers = {}
    for file in path.iterdir():
        if file.name.startswith(".") or file.name == "DICOMDIR" or not file.is_file():
            continue
        header = read_header(file, _TAGS)
        if header is not None and ("Rows" in header or "Image" in _kind(header)):
            headers[file] = _picture(file, header)  # reports and plans may lie beside
        elif header is None and _should_be_dicom(file.name):
            raise InputError(
                "is no DICOM file, in a folder of such",
                where=file,
                cure="copy it again from its source, or take it out of the folder",
            )
    if not headers:
        cure = "give the folder in which the slices themselves lie"
        raise InputError("holds no DICOM picture", where=path, cure=cure)
    series: dict[str, list[Path]] = {}
    for file, header in headers.items():
        series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append(file)
    if len(series) > 1:
        named = [
            f"{headers[files[0]].get('SeriesDescription') or 'no name'} ({len(files)} files)"
            for files in sorted(series.values(), key=min)
        ]
        more = f" and {len(named) - 8} more" if len(named) > 8 else ""
        raise InputError(
            f"holds {len(series)} series: {', '.join(named[:8])}{more}",
            where=path,
            cure="put each series into a folder of its own",
        )
    return headers


def _should_be_dicom(name: str) -> bool:
    """Tell by its name whether a file is no mere note beside the slices.

    Slices are called a.dcm, IM000001, or 1.2.840.113619.2.5: of other names, only those count that
    have a digit but no suffix.
    """
    suffix = Path(name).suffix.lower()
    numbered = suffix[1:].isdigit() or (not suffix and any(letter.isdigit() for letter in name))
    return suffix in _SUFFIXES or numbered


def _picture(path: Path, header: Any) -> Any:
    if header.get("SOPClassUID") == _SEGMENTATION:
        raise InputError(
            "is a DICOM segmentation object",
            where=path,
            cure="convert it to NIfTI, for instance with segimage2itkimage of dcmqi",
        )
    if not header.get("Rows") or not header.get("Columns"):
        kind = _kind(header)
        cure = "copy it again from its source" if "Image" in kind else "give the files of pictures"
        raise InputError(f"holds no pixels ({kind})", where=path, cure=cure)
    return header


def _kind(header: Any) -> str:
    """Give the name of what a file holds; what does not say is taken for a damaged picture."""
    return str(getattr(header.get("SOPClassUID"), "name", "Image of unknown kind"))


def _refuse_mixtures(path: Path, headers: dict[Path, Any]) -> None:
    for names, called in (
        (("Rows", "Columns"), "sizes"),
        (("SamplesPerPixel", "PhotometricInterpretation"), "colours"),
        (("BitsAllocated", "PixelRepresentation"), "types of numbers"),
        (("NumberOfFrames",), "numbers of frames"),
    ):
        kinds = {tuple(header.get(name) or 0 for name in names): f for f, header in headers.items()}
        if len(kinds) > 1:
            (a, first), (b, second), *_ = sorted(kinds.items(), key=lambda item: item[1])
            shown = [" × ".join(map(str, kind)) for kind in (a, b)]
            raise InputError(
                f"mixes slices of different {called} ({first.name}: {shown[0]}, {second.name}: "
                f"{shown[1]})",
                where=path,
                cure="keep those that belong together in a folder of their own",
            )


def _slice(path: Path, header: Any, index: int) -> Slice:
    position = _numbers(_plane(header, index, "ImagePositionPatient", "PlanePositionSequence"), 3)
    turned = _plane(header, index, "ImageOrientationPatient", "PlaneOrientationSequence")
    orientation = _numbers(turned, 6)
    if orientation is not None:
        orientation = orientation.reshape(2, 3)
        lengths = np.linalg.norm(orientation, axis=1)
        if np.abs(lengths - 1).max() > 0.01 or abs(orientation[0] @ orientation[1]) > 0.01:
            orientation = None
    if index and "ImagePositionPatient" in header:  # which is that of the first frame
        offsets = _numbers(header.get("GridFrameOffsetVector"), int(header.NumberOfFrames))
        if position is None or orientation is None or offsets is None:
            position = None
        else:
            position = position + (offsets[index] - offsets[0]) * np.cross(*orientation)
    rescale = "PixelValueTransformationSequence"
    slope = _plane(header, index, "RescaleSlope", rescale)
    intercept = _plane(header, index, "RescaleIntercept", rescale)
    return Slice(
        path,
        index,
        position,
        orientation,
        float(slope if slope is not None else 1),
        float(intercept if intercept is not None else 0),
    )


def _plane(header: Any, index: int, name: str, group: str) -> Any:
    """Give an element of a frame: its own, or one that all frames share, or the file's."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = header.get("SharedFunctionalGroupsSequence") or []
    for groups in (*per_frame[index : index + 1], *shared[:1]):
        if groups.get(group) and name in groups[group].value[0]:
            return groups[group].value[0][name].value
    return header.get(name)


def _numbers(value: Any, count: int) -> Vector | None:
    if value is None or isinstance(value, str | float) or len(value) != count:
        return None
    numbers = np.asarray([float(number) for number in value])
    return numbers if np.isfinite(numbers).all() else None


def _order(
    path: Path, slices: Sequence[Slice], headers: dict[Path, Any]
) -> tuple[float, Sequence[int]]:
    """Give the distance of neighbours (0 where nothing says) and the order of the slices."""
    if len(slices) == 1:
        return 0.0, [0]
    turned = [s.orientation for s in slices if s.orientation is not None]
    if any(np.abs(one - turned[0]).max() > 0.01 for one in turned):
        raise InputError(
            "mixes slices of different directions",
            where=path,
            cure="keep those that are parallel in a folder of their own",
        )
    placed = [s.position for s in slices if s.position is not None]
    if len(turned) < len(slices) or len(placed) < len(slices):
        numbers = [headers[s.path].get("InstanceNumber") for s in slices]
        if len(headers) > 1 and None not in numbers and len(set(numbers)) == len(numbers):
            return 0.0, sorted(range(len(slices)), key=lambda i: int(numbers[i]))
        return 0.0, range(len(slices))
    along = np.asarray(placed) @ np.cross(*turned[0])
    order = np.argsort(along, kind="stable")
    gaps = np.diff(along[order])
    usual = float(np.median(gaps))
    names = [_name(slices[i], len(headers)) for i in order]
    if gaps.min() <= max(1e-4, _TOLERANCE * usual):
        at = int(np.argmin(gaps))
        raise InputError(
            f"two slices lie at the same place ({names[at]} and {names[at + 1]})",
            where=path,
            cure="remove copies; keep time points and echoes in folders of their own",
        )
    if np.abs(gaps - usual).max() > _TOLERANCE * usual:
        at = int(np.argmax(np.abs(gaps - usual)))
        raise InputError(
            f"its slices are {usual:.3g} mm apart, but {gaps[at]:.3g} mm between {names[at]} and "
            f"{names[at + 1]}",
            where=path,
            cure="add the slices that are missing, or resample the series evenly",
        )
    return usual, [int(i) for i in order]


def _name(one: Slice, files: int) -> str:
    return one.path.name if files > 1 else f"frame {one.index + 1}"


def _pixel_size(header: Any, index: int) -> tuple[float, float]:
    value = _plane(header, index, "PixelSpacing", "PixelMeasuresSequence")
    sizes = _numbers(value if value is not None else header.get("ImagerPixelSpacing"), 2)
    return (
        (float(sizes[0]), float(sizes[1])) if sizes is not None and min(sizes) > 0 else (1.0, 1.0)
    )


def _thickness(header: Any) -> float:
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        value = _plane(header, 0, name, "PixelMeasuresSequence")
        if value is not None and np.isfinite(float(value)) and float(value) > 0:
            return float(value)
    return 1.0


def _step(
    slices: Sequence[Slice], apart: float, size: tuple[float, float]
) -> tuple[Vector | None, tuple[float, float, float]]:
    """Give the affine, if it is known, and the spacing."""
    y, x = size
    first, last = slices[0], slices[-1]
    if first.position is None or first.orientation is None:
        return None, (apart, y, x)
    row, column = first.orientation
    step = apart * np.cross(row, column)
    if len(slices) > 1 and last.position is not None:
        # Not simply the normal: the planes of a tilted gantry are shifted against each other.
        step = (last.position - first.position) / (len(slices) - 1)
    affine = np.eye(4)
    affine[:3] = np.stack([row * x, column * y, step, first.position], axis=1)
    affine[:2] *= -1  # DICOM's x and y point to left and posterior, nibabel's the other way
    return affine, (float(np.linalg.norm(step)), y, x)
