import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_decoder import HistoryDecoder, TableDecoder, log_table, random_history_decoder, regions_of

from showtell.decoding.arrays import NumpyArrays
from showtell.decoding.ensemble import EnsembleDecoder, MemberRegions
from showtell.decoding.options import DecodeOptions
from showtell.decoding.search import generate
from showtell.vocabulary import END, START

A, B, C = 4, 5, 6
SIZE = 7
BEAM = DecodeOptions(beam_width=3, num_captions=3, max_words=8)
SAMPLE = DecodeOptions(sample=True, num_captions=4, max_words=8, seed=5)


def together(members, regions, options, **arguments):
    decoder = EnsembleDecoder(members, NumpyArrays())
    return generate(decoder, MemberRegions(tuple(regions)), options, NumpyArrays(), **arguments)


def test_a_word_has_the_mean_of_the_members_probabilities():
    likes_a = log_table({START: {A: 0.7, B: 0.3}, A: {END: 1.0}, B: {END: 1.0}}, SIZE)
    likes_b = log_table({START: {A: 0.2, B: 0.8}, A: {END: 0.5, C: 0.5}, B: {END: 1.0}, C: {END: 1.0}}, SIZE)
    members = [TableDecoder([likes_a]), TableDecoder([likes_b])]
    options = DecodeOptions(beam_width=4, num_captions=4, length_penalty=0)
    (found,) = together(members, [regions_of([0])] * 2, options)
    assert [h.tokens for h in found] == [(B,), (A,), (A, C)]
    expected = [0.55, 0.45 * 0.75, 0.45 * 0.25 * 0.5]  # after C the first knows nothing that could follow
    np.testing.assert_allclose([math.exp(h.log_probability) for h in found], expected, rtol=1e-6)


def test_the_ensemble_searches_as_one_decoder_with_the_mean_of_the_tables():
    one, other = (random_history_decoder(seed, pictures=3, size=SIZE) for seed in (1, 2))
    mean = HistoryDecoder(np.log((np.exp(one.tables) + np.exp(other.tables)) / 2), one.depth)
    for options in (BEAM, SAMPLE):
        expected = generate(mean, regions_of(range(3)), options, NumpyArrays())
        found = together([one, other], [regions_of(range(3))] * 2, options)
        assert [[h.tokens for h in ranked] for ranked in found] == [[h.tokens for h in ranked] for ranked in expected]
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose([h.score for h in ours], [h.score for h in theirs], rtol=1e-5)


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("options", [BEAM, SAMPLE], ids=["beam", "sample"])
def test_one_member_or_the_same_several_times_is_the_member_itself(times, options):
    decoder, regions = random_history_decoder(7, pictures=4, size=SIZE), regions_of(range(4))
    assert together([decoder] * times, [regions] * times, options) == generate(decoder, regions, options, NumpyArrays())


def test_the_order_of_the_members_changes_rounding_at_most():
    members = [random_history_decoder(seed, pictures=5, size=SIZE) for seed in (1, 2, 3)]
    orders = [together(order, [regions_of(range(5))] * 3, BEAM) for order in permutations(members)]
    for other in orders[1:]:
        for ours, theirs in zip(orders[0], other, strict=True):
            assert [h.tokens for h in ours] == [h.tokens for h in theirs]
            np.testing.assert_allclose([h.score for h in ours], [h.score for h in theirs], rtol=1e-5)


def test_each_member_sees_its_own_regions_and_keeps_its_own_state():
    """The tables that the members use are numbered the other way round, and one looks at the last word alone."""
    history = random_history_decoder(4, pictures=2, size=SIZE, depth=2)
    table = TableDecoder([log_table({w: {END: 0.2, A: 0.5, B: 0.3} for w in range(SIZE)}, SIZE)] * 3)
    regions = [regions_of([0, 1, 0]), regions_of([2, 1, 0])]  # checked in the table decoder's step
    found = together([history, table], regions, DecodeOptions(beam_width=3, num_captions=3, max_words=5))
    for number, ranked in zip((0, 1, 0), found, strict=True):
        for hypothesis in ranked:
            words = (*hypothesis.tokens, END)
            total = 0.0
            for i, word in enumerate(words):
                last = words[i - 1] if i else START
                of_history = history.log_probs_after(number, words[:i])[word]
                total += math.log((math.exp(of_history) + math.exp(table.tables[0, last, word])) / 2)
            assert hypothesis.log_probability == pytest.approx(total, rel=1e-5)


def test_the_attention_is_the_first_members():
    chain = log_table({START: {A: 1.0}, A: {B: 1.0}, B: {END: 1.0}}, SIZE)
    members = [TableDecoder([chain]), random_history_decoder(1, pictures=1, size=SIZE)]
    regions = [regions_of([0])] * 2
    ((first,),) = together(members, regions, DecodeOptions(beam_width=1, max_words=2), with_attention=True)
    np.testing.assert_array_equal(first.attention, np.eye(SIZE)[[START, *first.tokens[:-1]]])
    ((other,),) = together(members[::-1], regions, DecodeOptions(beam_width=1, max_words=2), with_attention=True)
    np.testing.assert_array_equal(other.attention, np.ones((len(other.tokens), 1)))


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1), numbers=st.lists(st.integers(0, 3), min_size=1, max_size=6), sample=st.booleans()
)
def test_who_shares_the_batch_never_changes_a_caption_of_an_ensemble(seed, numbers, sample):
    members = [random_history_decoder(seed + i, pictures=4, size=SIZE) for i in range(2)]
    options = SAMPLE if sample else BEAM
    keys = [1000 + number for number in numbers]
    found = together(members, [regions_of(numbers)] * 2, options, picture_keys=keys)
    for number, ranked in zip(numbers, found, strict=True):
        assert together(members, [regions_of([number])] * 2, options, picture_keys=[1000 + number]) == [ranked]


def test_regions_of_members_count_pictures_and_are_cut_by_pictures():
    regions = MemberRegions((np.arange(12).reshape(3, 2, 2), np.arange(3).reshape(3, 1, 1)))
    assert len(regions) == 3
    cut = regions[1:]
    assert len(cut) == 2
    np.testing.assert_array_equal(cut.parts[0], np.arange(4, 12).reshape(2, 2, 2))
    np.testing.assert_array_equal(regions[[2, 0]].parts[1], [[[2]], [[0]]])


def test_members_and_regions_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"regions of \[2, 3\] pictures, expected as many of each member"):
        MemberRegions((np.zeros((2, 1, 1)), np.zeros((3, 1, 1))))
    with pytest.raises(ValueError, match="an ensemble of no decoders"):
        EnsembleDecoder([], NumpyArrays())


def test_torch_members_tell_what_numpy_members_tell():
    torch = pytest.importorskip("torch")
    from test_torch_search import InTorch

    from showtell.training.arrays import TorchArrays

    members = [random_history_decoder(seed, pictures=4, size=SIZE) for seed in (1, 2, 3)]
    regions = regions_of(range(4))
    decoder = EnsembleDecoder([InTorch(member) for member in members], TorchArrays("cpu"))
    for options in (BEAM, SAMPLE):
        theirs = generate(decoder, MemberRegions((torch.from_numpy(regions),) * 3), options, TorchArrays("cpu"))
        ours = together(members, [regions] * 3, options)
        assert [[h.tokens for h in ranked] for ranked in ours] == [[h.tokens for h in ranked] for ranked in theirs]
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose([h.score for h in one], [h.score for h in other], rtol=1e-5)
