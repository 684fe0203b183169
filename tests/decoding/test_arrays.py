import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showtell.decoding.arrays import NumpyArrays


def log_probs_with_ties(rng, shape, impossible=0.2):
    """Few distinct values, so that many are equal; some words are impossible."""
    values = rng.integers(-6, 0, shape).astype(np.float32) / 4
    values[rng.random(shape) < impossible] = -np.inf
    return values


def best_by_sorting(log_probs, scores, k):
    """The definition: sort all of (-sum, hypothesis, word)."""
    sums = scores[:, :, None] + log_probs.astype(np.float64)
    found = []
    for picture in sums:
        ranked = sorted((-value, *place) for place, value in np.ndenumerate(picture))[:k]
        found.append([(-value, hypothesis, word) for value, hypothesis, word in ranked])
    found = np.array(found)  # (B, k, 3)
    return found[:, :, 0], found[:, :, 1], found[:, :, 2]


def adapters():
    torch = pytest.importorskip("torch")
    from showtell.training.arrays import TorchArrays

    return [(NumpyArrays(), np.copy), (TorchArrays("cpu"), lambda array: torch.from_numpy(array.copy()))]


def both(operation, *large, others=()):
    """The results of an operation in numpy and torch, as numpy."""
    results = []
    for arrays, ship in adapters():
        result = getattr(arrays, operation)(*(ship(array) for array in large), *others)
        results.append(result if isinstance(result, tuple | np.ndarray) else arrays.numpy(result))
    return results


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    pictures=st.integers(1, 3),
    width=st.integers(1, 4),
    size=st.one_of(st.integers(5, 20), st.integers(60, 300)),
    k=st.integers(1, 8),
    dead=st.booleans(),
)
def test_the_best_k_are_those_of_a_full_sort_ties_included(seed, pictures, width, size, k, dead):
    rng = np.random.default_rng(seed)
    log_probs = log_probs_with_ties(rng, (pictures, width, size))
    scores = rng.integers(-3, 1, (pictures, width)).astype(np.float64) / 4
    if dead:
        scores[rng.random(scores.shape) < 0.4] = -np.inf
    k = min(k, width * size)
    expected = best_by_sorting(log_probs, scores, k)
    for found in both("top_k", log_probs, others=(scores, k)):
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_best_k_of_a_real_vocabulary_are_those_of_a_full_sort():
    rng = np.random.default_rng(0)
    log_probs = (rng.normal(size=(4, 3, 2701)) * 3 - 10).astype(np.float32)
    log_probs[2, :, 40:] = -np.inf
    scores = -5 * rng.random((4, 3))
    expected = best_by_sorting(log_probs, scores, 6)
    for found in both("top_k", log_probs, others=(scores, 6)):
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_values_that_differ_below_the_precision_of_the_sum_count_as_equal():
    log_probs = np.full((1, 1, 200), -1.0, np.float32)
    log_probs[0, 0, [30, 70, 199]] = [-2e-30, -3e-30, -1e-30]
    for _, _, words in both("top_k", log_probs, others=(np.array([[-10.0]]), 2)):
        np.testing.assert_array_equal(words, [[30, 70]])


def test_banned_words_are_at_minus_infinity_and_all_others_as_before():
    log_probs = np.random.default_rng(1).normal(size=(2, 3, 5)).astype(np.float32)
    for found in both("ban", log_probs, others=(np.array([0, 4]),)):
        assert np.isneginf(found[:, :, [0, 4]]).all()
        np.testing.assert_array_equal(found[:, :, 1:4], log_probs[:, :, 1:4])
    rows = np.array([[0, 1, 2], [1, 2, 4], [1, 2, 4]])
    expected = log_probs.copy()
    expected[0, 1, 2] = expected[1, 2, 4] = -np.inf
    for found in both("ban_each", log_probs, others=(rows,)):
        np.testing.assert_array_equal(found, expected)


def test_a_view_that_must_not_be_written_is_copied():
    constant = np.broadcast_to(np.zeros(4, np.float32), (2, 2, 4))
    assert np.isneginf(NumpyArrays().ban(constant, np.array([1]))[:, :, 1]).all()
    assert np.isneginf(NumpyArrays().ban_each(constant, np.array([[1, 1, 1]]))[1, 1, 1])
    assert (constant == 0).all()


def test_one_column_and_whether_any_word_is_left():
    log_probs = np.full((1, 3, 4), -np.inf, np.float32)
    log_probs[0, 1, 3] = -2
    for found in both("column", log_probs, others=(3,)):
        np.testing.assert_array_equal(found, [[-np.inf, -2, -np.inf]])
        assert found.dtype == np.float64
    for found in both("alive", log_probs):
        np.testing.assert_array_equal(found, [[False, True, False]])


