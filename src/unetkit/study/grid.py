"""A study file → its cells: every combination of axes, data sets, folds and seeds, each once."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from unetkit.errors import InputError, nearest
from unetkit.metrics import measure
from unetkit.recipe import Recipe, check_recipe, explain, read_document, read_recipe, to_document

_STRICT = ConfigDict(frozen=True, extra="forbid")


def _listed(values: Any) -> Any:
    if isinstance(values, list | tuple):
        return list(values)
    if isinstance(values, dict) or values == "all":
        return values
    raise ValueError("should be a list of values, or a mapping of labels to values")


class SelectConfig(BaseModel):
    """By which score, on which split, the best setting is chosen."""

    model_config = _STRICT

    metric: str = "dice"
    split: str = "val"


class StudyConfig(BaseModel):
    """A study file.

    Attributes:
        name: of the study; default: that of the file.
        dataset: one data folder; or
        datasets: several, by name. Paths are looked up from where the command runs, then from the
            file's own folder.
        recipe: a recipe's name or file, or a mapping of a recipe's keys.
        axes: recipe key → its values: a list, or a mapping of labels to values. `all` for
            `network.skips` is every pattern of the cell's depth.
        seeds: each cell is trained once per seed.
        folds: cross-validate over so many parts instead of the set's own split.
        set: keys of the recipe that hold for every cell.
        select: how the best setting is chosen; the checkpoint and the threshold of every cell are
            chosen on `val` in any case.
        report: the split whose scores stand in the table.
        topology: score clDice and Betti errors too; about doubles the time of scoring.
        boundary: score HD95, ASSD and NSD too.
        threads: of each cell; default: the machine's cores, shared among the workers.
    """

    model_config = _STRICT

    name: str = ""
    dataset: str | None = None
    datasets: dict[str, str] = {}
    recipe: str | dict[str, Any] = "default"
    axes: dict[str, Annotated[Any, BeforeValidator(_listed)]] = {}
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    folds: int | None = Field(None, ge=2)
    set: dict[str, Any] = {}
    select: SelectConfig = SelectConfig()
    report: str = "test"
    topology: bool = True
    boundary: bool = False
    threads: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> StudyConfig:
        if (self.dataset is None) == (not self.datasets):
            raise ValueError("name one dataset, or several as datasets: {name: path}")
        for key, values in self.axes.items():
            if values == "all" and key != "network.skips":
                raise ValueError(f"axes.{key}: only network.skips can be `all`")
            if not values:
                raise ValueError(f"axes.{key} has no values")
            if key in ("seed", "data.folds", "data.fold"):
                raise ValueError(f"axes.{key}: use {key.removeprefix('data.')[:4]}s of the study")
        if "seed" in self.set:
            raise ValueError("set.seed: use seeds of the study")
        known = scored_names(self.topology, self.boundary)
        if self.select.metric not in known:
            cure = nearest(self.select.metric, known)
            raise ValueError(f"select.metric: {self.select.metric} is not scored; {cure}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: one of them is named twice")
        return self


def scored_names(topology: bool, boundary: bool) -> list[str]:
    """List the scores that the runs of a study get."""
    empty = np.zeros((1, 1))
    return list(measure(empty > 0, empty > 0, probability=empty, topology=topology,
                        boundary=boundary))  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One training of a study.

    Attributes:
        key: hash of its recipe and its data, the name of its folder.
        dataset: name of its data set.
        data: path of it.
        levels: axis → label of its value.
        recipe: complete but for what the data decides.
    """

    key: str
    dataset: str
    data: str
    levels: Mapping[str, str]
    recipe: Recipe

    @property
    def seed(self) -> int:
        """Of its recipe."""
        return self.recipe.seed

    @property
    def fold(self) -> int | None:
        """Which fold is its test part, if the study has folds."""
        return None if self.recipe.data.folds is None else self.recipe.data.fold

    @property
    def setting(self) -> tuple[str, ...]:
        """What its repeats over seeds and folds share: the data set and the levels."""
        return (self.dataset, *self.levels.values())


