"""Every choice of a run in one document: read, checked, completed from the data, written back.

A recipe is YAML. Each room's choices are that room's own model; the run's own (`train`,
`optimizer`, `schedule`) are here. A key that does not exist is an error that names the nearest one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unetkit.augment import AugmentConfig
from unetkit.data import Fingerprint
from unetkit.errors import InputError, nearest
from unetkit.losses import LossConfig
from unetkit.network import NetworkConfig
from unetkit.prediction import PredictConfig

Reasons = list[tuple[str, str, str]]

_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OptimizerConfig(BaseModel):
    """The rule of descent.

    Attributes:
        name: "adamw", "adam" or "sgd".
        lr: learning rate at its highest.
        weight_decay: decoupled for adamw, else added to the gradient.
        momentum: of sgd.
    """

    model_config = _STRICT

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(2e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)


class ScheduleConfig(BaseModel):
    """How the learning rate moves.

    Attributes:
        name: "cosine" falls to nothing at the end of the run; "constant"; "plateau" multiplies by
            `factor` after `patience` epochs without a lower validation loss.
        warmup: share of the run in which the rate rises linearly from 0.
        patience: epochs, for "plateau".
        factor: for "plateau".
    """

    model_config = _STRICT

    name: Literal["cosine", "constant", "plateau"] = "cosine"
    warmup: float = Field(0.03, ge=0, lt=1)
    patience: int = Field(5, ge=0)
    factor: float = Field(0.1, gt=0, lt=1)


class TrainConfig(BaseModel):
    """The loop.

    Attributes:
        epochs: end after so many; `null` switches it off.
        minutes: end after so much training time, validation included; `null` switches it off.
            Where both are set, the first to be reached ends the run.
        batch: patches per step.
        patch: size of the network's input, as one number or per axis; `null` chooses.
        steps: steps per epoch; `null` takes as many as show every training pixel about once, at
            least 50.
        foreground: share of patches centred on a foreground pixel.
        select: the checkpoint that is kept: highest validation "dice", or lowest "loss".
        ema: decay of the moving average of the weights that is validated and kept; 0 is off.
        clip: largest norm of the gradient; `null` is off.
        early_stop: end after so many epochs without a better checkpoint; `null` is off.
        precision: "auto" takes bf16 where the hardware multiplies it.
        allocator: let glibc keep freed memory (Linux): faster steps for 15 % more memory.
    """

    model_config = _STRICT

    epochs: int | None = Field(None, ge=1)
    minutes: float | None = Field(10.0, gt=0)
    batch: int = Field(8, ge=1)
    patch: int | tuple[int, ...] | None = None
    steps: int | None = Field(None, ge=1)
    foreground: float = Field(0.5, ge=0, le=1)
    select: Literal["dice", "loss"] = "dice"
    ema: float = Field(0.99, ge=0, lt=1)
    clip: float | None = Field(1.0, gt=0)
    early_stop: int | None = Field(None, ge=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    allocator: bool = True


class Recipe(BaseModel):
    """Every choice of a run. See each section's own model for its keys."""

    model_config = _STRICT

    name: str = "default"
    seed: int = Field(0, ge=0)
    normalize: Literal["image", "dataset", "none"] = "image"
    network: NetworkConfig = NetworkConfig(width=16)
    train: TrainConfig = TrainConfig()
    loss: LossConfig = LossConfig()
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    predict: PredictConfig = PredictConfig()


def default() -> Recipe:
    """For any small set of 2D images: width 16, batch norm, cross-entropy + Dice, AdamW, EMA.

    On a laptop: `unet train DATA -o RUN`. Expected on STARE and DRIVE after ten minutes on two
    cores: see `benchmarks/results/`.
    """
    return Recipe()


def ronneberger2015() -> Recipe:
    """Reproduce the 2015 network and its training (arXiv 1505.04597).

    Valid convolutions, 572 → 388, no normalisation, He initialisation, dropout at the end of the
    contracting path, SGD with momentum 0.99 on one tile at a time, softmax with weighted
    cross-entropy (w0 10, σ 5), shift, rotation, grey values and elastic deformation on a 3×3 grid
    of N(0, 10 px). Not in the paper and ours: the rates (learning rate 1e-3 falling by a cosine,
    dropout 0.5), 20 epochs. `unet train isbi2012_em --recipe ronneberger2015 -o RUN`.
    """
    return Recipe(
        name="ronneberger2015",
        network=NetworkConfig(
            width=64, padding="valid", norm="none", head="softmax", dropout=(0, 0, 0, 0.5, 0.5)
        ),
        train=TrainConfig(
            epochs=20, minutes=None, batch=1, patch=572, steps=100, foreground=0, ema=0, clip=None
        ),
        loss=LossConfig.model_validate({"cross_entropy": {"border": {"w0": 10, "sigma": 5}}}),
        augment=AugmentConfig(
            rotate=180, scale=0, elastic=10, brightness=0.1, contrast=0.1, gamma=0.1, channel=0,
            noise=0, blur=0,
        ),
        optimizer=OptimizerConfig(name="sgd", lr=1e-3, momentum=0.99, weight_decay=0),
        schedule=ScheduleConfig(name="cosine", warmup=0.05),
    )  # fmt: skip


