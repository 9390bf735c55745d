"""Rules that divide a set: the convention of its field where there is one, else a fixed lot."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

Split = dict[str, list[str]]

DRAWN = "about 70/15/15 by a hash of the names, the same on every machine"


def drawn(ids: Sequence[str]) -> Split:
    """Divide by a hash of the names: about 15 % each for test and val, at least one.

    Example:
        >>> drawn(["a", "b", "c", "d"])
        {'train': ['a', 'd'], 'val': ['b'], 'test': ['c']}
    """
    order = sorted(ids, key=lambda name: hashlib.sha256(f"0/{name}".encode()).digest())
    part = max(1, round(0.15 * len(ids)))
    test, val = set(order[:part]), set(order[part : 2 * part])
    return named(
        train=[name for name in ids if name not in test | val],
        val=[name for name in ids if name in val],
        test=[name for name in ids if name in test],
    )


def tail(ids: Sequence[str], share: float) -> tuple[list[str], list[str]]:
    """Cut a share off the end, at least one and never all: neighbours stay together."""
    part = min(max(1, round(share * len(ids))), len(ids) - 1)
    cut = len(ids) - max(0, part)
    return list(ids[:cut]), list(ids[cut:])


def named(**parts: list[str]) -> Split:
    """Give the parts that have a case."""
    return {name: members for name, members in parts.items() if members}
