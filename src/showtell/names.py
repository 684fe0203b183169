"""What a picture is called, in results and in messages."""

import unicodedata
from dataclasses import dataclass

# Control characters, lone surrogates (bytes of a file name that are no UTF-8) and line separators would break a line.
_BREAKING = frozenset({"Cc", "Cs", "Zl", "Zp"})
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


@dataclass(frozen=True)
class Named:
    """The bytes of a picture together with the name under which results and errors speak of it."""

    name: str
    content: bytes


def printable(text: str) -> str:
    """Text that stays on one line and can be written as UTF-8: tabs, line breaks and undecodable bytes are escaped.

    Meant for people. Backslashes stay as they are, so JSON is the form from which a program gets the exact name back.
    """
    if text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _BREAKING else c for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if 0xDC80 <= code <= 0xDCFF:  # Python's stand-in for the byte code - 0xDC00 of a file name
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
