"""ROUGE-L against values worked out by hand and against the textbook's table for the longest common subsequence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showtell.metrics.rouge import longest_common, rouge_l

words = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=12)


def f_measure(precision, recall):
    return (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision) if precision and recall else 0.0


def table(one, other):
    """Longest common subsequence by dynamic programming."""
    row = [0] * (len(other) + 1)
    for word in one:
        diagonal = 0
        for place, theirs in enumerate(other, 1):
            diagonal, row[place] = row[place], diagonal + 1 if word == theirs else max(row[place], row[place - 1])
    return row[-1]


def test_words_in_order_count_across_gaps():
    # "a b d" of 4 and 5 words: precision 3/4, recall 3/5.
    value, scores = rouge_l(["a b x d"], [["a c b d e"]])
    assert value == scores[0] == pytest.approx(f_measure(3 / 4, 3 / 5))


def test_precision_and_recall_may_come_from_different_references():
    # Against "a b c x y z" 3 of 4 words, recall 3/6; against "a" precision 1/4, recall 1.
    value, _ = rouge_l(["a b c d"], [["a b c x y z", "a"]])
    assert value == pytest.approx(f_measure(3 / 4, 1))


def test_another_order_gives_one_word():
    assert rouge_l(["c b a"], [["a b c"]])[0] == pytest.approx(1 / 3)


def test_two_empty_captions_are_equal_and_one_is_worthless():
    _, scores = rouge_l(["", "", "a", "a"], [["", "b"], ["b"], [""], ["", "a"]])
    np.testing.assert_array_equal(scores, [1, 0, 0, 1])


def test_a_second_space_holds_an_empty_word():
    # "a", "", "b" against "": one empty word of three, all of one.
    assert rouge_l(["a  b"], [[""]])[0] == pytest.approx(f_measure(1 / 3, 1))
    # A tab parts nothing: one word, which is another.
    assert rouge_l(["a\tb"], [["a b"]])[0] == 0


@settings(max_examples=200)
@given(pairs=st.lists(st.tuples(words, st.lists(words, min_size=1, max_size=4)), min_size=1, max_size=5))
def test_scores_are_those_of_the_table(pairs):
    candidates = [" ".join(ours) for ours, _ in pairs]
    references = [[" ".join(text) for text in theirs] for _, theirs in pairs]
    expected = []
    for ours, theirs in zip(candidates, references, strict=True):
        one, others = ours.split(" "), [text.split(" ") for text in theirs]
        common = [table(one, other) for other in others]
        recalls = [length / len(other) for length, other in zip(common, others, strict=True)]
        expected.append(f_measure(max(common) / len(one), max(recalls)))
    value, scores = rouge_l(candidates, references)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-12)
    assert value == pytest.approx(np.mean(expected), abs=1e-12)


@pytest.mark.parametrize("length", [62, 63, 64, 65, 130, 511, 512, 513, 700])
@pytest.mark.parametrize("other", [3, 63, 64, 65, 200])
def test_texts_of_any_length_have_the_common_words_of_the_table(length, other):
    source = np.random.default_rng(length * 1000 + other)
    one, two = ([str(w) for w in source.integers(0, 9, size)] for size in (length, other))
    common = table(one, two)
    assert longest_common(one, two) == longest_common(two, one) == common
    assert rouge_l([" ".join(one)], [[" ".join(two)]])[0] == pytest.approx(f_measure(common / length, common / other))


def test_captions_of_a_megabyte_are_scored():
    # 2,000 words of 500 letters; every second one is in the reference, in order.
    long = [f"{i:0500}" for i in range(2000)]
    value, _ = rouge_l([" ".join(long)], [[" ".join(long[::2])]])
    assert value == pytest.approx(f_measure(1 / 2, 1))
