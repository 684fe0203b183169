"""Whether a caption repeats itself."""

from collections.abc import Sequence


def repeats(words: Sequence[str]) -> bool:
    """Whether a word or phrase is directly followed by itself, or any three words in a row occur twice."""
    for start in range(len(words)):
        for n in range(1, (len(words) - start) // 2 + 1):
            if list(words[start : start + n]) == list(words[start + n : start + 2 * n]):
                return True
    trigrams = [tuple(words[i : i + 3]) for i in range(len(words) - 2)]
    return len(set(trigrams)) < len(trigrams)
