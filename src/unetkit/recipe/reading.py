"""YAML ↔ recipe: read, change by key, check, and say in one line what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from unetkit.errors import InputError, nearest
from unetkit.recipe.named import RECIPES
from unetkit.recipe.sections import Recipe


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
        document = read_document(Path(source))
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


def read_document(path: Path) -> Any:
    """Read a YAML file into plain dicts, lists and numbers; 0011 stays a word.

    Raises:
        InputError: it cannot be read, or is no YAML.
    """
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
