"""Splits by picture: made the same on every machine, stored beside the data set or anywhere else, and read again."""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from showtell.data.dataset import SPLITS, Dataset, Problem
from showtell.data.example import Example
from showtell.data.textfiles import read_json
from showtell.errors import DataError
from showtell.files import write_text

SPLITS_FILE = "splits.json"  # read_dataset obeys a file of this name in the data set's folder
FORMAT = 1

Fractions = tuple[float, float, float]  # of pictures in train, val, test; together 1


def split_examples(examples: Sequence[Example], fractions: Fractions, seed: int = 0) -> dict[str, str]:
    """Assign every id to "train", "val" or "test" so that the fractions hold to within rounding.

    Pictures are put in the order of sha256(seed, id) and that order is cut: the result depends on nothing else, neither
    on the order of `examples` nor on a random generator. Files with identical content stand together, whatever their
    names, so that no picture is trained on and measured on; a split with a fraction above 0 gets a picture where there
    are enough. Raises `DataError` where the fractions cannot be obeyed.
    """
    if len(fractions) != 3 or not all(0 <= part <= 1 for part in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise DataError(f"split fractions {fractions}: expected three numbers (train, val, test) that sum to 1")
    if not examples:
        raise DataError("no picture to split; check the data set with `showtell data check`")
    groups = sorted(_same_pictures(examples), key=lambda ids: _place(seed, ids[0]))
    ids_left = sum(len(ids) for ids in groups)
    wanted = dict(zip(SPLITS, _counts(ids_left, fractions), strict=True))
    assigned: dict[str, str] = {}
    # The smaller splits are filled first: each group goes where it fits, the rest is training.
    order = sorted(SPLITS, key=lambda split: (wanted[split], split))
    for split in order:
        taken = 0
        while groups and (taken < wanted[split] or split == order[-1]):
            ids = groups.pop(0)
            assigned.update(dict.fromkeys(ids, split))
            taken += len(ids)
    return assigned


def write_splits(path: Path, assigned: Mapping[str, str], fractions: Fractions, seed: int) -> None:
    """Store a split: the whole file or none. Raises `DataError` where it cannot be written."""
    content = {
        "format": FORMAT,
        "seed": seed,
        "fractions": list(fractions),
        "splits": {split: sorted(key for key, value in assigned.items() if value == split) for split in SPLITS},
    }
    try:
        write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}); name another place with --out, and give it to training "
            "with --splits"
        ) from error


def read_splits(path: Path) -> dict[str, str]:
    """Read a stored split as id -> "train", "val" or "test". Raises `DataError` where it is damaged."""
    content = read_json(path)
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise DataError(
            f"{path}: split format {found}, this version reads {FORMAT}; make it with `showtell data split`"
        )
    splits = content.get("splits")
    if not isinstance(splits, dict) or set(splits) - set(SPLITS) or not all(map(_is_list_of_ids, splits.values())):
        raise DataError(f"{path}: expected lists of ids under {', '.join(SPLITS)}; make it with `showtell data split`")
    counts = Counter(key for ids in splits.values() for key in ids)
    twice = [key for key, count in counts.items() if count > 1]
    if twice:
        raise DataError(f"{path}: {twice[0]!r} stands twice ({len(twice)} such ids), expected each id in one split")
    return {key: split for split, ids in splits.items() for key in ids}


def apply_splits(dataset: Dataset, path: Path) -> Dataset:
    """The data set with the splits of a file instead of its own; pictures that the file does not name are in none."""
    assigned = read_splits(path)
    ids = {example.id for example in dataset.examples}
    unknown = sorted(set(assigned) - ids)
    if len(unknown) == len(assigned):
        raise DataError(f"{path}: names none of the {len(ids)} pictures of {dataset.root}; is it another data set's?")
    # Its own splits no longer count, and neither does what was wrong with them.
    problems = [problem for problem in dataset.problems if problem.kind != "two splits"]
    if unknown:
        what = f"{len(unknown):,} of {len(assigned):,} ids are not in the data set, such as {unknown[0]}"
        problems.append(Problem("unknown id", path.name, what))
    examples = tuple(replace(example, split=assigned.get(example.id)) for example in dataset.examples)
    return replace(dataset, examples=examples, problems=tuple(problems))


def _place(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{key}".encode()).digest()


def _counts(total: int, fractions: Fractions) -> list[int]:
    """Pictures per split: rounded at the cuts, at least one where the fraction is above 0 and there are enough."""
    cuts = [0, round(total * fractions[0]), round(total * (fractions[0] + fractions[1])), total]
    counts = [end - start for start, end in pairwise(cuts)]
    for i, fraction in enumerate(fractions):
        if fraction > 0 and counts[i] == 0 and max(counts) > 1:
            counts[counts.index(max(counts))] -= 1
            counts[i] = 1
    return counts


def _same_pictures(examples: Sequence[Example]) -> list[list[str]]:
    """Ids in groups of identical file content, each sorted. Only files of equal size are read."""
    by_size: dict[int, list[Example]] = defaultdict(list)
    groups: list[list[str]] = []
    for example in examples:
        try:
            by_size[example.image.stat().st_size].append(example)
        except OSError:
            groups.append([example.id])
    for same_size in by_size.values():
        by_content: dict[Any, list[str]] = defaultdict(list)
        for example in same_size:
            by_content[_content(example.image) if len(same_size) > 1 else None].append(example.id)
        groups += [sorted(ids) for ids in by_content.values()]
    return groups


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        # An unreadable file stands for itself.
        return os.fsencode(path)


def _is_list_of_ids(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(key, str) for key in value)
