from __future__ import annotations

from pathlib import Path

import pytest

from int8cal.errors import MissingDataError, RecordError
from int8cal.samples.tfrecord import frame_record, iterate_records, read_record

HELLO = bytes.fromhex("0500000000000000eab2043e68656c6c6fbb1f1c19")
"""``hello`` framed; the checksums worked out by a bitwise CRC-32C."""


def test_framing_has_the_documented_bytes() -> None:
    assert frame_record(b"hello") == HELLO


def test_records_come_in_order_with_their_offsets(tmp_path: Path) -> None:
    file = tmp_path / "r.tfrecord"
    payloads = [b"one", b"", b"three" * 100_000]
    file.write_bytes(b"".join(map(frame_record, payloads)))
    records = list(iterate_records(str(file)))
    assert [record.payload for record in records] == payloads
    assert [record.offset for record in records] == [0, 19, 35]
    for record in records:
        assert read_record(str(file), record.offset) == record


def test_empty_file_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert list(iterate_records(str(tmp_path / "empty"))) == []


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="gone"):
        list(iterate_records(str(tmp_path / "gone")))


def test_offset_inside_a_record_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "r"
    file.write_bytes(frame_record(b"a" * 100))
    for offset in (1, 50, 116, 10_000):
        with pytest.raises(RecordError, match=f"r:\\+{offset}"):
            read_record(str(file), offset)
