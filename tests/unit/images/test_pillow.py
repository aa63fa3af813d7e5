"""Images opened as Pillow 12 opens and converts them."""

from __future__ import annotations

import io
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from int8cal.errors import ImageError
from int8cal.images import pictures
from int8cal.images.pillow import open_converted, upright_size

PIXELS = np.random.default_rng(1).integers(0, 256, (9, 14, 3), dtype=np.uint8)
RGB = Image.fromarray(PIXELS)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def opened(data: bytes, mode: str = "RGB", *, upright: bool = False) -> np.ndarray:
    pixels = open_converted(data, mode, "a.png", upright=upright)
    assert pixels.shape[2] == (3 if mode == "RGB" else 1)
    return pixels if mode == "RGB" else pixels[:, :, 0]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "GIF", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_what_pillow_opens(kind: str, mode: str) -> None:
    data = encoded(RGB.quantize(8) if kind == "GIF" else RGB, kind)
    with Image.open(io.BytesIO(data)) as picture:
        expected = np.asarray(picture.convert("RGB").convert(mode) if picture.mode == "P" else picture.convert(mode))
    np.testing.assert_array_equal(opened(data, mode), expected)


def test_grey_of_16_bits_is_clipped() -> None:
    wide = np.array([[0, 1, 255, 256, 65535]], dtype=np.uint16)
    data = encoded(Image.fromarray(wide), "PNG")
    assert opened(data, "L").tolist() == [[0, 1, 255, 255, 255]]
    assert opened(data)[0, :, 0].tolist() == [0, 1, 255, 255, 255]


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().partition(": values")[0] for record in caplog.records]


WIDE = [("PNG", np.uint16), ("TIFF", np.uint16), ("PPM", np.uint16), ("TIFF", np.int32)]


@pytest.mark.parametrize(("kind", "values"), WIDE)
def test_clipping_is_told_once(
    kind: str, values: type, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pictures, "_told_of_clipping", threading.Event())
    for largest in (255, 256, 65535):
        picture = Image.fromarray(np.array([[0, largest]], dtype=values))
        assert opened(encoded(picture, kind), "L").tolist() == [[0, 255]]
    assert told(caplog) == ["a.png: grey of 16 bits or more"]


def test_floats_that_lose_nothing_are_taken_without_a_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pictures, "_told_of_cutting", threading.Event())
    for values in ([0, 255], [0, 0.5], [-1, 3]):
        opened(encoded(Image.fromarray(np.array([values], dtype=np.float32)), "TIFF"))
    assert told(caplog) == ["a.png: grey in floating point"]


def test_floats_are_refused_where_they_are_not_taken() -> None:
    data = encoded(Image.fromarray(np.full((2, 2), 0.5, np.float32)), "TIFF")
    with pytest.raises(ImageError, match="floating point") as caught:
        open_converted(data, "RGB", "a.tif", takes_floats=False)
    assert "Convert it to 8 bits" in (caught.value.hint or "")


def test_alpha_is_dropped_and_grey_replicated() -> None:
    alpha = np.dstack([PIXELS, np.zeros((9, 14), np.uint8)])
    np.testing.assert_array_equal(opened(encoded(Image.fromarray(alpha), "PNG")), PIXELS)
    grey = Image.fromarray(PIXELS[..., 0])
    np.testing.assert_array_equal(opened(encoded(grey, "PNG")), np.repeat(PIXELS[..., :1], 3, axis=2))


def test_grey_of_a_palette_is_that_of_its_colours() -> None:
    picture = RGB.quantize(16)
    np.testing.assert_array_equal(opened(encoded(picture, "PNG"), "L"), np.asarray(picture.convert("RGB").convert("L")))


TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
    9: lambda a: a,
}


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_orientation(kind: str, orientation: int) -> None:
    plain = opened(encoded(RGB, kind))
    data = encoded(RGB, kind, exif=exif(orientation))
    turned = opened(data, upright=True)
    np.testing.assert_array_equal(turned, TURNED[orientation](plain))
    np.testing.assert_array_equal(opened(data), plain)
    assert tuple(upright_size(data, "a")) == turned.shape[:2]


def png_with(kind: bytes, body: bytes, *, late: bool = False) -> bytes:
    """A PNG with one more chunk, ahead of its pixels or behind them."""
    data = encoded(RGB, "PNG")
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    at = data.index(b"IEND") - 4 if late else 33
    return data[:at] + chunk + data[at:]


def turned(data: bytes) -> bool:
    """Whether an image is turned by 90 degrees, as orientation 6 says; never when it is not asked for."""
    assert opened(data).shape == PIXELS.shape
    upright = opened(data, upright=True)
    assert tuple(upright_size(data, "a")) == upright.shape[:2]
    return upright.shape == (14, 9, 3)


def test_orientation_behind_the_pixels_of_a_png() -> None:
    assert turned(png_with(b"eXIf", exif(6).removeprefix(b"Exif\0\0"), late=True))


RAW_PROFILE = b"\nexif\n      %d\n%s\n" % (len(exif(6)), exif(6).hex().encode())
XMP = b'<x:xmpmeta tiff:Orientation="6"/>'


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"tEXt", b"Raw profile type exif\0" + RAW_PROFILE),
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(RAW_PROFILE)),
        (b"iTXt", b"Raw profile type exif\0\0\0\0\0" + RAW_PROFILE),
        (b"tEXt", b"exif\0" + exif(6)),
        (b"tEXt", b"XML:com.adobe.xmp\0" + XMP),
        (b"tEXt", b"xmp\0" + XMP),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    ],
)
def test_orientation_in_texts_of_a_png(kind: bytes, body: bytes, late: bool) -> None:
    assert turned(png_with(kind, body, late=late))


