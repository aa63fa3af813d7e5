"""PNG → pixels as libpng gives them to the reference.

**Container.** Decoders differ in what they forgive: Pillow and libspng accept a wrong IDAT checksum, libpng prints
warnings about colour profiles, text chunks may inflate without bound. Here every checksum is verified, critical chunks
must come in their order and number, sizes are checked before memory is taken, and ancillary chunks are read for the one
thing that matters (the gamma of a colour-to-grey conversion) and then left out of what the decoder gets.

**Pixel data** are inflated by zlib-ng, which takes what zlib takes, and verified: libspng takes a stream that ends
without its checksum, ISA-L and libdeflate take code tables that zlib refuses. The decoder gets the same file with its
pixel data stored instead of compressed, and has filters and colours left to do.

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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NoReturn, TypeAlias, TypeGuard

import imagecodecs
import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from int8cal.errors import ImageError
from int8cal.images import PNG_SIGNATURE
from int8cal.images.limits import REPAIR_IMAGE, check_pixels, decoding
from int8cal.types import ImageHWC_u8, Size

_Pixels: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
"""Colour types of the PNG specification."""

SRGB_GAMMA = 45455
"""File gamma × 100 000 that libpng takes for sRGB."""

_BIT_DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGB_ALPHA: (8, 16)}
_HEADER = struct.Struct(">IIBBBBB")  # width, height, bit depth, colour type, compression, filter, interlace methods
_COLOUR_TYPE = 3
"""Place of the colour type in what `_header` returns."""
_GAMMA_RANGE = range(16, 625_000_001)  # libpng ignores a gAMA chunk outside

_MAX_CHUNKS = 1 << 17
"""Chunks of a file: twice as many as an image of `MAX_PIXELS` has in the 8 KiB pieces that libpng writes."""

_SRGB_PROFILES = {
    3024: {(0xA054D762, 0x5D5129CE)},
    3048: {(0x0A3FD9F6, 0x3B8772B9)},
    3052: {(0x4909E5E1, 0x427EBB21)},
    3144: {(0xF784F3FB, 0x182EA552), (0x0398F3FC, 0xF29E526D)},
    60960: {(0x209C35D2, 0xBBEF7812)},
    60988: {(0xFD2144A1, 0x306FD8AE)},
}
"""Profiles that libpng takes for sRGB (png.c, png_sRGB_checks): length → Adler-32 and CRC-32 of the profile."""

_CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}

_USUAL_WINDOW = 0x78
"""First byte of a zlib stream: deflate, distances of up to 32 KiB."""

_MAX_BYTES = 1 << 24
"""Images of more than 5.6 megapixels (RGB) are inflated row by row in libpng, which takes less memory."""

_MAX_SURPLUS = 1 << 16
"""Bytes behind the last row that are passed over."""

_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Adam7: first column, first row, distance between columns, between rows."""

_LONGEST_STORED = 65535
_PIECE = 1 << 18  # bytes of a large image that are inflated at a time
_ENDING_EARLY = "its pixel data end early"
_UNENDING = "its pixel data end without a checksum, or are far longer than its pixels"

_LAST_FILTER = 4

_RED, _GREEN, _BLUE = 9797, 19234, 3737
"""libpng's luminance weights, × 32768."""

_GAMMA_THRESHOLD = 5000
"""A gamma this close to 1 (× 100 000) counts as none."""

_STRIP_PIXELS = 1 << 17
"""Pixels that are converted at a time: what that needs stays in the processor's cache, however large the image."""


@dataclass(frozen=True, slots=True)
class Png:
    """What a PNG file says about itself.

    Attributes:
        size: bytes of the file.
        height, width: size in pixels.
        bit_depth: bits per channel.
        colour_type: as in the PNG specification.
        interlaced: Adam7.
        gamma: file gamma × 100 000 as libpng understands it; None when the file gives none.
        chunks: the critical chunks whole, in the order of the file, whose bytes they show.
    """

    size: int
    height: int
    width: int
    bit_depth: int
    colour_type: int
    interlaced: bool
    gamma: int | None
    chunks: tuple[memoryview, ...]

    @property
    def critical(self) -> bytes:
        """The file with its critical chunks only, for the decoder."""
        return b"".join((PNG_SIGNATURE, *self.chunks))


