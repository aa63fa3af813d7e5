"""The encoded bytes of a sample, from its file or from its record."""

from __future__ import annotations

import os

from int8cal.errors import REPAIR_IMAGE, ImageError, RecordError
from int8cal.io.lacks import raise_if_lacking
from int8cal.samples.paths import open_data_file, path_text
from int8cal.samples.samples import Sample
from int8cal.samples.tfrecord import MAX_ENCODED_BYTES, bytes_feature, parse_features, read_record, record_place

ENCODED_FEATURE = "frame/encoded"
"""Feature of a record that holds a whole image file."""

FIND_IMAGE = "Put the image there, or take it out of the data."
"""What to do about an image that is not there, where others are."""


def sample_place(sample: Sample) -> str:
    """How a sample is named in messages: its image file, or its record when the image is inside."""
    if sample.embedded and sample.record is not None:
        return record_place(sample.record.path, sample.record.offset)
    return path_text(f"{sample.path}#{sample.member}" if sample.member else sample.path)


def read_encoded(sample: Sample) -> bytes:
    """Read the encoded image of a sample.

    Raises:
        MissingDataError: the file is not there.
        ImageError: it is not a regular file, larger than `MAX_ENCODED_BYTES`, or cannot be read.
        RecordError: the record that holds the image is damaged, or another one than when the samples were listed.
    """
    if sample.member:
        return _read_member(sample)
    if not sample.embedded:
        return _read_file(sample.path)
    where = sample_place(sample)
    if sample.record is None:
        raise RecordError(f"the image {path_text(sample.frame_id)} has no record to be read from")
    record = read_record(sample.record.path, sample.record.offset)
    if record.crc != sample.record.crc:
        raise RecordError(
            "the TFRecord file was changed while it was used",
            where=where,
            hint="Run again when nothing writes to the data set any more.",
        )
    return bytes_feature(parse_features(record.payload, where), ENCODED_FEATURE, where)


def _read_member(sample: Sample) -> bytes:
    from int8cal.samples import hdf5_frames, lmdb_images  # late: few data sets have their images in such files

    folder, name = os.path.split(sample.path)
    if name == lmdb_images.DATA_FILE:
        return lmdb_images.read_image(folder, sample.member)
    return hdf5_frames.read_frame(sample.path, sample.member)


def _read_file(path: str) -> bytes:
    where = path_text(path)
    with open_data_file(path, "image file", ImageError, hint=FIND_IMAGE, buffering=0) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            if size <= MAX_ENCODED_BYTES:
                return file.read()
        except OSError as error:
            raise_if_lacking(error, where)
            raise ImageError(
                f"the image file cannot be read: {error.strerror}", where=where, hint=REPAIR_IMAGE
            ) from error
    raise ImageError(
        f"the image file has {size} bytes; at most {MAX_ENCODED_BYTES} are read",
        where=where,
        hint="Save the image in a smaller format, such as PNG.",
    )
