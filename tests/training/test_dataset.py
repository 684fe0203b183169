from pathlib import Path

import pytest

from showtell.data.example import Example
from showtell.errors import DataError
from showtell.recipe import VocabularyOptions
from showtell.training.dataset import by_split, fingerprint, make_batch, pictures, vocabulary_of
from showtell.vocabulary import END, PAD, START, Vocabulary

VOCABULARY = Vocabulary.build(["a red dog runs", "a cat"])


def _example(name, *captions, split="train"):
    return Example(id=name, image=Path(name), captions=captions, split=split)


def test_captions_are_cut_counted_and_left_out_with_their_picture():
    examples = [_example("1", "a red dog runs", "a cat", "..."), _example("2", "a dog", "a cat")]
    kept, counts = pictures(examples, {"1": 7}, VOCABULARY, max_words=3)
    assert [picture.row for picture in kept] == [7]
    assert [VOCABULARY.decode(caption) for caption in kept[0].captions] == [["a", "red", "dog"], ["a", "cat"]]
    assert all(caption[-1] == END for caption in kept[0].captions)
    assert (counts.cut, counts.without_picture, counts.empty) == (1, 2, 1)
    assert "1 captions cut" in str(counts)
    assert "2 captions left out: their picture is missing" in str(counts)


def test_a_batch_is_padded_sorted_longest_first_and_shifted_by_one():
    kept, _ = pictures([_example("1", "a cat", "a red dog"), _example("2", "a")], {"1": 0, "2": 1}, VOCABULARY, 9)
    batch = make_batch(kept)
    assert batch.rows == [0, 1]
    assert batch.lengths.tolist() == [[4, 3], [2, 0]]
    word = VOCABULARY.ids
    assert batch.tokens[0, 0].tolist() == [START, word["a"], word["red"], word["dog"]]
    assert batch.targets[0, 0].tolist() == [word["a"], word["red"], word["dog"], END]
    assert batch.targets[0, 1].tolist() == [word["a"], word["cat"], END, PAD]
    assert batch.tokens[1, 1].tolist() == [PAD] * 4


def test_words_outside_the_vocabulary_are_dropped_where_the_recipe_says_so():
    options = VocabularyOptions(min_count=2, unknown="drop")
    vocabulary = vocabulary_of([_example("1", "a red dog", "a dog"), _example("2", "a cat", "cat")], options)
    examples = [_example("1", "a red dog runs", "red", "dog"), _example("2", "blue")]
    kept, counts = pictures(examples, {"1": 0, "2": 1}, vocabulary, max_words=9)
    assert [vocabulary.decode(caption) for caption in kept[0].captions] == [["a", "dog"], ["dog"]]
    assert kept[1].captions == ()
    assert counts.empty == 2
    assert str(counts) == "2 captions left out: no word to learn in them"


def test_an_empty_split_is_an_error_that_names_the_splits_there_are():
    with pytest.raises(DataError, match=r"no picture in the train split \(2 pictures, splits: test, val\).*data split"):
        by_split([_example("1", split="val"), _example("2", split="test")], "train")


def test_the_fingerprint_sees_captions_and_splits_but_not_the_order():
    one, two = _example("1", "a cat"), _example("2", "a dog")
    assert fingerprint([one, two]) == fingerprint([two, one])
    assert fingerprint([one, two]) != fingerprint([one, _example("2", "a cow")])
    assert fingerprint([one, two]) != fingerprint([one, _example("2", "a dog", split="val")])
