"""A public data set by its name → a folder that `read_dataset` reads, whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from unetkit.data.catalog.archives import collect, is_packed
from unetkit.data.catalog.arrangements import ARRANGEMENTS, Arranged
from unetkit.data.catalog.download import checksum
from unetkit.data.catalog.entries import find
from unetkit.data.catalog.entry import Entry
from unetkit.data.catalog.fetch import Progress, Say, fetch
from unetkit.data.dataset import read_dataset
from unetkit.data.rewrite import write_dataset
from unetkit.errors import InputError
from unetkit.files import write_text
from unetkit.image import stem

_MAKER = "unetkit.data.catalog"
_SHOWN = 5  # problems that are told one by one


def get(
    name: str | Entry,
    folder: str | Path,
    *,
    cache: str | Path,
    archive: str | Path | None = None,
    on_progress: Progress | None = None,
    say: Say | None = None,
    base: str | None = None,
) -> Path:
    """Fetch a public data set and write it in the folder layout, with its split and `meta.json`.

    Downloads are kept in the cache, also where something fails later. The folder appears whole or
    not at all; one that `get` wrote before is replaced, any other is kept.

    Args:
        name: of an entry, or an entry of your own.
        folder: where to; must not exist, be empty or come from `get`.
        cache: where downloads are kept.
        archive: what was downloaded by hand (zip, tar, or a folder, which may hold archives), to
            be imported instead; nothing is fetched then.
        on_progress: takes bytes that are here and bytes in all, the latter as an estimate.
        say: takes sentences about what is done, and about what was left out.
        base: address of a mirror, in the place of scheme and server of every address.

    Returns:
        The folder.

    Raises:
        InputError: an unknown name; a set that needs a registration, and how to obtain it; a home
            that cannot be reached, or gives something else than it should; an archive that is
            damaged, hostile or not this set; a folder that holds something else.

    Example:
        >>> get("stare", "eyes", cache="downloads")  # doctest: +SKIP
        PosixPath('eyes')
    """
    entry = find(name) if isinstance(name, str) else name
    folder, cache, say = Path(folder), Path(cache), say or (lambda _: None)
    target = folder.resolve()
    _may_replace(target)
    if archive is None and not entry.files:
        raise InputError(
            f"is given away only after registration ({entry.registration})",
            where=entry.name,
            cure=f"then: unet data get {entry.name} -o {folder} --archive FILE",
        )
    with _workplace(target, entry) as work:
        found: dict[str, Path] = {}
        sources: list[dict[str, str]] = []
        if archive is None:
            say(f"fetching {entry.title} from {entry.files[0].host}")
            fetched = fetch(entry, cache, base=base, on_progress=on_progress, say=say)
            for number, (file, path) in enumerate(fetched):
                sources.append({"url": file.url, "sha256": _sha256(file.checksum, path)})
                if is_packed(file.name):
                    say(f"unpacking {file.name}")
                    inside = collect(path, work / "unpacked" / str(number))
                    found |= {f"{path.stem}/{inner}": one for inner, one in inside.items()}
                else:
                    found[file.name] = path
        else:
            archive = Path(archive)
            say(f"reading {archive}")
            found = collect(archive, work / "unpacked")
            sources = [{"archive": archive.name}]
            if archive.is_file():
                sources[0]["sha256"] = _sha256(None, archive)
        say("converting it")
        arranged = ARRANGEMENTS[entry.layout](found, work / "converted")
        if not arranged.cases:
            raise InputError(
                f"holds no image of {entry.title} with its labels",
                where=archive or f"{cache / entry.name}",
                cure=f"give what {entry.home} offers",
            )
        _convert(entry, arranged, work, sources, say)
        if target.exists():
            target.replace(work / "old")
        (work / "set").replace(target)
    return folder


def _convert(
    entry: Entry, arranged: Arranged, work: Path, sources: list[dict[str, str]], say: Say
) -> None:
    """Lay the cases out by name, read them as any other set, and write what was understood."""
    laid = work / "laid"
    _lay(arranged, laid)
    problems: list[InputError] = []
    dataset = read_dataset(laid, on_problem=problems.append)
    for problem in problems[:_SHOWN]:
        say(f"warning: {_told(problem, work, entry)}")
    left_out = len(arranged.cases) - len(dataset.cases)
    if left_out:
        say(f"warning: {left_out} of {len(arranged.cases)} images were left out")
    meta: dict[str, Any] = {
        "made_by": _MAKER,
        "from": entry.home,
        "name": entry.name,
        "title": entry.title,
        "home": entry.home,
        "licence": entry.licence,
        "citation": entry.citation,
        "split": entry.split,
        "files": sources,
        "left_out": left_out,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "unetkit": version("unetkit"),
    }
    write_dataset(dataset, work / "set", meta=meta)


def _lay(arranged: Arranged, folder: Path) -> None:
    """Give every file of a case its place: `images/NAME.png`, `masks/NAME.png` and so on."""
    for case in arranged.cases:
        for place, path in (
            ("images", case.image),
            ("masks", case.mask),
            ("fov", case.fov),
            ("masks2", case.observer),
        ):
            if path is not None:
                target = folder / place / (case.id + path.name[len(stem(path)) :])
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(path.resolve(), target)
                except OSError:  # another disk, or one that knows no links
                    shutil.copyfile(path, target)
    write_text(folder / "split.json", json.dumps(arranged.split, indent=1) + "\n")
    groups = {case.id: case.group for case in arranged.cases if case.group}
    if groups:
        write_text(folder / "groups.json", json.dumps(groups, indent=1) + "\n")
    if arranged.classes:
        write_text(folder / "classes.json", json.dumps(arranged.classes, indent=1) + "\n")


@contextmanager
def _workplace(target: Path, entry: Entry) -> Iterator[Path]:
    """Give a folder beside the target that is gone afterwards, whatever happens."""
    work = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        yield work
    except InputError as error:
        raise _told(error, work, entry) from error
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        cure = "free some space, or choose another folder"
        raise InputError(what, where=target, cure=cure) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _told(error: InputError, work: Path, entry: Entry) -> InputError:
    """Name a file of the set as its place in it: the folder it was in is gone."""
    where = str(error.where)
    if str(work) not in where:
        return error
    within = Path(where.replace(str(work), "")).as_posix()
    place = re.sub(r"^/(laid|converted|unpacked(/\d+)?/\d+\.\d+)/", "", within)
    return InputError(error.what, where=f"{entry.name}: {place}", cure=error.cure)


def _sha256(known: str | None, path: Path) -> str:
    value = known if known and known.startswith("sha256:") else checksum(path)
    return value.removeprefix("sha256:")


def _may_replace(folder: Path) -> None:
    """Refuse a folder with content that `get` did not write."""
    if not folder.exists():
        return
    cure = "choose another folder"
    if not folder.is_dir():
        raise InputError("is a file", where=folder, cure=cure)
    try:
        ours = json.loads((folder / "meta.json").read_text("utf-8"))["made_by"] == _MAKER
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours and any(folder.iterdir()):
        raise InputError("is not empty", where=folder, cure=cure)
