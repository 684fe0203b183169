"""CIDEr against values worked out by hand and against a slow formula; the scorer for training."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showtell.errors import DataError
from showtell.metrics.cider import CiderD, cider_d
from showtell.metrics.documents import Documents, count_documents

WORDS = ("a", "b", "c", "größe", "n't")
texts = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)
sets = st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=4)), min_size=1, max_size=6)


def ngrams(text):
    words = text.split()
    return Counter(tuple(words[i : i + n]) for n in (1, 2, 3, 4) for i in range(len(words) - n + 1))


def slow_cider(candidate, theirs, documents, pictures, plain):
    """One caption's score as the papers write it, a word at a time."""

    def vector(text, n):
        return {
            gram: times * math.log(pictures / max(1, documents.get(gram, 0)))
            for gram, times in ngrams(text).items()
            if len(gram) == n
        }

    total = 0.0
    for text in theirs:
        gap = max(len(candidate.split()) - 1, 0) - max(len(text.split()) - 1, 0)
        gauss = 1.0 if plain else math.exp(-(gap**2) / 72)
        for n in (1, 2, 3, 4):
            one, two = vector(candidate, n), vector(text, n)
            norms = math.hypot(*one.values()) * math.hypot(*two.values())
            if norms:
                clipped = ((w if plain else min(w, two[g])) * two[g] for g, w in one.items() if g in two)
                total += gauss * sum(clipped) / norms
    return 10 * total / 4 / len(theirs)


def documents_of(references):
    return Counter(gram for texts in references for gram in set().union(*map(ngrams, texts)))


def test_a_caption_equal_to_its_only_reference_scores_ten():
    mean, scores = cider_d(["a b c d", "e f g h"], [["a b c d"], ["e f g h"]])
    np.testing.assert_allclose(scores, [10, 10])
    assert mean == pytest.approx(10)


def test_cider_of_two_words_by_hand():
    # Two pictures; each n-gram of the first occurs in it alone, so all weigh log 2. Of 1-grams "dog" is shared: cosine
    # 1 / (sqrt 2 * sqrt 2) = 1/2; the 2-grams differ, there are no longer ones. Equal length, so no penalty.
    _, scores = cider_d(["brown dog", "x"], [["white dog"], ["y z"]])
    assert scores[0] == pytest.approx(10 * (1 / 2) / 4)


def test_cider_punishes_another_length_by_a_gaussian_and_repetition_by_clipping():
    references = [["a b c d e f g"], ["z"]]
    exact, longer = (cider_d([text, "z"], references)[1][0] for text in ("a b c d e f g", "a b c d e f g a"))
    assert exact == pytest.approx(10)
    # 7 bigrams against 6: exp(-1 / 72). 1-grams: "a" twice, clipped: 7 / (sqrt(4 + 6) * sqrt 7); of 2-, 3- and 4-grams
    # one is wrong each: n / (sqrt(n + 1) * sqrt n) = sqrt(n / (n + 1)) for the n right ones, 6, 5 and 4.
    expected = (7 / math.sqrt(70) + sum(math.sqrt(n / (n + 1)) for n in (6, 5, 4))) / 4 * math.exp(-1 / 72)
    assert longer == pytest.approx(10 * expected)


def test_plain_cider_neither_clips_nor_punishes_length():
    references = [["a b c d e f g"], ["z"]]
    found = CiderD(references, plain=True).scores(["a b c d e f g a"], [0])
    # "a" counts twice now: 8 / (sqrt 10 * sqrt 7).
    expected = (8 / math.sqrt(70) + sum(math.sqrt(n / (n + 1)) for n in (6, 5, 4))) / 4
    assert found[0] == pytest.approx(10 * expected)


def test_words_that_every_picture_has_are_worth_nothing():
    _, scores = cider_d(["a", "a"], [["a dog"], ["a cat"]])
    np.testing.assert_array_equal(scores, [0, 0])


