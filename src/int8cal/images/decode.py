"""Encoded image → pixels as the reference's decoder gives them; with its helpers the only place that opens images.

The reference looks at the bytes, not at the file name: JPEG, PNG and one-frame GIF are accepted whatever a file is
called, and nothing else is. No EXIF rotation is applied. Which library reproduces which case exactly was found by
comparing with the reference's output on the golden set.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from int8cal.errors import ImageError
from int8cal.images import GIF_SIGNATURES, JPEG_SIGNATURE, PNG_SIGNATURE
from int8cal.images.limits import REPAIR_IMAGE, check_pixels, instead_of_image
from int8cal.types import ImageHWC_f16, ImageHWC_u8, Size

_BMP_SIGNATURE = b"BM"


class Corner(NamedTuple):
    """What lies in a rectangle at the top left of an image.

    Attributes:
        pixels: rows × columns × channels, 0..255, RGB order.
        size: of the whole image.
    """

    pixels: ImageHWC_u8
    size: Size


def decode_image(data: bytes, channels: int, *, fast_dct: bool, where: str) -> ImageHWC_u8:
    """Decode a JPEG, PNG or one-frame GIF file.

    Args:
        data: the encoded file.
        channels: 3 (RGB) or 1 (grey).
        fast_dct: the inverse DCT that the reference uses for JPEG: the fast integer one, or the accurate one.
        where: name of the image for messages.

    Returns:
        Pixels 0..255, height × width × channels, RGB order.

    Raises:
        ImageError: anything about the image that keeps it from being decoded exactly.
        MemoryError: there is too little memory; nothing is said of the image.
    """
    if data.startswith(JPEG_SIGNATURE):
        from int8cal.images.jpeg import decode_jpeg  # late, all three: a data set is of one format

        return decode_jpeg(data, channels, fast_dct=fast_dct, where=where)
    if data.startswith(PNG_SIGNATURE):
        from int8cal.images.png import read_png
        from int8cal.images.png_pixels import decode_png

        return decode_png(read_png(data, where), channels, where)
    if data.startswith(GIF_SIGNATURES):
        from int8cal.images.gif import decode_gif

        return decode_gif(data, channels, where)
    raise ImageError(
        f"Expected image (JPEG, PNG, or GIF), got {_describe(data)}.", where=where, hint=instead_of_image(data)
    )


def decode_corner(data: bytes, channels: int, corner: Size, *, fast_dct: bool, where: str) -> Corner:
    """Decode an image of which no more than a corner will be looked at; of a PNG, the rest is verified only.

    Args:
        data: the encoded file.
        channels: 3 (RGB) or 1 (grey).
        corner: rows and columns that are wanted; an image may have less.
        fast_dct: as for `decode_image`.
        where: name of the image for messages.

    Raises:
        ImageError: as `decode_image`.
    """
    if data.startswith(PNG_SIGNATURE):
        from int8cal.images.png import read_png
        from int8cal.images.png_pixels import decode_png

        container = read_png(data, where)
        return Corner(decode_png(container, channels, where, corner), Size(container.height, container.width))
    image = decode_image(data, channels, fast_dct=fast_dct, where=where)
    return Corner(image[: corner.height, : corner.width], Size(*image.shape[:2]))


def decode_raw_half(data: bytes, channels: int, height: int, width: int, *, where: str) -> ImageHWC_f16:
    """Read a raw float16 image: little-endian, channels × height × width, values already 0..1.

    Args:
        data: the file.
        channels: 3 or 1.
        height: in pixels, as the record gives it.
        width: likewise.
        where: name of the image for messages.

    Returns:
        The values, height × width × channels (a view of the file's bytes).

    Raises:
        ImageError: the size is not recorded or is another one, or a value is not a finite number.
    """
    check_pixels(height, width, where)
    expected = 2 * channels * height * width
    if len(data) != expected:
        raise ImageError(
            f"The raw float16 image has {len(data)} bytes, but {channels}×{height}×{width} values need {expected}.",
            where=where,
            hint="It is read as little-endian float16, channels × height × width of the record, without a header.",
        )
    image = np.frombuffer(data, dtype="<f2").reshape(channels, height, width)
    if not np.isfinite(image).all():
        raise ImageError(
            "The raw float16 image has values that are not finite numbers.", where=where, hint=REPAIR_IMAGE
        )
    return image.transpose(1, 2, 0)


def _describe(data: bytes) -> str:
    """What the bytes are, in the words of the reference."""
    if not data:
        return "empty file"
    if data.startswith(_BMP_SIGNATURE):
        return "BMP"
    start = "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b"'\"\\" else f"\\{byte:03o}" for byte in data[:16]
    )
    return f"unknown format starting with '{start}'"
