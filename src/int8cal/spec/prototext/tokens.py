r"""Protobuf text → tokens, as ``google.protobuf.text_format`` divides it.

Every repetition in the pattern is possessive (``*+``): nothing that was matched is ever given back, so that the time is
proportional to the text and the memory is not, whatever the text holds. White space and comments make no object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?:\s++ | \#[^\n]*+)*+
    (?: (?P<word>[a-zA-Z_][0-9a-zA-Z_+-]*+)
      | (?P<number>(?:[0-9+-]|\.[0-9])[0-9a-zA-Z_.+-]*+)
      | (?P<string>"(?:[^"\n\\]++|\\[^\n])*+["\\]?
                 | '(?:[^'\n\\]++|\\[^\n])*+['\\]?)
      | (?P<mark>.))""",
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A token: ``kind`` is ``word``, ``number``, ``string`` (perhaps not closed), ``mark`` or ``end``."""

    kind: str
    text: str
    start: int
    end: int


def tokens(text: str, start: int = 0, end: int | None = None) -> Iterator[Token]:
    """Tokens between two offsets; white space and comments belong to none."""
    position, end = start, len(text) if end is None else end
    while match := _TOKEN.match(text, position, end):
        kind = match.lastgroup or "mark"
        position = match.end()
        yield Token(kind, match[kind], match.start(kind), position)


def is_whole_string(token: str) -> bool:
    """Does a string token end with the quote that it begins with?"""
    return len(token) >= 2 and token[0] in "\"'" and token[-1] == token[0]
