"""BMP, PPM and TIFF files: the pixels of Pillow 8.4, or none at all."""

from __future__ import annotations

import lzma
import struct
import time
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from tests.build import zeros_deflated
from tests.pictures import deep_grey, encode, pixels
from tests.tiff_files import BYTES, LONG, RAW, SHORT, tiff

from int8cal.errors import ImageError
from int8cal.images import tiff as tiff_reader
from int8cal.images.pictures import open_picture, picture_size
from int8cal.types import Size

RGB, PALETTE, YCBCR, CIELAB = 2, 3, 6, 8
GROUP3, GROUP4, JPEG_OF_OLD, DEFLATE, LZMA, ZSTD = 3, 4, 6, 8, 34925, 50000
SIGNED = (339, SHORT, [2])
COLOURS = (320, SHORT, list(range(0, 768 * 85, 85)))
XMP_ORIENTATION = (700, BYTES, list(b'<rdf:Description tiff:Orientation="3"/>'))


def orientation(number: int) -> tuple[int, int, list[int]]:
    return (274, SHORT, [number])


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
    assert caught.value.hint == "Save it as PNG or JPEG."


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
    with pytest.raises(ImageError, match="cannot begin at byte 54, where its header or palette is"):
        open_picture(encoded[:10] + struct.pack("<I", 54) + encoded[14:], "some.bmp")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_sound_bmp(mode):
    picture = Image.fromarray(pixels()).convert(mode)
    np.testing.assert_array_equal(
        np.asarray(open_picture(encode(picture, "BMP"), "").convert("RGB")), np.asarray(picture.convert("RGB"))
    )


def refused(encoded: bytes, said: str) -> None:
    for opener in (open_picture, picture_size):
        with pytest.raises(ImageError, match=said) as caught:
            opener(encoded, "x")
        assert caught.value.where == "x"
        assert caught.value.hint


GREY = pixels(4, 4, 1).tobytes()


@pytest.mark.parametrize(
    ("encoded", "said"),
    [
        (tiff(GREY, (4, 4), (257, SHORT, [3]), (257, SHORT, [4])), "tag 257 occurs twice"),
        (tiff(GREY, (4, 4), (347, BYTES, [3]), (347, BYTES, [4])), "tag 347 occurs twice"),
        (tiff(GREY, (4, 4), without=(256,)), "tag 256 is missing"),
        (tiff(GREY, (4, 4), without=(262,)), "tag 262 is missing"),
        (tiff(GREY, (4, 4), without=(279,)), "tag 279 is missing"),
        (tiff(GREY, (4, 4), (256, BYTES, [4])), "tag 256 is not a whole number"),
        (tiff(GREY, (4, 4), (256, SHORT, [4, 4])), "tag 256 has 2 values"),
        (tiff(GREY, (4, 4), (258, SHORT, [8, 8, 8])), "tag 258 has 3 values for 1 samples"),
        (tiff(GREY, (4, 4), (273, LONG, [8, 12])), "2 strips or tiles, but 1 are needed"),
        (tiff(GREY, (4, 4), (278, SHORT, [1])), "1 strips or tiles, but 4 are needed"),
        (tiff(GREY, (4, 4), (322, SHORT, [16])), "neither strips nor tiles, or both"),
        (tiff(GREY, (4, 4), (284, SHORT, [3])), "planar configuration 3"),
        (tiff(GREY, (4, 4), without=(273, 278, 279)), "neither strips nor tiles"),
        (tiff(GREY, (4, 4), (277, SHORT, [2])), "is not read"),
        (
            tiff(GREY, (4, 4), (338, SHORT, [0]), (277, SHORT, [2]), bits=(8, 8)),
            "of a kind that Pillow 8.4 does not know",
        ),
        (tiff(GREY * 2, (4, 4), photometric=0, bits=(16,)), "of a kind that Pillow 8.4 does not know"),
        (tiff(GREY, (4, 4), SIGNED), "of a kind that Pillow 8.4 does not know"),
        (tiff(GREY, (4, 4), (*COLOURS[:2], [1] * 9), photometric=PALETTE), "has not the colours"),
        (tiff(GREY, (1 << 14, 1 << 14)), "too large: 16384×16384"),
        (b"II*\0\xff\xff\0\0", "cannot be decoded"),
        (tiff(GREY, (4, 4))[:-4], "cannot be decoded"),
        (tiff(GREY, (4, 4), (320, SHORT, [1] * 9))[:-4], "values of tag 320 are cut off"),
        (tiff(GREY, (4, 4), (700, BYTES, [1] * 9))[:-4], "values of tag 700 are cut off"),
        (tiff(GREY * 2, (4, 4), (284, SHORT, [2]), bits=(16,)), "planes of this kind"),
        (tiff(GREY, (4, 4), (0xBC01, BYTES, [1])), "Windows Media Photo"),
    ],
)
def test_tiff_with_tags_that_mean_more_than_one_thing(encoded, said):
    refused(encoded, said)


