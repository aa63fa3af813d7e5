"""PNG → pixels as libpng gives them to the reference; the file around them is read by `int8cal.images.png`.

**Pixel data** are inflated and their filters undone by kernels of our own (`int8cal.native`), for the rows and columns
that are wanted. Without them zlib-ng inflates, and libspng gets the same file with its pixel data stored instead of
compressed. Either takes what zlib takes: ISA-L and libdeflate take code tables that zlib refuses, libspng alone takes a
stream that ends without its checksum. Python's zlib inflates what neither does: `_inflated_in_pieces`.

**RGB**: palette and low bit depths expanded, grey replicated, alpha and tRNS dropped (not composited), 16 bits cut to
the high byte, gamma ignored.

**Grey**: of colour pixels libpng's ``rgb_to_gray`` (pngrtran.c, png_do_rgb_to_gray)::

    y = (9797 R + 19234 G + 3737 B) >> 15                                     no gamma, or one close to 1
    y = from_linear[(9797 lin(R) + 19234 lin(G) + 3737 lin(B) + 16384) >> 15]   with a gamma; R = G = B stays as it is
    y = ((9797 R + 19234 G + 3737 B + 16384) >> 15) >> 8                       16 bits

Evidence: the ``oddpng`` cases of the golden set, in colour and grey.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeAlias, TypeGuard

import imagecodecs
import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from int8cal import native
from int8cal.errors import ImageError
from int8cal.images import PNG_SIGNATURE
from int8cal.images.limits import decoding
from int8cal.images.png import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, Png, header_chunk
from int8cal.types import ImageHWC_u8, Size

_Pixels: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

_CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}

_MAX_BYTES = 1 << 24
"""Images of more than 5.6 megapixels (RGB) are inflated row by row in libpng, which takes less memory and four times as
long: they are inflated twice, for libpng only warns of what is missing."""

_OF_KERNELS = 4
"""So many times more bytes are left to the kernels: pixels and rows are all that they take."""

_MAX_SURPLUS = 1 << 16
"""Bytes behind the last row that are passed over."""

_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Adam7: first column, first row, distance between columns, between rows."""

_LONGEST_STORED = 65535
_PIECE = 1 << 18  # bytes of a large image that are inflated at a time
_SHORT_PIECE = 1 << 10  # the same, of an image whose stream names a small window
_MOST_PIECES = 1 << 20  # of such an image: rows of few bytes take several at a time
_FED = 1 << 10  # bytes of a stream that zlib is given at a time
_ITS_OWN_WINDOW = 0  # for zlib: that of the stream
_ENDING_EARLY = "its pixel data end early"
_UNENDING = "its pixel data end without a checksum, or are far longer than its pixels"

_LAST_FILTER = 4

_RED, _GREEN, _BLUE = 9797, 19234, 3737
"""libpng's luminance weights, × 32768."""

_GAMMA_THRESHOLD = 5000
"""A gamma this close to 1 (× 100 000) counts as none."""

_STRIP_PIXELS = 1 << 17
"""Pixels that are converted at a time: what that needs stays in the processor's cache, however large the image."""


def with_stored_pixels(png: Png, corner: Size | None = None) -> bytes:
    """The file as the decoder needs it, its pixel data inflated and verified.

    Args:
        png: a file that is not interlaced.
        corner: rows and columns that will be looked at. PNG predicts a pixel from those on its left and above, so that
            what is right of them and below can be left out when it need not be undone: the file made is of a smaller
            image then.

    Raises:
        Exception: the pixel data are damaged; its class depends on what inflates them.
    """
    return _stored_corner(png, _inflated(png, _filtered_bytes(png)), corner)


