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
from collections.abc import Callable
from typing import TypeAlias, TypeGuard

import imagecodecs
import numpy as np
import numpy.typing as npt

from int8cal.errors import ImageError
from int8cal.images.limits import REPAIR_IMAGE, raise_lack_of_memory
from int8cal.images.png import GREY_ALPHA, Png
from int8cal.images.png_inflate import with_stored_pixels
from int8cal.types import ImageHWC_u8, Size

_Pixels: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

_RED, _GREEN, _BLUE = 9797, 19234, 3737
"""libpng's luminance weights, × 32768."""

_GAMMA_THRESHOLD = 5000
"""A gamma this close to 1 (× 100 000) counts as none."""

_STRIP_PIXELS = 1 << 17
"""Pixels that are converted at a time: what that needs stays in the processor's cache, however large the image."""

_DECODER_ERRORS = (RuntimeError, ValueError, TypeError)


def decode_png(png: Png, channels: int, where: str, corner: Size | None = None) -> ImageHWC_u8:
    """Decode the pixels of a PNG whose container was checked.

    Args:
        png: the file as `read_png` found it.
        channels: 3 (RGB) or 1 (grey).
        where: name of the image for messages.
        corner: rows and columns that are wanted, from the top left; the others are verified, but not all decoded.

    Returns:
        Pixels 0..255, height × width × channels, RGB order.

    Raises:
        ImageError: the pixel data are damaged, or their exact conversion to grey is not known.
        MemoryError: there is too little memory; nothing is said of the file.
    """
    try:
        pixels = _decode(png, corner)
    except _DECODER_ERRORS as error:
        raise_lack_of_memory(error)
        raise ImageError(f"Invalid PNG data, size {png.size}: {error}.", where=where, hint=REPAIR_IMAGE) from error
    if pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    if pixels.dtype == np.uint8 and pixels.shape[2] == channels:
        return _eight_bits(pixels)
    if pixels.shape[2] <= 2:  # grey, perhaps with alpha
        return _by_strips(lambda strip: _eight_bits(strip[:, :, :1]), pixels, channels)
    if channels == 3:
        return _by_strips(lambda strip: _eight_bits(strip[:, :, :3]), pixels, channels)
    if pixels.dtype == np.uint16:
        return _by_strips(_deep_to_grey(png.gamma, where), pixels, channels)
    return _by_strips(_to_grey(png.gamma), pixels, channels)


def _decode(png: Png, corner: Size | None) -> _Pixels:
    """Pixels as they are in the file: height × width (× channels), 8 or 16 bits; palettes and low depths expanded."""
    wanted = corner or Size(png.height, png.width)
    quick = png.bit_depth <= 8 and png.colour_type != GREY_ALPHA
    data = with_stored_pixels(png, wanted) or png.critical
    pixels: _Pixels = (imagecodecs.spng_decode if quick else imagecodecs.png_decode)(data)
    return pixels[: wanted.height, : wanted.width]


def _by_strips(convert: Callable[[_Pixels], npt.NDArray[np.uint8]], pixels: _Pixels, channels: int) -> ImageHWC_u8:
    """Pixels converted some rows at a time, so that only they and the result take memory."""
    height, width = pixels.shape[:2]
    out = np.empty((height, width, channels), dtype=np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        out[top : top + rows] = convert(pixels[top : top + rows])
    return out


def _eight_bits(pixels: _Pixels) -> npt.NDArray[np.uint8]:
    return (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels.astype(np.uint8, copy=False)


def _to_grey(gamma: int | None) -> Callable[[_Pixels], npt.NDArray[np.uint8]]:
    if not _matters(gamma):
        return lambda pixels: (_luminance(pixels) >> 15).astype(np.uint8)[:, :, np.newaxis]
    to_linear, from_linear = _gamma_tables(gamma)

    def convert(pixels: _Pixels) -> npt.NDArray[np.uint8]:
        red, green, blue = (pixels[:, :, channel] for channel in range(3))
        mixed = from_linear.take((_luminance(to_linear.take(pixels[:, :, :3])) + 16384) >> 15)
        grey: npt.NDArray[np.uint8] = np.where((red == green) & (red == blue), red, mixed)
        return grey[:, :, np.newaxis]

    return convert


def _deep_to_grey(gamma: int | None, where: str) -> Callable[[_Pixels], npt.NDArray[np.uint8]]:
    if _matters(gamma):
        raise ImageError(
            "16-bit colour PNG with a gamma: its exact conversion to grey is not established.",
            where=where,
            hint="Save the image with 8 bits per channel.",
        )
    return lambda pixels: ((_luminance(pixels) + 16384) >> 23).astype(np.uint8)[:, :, np.newaxis]


def _matters(gamma: int | None) -> TypeGuard[int]:
    return gamma is not None and abs(gamma - 100_000) > _GAMMA_THRESHOLD


def _luminance(pixels: _Pixels) -> npt.NDArray[np.uint32]:
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
