"""The one error a user's mistake may cause: what, where, and the cure, in a single line."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """The user's input is at fault; the command line prints it as one line and exits with 2.

    Args:
        what: what is wrong, as a short sentence without a full stop.
        where: the file, key or argument that is at fault.
        cure: what the user can do about it.

    Example:
        >>> str(InputError("mask has 3 values", where="a.png", cure="use 0 and 255"))
        'a.png: mask has 3 values; use 0 and 255'
    """

    def __init__(self, what: str, *, where: object = None, cure: str = "") -> None:
        self.what, self.where, self.cure = what, where, cure
        line = f"{where}: {what}" if where is not None else what
        line = " ".join((f"{line}; {cure}" if cure else line).split())
        super().__init__("".join(map(_shown, line)))


def _shown(letter: str) -> str:
    """Escape what a terminal would obey instead of showing, as names of files may hold it."""
    return letter if letter.isprintable() else ascii(letter)[1:-1]


def nearest(word: str, known: Iterable[str]) -> str:
    """Say which of the known words was probably meant, or list them all.

    Example:
        >>> nearest("dpeth", ["depth", "width"])
        'did you mean depth?'
    """
    known = list(known)
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
