"""Words <-> ids, and how a sentence becomes words and a caption becomes a sentence again."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from showtell.errors import VocabularyError

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIALS = ("<pad>", "<start>", "<end>", "<unk>")

# A word is letters and digits, joined by inner hyphens, apostrophes or, in numbers, points and commas. Scripts whose
# vowel signs Python counts as neither (Devanagari and its kin) fall apart: they need a tokenizer of their own.
_WORD = re.compile(r"\d+(?:[.,]\d+)+|[^\W_]+(?:[-'][^\W_]+)*")
# Clitics are words of their own, as in the Penn Treebank: "man's" is two words, "don't" is "do" and "n't".
_CLITIC = re.compile(r"(?<=[^\W\d_])(n't|'(?:s|m|d|re|ve|ll))$")
_GLUED = frozenset({"n't", "'s", "'m", "'d", "'re", "'ve", "'ll"})


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


def join_words(words: Sequence[str]) -> str:
    """Words as people write them: clitics are joined to the word before, so "man 's" becomes "man's"."""
    text = ""
    for word in words:
        # Behind a number a clitic stands apart, as `split_words` leaves it: "1970's" is one word.
        glued = not text or (word in _GLUED and not text[-1].isdecimal())
        text += word if glued else " " + word
    return text


def sentence(caption: str) -> str:
    """The caption with a capital and a full stop; an empty caption stays empty."""
    return caption[:1].upper() + caption[1:] + "." if caption else caption


# How a caption becomes words, by the name that recipes and bundles give: text -> words.
TOKENIZERS = {"words": split_words}


@dataclass(frozen=True)
class Vocabulary:
    """All words that a captioner knows; the id of a word is its place. The first four are `SPECIALS`.

    Raises `VocabularyError` where the specials are not in front, a word stands twice or is no text.
    """

    words: tuple[str, ...]
    tokenizer: str = "words"

    def __post_init__(self) -> None:
        if self.words[: len(SPECIALS)] != SPECIALS:
            raise VocabularyError(
                f"vocabulary starts with {list(self.words[:4])}, expected {list(SPECIALS)}; make it again by training"
            )
        if not all(isinstance(word, str) for word in self.words):
            raise VocabularyError("vocabulary holds a word that is no text; make it again by training")
        if len(set(self.words)) != len(self.words):
            twice = next(word for word, count in Counter(self.words).items() if count > 1)
            raise VocabularyError(f"vocabulary holds {twice!r} twice, a word has one id; make it again by training")
        if self.tokenizer not in TOKENIZERS:
            raise VocabularyError(f"vocabulary names tokenizer {self.tokenizer!r}, known are {sorted(TOKENIZERS)}")

    @classmethod
    def build(
        cls, captions: Iterable[str], *, tokenizer: str = "words", min_count: int = 1, max_size: int = 0
    ) -> "Vocabulary":
        """Collect the words seen at least `min_count` times, the most frequent first, ties by alphabet.

        `max_size` > 0 keeps that many words at most, the specials not counted. Raises `VocabularyError` where no word
        remains.
        """
        counts = Counter(word for caption in captions for word in TOKENIZERS[tokenizer](caption))
        kept = sorted((word for word, count in counts.items() if count >= min_count), key=lambda w: (-counts[w], w))
        if not kept:
            raise VocabularyError(
                f"no word occurs {min_count} times in the training captions ({len(counts)} distinct words); "
                "lower vocabulary.min_count or give more captions"
            )
        return cls(SPECIALS + tuple(kept[: max_size or None]), tokenizer)

    @classmethod
    def read(cls, path: Path) -> "Vocabulary":
        """Read a file of `to_json`'s text. Raises `VocabularyError` naming the file."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(tuple(content["words"]), content["tokenizer"])
        except (OSError, ValueError, KeyError, TypeError, VocabularyError) as error:
            raise VocabularyError(f"{path}: not a readable vocabulary ({error}); export or train again") from error

    def to_json(self) -> str:
        """JSON text, one word a line so that a difference between two vocabularies can be read."""
        words = ",\n".join(json.dumps(word, ensure_ascii=False) for word in self.words)
        return f'{{"tokenizer": {json.dumps(self.tokenizer)}, "words": [\n{words}\n]}}\n'

    @cached_property
    def ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, caption: str) -> list[int]:
        """Ids of the caption's words, unknown ones as `UNKNOWN`; start and end marks are not added."""
        return [self.ids.get(word, UNKNOWN) for word in TOKENIZERS[self.tokenizer](caption)]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Words of ids up to the end mark, specials left out."""
        words: list[str] = []
        for i in ids:
            if i == END:
                break
            if i >= len(SPECIALS):
                words.append(self.words[i])
        return words
