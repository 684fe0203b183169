"""Fonts for any text: Pillow's own, and those of the system where it lacks characters.

Pillow's own font is the same on every machine and knows English letters alone. Which characters a font draws is found
by drawing them: those that it lacks all give the one picture that stands for a missing character.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

from showtell.names import printable

# Names of files that Linux, macOS and Windows usually have, looked for in this order in their folders of fonts.
_FILES = (
    "NotoSans-Regular.ttf",
    "Arial.ttf",
    "arial.ttf",
    "LiberationSans-Regular.ttf",
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "NotoSansCJKjp-Regular.otf",
    "NotoSansSC-Regular.otf",
    "SourceHanSans-Regular.ttc",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "AppleSDGothicNeo.ttc",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "msgothic.ttc",
    "malgun.ttf",
    "simsun.ttc",
    "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansBengali-Regular.ttf",
    "NotoSansTamil-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "Nirmala.ttf",
    "LeelawUI.ttf",
    "seguisym.ttf",
)
_SAMPLE = 24  # pixels at which characters are tried
_BOX = "\u25a1"  # stands for a character that no font has, where a font has this; else a question mark does


@dataclass(frozen=True)
class Face:
    """Fonts for one text: the first that has a character draws it."""

    files: tuple[Path | None, ...]  # None is Pillow's own

    def runs(self, text: str) -> list[tuple[str, Path | None]]:
        """The text in pieces of one font each; characters that no font has are replaced."""
        pieces: list[tuple[str, Path | None]] = []
        for character in text:
            having = [file for file in self.files if _has(file, character)]
            if not having:
                having = [file for file in self.files if _has(file, _BOX)] or list(self.files)
                character = _BOX if _has(having[0], _BOX) else "?"
            file = having[0]
            if pieces and (pieces[-1][1] == file or _unseen(character)):
                pieces[-1] = (pieces[-1][0] + character, pieces[-1][1])
            else:
                pieces.append((character, file))
        return pieces


def face_for(texts: Iterable[str]) -> Face:
    """The fonts for these texts: first the one that has most of their characters, Pillow's own where it has all."""
    wanted = {character for text in texts for character in text if not _unseen(character)}
    left, files = wanted, list[Path | None]()
    if not all(_has(None, character) for character in wanted):
        # A word in two fonts is ugly: one font should have as much as possible.
        counts = {file: sum(_has(file, character) for character in wanted) for file in (*_installed(), None)}
        files = [file for file, count in sorted(counts.items(), key=lambda item: -item[1]) if count]
    kept = list[Path | None]()
    for file in files or [None]:
        had = {character for character in left if _has(file, character)}
        if had or not kept:
            kept.append(file)
            left = left - had
    if left:  # something must have the sign for what is missing
        kept += [file for file in (*_installed(), None) if file not in kept and _has(file, _BOX)][:1]
    return Face(tuple(kept))


@cache
def font(file: Path | None, size: int) -> ImageFont.FreeTypeFont:
    """A font at a size in pixels; None is Pillow's own."""
    if file is not None:
        return ImageFont.truetype(file, size)
    own = ImageFont.load_default(size)
    assert isinstance(own, ImageFont.FreeTypeFont)  # every Pillow that pip installs has FreeType
    return own


def undrawn(texts: Iterable[str]) -> str:
    """The characters that no font here has, each once, in order."""
    wanted = sorted({character for text in texts for character in text})
    return "".join(character for character in wanted if not _drawable(character))


def for_matplotlib(text: str) -> str:
    """The text with the sign for a missing character where no font has it, and without what is not seen."""
    seen = (character for character in printable(text) if character.isspace() or not _unseen(character))
    return "".join(character if _drawable(character) else _BOX for character in seen)


def fallback_files(text: str) -> list[Path]:
    """Installed fonts for the characters that DejaVu Sans, matplotlib's own, lacks."""
    own = _dejavu()
    left = {character for character in text if not _unseen(character) and not (own and _has(own, character))}
    files = []
    for file in _installed():
        if had := {character for character in left if _has(file, character)}:
            files.append(file)
            left -= had
    return files


def _drawable(character: str) -> bool:
    return _has(None, character) or any(_has(file, character) for file in _installed())


def _unseen(character: str) -> bool:
    """Characters that no font need have: blanks, controls, marks of joining, variants and direction."""
    return character.isspace() or unicodedata.category(character) in ("Cc", "Cf") or "\ufe00" <= character <= "\ufe0f"


@cache
def _has(file: Path | None, character: str) -> bool:
    return _unseen(character) or _drawn(file, character) != _drawn(file, "\uffff")


def _drawn(file: Path | None, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font(file, _SAMPLE).getmask(character)
    return mask.size, bytes(mask)


@cache
def _installed() -> tuple[Path, ...]:
    found = []
    for name in _FILES:
        try:
            opened = ImageFont.truetype(name, _SAMPLE)
        except OSError:
            if name != "DejaVuSans.ttf" or (own := _dejavu()) is None:
                continue
            found.append(own)
        else:
            found.append(Path(str(opened.path)))
    return tuple(found)


@cache
def _dejavu() -> Path | None:
    """DejaVu Sans as matplotlib brings it, without importing matplotlib."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return path if path.is_file() else None
