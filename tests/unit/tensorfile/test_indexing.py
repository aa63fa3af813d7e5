"""A tensorfile as an array is used: numbers, slices, images, ``np.asarray``."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from int8cal.guard.hdf5 import StoredArray
from int8cal.tensorfile import TensorFile, layout
from int8cal.tensorfile.chunks import Compression
from int8cal.tensorfile.writer import TensorFileWriter
from int8cal.types import Batches

ALL = np.random.default_rng(3).random((5, 4, 3, 6, 8), dtype=np.float32)
ANY_SLICE = st.builds(slice, *[st.none() | st.integers(-7, 7)] * 2, st.none() | st.sampled_from([-2, -1, 1, 2, 3]))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("indexed") / "c.tensor"
    compression = Compression.named("fast")
    with TensorFileWriter(str(path), ALL.shape[1:], compression) as writer:
        for image in ALL.reshape(-1, *ALL.shape[2:]):
            writer.append(compression.encode(image))
        writer.finish(None, [])
    with TensorFile(path) as opened:
        yield opened


def test_shape_ndim_and_dtype_are_of_a_batch_and_len_counts_them(file) -> None:
    assert (file.shape, file.ndim, file.dtype, len(file)) == (ALL.shape[1:], 4, np.float32, 5)
    assert file.ndim == len(file.shape) == file[0].ndim
    assert file.nbytes == ALL.nbytes
    assert np.asarray(file).shape == (len(file), *file.shape)


@pytest.mark.parametrize(
    "index", [0, 4, -1, np.int64(2), (1, 2), (-1, -1), (0, 1, 2), (3, slice(1, 3)), (2, 0, ..., 1), (2, [3, 0])]
)
def test_an_index_gives_what_the_array_has_there(file, index) -> None:
    np.testing.assert_array_equal(file[index], ALL[index])
    assert file[index].dtype == np.float32


@pytest.mark.parametrize("numbers", [[20], [-1], [0, 20], range(18, 21), range(-1, 3)])
def test_images_that_the_file_does_not_have(file, numbers) -> None:
    with pytest.raises(IndexError, match=r"image (20|-1) of 20"):
        list(file.images(numbers))
    assert [image.shape for image in file.images(range(18, 20))] == [ALL.shape[2:]] * 2
    assert not list(file.images(range(20, 20)))


@given(ANY_SLICE, ANY_SLICE)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_slice_is_a_view_of_the_same_batches(file, one: slice, two: slice) -> None:
    view = file[one]
    assert len(view) == len(ALL[one])
    np.testing.assert_array_equal(np.asarray(view), ALL[one])
    np.testing.assert_array_equal(np.asarray(view[two]), ALL[one][two])
    assert view.image_count == len(ALL[one]) * 4


def test_a_slice_reads_nothing_before_it_is_used(file, monkeypatch) -> None:
    monkeypatch.setattr(TensorFile, "_batch", lambda *_: pytest.fail("a batch was read"))
    view = file[1:]
    assert (len(view), view.shape, view.dtype, view.ndim) == (4, file.shape, np.float32, 4)
    assert isinstance(view, Batches)
    assert view.paths == file.paths


def test_an_image_is_read_without_the_others_of_its_batch(file, monkeypatch) -> None:
    read = []
    stored_chunk = StoredArray._stored_chunk
    monkeypatch.setattr(StoredArray, "_stored_chunk", lambda self, at: read.append(at) or stored_chunk(self, at))
    np.testing.assert_array_equal(file[1:][1, -2], ALL[2, 2])
    assert read == [(2, 0, 0, 0)]


@pytest.mark.parametrize("index", [5, -6, (5, 0), (0, 4), (0, -5)])
def test_there_is_no_such_batch_or_image(file, index) -> None:
    with pytest.raises(IndexError):
        file[index]


@pytest.mark.parametrize("index", [1.0, "0", None, (slice(2), 0), ()])
def test_what_is_no_index(file, index) -> None:
    with pytest.raises(TypeError):
        file[index]


def test_as_an_array(file) -> None:
    np.testing.assert_array_equal(np.asarray(file), ALL)
    np.testing.assert_array_equal(np.array(file, np.float64), ALL.astype(np.float64))
    with pytest.raises(ValueError, match="without a copy"):
        file.__array__(copy=False)


def test_a_slice_knows_what_its_images_were_made_from(tiny_dataset, tmp_path: Path) -> None:
    import int8cal

    int8cal.make(int8cal.plan(tiny_dataset.spec, batch_size=2, max_batches=3), tmp_path / "c.tensor")
    with TensorFile(tmp_path / "c.tensor") as file:
        known = file.encoded_sha256()
        assert file[::-2].encoded_sha256() == {0: known[4], 1: known[5], 2: known[0], 3: known[1]}


@pytest.mark.parametrize("chunks", [None, (1, 3, 6, 8), (2, 1, 3, 4), (3, 3, 6, 8), (4, 1, 5, 5)])
def test_images_of_files_of_other_tools(tmp_path: Path, chunks: tuple[int, ...] | None) -> None:
    """NVIDIA's chunks hold parts of two images."""
    path = tmp_path / "other.tensor"
    with h5py.File(path, "w") as other:
        other.attrs[layout.COUNT] = 1
        other.attrs[layout.SHAPE] = ALL.shape[1:]
        options = {"chunks": chunks, "compression": "gzip"} if chunks else {}
        other.create_group(layout.group_name(0)).create_dataset(layout.DATASET, data=ALL[0], **options)
    with TensorFile(path) as file:
        np.testing.assert_array_equal(np.stack(list(file.images(range(4)))), ALL[0])
        for image in range(4):
            np.testing.assert_array_equal(file[0, image], ALL[0, image])


@pytest.mark.parametrize("numbers", [[], [7], [19, 2, 2, 0, 11, 5]])
def test_images_by_their_numbers_come_in_that_order_and_no_others_are_read(file, monkeypatch, numbers) -> None:
    read = []
    stored_chunk = StoredArray._stored_chunk
    monkeypatch.setattr(StoredArray, "_stored_chunk", lambda self, at: read.append(at[0]) or stored_chunk(self, at))
    images = [image.copy() for image in file.images(numbers)]
    assert [image.tobytes() for image in images] == [ALL[divmod(number, 4)].tobytes() for number in numbers]
    assert read == [number % 4 for number in numbers]
