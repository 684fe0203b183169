"""`showtell evaluate`: captions of a split, and their scores."""

import json
from pathlib import Path

import click

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("model", type=_PATH, required=False)
@click.option("--data", required=True, type=_PATH, help="Folder of the data set.")
@click.option("--format", default="auto", help="Format of the data set, if it is not recognised.")
@click.option("--images", type=_PATH, help="Folder of the pictures, if they lie elsewhere.")
@click.option("--splits", type=_PATH, help="Split file of `showtell data split`.")
@click.option("--split", default="test", show_default=True, help="Which split: train, val or test.")
@click.option("--beam", type=click.IntRange(1), help="Beam width; the model's own where it is not given.")
@click.option("--out", type=_PATH, help="Also write the captions as JSON lines: path, id, caption, score.")
@click.option("--json", "as_json", is_flag=True, help="Print the scores as JSON.")
@click.option("--threads", type=click.IntRange(1), help="Processor threads.")
def command(
    model: Path | None,
    data: Path,
    format: str,
    images: Path | None,
    splits: Path | None,
    split: str,
    beam: int | None,
    out: Path | None,
    as_json: bool,
    threads: int | None,
) -> int:
    """Caption a split with MODEL, a bundle or a run (the embedded model where none is named), and score the captions.

    A run is exported first: what is scored is what ships. Scores are over the model's own words; a picture that cannot
    be read is named and left out.
    """
    from showtell.captioner import Captioner
    from showtell.data.readers import read_dataset
    from showtell.evaluation import evaluate

    examples = read_dataset(data, format=format, image_folder=images, splits=splits).examples
    captioner = Captioner.load(model, threads=threads)
    options = {} if beam is None else {"beam_width": beam}
    result = evaluate(captioner, examples, split, **options)
    for failure in result.failures:
        click.echo(f"showtell: {failure.source}: {failure.error}", err=True)
    if out:
        lines = [
            json.dumps({"path": str(e.image), "id": e.id, "caption": c.text, "score": c.score}, ensure_ascii=False)
            for e, c in result.captions
        ]
        from showtell.writers.aside import write_aside

        with write_aside(out) as file:
            file.writelines(line + "\n" for line in lines)
    if as_json:
        click.echo(json.dumps({"split": split, "pictures": len(result.captions), "scores": result.scores}, indent=1))
    else:
        click.echo(f"{len(result.captions):,} pictures of {split}, {len(result.failures):,} could not be read")
        for name, score in result.scores.items():
            click.echo(f"{name:<28}{score:8.2f}")
    return 1 if result.failures else 0
