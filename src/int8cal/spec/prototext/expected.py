"""What a field of a spec takes, in words: the advice when protobuf refuses what is written there."""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from int8cal.spec.prototext.fields import is_repeated, visit_fields
from int8cal.spec.prototext.text import SpecText

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


def expected_at(text: SpecText, root: Descriptor, offset: int) -> str | None:
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
