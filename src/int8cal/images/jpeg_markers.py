"""The markers of a JPEG file, and faults around them that change no pixel.

libjpeg warns of more than it has to. The reference counts the warnings and passes over them (TensorFlow,
``core/lib/jpeg/jpeg_mem.cc``: only a missing line or a fatal error makes it stop). Most warnings are of damaged pixels,
which are refused here; the harmless ones are mended, and the decoder then must have nothing left to warn of:

* bytes between the segments ahead of the pixels, which libjpeg skips;
* a JFIF revision other than 1, which it only reports;
* a spectral range in the scan header of a sequential file, which it does not use;
* zeros between the pixels and the end, which it skips. Other bytes there are what a flipped bit leaves over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

_START_OF_SCAN, _END_OF_IMAGE, _APP0 = 0xDA, 0xD9, 0xE0
_SEQUENTIAL_FRAMES = (0xC0, 0xC1)
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xDA)))
_METADATA = frozenset((*range(0xE1, 0xEE), 0xEF, 0xFE))  # not APP0 (JFIF) and APP14 (Adobe), which decide colours

_MARKER = re.compile(rb"\xff[^\x00\xff]")
_MARKER_AFTER_PIXELS = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")

_JFIF = b"JFIF\0"
_WHOLE_SPECTRUM = b"\x00\x3f\x00"


class Segment(NamedTuple):
    """A marker and what belongs to it: where it begins, and the first byte after it. Pixels are not part of it."""

    marker: int
    begin: int
    end: int


_Rewrite: TypeAlias = Callable[[Segment, bytes], bytes]


def segments(data: bytes) -> Iterator[Segment]:
    """Segments after the first marker up to and with the end of the image, found as libjpeg finds them."""
    offset = 2
    pattern = _MARKER
    while found := pattern.search(data, offset):
        begin = found.start()
        marker = data[begin + 1]
        length = 0 if marker in _WITHOUT_LENGTH else int.from_bytes(data[begin + 2 : begin + 4], "big")
        offset = begin + 2 + length
        yield Segment(marker, begin, offset)
        if marker == _END_OF_IMAGE:
            return
        pattern = _MARKER_AFTER_PIXELS if marker == _START_OF_SCAN else _MARKER


def without_metadata(data: bytes) -> bytes:
    """The file without EXIF, profiles and comments, about which Pillow would warn when they are damaged."""
    return _rewritten(data, lambda segment, body: b"" if segment.marker in _METADATA else body)


def with_sound_segments(data: bytes) -> bytes:
    """The file without stray bytes ahead of the pixels, and with headers of which libjpeg does not warn."""
    sequential = any(segment.marker in _SEQUENTIAL_FRAMES for segment in segments(data))

    def mended(segment: Segment, body: bytes) -> bytes:
        if segment.marker == _APP0 and body[4:9] == _JFIF and len(body) > 9:
            return body[:9] + b"\x01" + body[10:]
        if segment.marker == _START_OF_SCAN and sequential and len(body) > 6:
            return body[:-3] + _WHOLE_SPECTRUM
        return body

    return _rewritten(data, mended)


def without_padding(data: bytes) -> bytes:
    """The file without the zeros between its pixels and its end.

    All are taken away, so that none can be taken for the pixels of a file that was cut off: an encoder fills its last
    byte with ones.
    """
    end = next((segment.begin for segment in segments(data) if segment.marker == _END_OF_IMAGE), None)
    return data if end is None else data[:end].rstrip(b"\xff").rstrip(b"\0") + data[end:]


def _rewritten(data: bytes, rewrite: _Rewrite) -> bytes:
    """The file with its segments up to the first pixels rewritten, and nothing between them."""
    parts = [data[:2]]
    for segment in segments(data):
        parts.append(rewrite(segment, data[segment.begin : segment.end]))
        if segment.marker == _START_OF_SCAN:
            return b"".join((*parts, data[segment.end :]))
    return data
