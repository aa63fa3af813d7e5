"""JPEG → pixels with the libjpeg flags that the reference uses; the wrong ones cost up to 20 levels.

=================  =================================  ==========================
result             accurate inverse DCT               fast inverse DCT
=================  =================================  ==========================
RGB                libjpeg-turbo, smooth upsampling   the same with ``fastdct``
grey               the Y plane                        the Y plane
RGB of CMYK, YCCK  TensorFlow's product of two inks   the same with ``fastdct``
grey of CMYK       refused, as in the reference       refused, as in the reference
=================  =================================  ==========================

Samplings that TurboJPEG does not know (4:1:0, three to one, unequal chroma …) are decoded with the accurate DCT only:
no library at hand reads them with the fast one. Evidence: the JPEG cases of the golden set, and every kind of
`tests/jpeg_files.py` against ``decode_jpeg`` of TensorFlow 1.15.5.

libjpeg warns of more than it has to. The reference counts the warnings and passes over them (TensorFlow,
``core/lib/jpeg/jpeg_mem.cc``: only a missing line or a fatal error makes it stop). Most warnings are of damaged pixels,
which are refused here; the harmless ones are mended, and the decoder then must have nothing left to warn of:

* bytes between the segments ahead of the pixels, which libjpeg skips;
* a JFIF revision other than 1, which it only reports;
* a spectral range in the scan header of a sequential file, which it does not use;
* a damaged colour profile, which it does not use;
* zeros between the pixels and the end, which it skips. Other bytes there are what a flipped bit leaves over.
"""

from __future__ import annotations

import functools
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise, takewhile
from typing import NamedTuple, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt
import simplejpeg

from int8cal.errors import ImageError
from int8cal.images.limits import REPAIR_IMAGE, check_pixels, decoding
from int8cal.types import ImageHWC_u8

_Pixels: TypeAlias = npt.NDArray[np.uint8]


START_OF_SCAN, _END_OF_IMAGE, _APP0, _APP2, _APP14, _HUFFMAN_TABLES, _RESTARTS = (
    0xDA,
    0xD9,
    0xE0,
    0xE2,
    0xEE,
    0xC4,
    0xDD,
)
SEQUENTIAL, _PROGRESSIVE, _ARITHMETIC = (0xC0, 0xC1), 0xC2, (0xC9, 0xCA)
_FRAMES = frozenset((*range(0xC0, 0xD0),)) - {_HUFFMAN_TABLES, 0xC8, 0xCC}
_READ_FRAMES = (*SEQUENTIAL, _PROGRESSIVE, *_ARITHMETIC)
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xDA)))

_SEGMENT_HEAD = struct.Struct(">BBH").unpack_from
_NO_SEGMENT = (0, 0, 0)
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_MARKER_AFTER_PIXELS = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")

_JFIF, _PROFILE, _ADOBE = b"JFIF\0", b"ICC_PROFILE\0", b"Adobe"
_WHOLE_SPECTRUM = b"\x00\x3f\x00"

_MAX_SEGMENTS = 1 << 16
"""Segments of a file: as many as 4 GB of EXIF data and profiles would need."""

_SCAN, _LONGEST_SHARED_HEADER = b"\xff\xda", 4096

_MAX_SCANS = 256
"""Scans of a progressive file, of which encoders write 3 to 20. A sequential one needs one for each component; twice as
many are let through."""

_MAX_SCANNED_PIXELS = 1 << 30
"""Scans × pixels: each scan of a progressive file goes over all its pixels, however few bytes it has. The usual ten are
let through at any size; of an arithmetic-coded file, whose bytes are counted in, where it has less than 8 MB."""

_ARITHMETIC_COST = 48
"""Pixels of a scan that take as long as one byte of arithmetic-coded data."""

_INVALID = "Invalid JPEG data or crop window, data size {}"
"""What the reference says."""

_UNKNOWN_SAMPLING = "Could not determine subsampling level"
"""What TurboJPEG says of samplings that it does not know."""


class Segment(NamedTuple):
    """A marker and what belongs to it: where it begins, and the first byte after it. Pixels are not part of it."""

    marker: int
    begin: int
    end: int


