"""Opening images as Pillow does."""

from __future__ import annotations

import io
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image
from tests.pictures import HEIGHT, WIDTH, all_kinds, encode, pixels
from tests.tiff_files import tiff

from int8cal.errors import ImageError
from int8cal.images import pictures
from int8cal.images.limits import MAX_PIXELS
from int8cal.images.pictures import open_image, open_picture, picture_size

KINDS = all_kinds()


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_and_mode_are_those_of_pillow(kind):
    picture = open_picture(KINDS[kind], "where")
    with Image.open(io.BytesIO(KINDS[kind])) as expected:
        assert picture.mode == ("I" if kind == "16 bit.png" else expected.mode)
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(expected))
    assert "transparency" not in picture.info
    assert picture_size(KINDS[kind], "where") == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("opened", "kind", "values", "said"),
    [
        (open_image, "PNG", np.uint16, ["a: grey of 16 bits or more"]),
        (open_image, "TIFF", np.uint16, ["a: grey of 16 bits or more"]),
        (open_picture, "PNG", np.uint16, []),  # for networks that take 16 bits
        (open_image, "TIFF", np.float32, ["a: grey in floating point"]),
        (open_picture, "TIFF", np.float32, ["a: grey in floating point"]),
    ],
)
def test_what_8_bits_lose_is_told(opened, kind, values, said, monkeypatch, caplog):
    monkeypatch.setattr(pictures, "_told_of_clipping", threading.Event())
    monkeypatch.setattr(pictures, "_told_of_cutting", threading.Event())
    for largest in (255, 300, 400):
        opened(encode(np.array([[0, largest + (largest > 255) / 4]], values), kind), "a")
    assert [record.getMessage().partition(": values")[0] for record in caplog.records] == said


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 16), (17, 33), (375, 500)])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_the_fast_way_for_jpeg_is_exact(size, subsampling):
    smooth = Image.fromarray(pixels(9, 9, seed=3)).resize(size[::-1], Image.Resampling.BICUBIC)
    for quality in (30, 92):
        encoded = encode(smooth, "JPEG", quality=quality, subsampling=subsampling)
        with Image.open(io.BytesIO(encoded)) as expected:
            np.testing.assert_array_equal(np.asarray(open_picture(encoded, "")), np.asarray(expected))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_pixels_that_libjpeg_warns_of_are_refused(mode):
    encoded = encode(Image.fromarray(pixels(40, 40)).convert(mode), "JPEG", quality=90)
    for damaged in (
        encoded.replace(b"\xff\xd9", bytes(range(1, 20)) + b"\xff\xd9"),
        encoded[: len(encoded) * 9 // 10] + b"\xff\xd9",
    ):
        with pytest.raises(ImageError, match="Corrupt JPEG data"):
            open_picture(damaged, "x")


def test_orientation_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = open_picture(encode(pixels(4, 8), "JPEG", exif=exif), "")
    assert picture.size == (8, 4)


def test_the_first_frame_is_taken():
    frames = [Image.new("RGB", (3, 3), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert open_picture(file.getvalue(), "").convert("RGB").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("encoded", "said"),
    [
        (b"", "is empty"),
        (b"hello, I am no image", "is not a JPEG, PNG"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "is not a JPEG, PNG"),
        (b"\x89PNG\r\n\x1a\n", "cut off"),
        (b"\xff\xd8\xff\xe0\0\x10", "ends before its pixels"),
    ],
)
def test_no_image(encoded, said):
    with pytest.raises(ImageError, match=said) as caught:
        open_picture(encoded, "some/file.png")
    assert caught.value.where == "some/file.png"


def test_what_lies_in_place_of_an_image_is_named():
    with pytest.raises(ImageError) as caught:
        open_picture(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "some/file.png")
    assert caught.value.hint == "It is a git-LFS pointer, not the file itself. Fetch the files: git lfs pull."


@pytest.mark.parametrize("signature", [b"II+\0", b"MM\0+"])
def test_a_bigtiff_is_named(signature):
    with pytest.raises(ImageError) as caught:
        open_picture(signature + bytes(40), "some/file.tif")
    assert caught.value.hint == "It is a BigTIFF image. Save it as PNG, or as plain TIFF where that is read."


@pytest.mark.parametrize(
    ("encoded", "said"),
    [
        (b"P3 1 1 255 1 2 3", "PPM written as text"),
        (b"P6 1 1 300 " + bytes(6), "PPM of colours"),
        (b"BM" + struct.pack("<12xI", 99), "BMP with a header of 99 bytes"),
        (tiff(bytes(16), (4, 4), compression=4), "TIFF with compression group4"),
    ],
)
def test_what_is_sound_but_not_read_is_to_be_saved_otherwise(encoded, said):
    with pytest.raises(ImageError, match=f"cannot be decoded: {said}") as caught:
        open_picture(encoded, "some/file")
    assert (caught.value.where, caught.value.hint) == ("some/file", "Save it as PNG or JPEG.")


@pytest.mark.parametrize("kind", ["rgb.png", "colour.jpg", "progressive.jpg", "plain.bmp", "plain.tif", "plain.ppm"])
def test_cut_off(kind):
    with pytest.raises(ImageError, match=r"Invalid|cannot be decoded"):
        open_picture(all_kinds(64, 64)[kind][:-400], "x")


def bomb() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    side = 65535
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_too_many_pixels_are_refused_by_the_header():
    with pytest.raises(ImageError, match=str(MAX_PIXELS)):
        open_picture(bomb(), "bomb.png")
