"""BLEU: the share of a caption's n-grams that people use too, and a penalty for brevity.

Papineni, Roukos, Ward, Zhu: "BLEU: a Method for Automatic Evaluation of Machine Translation", ACL 2002. As in the COCO
caption evaluation, the reference length of a picture is the one closest to the candidate's (the shorter of two equally
close), and tiny constants keep a corpus without a match from dividing by zero.
"""

import math
from collections.abc import Sequence

from showtell.metrics.ngrams import Ngram, count_ngrams

LONGEST = 4
_TINY, _SMALL = 1e-15, 1e-9

Scores = tuple[float, float, float, float]


def bleu(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[Scores, list[Scores]]:
    """BLEU-1 to BLEU-4 of the whole corpus, and of each picture, 0 to 1; texts hold words parted by white space."""
    totals = _Counts()
    each = []
    for candidate, texts in zip(candidates, references, strict=True):
        counts = _Counts()
        counts.add(candidate.split(), [text.split() for text in texts])
        each.append(counts.scores())
        totals.add_all(counts)
    return totals.scores(), each


class _Counts:
    """N-grams of candidates, those that references share, and lengths."""

    def __init__(self) -> None:
        self.guessed = [0] * LONGEST
        self.correct = [0] * LONGEST
        self.length = self.reference_length = 0

    def add(self, words: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        most: dict[Ngram, int] = {}
        for reference in references:
            for ngram, count in count_ngrams(reference, LONGEST).items():
                most[ngram] = max(most.get(ngram, 0), count)
        for ngram, count in count_ngrams(words, LONGEST).items():
            self.correct[len(ngram) - 1] += min(count, most.get(ngram, 0))
        for n in range(LONGEST):
            self.guessed[n] += max(0, len(words) - n)
        self.length += len(words)
        lengths = [len(reference) for reference in references]
        self.reference_length += min(((abs(n - len(words)), n) for n in lengths), default=(0, 0))[1]

    def add_all(self, other: "_Counts") -> None:
        self.guessed = [a + b for a, b in zip(self.guessed, other.guessed, strict=True)]
        self.correct = [a + b for a, b in zip(self.correct, other.correct, strict=True)]
        self.length += other.length
        self.reference_length += other.reference_length

    def scores(self) -> Scores:
        found = []
        product = 1.0
        ratio = (self.length + _TINY) / (self.reference_length + _SMALL)
        penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
        for n in range(LONGEST):
            product *= (self.correct[n] + _TINY) / (self.guessed[n] + _SMALL)
            found.append(product ** (1 / (n + 1)) * penalty)
        return found[0], found[1], found[2], found[3]
