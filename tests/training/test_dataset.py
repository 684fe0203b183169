from pathlib import Path

import numpy as np
import pytest

from showtell.data.example import Example
from showtell.errors import DataError
from showtell.recipe import TrainingOptions
from showtell.training.dataset import by_split, epoch_batches, fingerprint, make_batch, pictures
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


def test_an_epoch_goes_on_from_any_step_as_if_it_had_not_stopped():
    kept, _ = pictures(
        [_example(str(i), *["a cat", "a dog", "a red dog", "a red cat runs"][: 1 + i % 4]) for i in range(23)],
        {str(i): i for i in range(23)},
        VOCABULARY,
        9,
    )
    options = TrainingOptions(batch=4, captions_per_picture=2, seed=3)
    whole = list(epoch_batches(kept, options, epoch=1))
    assert sorted(row for batch in whole for row in batch.rows) == list(range(23))
    for start in range(len(whole) + 1):
        rest = list(epoch_batches(kept, options, 1, start))
        assert len(rest) == len(whole) - start
        for a, b in zip(whole[start:], rest, strict=True):
            assert a.rows == b.rows
            assert np.array_equal(a.tokens, b.tokens)
    other = next(epoch_batches(kept, options, epoch=2))
    assert other.rows != whole[0].rows


def test_an_empty_split_is_an_error_that_names_the_splits_there_are():
    with pytest.raises(DataError, match=r"no picture in the train split \(2 pictures, splits: test, val\).*data split"):
        by_split([_example("1", split="val"), _example("2", split="test")], "train")


def test_the_fingerprint_sees_captions_and_splits_but_not_the_order():
    one, two = _example("1", "a cat"), _example("2", "a dog")
    assert fingerprint([one, two]) == fingerprint([two, one])
    assert fingerprint([one, two]) != fingerprint([one, _example("2", "a cow")])
    assert fingerprint([one, two]) != fingerprint([one, _example("2", "a dog", split="val")])
