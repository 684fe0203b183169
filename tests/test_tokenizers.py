import csv
import string
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from showtell.errors import MissingExtraError
from showtell.tokenizers import TOKENIZERS, _treebank, join_words, sentence, split_words

FLICKR = Path(__file__).parents[2] / "shared" / "data" / "flickr8k"


@pytest.fixture(scope="module")
def flickr_captions():
    """The captions of each photo of Flickr8k, as the file has them."""
    if not (FLICKR / "captions.txt").is_file():
        pytest.skip("needs Flickr8k beside the repository")
    captions: dict[str, list[str]] = {}
    with (FLICKR / "captions.txt").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            captions.setdefault(row["image"], []).append(row["caption"])
    return captions


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


# The tutorials' rules


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A man's T-shirt.", "a man's t shirt"),
        ("<start> A dog, (running) <end>", "<start> a dog running <end>"),
        ("don't... 'quoted' a_b c/d 3.5 50%", "don't 'quoted' a b c d 3 5 50"),
        ("tab\tand\nline", "tab and line"),
        ("\u201cCaf\u00e9\u201d \u2013 \u2019s", "\u201ccaf\u00e9\u201d \u2013 \u2019s"),  # only ASCII is punctuation
        ("?!", ""),
    ],
)
def test_keras_words(caption, words):
    assert TOKENIZERS["keras"](caption) == words.split()


@given(st.text("aB<>'!\"#$%&()*+.,-/:;=?@[\\]^_`{|}~ \t\n"))
@settings(deadline=None, derandomize=True)
def test_keras_words_hold_what_its_filter_leaves(text):
    # Keras's text_to_word_sequence: each character of the filter becomes a blank, then split at blanks.
    kept = "".join(c if c not in set(string.punctuation + "\t\n") - set("'<>") else " " for c in text.lower())
    assert TOKENIZERS["keras"](text) == [word for word in kept.split(" ") if word]


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A man's T-shirt.", "mans tshirt"),
        ("A dog , in a U.S. flag ; 3 of 28 !", "dog in us flag of 28"),
        ("i", ""),
    ],
)
def test_words_of_letters(caption, words):
    assert TOKENIZERS["letters"](caption) == words.split()


def test_first_captions_of_flickr8k_have_the_tutorials_words_and_longest_sequence(flickr_captions):
    assert len(flickr_captions) == 8091
    captions = [TOKENIZERS["letters"](of_picture[0]) for of_picture in flickr_captions.values()]
    assert len({word for words in captions for word in words}) == 4484
    assert max(len(words) for words in captions) + 2 == 30  # with its two marks


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A man's hat.", "a man 's hat ."),
        ("Two dogs, a cat; they can't run!", "two dogs , a cat ; they ca n't run !"),
        ('He says "hello" (twice)', "he says `` hello '' ( twice )"),
        ("A dog. A cat.", "a dog. a cat ."),  # one sentence
    ],
)
def test_treebank_words(caption, words):
    pytest.importorskip("nltk", reason="needs the training extra")
    assert TOKENIZERS["treebank"](caption) == words.split()


@pytest.mark.parametrize(
    ("words", "caption"),
    [
        ("a dog , running .", "a dog, running."),
        ("a man 's hat ; the dogs ' bowl ...", "a man's hat; the dogs' bowl..."),
        ("`` hello '' , he said : `` go ! ''", '"hello", he said: "go!"'),
        ("`` hello `` there", '"hello" there'),  # a closing mark behind a blank looks to NLTK like an opening one
        ("number # 1 ( of 5 ) & more", "number #1 (of 5) & more"),
        (". a", ". a"),
        ("a -- b", "a -- b"),
    ],
)
def test_punctuation_stands_where_people_write_it(words, caption):
    assert join_words(words.split()) == caption


@pytest.mark.parametrize("tokenizer", ["keras", "letters", "treebank"])
def test_told_captions_of_people_come_back_as_they_were_written(flickr_captions, tokenizer):
    if tokenizer == "treebank":
        pytest.importorskip("nltk", reason="needs the training extra")
    split = TOKENIZERS[tokenizer]
    some = [of_picture[0] for of_picture in flickr_captions.values()][:1500]
    again = [split(join_words(split(caption))) == split(caption) for caption in some]
    assert sum(again) >= 0.97 * len(some)


def test_a_missing_nltk_is_named(monkeypatch):
    _treebank.cache_clear()
    monkeypatch.setitem(sys.modules, "nltk.tokenize", None)
    with pytest.raises(MissingExtraError, match=r"tokenizer treebank needs NLTK: pip install 'showtell\[train\]'"):
        TOKENIZERS["treebank"]("a dog")


def test_a_sentence_keeps_the_end_that_it_has():
    assert sentence("a dog, running.") == "A dog, running."
    assert sentence("who is it?") == "Who is it?"
