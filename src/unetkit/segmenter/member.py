"""One network of an ensemble, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unetkit.data.normalize import Normalization
from unetkit.engines import Engine
from unetkit.errors import InputError
from unetkit.prediction import Cost, Forward
from unetkit.segmenter.card import Card
from unetkit.segmenter.segmentation import Floats, to_probabilities

_FLOAT = 4
_TILE = (2400**2, 192**3)  # pixels beyond which larger tiles gain nothing
# Bytes per pixel and channel of the first level, and what smaller tiles take beside that.
_SMALL = 2**20
_MAPS = {
    "openvino": {"fp32": (16.0, 8.0), "bf16": (8.0, 6.0), "int8": (5.0, 4.0)},
    "torch": {"fp32": (19.0, 0.0), "bf16": (10.0, 0.0)},
    "onnx": {"fp32": (22.0, 0.0)},
}


@dataclass(frozen=True, eq=False)
class Member:
    """One network of an ensemble; a model alone is an ensemble of one.

    Attributes:
        card: what its file says of it.
        engine: what computes it.
        digest: stands for the model file; "" where there is none.
    """

    card: Card
    engine: Engine
    digest: str = ""

    def forward(self, normalization: Normalization) -> Forward:
        """Give what turns a batch of raw pixels (b, c, *in) into probabilities (b, k, *out).

        Args:
            normalization: the card's, settled on the image at hand.
        """
        softmax = self.card.network.activation == "softmax"

        def run(batch: Floats) -> Floats:
            normal = np.stack([normalization.apply(one) for one in batch])
            return to_probabilities(self.engine.run(normal), softmax, self.card.temperature)

        return run


@dataclass(frozen=True)
class Source:
    """Where a segmenter came from, so that another process can load the same.

    Attributes:
        paths: of its models.
        device: as given to `load`.
        precision: as given to `load`.
        engine: as given to `load`.
        calibration: as given to `load`.
        cache: as given to `load`.
    """

    paths: tuple[str, ...]
    device: str
    precision: str
    engine: str
    calibration: str | None
    cache: Path | None


def cost_of(member: Member) -> Cost:
    """Give what a call of a member takes, as it was measured (docs/prediction.md)."""
    network, engine = member.card.network, member.engine
    width, flat = max(network.width, 8), (network.ndim or 2) == 2
    maps, small = _MAPS[engine.kind][engine.precision]
    beside = _FLOAT * (3 * (network.classes or 1) + (network.channels or 1))
    return Cost(
        activations=maps * width + beside,
        fixed=int(small * width * _SMALL) if flat else 0,
        pixels=_TILE[0 if flat else 1],
    )


def require_alike(first: Card, other: Card) -> None:
    """Refuse models that cannot be averaged.

    Raises:
        InputError: they are of different tasks, or cut an image differently.
    """
    pairs = (
        ("classes", first.task.classes, other.task.classes),
        ("channels", first.network.channels, other.network.channels),
        ("output channels", first.network.classes, other.network.classes),
        ("axes", first.network.ndim, other.network.ndim),
        ("tiles", first.network.footprint, other.network.footprint),
    )
    for what, a, b in pairs:
        if a != b:
            raise InputError(
                f"models of different {what} cannot be averaged",
                cure="join models of one task and one depth, such as the folds of a study",
            )
