"""`showtell train`: a captioner from a folder of captioned pictures."""

from pathlib import Path
from typing import Any

import click

from showtell.cli.options import data_options, need_training, recipe_options, request_of, settings_of

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option("--recipe", "recipe_name", metavar="NAME|FILE", help="A recipe of `showtell recipes`, or a TOML file.")
@data_options
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out, or begin it where there is none.")
@click.option(
    "--from",
    "start_from",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Begin with the encoder, vocabulary and best decoder of another run.",
)
@click.option(
    "--teacher",
    "teachers",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="RUN",
    help="Learn from a finished run too, how likely it holds each word; several are an ensemble.",
)
@click.option(
    "--captions",
    type=_FILE,
    multiple=True,
    metavar="FILE",
    help="Learn further captions too, JSON lines as `showtell evaluate --out` writes them.",
)
@click.option("--text", type=_FILE, metavar="FILE", help="Learn the lines of a text file, without pictures.")
@click.option("--word-vectors", type=_FILE, metavar="FILE", help="Begin with word vectors, as GloVe's text files hold.")
@recipe_options
@click.option("--threads", type=click.IntRange(0), default=0, help="Processor threads; 0 leaves the choice to torch.")
def command(
    recipe_name: str | None,
    out: Path,
    resume: bool,
    start_from: Path | None,
    settings: tuple[str, ...],
    limit_captions: int | None,
    seed: int | None,
    threads: int,
    **data: Any,
) -> int:
    """Train a captioner. Fills the feature store first, then trains; both go on where they were stopped.

    Several processes, on as many processors or GPUs, train it together where torchrun starts them:
    torchrun --nproc-per-node 2 -m showtell train ...
    """
    if recipe_name is None and not resume:
        raise click.UsageError("name a recipe with --recipe (see `showtell recipes`), or go on with --resume")
    from showtell.recipe_reader import read_recipe

    changes = settings_of(settings, limit_captions, seed)
    recipe = read_recipe(recipe_name, changes) if recipe_name else None
    need_training("train")
    from showtell.training.device import torch_threads
    from showtell.training.prepare import prepare
    from showtell.training.report import Reporter

    torch_threads(threads)
    trainer = prepare(
        request_of(data),
        out,
        recipe=recipe,
        settings=changes,
        resume=resume,
        start_from=start_from,
        say=lambda line: click.echo(line, err=True),
    )
    if trainer.group.leads:
        with Reporter(trainer, click.echo) as reporter:
            trainer.on_epoch = reporter.epoch
            reporter.begin()
            finished = trainer.train()
            reporter.end(finished)
    else:
        finished = trainer.train()
    code = 0 if finished else 130
    trainer.group.end(code)
    return code
