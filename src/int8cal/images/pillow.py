"""Image file → what ``PIL.Image.open(file).convert(mode)`` of Pillow 12 gives, whatever version is installed.

For networks whose reference opens images with Pillow as it is. The content decides the format, not the name. Colour
JPEGs take the direct way through libjpeg-turbo, the library that Pillow has, in half the time. What versions of Pillow
do differently is done by hand: 16-bit grey is clipped to 255, palettes become grey by the formula for colours, and an
orientation in EXIF or XMP is read by one rule.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, TypeAlias

import numpy as np
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from int8cal.errors import ImageError
from int8cal.images.jpeg import decode_jpeg
from int8cal.images.limits import REPAIR_IMAGE, check_pixels, raise_lack_of_memory
from int8cal.types import Size

PillowMode: TypeAlias = Literal["RGB", "L"]

_OPENERS: tuple[tuple[bytes, Callable[[io.BytesIO], Image.Image]], ...] = (
    (rb"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (rb"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (rb"BM", BmpImagePlugin.BmpImageFile),
    (rb"GIF8[79]a", GifImagePlugin.GifImageFile),
    (rb"II\*\0|MM\0\*", TiffImagePlugin.TiffImageFile),
    (rb"P[1-6]", PpmImagePlugin.PpmImageFile),
    (rb"RIFF.{4}WEBP", WebPImagePlugin.WebPImageFile),
)
_FORMATS = "JPEG, PNG, BMP, GIF, TIFF, PPM or WebP"

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE = range(5, 9)
_XMP_ORIENTATION = re.compile(r'tiff:Orientation(?:="|>)([0-9])')
_XMP_KEYS = ("XML:com.adobe.xmp", "xmp")

_RED, _GREEN, _BLUE, _HALF, _BITS = 19595, 38470, 7471, 0x8000, 16
"""Pillow's fixed-point weights of grey."""


def open_converted(encoded: bytes, mode: PillowMode, where: str, *, upright: bool = False) -> Image.Image:
    """Decode an image file.

    Args:
        encoded: the file.
        mode: ``RGB`` or ``L``; alpha is dropped, not blended.
        where: name of the image for messages.
        upright: turned as its EXIF or XMP orientation says.

    Returns:
        The first frame.

    Raises:
        ImageError: the format is unknown, the file damaged or cut off, or has more than
            `int8cal.images.limits.MAX_PIXELS` pixels.
        MemoryError: there is too little memory; nothing is said of the file.
    """
    picture = _header(encoded, where)
    check_pixels(picture.height, picture.width, where)
    converted = _fast_jpeg(encoded, where) if picture.format == "JPEG" and picture.mode == "RGB" else None
    try:
        if converted is None:
            picture.load()
            picture.info.pop("transparency", None)  # which is dropped all the same, with a warning
            converted = _converted(picture, mode)
        turn = _TURNS.get(_orientation(picture)) if upright else None
        converted = converted.convert(mode)
        return converted if turn is None else converted.transpose(turn)
    except Exception as error:  # Pillow's readers raise whatever comes of damaged files
        raise _damaged(error, where) from error


def upright_size(encoded: bytes, where: str) -> Size:
    """Height and width in pixels once the image is turned as its orientation says.

    Raises:
        ImageError: as `open_converted`.
    """
    picture = _header(encoded, where)
    check_pixels(picture.height, picture.width, where)
    try:
        if picture.format == "TIFF" or (picture.format == "PNG" and "exif" not in picture.info):
            picture.load()  # what says how it lies may stand behind the pixels
        on_its_side = _orientation(picture) in _ON_ITS_SIDE
    except Exception as error:  # as above
        raise _damaged(error, where) from error
    return Size(picture.width, picture.height) if on_its_side else Size(picture.height, picture.width)


def _header(encoded: bytes, where: str) -> Image.Image:
    for signature, opener in _OPENERS:
        if re.match(signature, encoded, re.DOTALL):
            try:
                return opener(io.BytesIO(encoded))
            except Exception as error:  # as when they load
                raise _damaged(error, where) from error
    what = "is empty" if not encoded else f"is no {_FORMATS} file"
    raise ImageError(f"The image {what}.", where=where, hint=REPAIR_IMAGE)


def _fast_jpeg(encoded: bytes, where: str) -> Image.Image | None:
    """A colour JPEG of which libjpeg has nothing to warn; None for others, which Pillow may accept all the same."""
    with suppress(ImageError):
        return Image.fromarray(decode_jpeg(encoded, 3, fast_dct=False, where=where))
    return None


def _converted(picture: Image.Image, mode: PillowMode) -> Image.Image:
    if picture.mode.startswith("I;16"):
        return picture.convert("I").convert(mode)
    if picture.mode != "P" or mode != "L":
        return picture.convert(mode)
    colours = np.zeros((256, 3), dtype=np.uint32)
    given = np.array(picture.getpalette("RGB"), dtype=np.uint32).reshape(-1, 3)
    colours[: len(given)] = given
    grey = colours @ np.array([_RED, _GREEN, _BLUE], dtype=np.uint32) + _HALF >> _BITS
    return Image.fromarray(grey.astype(np.uint8)[np.asarray(picture)])


def _orientation(picture: Image.Image) -> int:
    """1 to 8 as EXIF counts; what Pillow has turned already when it loaded (TIFF) is 1."""
    if picture.format == "TIFF":
        return 1
    exif = Image.Exif()
    profile = picture.info.get("Raw profile type exif")  # how old programs wrote it into a PNG
    data = picture.info.get("exif") or (profile and bytes.fromhex("".join(profile.split("\n")[3:])))
    if data:
        exif.load(data)
    orientation = exif.get(ExifTags.Base.Orientation)
    if orientation is None and (text := next(filter(None, map(picture.info.get, _XMP_KEYS)), None)):
        match = _XMP_ORIENTATION.search(text if isinstance(text, str) else text.decode("utf-8", "replace"))
        return int(match[1]) if match else 1
    return orientation if isinstance(orientation, int) else 1


def _damaged(error: Exception, where: str) -> ImageError:
    raise_lack_of_memory(error)
    return ImageError(
        f"The image cannot be decoded: {str(error) or type(error).__name__}.", where=where, hint=REPAIR_IMAGE
    )
