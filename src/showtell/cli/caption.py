"""`showtell caption`: describe pictures."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from showtell.cli.options import check_file
from showtell.errors import ImageError, RecipeError, ShowtellError

if TYPE_CHECKING:
    from tqdm import tqdm

    from showtell.caption import Caption, Failure
    from showtell.captioner import Captioner
    from showtell.decoding.options import DecodeOptions
    from showtell.images import ImageOptions
    from showtell.names import Named

    Results = Iterator[Caption | Failure]

# Option of the command -> field of DecodeOptions. What is not given is left to the bundle.
_DECODING = {
    "beam": "beam_width",
    "groups": "beam_groups",
    "diversity": "diversity",
    "captions": "num_captions",
    "max_words": "max_words",
    "sample": "sample",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "seed": "seed",
}
_SAMPLING = ("temperature", "top_k", "top_p", "seed")
_GROUPED = ("groups", "diversity")
_MANY = 20  # pictures from which a progress bar is worth its line


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="PATH|URL|-...")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="BUNDLE|RUN|embedded",
    help="A bundle or a training run; given several times, an ensemble.  [default: embedded]",
)
@click.option("--beam", type=click.IntRange(min=1), help="Beam width; 1 is greedy.")
@click.option("--captions", type=click.IntRange(min=1), metavar="N", help="Captions for each picture, best first.")
@click.option(
    "--groups",
    type=click.IntRange(min=1),
    metavar="N",
    help="Diverse beam search: so many groups of hypotheses, which keep apart; for captions that differ.",
)
@click.option("--diversity", type=float, help="What a word costs a group where another says it.  [default: 0.5]")
@click.option("--max-words", type=click.IntRange(min=1), help="Longest caption, in words.")
@click.option("--sample", is_flag=True, default=None, help="Draw words at random instead of searching the best.")
@click.option("--temperature", type=float, help="Sampling: below 1 safer, above 1 wilder.")
@click.option("--top-k", type=click.IntRange(min=0), help="Sampling: among this many likeliest words; 0 is all.")
@click.option("--top-p", type=float, help="Sampling: among the likeliest words that hold this share of probability.")
@click.option("--seed", type=click.IntRange(min=0), help="Sampling: same seed, same captions.")
@click.option("--sentence", is_flag=True, help="Write a capital and a full stop.")
@click.option("--format", "form", type=click.Choice(["txt", "jsonl", "csv"]), default="txt", show_default=True)
@click.option("--out", type=click.Path(), metavar="FILE", help="Write here, at the end, instead of to standard output.")
@click.option(
    "--attention",
    type=click.Path(),
    metavar="FILE.png",
    help="Draw where each word looked. Of several pictures the files are numbered: FILE-1.png, FILE-2.png ...",
)
@click.option("--threads", type=click.IntRange(min=1), help="Processor threads.  [default: all, at most 4]")
@click.option("--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Pictures at a time.")
def command(
    sources: tuple[str, ...],
    models: tuple[str, ...],
    sentence: bool,
    form: str,
    out: str | None,
    attention: str | None,
    threads: int | None,
    batch: int,
    **decoding: Any,
) -> int:
    """Describe pictures: files, folders (with all below them), http(s) addresses, or - for standard input.

    A model without an encoder takes files of regions (.npz, .safetensors) in the pictures' place. Several models tell
    one caption together: the probabilities of their words are averaged; --attention draws the first one's.

    One line for each caption: the path, a tab, the words. What gives no caption is told on standard error; the rest is
    done, and the exit code is 1.
    """
    _check_usage(attention, out, decoding)
    from showtell.captioner import Captioner
    from showtell.folders import expand
    from showtell.writers import WRITERS, write_aside

    captioner = Captioner.load(models or None, threads=threads)
    options = _options(captioner, decoding)
    if attention and captioner.images is None:
        raise click.UsageError(f"--attention: {models[0]} takes regions from files, which form no grid to draw")
    drawer = _Drawer(attention, captioner.images, sources) if attention and captioner.images else None
    found = partial(expand, sources, captioner.suffixes)
    watch = _Watch()
    pictures = _with_content(found(), drawer)
    results = watch(captioner.stream(pictures, options, batch=batch, attention=drawer is not None), found, out)
    if drawer:
        results = drawer(results)
    if sentence:
        results = _sentences(results)
    if out is None and isinstance(sys.stdout, TextIOWrapper):
        # A line at a time for whoever reads along; words that the terminal's encoding lacks must not end the run.
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    with write_aside(out) if out else nullcontext(sys.stdout) as stream:
        WRITERS[form](results, stream)
    return 1 if watch.failures else 0


def _check_usage(attention: str | None, out: str | None, decoding: dict[str, Any]) -> None:
    """What is wrong whatever the model and the pictures are: told before anything heavy is loaded."""
    if idle := [name for name in _SAMPLING if decoding[name] is not None and not decoding["sample"]]:
        raise click.UsageError(f"--{idle[0].replace('_', '-')} is for sampling; add --sample")
    if decoding["sample"] and (idle := [name for name in _GROUPED if decoding[name] is not None]):
        raise click.UsageError(f"--{idle[0]} is for beam search; leave out --sample")
    if attention and Path(attention).suffix.lower() != ".png":
        raise click.UsageError(f"--attention {attention}: expected a file name that ends in .png")
    for option, file in (("--attention", attention), ("--out", out)):
        check_file(option, Path(file) if file else None)


def _options(captioner: Captioner, decoding: dict[str, Any]) -> DecodeOptions:
    """The model's own options, changed by those that were given; more captions than hypotheses widen the beam."""
    given = {_DECODING[name]: value for name, value in decoding.items() if value is not None}
    try:
        return captioner.decoding.changed(**given)
    except RecipeError as error:
        raise click.UsageError(str(error)) from error


