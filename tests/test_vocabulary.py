import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showtell.errors import VocabularyError
from showtell.vocabulary import (
    END,
    PAD,
    SPECIALS,
    START,
    UNKNOWN,
    Vocabulary,
)


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


def test_unknown_words_can_be_dropped():
    vocabulary = Vocabulary.build(["b a c", "b a"], min_count=2, unknown="drop")
    assert vocabulary.encode("A b, c?") == [4, 5]
    assert vocabulary.encode("c") == []


def test_a_mark_written_in_a_caption_is_no_mark():
    captions = ["<start> a dog <end> <unk> <pad>"] * 2
    vocabulary = Vocabulary.build(captions, tokenizer="keras")
    assert vocabulary.words == (*SPECIALS, "a", "dog")
    assert vocabulary.encode(captions[0]) == [UNKNOWN, 4, 5, UNKNOWN, UNKNOWN, UNKNOWN]
    assert Vocabulary.build(captions, tokenizer="keras", unknown="drop").encode(captions[0]) == [4, 5]


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


@pytest.mark.parametrize("rules", [{}, {"unknown": "drop"}, {"tokenizer": "keras", "unknown": "drop"}])
def test_a_vocabulary_survives_its_file(tmp_path, rules):
    vocabulary = Vocabulary.build(["a man's café", 'quoted "犬"'], **rules)
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
        (
            {"tokenizer": "bytes", "words": WORDS},
            r"vocabulary.json:.*names tokenizer 'bytes', known are \['keras', 'letters', 'treebank', 'words'\]",
        ),
        ({"tokenizer": [], "words": WORDS}, "vocabulary.json: not a readable vocabulary"),
        (
            {"tokenizer": "words", "unknown": "keep", "words": WORDS},
            r"has unknown 'keep', known are \['token', 'drop'\]",
        ),
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
