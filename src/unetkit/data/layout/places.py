"""The places that dataset.yaml names by hand → a reading; `declared` says what the keys mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from unetkit.data.case import Case, Drawing
from unetkit.data.layout.folder import Ground, is_there
from unetkit.data.layout.kinds import drawing_of, image_name
from unetkit.data.layout.pairing import assemble, in_order
from unetkit.data.layout.patterns import expand, is_pattern
from unetkit.data.layout.polygons import coco_masks
from unetkit.data.layout.reading import Reading, unique
from unetkit.errors import InputError
from unetkit.image import is_image, stem

Labels = dict[str, tuple[Path, Drawing | None]]


def read_places(ground: Ground, content: Mapping[str, Any], path: Path) -> Reading:
    """Read the places that dataset.yaml names.

    Raises:
        InputError: a path is not there, or no image has a mask.
    """
    problems: list[InputError] = []
    if isinstance(content.get("masks"), list | dict):
        images, found = _pairs(ground, content["masks"], path)
    else:
        images = _images(ground, content["images"], path)
        found = _masks(ground, content.get("masks"), images, path, problems)
    # A pattern such as *.png may have fitted the masks, too.
    others = {mask for mask, _ in found.values()}
    images = {name: image for name, image in images.items() if image not in others}
    extras = {
        key: _beside(ground, content.get(name), images, path, name)
        for key, name in (("fovs", "fov"), ("observers", _observer(content)))
    }
    bands = _bands(ground, content.get("bands", []), images, path)
    lacking = [name for name in images if len(bands.get(name, ())) < _count(content)]
    absent = set(lacking)
    if lacking:
        more = f" (and {len(lacking) - 1} more of {len(images)})" if lacking[1:] else ""
        what, cure = f"there is no band for {lacking[0]}{more}", "add it, or take the image out"
        problems.append(InputError(what, where=f"{path}: bands", cure=cure))
        images = {name: image for name, image in images.items() if name not in absent}
        found = {name: labels for name, labels in found.items() if name not in absent}
    cases, faults, unpaired = assemble(
        images,
        {name: mask for name, (mask, _) in found.items()},
        required=ground.required,
        where=next((mask.parent for mask, _ in found.values()), ground.root),
        bands=bands,
        fovs=extras["fovs"],
        observers=extras["observers"],
    )
    drawings = {name: drawing for name, (_, drawing) in found.items()}
    cases = [replace(case, drawing=drawings.get(case.id)) for case in cases]
    if ground.required and not any(case.mask for case in cases):
        first = next(iter(images.values()), path)
        raise InputError(
            f"no mask fits an image (such as {first.name})",
            where=f"{path}: masks",
            cure="write a pattern with {id} for the name of the image, such as masks/{id}.png",
        )
    words = f"{path.name}: {len(cases)} cases"
    for what, count in (
        ("bands more", max((len(case.bands) for case in cases), default=0)),
        ("fields of view", sum(case.fov is not None for case in cases)),
        ("second observers", sum(case.observer is not None for case in cases)),
    ):
        words += f", {count} {what}" if count else ""
    used = {case.image.parent for case in cases}
    used |= {case.mask if case.mask.is_dir() else case.mask.parent for case in cases if case.mask}
    used |= {file.parent for case in cases for file in case.bands}
    used |= {file.parent for case in cases for file in (case.fov, case.observer) if file}
    return Reading("declared", words, tuple(cases), frozenset(used), unpaired=unpaired,
                   problems=(*problems, *faults))  # fmt: skip


def _images(ground: Ground, value: Any, path: Path) -> dict[str, Path]:
    """Give id → image of a folder, pattern, or list of such."""
    named: list[Case] = []
    for text in _texts(value, path, "images"):
        if is_pattern(text):
            hits = [(f, case or stem(f)) for f, case in expand(ground, text) if is_image(f)]
        else:
            place = _there(ground, text, path, "images")
            inside = ground.look(place).images if place.is_dir() and not is_image(place) else None
            files = [place] if inside is None else inside
            hits = [(file, stem(file)) for file in files]
        if not hits:
            cure = "correct the pattern; * stands for any name, ** for folders at any depth"
            raise InputError(f"no image fits {text}", where=f"{path}: images", cure=cure)
        named += [Case(name, file) for file, name in hits]
    distinct = list({case.image: case for case in named}.values())
    cases = unique(distinct, [case.image.parent.name for case in distinct])
    return {case.id: case.image for case in cases}


def _masks(
    ground: Ground, value: Any, images: Mapping[str, Path], path: Path, problems: list[InputError]
) -> Labels:
    if value is None:
        if ground.required:
            cure = "add masks: FOLDER, or a pattern such as masks/{id}.png"
            raise InputError("says images but not masks", where=path, cure=cure)
        return {}
    text = _text(value, path, "masks")
    if is_pattern(text):
        parts: dict[str, list[Path]] = {}
        for file, case in expand(ground, text, images):
            if case is None:
                what = f"{text} has no {{id}}, so that nobody knows whose mask is whose"
                raise InputError(what, where=f"{path}: masks", cure="write masks/{id}.png")
            parts.setdefault(case, []).append(file)
        if not parts:
            raise InputError(f"no file fits {text}", where=f"{path}: masks", cure="correct it")
        return {case: _drawn(files) for case, files in parts.items()}
    place = _there(ground, text, path, "masks")
    if place.is_file() and place.suffix.lower() == ".json":
        return dict(coco_masks(place, images, problems.append))
    if not place.is_dir():
        what = f"{text} is one file for {len(images)} images"
        cure = "write a folder, or a pattern such as masks/{id}.png"
        raise InputError(what, where=f"{path}: masks", cure=cure)
    here = ground.look(place)
    files = [*here.images, *(f for f in here.files if drawing_of(f))]
    named = in_order(files, images, problems.append, name_of=image_name)
    return {name: _drawn([file]) for name, file in named.items()}


def _pairs(ground: Ground, value: Any, path: Path) -> tuple[dict[str, Path], Labels]:
    """Read a list of pairs [image, mask], or a table image → mask."""
    pairs = list(value.items()) if isinstance(value, dict) else value
    sound = all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(p, str) for p in pair)
        for pair in pairs
    )
    if not sound or not pairs:
        cure = "write - [images/a.png, masks/a.png] for each pair"
        raise InputError("is no list of pairs", where=f"{path}: masks", cure=cure)
    files = [tuple(_there(ground, text, path, "masks") for text in pair) for pair in pairs]
    cases = [Case(stem(image), image, mask) for image, mask in files]
    cases = unique(cases, [case.image.parent.name for case in cases])
    found = {case.id: _drawn([case.mask]) for case in cases if case.mask}
    return {case.id: case.image for case in cases}, found


def _beside(
    ground: Ground, value: Any, images: Mapping[str, Path], path: Path, key: str
) -> dict[str, Path]:
    if value is None:
        return {}
    text = _text(value, path, key)
    if is_pattern(text):
        found = {case: file for file, case in expand(ground, text, images) if case is not None}
        if not found:
            cure = f"write a pattern with {{id}}, such as {key}/{{id}}.png"
            raise InputError(f"no file fits {text}", where=f"{path}: {key}", cure=cure)
        return found
    place = _there(ground, text, path, key)
    if place.is_dir():
        return in_order(ground.look(place).images, images, lambda _: None)
    if key == "fov":  # the same opening for all
        return dict.fromkeys(images, place)
    what = f"{text} is one file for {len(images)} images"
    raise InputError(what, where=f"{path}: {key}", cure=f"write a pattern such as {key}/{{id}}.png")


def _bands(
    ground: Ground, value: Any, images: Mapping[str, Path], path: Path
) -> dict[str, tuple[Path, ...]]:
    found: dict[str, tuple[Path, ...]] = {}
    for text in _texts(value, path, "bands") if value else []:
        for name, file in _beside(ground, text, images, path, "bands").items():
            found[name] = (*found.get(name, ()), file)
    return found


def _count(content: Mapping[str, Any]) -> int:
    bands = content.get("bands", [])
    return len(bands) if isinstance(bands, list) else 1


def _observer(content: Mapping[str, Any]) -> str:
    return "masks2" if "masks2" in content else "observer"


def _drawn(files: list[Path]) -> tuple[Path, Drawing | None]:
    """Tell from its suffix how a mask is drawn; several pictures are one per object."""
    if len(files) > 1:
        return files[0].parent, Drawing("objects", parts=tuple(files))
    return files[0], drawing_of(files[0])


def _there(ground: Ground, text: str, path: Path, key: str) -> Path:
    if is_there(ground.root / text):
        return ground.root / text
    cure = "correct the path; it begins at the folder of this file"
    raise InputError(f"there is no {text}", where=f"{path}: {key}", cure=cure)


def _text(value: Any, path: Path, key: str) -> str:
    if isinstance(value, str) and value and "\0" not in value:
        return value
    raise InputError("is no path or pattern", where=f"{path}: {key}", cure=f"write {key}: FOLDER")


def _texts(value: Any, path: Path, key: str) -> Iterable[str]:
    return [
        _text(one, path, key) for one in (value if isinstance(value, list) and value else [value])
    ]
