"""BLEU: the share of a caption's n-grams that a reference holds too, with a penalty for brevity.

Papineni, Roukos, Ward, Zhu: "BLEU: a Method for Automatic Evaluation of Machine Translation", ACL 2002. The digits are
those of the COCO caption evaluation: the reference closest in length counts, and each precision has a little added, so
that a caption without any matching n-gram scores nearly zero instead of exactly zero. N pictures.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from showtell.metrics.ngrams import check_count, check_references, count_ngrams

LONGEST = 4
_TINY, _SMALL = 1e-15, 1e-9  # added to numerators and denominators

Scores = tuple[float, float, float, float]


def bleu(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[Scores, NDArray[np.float64]]:
    """BLEU-1 to BLEU-4 of one candidate for each picture against the picture's references, white-space tokens.

    Returns the scores of the whole set, 0..1 (matches and lengths are summed over the pictures, so they are no means),
    and those of each picture on its own (N, 4) float64.
    Raises `DataError` where there is no picture, a picture has no reference, or the candidates are more or fewer.
    """
    check_references(references)
    check_count(len(candidates), len(references))
    # Columns: length of candidate, length of closest reference, matching n-grams of 1..4 words, n-grams of 1..4 words.
    counts = np.array(
        [_count(text.split(), [r.split() for r in texts]) for text, texts in zip(candidates, references, strict=True)]
    )
    return _scores(counts.sum(0)), np.array([_scores(row) for row in counts])


def _count(words: Sequence[str], references: Sequence[Sequence[str]]) -> list[int]:
    # Of two equally close the shorter.
    closest = min((len(reference) for reference in references), key=lambda length: (abs(length - len(words)), length))
    most = Counter[tuple[str, ...]]()  # how often the reference that holds it most often holds an n-gram
    for reference in references:
        most |= count_ngrams(reference, LONGEST)
    matching = [0] * LONGEST
    for ngram, count in (count_ngrams(words, LONGEST) & most).items():
        matching[len(ngram) - 1] += count
    return [len(words), closest, *matching, *(max(len(words) - n, 0) for n in range(LONGEST))]


def _scores(counts: NDArray[np.int64]) -> Scores:
    length, closest = counts[0], counts[1]
    precisions = (counts[2 : 2 + LONGEST] + _TINY) / (counts[2 + LONGEST :] + _SMALL)  # (4,)
    ratio = (length + _TINY) / (closest + _SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    one, two, three, four = np.cumprod(precisions) ** (1 / np.arange(1, LONGEST + 1)) * brevity
    return float(one), float(two), float(three), float(four)