@pytest.mark.parametrize("tag", [270, 700])
def test_tiff_with_a_tag_twice_that_decides_no_pixel(tag):
    encoded = tiff(GREY, (4, 4), (tag, BYTES, [*b"of the picture"]), (tag, BYTES, [*b'{"shape": [4, 4]}']))
    assert np.asarray(open_picture(encoded, "")).tobytes() == GREY


SMOOTH = (np.add.outer(np.arange(32) * 3, np.arange(40) * 2) % 256).astype(np.uint8) ^ pixels(32, 40, 1) % 4
ROWS, DEFLATED = SMOOTH.tobytes(), zlib.compress(SMOOTH.tobytes())
FILLED_UP = zlib.compress(ROWS + bytes(400))
FLUSHED = (deflate := zlib.compressobj()).compress(ROWS) + deflate.flush(zlib.Z_SYNC_FLUSH)
XZ = lzma.compress(ROWS)


def of_strips(*strips: bytes, rows: int, compression: int = DEFLATE) -> bytes:
    """`SMOOTH` in strips of so many rows."""
    places = [8 + sum(map(len, strips[:number])) for number in range(len(strips))]
    tags = [(273, LONG, places), (278, SHORT, [rows]), (279, LONG, [len(strip) for strip in strips])]
    return tiff(b"".join(strips), SMOOTH.shape, *tags, compression=compression)


def asking_for_4_gigabytes(xz: bytes) -> bytes:
    """The same LZMA data, with a header that says that references reach so far back."""
    data = bytearray(xz)
    header = 4 * (data[12] + 1)
    data[data.index(b"\x21\x01") + 2] = 40
    data[8 + header : 12 + header] = struct.pack("<I", zlib.crc32(data[12 : 8 + header]))
    return bytes(data)


@pytest.mark.parametrize(
    "encoded",
    [
        of_strips(DEFLATED, rows=32),
        of_strips(DEFLATED + b"junk", rows=32),
        of_strips(FILLED_UP, rows=32),
        of_strips(zlib.compress(ROWS + bytes(len(ROWS))), rows=64),
        of_strips(zlib.compress(ROWS[: 20 * 40]), zlib.compress(ROWS[20 * 40 :] + bytes(8 * 40)), rows=20),
        of_strips(XZ, rows=32, compression=LZMA),
        of_strips(lzma.compress(ROWS, check=lzma.CHECK_NONE), rows=32, compression=LZMA),  # libtiff's own
        of_strips(lzma.compress(ROWS + bytes(400)), rows=32, compression=LZMA),
    ],
)
def test_tiff_strips_that_writers_make(encoded):
    """Some fill up the last strip, or the only one."""
    np.testing.assert_array_equal(np.asarray(open_picture(encoded, "")), SMOOTH)


