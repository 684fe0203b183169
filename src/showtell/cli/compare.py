"""`showtell compare`: runs side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from showtell.cli.options import png_option, regions_option
from showtell.names import printable

if TYPE_CHECKING:
    from showtell.comparison import Comparison, Contender
    from showtell.data.example import Example

_PATH = click.Path(path_type=Path)
_METRICS, _SPLIT = "bleu-4,cider", "val"


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=_PATH)
@click.option("--data", type=_PATH, help="Folder of the data set: caption its pictures and test the differences.")
@click.option("--split", help=f"Which split: train, val or test.  [default: {_SPLIT}]")
@click.option(
    "--metrics",
    metavar="LIST",
    help="Of bleu, bleu-1 to bleu-4, rouge, cider, cider-plain, meteor (with Java) and diversity, parted by commas.  "
    f"[default: {_METRICS}]",
)
@click.option("--beam", type=click.IntRange(1), help="Beam width of all; each one's own where it is not given.")
@click.option("--format", help="Format of the data set, if it is not recognised.")
@click.option("--images", type=_PATH, help="Folder of the pictures, if they lie elsewhere.")
@click.option("--splits", type=_PATH, help="Split file of `showtell data split`.")
@regions_option
@click.option("--threads", type=click.IntRange(1), help="Processor threads.")
@png_option("--out", help="Also draw the curves, and the scores with their intervals.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(runs: tuple[Path, ...], out: Path | None, as_json: bool, **given: Any) -> int:
    """Compare two or more RUNs, finished, stopped or training, and tell in which keys their recipes differ.

    Without --data: epochs, minutes, and the scores of each run's best epoch by its own validation. With --data every
    RUN captions the split, and is tested against the first that is named: how much better or worse its captions are,
    and how often chance alone gives as much. Runs are exported first where they are not yet; bundles will do as well,
    and `embedded`.

    Choose between runs on val; score the one that is chosen once on test.
    """
    from showtell.cli import scores

    given = {key: value for key, value in given.items() if value is not None}
    _check(runs, given)
    names = scores.names_of(given.get("metrics", _METRICS), None, None, None)
    if "SPICE" in names:
        raise click.UsageError("--metrics: spice is not compared; `showtell evaluate --spice-models DIR` scores it")
    from showtell.figures.style import plotting

    if out:  # before minutes of captions
        with plotting("showtell compare --out"):
            pass
    contenders = _read(runs, with_data="data" in given)
    if contenders is None:
        return 1
    from showtell.cli import comparisons
    from showtell.comparison import learnt_from, unlike

    notes, comparison = unlike(contenders), None
    if "data" in given:
        read, split = _reader(contenders, given), given.get("split", _SPLIT)
        wanted = {example.id for example in read(contenders[0]) if example.split == split and example.captions}
        notes += learnt_from(contenders, wanted, split)
    for note in notes:
        click.echo(f"showtell: {printable(note)}", err=True)
    if "data" in given:
        comparison = _captions(contenders, read, names, given)
    if as_json:
        click.echo(json.dumps(comparisons.as_json(contenders, comparison, notes), indent=1))
    else:
        for line in comparisons.lines(contenders, comparison):
            click.echo(line)
    if out:
        _draw(out, contenders, comparison)
    incomplete = comparison and (comparison.failures or any(one.measured.missing for one in comparison.scored))
    return 1 if incomplete else 0


def _check(runs: Sequence[Path], given: dict[str, Any]) -> None:
    """Raise `UsageError` on what cannot be compared, before anything is read."""
    if len(runs) < 2:
        raise click.UsageError(f"{runs[0]}: one run, expected two or more; `showtell plot` and `evaluate` tell of one")
    seen: dict[Path, Path] = {}
    for run in runs:
        if (other := seen.setdefault(run.resolve(), run)) is not run:
            raise click.UsageError(f"{run}: the same run as {other}; name each once")
    if "data" not in given and given:
        raise click.UsageError(f"--{next(iter(given))} goes with --data DIR")


def _read(runs: Sequence[Path], *, with_data: bool) -> list[Contender] | None:
    """All of the runs, or None where one cannot be compared; each that cannot is told."""
    from showtell.comparison import read_contender
    from showtell.errors import ShowtellError
    from showtell.figures.curves import names_of
    from showtell.model_folder import EMBEDDED, MANIFEST, is_embedded

    runs = [EMBEDDED if is_embedded(run) else run for run in runs]
    found, failed = [], False
    for run, name in zip(runs, names_of(runs), strict=True):
        try:
            contender = read_contender(run, name)
            if not with_data and not contender.curves.history:
                kind = "a bundle" if (run / MANIFEST).is_file() else "an average"
                raise ShowtellError(f"{run}: is {kind}, which has no curves; name its run, or add --data DIR")
            found.append(contender)
        except ShowtellError as error:
            click.echo(f"showtell: {error}", err=True)
            failed = True
    return None if failed else found


def _reader(contenders: Sequence[Contender], given: dict[str, Any]) -> Callable[[Contender], Sequence[Example]]:
    """What reads the data set as a contender takes it: pictures, or the files of regions in their place."""
    from functools import cache

    from showtell.data.readers import read_dataset
    from showtell.errors import DataError
    from showtell.region_files import remembered_folder

    if "regions" in given and not any(contender.takes_regions for contender in contenders):
        raise click.UsageError("--regions: all of these take pictures; leave it out")
    folders: dict[str, Path | None] = {}
    for contender in contenders:
        folder = (given.get("regions") or remembered_folder(contender.path)) if contender.takes_regions else None
        if contender.takes_regions and folder is None:
            raise DataError(f"{contender.path}: takes regions from files; name their folder with --regions DIR")
        folders[contender.name] = folder

    @cache
    def read(regions: Path | None) -> Sequence[Example]:
        images, splits = given.get("images"), given.get("splits")
        format = given.get("format", "auto")
        return read_dataset(given["data"], format=format, image_folder=images, splits=splits, regions=regions).examples

    return lambda contender: read(folders[contender.name])


def _captions(
    contenders: Sequence[Contender],
    read: Callable[[Contender], Sequence[Example]],
    names: Sequence[str],
    given: dict[str, Any],
) -> Comparison:
    """The captions of all, scored and tested; what could not be read or measured is told."""
    from showtell.cli import scores
    from showtell.comparison import compare_captions

    comparison = compare_captions(
        contenders,
        read,
        given.get("split", _SPLIT),
        names,
        beam=given.get("beam"),
        threads=given.get("threads"),
        say=lambda line: click.echo(printable(line), err=True),
    )
    for contender, failure in comparison.failures:
        click.echo(f"showtell: {printable(f'{contender.name}: {failure.error}')}", err=True)
    scores.tell_missing([one.measured for one in comparison.scored])
    return comparison


def _draw(out: Path, contenders: Sequence[Contender], comparison: Comparison | None) -> None:
    from showtell.errors import ShowtellError
    from showtell.figures.comparison import draw_comparison
    from showtell.figures.style import figure_bytes, plotting, write_figure

    if not (comparison and any(one.measured.scores for one in comparison.scored)) and not any(
        contender.curves.history for contender in contenders
    ):
        raise ShowtellError(f"{out}: there are no curves and no scores to draw; leave it out, or add --metrics cider")
    with plotting("showtell compare --out", " ".join(contender.name for contender in contenders)):
        content = figure_bytes(draw_comparison(contenders, comparison))
    write_figure(out, content)
    click.echo(str(out), err=True)