class Component(NamedTuple):
    """A component of the frame: its identifier, horizontal and vertical sampling factor."""

    identifier: int
    horizontal: int
    vertical: int


class Jpeg(NamedTuple):
    """What a JPEG file says about itself.

    Attributes:
        data: the file without the faults ahead of its pixels that change none.
        height, width: size in pixels.
        components: identifier and sampling factors of each component.
        frame: marker of the frame header.
        adobe: whether its inks, if it has any, are inverted as Adobe writes them.
        scanned: how many components its first scan has.
    """

    data: bytes
    height: int
    width: int
    components: tuple[Component, ...]
    frame: int
    adobe: bool
    scanned: int

    @property
    def sampling(self) -> str:
        """Sampling factors as libjpeg's tools write them."""
        return ",".join(f"{component.horizontal}x{component.vertical}" for component in self.components)


def decode_jpeg(data: bytes, channels: int, *, fast_dct: bool, where: str) -> ImageHWC_u8:
    """Decode a JPEG file; EXIF orientation, bytes after its end and harmless faults are ignored.

    Args:
        data: the file.
        channels: 3 (RGB) or 1 (grey: the Y plane).
        fast_dct: use the fast integer inverse DCT rather than the accurate one.
        where: name of the image for messages.

    Returns:
        Pixels 0..255, height × width × channels, RGB order.

    Raises:
        ImageError: the file is damaged or cut off, too large, or of a kind whose exact pixels are not known.
        MemoryError: there is too little memory; nothing is said of the file.
    """
    jpeg = read_jpeg(data, where)
    if len(jpeg.components) < 4:
        return _decode(jpeg, "RGB" if channels == 3 else "GRAY", fast_dct=fast_dct, where=where)
    if channels != 3:
        _invalid(data, "a CMYK image cannot become grey", where)
    inks = _decode(jpeg, "CMYK", fast_dct=fast_dct, where=where)
    return _rgb_of(inks if jpeg.adobe else 255 - inks)


def decode_components(data: bytes, where: str) -> ImageHWC_u8:
    """Decode a JPEG file to grey, RGB or CMYK, whichever it holds, with the accurate inverse DCT.

    Returns:
        Pixels 0..255, height × width × 1, 3 or 4; CMYK as in the file.

    Raises:
        ImageError: as `decode_jpeg`.
    """
    jpeg = read_jpeg(data, where)
    return _decode(jpeg, {1: "GRAY", 3: "RGB", 4: "CMYK"}[len(jpeg.components)], fast_dct=False, where=where)


def read_jpeg(data: bytes, where: str) -> Jpeg:
    """Read the headers of a JPEG file; no pixel is decoded.

    Raises:
        ImageError: they are damaged, or tell of an image that is too large or of a kind that is not read.
    """
    scan = data.find(_SCAN, 0, _LONGEST_SHARED_HEADER)
    length = int.from_bytes(data[scan + 2 : scan + 4], "big")
    jpeg = _sound_header(data[: scan + 2 + length]) if scan > 0 and length < _LONGEST_SHARED_HEADER else None
    jpeg = _read_header(data, where) if jpeg is None else jpeg._replace(data=data)
    if jpeg.frame in (_PROGRESSIVE, *_ARITHMETIC) or jpeg.scanned < len(jpeg.components):
        with decoding(_INVALID.format(len(data)), where):
            _check_scans(data, jpeg.frame, jpeg.components, jpeg.height * jpeg.width)
    return jpeg


@functools.lru_cache(maxsize=32)
def _sound_header(header: bytes) -> Jpeg | None:
    """What is told by the bytes up to the pixels, if they are these, and sound; most files of a data set share them."""
    with suppress(ImageError):
        jpeg = _read_header(header, "")
        if jpeg.data == header:
            return jpeg
    return None