@pytest.mark.parametrize(
    ("strip", "said"),
    [
        (DEFLATED[:-1] + bytes([DEFLATED[-1] ^ 1]), "incorrect data check"),
        *((DEFLATED[:-missing], "without a checksum") for missing in (1, 4)),
        (FILLED_UP[:-1] + bytes([FILLED_UP[-1] ^ 1]), "incorrect data check"),
        (FILLED_UP[:-4], "without a checksum"),
        (FLUSHED, "without a checksum"),
        (FLUSHED + b"\x03\0" + b"abcd", "incorrect data check"),
        (zlib.compress(ROWS + bytes(len(ROWS) + 4097)), "far more than its pixels"),
        (zeros_deflated(200), "far more than its pixels"),
        *((XZ[:-missing], "without a checksum") for missing in (4, 12, 32)),
        (XZ[:-36] + bytes([XZ[-36] ^ 1]) + XZ[-35:], "Corrupt"),
        (lzma.compress(ROWS + bytes(len(ROWS) + 4097)), "far more than its pixels"),
        (asking_for_4_gigabytes(XZ), "Memory usage limit"),
    ],
)
def test_tiff_strip_whose_checksum_is_wrong_or_never_seen(strip, said):
    """Pillow takes all whose first bytes are enough for the rows, and never looks at the checksum behind."""
    kind = LZMA if strip.startswith(b"\xfd7zXZ") else DEFLATE
    with pytest.raises(ImageError, match=said):
        open_picture(of_strips(strip, rows=32, compression=kind), "x")


