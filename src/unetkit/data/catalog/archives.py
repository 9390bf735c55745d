"""Archives → files, without trusting them: nothing is ever written outside the target folder.

Zip files are judged as a whole before anything is written; the members of a tar are judged one by
one, because its list is only known at its end. Members are copied byte by byte into files that are
newly made, so that links, devices, owners and permissions of an archive never reach the disk.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from unetkit.data.catalog.judgement import (
    UNTRUSTED,
    Bounds,
    Ledger,
    Names,
    is_junk,
    judged,
    refusal,
    reserve,
    weigh,
)
from unetkit.errors import InputError

_CHUNK = 2**20
_LARGEST_HEADER = 2**24  # a tar may declare a header of any length; names need no more
_AGAIN = "it is damaged or cut short: remove it and fetch it again"

_OPENERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
_FOREIGN = {b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "RAR", b"\x28\xb5\x2f\xfd": "Zstandard"}
_TARRED = (".tar.gz", ".tar.bz2", ".tar.xz", ".tar", ".tgz")
_PACKED = (*_TARRED, ".zip", ".gz", ".bz2", ".xz")
_IMAGES = (".nii.gz", ".svg.gz")


def collect(source: Path, scratch: Path, bounds: Bounds | None = None) -> dict[str, Path]:
    """Give the files of an archive, of a folder, or a file itself, by their names with `/`.

    Archives inside are unpacked too, as a folder of their name. A folder is left where it is.

    Args:
        source: zip, tar (also .gz, .bz2, .xz), a file packed by one of these three, or a folder.
        scratch: an empty folder for what is unpacked.
        bounds: what is too much.

    Raises:
        InputError: whatever is wrong with the archive; what was unpacked is for the caller to
            remove.
    """
    bounds = bounds or Bounds()
    try:
        folder = source.is_dir()
        size = 0 if folder else source.stat().st_size
    except OSError as error:
        cure = "check the path"
        raise InputError(f"cannot be opened ({error.strerror})", where=source, cure=cure) from error
    found = dict(_walk(source, bounds)) if folder else {source.name: source}
    packed = [name for name in found if is_packed(name)] if folder else [source.name]
    if folder:
        size = sum(found[name].stat().st_size for name in packed)
    ledger = Ledger(source, bounds, min(bounds.size, max(bounds.harmless, bounds.ratio * size)))
    for layer in range(bounds.layers):
        unpacked: list[str] = []
        for number, name in enumerate(packed):
            path = found.pop(name)
            prefix = "" if path == source else _unsuffixed(name) + "/"
            inside = _unpack(path, scratch / f"{layer}.{number}", ledger)
            for inner, file in inside.items():
                outer = prefix + inner if inner else _unsuffixed(name)
                found[outer] = file
                unpacked.append(outer)
        packed = [name for name in unpacked if is_packed(name)]
    if packed:
        what = f"holds archives within archives more than {bounds.layers} deep"
        raise InputError(what, where=source, cure=UNTRUSTED)
    return found


def is_packed(name: str) -> bool:
    """Tell an archive from other files by its name; `.nii.gz` is an image."""
    return name.lower().endswith(_PACKED) and not name.lower().endswith(_IMAGES)


def _unsuffixed(name: str) -> str:
    for ending in _PACKED:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def _walk(folder: Path, bounds: Bounds) -> Iterator[tuple[str, Path]]:
    """Give the files of a user's own folder; its links are followed, but never in circles."""
    waiting, seen, count = [(folder, "")], set[Path](), 0
    while waiting:
        here, prefix = waiting.pop()
        try:
            if (real := here.resolve()) in seen:
                continue
            seen.add(real)
            inside = sorted(here.iterdir())
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"cannot be listed ({reason})", where=here) from error
        for path in inside:
            if path.is_dir():
                waiting.append((path, f"{prefix}{path.name}/"))
            elif path.is_file() and not is_junk(path.name):
                count += 1
                if count > bounds.files:
                    what = f"holds more than {bounds.files} files"
                    raise InputError(what, where=folder, cure="give the folder of the set alone")
                yield prefix + path.name, path


