"""All files of a public set from its home into the cache, each of them checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from unetkit.data.catalog.download import checksum, download
from unetkit.data.catalog.entry import Entry, File
from unetkit.data.catalog.listings import further
from unetkit.errors import InputError
from unetkit.files import write_text

if TYPE_CHECKING:
    import requests

Progress = Callable[[int, int], None]  # bytes that are here, and in all (0 while unknown)
Say = Callable[[str], None]
Fetched = list[tuple[File, Path]]


def fetch(
    entry: Entry, cache: Path, *, base: str | None, on_progress: Progress | None, say: Say
) -> Fetched:
    """Fetch what is not yet in the cache, and check all of it.

    Files whose checksum we know are held against it; of all others the sha256 is recorded in
    `checksums.json` at the first download and they are held against that from then on.

    Args:
        entry: the set.
        cache: the folder that keeps downloads, one folder per set.
        base: address of a mirror, in the place of scheme and server of every address.
        on_progress: takes bytes.
        say: takes a sentence about files without a known checksum.

    Raises:
        InputError: something cannot be had, or is not what it should be.
    """
    import requests
    from filelock import FileLock, Timeout

    place = cache / entry.name
    try:
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / ".lock", timeout=0), requests.Session() as session:
            fetched = _all(entry, entry.files, cache, session, base, on_progress, say)
            listed = further(entry.layout, {file.name: path for file, path in fetched})
            return fetched + _all(entry, listed, cache, session, base, on_progress, say)
    except Timeout as error:
        cure = "wait until it has finished"
        raise InputError("is being fetched by another process", where=place, cure=cure) from error
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise InputError(what, where=place, cure="keep downloads elsewhere (--cache)") from error


def _all(
    entry: Entry,
    files: Sequence[File],
    cache: Path,
    session: requests.Session,
    base: str | None,
    on_progress: Progress | None,
    say: Say,
) -> Fetched:
    record = cache / "checksums.json"
    known = _read(record)
    sizes = [file.size or 0 for file in files]
    cure = f"look at {entry.home}; a copy fetched by hand is imported with --archive"
    fetched: Fetched = []
    fresh: list[File] = []
    try:
        for index, file in enumerate(files):
            url = _address(file, base)
            before = sum(sizes[:index])

            def moved(here: int, whole: int, index: int = index, before: int = before) -> None:
                sizes[index] = max(whole, here)
                if on_progress:
                    on_progress(before + here, _expected(sizes))

            changed = f"if that does not help, see {entry.home} for what has changed"
            if not file.checksum and url in known:
                file = replace(file, checksum=known[url])
                changed = f"if its home has changed it, take its line out of {record}"
            target = cache / entry.name / Path(*file.name.split("/"))
            download(file, target, session, url=url, moved=moved, cure=cure, changed=changed)
            sizes[index] = target.stat().st_size
            moved(sizes[index], sizes[index])
            if not file.checksum:
                file = replace(file, checksum=checksum(target))
                known[url] = str(file.checksum)
                fresh.append(file)
            fetched.append((file, target))
    finally:
        if fresh:
            write_text(record, json.dumps(known, indent=1, sort_keys=True) + "\n")
    if fresh:
        of = fresh[0].name if len(fresh) == 1 else f"these {len(fresh)} files"
        say(
            f"{fresh[0].host} publishes no checksum we know for {of}: the sha256 was recorded in "
            f"{record} and is checked from now on"
        )
    return fetched


def _address(file: File, base: str | None) -> str:
    return base.rstrip("/") + urlsplit(file.url).path if base else file.url


def _expected(sizes: Sequence[int]) -> int:
    """Estimate all bytes: a file of unknown size is taken to be as large as the others are."""
    seen = [size for size in sizes if size]
    return sum(seen) + (len(sizes) - len(seen)) * (sum(seen) // len(seen)) if seen else 0


def _read(record: Path) -> dict[str, str]:
    if not record.exists():
        return {}
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        return {str(url): str(value) for url, value in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        cure = "delete it: checksums are then recorded anew"
        raise InputError("is no readable record of checksums", where=record, cure=cure) from error
