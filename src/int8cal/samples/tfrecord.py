"""TFRecords without TensorFlow: framing by offset, both checksums verified, and the features of a record.

Nothing is read on the word of a damaged length.

A file is a sequence of records (TensorFlow, ``tensorflow/core/lib/io/record_writer.h``), all numbers little-endian::

    uint64  length
    uint32  masked CRC-32C of the 8 length bytes
    byte    payload[length]
    uint32  masked CRC-32C of the payload

    masked(c) = ((c >> 15 | c << 17) + 0xa282ead8) mod 2^32
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import BinaryIO, NamedTuple, TypeVar

import google_crc32c

from int8cal.errors import RecordError
from int8cal.guard.libraries import library_errors
from int8cal.io.file_kinds import mistaken_for_data
from int8cal.io.lacks import raise_if_lacking
from int8cal.io.protos import message_class
from int8cal.io.safe_text import printable
from int8cal.io.threads import map_on_threads
from int8cal.samples.paths import open_data_file, path_text
from int8cal.samples.schema import EXAMPLE
from int8cal.types import Message

MAX_LABEL_RECORD_BYTES = 1 << 24
"""Largest payload of a record that names its image (16 MiB; usual are 1 KiB). Parsed, it can take eight times that."""

MAX_ENCODED_BYTES = 1 << 28
"""Largest image file that is read (256 MiB): more than the pixels of the largest image that is decoded, as they are."""

MAX_IMAGE_RECORD_BYTES = MAX_ENCODED_BYTES + MAX_LABEL_RECORD_BYTES
"""Largest payload of a record that holds its image."""

Example = message_class(EXAMPLE)
"""The message class, for those who write records."""

OBJECT_DETECTION_API = "image/encoded"
"""A feature of records that other tools write."""

FRAME_ID = "frame/id"
"""Feature that names the image of a record."""

_MAX_FIELDS = 4096
_FEW_BYTES = 1 << 16
"""Of a record that cannot have so many features that it matters."""
MAX_FRAME_ID_BYTES = 4096
"""Longest name of an image, that of the longest path: tables of samples are as wide as the longest of their names."""

CONVERT_AGAIN = "Make the TFRecords again with dataset_convert."
"""What to do about a record that is not what it should be."""

_FIND_RECORDS = "tfrecords_path must match TFRecord files and nothing else; all files of a folder are FOLDER/*."
_BUFFER_BYTES = 1 << 17
_BEGINNING = 64
_HEADER = struct.Struct("<QI")
_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8


_T = TypeVar("_T")


class Record(NamedTuple):
    """One record.

    Attributes:
        offset: byte offset of its framing in the file.
        crc: masked CRC-32C of the payload, as stored (and verified).
        payload: the record's bytes.
    """

    offset: int
    crc: int
    payload: bytes


def iterate_records(path: str, *, largest: int = MAX_LABEL_RECORD_BYTES) -> Iterator[Record]:
    """Records of a file in file order, one at a time.

    Args:
        path: the file.
        largest: bytes of payload that a record may have.

    Raises:
        MissingDataError: the file is not there.
        RecordError: it is not a regular file, cannot be read, is cut off, a checksum is wrong, or a record is
            larger than allowed.
    """
    with _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        offset = 0
        while offset < size:
            record = _read(file, path, offset, size, largest)
            yield record
            offset += _HEADER.size + len(record.payload) + _CRC.size


def read_record(path: str, offset: int) -> Record:
    """The record whose framing begins at a byte offset.

    Raises:
        MissingDataError: the file is not there.
        RecordError: as for `iterate_records`, or no record begins there.
    """
    with _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(offset)
        return _read(file, path, offset, size, MAX_IMAGE_RECORD_BYTES)


def side_by_side(read: Callable[[str], _T], paths: Sequence[str], *, at_once: int = 8) -> list[_T]:
    """What ``read`` gives for each file, in order; several are read at once, for on a network mount each one waits."""
    if len(paths) < 2:
        return list(map(read, paths))
    return list(map_on_threads(read, paths, at_once))


def frame_record(payload: bytes) -> bytes:
    """A payload in its framing, ready to be appended to a TFRecord file."""
    length = _LENGTH.pack(len(payload))
    return length + _CRC.pack(_masked_crc(length)) + payload + _CRC.pack(_masked_crc(payload))


def record_place(path: str, offset: int) -> str:
    """How a record is named in messages: ``file.tfrecord:+10432``."""
    return f"{path_text(path)}:+{offset}"


def _open(path: str) -> BinaryIO:
    return open_data_file(path, "TFRecord file", RecordError, hint=_FIND_RECORDS, buffering=_BUFFER_BYTES)


def _refuse_other_kind(beginning: bytes, path: str) -> None:
    """Raise `RecordError` where the first bytes of a file tell that it is something that was put among records."""
    mistaken = mistaken_for_data(beginning, path)
    if mistaken:
        raise RecordError(f"this is not a TFRecord file but {mistaken.what}", where=path_text(path), hint=mistaken.hint)


def _read(file: BinaryIO, path: str, offset: int, size: int, largest: int) -> Record:
    """The record at the file's position, which is ``offset``."""
    try:
        header = file.read(_HEADER.size)
        if len(header) != _HEADER.size:
            if offset == 0:
                _refuse_other_kind(header, path)
            raise _damaged("the TFRecord file is cut off inside a record's length", path, offset)
        length, length_crc = _HEADER.unpack(header)
        if _masked_crc(header[: _LENGTH.size]) != length_crc:
            if offset == 0:
                _refuse_other_kind(header + file.read(_BEGINNING - len(header)), path)
            raise _damaged(
                "the checksum of the record's length is wrong: the file is damaged or no TFRecord file", path, offset
            )
        remaining = size - offset - _HEADER.size - _CRC.size
        if length > remaining:
            raise _damaged(
                f"the record claims {length} bytes, but the file has only {max(remaining, 0)} left", path, offset
            )
        if length > largest:
            raise RecordError(
                f"the record has {length} bytes; at most {largest} are read",
                where=record_place(path, offset),
                hint="A record holds the labels of one image. Is this the right file?",
            )
        payload = file.read(length)
        trailer = file.read(_CRC.size)
    except OSError as error:
        raise_if_lacking(error, record_place(path, offset))
        raise _damaged(f"the TFRecord file cannot be read: {error.strerror}", path, offset) from error
    if len(payload) != length or len(trailer) != _CRC.size:
        raise _damaged("the TFRecord file became shorter while it was read", path, offset)
    (crc,) = _CRC.unpack(trailer)
    if _masked_crc(payload) != crc:
        raise _damaged("the checksum of the record's data is wrong: the file is damaged", path, offset)
    return Record(offset, crc, payload)


