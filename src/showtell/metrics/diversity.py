"""How varied a set of captions is, which scores against references do not tell.

distinct-n: Li, Galley, Brockett, Gao, Dolan: "A Diversity-Promoting Objective Function for Neural Conversation Models",
NAACL 2016; here out of all n-grams, not of all words, so that 1.0 means that none comes twice. Novel captions and
vocabulary: van Miltenburg, Elliott, Vossen: "Measuring the Diversity of Automatic Image Descriptions", COLING 2018.
All but the mean length depend on the number of captions: compare sets of the same size.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from showtell.errors import DataError
from showtell.metrics.ngrams import LONGEST, NgramCounter
from showtell.metrics.texts import learn


@dataclass(frozen=True)
class Diversity:
    """Figures of a set of captions; shares are 0..1."""

    distinct: tuple[float, float, float, float]  # different n-grams out of all, of 1..4 words; 0 where there are none
    vocabulary: int  # different words
    mean_length: float  # words
    distinct_captions: float  # different captions out of all
    novel: float | None  # share of captions that are no training caption; None without training captions


def diversity(captions: Sequence[str], training: Collection[str] | None = None) -> Diversity:
    """How varied `captions` are, words parted by white space; captions are equal where their words are.

    `training` holds the captions that a model learnt from, tokenized alike.
    Raises `DataError` where there is no caption.
    """
    if not captions:
        raise DataError("no captions to measure, expected one or more")
    texts, vocabulary = learn(captions)
    counter = NgramCounter(texts, max(len(vocabulary), 1))
    shares = []
    for _ in range(LONGEST):
        counts = counter.count()
        counter.name(np.arange(len(counts.keys)), len(counts.keys))
        shares.append(len(counts.keys) / max(len(counts.positions), 1))
    plain = [" ".join(caption.split()) for caption in captions]
    novel = None
    if training is not None:
        known = {" ".join(caption.split()) for caption in training}
        novel = sum(caption not in known for caption in plain) / len(plain)
    one, two, three, four = shares
    return Diversity(
        distinct=(one, two, three, four),
        vocabulary=len(vocabulary),
        mean_length=len(texts.words) / len(captions),
        distinct_captions=len(set(plain)) / len(plain),
        novel=novel,
    )
