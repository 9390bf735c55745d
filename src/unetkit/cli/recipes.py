"""The commands of named recipes."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from unetkit.cli.printing import out

recipes_app = typer.Typer(help="List the named recipes, or show one.")


@recipes_app.command("list")
def recipes_list(
    names: Annotated[bool, typer.Option("--names", help="Names only.")] = False,
) -> None:
    """List the named recipes."""
    from unetkit.recipe import RECIPES

    if names:
        print("\n".join(RECIPES))
        return
    for name, function in RECIPES.items():
        summary = (function.__doc__ or "").strip().splitlines()[0]
        out.print(f"[bold]{name:<16}[/] {escape(summary)}")


@recipes_app.command("show")
def recipes_show(name: Annotated[str, typer.Argument(help="A recipe's name or file.")]) -> None:
    """Print a recipe as YAML."""
    from unetkit.recipe import RECIPES, read_recipe, to_yaml

    recipe = read_recipe(name)
    if name in RECIPES:
        for line in (RECIPES[name].__doc__ or "").strip().splitlines():
            print(f"# {line.strip()}".rstrip())
    print(to_yaml(recipe), end="")
