"""Virtual rasters (.vrt): which files they name, and that they name no others.

A VRT is an XML file by which GDAL composes a picture of others. It may name any file, address of
the network or program; only mosaics and stacks of bands of ordinary pictures beside it are read.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from unetkit.errors import InputError

_CURE = "copy its pixels into one file: gdal_translate in.vrt out.tif"
_LARGEST, _DEEPEST = 2**26, 8

# What GDAL reads by looking at it; other formats may name further files or addresses.
_PICTURES = (
    b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"EHFA_HEADER",
    b"\x89PNG", b"\xff\xd8\xff", b"BM",
)  # fmt: skip
# Elements that hold no file but in `SourceFilename`. GDAL looks at neither case nor at whether a
# name is that of an element or of an attribute.
_HARMLESS = {
    "vrtdataset", "srs", "geotransform", "gcplist", "gcp", "vrtrasterband", "maskband",
    "description", "nodatavalue", "hidenodatavalue", "colorinterp", "unittype", "offset", "scale",
    "categorynames", "category", "colortable", "entry", "gdalrasterattributetable", "fielddefn",
    "name", "type", "usage", "row", "f", "histograms", "histitem", "histmin", "histmax",
    "bucketcount", "includeoutofrange", "approximate", "histcounts", "simplesource",
    "complexsource", "averagedsource", "sourcefilename", "sourceband", "sourceproperties",
    "srcrect", "dstrect", "nodata", "scaleoffset", "scaleratio", "lut", "colortablecomponent",
    "usemaskband", "exponent", "srcmin", "srcmax", "dstmin", "dstmax", "clip", "overviewlist",
}  # fmt: skip
_PLAIN_BAND = "VRTSourcedRasterBand"
_FILES = ("sourcefilename", "sourcedataset", "openoptions", "overview", "subclass")


def sources(path: Path) -> list[Path]:
    """Give the pictures that a virtual raster is made of, also by way of others of its kind.

    Raises:
        InputError: it names files outside its folder, addresses, or what could name such.
    """
    found: list[Path] = []
    _follow(path, path.resolve().parent, [], found)
    return found


def _follow(path: Path, root: Path, above: list[Path], found: list[Path]) -> None:
    here = path.resolve()  # names are relative to where a link leads, GDAL thinks
    if here in above or len(above) >= _DEEPEST:
        raise InputError("refers to itself without end", where=path, cure=_CURE)
    for source in _named(path, here.parent, root):
        if source in found:
            continue
        with source.open("rb") as file:
            start = file.read(64)
        if start.startswith(_PICTURES):
            found.append(source)
        elif start.startswith((b"<VRTDataset", b"<?xml")):
            _follow(source, root, [*above, here], found)
        else:
            raise InputError(f"is made of {source.name}, no plain picture", where=path, cure=_CURE)


def _named(path: Path, folder: Path, root: Path) -> list[Path]:
    """Give the files that the XML names, once each."""
    if path.stat().st_size > _LARGEST:
        raise InputError("is too long", where=path, cure=_CURE)
    text = path.read_text(encoding="utf-8-sig")
    if text.startswith("<?xml"):
        text = text.partition("?>")[2].lstrip()
    if "<!" in text or "<?" in text:  # what GDAL might read otherwise than we do
        raise InputError("holds comments or entities", where=path, cure="take them out")
    tree = ElementTree.fromstring(text)
    if tree.tag != "VRTDataset":
        raise ValueError(f"it holds <{tree.tag}>")
    names: dict[tuple[str, bool], None] = {}
    waiting = [tree]
    while waiting:
        element = waiting.pop()
        tag = element.tag.lower()
        odd = [n for n, v in element.attrib.items() if n.lower() in _FILES and v != _PLAIN_BAND]
        if tag == "metadata" and not _names_overviews(element):
            continue
        if tag not in _HARMLESS or odd:
            shown = " ".join([f"<{element.tag}", *odd])
            raise InputError(f"uses {shown}>, which is more than a mosaic", where=path, cure=_CURE)
        if tag == "sourcefilename":
            relative = [v for k, v in element.attrib.items() if k.lower() == "relativetovrt"]
            if relative not in ([], ["0"], ["1"]):
                raise ValueError("it does not say what its names are relative to")
            names[(element.text or ""), relative == ["1"]] = None
        waiting.extend(reversed(element))
    return [_inside(path, folder if beside else Path.cwd(), root, name) for name, beside in names]


def _names_overviews(metadata: ElementTree.Element) -> bool:
    return any("overview" in value.lower() for e in metadata.iter() for value in e.attrib.values())


def _inside(path: Path, folder: Path, root: Path, name: str) -> Path:
    """Give the file of that name, if it lies in the folder of the first VRT or below."""
    place = folder / name
    strange = not name or name != name.strip() or "\0" in name or ".." in Path(name).parts
    if strange or not place.is_relative_to(root) or place == root:
        raise InputError(f"is made of {name!r}, outside its folder", where=path, cure=_CURE)
    if not place.is_file():
        cure = "copy it to its place"
        raise InputError(f"is made of {name}, which is missing", where=path, cure=cure)
    return place
