"""The trained artefact: one file that knows everything prediction needs, and how to apply it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from unetkit.data import Dataset, Normalization, PortionConfig, Task, portion
from unetkit.data.labels import encode
from unetkit.errors import InputError
from unetkit.files import atomic
from unetkit.image import Image, read_image
from unetkit.machine import Precision, choose_device, choose_precision, free_memory
from unetkit.network import NetworkConfig, UNet, probabilities
from unetkit.prediction import PredictConfig, choose_tile, predict

FORMAT = 1
_KEY = "unetkit"


class Card(BaseModel):
    """What a model file says of itself, as JSON in its header.

    Attributes:
        format: version of this layout.
        network: the network's choices, complete.
        predict: tile, test-time augmentation, threshold.
        normalization: the transform of intensities, as in training.
        task: classes, their mask values, channels.
        threshold: probability from which a pixel is foreground.
        threshold_from: where the threshold came from.
        recipe: the run's recipe, for the reader.
        scores: validation scores of this checkpoint.
        cases: which cases it was trained on and chosen by, `train` and `val`.
        environment: versions and machine of the training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    network: NetworkConfig
    predict: PredictConfig = PredictConfig()
    normalization: Normalization
    task: Task
    threshold: float = 0.5
    threshold_from: str = "default"
    recipe: dict[str, Any] = {}
    scores: dict[str, float] = {}
    cases: dict[str, tuple[str, ...]] = {}
    environment: dict[str, Any] = {}


@dataclass(frozen=True)
class Segmentation:
    """The answer for one image.

    Attributes:
        probabilities: (k, *space) fp32; k is 1 for a binary mask, else one per output channel.
        labels: (*space) uint8 class indices.
        task: names and mask values of the classes.
    """

    probabilities: NDArray[np.float32]
    labels: NDArray[np.uint8]
    task: Task

    @property
    def mask(self) -> NDArray[np.integer]:
        """The labels in the mask values of the training data, such as 0 and 255.

        (*space); (3, *space) where the training masks were in class colours. Objects are 0 and 255.
        """
        mask = encode(self.labels, self.task)
        return mask[0] if len(mask) == 1 else mask


