"""``tf.train.Example`` without TensorFlow: the message is described here and parsed by protobuf.

The description has the field numbers and types of TensorFlow's public ``example.proto`` and ``feature.proto``; they are
all that the wire format knows. It has a descriptor pool of its own, so that it never meets TensorFlow's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from int8cal.errors import RecordError
from int8cal.text_safety import printable
from int8cal.types import Message

_PACKAGE = "int8cal.record"
_Field = descriptor_pb2.FieldDescriptorProto


def _field(name: str, number: int, kind: int, *, repeated: bool = False, of: str = "") -> descriptor_pb2.FieldDescriptorProto:
    label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    type_name = f".{_PACKAGE}.{of}" if of else None
    return _Field(name=name, number=number, type=_Field.Type.ValueType(kind), label=label, type_name=type_name)


def _build_example_class() -> type[Message]:
    file = descriptor_pb2.FileDescriptorProto(name="int8cal/record.proto", package=_PACKAGE, syntax="proto3")
    for name, kind in (("BytesList", _Field.TYPE_BYTES), ("FloatList", _Field.TYPE_FLOAT), ("Int64List", _Field.TYPE_INT64)):
        file.message_type.add(name=name).field.append(_field("value", 1, kind, repeated=True))

    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, of in enumerate(("BytesList", "FloatList", "Int64List"), start=1):
        member = _field(of.replace("List", "_list").lower(), number, _Field.TYPE_MESSAGE, of=of)
        member.oneof_index = 0
        feature.field.append(member)

    features = file.message_type.add(name="Features")
    features.field.append(_field("feature", 1, _Field.TYPE_MESSAGE, repeated=True, of="Features.FeatureEntry"))
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.append(_field("key", 1, _Field.TYPE_STRING))
    entry.field.append(_field("value", 2, _Field.TYPE_MESSAGE, of="Feature"))

    example = file.message_type.add(name="Example")
    example.field.append(_field("features", 1, _Field.TYPE_MESSAGE, of="Features"))

    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Example"))


Example = _build_example_class()
"""The message class; `parse_features` reads it, the demo's generator and the tests write it."""


def parse_features(payload: bytes, where: str) -> Mapping[str, Message]:
    """Features of one record by name.

    Args:
        payload: a serialised ``tf.train.Example``.
        where: place of the record, for the error message.

    Raises:
        RecordError: the payload is no ``tf.train.Example``.
    """
    try:
        features: Mapping[str, Message] = Example.FromString(payload).features.feature
    except DecodeError as error:
        raise RecordError("The record is no tf.train.Example.", where=where) from error
    return features


def text_feature(features: Mapping[str, Message], name: str, where: str) -> str:
    """The only value of a bytes feature, as a file name: bytes that are no UTF-8 become surrogate escapes.

    Raises:
        RecordError: the feature is absent, of another kind, or has not exactly one value.
    """
    return os.fsdecode(bytes_feature(features, name, where))


def bytes_feature(features: Mapping[str, Message], name: str, where: str) -> bytes:
    """The only value of a bytes feature.

    Raises:
        RecordError: the feature is absent, of another kind, or has not exactly one value.
    """
    values = features[name].bytes_list.value if name in features else ()
    if len(values) != 1:
        raise _unusable(features, name, "one byte string", where)
    value: bytes = values[0]
    return value


def integer_feature(features: Mapping[str, Message], name: str, where: str, *, default: int | None = None) -> int:
    """The only value of an integer feature.

    Args:
        features: features of the record.
        name: feature name.
        where: place of the record, for the error message.
        default: what an absent feature counts as; None: it must be there.

    Raises:
        RecordError: the feature is of another kind, has not exactly one value, or is absent without a default.
    """
    if default is not None and name not in features:
        return default
    values = features[name].int64_list.value if name in features else ()
    if len(values) != 1:
        raise _unusable(features, name, "one integer", where)
    return int(values[0])


def _unusable(features: Mapping[str, Message], name: str, expected: str, where: str) -> RecordError:
    if name in features:
        return RecordError(f"The record's feature {name!r} does not hold {expected}.", where=where)
    known = printable(", ".join(sorted(features))[:200]) or "none"
    return RecordError(f"The record has no feature {name!r} (it has: {known}).", where=where)
