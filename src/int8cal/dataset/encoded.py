"""The bytes of a sample's image file, as they lie on the disk or inside its record."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from int8cal.dataset.example import bytes_feature, parse_features
from int8cal.dataset.tfrecord import read_record
from int8cal.errors import ImageError, MissingDataError

if TYPE_CHECKING:
    from int8cal.dataset.samples import RecordRef, Sample

MAX_ENCODED_BYTES = 1 << 30
"""Largest image file that is read: 1 GiB."""

ENCODED_FEATURE = "frame/encoded"
"""Feature of a record that holds a whole image file."""


def encoded_image(sample: Sample) -> bytes:
    """Read the image file of a sample.

    Raises:
        MissingDataError: the file is not there.
        ImageError: it cannot be read, is no regular file, or is larger than `MAX_ENCODED_BYTES`.
        RecordError: the record that should hold it is damaged.
    """
    if sample.embedded and sample.record:
        return _from_record(sample.record, sample.location)
    return _from_file(sample.path)


def _from_record(record: RecordRef, where: str) -> bytes:
    payload = read_record(record.path, record.offset).payload
    return bytes_feature(parse_features(payload, where), ENCODED_FEATURE, where)


def _from_file(path: str) -> bytes:
    try:
        # O_NONBLOCK: a pipe in the place of an image must not hang the run.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("is no regular file", where=path)
            if status.st_size > MAX_ENCODED_BYTES:
                raise ImageError(f"has {status.st_size} bytes, more than {MAX_ENCODED_BYTES}", where=path)
            return file.read(MAX_ENCODED_BYTES)
    except FileNotFoundError as error:
        raise MissingDataError(
            "no such image file", where=path, hint="Check image_directory_path and image_extension in the spec."
        ) from error
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}", where=path) from error
