"""Names and kinds of files that trip programs: links, pipes, odd letters, and very long ones."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from broken.item import Item, from_bytes
from broken.sound import CONTENTS


def _loop(folder: Path) -> Path:
    (folder / "b.png").symlink_to("a.png")
    (folder / "a.png").symlink_to("b.png")
    return folder / "a.png"


def _dangling(folder: Path) -> Path:
    (folder / "a.png").symlink_to("gone/away.png")
    return folder / "a.png"


def _round(folder: Path) -> Path:
    """Make a Zarr folder that contains itself."""
    path = folder / "a.zarr"
    path.mkdir()
    (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    (path / "a").symlink_to("..", target_is_directory=True)
    (path / "a.zarr").symlink_to(".", target_is_directory=True)
    return path


def _pipe(suffix: str) -> Item:
    def build(folder: Path) -> Path:
        os.mkfifo(folder / f"a{suffix}")
        return folder / f"a{suffix}"

    return Item(f"pipe called {suffix}", build)


def _piped_series(folder: Path) -> Path:
    path = folder / "series"
    path.mkdir()
    (path / "0.dcm").write_bytes(CONTENTS["slice.dcm"]())
    os.mkfifo(path / "1.dcm")
    return path


def _piped_zarr(folder: Path) -> Path:
    path = folder / "a.zarr"
    path.mkdir()
    os.mkfifo(path / "zarr.json")
    return path


def _device(folder: Path) -> Path:
    (folder / "a.tif").symlink_to("/dev/zero")
    return folder / "a.tif"


def _locked(folder: Path) -> Path:
    path = folder / "a.png"
    path.write_bytes(CONTENTS["grey.png"]())
    path.chmod(0)
    return path


def _named(name: str, file: str) -> Item:
    """Give a sound picture with an odd name, which must be read."""
    return from_bytes(name, file, CONTENTS["grey.png"], "readable", plain=False)


_ACCENT = "Zellenübersicht_é"

NAMES = [
    Item("symlinks in a loop", _loop),
    Item("symlink to nothing", _dangling),
    Item("symlink to a device", _device),
    Item("Zarr that contains itself", _round),
    *(_pipe(suffix) for suffix in (".png", ".tif", ".nii.gz", ".npy", ".zarr", ".dcm", ".mha")),
    Item("DICOM series with a pipe", _piped_series, "either"),
    Item("Zarr with a pipe for metadata", _piped_zarr),
    Item("file that may not be read", _locked, "readable" if os.geteuid() == 0 else "refused"),
    _named("name of composed letters", unicodedata.normalize("NFC", _ACCENT) + ".png"),
    _named("name of decomposed letters", unicodedata.normalize("NFD", _ACCENT) + ".png"),
    _named("name of 255 bytes", "n" * 251 + ".png"),
    _named("name of emoji", "🔬" * 60 + ".png"),
    _named("name with a line break", "a\nb.png"),
    _named("name with a tab and quotes", "a\t\"b\" 'c'.png"),
    _named("name with a markup", "[red]a[bold].png"),
    _named("name of a bell", "a\x07b\x1b[31m.png"),
    _named("name that is no UTF-8", os.fsdecode(b"a\xff\xfeb.png")),
    _named("name of a pattern", "a*[b]?.png"),
    _named("name of a dash", "-o.png"),
    _named("name in capitals", "A.PNG"),
    from_bytes("damaged with a line break", "a\nb.png", lambda: b"\x89PNG", plain=False),
    from_bytes("damaged and no UTF-8", os.fsdecode(b"a\xff.png"), lambda: b"\x89PNG", plain=False),
    from_bytes("name without suffix", "picture", CONTENTS["grey.png"], plain=False),
    from_bytes("name of a suffix alone", ".png", CONTENTS["grey.png"], "readable", plain=False),
    from_bytes("unknown suffix", "picture.xyz", CONTENTS["grey.png"], plain=False),
    Item("name of 256 bytes", lambda folder: folder / ("n" * 252 + ".png"), plain=False),
    Item("name with a null", lambda folder: folder / "a\0b.png", plain=False),
    Item("path of 5000 bytes", lambda folder: folder / ("d/" * 2500 + "a.png"), plain=False),
]
