"""Folders: each is looked into once, however many ways of reading it are tried."""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unetkit.data.layout.reading import ALIASES, several
from unetkit.errors import InputError
from unetkit.image import is_image, natural
from unetkit.image.names import is_volume

# Names of folders, compared without capitals, blanks, `_` and `-`.
IMAGES = ("images", "imgs", "image", "img")
ORIGINALS = ("inputs", "input", "originals", "original", "raw")  # only where there is no images/
MASKS = ("masks", "labels", "annotations", "mask", "label", "annotation", "gt", "groundtruth",
         "segmentations", "segmentation", "seg", "targets", "target")  # fmt: skip
DRAWINGS = ("rois", "roi", "roisets", "geojson", "geojsons", "polygons")
FOVS = ("fov", "fovs")
OBSERVERS = ("masks2",)
MANUALS = ("1stmanual", "manual1", "manual", "manuals")
SECOND_MANUALS = ("2ndmanual", "manual2")
_ORDINARY = {*IMAGES, *ORIGINALS, *MASKS, *DRAWINGS, *FOVS, *OBSERVERS, *MANUALS,
             *SECOND_MANUALS, *ALIASES,
             "imagestr", "labelstr", "imagests", "labelsts"}  # fmt: skip

# What systems leave behind; names that begin with a dot are skipped too.
_JUNK = {"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information"}

LARGEST_TEXT = 512 * 2**20  # bytes; the largest public file of polygons (COCO 2017) has 450 MB
_DEEPEST = 8


@dataclass(frozen=True)
class Folder:
    """What lies in a folder, hidden things left out.

    Attributes:
        path: the folder.
        folders: sub-folders by name, in natural order.
        images: pictures in natural order, folders that are pictures among them.
        files: all other files, in natural order.
    """

    path: Path
    folders: dict[str, Path]
    images: tuple[Path, ...]
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Ground:
    """The folder to be read.

    Attributes:
        root: the folder.
        required: every image needs labels.
        locked: folders that could not be listed, found while looking.
        nearly: what keeps the folder from being read in a way that it nearly allows.
    """

    root: Path
    required: bool
    locked: dict[Path, InputError] = field(default_factory=dict)
    nearly: list[InputError] = field(default_factory=list)
    _seen: dict[Path, Folder] = field(default_factory=dict)

    def look(self, path: Path) -> Folder:
        """Look into a folder, once; one that may not be listed is empty and noted in `locked`."""
        if path not in self._seen:
            try:
                self._seen[path] = _list(path)
            except OSError as error:
                problem = InputError(
                    f"cannot be listed ({error.strerror or error})",
                    where=path,
                    cure="change its permissions, or take it out",
                )
                self.locked[path] = problem
                self._seen[path] = Folder(path, {}, (), ())
        return self._seen[path]

    def named(self, path: Path, names: Iterable[str]) -> list[Path]:
        """Give the sub-folders of these names, in the order of the names."""
        there: dict[str, list[Path]] = {}
        for name, folder in self.look(path).folders.items():
            there.setdefault(plain(name), []).append(folder)
        return [folder for name in names for folder in there.get(name, ())]

    def below(self, path: Path, names: str) -> Path | None:
        """Give the folder under `path` that `names` (a/b/c) leads to, or None."""
        for name in filter(None, names.split("/")):
            if name not in self.look(path).folders:
                return None
            path = self.look(path).folders[name]
        return path

    def walk(self, path: Path, deepest: int = _DEEPEST) -> Iterator[Folder]:
        """Give a folder and all below it, each once, whatever links lead back to it."""
        waiting, seen = [(path, 0)], set[str]()
        while waiting:
            here, depth = waiting.pop()
            real = os.path.realpath(here)
            if real in seen:
                continue
            seen.add(real)
            folder = self.look(here)
            yield folder
            if depth < deepest:
                waiting += [(sub, depth + 1) for sub in reversed(folder.folders.values())]

    def was_seen(self, path: Path) -> bool:
        """Tell whether this is a folder that has been looked into."""
        return path in self._seen


def is_there(path: Path, *, file: bool = False) -> bool:
    """Tell whether a path exists (and is a file), be it ever so long, looped or locked."""
    try:
        return path.is_file() if file else path.exists()
    except (OSError, ValueError):
        return False


def plain(name: str) -> str:
    """Give a folder's name without what people vary: `Ground_Truth` is `groundtruth`."""
    return re.sub(r"[\s_-]+", "", name).lower()


def parts_of(ground: Ground, path: Path) -> dict[str, Path]:
    """Give the sub-folders called train, val and test in any of their spellings."""
    found: dict[str, Path] = {}
    for name, folder in ground.look(path).folders.items():
        if plain(name) in ALIASES:
            found.setdefault(ALIASES[plain(name)], folder)
    return {name: found[name] for name in ("train", "val", "test") if name in found}


def glance(ground: Ground, path: Path) -> str:
    """Say briefly what lies in a folder: sub-folders, and how many files of each suffix."""
    here = ground.look(path)

    def counted(folder: Folder) -> list[str]:
        files = (*folder.images, *folder.files)
        often = Counter(file.suffix.lower() or "files without suffix" for file in files)
        return [f"{count} {suffix}" for suffix, count in often.most_common(4)]

    words: list[str] = []
    for folder in here.folders.values():
        inside = ground.look(folder) if len(words) < 6 else None
        content = counted(inside) if inside else []
        if inside and inside.folders:
            content.insert(0, f"{len(inside.folders)} folders")
        words.append(f"{folder.name}/" + (f" ({', '.join(content)})" if content else ""))
    return several([*words, *counted(here)], 9) or "nothing"


def read_json(path: Path, *, where: object = None, largest: int = LARGEST_TEXT) -> Any:
    """Read a JSON file of bounded size.

    Raises:
        InputError: it is missing, too large, or no JSON.
    """
    try:
        if path.stat().st_size > largest:
            raise InputError(
                f"is larger than {largest // 2**20} MB",
                where=where or path,
                cure="divide it into several files",
            )
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise InputError(f"is no readable JSON ({reason})", where=where or path) from error


def guarded(problem: InputError, cure: str) -> InputError:
    """Give the same problem with a cure."""
    return InputError(problem.what, where=problem.where, cure=problem.cure or cure)


def _list(path: Path) -> Folder:
    folders: list[Path] = []
    images: list[Path] = []
    files: list[Path] = []
    with os.scandir(path) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(".") or name.lower() in _JUNK:
                continue
            inside = path / name
            if _is(entry.is_dir):
                picture = plain(name) not in _ORDINARY and is_volume(inside)
                (images if picture else folders).append(inside)
            # A link to nowhere counts as a file, so that whoever opens it can say so.
            elif _is(entry.is_file) or (entry.is_symlink() and not _leads_to_a_device(inside)):
                (images if is_image(inside) else files).append(inside)
    folders.sort(key=lambda folder: natural(folder.name))
    images.sort(key=lambda file: natural(file.name))
    files.sort(key=lambda file: natural(file.name))
    named = {folder.name: folder for folder in folders}
    return Folder(path, named, tuple(images), tuple(files))


def _is(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:  # a loop of links
        return False


def _leads_to_a_device(link: Path) -> bool:
    """Tell whether a link leads to a pipe or device, which would block whoever opens it."""
    try:
        return not stat.S_ISREG(link.stat().st_mode)
    except OSError:
        return False
