"""BMP, PPM and TIFF files: the pixels of Pillow 8.4, or none at all."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from tests.pictures import deep_grey, encode, pixels

from int8cal.errors import ImageError
from int8cal.images.pictures import open_picture, picture_size
from int8cal.types import Size

SHORT, LONG, BYTES = 3, 4, 1
WHITE_IS_HIGH, RGB, PALETTE, YCBCR, CIELAB = 1, 2, 3, 6, 8
RAW, GROUP3, GROUP4, JPEG_OF_OLD, DEFLATE, ZSTD = 1, 3, 4, 6, 8, 50000
SIGNED = (339, SHORT, [2])
COLOURS = (320, SHORT, list(range(0, 768 * 85, 85)))
XMP_ORIENTATION = (700, BYTES, list(b'<rdf:Description tiff:Orientation="3"/>'))


def orientation(number: int) -> tuple[int, int, list[int]]:
    return (274, SHORT, [number])


def tiff(
    body: bytes, size: tuple[int, int], *more: tuple[int, int, list[int]], photometric: int = WHITE_IS_HIGH,
    bits: tuple[int, ...] = (8,), compression: int = RAW, order: str = "<",
) -> bytes:  # fmt: skip
    """A TIFF file of one strip.

    Args:
        body: the strip.
        size: height and width.
        more: further tags: number, type, values.
        photometric: what the numbers mean.
        bits: of each channel.
        compression: of the strip.
        order: of the bytes, as in `struct`.
    """
    body += b"\0" * (len(body) % 2)
    tags = sorted([
        (256, SHORT, [size[1]]), (257, SHORT, [size[0]]), (258, SHORT, list(bits)), (259, SHORT, [compression]),
        (262, SHORT, [photometric]), (273, LONG, [8]), (277, SHORT, [len(bits)]), (278, SHORT, [size[0]]),
        (279, LONG, [len(body)]), *more,
    ])  # fmt: skip
    values_at = 8 + len(body) + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, kind, numbers in tags:
        packed = struct.pack(f"{order}{len(numbers)}{'?BBHI'[kind]}", *numbers)
        place = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(f"{order}I", values_at + len(values))
        values += b"" if len(packed) <= 4 else packed + b"\0" * (len(packed) % 2)
        entries += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + place
    start = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, 8 + len(body))
    return start + body + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + values


def ppm(kind: str, highest: int, values: np.ndarray) -> bytes:
    return f"{kind} {values.shape[1]} {values.shape[0]} {highest}\n".encode() + values.tobytes()


@pytest.mark.parametrize("highest", [1, 100, 254, 255])
@pytest.mark.parametrize(("kind", "channels"), [("P5", 1), ("P6", 3)])
def test_values_of_ppm_are_not_stretched(kind, channels, highest):
    values = pixels(7, 9, channels)  # some of them above the highest, which 8.4 does not look at
    picture = open_picture(ppm(kind, highest, values), "")
    np.testing.assert_array_equal(np.asarray(picture), values)


@pytest.mark.parametrize("highest", [256, 4095, 65535])
def test_values_of_16_bit_ppm_are_not_stretched(highest):
    values = np.minimum(deep_grey(), highest)
    picture = open_picture(ppm("P5", highest, values.astype(">u2")), "")
    assert picture.mode == "I"
    np.testing.assert_array_equal(np.asarray(picture), values)


def test_ppm_that_is_cut_off():
    with pytest.raises(ImageError, match="cannot be decoded"):
        open_picture(ppm("P6", 100, pixels(40, 40))[:-400], "x")


@pytest.mark.parametrize(
    ("encoded", "said"),
    [
        (b"P2 2 1 255\n7 8\n", "PPM written as text"),
        (b"P1 2 1\n0 1\n", "PPM written as text"),
        (ppm("P6", 1023, np.zeros((2, 2, 3), ">u2")), "values up to 1023"),
        (ppm("P5", 0, np.zeros((2, 2), np.uint8)), "maxval"),
    ],
)
def test_kinds_of_ppm_that_are_refused(encoded, said):
    for opener in (open_picture, picture_size):
        with pytest.raises(ImageError, match=said) as caught:
            opener(encoded, "some.ppm")
        assert caught.value.where == "some.ppm"
        assert caught.value.hint


@pytest.mark.parametrize("compression", ["raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate"])
@pytest.mark.parametrize(
    "values", [pixels(), pixels(channels=4), pixels(channels=1), deep_grey()], ids=["RGB", "RGBA", "L", "I;16"]
)
def test_lossless_tiff(values, compression):
    np.testing.assert_array_equal(np.asarray(open_picture(encode(values, "TIFF", compression=compression), "")), values)


def test_grey_jpeg_in_tiff_is_that_of_a_jpeg_file():
    grey = pixels(16, 16, 1)
    inside = open_picture(encode(grey, "TIFF", compression="jpeg", quality=80), "")
    np.testing.assert_array_equal(np.asarray(inside), np.asarray(open_picture(encode(grey, "JPEG", quality=80), "")))


NOISE = pixels(16, 16, 3).tobytes()
REFUSED = {
    "fax of noise": (tiff(NOISE, (16, 16), bits=(1,), compression=GROUP4), "compression group4"),
    "fax": (tiff(NOISE, (16, 16), bits=(1,), compression=GROUP3), "compression group3"),
    "zstd": (tiff(NOISE, (16, 16), compression=ZSTD), "compression zstd"),
    "JPEG of old": (tiff(NOISE, (16, 16), compression=JPEG_OF_OLD), "compression tiff_jpeg"),
    "JPEG": (encode(pixels(16, 16), "TIFF", compression="jpeg"), "colours compressed as JPEG"),
    "YCbCr": (tiff(NOISE, (16, 16), photometric=YCBCR, bits=(8, 8, 8)), "YCbCr or CIELAB"),
    "CIELAB": (tiff(NOISE, (16, 16), photometric=CIELAB, bits=(8, 8, 8)), "YCbCr or CIELAB"),
    "palette and alpha": (
        tiff(NOISE[:512], (16, 16), COLOURS, (338, SHORT, [2]), photometric=PALETTE, bits=(8, 8)),
        "palette and alpha",
    ),
    "compressed signed numbers": (
        tiff(zlib.compress(NOISE[:512]), (16, 16), SIGNED, bits=(16,), compression=DEFLATE, order=">"),
        "compressed signed numbers",
    ),
    "on its side": (tiff(NOISE, (16, 16), orientation(6), photometric=RGB, bits=(8, 8, 8)), "lies on its side"),
}


@pytest.mark.parametrize(("encoded", "said"), REFUSED.values(), ids=REFUSED)
def test_kinds_of_tiff_that_are_refused(encoded, said):
    with pytest.raises(ImageError, match=said) as caught:
        open_picture(encoded, "some.tif")
    assert caught.value.where == "some.tif"
    assert "--on_bad_image" in caught.value.hint


@pytest.mark.parametrize(
    ("number", "turned"),
    [(1, lambda values: values), (2, np.fliplr), (3, lambda values: values[::-1, ::-1]), (4, np.flipud)],
)
def test_tiff_is_turned_by_its_orientation(number, turned):
    values = pixels(5, 8)
    encoded = tiff(values.tobytes(), (5, 8), orientation(number), photometric=RGB, bits=(8, 8, 8))
    np.testing.assert_array_equal(np.asarray(open_picture(encoded, "")), turned(values))
    assert picture_size(encoded, "") == Size(5, 8)


def test_tiff_is_not_turned_by_its_xmp_notes():
    values = pixels(5, 8)
    encoded = tiff(values.tobytes(), (5, 8), XMP_ORIENTATION, photometric=RGB, bits=(8, 8, 8))
    np.testing.assert_array_equal(np.asarray(open_picture(encoded, "")), values)


@pytest.mark.parametrize("order", ["<", ">"])
def test_signed_numbers_that_are_not_compressed(order):
    values = np.arange(-8, 8, dtype=np.int16).reshape(4, 4)
    encoded = tiff(values.astype(f"{order}i2").tobytes(), (4, 4), SIGNED, bits=(16,), order=order)
    np.testing.assert_array_equal(np.asarray(open_picture(encoded, "")), values)


def test_bmp_whose_pixels_begin_in_its_palette():
    encoded = encode(Image.fromarray(pixels()).quantize(17), "BMP")
    sound = open_picture(encoded, "")
    assert sound.mode == "P"
    with pytest.raises(ImageError, match="cannot begin at byte 54, where its palette is"):
        open_picture(encoded[:10] + struct.pack("<I", 54) + encoded[14:], "some.bmp")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_sound_bmp(mode):
    picture = Image.fromarray(pixels()).convert(mode)
    np.testing.assert_array_equal(
        np.asarray(open_picture(encode(picture, "BMP"), "").convert("RGB")), np.asarray(picture.convert("RGB"))
    )
