"""GIF → pixels: one frame that fills the image, which is all that the reference's image operations take."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from int8cal.errors import ImageError
from int8cal.images.limits import REPAIR_IMAGE, check_pixels, raise_lack_of_memory
from int8cal.types import ImageHWC_u8

SIGNATURE = b"GIF8"

_HEADER = struct.Struct("<6sHHBBB")
_DESCRIPTOR = struct.Struct("<HHHHB")
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B

_CONVERT = "Convert the image to PNG."


class _Frame(NamedTuple):
    left: int
    top: int
    width: int
    height: int


def decode_gif(data: bytes, channels: int, where: str) -> ImageHWC_u8:
    """Decode a GIF file; transparency does not change the pixels.

    Args:
        data: the file.
        channels: 3; the reference does not turn a GIF into grey.
        where: name of the image for messages.

    Returns:
        Pixels 0..255, height × width × 3, RGB order.

    Raises:
        ImageError: the file is damaged, animated, too large, or its frame is smaller than the image.
    """
    if channels != 3:
        raise ImageError(f"channels must be 0 or 3 for GIF, got {channels}.", where=where, hint=_CONVERT)
    from PIL import Image  # late: few data sets hold a GIF

    try:
        _, width, height, *_ = _HEADER.unpack_from(data)
        check_pixels(height, width, where)
        frames = list(_frames(data))
        if len(frames) != 1:
            raise ImageError(
                f"Got {len(frames)} frames, but only GIFs of one frame can be used.", where=where, hint=_CONVERT
            )
        if frames[0] != (0, 0, width, height):
            raise ImageError(
                "The GIF's frame does not fill the image, which is not supported.", where=where, hint=_CONVERT
            )
        with Image.open(io.BytesIO(data), formats=["GIF"]) as image:
            image.info.pop("transparency", None)
            return np.asarray(image.convert("RGB"))
    except ImageError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error) as error:
        raise_lack_of_memory(error)
        raise ImageError(f"Invalid GIF data, size {len(data)}: {error}.", where=where, hint=REPAIR_IMAGE) from error


def _frames(data: bytes) -> Iterator[_Frame]:
    """Place of every frame, without decoding one."""
    packed = data[10]
    offset = _HEADER.size + _colour_table_bytes(packed)
    while (kind := data[offset]) != _TRAILER:
        if kind == _IMAGE:
            *place, packed = _DESCRIPTOR.unpack_from(data, offset + 1)
            yield _Frame(*place)
            offset += 1 + _DESCRIPTOR.size + _colour_table_bytes(packed)
            offset = _after_blocks(data, offset + 1)
        elif kind == _EXTENSION:
            offset = _after_blocks(data, offset + 2)
        else:
            raise ValueError(f"unknown block {kind:#04x}")


def _colour_table_bytes(packed: int) -> int:
    return 3 << (packed & 7) + 1 if packed & 0x80 else 0


def _after_blocks(data: bytes, offset: int) -> int:
    """Offset after a chain of blocks, each led by its length, ended by an empty one."""
    while data[offset]:
        offset += 1 + data[offset]
    return offset + 1
