"""The chunk encoder: HDF5's shuffle and a zlib stream, with levels that do not depend on the processor."""

from __future__ import annotations

import hashlib
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from int8cal.tensorfile import chunks
from int8cal.tensorfile.chunks import Compression
from int8cal.types import COMPRESSIONS


@pytest.mark.parametrize("name", ["fast", "small"])
def test_chunk_is_shuffle_then_zlib(name):
    image = np.random.default_rng(1).random((3, 5, 7), np.float32)
    planes = np.frombuffer(zlib.decompress(Compression.named(name).encode(image)), np.uint8).reshape(4, -1)
    np.testing.assert_array_equal(planes.T.reshape(-1).view(np.float32).reshape(image.shape), image)


def test_uncompressed_chunk_is_the_values():
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    assert Compression.named("none").encode(image) == image.tobytes()


@pytest.mark.parametrize("name", ["fast", "small"])
def test_a_lowest_plane_of_zeros_comes_back_too(name):
    image = np.random.default_rng(2).random((3, 40, 50)).astype(np.float16).astype(np.float32)
    assert not image.view(np.uint8).reshape(-1, 4)[:, 0].any(), "half-precision values end in a zero byte"
    planes = np.frombuffer(zlib.decompress(Compression.named(name).encode(image)), np.uint8).reshape(4, -1)
    np.testing.assert_array_equal(planes.T.reshape(-1).view(np.float32).reshape(image.shape), image)


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_igzip_level_stays_below_the_one_that_differs_between_processors(monkeypatch, name):
    levels, real = [], chunks.isal_zlib.compressobj
    monkeypatch.setattr(
        chunks.isal_zlib, "compressobj", lambda level, **options: levels.append(level) or real(level, **options)
    )
    Compression.named(name).encode(np.zeros((1, 2, 2), np.float32))
    assert all(level in (1, 2) for level in levels)
    assert bool(levels) == (name == "fast")


def test_bytes_do_not_depend_on_where_memory_lies():
    """igzip takes a hash of an address at the beginning of a stream; one of 8192 slots then has another place."""
    fast = Compression.named("fast")
    patterns = np.random.default_rng(1).integers(0, 256, (20_000, 60), np.uint8)
    images = np.tile(patterns, 2).view(np.float32).reshape(-1, 1, 5, 6)
    all_at_once = threading.Barrier(3)

    def encoded(_: int) -> str:
        all_at_once.wait()  # so that each of them is on a thread, and a stack, of its own
        digest = hashlib.sha256()
        for image in images:
            digest.update(fast.encode(image))
        return digest.hexdigest()

    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(encoded, range(3)))) == 1


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 60) | st.integers(1, 60_000), st.integers(1, 5000), st.integers(1, 256), st.integers(0, 9999))
def test_what_igzip_deflates_comes_back(count: int, period: int, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    period = min(period, count)
    planes = np.tile(rng.integers(0, levels, (4, period), np.uint8), count // period + 1)[:, :count].copy()
    planes[:, rng.integers(0, count, count // 200)] ^= 1
    planes[0] *= seed % 2
    assert zlib.decompress(Compression.named("fast")._zlib_stream(planes)) == planes.tobytes()


def test_images_of_changing_size_do_not_mix():
    fast = Compression.named("fast")
    small, large = np.ones((1, 2, 2), np.float32), np.full((3, 9, 9), 7, np.float32)
    expected = [fast.encode(image) for image in (small, large)]
    assert [fast.encode(image) for image in (small, large, small)] == [*expected, expected[0]]
