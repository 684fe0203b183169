import json
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from showtell.errors import VocabularyError
from showtell.vocabulary import (
    END,
    PAD,
    SPECIALS,
    START,
    UNKNOWN,
    Vocabulary,
    join_words,
    sentence,
    split_words,
)


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A dog runs.", "a dog runs"),
        ("A man's T-shirt", "a man 's t-shirt"),
        ("the dogs' bowl", "the dogs bowl"),
        ("They don't, can't and won't!", "they do n't ca n't and wo n't"),
        ("I'm sure we're here; they've said she'll and he'd", "i 'm sure we 're here they 've said she 'll and he 'd"),
        ("You shouldn't've", "you should n't 've"),
        ("the men\u2019s hats", "the men 's hats"),
        ("\u201cHello\u201d, \u2018he\u2019 said", "hello he said"),
        ("'s", "s"),
        ("n't", "n't"),
        ("o'clock o'neill's", "o'clock o'neill 's"),
        ("black-and-white - not - grey--blue", "black-and-white not grey blue"),
        ("3 men, 1,000 birds, 2.5 m, 1970's", "3 men 1,000 birds 2.5 m 1970's"),
        ("No. 7, no.8", "no 7 no 8"),
        ("a dog/cat (small) #1 50% _under_score_", "a dog cat small 1 50 under score"),
        ("Café Zürich ÉCOLE", "café zürich école"),
        ("cafe\u0301 A\u030angstro\u0308m", "café ångström"),
        ("Собака бежит", "собака бежит"),
        ("犬が走る", "犬が走る"),
        ("\ttwo\n lines \r\n", "two lines"),
        ("...", ""),
        ("", ""),
        ("🐕 dog 🐕", "dog"),
    ],
)
def test_captions_become_these_words(caption, words):
    assert split_words(caption) == words.split()


@pytest.mark.parametrize(
    ("words", "caption"),
    [
        ("a man 's t-shirt", "a man's t-shirt"),
        ("they do n't run", "they don't run"),
        ("you should n't 've", "you shouldn't've"),
        ("'s hat", "'s hat"),
        ("3 n't", "3 n't"),
        ("a", "a"),
        ("", ""),
    ],
)
def test_words_become_what_people_write(words, caption):
    assert join_words(words.split()) == caption


# Letters of several scripts and all that words are joined and parted by.
TEXTS = st.one_of(st.text(), st.text("absdtnv'’-.,_ 159é\u0301²İßΣ犬", max_size=15))


@settings(deadline=None, derandomize=True)
@given(TEXTS)
@example("3 n't")
@example("an'tn't")
@example("it's's-a's")
@example("Σ'S")
def test_a_joined_caption_splits_into_the_same_words_again(text):
    words = split_words(text)
    assert split_words(join_words(words)) == words
    assert all(word and word == word.lower() and not set(word) & set(" \t\n") for word in words)


def test_a_sentence_has_a_capital_and_a_full_stop():
    assert sentence("a man's hat") == "A man's hat."
    assert sentence("éclair") == "Éclair."
    assert sentence("3 dogs") == "3 dogs."
    assert sentence("") == ""


def test_words_come_by_frequency_then_alphabet_behind_the_specials():
    vocabulary = Vocabulary.build(["b a c", "B a", "d b"])  # b 3, a 2, c 1, d 1
    assert vocabulary.words == (*SPECIALS, "b", "a", "c", "d")
    assert (PAD, START, END, UNKNOWN) == (0, 1, 2, 3)
    assert Vocabulary.build(["d b", "B a", "b a c"]) == vocabulary  # the order of captions does not matter


def test_rare_words_and_those_beyond_the_size_are_unknown():
    captions = ["b a c", "b a", "d b"]
    assert Vocabulary.build(captions, min_count=2).words[4:] == ("b", "a")
    assert Vocabulary.build(captions, max_size=3).words[4:] == ("b", "a", "c")
    assert Vocabulary.build(captions, min_count=3, max_size=9).words[4:] == ("b",)
    vocabulary = Vocabulary.build(captions, min_count=2)
    assert vocabulary.encode("A b, c?") == [5, 4, UNKNOWN]
    assert vocabulary.encode("...") == []


