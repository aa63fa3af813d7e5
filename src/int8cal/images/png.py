"""The container of a PNG file: chunks, header, palette, gamma; its pixels are those of `int8cal.images.png_pixels`.

Decoders differ in what they forgive: Pillow and libspng accept a wrong IDAT checksum, libpng prints
warnings about colour profiles, text chunks may inflate without bound. Here every checksum is verified, critical chunks
must come in their order and number, sizes are checked before memory is taken, and ancillary chunks are read for the one
thing that matters (the gamma of a colour-to-grey conversion) and then left out of what the decoder gets.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from isal import isal_zlib

from int8cal.errors import ImageError
from int8cal.images import PNG_SIGNATURE
from int8cal.images.limits import REPAIR_IMAGE, check_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
"""Colour types of the PNG specification."""

SRGB_GAMMA = 45455
"""File gamma × 100 000 that libpng takes for sRGB."""

_BIT_DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGB_ALPHA: (8, 16)}
_HEADER = struct.Struct(">IIBBBBB")  # width, height, bit depth, colour type, compression, filter, interlace methods
_CHUNK = struct.Struct(">I4s")  # length of its body, type
_CHECKSUM = struct.Struct(">I")  # behind the body
_COLOUR_TYPE = 3
"""Place of the colour type in what `_header` returns."""
_GAMMA_RANGE = range(16, 625_000_001)  # libpng ignores a gAMA chunk outside

_MAX_CHUNKS = 1 << 17
"""Chunks of a file: twice as many as an image of `MAX_PIXELS` has in the 8 KiB pieces that libpng writes."""

_MAX_PROFILES = 16
"""Colour profiles of a file, which has one at most by the PNG specification; libpng 1.6.37 looks at each for sRGB."""

_COLOURS = frozenset((b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"cICP", b"eXIf"))
"""Chunks that may have a say in the pixels besides the critical ones, or in how the image lies."""

_PROFILE_NAME = re.compile(rb"[ -~\xa1-\xff]{1,79}\0")
_NOTE = re.compile(rb"eXIf|(?:tEXt|zTXt|iTXt)(?:exif|Raw profile type exif|XML:com\.adobe\.xmp|xmp)(?:\0|\Z)")
_LONGEST_NOTE_NAME = 30

_SRGB_PROFILES = {
    3024: {(0xA054D762, 0x5D5129CE)},
    3048: {(0x0A3FD9F6, 0x3B8772B9)},
    3052: {(0x4909E5E1, 0x427EBB21)},
    3144: {(0xF784F3FB, 0x182EA552), (0x0398F3FC, 0xF29E526D)},
    60960: {(0x209C35D2, 0xBBEF7812)},
    60988: {(0xFD2144A1, 0x306FD8AE)},
}
"""Profiles that libpng takes for sRGB (png.c, png_sRGB_checks): length → Adler-32 and CRC-32 of the profile."""


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
        chunks: the critical chunks whole, in the order of the file, whose bytes they show: header, palette if there is
            one that counts, all IDAT chunks as one piece, end.
        pixel_data: the bodies of the IDAT chunks.
        notes: whole chunks that may say how the image lies (EXIF, XMP).
    """

    size: int
    height: int
    width: int
    bit_depth: int
    colour_type: int
    interlaced: bool
    gamma: int | None
    chunks: tuple[memoryview, ...]
    pixel_data: tuple[memoryview, ...]
    notes: tuple[memoryview, ...] = ()

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
    pixel_data: list[memoryview] = []
    notes: list[memoryview] = []
    profiles = pixels_begin = pixels_end = 0
    header: tuple[int, ...] = ()
    gamma: int | None = None
    is_srgb = has_palette = False
    for kind, begin, end in _chunks(view, where):
        if kind == b"IDAT" and header:  # first: most chunks are
            if not pixel_data:
                pixels_begin = begin
            elif begin != pixels_end:
                _invalid(len(data), "its pixel data are not in one piece", where)
            pixel_data.append(view[begin + 8 : end - 4])
            pixels_end = end
            continue
        chunk, body = view[begin:end], view[begin + 8 : end - 4]
        if not header:
            header = _header(kind, body, len(data), where)
            kept.append(chunk)
        elif kind == b"PLTE":
            if has_palette or pixel_data or len(body) % 3 or not 3 <= len(body) <= 768:
                _invalid(len(data), "its palette is impossible or out of place", where)
            has_palette = True
            if header[_COLOUR_TYPE] not in (GREY, GREY_ALPHA):
                kept.append(chunk)
        elif kind == b"IEND":
            kept += view[pixels_begin:pixels_end], chunk
            break
        elif not kind.isalpha() or kind[2] & 0x20:
            _invalid(len(data), f"it has a chunk of the impossible type {kind!r}", where)
        elif not kind[0] & 0x20:  # a capital: without such a chunk the image is not understood
            _invalid(len(data), f"it has the unknown critical chunk {kind!r}", where)
        elif _NOTE.match(kind + bytes(body[:_LONGEST_NOTE_NAME])):
            notes.append(chunk)
        elif has_palette or pixel_data:
            continue  # gammas count ahead of them only
        elif kind == b"gAMA" and gamma is None:
            gamma = _gamma(body)
        elif kind == b"sRGB":
            is_srgb = True
        elif kind == b"iCCP":
            profiles += 1
            if profiles > _MAX_PROFILES:
                _invalid(len(data), f"it has more than {_MAX_PROFILES} colour profiles", where)
            is_srgb |= _is_srgb_profile(bytes(body))
    if not pixel_data:
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
        tuple(pixel_data),
        tuple(notes),
    )


