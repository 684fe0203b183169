"""Which captions a step shows: batches of an epoch, the same for the same (seed, epoch, step), whatever came before.

B pictures of a batch, N captions of all training pictures.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from showtell.data.example import Example
from showtell.errors import DataError
from showtell.recipe import TrainingOptions
from showtell.training.dataset import Batch, Picture, make_batch


def caption_count(of: Sequence[Example] | Sequence[Picture]) -> int:
    return sum(len(one.captions) for one in of)


def training_part(examples: Sequence[Example], options: TrainingOptions) -> list[Example]:
    """The examples with the captions that `training.captions` and `training.limit_captions` leave.

    The limit draws captions evenly, by the seed alone: not by the order of the examples. A picture that had captions
    and has none left is left out.
    """
    if options.captions == "first":
        examples = [replace(example, captions=example.captions[:1]) for example in examples]
    total = caption_count(examples)
    if not 0 < options.limit_captions < total:
        return list(examples)
    # Four numbers, so that no epoch and no step draws the same.
    random = np.random.default_rng([options.seed, 0, 0, 1])
    drawn = np.zeros(total, bool)
    drawn[random.permutation(total)[: options.limit_captions]] = True
    part: dict[str, Example] = {}
    start = 0
    for example in sorted(examples, key=lambda e: e.id):
        of_picture = drawn[start : start + len(example.captions)]
        start += len(example.captions)
        kept = tuple(caption for caption, chosen in zip(example.captions, of_picture, strict=True) if chosen)
        if kept:
            part[example.id] = replace(example, captions=kept)
    return [part[example.id] for example in examples if example.id in part]


def check_batch(captions: int, options: TrainingOptions) -> None:
    """Raise `DataError` where this many training captions give no step."""
    if options.sampling == "replacement" and captions < options.batch:
        raise DataError(
            f"training.batch is {options.batch}, expected at most the {captions:,} training captions: with "
            "training.sampling=replacement an epoch has captions // batch steps; lower training.batch"
        )


def steps_per_epoch(train: Sequence[Picture], options: TrainingOptions) -> int:
    """Steps that go through all pictures, or through as many captions as there are, by `training.sampling`."""
    captions = caption_count(train)
    if options.sampling == "replacement":
        return captions // options.batch
    return -(-(len(train) if options.sampling == "pictures" else captions) // options.batch)


def epoch_batches(train: Sequence[Picture], options: TrainingOptions, epoch: int, start: int = 0) -> Iterator[Batch]:
    """Batches of an epoch from step `start` on. Every picture has a caption at least."""
    choose = _CHOICES[options.sampling](train, options, epoch)
    for step in range(start, steps_per_epoch(train, options)):
        random = np.random.default_rng([options.seed, epoch, step])
        batch = make_batch(choose(step, random), options.captions_per_picture, random, padding=options.count_padding)
        yield _longest_first(batch)


def _longest_first(batch: Batch) -> Batch:
    """The same with its pictures in the order of their longest captions: what is told last is told of few pictures."""
    return batch.of(np.argsort(-batch.lengths.max(1), kind="stable").tolist())


# The pictures of a step, by its number and its random numbers.
Choose = Callable[[int, np.random.Generator], list[Picture]]


def _shuffled(train: Sequence[Picture], options: TrainingOptions, epoch: int) -> Choose:
    order = np.random.default_rng([options.seed, epoch]).permutation(len(train))
    return lambda step, _: [train[i] for i in order[step * options.batch : (step + 1) * options.batch]]


def _all_captions(train: Sequence[Picture], options: TrainingOptions, epoch: int) -> Choose:
    """Every caption once, each with a picture of its own, shuffled for each epoch."""
    return _captions_by(np.random.default_rng([options.seed, epoch]), train, options)


def _in_order(train: Sequence[Picture], options: TrainingOptions, epoch: int) -> Choose:
    """The same, shuffled once for all epochs."""
    return _captions_by(np.random.default_rng([options.seed, 0, 0, 2]), train, options)


def _captions_by(random: np.random.Generator, train: Sequence[Picture], options: TrainingOptions) -> Choose:
    captions = [(picture, number) for picture in train for number in range(len(picture.captions))]
    order = random.permutation(len(captions))

    def choose(step: int, _: np.random.Generator) -> list[Picture]:
        return [_with_caption(*captions[i]) for i in order[step * options.batch : (step + 1) * options.batch]]

    return choose


def _with_replacement(train: Sequence[Picture], options: TrainingOptions, epoch: int) -> Choose:
    """Any picture any time, with one of its captions: those of a picture with few are seen more often."""

    def choose(_: int, random: np.random.Generator) -> list[Picture]:
        chosen = [train[i] for i in random.integers(len(train), size=options.batch)]
        return [_with_caption(picture, int(random.integers(len(picture.captions)))) for picture in chosen]

    return choose


def _of_one_length(train: Sequence[Picture], options: TrainingOptions, epoch: int) -> Choose:
    """The length of a caption drawn evenly, then captions of that length, with replacement as the first was."""
    owners = np.repeat(np.arange(len(train)), [len(picture.captions) for picture in train])  # (N,)
    places = np.concatenate([np.arange(len(picture.captions)) for picture in train])  # (N,) among the picture's own
    lengths = np.array([len(caption) for picture in train for caption in picture.captions])  # (N,)
    by_length = {int(length): np.flatnonzero(lengths == length) for length in np.unique(lengths)}

    def choose(_: int, random: np.random.Generator) -> list[Picture]:
        alike = by_length[int(lengths[random.integers(len(lengths))])]
        chosen = alike[random.integers(len(alike), size=options.batch)]
        return [_with_caption(train[owners[i]], int(places[i])) for i in chosen]

    return choose


def _with_caption(picture: Picture, number: int) -> Picture:
    return replace(picture, captions=(picture.captions[number],))


_CHOICES: dict[str, Callable[[Sequence[Picture], TrainingOptions, int], Choose]] = {
    "pictures": _shuffled,
    "captions": _all_captions,
    "order": _in_order,
    "replacement": _with_replacement,
    "length": _of_one_length,
}
