"""BLEU against values worked out by hand and against a slow formula."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showtell.metrics.bleu import bleu, bleu_counts
from showtell.metrics.references import References, match

texts = st.lists(st.sampled_from("abc"), max_size=9).map(" ".join)
sets = st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=4)), min_size=1, max_size=5)


def test_bleu_of_the_paper_clips_the_common_word():
    # Papineni et al., example 2: modified unigram precision 2/7; the closest reference has 7 words, no brevity penalty.
    references = ["the cat is on the mat", "there is a cat on the mat"]
    (one, two, _, _), _ = bleu(["the the the the the the the"], [references])
    assert one == pytest.approx(2 / 7, abs=1e-8)
    assert two == pytest.approx(0, abs=1e-7)


def test_bleu_by_hand_with_brevity_penalty():
    # 4 of 4 words, 3 of 3 bigrams ... against 6 words: exp(1 - 6/4).
    scores, _ = bleu(["a b c d"], [["a b c d e f"]])
    np.testing.assert_allclose(scores, [math.exp(-0.5)] * 4, atol=1e-7)


def test_bleu_of_a_set_sums_matches_before_dividing():
    # 1-grams: 1 of 2 and 3 of 3, 4 of 5 together; lengths 5 against 5.
    (one, _, _, _), of_pictures = bleu(["a x", "b c d"], [["a y"], ["b c d"]])
    assert one == pytest.approx(4 / 5, abs=1e-8)
    np.testing.assert_allclose(of_pictures[:, 0], [1 / 2, 1], atol=1e-8)


def test_of_two_references_equally_close_in_length_the_shorter_counts():
    # 3 words against 2 and 4: no penalty. Against 4 it would be exp(1 - 4/3).
    scores, _ = bleu(["a b c"], [["a b c d", "a b"]])
    np.testing.assert_allclose(scores[:3], [1, 1, 1], atol=1e-8)


def test_an_empty_caption_scores_zero():
    scores, of_pictures = bleu(["", "a b c d"], [["a b", ""], ["a b c d"]])
    np.testing.assert_array_equal(of_pictures[0], [0, 0, 0, 0])
    np.testing.assert_allclose(scores, [1] * 4, atol=1e-7)  # the empty caption is closest to the empty reference


@settings(max_examples=150)
@given(pairs=sets)
def test_counts_are_those_of_counting_one_ngram_after_another(pairs):
    candidates, references = zip(*pairs, strict=True)
    found = bleu_counts(match(References(references), candidates))
    for row, candidate, theirs in zip(found, candidates, references, strict=True):
        ours = candidate.split()
        lengths = [len(text.split()) for text in theirs]
        expected = [len(ours), min(lengths, key=lambda length: (abs(length - len(ours)), length))]
        matching, total = [], []
        for n in (1, 2, 3, 4):
            counted = [Counter(zip(*(words[i:] for i in range(n)), strict=False)) for words in map(str.split, theirs)]
            own = Counter(zip(*(ours[i:] for i in range(n)), strict=False))
            matching.append(sum(min(times, max(c[gram] for c in counted)) for gram, times in own.items()))
            total.append(sum(own.values()))
        assert row.tolist() == expected + matching + total
