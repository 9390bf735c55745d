"""Every choice of a run in one document: read, checked, completed from the data, written back.

A recipe is YAML. Each room's choices are that room's own model; the run's own (`train`,
`optimizer`, `schedule`) are here. A key that does not exist is an error that names the nearest one.
"""

from unetkit.recipe.named import RECIPES
from unetkit.recipe.reading import (
    check_recipe,
    explain,
    read_document,
    read_recipe,
    to_document,
    to_yaml,
)
from unetkit.recipe.resolving import Reasons, resolve
from unetkit.recipe.sections import OptimizerConfig, Recipe, ScheduleConfig, TrainConfig

__all__ = [
    "RECIPES",
    "OptimizerConfig",
    "Reasons",
    "Recipe",
    "ScheduleConfig",
    "TrainConfig",
    "check_recipe",
    "explain",
    "read_document",
    "read_recipe",
    "resolve",
    "to_document",
    "to_yaml",
]
