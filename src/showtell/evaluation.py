"""A captioner on a split: its captions and their scores. What `showtell evaluate` and the SDK call."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from showtell.captioner import Caption, Captioner, Failure
from showtell.data.example import Example
from showtell.errors import DataError
from showtell.metrics.bleu import bleu
from showtell.metrics.cider import cider_d
from showtell.metrics.repetition import repeats
from showtell.vocabulary import split_words


@dataclass(frozen=True)
class Evaluation:
    """`captions` pairs each example with its best caption; `scores` are points of 100 by name."""

    captions: tuple[tuple[Example, Caption], ...]
    failures: tuple[Failure, ...]
    scores: dict[str, float]


def evaluate(captioner: Captioner, examples: Sequence[Example], split: str, **options: Any) -> Evaluation:
    """Caption the pictures of `split` that have captions, and score them.

    CIDEr-D, BLEU-1..4, the shares of captions that repeat themselves and that stand word for word among the captions of
    the train split, and the mean length. Words are those of `showtell.vocabulary.split_words`, `options` those of
    `DecodeOptions`. Raises `DataError` where the split holds no picture with captions, or none of them can be read.
    """
    chosen = [example for example in examples if example.split == split and example.captions]
    if not chosen:
        found = sorted({example.split or "none" for example in examples})
        raise DataError(f"no picture with captions in split {split!r}; the data set's splits: {', '.join(found)}")
    captions, failures = [], []
    answers = captioner.stream((example.image for example in chosen), num_captions=1, **options)
    for example, answer in zip(
        chosen,
        tqdm(answers, total=len(chosen), unit=" pictures", disable=not sys.stderr.isatty(), file=sys.stderr),
        strict=True,
    ):
        if isinstance(answer, Failure):
            failures.append(answer)
        else:
            captions.append((example, answer))
    if not captions:
        raise DataError(f"none of the {len(chosen):,} pictures of split {split!r} can be read; {failures[0].error}")
    known = {" ".join(split_words(text)) for e in examples if e.split == "train" for text in e.captions}
    return Evaluation(tuple(captions), tuple(failures), _scores(captions, known))


def _scores(captions: Sequence[tuple[Example, Caption]], known: set[str]) -> dict[str, float]:
    candidates = [" ".join(caption.tokens) for _, caption in captions]
    references = [[" ".join(split_words(text)) for text in example.captions] for example, _ in captions]
    scores = {"CIDEr": 100 * cider_d(candidates, references)[0]}
    scores |= {f"BLEU-{n}": 100 * score for n, score in enumerate(bleu(candidates, references)[0], 1)}
    scores["repeating captions, %"] = 100 * sum(repeats(c.tokens) for _, c in captions) / len(captions)
    if known:
        scores["verbatim from training, %"] = 100 * sum(text in known for text in candidates) / len(candidates)
    scores["words per caption"] = sum(len(c.tokens) for _, c in captions) / len(captions)
    return scores
