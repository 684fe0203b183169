"""Paragraphs on a picture: broken into lines that fit a width, in fonts that have their characters."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import ImageDraw

from showtell.figures.fonts import Face, font
from showtell.figures.style import INK, TEXT
from showtell.names import printable

_LEADING = 1.36  # height of a line / size of its type
_ASCENT = 1.02  # from the top of a line to its base line / size of its type
_ELLIPSIS = "…"
_LONGEST = 2000  # characters of a paragraph that are drawn
# A word with the blanks behind it, and with punctuation that stands alone as in "a dog ." of many data sets.
_WORD = re.compile(r"\S+(?:\s+[.,;:!?]+(?=\s|$))*\s*|\s+")
_CLOSING = "、。，．,.！？!?：；:;）)」』】〉》”’…"  # does not begin a line


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Text of one size and colour. `before` is the space above it, unless it is the first, in pixels."""

    text: str
    size: int = TEXT
    colour: str = INK
    before: int = 0
    most_lines: int = 0  # what is longer ends with an ellipsis; 0 is all


@dataclass(frozen=True)
class _Line:
    text: str
    top: int
    size: int
    colour: str


@dataclass(frozen=True)
class Column:
    """Paragraphs laid out: lines from the top, and the height of all, in pixels."""

    lines: tuple[_Line, ...]
    height: int
    face: Face

    def draw(self, draw: ImageDraw.ImageDraw, left: int, top: int) -> None:
        for line in self.lines:
            _write(draw, (left, top + line.top + round(_ASCENT * line.size)), line, self.face)


def lay_out(paragraphs: Iterable[Paragraph], width: int, face: Face) -> Column:
    """Break paragraphs into lines of at most `width` pixels."""
    lines, y = [], 0
    for paragraph in paragraphs:
        y += paragraph.before if y else 0
        for text in _fitted(paragraph, width, face):
            lines.append(_Line(text, y, paragraph.size, paragraph.colour))
            y += round(_LEADING * paragraph.size)
    return Column(tuple(lines), y, face)


def shorten(text: str, size: int, width: int, face: Face) -> str:
    """The text, or its beginning and end where all of it is wider than `width` pixels."""
    text = printable(text)[:_LONGEST]
    if _length(text, size, face) <= width:
        return text
    for kept in range(len(text) - 1, 0, -1):
        tail = kept // 2
        short = text[: kept - tail] + _ELLIPSIS + text[len(text) - tail :]
        if _length(short, size, face) <= width:
            return short
    return _ELLIPSIS


def break_lines(text: str, size: int, width: int, face: Face) -> list[str]:
    """Lines of at most `width` pixels, broken at blanks, between ideographs, and within a word that is longer."""
    lines, line = [], ""
    for piece in _pieces(text):
        if _length((line + piece).rstrip(), size, face) <= width:
            line += piece
            continue
        if line.strip():
            lines.append(line.rstrip())
        line = piece.lstrip()
        while _length(line.rstrip(), size, face) > width:
            head = _longest_head(line, size, width, face)
            lines.append(line[:head])
            line = line[head:]
    if line.strip() or not lines:
        lines.append(line.rstrip())
    return lines


def _fitted(paragraph: Paragraph, width: int, face: Face) -> Sequence[str]:
    text = printable(" ".join(paragraph.text.split()))
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + _ELLIPSIS
    lines = break_lines(text, paragraph.size, width, face)
    most = paragraph.most_lines
    if not most or len(lines) <= most:
        return lines
    last = lines[most - 1]
    while last and _length(last + _ELLIPSIS, paragraph.size, face) > width:
        last = last[:-1]
    return [*lines[: most - 1], last.rstrip() + _ELLIPSIS]


def _pieces(text: str) -> list[str]:
    """The text in parts between which a line may break; blanks stay at the end of the part before."""
    pieces: list[str] = []
    for word in _WORD.findall(text):
        start = 0
        for i in range(1, len(word)):
            wide = _is_wide(word[i]) or _is_wide(word[i - 1])
            if wide and word[i] not in _CLOSING and not word[i].isspace() and not unicodedata.combining(word[i]):
                pieces.append(word[start:i])
                start = i
        pieces.append(word[start:])
    return pieces


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in ("W", "F")


def _longest_head(line: str, size: int, width: int, face: Face) -> int:
    """How many characters of a word fit, at least one."""
    low, high = 1, len(line)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _length(line[:middle], size, face) <= width else (low, middle - 1)
    while low < len(line) - 1 and unicodedata.combining(line[low]):
        low -= 1 if low > 1 else -1
    return low


def _length(text: str, size: int, face: Face) -> float:
    return sum(font(file, size).getlength(run) for run, file in face.runs(text))


def _write(draw: ImageDraw.ImageDraw, start: tuple[int, int], line: _Line, face: Face) -> None:
    x: float = start[0]
    for run, file in face.runs(line.text):
        draw.text((x, start[1]), run, fill=line.colour, font=font(file, line.size), anchor="ls")
        x += font(file, line.size).getlength(run)
