"""Image file → what ``PIL.Image.open(file).convert(mode)`` of Pillow 12 gives, whatever version is installed.

For networks whose reference opens images with Pillow as it is. The content decides the format, not the name. Colour
JPEGs take the direct way through libjpeg-turbo, the library that Pillow has, in half the time. What versions of Pillow
do differently is done by hand: 16-bit grey is clipped to 255, palettes become grey by the formula for colours, and an
orientation in EXIF or XMP is read by one rule.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    PngImagePlugin,
    PpmImagePlugin,
    WebPImagePlugin,
)

from int8cal.errors import ImageError
from int8cal.images import (
    GIF_SIGNATURES,
    JPEG_SIGNATURE,
    PNG_SIGNATURE,
    TIFF_SIGNATURES,
    gif,
    jpeg,
    png,
    png_pixels,
    tiff,
)
from int8cal.images.limits import check_pixels, decoding, reader_by_signature, unread_kind
from int8cal.images.orientation import ON_ITS_SIDE, TURNS, orientation_of
from int8cal.images.pictures import FLOAT, LONGEST_PPM_HEADER, picture_of, pixels_of, tell_loss
from int8cal.types import ImageHWC_u8, Size

PillowMode: TypeAlias = Literal["RGB", "L"]
_CHANNELS: Mapping[PillowMode, int] = {"RGB": 3, "L": 1}
_Opener: TypeAlias = Callable[[bytes, str], ImageFile.ImageFile]

_CANNOT = "The image cannot be decoded"

_APP1, _EXIF, _XMP = 0xE1, b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_MAX_NOTES = 64
"""EXIF and XMP chunks of a PNG: a compressed one may hold 1 MiB, which Pillow inflates."""

_RED, _GREEN, _BLUE, _HALF, _BITS = 19595, 38470, 7471, 0x8000, 16
"""Pillow's fixed-point weights of grey."""


def open_converted(
    encoded: bytes, mode: PillowMode, where: str, *, upright: bool = False, takes_floats: bool = True
) -> ImageHWC_u8:
    """Decode an image file.

    Args:
        encoded: the file.
        mode: ``RGB`` or ``L``; alpha is dropped, not blended.
        where: name of the image for messages.
        upright: turned as its EXIF or XMP orientation says.
        takes_floats: pixels in floating point are cut to whole levels, as Pillow does it; else they are refused.

    Returns:
        The first frame: height × width × channels (3 or 1), 0..255.

    Raises:
        ImageError: the format is unknown, the file damaged or cut off, or has more than
            `int8cal.images.limits.MAX_PIXELS` pixels; or its pixels are in floating point, and are not taken so.
        MemoryError: there is too little memory; nothing is said of the file.
    """
    with decoding(_CANNOT, where):
        if encoded.startswith(TIFF_SIGNATURES):  # Pillow turns it whether it is asked to or not
            loaded = tiff.Tiff(encoded, where, any_orientation=True).load()
            if not takes_floats:
                _refuse_floats(loaded, where)
            return pixels_of(_converted(loaded, mode, where).convert(mode))
        notes: Mapping[Any, Any]
        if encoded.startswith(JPEG_SIGNATURE):
            components = jpeg.decode_components(encoded, where)
            notes = _notes_of_jpeg(encoded) if upright else {}
            if components.shape[2] == _CHANNELS[mode] and orientation_of(notes) not in TURNS:
                return components  # a picture of Pillow would be a copy, and so would its pixels
            picture = picture_of(components)
        else:
            picture = _header(encoded, where)
            picture.load()
            picture.info.pop("transparency", None)  # which is dropped all the same, with a warning
            notes = _notes(picture, encoded, where) if upright else {}
        turn = TURNS.get(orientation_of(notes)) if upright else None
        converted = _converted(picture, mode, where).convert(mode)
        return pixels_of(converted if turn is None else converted.transpose(turn))


def check_sound(encoded: bytes, where: str) -> None:
    """Decode an image file only to see that it is whole, for a decoder that says nothing of damage.

    Raises:
        ImageError, MemoryError: as `open_converted` that takes no floats.
    """
    with decoding(_CANNOT, where):
        if encoded.startswith(TIFF_SIGNATURES):
            _refuse_floats(tiff.Tiff(encoded, where, any_orientation=True).load(), where)
        elif encoded.startswith(JPEG_SIGNATURE):
            jpeg.decode_components(encoded, where)
        else:
            _header(encoded, where).load()


def upright_size(encoded: bytes, where: str) -> Size:
    """Height and width in pixels once the image is turned as its orientation says.

    Raises:
        ImageError: as `open_converted`.
    """
    with decoding(_CANNOT, where):
        if encoded.startswith(TIFF_SIGNATURES):
            first = tiff.Tiff(encoded, where, any_orientation=True)
            size, orientation = Size(first.height, first.width), first.orientation
        elif encoded.startswith(JPEG_SIGNATURE):
            header = jpeg.read_jpeg(encoded, where)
            size, orientation = Size(header.height, header.width), orientation_of(_notes_of_jpeg(encoded))
        else:
            picture = _header(encoded, where)
            size, orientation = Size(picture.height, picture.width), orientation_of(_notes(picture, encoded, where))
    return Size(size.width, size.height) if orientation in ON_ITS_SIDE else size