def _read_header(data: bytes, where: str) -> Jpeg:
    header = _segments_to_pixels(data, where)
    frames = [segment for segment in header if segment.marker in _FRAMES]
    if len(frames) != 1:
        _invalid(data, f"it has {len(frames)} frame headers", where)
    frame, begin, end = frames[0]
    body = data[begin + 4 : end]
    if len(body) < 6 or len(body) != 6 + 3 * body[5]:
        _invalid(data, "its frame header is impossible", where)
    precision, height, width, count = struct.unpack_from(">BHHB", body)
    if frame not in _READ_FRAMES or precision != 8:
        _invalid(data, "it is lossless, hierarchical or has more than 8 bits per value", where)
    if count not in (1, 3, 4):
        _invalid(data, f"it has {count} components", where)
    check_pixels(height, width, where)
    components = tuple(Component(body[at], body[at + 1] >> 4, body[at + 1] & 15) for at in range(6, len(body), 3))
    _, scan, _ = header[-1]
    sound = _with_sound_segments(data, header, sequential=frame in SEQUENTIAL)
    adobe = count == 4 and _is_of_adobe(data, header)
    return Jpeg(sound, height, width, components, frame, adobe, data[scan + 4])


def _check_scans(data: bytes, frame: int, components: tuple[Component, ...], pixels: int) -> None:
    """Make sure that the scans of a file are not too many, and that those of a progressive one tell each coefficient.

    Raises:
        ValueError: they are, or they do not.
    """
    bodies: list[bytes] = []
    progressive = frame in (_PROGRESSIVE, _ARITHMETIC[1])
    most = _MAX_SCANS if progressive else 2 * len(components)
    bytes_as_pixels = len(data) * _ARITHMETIC_COST if frame in _ARITHMETIC else 0
    if bytes_as_pixels > _MAX_SCANNED_PIXELS:
        raise ValueError(f"it has {len(data):,} bytes and is arithmetic-coded, which takes too long")
    for marker, begin, end in segments(data):
        if marker == START_OF_SCAN:
            bodies.append(data[begin + 4 : end])
            if len(bodies) * pixels + bytes_as_pixels > _MAX_SCANNED_PIXELS:
                coded = f", arithmetic-coded, and {len(data):,} bytes" if bytes_as_pixels else ""
                raise ValueError(f"it has {len(bodies)} scans or more{coded}, too many for its size")
            if len(bodies) > most:
                raise ValueError(f"it has more than {most} scans")
    if progressive:
        from int8cal.images.jpeg_scans import progression_problem  # late: most files are sequential

        if problem := progression_problem(components, tuple(bodies)):
            raise ValueError(problem)


def segments(data: bytes) -> Iterator[Segment]:
    """Segments after the first marker up to and with the end of the image, found as libjpeg finds them.

    Raises:
        ValueError: they are too many.
    """
    begin, last = 2, len(data) - 4
    pixels = False
    for _ in range(_MAX_SEGMENTS):
        lead, marker, length = _SEGMENT_HEAD(data, begin) if begin <= last else _NO_SEGMENT
        if pixels or lead != 0xFF or not 0 < marker < 0xFF:  # else it follows at once
            found = (_MARKER_AFTER_PIXELS if pixels else _MARKER).search(data, begin)
            if found is None:
                return
            begin = found.start()
            marker = data[begin + 1]
            length = int.from_bytes(data[begin + 2 : begin + 4], "big")
        end = begin + 2 if marker in _WITHOUT_LENGTH else begin + 2 + length
        yield Segment(marker, begin, end)
        if marker == _END_OF_IMAGE:
            return
        pixels = marker == START_OF_SCAN
        begin = end
    raise ValueError(f"it has more than {_MAX_SEGMENTS} segments")


def _segments_to_pixels(data: bytes, where: str) -> list[Segment]:
    """Segments ahead of the first pixels; the last is the start of a scan."""
    header: list[Segment] = []
    size = len(data)
    with decoding(_INVALID.format(size), where):
        for segment in segments(data):
            header.append(segment)
            marker, begin, end = segment
            if marker == _END_OF_IMAGE or end > size:
                break
            if end - begin < 4 and marker not in _WITHOUT_LENGTH:
                _invalid(data, f"the length of its segment 0x{marker:02x} is impossible", where)
            if marker == START_OF_SCAN:
                if end - begin < 6:
                    _invalid(data, "its scan header is impossible", where)
                return header
    return _invalid(data, "it ends before its pixels", where)


