"""PNG: pixels inflated and verified before the decoder sees them, and chunks in their order and number."""

from __future__ import annotations

import io
import struct
import sys
import time
import zlib
from contextlib import nullcontext

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from tests.deflate_streams import header_of
from tests.pictures import interlaced_png

from int8cal import native
from int8cal.errors import ImageError
from int8cal.images import PNG_SIGNATURE, png_pixels
from int8cal.images.decode import decode_corner, decode_image
from int8cal.images.pictures import open_picture
from int8cal.images.png import read_png
from int8cal.images.png_pixels import with_stored_pixels
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
    return PNG_SIGNATURE + chunk(b"IHDR", header) + b"".join(data) + chunk(b"IEND", b"")


def stored(data: bytes, corner: Size | None = None) -> bytes:
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


def test_indices_without_a_colour_are_as_the_decoder_has_them(monkeypatch):
    rows = np.insert(np.arange(12, dtype=np.uint8).reshape(3, 4), 0, 0, axis=1)
    data = (
        PNG_SIGNATURE
        + INDEXED
        + chunk(b"PLTE", bytes(range(30)))
        + chunk(b"IDAT", zlib.compress(rows.tobytes()))
        + IEND
    )
    found = []
    for corner in (Size(2, 4), Size(3, 4)):
        for library in (native.library(), None):
            monkeypatch.setattr(native, "library", lambda library=library: library)
            try:
                found.append(decode_corner(data, 3, corner, fast_dct=False, where="x").pixels.tolist())
            except ImageError as error:
                found.append(error.message)
    assert found[0] == found[1] == np.arange(24).reshape(2, 4, 3).tolist()
    assert found[2] == found[3]


@KINDS
@pytest.mark.parametrize("size", [(1, 1), (21, 37), (375, 500)])
def test_the_pixels_are_the_same_for_every_kind_of_png(mode, size):
    data = saved(mode, *size)
    inflated = stored(data)
    np.testing.assert_array_equal(imagecodecs.png_decode(inflated), imagecodecs.png_decode(data))


@KINDS
@pytest.mark.parametrize("corner", [Size(1, 1), Size(9, 37), Size(21, 8), Size(13, 29), Size(21, 37), Size(50, 50)])
def test_a_corner_has_the_pixels_of_the_whole(mode, corner):
    data = saved(mode, 21, 37)
    inflated = stored(data, corner)
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
    np.testing.assert_array_equal(imagecodecs.png_decode(inflated), imagecodecs.png_decode(data)[:2, :3])


def test_pixel_data_in_several_chunks_are_joined():
    inflated = stored(png_of(zlib.compress(b"".join(ROWS)), pieces=4))
    expected = imagecodecs.spng_decode(png_of(zlib.compress(b"".join(ROWS))))
    np.testing.assert_array_equal(imagecodecs.spng_decode(inflated), expected)


def test_what_is_handed_on_is_a_sound_png():
    inflated = stored(png_of(zlib.compress(b"".join(ROWS))))
    assert [bytes(part[4:8]) for part in read_png(inflated, "image.png").chunks] == [b"IHDR", b"IDAT", b"IEND"]


GOOD = zlib.compress(b"".join(ROWS))


PASSED_OVER = {
    "bytes behind it": png_of(GOOD + b"more"),
    "many bytes behind it": png_of(GOOD + bytes(1_500_000)),
    "empty blocks": png_of(GOOD[:2] + bytes.fromhex("000000ffff") * 100_000 + GOOD[2:]),
    "a row too many": png_of(zlib.compress(b"".join([*ROWS, ROWS[0]]))),
    "another window": png_of(b"\x68\x05" + GOOD[2:]),
}


@pytest.mark.parametrize("data", PASSED_OVER.values(), ids=PASSED_OVER)
def test_what_libpng_passes_over_changes_no_pixel(capfd, data):
    for read in (lambda: decode_image(data, 3, fast_dct=False, where="x"), lambda: np.asarray(open_picture(data, "x"))):
        np.testing.assert_array_equal(read(), imagecodecs.spng_decode(png_of(GOOD)))
    assert capfd.readouterr().err == ""


