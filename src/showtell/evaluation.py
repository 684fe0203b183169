"""A captioner on a split: its captions and their scores. What `showtell evaluate` and the SDK call."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from showtell.captioner import Caption, Captioner, Failure
from showtell.data.example import Example
from showtell.errors import DataError
from showtell.metrics.documents import Documents
from showtell.metrics.measure import DIVERSITY, Measured, measure, tokenize_references
from showtell.metrics.repetition import repeats
from showtell.metrics.score import DEFAULT


@dataclass(frozen=True)
class Evaluation:
    """`captions` pairs each example with its best caption; `scores` are points of 100 and other figures, by name."""

    captions: tuple[tuple[Example, Caption], ...]
    failures: tuple[Failure, ...]
    measured: Measured  # pictures in the order of `captions`
    figures: dict[str, float]  # repeating captions, verbatim from training, words per caption; or those of diversity

    @property
    def scores(self) -> dict[str, float]:
        return {name: 100 * score.value for name, score in self.measured.scores.items()} | self.figures


def evaluate(
    captioner: Captioner,
    examples: Sequence[Example],
    split: str,
    metrics: Sequence[str] = DEFAULT,
    documents: Documents | None = None,
    spice_models: Path | None = None,
    **options: Any,
) -> Evaluation:
    """Caption the pictures of `split` that have captions, and score them as the COCO caption evaluation does.

    `metrics` are names of `showtell.metrics.measure.metric_names`, by default BLEU-1..4, ROUGE-L and CIDEr; `documents`
    CIDEr's document frequencies instead of the split's own. Added are the shares of captions that repeat themselves
    and that stand word for word among the captions of the train split, and the mean length; or the figures of
    "diversity" where `metrics` name that. `options` are those of `DecodeOptions`. Raises `DataError` where the split
    holds no picture with captions, or none of them can be read.
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
    training = [text for example in examples if example.split == "train" for text in example.captions]
    measured = measure(
        [[caption.text] for _, caption in captions],
        tokenize_references([example.captions for example, _ in captions]),
        metrics,
        documents,
        training=training or None,
        spice_models=spice_models,
    )
    told = [caption for _, caption in captions]
    figures = measured.figures if DIVERSITY in metrics else _figures(told, training, captioner.backend.words)
    return Evaluation(tuple(captions), tuple(failures), measured, figures)


def _figures(
    captions: Sequence[Caption], training: Sequence[str], words: Callable[[str], list[str]]
) -> dict[str, float]:
    """In the model's own words, which `words` makes of the captions of people too."""
    figures = {"repeating captions, %": 100 * sum(repeats(c.tokens) for c in captions) / len(captions)}
    known = {" ".join(words(text)) for text in training}
    if known:
        verbatim = sum(" ".join(caption.tokens) in known for caption in captions)
        figures["verbatim from training, %"] = 100 * verbatim / len(captions)
    figures["words per caption"] = sum(len(caption.tokens) for caption in captions) / len(captions)
    return figures
