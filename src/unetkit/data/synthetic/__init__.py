"""Generated images with exact masks, the embedded default: one can begin before having data."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from unetkit.data.synthetic.scenes import (
    LEAST,
    SPACING,
    cells,
    membranes,
    roads,
    vessels,
    volume,
)
from unetkit.errors import InputError, nearest
from unetkit.files import write_text
from unetkit.image import Image, write_image

__all__ = [
    "KINDS",
    "LEAST",
    "SPACING",
    "cells",
    "make",
    "membranes",
    "roads",
    "vessels",
    "volume",
]

_SUFFIX = {2: ".png", 3: ".nii.gz"}

KINDS: dict[str, tuple[Callable[..., tuple[NDArray[Any], ...]], tuple[int, ...]]] = {
    "vessels": (vessels, (256, 256)),
    "cells": (cells, (256, 256)),
    "membranes": (membranes, (256, 256)),
    "roads": (roads, (256, 256)),
    "volume": (volume, (24, 64, 64)),
}


def make(
    kind: str,
    folder: str | Path,
    *,
    count: int = 12,
    size: tuple[int, ...] | None = None,
    seed: int = 0,
) -> Path:
    """Write a data set of generated images in our own layout.

    `images/`, `masks/`, `fov/` (vessels), `split.json` with about a fifth each in val and test,
    `classes.json` (volume), `meta.json` (what made it). PNG, or NIfTI for volume. The folder
    appears whole or not at all; one that `make` wrote before is replaced, any other is kept.

    Args:
        kind: vessels, cells, membranes, roads or volume.
        folder: where to; must not exist, be empty or come from `make`.
        count: number of images, 3 or more so that each part of the split has one.
        size: of each image, (y, x) or (z, y, x); the generator's default if left out.
        seed: image i is made with the seed (seed, i).

    Returns:
        The folder.

    Raises:
        InputError: unknown kind, a size that does not fit it, too few images, or a folder that
            holds something else.

    Example:
        >>> make("vessels", "eyes", count=3)  # doctest: +SKIP
        PosixPath('eyes')
    """
    folder = Path(folder)
    target = folder.resolve()
    if kind not in KINDS:
        raise InputError(f"unknown kind {kind}", where="kind", cure=nearest(kind, KINDS))
    generate, usual = KINDS[kind]
    size = usual if size is None else tuple(size)
    if len(size) != len(usual):
        raise InputError(f"{size} has {len(size)} axes", where="size", cure=f"{kind}: like {usual}")
    if count < 3:
        raise InputError(f"{count} images", where="count", cure="use 3 or more: train, val, test")
    made = {"made_by": "unetkit.data.synthetic", "kind": kind, "size": size, "seed": seed}
    _may_replace(target, made["made_by"])

    fresh = target.with_name(f".{os.getpid()}.{target.name}")
    stems = [f"{kind}_{i:0{len(str(count - 1))}d}" for i in range(count)]
    part = max(1, round(count / 5))
    split = {"train": stems[: -2 * part], "val": stems[-2 * part : -part], "test": stems[-part:]}
    try:
        for i, stem in enumerate(stems):
            arrays = generate(size, (seed, i))
            for place, array in zip(("images", "masks", "fov"), arrays, strict=False):
                write_image(_image(array, len(size)), fresh / place / (stem + _SUFFIX[len(size)]))
        if kind == "volume":
            names = {"0": "background", "1": "front", "2": "back"}
            write_text(fresh / "classes.json", json.dumps(names, indent=1) + "\n")
        write_text(fresh / "split.json", json.dumps(split, indent=1) + "\n")
        write_text(fresh / "meta.json", json.dumps(made, indent=1) + "\n")
        if target.exists():
            shutil.rmtree(target)
        fresh.replace(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _may_replace(folder: Path, maker: object) -> None:
    """Refuse a folder with content that `make` did not write."""
    if not folder.exists():
        return
    cure = "choose another folder"
    if not folder.is_dir():
        raise InputError("is a file", where=folder, cure=cure)
    ours = {"images", "masks", "fov", "classes.json", "split.json", "meta.json"}
    found = {path.name for path in folder.iterdir()}
    try:
        known = json.loads((folder / "meta.json").read_text("utf-8"))["made_by"] == maker
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if found and not (known and found <= ours):
        raise InputError("is not empty", where=folder, cure=cure)


def _image(array: NDArray[Any], ndim: int) -> Image:
    """Give an array (*space) or (c, *space) its channel axis and spacing."""
    channels = array if array.ndim > ndim else array[None]
    return Image(channels, SPACING if ndim == 3 else ())