def dragic2025() -> Recipe:
    """Train as Dragic 2025 did on STARE: skeleton recall + 5 × border-weighted BCE (w0 10, σ 7).

    Patches of 512², batch 2, Adam at 1e-4 divided by ten on a plateau (patience 5), 25 epochs of
    120 steps (240 augmented images), best model on validation. Its table: Jaccard 0.6435, F1
    0.7827, recall 0.9112, precision 0.6892, accuracy 0.9559. The width is not stated; 64 is the
    original's. `unet train stare --recipe dragic2025 -o RUN`.
    """
    return Recipe(
        name="dragic2025",
        network=NetworkConfig(width=64, norm="batch", head="sigmoid"),
        train=TrainConfig(
            epochs=25, minutes=None, batch=2, patch=512, steps=120, select="loss", ema=0, clip=None,
            foreground=0,
        ),
        loss=LossConfig.model_validate(
            {
                "skeleton_recall": 1,
                "cross_entropy": {"weight": 5, "border": {"w0": 10, "sigma": 7}},
            }
        ),
        augment=AugmentConfig(
            rotate=180, scale=0.2, elastic=4, brightness=0, contrast=0, gamma=0, channel=0, noise=0,
            blur=0,
        ),
        optimizer=OptimizerConfig(name="adam", lr=1e-4, weight_decay=0),
        schedule=ScheduleConfig(name="plateau", patience=5, factor=0.1, warmup=0),
    )  # fmt: skip


def tavares2025() -> Recipe:
    """Train as Tavares 2025 did for depth × skip connections: the original's widths, Dice + BCE.

    Set `network.depth` and `network.skips`; without a skip the decoder has no concatenation. The
    source does not state optimiser, learning rate, batch, patch and epochs: Adam at 1e-3, 8
    patches of 256² and 20 epochs are ours, and no augmentation is named, so none is made.
    `unet train drive --recipe tavares2025 --set network.skips=1001 -o RUN`.
    """
    return Recipe(
        name="tavares2025",
        network=NetworkConfig(width=64, norm="none", head="sigmoid"),
        train=TrainConfig(epochs=20, minutes=None, batch=8, patch=256, ema=0, clip=None),
        augment=AugmentConfig(
            flip=False, rotate=0, scale=0, elastic=0, brightness=0, contrast=0, gamma=0, channel=0,
            noise=0, blur=0,
        ),
        optimizer=OptimizerConfig(name="adam", lr=1e-3, weight_decay=0),
        schedule=ScheduleConfig(name="constant", warmup=0),
    )  # fmt: skip


def thin() -> Recipe:
    """For vessels, roads, cracks and membranes: the default with skeleton recall added to its loss.

    Skeleton recall (Kirchhoff et al. 2024) raises recall of thin branches; whether it raises Dice
    is disputed (arXiv 2508.11374). `unet train DATA --recipe thin -o RUN`.
    """
    loss = {"cross_entropy": 1, "dice": 1, "skeleton_recall": 1}
    return Recipe(name="thin", loss=LossConfig.model_validate(loss))


def volume() -> Recipe:
    """For volumes (NIfTI, TIFF stacks): 3D, depth 3, gentle rotation, pooling by voxel spacing.

    `unet train DATA --recipe volume -o RUN`.
    """
    return Recipe(
        name="volume",
        network=NetworkConfig(width=16, depth=3),
        train=TrainConfig(batch=2),
        augment=AugmentConfig(rotate=15, scale=0.2, elastic=2, blur=0.5),
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    function.__name__: function
    for function in (default, ronneberger2015, dragic2025, tavares2025, thin, volume)
}


def read_recipe(source: str | Path = "default", changes: Sequence[str] = ()) -> Recipe:
    """Read a named recipe or a YAML file, then apply `key.path=value` changes.

    Raises:
        InputError: no such recipe or file, an unknown key (names the nearest), a value that does
            not fit.
    """
    source = str(source)
    if source in RECIPES:
        document = to_document(RECIPES[source]())
        where = f"recipe {source}"
    elif Path(source).is_file():
        document = _document(Path(source))
        where = source
    elif source.endswith((".yaml", ".yml")) or "/" in source:
        raise InputError("no such recipe file", where=source, cure="check the path")
    else:
        raise InputError(f"unknown recipe {source}", cure=nearest(source, RECIPES))
    document = to_document(check_recipe(document, where))
    for change in changes:
        _apply(document, change)
    return check_recipe(document, "--set" if changes else where)


