"""Whether a caption repeats itself, the fault that people notice first."""

from collections.abc import Sequence


def repeats(words: Sequence[str]) -> bool:
    """Whether a word or phrase is directly followed by itself ("a dog a dog"), or three words in a row come twice."""
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    if len(set(trigrams)) < len(trigrams):
        return True
    # A phrase of three words or more that follows itself has its first three twice, so only shorter ones are left.
    return any(
        words[start : start + length] == words[start + length : start + 2 * length]
        for length in (1, 2)
        for start in range(len(words) - 2 * length + 1)
    )
