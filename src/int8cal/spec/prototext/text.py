r"""Protobuf text, read without loss: every byte is kept, and every field and value knows where it stands.

    bytes → SpecText.from_bytes → fields with offsets → edits → SpecText → to_bytes

The grammar is that of ``google.protobuf.text_format``; types are not looked at (`load` does that). Reading
never fails: what stops the reader is kept as ``problem``, and the text around it is kept all the same.

A *field path* names a value: ``dataset_config.data_sources[0].tfrecords_path``. An index counts the values of that name
in file order, over all places where the enclosing field is written; without an index all of them are meant.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from google.protobuf import text_encoding

from int8cal.io.safe_text import printable, shown
from int8cal.spec.document import Edit

MAX_DEPTH = 64
MAX_FIELDS = 50_000  # with list elements and pieces of strings; real specs have a few hundred; bounds the memory

_BLOCK = 4096  # characters that are searched at most to tell the line of an offset
_NAME = re.compile(r"\w")
_PATH_STEP = re.compile(r"(?P<name>[^.\[\]]+)(?:\[(?P<index>\d+)\])?(?:\.|\Z)")
_TOKEN = re.compile(
    r"""(?:\s++ | \#[^\n]*+)*+
    (?: (?P<word>[a-zA-Z_][0-9a-zA-Z_+-]*+)
      | (?P<number>(?:[0-9+-]|\.[0-9])[0-9a-zA-Z_.+-]*+)
      | (?P<string>"(?:[^"\n\\]++|\\[^\n])*+["\\]?
                 | '(?:[^'\n\\]++|\\[^\n])*+['\\]?)
      | (?P<mark>.))""",
    re.VERBOSE | re.DOTALL,
)
"""A token of ``google.protobuf.text_format``. Every repetition is possessive (``*+``): nothing that was matched is
given back, so that the time is proportional to the text and the memory is not. White space and comments make no object.
"""

_SYNTAX = "A spec is protobuf text: name: value, or name { … }, with text in quotes. Is this the training spec?"
_QUOTES = "End it with the quote that it begins with; write a backslash before that quote twice."
_NO_SPEC = "No training spec is like that. Is this the right file?"
_CLOSING = {"{": "}", "<": ">"}


class Scalar(NamedTuple):
    """A value that is not a message: ``text[start:end]``, from its first token to its last (strings may be several)."""

    start: int
    end: int


class Section(NamedTuple):
    """A message value with its braces: ``text[start:end]``; the root section is the whole text."""

    start: int
    end: int
    fields: tuple[Field, ...]


class Field(NamedTuple):
    """One field as written: ``name: value``, ``name { … }`` or ``name: [value, …]``.

    Attributes:
        name: as written.
        start, end: offsets of the whole field, without a separator after it.
        separated: offset after the comma or semicolon that follows it; ``end`` when none does.
        values: one, or the elements of the list.
        listed: True for the list form.
    """

    name: str
    start: int
    end: int
    separated: int
    values: tuple[Scalar | Section, ...]
    listed: bool

    def value_start(self, value: Scalar | Section) -> int:
        """Where to point for a value: at the field's name; for an element of a list at the element itself."""
        return value.start if self.listed else self.start


class Problem(NamedTuple):
    """Why the text could not be read to its end: offset, reason, and what to do."""

    offset: int
    reason: str
    hint: str


