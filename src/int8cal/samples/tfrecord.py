"""TFRecord framing: records by offset, both checksums verified, nothing read on the word of a damaged length.

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
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import google_crc32c

from int8cal.errors import RecordError
from int8cal.images.limits import MAX_ENCODED_BYTES
from int8cal.samples.files import open_data_file
from int8cal.samples.paths import path_text

MAX_LABEL_RECORD_BYTES = 1 << 24
"""Largest payload of a record that names its image (16 MiB; usual are 1 KiB). Parsed, it can take eight times that."""

MAX_IMAGE_RECORD_BYTES = MAX_ENCODED_BYTES + MAX_LABEL_RECORD_BYTES
"""Largest payload of a record that holds its image."""

CONVERT_AGAIN = "Make the TFRecords again with dataset_convert."
"""What to do about a record that is not what it should be."""

_FIND_RECORDS = "tfrecords_path must match TFRecord files that can be read, and nothing else."
_BUFFER_BYTES = 1 << 17
_HEADER = struct.Struct("<QI")
_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8


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
        RecordError: it is no regular file, cannot be read, is cut off, a checksum is wrong, or a record is
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


def frame_record(payload: bytes) -> bytes:
    """A payload in its framing, ready to be appended to a TFRecord file."""
    length = _LENGTH.pack(len(payload))
    return length + _CRC.pack(_masked_crc(length)) + payload + _CRC.pack(_masked_crc(payload))


def record_place(path: str, offset: int) -> str:
    """How a record is named in messages: ``file.tfrecord:+10432``."""
    return f"{path_text(path)}:+{offset}"


def _open(path: str) -> BinaryIO:
    return open_data_file(path, "TFRecord file", RecordError, hint=_FIND_RECORDS, buffering=_BUFFER_BYTES)


def _read(file: BinaryIO, path: str, offset: int, size: int, largest: int) -> Record:
    """The record at the file's position, which is ``offset``."""
    try:
        header = file.read(_HEADER.size)
        if len(header) != _HEADER.size:
            raise _damaged("The TFRecord file is cut off inside a record's length.", path, offset)
        length, length_crc = _HEADER.unpack(header)
        if _masked_crc(header[: _LENGTH.size]) != length_crc:
            raise _damaged(
                "The checksum of the record's length is wrong: the file is damaged or no TFRecord file.", path, offset
            )
        remaining = size - offset - _HEADER.size - _CRC.size
        if length > remaining:
            raise _damaged(
                f"The record claims {length} bytes, but the file has only {max(remaining, 0)} left.", path, offset
            )
        if length > largest:
            raise RecordError(
                f"The record has {length} bytes; at most {largest} are read.",
                where=record_place(path, offset),
                hint="A record holds the labels of one image. Is this the right file?",
            )
        payload = file.read(length)
        trailer = file.read(_CRC.size)
    except OSError as error:
        raise _damaged(f"The TFRecord file cannot be read: {error.strerror}.", path, offset) from error
    if len(payload) != length or len(trailer) != _CRC.size:
        raise _damaged("The TFRecord file became shorter while it was read.", path, offset)
    (crc,) = _CRC.unpack(trailer)
    if _masked_crc(payload) != crc:
        raise _damaged("The checksum of the record's data is wrong: the file is damaged.", path, offset)
    return Record(offset, crc, payload)


def _masked_crc(data: bytes) -> int:
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _damaged(message: str, path: str, offset: int) -> RecordError:
    return RecordError(message, where=record_place(path, offset), hint=CONVERT_AGAIN)
