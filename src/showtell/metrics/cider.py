"""CIDEr-D: how much a caption agrees with what people say of the picture, rare n-grams counting more.

Vedantam, Zitnick, Parikh: "CIDEr: Consensus-based Image Description Evaluation", CVPR 2015, arXiv:1411.5726, section
on CIDEr-D. As in the COCO caption evaluation, term frequencies are counts, not shares, and the length that the Gaussian
penalty compares is the number of bigrams.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from showtell.metrics.ngrams import Ngram, count_ngrams

LONGEST = 4
SIGMA = 6.0


@dataclass(frozen=True)
class _Vector:
    """A caption as tf-idf weights, one table per n-gram length, with their norms and the number of bigrams."""

    weights: tuple[dict[Ngram, float], ...]
    norms: tuple[float, ...]
    bigrams: int


class CiderD:
    """References prepared once; candidates scored against them one by one.

    `references` holds the texts of each picture, words parted by white space. Document frequencies are theirs.
    """

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        counts = [[count_ngrams(text.split(), LONGEST) for text in texts] for texts in references]
        self._pictures_with: Counter[Ngram] = Counter()
        for of_picture in counts:
            self._pictures_with.update({ngram for count in of_picture for ngram in count})
        self._log_pictures = math.log(len(references)) if references else 0.0
        self._references = [[self._vector(count) for count in of_picture] for of_picture in counts]

    def score(self, picture: int, candidate: str) -> float:
        """CIDEr-D of a candidate for a picture by its place: 0 to 10. A picture without references scores 0."""
        references = self._references[picture]
        if not references:
            return 0.0
        ours = self._vector(count_ngrams(candidate.split(), LONGEST))
        return 10.0 * sum(_similarity(ours, theirs) for theirs in references) / len(references)

    def _vector(self, counts: Counter[Ngram]) -> _Vector:
        weights: tuple[dict[Ngram, float], ...] = tuple({} for _ in range(LONGEST))
        bigrams = 0
        for ngram, count in counts.items():
            rarity = self._log_pictures - math.log(max(1, self._pictures_with[ngram]))
            weights[len(ngram) - 1][ngram] = count * rarity
            bigrams += count * (len(ngram) == 2)
        return _Vector(weights, tuple(math.sqrt(sum(w * w for w in of_n.values())) for of_n in weights), bigrams)


def cider_d(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, NDArray[np.float64]]:
    """Mean CIDEr-D and that of each picture, 0 to 10; texts hold words parted by white space."""
    scorer = CiderD(references)
    scores = np.array([scorer.score(i, candidate) for i, candidate in enumerate(candidates)], np.float64)
    return (float(scores.mean()) if len(scores) else 0.0), scores


def _similarity(ours: _Vector, theirs: _Vector) -> float:
    """Clipped cosine of each n-gram length, damped by the difference in length; their mean."""
    total = 0.0
    for mine, other, my_norm, other_norm in zip(ours.weights, theirs.weights, ours.norms, theirs.norms, strict=True):
        shared = sum(min(w, other[ngram]) * other[ngram] for ngram, w in mine.items() if ngram in other)
        if my_norm and other_norm:
            total += shared / (my_norm * other_norm)
    difference = ours.bigrams - theirs.bigrams
    return total / LONGEST * math.exp(-(difference**2) / (2 * SIGMA**2))
