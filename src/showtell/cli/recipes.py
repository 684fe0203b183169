"""`showtell recipes`: what can be trained, and what flows through it."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from showtell.cli.options import need_training

if TYPE_CHECKING:
    from showtell.models.tour import Line
    from showtell.recipe import Recipe
    from showtell.training.request import Request

_STAGES = {
    "batch": "one batch",
    "encoder": "the encoder",
    "start": "start: what is done once for each picture",
    "step": "step: one word",
    "words": "teacher forcing: all words at once",
}
_SUMMARY = 48  # characters of a summary in one line of the list
_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("name", required=False)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe.")
@click.option("--shapes", is_flag=True, help="Print the shape of every tensor of a batch, and all parameters.")
@click.option(
    "--values",
    type=_FOLDER,
    metavar="DATA",
    help="The same with values, of a data set's first batch, and one caption word by word.",
)
@click.option("--words", type=click.IntRange(1), help="With --shapes: size of the vocabulary, marks included.")
@click.option("--format", help="With --values: format of the data set, if it is not recognised.")
@click.option("--images", type=_FOLDER, help="With --values: folder of the pictures, if elsewhere.")
@click.option("--splits", type=_FILE, help="With --values: split file of `showtell data split`.")
@click.option("--regions", type=_FOLDER, help="With --values: folder of region files, in place of an encoder.")
@click.option("--encoder-weights", type=_FILE, help="With --values: encoder weights (.safetensors), not timm's.")
@click.option("--encoder-config", type=_FILE, help="With --values: their preparation (.json), if they lack it.")
def command(
    name: str | None,
    settings: tuple[str, ...],
    shapes: bool,
    values: Path | None,
    words: int | None,
    **data: Any,
) -> int:
    """List the recipes, or show all keys of one with their values, as a TOML file that can be changed and trained."""
    given = {key: value for key, value in data.items() if value is not None}
    if name is None and (settings or shapes or values):
        raise click.UsageError("--set, --shapes and --values are of one recipe: name it")
    if words is not None and (values is not None or not shapes):
        raise click.UsageError("--words goes with --shapes; of a data set the vocabulary is its own")
    if given and values is None:
        raise click.UsageError(f"--{next(iter(given)).replace('_', '-')} goes with --values DATA")
    from showtell.recipe_reader import read_recipe

    if name is None:
        for line in _listed():
            click.echo(line)
        return 0
    recipe = read_recipe(name, settings)
    if values is not None:
        need_training("recipes --values")
        from showtell.training.request import Request

        _show_values(recipe, Request(data=values, **given))
    elif shapes:
        need_training("recipes --shapes")
        _show_shapes(recipe, words)
    else:
        _show_keys(recipe)
    return 0


def _listed() -> Iterator[str]:
    """The table of all recipes, and what its figures are."""
    from showtell.recipe_reader import read_recipe, recipe_names
    from showtell.results import FLICKR8K, read_results

    results = read_results()
    yield _row("recipe", "what it is", "paper", "parameters", "CIDEr", "BLEU-4")
    for name in recipe_names():
        recipe, of_recipe = read_recipe(name), results.get(name)
        size = f"{of_recipe.parameters:,}" if of_recipe else "-"
        run = of_recipe.best() if of_recipe else None
        scores = [f"{run.scores[score]:.1f}" if run else "-" for score in ("CIDEr", "BLEU-4")]
        first, *more = textwrap.wrap(recipe.summary, _SUMMARY)
        yield _row(name, first, recipe.paper, size, *scores)
        yield from (_row("", line, "", "", "", "") for line in more)
    yield ""
    yield "parameters: of the decoder, with the recipe's own encoder and its tutorial's vocabulary, or else Flickr8k's"
    yield f"CIDEr, BLEU-4: on the {FLICKR8K} split, in points of 100; docs/recipes.md tells of which runs"


def _row(name: str, summary: str, paper: str, size: str, cider: str, bleu: str) -> str:
    return f"{name:<18}  {summary:<{_SUMMARY}}  {paper:<16}  {size:>10}  {cider:>5}  {bleu:>6}".rstrip()


def _show_keys(recipe: "Recipe") -> None:
    from showtell.recipe_reader import toml_value

    for table, values in recipe.to_dict().items():
        if isinstance(values, dict):
            click.echo(f"\n[{table}]")
            for key, value in values.items():
                click.echo(f"{key} = {toml_value(value)}")
        else:
            click.echo(f"{table} = {toml_value(values)}")


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


def _show_values(recipe: "Recipe", request: "Request") -> None:
    from showtell.training.example_batch import first_batch

    batch = first_batch(recipe, request)
    click.echo(f"{recipe.name}: {recipe.summary}\nbefore any training, with pictures of {request.data}")
    _show_lines(batch.lines, values=True)
    click.echo(f"\n{batch.picture}, word by word")
    click.echo(f"  {'reads':<14}{'should tell':<14}{'with':>9}  {'likeliest':<14}{'looks at':<20}state")
    for word in batch.words:
        told = f"{word.told:<14}{word.probability:>9.2e}"
        click.echo(f"  {word.read:<14}{told}  {word.likeliest:<14}{word.looks:<20}{word.state}")


def _show_lines(lines: "list[Line]", *, values: bool) -> None:
    stage = ""
    width = max(len(line.name) for line in lines)
    kind = max(len(line.kind) for line in lines)
    shape = max(len(line.shape) for line in lines)
    for line in lines:
        if line.stage != stage:
            stage = line.stage
            click.echo(f"\n{_STAGES[stage]}")
        text = f"  {line.name:<{width}}  {line.kind:<{kind}}  {line.shape:<{shape}}"
        click.echo(f"{text}  {line.values}" if values else text.rstrip())
