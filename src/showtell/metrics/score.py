"""The scores of a set of captions, each in a form that resampling and comparing can use. N pictures, B candidates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from showtell.errors import DataError
from showtell.metrics.bleu import bleu_counts, bleu_of
from showtell.metrics.cider import Weights, cider_scores, prepare
from showtell.metrics.documents import Documents
from showtell.metrics.references import Matches, match
from showtell.metrics.rouge import rouge_scores

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """One metric over N pictures.

    Rows of `statistics` add up: `combine(statistics.sum(0))` is `value`, and `combine` of the sum over any other choice
    of pictures, with repetition or not, is the score of that choice.
    """

    name: str
    value: float  # of the whole set, 0..1 (CIDEr 0..10); papers print 100 times this
    per_picture: Array  # (N,)
    statistics: Array  # (N, K)
    combine: Callable[[Array], Array]  # sums (..., K) -> scores (...,)

    def choose(self, pictures: ArrayLike) -> "Score":
        """The same metric over some of the pictures, by their numbers."""
        rows = np.asarray(pictures, np.intp)
        return from_statistics(self.name, self.statistics[rows], self.combine, self.per_picture[rows])


@dataclass(frozen=True)
class Captions:
    """What is scored: texts whose words are parted by single spaces, as `tokenizer.tokenize` gives them."""

    candidates: Sequence[str]
    references: Sequence[Sequence[str]]  # of each picture
    pictures: Sequence[int] | None = None  # of each candidate; None: one for each picture, in order
    documents: Documents | None = None  # for CIDEr; None counts them in the references
    spice_models: Path | None = None  # folder

    @cached_property
    def matches(self) -> Matches:
        return match(prepare(self.references, self.documents), self.candidates, self.pictures)

    @cached_property
    def bleu(self) -> Array:
        return bleu_counts(self.matches)

    @cached_property
    def weights(self) -> Weights:
        return Weights(self.matches.references)

    @property
    def references_of_candidates(self) -> Sequence[Sequence[str]]:
        if self.pictures is None:
            return self.references
        return [self.references[picture] for picture in self.pictures]


def mean_score(name: str, per_picture: ArrayLike) -> Score:
    """A metric whose score of a set is the mean over pictures."""
    scores = np.asarray(per_picture, np.float64)
    return from_statistics(name, np.stack([scores, np.ones(len(scores))], 1), mean_of, scores)


def from_statistics(name: str, statistics: Array, combine: Callable[[Array], Array], per_picture: Array) -> Score:
    """A metric of the sums of its statistics."""
    return Score(name, float(combine(statistics.sum(0))), per_picture, statistics, combine)


def mean_of(sums: Array) -> Array:
    """Means (...,) of sums and counts (..., 2)."""
    means: Array = sums[..., 0] / sums[..., 1]
    return means


def _bleu(captions: Captions, length: int) -> Score:
    combine = partial(_bleu_of_length, length=length)
    return from_statistics(f"BLEU-{length}", captions.bleu, combine, combine(captions.bleu))


def _bleu_of_length(sums: Array, length: int) -> Array:
    return bleu_of(sums)[..., length - 1]


def _rouge(captions: Captions) -> Score:
    return mean_score("ROUGE-L", rouge_scores(captions.matches, captions.candidates))


def _cider(captions: Captions, name: str, plain: bool) -> Score:
    return mean_score(name, cider_scores(captions.matches, captions.weights, plain=plain))


def _meteor(captions: Captions) -> Score:
    from showtell.metrics.meteor import meteor

    return meteor(captions.candidates, captions.references_of_candidates)


def _spice(captions: Captions) -> Score:
    from showtell.metrics.spice import spice

    return spice(captions.candidates, captions.references_of_candidates, captions.spice_models)


METRICS: dict[str, Callable[[Captions], Score]] = {
    **{f"BLEU-{length}": partial(_bleu, length=length) for length in (1, 2, 3, 4)},
    "ROUGE-L": _rouge,
    "CIDEr": partial(_cider, name="CIDEr", plain=False),
    "CIDEr-plain": partial(_cider, name="CIDEr-plain", plain=True),
    "METEOR": _meteor,
    "SPICE": _spice,
}
DEFAULT = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr")


def score(
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    metrics: Sequence[str] = DEFAULT,
    documents: Documents | None = None,
    *,
    pictures: Sequence[int] | None = None,
    spice_models: Path | None = None,
) -> dict[str, Score]:
    """Score captions by each of `metrics`, names of `METRICS`.

    `candidates` holds one text for each of N pictures and `references` one or more for each, tokenized: words parted by
    single spaces. With `pictures` (B,) there is any number of candidates for each picture, which that names; the arrays
    of a `Score` then have a row for each candidate, and its value is that of a set in which each is a picture.
    `documents` are document frequencies for CIDEr instead of the references' own; `spice_models` is SPICE's folder.
    Raises `DataError` where a metric is unknown, there is nothing to score, a picture has no reference, or the numbers
    do not fit; of METEOR and SPICE `MissingExtraError` where Java or the program is not installed, `DataError` where
    SPICE's models are not there, and `JavaError` where the program fails or takes too long.
    """
    for name in metrics:
        if name not in METRICS:
            raise DataError(f"metric {name!r} is unknown, expected some of {', '.join(METRICS)}")
    if not len(candidates):
        raise DataError("no captions to score, expected one or more")
    captions = Captions(candidates, references, pictures, documents, spice_models)
    return {name: METRICS[name](captions) for name in metrics}
