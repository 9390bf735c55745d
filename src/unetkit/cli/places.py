"""Where the commands keep what they may forget."""

from __future__ import annotations

from pathlib import Path


def cache_folder() -> Path:
    """Give this user's cache folder for unetkit; everything in it may be deleted at any time."""
    from platformdirs import user_cache_path

    return user_cache_path("unetkit", appauthor=False)
