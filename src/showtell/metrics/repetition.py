"""Whether a caption repeats itself, the fault that people notice first."""

from collections.abc import Sequence


def repeats(words: Sequence[str]) -> bool:
    """Whether a word or phrase is directly followed by itself ("a dog a dog"), or three words in a row come twice."""
    count = len(words)
    for length in range(1, count // 2 + 1):
        for start in range(count - 2 * length + 1):
            if words[start : start + length] == words[start + length : start + 2 * length]:
                return True
    trigrams = [tuple(words[i : i + 3]) for i in range(count - 2)]
    return len(set(trigrams)) < len(trigrams)
