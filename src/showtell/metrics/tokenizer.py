"""The words of a caption as the COCO caption evaluation has them, without Java.

Stanford's `PTBTokenizer -preserveLines -lowerCase`, then coco-caption's removal of punctuation: the same words, quirks
included (docs/metrics.md, docs/decisions/0003). Two differences are meant: line ends within a caption become spaces,
where coco-caption misaligns all captions after it, and a caption never looks ahead into the next one.
"""

import re
import unicodedata
from array import array
from collections.abc import Iterable

from showtell.metrics.ptb_characters import SYMBOLS
from showtell.metrics.ptb_rules import ASSIMILATED, BEFORE_NUMBERS, SPACES, rules_at

# coco-caption's list. Its brackets are upper case and so never met, which is why "-lrb-" stays a word.
PUNCTUATION = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
_LINE_ENDS = str.maketrans(dict.fromkeys("\n\r\v\f\x85\u2028\u2029", " "))
_MOST_CHUNKS = 200_000  # remembered; a chunk is what stands between spaces


def tokenize(caption: str) -> str:
    """The words of one caption, lower case, punctuation removed, joined by single spaces.

    A word can hold a no-break space, as "3 1/2" does, which `str.split()` would part.
    """
    parts = list(map(_CHUNKS.__getitem__, caption.split(" ")))
    if None in parts:
        return _tokenize_slowly(caption)
    return "".join(parts)[:-1]  # type: ignore[arg-type]


def tokenize_all(captions: Iterable[str]) -> list[str]:
    """`tokenize` for many captions."""
    return [tokenize(caption) for caption in captions]


def _tokenize_slowly(caption: str) -> str:
    """Part the caption where no token can reach over a space, and tokenize the parts."""
    caption = caption.translate(_LINE_ENDS)
    if "<" in caption:
        return " ".join(_words(caption))
    chunks = caption.split(" ")
    words: list[str] = []
    part: list[str] = []
    last = ""
    for place, chunk in enumerate(chunks, start=1):
        known = None if part else _CHUNKS[chunk]
        if known is not None:
            words.append(known[:-1])
            continue
        part.append(chunk)
        last = chunk or last
        following = chunks[place] if place < len(chunks) else None
        if following is None or not (following == "" or _reaches_over(last, following)):
            begins = place == len(part)  # else the space before takes what odd spaces follow it
            words.extend(_words(" ".join(part if begins else ["", *part]), ends=place == len(chunks)))
            part = []
    return " ".join(filter(None, words))


def _reaches_over(chunk: str, following: str) -> bool:
    """Whether what stands before a space must be seen together with what follows: "3 1/2", "no. 5", "plan B. A"."""
    if following[:1] in ("+", "(") or following[:1].isdigit():
        return _is_numeric(chunk)
    return bool(following) and _may_be_initial(chunk)


def _may_be_initial(chunk: str) -> bool:
    """Whether it can end in a letter with a period, which the letter loses before the start of a sentence."""
    chunk = chunk.rstrip()
    return chunk.endswith(".") and chunk[-2:-1].isalpha() and (len(chunk) == 2 or not chunk[:-1].isalpha())


def _is_numeric(chunk: str) -> bool:
    return any(map(str.isdigit, chunk)) or chunk.lower().rstrip(".").endswith(BEFORE_NUMBERS)


class _Chunks(dict[str, str | None]):
    """What stands between two spaces -> its words, each followed by a space; None where the neighbours matter."""

    _plain = re.compile(r"([A-Za-z]+(?:-[A-Za-z]+)*)('s)?[,;:!?]?")  # most of all chunks, without the rules

    def __missing__(self, chunk: str) -> str | None:
        if len(self) > _MOST_CHUNKS:
            self.clear()
        value = self._read(chunk)
        if len(chunk) < 100:
            self[chunk] = value
        return value

    def _read(self, chunk: str) -> str | None:
        found = self._plain.fullmatch(chunk)
        if found and found[1].lower() not in ASSIMILATED:
            return found[1].lower() + (" 's " if found[2] else " ")
        if not chunk.isprintable() or "<" in chunk or _is_numeric(chunk) or _may_be_initial(chunk):
            return None
        return "".join(f"{word} " for word in _words(chunk, ends=False))


