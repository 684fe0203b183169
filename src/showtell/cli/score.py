"""`showtell score`: captions in files against references."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from showtell.cli.options import check_file, metric_options
from showtell.errors import ShowtellError
from showtell.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from showtell.metrics.measure import Measured
    from showtell.metrics.pairing import Coverage
    from showtell.metrics.reading import CandidateSet, ReferenceSet

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("candidates", type=_PATH)
@click.argument("references", type=_PATH, nargs=-1, required=True)
@metric_options
@click.option(
    "--versus", type=_PATH, metavar="OTHER", help="Other candidates for the same pictures, and a paired test."
)
@click.option("--split", help="Pictures of this split alone: train, val or test.")
@click.option("--partial", is_flag=True, help="Score the pictures that have both; tell how many have not.")
@click.option("--first", is_flag=True, help="Of several candidates for a picture score the first.")
@click.option("--oracle", is_flag=True, help="Of several candidates for a picture score the best, by each metric.")
@click.option(
    "--training",
    type=_PATH,
    metavar="REFERENCES",
    help="Captions the model learnt from: tell how many are new, with diversity.",
)
@click.option("--save-documents", type=_PATH, metavar="FILE", help="Write the references' document frequencies.")
@click.option("--candidates-format", default="auto", help="Format of the candidates, if it is not recognised.")
@click.option("--references-format", default="auto", help="Format of the references, if it is not recognised.")
def command(
    candidates: Path,
    references: tuple[Path, ...],
    metrics: str | None,
    ci: bool,
    per_picture: Path | None,
    documents: Path | None,
    spice_models: Path | None,
    as_json: bool,
    versus: Path | None,
    split: str | None,
    partial: bool,
    first: bool,
    oracle: bool,
    training: Path | None,
    save_documents: Path | None,
    candidates_format: str,
    references_format: str,
) -> int:
    """Score the captions in CANDIDATES against REFERENCES, with the digits of the COCO caption evaluation.

    Both are recognised by their content; a picture is named by its id, as number or text, or by its file:

    \b
    json   COCO results and captions, Karpathy's dataset_*.json, {id: caption or captions}
    jsonl  what `showtell caption --format jsonl` and `showtell evaluate --out` write
    csv    a table with a header: image_id, id, image or path; caption
    txt    lines of picture<TAB>caption, as `showtell caption` prints
    lines  line i holds the captions of picture i, parted by tabs

    REFERENCES may also be the folder of a data set, with --split, or several files that add to each other. Scores are
    points of 100, also in --json and --per-picture.
    """
    from showtell.cli import scores

    names = scores.names_of(metrics, documents, spice_models, per_picture)
    check_file("--save-documents", save_documents)
    given = {path.resolve() for path in (candidates, *references, versus, training, documents) if path}
    for name, path in (("--per-picture", per_picture), ("--save-documents", save_documents)):
        if path and path.resolve() in given:
            raise click.UsageError(f"{name} {path} is one of the files that are read; name another")
    if first and oracle:
        raise click.UsageError("--first and --oracle exclude each other; give one")
    if training and "diversity" not in names:
        names = (*names, "diversity")
    from showtell.metrics.pairing import cover
    from showtell.metrics.reading import read_candidates, read_references

    known = read_references(references, references_format, split)
    files = [
        read_candidates(path, known, candidates_format, several=first or oracle)
        for path in (candidates, versus)
        if path is not None
    ]
    if first:
        for file in files:
            file.captions = {picture: captions[:1] for picture, captions in file.captions.items()}
    coverage = cover(known, files, partial=partial)
    told = [[file.captions[picture] for picture in coverage.pictures] for file in files]  # of each file and picture
    measured = _measure(known, coverage, told, names, documents, training, spice_models, save_documents)
    for note in known.notes:
        click.echo(f"showtell: {note}", err=True)
    try:
        if per_picture:
            rows = [(file.name, captions, found) for file, captions, found in zip(files, told, measured, strict=True)]
            scores.write_per_picture(per_picture, coverage.pictures, rows)
    finally:  # a full disk costs no score
        _print(known, coverage, files, measured, as_json=as_json, ci=ci)
        missing = scores.tell_missing(measured)
    return 1 if missing else 0


def _measure(
    known: ReferenceSet,
    coverage: Coverage,
    told: Sequence[Sequence[Sequence[str]]],
    names: tuple[str, ...],
    documents: Path | None,
    training: Path | None,
    spice_models: Path | None,
    save_documents: Path | None,
) -> list[Measured]:
    from showtell.metrics.documents import count_documents, read_documents, write_documents
    from showtell.metrics.measure import measure, tokenize_references
    from showtell.metrics.reading import read_training

    learnt = None if training is None else read_training(training)
    counted = None if documents is None else read_documents(documents)
    words = tokenize_references([known.captions[picture] for picture in coverage.pictures])
    if save_documents:
        try:
            everything = [captions for captions in known.captions.values() if captions]
            write_documents(save_documents, count_documents(tokenize_references(everything)))
        except OSError as error:
            raise ShowtellError(f"{save_documents}: cannot be written ({error.strerror}); check the disk") from error
    return [measure(captions, words, names, counted, training=learnt, spice_models=spice_models) for captions in told]


def _print(
    known: ReferenceSet,
    coverage: Coverage,
    files: Sequence[CandidateSet],
    measured: Sequence[Measured],
    *,
    as_json: bool,
    ci: bool,
) -> None:
    from showtell.cli import scores

    ours = measured[0]
    compared = scores.compare(ours, measured[1]) if len(files) > 1 else {}
    if as_json:
        told: dict[str, Any] = {
            "candidates": files[0].name,
            "references": known.name,
            "pictures": len(coverage.pictures),
            "of": coverage.of,
            "notes": list(coverage.notes),
            **scores.as_json(ours, ours.figures, ci=ci),
        }
        if len(files) > 1:
            other = scores.as_json(measured[1], measured[1].figures, ci=ci)
            told["versus"] = {"candidates": files[1].name, **other, "paired": scores.differences_as_json(compared)}
        click.echo(json.dumps(told, indent=1))
        return
    click.echo(printable(f"{known.name}: {coverage}"))
    if len(files) == 1:
        lines = scores.table(ours, ours.figures, ci=ci)
    else:
        click.echo(f"A  {printable(files[0].name)}\nB  {printable(files[1].name)}")
        lines = scores.versus_table(ours, measured[1], compared, ci=ci)
    for line in ("", *lines):
        click.echo(line)
    if compared:
        click.echo(
            "\np: how often the two differ as much when captions change sides at random; above 0.05 it may be chance"
        )
