"""Texts as ids of their words, made once for all scores. T texts of M words together.

Words are what white space parts, as `str.split` has it.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, repeat

import numpy as np
from numpy.typing import NDArray

from showtell.errors import DataError

Text = str | Sequence[str]  # words parted by white space, or words
_AT_ONCE = 1024  # texts; a list of words takes far more memory than their ids


@dataclass(frozen=True)
class Texts:
    """Which words each text holds."""

    words: NDArray[np.int64]  # (M,) ids, text after text
    lengths: NDArray[np.int64]  # (T,) words of each text
    distinct: int  # every id is below
    odd: NDArray[np.intp]  # (O,) texts with other white space than single spaces between words, the empty text not

    @property
    def starts(self) -> NDArray[np.int64]:
        """Place in `words` of the first word of each text, (T,)."""
        return np.cumsum(self.lengths) - self.lengths


def learn(texts: Sequence[Text]) -> tuple[Texts, dict[str, int]]:
    """Give each word an id, in order of appearance from 0. Returns the texts as ids, and the ids by word.

    Raises `DataError` where a text is neither a text nor words.
    """
    ids: defaultdict[str, int] = defaultdict(count().__next__)
    arrays, lengths, odd = [], [], []
    for words, sizes, strange in _split(texts):
        arrays.append(np.fromiter(map(ids.__getitem__, words), np.int64, len(words)))
        lengths.append(sizes)
        odd += strange
    return _texts(arrays, lengths, odd, len(ids)), dict(ids)


def encode(texts: Sequence[Text], known: dict[str, int]) -> Texts:
    """Texts as ids of `known` (from `learn`, which stays as it is); other words get ids from `len(known)` on.

    Raises `DataError` where a text is neither a text nor words.
    """
    others: defaultdict[str, int] = defaultdict(count(len(known)).__next__)
    arrays, lengths, odd = [], [], []
    for words, sizes, strange in _split(texts):
        array = np.fromiter(map(known.get, words, repeat(-1)), np.int64, len(words))
        for place in np.flatnonzero(array < 0).tolist():
            array[place] = others[words[place]]
        arrays.append(array)
        lengths.append(sizes)
        odd += strange
    return _texts(arrays, lengths, odd, len(known) + len(others))


def _texts(
    words: Sequence[NDArray[np.int64]], lengths: Sequence[NDArray[np.int64]], odd: Sequence[int], distinct: int
) -> Texts:
    nothing = np.zeros(0, np.int64)
    return Texts(
        np.concatenate([nothing, *words]), np.concatenate([nothing, *lengths]), distinct, np.array(odd, np.intp)
    )


def _split(texts: Sequence[Text]) -> Iterator[tuple[list[str], NDArray[np.int64], list[int]]]:
    """Some texts at a time: all their words, the number of words of each, and the places of the odd ones."""
    for start in range(0, len(texts), _AT_ONCE):
        some = texts[start : start + _AT_ONCE]
        try:
            words, lengths, odd = _split_some(some)
        except TypeError as error:
            place = next((i for i, text in enumerate(some) if not _is_text(text)), 0)
            raise DataError(f"text {start + place} is {some[place]!r}, expected a text or a list of words") from error
        yield words, np.array(lengths, np.int64), [start + place for place in odd]


def _split_some(texts: Sequence[Text]) -> tuple[list[str], list[int], list[int]]:
    if not all(isinstance(text, str) for text in texts):
        parted = [text.split() if isinstance(text, str) else text for text in texts]
        words = list(chain.from_iterable(parted))
        if not all(isinstance(word, str) for word in words):
            raise TypeError("a word is no text")
        return words, list(map(len, parted)), []
    strings = [text for text in texts if isinstance(text, str)]
    joined = " ".join(filter(None, strings))
    words = joined.split()
    if " ".join(words) == joined:  # as tokenizers leave texts: counting spaces is faster than parting each text
        return words, [text.count(" ") + 1 if text else 0 for text in strings], []
    split = [text.split() for text in strings]
    odd = [i for i, (text, words) in enumerate(zip(strings, split, strict=True)) if text and " ".join(words) != text]
    return list(chain.from_iterable(split)), list(map(len, split)), odd


def _is_text(text: object) -> bool:
    return isinstance(text, str) or (isinstance(text, Sequence) and all(isinstance(word, str) for word in text))
