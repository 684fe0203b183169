"""Pictures that join a search that is under way, and leave it when they have their sentences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_decoder import TableDecoder, log_table, random_history_decoder, regions_of

from showtell.decoding.arrays import NumpyArrays
from showtell.decoding.options import DecodeOptions
from showtell.decoding.search import Search, generate
from showtell.errors import ShowtellError
from showtell.vocabulary import END, START

A, B, C = 4, 5, 6
PICTURES = 5

OPTIONS = st.builds(
    lambda groups, size, wanted, shortest, longer, **rest: DecodeOptions(
        beam_groups=groups,
        beam_width=groups * size,
        num_captions=min(wanted, groups * size),
        min_words=shortest,
        max_words=shortest + longer,
        **rest,
    ),
    groups=st.integers(1, 2),
    size=st.integers(1, 3),
    wanted=st.integers(1, 3),
    shortest=st.integers(0, 3),
    longer=st.integers(1, 5),
    length_penalty=st.sampled_from([-0.5, 0, 0.9]),
    no_repeat_ngram=st.integers(0, 3),
    no_repeat_phrase=st.booleans(),
    stop_early=st.booleans(),
    sample=st.booleans(),
    rerank=st.sampled_from(["", "consensus"]),
    seed=st.integers(0, 3),
)


def one_sentence(words):
    return log_table(dict(zip((START, *words), ({word: 1.0} for word in (*words, END)), strict=True)), 8)


@given(OPTIONS, st.integers(0, 5), st.lists(st.integers(0, 4), min_size=PICTURES, max_size=PICTURES))
@settings(max_examples=150, deadline=None)
def test_a_picture_that_joins_late_gets_what_it_gets_alone(options, seed, steps_before):
    decoder = random_history_decoder(seed, PICTURES, size=8)
    search = Search(decoder, options, NumpyArrays(), with_attention=True)
    answers = {}
    for picture, steps in enumerate(steps_before):
        search.add(regions_of([picture]), [10 + picture], [100 + picture])
        for _ in range(steps):
            answers |= search.step()
    while len(search):
        answers |= search.step()
    for picture in range(PICTURES):
        (alone,) = generate(
            decoder, regions_of([picture]), options, NumpyArrays(), picture_keys=[100 + picture], with_attention=True
        )
        together = answers[10 + picture]
        assert together == alone
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_array_equal(one.attention, other.attention)


def test_an_answer_comes_with_the_step_that_finds_it_and_not_with_its_neighbours():
    decoder = TableDecoder([one_sentence([A]), one_sentence([A, B, C])])
    search = Search(decoder, DecodeOptions(beam_width=1), NumpyArrays())
    search.add(regions_of([1, 0]), [7, 8], [0, 0])
    answers = [[(name, found[0].tokens) for name, found in search.step()] for _ in range(4)]
    assert answers == [[], [(8, (A,))], [], [(7, (A, B, C))]]
    assert (len(search), search.step()) == (0, [])


def test_answered_pictures_cost_nothing_once_others_join():
    decoder = TableDecoder([one_sentence([A]), one_sentence([A, B, C])])
    search = Search(decoder, DecodeOptions(beam_width=1), NumpyArrays())
    search.add(regions_of([1, 1, 0]), [0, 1, 2], [0, 0, 0])
    for _ in range(2):
        search.step()
    before = decoder.rows
    search.add(regions_of([1]), [3], [0])
    search.step()
    assert decoder.rows - before == 3  # 0, 1 and 3


def test_names_must_be_free_and_numbers_equal():
    search = Search(TableDecoder([one_sentence([A])]), DecodeOptions(), NumpyArrays())
    search.add(regions_of([0]), [5], [0])
    with pytest.raises(ValueError, match=r"names \[5\] of pictures: one is taken"):
        search.add(regions_of([0]), [5], [0])
    with pytest.raises(ValueError, match=r"names \[6, 6\] of pictures: one is taken"):
        search.add(regions_of([0, 0]), [6, 6], [0, 0])
    with pytest.raises(ValueError, match="1 names for 2 pictures"):
        search.add(regions_of([0, 0]), [6], [0, 0])
    assert len(search) == 1


def test_numbers_that_are_none_are_told_with_the_name():
    broken = one_sentence([A, B]).copy()
    broken[A] = np.nan
    search = Search(TableDecoder([broken]), DecodeOptions(), NumpyArrays())
    search.add(regions_of([0]), [5], [0])
    search.step()
    with pytest.raises(ShowtellError, match="picture 5 of the batch: the decoder gave NaN for word 2"):
        search.step()