def read_png(data: bytes, where: str) -> Png:
    """Walk the chunks of a PNG file and verify every checksum; no pixel is decoded.

    Raises:
        ImageError: the file is cut off, a checksum is wrong, the header is impossible, critical chunks are out of
            place, or the image is too large.
    """
    view = memoryview(data)
    kept: list[memoryview] = []
    header: tuple[int, ...] = ()
    gamma: int | None = None
    is_srgb = has_palette = has_pixels = False
    offset = len(PNG_SIGNATURE)
    kind = before = b""
    for _ in range(_MAX_CHUNKS):
        begin = offset
        before, (kind, body, offset) = kind, _chunk(view, begin, where)
        if not header:
            header = _header(kind, body, len(data), where)
            kept.append(view[begin:offset])
        elif kind == b"IDAT":
            if has_pixels and before != b"IDAT":
                _invalid(len(data), "its pixel data are not in one piece", where)
            has_pixels = True
            kept.append(view[begin:offset])
        elif kind == b"PLTE":
            if has_palette or has_pixels or len(body) % 3 or not 3 <= len(body) <= 768:
                _invalid(len(data), "its palette is impossible or out of place", where)
            has_palette = True
            if header[_COLOUR_TYPE] not in (GREY, GREY_ALPHA):
                kept.append(view[begin:offset])
        elif kind == b"IEND":
            kept.append(view[begin:offset])
            break
        elif not kind.isalpha() or kind[2] & 0x20:
            _invalid(len(data), f"it has a chunk of the impossible type {kind!r}", where)
        elif not kind[0] & 0x20:  # a capital: without such a chunk the image is not understood
            _invalid(len(data), f"it has the unknown critical chunk {kind!r}", where)
        elif has_palette or has_pixels:
            continue  # gammas count ahead of them only
        elif kind == b"gAMA" and gamma is None:
            gamma = _gamma(body)
        elif kind == b"sRGB" or (kind == b"iCCP" and _is_srgb_profile(bytes(body))):
            is_srgb = True
    else:
        _invalid(len(data), f"it has more than {_MAX_CHUNKS} chunks", where)
    if not has_pixels:
        _invalid(len(data), "it has no pixel data", where)
    if header[_COLOUR_TYPE] == PALETTE and not has_palette:
        _invalid(len(data), "it has no palette", where)
    width, height, bit_depth, colour_type, interlaced = header
    return Png(
        len(data),
        height,
        width,
        bit_depth,
        colour_type,
        bool(interlaced),
        SRGB_GAMMA if is_srgb else gamma,
        tuple(kept),
    )


def header_chunk(png: Png) -> bytes:
    """The header of a file that holds such an image."""
    body = _HEADER.pack(png.width, png.height, png.bit_depth, png.colour_type, 0, 0, png.interlaced)
    return struct.pack(">I4s", len(body), b"IHDR") + body + struct.pack(">I", isal_zlib.crc32(b"IHDR" + body))


def _chunk(view: memoryview, begin: int, where: str) -> tuple[bytes, memoryview, int]:
    """Type, body and end of the chunk at an offset."""
    if begin + 12 > len(view):
        _invalid(len(view), "it is cut off", where)
    (length,) = struct.unpack_from(">I", view, begin)
    end = begin + 12 + length
    if end > len(view):
        _invalid(len(view), "it is cut off", where)
    kind = bytes(view[begin + 4 : begin + 8])
    (crc,) = struct.unpack_from(">I", view, end - 4)
    if isal_zlib.crc32(view[begin + 4 : end - 4]) != crc:
        _invalid(len(view), f"the checksum of its chunk {kind!r} is wrong", where)
    return kind, view[begin + 8 : end - 4], end


