"""Which captions a step shows. `CAPTIONS[n]` has n words; a caption's length in a batch counts its end mark too."""

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showtell.data.example import Example
from showtell.errors import DataError
from showtell.recipe import TrainingOptions
from showtell.training.dataset import make_batch, pictures
from showtell.training.sampling import (
    caption_count,
    check_batch,
    epoch_batches,
    steps_per_epoch,
    training_part,
)
from showtell.vocabulary import END, PAD, START, Vocabulary

CAPTIONS = ["", "a", "a cat", "a red cat", "a red cat runs"]
VOCABULARY = Vocabulary.build(CAPTIONS)
SAMPLINGS = ("pictures", "captions", "order", "replacement", "length")


def _example(name, *captions, split="train"):
    return Example(id=name, image=Path(name), captions=captions, split=split)


def _pictures(*lengths_of_each):
    """Pictures numbered from 0 with captions of these numbers of words."""
    examples = [_example(str(i), *(CAPTIONS[n] for n in lengths)) for i, lengths in enumerate(lengths_of_each)]
    return pictures(examples, {str(i): i for i in range(len(examples))}, VOCABULARY, 9)[0]


MANY = _pictures(*([1 + i % 4, 1 + i % 3, 4][: 1 + i % 3] for i in range(23)))  # 8 of 1, 8 of 2 and 7 of 3 captions


def _same(a, b):
    assert a.rows == b.rows
    assert all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("tokens", "targets", "lengths"))


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("count_padding", [False, True])
def test_an_epoch_goes_on_from_any_step_as_if_it_had_not_stopped(sampling, count_padding):
    options = TrainingOptions(
        batch=4, captions_per_picture=2, seed=3, sampling=sampling, count_padding=count_padding, flip=True
    )
    mirrored = [dataclasses.replace(picture, flipped_row=100 + picture.row) for picture in MANY]
    whole = list(epoch_batches(mirrored, options, epoch=1))
    assert len(whole) == steps_per_epoch(mirrored, options)
    for start in range(len(whole) + 1):
        rest = list(epoch_batches(mirrored, options, 1, start))
        assert len(rest) == len(whole) - start
        for a, b in zip(whole[start:], rest, strict=True):
            _same(a, b)
    assert any(row >= 100 for batch in whole for row in batch.rows)
    assert any(row < 100 for batch in whole for row in batch.rows)


@pytest.mark.parametrize("sampling", ["pictures", "captions", "replacement", "length"])
def test_epochs_and_seeds_differ(sampling):
    options = TrainingOptions(batch=4, sampling=sampling)
    first = next(epoch_batches(MANY, options, 0)).rows
    assert first != next(epoch_batches(MANY, options, 1)).rows
    assert first != next(epoch_batches(MANY, dataclasses.replace(options, seed=2), 0)).rows


@pytest.mark.parametrize(
    ("sampling", "steps"), [("pictures", 6), ("captions", 12), ("order", 12), ("replacement", 11), ("length", 12)]
)
def test_the_sampling_tells_the_steps_of_an_epoch(sampling, steps):
    assert caption_count(MANY) == 45
    assert steps_per_epoch(MANY, TrainingOptions(batch=4, sampling=sampling)) == steps


def test_every_picture_comes_once_an_epoch_shuffled():
    shuffled = [row for batch in epoch_batches(MANY, TrainingOptions(batch=4), 0) for row in batch.rows]
    assert sorted(shuffled) == list(range(23)) != shuffled


def _captions_shown(options, epoch):
    batches = list(epoch_batches(MANY, options, epoch))
    assert all(batch.lengths.shape[1] == 1 for batch in batches)
    return [
        (row, tuple(targets[0, :length].tolist()))
        for batch in batches
        for row, targets, length in zip(batch.rows, batch.targets, batch.lengths[:, 0], strict=True)
    ]


@pytest.mark.parametrize("sampling", ["captions", "order"])
def test_every_caption_comes_once_an_epoch_with_its_picture(sampling):
    options = TrainingOptions(batch=4, sampling=sampling, captions_per_picture=0)
    first, second = (_captions_shown(options, epoch) for epoch in range(2))
    all_captions = [(picture.row, caption) for picture in MANY for caption in picture.captions]
    assert sorted(first) == sorted(second) == sorted(all_captions)
    assert first != all_captions  # captions of one picture do not stand together
    assert (first == second) == (sampling == "order")
    assert first != _captions_shown(dataclasses.replace(options, seed=2), 0)


def test_with_replacement_pictures_come_evenly_and_each_with_one_of_its_captions():
    few = _pictures([1], [2, 3, 4])
    options = TrainingOptions(batch=4, sampling="replacement", captions_per_picture=0)
    seen = Counter()
    for epoch in range(500):  # 500 steps of 4 pictures
        (batch,) = epoch_batches(few, options, epoch)
        assert batch.lengths.shape == (4, 1)
        seen.update(zip(batch.rows, (batch.lengths[:, 0] - 1).tolist(), strict=True))
    assert set(seen) == {(0, 1), (1, 2), (1, 3), (1, 4)}
    assert seen[0, 1] == pytest.approx(1000, rel=0.1)  # whatever the number of its captions
    assert all(seen[1, words] == pytest.approx(1000 / 3, rel=0.2) for words in (2, 3, 4))