def test_no_word_often_enough_is_an_error():
    with pytest.raises(VocabularyError, match=r"no word occurs 3 times in the training captions \(2 distinct words\)"):
        Vocabulary.build(["a dog", "a dog"], min_count=3)
    with pytest.raises(VocabularyError, match=r"no word occurs 1 times.*\(0 distinct words\)"):
        Vocabulary.build([])


@settings(deadline=None, derandomize=True)
@given(st.lists(st.lists(st.sampled_from("abcdefg"), max_size=6).map(" ".join), max_size=8), st.integers(1, 3))
def test_exactly_the_words_that_occur_often_enough_are_kept(captions, min_count):
    counts = Counter(" ".join(captions).split())
    often = {word for word, count in counts.items() if count >= min_count}
    if not often:
        with pytest.raises(VocabularyError):
            Vocabulary.build(captions, min_count=min_count)
        return
    vocabulary = Vocabulary.build(captions, min_count=min_count)
    assert set(vocabulary.words[4:]) == often
    assert [counts[word] for word in vocabulary.words[4:]] == sorted((counts[w] for w in often), reverse=True)
    assert len(vocabulary) == 4 + len(often)


VOCABULARY = Vocabulary.build(["a dog runs", "a cat"])


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, len(VOCABULARY) - 1), max_size=20))
def test_decoding_never_gives_a_special_and_ends_at_the_end_mark(ids):
    words = VOCABULARY.decode(ids)
    assert not set(words) & set(SPECIALS)
    told = ids[: ids.index(END)] if END in ids else ids
    assert words == [VOCABULARY.words[i] for i in told if i > UNKNOWN]


def test_known_words_survive_ids():
    assert VOCABULARY.decode(VOCABULARY.encode("A cat runs!")) == ["a", "cat", "runs"]


def test_a_vocabulary_survives_its_file(tmp_path):
    vocabulary = Vocabulary.build(["a man's café", 'quoted "犬"'])
    path = tmp_path / "vocabulary.json"
    path.write_text(vocabulary.to_json(), encoding="utf-8")
    assert Vocabulary.read(path) == vocabulary
    assert len(path.read_text(encoding="utf-8").splitlines()) == len(vocabulary) + 2  # one word a line


WORDS = [*SPECIALS, "a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "vocabulary.json: not a readable vocabulary"),
        ("[]", "vocabulary.json: not a readable vocabulary"),
        ("3", "vocabulary.json: not a readable vocabulary"),
        ({"words": WORDS}, r"vocabulary.json: not a readable vocabulary \('tokenizer'\)"),
        ({"tokenizer": "words"}, r"vocabulary.json: not a readable vocabulary \('words'\)"),
        ({"tokenizer": "words", "words": ["a", "b"]}, r"vocabulary.json:.*starts with \['a', 'b'\], expected"),
        ({"tokenizer": "words", "words": "text"}, "vocabulary.json:.*starts with"),
        ({"tokenizer": "words", "words": None}, "vocabulary.json: not a readable vocabulary"),
        ({"tokenizer": "words", "words": [*WORDS, "a"]}, "vocabulary.json:.*holds 'a' twice"),
        ({"tokenizer": "words", "words": [*WORDS, 5]}, "vocabulary.json:.*holds a word that is no text"),
        ({"tokenizer": "words", "words": [*WORDS, ["b"]]}, "vocabulary.json:.*holds a word that is no text"),
        ({"tokenizer": "bytes", "words": WORDS}, r"vocabulary.json:.*names tokenizer 'bytes', known are \['words'\]"),
        ({"tokenizer": [], "words": WORDS}, "vocabulary.json: not a readable vocabulary"),
    ],
)
def test_a_damaged_file_is_told_with_its_name(tmp_path, content, message):
    path = tmp_path / "vocabulary.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.read(path)


def test_a_missing_file_and_bytes_that_are_no_text_are_told(tmp_path):
    with pytest.raises(VocabularyError, match=r"gone\.json: not a readable vocabulary"):
        Vocabulary.read(tmp_path / "gone.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    with pytest.raises(VocabularyError, match=r"bytes\.json: not a readable vocabulary"):
        Vocabulary.read(tmp_path / "bytes.json")
