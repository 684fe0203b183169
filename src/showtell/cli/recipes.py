"""`showtell recipes`: what can be trained, and what flows through it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from showtell.models.tour import Line
    from showtell.recipe import Recipe

_STAGES = {
    "batch": "one batch",
    "encoder": "the encoder",
    "start": "start: what is done once for each picture",
    "step": "step: one word",
    "words": "teacher forcing: all words at once",
}


@click.command()
@click.argument("name", required=False)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe.")
@click.option("--shapes", is_flag=True, help="Print the shape of every tensor of a batch, and all parameters.")
@click.option(
    "--values",
    type=click.Path(path_type=Path),
    metavar="DATA",
    help="The same with values, of a data set's first batch, and one caption word by word.",
)
@click.option("--words", type=click.IntRange(1), help="With --shapes: size of the vocabulary, marks included.")
@click.option("--encoder-weights", type=click.Path(path_type=Path), help="With --values: file of encoder weights.")
def command(
    name: str | None,
    settings: tuple[str, ...],
    shapes: bool,
    values: Path | None,
    words: int | None,
    encoder_weights: Path | None,
) -> int:
    """List the recipes, or show all keys of one with their values, as a TOML file that can be changed and trained."""
    if name is None and (settings or shapes or values):
        raise click.UsageError("--set, --shapes and --values are of one recipe: name it")
    from showtell.recipe import read_recipe, recipe_names

    if name is None:
        for known in recipe_names():
            recipe = read_recipe(known)
            click.echo(f"{known:<20}{recipe.summary}")
        return 0
    recipe = read_recipe(name, settings)
    if values is not None:
        _show_values(recipe, values, encoder_weights)
    elif shapes:
        _show_shapes(recipe, words)
    else:
        _show_keys(recipe)
    return 0


def _show_keys(recipe: "Recipe") -> None:
    for table, values in recipe.to_dict().items():
        if isinstance(values, dict):
            click.echo(f"\n[{table}]")
            for key, value in values.items():
                click.echo(f"{key} = {_toml(value)}")
        else:
            click.echo(f"{table} = {_toml(values)}")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)  # text, numbers, truth and lists are written alike


def _show_shapes(recipe: "Recipe", words: int | None) -> None:
    from showtell.training.example_batch import made_up

    batch = made_up(recipe, words)
    click.echo(f"{recipe.name}: {recipe.summary}")
    _show_lines(batch.lines, values=False)
    click.echo("\nparameters")
    rows = batch.parameters
    width = max(len(row.name) for row in rows)
    for row in rows:
        learns = "" if row.learns else "  does not learn"
        click.echo(f"  {row.name:<{width}}  {row.shape or ''!s:<18}{row.count:>14,}{learns}")
    decoder = sum(row.count for row in rows[1:])
    click.echo(f"  {'decoder':<{width}}  {'':<18}{decoder:>14,}")
    click.echo(f"  {'in total':<{width}}  {'':<18}{decoder + rows[0].count:>14,}")


def _show_values(recipe: "Recipe", data: Path, encoder_weights: Path | None) -> None:
    from showtell.training.example_batch import first_batch

    batch = first_batch(recipe, data, encoder_weights)
    click.echo(f"{recipe.name}: {recipe.summary}\nbefore any training, with pictures of {data}")
    _show_lines(batch.lines, values=True)
    click.echo(f"\n{batch.picture}, word by word")
    click.echo(f"  {'reads':<14}{'should tell':<14}{'with':>9}  {'likeliest':<14}{'looks at':<20}state")
    for word in batch.words:
        told = f"{word.told:<14}{word.probability:>9.2e}"
        click.echo(f"  {word.read:<14}{told}  {word.likeliest:<14}{word.looks:<20}{word.state}")


def _show_lines(lines: "list[Line]", *, values: bool) -> None:
    stage = ""
    width = max(len(line.name) for line in lines)
    shape = max(len(line.shape) for line in lines)
    for line in lines:
        if line.stage != stage:
            stage = line.stage
            click.echo(f"\n{_STAGES[stage]}")
        text = f"  {line.name:<{width}}  {line.kind:<14}{line.shape:<{shape}}"
        click.echo(f"{text}  {line.values}" if values else text.rstrip())
