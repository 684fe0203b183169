"""Words <-> ids; how captions become words is the business of `showtell.tokenizers`."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from showtell.errors import VocabularyError
from showtell.tokenizers import TOKENIZERS

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIALS = ("<pad>", "<start>", "<end>", "<unk>")

# What becomes of a word outside the vocabulary: it is told as unknown, or left out of its caption.
UNKNOWN_RULES = ("token", "drop")


@dataclass(frozen=True)
class Vocabulary:
    """All words that a captioner knows; the id of a word is its place. The first four are `SPECIALS`.

    Raises `VocabularyError` where the specials are not in front, a word stands twice or is no text.
    """

    words: tuple[str, ...]
    tokenizer: str = "words"
    unknown: str = "token"  # or drop: a word outside the vocabulary is left out of its caption

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
        if self.unknown not in UNKNOWN_RULES:
            raise VocabularyError(f"vocabulary has unknown {self.unknown!r}, known are {list(UNKNOWN_RULES)}")

    @classmethod
    def build(
        cls,
        captions: Iterable[str],
        *,
        tokenizer: str = "words",
        min_count: int = 1,
        max_size: int = 0,
        unknown: str = "token",
    ) -> "Vocabulary":
        """Collect the words seen at least `min_count` times, the most frequent first, ties by alphabet.

        `max_size` > 0 keeps that many words at most, the specials not counted. Raises `VocabularyError` where no word
        remains.
        """
        counts = Counter(word for caption in captions for word in TOKENIZERS[tokenizer](caption))
        for mark in SPECIALS:  # written in a caption, a mark is no word
            counts.pop(mark, None)
        kept = sorted((word for word, count in counts.items() if count >= min_count), key=lambda w: (-counts[w], w))
        if not kept:
            raise VocabularyError(
                f"no word occurs {min_count} times in the training captions ({len(counts)} distinct words); "
                "lower vocabulary.min_count or give more captions"
            )
        return cls(SPECIALS + tuple(kept[: max_size or None]), tokenizer, unknown)

    @classmethod
    def read(cls, path: Path) -> "Vocabulary":
        """Read a file of `to_json`'s text. Raises `VocabularyError` naming the file."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(tuple(content["words"]), content["tokenizer"], content.get("unknown", "token"))
        except (OSError, ValueError, KeyError, TypeError, VocabularyError) as error:
            raise VocabularyError(f"{path}: not a readable vocabulary ({error}); export or train again") from error

    def to_json(self) -> str:
        """JSON text, one word a line so that a difference between two vocabularies can be read."""
        words = ",\n".join(json.dumps(word, ensure_ascii=False) for word in self.words)
        unknown = "" if self.unknown == "token" else f'"unknown": {json.dumps(self.unknown)}, '
        return f'{{"tokenizer": {json.dumps(self.tokenizer)}, {unknown}"words": [\n{words}\n]}}\n'

    @cached_property
    def ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, caption: str) -> list[int]:
        """Ids of the caption's words, unknown ones as `UNKNOWN` or dropped; start and end marks are not added."""
        # A mark that the caption itself holds is no mark.
        ids = [max(self.ids.get(word, UNKNOWN), UNKNOWN) for word in TOKENIZERS[self.tokenizer](caption)]
        return ids if self.unknown == "token" else [i for i in ids if i != UNKNOWN]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Words of ids up to the end mark, specials left out."""
        words: list[str] = []
        for i in ids:
            if i == END:
                break
            if i >= len(SPECIALS):
                words.append(self.words[i])
        return words
