"""JPEG → pixels with the libjpeg flags that the reference uses; the wrong ones cost up to 20 levels.

============  =================================  ==================================
result        accurate inverse DCT               fast inverse DCT
============  =================================  ==================================
RGB           libjpeg-turbo, smooth upsampling   the same with ``fastdct``
grey          the Y plane                        the Y plane
RGB of CMYK   Pillow (simplejpeg: 1 level off)   not established: refused
grey of CMYK  refused, as in the reference       refused, as in the reference
============  =================================  ==================================

Evidence: the JPEG cases of the golden set (4:4:4, 4:2:2, 4:2:0, progressive, restart markers, odd sizes, grey, CMYK).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import simplejpeg
from PIL import Image

from int8cal.dataset.limits import REPAIR_IMAGE, check_pixels
from int8cal.errors import ImageError
from int8cal.types import ImageHWC_u8

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
_METADATA = frozenset((*range(0xE1, 0xEE), 0xEF, 0xFE))  # not APP0 (JFIF) and APP14 (Adobe), which decide colours
_CMYK_COMPONENTS = 4


def decode_jpeg(data: bytes, channels: int, *, fast_dct: bool, where: str) -> ImageHWC_u8:
    """Decode a JPEG file; EXIF orientation and bytes after its end are ignored.

    Args:
        data: the file.
        channels: 3 (RGB) or 1 (grey: the Y plane).
        fast_dct: use the fast integer inverse DCT rather than the accurate one.
        where: name of the image for messages.

    Returns:
        Pixels 0..255, height × width × channels, RGB order.

    Raises:
        ImageError: the file is damaged or cut off, too large, or of a kind whose exact pixels are not known.
    """
    height, width, components = _frame_header(data, where)
    check_pixels(height, width, where)
    if components == _CMYK_COMPONENTS:
        return _decode_cmyk(data, channels, fast_dct=fast_dct, where=where)
    try:
        pixels: ImageHWC_u8 = simplejpeg.decode_jpeg(
            data, "RGB" if channels == 3 else "GRAY", fastdct=fast_dct, fastupsample=False, strict=True
        )
    except (ValueError, MemoryError) as error:
        raise _invalid(data, str(error), where) from error
    return pixels


def _decode_cmyk(data: bytes, channels: int, *, fast_dct: bool, where: str) -> ImageHWC_u8:
    if channels != 3:
        raise _invalid(data, "a CMYK image cannot become grey", where)
    if fast_dct:
        raise ImageError(
            "CMYK JPEG: which pixels the reference gets with the fast DCT is not established.",
            where=where,
            hint="Convert the image to RGB, or use dataloader_mode MULTISOURCE with the extension jpg.",
        )
    try:
        with Image.open(io.BytesIO(_without_metadata(data)), formats=["JPEG"]) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error) as error:
        raise _invalid(data, str(error), where) from error


class _Segment(NamedTuple):
    """A marker segment before the pixels: where it begins, and where the next one does."""

    marker: int
    begin: int
    end: int


def _segments(data: bytes) -> Iterator[_Segment]:
    """Marker segments up to and with the first start of scan."""
    offset = 2
    while offset + 4 <= len(data):
        marker = data[offset + 1]
        if data[offset] != 0xFF or marker == 0xFF:
            offset += 1  # libjpeg, too, skips fill and stray bytes between segments
            continue
        length = 0 if marker in _WITHOUT_LENGTH else int.from_bytes(data[offset + 2 : offset + 4], "big")
        yield _Segment(marker, offset, offset + 2 + length)
        if marker == _START_OF_SCAN:
            return
        offset += 2 + length


def _frame_header(data: bytes, where: str) -> tuple[int, int, int]:
    """Height, width and number of components."""
    for segment in _segments(data):
        if segment.marker in _START_OF_FRAME and segment.begin + 10 <= len(data):
            height, width, components = struct.unpack_from(">HHB", data, segment.begin + 5)
            return height, width, components
    raise _invalid(data, "it has no frame header", where)


def _without_metadata(data: bytes) -> bytes:
    """The file without EXIF, profiles and comments, about which Pillow would warn when they are damaged."""
    kept = [data[:2]]
    rest = 2
    for segment in _segments(data):
        if segment.marker not in _METADATA:
            kept.append(data[segment.begin : segment.end])
        rest = segment.end
    return b"".join((*kept, data[rest:]))


def _invalid(data: bytes, reason: str, where: str) -> ImageError:
    message = f"Invalid JPEG data or crop window, data size {len(data)}"
    return ImageError(f"{message}: {reason}." if reason else f"{message}.", where=where, hint=REPAIR_IMAGE)
