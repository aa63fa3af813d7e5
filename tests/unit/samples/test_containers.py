"""Images inside other files: an LMDB of words, frames of an HDF5 file. Whatever is in them, this process lives."""

from __future__ import annotations

import errno
import io
import os
import random
import signal
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import h5py
import lmdb
import numpy as np
import pytest
from tests.build import zeros_deflated
from tests.hostile.skeletons import ask_for_more, shared_group_nodes
from tests.memory import PEAK_MIB

from int8cal.errors import DataError, ImageError, MissingDataError, ResourceError
from int8cal.guard.hdf5_walk import Walk
from int8cal.io.lacks import lack_of
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


@pytest.mark.parametrize(
    ("end", "kind"),
    [(signal.SIGSEGV, ImageError), (signal.SIGBUS, ImageError), (signal.SIGKILL, ResourceError)],
    ids=["as a damaged file ends it", "as a file that is cut off", "as the kernel does without memory"],
)
def test_a_reader_that_died_is_an_error_and_begun_anew(words: str, end: signal.Signals, kind: type[Exception]) -> None:
    lmdb_images.image_names(words)
    reader = lmdb_images._reader(words)
    assert reader._child is not None
    reader._child.send_signal(end)
    with pytest.raises(kind, match="died" if kind is ImageError else "too little memory"):
        lmdb_images.read_image(words, "image-000000001")
    assert lmdb_images.read_image(words, "image-000000001") == IMAGES[b"image-000000001"]
    reader.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("read", [1, 2])
def test_an_answer_that_was_not_read_is_not_the_next_one(
    words: str, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], read: int
) -> None:
    reader, calls = lmdb_images._reader(words), []
    real = reader._read

    def interrupted(stream: IO[bytes], count: int) -> bytes:
        calls.append(count)
        if len(calls) == read:
            raise error
        return real(stream, count)

    monkeypatch.setattr(reader, "_read", interrupted)
    with pytest.raises(error):
        lmdb_images.read_image(words, "image-000000001")
    for number in (2, 3):
        assert lmdb_images.read_image(words, f"image-{number:09d}") == IMAGES[b"image-%09d" % number]