def _unpack(path: Path, target: Path, ledger: Ledger) -> dict[str, Path]:
    """Unpack one archive; a file that was only compressed has the name ""."""
    with _explained(path, ledger.source, target):
        target.mkdir(parents=True)
        with path.open("rb") as file:
            start = file.read(512)
        for magic, kind in _FOREIGN.items():
            if start.startswith(magic):
                what = f"is a {kind} archive"
                cure = "unpack it yourself and give the folder"
                raise InputError(what, where=path, cure=cure)
        if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
            cure = "its home answered with a page: download it again in a browser"
            raise InputError("is a web page, no archive", where=path, cure=cure)
        if start.startswith(b"PK"):
            return _unzip(path, target, ledger)
        opener = next((o for magic, o in _OPENERS.items() if start.startswith(magic)), None)
        with opener(path) if opener else path.open("rb") as stream:
            reader = _Reader(stream, ledger.most + 4096 * ledger.bounds.files)
            head = start if opener is None else reader.read(512)
            reader.seek(0)
            if head[257:262] == b"ustar" or path.name.lower().endswith(_TARRED):
                return _untar(reader, target, ledger)
            if opener is None:
                cure = "give the zip or tar as it was downloaded, or a folder"
                raise InputError("is no archive", where=path, cure=cure)
            alone = target / _unsuffixed(path.name)
            ledger.files += 1
            _copy(cast(IO[bytes], reader), alone, ledger)
            return {"": alone}


def _unzip(path: Path, target: Path, ledger: Ledger) -> dict[str, Path]:
    with zipfile.ZipFile(path) as bundle:
        chosen: dict[str, zipfile.ZipInfo] = {}
        names = Names()
        size = 0
        for member in bundle.infolist():
            name = judged(member.orig_filename, ledger)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if member.is_dir() and kind in (0, stat.S_IFDIR):
                continue
            if kind not in (0, stat.S_IFREG):
                raise refusal(ledger, f"holds the link or device {name}")
            if member.flag_bits & 1:
                cure = "unpack it yourself with its password and give the folder"
                raise InputError("is encrypted", where=ledger.source, cure=cure)
            if is_junk(name):
                continue
            size += member.file_size
            reserve(name, names, ledger)
            weigh(ledger.size + size, ledger)
            chosen[name] = member
        if size > (free := shutil.disk_usage(target).free):
            what = f"needs {size / 1e9:.1f} GB unpacked, {free / 1e9:.1f} GB are free"
            raise InputError(what, where=ledger.source, cure="free some space, or use another disk")
        unpacked = {}
        for name, member in chosen.items():
            unpacked[name] = target.joinpath(*name.split("/"))
            with bundle.open(member) as content:
                _copy(content, unpacked[name], ledger)
        return unpacked


def _untar(reader: _Reader, target: Path, ledger: Ledger) -> dict[str, Path]:
    unpacked = {}
    names = Names()
    with tarfile.TarFile(fileobj=cast(Any, reader)) as bundle:
        for member in bundle:
            name = judged(member.name, ledger)
            if member.isdir():
                continue
            if not member.isfile():
                raise refusal(ledger, f"holds the link or device {name}")
            if is_junk(name):
                continue
            reserve(name, names, ledger)
            weigh(ledger.size + member.size, ledger)
            content = bundle.extractfile(member)
            assert content is not None  # it is a file
            unpacked[name] = target.joinpath(*name.split("/"))
            with content:
                _copy(content, unpacked[name], ledger)
        # `tarfile` takes a list that breaks off, or turns to nonsense, for a list that ends here.
        reader.seek(bundle.offset)
        if reader.read(512) != bytes(512):
            raise EOFError("its end is missing")
        while reader.read(_CHUNK):  # the checksum of a compressed tar stands behind its end
            pass
    return unpacked


# -------------------------------------------------------------------------------------- writing


class _Reader:
    """A stream for `tarfile` that neither reads headers of any length nor unpacks without end."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self.stream, self.most = stream, most

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LARGEST_HEADER:
            raise ValueError("a header of unusual length")
        if self.stream.tell() > self.most:
            raise ValueError("it does not end")
        return self.stream.read(size)

    def seek(self, position: int) -> int:
        if position > self.most + _LARGEST_HEADER:
            raise ValueError("it does not end")
        return self.stream.seek(position)

    def tell(self) -> int:
        return self.stream.tell()


def _copy(content: IO[bytes], path: Path, ledger: Ledger) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        while chunk := content.read(_CHUNK):
            ledger.size += len(chunk)
            weigh(ledger.size, ledger)
            file.write(chunk)


@contextmanager
def _explained(path: Path, source: Path, target: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        if error.errno is None:  # what gzip and bz2 say of damaged bytes
            raise _damaged(path, source, error) from error
        if error.filename == str(path):
            cure = "change its permissions"
            raise InputError(f"cannot be read ({error.strerror})", where=path, cure=cure) from error
        cure = "free some space, or choose another folder"
        what = f"cannot be unpacked ({error.strerror})"
        raise InputError(what, where=target, cure=cure) from error
    except Exception as error:
        # The decoders raise whatever comes to hand on damaged bytes: struct.error, zlib.error,
        # NotImplementedError for a method they do not know. All mean the same to the user.
        raise _damaged(path, source, error) from error


def _damaged(path: Path, source: Path, error: Exception) -> InputError:
    inner = "" if path == source else f"{path.name} in it: "
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return InputError(f"cannot be unpacked ({inner}{reason})", where=source, cure=_AGAIN)
