"""References prepared once, and candidates laid beside them: what BLEU, ROUGE-L and CIDEr share.

P pictures, T reference texts, B candidates; R pairs of a candidate and a reference of its picture. Of one length of
n-gram: G different n-grams, E pairs of an n-gram and a text that holds it, Q pairs of an n-gram and a picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import ArrayLike, NDArray

from showtell.errors import DataError
from showtell.metrics.ngrams import LONGEST, Counts, NgramCounter, check_count, check_references, find, sort
from showtell.metrics.texts import Text, Texts, encode, learn


@dataclass(frozen=True)
class Level:
    """The references' n-grams of one length."""

    keys: NDArray[np.int64]  # (G,) ascending, see `Counts`; an n-gram's row is its id
    groups: NDArray[np.int64]  # (Q,) ascending: picture times G plus n-gram; a picture's stand close in memory
    first: NDArray[np.int32]  # (Q,) row of the arrays below, `size` rows belong to the group
    size: NDArray[np.int32]  # (Q,)
    text: NDArray[np.int32]  # (E,)
    count: NDArray[np.int32]  # (E,)
    documents: NDArray[np.int64]  # (G,) in how many pictures' references the n-gram occurs, of these or those told


@dataclass(frozen=True)
class Match:
    """The candidates' n-grams of one length. E counts pairs of candidates here; H of them the references hold too."""

    counts: Counts
    gram: NDArray[np.int64]  # (E,) id of the n-gram, G or more for one that is in no reference
    held: NDArray[np.intp]  # (H,) rows of `counts` whose n-gram the references of the candidate's picture hold
    group: NDArray[np.intp]  # (H,) where: row of `Level.groups`


class References:
    """The references of P pictures, ready to be compared with any number of candidates.

    `documents` are numbers of pictures by n-gram (words parted by a space), out of `pictures`, that replace those
    counted in the references. Raises `DataError` where there is no picture or one without a reference.
    """

    def __init__(
        self,
        references: Sequence[Sequence[str]],
        documents: Mapping[str, int] | None = None,
        pictures: int | None = None,
    ) -> None:
        check_references(references)
        sizes = np.array(list(map(len, references)))
        strings = list(chain.from_iterable(references))
        told = list(documents or ())
        texts, self.vocabulary = learn([*strings, *told])
        self.strings = strings  # (T,)
        self.lengths = texts.lengths[: len(strings)]  # (T,) words
        self.odd = texts.odd[texts.odd < len(strings)]  # see `Texts`
        self.first = np.concatenate([[0], np.cumsum(sizes)])  # (P + 1,) the first text of each picture
        self.documents = len(references) if pictures is None else pictures  # how many pictures documents are out of
        self._picture = np.repeat(np.arange(len(sizes)), sizes)  # (T,)
        self.levels: list[Level] = []
        counter = NgramCounter(texts, max(texts.distinct, 1))
        for length in range(1, LONGEST + 1):
            counts = counter.count()
            counter.name(np.arange(len(counts.keys)), len(counts.keys))
            if length == 1:
                self.masks = self._masks(counts, texts)  # (E,) of the first level: bit i: the text's word i is this one
            level = self._level(counts)
            if documents is not None:
                # Told n-grams stand behind the references, each a text of its own.
                whole = (counts.text >= len(strings)) & (texts.lengths[counts.text] == length)
                values = np.array(list(documents.values()), np.int64)
                level.documents[:] = 0
                level.documents[counts.gram[whole]] = values[counts.text[whole] - len(strings)]
            self.levels.append(level)

    def __len__(self) -> int:
        return len(self.first) - 1

    def _level(self, counts: Counts) -> Level:
        known = counts.text < len(self.strings)
        text = counts.text[known]
        gram, picture = counts.gram[known], self._picture[text]
        new = np.ones(len(text), np.bool_)
        new[1:] = (gram[1:] != gram[:-1]) | (picture[1:] != picture[:-1])
        first = np.flatnonzero(new)
        size = np.diff(first, append=len(text))
        pictures, ngrams = len(self), len(counts.keys)
        groups, order = sort(picture[first] * ngrams + gram[first], np.arange(len(first)), pictures * ngrams)
        return Level(
            keys=counts.keys,
            groups=groups,
            first=first[order].astype(np.int32),
            size=size[order].astype(np.int32),
            text=text.astype(np.int32),
            count=counts.count[known].astype(np.int32),
            documents=np.bincount(gram[first], minlength=ngrams),
        )

    def _masks(self, counts: Counts, texts: Texts) -> NDArray[np.uint64]:
        if not len(counts.first):
            return np.zeros(0, np.uint64)
        place = counts.positions - np.repeat(texts.starts[counts.text], counts.count)
        bits = np.left_shift(np.uint64(1), (place & 63).astype(np.uint64))  # of longer texts it is not used
        masks: NDArray[np.uint64] = np.bitwise_or.reduceat(bits, counts.first)
        return masks[counts.text < len(self.strings)]