@dataclass(frozen=True)
class SpecText:
    """A protobuf text file.

    Attributes:
        text: the characters; bytes that are not UTF-8 are kept as surrogate escapes.
        root: the top-level fields; empty when there is a ``problem``.
        problem: what stopped the reader, if anything did.
    """

    text: str
    root: Section
    problem: Problem | None = None

    @classmethod
    def from_bytes(cls, data: bytes) -> SpecText:
        """Read the content of a file. Never fails; see ``problem``."""
        return cls.from_str(data.decode("utf-8", "surrogateescape"))

    @classmethod
    def from_str(cls, text: str) -> SpecText:
        """Read text that is already decoded."""
        try:
            return cls(text, Section(0, len(text), _Reader(text).read()))
        except _Stopped as stop:
            return cls(text, Section(0, len(text), ()), stop.problem)

    def to_bytes(self) -> bytes:
        """The file content; the very bytes that were read unless edits were made."""
        return self.text.encode("utf-8", "surrogateescape")

    def __getitem__(self, part: Scalar | Section | Field) -> str:
        """The characters of a part."""
        return self.text[part.start : part.end]

    def line_column(self, offset: int) -> tuple[int, int]:
        """1-based line and column (in characters) of an offset, as text_format counts: only a line feed ends a line."""
        block = offset // _BLOCK
        lines, last_end = self._lines_before[block]
        start = block * _BLOCK
        line_end = self.text.rfind("\n", start, offset)
        column = offset - (last_end if line_end < 0 else line_end)
        return lines + self.text.count("\n", start, offset) + 1, column

    def line_at(self, offset: int) -> str:
        """The line in which an offset lies, without its line feed."""
        start = offset - self.line_column(offset)[1] + 1
        end = self.text.find("\n", offset)
        return self.text[start:] if end < 0 else self.text[start:end]

    def code_lines(self) -> Iterator[tuple[int, str]]:
        """The lines that hold more than white space and comments: offset, and the line without those at its end."""
        start, end, line_end = 0, 0, -1
        for token in _tokens(self.text):
            if line_end < token.start:
                if end:
                    yield start, self.text[start:end]
                start = self.text.rfind("\n", 0, token.start) + 1
                line_end = self.text.find("\n", token.start)
                line_end = len(self.text) if line_end < 0 else line_end
            end = token.end
        if end:
            yield start, self.text[start:end]

    def place(self, path: str, offset: int) -> str:
        """``path:line:column`` of an offset, for a message."""
        line, column = self.line_column(offset)
        return f"{printable(path)}:{line}:{column}"

    @cached_property
    def _lines_before(self) -> list[tuple[int, int]]:
        """For each block of the text: how many lines end before it, and where the last of them does."""
        found = [(0, -1)]
        for start in range(0, len(self.text), _BLOCK):
            lines, last_end = found[-1]
            line_end = self.text.rfind("\n", start, start + _BLOCK)
            ended = self.text.count("\n", start, start + _BLOCK)
            found.append((lines + ended, last_end if line_end < 0 else line_end))
        return found

    def find(self, field_path: str) -> Sequence[tuple[Field, Scalar | Section]]:
        """All values that a field path means, in file order; empty when there is none."""
        found: Sequence[tuple[Field, Scalar | Section]] = [(_WHOLE, self.root)]
        without_index: str | None = ""
        for name, index in _path_steps(field_path):
            if without_index is None:
                found = _inside(found, name)
            else:
                without_index += f".{name}"
                if without_index not in self._found:
                    self._found[without_index] = _inside(found, name)
                found = self._found[without_index]
            if index is not None:
                found, without_index = found[index : index + 1], None
        return found

    @cached_property
    def _found(self) -> dict[str, Sequence[tuple[Field, Scalar | Section]]]:
        """Values by field path without any index: whoever asks for one element of a list asks for all of them."""
        return {}

    def position(self, field_path: str) -> tuple[int, int] | None:
        """1-based (line, column) of the field's name, of the last one that counts; None when it is not there."""
        found = self.find(field_path)
        if not found:
            return None
        field, value = found[-1]
        return self.line_column(field.value_start(value))

    def string(self, value: Scalar) -> str | None:
        """The content of a string value, adjacent strings joined; None when it is not a well-formed string of UTF-8.

        Escapes may still make bytes that are not UTF-8; they come as surrogate escapes.
        """
        pieces = [token.text for token in _tokens(self.text, value.start, value.end)]
        if not pieces or not all(_is_whole_string(piece) for piece in pieces):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # an unknown escape stands for itself: C:\data
            try:
                content = b"".join(text_encoding.CUnescape(piece[1:-1]) for piece in pieces)
            except ValueError:
                return None
        return content.decode("utf-8", "surrogateescape")

    def with_edits(self, edits: Iterable[Edit]) -> SpecText:
        """The text with the changes made, everything else as it was, read again.

        Raises:
            ValueError: two edits overlap, or one lies outside the text.
        """
        pieces: list[str] = []
        done = 0
        for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
            if not done <= edit.start <= edit.end <= len(self.text):
                raise ValueError(f"edit {edit.start}..{edit.end} overlaps another or lies outside the text")
            pieces += [self.text[done : edit.start], edit.replacement]
            done = edit.end
        return SpecText.from_str("".join([*pieces, self.text[done:]]))


_WHOLE = Field("", 0, 0, 0, (), listed=False)
"""The field that the root message would be the value of."""


def _inside(found: Iterable[tuple[Field, Scalar | Section]], name: str) -> Sequence[tuple[Field, Scalar | Section]]:
    """Values of the fields of a name in those of the values that are messages."""
    messages = (value for _, value in found if isinstance(value, Section))
    fields = (field for message in messages for field in message.fields if field.name == name)
    return [(field, value) for field in fields for value in field.values]


def quote(content: str) -> str:
    """A string as protobuf text writes it, in double quotes; printable characters stay as they are."""
    if content.isprintable():
        escaped = content.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return f'"{text_encoding.CEscape(content.encode("utf-8", "surrogateescape"), as_utf8=False)}"'


