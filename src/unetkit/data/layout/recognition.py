"""All ways to read a folder are tried; what is left is the reading, or a question to the user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from unetkit.data.case import Case
from unetkit.data.layout.cells import read_bowl, read_cell_tracking
from unetkit.data.layout.flat import read_flat
from unetkit.data.layout.folder import MASKS, Ground, glance, plain
from unetkit.data.layout.own import read_own
from unetkit.data.layout.pairing import in_order
from unetkit.data.layout.polygons import read_coco
from unetkit.data.layout.reading import Reading, Report
from unetkit.data.layout.retina import read_drive, read_stare
from unetkit.data.layout.scenes import read_floods, read_isic, read_siblings
from unetkit.data.layout.table import read_table
from unetkit.data.layout.volumes import read_volumes
from unetkit.errors import InputError, nearest

_READERS: dict[str, Callable[[Ground], list[Reading]]] = {
    "images/ + masks/ (also in train/, val/, test/ or in sub-folders)": read_own,
    "pairs such as x.png + x_mask.png": read_flat,
    "train/ + train_masks/ or CamVid's trainannot/": read_siblings,
    "DRIVE": read_drive,
    "STARE": read_stare,
    "nnU-Net or MSD (imagesTr/ + labelsTr/)": read_volumes,
    "Cell Tracking Challenge (01/ + 01_GT/SEG/)": read_cell_tracking,
    "DSB2018 (ID/images/ + ID/masks/)": read_bowl,
    "ISIC": read_isic,
    "Sen1Floods11": read_floods,
    "COCO": read_coco,
    "dataset.csv": read_table,
}
_CURE = (
    "put the images into images/ and their masks, under the same names, into masks/, "
    "or describe the folder in dataset.yaml"
)
_DEEPEST = 4  # folders around a set, as archives are unpacked


def recognise(
    ground: Ground, wish: str | None, path: Path | None, report: Report
) -> tuple[Reading, Ground]:
    """Give the one reading of a folder, or of the only folder inside it, and where it was found.

    Args:
        ground: the folder.
        wish: the name of a reading, from dataset.yaml, or None.
        path: of dataset.yaml, for messages.
        report: called with files that are damaged though the folder can be read without them.

    Raises:
        InputError: no reading fits, or several do and nobody has chosen.
    """
    outer, damaged = ground, list[InputError]()
    for _ in range(_DEEPEST):
        found, faults = _readings(ground)
        damaged += faults
        if found:
            reading = _chosen(found, wish, ground, path)
            for problem in (*faults, *_locked(reading, ground)):
                report(problem)
            return reading, ground
        inside = list(ground.look(ground.root).folders.values())
        if len(inside) != 1 or plain(inside[0].name) in MASKS:
            break
        ground = replace(ground, root=inside[0])
    if wish is not None:
        if damaged:
            raise damaged[0]
        what = f"layout {wish} does not fit, nor does any other that is known"
        raise InputError(what, where=path, cure="name images and masks instead")
    here = outer.look(outer.root)
    if here.images and not outer.required:
        return _bare_images(outer), outer
    near = {outer.root, *here.folders.values()}
    locked = [problem for folder, problem in outer.locked.items() if folder in near]
    for problem in (*locked, *damaged, *outer.nearly):
        raise problem
    raise InputError(
        f"no images/ folder, nor another layout that is known; here are {glance(outer, outer.root)}"
        f"; looked for {', '.join(_READERS)}",
        where=outer.root,
        cure=_CURE,
    )


def _readings(ground: Ground) -> tuple[list[Reading], list[InputError]]:
    """Try all ways; give what they find under names of their own, and what is damaged."""
    found: dict[str, Reading] = {}
    faults: list[InputError] = []
    for read in _READERS.values():
        try:
            readings = [reading for reading in read(ground) if reading.cases]
        except InputError as error:
            faults.append(error)
            continue
        for reading in readings:
            same = sum(name.partition(" ")[0] == reading.name for name in found)
            name = f"{reading.name} {same + 1}" if same else reading.name
            found[name] = replace(reading, name=name)
    return list(found.values()), faults


def _chosen(found: list[Reading], wish: str | None, ground: Ground, path: Path | None) -> Reading:
    """Choose the reading that the user wishes, else the one that explains the whole of others."""
    if wish is not None:
        names = [reading.name for reading in found]
        if wish not in names:
            what = f"there is no layout {wish} here"
            raise InputError(what, where=path, cure=nearest(str(wish), names))
        return found[names.index(wish)]
    # Who writes a table of the cases has said what they are.
    found = [reading for reading in found if reading.name == "table"] or found
    found = [one for one in found if not any(one.used < other.used for other in found)]
    if len(found) > 1:
        ways = "; ".join(f"{reading.name} ({len(reading.cases)} cases)" for reading in found)
        raise InputError(
            f"can be read in {len(found)} ways: {ways}",
            where=ground.root,
            cure=f"write `layout: {found[0].name}` (or another of these) into dataset.yaml there",
        )
    return found[0]


def _bare_images(ground: Ground) -> Reading:
    problems: list[InputError] = []
    named = in_order(ground.look(ground.root).images, None, problems.append)
    cases = tuple(Case(name, file) for name, file in named.items())
    return Reading("images", f"{len(cases)} images without masks", cases,
                   frozenset({ground.root}), problems=tuple(problems))  # fmt: skip


def _locked(reading: Reading, ground: Ground) -> list[InputError]:
    """List the folders that could not be looked into and have to do with the reading."""
    if not ground.locked:
        return []
    near = {parent for used in reading.used for parent in (used, *used.parents)}
    return [problem for folder, problem in ground.locked.items() if folder.parent in near]


def aside(reading: Reading, ground: Ground) -> list[str]:
    """Name the folders beside those that the reading explains, and pictures that lie loose."""
    near = {ground.root} | {used for used in reading.used if ground.was_seen(used)}
    for used in reading.used:
        for parent in used.parents:
            if parent in near or not parent.is_relative_to(ground.root):
                break
            near.add(parent)
    found = []
    for folder in sorted(near):
        for inside in ground.look(folder).folders.values():
            if inside not in near:
                count = len(ground.look(inside).images)
                content = f" ({count} image{'s' * (count > 1)})" if count else ""
                found.append(f"{inside.relative_to(ground.root)}/{content}")
    loose = [file for file in ground.look(ground.root).images if file not in reading.used]
    if loose and ground.root not in reading.used:
        found.append(f"{loose[0].name}" + (f" and {len(loose) - 1} more" if loose[1:] else ""))
    return found
