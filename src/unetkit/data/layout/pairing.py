"""Names → pairs: which labels, field of view and second observer belong to which image."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from unetkit.data.case import Case, Drawing
from unetkit.data.layout.reading import Report
from unetkit.errors import InputError
from unetkit.image import natural, stem

# What people append to the name of a mask; `.ah` and `.vk` are the two observers of STARE.
ENDINGS = ("_mask", "_masks", "_seg", "_manual1", "_manual2", ".ah", ".vk", "_label", "_labels",
           "_gt", "_fov", "_segmentation", "_segmentations", "_annotation", "_groundtruth",
           "_ground_truth", "_cp_masks")  # fmt: skip
_NAMED = 20  # files without partner that are listed one by one
_LONGEST_FIRST = sorted(ENDINGS, key=len, reverse=True)
# What they append to the name of an image, so that it differs from its mask.
_IMAGE_ENDING = re.compile(r"_(?:img|image|im|raw|sat)$", re.IGNORECASE)
# What they put before a number: image_12 and mask_12 are a pair.
_MASK_FRONT = re.compile(
    r"^(?:masks?|labels?|seg|segmentation|gt|groundtruth|annotation)[_ -]?(?=\d)", re.IGNORECASE
)
_IMAGE_FRONT = re.compile(r"^(?:images?|imgs?|im|frame)[_ -]?(?=\d)", re.IGNORECASE)


def bare(name: str) -> str:
    """Give a mask's name without what people append to it: `7_manual1` is `7`."""
    lower = name.lower()
    ending = next((e for e in _LONGEST_FIRST if lower.endswith(e)), "")
    return name[: -len(ending)] if ending else name


def by_name(
    files: Iterable[Path],
    images: Collection[str] | None,
    report: Report,
    *,
    name_of: Callable[[Path], str] = stem,
) -> dict[str, Path]:
    """Order files by the name of their image; a name that no image has may lose its ending.

    A name fits its image exactly; or without its ending; or as `mask_12` fits `image_12`, `12_mask`
    fits `12_img` and `A.PNG` fits `a.png`, as long as only one image is meant.
    """
    ordered = sorted(files, key=lambda file: natural(file.name))
    return in_order(ordered, images, report, name_of=name_of)


def in_order(
    files: Iterable[Path],
    images: Collection[str] | None,
    report: Report,
    *,
    name_of: Callable[[Path], str] = stem,
) -> dict[str, Path]:
    """Do as `by_name` with files that are in natural order already."""
    find = finder(images) if images is not None else None
    named: dict[str, Path] = {}
    for file in files:
        name = name_of(file)
        if find:
            name = find(name) or bare(name)
        if name in named:
            report(
                InputError(
                    f"has the same name as {named[name].name}",
                    where=file,
                    cure="rename one of the two, or take it out",
                )
            )
        else:
            named[name] = file
    return named


def finder(images: Collection[str]) -> Callable[[str], str | None]:
    """Give a function that finds the image that a mask's name means, or None."""
    looser: dict[str, str | None] = {}

    def learn() -> None:
        # What is nearest to the name itself is learnt first and stays.
        for simpler in (str, _without_ending, _without_front):
            fresh: dict[str, str | None] = {}
            for image in images:
                key = simpler(image).casefold()
                if key not in looser:
                    fresh[key] = None if key in fresh else image
            looser.update(fresh)

    def find(name: str) -> str | None:
        if name in images:
            return name
        shorter = bare(name)
        tries = (name, shorter, _MASK_FRONT.sub("", name), _MASK_FRONT.sub("", shorter))
        exact = next((word for word in tries if word in images), None)
        if exact is not None:
            return exact
        if not looser:
            learn()
        return next((hit for word in tries if (hit := looser.get(word.casefold()))), None)

    return find


def assemble(
    images: Mapping[str, Path],
    masks: Mapping[str, Path],
    *,
    required: bool,
    where: Path,
    fovs: Mapping[str, Path] | None = None,
    observers: Mapping[str, Path] | None = None,
    bands: Mapping[str, tuple[Path, ...]] | None = None,
    drawing: Drawing | None = None,
) -> tuple[list[Case], list[InputError], frozenset[str]]:
    """Make cases of what stands under the same name.

    Args:
        images: name → image, in order.
        masks: name → labels.
        required: images without labels are a problem and left out; else they are cases, too.
        where: the folder of the labels, for messages.
        fovs: name → field of view.
        observers: name → labels of a second annotator.
        bands: name → further pictures.
        drawing: how the labels are drawn.

    Returns:
        cases, problems, and the names of the images without labels.
    """
    fovs, observers, bands = fovs or {}, observers or {}, bands or {}
    problems = []
    alone = [name for name in images if name not in masks]
    for name in alone[:_NAMED] if required else ():
        problems.append(
            InputError(
                f"the image has no mask{_more(name, alone, images)}",
                where=images[name],
                cure=f"add {where}/{name}.png, or take the image out",
            )
        )
    stray = [name for name in masks if name not in images]
    for name in stray[:_NAMED]:
        problems.append(
            InputError(
                f"the mask has no image{_more(name, stray, masks)}",
                where=masks[name],
                cure="add its image under the same name, or take the mask out",
            )
        )
    cases = [
        Case(
            name,
            image,
            masks.get(name),
            fovs.get(name),
            observers.get(name),
            bands=bands.get(name, ()),
            drawing=drawing if name in masks else None,
        )
        for name, image in images.items()
        if name in masks or not required
    ]
    return cases, problems, frozenset(alone)


def by_key(
    images: Mapping[str, Path], files: Iterable[Path], pattern: str, file_pattern: str
) -> dict[str, Path]:
    """Pair what has the same key: the first group of a pattern that fits the name without suffix.

    Args:
        images: name → image.
        files: what belongs to them.
        pattern: of the images' names.
        file_pattern: of the files' names.

    Returns:
        name of the image → file; a file whose key no image has stands under its own name.
    """
    owner: dict[str, str] = {}
    for name in images:
        if match := re.fullmatch(pattern, name):
            owner.setdefault(match[1], name)
    found: dict[str, Path] = {}
    for file in files:
        if match := re.fullmatch(file_pattern, stem(file)):
            found.setdefault(owner.get(match[1], stem(file)), file)
    return found


def _more(name: str, some: Sequence[str], everything: Collection[str]) -> str:
    """Say with the first how many there are; whoever stops there should know."""
    if name != some[0] or len(some) == 1:
        return ""
    return f" (and {len(some) - 1} more of {len(everything)})"


def _without_ending(name: str) -> str:
    return _IMAGE_ENDING.sub("", name)


def _without_front(name: str) -> str:
    return _IMAGE_FRONT.sub("", _IMAGE_ENDING.sub("", name))
