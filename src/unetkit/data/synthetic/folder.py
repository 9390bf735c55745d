"""A folder of generated images: a data set in our own layout, whole or not there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from unetkit.data.synthetic import overflight
from unetkit.data.synthetic.aerial import roads
from unetkit.data.synthetic.drawing import check_size
from unetkit.data.synthetic.ground import BANDS
from unetkit.data.synthetic.retina import vessels
from unetkit.data.synthetic.satellite import satellite
from unetkit.data.synthetic.scan import SPACING, volume
from unetkit.data.synthetic.tissue import cells, membranes
from unetkit.errors import InputError, nearest
from unetkit.files import write_text
from unetkit.image import Image, write_image

_SUFFIX = {2: ".png", 3: ".nii.gz"}

KINDS: dict[str, tuple[Callable[..., tuple[NDArray[Any], ...]], tuple[int, ...]]] = {
    "vessels": (vessels, (256, 256)),
    "cells": (cells, (256, 256)),
    "membranes": (membranes, (256, 256)),
    "roads": (roads, (256, 256)),
    "volume": (volume, (24, 64, 64)),
    "satellite": (satellite, (256, 256)),
}


def make(
    kind: str,
    folder: str | Path,
    *,
    count: int = 12,
    size: tuple[int, ...] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a data set of generated images in our own layout.

    `images/`, `masks/`, `fov/` (vessels), `split.json` with about a fifth each in val and test,
    `classes.json` (volume, satellite), `groups.json` (satellite), `meta.json` (what made it). PNG;
    NIfTI for volume; GeoTIFF for satellite, whose pictures lie side by side in columns that the
    split does not divide. The folder appears whole or not at all; one that `make` wrote before is
    replaced, any other is kept.

    Args:
        kind: vessels, cells, membranes, roads, volume or satellite.
        folder: where to; must not exist, be empty or come from `make`.
        count: number of images, 3 or more so that each part of the split has one.
        size: of each image, (y, x) or (z, y, x); the generator's default if left out. Satellite
            pictures of more than 16 million pixels are made in strips, in bounded memory.
        seed: image i is made with the seed (seed, i).
        progress: called with (steps done, steps in all) after each image, or strip of one.

    Returns:
        The folder.

    Raises:
        InputError: unknown kind, a size that does not fit it, too few images, a negative seed, a
            folder that holds something else, or a disk that refuses.

    Example:
        >>> make("vessels", "eyes", count=3)  # doctest: +SKIP
        PosixPath('eyes')
    """
    folder = Path(folder)
    target = folder.resolve()
    if kind not in KINDS:
        raise InputError(f"unknown kind {kind}", where="kind", cure=nearest(kind, KINDS))
    usual = KINDS[kind][1]
    size = usual if size is None else tuple(size)
    if len(size) != len(usual):
        raise InputError(f"{size} has {len(size)} axes", where="size", cure=f"{kind}: like {usual}")
    check_size(size, whole=kind != "satellite")
    if count < 3:
        raise InputError(f"{count} images", where="count", cure="use 3 or more: train, val, test")
    if seed < 0:
        raise InputError(f"{seed} is negative", where="seed", cure="use 0 or more")
    made: dict[str, Any] = {
        "made_by": "unetkit.data.synthetic",
        "kind": kind,
        "size": size,
        "seed": seed,
    }
    _may_replace(target, made["made_by"])

    fresh = target.with_name(f".{os.getpid()}.{target.name}")
    stems = [f"{kind}_{i:0{len(str(count - 1))}d}" for i in range(count)]
    progress = progress or (lambda *_: None)
    try:
        if kind == "satellite":
            about = _satellite(fresh, stems, (size[0], size[1]), seed, progress)
            made["bands"] = BANDS
        else:
            about = _simple(kind, fresh, stems, size, seed, progress)
        about["meta"] = made
        for name, content in about.items():
            write_text(fresh / f"{name}.json", json.dumps(content, indent=1) + "\n")
        if target.exists():
            shutil.rmtree(target)
        fresh.replace(target)
    except OSError as error:
        cure = "free some space, or choose another folder"
        raise InputError(f"cannot be made ({error.strerror})", where=folder, cure=cure) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


About = dict[str, dict[str, Any]]  # name of a JSON file → what it holds
Progress = Callable[[int, int], None]


def _simple(
    kind: str, fresh: Path, stems: list[str], size: tuple[int, ...], seed: int, progress: Progress
) -> About:
    """Write images that have nothing to do with each other."""
    generate = KINDS[kind][0]
    for i, stem in enumerate(stems):
        arrays = generate(size, (seed, i))
        for place, array in zip(("images", "masks", "fov"), arrays, strict=False):
            write_image(_image(array, len(size)), fresh / place / (stem + _SUFFIX[len(size)]))
        progress(i + 1, len(stems))
    part = max(1, round(len(stems) / 5))
    parts = {"train": stems[: -2 * part], "val": stems[-2 * part : -part], "test": stems[-part:]}
    about: About = {"split": parts}
    if kind == "volume":
        about["classes"] = {"0": "background", "1": "front", "2": "back"}
    return about


def _satellite(
    fresh: Path, stems: list[str], size: tuple[int, int], seed: int, progress: Progress
) -> About:
    """Write pictures that lie side by side in one country."""
    every = len(stems) * len(overflight.strips(size))
    done = iter(range(1, every + 1))
    split: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    groups = {}
    for place in overflight.places(len(stems), size, seed):
        stem = stems[place.number]
        split[place.part].append(stem)
        groups[stem] = f"column_{place.column}"
        overflight.write_picture(
            fresh,
            stem,
            size,
            (seed, place.number),
            place.corner,
            step=lambda: progress(next(done), every),
        )
    return {"split": split, "groups": groups, "classes": overflight.LEGEND}


def _may_replace(folder: Path, maker: object) -> None:
    """Refuse a folder with content that `make` did not write."""
    if not folder.exists():
        return
    cure = "choose another folder"
    if not folder.is_dir():
        raise InputError("is a file", where=folder, cure=cure)
    ours = {"images", "masks", "fov"}
    ours |= {f"{name}.json" for name in ("classes", "groups", "split", "meta")}
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
