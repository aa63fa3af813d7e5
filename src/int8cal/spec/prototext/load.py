"""A spec file → typed message: parsed as ``google.protobuf.text_format.Merge`` does, with positions in every complaint.

    file → bytes → SpecText → oddities (unknown and legacy fields) → the text without them → Merge → PrototextSpec

Fields that the definition does not know never reach Merge: they are found first, all of them, and blanked out in a copy
of the text in which every other character keeps its place.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from int8cal.errors import SpecError
from int8cal.guard.libraries import library_errors
from int8cal.io.safe_text import printable, shown
from int8cal.spec.prototext.document import PrototextSpec
from int8cal.spec.prototext.fields import is_repeated, visit_fields
from int8cal.spec.prototext.oddities import Oddity, find_oddities
from int8cal.spec.prototext.schema import COMMON_PACKAGE, new_message, schema_of
from int8cal.spec.prototext.text import SpecText
from int8cal.types import Message

_SIGNED = "a whole number"
_UNSIGNED = "a whole number, 0 or more"
_WORDS = {
    FieldDescriptor.CPPTYPE_INT32: _SIGNED,
    FieldDescriptor.CPPTYPE_INT64: _SIGNED,
    FieldDescriptor.CPPTYPE_UINT32: _UNSIGNED,
    FieldDescriptor.CPPTYPE_UINT64: _UNSIGNED,
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
    FieldDescriptor.CPPTYPE_STRING: "text in quotes",
}

_MOST_NAMED = 3  # unknown fields that one error names beside the first, and places that one warning does
_MOST_WARNINGS = 50  # kinds of oddities that have a warning each


def parse(
    text: SpecText, path: str, root: str, *, allow_unknown_fields: bool = False, strict: bool = False
) -> PrototextSpec:
    """Spec text → `PrototextSpec`.

    Args:
        text: the spec (see `SpecText.from_bytes`).
        path: where it was read from; only for messages.
        root: full name of its message, e.g. ``int8cal.detectnet_v2.Experiment`` (see `root_of_text`).
        allow_unknown_fields: unknown fields become warnings and are ignored.
        strict: legacy fields are errors.

    Raises:
        SpecError: it is not protobuf text of that message, or holds unknown fields.
    """
    require_readable(text, path)
    oddities = list(find_oddities(text, root))
    refused = [odd for odd in oddities if (strict if odd.legacy else not allow_unknown_fields)]
    if refused:
        raise _refusal(text, path, refused)
    known_text = text.with_edits(odd.patch for odd in oddities) if oddities else text
    return PrototextSpec(path, text, _merge(known_text, path, root), root, tuple(_warnings(text, path, oddities)))


def require_readable(text: SpecText, path: str) -> None:
    """Refuse what is not UTF-8 or not protobuf text.

    Raises:
        SpecError: with the place where reading stops.
    """
    if bad := re.search("[\udc80-\udcff]", text.text):
        byte = ord(bad.group()) - 0xDC00
        where = text.place(path, bad.start())
        raise SpecError(
            f"byte 0x{byte:02x} is not UTF-8 text",
            where=where,
            hint="Save the spec as UTF-8 text. Is this the right file?",
        )
    if problem := text.problem:
        hint = "Save the spec without a byte order mark." if text.text.startswith("\ufeff") else problem.hint
        raise SpecError(problem.reason, where=text.place(path, problem.offset), hint=hint)


def _warnings(text: SpecText, path: str, oddities: Iterable[Oddity]) -> Iterator[str]:
    """One line for all oddities of a kind: the first in full, the others by their places."""
    by_kind: dict[tuple[bool, str], list[Oddity]] = {}
    for odd in oddities:
        by_kind.setdefault((odd.legacy, odd.kind), []).append(odd)
    kinds = list(by_kind.values())
    for first, *others in kinds[:_MOST_WARNINGS]:
        also = ""
        if others:
            listed = ", ".join(text.place("", odd.offset)[1:] for odd in others[:_MOST_NAMED])
            more = f" and {len(others) - _MOST_NAMED:,} more places" if len(others) > _MOST_NAMED else ""
            also = f"; also at {listed}{more}"
        yield f"{text.place(path, first.offset)}: {first.warning}{also}"
    if len(kinds) > _MOST_WARNINGS:
        yield f"{printable(path)}: and {len(kinds) - _MOST_WARNINGS:,} more fields that are unknown or legacy, ignored"


def _refusal(text: SpecText, path: str, refused: Sequence[Oddity]) -> SpecError:
    """One error for all oddities that are not allowed: the first in full, the others by name and place."""
    first, others = refused[0], refused[1:]
    hint = "Take it out, or run without --strict." if first.legacy else _spelling_hint(first)
    if others:
        named = [f'"{shown(odd.name, 60)}" at {text.place("", odd.offset)[1:]}' for odd in others[:_MOST_NAMED]]
        more = f" and {len(others) - _MOST_NAMED} others" if len(others) > _MOST_NAMED else ""
        hint += f" So are: {', '.join(named)}{more}."
    return SpecError(first.reason, where=text.place(path, first.offset), hint=hint)


def _spelling_hint(odd: Oddity) -> str:
    close = odd.nearest(0.6)
    guess = f'Did you mean "{close}"?' if close else "Is this the spec of another network?"
    return f"{guess} Mend the spec, or ignore the field: --allow_unknown_fields of int8cal NETWORK and int8cal spec."


def _merge(text: SpecText, path: str, root: str) -> Message:
    """Parse with google.protobuf; its complaint becomes ours."""
    message = new_message(root)
    lines = list(text.code_lines())
    hint = "Is a number too large for its field?"  # an enum number beyond 32 bits has no ParseError
    with library_errors(SpecError, "a value cannot be stored", where=printable(path), hint=hint):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # an unknown escape stands for itself: C:\data
                text_format.MergeLines((line for _, line in lines), message)
        except text_format.ParseError as error:
            raise _merge_error(text, path, root, lines, error) from None
    return message


def _merge_error(
    text: SpecText, path: str, root: str, lines: Sequence[tuple[int, str]], error: text_format.ParseError
) -> SpecError:
    """``line:column : 'the whole line': reason`` → place and reason, with names as the .proto file has them."""
    line, column = error.GetLine(), error.GetColumn()
    if line is None or column is None:
        return SpecError(shown(str(error), 300), where=printable(path))
    start, code = lines[line - 1]
    reason = str(error).removeprefix(f"{line}:{column} : ").removeprefix(f"'{code}': ")
    for package in (schema_of(root).package, COMMON_PACKAGE):
        reason = reason.replace(f"{package}.", "")
    offset = start + column - 1
    if reason.startswith("'unicodeescape' codec"):
        reason = f"a backslash begins an escape sequence here: {reason.rpartition(': ')[2]}"
        hint: str | None = "Write / in paths, or two backslashes for one."
    else:
        hint = _expected_at(text, new_message(root).DESCRIPTOR, offset)
    return SpecError(shown(reason, 300), where=text.place(path, offset), hint=hint)


def _expected_at(text: SpecText, root: Descriptor, offset: int) -> str | None:
    """What the innermost known field around an offset takes, as a sentence; None when there is none.

    Args:
        text: the spec.
        root: definition of the message that it is.
        offset: a place in the text.
    """
    around = [visit for visit in visit_fields(text, root) if visit.field.start <= offset < visit.field.end]
    if not around or (descriptor := around[-1].descriptor) is None:
        return None
    several = " (it may be given several times)" if is_repeated(descriptor) else ""
    return f"{around[-1].path} takes {_kind(descriptor)}{several}."


def _kind(field: FieldDescriptor) -> str:
    if field.enum_type is not None:
        return f"one of {', '.join(value.name for value in field.enum_type.values)}"
    if field.message_type is not None:
        return f"a section: {field.name} {{ … }}"
    return _WORDS[field.cpp_type]