def test_a_batch_of_one_length_has_no_padding_and_lengths_come_in_proportion():
    # 6 captions: three of 1 word, two of 2 words, one of 4.
    few = _pictures([1, 2], [1, 2, 4], [1])
    options = TrainingOptions(batch=5, sampling="length")
    told, captions = Counter(), Counter()
    for epoch in range(600):
        batches = list(epoch_batches(few, options, epoch))
        assert len(batches) == 2
        for batch in batches:
            assert batch.tokens.shape == (5, 1, batch.lengths[0, 0])
            assert len(set(batch.lengths[:, 0].tolist())) == 1
            assert PAD not in batch.targets
            told[int(batch.lengths[0, 0]) - 1] += 1
            captions.update((row, int(batch.lengths[0, 0]) - 1) for row in batch.rows)
    assert [told[words] / 1200 for words in (1, 2, 4)] == pytest.approx([3 / 6, 2 / 6, 1 / 6], abs=0.05)
    # So every caption comes as often as any other.
    assert {pair: count / 6000 for pair, count in captions.items()} == pytest.approx(
        dict.fromkeys([(0, 1), (0, 2), (1, 1), (1, 2), (1, 4), (2, 1)], 1 / 6), abs=0.05
    )


@settings(deadline=None, derandomize=True, max_examples=50)
@given(
    st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=4), min_size=1, max_size=6),
    st.integers(1, 5),
    st.sampled_from(SAMPLINGS),
)
def test_every_sampling_shows_captions_of_its_pictures(lengths, batch_size, sampling):
    train = _pictures(*lengths)
    for batch in epoch_batches(train, TrainingOptions(batch=batch_size, sampling=sampling), 0):
        for row, targets, of_picture in zip(batch.rows, batch.targets, batch.lengths, strict=True):
            assert of_picture.any()
            shown = [tuple(caption[:n].tolist()) for caption, n in zip(targets, of_picture, strict=True) if n]
            assert not Counter(shown) - Counter(train[row].captions)


def test_more_pictures_in_a_batch_than_captions_is_told():
    options = TrainingOptions(batch=46, sampling="replacement")
    with pytest.raises(DataError, match=r"^training\.batch is 46, expected at most the 45 training captions.*lower"):
        check_batch(45, options)
    check_batch(46, options)
    for sampling in ("pictures", "captions", "order", "length"):
        check_batch(1, dataclasses.replace(options, sampling=sampling))


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_pictures_of_a_batch_come_with_the_longest_caption_first(sampling):
    for batch in epoch_batches(MANY, TrainingOptions(batch=6, sampling=sampling), 0):
        assert (np.diff(batch.lengths.max(1)) <= 0).all()
        assert (np.diff(batch.lengths, axis=1) <= 0).all()
        for row, tokens, targets in zip(batch.rows, batch.tokens, batch.targets, strict=True):  # all in one order
            assert tuple(targets[0][targets[0] != PAD].tolist()) in MANY[row].captions
            assert tokens[0, 1:].tolist() == [word if word != END else PAD for word in targets[0, :-1].tolist()]


# Padding that counts


def test_counted_padding_is_told_behind_the_end_mark_up_to_the_longest():
    batch = make_batch(_pictures([1, 3], [2]), padding=True)
    a, cat, red = (VOCABULARY.ids[word] for word in ("a", "cat", "red"))
    assert batch.tokens.tolist() == [
        [[START, a, red, cat], [START, a, END, PAD]],
        [[START, a, cat, END], [PAD, PAD, PAD, PAD]],
    ]
    assert batch.targets.tolist() == [[[a, red, cat, END], [a, END, PAD, PAD]], [[a, cat, END, PAD], [PAD] * 4]]
    assert batch.lengths.tolist() == [[4, 4], [4, 0]]  # a caption that is not there has nothing to tell


def test_without_counting_a_batch_is_as_it_was():
    batch = make_batch(_pictures([1, 3], [2]))
    assert batch.lengths.tolist() == [[4, 2], [3, 0]]
    assert END not in batch.tokens


# A part of the captions


def _data(count, captions=5):
    return [_example(f"{i:03}", *(f"caption {j} of {i}" for j in range(captions))) for i in range(count)]


def _all_of(examples):
    return [(example.id, caption) for example in examples for caption in example.captions]


def test_the_defaults_leave_the_examples_as_they_are():
    data = [*_data(3), _example("none")]
    assert training_part(data, TrainingOptions()) == data
    for limit in (15, 16):
        assert training_part(data, TrainingOptions(limit_captions=limit)) == data


def test_only_the_first_caption_of_each_picture():
    data = _data(3)
    part = training_part(data, TrainingOptions(captions="first"))
    assert [example.captions for example in part] == [(f"caption 0 of {i}",) for i in range(3)]
    assert [example.id for example in part] == [example.id for example in data]


def test_a_limit_draws_that_many_captions_and_leaves_out_pictures_without_one():
    data = _data(100)
    part = training_part(data, TrainingOptions(limit_captions=120))
    kept = _all_of(part)
    assert len(kept) == caption_count(part) == 120
    assert [pair for pair in _all_of(data) if pair in set(kept)] == kept  # in the order of the data set
    assert all(example.captions for example in part)
    # 100 * (1 - (1 - 120 / 500) ** 5) pictures are expected to have one.
    assert len(part) == pytest.approx(74.6, abs=10)
    assert len(training_part(data, TrainingOptions(captions="first", limit_captions=30))) == 30


def test_the_part_depends_on_the_seed_and_not_on_the_order():
    data = _data(40)
    options = TrainingOptions(limit_captions=50)
    part = training_part(data, options)
    assert training_part(data, options) == part
    assert sorted(_all_of(training_part(data[::-1], options))) == sorted(_all_of(part))
    assert set(_all_of(training_part(data, dataclasses.replace(options, seed=2)))) != set(_all_of(part))
    # Every caption can be drawn.
    drawn = {
        pair for seed in range(60) for pair in _all_of(training_part(data, dataclasses.replace(options, seed=seed)))
    }
    assert drawn == set(_all_of(data))