def test_texts_of_a_png_that_inflate_without_bound_are_refused_where_they_count() -> None:
    bomb = b"exif\0\0" + zlib.compress(bytes(1 << 21))
    assert opened(png_with(b"zTXt", bomb)).shape == PIXELS.shape
    with pytest.raises(ImageError, match="Decompressed data too large"):
        opened(png_with(b"zTXt", bomb), upright=True)
    note = png_with(b"tEXt", b"xmp\0")[33:49]
    many = encoded(RGB, "PNG")[:33] + note * 65 + encoded(RGB, "PNG")[33:]
    assert opened(many).shape == PIXELS.shape
    with pytest.raises(ImageError, match="more than 64 notes"):
        opened(many, upright=True)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_prefix_of_exif_may_be_repeated(times: int) -> None:
    block = b"Exif\0\0" * times + exif(6).removeprefix(b"Exif\0\0")
    assert turned(png_with(b"eXIf", block))
    assert turned(encoded(RGB, "WEBP", exif=block))
    assert turned(encoded(RGB, "JPEG", exif=block))


def directory(kind: int, count: int, value: bytes, head: bytes = b"MM\0*", behind: bytes = b"") -> bytes:
    """EXIF of an orientation alone, of a field type."""
    order = "<" if head.startswith(b"II") else ">"
    return head + struct.pack(f"{order}IHHHI", 8, 1, 0x0112, kind, count) + value + bytes(4) + behind


@pytest.mark.parametrize(
    ("block", "is_turned"),
    [
        (directory(3, 1, b"\0\6\0\0"), True),
        (directory(3, 1, b"\6\0\0\0", b"II*\0"), True),
        (directory(3, 2, b"\0\6\0\3"), True),
        (directory(4, 1, b"\0\0\0\6"), True),
        (directory(6, 1, b"\6\0\0\0"), True),
        (directory(8, 1, b"\0\6\0\0"), True),
        (directory(9, 1, b"\0\0\0\6"), True),
        (directory(13, 1, b"\0\0\0\6"), True),
        (directory(4, 2, b"\0\0\0\x1a", behind=b"\0\0\0\6\0\0\0\3"), True),
        (directory(1, 1, b"\6\0\0\0"), False),
        (directory(3, 0, b"\0\6\0\0"), False),
        (directory(6, 1, b"\xfa\0\0\0"), False),
        (directory(3, 1, b"\0\6\0\0")[:-6], False),
        (directory(3, 1, b"\6\0\0\0", b"II+\0"), False),
    ],
)
def test_field_types_of_an_orientation(block: bytes, is_turned: bool) -> None:
    assert turned(encoded(RGB, "JPEG", exif=b"Exif\0\0" + block)) is is_turned


@pytest.mark.parametrize(("kind", "is_turned"), [(1, False), (99, True)])
def test_an_orientation_that_is_no_number_stands_before_one_in_xmp(kind: int, is_turned: bool) -> None:
    block = b"Exif\0\0" + directory(kind, 1, b"\0\3\0\0")
    assert turned(encoded(RGB, "JPEG", exif=block, xmp=XMP)) is is_turned


@pytest.mark.parametrize("tags", [{700: XMP}, {700: XMP, 274: 1}, {700: b"<x/>"}, {274: 6}], ids=str)
def test_a_tiff_lies_as_its_tag_or_else_its_xmp_note_says(tags: dict[int, object]) -> None:
    data, is_turned = encoded(RGB, "TIFF", tiffinfo=tags), tags in ({700: XMP}, {274: 6})
    expected = np.asarray(RGB.transpose(Image.Transpose.ROTATE_270) if is_turned else RGB)
    np.testing.assert_array_equal(opened(data), expected)
    assert tuple(upright_size(data, "a")) == expected.shape[:2]


@pytest.mark.parametrize("cut", [3, 20, 60, -40])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM"])
def test_what_is_cut_off_is_refused(kind: str, cut: int) -> None:
    large = Image.fromarray(np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    with pytest.raises(ImageError) as caught:
        opened(encoded(large, kind)[:cut])
    assert caught.value.where == "a.png"


@pytest.mark.parametrize("data", [b"", b"text", b"\x00" * 100, b"RIFF0000AVI ", b"\x89PNG\r\n\x1a\n" + b"\xff" * 50])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        opened(data)
    with pytest.raises(ImageError):
        upright_size(data, "a.png")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"P3 1 1 255 1 2 3", "PPM of this kind"),
        (b"BM" + struct.pack("<IIIIiiHHIIIIII", 70, 0, 54, 40, 4, 1, 1, 8, 1, 8, 0, 0, 1, 0) + bytes(12), "BMP of"),
    ],
)
def test_what_is_sound_but_not_read_is_to_be_saved_otherwise(data: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=said) as caught:
        opened(data)
    assert (caught.value.where, caught.value.hint) == ("a.png", "Save it as PNG or JPEG.")


def test_a_huge_header_is_refused_before_memory_is_taken() -> None:
    header = struct.pack(">IIBBBBB", 1 << 16, 1 << 16, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    idat = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    with pytest.raises(ImageError, match="too large"):
        opened(b"\x89PNG\r\n\x1a\n" + chunk + idat)
