"""`showtell data`: load, look at, check, split and generate data sets."""

from pathlib import Path

import click

from showtell.cli.data_download import command as download
from showtell.cli.data_show import command as show
from showtell.cli.options import check_file

_FOLDER = click.Path(path_type=Path)


@click.group()
def command() -> None:
    """Load, look at, check, split or generate data sets.

    A data set is a folder of pictures with captions, in one of these formats, recognised by what lies there:

    \b
    imagefolder  metadata.csv or metadata.jsonl (Hugging Face), also in train/, validation/, test/
    karpathy     dataset_*.json, with its splits
    flickr       captions.txt, results.csv or *.token.txt, with *trainImages.txt and so on
    coco         annotations/captions_*.json, pictures in train2014/, val2017/ and so on
    csv, tsv     a table with columns image and caption, and split if you like
    jsonl        one {"image": ..., "caption": ...} a line; the caption may be a list
    txt          pictures, each with a .txt file of the same name, one caption a line
    """


command.add_command(download)
command.add_command(show)


@command.command()
@click.argument("folder", type=_FOLDER)
@click.option("--format", "format_name", default="auto", show_default=True, help="Format, if it is not recognised.")
@click.option("--images", type=_FOLDER, help="Folder of the pictures, if they lie elsewhere.")
@click.option("--splits", type=_FOLDER, help="A split file of `showtell data split`.")
@click.option("--json", "as_json", is_flag=True, help="The whole report as JSON.")
@click.option("--all", "show_all", is_flag=True, help="Every problem, not the first 10 of each kind.")
def check(
    folder: Path, format_name: str, images: Path | None, splits: Path | None, as_json: bool, show_all: bool
) -> int:
    """Tell the numbers of a data set and every problem in it.

    Reads all captions and decodes all pictures. Exits with 1 where something is wrong.
    """
    import json
    import sys

    from tqdm import tqdm

    from showtell.data.check import check_dataset
    from showtell.data.readers import read_dataset
    from showtell.data.report import format_report

    dataset = read_dataset(folder, format=format_name, image_folder=images, splits=splits)
    total = len(dataset.examples) - len(dataset.missing)
    with tqdm(total=total, unit=" pictures", desc="decoding", leave=False, disable=not sys.stderr.isatty()) as bar:
        report = check_dataset(dataset, progress=bar.update)
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=1))
    else:
        click.echo(format_report(report, shown=0 if show_all else 10), nl=False)
    return 1 if report.errors else 0


@command.command()
@click.argument("folder", type=_FOLDER)
@click.option("--fractions", default="0.8,0.1,0.1", show_default=True, help="Shares of train, val and test.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another number gives another split.")
@click.option("--out", type=_FOLDER, help="File to write.  [default: splits.json in the folder]")
@click.option("--force", is_flag=True, help="Replace a split file, or the data set's own splits.")
@click.option("--format", "format_name", default="auto", show_default=True, help="Format, if it is not recognised.")
@click.option("--images", type=_FOLDER, help="Folder of the pictures, if they lie elsewhere.")
def split(
    folder: Path, fractions: str, seed: int, out: Path | None, force: bool, format_name: str, images: Path | None
) -> int:
    """Split a data set into train, val and test, by picture.

    The same seed gives the same split on every machine; identical files stay together. A splits.json in the folder is
    obeyed by every command; one elsewhere is given with --splits. A data set that has splits of its own keeps them
    unless you say --force.
    """
    shares = _shares(fractions)
    from showtell.data.dataset import SPLITS
    from showtell.data.readers import read_own
    from showtell.data.split import SPLITS_FILE, split_examples, write_splits
    from showtell.errors import DataError

    path = out or folder / SPLITS_FILE
    if path.exists() and not force:
        raise DataError(f"{path}: there is a split already; --force replaces it, --out writes another file")
    check_file("--out", path)
    # Not read_dataset: a stored split that is being replaced may be damaged.
    dataset = read_own(folder, format=format_name, image_folder=images)
    if out is None and not force and any(example.split for example in dataset.examples):
        # The file would replace a published split for every command, and scores would compare with nobody's.
        raise DataError(
            f"{folder}: has splits of its own; --out FILE writes yours elsewhere, for --splits FILE of other commands, "
            "and --force replaces its own by a splits.json in the folder"
        )
    assigned = split_examples(dataset.examples, shares, seed)
    write_splits(path, assigned, shares, seed)
    counts = {name: sum(value == name for value in assigned.values()) for name in SPLITS}
    click.echo(f"{path}: {', '.join(f'{name} {count:,}' for name, count in counts.items())} pictures")
    return 0


@command.command("make-shapes")
@click.argument("out", type=_FOLDER)
@click.option("--train", type=click.IntRange(0), default=8000, show_default=True, help="Pictures to train on.")
@click.option("--val", type=click.IntRange(0), default=300, show_default=True, help="Pictures to choose on.")
@click.option("--test", type=click.IntRange(0), default=500, show_default=True, help="Pictures to report on.")
@click.option("--size", type=int, default=64, show_default=True, help="Side of a picture, pixels.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another number gives other pictures.")
@click.option("--objects", type=click.IntRange(1, 2), help="Objects in each picture.  [default: one or two]")
def make_shapes(out: Path, train: int, val: int, test: int, size: int, seed: int, objects: int | None) -> int:
    """Generate pictures of coloured shapes with exact captions, to train on without any download."""
    import sys

    from tqdm import tqdm

    from showtell.data.shapes import make_shapes as generate

    with tqdm(
        total=train + val + test, unit=" pictures", desc="drawing", leave=False, disable=not sys.stderr.isatty()
    ) as bar:
        generate(out, train=train, val=val, test=test, size=size, seed=seed, objects=objects, progress=bar.update)
    click.echo(f"{out}: train {train:,}, val {val:,}, test {test:,} pictures of {size} x {size}")
    click.echo(f"look at {out / 'images'}, or train on it: showtell train --data {out} ...", err=True)
    return 0


def _shares(text: str) -> tuple[float, float, float]:
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError:
        raise click.UsageError(f"--fractions {text}: expected three numbers such as 0.8,0.1,0.1") from None
    if not (min(train, val, test) >= 0 and abs(train + val + test - 1) <= 1e-6):
        raise click.UsageError(f"--fractions {text}: expected shares of train, val and test that sum to 1")
    return train, val, test
