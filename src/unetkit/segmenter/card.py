"""The model file: weights, and what they must be read with, in one safetensors file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open

from unetkit.data.meaning import Task
from unetkit.data.normalize import Normalization
from unetkit.errors import InputError
from unetkit.files import atomic
from unetkit.network.config import NetworkConfig
from unetkit.prediction import PredictConfig

if TYPE_CHECKING:
    from torch import Tensor

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
        temperature: what logits are divided by before they become probabilities, fitted on `val`
            (Guo et al. 2017, arXiv 1706.04599).
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
    temperature: float = Field(1.0, gt=0)
    threshold: float = 0.5
    threshold_from: str = "default"
    recipe: dict[str, Any] = {}
    scores: dict[str, float] = {}
    cases: dict[str, tuple[str, ...]] = {}
    environment: dict[str, Any] = {}


def save(path: str | Path, weights: Mapping[str, Tensor], card: Card) -> None:
    """Write weights and card to one safetensors file, atomically."""
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={_KEY: card.model_dump_json()})


def read_card(path: str | Path) -> Card:
    """Read what a model says of itself without its weights.

    Raises:
        InputError: no such model, or not one of ours.
    """
    path = model_file(path)
    try:
        with safe_open(path, "np") as file:
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


def read_weights(path: str | Path) -> dict[str, NDArray[np.float32]]:
    """Read the weights of a model by their names in `UNet.state_dict()`.

    Raises:
        InputError: no such model, or it cannot be read.
    """
    path = model_file(path)
    try:
        with safe_open(path, "np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError) as error:
        raise InputError(f"is not a readable model ({error})", where=path) from None


def digest(path: str | Path) -> str:
    """Give a number in hexadecimal digits that stands for the content of a model file."""
    with model_file(path).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def model_file(path: str | Path) -> Path:
    """Find the model in a run folder, or give the file itself.

    Raises:
        InputError: there is none.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "model.safetensors"
        if not path.is_file():
            raise InputError("holds no model.safetensors", where=path.parent, cure="train it first")
    if not path.is_file():
        raise InputError("no such model", where=path, cure="give a run folder or a .safetensors")
    return path
