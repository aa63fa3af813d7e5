"""TFRecords that hold whole image files (feature ``frame/encoded``) → samples."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from int8cal.errors import MissingDataError
from int8cal.samples.encoded import ENCODED_FEATURE
from int8cal.samples.example import FRAME_ID, bytes_feature, frame_id, integer_feature, parse_features
from int8cal.samples.paths import WORKING_DIRECTORY_HINT, matching_files, path_text
from int8cal.samples.samples import RecordRef, Sample, Source
from int8cal.samples.tfrecord import MAX_IMAGE_RECORD_BYTES, iterate_records, record_place
from int8cal.types import Message

INDEX_PREFIX = "idx-"
"""Name prefix of the index files that lie beside the records and match the same patterns."""


def read_embedded_images(index: int, pattern: str) -> Source:
    """Records of one data source: files in sorted order, records in file order.

    Args:
        index: index of the source in the spec.
        pattern: glob pattern of the TFRecord files; index files among them are left out.

    Raises:
        MissingDataError: no TFRecord file matches.
        RecordError: a file is damaged, or a record holds no image file.
    """
    files = [
        path
        for path in matching_files(pattern, hint=WORKING_DIRECTORY_HINT)
        if not os.path.basename(path).startswith(INDEX_PREFIX)
    ]
    if not files:
        raise MissingDataError(
            f"Only index files ({INDEX_PREFIX}*) match pattern {path_text(pattern)}.",
            hint="Name the TFRecord files themselves; the index files beside them are not needed.",
            filename=pattern,
        )
    return Source(index, pattern, tuple(sample for path in files for sample in _samples(index, path)))


def _samples(index: int, path: str) -> Iterator[Sample]:
    for number, record in enumerate(iterate_records(path, largest=MAX_IMAGE_RECORD_BYTES)):
        where = record_place(path, record.offset)
        features = parse_features(record.payload, where)
        bytes_feature(features, ENCODED_FEATURE, where)
        yield Sample(
            source=index,
            frame_id=_frame_id(features, where) or f"{os.path.basename(path)}#{number}",
            path=path,
            height=integer_feature(features, "frame/height", where, default=0),
            width=integer_feature(features, "frame/width", where, default=0),
            record=RecordRef(path, record.offset, record.crc),
            embedded=True,
        )


def _frame_id(features: Mapping[str, Message], where: str) -> str:
    return frame_id(features, where) if FRAME_ID in features else ""
