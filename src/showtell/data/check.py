"""Numbers about a data set, and everything that is wrong with it, found by decoding every picture."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from statistics import mean, median
from typing import Any

from showtell.data.dataset import SPLITS, Dataset, Problem
from showtell.data.example import Example
from showtell.errors import ImageError
from showtell.names import Named
from showtell.sources import load_picture, open_picture, read_bytes
from showtell.tokenizers import TOKENIZERS

THRESHOLDS = (1, 5, 8)  # times that a word must be seen: all words, and the two limits of the literature


@dataclass(frozen=True)
class Spread:
    """Smallest, mean, median and largest of some numbers; all 0 where there are none."""

    smallest: float
    mean: float
    median: float
    largest: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> "Spread":
        if not numbers:
            return cls(0, 0, 0, 0)
        return cls(min(numbers), mean(numbers), median(numbers), max(numbers))


@dataclass(frozen=True)
class VocabularySize:
    """How many words are seen at least `threshold` times, and the share 0..1 of running words that they make up."""

    threshold: int
    words: int
    covered: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `check_dataset` found. Counts by split have the keys "train", "val", "test" and "none"."""

    root: str
    format: str
    files: tuple[str, ...]
    pictures: dict[str, int]
    captions: dict[str, int]
    captions_per_picture: Spread
    captions_histogram: dict[int, int]  # captions -> pictures with that many
    caption_words: Spread
    vocabulary_split: str  # "train", or "all" where no picture is in train
    vocabulary: tuple[VocabularySize, ...]
    decoded: int  # pictures that could be read in full
    width: Spread  # pixels
    height: Spread  # pixels
    file_bytes: Spread
    total_bytes: int
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.is_error)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; each problem tells whether it is an error."""
        content = asdict(self)
        content["problems"] = [asdict(problem) | {"error": problem.is_error} for problem in self.problems]
        return content | {"errors": len(self.errors)}


@dataclass(frozen=True, slots=True)
class _Decoded:
    width: int
    height: int
    size: int  # bytes
    content: bytes  # sha256
    fault: str = ""  # why there is no picture


def check_dataset(
    dataset: Dataset,
    thresholds: Sequence[int] = THRESHOLDS,
    *,
    tokenizer: str = "words",
    threads: int = 0,
    progress: Callable[[int], object] = lambda done: None,
) -> Report:
    """Decode every picture, count everything, and add what is wrong to the problems found while reading.

    `tokenizer` is a key of `TOKENIZERS`, `threads` 0 means one for each processor, `progress` is called with 1 for each
    picture. Two files with the same bytes in two splits are an error, within a split a note.
    """
    decoded: dict[str, _Decoded] = {}
    problems = list(dataset.problems)
    there = [example for example in dataset.examples if example.id not in dataset.missing]
    for example, result in _decode_all(there, threads or _processors()):
        progress(1)
        if result.fault:
            problems.append(Problem("undecodable picture", example.id, result.fault))
        else:
            decoded[example.id] = result
    problems += _same_content(there, decoded)
    split_words = TOKENIZERS[tokenizer]
    words = {example.id: [split_words(caption) for caption in example.captions] for example in dataset.examples}
    training = dataset.of_split("train")
    counted = [words[example.id] for example in training or dataset.examples]
    counts = Counter(word for captions in counted for caption in captions for word in caption)
    per_picture = [len(example.captions) for example in dataset.examples]
    return Report(
        root=str(dataset.root),
        format=dataset.format,
        files=tuple(os.path.relpath(file, dataset.root) for file in dataset.files),
        pictures=_by_split(dataset, lambda example: 1),
        captions=_by_split(dataset, lambda example: len(example.captions)),
        captions_per_picture=Spread.of(per_picture),
        captions_histogram=dict(sorted(Counter(per_picture).items())),
        caption_words=Spread.of([len(caption) for captions in words.values() for caption in captions]),
        vocabulary_split="train" if training else "all",
        vocabulary=tuple(_vocabulary_size(counts, threshold) for threshold in thresholds),
        decoded=len(decoded),
        width=Spread.of([result.width for result in decoded.values()]),
        height=Spread.of([result.height for result in decoded.values()]),
        file_bytes=Spread.of([result.size for result in decoded.values()]),
        total_bytes=sum(result.size for result in decoded.values()),
        problems=tuple(problems),
    )


def _decode_all(examples: Sequence[Example], threads: int) -> Iterator[tuple[Example, _Decoded]]:
    pool = ThreadPoolExecutor(threads)
    try:
        yield from zip(examples, pool.map(_decode, examples), strict=True)
    finally:
        # Ctrl-C must not wait for a hundred thousand pictures.
        pool.shutdown(cancel_futures=True)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _decode(example: Example) -> _Decoded:
    try:
        content = read_bytes(example.image)
        picture = open_picture(Named(str(example.image), content))
        load_picture(picture)
        return _Decoded(picture.width, picture.height, len(content), hashlib.sha256(content).digest())
    except ImageError as error:
        return _Decoded(0, 0, 0, b"", str(error))


def _same_content(examples: Sequence[Example], decoded: dict[str, _Decoded]) -> list[Problem]:
    same: dict[bytes, list[Example]] = defaultdict(list)
    for example in examples:
        if example.id in decoded:
            same[decoded[example.id].content].append(example)
    problems = []
    for group in same.values():
        if len(group) == 1:
            continue
        splits = {example.split for example in group if example.split}
        names = ", ".join(f"{example.id} ({example.split or 'no split'})" for example in group[1:])
        where = f"{group[0].id} ({group[0].split or 'no split'})"
        problems.append(Problem("two splits" if len(splits) > 1 else "same picture", where, f"same file as {names}"))
    return problems


def _by_split(dataset: Dataset, weight: Callable[[Example], int]) -> dict[str, int]:
    return {split or "none": sum(map(weight, dataset.of_split(split))) for split in (*SPLITS, None)}


def _vocabulary_size(counts: Counter[str], threshold: int) -> VocabularySize:
    kept = [count for count in counts.values() if count >= threshold]
    return VocabularySize(threshold, len(kept), sum(kept) / max(1, counts.total()))
