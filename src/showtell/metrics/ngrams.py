"""Runs of words, counted."""

from collections import Counter
from collections.abc import Sequence

Ngram = tuple[str, ...]


def count_ngrams(words: Sequence[str], longest: int = 4) -> Counter[Ngram]:
    """How often each run of 1 to `longest` words occurs."""
    return Counter(
        tuple(words[start : start + n]) for n in range(1, longest + 1) for start in range(len(words) - n + 1)
    )
