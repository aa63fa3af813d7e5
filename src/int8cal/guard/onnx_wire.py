"""A look at the protobuf wire format of an ONNX file before any of it is parsed.

A few bytes of hostile protobuf can stand for thousands of objects: an empty node takes two bytes in the file and a
hundred or more in memory, a packed zero one byte and 28. The walk below follows the same schema as the parser, but only
counts. Nothing but the values of tensors may be large, and they only as large as the tensor's shape says.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from int8cal.errors import UseError

MAX_FIELDS = 300_000  # a ResNet-50 has 6 thousand, a large vision transformer 0.1 million
MAX_NODES = 30_000  # large vision models have some thousands; every one of them costs checks, copies and a session
MAX_DEPTH = 40  # messages inside messages; a plain graph has 6, each If or Loop adds 3
MAX_RANK = 64  # dimensions of a tensor; NumPy's own limit, and no real tensor has more than 8
MAX_NUMBERS = 1_000_000  # integers of variable length: shapes, attributes, values that are not stored as raw bytes
MAX_OTHER_BYTES = 32 << 20  # names, texts and attributes

NO_MODEL_HINT = "Give the path of a float model in ONNX; one that was cut off must be copied or exported again."

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MORE = 0x80  # the bit of a byte behind which a number goes on
_MAX_VARINT_BYTES = 10
_BLOCK_BYTES = 1 << 20
_MAX_VALUE_BYTES = 16  # a complex128
_TENSOR, _SHAPE, _NODE = "onnx.TensorProto", "onnx.TensorShapeProto", "onnx.NodeProto"
_DIMS, _RAW_DATA = 1, 9
_FIELDS_OF_DIM = 3  # the dimension itself, its value or name, and its meaning
_TOO_MANY_DIMENSIONS = f"has a tensor of more than {MAX_RANK} dimensions, which no real model has"


def check_wire(data: mmap.mmap, descriptor: Any, path: str) -> None:
    """Make sure that the bytes are one well-formed message of bearable size once it is parsed.

    Args:
        data: the whole file.
        descriptor: protobuf descriptor of the message that the file should hold.
        path: for error messages.

    Raises:
        UseError: the bytes are no such message, hold too many or too deeply nested fields, or much that is not the
            values of a tensor of that size.
    """
    walk = _Walk(data)
    try:
        walk.message(0, len(data), descriptor, MAX_DEPTH)
    except (_MalformedError, IndexError, UnicodeDecodeError):
        raise UseError("is not an ONNX model, or is damaged", where=path, hint=NO_MODEL_HINT) from None
    except _TooMuchError as error:
        raise UseError(str(error), where=path, hint="Export the float model to ONNX again.") from None


class _TooMuchError(Exception):
    """More of something than any real model has."""


class _MalformedError(Exception):
    """The bytes break the wire format."""


class _Walk:
    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.fields_left = MAX_FIELDS
        self.nodes_left = MAX_NODES
        self.numbers_left = MAX_NUMBERS
        self.other_bytes_left = MAX_OTHER_BYTES
        self._known: dict[str, _Message] = {}

    def message(self, start: int, end: int, descriptor: Any, depth: int) -> None:
        """Walk the fields of one message."""
        if depth == 0:
            raise _MalformedError
        what = self._known.get(descriptor.full_name) or self._learn(descriptor)
        tensor = _Tensor() if what.is_tensor else None
        self.nodes_left -= what.is_node
        if self.nodes_left < 0:
            raise _TooMuchError(f"has more than {MAX_NODES} nodes, which no real model has")
        before, data, position = self.fields_left, self.data, start
        while position < end:
            self.fields_left -= 1
            if self.fields_left < 0:
                raise _TooMuchError(f"is built of more than {MAX_FIELDS} fields, which no real model is")
            tag = data[position]
            position += 1
            if tag >= _MORE:
                tag, position = self._varint(position - 1)
            field, kind = tag >> 3, tag & 7
            if field == 0:
                raise _MalformedError
            if kind == _BYTES:
                size = data[position]
                position += 1
                if size >= _MORE:
                    size, position = self._varint(position - 1)
                if size > end - position:
                    raise _MalformedError
                self._content(position, position + size, what.fields.get(field, _UNKNOWN), depth, tensor)
                position += size
            elif kind == _VARINT:
                value, position = self._varint(position)
                if tensor and field == _DIMS:
                    tensor.dims.append(value)
            elif kind in (_FIXED32, _FIXED64):
                position += 4 if kind == _FIXED32 else 8
            else:
                raise _MalformedError
        if position > end:
            raise _MalformedError
        if tensor:
            tensor.check()
        elif what.is_shape and before - self.fields_left > MAX_RANK * _FIELDS_OF_DIM:
            raise _TooMuchError(_TOO_MANY_DIMENSIONS)

    def _varint(self, position: int) -> tuple[int, int]:
        value = self.data[position]
        position += 1
        if value < 0x80:
            return value, position
        value &= 0x7F
        for shift in range(7, 7 * _MAX_VARINT_BYTES, 7):
            byte = self.data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
        raise _MalformedError

    def _content(self, start: int, end: int, field: _Field, depth: int, tensor: _Tensor | None) -> None:
        """What a field of known length holds: a message to walk, text to check, numbers or bytes to count."""
        if field.holds == "message":
            self.message(start, end, field.descriptor, depth - 1)
        elif field.holds == "numbers":
            self._count_numbers(start, end)
            if tensor and field.number == _DIMS:
                tensor.dims += self._varints(start, end)
        elif field.holds == "values" and tensor:
            tensor.value_bytes += end - start
        elif start < end:
            self._count_other(end - start)
            if field.holds == "text":
                self.data[start:end].decode("utf-8")  # the parser would hand out bytes where everybody expects text

    def _count_other(self, size: int) -> None:
        self.other_bytes_left -= size
        if self.other_bytes_left < 0:
            raise _TooMuchError(f"has more than {MAX_OTHER_BYTES >> 20} MiB besides the values of its tensors")

    def _count_numbers(self, start: int, end: int) -> None:
        """Every number ends with a byte below 0x80, and is no longer than ten bytes."""
        if end - start <= self.numbers_left * _MAX_VARINT_BYTES:
            for block in range(start, end, _BLOCK_BYTES):
                values = np.frombuffer(self.data[block : min(block + _BLOCK_BYTES, end)], np.uint8)
                self.numbers_left -= int(np.count_nonzero(values < 0x80))
        else:
            self.numbers_left = -1
        if self.numbers_left < 0:
            raise _TooMuchError(f"holds more than {MAX_NUMBERS} integers besides raw data: save it with raw data")

    def _varints(self, start: int, end: int) -> list[int]:
        if end - start > MAX_RANK * _MAX_VARINT_BYTES:
            raise _TooMuchError(_TOO_MANY_DIMENSIONS)
        found = []
        while start < end:
            value, start = self._varint(start)
            found.append(value)
        return found

    def _learn(self, descriptor: Any) -> _Message:
        name = descriptor.full_name
        fields = {field.number: _field(field, is_tensor=name == _TENSOR) for field in descriptor.fields}
        self._known[name] = _Message(fields, name == _TENSOR, name == _SHAPE, name == _NODE)
        return self._known[name]


@dataclass(frozen=True, slots=True)
class _Field:
    """What the schema says of a field of known length."""

    number: int
    holds: str
    descriptor: Any = None


_UNKNOWN = _Field(0, "bytes")


@dataclass(frozen=True, slots=True)
class _Message:
    """What the schema says of a message."""

    fields: Mapping[int, _Field]
    is_tensor: bool
    is_shape: bool
    is_node: bool


def _field(field: Any, *, is_tensor: bool) -> _Field:
    if field.message_type:
        return _Field(field.number, "message", field.message_type)
    if field.type == field.TYPE_STRING:
        return _Field(field.number, "text")
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE) or (is_tensor and field.number == _RAW_DATA):
        return _Field(field.number, "values")
    return _Field(field.number, "bytes" if field.type == field.TYPE_BYTES else "numbers")


class _Tensor:
    """What is gathered of one tensor while its fields are walked."""

    def __init__(self) -> None:
        self.dims: list[int] = []
        self.value_bytes = 0

    def check(self) -> None:
        if len(self.dims) > MAX_RANK:
            raise _TooMuchError(_TOO_MANY_DIMENSIONS)
        if self.value_bytes > prod(self.dims) * _MAX_VALUE_BYTES:
            raise _TooMuchError("has a tensor with more values than its shape has room for")