def read_study(path: str | Path) -> StudyConfig:
    """Read a study file.

    Raises:
        InputError: it is missing, no YAML, or a key of it is wrong; names the nearest right one.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("no such study file", where=path, cure="check the path")
    document = read_document(path)
    if not isinstance(document, dict):
        raise InputError("a study is a mapping of keys to values", where=path)
    try:
        study = StudyConfig.model_validate(document)
    except ValidationError as error:
        fault = error.errors()[0]
        if not fault["loc"]:  # the whole is at fault, so there is no key to name
            raise InputError(fault["msg"].removeprefix("Value error, "), where=path) from None
        raise explain(error, StudyConfig, str(path)) from None
    places = {name: _place(data, path) for name, data in _datasets(study).items()}
    source = study.recipe
    if isinstance(source, str) and not Path(source).is_file() and (path.parent / source).is_file():
        source = str(path.parent / source)
    return study.model_copy(
        update={
            "name": study.name or (path.parent.name if path.stem == "study" else path.stem),
            "dataset": None,
            "datasets": places,
            "recipe": source,
        }
    )


def to_yaml(study: StudyConfig) -> str:
    """Write the study as YAML that `read_study` reads back."""
    document = study.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def cells(study: StudyConfig) -> list[Cell]:
    """List the cells of a study; combinations that give the same recipe are one cell.

    Seeds vary slowest, so that a study that is cut short has every setting at least once.

    Raises:
        InputError: a value does not fit its key; two settings have the same labels.
    """
    base = _base(study)
    datasets = _datasets(study)
    content = {name: _content(Path(path)) for name, path in datasets.items()}
    found: dict[str, Cell] = {}
    named: dict[tuple[Any, ...], str] = {}
    folds = range(study.folds) if study.folds else [None]
    for seed, fold in itertools.product(study.seeds, folds):
        for name, path in datasets.items():
            for levels, document in _combinations(study, base):
                document["seed"] = seed
                if fold is not None:
                    _put(document, "data.folds", study.folds, _where(study, levels))
                    _put(document, "data.fold", fold, _where(study, levels))
                recipe = check_recipe(document, _where(study, levels))
                # Without what is default, so that a key that a later version adds changes nothing.
                told = recipe.model_dump(mode="json", exclude_defaults=True)
                key = _hash({"data": content[name], "recipe": told})
                found.setdefault(key, Cell(key, name, path, levels, recipe))
                # Results are gathered by labels: two settings of one name would become one.
                if named.setdefault((seed, fold, name, *levels.values()), key) != key:
                    raise InputError(
                        "two different settings have these same labels",
                        where=_where(study, levels),
                        cure="write the axis as a mapping of labels of your own to values",
                    )
    return list(found.values())


def _datasets(study: StudyConfig) -> dict[str, str]:
    if study.dataset is None:
        return study.datasets
    return {Path(study.dataset).absolute().name: study.dataset}  # absolute: "." has no name


def _place(data: str, file: Path) -> str:
    for place in (Path(data), file.parent / data):
        if place.is_dir():
            return str(place)
    raise InputError(
        f"there is no data folder {data}, neither here nor beside the file",
        where=file,
        cure="correct dataset",
    )


def _base(study: StudyConfig) -> dict[str, Any]:
    """Give the recipe that all cells share, as a document."""
    if isinstance(study.recipe, str):
        recipe = read_recipe(study.recipe)
    else:
        recipe = check_recipe(study.recipe, f"{study.name}: recipe")
    document = to_document(recipe)
    for key, value in study.set.items():
        _put(document, key, value, f"{study.name}: set")
    return to_document(check_recipe(document, f"{study.name}: set"))


def _combinations(
    study: StudyConfig, base: dict[str, Any]
) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """Give every combination of the axes: its labels, and its recipe as a document."""
    axes = study.axes
    plain = {key: _labelled(key, values) for key, values in axes.items() if values != "all"}
    for choice in itertools.product(*plain.values()):
        document = deepcopy(base)
        labels = {}
        for key, (label, value) in zip(plain, choice, strict=True):
            _put(document, key, value, f"{study.name}: axes")
            labels[key] = label
        if axes.get("network.skips") != "all":
            yield labels, document
            continue
        where = _where(study, labels)
        _put(document, "network.skips", None, where)
        for digits in itertools.product("10", repeat=check_recipe(document, where).network.depth):
            skips = "".join(digits)
            again = deepcopy(document)
            again["network"]["skips"] = skips
            yield {**labels, "network.skips": skips}, again


def _labelled(key: str, values: Sequence[Any] | Mapping[Any, Any]) -> list[tuple[str, Any]]:
    nothing = "all" if key == "data.train_size" else "none"  # what null means to a reader
    if isinstance(values, Mapping):
        return [(str(label), value) for label, value in values.items()]
    return [(nothing if value is None else _label(value), value) for value in values]


def _label(value: Any) -> str:
    """Name a value as a reader of the table would: a loss by its terms."""
    if isinstance(value, Mapping):
        parts = []
        for key, inner in value.items():
            weight = inner.get("weight", 1) if isinstance(inner, Mapping) else inner
            mark = "*" if isinstance(inner, Mapping) and set(inner) - {"weight"} else ""
            parts.append(f"{key}{mark}" if weight == 1 else f"{weight:g} {key}{mark}"
                         if isinstance(weight, int | float) else f"{key}={weight}")  # fmt: skip
        return " + ".join(parts)
    return str(value)


def _put(document: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set a key of a recipe; a section that is switched off is begun."""
    *path, last = key.split(".")
    place = document
    for part in path:
        if part in place and place[part] is None:
            place[part] = {}
        inner = place.get(part)
        if not isinstance(inner, dict):
            cure = f"{part} has no keys of its own" if part in place else nearest(part, place)
            raise InputError(f"unknown key {key}", where=where, cure=cure)
        place = inner
    place[last] = deepcopy(value)  # a later axis may change it; the study stays as it is


def _where(study: StudyConfig, levels: Mapping[str, str]) -> str:
    return f"{study.name}: " + (", ".join(f"{k}={v}" for k, v in levels.items()) or "recipe")


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _content(folder: Path) -> str:
    """Tell one content of a data folder from another by names and sizes of its files."""
    if not folder.is_dir():
        raise InputError("no such data folder", where=folder, cure="correct dataset")
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")
    )
    return _hash([(path.relative_to(folder).as_posix(), path.stat().st_size) for path in files])
