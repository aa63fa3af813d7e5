"""Text from data (file names, frame ids) made harmless for terminals, logs and reports. Imports nothing of ours."""

from __future__ import annotations

import unicodedata

_HARMFUL_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control, format (bidirectional overrides among them), surrogate, private, unassigned, line and paragraph breaks."""


MAX_SHOWN = 2000
"""Characters of a message that are shown; messages quote paths and values, and those can have any length."""
_MAX_VALUE = 80
_MAX_NAME = 120
_BACKSLASH, _QUOTE = "\\", "'"


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


def shell_word(text: str) -> str:
    r"""A text as one word of a command line, to be typed into bash or zsh.

    What `printable` writes as an escape is one for the shell, too: ``$'bell\x07.tensor'``.
    """
    if printable(text) != text:
        return f"$'{printable(text.replace(_BACKSLASH, 2 * _BACKSLASH).replace(_QUOTE, _BACKSLASH + _QUOTE))}'"
    import shlex  # late: for messages alone

    return shlex.quote(text)


def shortened(text: str, length: int = MAX_SHOWN) -> str:
    """A text that is too long to read with its middle left out: start and end tell the most.

    Args:
        text: any string.
        length: how many characters of it are kept at most.
    """
    left_out = len(text) - length
    if left_out <= 0:
        return text
    half = length // 2
    return f"{text[:half]} … ({left_out} characters) … {text[len(text) - (length - half) :]}"


def short_repr(value: object) -> str:
    """A value as Python writes it, in one line."""
    return shortened(repr(value).replace("\n", " "), _MAX_VALUE)  # arrays are written in several


def short_name(name: str) -> str:
    """A name from data, of a tensor or a node, in a table or list."""
    return shortened(name, _MAX_NAME)


def first_line(error: BaseException) -> str:
    """The first line of a library's error, which says the most; the error's class where it has no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _escape(character: str) -> str:
    if unicodedata.category(character) not in _HARMFUL_CATEGORIES:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8, kept by the surrogateescape handler
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def shown(text: str, limit: int = 120) -> str:
    """Text from a file as it may stand in a message: harmless, and not much over ``limit`` characters."""
    return printable(text[:limit]) + ("…" if len(text) > limit else "")
