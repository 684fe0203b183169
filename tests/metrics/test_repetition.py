import pytest

from showtell.metrics.repetition import repeats


@pytest.mark.parametrize(
    "caption",
    [
        "red red",
        "a dog a dog",
        "a man eating a eating a sandwich",
        "one two three four one two three four",
        "the dog runs and the dog runs",  # a trigram twice, not directly
        "a a",
        "a b a b a",
    ],
)
def test_captions_that_repeat_themselves_are_found(caption):
    assert repeats(caption.split())


@pytest.mark.parametrize(
    "caption",
    ["", "a", "a dog", "a dog and a cat", "a dog on a dog", "two men and two women", "the dog and the dog on a bed"],
)
def test_words_may_come_again_elsewhere(caption):
    assert not repeats(caption.split())


def test_a_caption_of_a_hundred_thousand_words_is_looked_through_at_once():
    words = [f"w{i}" for i in range(100_000)]
    assert not repeats(words)
    assert repeats([*words, "w5", "w6", "w7"])
