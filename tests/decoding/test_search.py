import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_decoder import (
    HistoryDecoder,
    TableDecoder,
    every_sentence,
    log_table,
    random_history_decoder,
    regions_of,
)

from showtell.decoding.arrays import NumpyArrays
from showtell.decoding.options import DecodeOptions
from showtell.decoding.search import generate
from showtell.errors import ShowtellError
from showtell.vocabulary import END, PAD, START, UNKNOWN

A, B, C, D = 4, 5, 6, 7
SIZE = 8
WORDS = (A, B, C, D)
FREE = {"no_repeat_ngram": 0, "no_repeat_phrase": False, "stop_early": False}

# Greedy takes A (0.6), after which nothing is likely; B (0.4) leads to a sure sentence.
MISLEADING = log_table(
    {
        START: {A: 0.6, B: 0.4},
        A: {C: 0.5, D: 0.5},
        B: {C: 1.0},
        C: {END: 1.0},
        D: {END: 1.0},
    },
    SIZE,
)


def search(tables, numbers=(0,), **options):
    decoder = TableDecoder(tables) if isinstance(tables, list) else tables
    with_attention = options.pop("with_attention", False)
    picture_keys = options.pop("picture_keys", None)
    return generate(
        decoder,
        regions_of(numbers),
        DecodeOptions(**options),
        NumpyArrays(),
        with_attention=with_attention,
        picture_keys=picture_keys,
    )


def test_beam_finds_the_sentence_that_greedy_misses():
    ((greedy,),) = search([MISLEADING], beam_width=1, length_penalty=0)
    ((beam,),) = search([MISLEADING], beam_width=2, length_penalty=0)
    assert greedy.tokens == (A, C)  # of C and D, equally likely, the lower id
    assert greedy.log_probability == pytest.approx(math.log(0.3), abs=1e-6)
    assert beam.tokens == (B, C)
    assert beam.log_probability == pytest.approx(math.log(0.4), abs=1e-6)


def test_several_captions_come_ranked_and_only_possible_ones():
    (found,) = search([MISLEADING], beam_width=5, num_captions=5, length_penalty=1.0)
    assert [h.tokens for h in found] == [(B, C), (A, C), (A, D)]
    np.testing.assert_allclose([h.score for h in found], [math.log(p) / 2 for p in (0.4, 0.3, 0.3)], atol=1e-6)
    np.testing.assert_allclose(found[1].word_log_probabilities, np.log([0.6, 0.5, 1.0]), atol=1e-6)


def test_length_penalty_decides_between_a_short_and_a_long_sentence():
    table = log_table({START: {A: 0.5, B: 0.5}, A: {END: 0.5, C: 0.1}, B: {C: 0.9}, C: {D: 0.6}, D: {END: 0.8}}, SIZE)
    # A: log 0.25 = -1.386; B C D: log 0.216 = -1.532, divided by 3 -0.511
    assert search([table], beam_width=4, length_penalty=0)[0][0].tokens == (A,)
    assert search([table], beam_width=4, length_penalty=1)[0][0].tokens == (B, C, D)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    max_words=st.integers(1, 3),
    min_words=st.integers(0, 2),
    penalty=st.sampled_from([0.0, 0.5, 0.9, 1.0, 2.0]),
    num_captions=st.integers(1, 6),
)
def test_a_wide_beam_equals_the_enumeration_of_all_sentences(seed, max_words, min_words, penalty, num_captions):
    allowed = WORDS[:3]
    decoder = random_history_decoder(seed, pictures=2, size=7)
    number_of_sentences = sum(len(allowed) ** n for n in range(max_words + 1))
    options = DecodeOptions(
        beam_width=max(number_of_sentences, num_captions),
        num_captions=num_captions,
        length_penalty=penalty,
        min_words=min(min_words, max_words),
        max_words=max_words,
        **FREE,
    )
    for picture, found in enumerate(generate(decoder, regions_of([0, 1]), options, NumpyArrays())):
        expected = every_sentence(decoder, picture, options, allowed)[:num_captions]
        np.testing.assert_allclose([h.score for h in found], [score for score, _, _ in expected], rtol=1e-12)
        np.testing.assert_allclose([h.log_probability for h in found], [total for _, total, _ in expected], rtol=1e-12)
        assert [h.tokens for h in found] == [words for _, _, words in expected]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), max_words=st.integers(1, 8), min_words=st.integers(0, 1))
