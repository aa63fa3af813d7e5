"""TFRecords that are damaged, or made to do harm."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from int8cal.errors import DataError, RecordError
from int8cal.samples.sources import DataloaderMode, SourcePaths, TFRecordSelection, read_tfrecord_split
from int8cal.samples.tfrecord import Example, frame_record, iterate_records

from ..build import record, write_records

SOUND = frame_record(record("png/000000"))


def read(file: Path) -> list[bytes]:
    return [entry.payload for entry in iterate_records(str(file))]


def with_length(length: int) -> bytes:
    """A framing that claims a length, with the right checksum of that claim."""
    return frame_record(b"").replace(frame_record(b"")[:12], struct.pack("<Q", length) + length_crc(length), 1)


def length_crc(length: int) -> bytes:
    import google_crc32c

    crc = google_crc32c.value(struct.pack("<Q", length))
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@pytest.mark.parametrize(
    ("damaged", "problem"),
    [
        (b"\x01" + SOUND[1:], "checksum of the record's length"),
        (SOUND[:9] + b"\x00" + SOUND[10:], "checksum of the record's length"),
        (SOUND[:20] + b"\xff" + SOUND[21:], "checksum of the record's data"),
        (SOUND[:-1] + b"\x00", "checksum of the record's data"),
        (SOUND[:7], "cut off inside a record's length"),
        (SOUND[:-6], "has only"),
        (b"not a tfrecord file at all", "checksum of the record's length"),
    ],
)
def test_damage_names_file_and_offset(tmp_path: Path, damaged: bytes, problem: str) -> None:
    file = tmp_path / "broken.tfrecord"
    file.write_bytes(SOUND + damaged)
    with pytest.raises(RecordError, match=problem) as caught:
        read(file)
    assert f"broken.tfrecord:+{len(SOUND)}" in str(caught.value)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("length", [1 << 40, (1 << 64) - 1, (1 << 63) - 16])
def test_length_beyond_the_file_is_refused_before_memory_is_taken(tmp_path: Path, length: int) -> None:
    file = tmp_path / "huge.tfrecord"
    file.write_bytes(with_length(length))
    with pytest.raises(RecordError, match=f"claims {length} bytes"):
        read(file)


def test_record_larger_than_any_image_is_refused_even_if_the_file_has_it(tmp_path: Path) -> None:
    file = tmp_path / "sparse.tfrecord"
    file.write_bytes(with_length(1 << 30))
    os.truncate(file, (1 << 30) + 100)  # a sparse file: no disk is used
    with pytest.raises(RecordError, match="at most 16777216 are read"):
        read(file)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: os.mkfifo(path)], ids=["folder", "pipe"])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, make: object) -> None:
    make(tmp_path / "odd")  # type: ignore[operator]
    with pytest.raises(RecordError, match=r"not a regular file|is a folder"):
        read(tmp_path / "odd")


def split(root: Path, payloads: list[bytes]) -> object:
    write_records(root / "records" / "r", payloads)
    paths = SourcePaths(0, str(root / "records" / "*"), str(root), "png")
    return read_tfrecord_split(TFRecordSelection((paths,), DataloaderMode.MULTISOURCE), "training")


@pytest.mark.parametrize("payload", [b"\xff\xff\xff", b"\x0a\x7f", b"plain text is not protobuf"])
def test_payload_that_is_no_example(tmp_path: Path, payload: bytes) -> None:
    with pytest.raises(RecordError, match=r"not a tf\.train\.Example") as caught:
        split(tmp_path, [record(), payload])
    assert f"records/r:+{len(SOUND)}" in str(caught.value)


@pytest.mark.parametrize("frame_id", ["../outside", "png/../../outside", "/etc/passwd", "..", "png/..", "png/\0hidden"])
def test_names_that_lead_out_of_the_folder(tmp_path: Path, frame_id: str) -> None:
    with pytest.raises(DataError, match="leads out of the image directory") as caught:
        split(tmp_path, [record(), record(frame_id)])
    assert "records/r:+" in str(caught.value)
    assert "\0" not in str(caught.value)


def test_extension_cannot_lead_out_either(tmp_path: Path) -> None:
    write_records(tmp_path / "records" / "r", [record("png/.")])
    paths = SourcePaths(0, str(tmp_path / "records" / "*"), str(tmp_path), "/../../etc/passwd")
    with pytest.raises(DataError, match="leads out"):
        read_tfrecord_split(TFRecordSelection((paths,), DataloaderMode.MULTISOURCE), "training")


def test_control_characters_are_shown_harmlessly(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        split(tmp_path, [record("../\x1b[31mred\r\n\u202e")])
    message = caught.value.message
    assert "\\x1b[31mred\\x0d\\x0a\\u202e" in message
    assert message.isprintable()


@pytest.mark.parametrize(("height", "width"), [(-1, 10), (10, 2**40), (2**63 - 1, 1)])
def test_impossible_sizes(tmp_path: Path, height: int, width: int) -> None:
    with pytest.raises(RecordError, match="impossible image size"):
        split(tmp_path, [record(height=height, width=width)])


def test_features_of_another_kind_or_number(tmp_path: Path) -> None:
    from int8cal.samples.tfrecord import Example

    for kind, values in (("bytes_list", [b"60"]), ("int64_list", [1, 2]), ("float_list", [60.0])):
        example = Example.FromString(record())
        height = example.features.feature["frame/height"]
        height.Clear()
        getattr(height, kind).value.extend(values)
        with pytest.raises(RecordError, match="'frame/height' does not hold one integer"):
            split(tmp_path, [example.SerializeToString()])


def test_frame_ids_that_no_path_can_have(tmp_path: Path) -> None:
    split(tmp_path, [record("x" * 4096)])
    with pytest.raises(RecordError, match="frame/id has 4097 bytes") as caught:
        split(tmp_path, [record(), record("x" * 4097)])
    assert f"records/r:+{len(frame_record(record()))}" in str(caught.value)


def test_record_of_nothing_but_numbers_takes_bounded_memory(tmp_path: Path) -> None:
    """Packed integers take one byte in the file and eight in memory."""
    numbers = Example()
    numbers.features.feature["x"].int64_list.value.extend(bytes((1 << 24) + 1))
    with pytest.raises(RecordError, match="at most 16777216 are read") as caught:
        split(tmp_path, [numbers.SerializeToString()])
    assert caught.value.hint


@pytest.mark.parametrize("before", [b"", b"\x4b\x4c"], ids=["", "behind an empty group"])
def test_more_features_than_any_record_has(tmp_path: Path, before: bytes) -> None:
    entries = b"".join(b"\x0a\x09\x0a\x07%07x" % number for number in range(6000))
    length = bytes([len(entries) & 127 | 128, len(entries) >> 7 & 127 | 128, len(entries) >> 14])
    with pytest.raises(RecordError, match="more than 4096 features"):
        split(tmp_path, [before + b"\x0a" + length + entries])


@pytest.mark.parametrize(
    "payload", [b"\xff\xff\xff", record(None), record(height=-1), record(b"\xff" * 5000), record("../x")]
)
def test_whoever_has_a_bad_record_is_told_what_to_do(tmp_path: Path, payload: bytes) -> None:
    with pytest.raises(DataError) as caught:
        split(tmp_path, [payload])
    assert caught.value.hint
    assert str(caught.value).count("\n") == 1
