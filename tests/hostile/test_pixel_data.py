"""Pixel data of PNG files: what zlib refuses is refused, what it takes has the pixels of libpng."""

from __future__ import annotations

import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from tests.build import png_chunk
from tests.deflate_streams import STREAMS

from int8cal import native
from int8cal.errors import ImageError
from int8cal.images import PNG_SIGNATURE, png_pixels
from int8cal.images.decode import decode_corner, decode_image
from int8cal.images.pictures import open_picture
from int8cal.images.pillow import open_converted
from int8cal.types import Size


def png_of(stream: bytes, *, interlaced: bool = False) -> bytes:
    """4×3 RGB pixels, or 2×11 grey ones, whose interlaced rows have as many bytes."""
    header = struct.pack(">IIBBBBB", *((2, 11, 8, 0) if interlaced else (4, 3, 8, 2)), 0, 0, interlaced)
    chunks = (b"IHDR", header), (b"IDAT", stream), (b"IEND", b"")
    return PNG_SIGNATURE + b"".join(png_chunk(*chunk) for chunk in chunks)


def as_zlib(stream: bytes) -> bytes | None:
    """What zlib makes of a whole stream; None: it refuses it."""
    inflater = zlib.decompressobj()
    try:
        found = inflater.decompress(stream)
    except zlib.error:
        return None
    return found if inflater.eof else None


READERS = (
    lambda data: decode_image(data, 3, fast_dct=False, where="x"),
    lambda data: decode_corner(data, 3, Size(2, 3), fast_dct=False, where="x").pixels,
    lambda data: np.asarray(open_picture(data, "x").convert("RGB")),
    lambda data: np.asarray(open_converted(data, "RGB", "x")),
)


@pytest.fixture(params=["kernels", "libraries", "large"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what pixel data are inflated. Those of large images are, piece by piece."""
    if request.param == "libraries":
        monkeypatch.setattr(native, "library", lambda: None)
    if request.param == "large":
        monkeypatch.setattr(png_pixels, "_MAX_BYTES", 4)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize("name", STREAMS)
def test_streams_are_taken_as_zlib_takes_them(name, interlaced):
    data, rows = png_of(STREAMS[name], interlaced=interlaced), as_zlib(STREAMS[name])
    for read in READERS:
        if rows is None:
            with pytest.raises(ImageError, match=r"Invalid PNG data|cannot be decoded"):
                read(data)
        else:
            found, expected = read(data), imagecodecs.png_decode(data)
            expected = expected.repeat(3).reshape(11, 2, 3) if interlaced else expected
            np.testing.assert_array_equal(found, expected[: len(found), : found.shape[1]])