def test_greedy_equals_a_loop_over_argmax(seed, max_words, min_words):
    decoder = random_history_decoder(seed, pictures=3, size=SIZE)
    found = search(
        decoder, numbers=(0, 1, 2), beam_width=1, max_words=max_words, min_words=min_words, length_penalty=0.9, **FREE
    )
    for picture, ((hypothesis,), words) in enumerate(zip(found, ([], [], []), strict=True)):
        while len(words) < max_words:
            log_probs = decoder.log_probs_after(picture, words)
            log_probs[[PAD, START, UNKNOWN]] = -np.inf
            if len(words) < min_words:
                log_probs[END] = -np.inf
            if (word := int(log_probs.argmax())) == END:
                break
            words.append(word)
        assert hypothesis.tokens == tuple(words)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    numbers=st.lists(st.integers(0, 4), min_size=1, max_size=7),
    sample=st.booleans(),
    penalty=st.sampled_from([0.0, 0.9]),
)
def test_who_shares_the_batch_never_changes_a_caption(seed, numbers, sample, penalty):
    decoder = random_history_decoder(seed, pictures=5, size=SIZE)
    options = {"beam_width": 3, "num_captions": 2, "max_words": 8, "length_penalty": penalty, "sample": sample}
    keys = [1000 + number for number in numbers]
    together = search(decoder, numbers, picture_keys=keys, **options)
    for number, found in zip(numbers, together, strict=True):
        assert search(decoder, [number], picture_keys=[1000 + number], **options) == [found]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(2, 4), penalty=st.sampled_from([0.0, 0.7, 1.0, 1.5]))
def test_stopping_early_never_changes_the_answer(seed, width, penalty):
    decoder = random_history_decoder(seed, pictures=1, size=SIZE)
    options = DecodeOptions(beam_width=width, length_penalty=penalty, max_words=7, **FREE)
    ((found,),) = generate(decoder, regions_of([0]), options, NumpyArrays())
    assert found.tokens == beam_search_to_the_end(decoder, options)


def beam_search_to_the_end(decoder, options):
    """A beam search in lists that never stops early."""
    finished, beams = [], [(0.0, ())]
    for length in range(options.max_words + 1):
        candidates = []
        for place, (total, words) in enumerate(beams):
            log_probs = decoder.log_probs_after(0, words)
            log_probs[[PAD, START, UNKNOWN]] = -np.inf
            if length < options.min_words:
                log_probs[END] = -np.inf
            last = length == options.max_words
            candidates += [(total + log_probs[w], place, w, words) for w in ((END,) if last else range(SIZE))]
        candidates.sort(key=lambda c: (-c[0], c[1], c[2]))
        for total, _, word, words in candidates[: options.beam_width]:
            if word == END:
                finished.append((total / max(length, 1) ** options.length_penalty, -len(finished), words))
        beams = [(total, (*words, word)) for total, _, word, words in candidates if word != END][: options.beam_width]
    return max(finished)[2]


def test_a_long_sentence_that_wins_by_the_length_penalty_is_waited_for():
    """A ends at once with log 0.8 = -0.22. What begins with B has -1.61: -0.80 a word after two, -0.20 after eight."""
    words = range(B, B + 8)
    chain = {word: {word + 1: 1.0} for word in words[:-1]} | {words[-1]: {END: 1.0}}
    table = log_table({START: {A: 0.8, B: 0.2}, A: {END: 1.0}, **chain}, B + 8)
    for max_words, expected in ((8, tuple(words)), (7, (A,))):  # with 7 words the end would be forced, and impossible
        options = {"beam_width": 2, "length_penalty": 1, "max_words": max_words}
        ((found,),) = search([table], stop_early=False, **options)
        assert found.tokens == expected
        ((early,),) = search([table], stop_early=True, **options)
        assert early.tokens == (A,)  # better than the long one as that stands


