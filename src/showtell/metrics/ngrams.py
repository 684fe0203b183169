"""What the scores share: counting runs of words, and the check that candidates and references fit."""

from collections import Counter
from collections.abc import Sequence

from showtell.errors import DataError

Ngram = tuple[str, ...]


def count_ngrams(words: Sequence[str], longest: int) -> Counter[Ngram]:
    """How often each run of 1 to `longest` words occurs."""
    return Counter(tuple(words[i : i + n]) for n in range(1, longest + 1) for i in range(len(words) - n + 1))


def check_references(references: Sequence[Sequence[str]]) -> None:
    """Raise `DataError` where there is no picture, or a picture has no reference."""
    if not references:
        raise DataError("no pictures to score, expected one or more")
    for picture, texts in enumerate(references):
        if isinstance(texts, str):
            raise DataError(f"the references of picture {picture} are the text {texts!r}, expected a list of texts")
        if not texts:
            raise DataError(f"picture {picture} has no reference caption, expected one or more; leave it out")


def check_count(candidates: int, pictures: int) -> None:
    """Raise `DataError` where there is not one candidate for each picture."""
    if candidates != pictures:
        raise DataError(f"{candidates} candidates for {pictures} pictures, expected one for each picture")
