"""What hostile tensorfiles and TFRecords cost: at most 2 s of CPU, and three times what a plain one of their size does.

The bound is that of docs/explanation/threat-model.md. Specs and caches: test_spec_cost.py and test_cache.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.build import record
from tests.unit.check.files import write_like_tao

from int8cal.check.verify import verify
from int8cal.errors import Int8calError, RecordError
from int8cal.samples.tfrecord import Example, parse_features

GROUP, DATASET = "_tensorfile_array_key__", "_tensorfile_array_key_"
SECONDS, FACTOR = 2.0, 3.0


def cost(work: Callable[[], object]) -> float:
    """CPU seconds of this process, whether the work is refused or not."""
    start = time.process_time()
    with suppress(Int8calError):
        work()
    return time.process_time() - start


def header(file: h5py.File, batches: int, shape: tuple[int, ...]) -> None:
    file.attrs["count"], file.attrs["shape"] = batches, shape


def one_batch_under_many_names(path: Path) -> None:
    """20,000 names for one batch of 4 MB, in 2 MB."""
    with h5py.File(path, "w") as file:
        header(file, 20_000, (1, 1, 1024, 1024))
        group = file.create_group(f"{GROUP}0")
        group.create_dataset(DATASET, (1, 1, 1024, 1024), "<f4", chunks=(1, 1, 1024, 1024), compression="gzip")
        group[DATASET][...] = 0
        for number in range(1, 20_000):
            file[f"{GROUP}{number}"] = group


def chunks_of_one_value(path: Path) -> None:
    with h5py.File(path, "w") as file:
        header(file, 1, (1, 1, 200, 200))
        dataset = file.create_group(f"{GROUP}0").create_dataset(
            DATASET, (1, 1, 200, 200), "<f4", chunks=(1, 1, 1, 1), compression="gzip"
        )
        dataset[...] = np.arange(40_000).reshape(1, 1, 200, 200)


def batches_without_values(path: Path) -> None:
    with h5py.File(path, "w") as file:
        header(file, 2000, (1, 1, 4, 4))
        for number in range(2000):
            file.create_group(f"{GROUP}{number}")


def names_that_no_tensorfile_has(path: Path) -> None:
    with h5py.File(path, "w") as file:
        header(file, 1, (1, 1, 4, 4))
        file.create_group(f"{GROUP}0").create_dataset(DATASET, data=np.ones((1, 1, 4, 4), np.float32))
        for number in range(20_000):
            file[f"{number:030}"] = h5py.SoftLink("/")


HOSTILE = [
    one_batch_under_many_names,
    chunks_of_one_value,
    batches_without_values,
    names_that_no_tensorfile_has,
]


@pytest.mark.parametrize("make", HOSTILE)
def test_tensorfiles(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "hostile")
    size = (tmp_path / "hostile").stat().st_size
    values = np.random.default_rng(0).random((1, 1, 1, 1024, max(1, size // 4096)), np.float32)
    write_like_tao(tmp_path / "plain", values)

    plain = cost(lambda: verify(tmp_path / "plain"))

    assert cost(lambda: verify(tmp_path / "hostile")) < SECONDS + FACTOR * plain


def of_many_features() -> bytes:
    """600,000 features in 9 MB, which protobuf takes 13 s for."""
    entry = bytes.fromhex("0a0e") + b"\x0a\x05%05x\x12\x05\x1a\x03\x0a\x01\x01"
    entries = b"".join(entry % number for number in range(600_000))
    length = len(entries)
    prefix = b"\x0a" + bytes(
        (length >> shift & 127) | (128 if length >> shift > 127 else 0) for shift in (0, 7, 14, 21)
    )
    return prefix + entries


def of_packed_numbers() -> bytes:
    example = Example.FromString(record())
    example.features.feature["x"].int64_list.value.extend(bytes(8_000_000))
    payload: bytes = example.SerializeToString()
    return payload


def of_empty_fields() -> bytes:
    return b"\x0a\x00" * 4_000_000


@pytest.mark.parametrize("make", [of_many_features, of_packed_numbers, of_empty_fields])
def test_records(make: Callable[[], bytes]) -> None:
    payload = make()
    plain = [record()] * (len(payload) // len(record()))
    limit = SECONDS + FACTOR * cost(lambda: [parse_features(one, "here") for one in plain])

    assert cost(lambda: parse_features(payload, "here")) < limit


def test_a_record_of_too_many_features_is_refused_and_one_of_many_is_not() -> None:
    with pytest.raises(RecordError, match="more than 4096 features"):
        parse_features(of_many_features(), "here")
    example = Example.FromString(record())
    for number in range(4000):
        example.features.feature[f"{number:030}"].int64_list.value.append(1)
    assert len(parse_features(example.SerializeToString(), "here")) > 4000
