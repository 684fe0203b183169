"""`showtell average`: one model from several sets of weights."""

from pathlib import Path

import click

from showtell.cli.options import need_training


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the new run.")
@click.option(
    "--shares",
    metavar="LIST",
    help="How much each RUN counts, as in 0.4,0.6.  [default: all the same]",
)
def command(runs: tuple[Path, ...], out: Path, shares: str | None) -> int:
    """Average weights: the best epochs that one RUN has kept (training.keep), or the best epochs of several.

    Runs can be averaged that began with the same weights, `--from` one run, or one `--from` the other. The new run is
    evaluated and exported as any other: often it captions better than each of them.
    """
    need_training("average")
    from showtell.training.soup import average_runs

    for checkpoint in average_runs(runs, out, _numbers(shares) if shares else None):
        click.echo(f"{checkpoint.parent.parent}: {checkpoint.name}", err=True)
    click.echo(f"next: showtell evaluate {out} --data DIR --split val", err=True)
    return 0


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise click.UsageError(f"--shares {text}: expected a number for each RUN, such as 0.4,0.6") from None
