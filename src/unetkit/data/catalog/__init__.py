"""The catalogue: public data sets, fetched from their homes and turned into the folder layout."""

from unetkit.data.catalog.acquisition import get
from unetkit.data.catalog.entries import ENTRIES, entries, find
from unetkit.data.catalog.entry import Entry, File, words

__all__ = ["ENTRIES", "Entry", "File", "entries", "find", "get", "words"]