class Matches:
    """B candidates laid beside the references of their pictures."""

    def __init__(self, references: References, texts: Texts, pictures: ArrayLike | None = None) -> None:
        """`pictures` (B,) names the picture of each candidate; None means one for each, in order.

        Raises `DataError` where the numbers differ or a picture is not there.
        """
        self.references, self.texts = references, texts
        self.pictures = _pictures(len(texts.lengths), len(references), pictures)  # (B,)
        first = references.first[self.pictures]
        sizes = references.first[self.pictures + 1] - first
        self.pair_first = np.cumsum(sizes) - sizes  # (B,) row of the candidate's first pair
        self.pair_candidate = np.repeat(np.arange(len(sizes)), sizes)  # (R,)
        self.to_pair = self.pair_first - first  # (B,) text + to_pair is the row of the pair
        self.pair_text = np.arange(len(self.pair_candidate)) - self.to_pair[self.pair_candidate]  # (R,)

    @cached_property
    def levels(self) -> list[Match]:
        """The n-grams of 1, 2, 3, 4 words."""
        words = len(self.references.vocabulary)
        base = max(words, self.texts.distinct, 1)
        counter = NgramCounter(self.texts, base)
        levels = []
        for level in self.references.levels:
            counts = counter.count()
            ids = _ids(counts.keys, base, level.keys, max(words, 1))
            counter.name(ids, len(level.keys) + len(counts.keys))
            gram = ids[counts.gram]
            known = np.flatnonzero(gram < len(level.keys))
            wanted = self.pictures[counts.text[known]] * len(level.keys) + gram[known]
            order = np.argsort(wanted)  # so that one search begins where another has just been
            found, rows = find(level.groups, wanted[order])
            levels.append(Match(counts, gram, known[order[found]], rows[found]))
        return levels


def match(references: References, candidates: Sequence[Text], pictures: ArrayLike | None = None) -> Matches:
    """Lay candidates (texts, or lists of words) beside the references of their pictures; see `Matches`."""
    return Matches(references, encode(candidates, references.vocabulary), pictures)


def _pictures(candidates: int, known: int, pictures: ArrayLike | None) -> NDArray[np.intp]:
    if pictures is None:
        check_count(candidates, known)
        return np.arange(known)
    chosen = np.asarray(pictures, np.intp)
    if chosen.shape != (candidates,):
        raise DataError(f"{candidates} candidates and {chosen.size} picture numbers, expected one for each candidate")
    if candidates and not 0 <= chosen.min() <= chosen.max() < known:
        wrong = int(chosen[(chosen < 0) | (chosen >= known)][0])
        raise DataError(f"picture number {wrong} is not there, expected 0 to {known - 1}")
    return chosen


def _ids(keys: NDArray[np.int64], base: int, known: NDArray[np.int64], known_base: int) -> NDArray[np.int64]:
    """Ids of n-grams (W,): their rows in `known`, those that are not there numbered from `len(known)` on."""
    prefix, word = np.divmod(keys, base)
    ids = np.arange(len(known), len(known) + len(keys))
    # A word that no reference has would be taken for another, a beginning would not; keys still ascend without them.
    possible = np.flatnonzero(word < known_base)
    found, rows = find(known, prefix[possible] * known_base + word[possible])
    ids[possible[found]] = rows[found]
    return ids
