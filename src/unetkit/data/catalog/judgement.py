"""What an archive may hold, and which names in it are refused."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from unetkit.errors import InputError

UNTRUSTED = "do not use this archive; if you trust it, unpack it yourself and give the folder"

# What systems add to archives without being asked.
_JUNK = {"__macosx", ".ds_store", "thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Bounds:
    """What an archive may hold; the defaults admit every set of the catalogue.

    Attributes:
        files: how many.
        size: bytes of all files together.
        ratio: how many times its own size an archive may grow, where that is beyond `harmless`.
        harmless: bytes that any archive may grow to.
        depth: folders within folders.
        layers: archives within archives.
    """

    files: int = 300_000
    size: int = 2**40
    ratio: int = 200
    harmless: int = 2**28
    depth: int = 16
    layers: int = 3


@dataclass
class Ledger:
    """What was unpacked so far: the bounds hold for an archive and all archives inside it."""

    source: Path
    bounds: Bounds
    most: int
    members: int = 0
    files: int = 0
    size: int = 0


@dataclass
class Names:
    """The names an archive holds, as a disk sees them that knows no capitals."""

    files: dict[str, str] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)


def judged(name: str, ledger: Ledger) -> str:
    """Give the name with `/` and without empty parts, or refuse it.

    Raises:
        InputError: the name is absolute, leads out of its folder, or no disk would take it.
    """
    ledger.members += 1
    if ledger.members > 4 * ledger.bounds.files:  # folders, and what systems add
        raise refusal(ledger, f"holds more than {ledger.bounds.files} files")
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    shown = re.sub(r"[^ -~]", "?", name[-80:])
    if any(ord(character) < 32 for character in name):
        raise refusal(ledger, f"holds a name with control characters ({shown})")
    if plain.startswith("/") or any(re.match("[A-Za-z]:", part) for part in parts):
        raise refusal(ledger, f"holds the absolute name {shown}")
    # Windows takes off blanks and dots at the end, so that ".. " leads upwards there.
    if any(not part.strip(" .") for part in parts):
        raise refusal(ledger, f"holds a name that leads out of its folder ({shown})")
    if len(parts) > ledger.bounds.depth:
        raise refusal(ledger, f"holds folders more than {ledger.bounds.depth} deep ({shown})")
    if any(len(os.fsencode(part)) > 255 for part in parts):
        raise refusal(ledger, f"holds a name that is too long for most disks (…{shown})")
    return "/".join(parts)


def reserve(name: str, names: Names, ledger: Ledger) -> None:
    """Count a file before it is written, and refuse names that are the same on some disks.

    Capitals, accents written in two ways, and blanks or dots at the end make no difference on the
    disks of Windows and macOS.

    Raises:
        InputError: there are too many files, or another has the same name.
    """
    ledger.files += 1
    if ledger.files > ledger.bounds.files:
        raise refusal(ledger, f"holds more than {ledger.bounds.files} files")
    if not name:
        raise refusal(ledger, "holds a file without a name")
    parts = unicodedata.normalize("NFC", name).casefold().split("/")
    keys = ["/".join(part.rstrip(" .") for part in parts[: n + 1]) for n in range(len(parts))]
    *above, own = keys
    other = names.files.get(own) or names.folders.get(own)
    other = other or next((names.files[key] for key in above if key in names.files), None)
    if other == name:
        raise refusal(ledger, f"holds {name} twice")
    if other:
        raise refusal(ledger, f"holds names that collide on some disks ({other} and {name})")
    names.files[own] = name
    names.folders.update(dict.fromkeys(above, name))


def weigh(size: int, ledger: Ledger) -> None:
    """Refuse an archive that grows to more bytes than it may.

    Raises:
        InputError: it does.
    """
    if size > ledger.most:
        raise refusal(ledger, f"grows beyond {ledger.most / 1e6:.0f} MB when unpacked")


def refusal(ledger: Ledger, what: str) -> InputError:
    """Say what is suspicious about an archive."""
    return InputError(what, where=ledger.source, cure=UNTRUSTED)


def is_junk(name: str) -> bool:
    """Tell what systems leave in folders and archives from what people put there."""
    parts = name.lower().split("/")
    return parts[-1].startswith("._") or not _JUNK.isdisjoint(parts)