DAMAGED = {
    "cut off": png_of(GOOD[:-6]),
    "without its checksum": png_of(GOOD[:-4]),
    "without a byte of its checksum": png_of(GOOD[:-1]),
    "wrong checksum": png_of(GOOD[:-1] + bytes([GOOD[-1] ^ 1])),
    "wrong checksum in a chunk of its own": png_of(GOOD[:-4] + b"abcd", pieces=len(GOOD) // 4),
    "too short": png_of(zlib.compress(b"".join(ROWS[:2]))),
    "a bomb": png_of(zlib.compress(bytes(50_000_000))),
    "empty blocks": png_of(GOOD[:2] + bytes.fromhex("000000ffff") * 300_000 + GOOD[2:]),
    "no zlib stream": png_of(b"\x78\x01 is not enough"),
    "unknown filter": png_of(zlib.compress(b"".join([*ROWS[:2], bytes([5]) + ROWS[2][1:]]))),
    "too short for an interlaced image": png_of(zlib.compress(b"".join(ROWS)[:-9]), interlaced=1),
}


@pytest.mark.parametrize("large", [False, True], ids=["usual", "large"])
@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_damaged_pixel_data_are_refused(monkeypatch, data, large):
    if large:  # read piece by piece
        monkeypatch.setattr(png_pixels, "_MAX_BYTES", 4)
    for read in (
        lambda: decode_image(data, 3, fast_dct=False, where="x"),
        lambda: decode_corner(data, 3, Size(2, 2), fast_dct=False, where="x"),
        lambda: open_picture(data, "x"),
    ):
        with pytest.raises(ImageError, match=r"x: .*(Invalid PNG data|cannot be decoded)"):
            read()


def far_back(window: int, *, interlaced: int = 0) -> bytes:
    """64×64 pixels; rows repeat those 3,088 bytes before, and the stream names a window of 256 × 2 ** ``window``."""
    noise = np.random.default_rng(3).integers(0, 5, (16, 193), np.uint8)  # all of them filters, wherever rows begin
    stream = zlib.compress(np.tile(noise, (4, 1)).tobytes() + bytes(100 * interlaced), 9)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, interlaced))
    pixels = chunk(b"IDAT", header_of(8 + window) + stream[2:])
    return b"".join((PNG_SIGNATURE, header, pixels, chunk(b"IEND", b"")))


@pytest.mark.parametrize("large", [False, True], ids=["usual", "large"])
@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize("window", range(8))
def test_distances_stay_in_the_window_that_the_stream_names(monkeypatch, window, interlaced, large):
    if large:
        monkeypatch.setattr(png_pixels, "_MAX_BYTES", 4)
    data = far_back(window, interlaced=interlaced)
    if not interlaced:
        with pytest.raises(imagecodecs.PngError) if window < 4 else nullcontext():
            imagecodecs.png_decode(data)
    for read in (lambda data: decode_image(data, 3, fast_dct=False, where="x"), lambda data: open_picture(data, "x")):
        if window < 4:
            with pytest.raises(ImageError, match="too far back"):
                read(data)
        else:
            expected = Image.open(io.BytesIO(far_back(7, interlaced=interlaced)))
            np.testing.assert_array_equal(np.asarray(read(data)), np.asarray(expected))


