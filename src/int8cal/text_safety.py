"""Text from data (file names, frame ids) made harmless for terminals, logs and reports. Imports nothing of ours."""

from __future__ import annotations

import unicodedata

_HARMFUL_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control, format (bidirectional overrides among them), surrogate, private, unassigned, line and paragraph breaks."""


def printable(text: str) -> str:
    r"""Text with everything that a terminal might obey, or that cannot be encoded, written as an escape.

    Args:
        text: any string; undecodable bytes may be present as surrogate escapes.

    Returns:
        The same text with control, bidirectional, unassigned and surrogate characters as ``\x1b``, ``\u202e`` etc.
        Backslashes stay as they are: the result is for reading, not for parsing.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_escape, text))


def shortened(text: str, limit: int = 4096) -> str:
    """Text for a message: whole up to ``limit`` characters (the longest path), else its beginning and its end."""
    return text if len(text) <= limit else f"{text[:300]} … {text[-100:]}"


def _escape(character: str) -> str:
    if unicodedata.category(character) not in _HARMFUL_CATEGORIES:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8, kept by the surrogateescape handler
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
