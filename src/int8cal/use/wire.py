"""A look at the protobuf wire format of an ONNX file before any of it is parsed.

A few bytes of hostile protobuf can stand for thousands of objects: an empty node takes two bytes in the file and a
hundred or more in memory. The walk below follows the same schema as the parser, but only counts.
"""

from __future__ import annotations

import mmap
from typing import Any

from int8cal.errors import UseError

MAX_FIELDS = 500_000  # a ResNet-50 has 6 thousand, a large vision transformer 0.1 million
MAX_DEPTH = 40  # messages inside messages; a plain graph has 6, each If or Loop adds 3

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def check_wire(data: mmap.mmap, descriptor: Any, path: str) -> None:
    """Make sure that the bytes are one well-formed message with a bearable number of fields.

    Args:
        data: the whole file.
        descriptor: protobuf descriptor of the message that the file should hold.
        path: for error messages.

    Raises:
        UseError: the bytes are no such message, or hold too many or too deeply nested fields.
    """
    walk = _Walk(data)
    try:
        walk.message(0, len(data), descriptor, MAX_DEPTH)
    except (_MalformedError, IndexError, UnicodeDecodeError):
        raise UseError("is not an ONNX model, or is damaged", where=path) from None
    if walk.fields_left < 0:
        raise UseError(f"is built of more than {MAX_FIELDS} fields, which no real model is", where=path)


class _MalformedError(Exception):
    """The bytes break the wire format."""


class _Walk:
    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.fields_left = MAX_FIELDS
        self._fields: dict[str, dict[int, Any]] = {}

    def message(self, start: int, end: int, descriptor: Any, depth: int) -> None:
        """Walk the fields of one message; stops early once too many were seen."""
        if depth == 0:
            raise _MalformedError
        fields = self._fields_of(descriptor)
        position = start
        while position < end and self.fields_left >= 0:
            self.fields_left -= 1
            tag, position = self._varint(position)
            field, kind = tag >> 3, tag & 7
            if field == 0:
                raise _MalformedError
            if kind == _VARINT:
                _, position = self._varint(position)
            elif kind == _BYTES:
                size, position = self._varint(position)
                if size > end - position:
                    raise _MalformedError
                self._content(position, position + size, fields.get(field), depth)
                position += size
            elif kind in (_FIXED32, _FIXED64):
                position += 4 if kind == _FIXED32 else 8
            else:
                raise _MalformedError
        if position > end:
            raise _MalformedError

    def _varint(self, position: int) -> tuple[int, int]:
        value = self.data[position]
        position += 1
        if value < 0x80:
            return value, position
        value &= 0x7F
        for shift in range(7, 70, 7):
            byte = self.data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
        raise _MalformedError

    def _content(self, start: int, end: int, field: Any, depth: int) -> None:
        """What a field of known length holds: a message to walk, text to check, or bytes to pass over."""
        if field is None:
            return
        if field.message_type:
            self.message(start, end, field.message_type, depth - 1)
        elif field.type == field.TYPE_STRING and start < end:
            self.data[start:end].decode("utf-8")  # the parser would hand out bytes where everybody expects text

    def _fields_of(self, descriptor: Any) -> dict[int, Any]:
        """Field number → descriptor of the fields that are looked into."""
        found = self._fields.get(descriptor.full_name)
        if found is None:
            looked_into = (
                field for field in descriptor.fields if field.message_type or field.type == field.TYPE_STRING
            )
            found = {field.number: field for field in looked_into}
            self._fields[descriptor.full_name] = found
        return found
