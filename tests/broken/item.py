"""A broken input: how it is made, and what must become of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Fate = Literal["refused", "no mask", "readable", "either"]


@dataclass(frozen=True)
class Item:
    """A broken input.

    Attributes:
        name: of the item, for messages.
        build: makes it in an empty folder, and gives its path there.
        fate: "refused": neither picture nor mask may come of it; "no mask": a picture, but no mask
            may; "readable": both must; "either": what comes of it must be sound, or an error.
        plain: it is one file or folder that stays what it is under another name with its suffix.
    """

    name: str
    build: Callable[[Path], Path]
    fate: Fate = "refused"
    plain: bool = True


def from_bytes(
    name: str, file: str, content: Callable[[], bytes], fate: Fate = "refused", plain: bool = True
) -> Item:
    """Give an item that is a file of these bytes."""

    def build(folder: Path) -> Path:
        path = folder / file
        path.write_bytes(content())
        return path

    return Item(name, build, fate, plain)
