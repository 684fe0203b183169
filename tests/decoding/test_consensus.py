"""Consensus: the agreement of captions by hand and beside the metric, and the ranking by it."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_decoder import TableDecoder, log_table, random_history_decoder, regions_of

from showtell.decoding.arrays import NumpyArrays
from showtell.decoding.consensus import FLATTER, agreement, by_consensus
from showtell.decoding.options import DecodeOptions
from showtell.decoding.search import generate
from showtell.errors import RecipeError
from showtell.metrics.cider import CiderD
from showtell.metrics.documents import Documents
from showtell.vocabulary import END, START

A, B, C, D = 4, 5, 6, 7
SIZE = 8
captions_of_a_picture = st.lists(st.lists(st.integers(0, 3), max_size=9).map(tuple), min_size=1, max_size=6)


def search(decoder, numbers=(0,), **options):
    keys = options.pop("picture_keys", None)
    regions, attention = regions_of(numbers), options.pop("with_attention", False)
    options = DecodeOptions(**options)
    return generate(decoder, regions, options, NumpyArrays(), picture_keys=keys, with_attention=attention)


@settings(max_examples=80)
@given(captions=captions_of_a_picture)
def test_agreement_is_the_metric_with_even_weights(captions):
    texts = [" ".join(map(str, caption)) for caption in captions]
    scorer = CiderD([[text] for text in texts], Documents(2, {}))  # each n-gram in one picture of two
    expected = [scorer.scores([text] * len(texts), range(len(texts))) for text in texts]
    np.testing.assert_allclose(agreement(captions), expected, atol=1e-9)


def test_agreement_worked_out_by_hand():
    found = agreement([(A,), (A, A, B), (C, D, A, B), ()])
    apart = math.exp(-(2**2) / 72)  # of one word, which has no pair, and three
    assert found[0, 1] == pytest.approx(2.5 * 1 * 2 / math.sqrt(5) * apart)
    assert found[1, 0] == pytest.approx(2.5 * 1 / math.sqrt(5) * apart)  # the second A is clipped
    pairs = (2 + 1) / math.sqrt(5 * 4) + 1 / math.sqrt(2 * 3)  # of one word, and "A B"
    assert found[1, 2] == pytest.approx(2.5 * (pairs - 1 / math.sqrt(20)) * math.exp(-(1**2) / 72))
    assert found.diagonal().tolist() == pytest.approx([2.5, 7.5, 10, 0])
    assert not found[3].any()
    assert not found[:, 3].any()


def test_many_candidates_take_little_room():
    """A hundred captions of twelve words that share little: once 160 MB for each picture."""
    import tracemalloc

    random = np.random.default_rng(0)
    captions = [tuple(caption) for caption in random.integers(4, 2000, (100, 12)).tolist()]
    tracemalloc.start()
    agreement(captions)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20e6


def test_the_caption_that_shares_most_with_the_others_wins():
    captions = [(9, 10, 11), (A, B, C), (A, B, D)]
    assert by_consensus(captions, [-1.0] * 3) == [1, 2, 0]
    # Where the first is held for far likelier than the others, it wins.
    assert by_consensus(captions, [-1.0, -20.0, -20.0]) == [0, 1, 2]


def test_the_gain_to_be_expected_decides():
    """Two that share nothing: each gains itself alone, 5 where there are two lengths of n-grams, 7.5 with three."""
    captions = [(A, B), (C, D, 9)]
    even = FLATTER * math.log(7.5 / 5)  # where the shorter is so much likelier, the gains are equal
    assert by_consensus(captions, [-1.0, -1.0 - even + 0.01]) == [1, 0]
    assert by_consensus(captions, [-1.0, -1.0 - even - 0.01]) == [0, 1]


def test_drawn_captions_count_as_often_as_they_are_drawn():
    captions = [(A, B), (C, D), (C, D), (B, A)]
    assert by_consensus(captions, None) == [1, 0, 3]
    assert by_consensus([(A, B), (C, D)], None) == [0, 1]  # equally good: as they came


def test_captions_without_words_or_hope_are_ranked_too():
    assert by_consensus([()], [-math.inf]) == [0]
    assert by_consensus([(), (A,)], [-1.0, -1.0]) == [1, 0]


@settings(max_examples=40)
@given(captions=captions_of_a_picture, data=st.data())
def test_the_ranking_is_by_the_expected_score(captions, data):
    logs = data.draw(st.lists(st.floats(-30, 0), min_size=len(captions), max_size=len(captions)))
    places = by_consensus(captions, logs)
    assert sorted(captions[place] for place in places) == sorted(set(captions))
    weights = [math.exp(log / FLATTER) for log in logs]
    table = agreement(captions)
    expected = [
        sum(w * table[place, other] for other, w in enumerate(weights)) / sum(weights) for place in range(len(captions))
    ]
    ranked = [expected[place] for place in places]
    assert all(one >= other - 1e-8 for one, other in pairwise(ranked))
    assert ranked[0] >= max(expected) - 1e-8


def test_beam_search_returns_the_consensus_of_what_it_found():
    """C D is likeliest alone; A B, A B C and A B D agree."""
    table = log_table(
        {START: {A: 0.6, C: 0.4}, A: {B: 1.0}, B: {END: 0.35, C: 0.35, D: 0.3}, C: {D: 0.5, END: 0.5}, D: {END: 1.0}},
        SIZE,
    )
    beam = {"beam_width": 6, "length_penalty": 0}
    (found,) = search(TableDecoder([table]), num_captions=6, **beam)
    (best,) = search(TableDecoder([table]), rerank="consensus", with_attention=True, **beam)[0]
    places = by_consensus([h.tokens for h in found], [h.log_probability for h in found])
    assert best == found[places[0]]
    assert best.tokens != found[0].tokens
    np.testing.assert_array_equal(best.attention, np.eye(SIZE)[[START, *best.tokens[:-1]]])
    (three,) = search(TableDecoder([table]), rerank="consensus", num_captions=3, **beam)
    assert three == [found[place] for place in places[:3]]
    (plain,) = search(TableDecoder([table]), rerank="consensus", candidates=1, **beam)
    assert plain == found[:1]


@pytest.mark.parametrize("candidates", [0, 3])
def test_as_many_are_compared_as_asked_for(candidates):
    decoder = random_history_decoder(5, pictures=4, size=SIZE)
    compared = search(decoder, range(4), beam_width=6, num_captions=candidates or 6, max_words=7)
    found = search(decoder, range(4), beam_width=6, rerank="consensus", candidates=candidates, max_words=7)
    for (best,), all_of_it in zip(found, compared, strict=True):
        places = by_consensus([h.tokens for h in all_of_it], [h.log_probability for h in all_of_it])
        assert best == all_of_it[places[0]]


def test_samples_are_drawn_as_without_reranking_and_come_without_doubles():
    decoder = random_history_decoder(3, pictures=2, size=SIZE)
    options = {"sample": True, "max_words": 3, "temperature": 0.5}
    drawn = search(decoder, range(2), num_captions=30, **options)
    found = search(decoder, range(2), num_captions=4, rerank="consensus", candidates=30, **options)
    for ranked, samples in zip(found, drawn, strict=True):
        places = by_consensus([h.tokens for h in samples], None)
        assert ranked == [samples[place] for place in places[:4]]
        assert len({h.tokens for h in ranked}) == len(ranked) <= 4


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1), numbers=st.lists(st.integers(0, 4), min_size=1, max_size=6), sample=st.booleans()
)
def test_who_shares_the_batch_never_changes_the_consensus(seed, numbers, sample):
    decoder = random_history_decoder(seed, pictures=5, size=SIZE)
    options = {"beam_width": 6, "max_words": 8, "sample": sample, "rerank": "consensus", "beam_groups": 2}
    keys = [1000 + number for number in numbers]
    together = search(decoder, numbers, picture_keys=keys, **options)
    for number, found in zip(numbers, together, strict=True):
        assert search(decoder, [number], picture_keys=[1000 + number], **options) == [found]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"rerank": "cider"}, r"decoding\.rerank is 'cider', known are '', 'consensus'"),
        ({"candidates": 3}, r"decoding\.candidates is 3, but nothing compares them; set rerank too"),
        (
            {"rerank": "consensus", "candidates": 5},
            r"decoding\.candidates is 5, more than beam_width 3; widen the beam",
        ),
        (
            {"rerank": "consensus", "candidates": 2, "num_captions": 3},
            r"decoding\.candidates is 2, less than num_captions 3; compare more",
        ),
        ({"candidates": -1}, r"decoding\.candidates is -1, expected 0 or more"),
    ],
)
def test_impossible_consensus_is_refused(options, text):
    with pytest.raises(RecipeError, match=text):
        DecodeOptions(**options)
