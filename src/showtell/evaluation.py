"""A captioner on a split: its captions and their scores. What `showtell evaluate` and the SDK call."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from showtell.caption import Caption, Failure
from showtell.captioner import Captioner
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
    failed: tuple[Example, ...]  # whose picture each of `failures` is
    measured: Measured  # pictures in the order of `captions`
    figures: dict[str, float]  # repeating captions, verbatim from training, words per caption; or those of diversity
    repeating: tuple[bool, ...]  # of each of `captions`: whether it repeats itself
    verbatim: tuple[bool, ...]  # and whether it stands among the training captions; empty where there are none

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
    *,
    attention: bool = False,
    **options: Any,
) -> Evaluation:
    """Caption the pictures of `split` that have captions, and score them as the COCO caption evaluation does.

    `metrics` are names of `showtell.metrics.measure.metric_names`, by default BLEU-1..4, ROUGE-L and CIDEr; `documents`
    CIDEr's document frequencies instead of the split's own. Added are the shares of captions that repeat themselves
    and that stand word for word among the captions of the train split, and the mean length; or the figures of
    "diversity" where `metrics` name that. With `attention` captions carry it. `options` are those of `DecodeOptions`.
    Raises `DataError` where the split holds no picture with captions, or none of them can be read.
    """
    chosen = [example for example in examples if example.split == split and example.captions]
    if not chosen:
        found = sorted({example.split or "none" for example in examples})
        raise DataError(f"no picture with captions in split {split!r}; the data set's splits: {', '.join(found)}")
    captions, failures, failed = [], [], []
    sources = (example.image for example in chosen)
    answers = captioner.stream(sources, num_captions=1, attention=attention, **options)
    for example, answer in zip(
        chosen,
        tqdm(answers, total=len(chosen), unit=" pictures", disable=not sys.stderr.isatty(), file=sys.stderr),
        strict=True,
    ):
        if isinstance(answer, Failure):
            failures.append(answer)
            failed.append(example)
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
    repeating = tuple(repeats(caption.tokens) for caption in told)
    verbatim = _verbatim(told, training, captioner.backend.words)
    figures = measured.figures if DIVERSITY in metrics else _figures(told, repeating, verbatim)
    return Evaluation(tuple(captions), tuple(failures), tuple(failed), measured, figures, repeating, verbatim)


def _verbatim(
    captions: Sequence[Caption], training: Sequence[str], words: Callable[[str], list[str]]
) -> tuple[bool, ...]:
    """Of each caption whether people said it of a training picture, in the model's own words, which `words` makes."""
    known = {" ".join(words(text)) for text in training}
    return tuple(" ".join(caption.tokens) in known for caption in captions) if known else ()


def _figures(captions: Sequence[Caption], repeating: Sequence[bool], verbatim: Sequence[bool]) -> dict[str, float]:
    figures = {"repeating captions, %": 100 * sum(repeating) / len(captions)}
    if verbatim:
        figures["verbatim from training, %"] = 100 * sum(verbatim) / len(captions)
    figures["words per caption"] = sum(len(caption.tokens) for caption in captions) / len(captions)
    return figures
