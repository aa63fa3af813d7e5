"""What the writer writes is what the reader, and any HDF5 reader, gives back."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from int8cal.errors import OutputError, TensorFileError, UsageError
from int8cal.io import space
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.checksums import image_checksum
from int8cal.tensorfile.chunks import Compression
from int8cal.tensorfile.layout import SampleRow
from int8cal.tensorfile.writer import TensorFileWriter
from int8cal.types import COMPRESSIONS


def row(number: int, image: np.ndarray) -> SampleRow:
    return SampleRow(
        *(0, number, 0, b"image_2/000001", b"shard-0", 16 * number, 0xDEADBEEF, 375, 1242, 5000, bytes(range(32))),
        image_checksum(image),
    )


def write(path, batches: np.ndarray, compression: str = "fast", manifest: dict | None = None) -> str:
    encoder = Compression.named(compression)
    with TensorFileWriter(str(path), batches.shape[1:], encoder) as writer:
        images = batches.reshape(-1, *batches.shape[2:])
        for image in images:
            writer.append(encoder.encode(image))
        writer.finish(manifest or {"network": "x"}, [row(number, image) for number, image in enumerate(images)])
    return str(path)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_compression_gives_the_values_back(tmp_path, compression):
    batches = noise(3, 2, 3, 7, 5)
    with TensorFile(write(tmp_path / "f", batches, compression)) as file:
        assert len(file) == 3
        assert file.shape == (2, 3, 7, 5)
        np.testing.assert_array_equal(np.stack(list(file)), batches)
        np.testing.assert_array_equal(np.stack(list(file)), batches)  # again
        assert file[1].dtype == np.float32
        assert file[1].flags.c_contiguous
        np.testing.assert_array_equal(file[-1], batches[2])
        np.testing.assert_array_equal(np.stack(file[1:]), batches[1:])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(
        st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 9)
    ),
    seed=st.integers(0, 1000),
)
def test_any_shape_and_any_bits(tmp_path, shape, seed):
    bits = np.random.default_rng(seed).integers(0, 1 << 32, shape, np.uint32)
    path = tmp_path / "f"
    path.unlink(missing_ok=True)
    with TensorFile(write(path, bits.view(np.float32))) as file:
        np.testing.assert_array_equal(np.stack(list(file)).view(np.uint32), bits)


def test_what_the_old_reader_needs(tmp_path):
    batches = noise(2, 2, 1, 4, 4)
    path = write(tmp_path / "f", batches)
    assert Path(path).read_bytes()[:9] == b"\x89HDF\r\n\x1a\n\x00", "superblock 0"
    with h5py.File(path) as file:
        assert file.attrs["count"] == 2
        assert file.attrs["count"].dtype == np.int64
        assert list(file.attrs["shape"]) == [2, 1, 4, 4]
        for number in range(2):
            dataset = file[f"_tensorfile_array_key__{number}"]["_tensorfile_array_key_"]
            assert list(file[f"_tensorfile_array_key__{number}"]) == ["_tensorfile_array_key_"]
            assert dataset.dtype == "<f4"
            assert (dataset.compression, dataset.shuffle, dataset.chunks) == ("gzip", True, (1, 1, 4, 4))
            assert dataset.maxshape == dataset.shape
            np.testing.assert_array_equal(dataset[()], batches[number])


def test_same_input_same_bytes(tmp_path):
    batches = noise(2, 2, 3, 6, 8)
    first, second = write(tmp_path / "a", batches), write(tmp_path / "b", batches)
    assert Path(first).read_bytes() == Path(second).read_bytes()


def test_manifest_and_samples_come_back(tmp_path):
    with TensorFile(write(tmp_path / "f", noise(1, 2, 1, 2, 2), manifest={"a": [1, "é"]})) as file:
        assert file.manifest["a"] == [1, "é"]
        assert list(file.samples["frame_id"]) == [b"image_2/000001"] * 2
        assert list(file.samples["record_offset"]) == [0, 16]
        assert bytes(file.samples["sha256"][0]) == bytes(range(32))
        assert file.samples is file.samples, "inflated once"
        with pytest.raises(ValueError, match="read-only"):
            file.samples["sha256"][0] = bytes(32)


def test_files_of_nvidia_tools(tmp_path):
    values = noise(2, 3, 1, 4, 4).astype(np.float64)
    path = tmp_path / "nvidia"
    with h5py.File(path, "w") as file:
        file.attrs["count"] = 2
        file.attrs["shape"] = (3, 1, 4, 4)
        for number, batch in enumerate(values):
            file.create_group(f"_tensorfile_array_key__{number}").create_dataset(
                "_tensorfile_array_key_", data=batch, compression="gzip"
            )
    with TensorFile(path) as file:
        assert file.manifest is None
        assert file.samples is None
        assert file[0].dtype == np.float32
        assert file.storage(0)[0] == "float64"
        np.testing.assert_array_equal(file[1], values[1].astype(np.float32))


@pytest.fixture(params=["disk", "memory"])
def folder(request, tmp_path):
    """On two file systems, where there are two."""
    if request.param == "disk" or not os.path.isdir("/dev/shm"):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        yield Path(path)


def test_room_that_was_set_aside_is_given_back(folder, monkeypatch):
    batches = noise(3, 2, 3, 700, 900)
    done = []
    reserve = space.reserve

    def noted(descriptor: int, begin: int, nbytes: int) -> bool:
        done.append(reserve(descriptor, begin, nbytes))
        return done[-1]

    monkeypatch.setattr(space, "reserve", noted)
    path = write(folder / "f", batches)
    assert done == [True, True] if done[0] else done == [False]  # not tried again where it cannot be
    status = os.stat(path)
    assert status.st_blocks * 512 < status.st_size + 100_000
    with TensorFile(path) as file:
        np.testing.assert_array_equal(np.stack(list(file)), batches)


@pytest.mark.parametrize("times", [0, 1])
def test_a_file_has_the_same_bytes_where_no_room_can_be_set_aside_or_given_back(tmp_path, monkeypatch, times):
    batches = noise(3, 2, 3, 700, 900)
    path, left = write(tmp_path / "f", batches), [True] * times

    def truncate(path: str, size: int) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(space, "reserve", lambda descriptor, begin, nbytes: bool(left) and left.pop())
    monkeypatch.setattr(os, "truncate", truncate)
    assert Path(write(tmp_path / "other", batches)).read_bytes() == Path(path).read_bytes()


def test_writer_refuses_half_a_batch(tmp_path):
    encoder = Compression.named("fast")
    with TensorFileWriter(str(tmp_path / "f"), (2, 1, 2, 2), encoder) as writer:
        writer.append(encoder.encode(noise(1, 2, 2)))
        with pytest.raises(OutputError, match="not a whole number of batches"):
            writer.finish({}, [row(0, noise(1, 2, 2))])


def test_unfinished_file_is_no_tensorfile(tmp_path):
    path = str(tmp_path / "f")
    encoder = Compression.named("fast")
    with TensorFileWriter(path, (1, 1, 2, 2), encoder) as writer:
        writer.append(encoder.encode(noise(1, 2, 2)))
    with pytest.raises(TensorFileError, match="no root attribute 'count'"):
        TensorFile(path)


def test_index_out_of_range(tmp_path):
    with TensorFile(write(tmp_path / "f", noise(2, 1, 1, 2, 2))) as file:
        with pytest.raises(IndexError):
            file[2]
        with pytest.raises(IndexError):
            file[-3]


@pytest.mark.parametrize("key", [1.0, "1", None])
def test_an_index_is_a_whole_number(tmp_path, key):
    with TensorFile(write(tmp_path / "f", noise(2, 1, 1, 2, 2))) as file:
        np.testing.assert_array_equal(file[np.int64(1)], file[1])
        with pytest.raises(TypeError):
            file[key]


def test_writing_where_one_cannot(tmp_path):
    with pytest.raises(OutputError) as caught:
        TensorFileWriter(str(tmp_path / "missing" / "f"), (1, 1, 2, 2), Compression.named("fast"))
    assert caught.value.where == os.fspath(tmp_path / "missing" / "f")


@pytest.mark.parametrize("read", [lambda file: file[0], list, lambda file: file.samples, lambda file: file.objects()])
def test_a_closed_file_is_said_to_be_closed_not_damaged(tmp_path, read):
    with TensorFile(write(tmp_path / "f", noise(1, 1, 1, 2, 2))) as file:
        pass
    with pytest.raises(UsageError, match="was closed"):
        read(file)


def test_a_full_disk_is_told_as_one_whatever_hdf5_was_doing(tmp_path, monkeypatch):
    encoder = Compression.named("fast")

    def close(file: h5py.File) -> None:
        raise RuntimeError(
            "Disable slist on flush dest failure failed (file write failed: time = Sun Nov 29 01:42:11 2026\n, "
            "filename = 'x', file descriptor = 3, errno = 28, error message = 'No space left on device', total = 9)"
        )

    with TensorFileWriter(str(tmp_path / "x"), (1, 1, 1, 1), encoder) as writer:
        writer.append(encoder.encode(np.zeros((1, 1, 1), np.float32)))
        with monkeypatch.context() as patch:
            patch.setattr(h5py.File, "close", close)
            with pytest.raises(OutputError, match="cannot write the tensorfile: No space left on device"):
                writer.finish({}, [])


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_a_file_that_is_open_by_another_library_is_not_called_damaged(tmp_path, mode):
    path = write(tmp_path / "x", np.zeros((1, 2, 3, 4, 5), np.float32))
    with h5py.File(path, mode), pytest.raises(TensorFileError, match="is open in this process already") as caught:
        TensorFile(path)
    assert caught.value.hint == "Close it there first."
    with TensorFile(path) as file:
        assert len(file) == 1
