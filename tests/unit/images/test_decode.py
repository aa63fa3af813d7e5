from __future__ import annotations

import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from int8cal.errors import REPAIR_IMAGE, ImageError
from int8cal.images.decode import decode_corner, decode_image, decode_raw_half
from int8cal.types import ImageHWC_u8, Size

from ...build import png_chunk, png_file

RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.integers(0, 256, (9, 14, 3), dtype=np.uint8)


def encoded(picture: np.ndarray, kind: str, mode: str | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(picture)
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def decode(data: bytes, channels: int = 3, *, fast_dct: bool = False) -> ImageHWC_u8:
    pixels = decode_image(data, channels, fast_dct=fast_dct, where="picture")
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == channels
    return pixels


@pytest.mark.parametrize(("bit_depth", "step"), [(1, 255), (2, 85), (4, 17), (8, 1)])
def test_low_bit_depths_are_spread_over_the_range(bit_depth: int, step: int) -> None:
    levels = RANDOM.integers(0, 2**bit_depth, (5, 16), dtype=np.uint8)
    bits = np.unpackbits(levels[:, :, np.newaxis], axis=2)[:, :, -bit_depth:]
    rows = np.packbits(bits.reshape(5, -1), axis=1)
    pixels = decode(png_file(rows, width=16, bit_depth=bit_depth, colour_type=0))
    np.testing.assert_array_equal(pixels, np.repeat(levels[:, :, np.newaxis] * step, 3, axis=2))


def test_palette_with_transparency_is_expanded_and_transparency_dropped() -> None:
    palette = RANDOM.integers(0, 256, (256, 3), dtype=np.uint8)
    before = png_chunk(b"PLTE", palette.tobytes()) + png_chunk(b"tRNS", bytes(range(256)))
    indexes = RANDOM.integers(0, 256, (6, 11), dtype=np.uint8)
    data = png_file(indexes, width=11, colour_type=3, before=before)
    np.testing.assert_array_equal(decode(data), palette[indexes])


def test_alpha_is_dropped_not_composited() -> None:
    rgba = RANDOM.integers(0, 256, (6, 11, 4), dtype=np.uint8)
    np.testing.assert_array_equal(decode(encoded(rgba, "PNG")), rgba[:, :, :3])
    grey_alpha = rgba[:, :, :2]
    data = png_file(grey_alpha.reshape(6, -1), width=11, colour_type=4)
    np.testing.assert_array_equal(decode(data, 1), grey_alpha[:, :, :1])


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_are_cut_to_the_high_byte(colour_type: int, channels: int) -> None:
    values = RANDOM.integers(0, 65536, (6, 11, channels)).astype(">u2")
    rows = np.frombuffer(values.tobytes(), dtype=np.uint8).reshape(6, -1)
    pixels = decode(png_file(rows, width=11, bit_depth=16, colour_type=colour_type))
    colour = values[:, :, :3] if channels > 2 else np.repeat(values[:, :, :1], 3, axis=2)
    np.testing.assert_array_equal(pixels, colour >> 8)


def test_sixteen_bit_colour_becomes_grey_before_it_is_cut() -> None:
    for colour_type, channels in ((2, 3), (6, 4)):
        values = RANDOM.integers(0, 65536, (6, 11, channels))
        rows = np.frombuffer(values.astype(">u2").tobytes(), dtype=np.uint8).reshape(6, -1)
        grey = decode(png_file(rows, width=11, bit_depth=16, colour_type=colour_type), 1)
        mixed = (9797 * values[:, :, 0] + 19234 * values[:, :, 1] + 3737 * values[:, :, 2] + 16384) >> 15
        np.testing.assert_array_equal(grey[:, :, 0], mixed >> 8)


def png_of(picture: np.ndarray, before: bytes = b"") -> bytes:
    return png_file(picture.reshape(len(picture), -1), width=picture.shape[1], before=before)


def test_colour_becomes_grey_by_truncated_weights() -> None:
    red, green, blue = PICTURE.astype(int).transpose(2, 0, 1)
    np.testing.assert_array_equal(decode(png_of(PICTURE), 1)[:, :, 0], (9797 * red + 19234 * green + 3737 * blue) >> 15)


@pytest.mark.parametrize(
    ("chunk", "changes"),
    [
        (png_chunk(b"sRGB", b"\0"), True),
        (png_chunk(b"gAMA", struct.pack(">I", 45455)), True),
        (png_chunk(b"gAMA", struct.pack(">I", 99_000)), False),
        (png_chunk(b"gAMA", struct.pack(">I", 0)), False),
        (png_chunk(b"iCCP", b"mine\0\0" + zlib.compress(bytes(3144))), False),
        (png_chunk(b"iCCP", b"broken\0\0no deflate"), False),
        (png_chunk(b"cHRM", bytes(32)), False),
    ],
)
def test_gamma_is_for_grey_only(chunk: bytes, changes: bool) -> None:
    plain, marked = png_of(PICTURE), png_of(PICTURE, chunk)
    np.testing.assert_array_equal(decode(marked), PICTURE)
    assert np.array_equal(decode(marked, 1), decode(plain, 1)) is not changes


def test_grey_pixels_keep_their_level_under_a_gamma() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[np.newaxis, :, np.newaxis], 3, axis=2)
    np.testing.assert_array_equal(decode(png_of(ramp, png_chunk(b"sRGB", b"\0")), 1)[0, :, 0], np.arange(256))


