"""Image file → Pillow image in the file's own mode, for networks whose reference resizes or converts with Pillow.

The content decides the format, not the name. Colour JPEGs take the direct way through libjpeg-turbo, which gives the
pixels that Pillow gives in half the time. EXIF orientation is ignored (but not that of TIFF), and so is a palette's
transparency: the reference drops it. Nothing is taken for the pixels before the header's size was checked.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress

from PIL import GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin

from int8cal.errors import ImageError
from int8cal.images.jpeg import decode_jpeg
from int8cal.images.limits import REPAIR_IMAGE, check_pixels, raise_lack_of_memory
from int8cal.images.picture_kinds import open_bmp, open_ppm, open_tiff
from int8cal.types import Size

COLOUR_JPEG_DECODER = "libjpeg-turbo"
"""What decodes colour JPEGs. NVIDIA's Pillow 8.4 has IJG libjpeg 9d, which upsamples colour in another way."""

_OPENERS: tuple[tuple[tuple[bytes, ...], Callable[[io.BytesIO], Image.Image]], ...] = (
    ((b"\xff\xd8\xff",), JpegImagePlugin.JpegImageFile),
    ((b"\x89PNG\r\n\x1a\n",), PngImagePlugin.PngImageFile),
    ((b"BM",), open_bmp),
    ((b"II*\0", b"MM\0*"), open_tiff),
    ((b"GIF87a", b"GIF89a"), GifImagePlugin.GifImageFile),
    ((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"), open_ppm),
)
"""Formats by their first bytes. The classes are used rather than ``Image.open``, which warns of large images where we
refuse them, and would try every format that some plug-in brings along."""


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
            not known (`int8cal.images.picture_kinds`); the file is damaged or cut off; or it has more than
            `int8cal.images.limits.MAX_PIXELS` pixels.
        MemoryError: there is too little memory; nothing is said of the file.
    """
    picture = _read_header(encoded, where)
    check_pixels(picture.height, picture.width, where)
    if picture.format == "JPEG" and picture.mode == "RGB":
        with suppress(ImageError):  # what libjpeg-turbo only warns of, Pillow accepts as the reference does
            return Image.fromarray(decode_jpeg(encoded, 3, fast_dct=False, where=where))
    try:
        picture.load()
        if picture.format == "PNG" and picture.mode == "I;16":
            return picture.convert("I")
    except Exception as error:  # Pillow's readers raise whatever comes of damaged files
        raise _damaged(error, where) from error
    picture.info.pop("transparency", None)
    return picture


def size_of(picture: Image.Image) -> Size:
    """Height and width in pixels."""
    return Size(picture.height, picture.width)


def picture_size(encoded: bytes, where: str) -> Size:
    """Height and width in pixels by the file's header; nothing is decoded.

    Raises:
        ImageError: the format is unknown or the header damaged.
    """
    return size_of(_read_header(encoded, where))


def _read_header(encoded: bytes, where: str) -> Image.Image:
    for signatures, opener in _OPENERS:
        if encoded.startswith(signatures):
            try:
                return opener(io.BytesIO(encoded))
            except Exception as error:  # as when they load
                raise _damaged(error, where) from error
    what = "is empty" if not encoded else "is no JPEG, PNG, BMP, TIFF, GIF or PPM file"
    raise ImageError(f"The image {what}.", where=where, hint=REPAIR_IMAGE)


def _damaged(error: Exception, where: str) -> ImageError:
    raise_lack_of_memory(error)
    return ImageError(
        f"The image cannot be decoded: {str(error) or type(error).__name__}.", where=where, hint=REPAIR_IMAGE
    )
