"""A spec file → typed message: parsed as ``google.protobuf.text_format.Merge`` does, with positions in every complaint.

    file → bytes → SpecText → oddities (unknown and legacy fields) → the text without them → Merge → Spec

Fields that the definition does not know never reach Merge: they are found first, all of them, and blanked out in a copy
of the text in which every other character keeps its place. What older TAO versions wrote differently is treated so:

* a field that is gone: ignored;
* a fraction in an integer field (``dbscan_min_samples: 0.05``): the field stays unset; no pixel depends on it;
* a string where a message is now (``optimizer: "sgd"``): the message is there, and empty.
"""

from __future__ import annotations

import difflib
import errno
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format

from int8cal.errors import SpecError
from int8cal.spec.fields import Visit, visit_fields
from int8cal.spec.schema import LegacyFields, Schema, new_message, schema_of, short_name
from int8cal.spec.spec import Spec
from int8cal.spec.text import Edit, Field, Message, Scalar, SpecText, printable
from int8cal.types import Message as ProtoMessage

MAX_BYTES = 16 * 1024 * 1024
_MOST_NAMED = 3  # unknown fields that one error names beside the first

_FRACTION = re.compile(r"[+-]?[0-9.][0-9.eE+-]*f?")


def load(path: str, root: str, *, allow_unknown_fields: bool = False, strict: bool = False) -> Spec:
    """Read a spec file.

    Args:
        path: the file.
        root: full name of its message, e.g. ``int8cal.detectnet_v2.Experiment`` (see `int8cal.spec.find.find_root`).
        allow_unknown_fields: unknown fields become warnings and are ignored.
        strict: legacy fields are errors.

    Raises:
        SpecError: the file cannot be read, is no protobuf text of that message, or holds unknown fields.
    """
    return parse(read_text(path), path, root, allow_unknown_fields=allow_unknown_fields, strict=strict)