def _header(encoded: bytes, where: str) -> ImageFile.ImageFile:
    opened = reader_by_signature(encoded, _OPENERS, "JPEG, PNG, BMP, GIF, TIFF, PPM or WebP", where)(encoded, where)
    check_pixels(opened.height, opened.width, where)
    return opened


def _png(encoded: bytes, where: str) -> ImageFile.ImageFile:
    container = png.read_png(encoded, where)
    return PngImagePlugin.PngImageFile(io.BytesIO(png_pixels.sound_file(container)))


def _gif(encoded: bytes, where: str) -> ImageFile.ImageFile:
    gif.Gif(encoded, where, every_frame=False)
    return GifImagePlugin.GifImageFile(io.BytesIO(encoded))


def _raw(plugin: Callable[[io.BytesIO], ImageFile.ImageFile]) -> _Opener:
    """For formats of which Pillow decodes some kinds in Python, at a byte a time."""

    def opened(encoded: bytes, where: str) -> ImageFile.ImageFile:
        picture = plugin(io.BytesIO(encoded))
        if picture.tile[0][0] != "raw":
            raise unread_kind(f"{picture.format} of this kind is not read", where)
        return picture

    return opened


def _ppm(encoded: bytes, where: str) -> ImageFile.ImageFile:
    opened = _raw(PpmImagePlugin.PpmImageFile)
    opened(encoded[:LONGEST_PPM_HEADER], where)  # which fails where the header goes on
    return opened(encoded, where)


def _webp(encoded: bytes, where: str) -> ImageFile.ImageFile:
    return WebPImagePlugin.WebPImageFile(io.BytesIO(encoded))


def _refuse_floats(picture: Image.Image, where: str) -> None:
    """Refuse what Pillow would cut to whole levels: of values 0..1, nearly all would be black.

    Raises:
        ImageError: the pixels are in floating point. TIFF alone has such.
    """
    if picture.mode == FLOAT:
        raise ImageError(
            "The image has pixels in floating point, not levels 0..255.",
            where=where,
            hint="Convert it to 8 bits as for training, or give arrays that are preprocessed already: int8cal quantize "
            "MODEL.onnx FILE.npy.",
        )


def _converted(picture: Image.Image, mode: PillowMode, where: str) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == FLOAT:
        whole = picture if picture.mode == FLOAT else picture.convert("I")
        tell_loss(whole, where)
        return whole.convert(mode)
    if picture.mode != "P" or mode != "L":
        return picture.convert(mode)
    colours = np.zeros((256, 3), dtype=np.uint32)
    given = np.array(picture.getpalette("RGB"), dtype=np.uint32).reshape(-1, 3)
    colours[: len(given)] = given
    grey = colours @ np.array([_RED, _GREEN, _BLUE], dtype=np.uint32) + _HALF >> _BITS
    return Image.fromarray(grey.astype(np.uint8)[np.asarray(picture)])


def _notes(picture: ImageFile.ImageFile, encoded: bytes, where: str) -> Mapping[Any, Any]:
    """EXIF data and XMP notes, by the names that Pillow has for them."""
    return _notes_of_png(encoded, where) if encoded.startswith(PNG_SIGNATURE) else picture.info


def _notes_of_png(encoded: bytes, where: str) -> Mapping[Any, Any]:
    """Notes of a PNG, wherever they stand in it: Pillow gets a file that has nothing else."""
    container = png.read_png(encoded, where)
    if len(container.notes) > _MAX_NOTES:
        raise ValueError(f"it has more than {_MAX_NOTES} notes on how it lies")
    chunks = b"".join((*container.notes, container.chunks[-1]))
    return PngImagePlugin.PngImageFile(io.BytesIO(PNG_SIGNATURE + png.header_chunk(container) + chunks)).info


def _notes_of_jpeg(encoded: bytes) -> dict[str, bytes]:
    """EXIF data and XMP notes of a JPEG, which Pillow is not asked for."""
    exif, xmp = [], b""
    for marker, begin, end in jpeg.segments(encoded):
        if marker == jpeg.START_OF_SCAN:
            break
        if marker == _APP1 and encoded.startswith(_EXIF, begin + 4, end):  # Pillow joins them, however many there are
            exif.append(encoded[begin + 4 + len(_EXIF) : end])
        elif marker == _APP1 and encoded.startswith(_XMP, begin + 4, end):
            xmp = encoded[begin + 4 + len(_XMP) : end]
    return {"exif": b"".join(exif), "xmp": xmp}


_OPENERS: dict[tuple[bytes, ...], _Opener] = {
    (PNG_SIGNATURE,): _png,
    (b"BM",): _raw(BmpImagePlugin.BmpImageFile),
    GIF_SIGNATURES: _gif,
    (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"): _ppm,
    (b"RIFF",): _webp,
}
"""PNG and GIF are read strictly first: Pillow takes damaged files, and some keep it busy for long."""
