"""The oracle score: how good the best of several captions of each picture is, if one knew which that is.

It tells how much a better choice among a model's captions could gain. Each metric chooses by its own score of each
picture. For a metric that is a mean over pictures that is the most a choice can reach; BLEU of a set is no mean, so its
oracle is BLEU of the captions whose own BLEU is highest, which another choice can slightly exceed.
"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from showtell.errors import DataError
from showtell.metrics.documents import Documents
from showtell.metrics.ngrams import check_count
from showtell.metrics.score import DEFAULT, Score, score


def oracle(
    candidates: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    metrics: Sequence[str] = DEFAULT,
    documents: Documents | None = None,
    *,
    spice_models: Path | None = None,
) -> dict[str, Score]:
    """Score the best caption of each of N pictures, by each of `metrics`; arguments as those of `score`.

    `candidates` holds one or more captions for each picture, not the same number for all.
    Raises `DataError` where a picture has no candidate, and what `score` raises.
    """
    check_count(len(candidates), len(references))
    for picture, texts in enumerate(candidates):
        if isinstance(texts, str) or not texts:
            raise DataError(f"the candidates of picture {picture} are {texts!r}, expected a list of one text or more")
    sizes = np.array(list(map(len, candidates)), np.intp)
    pictures = np.repeat(np.arange(len(sizes)), sizes)
    flat = list(chain.from_iterable(candidates))
    scores = score(flat, references, metrics, documents, pictures=pictures.tolist(), spice_models=spice_models)
    return {name: best_of(found, sizes.tolist()) for name, found in scores.items()}


def best_of(score: Score, sizes: Sequence[int]) -> Score:
    """The score of the best candidates, where `sizes` consecutive ones belong to a picture; of equals the first.

    A candidate without a number, as SPICE has them, is chosen only where the picture has no other.
    """
    ends = np.cumsum(sizes)
    scores = np.where(np.isnan(score.per_picture), -np.inf, score.per_picture)
    chosen = [end - size + int(np.argmax(scores[end - size : end])) for end, size in zip(ends, sizes, strict=True)]
    return score.choose(chosen)
