"""The int8 form of a model, calibrated once on images of its training and kept."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unetkit.engines import Program, Run
from unetkit.errors import InputError
from unetkit.segmenter.card import Card, digest, model_file
from unetkit.segmenter.segmentation import label, to_probabilities

if TYPE_CHECKING:
    from unetkit.data.dataset import Dataset

_IMAGES = 48  # training images that are looked at, evenly chosen
_TILES = 96  # parts of them in all
_SIDE = {2: 384, 3: 64}  # pixels of a part, about


def quantized_file(
    model: str | Path,
    card: Card,
    program: Program,
    *,
    data: str | Path | None = None,
    cache: Path | None = None,
) -> Path:
    """Give the file of a model's int8 form; calibrate it if there is none yet.

    Args:
        model: run folder or `.safetensors` file.
        card: what it says of itself.
        program: its network.
        data: the data set to calibrate on; default: the one it was trained on.
        cache: folder where the result is kept; a temporary one if left out.

    Raises:
        InputError: nothing to calibrate on, or no `openvino` and `nncf`.
    """
    from unetkit.engines.int8 import quantize
    from unetkit.engines.openvino_cpu import run_openvino
    from unetkit.engines.openvino_graph import save_openvino

    key = _key(model, data)
    file = (cache or Path(tempfile.mkdtemp(prefix="unetkit-"))) / "int8" / key / "model.xml"
    if not file.is_file():
        batches = list(calibration_tiles(model, card, data))
        quantized = quantize(program, batches)
        exact, rough = run_openvino(program, "fp32"), run_openvino(quantized, "int8")
        changed = changed_share(exact, rough, card, batches)
        notes = {"changed": f"{changed:.6f}", "unetkit": card.model_dump_json()}
        save_openvino(quantized, file, notes)
    return file


def changed_share(
    exact: Run, rough: Run, card: Card, batches: Iterable[NDArray[np.float32]]
) -> float:
    """Give the share of pixels whose class is another on another engine.

    Args:
        exact: the engine that is right.
        rough: the other.
        card: which decides what class a pixel has.
        batches: normalised (b, c, *in).
    """
    softmax, pixels, changed = card.network.activation == "softmax", 0, 0
    for batch in batches:
        first, second = (
            np.stack([
                label(p, card.threshold)
                for p in to_probabilities(run(batch), softmax, card.temperature)
            ])
            for run in (exact, rough)
        )  # fmt: skip
        pixels += first.size
        changed += int((first != second).sum())
    return changed / max(pixels, 1)


def calibration_tiles(
    model: str | Path, card: Card, data: str | Path | None = None
) -> Iterator[NDArray[np.float32]]:
    """Give normalised parts (1, c, *in) of training images, evenly chosen, always the same.

    Raises:
        InputError: the training images are not where they were, or none can be read.
    """
    from unetkit.data.portions import PortionConfig, portion
    from unetkit.prediction import take

    dataset = _training_set(model, data)
    config = PortionConfig.model_validate(card.recipe.get("data") or {})
    dataset = portion(dataset, config, int(card.recipe.get("seed") or 0))
    cases = dataset.select("train")
    chosen = [
        cases[i] for i in np.linspace(0, len(cases) - 1, min(_IMAGES, len(cases))).astype(int)
    ]
    each = -(-_TILES // len(chosen))
    chance = np.random.default_rng(0)
    footprint = card.network.footprint
    for case in chosen:
        image = card.normalization.apply(dataset.load(case).image)
        space = image.shape[1:]
        side = _SIDE[len(space)]
        size = footprint.enclose([min(n, side) for n in space])
        for _ in range(each):
            corner = [
                int(chance.integers(0, max(n - t, 0) + 1)) for n, t in zip(space, size, strict=True)
            ]
            part = tuple(slice(a, a + t) for a, t in zip(corner, size, strict=True))
            yield take(image, part, space, (0,) * len(space))[None]


def _training_set(model: str | Path, data: str | Path | None) -> Dataset:
    from unetkit.data.dataset import read_dataset

    place = data
    if place is None:
        environment = model_file(model).parent / "environment.json"
        try:
            place = json.loads(environment.read_text(encoding="utf-8")).get("data")
        except (OSError, ValueError):
            place = None
        if place is None or not Path(place).is_dir():
            raise InputError(
                "int8 must be calibrated on training images, and they are not where they were",
                where=model,
                cure="name the data set with --calibrate DATA, or take --precision bf16",
            )
    return read_dataset(place)


def _key(model: str | Path, data: str | Path | None) -> str:
    """Stand for the weights and for what they are calibrated on."""
    place = "" if data is None else str(Path(data).resolve())
    return hashlib.blake2b(
        digest(model).encode() + place.encode(errors="replace"), digest_size=16
    ).hexdigest()
