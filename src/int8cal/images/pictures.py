"""Image file → Pillow image in the file's own mode, for networks whose reference resizes or converts with Pillow.

The content decides the format, not the name. The pixels are those of Pillow 8.4, whatever version is installed, or the
file is refused. EXIF orientation is ignored (but not that of TIFF), and so is a palette's transparency: the reference
drops it. Containers are read strictly before Pillow sees them, and nothing is taken for the pixels before the header's
size was checked.
"""

from __future__ import annotations

import io
import logging
import re
import struct
import threading
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from PIL import Image

from int8cal.images import GIF_SIGNATURES, JPEG_SIGNATURE, PNG_SIGNATURE, TIFF_SIGNATURES, jpeg
from int8cal.images.limits import check_pixels, decoding, reader_by_signature, unread_kind
from int8cal.types import ImageHWC_u8, Size

COLOUR_JPEG_DECODER = "libjpeg-turbo"
"""What decodes colour JPEGs. NVIDIA's Pillow 8.4 has IJG libjpeg 9d, which upsamples colour in another way."""

_BMP_HEADERS = (12, 40, 64, 108, 124)
_BMP_PLAIN, _BMP_MASKS = 0, 3
_BMP_MASKS_OF_32_BITS = (
    (0xFF0000, 0xFF00, 0xFF, 0),
    (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
    (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
    (0, 0, 0, 0),
    (0xFF000000, 0xFF0000, 0xFF00, 0),
)
"""Red, green, blue, alpha: those that Pillow 8.4 knows."""

LONGEST_PPM_HEADER = 1 << 16
"""Bytes of a PPM header with its comments and blanks; Pillow reads them at a byte a time."""

_SPACE = rb"[ \t\n\v\f\r]"
_NUMBER = _SPACE + rb"(?:[ \t\n\v\f\r]|#[^\r\n]*+\n)*+(\d{1,9})"
_PBM_HEADER = re.compile(rb"P(4)" + 2 * _NUMBER + _SPACE)
_PPM_HEADER = re.compile(rb"P([56])" + 3 * _NUMBER + _SPACE)


FLOAT = "F"
"""Pillow's mode of pixels in floating point."""

_told_of_clipping = threading.Event()  # once in a process, both: a folder may have thousands of such images
_told_of_cutting = threading.Event()

log = logging.getLogger(__name__)


class _Picture(NamedTuple):
    """An image file whose header was read."""

    size: Size
    load: Callable[[], Image.Image]


_Reader: TypeAlias = Callable[[bytes, str], _Picture]


def open_picture(encoded: bytes, where: str) -> Image.Image:
    """Decode an image file.

    Args:
        encoded: the file.
        where: name of the image for messages.

    Returns:
        The first frame, fully loaded, in the mode that Pillow 8.4 gives this kind of file (``RGB``, ``P``, ``I`` for
        16-bit PNG, ``I;16`` for 16-bit TIFF …), without transparency information.

    Raises:
        ImageError: the format is not one of JPEG, PNG, BMP, TIFF, GIF and PPM, or the kind one whose exact pixels are
            not known; the file is damaged or cut off; or it has more than `int8cal.images.limits.MAX_PIXELS` pixels.
        MemoryError: there is too little memory; nothing is said of the file.
    """
    with decoding(_CANNOT, where):
        picture = _read_header(encoded, where).load()
        picture.info.pop("transparency", None)
    if picture.mode == FLOAT:  # which no network takes as it is; some take 16 bits
        tell_loss(picture, where)
    return picture


def open_image(encoded: bytes, where: str) -> ImageHWC_u8 | Image.Image:
    """Decode an image file; that of a JPEG in grey or RGB to pixels: a picture of Pillow would be a copy of them.

    For networks of 8 bits: what of a picture is lost by them is told.

    Args:
        encoded: the file.
        where: name of the image for messages.

    Returns:
        Height × width × 1 or 3, 0..255, or what `open_picture` returns.

    Raises:
        ImageError: as `open_picture`.
        MemoryError: likewise.
    """
    if not encoded.startswith(JPEG_SIGNATURE):
        picture = open_picture(encoded, where)
        tell_loss(picture, where)
        return picture
    with decoding(_CANNOT, where):
        components = jpeg.decode_components(encoded, where)
        return components if components.shape[2] in (1, 3) else picture_of(components)


def pixels_of(picture: Image.Image) -> ImageHWC_u8:
    """Pixels of an image of 8-bit channels: height × width × channels, 0..255."""
    return np.asarray(picture).reshape(picture.height, picture.width, -1)


def tell_loss(picture: Image.Image, where: str) -> None:
    """Say once in a process that Pillow keeps only whole levels 0..255, where that loses something."""
    told, what = (
        (_told_of_cutting, "grey in floating point: values are cut to whole levels 0..255")
        if picture.mode == FLOAT
        else (_told_of_clipping, "grey of 16 bits or more: values above 255 become white, negative ones black")
    )
    if picture.mode[0] not in "IF" or told.is_set():
        return
    whole = picture if picture.mode in ("I", FLOAT) else picture.convert("I")  # versions of Pillow clip "I" alone alike
    if (np.asarray(whole.convert("L")) != np.asarray(whole)).any():
        told.set()
        log.warning(
            "%s: %s, here and in all such images, as Pillow has it. If the network is not fed so, convert them to 8 "
            "bits first.",
            where,
            what,
        )


def size_of(image: ImageHWC_u8 | Image.Image) -> Size:
    """Height and width in pixels."""
    return Size(image.height, image.width) if isinstance(image, Image.Image) else Size(*image.shape[:2])


def picture_size(encoded: bytes, where: str) -> Size:
    """Height and width in pixels by the file's header; nothing is decoded.

    Raises:
        ImageError: the format is unknown or the header damaged.
    """
    with decoding(_CANNOT, where):
        return _read_header(encoded, where).size


_CANNOT = "The image cannot be decoded"


def _read_header(encoded: bytes, where: str) -> _Picture:
    return reader_by_signature(encoded, _READERS, "JPEG, PNG, BMP, TIFF, GIF or PPM", where)(encoded, where)


def picture_of(pixels: ImageHWC_u8) -> Image.Image:
    """The image that Pillow makes of a JPEG file, by its components: ``L``, ``RGB`` or ``CMYK``."""
    if pixels.shape[2] == 1:
        return Image.fromarray(pixels[:, :, 0])
    if pixels.shape[2] == 3:
        return Image.fromarray(pixels)
    inks = 255 - pixels  # Pillow takes every file for one of Adobe, which are inverted
    return Image.frombytes("CMYK", (pixels.shape[1], pixels.shape[0]), inks.tobytes())


def _jpeg(data: bytes, where: str) -> _Picture:
    header = jpeg.read_jpeg(data, where)
    return _Picture(Size(header.height, header.width), lambda: picture_of(jpeg.decode_components(data, where)))


def _png(data: bytes, where: str) -> _Picture:
    from PIL import PngImagePlugin  # late, as other formats below: a data set is of one, mostly of JPEGs

    from int8cal.images import png, png_pixels

    container = png.read_png(data, where)

    def load() -> Image.Image:
        picture = PngImagePlugin.PngImageFile(io.BytesIO(png_pixels.sound_file(container)))
        picture.load()
        return picture.convert("I") if picture.mode == "I;16" else picture

    return _Picture(Size(container.height, container.width), load)


def _gif(data: bytes, where: str) -> _Picture:
    from int8cal.images import gif

    first = gif.Gif(data, where, every_frame=False)
    return _Picture(Size(first.height, first.width), first.load)


def _tiff(data: bytes, where: str) -> _Picture:
    from int8cal.images import tiff

    first = tiff.Tiff(data, where)
    return _Picture(Size(first.height, first.width), first.load)


def _bmp(data: bytes, where: str) -> _Picture:
    """A BMP file of a kind that Pillow 8.4 knows, whose palette and pixels are where they are said to be."""
    from PIL import BmpImagePlugin

    said, header_size = struct.unpack_from("<II", data, 10)
    if header_size not in _BMP_HEADERS:
        raise unread_kind(f"BMP with a header of {header_size} bytes is not read", where)
    picture = BmpImagePlugin.BmpImageFile(io.BytesIO(data))
    check_pixels(picture.height, picture.width, where)
    bits = struct.unpack_from("<H", data, 24 if header_size == 12 else 28)[0]
    end = 14 + header_size
    if header_size > 12:
        compression, colours = struct.unpack_from("<I12xI", data, 30)[0], struct.unpack_from("<I", data, 46)[0]
        if compression not in (_BMP_PLAIN, _BMP_MASKS):
            raise unread_kind(f"BMP with compression {compression} is not read", where)
        if compression == _BMP_MASKS:
            masks = struct.unpack_from("<4I" if header_size > 40 else "<3I", data, 54)
            if bits == 32 and (*masks, 0)[:4] not in _BMP_MASKS_OF_32_BITS:
                raise unread_kind("BMP with other masks than those that Pillow 8.4 knows is not read", where)
            end += 12 if header_size == 40 else 0
    else:
        colours = 0
    if bits <= 8:
        colours = colours or 1 << bits
        if not 2 <= colours <= 1 << bits:
            raise unread_kind(f"BMP of {bits} bits with {colours} colours is not read", where)
        end += colours * (3 if header_size == 12 else 4)
    if said and said < end:
        raise ValueError(f"the pixels of a BMP cannot begin at byte {said}, where its header or palette is")

    def load() -> Image.Image:
        picture.load()
        return picture

    return _Picture(size_of(picture), load)


def _ppm(data: bytes, where: str) -> _Picture:
    """A binary PPM file, whose values are taken as they are: later versions of Pillow stretch them."""
    head = data[:LONGEST_PPM_HEADER]
    if not (found := _PBM_HEADER.match(head) or _PPM_HEADER.match(head)):
        raise ValueError("the header of a PPM file is damaged")
    kind, width, height, *values = found.groups()
    width, height, highest = int(width), int(height), int(values[0]) if values else 1
    check_pixels(height, width, where)
    if not 0 < highest < 1 << 16:
        raise ValueError(f"maxval must be greater than 0 and less than 65536, got {highest}")
    if kind == b"6" and highest > 255:
        raise unread_kind(f"PPM of colours with values up to {highest} is not read, up to 255 is", where)
    mode, raw_mode = {b"4": ("1", "1;I"), b"5": ("L", "L"), b"6": ("RGB", "RGB")}[kind]
    row_bytes = {b"4": (width + 7) // 8, b"5": width, b"6": 3 * width}[kind]
    if highest > 255:
        mode, raw_mode, row_bytes = "I", "I;16B", 2 * width
    pixels = memoryview(data)[found.end() : found.end() + height * row_bytes]

    def load() -> Image.Image:
        return Image.frombytes(mode, (width, height), bytes(pixels), "raw", raw_mode)

    return _Picture(Size(height, width), load)


def _plain_ppm(data: bytes, where: str) -> _Picture:
    raise unread_kind("PPM written as text is not read, binary PPM is", where)


_READERS: dict[tuple[bytes, ...], _Reader] = {
    (JPEG_SIGNATURE,): _jpeg,
    (PNG_SIGNATURE,): _png,
    (b"BM",): _bmp,
    TIFF_SIGNATURES: _tiff,
    GIF_SIGNATURES: _gif,
    (b"P4", b"P5", b"P6"): _ppm,
    (b"P1", b"P2", b"P3"): _plain_ppm,
}
