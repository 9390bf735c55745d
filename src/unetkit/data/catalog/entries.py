"""The table of public data sets.

Addresses, sizes and terms are those of their homes as we know them; what we do not know is None.
Checksums are those of the files as public loaders (MONAI, torch-em) verify them at each download.
Where we know none, the first download is recorded and checked from then on.
"""

from __future__ import annotations

from unetkit.data.catalog.entry import Entry
from unetkit.data.catalog.medicine import eyes, lesions, organs
from unetkit.data.catalog.microscopy import cells
from unetkit.data.catalog.scenes import scenes
from unetkit.errors import InputError, nearest

ENTRIES: dict[str, Entry] = {
    entry.name: entry for entry in (*eyes(), *lesions(), *cells(), *organs(), *scenes())
}


def entries() -> tuple[Entry, ...]:
    """Give all data sets of the catalogue."""
    return tuple(ENTRIES.values())


def find(name: str) -> Entry:
    """Give the entry of this name.

    Raises:
        InputError: there is none; names the nearest.
    """
    if name not in ENTRIES:
        cure = f"{nearest(name, ENTRIES)} (see `unet data list`)"
        raise InputError("is no data set of the catalogue", where=name, cure=cure)
    return ENTRIES[name]
