"""Word vectors from a file, for a decoder's embeddings to begin with.

Pennington, Socher, Manning: "GloVe: Global Vectors for Word Representation", EMNLP 2014. The files of GloVe, word2vec
(as text) and fastText have this form: a line for each word, the word and its numbers parted by white space.

V vocabulary size, E embedding size.
"""

import math
from pathlib import Path

import torch
from torch import nn

from showtell.errors import DataError
from showtell.vocabulary import SPECIALS, Vocabulary


def read_word_vectors(path: Path, size: int, vocabulary: Vocabulary) -> dict[int, list[float]]:
    """The vectors that a file holds of words of the vocabulary, by the words' numbers, `size` numbers each.

    Raises `DataError` where the file cannot be read, has vectors of another size, or holds no word of the vocabulary.
    """
    found: dict[int, list[float]] = {}
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                word, *values = line.rstrip().rsplit(None, size)
                if number == 1 and len(values) == 1 and word.isdigit():
                    continue  # word2vec's and fastText's first line: how many words, and their size
                if len(values) != size or len(line.split()) < size + 1:
                    raise DataError(
                        f"{path}:{number}: found {len(line.split()) - 1} numbers, expected {size} as "
                        "decoder.embedding says; set decoder.embedding to their number, or give another file"
                    )
                place = vocabulary.ids.get(word, 0)
                if place >= len(SPECIALS):
                    try:
                        found[place] = [float(value) for value in values]
                    except ValueError as error:
                        raise DataError(f"{path}:{number}: {error}, expected numbers behind {word!r}") from error
                    if not all(map(math.isfinite, found[place])):
                        raise DataError(f"{path}:{number}: a number that is not finite, expected finite ones")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not found:
        raise DataError(f"{path}: holds no word of the vocabulary, which has {vocabulary.words[4:8]}...")
    return found


def begin_with(found: dict[int, list[float]], embedding: nn.Embedding) -> None:
    """Put vectors into the rows of `embedding` (V, E).

    They are scaled, all by one number, to the spread that the embedding has: what it was made to begin with.
    """
    vectors = torch.tensor(list(found.values()))
    with torch.no_grad():
        vectors *= embedding.weight.std() / vectors.std().clamp(min=1e-12)
        embedding.weight[list(found)] = vectors.to(embedding.weight)