@pytest.mark.parametrize("interlaced", [0, 1])
def test_damage_costs_no_reference_to_none(interlaced):
    """Python 3.11 ends when there are none left."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 0, 0, 0, interlaced))
    data = PNG_SIGNATURE + header + chunk(b"IDAT", zlib.compress(b"\7\0\0")) + chunk(b"IEND", b"")
    before = sys.getrefcount(None)
    for _ in range(1000):
        with pytest.raises(ImageError, match="filter"):
            decode_image(data, 3, fast_dct=False, where="x")
    assert sys.getrefcount(None) > before - 500


IHDR, PLTE = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 8, 2, 0, 0, 0)), chunk(b"PLTE", bytes(6))
INDEXED = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 8, 3, 0, 0, 0))
FIRST, SECOND = chunk(b"IDAT", GOOD[:9]), chunk(b"IDAT", GOOD[9:])
WHOLE = chunk(b"IDAT", GOOD)
INDICES = chunk(b"IDAT", zlib.compress(bytes(15)))
IEND, NOTE = chunk(b"IEND", b""), chunk(b"tEXt", b"a\0b")


@pytest.mark.parametrize(
    "chunks",
    [
        (IHDR, PLTE, PLTE, WHOLE, IEND),
        (IHDR, WHOLE, PLTE, IEND),
        (INDEXED, INDICES, PLTE, IEND),
        (INDEXED, INDICES, IEND),
        (IHDR, FIRST, NOTE, SECOND, IEND),
        (IHDR, FIRST, PLTE, SECOND, IEND),
        (IHDR, WHOLE, NOTE, chunk(b"IDAT", b""), IEND),
        (IHDR, IHDR, WHOLE, IEND),
        (IHDR, WHOLE, IHDR, IEND),
        (PLTE, IHDR, WHOLE, IEND),
        (IHDR, chunk(b"PLTE", bytes(7)), WHOLE, IEND),
        (IHDR, chunk(b"PLTE", b""), WHOLE, IEND),
        (IHDR, chunk(b"PLTE", bytes(771)), WHOLE, IEND),
        (IHDR, chunk(b"abcd", b""), WHOLE, IEND),
        (IHDR, chunk(b"a\0Cd", b""), WHOLE, IEND),
        (IHDR, chunk(b"ABCD", b""), WHOLE, IEND),
        (IHDR, WHOLE),
        (IHDR, IEND),
    ],
)
def test_order_and_number_of_critical_chunks(chunks):
    for read in (lambda data: decode_image(data, 3, fast_dct=False, where="x"), lambda data: open_picture(data, "x")):
        with pytest.raises(ImageError, match="Invalid PNG data") as caught:
            read(PNG_SIGNATURE + b"".join(chunks))
        assert caught.value.hint


@pytest.mark.parametrize(
    "chunks", [(IHDR, PLTE, WHOLE, IEND), (IHDR, NOTE, FIRST, SECOND, NOTE, IEND), (IHDR, WHOLE, IEND, b"more")]
)
def test_what_is_allowed_around_the_pixels(chunks):
    found = decode_image(PNG_SIGNATURE + b"".join(chunks), 3, fast_dct=False, where="x")
    np.testing.assert_array_equal(found, imagecodecs.spng_decode(png_of(GOOD)))


def test_a_million_chunks_are_refused_soon():
    data = PNG_SIGNATURE + IHDR + NOTE * 1_000_000 + WHOLE + IEND
    begin = time.process_time()
    with pytest.raises(ImageError, match="more than 131072 chunks"):
        decode_image(data, 3, fast_dct=False, where="x")
    assert time.process_time() - begin < 2


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (13, 21)])
@pytest.mark.parametrize(
    ("bit_depth", "colour_type"),
    [(1, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (8, 3), (8, 4), (16, 4), (8, 6), (16, 6)],
)
def test_interlaced_images_are_those_of_libpng(capfd, size, bit_depth, colour_type):
    data = interlaced_png(*size, bit_depth, colour_type)
    expected = imagecodecs.png_decode(data).reshape(*size, -1)
    capfd.readouterr()
    found = decode_image(data, 3, fast_dct=False, where="x")
    assert capfd.readouterr().err == ""
    expected = (expected >> 8).astype(np.uint8) if bit_depth == 16 else expected
    np.testing.assert_array_equal(
        found, expected[:, :, :3] if expected.shape[2] > 2 else expected[:, :, :1].repeat(3, 2)
    )


def test_an_image_too_large_for_memory_to_be_taken_twice_is_left_to_the_decoder(monkeypatch):
    monkeypatch.setattr(png_pixels, "_MAX_BYTES", 1 << 18)
    noise = np.random.default_rng(3).integers(0, 256, (900, 1, 3), np.uint8).repeat(600, axis=1)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG", compress_level=1)
    data = file.getvalue()
    for read in (lambda data: decode_image(data, 3, fast_dct=False, where="x"), lambda data: open_picture(data, "x")):
        np.testing.assert_array_equal(np.asarray(read(data)), noise)
        with pytest.raises(ImageError, match=r"Not enough image data|without a checksum"):
            read(without_checksum(data))


def without_checksum(data: bytes) -> bytes:
    """The file without the checksum of its pixel data."""
    parts, offset = [], len(PNG_SIGNATURE)
    while offset < len(data):
        (length,) = struct.unpack_from(">I", data, offset)
        parts.append((data[offset + 4 : offset + 8], data[offset + 8 : offset + 8 + length]))
        offset += 12 + length
    last = max(number for number, (kind, _) in enumerate(parts) if kind == b"IDAT")
    parts[last] = (b"IDAT", parts[last][1][:-4])
    return PNG_SIGNATURE + b"".join(chunk(*part) for part in parts)
