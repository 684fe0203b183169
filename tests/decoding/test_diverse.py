"""Diverse beam search: by hand, and beside a search in lists."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_decoder import TableDecoder, log_table, random_history_decoder, regions_of

from showtell.decoding.arrays import NumpyArrays
from showtell.decoding.options import DecodeOptions
from showtell.decoding.search import generate
from showtell.errors import RecipeError
from showtell.vocabulary import END, PAD, START, UNKNOWN

A, B, C, D = 4, 5, 6, 7
SIZE = 8
FREE = {"no_repeat_ngram": 0, "no_repeat_phrase": False}
ONE_WORD = log_table({START: {A: 0.5, B: 0.3, C: 0.2}, **{word: {END: 1.0} for word in (A, B, C)}}, SIZE)


def search(decoder, numbers=(0,), **options):
    if isinstance(decoder, np.ndarray):
        decoder = TableDecoder([decoder])
    return generate(decoder, regions_of(numbers), DecodeOptions(**options), NumpyArrays())


@pytest.mark.parametrize(
    ("groups", "diversity", "expected"),
    [
        (2, 0.50, [(A,)]),  # log 0.5 - 0.50 is above log 0.3 = log 0.5 - 0.511: the second says A too
        (2, 0.52, [(A,), (B,)]),
        (3, 0.52, [(A,), (B,)]),  # A costs once: -1.213; B too: -1.724; C nothing: -1.609
        (4, 0.52, [(A,), (B,), (C,)]),  # A costs twice: -1.733
        (3, 1.20, [(A,), (B,), (C,)]),
    ],
)
def test_a_word_costs_for_each_earlier_group_that_says_it(groups, diversity, expected):
    (found,) = search(ONE_WORD, beam_width=groups, beam_groups=groups, diversity=diversity, num_captions=groups)
    assert [h.tokens for h in found] == expected
    probabilities = {A: 0.5, B: 0.3, C: 0.2}
    for hypothesis in found:
        assert hypothesis.score == hypothesis.log_probability  # one word
        assert hypothesis.log_probability == pytest.approx(math.log(probabilities[hypothesis.tokens[0]]), abs=1e-6)


def test_a_word_said_at_another_place_costs_nothing():
    table = log_table({START: {A: 0.6, B: 0.4}, A: {B: 0.6, C: 0.4}, B: {A: 0.6, C: 0.4}, C: {END: 1.0}}, SIZE)
    table[[A, B], END] = math.log(0.5)
    (found,) = search(table, beam_width=2, beam_groups=2, diversity=50, num_captions=2, max_words=2, **FREE)
    assert [h.tokens for h in found] == [(A, B), (B, A)]


def test_the_end_of_a_sentence_costs_nothing():
    table = log_table({START: {A: 0.6, B: 0.4}, A: {END: 0.9, C: 0.1}, B: {END: 0.9, C: 0.1}, C: {END: 1.0}}, SIZE)
    (found,) = search(table, beam_width=2, beam_groups=2, diversity=50, num_captions=2)
    assert [h.tokens for h in found] == [(A,), (B,)]


def test_the_best_of_each_group_comes_before_the_second_best_of_any():
    e, f = SIZE, SIZE + 1
    begin = {A: 0.85, B: 0.05, C: 0.06, D: 0.04}  # of which the first group takes A and C, the second B and D
    follow = {A: {e: 0.5, f: 0.5}, B: {e: 0.6, f: 0.4}, C: {e: 0.5, f: 0.5}, D: {e: 0.6, f: 0.4}}
    table = log_table({START: begin, **follow, e: {END: 1.0}, f: {END: 1.0}}, SIZE + 2)
    beam = {"beam_width": 4, "length_penalty": 0}
    (plain,) = search(table, num_captions=2, **beam)
    assert [h.tokens for h in plain] == [(A, e), (A, f)]
    for number, expected in ((1, [(A, e)]), (2, [(A, e), (B, e)]), (4, [(A, e), (A, f), (B, e), (D, e)])):
        (found,) = search(table, beam_groups=2, diversity=9, num_captions=number, **beam)
        assert [h.tokens for h in found] == expected


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(2, 4))
def test_groups_of_one_that_may_never_agree_begin_with_different_words(seed, width):
    decoder = random_history_decoder(seed, pictures=1, size=SIZE)
    (found,) = search(decoder, beam_width=width, beam_groups=width, diversity=1e6, num_captions=width, max_words=6)
    assert len({h.tokens[0] for h in found}) == len(found) == width


def in_lists(decoder, picture, options):
    """The words of what each group finds, best first: a beam search in lists, group by group."""
    groups, size = options.beam_groups, options.beam_width // options.beam_groups
    wanted = math.ceil(options.num_captions / groups)
    finished, beams = [[] for _ in range(groups)], [[(0.0, ())] for _ in range(groups)]
    for length in range(options.max_words + 1):
        said = []
        for group in range(groups):
            candidates = []
            for place, (total, words) in enumerate(beams[group]):
                log_probs = decoder.log_probs_after(picture, words)
                log_probs[[PAD, START, UNKNOWN]] = -np.inf
                if length < options.min_words:
                    log_probs[END] = -np.inf
                for word in (END,) if length == options.max_words else range(SIZE):
                    cost = options.diversity * said.count(word)
                    candidates.append((-(total + log_probs[word] - cost), place, word, total + log_probs[word], words))
            candidates = sorted(c for c in candidates if c[3] > -np.inf)
            ended = candidates if length == options.max_words else candidates[:size]
            for _, _, word, total, words in ended:
                if word == END:
                    finished[group].append((total / max(length, 1) ** options.length_penalty, words))
            finished[group].sort(key=lambda one: -one[0])
            beams[group] = [(total, (*words, word)) for *_, word, total, words in candidates if word != END][:size]
            said += [words[-1] for _, words in beams[group]]
        for group in range(groups):
            best = max((total for total, _ in beams[group]), default=-np.inf) / (length + 1) ** options.length_penalty
            if len(finished[group]) >= wanted and (size == 1 or best <= finished[group][wanted - 1][0]):
                beams[group] = []
    by_rank = sorted((rank, -score, words) for own in finished for rank, (score, words) in enumerate(own))
    chosen = {}
    for _, score, words in by_rank:
        chosen.setdefault(words, score)
    ranked = sorted(list(chosen.items())[: options.num_captions], key=lambda one: one[1])
    return [words for words, _ in ranked]


@settings(max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    groups=st.integers(1, 4),
    size=st.integers(1, 3),
    data=st.data(),
    diversity=st.sampled_from([0.0, 0.3, 1.0, 4.0]),
    penalty=st.sampled_from([0.0, 0.9]),
    max_words=st.integers(1, 6),
)
def test_groups_find_what_a_search_in_lists_finds(seed, groups, size, data, diversity, penalty, max_words):
    decoder = random_history_decoder(seed, pictures=2, size=SIZE)
    options = DecodeOptions(
        beam_width=groups * size,
        beam_groups=groups,
        diversity=diversity,
        num_captions=data.draw(st.integers(1, groups * size)),
        length_penalty=penalty,
        max_words=max_words,
        **FREE,
    )
    for picture, found in enumerate(generate(decoder, regions_of([0, 1]), options, NumpyArrays())):
        assert [h.tokens for h in found] == in_lists(decoder, picture, options)
        for hypothesis in found:
            told = (*hypothesis.tokens, END)
            own = sum(decoder.log_probs_after(picture, told[:i])[word] for i, word in enumerate(told))
            assert hypothesis.log_probability == pytest.approx(own, rel=1e-9)
            assert hypothesis.score == pytest.approx(own / len(hypothesis.tokens) ** penalty, rel=1e-9)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), numbers=st.lists(st.integers(0, 4), min_size=1, max_size=7))
def test_who_shares_the_batch_never_changes_what_groups_find(seed, numbers):
    decoder = random_history_decoder(seed, pictures=5, size=SIZE)
    options = {"beam_width": 6, "beam_groups": 3, "num_captions": 4, "max_words": 8}
    for number, found in zip(numbers, search(decoder, numbers, **options), strict=True):
        assert search(decoder, [number], **options) == [found]


def test_samples_know_no_groups():
    decoder = random_history_decoder(1, pictures=1, size=SIZE)
    options = {"sample": True, "num_captions": 5, "beam_width": 4}
    assert search(decoder, **options) == search(decoder, beam_groups=4, **options)


def test_changed_options_widen_a_beam_that_is_not_named():
    own = DecodeOptions(beam_width=3)
    assert own.changed(max_words=5) == DecodeOptions(beam_width=3, max_words=5)
    assert own.changed(num_captions=5).beam_width == 5
    assert own.changed(num_captions=5, beam_groups=2).beam_width == 6
    assert own.changed(rerank="consensus", candidates=10).beam_width == 10
    assert own.changed(num_captions=5, sample=True).beam_width == 3
    with pytest.raises(RecipeError, match="num_captions is 5, more than beam_width 4"):
        own.changed(num_captions=5, beam_width=4)
    drawn = DecodeOptions(sample=True, num_captions=10)
    assert drawn.changed(sample=False).beam_width == 10


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"beam_width": 4, "beam_groups": 3}, r"decoding\.beam_width is 4, expected a multiple of beam_groups 3"),
        ({"beam_groups": 0}, r"decoding\.beam_groups is 0, expected 1 or more"),
        ({"diversity": -0.1}, r"decoding\.diversity is -0\.1, expected 0 or more"),
        ({"diversity": math.nan}, r"decoding\.diversity is nan"),
        ({"diversity": math.inf}, r"decoding\.diversity is inf"),
    ],
)
def test_impossible_groups_are_refused(options, text):
    with pytest.raises(RecipeError, match=text):
        DecodeOptions(**options)
