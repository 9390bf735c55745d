"""A corpus of broken files: each is built by code, and says what must become of it."""

from __future__ import annotations

from broken.arrays import ARRAYS
from broken.item import Item
from broken.names import NAMES
from broken.pictures import PICTURES
from broken.sound import CONTENTS, FOLDERS
from broken.tiffs import TIFFS
from broken.truncated import TRUNCATED
from broken.volumes import VOLUMES

__all__ = ["CONTENTS", "CORPUS", "FOLDERS", "Item"]

_ALL = (*TRUNCATED, *PICTURES, *TIFFS, *VOLUMES, *ARRAYS, *NAMES)
CORPUS: dict[str, Item] = {item.name: item for item in _ALL}
assert len(CORPUS) == len(_ALL), "two items of the same name"