def test_state_is_repeated_gathered_selected_and_joined_row_by_row():
    state = np.arange(2 * 3 * 2, dtype=np.float32).reshape(2, 3, 2)
    parents = np.array([[2, 2], [0, 1]])
    for arrays, ship in adapters():
        one = arrays.repeat({"s": ship(state[:, :1])}, 3)["s"]
        np.testing.assert_array_equal(arrays.numpy(one), np.repeat(state[:, :1], 3, axis=1))
        moved = arrays.gather({"s": ship(state)}, parents)["s"]
        np.testing.assert_array_equal(arrays.numpy(moved), [[state[0, 2], state[0, 2]], [state[1, 0], state[1, 1]]])
        np.testing.assert_array_equal(arrays.numpy(arrays.select({"s": ship(state)}, np.array([1]))["s"]), state[1:])
        joined = arrays.join({"s": ship(state[:1])}, {"s": ship(state[::-1].copy())})["s"]
        np.testing.assert_array_equal(arrays.numpy(joined), state[[0, 1, 0]])
        tokens = arrays.tokens(parents[:, ::-1])
        assert [[int(token) for token in row] for row in tokens] == [[2, 2], [1, 0]]


def test_the_mean_probability_is_that_of_the_definition():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(3, 2, 4, 9)) * 30
    logits[:, 0, 1, 3] = logits[1, :, :, 5] = -np.inf
    log_probs = (logits - np.logaddexp.reduce(logits, axis=3, keepdims=True)).astype(np.float32)
    exact = np.logaddexp.reduce(log_probs.astype(np.float64), axis=0) - np.log(3)
    for arrays, ship in adapters():
        found = arrays.numpy(arrays.mean_probability([ship(one) for one in log_probs]))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-6)
        for times in (1, 2, 3, 7):
            alone = arrays.numpy(arrays.mean_probability([ship(log_probs[0])] * times))
            np.testing.assert_array_equal(alone, log_probs[0])


def test_the_mean_probability_with_a_broken_decoder_is_no_number():
    whole, broken = np.zeros((1, 1, 2), np.float32), np.array([[[np.nan, -1]]], np.float32)
    for arrays, ship in adapters():
        found = arrays.numpy(arrays.mean_probability([ship(whole), ship(broken)]))
        np.testing.assert_array_equal(np.isnan(found), [[[True, False]]])


def expected_draw(row, noise, temperature, top_k, top_p):
    """The definition, word by word."""
    ranked = sorted(range(len(row)), key=lambda word: (-row[word], word))
    weights = {word: float(np.exp(np.float64(row[word]) / temperature)) for word in ranked}
    kept = ranked[: top_k or None]
    total, held, chosen = sum(weights[word] for word in kept), 0.0, []
    for word in kept:
        if held >= top_p * total:
            break
        chosen.append(word)
        held += weights[word]
    cumulated = 0.0
    for word in sorted(chosen):
        cumulated += weights[word]
        if cumulated > noise * held:
            return word
    raise AssertionError("noise is below 1")


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    temperature=st.sampled_from([0.5, 1.0, 1.7]),
    top_k=st.integers(0, 6),
    top_p=st.sampled_from([0.05, 0.31, 0.83, 1.0]),
)
def test_the_word_drawn_is_that_of_the_definition(seed, temperature, top_k, top_p):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(2, 3, 9)) * 2
    log_probs = (logits - np.log(np.exp(logits).sum(2, keepdims=True))).astype(np.float32)
    log_probs[:, :, rng.integers(9)] = -np.inf
    noise = rng.random((2, 3))
    for words, values in both("sample", log_probs, others=(noise, temperature, top_k, top_p)):
        for place in np.ndindex(2, 3):
            assert words[place] == expected_draw(log_probs[place], noise[place], temperature, top_k, top_p)
            assert values[place] == log_probs[place][words[place]]


@pytest.mark.parametrize("noise", [0.0, 1 - 2.0**-53])
def test_the_ends_of_the_noise_draw_possible_words(noise):
    log_probs = np.full(6, -np.inf, np.float32)
    log_probs[2:4] = np.log([0.25, 0.75])
    for words, _ in both("sample", log_probs[None, None], others=(np.array([[noise]]), 1.0, 0, 1.0)):
        assert words.item() == (2 if noise == 0 else 3)


def test_of_equally_likely_words_top_k_keeps_the_lower_ids():
    log_probs = np.full((1, 1, 8), np.log(0.125), np.float32)
    drawn = {
        words.item()
        for noise in np.linspace(0, 0.999, 50)
        for words, _ in both("sample", log_probs, others=(np.array([[noise]]), 1.0, 3, 1.0))
    }
    assert drawn == {0, 1, 2}


def test_a_hypothesis_without_words_draws_at_minus_infinity():
    log_probs = np.full((1, 1, 4), -np.inf, np.float32)
    for _, values in both("sample", log_probs, others=(np.array([[0.3]]), 1.0, 2, 0.5)):
        assert np.isneginf(values).all()
