"""`showtell recipes`: what can be trained."""

import json

import click


@click.command()
@click.argument("name", required=False)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe.")
def command(name: str | None, settings: tuple[str, ...]) -> int:
    """List the recipes, or show all keys of one with their values."""
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
                click.echo(f"{key} = {json.dumps(value)}")
        else:
            click.echo(f"{table} = {json.dumps(values)}")
    return 0
