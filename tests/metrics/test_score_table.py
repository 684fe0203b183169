"""The table of metrics, what a `Score` promises, what cannot be scored, and counting n-grams without hashing."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from showtell.errors import DataError
from showtell.metrics.bleu import bleu
from showtell.metrics.cider import CiderD, cider_d
from showtell.metrics.documents import Documents
from showtell.metrics.ngrams import NgramCounter
from showtell.metrics.rouge import rouge_l
from showtell.metrics.score import DEFAULT, METRICS, Captions, score
from showtell.metrics.texts import encode, learn

CANDIDATES = ["a dog runs", "two cats", "a red ball on grass", ""]
REFERENCES = [
    ["a dog runs fast", "the dog"],
    ["two cats sleep", "cats", "a cat"],
    ["a red ball", "grass"],
    ["a man on a horse"],
]
LIGHT = [name for name in METRICS if name not in ("METEOR", "SPICE")]


def test_the_default_is_what_papers_print_and_needs_no_java():
    assert list(score(CANDIDATES, REFERENCES)) == list(DEFAULT)
    assert set(DEFAULT) == set(LIGHT) - {"CIDEr-plain"}


@pytest.mark.parametrize("name", LIGHT)
def test_the_statistics_of_any_choice_of_pictures_combine_to_its_score(name):
    documents = Documents(4, {"a": 3, "a dog": 2})  # else CIDEr of a choice would have its own frequencies
    found = score(CANDIDATES, REFERENCES, [name], documents)[name]
    assert found.name == name
    assert found.per_picture.shape == (4,)
    assert found.combine(found.statistics.sum(0)) == found.value
    np.testing.assert_allclose(found.combine(found.statistics), found.per_picture, rtol=1e-12)
    chosen = [2, 0, 0]
    again = score([CANDIDATES[i] for i in chosen], [REFERENCES[i] for i in chosen], [name], documents)[name]
    weights = np.array([[2, 0, 1, 0], [1, 1, 1, 1]])
    np.testing.assert_allclose(found.combine(weights @ found.statistics), [again.value, found.value], rtol=1e-12)
    assert found.choose(chosen).value == pytest.approx(again.value, rel=1e-12)
    np.testing.assert_allclose(found.choose(chosen).per_picture, again.per_picture, rtol=1e-12)


def test_candidates_may_name_their_pictures():
    found = score(["a cat", "the dog", "cats sleep"], REFERENCES, LIGHT, pictures=[1, 0, 1])
    for place, (text, picture) in enumerate((("a cat", 1), ("the dog", 0), ("cats sleep", 1))):
        alone = ["x"] * 4
        alone[picture] = text
        for name, expected in score(alone, REFERENCES, LIGHT).items():
            assert found[name].per_picture[place] == pytest.approx(expected.per_picture[picture], abs=1e-12)


def test_java_programs_get_the_references_of_each_candidate():
    captions = Captions(["a cat", "the dog", "cats"], REFERENCES, pictures=[1, 0, 1])
    assert captions.references_of_candidates == [REFERENCES[1], REFERENCES[0], REFERENCES[1]]
    assert Captions(CANDIDATES, REFERENCES).references_of_candidates == REFERENCES


def test_plain_cider_is_the_plain_scorer():
    found = score(CANDIDATES, REFERENCES, ["CIDEr-plain"])["CIDEr-plain"]
    np.testing.assert_array_equal(found.per_picture, CiderD(REFERENCES, plain=True).scores(CANDIDATES))


@pytest.mark.parametrize("metric", [cider_d, bleu, rouge_l, score])
@pytest.mark.parametrize(
    ("candidates", "references", "message"),
    [
        ([], [], "to score"),
        (["a"], [["a"], ["b"]], "1 candidates for 2 pictures"),
        (["a", "b"], [["a"], []], "picture 1 has no reference caption"),
        (["a"], ["a dog"], "references of picture 0 are the text 'a dog', expected a list"),
        (["a", None], [["a"], ["b"]], "text 1 is None, expected a text"),
        (["a", "b"], [["a"], ["b", 7]], "text 2 is 7, expected a text"),
    ],
)
def test_what_cannot_be_scored_is_named(metric, candidates, references, message):
    with pytest.raises(DataError, match=message) as caught:
        metric(candidates, references)
    assert "\n" not in str(caught.value)


def test_an_unknown_metric_is_named_with_the_known_ones():
    with pytest.raises(DataError, match=r"metric 'cider' is unknown, expected some of BLEU-1, .*CIDEr"):
        score(CANDIDATES, REFERENCES, ["cider"])


def test_scoring_imports_neither_torch_nor_java():
    program = (
        "import sys; from showtell.metrics.score import score; score(['a'], [['a']]); "
        "heavy = {'torch', 'PIL', 'onnxruntime', 'showtell.metrics.meteor', 'showtell.metrics.spice'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=8), max_size=6))
def test_ngrams_are_counted_alike_however_large_their_keys(words):
    texts, ids = learn([" ".join(text) for text in words])
    letters = list(ids)
    for base in (5, 2**56):  # keys and positions in one integer, and sorted as pairs
        counter = NgramCounter(texts, base)
        names = [()]  # of the n-grams that are one word shorter, by id
        for n in (1, 2, 3, 4):
            counts = counter.count()
            counter.name(np.arange(len(counts.keys)), len(counts.keys))
            names = [(*names[key // base], letters[key % base]) for key in counts.keys.tolist()]
            found = {
                (int(text), names[gram]): int(times)
                for gram, text, times in zip(counts.gram, counts.text, counts.count, strict=True)
            }
            expected = [(i, tuple(t[j : j + n])) for i, t in enumerate(words) for j in range(len(t) - n + 1)]
            assert found == Counter(expected)
            places = (counts.positions[counts.first] - texts.starts[counts.text]).tolist()
            pairs = zip(counts.gram.tolist(), counts.text.tolist(), places, strict=True)
            assert all(names[gram] == tuple(words[text][place : place + n]) for gram, text, place in pairs)


def test_unknown_words_get_ids_behind_the_known():
    _, known = learn(["a dog", "a cat"])
    texts = encode(["zebra dog zebra", "", "a gnu"], known)
    assert texts.words.tolist() == [3, 1, 3, 0, 4]
    assert texts.lengths.tolist() == [3, 0, 2]
    assert texts.distinct == 5
    assert known == {"a": 0, "dog": 1, "cat": 2}


def test_thousands_of_texts_are_taken_in_parts():
    said = ["a dog", "", " odd  one ", "b"] * 1000
    texts, known = learn(said)
    assert [list(known)[i] for i in texts.words[-5:]] == ["a", "dog", "odd", "one", "b"]
    assert texts.lengths.tolist() == [2, 0, 2, 1] * 1000
    assert texts.odd.tolist() == list(range(2, 4000, 4))
