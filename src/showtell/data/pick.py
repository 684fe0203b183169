"""Which pictures of a data set are looked at: by place, by id, or drawn at random."""

import hashlib
import heapq
from collections.abc import Sequence
from pathlib import Path

from showtell.data.dataset import Dataset
from showtell.data.example import Example
from showtell.data.readers import read_dataset
from showtell.errors import DataError


def read_to_look(
    folder: Path, *, format: str = "auto", image_folder: Path | None = None, splits: Path | None = None
) -> Dataset:
    """As `read_dataset`, where the pictures need not be there if their addresses are known."""
    dataset = read_dataset(folder, format=format, image_folder=image_folder, splits=splits, need_pictures=False)
    if len(dataset.missing) == len(dataset.examples) and not any(example.url for example in dataset.examples):
        read_dataset(folder, format=format, image_folder=image_folder, splits=splits)  # tells where it has looked
    return dataset


def of_split(dataset: Dataset, split: str | None) -> tuple[Example, ...]:
    """The examples of a split, or all. Raises `DataError` where there is none."""
    chosen = dataset.examples if split is None else dataset.of_split(split)
    if not chosen:
        found = sorted({example.split or "none" for example in dataset.examples})
        raise DataError(f"{dataset.root}: no picture in split {split!r}; the data set's splits: {', '.join(found)}")
    return chosen


def draw(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """`count` examples at random, or all in random order where there are fewer.

    They are the first by sha256(seed, id): the same on every machine, in whatever order the examples come, and with a
    larger count more are added at the end.
    """
    return heapq.nsmallest(count, examples, key=lambda example: _place(seed, example.id))


def find(examples: Sequence[Example], name: str) -> Example:
    """The example with this id, or with this name of its file. Raises `DataError` where there is none."""
    for example in examples:
        if example.id == name:
            return example
    named = [example for example in examples if example.image.name == name]
    if len(named) == 1:
        return named[0]
    if named:
        raise DataError(f"--id {name}: {len(named)} pictures have this file name, such as {named[0].id}; give the id")
    near = [example.id for example in examples if name.lower() in example.id.lower()][:3]
    raise DataError(f"--id {name}: no picture has this id; ids are such as {', '.join(near) or examples[0].id}")


def _place(seed: int, key: str) -> bytes:
    # Not the order of `split_examples`, in which the first pictures all belong to one split.
    return hashlib.sha256(f"show\0{seed}\0{key}".encode()).digest()