def test_tiff_of_lzma_that_takes_long_is_refused(monkeypatch):
    """A byte of it takes twenty times what one of any other compression takes."""
    encoded = of_strips(XZ, rows=32, compression=LZMA)
    monkeypatch.setattr(tiff_reader, "_LZMA_ENCODED", len(XZ) - SMOOTH.nbytes // 8 - 1)
    with pytest.raises(ImageError, match=f"{len(XZ)} bytes of LZMA"):
        open_picture(encoded, "x")
    monkeypatch.setattr(tiff_reader, "_LZMA_ENCODED", len(XZ) - SMOOTH.nbytes // 8)
    np.testing.assert_array_equal(np.asarray(open_picture(encoded, "x")), SMOOTH)


def test_damage_in_a_tiff_strip_is_not_taken_for_pixels():
    """A few bytes that were zeroed often make more data than there are pixels; the checksum comes after them."""
    refused = 0
    for place in range(20, len(DEFLATED) - 20, 7):
        damaged = DEFLATED[:place] + bytes(8) + DEFLATED[place + 8 :]
        with pytest.raises(zlib.error):
            zlib.decompress(damaged)
        with pytest.raises(ImageError):
            open_picture(of_strips(damaged, rows=32), "x")
        refused += 1
    assert refused > 20


@pytest.mark.parametrize("compression", [RAW, 5, DEFLATE, 32773])
def test_tiff_strip_that_does_not_hold_its_rows(compression, capfd):
    body = {RAW: GREY[:12], 5: b"\x80\x00\x20\x10", DEFLATE: zlib.compress(GREY[:12]), 32773: b"\x03abcd"}[compression]
    with pytest.raises(ImageError, match="cannot be decoded"):
        open_picture(tiff(body, (4, 4), (279, LONG, [len(body)]), compression=compression), "x")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "body", [b"\x80" * (1 << 20) + b"\x0f" + GREY, b"\x0f" + GREY + bytes(1 << 20)], ids=["ahead", "behind"]
)
def test_tiff_strip_that_libtiff_reads_only_the_beginning_of(body):
    """Nothing but padding, but of which a megabyte: libtiff gives up after ten times the pixels and 4 KiB."""
    with pytest.raises(ImageError, match="far longer than its pixels"):
        open_picture(tiff(body, (4, 4), (279, LONG, [len(body)]), compression=32773), "x")
    short = body.replace(b"\x80" * 1000, b"").rstrip(b"\0")
    picture = open_picture(tiff(short, (4, 4), (279, LONG, [len(short)]), compression=32773), "x")
    assert picture.tobytes() == GREY


def in_tiles(pieces: list[bytes], size: tuple[int, int], tile: tuple[int, int], *more, **how) -> bytes:
    """A TIFF file of tiles, or of one that occurs again and again."""
    places = [8 + sum(map(len, pieces[:number])) for number in range(len(pieces))]
    count = -(-size[0] // tile[0]) * -(-size[1] // tile[1]) * (3 if (284, SHORT, [2]) in more else 1)
    if len(pieces) == 1:
        pieces, places = pieces * count, places * count
    body = b"".join(dict.fromkeys(pieces))
    tags = [(322, LONG, [tile[1]]), (323, LONG, [tile[0]]), (324, LONG, places), (325, LONG, list(map(len, pieces)))]
    return tiff(body, size, *tags, *more, without=(273, 278, 279), **how)


def in_shared_strips(piece: bytes, size: tuple[int, int], rows: int, compression: int) -> bytes:
    count = -(-size[0] // rows)
    more = ((273, LONG, [8] * count), (278, LONG, [rows]), (279, LONG, [len(piece)] * count))
    return tiff(piece, size, *more, compression=compression)


@pytest.mark.parametrize(
    ("side", "compression"),
    [*((side, kind) for side in (16, 512) for kind in (RAW, 5, DEFLATE, 32773)), (4096, DEFLATE)],
)
def test_tiles_that_are_larger_than_their_image(side, compression):
    tile = np.zeros((side, side), np.uint8)
    tile[:10, :12] = pixels(10, 12, 1)
    encode_as = {RAW: bytes, 5: imagecodecs.lzw_encode, DEFLATE: zlib.compress, 32773: imagecodecs.packbits_encode}
    encoded = in_tiles([bytes(encode_as[compression](tile.tobytes()))], (10, 12), (side, side), compression=compression)
    np.testing.assert_array_equal(np.asarray(open_picture(encoded, "")), tile[:10, :12])


def test_tiles_of_planes_and_of_long_images():
    tile = zlib.compress(bytes(256 * 256))
    long = in_tiles([tile], (8000, 3), (256, 256), compression=DEFLATE)
    planes = in_tiles([tile], (3, 600), (256, 256), (284, SHORT, [2]), photometric=RGB, bits=(8, 8, 8), compression=8)
    assert open_picture(long, "").size == (3, 8000)
    assert open_picture(planes, "").size == (600, 3)


def grey_jpeg(height: int, width: int, **how) -> bytes:
    return encode(SMOOTH[:height, :width], "JPEG", **how)


def in_jpeg_strips(*strips: bytes, size: tuple[int, int] = (24, 40), rows: int = 16) -> bytes:
    places = [8 + sum(map(len, strips[:number])) for number in range(len(strips))]
    more = ((273, LONG, places), (278, LONG, [rows]), (279, LONG, [len(strip) for strip in strips]))
    return tiff(b"".join(strips), size, *more, compression=7)


@pytest.mark.parametrize("last", [8, 9, 16, 32])
def test_last_jpeg_strip_may_be_as_high_as_the_others(last):
    """As libtiff has it."""
    picture = open_picture(in_jpeg_strips(grey_jpeg(16, 40), grey_jpeg(last, 40)), "")
    alone = open_picture(grey_jpeg(last, 40), "")
    np.testing.assert_array_equal(np.asarray(picture)[16:], np.asarray(alone)[:8])


@pytest.mark.parametrize(
    ("encoded", "said"),
    [
        (in_jpeg_strips(grey_jpeg(24, 40), grey_jpeg(8, 40)), "of another size"),
        (in_jpeg_strips(grey_jpeg(16, 40), grey_jpeg(7, 40)), "of another size"),
        (in_jpeg_strips(grey_jpeg(16, 40), grey_jpeg(8, 39)), "of another size"),
        (in_jpeg_strips(grey_jpeg(16, 39), grey_jpeg(8, 39), size=(24, 38)), "of another size"),
        (in_tiles([grey_jpeg(32, 16)], (20, 16), (16, 16), compression=7), "of another size"),
        (in_jpeg_strips(*2 * [grey_jpeg(16, 40, progressive=True)], size=(32, 40)), "progressive"),
        (in_jpeg_strips(encode(pixels(16, 40), "JPEG"), size=(16, 40)), "JPEG file of colours"),
        (in_jpeg_strips(b"\xff\xd8" + b"\xff\xfe\0\2" * 33 + grey_jpeg(16, 40)[2:], size=(16, 40)), "32 JPEG segments"),
    ],
)
def test_jpeg_strips_that_are_refused(encoded, said):
    with pytest.raises(ImageError, match=said):
        open_picture(encoded, "x")


def test_a_progressive_jpeg_as_the_only_strip():
    alone = grey_jpeg(24, 40, progressive=True)
    assert open_picture(in_jpeg_strips(alone, rows=24), "").tobytes() == open_picture(alone, "").tobytes()


def lzw(codes: list[int]) -> bytes:
    """Codes of nine bits, as they follow a CLEAR."""
    bits = "".join(f"{code:09b}" for code in codes)
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ([256, 300, 301, 302], "not in the table"),
        ([256, 258, 7], "not in the table"),
        ([256, 1, 2, 260, 7], "not in the table"),
        ([256, 1, 256, 259, 3], "not in the table"),
        ([1, 256, 2], "do not begin with an empty table"),
        ([256, 1] * 40_000, "too often"),
    ],
)
def test_lzw_codes_that_are_not_in_the_table(codes, said):
    """imagecodecs would read memory that is not its own."""
    begin = time.process_time()
    with pytest.raises(ImageError, match=said):
        open_picture(tiff(lzw(codes), (4, 4), compression=5), "x")
    assert time.process_time() - begin < 2


@pytest.mark.parametrize("size", [(1, 1), (40, 30), (300, 500)])
def test_lzw_of_any_length(size):
    values = pixels(*size)
    for options in ({}, {317: 2}, {278: 1}, {278: 200}):
        encoded = encode(values, "TIFF", compression="tiff_lzw", tiffinfo=options)
        np.testing.assert_array_equal(np.asarray(open_picture(encoded, "")), values)


def test_damaged_tiff_writes_nothing_to_stderr(capfd):
    strips = [zlib.compress(bytes(range(13)))[:-6]] * 200
    offsets = [8 + sum(map(len, strips[:number])) for number in range(200)]
    more = ((273, LONG, offsets), (279, LONG, [len(strip) for strip in strips]), (278, SHORT, [1]))
    encoded = tiff(b"".join(strips), (200, 13), *more, compression=DEFLATE)
    with pytest.raises(ImageError, match="cannot be decoded"):
        open_picture(encoded, "x")
    assert capfd.readouterr() == ("", "")


def bmp(
    pixels_: bytes, *, bits: int, colours: int = 0, palette: bytes = b"", compression: int = 0, size: int = 4
) -> bytes:
    """A BMP file of square pixels."""
    info = struct.pack("<IiiHHIIiiII", 40, size, size, 1, bits, compression, len(pixels_), 0, 0, colours, 0)
    offset = 14 + len(info) + len(palette)
    return struct.pack("<2sIHHI", b"BM", offset + len(pixels_), 0, 0, offset) + info + palette + pixels_


TWO = bytes(4) + b"\xff\xff\xff\0"


@pytest.mark.parametrize(
    ("encoded", "said"),
    [
        (bmp(bytes(16), bits=8, colours=1, palette=bytes(4)), "of 8 bits with 1 colours"),
        (bmp(bytes(16), bits=1, colours=3, palette=TWO), "of 1 bits with 3 colours"),
        (bmp(bytes(16), bits=8, colours=300, palette=bytes(1200)), "of 8 bits with 300 colours"),
        (bmp(b"\4\0" * 4, bits=8, palette=bytes(1024), compression=1), "compression 1"),
        (bmp(bytes(16), bits=32, compression=6), "BMP compression"),
        (bmp(bytes(64), bits=32, compression=3, palette=struct.pack("<3I", 0xFF000000, 0xFF00, 0xFF)), "masks"),
        (bmp(bytes(16), bits=8, palette=bytes(1024), size=1 << 14), "too large: 16384×16384"),
        (b"BM" + bytes(12) + struct.pack("<I", 52) + bytes(60), "header of 52 bytes"),
    ],
)
def test_kinds_of_bmp_that_are_refused(encoded, said):
    refused(encoded, said)


GIF = encode(Image.fromarray(pixels()).quantize(17), "GIF")


@pytest.mark.parametrize(
    ("encoded", "said"),
    [
        (GIF.replace(b"\x2c\0\0\0\0", b"\x01\x2c\0\0\0\0"), "unknown block 0x01"),
        (GIF.replace(b"\x2c\0\0\0\0", b"\x21\xf9\x03\0\0\0\0\x2c\0\0\0\0"), "graphic control block is damaged"),
        (GIF.replace(b"\x2c\0\0\0\0", b"\x2c\1\0\0\0"), "its frame is larger than the image"),
        (GIF.replace(b"\x2c\0\0\0\0", b"\x21\0\0\x2c\0\0\0\0"), "the extension 0x00 has no data"),
        (GIF.replace(b"\x2c\0\0\0\0", b"\x21\xff\0\x2c\0\0\0\0"), "the extension 0xff has no data"),
        (GIF.replace(b"\x2c\0\0\0\0", b"\x21\xff\x0bNETSCAPE2.0\0\x2c\0\0\0\0"), "the extension 0xff has no data"),
        (GIF[:6] + bytes(2) + GIF[8:], "no pixels"),
        (GIF[:-20], "Invalid GIF data"),
    ],
)
def test_kinds_of_gif_that_are_refused(encoded, said):
    refused(encoded, said)


def test_what_a_gif_says_beside_its_pixels_is_passed_over():
    comments = b"\x21\xfe" + b"\xff" + b"x" * 255 + b"\0" + b"\x21\xfe\0"
    loop = b"\x21\xff\x0bNETSCAPE2.0\3\1\0\0\0" + b"\x21\xff\x0bNETSCAPE2.0\1\2\0"
    noted = GIF.replace(b"\x2c\0\0\0\0", comments + loop + b"\x2c\0\0\0\0")
    np.testing.assert_array_equal(np.asarray(open_picture(noted, "")), np.asarray(open_picture(GIF, "")))


@pytest.mark.parametrize(
    "header",
    [b"P5 4 4 255", b"P5 4 #a\r4 255\n", b"P5 4#a\n 4 255\n", b"P5 +4 4 255\n", b"P5 4_0 4 255\n", b"P7 4 4 255\n"],
)
def test_ppm_headers_that_are_refused(header):
    refused(header + GREY, "header of a PPM file is damaged|is not a JPEG")


COSTLY = {
    "run-length BMP": bmp(b"\4\0" * 20_000, bits=8, palette=bytes(1024), compression=1, size=8192),
    "GIF of many blocks": GIF[:13] + GIF[13 : GIF.index(b"\x2c\0\0\0\0")] + b"\x21\xfe" + b"\1a" * 8_000_000 + b"\0;",
    "GIF of many extensions": GIF[: GIF.index(b"\x2c\0\0\0\0")] + b"\x21\xfe\1a\0" * 4_300_000 + b";",
    "PPM of spaces": b"P5" + b" " * 8_000_000,
    "PPM of comments": b"P5 " + b"#\n" * 4_000_000,
    "TIFF of many tags": b"II*\0\x08\0\0\0\xff\xff"
    + b"".join(struct.pack("<HHII", tag, LONG, 1 << 29, 8) for tag in range(65535)),
    "TIFF of many strips": tiff(bytes(64), (65535, 1000), (278, SHORT, [1]), (273, LONG, [8]), (279, LONG, [8])),
    "TIFF of wide tiles": in_tiles([zlib.compress(bytes(1 << 22), 9)], (1000, 1), (1, 1 << 22), compression=DEFLATE),
    "TIFF of many LZW strips": in_shared_strips(b"\x80\x00\x60\x50\x10", (65535, 8), 1, 5),
    "TIFF of many JPEG strips": in_shared_strips(encode(np.zeros((1, 8), np.uint8), "JPEG"), (65535, 8), 1, 7),
    "TIFF of many LZW tables": in_shared_strips(
        (int("".join(f"{code:09b}" for code in [256, 1] * 64), 2)).to_bytes(144, "big"), (4000, 64), 1, 5
    ),
    "TIFF of high JPEG strips": in_shared_strips(encode(np.zeros((65500, 200), np.uint8), "JPEG"), (999, 200), 1, 7),
    **{
        f"TIFF of one long strip of kind {kind} many times": in_shared_strips(piece, (200, 8), 1, kind)
        for kind, piece in {
            5: (b"\x80" + b"\1\xc0\x70\x20" * 250_000),
            DEFLATE: zlib.compress(bytes(8), 0)[:2] + b"\0\0\0\xff\xff" * 200_000 + zlib.compress(bytes(8), 0)[2:],
            32773: b"\x80" * 1_000_000 + b"\x07" + bytes(8),
        }.items()
    },
}


@pytest.mark.parametrize("encoded", COSTLY.values(), ids=COSTLY)
def test_no_file_costs_more_than_two_seconds(encoded):
    begin = time.process_time()
    with pytest.raises(ImageError):
        open_picture(encoded, "x")
    assert time.process_time() - begin < 2
