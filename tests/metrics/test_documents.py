"""Document frequencies: counted, kept in a file, read again, and faults of the file told."""

import json

import numpy as np
import pytest

from showtell.errors import DataError
from showtell.metrics.cider import CiderD, cider_d
from showtell.metrics.documents import Documents, count_documents, read_documents, write_documents

REFERENCES = [["a dog runs", "the dog runs fast"], ["a dog sleeps", "a cat"], ["the dog runs", "the dog runs fast"]]


def test_ngrams_of_two_pictures_or_more_are_counted():
    # A picture counts once however many of its references hold the n-gram.
    assert count_documents(REFERENCES) == Documents(
        3,
        {
            **{"a": 2, "dog": 3, "runs": 2, "the": 2, "fast": 2},
            **{"a dog": 2, "dog runs": 2, "the dog": 2, "runs fast": 2},
            **{"the dog runs": 2, "dog runs fast": 2, "the dog runs fast": 2},
        },
    )


def test_a_file_gives_the_scores_of_the_references_it_was_made_of(tmp_path):
    path = tmp_path / "documents.json"
    write_documents(path, count_documents(REFERENCES))
    said = ["a dog runs fast", "größe", "the dog"]
    found = CiderD(REFERENCES, read_documents(path)).scores(said)
    np.testing.assert_array_equal(found, cider_d(said, REFERENCES)[1])
    # One picture alone scores as it does among the others.
    alone = CiderD(REFERENCES[:1], read_documents(path)).scores(said[:1])
    assert alone[0] == pytest.approx(found[0], abs=1e-12)
    assert alone[0] > 0


def test_any_word_survives_the_file(tmp_path):
    documents = Documents(5, {"größe 犬": 2, "\ud800": 3, '"': 5, "\\": 1})
    write_documents(tmp_path / "d.json", documents)
    assert read_documents(tmp_path / "d.json") == documents


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "no JSON in UTF-8"),
        (b"\xff", "no JSON in UTF-8"),
        (b"[" * 100_000, "no JSON in UTF-8"),
        (b"[]", "expected an object with format, pictures and ngrams"),
        ({"format": 2, "pictures": 1, "ngrams": {}}, "format 2, this version reads 1"),
        ({"format": 1, "pictures": 0, "ngrams": {}}, "pictures is 0, expected a whole number from 1 on"),
        ({"format": 1, "pictures": True, "ngrams": {}}, "pictures is True"),
        ({"format": 1, "pictures": 2, "ngrams": []}, "ngrams is no object"),
        ({"format": 1, "pictures": 2, "ngrams": {"a": 3}}, "count 3 of 'a', expected 1 to 2"),
        ({"format": 1, "pictures": 2, "ngrams": {"a": 1.5}}, "count 1.5 of 'a'"),
        ({"format": 1, "pictures": 2, "ngrams": {"a  b": 1}}, "n-gram 'a  b', expected 1 to 4 words"),
        ({"format": 1, "pictures": 2, "ngrams": {"a b c d e": 1}}, "n-gram 'a b c d e'"),
        ({"format": 1, "pictures": 2, "ngrams": {"": 1}}, "n-gram ''"),
    ],
)
def test_a_damaged_file_is_told_in_one_line(tmp_path, content, message):
    path = tmp_path / "d.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(DataError, match=message) as caught:
        read_documents(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith("; make it again with `showtell score --save-documents`")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_documents(tmp_path / "none.json")
