"""JPEG files with faults: harmless ones change no pixel, all others are refused."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg
from PIL import Image
from tests.pictures import encode, pixels

from int8cal.errors import ImageError
from int8cal.images.jpeg import decode_jpeg, segments

PICTURE = Image.fromarray(pixels(40, 30))
KINDS = {
    "sequential": encode(PICTURE, "JPEG"),
    "optimised": encode(PICTURE, "JPEG", optimize=True),
    "progressive": encode(PICTURE, "JPEG", progressive=True),
    "restarts": encode(PICTURE, "JPEG", restart_marker_blocks=1),
    "grey": encode(PICTURE.convert("L"), "JPEG"),
    "black": encode(Image.new("RGB", (64, 64)), "JPEG", optimize=True),
}


def inserted(data: bytes, marker: int, extra: bytes) -> bytes:
    """The file with bytes ahead of the first segment of a kind."""
    begin = next(segment.begin for segment in segments(data) if segment.marker == marker)
    return data[:begin] + extra + data[begin:]


def without_spectrum(data: bytes) -> bytes:
    end = next(segment.end for segment in segments(data) if segment.marker == 0xDA)
    return data[: end - 2] + b"\0" + data[end - 1 :]


def revised(data: bytes, revision: int) -> bytes:
    at = data.index(b"JFIF\0") + 5
    return data[:at] + bytes([revision]) + data[at + 1 :]


HARMLESS = {
    "zeros before the end": lambda data: inserted(data, 0xD9, bytes(100)),
    "one zero before the end": lambda data: inserted(data, 0xD9, bytes(1)),
    "fill bytes before the end": lambda data: inserted(data, 0xD9, b"\xff" * 9),
    "zeros and fill bytes": lambda data: inserted(data, 0xD9, bytes(30) + b"\xff" * 9),
    "bytes after the end": lambda data: data + b"\xff\xd8\xff\xd9 more",
    "zeros before and bytes after the end": lambda data: inserted(data, 0xD9, bytes(100)) + b"more\xff\xd9",
    "stray bytes": lambda data: inserted(data, 0xDB, b"stray"),
    "stray escapes": lambda data: inserted(inserted(data, 0xDB, b"\xff\0"), 0xC4, b"\xff\xff\0\xff"),
    "revision 2": lambda data: revised(data, 2),
    "all at once": lambda data: inserted(inserted(revised(data, 0), 0xDB, b"\0\0"), 0xD9, bytes(50)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", HARMLESS)
@pytest.mark.parametrize("channels", [1, 3])
def test_harmless_faults_change_no_pixel(kind: str, fault: str, channels: int) -> None:
    sound = simplejpeg.decode_jpeg(KINDS[kind], "RGB" if channels == 3 else "GRAY", fastdct=True, fastupsample=False)
    found = decode_jpeg(HARMLESS[fault](KINDS[kind]), channels, fast_dct=True, where="x")
    np.testing.assert_array_equal(found, sound)


@pytest.mark.parametrize("kind", ["sequential", "optimised", "restarts", "grey"])
def test_the_spectral_range_of_a_sequential_file_means_nothing(kind: str) -> None:
    sound = decode_jpeg(KINDS[kind], 3, fast_dct=False, where="x")
    found = decode_jpeg(without_spectrum(KINDS[kind]), 3, fast_dct=False, where="x")
    np.testing.assert_array_equal(found, sound)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", [b"", b"\xff\xd9", bytes(5000) + b"\xff\xd9", b"\xff\xd9" + bytes(50), bytes(5000)])
def test_every_cut_is_refused(kind: str, end: bytes) -> None:
    data = KINDS[kind]
    if kind == "progressive" and 0xFF in end:
        data = data[: [segment.end for segment in segments(data) if segment.marker == 0xDA][1]]  # fewer scans are sound
    for length in range(3, len(data) - 8, 7):
        with pytest.raises(ImageError, match="Invalid JPEG data"):
            decode_jpeg(data[:length] + end, 3, fast_dct=False, where="x")


def test_pixels_that_a_flipped_bit_has_spoilt_are_refused() -> None:
    """What it leaves over ahead of the end is not a padding."""
    data = bytearray(KINDS["sequential"])
    start = next(segment.end for segment in segments(bytes(data)) if segment.marker == 0xDA)
    data[start + 400] ^= 0x55
    with pytest.raises(ImageError, match="extraneous bytes before marker 0xd9") as caught:
        decode_jpeg(bytes(data), 3, fast_dct=False, where="x")
    assert caught.value.hint


@pytest.mark.parametrize("escape", [b"", b"\xff\0", b"\xff\0\0\x30"])
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_two_frame_headers_are_never_confused(escape: bytes, mode: str) -> None:
    """A second size, hidden where parsers differ: the size that is checked is that of the decoder."""
    data = encode(PICTURE.convert(mode), "JPEG")
    frame = next(segment for segment in segments(data) if segment.marker == 0xC0)
    huge = bytearray(data[frame.begin : frame.end])
    huge[5:9] = b"\x75\x30\x75\x30"
    for hidden in (escape + bytes(huge), b"\xff\xfe\0\x15" + bytes(huge)):
        found = data[: frame.begin] + hidden + data[frame.begin :]
        try:
            decoded = decode_jpeg(found, 3, fast_dct=False, where="x")
        except ImageError:
            continue
        assert decoded.shape == (40, 30, 3)
