"""What is made of probabilities: masks, the probabilities themselves, uncertainty, pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from unetkit.data.encoding import encode
from unetkit.data.meaning import Task
from unetkit.errors import InputError, nearest
from unetkit.image import Image
from unetkit.metrics.entropy import uncertainty
from unetkit.segmenter import Segmenter

Array = NDArray[Any]
Floats = NDArray[np.float32]
Output = Literal["labels", "probability", "uncertainty", "overlay"]
OUTPUTS: tuple[str, ...] = get_args(Output)
Finish = Callable[[Floats, Floats | None], dict[str, Array]]
Form = tuple[int, np.dtype[Any]]  # channels and type


def require_outputs(save: Sequence[str]) -> None:
    """Refuse outputs that are not known.

    Raises:
        InputError: the first that is not.
    """
    for kind in save:
        if kind not in OUTPUTS:
            raise InputError(f"unknown output {kind}", where="--save", cure=nearest(kind, OUTPUTS))


def finisher(segmenter: Segmenter, save: Sequence[str], threshold: float | None) -> Finish:
    """Give what turns probabilities (k, *w) and disagreement (1, *w) into arrays (c', *w) by kind.

    "labels" are in the mask values of the training data; "uncertainty" is the entropy and, where
    several predictions were averaged, their disagreement as a second channel; "overlay" needs the
    class indices.
    """
    task = segmenter.card.task

    def finish(probability: Floats, spread: Floats | None) -> dict[str, Array]:
        made: dict[str, Array] = {}
        if "labels" in save or "overlay" in save:
            indices = segmenter.decide(probability, threshold)
            if "labels" in save:
                made["labels"] = encode(indices, task)
            if "overlay" in save:
                made["overlay"] = indices[None]
        if "probability" in save:
            made["probability"] = probability
        if "uncertainty" in save:
            entropy = uncertainty(probability)
            made["uncertainty"] = entropy if spread is None else np.concatenate([entropy, spread])
        return made

    return finish


def forms(task: Task, outputs: int, several: bool) -> dict[str, Form]:
    """Give channels and type of each kind of output that is an array.

    Args:
        task: of the model.
        outputs: channels of the probabilities.
        several: predictions are averaged, so that there is a disagreement.
    """
    mask = encode(np.zeros((1, 1), np.uint8), task)
    fractions = np.dtype(np.float32)
    return {
        "labels": (len(mask), mask.dtype),
        "probability": (outputs, fractions),
        "uncertainty": (2 if several else 1, fractions),
    }


def draw_overlay(pixels: Array, labels: NDArray[np.uint8]) -> Image:
    """Draw class indices (*space) on an image (c, *space); of a volume its fullest slice."""
    from unetkit.report import overlay  # with all that a page needs, a second away

    if labels.ndim == 3:  # a picture has two axes
        fullest = int((labels > 0).sum(axis=(1, 2)).argmax())
        labels, pixels = labels[fullest], pixels[:, fullest]
    return Image(overlay(pixels[:3] if len(pixels) >= 3 else pixels[:1], labels))


@contextmanager
def blaming(image: Path, target: Path) -> Iterator[None]:
    """Let a format that cannot hold what is made of an image be a fault of that image alone.

    What the disk refuses is refused to all images, and stays as it is.

    Raises:
        InputError: of the image, or as it was.
    """
    try:
        yield
    except InputError as error:
        if isinstance(error.__cause__, OSError) or error.where != target:
            raise
        raise InputError(f"{target.name}: {error.what}", where=image, cure=error.cure) from None
