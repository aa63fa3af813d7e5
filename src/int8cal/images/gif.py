"""GIF → pixels of its first frame. Blocks are walked by us, so that Pillow sees only those that decide pixels.

TensorFlow's image operations take a file of one frame that fills the image; Pillow takes the first frame of any.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import GifImagePlugin, Image

from int8cal.errors import ImageError
from int8cal.images.limits import REPAIR_IMAGE, check_pixels, decoding
from int8cal.types import ImageHWC_u8

_HEADER = struct.Struct("<6sHHBBB")
_DESCRIPTOR = struct.Struct("<HHHHB")
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL, _COMMENT, _APPLICATION = 0xF9, 0xFE, 0xFF
_LOOP = b"NETSCAPE2.0"

_MAX_BLOCKS = 1 << 20
"""Blocks of data: more than an image of `MAX_PIXELS` needs, each with 255 bytes as writers make them."""

_CONVERT = "Convert the image to PNG."


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a frame is, in the image and in the file.

    Attributes:
        left, top, width, height: in the image.
        palette: number of bytes of its own colour table.
        begin, end: of its bytes, from its descriptor to the end of its data.
        control: bytes of the graphic control block ahead of it, or none.
    """

    left: int
    top: int
    width: int
    height: int
    palette: int
    begin: int
    end: int
    control: bytes


class Gif:
    """A GIF file of which no pixel was decoded.

    Args:
        data: the file.
        where: name of the image for messages.
        every_frame: walk to the end of the file rather than to the end of the first frame.

    Raises:
        ImageError: the file is damaged, or the image is too large.
    """

    def __init__(self, data: bytes, where: str, *, every_frame: bool) -> None:
        self._data = data
        self._blocks = 0
        with decoding(f"Invalid GIF data, size {len(data)}", where):
            _, self.width, self.height, packed, *_ = _HEADER.unpack_from(data)
            check_pixels(self.height, self.width, where)
            self._body = _HEADER.size + _colour_table_bytes(packed)
            frames = self._frames(as_pillow=not every_frame)
            self.frames = list(frames) if every_frame else [next(frames)]
            first = self.frames[0]
            if first.left + first.width > self.width or first.top + first.height > self.height:
                raise ValueError("its frame is larger than the image")
            if not (first.width and first.height):
                raise ValueError("its frame has no pixels")

    @property
    def colours(self) -> int:
        """Colours that the first frame may choose from; 0 when the file names none."""
        return (self.frames[0].palette or self._body - _HEADER.size) // 3

    def open(self) -> Image.Image:
        """Pillow's image of the first frame, not loaded yet."""
        first = self.frames[0]
        body = first.control + self._data[first.begin : first.end]
        return GifImagePlugin.GifImageFile(io.BytesIO(self._data[: self._body] + body + bytes([_TRAILER])))

    def load(self) -> Image.Image:
        """The first frame, in the mode that Pillow 8.4 gives it."""
        picture = self.open()
        picture.load()
        first = self.frames[0]
        if first.palette and picture.mode == "L":  # later versions take a frame's own grey ramp for none
            at = first.begin + 1 + _DESCRIPTOR.size
            picture = Image.frombytes("P", picture.size, picture.tobytes())
            picture.putpalette(self._data[at : at + first.palette])
        return picture

    def _frames(self, *, as_pillow: bool) -> Iterator[Frame]:
        """Frame after frame, without decoding one.

        Args:
            as_pillow: refuse extensions behind whose end Pillow reads on.
        """
        data = self._data
        offset = self._body
        control = b""
        while (kind := data[offset]) != _TRAILER:
            begin = offset
            self._count_block()
            if kind == _IMAGE:
                left, top, width, height, packed = _DESCRIPTOR.unpack_from(data, offset + 1)
                palette = _colour_table_bytes(packed)
                offset += 1 + _DESCRIPTOR.size + palette
                if not 1 <= data[offset] <= 8:
                    raise ValueError(f"its codes cannot begin with {data[offset]} bits")
                offset = self._after_blocks(offset + 1)
                yield Frame(left, top, width, height, palette, begin, offset, control)
                control = b""
            elif kind == _EXTENSION:
                label = data[offset + 1]
                offset = self._after_blocks(offset + 2)
                if as_pillow and _is_misread(label, data[begin + 2 : offset]):
                    raise ValueError(f"the extension {label:#04x} has no data")
                if label == _GRAPHIC_CONTROL:
                    control = data[begin:offset]
                    if len(control) != 8:
                        raise ValueError("a graphic control block is damaged")
            else:
                raise ValueError(f"unknown block {kind:#04x}")

    def _after_blocks(self, offset: int) -> int:
        """Offset after a chain of blocks, each led by its length, ended by an empty one."""
        data = self._data
        while length := data[offset]:
            offset += 1 + length
            self._count_block()
        return offset + 1

    def _count_block(self) -> None:
        self._blocks += 1
        if self._blocks > _MAX_BLOCKS:
            raise ValueError(f"it has more than {_MAX_BLOCKS} blocks")


def decode_gif(data: bytes, channels: int, where: str) -> ImageHWC_u8:
    """Decode a GIF file of one frame; transparency does not change the pixels.

    Args:
        data: the file.
        channels: 3; the reference does not turn a GIF into grey.
        where: name of the image for messages.

    Returns:
        Pixels 0..255, height × width × 3, RGB order.

    Raises:
        ImageError: the file is damaged, animated, too large, or its frame is smaller than the image.
        MemoryError: there is too little memory; nothing is said of the file.
    """
    if channels != 3:
        raise ImageError(f"channels must be 0 or 3 for GIF, got {channels}.", where=where, hint=_CONVERT)
    gif = Gif(data, where, every_frame=True)
    if len(gif.frames) != 1:
        problem = f"Got {len(gif.frames)} frames, but only GIFs of one frame can be used."
        raise ImageError(problem, where=where, hint=_CONVERT)
    frame = gif.frames[0]
    if (frame.width, frame.height) != (gif.width, gif.height):
        raise ImageError("The GIF's frame does not fill the image, which is not supported.", where=where, hint=_CONVERT)
    with decoding(f"Invalid GIF data, size {len(data)}", where):
        picture = gif.load()
        if np.asarray(picture).max() >= gif.colours:
            raise ImageError("The GIF has pixels without a colour.", where=where, hint=REPAIR_IMAGE)
        picture.info.pop("transparency", None)
        return np.asarray(picture.convert("RGB"))


def _is_misread(label: int, blocks: bytes) -> bool:
    """Whether Pillow takes what is behind an extension for its data: it reads one block of any, and two of a loop."""
    if label == _COMMENT:
        return False
    end = 1 + blocks[0]
    return end == 1 or (label == _APPLICATION and blocks[1:12] == _LOOP and blocks[end] == 0)


def _colour_table_bytes(packed: int) -> int:
    return 3 << (packed & 7) + 1 if packed & 0x80 else 0
