"""What `showtell evaluate --page` writes: every picture of a split with caption, references, scores and attention.

A folder of plain files. A browser may not fetch what lies beside a page that was opened from a file, so the data are
scripts: `data.js` with what the list needs, and `attention/` in parts that are loaded when a word is pointed at.

T words of a caption.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from tqdm import tqdm

from showtell.caption import Caption
from showtell.errors import ImageError
from showtell.evaluation import Evaluation
from showtell.images import ImageOptions
from showtell.metrics.significance import confidence
from showtell.names import printable
from showtell.pages.pictures import Small, packed, write_small
from showtell.pages.place import INDEX, MARK, last_part, whole_folder, without_folders
from showtell.tokenizers import join_words

PART = 100  # pictures in one file of attention
# The file in the package -> the file in the page.
_STATIC = {
    "evaluation.css": "page.css",
    "evaluation.js": "page.js",
    **{name: name for name in ("base.css", "heat.js", "query.js", "range.js", "words.js")},
}
_FIRST = "CIDEr"  # the score that the page begins with
_DECIMALS = 2  # of a picture's points


@dataclass(frozen=True, kw_only=True)
class About:
    """Where the captions of a page come from, as the page tells it. Absolute paths do not belong here."""

    command: str  # that wrote the page
    model: str
    data: str  # name of the data set
    split: str
    date: datetime
    notes: tuple[str, ...] = ()  # such as "beam 3"


def write_page(
    folder: Path,
    evaluation: Evaluation,
    about: About,
    *,
    images: ImageOptions | None,
    pictures: Mapping[str, Path] | None = None,
    ci: bool = False,
    threads: int | None = None,
) -> None:
    """Write the page of an evaluation: `folder`/index.html, which works from a file address and offline.

    `images` is how the captioner prepares pictures, None where it takes regions from files; `pictures` then are the
    pictures by the ids of the examples, as far as there are any. Attention is shown where captions carry it on a grid,
    and with `ci` each score's interval. The folder appears whole or not at all; an older page is replaced. Pictures
    are prepared in `threads` threads, by default all cores up to four. Raises `ShowtellError` where the folder is
    something else, or cannot be written.
    """
    with whole_folder(folder) as aside:
        shown = _write_pictures(aside, evaluation, images, pictures, threads)
        _write_data(aside, evaluation, shown)
        for name, target in _STATIC.items():
            (aside / target).write_bytes(_template(name).encode())
        (aside / INDEX).write_text(_index(evaluation, about, ci=ci), encoding="utf-8", newline="\n")


def _write_pictures(
    aside: Path,
    evaluation: Evaluation,
    images: ImageOptions | None,
    pictures: Mapping[str, Path] | None,
    threads: int | None,
) -> list[Small | None]:
    """Each picture small; None where there is none to show."""
    (aside / "pictures").mkdir()
    examples = [example for example, _ in evaluation.captions]
    paths = [example.image if pictures is None else pictures.get(example.id) for example in examples]
    jobs = [(path, aside / "pictures" / f"{i:05d}.jpg") for i, path in enumerate(paths) if path is not None]
    quiet = not sys.stderr.isatty()
    written = iter(
        tqdm(
            write_small(jobs, images, threads), total=len(jobs), unit=" small pictures", disable=quiet, file=sys.stderr
        )
    )
    found = [None if path is None else next(written) for path in paths]
    return [None if isinstance(small, ImageError) else small for small in found]


def _write_data(aside: Path, evaluation: Evaluation, shown: Sequence[Small | None]) -> None:
    captions = [caption for _, caption in evaluation.captions]
    maps = [packed(caption.attention) if small else None for caption, small in zip(captions, shown, strict=True)]
    if any(maps):
        (aside / "attention").mkdir()
        for part in range(0, len(maps), PART):
            script = f"showtellAttention({part // PART}, {_json(maps[part : part + PART])});\n"
            (aside / "attention" / f"{part // PART:04d}.js").write_text(script, encoding="ascii")
    scores = evaluation.measured.scores
    names = sorted(scores, key=lambda name: name != _FIRST)
    data = {
        "metrics": names,
        "attention": PART if any(maps) else 0,
        "verbatim": bool(evaluation.verbatim),
        "pictures": [
            _picture(evaluation, i, small, [_points(scores[name].per_picture[i]) for name in names])
            for i, small in enumerate(shown)
        ],
    }
    (aside / "data.js").write_text(f"window.showtellPage = {_json(data)};\n", encoding="ascii")


def _picture(evaluation: Evaluation, i: int, small: Small | None, scores: list[float | None]) -> dict[str, Any]:
    example, caption = evaluation.captions[i]
    told: dict[str, Any] = {
        "id": printable(last_part(example.id)),
        "words": pieces(caption),
        "references": list(example.captions),
        "scores": scores,
        "own": _rounded(caption.score, 4),
    }
    if small:
        told |= {"width": small.width, "height": small.height}
        if small.seen and small.seen != (0.0, 0.0, 1.0, 1.0):
            told["seen"] = [round(share, 4) for share in small.seen]
    if len(caption.word_log_probabilities) == len(caption.tokens) + 1:
        told["logs"] = [_rounded(value, 2) for value in caption.word_log_probabilities]
    if evaluation.repeating[i]:
        told["repeats"] = True
    if evaluation.verbatim and evaluation.verbatim[i]:
        told["verbatim"] = True
    return told


def pieces(caption: Caption) -> list[str]:
    """The text of a caption in T parts, one for each word, with the blank before it if there is one: together the text.

    Where the text is not what `join_words` makes of the words, as another model family may write it, the words apart.
    """
    parts, before = [], ""
    for count in range(1, len(caption.tokens) + 1):
        text = join_words(caption.tokens[:count])
        parts.append(text[len(before) :])
        before = text
    if before == caption.text:
        return parts
    return [" " * bool(i) + word for i, word in enumerate(caption.tokens)] or [caption.text] * bool(caption.text)


def _index(evaluation: Evaluation, about: About, *, ci: bool) -> str:
    count = len(evaluation.captions)
    facts = [f"{count:,} picture{'s' * (count != 1)} of the split {about.split}", *about.notes]
    date = f"{about.date.day} {about.date:%B %Y, %H:%M} {about.date.tzname() or ''}".rstrip()
    values = {
        "mark": MARK,
        "title": _text(f"{about.model} on {about.data}, {about.split}"),
        "model": _text(about.model),
        "data": _text(about.data),
        "facts": "".join(f"<li>{_text(fact)}</li>" for fact in facts),
        "moment": _text(about.date.isoformat(timespec="minutes")),
        "date": _text(date),
        "command": _text(about.command),
        "scores": "\n".join(_scores(evaluation, ci=ci)),
        "failures": _failures(evaluation),
    }
    return Template(_template("evaluation.html")).substitute(values)


def _scores(evaluation: Evaluation, *, ci: bool) -> list[str]:
    rows = []
    for name, score in sorted(evaluation.measured.scores.items(), key=lambda entry: entry[0] != _FIRST):
        ends = " to ".join(f"{100 * end:.1f}" for end in confidence(score)) if ci else ""
        rows.append(_score(name, f"{100 * score.value:.1f}", ends, "score"))
    for name, value in evaluation.figures.items():
        plain = name.removesuffix(", %")
        figure = f"{value:,}" if isinstance(value, int) else f"{value:.1f}"
        rows.append(_score(plain, figure + " %" * (plain != name), "", "figure"))
    return rows


def _score(name: str, value: str, ends: str, kind: str) -> str:
    interval = f' <small title="95 % interval">{_text(ends)}</small>' if ends else ""
    return f'<div class="{kind}"><dt>{_text(name)}</dt><dd>{_text(value)}{interval}</dd></div>'


def _failures(evaluation: Evaluation) -> str:
    """The pictures that could not be read, with the reason; nothing where there are none."""
    rows = []
    for example, failure in zip(evaluation.failed, evaluation.failures, strict=True):
        name, reason = last_part(example.id), str(failure.error)
        for path in (failure.source, printable(failure.source)):
            reason = reason.removeprefix(path + ": ").replace(path, name)
        rows.append(f"<li><bdi>{_text(name)}</bdi>: {_text(without_folders(reason))}</li>")
    if not rows:
        return ""
    title = f"{len(rows):,} picture{'s' * (len(rows) != 1)} could not be read"
    return f'<details class="failures"><summary>{title}</summary>\n<ul>{"".join(rows)}</ul></details>'


def _text(text: str) -> str:
    """Text as HTML holds it, in an element or a quoted attribute."""
    return escape(printable(text))


def _points(value: float) -> float | None:
    return _rounded(100 * value, _DECIMALS)


def _rounded(value: float, decimals: int) -> float | None:
    """JSON has neither NaN, which a metric gives where it could not score, nor infinity."""
    return round(float(value), decimals) if math.isfinite(value) else None


def _json(value: Any) -> str:
    """As a script: ASCII alone, whatever stands in captions."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def _template(name: str) -> str:
    return files("showtell.pages").joinpath(name).read_text(encoding="utf-8")