def test_finished_pictures_are_computed_no_more():
    at_once = log_table({START: {A: 1.0}, A: {END: 1.0}}, SIZE)
    long = log_table({START: {A: 1.0}, A: {B: 1.0}, B: {C: 1.0}, C: {A: 1.0}}, SIZE)
    decoder = TableDecoder([at_once, long])
    found = search(decoder, [0, 1, 0, 0], beam_width=1, max_words=9, **FREE)
    assert [h.tokens for (h,) in found] == [(A,), (A, B, C) * 3, (A,), (A,)]
    assert decoder.steps == 10
    assert decoder.rows == 2 * 4 + 8


def test_a_picture_is_done_when_nothing_can_beat_its_sentence():
    table = log_table({START: {A: 0.99, B: 0.01}, A: {END: 1.0}, B: {B: 1.0}}, SIZE)
    decoder = TableDecoder([table])
    assert search(decoder, beam_width=2, length_penalty=0, max_words=20, **FREE)[0][0].tokens == (A,)
    assert decoder.steps == 2


def test_unknown_padding_and_start_are_never_said_even_where_they_are_likeliest():
    table = np.full((SIZE, SIZE), math.log(0.01), np.float32)
    table[:, [PAD, START, UNKNOWN]] = math.log(0.3)
    table[:, B] = math.log(0.05)
    for sample in (False, True):
        (found,) = search([table], num_captions=3, sample=sample, max_words=6)
        assert all(set(h.tokens) <= set(WORDS) for h in found)


def test_captions_have_at_least_the_minimum_and_at_most_the_maximum_of_words():
    wants_to_stop = log_table({w: {END: 0.97, A: 0.01, B: 0.01, C: 0.01} for w in range(SIZE)}, SIZE)
    never_stops = log_table({w: {END: 1e-6, A: 0.4, B: 0.3, C: 0.3} for w in range(SIZE)}, SIZE)
    for sample in (False, True):
        options = {"beam_width": 3, "num_captions": 3, "min_words": 3, "max_words": 5, "sample": sample, **FREE}
        short, long = search([wants_to_stop, never_stops], [0, 1], **options)
        assert {len(h.tokens) for h in short} <= {3, 4, 5}
        assert len(short[0].tokens) == 3
        assert {len(h.tokens) for h in long} == {5}


def test_at_the_maximum_the_end_mark_counts_with_its_own_probability():
    table = log_table({w: {END: 0.1, A: 0.9} for w in range(SIZE)}, SIZE)
    ((found,),) = search([table], beam_width=1, max_words=3, length_penalty=1, **FREE)
    assert found.tokens == (A, A, A)
    assert found.log_probability == pytest.approx(3 * math.log(0.9) + math.log(0.1), abs=1e-6)
    assert found.score == pytest.approx(found.log_probability / 3)
    np.testing.assert_allclose(found.word_log_probabilities, np.log([0.9, 0.9, 0.9, 0.1]), atol=1e-6)


def test_the_empty_caption_scores_its_end_mark():
    table = log_table({START: {END: 0.8, A: 0.2}, A: {END: 1.0}}, SIZE)
    ((found,),) = search([table], beam_width=1, min_words=0, length_penalty=1, with_attention=True)
    assert found.tokens == ()
    assert found.score == found.log_probability == pytest.approx(math.log(0.8), abs=1e-6)
    assert found.attention.shape == (0, SIZE)


@pytest.mark.parametrize("sample", [False, True])
def test_a_hypothesis_without_any_allowed_word_ends_with_the_probability_of_the_end_mark(sample):
    # After A only A is possible, which would repeat it, and the minimum forbids to end.
    table = log_table({START: {A: 1.0}, A: {A: 0.75, END: 0.25}}, SIZE)
    (found,) = search([table], beam_width=2, sample=sample, min_words=4, max_words=6)
    assert [h.tokens for h in found] == [(A,)]
    assert found[0].log_probability == pytest.approx(math.log(0.25), abs=1e-6)


