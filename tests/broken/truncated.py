"""Files of every format that were cut short, emptied, zeroed, or given another's suffix."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from broken.item import Item, from_bytes
from broken.sound import CONTENTS, FOLDERS


def _suffix(name: str) -> str:
    return name[name.index(".") :]


def _cut(name: str, tenths: int) -> Callable[[], bytes]:
    def content() -> bytes:
        whole = CONTENTS[name]()
        return whole[: len(whole) * tenths // 10]

    return content


def _cut_folder(make: Callable[[Path], Path], tenths: int) -> Callable[[Path], Path]:
    """Cut every file in a folder short."""

    def build(folder: Path) -> Path:
        path = make(folder)
        for file in sorted(path.rglob("*")):
            if file.is_file():
                content = file.read_bytes()
                file.write_bytes(content[: len(content) * tenths // 10])
        return path

    return build


def _cut_pixels(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    """Cut the last and longest file of a folder short, of which the metadata stay sound."""

    def build(folder: Path) -> Path:
        path = make(folder)
        files = [f for f in path.rglob("*") if f.is_file() and "zarr" not in f.name]
        longest = max(sorted(files), key=lambda file: file.stat().st_size)
        longest.write_bytes(longest.read_bytes()[:-40])
        return path

    return build


def _emptied(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        path = make(folder)
        shutil.rmtree(path)
        path.mkdir()
        return path

    return build


def _wrong(name: str, file: str, source: str) -> Item:
    return from_bytes(name, file, CONTENTS[source])


_PAGE = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head></html>\n"
_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"

TRUNCATED = [
    *(
        from_bytes(f"{name} cut at {tenths}0 %", f"cut{_suffix(name)}", _cut(name, tenths))
        for name in CONTENTS
        for tenths in range(1, 10)
    ),
    *(
        Item(f"{name} cut at {tenths}0 %", _cut_folder(make, tenths))
        for name, make in FOLDERS.items()
        for tenths in range(1, 10)
    ),
    *(Item(f"{name} with a file cut", _cut_pixels(make)) for name, make in FOLDERS.items()),
    *(
        Item(f"{name} without files", _emptied(make))
        for name, make in FOLDERS.items()
        if "zarr" in name
    ),
    *(
        from_bytes(f"{name} of {size} zeros", f"zero{_suffix(name)}", lambda size=size: bytes(size))
        for name in CONTENTS
        for size in (0, 1, 4096)
    ),
    _wrong("JPEG as .png", "photo.png", "grey.jpg"),
    _wrong("PNG as .tif", "scan.tif", "grey.png"),
    _wrong("PNG as .jpg", "scan.jpg", "grey.png"),
    _wrong("TIFF as .dcm", "scan.dcm", "strips.tif"),
    _wrong("TIFF as .nrrd", "scan.nrrd", "strips.tif"),
    _wrong("PNG as .jp2", "scan.jp2", "grey.png"),
    _wrong("DICOM as .nii", "scan.nii", "slice.dcm"),
    _wrong("NIfTI as .nii.gz", "scan.nii.gz", "plain.nii"),
    _wrong("gzip as .nii", "scan.nii", "packed.nii.gz"),
    _wrong("NPZ as .npy", "array.npy", "arrays.npz"),
    _wrong("NPY as .npz", "array.npz", "array.npy"),
    _wrong("file as .zarr", "array.zarr", "array.npy"),
    *(
        from_bytes(f"{word} as {_suffix(name)} ({name})", f"page{_suffix(name)}", lambda t=text: t)
        for name in CONTENTS
        for word, text in (("HTML", _PAGE), ("LFS pointer", _POINTER))
    ),
]
