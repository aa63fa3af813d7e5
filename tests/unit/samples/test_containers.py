"""Images inside other files: an LMDB of words, frames of an HDF5 file. Whatever is in them, this process lives."""

from __future__ import annotations

import io
import random
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pytest

from int8cal.errors import DataError, ImageError, MissingDataError
from int8cal.samples import hdf5_frames, lmdb_images
from int8cal.samples.encoded import read_encoded, sample_place
from int8cal.samples.samples import Sample


def database(folder: Path, values: dict[bytes, bytes]) -> str:
    with lmdb.open(str(folder), map_size=1 << 24) as opened, opened.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key, value)
    return str(folder)


IMAGES = {b"image-%09d" % number: bytes([number]) * 5000 for number in range(1, 41)}


@pytest.fixture
def words(tmp_path: Path) -> str:
    return database(tmp_path / "words", {b"num-samples": b"40", **IMAGES})


def test_images_of_an_lmdb(words: str) -> None:
    names = lmdb_images.image_names(words)
    assert names == [key.decode() for key in IMAGES]
    sample = Sample(0, names[2], f"{words}/data.mdb", member=names[2])
    assert read_encoded(sample) == IMAGES[b"image-000000003"]
    assert sample_place(sample) == f"{words}/data.mdb#image-000000003"
    with pytest.raises(ImageError, match="not in it"):
        lmdb_images.read_image(words, "image-000000041")


@pytest.mark.parametrize("count", [b"", b"x", b"-1", b"10000000", b"99999999999999"])
def test_a_count_that_is_none(tmp_path: Path, count: bytes) -> None:
    with pytest.raises(DataError, match="num-samples"):
        lmdb_images.image_names(database(tmp_path / "d", {b"num-samples": count}))


def test_no_count_and_no_database(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no num-samples"):
        lmdb_images.image_names(database(tmp_path / "d", {b"a": b"b"}))
    with pytest.raises(MissingDataError):
        lmdb_images.image_names(str(tmp_path / "none"))


def test_a_database_that_is_cut_off(words: str, tmp_path: Path) -> None:
    whole = Path(words, "data.mdb").read_bytes()
    for number, length in enumerate([0, 100, 4096, 8191, len(whole) // 2, len(whole) - 1]):
        cut = tmp_path / f"cut{number}"
        cut.mkdir()
        (cut / "data.mdb").write_bytes(whole[:length])
        with pytest.raises(DataError) as caught:
            lmdb_images.image_names(str(cut))
        assert len(str(caught.value).splitlines()) == 2


def test_a_database_that_lies_does_not_end_this_process(words: str, tmp_path: Path) -> None:
    whole = Path(words, "data.mdb").read_bytes()
    dice = random.Random(3)
    for number in range(12):
        damaged = bytearray(whole)
        for _ in range(2000):
            damaged[dice.randrange(8192, len(damaged))] = dice.randrange(256)
        folder = tmp_path / f"lie{number}"
        folder.mkdir()
        (folder / "data.mdb").write_bytes(damaged)
        try:
            for name in lmdb_images.image_names(str(folder))[:40]:
                lmdb_images.read_image(str(folder), name)
        except DataError as error:
            assert str(folder) in str(error)  # noqa: PT017 - any of them may be sound


def test_a_reader_that_died_is_an_error_and_begun_anew(words: str) -> None:
    lmdb_images.image_names(words)
    reader = lmdb_images._reader(words)
    assert reader._child is not None
    reader._child.kill()
    with pytest.raises(ImageError, match="died"):
        lmdb_images.read_image(words, "image-000000001")
    assert lmdb_images.read_image(words, "image-000000001") == IMAGES[b"image-000000001"]
    reader.close()


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    path = tmp_path / "film.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("rgb")
        group["f1"] = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
        group["grey"] = np.zeros((2, 4), dtype=np.uint8)
        group["wide"] = np.zeros((2, 4), dtype=np.uint16)
        group["odd"] = np.zeros((2, 4, 5), dtype=np.uint8)
        group["group/f"] = np.zeros((2, 4), dtype=np.uint8)
        group["soft"] = h5py.SoftLink("/rgb/f1")
        group["external"] = h5py.ExternalLink("other.h5", "/rgb/f1")
        group.create_dataset("huge", shape=(1 << 16, 1 << 16), dtype=np.uint8, chunks=(64, 64))
    return path


def test_frames_of_an_hdf5_file(frames: Path) -> None:
    pixels = np.load(io.BytesIO(hdf5_frames.read_frame(str(frames), "f1")))
    np.testing.assert_array_equal(pixels, np.arange(24, dtype=np.uint8).reshape(2, 4, 3))
    assert np.load(io.BytesIO(hdf5_frames.read_frame(str(frames), "grey"))).shape == (2, 4)


@pytest.mark.parametrize("name", ["none", "wide", "odd", "group", "soft", "external", "huge"])
def test_what_is_no_frame(frames: Path, name: str) -> None:
    with pytest.raises(ImageError) as caught:
        hdf5_frames.read_frame(str(frames), name)
    assert caught.value.where == f"{frames}:{name}"


def test_no_hdf5_file(frames: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.h5").write_bytes(frames.read_bytes()[:900])
    (tmp_path / "text.h5").write_text("text")
    for name in ("cut", "text"):
        with pytest.raises(ImageError):
            hdf5_frames.read_frame(str(tmp_path / f"{name}.h5"), "f1")
    with pytest.raises(MissingDataError):
        hdf5_frames.read_frame(str(tmp_path / "none.h5"), "f1")


@pytest.mark.parametrize("name", ["h5://film", "h5://:f", "h5://film:"])
def test_a_name_without_frame(name: str) -> None:
    with pytest.raises(ImageError, match="names no frame"):
        hdf5_frames.frame_of(name)
    assert hdf5_frames.frame_of("h5://a/film:f1") == ("a/film.h5", "f1")
