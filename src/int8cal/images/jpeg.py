"""JPEG → pixels with the libjpeg flags that the reference uses; the wrong ones cost up to 20 levels.

============  =================================  ==================================
result        accurate inverse DCT               fast inverse DCT
============  =================================  ==================================
RGB           libjpeg-turbo, smooth upsampling   the same with ``fastdct``
grey          the Y plane                        the Y plane
RGB of CMYK   Pillow (simplejpeg: 1 level off)   not established: refused
grey of CMYK  refused, as in the reference       refused, as in the reference
============  =================================  ==================================

Evidence: the JPEG cases of the golden set (4:4:4, 4:2:2, 4:2:0, progressive, restart markers, odd sizes, grey, CMYK).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
import simplejpeg

from int8cal.errors import ImageError
from int8cal.images.jpeg_markers import with_sound_segments, without_metadata, without_padding
from int8cal.images.limits import REPAIR_IMAGE, check_pixels, raise_lack_of_memory
from int8cal.types import ImageHWC_u8

_CMYK = ("CMYK", "YCCK")

_MENDINGS: tuple[Callable[[bytes], bytes], ...] = (bytes, with_sound_segments, without_padding)
"""What is done one after the other to a file until libjpeg warns of nothing; first, nothing."""


def decode_jpeg(data: bytes, channels: int, *, fast_dct: bool, where: str) -> ImageHWC_u8:
    """Decode a JPEG file; EXIF orientation, bytes after its end and harmless faults are ignored.

    Args:
        data: the file.
        channels: 3 (RGB) or 1 (grey: the Y plane).
        fast_dct: use the fast integer inverse DCT rather than the accurate one.
        where: name of the image for messages.

    Returns:
        Pixels 0..255, height × width × channels, RGB order.

    Raises:
        ImageError: the file is damaged or cut off, too large, or of a kind whose exact pixels are not known.
        MemoryError: there is too little memory; nothing is said of the file.
    """
    rest, problem = data, ""
    for mend in _MENDINGS:
        rest = mend(rest)
        try:
            return _decode(rest, channels, fast_dct=fast_dct, where=where)
        except ImageError:
            raise
        except ValueError as error:
            raise_lack_of_memory(error)
            problem = str(error)
    raise _invalid(data, problem, where)


def _decode(data: bytes, channels: int, *, fast_dct: bool, where: str) -> ImageHWC_u8:
    """Decode a file of which libjpeg has nothing to warn.

    Raises:
        ImageError: the image is too large, or of a kind that is refused.
        ValueError: libjpeg warns or fails, in its words.
    """
    height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    check_pixels(height, width, where)
    if colours in _CMYK:
        return _decode_cmyk(data, channels, (width, height), fast_dct=fast_dct, where=where)
    pixels: ImageHWC_u8 = simplejpeg.decode_jpeg(
        data, "RGB" if channels == 3 else "GRAY", fastdct=fast_dct, fastupsample=False, strict=True
    )
    return pixels


def _decode_cmyk(data: bytes, channels: int, size: tuple[int, int], *, fast_dct: bool, where: str) -> ImageHWC_u8:
    if channels != 3:
        raise _invalid(data, "a CMYK image cannot become grey", where)
    if fast_dct:
        raise ImageError(
            "CMYK JPEG: which pixels the reference gets with the fast DCT is not established.",
            where=where,
            hint="Convert the image to RGB.",
        )
    from PIL import Image  # late: few data sets hold such images

    try:
        with Image.open(io.BytesIO(without_metadata(data)), formats=["JPEG"]) as image:
            if image.size != size:
                raise _invalid(data, "it has two frame headers", where)
            return np.asarray(image.convert("RGB"))
    except ImageError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error) as error:
        raise_lack_of_memory(error)
        raise _invalid(data, str(error), where) from error


def _invalid(data: bytes, reason: str, where: str) -> ImageError:
    message = f"Invalid JPEG data or crop window, data size {len(data)}"
    return ImageError(f"{message}: {reason}." if reason else f"{message}.", where=where, hint=REPAIR_IMAGE)
