"""BLEU: the share of a caption's n-grams that a reference holds too, with a penalty for brevity.

Papineni, Roukos, Ward, Zhu: "BLEU: a Method for Automatic Evaluation of Machine Translation", ACL 2002. The digits are
those of the COCO caption evaluation: the reference closest in length counts, and each precision has a little added, so
that a caption without any matching n-gram scores nearly zero instead of exactly zero. B candidates.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from showtell.metrics.ngrams import LONGEST, expand
from showtell.metrics.references import Matches, References, match

_TINY, _SMALL = 1e-15, 1e-9  # added to numerators and denominators

Scores = tuple[float, float, float, float]


def bleu(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[Scores, NDArray[np.float64]]:
    """BLEU-1 to BLEU-4 of one candidate for each of N pictures against the picture's references, white-space tokens.

    Returns the scores of the whole set, 0..1 (matches and lengths are summed over the pictures, so they are no means),
    and those of each picture on its own (N, 4) float64.
    Raises `DataError` where there is no picture, a picture has no reference, or the candidates are more or fewer.
    """
    counts = bleu_counts(match(References(references), candidates))
    one, two, three, four = bleu_of(counts.sum(0)).tolist()
    return (one, two, three, four), bleu_of(counts)


def bleu_counts(matches: Matches) -> NDArray[np.float64]:
    """What BLEU adds up over pictures, (B, 10).

    Words of the candidate, of the closest reference, matching n-grams of 1..4 words, n-grams of 1..4 words.
    """
    lengths = matches.texts.lengths
    counts = np.zeros((len(lengths), 2 + 2 * LONGEST))
    if not len(lengths):
        return counts
    theirs = matches.references.lengths[matches.pair_text]
    distance = np.abs(theirs - lengths[matches.pair_candidate])
    closest = np.minimum.reduceat(distance << 32 | theirs, matches.pair_first)  # of two equally close the shorter
    counts[:, 0], counts[:, 1] = lengths, closest & 0xFFFF_FFFF
    for n, (level, found) in enumerate(zip(matches.references.levels, matches.levels, strict=True)):
        if len(found.group):
            # Clipped by the reference that holds the n-gram most often.
            sizes = level.size[found.group]
            _, held = expand(level.first[found.group], sizes)
            most = np.maximum.reduceat(level.count[held], np.cumsum(sizes) - sizes)
            clipped = np.minimum(found.counts.count[found.held], most)
            counts[:, 2 + n] = np.bincount(found.counts.text[found.held], clipped, len(lengths))
        counts[:, 2 + LONGEST + n] = np.maximum(lengths - n, 0)
    return counts


def bleu_of(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """BLEU-1..4 (..., 4) of sums of what `bleu_counts` gives (..., 10)."""
    counts = np.asarray(counts, np.float64)
    precisions = (counts[..., 2 : 2 + LONGEST] + _TINY) / (counts[..., 2 + LONGEST :] + _SMALL)  # (..., 4)
    ratio = (counts[..., :1] + _TINY) / (counts[..., 1:2] + _SMALL)  # (..., 1)
    brevity = np.exp(np.minimum(1 - 1 / ratio, 0))
    scores: NDArray[np.float64] = np.cumprod(precisions, -1) ** (1 / np.arange(1, LONGEST + 1)) * brevity
    return scores