def check_recipe(document: Any, where: str) -> Recipe:
    """Make a recipe of a plain document.

    Raises:
        InputError: the first thing that is wrong with it.
    """
    if not isinstance(document, dict):
        raise InputError("a recipe is a mapping of keys to values", where=where)
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        raise explain(error, Recipe, where) from None


def to_document(recipe: Recipe) -> dict[str, Any]:
    """Give the recipe as plain dicts, lists and numbers, the form that YAML and JSON take."""
    document: dict[str, Any] = recipe.model_dump(mode="json")
    return document


def to_yaml(recipe: Recipe) -> str:
    """Write the recipe as YAML that `read_recipe` reads back."""
    return yaml.safe_dump(to_document(recipe), sort_keys=False, allow_unicode=True)


def resolve(recipe: Recipe, data: Fingerprint) -> tuple[Recipe, Reasons]:
    """Complete a recipe from the data: what it leaves open gets a value, with its reason.

    Returns:
        The recipe with nothing left open, and rows of (what, value, why).

    Raises:
        InputError: the recipe contradicts the data.
    """
    reasons: Reasons = []
    network = _resolve_network(recipe.network, data, reasons)
    train = _resolve_train(recipe.train, network, data, reasons)
    tile, largest = recipe.predict.tile, data.largest
    if tile is not None:  # better now than after the training
        require = network.footprint.require_tile
        _size(tile, data.ndim, "predict.tile", lambda sizes: require(sizes, largest))
    resolved = recipe.model_copy(update={"network": network, "train": train})
    terms = resolved.loss.terms()
    losses = [name if term.weight == 1 else f"{term.weight:g} {name}" for name, term in terms]
    reasons.append(("loss", " + ".join(losses), f"recipe {recipe.name}"))
    return resolved, reasons


# What pydantic puts between the keys: which branch of a union it tried, which validator it ran.
_BRANCH = re.compile(r"int|float|str|bool|(tuple|function-\w+)\[.*")


def explain(error: ValidationError, model: type[BaseModel], where: str) -> InputError:
    """Turn pydantic's account into one line about its first fault."""
    fault = error.errors()[0]
    path = [str(part) for part in fault["loc"]]
    names = [part for part in path if not _BRANCH.fullmatch(part)]
    key = ".".join(names)
    if fault["type"] == "extra_forbidden":
        known = _keys_at(model, names[:-1])
        return InputError(f"unknown key {key}", where=where, cure=nearest(names[-1], known))
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "model_type":
        message = f"should be keys with values, not {fault['input']!r}"
    given = fault.get("input")
    shown = f" (given {given!r})" if isinstance(given, str | int | float | bool) else ""
    return InputError(f"{key}: {message[0].lower()}{message[1:]}{shown}", where=where)


def _resolve_network(network: NetworkConfig, data: Fingerprint, reasons: Reasons) -> NetworkConfig:
    names = len(data.classes)
    head = network.head or ("sigmoid" if names == 2 and network.classes in (None, 1) else "softmax")
    classes = names if head == "softmax" else names - 1
    for key, mine, theirs in (
        ("ndim", network.ndim, data.ndim),
        ("channels", network.channels, data.channels),
        ("classes", network.classes, classes),
    ):
        if mine is not None and mine != theirs:
            raise InputError(
                f"network.{key} is {mine}, but the data needs {theirs}",
                where="recipe",
                cure=f"remove network.{key}, so that it is taken from the data",
            )
    network = network.model_copy(
        update={"ndim": data.ndim, "channels": data.channels, "classes": classes, "head": head}
    )
    if network.strides is None and data.ndim == 3:
        network = network.model_copy(update={"strides": _anisotropic(network.depth, data)})
        reasons.append(
            ("pooling", str([list(f) for f in network.factors]), "from sizes and voxel spacing")
        )
    for factor in network.factors:
        if len(factor) != data.ndim or min(factor) < 1:
            raise InputError(
                f"{list(factor)} is no pooling factor of {data.ndim}D data",
                where="network.strides",
                cure=f"give one number, or {data.ndim}, of at least 1 per level",
            )
    why = f"{data.channels} channel{'s' * (data.channels != 1)}; classes {', '.join(data.classes)}"
    reasons.insert(
        0, ("input → output", f"{data.ndim}D, {data.channels} → {classes} ({head})", why)
    )
    form = f"depth {network.depth}, width {network.width}, {network.padding}, norm {network.norm}"
    reasons.insert(1, ("network", form, f"margin {max(network.footprint.margin)} px"))
    return network