def test_few_readers_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many data sets there are, and in whatever order and on however many threads they are asked."""
    begun: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def popen(*command: Any, **options: Any) -> subprocess.Popen[bytes]:
        begun.append(real(*command, **options))
        return begun[-1]

    monkeypatch.setattr(lmdb_images, "_readers", {})
    monkeypatch.setattr(lmdb_images, "_MOST_READERS", 2)
    monkeypatch.setattr(subprocess, "Popen", popen)
    folders = [database(tmp_path / str(number), {b"image-000000001": bytes([number])}) for number in range(5)]
    order = random.Random(1).choices(range(5), k=40)

    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda number: lmdb_images.read_image(folders[number], "image-000000001"), order))

    assert read == [bytes([number]) for number in order]
    assert sum(child.poll() is None for child in begun) <= 2
    assert len(begun) > 5
    lmdb_images._close_all()
    assert all(child.poll() is not None for child in begun)


def test_a_reader_with_too_little_memory_says_so(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = (sys.executable, "-c", f"raise SystemExit({lmdb_images._LACKING})")
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: real(lacking, **options))
    with pytest.raises(ResourceError, match="too little memory"):
        lmdb_images._Reader(words).get("num-samples")
    assert all(lack_of(RuntimeError(told)) for told in lmdb_images._LACKS)


def test_a_reader_that_cannot_be_started_says_so(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refused)
    with pytest.raises(ResourceError, match="starts no process"):
        lmdb_images._Reader(words).get("num-samples")


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


PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "gzip"},
        {"compression": "lzf", "shuffle": True},
        {"chunks": (17, 23, 2)},
        {"chunks": True, "maxshape": (None, None, 3)},
        {"chunks": (40, 50, 1), "compression": 9, "fillvalue": 7},
    ],
    ids=str,
)
def test_frames_as_h5py_writes_them(tmp_path: Path, options: dict[str, Any]) -> None:
    with h5py.File(tmp_path / "film.h5", "w") as file:
        file.create_dataset("rgb/a", data=PIXELS, **options).attrs["CLASS"] = "IMAGE"
        file.create_dataset("rgb/b/c", data=PIXELS[:, :, 0], **{**options, "chunks": None, "maxshape": None})
        file["rgb"].attrs["camera"] = "front, with a name of variable length"

    for frame, expected in (("a", PIXELS), ("b/c", PIXELS[:, :, 0])):
        pixels = np.load(io.BytesIO(hdf5_frames.read_frame(str(tmp_path / "film.h5"), frame)))
        np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("frame", ["/f1", "f1/", ".", "./f1", "f1\0x", "f1/x", "group//f", "round/round/f1"])
def test_a_name_that_hdf5_would_take_for_another(frames: Path, frame: str) -> None:
    with h5py.File(frames, "a") as file:
        file["rgb/round"] = file["rgb"]
        del file["rgb/soft"]
    with pytest.raises(ImageError):
        hdf5_frames.read_frame(str(frames), frame)


def test_a_disk_that_fails(frames: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", fails)
    with pytest.raises(ImageError, match="Input/output error"):
        hdf5_frames.read_frame(str(frames), "f1")
    monkeypatch.setattr(hdf5_frames, "open_data_file", lambda *_, **__: io.BytesIO())  # it has no descriptor
    with pytest.raises(ImageError, match="file of frames cannot be read"):
        hdf5_frames.read_frame(str(frames), "f1")


def test_many_frames_are_followed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of frames lie in one group; a file that was just changed is followed each time."""
    path = tmp_path / "film.h5"
    with h5py.File(path, "w") as file:
        for number in range(600):
            file[f"rgb/{number}"] = PIXELS[:2, number % 50]
    met = []
    follow = Walk._follow_group
    monkeypatch.setattr(Walk, "_follow_group", lambda self, *rest: met.append(rest) or follow(self, *rest))
    met_by_age = []
    for age in (0, 10):
        os.utime(path, (time.time() - age,) * 2)
        met.clear()
        for number in (5, 599, 300):
            pixels = np.load(io.BytesIO(hdf5_frames.read_frame(str(path), str(number))))
            np.testing.assert_array_equal(pixels, PIXELS[:2, number % 50])
        met_by_age.append(len(met))
    assert met_by_age == [6, 4]  # the root group of each file that is opened, and rgb


def of_a_huge_chunk(path: Path) -> None:
    """A frame of 192 bytes in a chunk of 1.6 GB."""
    with h5py.File(path, "w") as file:
        options = {"maxshape": (None, None, 3), "chunks": (16384, 32768, 3), "compression": "gzip"}
        dataset = file.create_dataset("rgb/a", (8, 8, 3), "u1", **options)
        dataset.id.write_direct_chunk((0, 0, 0), zeros_deflated(16))


def of_a_bomb(path: Path) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("rgb/a", (8, 8, 3), "u1", chunks=(8, 8, 3), compression="gzip")
        dataset.id.write_direct_chunk((0, 0, 0), zeros_deflated(16))


def of_a_bomb_that_fits(path: Path) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("rgb/a", (640, 640, 3), "u1", chunks=(640, 640, 3), compression="gzip")
        dataset.id.write_direct_chunk((0, 0, 0), zeros_deflated(256))