def _masked_crc(data: bytes) -> int:
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _damaged(message: str, path: str, offset: int) -> RecordError:
    return RecordError(message, where=record_place(path, offset), hint=CONVERT_AGAIN)


def parse_features(payload: bytes, where: str) -> Mapping[str, Message]:
    """Features of one record by name.

    Args:
        payload: a serialised ``tf.train.Example``.
        where: place of the record, for the error message.

    Raises:
        RecordError: the payload is no ``tf.train.Example``.
    """
    if len(payload) > _FEW_BYTES and _has_too_many_fields(payload):
        message = f"the record has more than {_MAX_FIELDS} features"
        raise RecordError(message, where=where, hint=CONVERT_AGAIN)
    with library_errors(RecordError, "the record is not a tf.train.Example", where=where, hint=CONVERT_AGAIN):
        features: Mapping[str, Message] = Example.FromString(payload).features.feature
        return features


def _has_too_many_fields(payload: bytes) -> bool:
    """Whether there are more features than any record has: protobuf takes the square of their number in time."""
    left = _MAX_FIELDS
    for outer in _fields(payload, 0, len(payload)):
        for _ in chain([outer], _fields(payload, *outer)):
            left -= 1
            if left < 0:
                return True
    return False


def _fields(payload: bytes, position: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the content of each field of a message lies; ends where the bytes are unsound, which protobuf will say.

    Fields of a group count as those of the message.
    """
    while position < end:
        tag, position = _varint(payload, position)
        kind = tag & 7
        if kind == 2:
            length, position = _varint(payload, position)
        else:
            length = {0: _varint(payload, position)[1] - position, 1: 8, 3: 0, 4: 0, 5: 4}.get(kind, end)
        if position + length > end:
            return
        yield position, position + length if kind == 2 else position
        position += length


def _varint(payload: bytes, position: int) -> tuple[int, int]:
    """A number of variable length, and the position behind it."""
    value = 0
    for place, byte in enumerate(payload[position : position + 10]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, position + place + 1
    return value, len(payload) + 1


def frame_id(features: Mapping[str, Message], where: str) -> str:
    """Name of a record's image, as a file name: bytes that are not UTF-8 become surrogate escapes.

    Raises:
        RecordError: the feature is absent, of another kind, has not exactly one value, or is not a possible file name.
    """
    name = bytes_feature(features, FRAME_ID, where)
    if len(name) > MAX_FRAME_ID_BYTES:
        raise RecordError(
            f"the record's {FRAME_ID} has {len(name)} bytes; at most {MAX_FRAME_ID_BYTES} can be a path",
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
        return RecordError(f"the record's feature {name!r} does not hold {expected}", where=where, hint=CONVERT_AGAIN)
    if OBJECT_DETECTION_API in features and name.startswith("frame/"):
        return RecordError(
            "this record is one of TensorFlow's Object Detection API, not of TAO's dataset_convert",
            where=where,
            hint="Make records from the images and KITTI labels: int8cal records KITTI_DIR -o DIR.",
        )
    known = printable(", ".join(sorted(features))[:200]) or "none"
    return RecordError(f"the record has no feature {name!r} (it has: {known})", where=where, hint=CONVERT_AGAIN)
