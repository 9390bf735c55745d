"""The `unet` command."""

from unetkit.cli.entry import main

__all__ = ["main"]
