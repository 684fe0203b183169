"""CIDEr: how much a caption says what people say of the picture, rare words counting more.

Vedantam, Zitnick, Parikh: "CIDEr: Consensus-based Image Description Evaluation", CVPR 2015, arXiv:1411.5726. What the
COCO caption evaluation calls CIDEr is the paper's CIDEr-D, and so is `CIDEr` here, with the same digits; the paper's
CIDEr, without clipping and without a punishment of length, is `plain`. Words are not stemmed, unlike in the paper.
P pictures, B candidates, R pairs of a candidate and a reference; G different n-grams of one length in the references.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from showtell.errors import DataError
from showtell.metrics.documents import Documents
from showtell.metrics.ngrams import LONGEST, expand
from showtell.metrics.references import Matches, References, match
from showtell.metrics.texts import Text, Texts

SIGMA = 6.0  # of the Gaussian that punishes a length other than the reference's
SCALE = 10.0


class Weights:
    """How much each n-gram of the references counts, and how long the references are as vectors of such weights."""

    def __init__(self, references: References) -> None:
        log_pictures = math.log(references.documents)
        self.ngrams: list[NDArray[np.float64]] = []  # (G + 1,) for 1..4 words, the last for any other n-gram
        self.norms = np.zeros((LONGEST, len(references.strings)))  # Euclidean
        for n, level in enumerate(references.levels):
            # One that no reference holds counts as if one picture's did.
            documents = np.append(np.maximum(level.documents, 1), 1)
            self.ngrams.append(log_pictures - np.log(documents))
            gram = level.groups % max(len(level.keys), 1)  # (Q,)
            row, held = expand(level.first, level.size)
            squares = (level.count[held] * self.ngrams[n][gram][row]) ** 2
            self.norms[n] = np.sqrt(np.bincount(level.text[held], squares, self.norms.shape[1]))


class CiderD:
    """References prepared once, to score many candidates: what self-critical training needs.

    A document is a picture with all its references, so the score of a caption depends on the whole set of pictures; one
    picture alone makes every n-gram worthless and scores 0. `documents` replace these counts by those of another set,
    such as the training pictures. `plain` gives the paper's first form, without clipping and length.

    In training: `scorer.scores_of_ids(tokens.cpu().numpy(), lengths.cpu().numpy(), pictures)` of sampled captions.
    """

    def __init__(
        self,
        references: Sequence[Sequence[str]],
        documents: Documents | None = None,
        *,
        words: Sequence[str] | None = None,
        plain: bool = False,
    ) -> None:
        """The references of each picture, one or more, words parted by white space; they should not hold an end mark.

        `words` is the vocabulary whose places `scores_of_ids` takes for words.
        Raises `DataError` where there is no picture or one without references.
        """
        self._references = prepare(references, documents)
        self._weights = Weights(self._references)
        self._plain = plain
        known = self._references.vocabulary
        # A word that no reference holds gets an id above theirs, as the word beside it does.
        self._ids = None if words is None else np.array([known.get(w, len(known) + i) for i, w in enumerate(words)])

    def scores(self, candidates: Sequence[Text], pictures: ArrayLike | None = None) -> NDArray[np.float64]:
        """CIDEr-D of each candidate (a text, or its words), float64, 0..10 (1.0 is what papers print as 100).

        `pictures` names the picture of each candidate, which may come several times; None means one candidate for each
        picture, in order. Raises `DataError` where their numbers differ or a picture is not there.
        """
        return self.scores_of(match(self._references, candidates, pictures))

    def scores_of_ids(self, ids: ArrayLike, lengths: ArrayLike, pictures: ArrayLike) -> NDArray[np.float64]:
        """The same of rows of word ids (B, T), of which the first `lengths` (B,) count; `pictures` (B,) as in `scores`.

        Start and end marks are words like any other: leave them out of the lengths, or put them into the references.
        Raises as `matches_of_ids`.
        """
        return self.scores_of(self.matches_of_ids(ids, lengths, pictures))

    def matches_of_ids(self, ids: ArrayLike, lengths: ArrayLike, pictures: ArrayLike) -> Matches:
        """Such rows laid beside their pictures' references, for several scores of the same.

        Raises `DataError` where the scorer has no vocabulary, shapes do not fit, or an id or picture is not there.
        """
        if self._ids is None:
            raise DataError("this scorer knows no word ids; make it with the model's vocabulary, words=...")
        rows, sizes = np.asarray(ids), np.asarray(lengths, np.int64)
        if rows.ndim != 2 or sizes.shape != rows.shape[:1]:
            raise DataError(f"ids of shape {rows.shape} and lengths of shape {sizes.shape}, expected (B, T) and (B,)")
        if len(sizes) and not 0 <= sizes.min() <= sizes.max() <= rows.shape[1]:
            raise DataError(f"lengths from {sizes.min()} to {sizes.max()}, expected 0 to {rows.shape[1]}")
        chosen = rows[np.arange(rows.shape[1]) < sizes[:, None]]  # (M,)
        if len(chosen) and not 0 <= chosen.min() <= chosen.max() < len(self._ids):
            raise DataError(f"word ids from {chosen.min()} to {chosen.max()}, expected 0 to {len(self._ids) - 1}")
        distinct = len(self._references.vocabulary) + len(self._ids)
        texts = Texts(self._ids[chosen.astype(np.intp)], sizes, distinct, np.zeros(0, np.intp))
        return Matches(self._references, texts, pictures)

    def scores_of(self, matches: Matches) -> NDArray[np.float64]:
        """CIDEr-D (B,) of captions that are laid beside these references."""
        return cider_scores(matches, self._weights, plain=self._plain)


def cider_d(
    candidates: Sequence[str], references: Sequence[Sequence[str]], documents: Documents | None = None
) -> tuple[float, NDArray[np.float64]]:
    """CIDEr-D of one candidate for each of N pictures against the picture's references, words parted by white space.

    Returns the mean over the pictures and the score of each (N,) float64, 0..10 (1.0 is what papers print as 100).
    Raises `DataError` where there is no picture, a picture has no reference, or the candidates are more or fewer.
    """
    scores = CiderD(references, documents).scores(candidates)
    return float(scores.mean()), scores


def prepare(references: Sequence[Sequence[str]], documents: Documents | None) -> References:
    """References whose n-grams have the document frequencies of `documents`, or their own."""
    if documents is None:
        return References(references)
    return References(references, documents.ngrams, documents.pictures)


def cider_scores(matches: Matches, weights: Weights, *, plain: bool = False) -> NDArray[np.float64]:
    """CIDEr-D (B,), or the paper's plain CIDEr: ten times the mean cosine over n-gram lengths and references."""
    references, lengths = matches.references, matches.texts.lengths
    if not len(lengths):
        return np.zeros(0)
    total = np.zeros(len(matches.pair_text))  # (R,)
    for n, (level, found) in enumerate(zip(references.levels, matches.levels, strict=True)):
        counts, ngrams = found.counts, weights.ngrams[n]
        weight = counts.count * ngrams[np.minimum(found.gram, len(ngrams) - 1)]  # (E,)
        norms = np.sqrt(np.bincount(counts.text, weight * weight, len(lengths)))  # (B,)
        row, held = expand(level.first[found.group], level.size[found.group])
        entry = found.held[row]
        theirs = level.count[held]
        # Clipped: saying a word more often than the reference gains nothing.
        ours = counts.count[entry] if plain else np.minimum(counts.count[entry], theirs)
        parts = ours * theirs * ngrams[found.gram[entry]] ** 2
        pair = matches.to_pair[counts.text[entry]] + level.text[held]
        products = np.bincount(pair, parts, len(total))  # (R,)
        both = norms[matches.pair_candidate] * weights.norms[n][matches.pair_text]
        total += np.divide(products, both, out=np.zeros(len(total)), where=both > 0)
    if not plain:
        # In bigrams, as the COCO evaluation counts, so one word is as long as none.
        longer = np.maximum(lengths - 1, 0)[matches.pair_candidate]
        longer = longer - np.maximum(references.lengths[matches.pair_text] - 1, 0)
        total *= np.exp(-(longer**2) / (2 * SIGMA**2))
    sums: NDArray[np.float64] = np.add.reduceat(total, matches.pair_first)
    return SCALE / LONGEST * sums / np.bincount(matches.pair_candidate)