def _stored_corner(png: Png, pixels: npt.NDArray[np.uint8], corner: Size | None) -> bytes:
    """The file as the decoder needs it, made of rows that were inflated. No decoder gets a wrong filter.

    Each error of `imagecodecs.png_decode` drops a reference to None, and Python 3.11 ends when there are none left.
    """
    rows = pixels.reshape(png.height, -1)
    if rows[:, 0].max() > _LAST_FILTER:
        raise ValueError("a row has an unknown filter")
    seen = _seen(png, corner)
    if seen == png:
        return _stored(png, rows)
    return _stored(seen, np.ascontiguousarray(rows[: seen.height, : _filtered_bytes(seen) // seen.height]))


def sound_file(png: Png) -> bytes:
    """The critical chunks, with pixel data that were verified, for a decoder that is less strict; raises as above."""
    expected = sum(_filtered_bytes(part) for _, part in _passes(png)) if png.interlaced else _filtered_bytes(png)
    if expected > _MAX_BYTES:
        _check_piece_by_piece(png, expected)
    elif png.interlaced:
        _inflated(png, expected)
    else:
        return with_stored_pixels(png)
    return png.critical


def _check_piece_by_piece(png: Png, expected: int) -> None:
    """Refuse pixel data that `_inflated` would refuse, without memory for the rows."""
    left, unread = expected + _MAX_SURPLUS, _longest(expected)
    parts: list[bytes | memoryview] = []
    for part in png.pixel_data:
        parts.append(part[:unread])
        unread -= len(parts[-1])
    for rows in _inflated_in_pieces(png, parts, expected):
        left -= len(rows)
        if left < 0:
            raise ValueError(_UNENDING)
    if left > _MAX_SURPLUS:
        raise ValueError(_ENDING_EARLY)


def _inflated(png: Png, expected: int) -> npt.NDArray[np.uint8]:
    """The filtered rows.

    libpng takes pixel data that go on behind the last row or behind their checksum, and so do we; what is cut off
    before its checksum, or has a wrong one, is refused.
    """
    data = b"".join(png.pixel_data)[: _longest(expected)]
    room = expected + _MAX_SURPLUS
    rows = _inflated_at_once(data, room)
    if rows is None:
        found = bytearray()
        for some in _inflated_in_pieces(png, [data], expected):
            found += some
            if len(found) > room:
                raise ValueError(_UNENDING)
        rows = np.frombuffer(found, np.uint8)
    if len(rows) < expected:
        raise ValueError(_ENDING_EARLY)
    return rows[:expected]


def _inflated_at_once(data: bytes, room: int) -> npt.NDArray[np.uint8] | None:
    """What a stream holds; None where zlib is to tell, piece by piece.

    That is where a stream names a small window and is damaged, or looks back beyond it, and without the kernels.
    """
    if data[:1] == bytes([native.USUAL_WINDOW]):
        rows = native.inflated(data, room)
        if rows is None:
            rows = np.frombuffer(imagecodecs.zlibng_decode(data, out=np.empty(room, np.uint8).data), np.uint8)
        return rows
    try:
        return native.inflated(data, room)
    except ValueError:  # damaged, or looks back further than it says
        return None


def _inflated_in_pieces(png: Png, parts: Iterable[bytes | memoryview], expected: int) -> Iterator[bytes]:
    """The filtered rows, by zlib, which takes no distances beyond the window that the stream names.

    It looks only at what it gave before, for which reason libpng's pieces are rows. Ours are as short or shorter, but
    where a row has only a few bytes.

    Args:
        png: of which the data are.
        parts: of the zlib stream.
        expected: bytes of all rows.
    """
    inflater, piece = zlib.decompressobj(_ITS_OWN_WINDOW), 0
    for part in parts:
        if part and not piece:
            first = replace(png, height=1, width=(png.width + 7) // 8 if png.interlaced else png.width)
            row = _filtered_bytes(first)  # of the first pass, if there are several
            piece = _PIECE if part[0] == native.USUAL_WINDOW else max(min(row, _SHORT_PIECE), expected // _MOST_PIECES)
        for begin in range(0, len(part), _FED):  # what is left over is copied each time
            waiting: bytes | memoryview = part[begin : begin + _FED]
            while waiting and not inflater.eof:
                yield inflater.decompress(waiting, piece)
                waiting = inflater.unconsumed_tail
    if not inflater.eof:
        raise ValueError(_UNENDING)


def _longest(expected: int) -> int:
    """Bytes of pixel data that are read at most: blocks that hold next to nothing take time without end."""
    return expected + expected // 8 + (1 << 20)


def _stored(png: Png, rows: npt.NDArray[np.uint8]) -> bytes:
    """A file of filtered rows that are not compressed."""
    _, *before, _, end = png.chunks
    return b"".join((PNG_SIGNATURE, header_chunk(png), *before, *_stored_chunk(rows.reshape(-1).data), end))


def _seen(png: Png, corner: Size | None) -> Png:
    """The image that is left when only a corner is wanted; the same where pixels share bytes."""
    if corner is None or png.bit_depth < 8:
        return png
    return replace(png, height=min(png.height, corner.height), width=min(png.width, corner.width))


def _filtered_bytes(png: Png) -> int:
    """Bytes of all rows, each with its filter type before it."""
    return png.height * (1 + (png.width * png.bit_depth * _CHANNELS[png.colour_type] + 7) // 8)


def _stored_chunk(pixels: memoryview) -> Iterator[bytes | memoryview]:
    """An IDAT chunk that holds the pixels uncompressed, in pieces."""
    stream = list(_stored_stream(pixels))
    yield struct.pack(">I", sum(map(len, stream)))
    crc = 0
    for piece in (b"IDAT", *stream):
        crc = isal_zlib.crc32(piece, crc)
        yield piece
    yield struct.pack(">I", crc)


def _stored_stream(pixels: memoryview) -> Iterator[bytes | memoryview]:
    """A zlib stream of stored blocks."""
    yield b"\x78\x01"
    for begin in range(0, len(pixels), _LONGEST_STORED):
        block = pixels[begin : begin + _LONGEST_STORED]
        is_last = begin + _LONGEST_STORED >= len(pixels)
        yield struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF)
        yield block
    yield struct.pack(">I", isal_zlib.adler32(pixels))


def decode_png(png: Png, channels: int, where: str, corner: Size | None = None) -> ImageHWC_u8:
    """Decode the pixels of a PNG whose container was checked.

    Args:
        png: the file as `read_png` found it.
        channels: 3 (RGB) or 1 (grey).
        where: name of the image for messages.
        corner: rows and columns that are wanted, from the top left; the others are verified, but not all decoded.

    Returns:
        Pixels 0..255, height × width × channels, RGB order.

    Raises:
        ImageError: the pixel data are damaged, or their exact conversion to grey is not known.
        MemoryError: there is too little memory; nothing is said of the file.
    """
    with decoding(f"Invalid PNG data, size {png.size}", where):
        pixels = _decode(png, corner)
    if pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    if pixels.dtype == np.uint8 and pixels.shape[2] == channels:
        return _eight_bits(pixels)
    if pixels.shape[2] <= 2:  # grey, perhaps with alpha
        return _by_strips(lambda strip: _eight_bits(strip[:, :, :1]), pixels, channels)
    if channels == 3:
        return _by_strips(lambda strip: _eight_bits(strip[:, :, :3]), pixels, channels)
    if pixels.dtype == np.uint16:
        return _by_strips(_deep_to_grey(png.gamma, where), pixels, channels)
    return _by_strips(_to_grey(png.gamma), pixels, channels)


def _decode(png: Png, corner: Size | None) -> _Pixels:
    """Pixels as they are in the file: height × width (× channels), 8 or 16 bits; palettes and low depths expanded."""
    wanted = corner or Size(png.height, png.width)
    by_kernels = native.library() is not None and png.bit_depth == 8 and not png.interlaced
    if _filtered_bytes(png) > _MAX_BYTES * (_OF_KERNELS if by_kernels else 1):
        pixels: _Pixels = imagecodecs.png_decode(sound_file(png))
    elif png.interlaced:
        pixels = _woven(png)
    else:
        rows = _inflated(png, _filtered_bytes(png))
        found: _Pixels | None = _unfiltered(png, rows, wanted)
        if found is None:
            stored = _stored_corner(png, rows, wanted)
            del rows  # which the decoder needs no more
            found = _decode_stored(png, stored)
        pixels = found
    return pixels[: wanted.height, : wanted.width]


def _unfiltered(png: Png, rows: npt.NDArray[np.uint8], wanted: Size) -> ImageHWC_u8 | None:
    """Pixels of 8 bits per channel; None where they are left to a decoder."""
    if png.bit_depth != 8:
        return None
    seen = _seen(png, wanted)
    pixels = native.unfiltered(rows.reshape(png.height, -1), _CHANNELS[png.colour_type], seen.height, seen.width)
    if pixels is None or png.colour_type != PALETTE:
        return pixels
    _, palette, *_ = png.chunks
    colours = np.frombuffer(palette[8:-4], np.uint8).reshape(-1, 3)
    return colours.take(pixels[:, :, 0], axis=0) if pixels.max() < len(colours) else None


def _decode_stored(png: Png, data: bytes) -> _Pixels:
    quick = png.bit_depth <= 8 and png.colour_type != GREY_ALPHA
    pixels: _Pixels = imagecodecs.spng_decode(data) if quick else imagecodecs.png_decode(data)
    return pixels


def _woven(png: Png) -> _Pixels:
    """An interlaced image: seven small ones whose pixels lie between one another."""
    parts = _passes(png)
    rows = _inflated(png, sum(_filtered_bytes(part) for _, part in parts))
    out: _Pixels | None = None
    begin = 0
    for place, part in parts:
        end = begin + _filtered_bytes(part)
        pixels = _decode_stored(part, _stored_corner(part, rows[begin:end], None))
        if out is None:
            out = np.empty((png.height, png.width, *pixels.shape[2:]), pixels.dtype)
        out[place] = pixels.reshape(out[place].shape)
        begin = end
    if out is None:
        raise ValueError("it has no pixels")
    return out


def _passes(png: Png) -> list[tuple[tuple[slice, slice], Png]]:
    """The images that an interlaced one consists of, and where their pixels lie."""
    parts = []
    for left, top, across, down in _PASSES:
        height, width = -(-(png.height - top) // down), -(-(png.width - left) // across)
        if height > 0 and width > 0:
            place = slice(top, None, down), slice(left, None, across)
            parts.append((place, replace(png, height=height, width=width, interlaced=False)))
    return parts


def _by_strips(convert: Callable[[_Pixels], npt.NDArray[np.uint8]], pixels: _Pixels, channels: int) -> ImageHWC_u8:
    """Pixels converted some rows at a time, so that only they and the result take memory."""
    height, width = pixels.shape[:2]
    out = np.empty((height, width, channels), dtype=np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        out[top : top + rows] = convert(pixels[top : top + rows])
    return out


def _eight_bits(pixels: _Pixels) -> npt.NDArray[np.uint8]:
    return (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels.astype(np.uint8, copy=False)


def _to_grey(gamma: int | None) -> Callable[[_Pixels], npt.NDArray[np.uint8]]:
    if not _matters(gamma):
        return lambda pixels: (_luminance(pixels) >> 15).astype(np.uint8)[:, :, np.newaxis]
    to_linear, from_linear = _gamma_tables(gamma)

    def convert(pixels: _Pixels) -> npt.NDArray[np.uint8]:
        red, green, blue = (pixels[:, :, channel] for channel in range(3))
        mixed = from_linear.take((_luminance(to_linear.take(pixels[:, :, :3])) + 16384) >> 15)
        grey: npt.NDArray[np.uint8] = np.where((red == green) & (red == blue), red, mixed)
        return grey[:, :, np.newaxis]

    return convert


def _deep_to_grey(gamma: int | None, where: str) -> Callable[[_Pixels], npt.NDArray[np.uint8]]:
    if _matters(gamma):
        raise ImageError(
            "16-bit colour PNG with a gamma: its exact conversion to grey is not established.",
            where=where,
            hint="Save the image with 8 bits per channel.",
        )
    return lambda pixels: ((_luminance(pixels) + 16384) >> 23).astype(np.uint8)[:, :, np.newaxis]


def _matters(gamma: int | None) -> TypeGuard[int]:
    return gamma is not None and abs(gamma - 100_000) > _GAMMA_THRESHOLD


def _luminance(pixels: _Pixels) -> npt.NDArray[np.uint32]:
    """Weighted sum of the colours × 32768; fits in 32 bits for 8- and 16-bit colours."""
    red, green, blue = (pixels[:, :, channel].astype(np.uint32) for channel in range(3))
    red *= _RED
    green *= _GREEN
    blue *= _BLUE
    red += green
    red += blue
    return red


@functools.lru_cache(maxsize=16)
def _gamma_tables(gamma: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The 8-bit tables of libpng: file values → linear light → file values (png.c, png_build_gamma_table)."""
    inverse = int(1e10 / gamma + 0.5)
    return _gamma_table(inverse), _gamma_table(int(1e10 / inverse + 0.5))


def _gamma_table(gamma: int) -> npt.NDArray[np.uint8]:
    if abs(gamma - 100_000) <= _GAMMA_THRESHOLD:
        return np.arange(256, dtype=np.uint8)
    return np.array([int(255 * (level / 255) ** (gamma * 1e-5) + 0.5) for level in range(256)], dtype=np.uint8)
