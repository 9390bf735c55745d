"""The pictures of the page: which cases to show, and each one drawn and embedded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import InputError
from unetkit.metrics import lower_is_better
from unetkit.report import contents, pictures


@dataclass(frozen=True)
class Sheet:
    """One case to show.

    Attributes:
        id: its name.
        image: `(1, y, x)` or `(3, y, x)`, uint8, or any float.
        truth: `(y, x)` integers, classes and not instances; `None` without one.
        prediction: `(y, x)` integers.
        probability: `(y, x)` or `(k, y, x)` in 0..1; of several, channel 0 is the background, and
            the probability of any foreground is shown.
        valid: `(y, x)`, true where pixels are judged.
        scores: name to value of this case.
    """

    id: str
    image: NDArray[Any]
    truth: NDArray[Any] | None
    prediction: NDArray[Any]
    probability: NDArray[Any] | None = None
    valid: NDArray[np.bool_] | None = None
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One training image with its mask, as the network sees it, and what was derived from it.

    Attributes:
        image: `(1, y, x)` or `(3, y, x)`.
        labels: `(y, x)` integers, drawn as an outline.
        weights: `(y, x)` pixel weights.
        skeleton: `(y, x)`, positive on the skeleton or its tube.
        caption: what to call it.
    """

    image: NDArray[Any]
    labels: NDArray[Any] | None = None
    weights: NDArray[Any] | None = None
    skeleton: NDArray[Any] | None = None
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """One embedded picture."""

    name: str
    alt: str
    address: str
    width: int
    height: int
    scale: tuple[str, str] | None = None


@dataclass(frozen=True)
class Case:
    """One sheet as it stands on the page."""

    anchor: str
    id: str
    scores: list[tuple[str, float | None]]
    figures: list[Figure]


def hides(sheet: Sheet) -> bool:
    """Whether some of its pixels are not judged."""
    ignored = sheet.truth is not None and bool((sheet.truth < 0).any())
    return ignored or (sheet.valid is not None and not bool(sheet.valid.all()))


def _main_score(
    sheet: Sheet, main: str, images: Mapping[str, Mapping[str, float | None]]
) -> float | None:
    value = sheet.scores.get(main, images.get(sheet.id, {}).get(main))
    return value if value is not None and np.isfinite(value) else None


def choose(
    sheets: Sequence[Sheet],
    main: str,
    images: Mapping[str, Mapping[str, float | None]],
    shown: int,
) -> tuple[list[Sheet], int | None]:
    """The sheets to show, worst first, and where the best begin (`None`: all are shown)."""
    sign = -1.0 if lower_is_better(main) else 1.0
    scored = [(_main_score(sheet, main, images), sheet) for sheet in sheets]
    scored.sort(key=lambda pair: (pair[0] is None, sign * (pair[0] or 0.0)))
    if len(scored) <= 2 * shown:
        return [sheet for _, sheet in scored], None
    known = [sheet for value, sheet in scored if value is not None]
    if not known:
        return list(sheets[:shown]), None
    return [*known[:shown], *known[shown:][-shown:][::-1]], shown


def highest(sheet: Sheet) -> int:
    """The largest label of a sheet: above 1 there are several classes."""
    labels = [sheet.prediction] + ([] if sheet.truth is None else [sheet.truth])
    return max(int(array.max(initial=0)) for array in labels)


def _figure(
    name: str, alt: str, picture: pictures.Picture, side: int, *, flat: bool, scale: Any = None
) -> Figure:
    return Figure(name, alt, *pictures.embed(picture, side=side, flat=flat), scale)


