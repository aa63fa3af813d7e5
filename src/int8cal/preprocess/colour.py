"""Pillow image in its file's mode → RGB or grey, the same with every version of Pillow.

Alpha is dropped, not composited. What versions of Pillow do differently is done here by hand: 16-bit grey images open
as ``I`` or ``I;16`` and convert by clipping or by shifting; palette to grey is truncated or rounded; entries that a
palette leaves out are a grey ramp or black. The reference's (Pillow 8.4) way is kept: clipped, truncated, a ramp.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from int8cal.errors import ImageError
from int8cal.types import ImageHWC_u8

_WIDE = "I;16"
_LUMA_PER_MILLE = np.array([299, 587, 114], dtype=np.int64)


def unified_depth(picture: Image.Image) -> Image.Image:
    """16-bit grey as Pillow's 32-bit ``I``; every other mode as it is."""
    return _converted(picture, "I") if picture.mode.startswith(_WIDE) else picture


def to_rgb(picture: Image.Image) -> Image.Image:
    """Mode ``RGB``; values above 255 of 16-bit images are clipped.

    Raises:
        ImageError: Pillow knows no conversion from the picture's mode.
    """
    if picture.mode == "P":
        return Image.fromarray(_palette(picture).astype(np.uint8)[np.asarray(picture)])
    return _converted(unified_depth(picture), "RGB")


def rgb_pixels(image: ImageHWC_u8 | Image.Image) -> ImageHWC_u8:
    """RGB pixels of an image.

    Args:
        image: height × width × 1 or 3, or a picture of any mode, which `to_rgb` converts.

    Returns:
        Height × width × 3, 0..255: ``image`` itself where it has three channels, a view that shows its one three times,
        or those of the picture.

    Raises:
        ImageError: as `to_rgb`.
    """
    if isinstance(image, Image.Image):
        return np.asarray(to_rgb(image))
    return image if image.shape[2] == 3 else np.broadcast_to(image, (*image.shape[:2], 3))


def grey_pixels(image: ImageHWC_u8 | Image.Image) -> ImageHWC_u8:
    """Grey pixels of an image.

    Args:
        image: height × width × 1 or 3, or a picture of any mode; `to_grey` converts what has colours.

    Returns:
        Height × width × 1, 0..255.

    Raises:
        ImageError: as `to_grey`.
    """
    if isinstance(image, np.ndarray):
        if image.shape[2] == 1:
            return image
        image = Image.fromarray(image)
    return np.asarray(to_grey(image))[:, :, np.newaxis]


def to_grey(picture: Image.Image) -> Image.Image:
    """Mode ``L``: (299 R + 587 G + 114 B) / 1000, truncated for palettes, else by Pillow's 16-bit fixed point.

    Raises:
        ImageError: Pillow knows no conversion from the picture's mode.
    """
    if picture.mode == "P":
        return _palette_to_grey(picture)
    return _converted(unified_depth(picture), "L")


def to_grey_keeping_depth(picture: Image.Image) -> Image.Image:
    """16-bit grey as it is, mode ``I`` or ``I;16`` with values 0..65535; all else as `to_grey`.

    Raises:
        ImageError: Pillow knows no conversion from the picture's mode.
    """
    return picture if picture.mode in ("I", _WIDE) else to_grey(picture)


def _converted(picture: Image.Image, mode: str) -> Image.Image:
    if picture.mode == mode:
        return picture
    try:
        return picture.convert(mode)
    except (ValueError, OSError) as error:
        raise ImageError(f"An image of Pillow mode {picture.mode} cannot become {mode}.") from error


def _palette_to_grey(picture: Image.Image) -> Image.Image:
    grey = (_palette(picture) @ _LUMA_PER_MILLE // 1000).astype(np.uint8)
    return Image.fromarray(grey[np.asarray(picture)])


def _palette(picture: Image.Image) -> npt.NDArray[np.int64]:
    """Red, green and blue of the 256 entries; those that the file leaves out are a grey ramp."""
    colours = np.tile(np.arange(256), (3, 1)).T
    given = np.array(picture.getpalette("RGB"), dtype=np.int64).reshape(-1, 3)
    colours[: len(given)] = given
    return colours
