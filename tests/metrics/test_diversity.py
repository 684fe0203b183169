"""Diversity, counted by hand."""

import pytest

from showtell.errors import DataError
from showtell.metrics.diversity import diversity


def test_figures_of_three_captions():
    found = diversity(["a dog runs", "a dog", "a dog runs"], training=["a dog", "a cat"])
    # 8 words, 3 different; 5 bigrams, 2 different; 2 trigrams, the same; no 4-gram.
    assert found.distinct == (3 / 8, 2 / 5, 1 / 2, 0)
    assert found.vocabulary == 3
    assert found.mean_length == pytest.approx(8 / 3)
    assert found.distinct_captions == pytest.approx(2 / 3)
    assert found.novel == pytest.approx(2 / 3)


def test_captions_that_share_nothing_are_fully_distinct():
    found = diversity(["a b c d", "e f g h i"])
    assert found.distinct == (1, 1, 1, 1)
    assert found.distinct_captions == 1
    assert found.novel is None


def test_no_ngram_spans_two_captions():
    assert diversity(["a b", "b a", "a b"]).distinct[1] == 2 / 3
    assert diversity(["a", "b", "a"]).distinct[1:] == (0, 0, 0)


def test_white_space_makes_no_other_caption():
    found = diversity(["a  dog", "a dog"], training=[" a dog"])
    assert found.distinct_captions == 1 / 2
    assert found.novel == 0


def test_empty_captions_have_no_words():
    found = diversity(["", ""], training=[])
    assert (found.distinct, found.vocabulary, found.mean_length) == ((0, 0, 0, 0), 0, 0)
    assert (found.distinct_captions, found.novel) == (1 / 2, 1)


def test_nothing_cannot_be_measured():
    with pytest.raises(DataError, match="no captions to measure"):
        diversity([])
