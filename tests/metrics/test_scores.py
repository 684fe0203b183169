"""CIDEr-D and BLEU against the COCO caption evaluation and against values worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showtell.errors import DataError
from showtell.metrics.bleu import bleu
from showtell.metrics.cider import CiderD, cider_d

# Few words, so that n-grams meet; non-ASCII, and clitics and numbers as tokenizers leave them.
WORDS = ("a", "dog", "hund", "größe", "犬", "n't", "3,000", "ə")
SPACES = (" ", "  ", "\t", "\u3000")

sentences = st.lists(st.sampled_from(WORDS), max_size=9).flatmap(
    lambda words: st.sampled_from(SPACES).map(lambda space: space.join(words))
)
repeated = st.builds(lambda word, times: " ".join([word] * times), st.sampled_from(WORDS), st.integers(1, 12))
texts = st.one_of(sentences, repeated)
sets = st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=5)), min_size=1, max_size=8)


def coco(scorer, candidates, references, **options):
    """The same from the COCO caption evaluation, fed with tokens as they are."""
    return scorer.compute_score(dict(enumerate(references)), {i: [c] for i, c in enumerate(candidates)}, **options)


@settings(max_examples=150, deadline=None)
@given(pairs=sets)
def test_cider_has_the_digits_of_the_coco_evaluation(pairs):
    reference_scorer = pytest.importorskip("pycocoevalcap.cider.cider").Cider()
    candidates, references = zip(*pairs, strict=True)
    if not any(text.split() for texts in references for text in texts):
        assert cider_d(candidates, references)[0] == 0  # the COCO evaluation fails without any word
        return
    mean, scores = cider_d(candidates, references)
    expected_mean, expected = coco(reference_scorer, candidates, references)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-9)
    assert mean == pytest.approx(expected_mean, abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(pairs=sets)
def test_bleu_has_the_digits_of_the_coco_evaluation(pairs):
    reference_scorer = pytest.importorskip("pycocoevalcap.bleu.bleu").Bleu(4)
    candidates, references = zip(*pairs, strict=True)
    scores, of_pictures = bleu(candidates, references)
    expected, expected_of_pictures = coco(reference_scorer, candidates, references, verbose=0)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(of_pictures, np.transpose(expected_of_pictures), rtol=0, atol=1e-9)


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


def test_words_that_every_picture_has_are_worth_nothing():
    _, scores = cider_d(["a", "a"], [["a dog"], ["a cat"]])
    np.testing.assert_array_equal(scores, [0, 0])


def test_prepared_references_score_several_candidates_of_a_picture():
    references = [["a dog runs", "the dog runs fast"], ["two cats sleep"], ["a red ball"]]
    scorer = CiderD(references)
    found = scorer.scores(["a dog", "dog runs fast", "two cats"], [0, 0, 1])
    for score, candidate, picture in zip(found, ["a dog", "dog runs fast", "two cats"], [0, 0, 1], strict=True):
        alone = ["x"] * 3
        alone[picture] = candidate
        assert score == pytest.approx(cider_d(alone, references)[1][picture])


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


@pytest.mark.parametrize("score", [cider_d, bleu])
@pytest.mark.parametrize(
    ("candidates", "references", "message"),
    [
        ([], [], "no pictures to score"),
        (["a"], [["a"], ["b"]], "1 candidates for 2 pictures"),
        (["a", "b"], [["a"], []], "picture 1 has no reference caption"),
        (["a"], ["a dog"], "references of picture 0 are the text 'a dog', expected a list"),
    ],
)
def test_what_cannot_be_scored_is_named(score, candidates, references, message):
    with pytest.raises(DataError, match=message):
        score(candidates, references)
