"""`showtell features`: the feature store, without training."""

from typing import Any

import click

from showtell.cli.options import data_options, need_training, request_of


@click.command()
@click.option("--recipe", "recipe_name", required=True, metavar="NAME|FILE", help="Whose encoder to use.")
@data_options
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe.")
def command(recipe_name: str, settings: tuple[str, ...], **data: Any) -> int:
    """Fill the feature store of a recipe's encoder. Goes on where it was stopped."""
    from showtell.recipe import read_recipe

    recipe = read_recipe(recipe_name, settings)
    need_training("features")
    from showtell.training.prepare import encoder_of, fill_store, read_examples

    request = request_of(data)
    examples = read_examples(request)
    filled = fill_store(request, encoder_of(request, recipe), examples, recipe)
    for failure in filled.failures.values():
        click.echo(f"showtell: {failure}", err=True)
    click.echo(f"{len(filled.rows):,} pictures in {filled.store.folder}")
    return 1 if filled.failures else 0