def draw_case(
    sheet: Sheet,
    anchor: str,
    main: str,
    images: Mapping[str, Mapping[str, float | None]],
    several: bool,
    colours: Mapping[int, pictures.Colour] | None,
    side: int,
) -> Case:
    """Draw a sheet: image, truth, prediction, difference and probability, as far as given.

    Raises:
        InputError: they differ in size.
    """
    arrays = (sheet.image, sheet.truth, sheet.prediction, sheet.probability, sheet.valid)
    sizes = [array.shape[-2:] for array in arrays if array is not None]
    if len(set(sizes)) > 1:
        raise InputError(
            f"image and label maps differ in size ({', '.join(map(str, sizes))})",
            where=sheet.id,
            cure="pass all of them at the size of the image",
        )
    shown_colours = colours or ({1: pictures.PALETTE[0]} if several else None)
    found: list[tuple[str, pictures.Picture, bool]] = [
        ("Image", pictures.to_rgb(sheet.image), False)
    ]
    if sheet.truth is not None:
        truth = pictures.label_map(sheet.truth, sheet.valid, shown_colours)
        found.append(("Truth", truth, True))
    prediction = pictures.label_map(sheet.prediction, sheet.valid, shown_colours)
    found.append(("Prediction", prediction, True))
    if sheet.truth is not None:
        compared = pictures.difference(sheet.truth, sheet.prediction, sheet.valid, several=several)
        found.append(("Difference", compared, True))
    if sheet.probability is not None:
        probability = np.asarray(sheet.probability, dtype=np.float32)
        if probability.ndim == 3:
            probability = probability[0] if len(probability) == 1 else 1 - probability[0]
        grey = (np.clip(np.nan_to_num(probability), 0, 1) * 255 + 0.5).astype(np.uint8)
        found.append(("Probability", pictures.to_rgb(grey), False))
    listed = dict(images.get(sheet.id, {})) | dict(sheet.scores)
    order = sorted(listed, key=lambda key: (key != main, *contents.order(key)))
    return Case(
        anchor,
        sheet.id,
        [(key, listed[key]) for key in order[:5]],
        [
            _figure(name, f"{name} of {sheet.id}", picture, side, flat=flat)
            for name, picture, flat in found
        ],
    )


def draw_target(
    sample: Sample, colours: Mapping[int, pictures.Colour] | None, side: int
) -> tuple[str, list[Figure]]:
    """Caption and pictures of a sample: mask, weight map and skeleton over the image."""
    what = sample.caption or "training image"
    drawn = pictures.to_rgb(sample.image)
    if sample.labels is not None:
        drawn = pictures.overlay(sample.image, sample.labels, colours=colours, tint=0.15)
    figures = [_figure("Image and mask", f"Mask outlined on {what}", drawn, side, flat=False)]
    if sample.weights is not None:
        picture, low, high = pictures.heat(sample.weights, sample.image)
        ends = (contents.number(low), contents.number(high))
        alt = f"Pixel weights of {what}, from {ends[0]} to {ends[1]}"
        figures.append(_figure("Weight map", alt, picture, side, flat=False, scale=ends))
    if sample.skeleton is not None:
        tube = (np.asarray(sample.skeleton) > 0).astype(np.int64)
        colour = {1: pictures.PALETTE[3]}
        grey = pictures.to_rgb(sample.image).mean(axis=0).astype(np.uint8)
        picture = pictures.overlay(grey, tube, colours=colour, tint=0.85, outline=0.85)
        figures.append(_figure("Skeleton", f"Skeleton over {what}", picture, side, flat=False))
    return sample.caption, figures


def draw_augmented(
    sample: Sample, colours: Mapping[int, pictures.Colour] | None, side: int
) -> Figure:
    """One augmented sample with its mask outlined."""
    picture = pictures.to_rgb(sample.image)
    if sample.labels is not None:
        picture = pictures.overlay(sample.image, sample.labels, colours=colours, tint=0.1)
    name = sample.caption or "augmented"
    return _figure(name, f"Training sample after augmentation: {name}", picture, side, flat=False)


def legend(several: bool, *, hidden: bool) -> list[tuple[str, str]]:
    """Colours of the difference as CSS, and what each one means."""
    if several:
        pairs = [(pictures.RIGHT, "right class"), (pictures.WRONG, "wrong")]
    else:
        pairs = [
            (pictures.RIGHT, "true positive"),
            (pictures.FALSE_POSITIVE, "false positive (drawn, not there)"),
            (pictures.FALSE_NEGATIVE, "false negative (missed)"),
        ]
    if hidden:
        pairs.append((pictures.NOT_JUDGED, "not judged"))
    return [(_css(colour), words) for colour, words in pairs]


def class_legend(
    classes: Mapping[int, str] | None, colours: Mapping[int, pictures.Colour] | None
) -> list[tuple[str, str]]:
    """Colours of the classes as CSS, and their names."""
    return [
        (_css(pictures.colour_of(label, colours) if label else (0, 0, 0)), name)
        for label, name in (classes or {}).items()
        if label >= 0
    ]


def _css(colour: pictures.Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
