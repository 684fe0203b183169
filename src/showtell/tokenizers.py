"""How a caption becomes words, by the names that recipes and bundles give, and how words become a caption again."""

import re
import string
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache

from showtell.errors import MissingExtraError

# A word is letters and digits, joined by inner hyphens, apostrophes or, in numbers, points and commas. Scripts whose
# vowel signs Python counts as neither (Devanagari and its kin) fall apart: they need a tokenizer of their own.
_WORD = re.compile(r"\d+(?:[.,]\d+)+|[^\W_]+(?:[-'][^\W_]+)*")
# Clitics are words of their own, as in the Penn Treebank: "man's" is two words, "don't" is "do" and "n't".
_CLITIC = re.compile(r"(?<=[^\W\d_])(n't|'(?:s|m|d|re|ve|ll))$")
_CLITICS = frozenset({"n't", "'s", "'m", "'d", "'re", "'ve", "'ll"})

# Punctuation as people write it: without a blank before it, or behind it. Marks of speech take turns.
_CLOSING = frozenset({".", ",", ";", ":", "!", "?", "...", ")", "]", "}", "%", "'"})
_OPENING = frozenset({"(", "[", "{", "#", "$"})
_QUOTES = frozenset({"``", "''", '"'})

# Keras's own filter, without < and >, which its tutorials need for the marks.
_KERAS = str.maketrans(dict.fromkeys('!"#$%&()*+.,-/:;=?@[\\]^_`{|}~', " "))
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def split_words(caption: str) -> list[str]:
    """Lower-cased words of a caption, punctuation left out, clitics apart: "A man's T-shirt." -> a man 's t-shirt."""
    # NFC: an accent that stands apart, as in file names of macOS, would part the word.
    text = unicodedata.normalize("NFC", caption).lower().replace("\u2019", "'")
    words: list[str] = []
    for match in _WORD.finditer(text):
        word, clitics = match.group(), []
        while clitic := _CLITIC.search(word):  # "shouldn't've" holds two
            clitics.append(clitic.group())
            word = word[: clitic.start()]
        words += [word, *reversed(clitics)]
    return words


def split_keras(caption: str) -> list[str]:
    """Keras's rule: lower case, punctuation becomes blanks, apostrophes stay: "A man's T-shirt." -> a man's t shirt."""
    return caption.lower().translate(_KERAS).split()


def split_letters(caption: str) -> list[str]:
    """Lower case, punctuation deleted, words of one letter dropped: "A man's T-shirt." -> mans tshirt."""
    return [word for word in caption.lower().translate(_PUNCTUATION).split() if len(word) > 1]


def split_treebank(caption: str) -> list[str]:
    """NLTK's words, lower-cased, punctuation as words of its own: "A man's hat." -> a man 's hat ".".

    The caption is one sentence: only the period at its end is a word. Raises `MissingExtraError` without NLTK.
    """
    return _treebank()(caption.lower())


def join_words(words: Sequence[str]) -> str:
    """Words as people write them: "man", "'s" becomes "man's", and punctuation stands where it belongs."""
    text = ""
    attached = True  # the next word follows without a blank
    quoted = False
    for word in words:
        opens = word in _OPENING
        glued = word in _CLOSING
        if word in _QUOTES:
            word, opens, glued, quoted = '"', not quoted, quoted, not quoted
        # Behind a number a clitic stands apart, as `split_words` leaves it: "1970's" is one word.
        glued = glued or (word in _CLITICS and not text[-1:].isdecimal())
        text += word if attached or glued else " " + word
        attached = opens
    return text


def sentence(caption: str) -> str:
    """The caption with a capital and a full stop; one that ends a sentence already keeps its end, an empty none."""
    ended = not caption or caption.endswith((".", "!", "?"))
    return caption[:1].upper() + caption[1:] + ("" if ended else ".")


@cache
def _treebank() -> Callable[[str], list[str]]:
    try:
        from nltk.tokenize import word_tokenize
    except ImportError as error:
        raise MissingExtraError("vocabulary.tokenizer treebank needs NLTK: pip install 'showtell[train]'") from error
    # Without `preserve_line` NLTK first parts sentences, for which it needs data that must be downloaded.
    return lambda text: list(word_tokenize(text, preserve_line=True))


# Text -> words.
TOKENIZERS: dict[str, Callable[[str], list[str]]] = {
    "words": split_words,
    "keras": split_keras,
    "letters": split_letters,
    "treebank": split_treebank,
}