class Segmenter:
    """A trained network with its normalisation, classes and threshold: call it with an image.

    Example:
        >>> segment = load("runs/stare")  # doctest: +SKIP
        >>> segment("photo.png").mask     # doctest: +SKIP
    """

    def __init__(
        self, network: UNet, card: Card, *, device: str = "auto", precision: Precision = "auto"
    ) -> None:
        self.card = card
        self.device = choose_device(device)
        self.precision = choose_precision(self.device, precision)
        self.network = network.eval().place(self.device)

    def __call__(
        self,
        image: Image | NDArray[Any] | str | Path,
        *,
        tile: int | tuple[int, ...] | None = None,
        tta: bool | None = None,
        threshold: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Segmentation:
        """Segment an image of any size.

        Args:
            image: a path, an `Image`, or an array (c, *space); a grey array may omit c.
            tile: size of the network's input; default: the recipe's, or by memory.
            tta: average over mirror images; default: the recipe's.
            threshold: of the foreground; default: the recipe's, or the one tuned on `val`.
            progress: called with tiles done and tiles in all.

        Raises:
            InputError: channels or axes differ from the training data; the tile is not legal.
        """
        where: object = None
        if isinstance(image, str | Path):
            image = read_image(image)
        if isinstance(image, Image):
            where, image = image.path, image.data if image.nodata is None else image.intensities()
        pixels = self._shaped(np.asarray(image), where)
        space = pixels.shape[1:]
        config, footprint = self.card.predict, self.network.footprint
        flips = config.tta == "flips" if tta is None else tta
        probability = predict(
            self.forward,
            self.card.normalization.apply(pixels),
            footprint,
            tile=self._tile(config.tile if tile is None else tile, space),
            tta="flips" if flips else "none",
            progress=progress,
        )
        chosen = self.threshold if threshold is None else threshold
        return Segmentation(probability, label(probability, chosen), self.card.task)

    def forward(self, batch: Tensor) -> Tensor:
        """Probabilities of a normalised batch, (b, c, *in) → (b, k, *out)."""
        batch = batch.to(self.device).contiguous(memory_format=self.network.layout)
        with torch.inference_mode(), autocast(self.device, self.precision):
            logits = self.network(batch)
        return probabilities(logits, self.card.network.activation)

    @property
    def threshold(self) -> float:
        """Probability from which a pixel is foreground: the recipe's, or the one tuned on `val`."""
        chosen = self.card.predict.threshold
        return self.card.threshold if chosen is None else chosen

    @property
    def protocol(self) -> dict[str, Any]:
        """What a score of this model must be read with."""
        tuned = self.card.predict.threshold is None
        source = self.card.threshold_from if tuned else "set in the recipe"
        several = (self.card.network.classes or 1) > 2  # then `label` asks no threshold
        return {
            **(
                {"decision": "most probable class"}
                if several
                else {"threshold": round(self.threshold, 4), "threshold_from": source}
            ),
            "tta": self.card.predict.tta,
            "engine": self.engine,
            "recipe": self.card.recipe.get("name", ""),
            "seed": self.card.recipe.get("seed"),
        }

    def judged_on(self, dataset: Dataset) -> tuple[Dataset, frozenset[str]]:
        """Give the set with the split this model was trained under, and the cases it has seen.

        A model of one fold is judged on that fold, in a set that holds the cases of its training,
        whatever it is called now. Cases count as seen by name, in a set that has the name of the
        training's, since many sets number their cases alike.
        """
        known = frozenset(i for ids in self.card.cases.values() for i in ids)
        if known and known <= {case.id for case in dataset.cases}:
            config = PortionConfig.model_validate(self.card.recipe.get("data") or {})
            dataset = portion(dataset, config.model_copy(update={"train_size": None}))
        same = dataset.root.resolve().name == self.card.environment.get("dataset")
        return dataset, known if same else frozenset()

    @property
    def engine(self) -> str:
        """What computes, in words."""
        number = "bf16" if self.precision == torch.bfloat16 else "fp32"
        return f"PyTorch {number} on {self.device.type}"

    def _shaped(self, pixels: NDArray[Any], where: object) -> NDArray[Any]:
        ndim, channels = self.card.network.ndim or 2, self.card.network.channels
        if pixels.ndim == ndim:
            pixels = pixels[None]
        if pixels.ndim != ndim + 1:
            raise InputError(
                f"the image has {pixels.ndim - 1} axes, the model was trained on {ndim}D images",
                where=where,
            )
        if pixels.shape[0] != channels:
            raise InputError(
                f"the image has {pixels.shape[0]} channels, the model was trained on {channels}",
                where=where,
                cure="convert the image to the training data's channels",
            )
        return pixels

    def _tile(self, tile: int | tuple[int, ...] | None, space: tuple[int, ...]) -> tuple[int, ...]:
        footprint = self.network.footprint
        if tile is None:
            return choose_tile(footprint, space, self._budget())
        tile = (tile,) * len(space) if isinstance(tile, int) else tuple(tile)
        if len(tile) != len(space):
            raise InputError(f"has {len(tile)} axes, the image {len(space)}", where="tile")
        footprint.require_tile(tile, space)
        return tile

    def _budget(self) -> int:
        """Pixels of a tile whose activations take at most a quarter of the free memory."""
        per_pixel = 4 * 6 * max(self.card.network.width, 8)  # fp32, six maps of the first level
        return int(np.clip(free_memory() / 4 / per_pixel, 64**2, 1536**2))


def label(probability: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    """Turn probabilities (k, *space) into class indices (*space).

    One channel: foreground from the threshold on. Two (softmax): likewise, by the second. More: the
    most probable class.
    """
    if len(probability) <= 2:
        return np.asarray(probability[-1] >= threshold, np.uint8)
    return np.asarray(probability.argmax(0), np.uint8)


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[Any]:
    """Compute in `precision` where it is not fp32 already."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, precision)


def save(path: str | Path, weights: dict[str, Tensor], card: Card) -> None:
    """Write weights and card to one safetensors file, atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={_KEY: card.model_dump_json()})


def read_card(path: str | Path) -> Card:
    """Read what a model says of itself without its weights.

    Raises:
        InputError: no such model, or not one of ours.
    """
    path = _model_file(path)
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(_KEY)
    except (SafetensorError, OSError) as error:
        raise InputError(f"is not a readable model ({error})", where=path) from None
    if text is None:
        raise InputError("has no unetkit header", where=path, cure="train a model with unet train")
    try:
        document = json.loads(text)
        newer = document.get("format", 0) > FORMAT
    except (ValueError, TypeError, AttributeError):
        raise InputError("its header is damaged", where=path, cure="copy the model again") from None
    if newer:
        raise InputError("was written by a newer unetkit", where=path, cure="upgrade unetkit")
    try:
        return Card.model_validate(document)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        raise InputError(
            f"its header does not fit this unetkit ({key}: {fault['msg']})",
            where=path,
            cure="load it with the unetkit that wrote it, or train it again",
        ) from None


def load(path: str | Path, *, device: str = "auto", precision: Precision = "auto") -> Segmenter:
    """Load a model from a run folder or a `.safetensors` file. Nothing is unpickled.

    Raises:
        InputError: no such model, or not one of ours.
    """
    card = read_card(path)
    weights: dict[str, Tensor] = {}
    with safe_open(_model_file(path), "pt") as file:
        for name in file.keys():  # noqa: SIM118  (not a dict)
            weights[name] = file.get_tensor(name)
    try:
        with torch.device("meta"):
            network = UNet(card.network)
        network.load_state_dict(weights, assign=True)
    except (RuntimeError, ValueError):  # other names or shapes; a header that leaves choices open
        raise InputError(
            "weights and header do not fit together", where=path, cure="train the model again"
        ) from None
    return Segmenter(network, card, device=device, precision=precision)


def _model_file(path: str | Path) -> Path:
    path = Path(path)
    if path.is_dir():
        path = path / "model.safetensors"
        if not path.is_file():
            raise InputError("holds no model.safetensors", where=path.parent, cure="train it first")
    if not path.is_file():
        raise InputError("no such model", where=path, cure="give a run folder or a .safetensors")
    return path
