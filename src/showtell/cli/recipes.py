"""`showtell recipes`: what can be trained."""

import json
from typing import Any

import click


@click.command()
@click.argument("name", required=False)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe.")
def command(name: str | None, settings: tuple[str, ...]) -> int:
    """List the recipes, or show all keys of one with their values, as a TOML file that can be changed and trained."""
    if name is None and settings:
        raise click.UsageError("--set changes one recipe: name it")
    from showtell.recipe import read_recipe, recipe_names

    if name is None:
        for known in recipe_names():
            recipe = read_recipe(known)
            click.echo(f"{known:<20}{recipe.summary}")
        return 0
    for table, values in read_recipe(name, settings).to_dict().items():
        if isinstance(values, dict):
            click.echo(f"\n[{table}]")
            for key, value in values.items():
                click.echo(f"{key} = {_toml(value)}")
        else:
            click.echo(f"{table} = {_toml(values)}")
    return 0


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)  # text, numbers, truth and lists are written alike