def _resolve_train(
    train: TrainConfig, network: NetworkConfig, data: Fingerprint, reasons: Reasons
) -> TrainConfig:
    if train.epochs is None and train.minutes is None:
        raise InputError("both epochs and minutes are off", where="train", cure="set one of them")
    footprint = network.footprint
    if train.patch is not None:
        patch = _size(train.patch, data.ndim, "train.patch", footprint.require)
        why = "set in the recipe"
    else:
        wanted = 256 if data.ndim == 2 else 64
        low = [min(wanted, n) for n in data.largest]
        patch = footprint.enclose(low) if footprint.valid else footprint.fit(low)
        size = " × ".join(map(str, data.median))
        why = f"images are {size}; fits a stride of {footprint.stride[0]}"
    reasons.append(("patch", " × ".join(map(str, patch)), why))
    steps = train.steps
    if steps is None:
        pixels = data.cases.get("train", 1) * _product(data.median)
        steps = max(50, -(-pixels // (train.batch * _product(footprint.shrink(patch)))))
        reasons.append(
            ("steps per epoch", str(steps), "every training pixel about once, at least 50")
        )
    ends = [f"{train.epochs} epochs"] if train.epochs else []
    ends += [f"{train.minutes:g} minutes"] if train.minutes else []
    reasons.append(("schedule", " or ".join(ends), "the first to be reached ends the run"))
    return train.model_copy(update={"patch": tuple(patch), "steps": steps})


def _size(
    size: int | tuple[int, ...], ndim: int, key: str, require: Callable[[tuple[int, ...]], None]
) -> tuple[int, ...]:
    """Give a size per axis, if the network takes it."""
    sizes = (size,) * ndim if isinstance(size, int) else size
    if len(sizes) != ndim:
        raise InputError(f"has {len(sizes)} axes, the data {ndim}", where=key)
    try:
        require(sizes)
    except InputError as error:
        raise InputError(error.what, where=key, cure=error.cure) from None
    return sizes


def _anisotropic(depth: int, data: Fingerprint) -> tuple[tuple[int, ...], ...]:
    """Pool an axis only while it is long enough, and not while its voxels are much the coarsest."""
    size, spacing = list(data.median), list(data.spacing)
    levels = []
    for _ in range(depth):
        axes = list(zip(size, spacing, strict=True))
        finest = min((s for n, s in axes if n >= 8), default=0.0)
        factor = tuple(2 if n >= 8 and s < 2 * finest else 1 for n, s in axes)
        size = [n // f for n, f in zip(size, factor, strict=True)]
        spacing = [s * f for s, f in zip(spacing, factor, strict=True)]
        levels.append(factor)
    return tuple(levels)


def _product(numbers: Sequence[int]) -> int:
    result = 1
    for n in numbers:
        result *= n
    return result


def _apply(document: dict[str, Any], change: str) -> None:
    key, sign, text = change.partition("=")
    if not sign or not key.strip():
        raise InputError(f"--set {change} is not of the form key.path=value")
    *path, last = key.strip().split(".")
    place = document
    for depth, part in enumerate(path, start=1):
        inner = place.get(part)
        if inner is None and (part in place or depth > 1):
            inner = place[part] = {}
        if not isinstance(inner, dict):
            known = [name for name, _ in _leaves(document)]
            raise InputError(f"unknown key {key}", where="--set", cure=nearest(key, known))
        place = inner
    place[last] = _value(text, change)


def _leaves(document: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _keys_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    """Names of the fields of the section that `path` leads to."""
    for part in path:
        field = model.model_fields.get(part)
        inner = [t for t in _types(field.annotation) if _is_model(t)] if field else []
        if not inner:
            break
        model = inner[0]
    return list(model.model_fields)


def _types(annotation: Any) -> list[Any]:
    return [annotation, *(t for a in getattr(annotation, "__args__", ()) for t in _types(a))]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers: 0011 stays a word (YAML 1.1 reads it as octal), 1e-4 is a number."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":int", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?((\d+\.\d*|\.\d+)([eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.inf)$|^\.nan$"),
    list("-+0123456789."),
)


def _value(text: str, change: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # a SafeLoader: plain values only
    except (yaml.YAMLError, ValueError):  # ValueError: a day that is in no calendar
        raise InputError(f"--set {change}: the value is not YAML") from None


def _document(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({error})", where=path) from None
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a day that is in no calendar
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise InputError(f"is not YAML{line}", where=path, cure="check its indentation") from None