def _is_of_adobe(data: bytes, header: list[Segment]) -> bool:
    """Whether libjpeg sees Adobe's segment."""
    return any(
        marker == _APP14 and end >= begin + 16 and data.startswith(_ADOBE, begin + 4) for marker, begin, end in header
    )


def _decode(jpeg: Jpeg, colours: str, *, fast_dct: bool, where: str) -> ImageHWC_u8:
    """Decode a file, mended until libjpeg has nothing to warn of."""
    data = jpeg.data
    with decoding(_INVALID.format(len(data)), where):
        mendings = iter((_without_profiles, _without_padding))
        while True:
            try:
                return _pixels(jpeg, data, colours, fast_dct=fast_dct, where=where)
            except ValueError:
                mended = next((mended for mend in mendings if (mended := mend(data)) != data), None)
                if mended is None:
                    raise
                data = mended


def _pixels(jpeg: Jpeg, data: bytes, colours: str, *, fast_dct: bool, where: str) -> ImageHWC_u8:
    """Decode a file of which libjpeg has nothing to warn.

    Raises:
        ValueError: libjpeg warns or fails, in its words.
    """
    try:
        pixels: ImageHWC_u8 = simplejpeg.decode_jpeg(data, colours, fastdct=fast_dct, fastupsample=False, strict=True)
    except ValueError as error:
        if _UNKNOWN_SAMPLING not in str(error):
            raise
    else:
        return pixels
    return _pixels_of_any_sampling(jpeg, data, colours, fast_dct=fast_dct, where=where)


def _pixels_of_any_sampling(jpeg: Jpeg, data: bytes, colours: str, *, fast_dct: bool, where: str) -> ImageHWC_u8:
    """Decode a file whose sampling TurboJPEG does not know, of whose pixels libjpeg would warn if it were asked."""
    if fast_dct or jpeg.frame in _ARITHMETIC:
        kind = "arithmetic coding" if jpeg.frame in _ARITHMETIC else "the fast DCT"
        _unread(jpeg, f"which pixels the reference gets with {kind} is not established", where)
    import imagecodecs  # late: few JPEG files have such a sampling

    with decoding(_INVALID.format(len(data)), where):  # no other mending is tried: a walk may take its time
        data = _walked(jpeg, data, where)
        pixels: _Pixels = imagecodecs.jpeg8_decode(data, outcolorspace=colours)
    return pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels


def _walked(jpeg: Jpeg, data: bytes, where: str) -> bytes:
    """The file, mended if it has to be, once libjpeg has nothing to warn of in it.

    Raises:
        ValueError: it has.
    """
    from int8cal.images.jpeg_scans import PATIENCE, PATIENCE_PER_PIXEL, TOO_LONG

    mended = _without_padding(data)
    tries = (data,) if mended == data else (data, mended)
    patience = (PATIENCE + PATIENCE_PER_PIXEL * jpeg.height * jpeg.width) // len(tries)
    for tried in tries:
        try:
            _walk_scans(jpeg, tried, patience)
        except ValueError as error:
            if str(error) == TOO_LONG:
                _unread(jpeg, TOO_LONG, where)
            if tried is tries[-1]:
                raise
        else:
            break
    return tried


def _unread(jpeg: Jpeg, why: str, where: str) -> NoReturn:
    raise ImageError(
        f"JPEG with sampling {jpeg.sampling}: {why}.",
        where=where,
        hint="Save the image with sampling 4:4:4 or 4:2:0, or as PNG.",
    )