def read_text(path: str) -> SpecText:
    """Read a spec file as text, at most `MAX_BYTES` of it.

    Raises:
        SpecError: the file is not there, cannot be read or is too large.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable(path, error) from None
    if len(data) > MAX_BYTES:
        raise SpecError(
            f"the file is larger than {MAX_BYTES // 1024 // 1024} MB, which no spec is",
            where=printable(path),
            hint="Is this the spec file? Give the text file with the training configuration.",
        )
    return SpecText.from_bytes(data)


def parse(text: SpecText, path: str, root: str, *, allow_unknown_fields: bool = False, strict: bool = False) -> Spec:
    """Spec text → `Spec`; ``path`` is only for messages. See `load`."""
    reader = _SpecParser(text, printable(path, 500), root)
    reader.require_readable()
    oddities = list(_find_oddities(text, reader.schema, root))
    refused = [odd for odd in oddities if (strict if odd.legacy else not allow_unknown_fields)]
    if refused:
        raise reader.refusal(refused)
    message = reader.merge(text.with_edits(odd.patch for odd in oddities) if oddities else text)
    return Spec(path, text, message, root, tuple(f"{reader.where(odd.offset)}: {odd.warning}" for odd in oddities))


@dataclass(frozen=True, slots=True)
class _Oddity:
    """A field that the definition does not know, or not in this form.

    Attributes:
        offset: where to point.
        reason: what is odd, naming the field.
        legacy: True when older TAO versions wrote it so.
        patch: same-length change of the text that takes it out of Merge's sight.
        name: the field's name.
        known: names that the enclosing message knows.
    """

    offset: int
    reason: str
    legacy: bool
    patch: Edit
    name: str
    known: tuple[str, ...] = ()

    @property
    def warning(self) -> str:
        return self.reason if self.legacy else f"{self.reason}, ignored"


def _find_oddities(text: SpecText, schema: Schema, root: str) -> Iterator[_Oddity]:
    for visit in visit_fields(text, new_message(root).DESCRIPTOR):
        if visit.descriptor is None:
            yield from _unknown_field(text, visit, schema)
        elif isinstance(visit.value, Scalar):
            yield from _legacy_value(text, visit, visit.value, schema)


def _unknown_field(text: SpecText, visit: Visit, schema: Schema) -> Iterator[_Oddity]:
    message = short_name(visit.parent.full_name, schema)
    patch = _blank(text, visit.field.start, _end_with_separator(text, visit.field))
    legacy = schema.legacy_fields.get(message, {})
    if visit.field.name not in legacy:
        place = f"in {visit.path.rpartition('.')[0]}" if "." in visit.path else "at the top level"
        reason = f'unknown field "{printable(visit.field.name, 60)}" {place}'
        known = tuple(field.name for field in visit.parent.fields)
        yield _Oddity(visit.field.start, reason, legacy=False, patch=patch, name=visit.field.name, known=known)
        return
    reason = f'legacy field "{visit.path}" of older TAO versions, ignored'
    yield _Oddity(visit.field.start, reason, legacy=True, patch=patch, name=visit.field.name)
    yield from _unknown_in_legacy(visit.field, visit.path, legacy[visit.field.name])


def _unknown_in_legacy(field: Field, path: str, legacy: LegacyFields) -> Iterator[_Oddity]:
    """Fields inside a legacy message that are no legacy fields; the message itself is blanked out already."""
    for inner in (inner for value in field.values if isinstance(value, Message) for inner in value.fields):
        if inner.name in legacy:
            yield from _unknown_in_legacy(inner, f"{path}.{inner.name}", legacy[inner.name])
        else:
            reason = f'unknown field "{printable(inner.name, 60)}" in {path}'
            nothing = Edit(field.start, field.start, "")
            yield _Oddity(inner.start, reason, legacy=False, patch=nothing, name=inner.name, known=tuple(legacy))


def _legacy_value(text: SpecText, visit: Visit, value: Scalar, schema: Schema) -> Iterator[_Oddity]:
    name = f"{short_name(visit.parent.full_name, schema)}.{visit.field.name}"
    written = text[value]
    if visit.field.listed:
        return
    if name in schema.fraction_for_integer and _is_fraction(written):
        reason = f"legacy value {printable(written, 40)} of the integer field {visit.path}, ignored"
        patch = _blank(text, visit.field.start, _end_with_separator(text, visit.field))
    elif name in schema.text_for_message and text.string(value) is not None:
        reason = f"legacy text {printable(written, 40)} for the message {visit.path}, read as an empty message"
        patch = Edit(value.start, value.end, "{}" + _blank(text, value.start + 2, value.end).replacement)
    else:
        return
    yield _Oddity(visit.field.start, reason, legacy=True, patch=patch, name=visit.field.name)


def _is_fraction(written: str) -> bool:
    """A decimal number that protobuf takes for a float but not for an integer."""
    return bool(_FRACTION.fullmatch(written)) and not written.lstrip("+-").isdigit()


def _blank(text: SpecText, start: int, end: int) -> Edit:
    """Spaces over a part of the text; line ends stay, so that every other position does."""
    return Edit(start, end, re.sub(r"[^\n]", " ", text.text[start:end]))


def _end_with_separator(text: SpecText, field: Field) -> int:
    """End of a field with the comma or semicolon that may follow it."""
    separator = re.compile(r"(?:\s|#[^\n]*)*[,;]").match(text.text, field.end)
    return separator.end() if separator else field.end


class _SpecParser:
    """Turns findings in one spec text into errors with their place."""

    def __init__(self, text: SpecText, path: str, root: str) -> None:
        self.text = text
        self.path = path
        self.root = root
        self.schema = schema_of(root)

    def where(self, offset: int) -> str:
        line, column = self.text.line_column(offset)
        return f"{self.path}:{line}:{column}"

    def require_readable(self) -> None:
        """Refuse what is no UTF-8 or no protobuf text."""
        if bad := re.search("[\udc80-\udcff]", self.text.text):
            byte = ord(bad.group()) - 0xDC00
            raise SpecError(
                f"byte 0x{byte:02x} is no UTF-8 text", where=self.where(bad.start()), hint="Save the spec as UTF-8."
            )
        if problem := self.text.problem:
            raise SpecError(problem.reason, where=self.where(problem.offset), hint=_syntax_hint(self.text.text))

    def refusal(self, refused: Sequence[_Oddity]) -> SpecError:
        first, others = refused[0], refused[1:]
        return SpecError(first.reason, where=self.where(first.offset), hint=self._refusal_hint(first, others))

    def _refusal_hint(self, first: _Oddity, others: Sequence[_Oddity]) -> str:
        hint = "Take it out, or run without --strict." if first.legacy else _spelling_hint(first)
        if not others:
            return hint
        named = ", ".join(f'"{printable(odd.name, 60)}" at {self._line_column(odd)}' for odd in others[:_MOST_NAMED])
        more = f" and {len(others) - _MOST_NAMED} others" if len(others) > _MOST_NAMED else ""
        return f"{hint} So are: {named}{more}."

    def _line_column(self, odd: _Oddity) -> str:
        line, column = self.text.line_column(odd.offset)
        return f"{line}:{column}"

    def merge(self, text: SpecText) -> ProtoMessage:
        """Parse with google.protobuf; its complaint becomes ours."""
        message = new_message(self.root)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # an unknown escape stands for itself: C:\data
                text_format.Merge(text.text, message)
        except text_format.ParseError as error:
            raise self._merge_error(error) from None
        except (ValueError, TypeError, OverflowError) as error:  # an enum number beyond 32 bits has no ParseError
            raise SpecError(f"a value cannot be stored: {printable(str(error))}", where=self.path) from None
        return message

    def _merge_error(self, error: text_format.ParseError) -> SpecError:
        line, column = error.GetLine(), error.GetColumn()
        if line is None:
            return SpecError(printable(str(error)), where=self.path)
        reason = str(error).removeprefix(f"{line}:{column} : ")
        reason = reason.removeprefix(f"'{self.text.text.split(chr(10))[line - 1]}': ")
        reason = reason.replace(f"{self.schema.package}.", "").replace("int8cal.common.", "")
        return SpecError(printable(reason, 300), where=f"{self.path}:{line}:{column}")


def _spelling_hint(odd: _Oddity) -> str:
    close = difflib.get_close_matches(odd.name, odd.known, n=1, cutoff=0.6)
    guess = f'Did you mean "{close[0]}"?' if close else "Is this the spec of another network?"
    return f"{guess} --allow_unknown_fields ignores it."


def _syntax_hint(text: str) -> str | None:
    if text.startswith("\ufeff"):
        return "Save the spec without a byte order mark."
    return None


def _unreadable(path: str, error: OSError | ValueError) -> SpecError:
    reasons = {
        errno.ENOENT: "there is no such spec file",
        errno.EISDIR: "this is a folder, not a spec file",
        errno.EACCES: "no permission to read the spec file",
    }
    code = error.errno if isinstance(error, OSError) else None
    reason = reasons.get(code or 0) or f"the spec file cannot be read ({getattr(error, 'strerror', None) or error})"
    return SpecError(reason, where=printable(path, 500), hint="Check the path of the experiment spec.")