def _set_of(*ranges: str) -> frozenset[str]:
    ends = ([int(end, 16) for end in part.split("-")] for text in ranges for part in text.split())
    return frozenset(chr(code) for pair in ends for code in range(pair[0], pair[-1] + 1))


# What stands as a token of its own where no rule is longer; all else is dropped.
_KEPT = _set_of("21-7e", SYMBOLS)


def _words(text: str, ends: bool = True) -> list[str]:
    """The words of a text without line ends, by the rules; `ends` tells that the caption ends with it."""
    written = " ".join(map(_lower, _tokens(text)))
    if ends:
        written = written.rstrip()  # coco-caption does, and so takes the last token's odd spaces
    if not written.isascii():
        written = written.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return [word for word in written.split(" ") if word and word not in PUNCTUATION]


def _tokens(text: str) -> Iterable[str]:
    """Every token as Java prints it but for its case."""
    ascii_only = text.isascii()
    if not ascii_only and max(text) > "\uffff":
        # Java sees an emoji as two characters, and some rules ask for two.
        text = "".join(map(chr, array("H", text.encode("utf-16", "surrogatepass")[2:])))
    text += "\n"
    place, end = 0, len(text) - 1
    ahead = _Ahead(text)
    while place < end:
        best, furthest = None, -1
        for rule in rules_at(text[place], ascii_only):
            if rule.needs and not ahead.has(rule.needs, place):
                continue
            match = rule.pattern.match(text, place)
            if match and match.end() > furthest:
                best, furthest, write = match, match.end(), rule.write
        if best is None:
            spaces = SPACES.match(text, place)
            if text[place] in _KEPT:
                yield text[place]
            place = spaces.end() if spaces else place + 1
            continue
        place = best.end(1)
        yield write(best[1]) if write else best[1]


class _Ahead:
    """Whether a character is still to come, asked at growing places: what keeps long captions from taking n * n."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next = dict.fromkeys("@.->", -1)
        self._space = -1

    def has(self, character: str, place: int) -> bool:
        """Before the next space, but for ">", which a tag may hold spaces before."""
        if self._next[character] < place:
            found = self._text.find(character, place)
            self._next[character] = found if found >= 0 else len(self._text)
        if self._space < place:
            found = self._text.find(" ", place)
            self._space = found if found >= 0 else len(self._text)
        return self._next[character] < (len(self._text) if character == ">" else self._space)


# What Java's lower case takes for cased though it is no letter with case: modifiers, Roman numerals, circled letters.
_IDEOGRAPHS = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff]")  # each is a word of its own, so none joins what is around it
_CASED = _set_of("2b0-2b8 2c0-2c1 2e0-2e4 345 37a 1d2c-1d61 2160-217f 24b6-24e9")


def _lower(token: str) -> str:
    """Lower case as Java has it, which differs in where a Greek sigma is final."""
    if "Σ" not in token:
        return token.lower()
    last = len(token) - 1
    return "".join(
        character.lower()
        if character != "Σ"
        else ("ς" if _cased(token, range(i - 1, -1, -1)) and not _cased(token, range(i + 1, last + 1)) else "σ")
        for i, character in enumerate(token)
    )


def _cased(token: str, places: range) -> bool:
    """Whether a letter with case stands at one of the places before the word, as Java parts words, ends."""
    for place in places:
        character = token[place]
        category = unicodedata.category(character)
        if category in ("Lu", "Ll", "Lt") or character in _CASED:
            return True
        around = [unicodedata.category(c)[0] for c in (token[place - 1 : place], token[place + 1 : place + 2]) if c]
        joins = character in ".'-_‐‑\u00ad" and around in (["L", "L"], ["M", "L"], ["L", "C"])
        if _IDEOGRAPHS.match(character) or (category[0] not in "LNM" and category != "Cf" and not joins):
            return False
    return False


_CHUNKS = _Chunks()
