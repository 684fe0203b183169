"""The oracle against trying every choice, and against picking by hand."""

from itertools import product

import numpy as np
import pytest

from showtell.errors import DataError
from showtell.metrics.oracle import best_of, oracle
from showtell.metrics.score import METRICS, mean_score, score

REFERENCES = [["a dog runs fast", "the dog"], ["two cats sleep", "a cat"], ["a red ball", "ball on grass"]]
CANDIDATES = [["a dog", "the dog runs", "dog runs fast"], ["two cats"], ["red red ball", "a red ball on grass", ""]]


@pytest.mark.parametrize("name", ["ROUGE-L", "CIDEr", "CIDEr-plain"])
def test_the_oracle_of_a_mean_is_the_most_that_any_choice_reaches(name):
    best = max(score(choice, REFERENCES, [name])[name].value for choice in product(*CANDIDATES))
    assert oracle(CANDIDATES, REFERENCES, [name])[name].value == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("name", [name for name in METRICS if name not in ("METEOR", "SPICE")])
def test_the_oracle_is_the_score_of_the_captions_that_score_best_alone(name):
    chosen = []
    for picture, texts in enumerate(CANDIDATES):
        alone = score(texts, REFERENCES, [name], pictures=[picture] * len(texts))[name].per_picture
        chosen.append(texts[int(np.argmax(alone))])
    expected, found = score(chosen, REFERENCES, [name])[name], oracle(CANDIDATES, REFERENCES, [name])[name]
    assert found.value == pytest.approx(expected.value, abs=1e-12)
    np.testing.assert_allclose(found.per_picture, expected.per_picture, rtol=0, atol=1e-12)
    assert found.combine(found.statistics.sum(0)) == found.value


def test_one_candidate_for_each_picture_is_its_own_oracle():
    single = [texts[:1] for texts in CANDIDATES]
    expected = score([texts[0] for texts in single], REFERENCES)
    for name, found in oracle(single, REFERENCES).items():
        assert found.value == pytest.approx(expected[name].value, abs=1e-12)


def test_a_candidate_without_a_number_is_chosen_only_where_there_is_no_other():
    nan = float("nan")
    found = best_of(mean_score("SPICE", [nan, 0.25, nan, 0.5, 0.0]), [3, 2])
    assert found.per_picture.tolist() == [0.25, 0.5]
    assert found.value == 0.375
    np.testing.assert_array_equal(best_of(mean_score("SPICE", [nan, nan, 0.5]), [2, 1]).per_picture, [nan, 0.5])


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([["a"], ["b"]], "2 candidates for 3 pictures"),
        ([["a"], [], ["b"]], r"candidates of picture 1 are \[\], expected a list of one text or more"),
        ([["a"], "b", ["b"]], "candidates of picture 1 are 'b'"),
    ],
)
def test_pictures_without_candidates_are_named(candidates, message):
    with pytest.raises(DataError, match=message):
        oracle(candidates, REFERENCES)
