"""`showtell features`: the feature store, without training."""

from typing import Any

import click

from showtell.cli.options import data_options, need_training, recipe_options, request_of, settings_of


@click.command()
@click.option("--recipe", "recipe_name", required=True, metavar="NAME|FILE", help="Whose encoder to use.")
@data_options
@recipe_options
def command(
    recipe_name: str, settings: tuple[str, ...], limit_captions: int | None, seed: int | None, **data: Any
) -> int:
    """Fill the feature store of a recipe's encoder. Goes on where it was stopped."""
    from showtell.recipe_reader import read_recipe

    recipe = read_recipe(recipe_name, settings_of(settings, limit_captions, seed))
    need_training("features")
    from showtell.training.begin import encoder_of, settle
    from showtell.training.prepare import fill_store
    from showtell.training.sampling import training_part

    request = request_of(data)
    recipe, examples = settle(request, recipe)
    wanted = {e.id for e in training_part([e for e in examples if e.split == "train"], recipe.training)}
    examples = [e for e in examples if e.split != "train" or e.id in wanted]
    filled = fill_store(request, encoder_of(request, recipe), examples, recipe)
    for failure in filled.failures.values():
        click.echo(f"showtell: {failure}", err=True)
    click.echo(f"{len(filled.rows):,} pictures in {filled.store.folder}")
    return 1 if filled.failures else 0