def _header(kind: bytes, body: memoryview, size: int, where: str) -> tuple[int, ...]:
    """Width, height, bit depth, colour type and interlace method."""
    if kind != b"IHDR" or len(body) != _HEADER.size:
        _invalid(size, "it does not begin with its header", where)
    width, height, bit_depth, colour_type, compression, filter_, interlace = _HEADER.unpack(body)
    if bit_depth not in _BIT_DEPTHS.get(colour_type, ()) or compression or filter_ or interlace > 1:
        _invalid(size, "its header is impossible", where)
    check_pixels(height, width, where)
    return width, height, bit_depth, colour_type, interlace


def _gamma(body: memoryview) -> int | None:
    if len(body) != 4:
        return None
    gamma = int.from_bytes(body, "big")
    return gamma if gamma in _GAMMA_RANGE else None


def _is_srgb_profile(body: bytes) -> bool:
    """Whether an iCCP chunk holds a profile that libpng treats as if the file had an sRGB chunk."""
    _, separator, rest = body.partition(b"\0")
    if not separator or rest[:1] != b"\0":
        return False
    longest = max(_SRGB_PROFILES)
    try:
        profile = zlib.decompressobj().decompress(rest[1:], longest + 1)
    except zlib.error:
        return False
    return (zlib.adler32(profile), zlib.crc32(profile)) in _SRGB_PROFILES.get(len(profile), ())


def _invalid(size: int, reason: str, where: str) -> NoReturn:
    raise ImageError(f"Invalid PNG data, size {size}: {reason}.", where=where, hint=REPAIR_IMAGE)


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
    pixels = _inflated(png, _filtered_bytes(png))
    seen = _seen(png, corner)
    if seen == png:
        return _stored(png, pixels)
    rows = pixels.reshape(png.height, -1)
    if rows[:, 0].max() > _LAST_FILTER:
        raise ValueError("a row has an unknown filter")
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
    inflater, left = zlib.decompressobj(), expected + _MAX_SURPLUS
    for chunk in png.chunks:
        waiting: bytes | memoryview = chunk[8:-4] if bytes(chunk[4:8]) == b"IDAT" else b""
        while waiting and not inflater.eof and left >= 0:
            left -= len(inflater.decompress(waiting, _PIECE))
            waiting = inflater.unconsumed_tail
    if not inflater.eof or left < 0:
        raise ValueError(_UNENDING)
    if left > _MAX_SURPLUS:
        raise ValueError(_ENDING_EARLY)


def _inflated(png: Png, expected: int) -> npt.NDArray[np.uint8]:
    """The filtered rows.

    libpng takes pixel data that go on behind the last row or behind their checksum, and so do we; what is cut off
    before its checksum, or has a wrong one, is refused.
    """
    data = b"".join(chunk[8:-4] for chunk in png.chunks if bytes(chunk[4:8]) == b"IDAT")
    room = expected + _MAX_SURPLUS
    if data[:1] == bytes([_USUAL_WINDOW]):
        rows = np.frombuffer(imagecodecs.zlibng_decode(data, out=np.empty(room, np.uint8).data), np.uint8)
    else:  # zlib holds the distances to the window that the stream names
        inflater = zlib.decompressobj()
        rows = np.frombuffer(inflater.decompress(data, room), np.uint8)
        if not inflater.eof:
            raise ValueError(_UNENDING)
    if len(rows) < expected:
        raise ValueError(_ENDING_EARLY)
    return rows[:expected]


def _stored(png: Png, rows: npt.NDArray[np.uint8]) -> bytes:
    """A file of filtered rows that are not compressed."""
    before, _, behind = (
        [chunk for chunk in png.chunks[1:] if bytes(chunk[4:8]) == kind] for kind in (b"PLTE", b"IDAT", b"IEND")
    )
    return b"".join((PNG_SIGNATURE, header_chunk(png), *before, *_stored_chunk(rows.reshape(-1).data), *behind))


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
    if _filtered_bytes(png) > _MAX_BYTES:
        pixels: _Pixels = imagecodecs.png_decode(sound_file(png))
    elif png.interlaced:
        pixels = _woven(png)
    else:
        pixels = _decode_stored(png, with_stored_pixels(png, wanted))
    return pixels[: wanted.height, : wanted.width]


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
        pixels = _decode_stored(part, _stored(part, rows[begin:end]))
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
