"""The chunk encoder: HDF5's shuffle and a zlib stream, with levels that do not depend on the processor."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

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
    levels = []
    monkeypatch.setattr(chunks.igzip_lib, "compress", lambda data, level, *_, **__: levels.append(level) or b"")
    Compression.named(name).encode(np.zeros((1, 2, 2), np.float32))
    assert all(level in (1, 2) for level in levels)
    assert bool(levels) == (name == "fast")


def test_images_of_changing_size_do_not_mix():
    fast = Compression.named("fast")
    small, large = np.ones((1, 2, 2), np.float32), np.full((3, 9, 9), 7, np.float32)
    expected = [fast.encode(image) for image in (small, large)]
    assert [fast.encode(image) for image in (small, large, small)] == [*expected, expected[0]]
