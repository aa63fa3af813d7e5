"""``tf.train.Example`` without TensorFlow: reading the features of a record."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from google.protobuf.message import DecodeError

from int8cal.errors import RecordError
from int8cal.io.protos import message_class
from int8cal.io.safe_text import printable
from int8cal.samples.schema import EXAMPLE
from int8cal.samples.tfrecord import CONVERT_AGAIN
from int8cal.types import Message

Example = message_class(EXAMPLE)
"""The message class, for those who write records."""

FRAME_ID = "frame/id"
"""Feature that names the image of a record."""

MAX_FRAME_ID_BYTES = 4096
"""Longest name of an image, that of the longest path: tables of samples are as wide as the longest of their names."""


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
        raise RecordError("The record is no tf.train.Example.", where=where, hint=CONVERT_AGAIN) from error
    return features


def frame_id(features: Mapping[str, Message], where: str) -> str:
    """Name of a record's image, as a file name: bytes that are no UTF-8 become surrogate escapes.

    Raises:
        RecordError: the feature is absent, of another kind, has not exactly one value, or is no possible file name.
    """
    name = bytes_feature(features, FRAME_ID, where)
    if len(name) > MAX_FRAME_ID_BYTES:
        raise RecordError(
            f"The record's {FRAME_ID} has {len(name)} bytes; at most {MAX_FRAME_ID_BYTES} can be a path.",
            where=where,
            hint=CONVERT_AGAIN,
        )
    return os.fsdecode(name)


def bytes_feature(features: Mapping[str, Message], name: str, where: str) -> bytes:
    """The only value of a bytes feature.

    Raises:
        RecordError: the feature is absent, of another kind, or has not exactly one value.
    """
    values: Sequence[bytes] = features[name].bytes_list.value if name in features else ()
    if len(values) != 1:
        raise _unusable(features, name, "one byte string", where)
    return values[0]


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
    values: Sequence[int] = features[name].int64_list.value if name in features else ()
    if len(values) != 1:
        raise _unusable(features, name, "one integer", where)
    return values[0]


def _unusable(features: Mapping[str, Message], name: str, expected: str, where: str) -> RecordError:
    if name in features:
        return RecordError(f"The record's feature {name!r} does not hold {expected}.", where=where, hint=CONVERT_AGAIN)
    known = printable(", ".join(sorted(features))[:200]) or "none"
    return RecordError(f"The record has no feature {name!r} (it has: {known}).", where=where, hint=CONVERT_AGAIN)
