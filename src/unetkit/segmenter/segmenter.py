"""A trained network with its normalisation, classes and threshold, and how to apply it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unetkit.data.normalize import Normalization
from unetkit.errors import InputError
from unetkit.geometry import Footprint
from unetkit.image import Image, read_image
from unetkit.machine import free_memory, resident_memory
from unetkit.prediction import (
    Augmentation,
    Cost,
    Forward,
    Plan,
    plan,
    predict_planned,
)
from unetkit.segmenter.member import Member, Source, cost_of, require_alike
from unetkit.segmenter.segmentation import Floats, Segmentation, label

if TYPE_CHECKING:
    from unetkit.data.dataset import Dataset


_ROTATED = 640**2  # pixels of a tile that is also looked at in rotated views


class Segmenter:
    """A trained network, or several, ready to be called with an image.

    Example:
        >>> segment = load("runs/stare")  # doctest: +SKIP
        >>> segment("photo.png").mask     # doctest: +SKIP
    """

    def __init__(self, *members: Member, source: Source | None = None) -> None:
        """Join members, all trained for one task; `source` says where they came from.

        Raises:
            InputError: they do not fit together.
        """
        first = members[0].card
        for member in members[1:]:
            require_alike(first, member.card)
        self.members = members
        self.source = source
        self.card = first

    def __call__(
        self,
        image: Image | NDArray[Any] | str | Path,
        *,
        tile: int | tuple[int, ...] | None = None,
        tta: str | bool | None = None,
        threshold: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Segmentation:
        """Segment an image that fits the memory.

        Args:
            image: a path, an `Image`, or an array (c, *space); a grey array may omit c.
            tile: size of the network's input; default: the recipe's, or by memory.
            tta: "none", "flips", "rotations" or "paper"; default: the recipe's.
            threshold: of the foreground; default: the recipe's, or the one tuned on `val`.
            progress: called with tiles done and in all.

        Raises:
            InputError: channels or axes differ from the training data; the tile is not legal.
        """
        where: object = None
        if isinstance(image, str | Path):
            image = read_image(image)
        if isinstance(image, Image):
            where, image = image.path, image.data if image.nodata is None else image.intensities()
        pixels = self._shaped(np.asarray(image))
        chosen = self.plan(pixels.shape, pixels.itemsize, tile=tile, tta=tta, where=where)
        forwards = self.forwards(self.settle([pixels]))
        probability, spread = predict_planned(forwards, pixels, chosen, progress=progress)
        labels = self.decide(probability, threshold)
        return Segmentation(probability, labels, self.card.task, spread)

    def plan(
        self,
        shape: tuple[int, ...],
        itemsize: int,
        *,
        tile: int | tuple[int, ...] | None = None,
        tta: str | bool | None = None,
        memory: int | None = None,
        base: int | None = None,
        stored: int | None = None,
        where: object = None,
    ) -> Plan:
        """Plan the prediction of an image.

        Args:
            shape: (c, *space).
            itemsize: bytes of one of its numbers, as it is read.
            tile: size of the network's input; default: the recipe's, or the best that fits.
            tta: test-time augmentation; default: the recipe's.
            memory: bytes that the process may hold; default: half of what is free.
            base: bytes of these that it holds anyway; default: all that it holds now.
            stored: bytes per pixel of what is kept of a block until it is written.
            where: the image, for messages.

        Raises:
            InputError: the image is not like those of the training; the tile is not legal; the
                memory does not suffice.
        """
        self.require_shape(shape, where)
        space = shape[1:]
        augmentation = self.augmentation(tta)
        chosen = self.tile(tile, space)
        held = resident_memory()
        try:
            return plan(
                space,
                shape[0],
                itemsize,
                self.outputs,
                self.footprint,
                # Rotated tiles are of many sizes, each up to twice as large in area.
                cost=self.cost if augmentation != "paper" else replace(self.cost, pixels=_ROTATED),
                memory=held + free_memory() // 2 if memory is None else memory,
                base=held if base is None else base,
                tile=chosen,
                tta=augmentation,
                members=len(self.members),
                spread=len(self.members) > 1 or augmentation != "none",
                stored=stored,
            )
        except InputError as error:  # which is of this image: what was asked for is legal
            if where is None:
                raise
            raise InputError(error.what, where=where, cure=error.cure) from None

    def settle(self, windows: Iterable[NDArray[Any]]) -> list[Normalization]:
        """Give each member's transform of intensities for the image at hand.

        Args:
            windows: the image (c, *space), whole or in parts that hold every pixel once; they are
                only looked at where a transform depends on them.
        """
        own = [member.card.normalization for member in self.members]
        by_image = next((one for one in own if one.method == "image"), None)
        settled = None if by_image is None else by_image.settle(windows)
        return [settled if settled and one.method == "image" else one for one in own]

    def forwards(self, normalizations: Iterable[Normalization]) -> list[Forward]:
        """Give what each member makes of raw pixels, under its transform of intensities."""
        return [
            member.forward(normalization)
            for member, normalization in zip(self.members, normalizations, strict=True)
        ]

    def decide(self, probability: Floats, threshold: float | None = None) -> NDArray[np.uint8]:
        """Turn probabilities (k, *space) into class indices (*space)."""
        return label(probability, self.threshold if threshold is None else threshold)

    @property
    def footprint(self) -> Footprint:
        """What the network asks of its input."""
        return self.card.network.footprint

    @property
    def outputs(self) -> int:
        """Channels of the probabilities."""
        return self.card.network.classes or 1

    @property
    def cost(self) -> Cost:
        """What a call of the most expensive member takes."""
        costs = [cost_of(member) for member in self.members]
        return max(costs, key=lambda cost: cost.activations)

    @property
    def threshold(self) -> float:
        """Probability from which a pixel is foreground: the recipe's, or the one tuned on `val`.

        Of an ensemble the members' mean.
        """
        chosen = [
            card.threshold if card.predict.threshold is None else card.predict.threshold
            for card in (member.card for member in self.members)
        ]
        return float(np.mean(chosen))

    @property
    def protocol(self) -> dict[str, Any]:
        """What a score of this model must be read with."""
        tuned = self.card.predict.threshold is None
        source = self.card.threshold_from if tuned else "set in the recipe"
        several = (self.card.network.classes or 1) > 2  # then `label` asks no threshold
        said = {
            **(
                {"decision": "most probable class"}
                if several
                else {"threshold": round(self.threshold, 4), "threshold_from": source}
            ),
            "tta": self.card.predict.tta,
            "engine": self.engine,
            "temperature": round(self.card.temperature, 4),
            "recipe": self.card.recipe.get("name", ""),
            "seed": self.card.recipe.get("seed"),
        }
        return said | ({"members": len(self.members)} if len(self.members) > 1 else {})

    def judged_on(self, dataset: Dataset) -> tuple[Dataset, frozenset[str]]:
        """Give the set with the split this model was trained under, and the cases it has seen.

        A model of one fold is judged on that fold, in a set that holds the cases of its training,
        whatever it is called now. Cases count as seen by name, in a set that has the name of the
        training's, since many sets number their cases alike.
        """
        from unetkit.data.portions import PortionConfig, portion

        known = frozenset(
            i for member in self.members for ids in member.card.cases.values() for i in ids
        )
        alone = len(self.members) == 1
        if known and known <= {case.id for case in dataset.cases} and alone:
            config = PortionConfig.model_validate(self.card.recipe.get("data") or {})
            dataset = portion(dataset, config.model_copy(update={"train_size": None}))
        same = dataset.root.resolve().name == self.card.environment.get("dataset")
        return dataset, known if same else frozenset()

    @property
    def engine(self) -> str:
        """What computes, in words."""
        names = list(dict.fromkeys(member.engine.name for member in self.members))
        several = len(self.members) > 1
        return (f"{len(self.members)} models, " if several else "") + ", ".join(names)

    def tile(
        self, tile: int | tuple[int, ...] | None, space: tuple[int, ...]
    ) -> tuple[int, ...] | None:
        """Give the tile that was asked for, or the recipe's, per axis; None to choose by memory.

        Raises:
            InputError: it is not legal.
        """
        tile = self.card.predict.tile if tile is None else tile
        if tile is None:
            return None
        tile = (tile,) * len(space) if isinstance(tile, int) else tuple(tile)
        if len(tile) != len(space):
            raise InputError(f"has {len(tile)} axes, the image {len(space)}", where="tile")
        self.footprint.require_tile(tile, space)
        return tile

    def augmentation(self, tta: str | bool | None) -> Augmentation:
        """Give the test-time augmentation that was asked for, or the recipe's.

        Raises:
            InputError: there is none of that name.
        """
        return choose_augmentation(self.card.predict.tta if tta is None else tta)

    def require_shape(self, shape: tuple[int, ...], where: object) -> None:
        """Refuse an image (c, *space) that is not like those of the training.

        Raises:
            InputError: it has other axes or channels.
        """
        ndim, channels = self.card.network.ndim or 2, self.card.network.channels
        if len(shape) != ndim + 1:
            raise InputError(
                f"the image has {len(shape) - 1} axes, the model was trained on {ndim}D images",
                where=where,
            )
        if shape[0] != channels:
            raise InputError(
                f"the image has {shape[0]} channels, the model was trained on {channels}",
                where=where,
                cure="convert the image to the training data's channels",
            )

    def _shaped(self, pixels: NDArray[Any]) -> NDArray[Any]:
        return pixels[None] if pixels.ndim == (self.card.network.ndim or 2) else pixels


def choose_augmentation(tta: str | bool) -> Augmentation:
    """Give the test-time augmentation of a name; True stands for "flips".

    Raises:
        InputError: there is none of that name.
    """
    if isinstance(tta, bool):
        return "flips" if tta else "none"
    match tta:
        case "none" | "flips" | "rotations" | "paper":
            return tta
    raise InputError(
        f"unknown test-time augmentation {tta}",
        where="--tta",
        cure="take none, flips, rotations or paper",
    )
