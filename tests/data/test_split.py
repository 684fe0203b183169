"""Splits: by picture, the same everywhere, stored whole."""

import hashlib
import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showtell.data.example import Example
from showtell.data.split import read_splits, split_examples, write_splits
from showtell.errors import DataError


def absent(*ids: str) -> list[Example]:
    return [Example(id=key, image=Path("/nowhere") / key) for key in ids]


def numbered(count: int) -> list[Example]:
    return absent(*(f"{i}.jpg" for i in range(count)))


def test_fractions_are_met_exactly_where_they_can_be() -> None:
    assert Counter(split_examples(numbered(100), (0.8, 0.1, 0.1), 3).values()) == {"train": 80, "val": 10, "test": 10}
    assert Counter(split_examples(numbered(10), (0.5, 0.0, 0.5)).values()) == {"train": 5, "test": 5}
    assert Counter(split_examples(numbered(3), (0.8, 0.1, 0.1)).values()) == {"train": 1, "val": 1, "test": 1}
    assert Counter(split_examples(numbered(4), (0.0, 0.0, 1.0)).values()) == {"test": 4}


@given(st.integers(1, 60), st.integers(), st.randoms(use_true_random=False))
def test_the_order_of_the_examples_changes_nothing(count: int, seed: int, shuffler: random.Random) -> None:
    examples = numbered(count)
    assigned = split_examples(examples, (0.6, 0.2, 0.2), seed)
    shuffler.shuffle(examples)
    assert split_examples(examples, (0.6, 0.2, 0.2), seed) == assigned
    assert set(assigned) == {example.id for example in examples}


def test_the_order_is_that_of_sha256_of_seed_and_id() -> None:
    ids = ["a", "b", "c", "d", "e", "f"]
    order = sorted(ids, key=lambda key: hashlib.sha256(b"7\0" + key.encode()).hexdigest())
    assigned = split_examples(absent(*ids), (0.5, 0.0, 0.5), 7)
    halves = {frozenset(order[:3]), frozenset(order[3:])}
    assert {frozenset(key for key in ids if assigned[key] == split) for split in ("train", "test")} == halves


def test_another_seed_gives_another_split() -> None:
    examples = numbered(200)
    assert split_examples(examples, (0.5, 0.25, 0.25), 1) != split_examples(examples, (0.5, 0.25, 0.25), 2)


@pytest.mark.parametrize("seed", range(8))
def test_identical_files_under_other_names_stay_together(tmp_path: Path, seed: int) -> None:
    examples = []
    for i in range(30):
        path = tmp_path / f"{i:02}.jpg"
        path.write_bytes(f"content {i // 3:02}".encode())  # ten pictures, each three times, all of one size
        examples.append(Example(id=path.name, image=path))
    assigned = split_examples(examples, (0.6, 0.2, 0.2), seed)
    for i in range(0, 30, 3):
        assert len({assigned[f"{j:02}.jpg"] for j in range(i, i + 3)}) == 1
    assert set(assigned.values()) == {"train", "val", "test"}


@pytest.mark.parametrize("fractions", [(0.5, 0.5, 0.5), (1.2, -0.1, -0.1), (0.0, 0.0, 0.0), (float("nan"), 0.5, 0.5)])
def test_fractions_that_are_none_are_refused(fractions: tuple[float, float, float]) -> None:
    with pytest.raises(DataError, match=r"expected three numbers \(train, val, test\) that sum to 1"):
        split_examples(numbered(3), fractions)


def test_a_stored_split_reads_as_it_was_written(tmp_path: Path) -> None:
    assigned = {"b": "train", "a": "train", "é": "test"}
    write_splits(tmp_path / "s.json", assigned, (0.7, 0.0, 0.3), 5)
    assert read_splits(tmp_path / "s.json") == assigned
    assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8")) == {
        "format": 1,
        "seed": 5,
        "fractions": [0.7, 0.0, 0.3],
        "splits": {"train": ["a", "b"], "val": [], "test": ["é"]},
    }


def test_a_write_that_fails_leaves_the_old_split_and_no_scraps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.json"
    write_splits(path, {"a": "train"}, (1.0, 0.0, 0.0), 0)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match=r"s\.json: cannot be written \(No space left on device\)"):
        write_splits(path, {"a": "test"}, (0.0, 0.0, 1.0), 0)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "split format None, this version reads 1"),
        ('{"format": 2, "splits": {}}', "split format 2, this version reads 1"),
        ('{"format": 1, "splits": {"dev": []}}', "expected lists of ids under train, val, test"),
        ('{"format": 1, "splits": {"train": [1]}}', "expected lists of ids under train, val, test"),
        ('{"format": 1, "splits": {"train": ["a"], "test": ["a"]}}', "'a' stands twice"),
    ],
)
def test_a_damaged_split_file_is_told(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(DataError, match=said):
        read_splits(tmp_path / "s.json")
