"""What a spec holds that its message definition does not: unknown fields, and what older TAO versions wrote.

What older versions wrote differently is treated so:

* a field that is gone: ignored;
* a fraction in an integer field (``dbscan_min_samples: 0.05``): the field stays unset; no pixel depends on it;
* a string where a message is now (``optimizer: "sgd"``): the message is there, and empty.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor

from int8cal.io.safe_text import shown
from int8cal.spec.document import Edit
from int8cal.spec.prototext.fields import Visit, visit_fields
from int8cal.spec.prototext.schema import LegacyFields, Schema, new_message, schema_of, short_name
from int8cal.spec.prototext.text import Field, Scalar, Section, SpecText

_FRACTION = re.compile(r"[+-]?[0-9.][0-9.eE+-]*f?")


_LONGEST_NAME = 100  # characters of a name that can be a misspelt one


class Oddity(NamedTuple):
    """A field that the definition does not know, or not in this form.

    Attributes:
        offset: where to point.
        reason: what is odd, naming the field.
        legacy: True when older TAO versions wrote it so.
        patch: same-length change of the text that takes it out of Merge's sight.
        name: the field's name.
        kind: equal for fields that are odd in the same way: the path without indices.
        known: names that the enclosing message knows; empty for legacy.
        top_level: True outside any message.
    """

    offset: int
    reason: str
    legacy: bool
    patch: Edit
    name: str
    kind: str
    known: tuple[str, ...] = ()
    top_level: bool = False

    def nearest(self, similarity: float) -> str | None:
        """The known name that is meant, if one is so similar (0…1)."""
        if len(self.name) > _LONGEST_NAME:
            return None
        return next(iter(difflib.get_close_matches(self.name, self.known, 1, similarity)), None)

    @property
    def warning(self) -> str:
        """The reason, and what was done about it."""
        return self.reason if self.legacy else f"{self.reason}, ignored"


def find_oddities(text: SpecText, root: str) -> Iterator[Oddity]:
    """All oddities in file order.

    Args:
        text: the spec.
        root: full name of the message that it is.
    """
    schema = schema_of(root)
    for visit in visit_fields(text, new_message(root).DESCRIPTOR):
        if visit.descriptor is None:
            yield from _unknown_field(text, visit, schema)
        elif isinstance(visit.value, Scalar):
            yield from _legacy_value(text, visit, visit.value, schema)


def _unknown_field(text: SpecText, visit: Visit, schema: Schema) -> Iterator[Oddity]:
    message = short_name(visit.parent.full_name, schema)
    patch = _blank(text, visit.field.start, visit.field.separated)
    legacy = schema.legacy_fields.get(message, {})
    if visit.field.name not in legacy:
        place = f"in {visit.path.rpartition('.')[0]}" if "." in visit.path else "at the top level"
        reason = f'unknown field "{shown(visit.field.name, 60)}" {place}'
        known = _field_names(visit.parent)
        top = "." not in visit.path
        yield Oddity(visit.field.start, reason, False, patch, visit.field.name, visit.pattern, known, top)
        return
    reason = f'legacy field "{visit.path}" of older TAO versions, ignored'
    yield Oddity(visit.field.start, reason, legacy=True, patch=patch, name=visit.field.name, kind=visit.pattern)
    yield from _unknown_in_legacy(visit.field, visit.path, legacy[visit.field.name])


@cache
def _field_names(message: Descriptor) -> tuple[str, ...]:
    return tuple(field.name for field in message.fields)


def _unknown_in_legacy(field: Field, path: str, legacy: LegacyFields) -> Iterator[Oddity]:
    """Fields inside a legacy message that are not legacy fields; the message itself is blanked out already."""
    for inner in (inner for value in field.values if isinstance(value, Section) for inner in value.fields):
        if inner.name in legacy:
            yield from _unknown_in_legacy(inner, f"{path}.{inner.name}", legacy[inner.name])
        else:
            reason = f'unknown field "{shown(inner.name, 60)}" in {path}'
            nothing = Edit(field.start, field.start, "")
            kind = f"{path}.{inner.name}"
            yield Oddity(
                inner.start, reason, legacy=False, patch=nothing, name=inner.name, kind=kind, known=tuple(legacy)
            )


def _legacy_value(text: SpecText, visit: Visit, value: Scalar, schema: Schema) -> Iterator[Oddity]:
    name = f"{short_name(visit.parent.full_name, schema)}.{visit.field.name}"
    written = text[value]
    if visit.field.listed:
        return
    if name in schema.fraction_for_integer and _is_fraction(written):
        reason = f"legacy value {shown(written, 40)} of the integer field {visit.path}, ignored"
        patch = _blank(text, visit.field.start, visit.field.separated)
    elif name in schema.text_for_message and text.string(value) is not None:
        reason = f"legacy text {shown(written, 40)} for the message {visit.path}, read as an empty message"
        patch = Edit(value.start, value.end, "{}" + _blank(text, value.start + 2, value.end).replacement)
    else:
        return
    yield Oddity(visit.field.start, reason, legacy=True, patch=patch, name=visit.field.name, kind=visit.pattern)


def _is_fraction(written: str) -> bool:
    """A decimal number that protobuf takes for a float but not for an integer."""
    return bool(_FRACTION.fullmatch(written)) and not written.lstrip("+-").isdigit()


def _blank(text: SpecText, start: int, end: int) -> Edit:
    """Spaces over a part of the text; line ends stay, so that every other position does."""
    return Edit(start, end, re.sub(r"[^\n]", " ", text.text[start:end]))
