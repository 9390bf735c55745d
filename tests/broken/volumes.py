"""Broken NIfTI, DICOM, NRRD and MetaImage files."""

from __future__ import annotations

import gzip
import shutil
import struct
from functools import partial
from pathlib import Path

import numpy as np

from broken.item import Fate, Item, from_bytes
from broken.pictures import zeros
from broken.sound import CONTENTS, X, Y, dicom, nifti, noise, series


def _nifti(name: str, fate: Fate = "refused", suffix: str = ".nii", **fields: object) -> Item:
    return from_bytes(
        f"NIfTI{suffix.removeprefix('.nii')} {name}",
        f"scan{suffix}",
        partial(nifti, suffix, **fields),
        fate,
    )


def _rows(value: float) -> dict[str, object]:
    return {f"srow_{axis}": [value] * 4 for axis in "xyz"} | {"sform_code": 1, "qform_code": 0}


def _gzip_bomb() -> bytes:
    header = nifti(dim=[3, 1500, 1500, 1500, 1, 1, 1, 1], datatype=2, bitpix=8)[:352]
    stream = zeros(1500**3)[2:-4]  # without what zlib puts around it
    engine = gzip.compress(header, mtime=0)
    member = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + stream + struct.pack("<II", 0, 1500**3 % 2**32)
    return engine + member


def _dicom(name: str, fate: Fate = "refused", **changes: object) -> Item:
    return from_bytes(f"DICOM {name}", "slice.dcm", partial(dicom, **changes), fate)


def _nrrd(text: str, content: bytes = b"") -> bytes:
    return b"NRRD0004\n" + text.encode() + b"\n\n" + content


def _without_bits() -> bytes:
    """Give a slice whose tag BitsAllocated (0028,0100) has become a private one."""
    content = dicom()
    return content.replace(b"\x28\0\0\x01US", b"\x29\0\0\x01US")


_SMALL = "type: uint8\ndimension: 2\nencoding: {}\nsizes: {}"


def _meta(**fields: str) -> bytes:
    text = {
        "ObjectType": "Image", "NDims": "2", "DimSize": f"{X} {Y}", "ElementType": "MET_UCHAR",
        "ElementDataFile": "LOCAL",
    } | fields  # fmt: skip
    last = text.pop("ElementDataFile")
    lines = [f"{key} = {value}" for key, value in text.items()] + [f"ElementDataFile = {last}"]
    return "\n".join(lines).encode() + b"\n" + noise().tobytes()


def _series_with(file: str, content: bytes | None) -> Item:
    def build(folder: Path) -> Path:
        path = series(folder)
        if content is None:
            (path / "2.dcm").unlink()
        else:
            (path / file).write_bytes(content)
        return path

    return Item(f"DICOM series with {file}", build, "either")


def _series_of_two(folder: Path) -> Path:
    path = series(folder)
    shutil.copy(path / "1.dcm", path / "9.dcm")
    return path