def _with_content(names: Iterable[str | Failure], drawer: _Drawer | None) -> Iterator[str | Named | Failure]:
    """Standard input is read; where pictures are drawn later, so are addresses, which are fetched only once."""
    from showtell.address import fetch
    from showtell.caption import Failure
    from showtell.names import Named
    from showtell.sources import FETCH_SECONDS, MAX_BYTES, is_address

    for name in names:
        if name == "-":
            picture = Named(name, sys.stdin.buffer.read(MAX_BYTES + 1))
        elif drawer and isinstance(name, str) and is_address(name):
            try:
                picture = Named(name, fetch(name, max_bytes=MAX_BYTES, timeout=FETCH_SECONDS))
            except ImageError as error:
                yield Failure(name, error)
                continue
        else:
            yield name
            continue
        if drawer:
            drawer.keep(picture)
        yield picture


def _sentences(results: Results) -> Results:
    from showtell.caption import Caption
    from showtell.tokenizers import sentence

    for result in results:
        yield dataclasses.replace(result, text=sentence(result.text)) if isinstance(result, Caption) else result


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty()


class _Watch:
    """Passes results on; counts failures and tells each on standard error, beside a progress bar on long work."""

    failures = 0

    def __call__(self, results: Results, sources: Callable[[], Iterable[Any]], out: str | None) -> Results:
        from showtell.caption import Failure
        from showtell.names import printable

        with self._bar(sources, out) as bar:
            last = None
            for result in results:
                if result.source != last:  # several captions of one picture are one step
                    bar.update()
                    last = result.source
                if isinstance(result, Failure):
                    self.failures += 1
                    bar.write(f"showtell: {printable(str(result.error))}", file=sys.stderr)
                yield result

    def _bar(self, sources: Callable[[], Iterable[Any]], out: str | None) -> tqdm[Any]:
        from tqdm import tqdm

        # Captions that scroll by on the terminal are progress enough, and would tear the bar.
        wanted = _is_terminal(sys.stderr) and (out is not None or not _is_terminal(sys.stdout))
        total = sum(1 for _ in sources()) if wanted else 0
        return tqdm(total=total, unit=" pictures", disable=not wanted or total < _MANY, file=sys.stderr)


class _Drawer:
    """Passes results on and writes an attention picture for the best caption of each picture."""

    def __init__(self, path: str, options: ImageOptions, sources: tuple[str, ...]) -> None:
        self._path, self._options = Path(path), options
        self._numbered = len(sources) > 1 or Path(sources[0]).is_dir()
        self._kept: dict[str, Named] = {}  # pictures that cannot be read twice, until they are drawn

    def keep(self, picture: Named) -> None:
        self._kept[picture.name] = picture

    def __call__(self, results: Results) -> Results:
        from showtell.caption import Failure

        last, number = None, 0
        for result in results:
            if isinstance(result, Failure):
                self._kept.pop(result.source, None)
            elif result.source != last:
                number += 1
                self._draw(result, number)
            last = result.source
            yield result

    def _draw(self, caption: Caption, number: int) -> None:
        from showtell.attention_map import draw_attention
        from showtell.sources import open_picture

        picture = open_picture(self._kept.pop(caption.source, caption.source))
        path = self._path.with_stem(f"{self._path.stem}-{number}") if self._numbered else self._path
        try:
            draw_attention(picture, caption, self._options).save(path)
        except OSError as error:
            raise ShowtellError(f"{path}: cannot be written ({error}); check folder and disk") from error
