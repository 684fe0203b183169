"""Pictures as text: base64, and the data addresses that hold it (RFC 2397)."""

import binascii
import re

_HEAD = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_PIECE = 1 << 16  # characters that are decoded in one go: between pieces, other threads get their turn


def base64_of(address: str) -> str | None:
    """The base64 that a data address holds; None of any other address."""
    head = _HEAD.match(address)
    return address[head.end() :] if head else None


def decode(text: str) -> bytes:
    """Base64, which may have line breaks, as bytes. Raises `ValueError` where it is none."""
    text = "".join(text.split())
    pieces = (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))
    return b"".join(binascii.a2b_base64(piece, strict_mode=True) for piece in pieces)