VOLUMES = [
    _nifti("of 32767³", dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]),
    _nifti("of 32767³", suffix=".nii.gz", dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]),
    _nifti("of 32767⁷", dim=[7] + [32767] * 7),
    _nifti("of 32767⁷", suffix=".nii.gz", dim=[7] + [32767] * 7),
    _nifti("without voxels", dim=[3, 0, 12, 14, 1, 1, 1, 1]),
    _nifti("of negative size", dim=[3, -10, 12, 14, 1, 1, 1, 1]),
    _nifti("of negative size twice", dim=[3, -10, -12, 14, 1, 1, 1, 1]),
    _nifti("of no axes", dim=[0, 1, 1, 1, 1, 1, 1, 1]),
    _nifti("of −3 axes", dim=[-3, 10, 12, 14, 1, 1, 1, 1]),
    _nifti("of 77 axes", dim=[77, 10, 12, 14, 1, 1, 1, 1]),
    _nifti("of an unknown type", datatype=7777),
    _nifti("of type 0", datatype=0, bitpix=0),
    _nifti("of complex numbers", datatype=32, bitpix=64),
    _nifti("of a negative place", vox_offset=-400),
    _nifti("of a place beyond the end", vox_offset=1e9),
    _nifti("of a place that is NaN", vox_offset=np.nan),
    _nifti("of a place that is infinite", vox_offset=np.inf),
    _nifti("with an affine of zeros", "readable", **_rows(0)),
    _nifti("with an affine of NaN", "readable", **_rows(np.nan)),
    _nifti("with an affine of infinity", "readable", **_rows(np.inf)),
    _nifti("with a quaternion of NaN", "readable", sform_code=0, qform_code=1, quatern_b=np.nan),
    _nifti("with a quaternion of 9", "either", sform_code=0, qform_code=1, quatern_b=9),
    _nifti("with spacing of zeros", "readable", pixdim=[0] * 8),
    _nifti("with spacing of NaN", "readable", pixdim=[np.nan] * 8),
    _nifti("with a slope of NaN", "either", scl_slope=np.nan, scl_inter=np.nan),
    _nifti("with a slope of infinity", "either", scl_slope=np.inf),
    _nifti("with a slope of 10³⁸", "either", scl_slope=1e38),
    _nifti("with a magic of its own", "either", magic=b"abc"),
    from_bytes("NIfTI bomb", "bomb.nii.gz", _gzip_bomb),
    from_bytes("NIfTI in gzip with a wrong CRC", "crc.nii.gz",
               lambda: CONTENTS["packed.nii.gz"]()[:-8] + bytes(8)),
    from_bytes("text as .nii.gz", "text.nii.gz", lambda: b"not a volume\n" * 50),
    from_bytes("gzip of text as .nii.gz", "text.nii.gz", lambda: gzip.compress(b"a volume" * 99)),
    from_bytes("gzip of nothing as .nii.gz", "none.nii.gz", lambda: gzip.compress(b"")),
    from_bytes("gzip with noise behind as .nii.gz", "tail.nii.gz",
               lambda: CONTENTS["packed.nii.gz"]() + noise(90).tobytes(), "either"),
    _dicom("without pixels", PixelData=None),
    _dicom("without rows", Rows=None),
    _dicom("of no rows", Rows=0),
    _dicom("of 65535²", Rows=65535, Columns=65535),
    _dicom("of fewer pixels than it says", Rows=Y + 1),
    from_bytes("DICOM without bits", "slice.dcm", _without_bits),
    _dicom("of 7 bits", BitsAllocated=7, BitsStored=7),
    _dicom("of 17 samples", SamplesPerPixel=17),
    _dicom("of 10⁶ frames", NumberOfFrames=10**6),
    _dicom("of spacing 0", "readable", PixelSpacing=[0, 0]),
    _dicom("with a slope of 10³⁰⁰", "either", RescaleSlope="1e300", RescaleIntercept="0"),
    _dicom("with a direction of zeros", "either", ImageOrientationPatient=[0] * 6),
    _dicom("of an unknown meaning", "either", PhotometricInterpretation="WHATEVER"),
    _series_with("9.dcm", b"not a slice"),
    _series_with("9.dcm twice", CONTENTS["grey.png"]()),
    _series_with("a missing slice", None),
    Item("DICOM series with a slice twice", _series_of_two, "either"),
    from_bytes("NRRD without end of header", "a.nrrd", lambda: b"NRRD0004\n" + b"# text\n" * 5000),
    from_bytes("NRRD of 10⁶ × 10⁶", "a.nrrd",
               lambda: _nrrd(_SMALL.format("raw", "1000000 1000000"), bytes(90))),
    from_bytes("NRRD of negative size", "a.nrrd",
               lambda: _nrrd(_SMALL.format("raw", "-4 9"), bytes(90))),
    from_bytes("NRRD of 16 sizes", "a.nrrd",
               lambda: _nrrd(_SMALL.format("raw", "2 " * 16), bytes(90))),
    from_bytes("NRRD of an unknown encoding", "a.nrrd",
               lambda: _nrrd(_SMALL.format("magic", "9 9"), bytes(90))),
    from_bytes("NRRD of gzip that is noise", "a.nrrd",
               lambda: _nrrd(_SMALL.format("gzip", "9 9"), noise(90).tobytes())),
    from_bytes("NRRD of gzip with a wrong CRC", "a.nrrd",
               lambda: CONTENTS["packed.nrrd"]()[:-8] + bytes(8), "either"),
    from_bytes("NRRD bomb", "a.nrrd",
               lambda: _nrrd(_SMALL.format("gzip", "60000 60000"), gzip.compress(bytes(2**20)))),
    from_bytes("NRRD that names another file", "a.nrrd",
               lambda: _nrrd(_SMALL.format("raw", "9 9") + "\ndata file: /etc/passwd")),
    from_bytes("NRRD that names a file missing", "a.nhdr",
               lambda: _nrrd(_SMALL.format("raw", "9 9") + "\ndata file: gone.raw")),
    from_bytes("MetaImage of 10⁶ × 10⁶", "a.mha", lambda: _meta(DimSize="1000000 1000000")),
    from_bytes("MetaImage of negative size", "a.mha", lambda: _meta(DimSize="-4 9")),
    from_bytes("MetaImage of 99 axes", "a.mha", lambda: _meta(NDims="99")),
    from_bytes("MetaImage of an unknown type", "a.mha", lambda: _meta(ElementType="MET_WHAT")),
    from_bytes("MetaImage that names another file", "a.mha",
               lambda: _meta(ElementDataFile="/etc/passwd")),
    from_bytes("MetaImage that names itself", "a.mhd", lambda: _meta(ElementDataFile="a.mhd"),
               "either", False),
    from_bytes("MetaImage that names a file missing", "a.mhd",
               lambda: _meta(ElementDataFile="gone.raw")),
    from_bytes("MetaImage that names a list", "a.mhd",
               lambda: _meta(ElementDataFile="LIST\n../../x.raw")),
    from_bytes("MetaImage of zlib that is noise", "a.mha",
               lambda: _meta(CompressedData="True", CompressedDataSize="1920")),
    from_bytes("VRT that names /etc/passwd", "a.vrt",
               lambda: b'<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand '
               b'dataType="Byte" band="1"><SimpleSource><SourceFilename>/etc/passwd'
               b"</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"),
]  # fmt: skip