def deciding_chunks(data: bytes, *, grey: bool) -> bytes:
    """A file that `read_png` has read, with only the chunks that decide pixels, or how they lie.

    A text may inflate to many megabytes, an animation is another picture, and neither was checked. Profiles stay only
    where colours become grey, which is done by their gamma: libpng writes to the terminal what it thinks of them, and
    their name, be it one that no PNG may have.
    """
    kept, offset = [data[: len(PNG_SIGNATURE)]], len(PNG_SIGNATURE)
    kind = b""
    while kind != b"IEND":
        kind = data[offset + 4 : offset + 8]
        end = offset + 12 + int.from_bytes(data[offset : offset + 4], "big")
        is_critical = not kind[0] & 0x20
        is_profile = grey and kind == b"iCCP" and _PROFILE_NAME.match(data, offset + 8)
        if is_critical or kind in _COLOURS or is_profile:
            kept.append(data[offset:end])
        offset = end
    return b"".join(kept)


def header_chunk(png: Png) -> bytes:
    """The header of a file that holds such an image."""
    body = _HEADER.pack(png.width, png.height, png.bit_depth, png.colour_type, 0, 0, png.interlaced)
    return _CHUNK.pack(len(body), b"IHDR") + body + _CHECKSUM.pack(isal_zlib.crc32(b"IHDR" + body))


def _chunks(view: memoryview, where: str) -> Iterator[tuple[bytes, int, int]]:
    """Type of each chunk, and offsets of its begin and end.

    Raises:
        ImageError: the file is cut off, a checksum is wrong, or there are too many chunks.
    """
    size, begin = len(view), len(PNG_SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        if begin + 12 > size:
            _invalid(size, "it is cut off", where)
        length, kind = _CHUNK.unpack_from(view, begin)
        end = begin + 12 + length
        if end > size:
            _invalid(size, "it is cut off", where)
        if isal_zlib.crc32(view[begin + 4 : end - 4]) != _CHECKSUM.unpack_from(view, end - 4)[0]:
            _invalid(size, f"the checksum of its chunk {kind!r} is wrong", where)
        yield kind, begin, end
        begin = end
    _invalid(size, f"it has more than {_MAX_CHUNKS} chunks", where)


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
