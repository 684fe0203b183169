"""`showtell evaluate`: captions of a split, and their scores."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from showtell.cli.options import check_file, metric_options, regions_option
from showtell.errors import RecipeError

if TYPE_CHECKING:
    from showtell.captioner import Captioner
    from showtell.evaluation import Evaluation
    from showtell.pages.evaluation import About

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("models", type=_PATH, nargs=-1, metavar="[MODEL]...")
@click.option("--data", required=True, type=_PATH, help="Folder of the data set.")
@click.option("--format", default="auto", help="Format of the data set, if it is not recognised.")
@click.option("--images", type=_PATH, help="Folder of the pictures, if they lie elsewhere.")
@click.option("--splits", type=_PATH, help="Split file of `showtell data split`.")
@regions_option
@click.option("--split", default="test", show_default=True, help="Which split: train, val or test.")
@click.option("--beam", type=click.IntRange(1), help="Beam width; the model's own where it is not given.")
@click.option(
    "--consensus",
    type=click.IntRange(1),
    metavar="N",
    help="Of N captions that beam search finds, score the one that agrees best with all of them.",
)
@click.option("--out", type=_PATH, help="Also write the captions as JSON lines: path, id, caption, score.")
@click.option(
    "--page",
    type=_PATH,
    metavar="DIR",
    help="Also write a page to open in a browser: DIR/index.html, each picture with its captions and scores.",
)
@metric_options
@click.option("--threads", type=click.IntRange(1), help="Processor threads.")
def command(
    models: tuple[Path, ...],
    data: Path,
    format: str,
    images: Path | None,
    splits: Path | None,
    regions: Path | None,
    split: str,
    beam: int | None,
    consensus: int | None,
    out: Path | None,
    page: Path | None,
    metrics: str | None,
    ci: bool,
    per_picture: Path | None,
    documents: Path | None,
    spice_models: Path | None,
    as_json: bool,
    threads: int | None,
) -> int:
    """Caption a split with MODEL, a bundle, a run or `embedded` (which is the default), and score the captions.

    A run is exported first: what is scored is what ships. Scores have the digits of the COCO caption evaluation, and
    `showtell score` gives the same of the captions that --out writes. A picture that cannot be read is named and left
    out. Region files are those that the run has learnt from, unless --regions names others.

    Several MODELs are scored as one ensemble, which averages their words' probabilities; to score each, give one at a
    time.

    The page of --page works offline and without a server: best and worst pictures first, search, and where the model
    looked at each word. It holds the pictures, made small: publish it only if you may publish them.
    """
    from showtell.cli import scores

    names = scores.names_of(metrics, documents, spice_models, per_picture)
    check_file("--out", out)
    from showtell.captioner import Captioner
    from showtell.data.readers import read_dataset
    from showtell.evaluation import evaluate
    from showtell.metrics.documents import read_documents
    from showtell.names import printable
    from showtell.pages.evaluation import write_page
    from showtell.pages.place import check_place

    if page:
        check_place(page)
    counted = None if documents is None else read_documents(documents)
    regions = _region_files(models, regions)
    examples = read_dataset(data, format=format, image_folder=images, splits=splits, regions=regions).examples
    captioner = Captioner.load(models or None, threads=threads)
    models_named = _names_of(captioner)
    options = _options(captioner, beam, consensus)
    wants_maps = page is not None and captioner.images is not None
    result = evaluate(captioner, examples, split, names, counted, spice_models, attention=wants_maps, **options)
    for failure in result.failures:
        source, reason = printable(failure.source), printable(str(failure.error))
        click.echo(f"showtell: {reason if source in reason else f'{source}: {reason}'}", err=True)
    try:
        if out:
            _write(out, result)
        if per_picture:
            pictures = [example.id for example, _ in result.captions]
            captions = [[caption.text] for _, caption in result.captions]
            scores.write_per_picture(per_picture, pictures, [("", captions, result.measured)])
        if page:
            found = None if regions is None else _pictures(data, format, images)
            about = _about(captioner, data, split, options)
            write_page(page, result, about, images=captioner.images, pictures=found, ci=ci, threads=threads)
            click.echo(f"showtell: {page / 'index.html'}: open it in a browser", err=True)
    finally:  # a full disk costs no score
        _print(result, split, models_named, as_json=as_json, ci=ci)
        missing = scores.tell_missing([result.measured])
    return 1 if result.failures or missing else 0


def _region_files(models: Sequence[Path], given: Path | None) -> Path | None:
    """The folder of region files, given or remembered by a run; None where the models take pictures."""
    found = {_region_files_of(model, given) for model in models} or {_region_files_of(None, given)}
    if len(found) > 1 and None not in found:
        folders = " and ".join(sorted(map(str, found)))
        raise click.UsageError(
            f"the models have learnt from the region files of {folders}; name one with --regions DIR"
        )
    return next((folder for folder in found if folder), None)  # models of different kinds are refused when loaded


def _region_files_of(model: Path | None, given: Path | None) -> Path | None:
    from showtell.bundle import read_manifest
    from showtell.model_folder import MANIFEST
    from showtell.region_files import remembered_folder

    remembered = remembered_folder(model) if model else None
    is_bundle = model is not None and (model / MANIFEST).is_file()
    takes_regions = read_manifest(model)[0].images is None if model and is_bundle else remembered is not None
    if given and not takes_regions:
        raise click.UsageError(f"--regions: {model or 'the embedded model'} takes pictures; leave it out")
    if takes_regions and not (given or remembered):
        raise click.UsageError(f"{model}: takes regions from files; name their folder with --regions DIR")
    return given or remembered


def _options(captioner: Captioner, beam: int | None, consensus: int | None) -> dict[str, Any]:
    """What is given, and what else decides which caption is told of a picture."""
    given: dict[str, Any] = {"num_captions": 1}
    if beam is not None:
        given["beam_width"] = beam
    if consensus is not None:
        given |= {"rerank": "consensus", "candidates": consensus}
    try:
        chosen = captioner.decoding.changed(**given)
    except RecipeError as error:
        raise click.UsageError(str(error)) from error
    return {"beam_width": chosen.beam_width, "rerank": chosen.rerank, "candidates": chosen.candidates}


def _about(captioner: Captioner, data: Path, split: str, options: Mapping[str, Any]) -> About:
    """What the page tells of its origin: the command as it was given, absolute paths shortened to their last part."""
    from datetime import UTC, datetime

    from showtell.pages.evaluation import About
    from showtell.pages.place import last_part

    context = click.get_current_context()
    words = []
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if context.get_parameter_source(parameter.name or "") is not click.core.ParameterSource.COMMANDLINE:
            continue
        values = value if isinstance(value, tuple) else (value,)
        shown = [last_part(one) if isinstance(one, Path) else str(one) for one in values]
        if isinstance(parameter, click.Option):
            words.append(parameter.opts[0])
        if not getattr(parameter, "is_flag", False):
            words += shown
    models = _names_of(captioner)
    notes = [f"an ensemble of {len(models)}"] if len(models) > 1 else []
    notes.append(f"beam {options['beam_width']}")
    if options["rerank"]:
        notes.append(f"consensus of {options['candidates'] or options['beam_width']}")
    return About(
        command=shlex.join([*context.command_path.split(), *words]),
        model=" + ".join(models) or "model",
        data=data.resolve().name,
        split=split,
        date=datetime.now(UTC),
        notes=tuple(notes),
    )


def _names_of(captioner: Captioner) -> list[str]:
    """What the models call themselves; more than one in an ensemble."""
    members = getattr(captioner.backend, "members", (captioner.backend,))
    return [member.manifest.name for member in members if hasattr(member, "manifest")]


def _pictures(data: Path, format: str, images: Path | None) -> Mapping[str, Path]:
    """The pictures by the ids of their examples, where a model took files of regions in their place."""
    from showtell.data.readers import read_own

    examples = read_own(data, format=format, image_folder=images, need_pictures=False).examples
    return {example.id: example.image for example in examples}


def _print(result: Evaluation, split: str, models: Sequence[str], *, as_json: bool, ci: bool) -> None:
    from showtell.cli import scores

    count = len(result.captions)
    if as_json:
        told = scores.as_json(result.measured, result.figures, ci=ci)
        ensemble = {"ensemble": models} if len(models) > 1 else {}
        click.echo(json.dumps({"split": split, "pictures": count, **ensemble, **told}, indent=1))
        return
    if len(models) > 1:
        click.echo(f"one ensemble of {len(models)} models: {' + '.join(models)}")
    click.echo(f"{count:,} pictures of {split}, {len(result.failures):,} could not be read\n")
    for line in scores.table(result.measured, result.figures, ci=ci):
        click.echo(line)


def _write(path: Path, result: Evaluation) -> None:
    from showtell.writers.aside import write_aside

    with write_aside(path) as file:
        for example, caption in result.captions:
            row = {"path": str(example.image), "id": example.id, "caption": caption.text, "score": caption.score}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
