"""Evaluations made by hand, of generated pictures, for tests of their pages: no model runs."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from showtell import Caption, Failure, ImageError
from showtell.data.example import Example
from showtell.evaluation import Evaluation
from showtell.metrics.measure import measure, tokenize_references
from showtell.metrics.repetition import repeats
from showtell.pages.evaluation import About
from showtell.tokenizers import join_words

ABOUT = About(
    command="showtell evaluate tiny --data shapes --page page",
    model="tiny",
    data="shapes",
    split="test",
    date=datetime(2026, 3, 1, 9, 5, tzinfo=UTC),
    notes=("beam 3",),
)
CORNERS = {"upper left": (0, 0), "upper right": (0, 1), "lower left": (1, 0), "lower right": (1, 1)}


@dataclass(kw_only=True)
class Told:
    """A picture, what a model said of it, and what people said."""

    words: str  # parted by blanks
    references: tuple[str, ...] = ("a red circle", "the circle is red")
    id: str = ""
    size: tuple[int, int] = (200, 150)
    colour: tuple[int, int, int] = (200, 60, 50)
    looks: tuple[str, ...] = ()  # of each word a key of CORNERS; none where there is no attention
    logs: bool = True
    missing: bool = False  # no picture file


@dataclass(kw_only=True)
class Sample:
    rows: list[Told] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)  # id, reason behind the path
    metrics: tuple[str, ...] = ("BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr")
    training: tuple[str, ...] = ()


def corner(name: str) -> np.ndarray:
    """Attention (6, 6) in one quarter of the picture."""
    weights = np.full((6, 6), 1e-4, np.float32)
    row, column = CORNERS[name]
    weights[3 * row : 3 * row + 3, 3 * column : 3 * column + 3] = 0.1
    return weights


def drawn(path: Path, size: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Write a circle on pale ground."""
    picture = Image.new("RGB", size, (232, 226, 214))
    width, height = size
    side = min(size) / 3
    ImageDraw.Draw(picture).ellipse(
        (width / 2 - side, height / 2 - side, width / 2 + side, height / 2 + side), fill=colour
    )
    picture.save(path)


def evaluated(folder: Path, sample: Sample) -> Evaluation:
    """The evaluation of a sample, its pictures in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for i, told in enumerate(sample.rows):
        path = folder / f"{i:04d}.png"
        if not told.missing:
            drawn(path, told.size, told.colour)
        example = Example(id=told.id or path.name, image=path, captions=told.references, split="test")
        pairs.append((example, caption(told)))
    failed = [Example(id=name, image=folder / name, captions=("x",), split="test") for name, _ in sample.failures]
    failures = [
        Failure(str(example.image), ImageError(f"{example.image}: {reason}"))
        for example, (_, reason) in zip(failed, sample.failures, strict=True)
    ]
    measured = measure(
        [[caption.text] for _, caption in pairs],
        tokenize_references([example.captions for example, _ in pairs]),
        sample.metrics,
    )
    repeating = tuple(repeats(caption.tokens) for _, caption in pairs)
    verbatim = tuple(caption.text in sample.training for _, caption in pairs) if sample.training else ()
    figures = {"repeating captions, %": 100 * sum(repeating) / len(pairs), "words per caption": 3.0}
    return Evaluation(tuple(pairs), tuple(failures), tuple(failed), measured, figures, repeating, verbatim)


def caption(told: Told) -> Caption:
    """Each word is a little less likely than the one before."""
    words = tuple(told.words.split())
    logs = tuple(-0.25 * (i + 1) for i in range(len(words) + 1))
    attention = np.stack([corner(name) for name in told.looks]) if told.looks else None
    text = join_words(words)
    return Caption(told.id, text, words, sum(logs), sum(logs) / (len(words) or 1), attention, logs if told.logs else ())
