from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int8cal.errors import RecordError
from int8cal.samples.tfrecord import frame_record, iterate_records

PAYLOADS = st.lists(st.binary(max_size=200), min_size=1, max_size=5)


def read(data: bytes) -> list[bytes]:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "r.tfrecord"
        file.write_bytes(data)
        return [record.payload for record in iterate_records(str(file))]


@given(PAYLOADS)
def test_what_was_framed_is_read_back(payloads: list[bytes]) -> None:
    assert read(b"".join(map(frame_record, payloads))) == payloads


@given(PAYLOADS, st.data())
def test_any_changed_bit_is_noticed(payloads: list[bytes], data: st.DataObject) -> None:
    framed = bytearray(b"".join(map(frame_record, payloads)))
    bit = data.draw(st.integers(0, 8 * len(framed) - 1))
    framed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RecordError, match=r"r\.tfrecord:\+"):
        read(bytes(framed))


@given(PAYLOADS, st.data())
def test_any_cut_inside_a_record_is_noticed(payloads: list[bytes], data: st.DataObject) -> None:
    framed = [frame_record(payload) for payload in payloads]
    cut = data.draw(st.integers(1, len(framed[-1]) - 1))
    with pytest.raises(RecordError):
        read(b"".join(framed)[:-cut])
