"""`showtell plot`: the curves of runs."""

from pathlib import Path

import click

from showtell.cli.options import png_option
from showtell.names import printable

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=_PATH)
@png_option("--out", default="curves.png", show_default=True, help="File to write.")
def command(runs: tuple[Path, ...], out: Path) -> int:
    """Draw loss and validation scores of runs, finished, stopped or training, in one picture.

    Prints for each run its epochs and the scores of the best. A run that cannot be read, or that has not finished an
    epoch, is told and left out, and the exit code is 1.
    """
    from showtell.errors import CheckpointError
    from showtell.figures.curves import draw_curves, names_of, read_curves
    from showtell.figures.style import figure_bytes, plotting, write_figure

    with plotting("showtell plot"):
        pass
    runs = tuple(dict.fromkeys(runs))
    found = []
    for run, name in zip(runs, names_of(runs), strict=True):
        try:
            found.append(read_curves(run, name))
        except CheckpointError as error:
            click.echo(f"showtell: {error}", err=True)
    if not found:
        return 1
    with plotting("showtell plot", " ".join(curves.name for curves in found)):
        content = figure_bytes(draw_curves(found))
    write_figure(out, content)
    for curves in found:
        click.echo(f"{printable(curves.name)}: {curves.summary}")
    click.echo(str(out), err=True)
    return 1 if len(found) < len(runs) else 0