def test_a_model_that_says_only_what_is_forbidden_gives_an_empty_caption():
    table = log_table({START: {UNKNOWN: 1.0}}, SIZE)
    ((found,),) = search([table], beam_width=3, num_captions=3)
    assert found.tokens == ()
    assert found.log_probability == -math.inf


def test_no_ngram_occurs_twice_and_nothing_follows_itself():
    circle = log_table(
        {START: {A: 1.0}, A: {B: 1.0}, B: {C: 0.9, B: 0.07, END: 0.03}, C: {A: 1.0}},
        SIZE,
    )
    ((free,),) = search([circle], beam_width=1, max_words=7, **FREE)
    assert free.tokens == (A, B, C, A, B, C, A)
    ((ngram,),) = search([circle], beam_width=1, max_words=7, no_repeat_ngram=3, no_repeat_phrase=False)
    assert ngram.tokens == (A, B, C, A, B, B, C)  # the second C would make "A B C" again, the third does not
    ((phrase,),) = search([circle], beam_width=1, max_words=7, no_repeat_ngram=0, no_repeat_phrase=True)
    assert phrase.tokens == (A, B, C, A, B)  # C would repeat the phrase, B the word: only the end is left


def test_equal_scores_are_ordered_by_hypothesis_and_word():
    table = log_table({START: dict.fromkeys(WORDS, 0.25), **{w: {END: 1.0} for w in WORDS}}, SIZE)
    (found,) = search([table], beam_width=4, num_captions=4)
    assert [h.tokens for h in found] == [(w,) for w in WORDS]


def test_attention_of_each_word_follows_the_parents():
    # After two words "A C" leads "B D"; then C has two ways on and D one, so the hypotheses change places.
    e, f = SIZE, SIZE + 1
    follows = {A: {C: 1.0}, B: {D: 1.0}, C: {e: 0.5, f: 0.5}, D: {e: 1.0}, e: {END: 1.0}, f: {END: 1.0}}
    table = log_table({START: {A: 0.6, B: 0.4}, **follows}, SIZE + 2)
    (found,) = search([table], beam_width=3, num_captions=3, with_attention=True)
    assert [h.tokens for h in found] == [(B, D, e), (A, C, e), (A, C, f)]
    for hypothesis in found:
        said_after = (START, *hypothesis.tokens[:-1])
        assert hypothesis.attention.dtype == np.float32
        np.testing.assert_array_equal(hypothesis.attention, np.eye(SIZE + 2)[list(said_after)])


def test_attention_is_not_kept_unasked():
    assert search([MISLEADING])[0][0].attention is None


def test_no_pictures_give_no_captions():
    assert generate(TableDecoder([MISLEADING]), np.zeros((0, 1, 1)), DecodeOptions(), NumpyArrays()) == []


def test_nan_from_the_decoder_is_an_error_that_names_the_picture():
    broken = np.full((SIZE, SIZE), np.nan, np.float32)
    with pytest.raises(ShowtellError, match=r"picture 1 of the batch: the decoder gave NaN for word 1"):
        search([MISLEADING, broken], [0, 1])


def test_the_decoder_sees_only_its_own_past():
    """The second word depends on the first, through the state alone: a wrong gather would tell another sentence."""
    tables = np.full((SIZE**2, SIZE), -np.inf, np.float32)
    tables[START] = log_table({0: {A: 0.55, B: 0.45}}, SIZE)[0]
    after = {(START, A): {C: 0.6, D: 0.4}, (START, B): {C: 0.9, D: 0.1}, (B, C): {END: 1.0}, (A, C): {D: 1.0}}
    for (before, last), following in after.items():
        tables[before * SIZE + last] = log_table({0: following}, SIZE)[0]
    tables[C * SIZE + D] = log_table({0: {END: 0.5}}, SIZE)[0]
    decoder = HistoryDecoder(tables[None], depth=2)
    (found,) = search(decoder, beam_width=3, num_captions=3, length_penalty=0)
    assert [h.tokens for h in found] == [(B, C), (A, C, D)]
    np.testing.assert_allclose([math.exp(h.log_probability) for h in found], [0.405, 0.165], atol=1e-6)
