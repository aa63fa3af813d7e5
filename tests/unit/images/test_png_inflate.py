"""Inflating a PNG's pixels before its decoder: the same pixels, and the same verdict on whatever is unusual."""

from __future__ import annotations

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from int8cal.images.png import SIGNATURE, read_png
from int8cal.images.png_inflate import with_stored_pixels
from int8cal.types import Size

ROWS = [bytes([4]) + bytes(range(30, 42)) for _ in range(3)]
"""Three rows of four RGB pixels with the Paeth filter."""


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(stream: bytes, *, pieces: int = 1, interlaced: int = 0) -> bytes:
    """A PNG of 4×3 RGB pixels around a zlib stream."""
    header = struct.pack(">IIBBBBB", 4, 3, 8, 2, 0, 0, interlaced)
    step = -(-len(stream) // pieces)
    data = [chunk(b"IDAT", stream[begin : begin + step]) for begin in range(0, len(stream), step)]
    return SIGNATURE + chunk(b"IHDR", header) + b"".join(data) + chunk(b"IEND", b"")


def stored(data: bytes, corner: Size | None = None) -> bytes | None:
    return with_stored_pixels(read_png(data, "image.png"), corner)


KINDS = pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])


def saved(mode: str, height: int, width: int) -> bytes:
    """A PNG of noise on a gradient, so that a writer finds use for every filter."""
    noise = np.random.default_rng(3).integers(0, 40, (height, width, 3))
    noise = (noise + np.arange(width)[:, None] + np.arange(height)[:, None, None]).astype(np.uint8)
    picture = Image.fromarray(noise)
    picture = Image.fromarray(noise[..., 0].astype(np.uint16) * 251) if mode == "I;16" else picture.convert(mode)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@KINDS
@pytest.mark.parametrize("size", [(1, 1), (21, 37), (375, 500)])
def test_the_pixels_are_the_same_for_every_kind_of_png(mode, size):
    data = saved(mode, *size)
    inflated = stored(data)
    assert inflated is not None
    np.testing.assert_array_equal(imagecodecs.png_decode(inflated), imagecodecs.png_decode(data))


@KINDS
@pytest.mark.parametrize("corner", [Size(1, 1), Size(9, 37), Size(21, 8), Size(13, 29), Size(21, 37), Size(50, 50)])
def test_a_corner_has_the_pixels_of_the_whole(mode, corner):
    data = saved(mode, 21, 37)
    inflated = stored(data, corner)
    assert inflated is not None
    rows, columns = corner
    pixels = imagecodecs.png_decode(inflated)
    np.testing.assert_array_equal(pixels[:rows, :columns], imagecodecs.png_decode(data)[:rows, :columns])
    if mode != "1":  # pixels that share a byte are not parted
        assert pixels.shape[:2] == (min(21, rows), min(37, columns))


@pytest.mark.parametrize("filter_type", range(5))
def test_a_corner_is_right_with_every_filter(filter_type):
    rows = np.random.default_rng(5).integers(0, 256, (3, 13), np.uint8)
    rows[:, 0] = filter_type
    data = png_of(zlib.compress(rows.tobytes()))
    inflated = stored(data, Size(2, 3))
    assert inflated is not None
    np.testing.assert_array_equal(imagecodecs.png_decode(inflated), imagecodecs.png_decode(data)[:2, :3])


def test_pixel_data_in_several_chunks_are_joined():
    inflated = stored(png_of(zlib.compress(b"".join(ROWS)), pieces=4))
    assert inflated is not None
    expected = imagecodecs.spng_decode(png_of(zlib.compress(b"".join(ROWS))))
    np.testing.assert_array_equal(imagecodecs.spng_decode(inflated), expected)


def test_what_is_handed_on_is_a_sound_png():
    inflated = stored(png_of(zlib.compress(b"".join(ROWS))))
    assert inflated is not None
    assert [bytes(part[4:8]) for part in read_png(inflated, "image.png").chunks] == [b"IHDR", b"IDAT", b"IEND"]


GOOD = zlib.compress(b"".join(ROWS))


@pytest.mark.parametrize(
    ("unusual", "data"),
    {
        "cut off": png_of(GOOD[:-6]),
        "without its checksum": png_of(GOOD[:-4]),
        "wrong checksum": png_of(GOOD[:-1] + bytes([GOOD[-1] ^ 1])),
        "too short": png_of(zlib.compress(b"".join(ROWS[:2]))),
        "too long": png_of(zlib.compress(b"".join([*ROWS, ROWS[0]]))),
        "a bomb": png_of(zlib.compress(bytes(50_000_000))),
        "bytes behind it": png_of(GOOD + b"more"),
        "no zlib stream": png_of(b"\x78\x01 is not enough"),
        "another window": png_of(b"\x68\x05" + GOOD[2:]),
        "interlaced": png_of(GOOD, interlaced=1),
    }.items(),
)
def test_unusual_data_are_left_to_the_decoder(unusual, data):
    assert stored(data) is None, unusual


def test_a_damaged_row_outside_of_the_corner_is_left_to_the_decoder():
    damaged = png_of(zlib.compress(b"".join([*ROWS[:2], bytes([5]) + ROWS[2][1:]])))
    assert stored(damaged, Size(2, 2)) is None


def test_an_image_too_large_for_memory_to_be_taken_twice_is_left_to_the_decoder():
    header = struct.pack(">IIBBBBB", 3000, 2000, 8, 2, 0, 0, 0)
    data = SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", GOOD) + chunk(b"IEND", b"")
    assert stored(data) is None