def _walk_scans(jpeg: Jpeg, data: bytes, patience: int) -> None:
    """Make sure that libjpeg has nothing to warn of.

    Raises:
        ValueError: it has.
    """
    from int8cal.images.jpeg_scans import EXTRANEOUS, Scans

    scans = Scans(jpeg.height, jpeg.width, jpeg.components, progressive=jpeg.frame == _PROGRESSIVE, patience=patience)
    found = list(segments(data))
    if not _adobe_colours_are_known(jpeg, data, found):
        raise ValueError("Unknown Adobe color transform code")
    for (marker, begin, end), (_, following, _) in pairwise(found):
        body = data[begin + 4 : end]
        if marker != START_OF_SCAN and data[end:following].strip(b"\xff"):
            raise ValueError(EXTRANEOUS)
        if marker == _HUFFMAN_TABLES:
            scans.define_tables(body)
        elif marker == _RESTARTS:
            scans.define_restarts(body)
        elif marker == _APP0 and body.startswith(_JFIF) and body[5:6] not in (b"", b"\x01"):
            raise ValueError(f"unknown JFIF revision number {body[5]}")
        elif marker == START_OF_SCAN:
            scans.check(body, data[end:following])
    if found[-1].marker != _END_OF_IMAGE:
        raise ValueError("Premature end of JPEG file")


def _adobe_colours_are_known(jpeg: Jpeg, data: bytes, found: list[Segment]) -> bool:
    """Whether libjpeg knows the transform that Adobe's last segment ahead of the pixels names, where it looks at it."""
    header = list(takewhile(lambda segment: segment.marker != START_OF_SCAN, found))
    is_jfif = any(marker == _APP0 and data.startswith(_JFIF, begin + 4) for marker, begin, _ in header)
    if len(jpeg.components) == 1 or (len(jpeg.components) == 3 and is_jfif):
        return True
    transforms = [data[segment.begin + 15] for segment in header if _is_of_adobe(data, [segment])]
    return not transforms or transforms[-1] in (0, 1 if len(jpeg.components) == 3 else 2)


def _rgb_of(inks: _Pixels) -> ImageHWC_u8:
    """RGB of CMYK that counts from the full ink: the product of colour and black (TensorFlow, ``jpeg_mem.cc``)."""
    height, width = inks.shape[:2]
    out = np.empty((height, width, 3), np.uint8)
    for row, result in zip(inks, out, strict=True):  # so that little more memory is taken than the result needs
        product = row[:, :3].astype(np.uint16) * row[:, 3:]
        product //= 255
        result[:] = product
    return out


def _with_sound_segments(data: bytes, header: list[Segment], *, sequential: bool) -> bytes:
    """The file without stray bytes ahead of the pixels, and with headers of which libjpeg does not warn."""
    sound = not sequential or data.endswith(_WHOLE_SPECTRUM, 0, header[-1].end)
    at = 2
    for marker, begin, end in header:
        sound &= begin == at and (marker != _APP0 or data[begin + 4 : begin + 10] == _JFIF + b"\x01")
        at = end
    if sound:
        return data
    parts = [data[:2]]
    for marker, begin, end in header:
        body = data[begin:end]
        if marker == _APP0 and body[4:9] == _JFIF and len(body) > 9:
            body = body[:9] + b"\x01" + body[10:]
        elif marker == START_OF_SCAN and sequential and len(body) > 6:
            body = body[:-3] + _WHOLE_SPECTRUM
        parts.append(body)
    return b"".join((*parts, data[at:]))


def _without_profiles(data: bytes) -> bytes:
    """The file without colour profiles, of which TurboJPEG warns when they are damaged."""
    kept, rest = [], 0
    for marker, begin, end in segments(data):
        if marker == _APP2 and data.startswith(_PROFILE, begin + 4):
            kept.append(data[rest:begin])
            rest = end
        if marker == START_OF_SCAN:
            break
    return b"".join((*kept, data[rest:]))


def _without_padding(data: bytes) -> bytes:
    """The file without the zeros between its pixels and its end.

    All are taken away, so that none can be taken for the pixels of a file that was cut off: an encoder fills its last
    byte with ones. Behind a byte of 255 the first one is no padding: it says that the byte is of pixels.
    """
    end = next((begin for marker, begin, _ in segments(data) if marker == _END_OF_IMAGE), None)
    if end is None:
        return data
    pixels = data[:end].rstrip(b"\xff").rstrip(b"\0")
    return pixels + (b"\0" if pixels.endswith(b"\xff") else b"") + data[end:]


def _invalid(data: bytes, reason: str, where: str) -> NoReturn:
    raise ImageError(f"{_INVALID.format(len(data))}: {reason}.", where=where, hint=REPAIR_IMAGE)
