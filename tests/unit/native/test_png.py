"""The kernels for PNG: zlib streams as zlib reads them, rows as libpng undoes their filters."""

from __future__ import annotations

import math
import random
import struct
import zlib
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.build import png_chunk
from tests.deflate_streams import STREAMS, header_of, looking_back

from int8cal import native
from int8cal.images import PNG_SIGNATURE, png_pixels
from int8cal.images.decode import decode_corner, decode_image
from int8cal.images.png import read_png
from int8cal.images.png_pixels import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA
from int8cal.types import Size

pytestmark = pytest.mark.usefixtures("with_library")

ROOM = 1 << 17
STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED)


def as_zlib(stream: bytes) -> bytes | None:
    """What zlib makes of a stream and what may be behind it; None: it refuses it, or there is more than has room.

    Beyond the window, zlib looks back only among the bytes that it gives together: one, if that is a small one.
    """
    inflater = zlib.decompressobj(wbits=0)  # the window that the stream states
    step = ROOM + 1 if stream[:1] == b"\x78" else 1
    found = bytearray()
    try:
        while not inflater.eof and len(found) <= ROOM:
            some = inflater.decompress(stream, step)
            found += some
            stream = inflater.unconsumed_tail
            if not some:
                break
    except zlib.error:
        return None
    return bytes(found) if inflater.eof and len(found) <= ROOM else None


def as_kernel(stream: bytes, room: int = ROOM) -> bytes | None:
    try:
        found = native.inflated(stream, room)
    except ValueError:
        return None
    assert found is not None
    return found.tobytes()