def test_a_set_without_any_word_scores_zero():
    _, scores = cider_d(["", "a"], [[""], ["", ""]])  # the COCO evaluation fails here
    np.testing.assert_array_equal(scores, [0, 0])


@settings(max_examples=150)
@given(pairs=sets, plain=st.booleans())
def test_scores_are_those_of_the_slow_formula(pairs, plain):
    candidates, references = zip(*pairs, strict=True)
    documents = documents_of(references)
    found = CiderD(references, plain=plain).scores(candidates)
    expected = [slow_cider(c, r, documents, len(pairs), plain) for c, r in pairs]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@settings(max_examples=100)
@given(pairs=sets, others=st.lists(st.lists(texts, min_size=1, max_size=3), min_size=1, max_size=6))
def test_documents_of_another_set_weigh_the_ngrams(pairs, others):
    candidates, references = zip(*pairs, strict=True)
    expected = [slow_cider(c, r, documents_of(others), len(others), False) for c, r in pairs]
    found = CiderD(references, count_documents(others)).scores(candidates)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_documents_may_hold_a_long_ngram_without_its_parts():
    # "a b" weighs log(10 / 5) in both texts, the rest log 10; all that is shared is "a b".
    score = CiderD([["a b"]], Documents(10, {"a b": 5})).scores(["a b"])[0]
    assert score == pytest.approx(10 * 2 / 4)  # 1-grams and 2-grams are all there, 3- and 4-grams are not
    assert CiderD([["a b"]], Documents(10, {"a b": 10})).scores(["a b"])[0] == pytest.approx(10 * 1 / 4)


@settings(max_examples=100)
@given(data=st.data(), pairs=sets)
def test_prepared_references_score_any_batch_as_words_and_as_ids(data, pairs):
    candidates, references = zip(*pairs, strict=True)
    vocabulary = ["<pad>", "<unk>", "unused", *WORDS]
    scorer = CiderD(references, words=vocabulary)
    documents = documents_of(references)
    batch = data.draw(st.lists(st.tuples(st.sampled_from(candidates), st.integers(0, len(pairs) - 1)), max_size=8))
    said = [f"{text} <unk> <unk>" for text, _ in batch]
    pictures = np.array([picture for _, picture in batch], np.int64)
    expected = [slow_cider(c, references[p], documents, len(pairs), False) for c, p in zip(said, pictures, strict=True)]
    lengths = np.array([len(text.split()) for text in said], np.int64)
    ids = np.full((len(said), 15), 0)
    for row, text in zip(ids, said, strict=True):
        row[: len(text.split())] = [vocabulary.index(word) for word in text.split()]
    np.testing.assert_allclose(scorer.scores(said, pictures), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(scorer.scores([text.split() for text in said], pictures), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(scorer.scores_of_ids(ids, lengths, pictures), expected, rtol=0, atol=1e-9)


def test_a_scorer_is_not_changed_by_what_it_scores():
    scorer = CiderD([["a dog runs"], ["two cats"]])
    before = scorer.scores(["a dog", "zebra cats"])
    scorer.scores(["zebra zebra quagga"] * 50, [0] * 50)
    np.testing.assert_array_equal(scorer.scores(["a dog", "zebra cats"]), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0, 1]], [2], [1]), "picture number 1 is not there, expected 0 to 0"),
        (([[0, 1]], [2], [0, 0]), "1 candidates and 2 picture numbers"),
        (([[0, 1]], [3], [0]), "lengths from 3 to 3, expected 0 to 2"),
        (([[0, 9]], [2], [0]), "word ids from 0 to 9, expected 0 to 1"),
        (([0, 1], [2], [0]), r"ids of shape \(2,\) and lengths of shape \(1,\)"),
    ],
)
def test_ids_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(DataError, match=message):
        CiderD([["a dog"]], words=["a", "dog"]).scores_of_ids(*arguments)


def test_ids_need_a_vocabulary():
    with pytest.raises(DataError, match="words=") as caught:
        CiderD([["a dog"]]).scores_of_ids([[0]], [1], [0])
    assert "\n" not in str(caught.value)
