"""Decoding and resizing by OpenCV, for preprocessing that was done with it. An extra: ``opencv``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from int8cal.errors import ImageError
from int8cal.images import PNG_SIGNATURE
from int8cal.images.limits import REPAIR_IMAGE
from int8cal.images.pillow import check_sound
from int8cal.images.png import deciding_chunks
from int8cal.io import optional
from int8cal.io.lacks import raise_if_lacking

if TYPE_CHECKING:
    from int8cal.types import ImageHWC_u8, Size


def need() -> Any:
    """The module ``cv2``, working on one thread: the threads are ours. It logs nothing by itself, unless told to.

    Raises:
        UnavailableError: it is not installed.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # read when it is imported; its functions differ by version
    cv2 = optional.need("cv2", "opencv")
    cv2.setNumThreads(1)
    return cv2


def decode(encoded: bytes, where: str, *, grey: bool, exif: bool) -> ImageHWC_u8:
    """What ``cv2.imread`` gives, RGB instead of BGR.

    Args:
        encoded: the file.
        where: name of the image for messages.
        grey: one channel.
        exif: turned as its EXIF orientation says.

    Raises:
        ImageError: it is damaged, cannot be decoded, or has more than `int8cal.images.limits.MAX_PIXELS` pixels.
    """
    cv2 = need()
    check_sound(encoded, where)  # OpenCV makes pixels of most damaged files
    if encoded.startswith(PNG_SIGNATURE):
        encoded = deciding_chunks(encoded, grey=grey)
    flags = cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR
    try:
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags | (0 if exif else cv2.IMREAD_IGNORE_ORIENTATION))
    except cv2.error as error:
        raise_if_lacking(error, where)
        pixels = None
    if pixels is None:
        raise ImageError("OpenCV cannot decode the image.", where=where, hint=REPAIR_IMAGE)
    return pixels[:, :, np.newaxis] if grey else np.ascontiguousarray(pixels[:, :, ::-1])


def resize(pixels: ImageHWC_u8, size: Size, interpolation: str) -> ImageHWC_u8:
    """``cv2.resize`` of 8-bit pixels, not antialiased; the pixels themselves when they have the size.

    Args:
        pixels: height × width × channels.
        size: of the result.
        interpolation: ``nearest``, ``bilinear``, ``bicubic`` or ``lanczos``.
    """
    if pixels.shape[:2] == size:
        return pixels
    cv2 = need()
    methods = {
        "nearest": cv2.INTER_NEAREST,
        "bilinear": cv2.INTER_LINEAR,
        "bicubic": cv2.INTER_CUBIC,
        "lanczos": cv2.INTER_LANCZOS4,
    }
    resized: ImageHWC_u8 = cv2.resize(pixels, (size.width, size.height), interpolation=methods[interpolation])
    return resized if resized.ndim == 3 else resized[:, :, np.newaxis]
