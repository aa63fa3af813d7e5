"""The pixel data of a PNG inflated by ISA-L, three times as fast as the zlib inside PNG decoders.

The decoder gets the same file with its pixel data stored instead of compressed, and has filters and colours left to do.
Only a file of which nothing is to be said takes this way: whatever is unusual about the compressed data (cut off, too
short, too long, a wrong checksum, a window that is not the usual one) is left to the decoder, whose verdict counts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from isal import isal_zlib

from int8cal.images.png import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, SIGNATURE, Png, header_chunk
from int8cal.types import Size

_CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}

_USUAL_WINDOW = 0x78
"""First byte of a zlib stream: deflate, distances of up to 32 KiB."""

_MAX_BYTES = 1 << 24
"""Images of more than 5.6 megapixels (RGB) are inflated row by row in the decoder, which takes less memory."""

_LONGEST_STORED = 65535

_LAST_FILTER = 4


def with_stored_pixels(png: Png, corner: Size | None = None) -> bytes | None:
    """The file as the decoder needs it, its pixel data inflated; None when the decoder must see them as they are.

    Args:
        png: the file.
        corner: rows and columns that will be looked at. PNG predicts a pixel from those on its left and above, so that
            what is right of them and below can be left out when it need not be undone: the file made is of a smaller
            image then.
    """
    expected = _filtered_bytes(png)
    if png.interlaced or expected > _MAX_BYTES:
        return None
    before, body, after = _parts(png)
    if body[:1] != bytes([_USUAL_WINDOW]):
        return None
    inflater = isal_zlib.decompressobj()
    try:
        pixels = inflater.decompress(body, expected + 1)
    except isal_zlib.error:  # type: ignore[misc]  # the package's stub calls it a plain object
        return None
    if len(pixels) != expected or not inflater.eof or inflater.unused_data:
        return None
    seen = _seen(png, corner)
    if seen == png:
        return b"".join((SIGNATURE, *before, *_stored_chunk(pixels, body[-4:]), *after))
    rows = np.frombuffer(pixels, np.uint8).reshape(png.height, -1)
    if rows[:, 0].max() > _LAST_FILTER:
        return None
    pixels = rows[: seen.height, : _filtered_bytes(seen) // seen.height].tobytes()
    checksum = struct.pack(">I", isal_zlib.adler32(pixels))
    return b"".join((SIGNATURE, header_chunk(seen), *before[1:], *_stored_chunk(pixels, checksum), *after))


def _seen(png: Png, corner: Size | None) -> Png:
    """The image that is left when only a corner is wanted; the same where pixels share bytes."""
    if corner is None or png.bit_depth < 8:
        return png
    return replace(png, height=min(png.height, corner.height), width=min(png.width, corner.width))


def _filtered_bytes(png: Png) -> int:
    """Bytes of all rows, each with its filter type before it."""
    return png.height * (1 + (png.width * png.bit_depth * _CHANNELS[png.colour_type] + 7) // 8)


def _parts(png: Png) -> tuple[list[memoryview], bytes, list[memoryview]]:
    """The chunks before the pixel data, the compressed data, and the chunks after."""
    numbers = [number for number, chunk in enumerate(png.chunks) if bytes(chunk[4:8]) == b"IDAT"]
    first, behind = numbers[0], numbers[-1] + 1
    data = b"".join(png.chunks[number][8:-4] for number in numbers)
    return list(png.chunks[:first]), data, list(png.chunks[behind:])


def _stored_chunk(pixels: bytes, checksum: bytes) -> Iterator[bytes | memoryview]:
    """An IDAT chunk that holds the pixels uncompressed, in pieces."""
    stream = list(_stored_stream(pixels, checksum))
    yield struct.pack(">I", sum(map(len, stream)))
    crc = 0
    for piece in (b"IDAT", *stream):
        crc = isal_zlib.crc32(piece, crc)
        yield piece
    yield struct.pack(">I", crc)


def _stored_stream(pixels: bytes, checksum: bytes) -> Iterator[bytes | memoryview]:
    """A zlib stream of stored blocks, which ends with the pixels' checksum (Adler-32) as the compressed one did."""
    yield b"\x78\x01"
    view = memoryview(pixels)
    for begin in range(0, len(view), _LONGEST_STORED):
        block = view[begin : begin + _LONGEST_STORED]
        is_last = begin + _LONGEST_STORED >= len(view)
        yield struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF)
        yield block
    yield checksum