def test_gamma_of_sixteen_bit_colour_is_refused_for_grey() -> None:
    rows = RANDOM.integers(0, 256, (3, 5 * 6), dtype=np.uint8)
    data = png_file(rows, width=5, bit_depth=16, before=png_chunk(b"sRGB", b"\0"))
    assert decode(data).shape == (3, 5, 3)
    with pytest.raises(ImageError, match="not established"):
        decode(data, 1)


def test_chunks_after_the_palette_do_not_change_grey() -> None:
    late = png_chunk(b"PLTE", bytes(3)) + png_chunk(b"sRGB", b"\0")
    np.testing.assert_array_equal(decode(png_of(PICTURE, late), 1), decode(png_of(PICTURE), 1))


@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}, {"quality": 20}]
)
def test_accurate_jpeg_equals_pillow(options: dict[str, object]) -> None:
    photo = np.asarray(Image.fromarray(PICTURE).resize((203, 117), Image.Resampling.BICUBIC))
    data = encoded(photo, "JPEG", **options)
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(decode(data), np.asarray(image))
    with Image.open(io.BytesIO(data)) as image:
        image.draft("L", image.size)  # libjpeg's own grey: the Y plane
        np.testing.assert_array_equal(decode(data, 1)[:, :, 0], np.asarray(image.convert("L")))
    fast = decode(data, fast_dct=True)
    assert 0 < np.abs(fast.astype(int) - decode(data)).max() <= 24


def test_orientation_and_bytes_after_the_end_are_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(PICTURE, "JPEG", exif=exif)
    assert decode(data).shape == PICTURE.shape
    np.testing.assert_array_equal(decode(data + b"left over"), decode(data))


def test_cmyk_jpeg_becomes_rgb_but_not_grey() -> None:
    data = encoded(PICTURE, "JPEG", "CMYK")
    with Image.open(io.BytesIO(data)) as image:
        assert np.abs(decode(data).astype(int) - np.asarray(image.convert("RGB"))).max() <= 1
    for fast_dct in (False, True):
        with pytest.raises(ImageError, match=f"Invalid JPEG data or crop window, data size {len(data)}"):
            decode(data, 1, fast_dct=fast_dct)


