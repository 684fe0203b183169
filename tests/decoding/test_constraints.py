import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from showtell.decoding.constraints import repeating_words

SIZE = 4


def repeats_ngram(words, n):
    runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return n > 0 and len(set(runs)) < len(runs)


def repeats_phrase(words):
    return any(
        words[i : i + length] == words[i + length : i + 2 * length]
        for length in range(1, len(words) // 2 + 1)
        for i in range(len(words) - 2 * length + 1)
    )


def free_sentences(rng, shape, ngram, phrase):
    """Random sentences without repetition (B, K, t), as a search would have them; shorter where there is no way on."""
    longest = shape[2]
    while True:
        sentences = np.empty((*shape[:2], longest), np.int64)
        for place in np.ndindex(shape[:2]):
            words = []
            while len(words) < longest:
                ways = [
                    word
                    for word in range(SIZE)
                    if not (repeats_ngram([*words, word], ngram) or (phrase and repeats_phrase([*words, word])))
                ]
                if not ways:
                    break
                words.append(int(rng.choice(ways)))
            if len(words) < longest:
                longest = len(words)
                break
            sentences[place] = words
        else:
            return sentences


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(0, 12)),
    ngram=st.integers(0, 4),
    phrase=st.booleans(),
)
def test_exactly_the_words_that_would_repeat_something_are_banned(seed, shape, ngram, phrase):
    sentences = free_sentences(np.random.default_rng(seed), shape, ngram, phrase)
    expected = {
        (*place, word)
        for place in np.ndindex(sentences.shape[:2])
        for word in range(SIZE)
        if repeats_ngram([*sentences[place].tolist(), word], ngram)
        or (phrase and repeats_phrase([*sentences[place].tolist(), word]))
    }
    assert {tuple(row) for row in repeating_words(sentences, ngram=ngram, phrase=phrase).tolist()} == expected


def test_phrases_of_any_length_are_found():
    phrase = [5, 6, 7, 8, 9, 10, 11]
    sentence = np.array([[phrase + phrase[:-1]]])
    assert repeating_words(sentence, phrase=True).tolist() == [[0, 0, 10], [0, 0, 11]]


def test_a_dog_a_may_not_go_on_with_dog_or_a():
    a, dog, runs = 4, 5, 6
    sentences = np.array([[[a, dog, a], [a, dog, runs]]])
    assert repeating_words(sentences, phrase=True).tolist() == [[0, 0, a], [0, 0, dog], [0, 1, runs]]
    assert repeating_words(sentences, ngram=2).tolist() == [[0, 0, dog]]


def test_nothing_is_banned_before_the_first_word_or_without_constraints():
    assert repeating_words(np.zeros((2, 3, 0), np.int64), ngram=3, phrase=True).shape == (0, 3)
    assert repeating_words(np.ones((2, 3, 4), np.int64)).shape == (0, 3)
