"""Vessels of the retina as their homes give them out: DRIVE and STARE (CHASE_DB1 is flat)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from unetkit.data.layout.folder import Folder, Ground, parts_of
from unetkit.data.layout.pairing import assemble, by_key, in_order
from unetkit.data.layout.reading import Reading, joined, several
from unetkit.errors import InputError
from unetkit.image import is_image


def read_drive(ground: Ground) -> list[Reading]:
    """Read `training|test/{images,1st_manual,2nd_manual,mask}`; `mask` is the field of view."""
    parts = []
    aside: list[str] = []
    overlooked: set[Path] = set()
    for part, folder in parts_of(ground, ground.root).items():
        inside = ground.look(folder).folders
        if "images" not in inside:
            continue
        if not {"1st_manual", "2nd_manual"} & inside.keys() and ground.required:
            # As DRIVE is given out now, nobody may see the drawings of the test images.
            aside.append(f"{folder.name}/ ({len(ground.look(inside['images']).images)} images)")
            overlooked |= {inside[name] for name in ("images", "mask") if name in inside}
            continue
        problems: list[InputError] = []
        images = in_order(ground.look(inside["images"]).images, None, problems.append)
        found: dict[str, dict[str, Path]] = {}
        for name in ("1st_manual", "2nd_manual", "mask"):
            files = ground.look(inside[name]).images if name in inside else ()
            # 21_training.tif, 21_manual1.gif, 21_training_mask.gif
            found[name] = by_key(images, files, r"(\d+)_.*", r"(\d+)_.*")
        first = "1st_manual" if found["1st_manual"] else "2nd_manual"
        second = found["2nd_manual"] if first == "1st_manual" else {}
        cases, more, unpaired = assemble(
            images,
            found[first],
            required=ground.required,
            where=inside.get(first, folder),
            fovs=found["mask"],
            observers=second,
        )
        used = frozenset(inside[n] for n in ("images", *found) if n in inside)
        reading = Reading("drive", folder.name, tuple(cases), used, unpaired=unpaired,
                          problems=(*problems, *more))  # fmt: skip
        parts += [(part, reading)] if cases else []
    if not any(case.mask for _, reading in parts for case in reading.cases):
        return []
    cases = [case for _, reading in parts for case in reading.cases]
    folders = several(f"{reading.words}/" for _, reading in parts)
    words = f"DRIVE: {folders} with images and 1st_manual/, {len(cases)} cases"
    words += f", {sum(case.fov is not None for case in cases)} fields of view (mask/)"
    words += f", {sum(case.observer is not None for case in cases)} second observers (2nd_manual/)"
    whole = joined(parts, name="drive", words=words, kind="split")
    return [replace(whole, used=whole.used | overlooked, aside=tuple(aside))]


def read_stare(ground: Ground) -> list[Reading]:
    """Read `stare-images/` with `labels-ah/` and, as second observer, `labels-vk/`.

    Raises:
        InputError: the pictures are still packed.
    """
    folders = ground.look(ground.root).folders
    pictures = folders.get("stare-images")
    drawn = [folders[name] for name in ("labels-ah", "labels-vk") if name in folders]
    if not pictures or not drawn:
        return []
    packed = [f for folder in (pictures, *drawn) for f in _packed(ground.look(folder))]
    if packed:
        raise InputError(
            f"STARE's pictures are still packed ({len(packed)} files)",
            where=packed[0],
            cure="unpack them first: gunzip *.gz in each folder",
        )
    problems: list[InputError] = []
    images = in_order(ground.look(pictures).images, None, problems.append)
    labels = [
        by_key(images, ground.look(folder).images, r"([^.]+).*", r"([^.]+).*") for folder in drawn
    ]
    cases, more, unpaired = assemble(
        images,
        labels[0],
        required=ground.required,
        where=drawn[0],
        observers=labels[1] if len(labels) > 1 else None,
    )
    if not any(case.mask for case in cases):
        return []
    words = f"STARE: stare-images/ + {drawn[0].name}/, {len(cases)} cases"
    observers = sum(case.observer is not None for case in cases)
    words += f", {observers} second observers ({drawn[1].name}/)" if observers else ""
    used = frozenset({pictures, *drawn})
    return [Reading("stare", words, tuple(cases), used, unpaired=unpaired,
                    problems=(*problems, *more))]  # fmt: skip


def _packed(here: Folder) -> list[Path]:
    return [file for file in here.files if file.name.endswith(".gz") and not is_image(file)]
