"""A data set as training sees it: rows of a store, captions as ids, and batches of them.

B pictures, K captions of each, T words.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from showtell.data.example import Example
from showtell.errors import DataError
from showtell.recipe import VocabularyOptions
from showtell.vocabulary import END, PAD, START, Vocabulary

# Captions that tell left from right are wrong of the mirrored picture.
_SIDED = re.compile(r"\b(left|right)", re.IGNORECASE)


@dataclass(frozen=True)
class Picture:
    """One picture of a split: its example, its row in the store, and its captions as ids, end mark included."""

    example: Example
    row: int
    captions: tuple[tuple[int, ...], ...]
    flipped_row: int | None = None  # of its mirror image, if that may be shown with these captions


@dataclass(frozen=True)
class Counts:
    """What preparing the captions changed or left out."""

    cut: int  # captions longer than the limit
    without_picture: int  # captions whose picture is missing or damaged
    empty: int  # captions without a word to learn

    def __str__(self) -> str:
        told = [
            f"{count:,} captions {what}"
            for count, what in (
                (self.cut, "cut to the word limit"),
                (self.without_picture, "left out: their picture is missing or damaged"),
                (self.empty, "left out: no word to learn in them"),
            )
            if count
        ]
        return "; ".join(told)


@dataclass(frozen=True)
class Batch:
    """Arrays of one step; a picture's captions are sorted longest first.

    `ids` (B,) of the pictures' examples, `rows` (B,), `tokens` (B, K, T) with the start mark in front, `targets`
    (B, K, T) with the end mark behind, `lengths` (B, K) of targets, 0 where a picture has fewer captions.
    """

    ids: list[str]
    rows: list[int]
    tokens: NDArray[np.int64]
    targets: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def of(self, places: Sequence[int]) -> "Batch":
        """Some of its pictures, in the order of `places`."""
        ids, rows, chosen = [self.ids[i] for i in places], [self.rows[i] for i in places], list(places)
        return Batch(ids, rows, self.tokens[chosen], self.targets[chosen], self.lengths[chosen])


def by_split(examples: Sequence[Example], split: str) -> list[Example]:
    """Examples of a split. Raises `DataError` naming the splits there are where it is empty."""
    chosen = [example for example in examples if example.split == split]
    if not chosen:
        found = sorted({example.split or "none" for example in examples})
        raise DataError(
            f"no picture in the {split} split ({len(examples):,} pictures, splits: {', '.join(found) or 'none'}); "
            "make one with `showtell data split DIR`"
        )
    return chosen


def vocabulary_of(examples: Sequence[Example], options: VocabularyOptions) -> Vocabulary:
    """The words of the examples' captions as a recipe asks for them. Raises `VocabularyError` where none remains."""
    return Vocabulary.build(
        (caption for example in examples for caption in example.captions),
        tokenizer=options.tokenizer,
        min_count=options.min_count,
        max_size=options.max_size,
        unknown=options.unknown,
    )


def pictures(
    examples: Sequence[Example],
    rows: Mapping[str, int],
    vocabulary: Vocabulary,
    max_words: int,
    flipped: Mapping[str, int] | None = None,
) -> tuple[list[Picture], Counts]:
    """Captions to ids, those over `max_words` cut, those without words or without a picture left out; all counted.

    `flipped` are the rows of mirror images; a picture whose captions tell left from right gets none.
    """
    kept, cut, without_picture, empty = [], 0, 0, 0
    for example in examples:
        if example.id not in rows:
            without_picture += len(example.captions)
            continue
        captions = []
        for caption in example.captions:
            ids = vocabulary.encode(caption)
            if not ids:
                empty += 1
                continue
            cut += len(ids) > max_words
            captions.append((*ids[:max_words], END))
        sided = any(_SIDED.search(caption) for caption in example.captions)
        flipped_row = None if sided else (flipped or {}).get(example.id)
        kept.append(Picture(example, rows[example.id], tuple(captions), flipped_row))
    return kept, Counts(cut, without_picture, empty)


def make_batch(
    chosen: Sequence[Picture],
    limit: int = 0,
    random: np.random.Generator | None = None,
    *,
    padding: bool = False,
) -> Batch:
    """Pad captions to one array.

    `random` draws `limit` > 0 captions where a picture has more, and whether it is mirrored; None takes all as they
    are. With `padding` every caption is as long as the longest: after its end mark padding is to be told.
    """
    captions, rows = [], []
    for picture in chosen:
        mirrored = random is not None and picture.flipped_row is not None and random.random() < 0.5
        rows.append(picture.flipped_row if mirrored and picture.flipped_row is not None else picture.row)
        of_picture = list(picture.captions)
        if random is not None and 0 < limit < len(of_picture):
            of_picture = [of_picture[i] for i in random.permutation(len(of_picture))[:limit]]
        captions.append(sorted(of_picture, key=len, reverse=True))
    shape = (len(chosen), max(map(len, captions)), max(len(c) for of_picture in captions for c in of_picture))
    tokens, targets = np.full(shape, PAD, np.int64), np.full(shape, PAD, np.int64)
    lengths = np.zeros(shape[:2], np.int64)
    for b, of_picture in enumerate(captions):
        for k, caption in enumerate(of_picture):
            tokens[b, k, : len(caption)] = (START, *caption[:-1])
            targets[b, k, : len(caption)] = caption
            lengths[b, k] = len(caption)
            if padding:
                tokens[b, k, len(caption) : len(caption) + 1] = END  # read, as a decoder would that goes on
                lengths[b, k] = shape[2]
    return Batch([picture.example.id for picture in chosen], rows, tokens, targets, lengths)


def fingerprint(examples: Sequence[Example]) -> str:
    """sha256 of ids, splits and captions: a run goes on only with the data that it began with."""
    digest = hashlib.sha256()
    for example in sorted(examples, key=lambda e: e.id):
        digest.update(json.dumps([example.id, example.split, *example.captions]).encode())
    return digest.hexdigest()
