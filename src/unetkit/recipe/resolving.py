"""What a recipe leaves open is taken from the data, each choice with its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from unetkit.data import Fingerprint
from unetkit.data.batches import Wanted, prepared_bytes
from unetkit.data.cache import keepable
from unetkit.errors import InputError
from unetkit.network import NetworkConfig
from unetkit.recipe.sections import Recipe, TrainConfig

Reasons = list[tuple[str, str, str]]

_JUDGED = 200  # validation cases: enough to choose a checkpoint by
_STEPS = (100, 1000)  # per epoch: a validation is worth its time, and a run has several
MEASURED = 1000  # cases whose mean and deviation stand for a set's


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
    train = _resolve_cases(train, recipe, data, reasons)
    tile, largest = recipe.predict.tile, data.largest
    if tile is not None:  # better now than after the training
        require = network.footprint.require_tile
        _size(tile, data.ndim, "predict.tile", lambda sizes: require(sizes, largest))
    resolved = recipe.model_copy(update={"network": network, "train": train})
    terms = resolved.loss.terms()
    losses = [name if term.weight == 1 else f"{term.weight:g} {name}" for name, term in terms]
    reasons.append(("loss", " + ".join(losses), f"recipe {recipe.name}"))
    return resolved, reasons


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
        once = -(-pixels // (train.batch * _product(footprint.shrink(patch))))
        least, most = _STEPS
        steps, why = max(least, once), f"every training pixel about once, at least {least}"
        if train.epochs is None and steps > most:
            steps = most
            why = f"every training pixel about once takes {once}; validated more often"
        reasons.append(("steps per epoch", str(steps), why))
    ends = [_counted(train.epochs, "epoch")] if train.epochs else []
    ends += [_counted(train.minutes, "minute")] if train.minutes else []
    why = "the first to be reached ends the run" if len(ends) > 1 else "set in the recipe"
    reasons.append(("schedule", " or ".join(ends), why))
    return train.model_copy(update={"patch": tuple(patch), "steps": steps})


def _resolve_cases(
    train: TrainConfig, recipe: Recipe, data: Fingerprint, reasons: Reasons
) -> TrainConfig:
    """Say how many cases are judged, and how many fit into memory."""
    count = data.cases.get("val", 0)
    judged = train.val_cases
    if count:
        judged = min(judged or _JUDGED, count)
        shown = _counted(count, "case")
        if judged < count:
            shown = f"{judged} of {shown}"
        why = "evenly spread over val" if judged < count else "all of val, after each epoch"
        reasons.append(("judged", shown, why))
    if recipe.normalize == "dataset" and data.cases.get("train", 0) > MEASURED:
        why = f"mean and deviation of {MEASURED} training cases, evenly spread"
        reasons.append(("normalisation", "dataset", why))
    border = recipe.loss.cross_entropy.border if recipe.loss.cross_entropy else None
    wanted = Wanted(border=(border.w0, border.sigma) if border else None)
    size = prepared_bytes(data.median, data.channels, wanted)
    total = data.cases.get("train", 0) + (judged or 0)
    fit = int(keepable(train.cache * 2**30) // size)
    why = (
        f"all {total} cases fit" if fit >= total else f"about {fit} of {total} cases fit at a time"
    )
    reasons.append(("cache", f"{train.cache:g} GiB", why))
    return train.model_copy(update={"val_cases": judged or train.val_cases})


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


def _counted(number: float, unit: str) -> str:
    return f"{number:g} {unit}{'s' * (number != 1)}"
