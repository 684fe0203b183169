"""CIDEr-D: how much a caption says what people say of the picture, rare words counting more.

Vedantam, Zitnick, Parikh: "CIDEr: Consensus-based Image Description Evaluation", CVPR 2015, arXiv:1411.5726. The digits
are those of the COCO caption evaluation, whose choices beyond the paper are named below. N pictures.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from showtell.metrics.ngrams import Ngram, check_count, check_references, count_ngrams

LONGEST = 4  # n-grams of 1 to 4 words, all lengths weighing the same
SIGMA = 6.0  # of the Gaussian that punishes a length other than the reference's
SCALE = 10.0


@dataclass(frozen=True)
class _Vector:
    """A sentence as weights of its n-grams: count times inverse document frequency."""

    weights: dict[Ngram, float]
    norms: tuple[float, ...]  # Euclidean, of n-grams of 1, 2, 3, 4 words
    length: int  # in bigrams, as the COCO evaluation counts, so one word is as long as none


class CiderD:
    """References prepared once, to score many candidates: what self-critical training needs.

    Texts are words parted by white space. A document is a picture with all its references, so the score of a caption
    depends on the whole set of pictures; one picture alone makes every n-gram worthless and scores 0.
    """

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        """The references of each picture, one or more. Raises `DataError` where there are none."""
        check_references(references)
        counted = [[count_ngrams(text.split(), LONGEST) for text in texts] for texts in references]
        self._documents: Counter[Ngram] = Counter()  # in how many pictures' references an n-gram occurs
        for of_picture in counted:
            self._documents.update(set().union(*of_picture))
        self._log_pictures = math.log(len(references))
        self._references = [[self._vector(counts) for counts in of_picture] for of_picture in counted]

    def scores(self, candidates: Sequence[str], pictures: Sequence[int] | None = None) -> NDArray[np.float64]:
        """CIDEr-D of each candidate, float64, 0..10 (1.0 is what papers print as 100).

        `pictures` names the picture of each candidate, which may come several times; None means one candidate for each
        picture, in order. Raises `DataError` where their numbers differ.
        """
        if pictures is None:
            check_count(len(candidates), len(self._references))
            pictures = range(len(candidates))
        vectors = (self._vector(count_ngrams(text.split(), LONGEST)) for text in candidates)
        scores = [self._score(vector, picture) for vector, picture in zip(vectors, pictures, strict=True)]
        return np.array(scores, np.float64)

    def _vector(self, counts: Counter[Ngram]) -> _Vector:
        squares = [0.0] * LONGEST
        weights = {}
        for ngram, count in counts.items():
            # One that no reference holds counts as if one picture's did.
            weight = count * (self._log_pictures - math.log(max(1, self._documents[ngram])))
            weights[ngram] = weight
            squares[len(ngram) - 1] += weight * weight
        length = sum(count for ngram, count in counts.items() if len(ngram) == 2)
        return _Vector(weights, tuple(map(math.sqrt, squares)), length)

    def _score(self, candidate: _Vector, picture: int) -> float:
        references = self._references[picture]
        return SCALE * sum(_similarity(candidate, reference) for reference in references) / len(references)


def cider_d(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, NDArray[np.float64]]:
    """CIDEr-D of one candidate for each picture against the picture's references, all words parted by white space.

    Returns the mean over the pictures and the score of each (N,) float64, 0..10 (1.0 is what papers print as 100).
    Raises `DataError` where there is no picture, a picture has no reference, or the candidates are more or fewer.
    """
    scores = CiderD(references).scores(candidates)
    return float(scores.mean()), scores


def _similarity(candidate: _Vector, reference: _Vector) -> float:
    """Cosine per length of n-gram, their mean, times the Gaussian of the difference in length."""
    products = [0.0] * LONGEST
    for ngram, weight in candidate.weights.items():
        if ngram in reference.weights:
            # Clipped: saying a word more often than the reference gains nothing.
            other = reference.weights[ngram]
            products[len(ngram) - 1] += min(weight, other) * other
    total = 0.0
    for product, ours, theirs in zip(products, candidate.norms, reference.norms, strict=True):
        if ours and theirs:
            total += product / (ours * theirs)
    return total / LONGEST * math.exp(-((candidate.length - reference.length) ** 2) / (2 * SIGMA**2))
