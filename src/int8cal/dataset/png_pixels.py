"""PNG → pixels as libpng gives them to the reference.

RGB: palette and low bit depths expanded, grey replicated, alpha and tRNS dropped (not composited), 16 bits cut to the
high byte, gamma ignored.

Grey: of colour pixels libpng's ``rgb_to_gray`` (pngrtran.c, png_do_rgb_to_gray)::

    y = (9797 R + 19234 G + 3737 B) >> 15                                     no gamma, or one close to 1
    y = from_linear[(9797 lin(R) + 19234 lin(G) + 3737 lin(B) + 16384) >> 15]   with a gamma; R = G = B stays as it is
    y = ((9797 R + 19234 G + 3737 B + 16384) >> 15) >> 8                       16 bits

Evidence: the ``oddpng`` cases of the golden set, in colour and grey.
"""

from __future__ import annotations

import functools
import io
import struct

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image

from int8cal.dataset.limits import REPAIR_IMAGE
from int8cal.dataset.png import GREY_ALPHA, RGB, RGB_ALPHA, Png
from int8cal.errors import ImageError
from int8cal.types import ImageHWC_u8

_RED, _GREEN, _BLUE = 9797, 19234, 3737
"""libpng's luminance weights, × 32768."""

_GAMMA_THRESHOLD = 5000
"""A gamma this close to 1 (× 100 000) counts as none."""

_DECODER_ERRORS = (RuntimeError, OSError, SyntaxError, ValueError, EOFError, MemoryError, struct.error)


def decode_png(png: Png, channels: int, where: str) -> ImageHWC_u8:
    """Decode the pixels of a PNG whose container was checked.

    Args:
        png: the file as `read_png` found it.
        channels: 3 (RGB) or 1 (grey).
        where: name of the image for messages.

    Returns:
        Pixels 0..255, height × width × channels, RGB order.

    Raises:
        ImageError: the pixel data are damaged, or their exact conversion to grey is not known.
    """
    deep_colour = png.bit_depth == 16 and png.colour_type in (RGB, RGB_ALPHA)
    try:
        if deep_colour and channels == 1:
            return _grey_of_deep_colour(png, where)
        pixels = _decode(png)
    except _DECODER_ERRORS as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"Invalid PNG data, size {png.size}: {error}.", where=where, hint=REPAIR_IMAGE) from error
    if pixels.ndim == 2:
        plane = pixels[:, :, np.newaxis]
        return plane if channels == 1 else np.repeat(plane, 3, axis=2)
    return _grey(pixels, png.gamma) if channels == 1 else np.ascontiguousarray(pixels[:, :, :3])


def _decode(png: Png) -> npt.NDArray[np.uint8]:
    """Eight-bit pixels: height × width when grey, × 3 or 4 when colour."""
    if png.bit_depth <= 8 and png.colour_type != GREY_ALPHA:
        pixels: npt.NDArray[np.uint8] = imagecodecs.spng_decode(png.critical)
        return pixels
    with Image.open(io.BytesIO(png.critical), formats=["PNG"]) as image:
        decoded = np.asarray(image)
    if decoded.dtype != np.uint8:  # 16-bit grey is the one kind that Pillow gives whole
        return (decoded >> 8).astype(np.uint8)
    return decoded[:, :, 0] if png.colour_type == GREY_ALPHA else decoded


def _grey(pixels: npt.NDArray[np.uint8], gamma: int | None) -> ImageHWC_u8:
    if gamma is None or abs(gamma - 100_000) <= _GAMMA_THRESHOLD:
        return (_luminance(pixels) >> 15).astype(np.uint8)[:, :, np.newaxis]
    to_linear, from_linear = _gamma_tables(gamma)
    red, green, blue = (pixels[:, :, channel] for channel in range(3))
    mixed = from_linear.take((_luminance(to_linear.take(pixels[:, :, :3])) + 16384) >> 15)
    return np.where((red == green) & (red == blue), red, mixed)[:, :, np.newaxis]


def _luminance(pixels: npt.NDArray[np.integer]) -> npt.NDArray[np.uint32]:
    """Weighted sum of the colours × 32768; fits in 32 bits for 8- and 16-bit colours."""
    red, green, blue = (pixels[:, :, channel].astype(np.uint32) for channel in range(3))
    red *= _RED
    green *= _GREEN
    blue *= _BLUE
    red += green
    red += blue
    return red


@functools.lru_cache(maxsize=16)
def _gamma_tables(gamma: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The 8-bit tables of libpng: file values → linear light → file values (png.c, png_build_gamma_table)."""
    inverse = int(1e10 / gamma + 0.5)
    return _gamma_table(inverse), _gamma_table(int(1e10 / inverse + 0.5))


def _gamma_table(gamma: int) -> npt.NDArray[np.uint8]:
    if abs(gamma - 100_000) <= _GAMMA_THRESHOLD:
        return np.arange(256, dtype=np.uint8)
    return np.array([int(255 * (level / 255) ** (gamma * 1e-5) + 0.5) for level in range(256)], dtype=np.uint8)


def _grey_of_deep_colour(png: Png, where: str) -> ImageHWC_u8:
    if png.gamma is not None and abs(png.gamma - 100_000) > _GAMMA_THRESHOLD:
        raise ImageError(
            "16-bit colour PNG with a gamma: its exact conversion to grey is not established.",
            where=where,
            hint="Save the image with 8 bits per channel.",
        )
    # Pillow keeps one byte of each 16-bit value: the high one when it is told the truth about the byte order.
    high, low = (_decode_bytes(png, order) for order in ("B", "L"))
    pixels = high.astype(np.uint16) << 8 | low
    return ((_luminance(pixels) + 16384) >> 23).astype(np.uint8)[:, :, np.newaxis]


def _decode_bytes(png: Png, byte_order: str) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(png.critical), formats=["PNG"]) as image:
        image.tile = [image.tile[0]._replace(args=f"{image.mode};16{byte_order}")]
        return np.asarray(image)
