"""Runs of 1 to 4 words counted in many texts at once, by sorting.

T texts of M words together; of one length of n-gram: L occurrences, G different n-grams, E pairs of an n-gram and a
text that holds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from showtell.errors import DataError
from showtell.metrics.texts import Texts

LONGEST = 4  # of BLEU and of CIDEr


@dataclass(frozen=True)
class Counts:
    """The n-grams of one length, sorted by n-gram, then by text."""

    keys: NDArray[np.int64]  # (G,) ascending: id of all words but the last, times `base`, plus the last word
    gram: NDArray[np.intp]  # (E,) row of `keys`
    text: NDArray[np.intp]  # (E,)
    count: NDArray[np.intp]  # (E,) at least 1
    positions: NDArray[np.int64]  # (L,) where occurrences begin in the words of all texts
    first: NDArray[np.intp]  # (E,) row of `positions` of the pair's first occurrence, `count` of them follow


class NgramCounter:
    """Counts n-grams of one word, then of two, and so on.

    An n-gram is known by the id of its first n - 1 words and its last word, which fit one integer however many n-grams
    there are; nothing is hashed. The ids of each length are the caller's choice, told by `name`.
    """

    def __init__(self, texts: Texts, base: int) -> None:
        """`base` is above every word's id."""
        self._words, self._base = texts.words, base
        self._text = np.repeat(np.arange(len(texts.lengths)), texts.lengths)  # (M,)
        positions = np.arange(len(texts.words))
        self._left = np.repeat(np.cumsum(texts.lengths), texts.lengths) - positions  # (M,) words up to the text's end
        self._positions = positions
        self._prefix = np.zeros(len(positions), np.int64)  # (M,) id of the n-gram that begins here
        self._prefixes = 1  # ids are below
        self._length = 0
        self._sorted = (positions, positions)

    def count(self) -> Counts:
        """The n-grams that are one word longer than last time."""
        self._length += 1
        self._positions = self._positions[self._left[self._positions] >= self._length]
        keys = self._prefix[self._positions] * self._base + self._words[self._positions + self._length - 1]
        keys, positions = sort(keys, self._positions, self._prefixes * self._base)
        text = self._text[positions]
        new_gram = np.ones(len(keys), np.bool_)
        new_gram[1:] = keys[1:] != keys[:-1]
        new_pair = new_gram.copy()
        new_pair[1:] |= text[1:] != text[:-1]
        first = np.flatnonzero(new_pair)
        row = np.cumsum(new_gram) - 1  # (L,)
        self._sorted = (positions, row)
        return Counts(keys[new_gram], row[first], text[first], np.diff(first, append=len(keys)), positions, first)

    def name(self, ids: NDArray[np.int64], below: int) -> None:
        """Give the n-grams just counted their ids (G,), in the order of `Counts.keys`, all less than `below`."""
        positions, row = self._sorted
        self._prefix[positions] = ids[row]
        self._prefixes = below


def expand(starts: NDArray[np.integer], sizes: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """All places of ranges: for each the row of its range, and the place, (sum of sizes,) both."""
    rows = np.repeat(np.arange(len(sizes)), sizes)
    before = np.cumsum(sizes) - sizes
    return rows, np.arange(len(rows)) + (starts - before)[rows]


def find(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Whether ascending `keys` hold what is wanted (W,), and in which row; fastest where `wanted` ascends too."""
    if not len(keys):
        return np.zeros(len(wanted), np.bool_), np.zeros(len(wanted), np.intp)
    rows = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return keys[rows] == wanted, rows


def check_references(references: Sequence[Sequence[str]]) -> None:
    """Raise `DataError` where there is no picture, or a picture has no reference."""
    if not references:
        raise DataError("no pictures to score, expected one or more")
    for picture, texts in enumerate(references):
        if isinstance(texts, str):
            raise DataError(f"the references of picture {picture} are the text {texts!r}, expected a list of texts")
        if not texts:
            raise DataError(f"picture {picture} has no reference caption, expected one or more; leave it out")


def check_count(candidates: int, pictures: int) -> None:
    """Raise `DataError` where there is not one candidate for each picture."""
    if candidates != pictures:
        raise DataError(f"{candidates} candidates for {pictures} pictures, expected one for each picture")


def sort(
    keys: NDArray[np.int64], positions: NDArray[np.int64], below: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both sorted by key, then by position; keys are less than `below`, positions ascend."""
    bits = int(positions[-1]).bit_length() if len(positions) else 0
    if below.bit_length() + bits <= 63:  # one sort of plain integers is several times as fast as one of pairs
        packed = np.sort(keys << bits | positions)
        return packed >> bits, packed & ((1 << bits) - 1)
    order = np.argsort(keys, kind="stable")
    return keys[order], positions[order]
