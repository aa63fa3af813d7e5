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
from typing import Literal, TypeAlias

import numpy as np
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from int8cal.errors import ImageError
from int8cal.images import gif, jpeg, png, tiff
from int8cal.images.limits import REPAIR_IMAGE, check_pixels, decoding
from int8cal.images.pictures import jpeg_picture
from int8cal.types import Size

PillowMode: TypeAlias = Literal["RGB", "L"]

_OPENERS: tuple[tuple[bytes, Callable[[io.BytesIO], ImageFile.ImageFile]], ...] = (
    (rb"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (rb"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (rb"BM", BmpImagePlugin.BmpImageFile),
    (rb"GIF8[79]a", GifImagePlugin.GifImageFile),
    (rb"II\*\0|MM\0\*", TiffImagePlugin.TiffImageFile),
    (rb"P[1-6]", PpmImagePlugin.PpmImageFile),
    (rb"RIFF.{4}WEBP", WebPImagePlugin.WebPImageFile),
)
_CANNOT = "The image cannot be decoded"
_FORMATS = "JPEG, PNG, BMP, GIF, TIFF, PPM or WebP"

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
    with decoding(_CANNOT, where):
        picture = _header(encoded, where)
        if picture.format == "JPEG":  # libjpeg's warnings are heard, and Pillow need not decode it
            loaded = jpeg_picture(encoded, where)
        elif picture.format == "TIFF":  # nor libtiff, which writes to standard error
            loaded = tiff.Tiff(encoded, where, any_orientation=True).load()
        else:
            picture.load()
            picture.info.pop("transparency", None)  # which is dropped all the same, with a warning
            loaded = picture
        turn = tiff.TURNS.get(_orientation(picture)) if upright else None
        converted = _converted(loaded, mode).convert(mode)
        return converted if turn is None else converted.transpose(turn)


def upright_size(encoded: bytes, where: str) -> Size:
    """Height and width in pixels once the image is turned as its orientation says.

    Raises:
        ImageError: as `open_converted`.
    """
    with decoding(_CANNOT, where):
        picture = _header(encoded, where)
        if picture.format == "PNG" and "exif" not in picture.info:
            picture.load()  # what says how it lies may stand behind the pixels
        on_its_side = _orientation(picture) in _ON_ITS_SIDE
    return Size(picture.width, picture.height) if on_its_side else Size(picture.height, picture.width)


def _header(encoded: bytes, where: str) -> ImageFile.ImageFile:
    for signature, opener in _OPENERS:
        if re.match(signature, encoded, re.DOTALL):
            _check_container(encoded, where)
            picture = opener(io.BytesIO(encoded))
            check_pixels(picture.height, picture.width, where)
            if picture.format in ("BMP", "PPM") and picture.tile[0][0] != "raw":
                raise ValueError(f"{picture.format} of this kind is not read")  # decoded in Python, at a byte a time
            return picture
    what = "is empty" if not encoded else f"is not a {_FORMATS} file"
    raise ImageError(f"The image {what}.", where=where, hint=REPAIR_IMAGE)


def _check_container(encoded: bytes, where: str) -> None:
    """Refuse what a strict decoder refuses, and what would take Pillow long to look through."""
    if encoded.startswith(jpeg.SIGNATURE):
        jpeg.read_jpeg(encoded, where)
    elif encoded.startswith(png.SIGNATURE):
        png.sound_file(png.read_png(encoded, where))
    elif encoded.startswith(gif.SIGNATURES):
        gif.Gif(encoded, where, every_frame=False)
    elif encoded.startswith(tiff.SIGNATURES):
        tiff.Tiff(encoded, where, any_orientation=True)


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
