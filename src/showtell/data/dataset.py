"""What reading a data set gives: its examples, and everything about it that was not as expected."""

from dataclasses import dataclass, field
from pathlib import Path

from showtell.data.example import Example

SPLITS = ("train", "val", "test")
# What data sets call their splits -> what they are called here. "restval" is Karpathy's second part of training.
_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "restval": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}

# Kinds of problem that break a data set or make its scores wrong -> how a person is told.
ERRORS = {
    "missing picture": "captions for no picture: the file is not there",
    "undecodable picture": "the file is there and gives no picture",
    "orphan caption": "captions for no picture: nothing is named, or nothing of that name is listed",
    "empty caption": "a caption without any text",
    "two splits": "one picture in two splits: what is measured was trained on",
    "bad row": "an entry that cannot be read",
    "outside": "a picture outside the data set",
}
# Kinds that are worth knowing and harm nothing.
NOTES = {
    "no split": "pictures in no split",
    "no caption": "pictures with no caption",
    "same picture": "one picture under several names",
    "left out": "files that were not read",
    "unknown id": "ids that the data set does not have",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as expected. `kind` is a key of `ERRORS` or `NOTES`."""

    kind: str
    where: str  # file and line, or the picture
    what: str

    @property
    def is_error(self) -> bool:
        return self.kind in ERRORS


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set as it was found: `examples` are sorted by id, `problems` stand in the order of reading.

    An example whose picture is missing is still an example; `missing` holds the ids of those.
    """

    root: Path
    format: str  # name of the reader
    files: tuple[Path, ...]  # that the captions were read from
    examples: tuple[Example, ...]
    problems: tuple[Problem, ...] = ()
    missing: frozenset[str] = field(default=frozenset(), repr=False)

    def of_split(self, split: str | None) -> tuple[Example, ...]:
        """The examples of one split; None gives those in no split."""
        return tuple(example for example in self.examples if example.split == split)


def known_split(name: str) -> str | None:
    """ "train", "val" or "test" for what a data set calls a split ("dev", "Validation", "restval"); None if unknown."""
    return _SPLIT_NAMES.get(name.strip().lower())
