"""`showtell export`: a run as a bundle."""

from functools import partial
from pathlib import Path

import click

from showtell.cli.options import need_training

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("run", type=_PATH)
@click.option("--to", "target", type=click.Choice(["bundle"]), default="bundle", show_default=True)
@click.option("--out", type=_PATH, help="Folder of the bundle; RUN/bundle-WEIGHTS where it is not given.")
@click.option("--weights", type=click.Choice(["float32", "fp16", "int8"]), default="float32", show_default=True)
@click.option("--data", type=_PATH, help="Where the run's data set lies now, if it has moved.")
@click.option("--regions", type=_PATH, metavar="DIR", help="Where its region files lie now, if it has any.")
@click.option("--name", help="Name of the bundle; the recipe's where it is not given.")
@click.option("--licence", help="Its licence, as one line in the manifest.")
@click.option("--licence-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Its licence text.")
@click.option("--notes", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Markdown for the card.")
@click.option("--score", "scores", multiple=True, metavar="NAME=VALUE", help="A score for manifest and card.")
def command(
    run: Path,
    target: str,
    out: Path | None,
    weights: str,
    data: Path | None,
    regions: Path | None,
    name: str | None,
    licence: str | None,
    licence_file: Path | None,
    notes: Path | None,
    scores: tuple[str, ...],
) -> int:
    """Turn a RUN into a bundle that `showtell caption --model` runs without PyTorch.

    The bundle is checked against the run's checkpoint on validation pictures; one that differs is not written.
    """
    need_training("export")
    from showtell.export.bundle import Labels, export_bundle

    labels = Labels(
        name=name,
        licence=licence,
        licence_text=licence_file.read_bytes() if licence_file else None,
        notes=notes.read_text(encoding="utf-8") if notes else "",
        scores=dict(_score(text) for text in scores),
    )
    out = out or run / f"bundle-{weights}"
    say = partial(click.echo, err=True)
    export_bundle(run, out, weights=weights, data=data, regions=regions, labels=labels, say=say)
    size = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    click.echo(f"{out}: {size:.1f} MB; use it: showtell caption --model {out} PICTURE")
    return 0


def _score(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    try:
        if not name:
            raise ValueError
        return name, float(value)
    except ValueError as error:
        raise click.UsageError(f"--score {text!r}: expected NAME=NUMBER") from error