class _Stopped(Exception):  # noqa: N818 - internal signal, never leaves this module
    def __init__(self, offset: int, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.problem = Problem(offset, reason, hint)


class _Reader:
    """Recursive descent over the tokens, one of look-ahead; at most `MAX_DEPTH` deep."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._end = _Token("end", "", len(text), len(text))
        self._token = next(self._tokens, self._end)
        self._parts = 0

    def read(self) -> tuple[Field, ...]:
        return self._read_fields(closing=None, depth=0)

    def _count(self) -> None:
        """One more thing that takes memory."""
        self._parts += 1
        if self._parts > MAX_FIELDS:
            raise _Stopped(self._token.start, f"more than {MAX_FIELDS} fields and values", _NO_SPEC)

    def _take(self) -> _Token:
        taken, self._token = self._token, next(self._tokens, self._end)
        return taken

    def _take_if(self, mark: str) -> bool:
        if self._token.text != mark:
            return False
        self._take()
        return True

    def _stop(self, expected: str) -> _Stopped:
        got = f"got {shown(self._token.text, 40)}" if self._token.text else "the file ends"
        return _Stopped(self._token.start, f"expected {expected}, {got}", _SYNTAX)

    def _read_fields(self, closing: _Token | None, depth: int) -> tuple[Field, ...]:
        """Fields up to the closing brace (not taken), or to the end of the text."""
        fields: list[Field] = []
        end = _CLOSING[closing.text] if closing else ""
        while self._token.text != end:
            if closing and self._token.kind == "end":
                raise _Stopped(closing.start, f"this {closing.text} is never closed", f"Add the {end} that ends it.")
            fields.append(self._read_field(depth))
        return tuple(fields)

    def _read_field(self, depth: int) -> Field:
        self._count()
        if self._token.kind == "string" or not _NAME.match(self._token.text):
            raise self._stop("a field name")
        name = self._take()
        colon = self._take_if(":")
        listed = self._token.text == "["
        values, end = self._read_list(depth) if listed else self._read_single(colon, depth)
        separated = self._take().end if self._token.text in (",", ";") else end
        return Field(name.text, name.start, end, separated, values, listed)

    def _read_single(self, colon: bool, depth: int) -> tuple[tuple[Scalar | Section, ...], int]:
        if not colon and self._token.text not in _CLOSING:
            raise self._stop('":"')
        value = self._read_value(depth)
        return (value,), value.end

    def _read_list(self, depth: int) -> tuple[tuple[Scalar | Section, ...], int]:
        self._take()
        values: list[Scalar | Section] = []
        if self._token.text != "]":
            values.append(self._read_value(depth))
            while self._take_if(","):
                self._count()
                values.append(self._read_value(depth))
        if self._token.text != "]":
            raise self._stop('"]"')
        return tuple(values), self._take().end

    def _read_value(self, depth: int) -> Scalar | Section:
        if self._token.text in _CLOSING:
            return self._read_message(depth + 1)
        if self._token.kind == "string":
            return self._read_strings()
        if self._token.kind not in ("word", "number") or self._token.text in ("-", "+"):
            raise self._stop("a value")
        token = self._take()
        return Scalar(token.start, token.end)

    def _read_message(self, depth: int) -> Section:
        if depth > MAX_DEPTH:
            raise _Stopped(self._token.start, f"nested more than {MAX_DEPTH} deep", _NO_SPEC)
        opening = self._take()
        fields = self._read_fields(opening, depth)
        return Section(opening.start, self._take().end, fields)

    def _read_strings(self) -> Scalar:
        start = self._token.start
        end = start
        while self._token.kind == "string":
            if end > start:
                self._count()
            if not _is_whole_string(self._token.text):
                raise _Stopped(self._token.start, "this string has no closing quote on its line", _QUOTES)
            end = self._take().end
        return Scalar(start, end)


def _path_steps(field_path: str) -> Iterator[tuple[str, int | None]]:
    """``a.b[2]`` → (a, None), (b, 2).

    Raises:
        ValueError: that is not a field path.
    """
    position = 0
    while position < len(field_path) or not position:
        if not (step := _PATH_STEP.match(field_path, position)):
            raise ValueError(f"no field path: {field_path!r}")
        yield step["name"], None if step["index"] is None else int(step["index"])
        position = step.end()


class _Token(NamedTuple):
    """A token: ``kind`` is ``word``, ``number``, ``string`` (perhaps not closed), ``mark`` or ``end``."""

    kind: str
    text: str
    start: int
    end: int


def _tokens(text: str, start: int = 0, end: int | None = None) -> Iterator[_Token]:
    """Tokens between two offsets; white space and comments belong to none."""
    position, end = start, len(text) if end is None else end
    while match := _TOKEN.match(text, position, end):
        kind = match.lastgroup or "mark"
        position = match.end()
        yield _Token(kind, match[kind], match.start(kind), position)


def _is_whole_string(token: str) -> bool:
    """Does a string token end with the quote that it begins with?"""
    return len(token) >= 2 and token[0] in "\"'" and token[-1] == token[0]