KINDS: dict[str, Callable[[random.Random, int], bytes]] = {
    "noise": lambda rng, count: rng.randbytes(count),
    "few": lambda rng, count: bytes(rng.choices(b"\0\1\2\3\xff", k=count)),
    "residues": lambda rng, count: bytes(int(rng.gauss(0, 9)) % 256 for _ in range(count)),
    "repeated": lambda rng, count: (rng.randbytes(rng.randrange(1, 300)) * count)[:count],
    "halves": lambda rng, count: bytes(int(rng.expovariate(math.log(2))) % 256 for _ in range(count)),
    "steps": lambda rng, count: bytes(i // 40 % 256 for i in range(count)),
    "zeros": lambda rng, count: bytes(count),
}


def compressed(kind: str, count: int, rng: random.Random) -> tuple[bytes, bytes]:
    """Bytes, and their stream by any of zlib's ways."""
    data, level, memory = KINDS[kind](rng, count), rng.randrange(10), rng.randrange(1, 10)
    deflate = zlib.compressobj(
        level, zlib.DEFLATED, rng.choice((15, rng.randrange(9, 15))), memory, rng.choice(STRATEGIES)
    )
    half = deflate.compress(data[: count // 2])
    if rng.random() < 0.3:
        half += deflate.flush(rng.choice((zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH)))
    return data, half + deflate.compress(data[count // 2 :]) + deflate.flush()


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(sorted(KINDS)), st.integers(0, 3000) | st.integers(30_000, 50_000), st.integers(0, 9999))
def test_streams_of_every_kind_are_read(kind: str, count: int, seed: int) -> None:
    data, stream = compressed(kind, count, random.Random(seed))
    assert as_kernel(stream) == data
    assert as_kernel(stream + b"what is behind", count) == data
    assert as_kernel(stream, count - 1) is None or not count


def stating(window: int, stream: bytes) -> bytes:
    """The stream with a header that states a window of 2 ** ``window`` bytes, whatever distances it has."""
    return header_of(window) + stream[2:]


def with_right_checksum(stream: bytes) -> bytes:
    """The stream with the checksum of what it gives, as far as it can be told."""
    inflater = zlib.decompressobj(-15)
    try:
        data = inflater.decompress(stream[2:])
    except zlib.error:
        return stream
    end = len(stream) - len(inflater.unused_data)
    return stream[:end] + struct.pack(">I", zlib.adler32(data)) + stream[end + 4 :]


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(KINDS)), st.integers(1, 600), st.integers(0, 99_999))
def test_damaged_streams_are_taken_and_refused_as_by_zlib(kind: str, count: int, seed: int) -> None:
    rng = random.Random(seed)
    damaged = bytearray(stating(rng.choice((15, rng.randrange(8, 15))), compressed(kind, count, rng)[1]))
    for _ in range(rng.choice((0, 1, 1, 3))):
        damaged[rng.randrange(2, len(damaged))] ^= 1 << rng.randrange(8)
    for stream in (bytes(damaged), with_right_checksum(bytes(damaged))):
        assert as_kernel(stream) == as_zlib(stream)


@pytest.mark.parametrize("name", STREAMS)
def test_unusual_streams_are_taken_and_refused_as_by_zlib(name: str) -> None:
    assert as_kernel(STREAMS[name]) == as_zlib(STREAMS[name])


@pytest.mark.parametrize("more", [0, 400], ids=["at the end of all", "where there is more"])
@pytest.mark.parametrize("window", range(8, 16))
def test_distances_reach_to_the_end_of_the_window(window: int, more: int) -> None:
    size = 1 << window
    for distance in (size - 1, size, size + 1) if window < 15 else (size - 1, size):
        stream = looking_back(window, distance)
        expected = as_zlib(stream)
        assert (expected is None) == (distance > size)
        assert as_kernel(stream + bytes(more), size + 8 + more) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_streams_are_refused_wherever_they_are_cut(kind: str) -> None:
    _, stream = compressed(kind, 700, random.Random(3))
    assert [end for end in range(len(stream)) if as_kernel(stream[:end]) is not None] == []


def test_small_images_take_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """libpng states a window as small as the image."""
    pixels = np.random.default_rng(3).integers(0, 256, (16, 20, 3), np.uint8)
    data = imagecodecs.png_encode(pixels)
    assert read_png(data, "x").pixel_data[0][0] < native.USUAL_WINDOW
    monkeypatch.setattr(png_pixels, "_inflated_in_pieces", None)
    np.testing.assert_array_equal(decode_image(data, 3, fast_dct=False, where="x"), pixels)


CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}


def png_of(rows: np.ndarray, height: int, width: int, colour_type: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    palette = np.random.default_rng(1).bytes(768)
    chunks = [(b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(rows.tobytes(), 1)), (b"IEND", b"")]
    return PNG_SIGNATURE + b"".join(png_chunk(*part) for part in chunks if part[0] != b"PLTE" or colour_type == PALETTE)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(sorted(CHANNELS)),
    st.integers(1, 9),
    st.integers(1, 40),
    st.integers(1, 12),
    st.integers(1, 45),
    st.sampled_from((0, 1, 2, 3, 4, None)),
    st.integers(0, 9999),
)
def test_pixels_are_those_of_libpng(
    colour_type: int, height: int, width: int, rows: int, columns: int, only_filter: int | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    filtered = rng.integers(0, 256, (height, 1 + width * CHANNELS[colour_type]), np.uint8)
    filtered[:, 0] = rng.integers(0, 5, height) if only_filter is None else only_filter
    data = png_of(filtered, height, width, colour_type)
    expected = imagecodecs.png_decode(data).reshape(height, width, -1)
    expected = expected[:, :, :1].repeat(3, axis=2) if expected.shape[2] < 3 else expected[:, :, :3]
    found, size = decode_corner(data, 3, Size(rows, columns), fast_dct=False, where="x")
    assert size == (height, width)
    np.testing.assert_array_equal(found, expected[:rows, :columns])


def test_rows_that_are_not_wanted_have_known_filters_too() -> None:
    rows = np.zeros((3, 7), np.uint8)
    assert native.unfiltered(rows, 3, 2, 1) is not None
    rows[2, 0] = 5
    with pytest.raises(ValueError, match="unknown filter"):
        native.unfiltered(rows, 3, 2, 1)


@pytest.mark.parametrize(("step", "height", "width"), [(3, 4, 2), (3, 3, 3), (0, 1, 1), (5, 1, 1)])
def test_no_more_is_read_than_there_is(step: int, height: int, width: int) -> None:
    with pytest.raises(ValueError, match="pixels of"):
        native.unfiltered(np.zeros((3, 7), np.uint8), step, height, width)
