"""TFRecords with image files inside."""

from __future__ import annotations

import pytest
from tests.build import record, write_records

from int8cal.errors import MissingDataError, RecordError
from int8cal.samples.encoded import read_encoded
from int8cal.samples.sources import read_embedded_images
from int8cal.samples.tfrecord import Example


def with_image(payload: bytes, image: bytes) -> bytes:
    example = Example.FromString(payload)
    example.features.feature["frame/encoded"].bytes_list.value.append(image)
    return example.SerializeToString()


def test_files_in_order_index_files_left_out(tmp_path):
    write_records(tmp_path / "b", [with_image(record("x/1", 4, 5), b"one")])
    write_records(tmp_path / "a", [with_image(record("x/2"), b"two"), with_image(record(None, None, None), b"three")])
    (tmp_path / "idx-a").write_text("no TFRecord")
    source = read_embedded_images(3, str(tmp_path / "*"))
    assert [sample.frame_id for sample in source.samples] == ["x/2", "a#1", "x/1"]
    assert [read_encoded(sample) for sample in source.samples] == [b"two", b"three", b"one"]
    assert [(sample.source, sample.height) for sample in source.samples] == [(3, 60), (3, 0), (3, 4)]


def test_record_without_image(tmp_path):
    file = write_records(tmp_path / "a", [record()])
    with pytest.raises(RecordError, match="has no feature 'frame/encoded'") as caught:
        read_embedded_images(0, str(file))
    assert caught.value.where == f"{file}:+0"


def test_only_index_files(tmp_path):
    (tmp_path / "idx-a").touch()
    with pytest.raises(MissingDataError, match="only index files"):
        read_embedded_images(0, str(tmp_path / "*"))
    with pytest.raises(MissingDataError, match="No files match pattern"):
        read_embedded_images(0, str(tmp_path / "nothing*"))
