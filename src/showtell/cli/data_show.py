"""`showtell data show`: pictures of a data set with their captions, and plots of what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from showtell.cli.options import png_option

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from showtell.captioner import Captioner
    from showtell.data.dataset import Dataset
    from showtell.data.example import Example
    from showtell.figures.photos import Photo
    from showtell.figures.picture import Told

_PATH = click.Path(path_type=Path)
_COUNT = 24  # pictures of a sheet


@click.command("show")
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Of this split alone.")
@click.option("--index", type=click.IntRange(0), metavar="N", help="One picture: the N-th by id, counted from 0.")
@click.option("--id", "key", metavar="ID", help="One picture: the one with this id or file name.")
@click.option("--random", is_flag=True, help="One picture, drawn anew each time, or by --seed.")
@click.option(
    "--model", metavar="BUNDLE|RUN|embedded", help="Also the one picture's caption by this model, and where it looked."
)
@png_option("--out", help="Draw the one picture with its captions; or a sheet of pictures, where none is chosen.")
@click.option("--count", type=click.IntRange(1, 200), metavar="N", help=f"Pictures of a sheet.  [default: {_COUNT}]")
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Same seed, same pictures.  [default of a sheet: 0]")
@png_option("--plots", help="Draw the captions' lengths, words, pictures' sizes and splits.")
@click.option("--format", "format_name", default="auto", show_default=True, help="Format, if it is not recognised.")
@click.option("--images", type=_PATH, help="Folder of the pictures, if they lie elsewhere.")
@click.option("--splits", type=_PATH, help="A split file of `showtell data split`.")
def command(
    folder: Path,
    split: str | None,
    index: int | None,
    key: str | None,
    random: bool,
    model: str | None,
    out: Path | None,
    count: int | None,
    seed: int | None,
    plots: Path | None,
    format_name: str,
    images: Path | None,
    splits: Path | None,
) -> int:
    """Look at a data set: one picture with its captions, a sheet of many, or plots.

    \b
    showtell data show photos/ --random                    its captions, as text
    showtell data show photos/ --index 7 --out one.png     drawn
    showtell data show photos/ --out sheet.png             24 pictures with their captions
    showtell data show photos/ --plots plots.png           lengths, words, sizes, splits

    A picture whose file is not there is loaded from its address, where the annotations tell one, as COCO's do. Exits
    with 1 where a picture cannot be shown; its place is then empty and tells the reason.
    """
    ways = {"--index": index is not None, "--id": key is not None, "--random": random}
    _check_usage([way for way, given in ways.items() if given], model, out, plots, count, seed)
    from showtell.data.pick import of_split, read_to_look

    dataset = read_to_look(folder, format=format_name, image_folder=images, splits=splits)
    examples = of_split(dataset, split)
    if any(ways.values()):
        return _show_one(_choose(examples, index, key, seed), model, out)
    failed = _draw_sheet(dataset, examples, split, out, count or _COUNT, seed or 0) if out else False
    failed |= _draw_plots(dataset, examples, split, plots) if plots else False
    return 1 if failed else 0


def _check_usage(
    ways: list[str], model: str | None, out: Path | None, plots: Path | None, count: int | None, seed: int | None
) -> None:
    if len(ways) > 1:
        raise click.UsageError(f"{' and '.join(ways)}: choose the picture in one way")
    if not ways and not out and not plots:
        raise click.UsageError(
            "nothing to show: choose a picture with --random, --index N or --id ID, draw a sheet of pictures with "
            "--out FILE.png, or plots with --plots FILE.png"
        )
    if ways and (plots or count):
        other, what = ("--plots", "the whole data set or split") if plots else ("--count", "a sheet of pictures")
        raise click.UsageError(f"{other} is for {what}; leave out {ways[0]}")
    if model and not ways:
        raise click.UsageError("--model captions one picture; choose it with --random, --index N or --id ID")
    if count and not out:
        raise click.UsageError("--count is for a sheet of pictures; name its file with --out FILE.png")
    if seed is not None and ways != ["--random"] and (ways or not out):
        raise click.UsageError("--seed draws pictures at random; use it with --random, or with --out for a sheet")
    if out and out == plots:
        raise click.UsageError(f"--plots {plots}: is the file of --out too; name another")


def _choose(examples: Sequence[Example], index: int | None, key: str | None, seed: int | None) -> Example:
    from showtell.data.pick import draw, find

    if index is not None:
        if index >= len(examples):
            raise click.UsageError(f"--index {index}: there are {len(examples):,} pictures, 0 to {len(examples) - 1}")
        return examples[index]
    if key is not None:
        return find(examples, key)
    if seed is None:
        import secrets

        seed = secrets.randbelow(1_000_000)
        click.echo(f"drawn with --seed {seed}", err=True)
    return draw(examples, 1, seed)[0]


def _show_one(example: Example, model: str | None, out: Path | None) -> int:
    from showtell.figures.photos import is_remote, load_photo
    from showtell.figures.picture import BOX, draw_picture
    from showtell.figures.style import picture_bytes, write_figure
    from showtell.names import printable

    captioner = _load(model) if model else None
    if is_remote(example):
        click.echo(printable(f"{example.image}: not there, loading {example.url}"), err=True)
    photo = load_photo(example, BOX, keep=True)
    told = _tell(captioner, model, photo) if captioner and model else None
    _print(photo, told)
    if photo.error:
        click.echo(f"showtell: {photo.error}", err=True)
    if told and told.caption.attention is None:
        click.echo(f"{told.model}: tells no attention that could be drawn", err=True)
    if out:
        write_figure(out, picture_bytes(draw_picture(photo, told)))
        _tell_undrawn([example.id, *example.captions, *([told.caption.text] if told else [])])
        click.echo(str(out), err=True)
    else:
        click.echo("--out FILE.png draws it", err=True)
    return 1 if photo.error else 0


def _load(model: str) -> Captioner:
    from showtell.captioner import Captioner

    captioner = Captioner.load(model)
    if captioner.images is None:
        raise click.UsageError(f"--model {model}: takes regions from files, not pictures")
    return captioner


def _tell(captioner: Captioner, model: str, photo: Photo) -> Told | None:
    from showtell.figures.picture import Told
    from showtell.model_folder import EMBEDDED, is_embedded

    if photo.source is None or captioner.images is None:
        return None
    name = EMBEDDED.name if is_embedded(model) else Path(model).resolve().name
    return Told(name, captioner.caption(photo.source, attention=True), captioner.images)


def _print(photo: Photo, told: Told | None) -> None:
    from showtell.figures.photos import is_remote
    from showtell.names import printable

    example = photo.example
    rows = [("id", example.id), ("picture", str(example.url if is_remote(example) else example.image))]
    if photo.picture:
        rows.append(("size", f"{photo.size[0]} x {photo.size[1]} pixels"))
    rows.append(("split", example.split or "none"))
    rows += [("captions" if i == 0 else "", text) for i, text in enumerate(example.captions or ("none",))]
    if told:
        rows += [("told", told.caption.text), ("", f"by {told.model}, {told.likelihood}")]
    for name, value in rows:
        click.echo(f"{name:<10}{printable(value)}")


def _draw_sheet(
    dataset: Dataset, examples: Sequence[Example], split: str | None, out: Path, count: int, seed: int
) -> bool:
    from showtell.data.pick import draw
    from showtell.figures.photos import is_remote, load_photos
    from showtell.figures.sheet import BOX, draw_sheet
    from showtell.figures.style import picture_bytes, write_figure

    chosen = draw(examples, count, seed)
    if remote := sum(map(is_remote, chosen)):
        click.echo(f"{remote} of {len(chosen)} pictures are not there, loading them from their addresses", err=True)
    photos = list(load_photos(chosen, BOX))
    note = f"{len(chosen):,} of {len(examples):,} pictures{f' of {split}' if split else ''}"
    write_figure(out, picture_bytes(draw_sheet(dataset.root.resolve().name, note, photos)))
    _tell_undrawn(text for example in chosen for text in (example.id, *example.captions))
    for photo in photos:
        if photo.error:
            click.echo(f"showtell: {photo.error}", err=True)
    click.echo(f"{out}: {note}")
    return any(photo.error for photo in photos)


def _draw_plots(dataset: Dataset, examples: Sequence[Example], split: str | None, out: Path) -> bool:
    import sys

    from tqdm import tqdm

    from showtell.figures.counts import SAMPLE, count
    from showtell.figures.plots import draw_plots
    from showtell.figures.style import figure_bytes, plotting, write_figure

    with plotting("--plots"):  # before any picture is read: matplotlib may be missing
        pass
    total = min(len(examples), SAMPLE)
    with tqdm(total=total, unit=" pictures", desc="measuring", leave=False, disable=not sys.stderr.isatty()) as bar:
        counts = count(dataset, examples, split, progress=bar.update)
    with plotting("--plots", counts.texts):
        content = figure_bytes(draw_plots(counts))
    write_figure(out, content)
    _tell_undrawn([counts.texts])
    click.echo(f"{out}: {counts.headline}")
    if counts.unread:
        click.echo(
            f"showtell: {counts.unread:,} of {total:,} pictures give no size; see `showtell data check {dataset.root}`",
            err=True,
        )
    return counts.unread > 0


def _tell_undrawn(texts: Iterable[str]) -> None:
    from showtell.figures.fonts import undrawn

    if missing := undrawn(texts):
        click.echo(
            f"{len(missing)} characters are drawn as boxes, such as {missing[:5]}: no font here has them; install one, "
            "such as Noto Sans CJK for Chinese, Japanese and Korean",
            err=True,
        )