def test_gif_of_one_frame() -> None:
    colours = (PICTURE[:, :, :1] // 128 * np.array([255, 128, 64])).astype(np.uint8)
    data = encoded(colours, "GIF")
    np.testing.assert_array_equal(decode(data), colours)
    with pytest.raises(ImageError, match="channels must be 0 or 3 for GIF, got 1"):
        decode(data, 1)


def test_animated_gif_is_refused() -> None:
    buffer = io.BytesIO()
    frames = [Image.fromarray(PICTURE), Image.fromarray(255 - PICTURE)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="Got 2 frames"):
        decode(buffer.getvalue())


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty file"),
        (encoded(PICTURE, "BMP"), "BMP"),
        (b"no\x00image\xff'", r"unknown format starting with 'no\000image\377\047'"),
        (encoded(PICTURE, "TIFF"), "unknown format"),
    ],
)
def test_other_formats_are_named(data: bytes, kind: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert f"Expected image (JPEG, PNG, or GIF), got {kind}" in str(caught.value)
    assert str(caught.value).startswith("picture: ")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-LFS pointer, .* git lfs pull"),
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X        ", r"macOS keeps beside a file, .* -name '\._\*' -delete"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIF or AVIF. Convert it"),
        (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1", "HEIF or AVIF. Convert it"),
        (b"\xff\x4f\xff\x51\0\x2f\0\0" + bytes(16), "JPEG 2000 image. Convert it"),
        (b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ", "JPEG 2000 image. Convert it"),
        (b"\xff\x0a\x41\x1c\x18\x51" + bytes(18), "JPEG XL image. Convert it"),
        (b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ", "JPEG XL image. Convert it"),
        (encoded(PICTURE, "TIFF"), "TIFF image. Save it as PNG or JPEG"),
        (encoded(PICTURE, "WEBP"), "WebP image. Save it as PNG or JPEG"),
        (b"<!DOCTYPE html><title>Sign in</title>", "download that failed. Fetch the file again"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", f"^{REPAIR_IMAGE}"),
        (b"hello", f"^{REPAIR_IMAGE}"),
        (b"", f"^{REPAIR_IMAGE}"),
    ],
)
def test_what_lies_in_place_of_an_image_is_named(data: bytes, said: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert re.search(said, caught.value.hint or "")


def test_raw_half_is_channels_first() -> None:
    values = RANDOM.random((3, 4, 5)).astype("<f2")
    image = decode_raw_half(values.tobytes(), 3, 4, 5, where="raw")
    np.testing.assert_array_equal(image, values.transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("data", "size", "problem"),
    [
        (bytes(118), (4, 5), "118 bytes, but 3×4×5 values need 120"),
        (bytes(120), (0, 0), "no pixels"),
        (b"\xff" * 120, (4, 5), "not finite"),
    ],
)
def test_unusable_raw_half(data: bytes, size: tuple[int, int], problem: str) -> None:
    with pytest.raises(ImageError, match=problem):
        decode_raw_half(data, 3, *size, where="raw")


@pytest.mark.parametrize(("kind", "channels"), [("PNG", 3), ("PNG", 1), ("JPEG", 3), ("JPEG", 1), ("GIF", 3)])
@pytest.mark.parametrize("corner", [Size(4, 5), Size(9, 3), Size(100, 100)])
def test_a_corner_is_that_of_the_whole_image_and_knows_its_size(kind: str, channels: int, corner: Size) -> None:
    data = encoded(PICTURE, kind)
    found = decode_corner(data, channels, corner, fast_dct=True, where="picture")
    assert found.size == (9, 14)
    whole = decode_image(data, channels, fast_dct=True, where="picture")
    np.testing.assert_array_equal(found.pixels, whole[: corner.height, : corner.width])


@pytest.mark.parametrize("damage", ["filter", "checksum", "length"])
def test_damage_outside_of_the_corner_is_found(damage: str) -> None:
    rows = np.zeros((9, 43), np.uint8)
    rows[-1, 0] = 7 if damage == "filter" else 0
    stream = zlib.compress(rows.tobytes()[: -1 if damage == "length" else None])
    stream = stream[:-1] + bytes([stream[-1] ^ (damage == "checksum")])
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 14, 9, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", stream) + png_chunk(b"IEND", b"")
    with pytest.raises(ImageError, match="Invalid PNG data"):
        decode_corner(data, 3, Size(2, 2), fast_dct=True, where="picture")