def of_chunks_of_one_value(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("rgb/a", data=np.zeros((100, 100), "u1"), chunks=(1, 1))


def of_very_many_chunks(path: Path) -> None:
    """Of 1 KiB each: 65,536 of them, which took 6 s."""
    with h5py.File(path, "w") as file:
        options = {"chunks": (32, 32), "compression": "gzip"}
        file.create_dataset("rgb/a", (1 << 13, 1 << 13), "u1", **options).id.write_direct_chunk((0, 0), b"x" * 70_000)


def of_endless_gaps(path: Path) -> None:
    """The lists of gaps between names lead back to their beginning."""
    with h5py.File(path, "w") as file:
        file["rgb/a"] = PIXELS
    data = bytearray(path.read_bytes())
    heap = data.find(b"HEAP")
    while heap >= 0:
        size, gap, place = struct.unpack_from("<QQQ", data, heap + 8)
        if gap < size:
            struct.pack_into("<QQ", data, place + gap, gap, 16)
        heap = data.find(b"HEAP", heap + 1)
    path.write_bytes(data)


def of_a_chunk_that_is_not_there(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("rgb/a", (8, 8), "u1", chunks=(4, 8))[:4] = 1


def of_a_wrong_checksum(path: Path) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("rgb/a", (8, 8), "u1", chunks=(8, 8), compression="gzip")
        dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(64))[:-1] + b"x")


def of_another_filter(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("rgb/a", data=PIXELS, scaleoffset=0)


def of_lzf_that_asks_for_4_gigabytes(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("rgb/a", data=PIXELS, chunks=PIXELS.shape, compression="lzf")
    ask_for_more(path, PIXELS.nbytes)


def of_bits(path: Path) -> None:
    """8-bit numbers of which 4 bits count."""
    kind = h5py.h5t.STD_U8LE.copy()
    kind.set_precision(4)
    with h5py.File(path, "w") as file:
        group, space = file.create_group("rgb"), h5py.h5s.create_simple((8, 8))
        h5py.h5d.create(group.id, b"a", kind, space).write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones((8, 8), np.uint8))


HOSTILE = [
    of_a_huge_chunk,
    of_a_bomb,
    of_a_bomb_that_fits,
    of_chunks_of_one_value,
    of_very_many_chunks,
    of_endless_gaps,
    of_a_chunk_that_is_not_there,
    of_a_wrong_checksum,
    of_another_filter,
    of_lzf_that_asks_for_4_gigabytes,
    of_bits,
    shared_group_nodes,
]

READ_EACH = (
    PEAK_MIB
    + """
import resource, sys, time

import h5py, imagecodecs, int8cal.guard.hdf5
from int8cal.samples.hdf5_frames import read_frame
before = peak_mib()
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
for path in sys.argv[1:]:
    started, name = time.process_time(), "none"
    try:
        read_frame(path, "a")
    except Exception as error:
        name = type(error).__name__
    print(name, time.process_time() - started, peak_mib() - before)
"""
)


def test_a_hostile_file_of_frames_costs_nothing(tmp_path: Path) -> None:
    """One process reads them all, so the peak of its memory is the largest of any."""
    for make in HOSTILE:
        make(tmp_path / make.__name__)
    command = [sys.executable, "-c", READ_EACH, *(str(tmp_path / make.__name__) for make in HOSTILE)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    for make, line in zip(HOSTILE, said, strict=True):
        name, seconds, mebibytes = line.split()
        assert name == "ImageError", make.__name__
        assert float(seconds) < 1, make.__name__
        assert float(mebibytes) < 40, make.__name__


def test_a_newer_format_is_refused_with_the_way_back(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w", libver="latest") as file:
        file["rgb/a"] = PIXELS
    with pytest.raises(ImageError, match="newer HDF5 format") as caught:
        hdf5_frames.read_frame(str(tmp_path / "f.h5"), "a")
    assert "libver='earliest'" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["h5://film", "h5://:f", "h5://film:"])
def test_a_name_without_frame(name: str) -> None:
    with pytest.raises(ImageError, match="names no frame"):
        hdf5_frames.frame_of(name)
    assert hdf5_frames.frame_of("h5://a/film:f1") == ("a/film.h5", "f1")
