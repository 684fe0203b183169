import math
from collections import Counter

import numpy as np
import pytest
from table_decoder import TableDecoder, log_table, random_history_decoder, regions_of

from showtell.decoding.arrays import NumpyArrays
from showtell.decoding.noise import sampling_noise
from showtell.decoding.options import DecodeOptions
from showtell.decoding.search import generate
from showtell.vocabulary import END, START

A, B, C, D = 4, 5, 6, 7
SIZE = 8
FREE = {"no_repeat_ngram": 0, "no_repeat_phrase": False, "stop_early": False}
CHOICES = {A: 0.5, B: 0.3, C: 0.15, D: 0.05}
ONE_WORD = log_table({START: CHOICES, **{word: {END: 1.0} for word in CHOICES}}, SIZE)


def draw(count, tables=(ONE_WORD,), numbers=(0,), keys=None, **options):
    options = DecodeOptions(sample=True, num_captions=count, **options)
    return generate(TableDecoder(tables), regions_of(numbers), options, NumpyArrays(), picture_keys=keys)


def assert_frequencies(found, expected):
    """Pearson's chi-square stays below a bound that a true sampler passes all but once in a million seeds."""
    counts = Counter(h.tokens for h in found)
    assert set(counts) <= set(expected)
    chi_square = sum((counts[s] - len(found) * p) ** 2 / (len(found) * p) for s, p in expected.items())
    freedom = len(expected) - 1
    assert chi_square < freedom + 5 * math.sqrt(2 * freedom) + 25


def test_words_are_drawn_as_often_as_they_are_likely():
    (found,) = draw(4000)
    assert_frequencies(found, {(word,): p for word, p in CHOICES.items()})


def test_sentences_are_drawn_as_often_as_they_are_likely():
    table = log_table({START: {A: 0.7, B: 0.3}, A: {B: 0.5, END: 0.5}, B: {A: 0.2, END: 0.8}}, SIZE)
    (found,) = draw(4000, [table], max_words=2, **FREE)
    expected = {(A,): 0.35, (A, B): 0.35, (B,): 0.24, (B, A): 0.06}
    assert_frequencies(found, expected)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_sharpens_and_flattens_and_the_log_probability_stays_the_models(temperature):
    (found,) = draw(4000, temperature=temperature)
    tempered = {(word,): p ** (1 / temperature) for word, p in CHOICES.items()}
    total = sum(tempered.values())
    assert_frequencies(found, {sentence: p / total for sentence, p in tempered.items()})
    for hypothesis in found[::100]:
        assert hypothesis.log_probability == pytest.approx(math.log(CHOICES[hypothesis.tokens[0]]), abs=1e-6)


def test_top_k_draws_among_the_k_likeliest_alone():
    (found,) = draw(4000, top_k=2)
    assert_frequencies(found, {(A,): 0.5 / 0.8, (B,): 0.3 / 0.8})


@pytest.mark.parametrize(("top_p", "kept"), [(0.3, (A,)), (0.6, (A, B)), (0.9, (A, B, C)), (0.97, (A, B, C, D))])
def test_top_p_draws_among_the_fewest_that_hold_the_share(top_p, kept):
    (found,) = draw(4000, top_p=top_p)
    total = sum(CHOICES[word] for word in kept)
    assert_frequencies(found, {(word,): CHOICES[word] / total for word in kept})


def test_top_p_counts_shares_of_what_top_k_left():
    # Of A 0.5 and B 0.3 the first holds 0.625.
    assert {h.tokens for h in draw(500, top_k=2, top_p=0.62)[0]} == {(A,)}
    assert {h.tokens for h in draw(500, top_k=2, top_p=0.63)[0]} == {(A,), (B,)}


def test_samples_come_best_first_and_in_full_number_though_some_are_equal():
    (found,) = draw(50)
    scores = [h.score for h in found]
    assert len(found) == 50
    assert scores == sorted(scores, reverse=True)


def test_same_seed_and_picture_same_samples_other_seed_or_picture_others():
    decoder = random_history_decoder(3, pictures=1, size=SIZE)

    def sample(seed, key):
        options = DecodeOptions(sample=True, num_captions=8, max_words=8, seed=seed)
        return generate(decoder, regions_of([0]), options, NumpyArrays(), picture_keys=[key])

    assert sample(1, 5) == sample(1, 5)
    assert sample(1, 5) != sample(2, 5)
    assert sample(1, 5) != sample(1, 6)


def test_without_keys_pictures_are_numbered():
    assert draw(5, numbers=(0, 0)) == draw(5, numbers=(0, 0), keys=[0, 1])


def test_keys_that_do_not_fit_the_pictures_are_refused():
    with pytest.raises(ValueError, match="1 picture keys for 2 pictures"):
        draw(1, numbers=(0, 0), keys=[3])


def test_samples_never_repeat_themselves_where_that_is_forbidden():
    circle = log_table({START: {A: 1.0}, A: {A: 0.5, B: 0.5}, B: {A: 0.5, B: 0.4, END: 0.1}}, SIZE)
    (found,) = draw(200, [circle], max_words=10, no_repeat_ngram=0, no_repeat_phrase=True)
    assert {h.tokens for h in found} == {(A, B), (A, B, A)}


def test_noise_is_a_function_of_seed_picture_sample_and_step_alone():
    noise = sampling_noise(7, [10, 20, 30], samples=3, steps=6)
    assert noise.shape == (3, 3, 6)
    np.testing.assert_array_equal(noise[2:], sampling_noise(7, [30], samples=3, steps=6))
    np.testing.assert_array_equal(noise[:, :2, :4], sampling_noise(7, [10, 20, 30], samples=2, steps=4))
    assert len(np.unique(noise)) == noise.size
    assert len(np.unique(np.concatenate([noise, sampling_noise(8, [10, 20, 30], 3, 6)]))) == 2 * noise.size


def test_noise_is_uniform_and_takes_keys_of_any_size():
    noise = sampling_noise(2**70 + 1, range(-50, 50), samples=10, steps=20)
    assert noise.min() >= 0
    assert noise.max() < 1
    high = 2**64 - 1024  # from here on, neighbours are equal as floats
    assert (sampling_noise(0, [high], 1, 4) != sampling_noise(0, [high + 1], 1, 4)).all()
    shares = np.histogram(noise, bins=10, range=(0, 1))[0] / noise.size
    np.testing.assert_allclose(shares, 0.1, atol=0.01)  # 20,000 numbers: five standard deviations


def test_noise_is_that_of_the_published_generator():
    """Philox4x64-10 with key and counter zero gives 0x16554d9eca36314c first (known-answer test of Random123)."""
    assert np.random.Philox(key=[0, 0], counter=[2**64 - 1] * 4).random_raw() == 0x16554D9ECA36314C
