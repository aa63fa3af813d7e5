"""Resizing as Pillow 8.4 and 12 do it, whatever version is installed: 13 chooses the order of the two passes itself.

Sizes are stretched: the aspect ratio is not kept.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from PIL import Image

from int8cal.errors import ImageError
from int8cal.native import Positions
from int8cal.preprocess.antialias import antialiased
from int8cal.preprocess.colour import unified_depth
from int8cal.types import ImageHWC_u8, Size

MAX_INTERMEDIATE_PIXELS = 1 << 26
"""Largest image between the two passes, as large as the largest that is decoded: a very tall image stretched to a very
wide one is refused."""

MAX_SIDE = 1 << 20
"""Longest side that is interpolated: Pillow takes 48 bytes of weights for each pixel of it."""

_PREMULTIPLIED = {"RGBA": "RGBa", "LA": "La"}
_NOT_INTERPOLATED = ("1", "P")
_OF_BYTES = ("L", "RGB")
_SCALE_DOWN = "Scale the image down, or take it out of the data."


def nearest(picture: Image.Image, size: Size) -> Image.Image:
    """Nearest neighbour; the picture itself when it already has the size.

    Args:
        picture: any mode; that of ``I;16`` is another grid, which Pillow rounds otherwise.
        size: height and width of the result.
    """
    if picture.size == (size.width, size.height):
        return picture
    if picture.mode == "I;16":
        rows, columns = _centres(picture.height, size.height), _centres(picture.width, size.width)
        return Image.fromarray(np.asarray(picture)[rows[:, np.newaxis], columns])
    return picture.resize((size.width, size.height), Image.Resampling.NEAREST)


@functools.lru_cache(maxsize=64)  # the pictures of most data sets have few sizes
def nearest_positions(before: Size, after: Size) -> Positions:
    """The pixels that `nearest` takes of an image of 8-bit channels, found as Pillow finds them: by adding up steps.

    Args:
        before: height and width of the image.
        after: of the result.

    Returns:
        int64 each, read-only. Source: Pillow's ``Image.resize``, which has lengths in single precision, and its
        Geometry.c, ``ImagingScaleAffine``.
    """
    rows, columns = (_steps(length, count) for length, count in zip(before, after, strict=True))
    rows.flags.writeable = columns.flags.writeable = False
    return Positions(rows, columns)


def interpolated(
    picture: Image.Image, size: Size, resample: Image.Resampling, *, height_first: bool = False
) -> Image.Image:
    """Interpolate in the picture's own mode, width first, then height (Pillow chooses the order by version).

    Args:
        picture: any mode; ``1`` and ``P`` are nearest neighbour, alpha is premultiplied, 16-bit grey becomes ``I``.
        size: height and width of the result.
        resample: the filter; its support grows with the reduction (antialiasing).
        height_first: the other order.

    Returns:
        A picture of the same mode (``I`` for 16-bit grey); the picture itself when it already has the size.

    Raises:
        ImageError: the mode cannot be interpolated, or a side is too long for it.
        MemoryError: there is too little memory.
    """
    picture = unified_depth(picture)
    if picture.size == (size.width, size.height):
        return picture
    if picture.mode in _NOT_INTERPOLATED:
        return nearest(picture, size)
    mode = picture.mode
    between = size_between(Size(picture.height, picture.width), size, height_first=height_first)
    if mode in _OF_BYTES and not height_first:
        done = antialiased(np.atleast_3d(np.asarray(picture)), size, resample)
        if done is not None:
            return Image.fromarray(done if mode == "RGB" else done[:, :, 0])
    try:
        premultiplied = picture.convert(_PREMULTIPLIED[mode]) if mode in _PREMULTIPLIED else picture
        one = premultiplied.resize((between.width, between.height), resample)
        both = one.resize((size.width, size.height), resample)
    except ValueError as error:
        raise ImageError(f"An image of Pillow mode {picture.mode} cannot be resized.") from error
    return both.convert(mode) if mode in _PREMULTIPLIED else both


def interpolated_pixels(
    pixels: ImageHWC_u8, size: Size, resample: Image.Resampling, *, height_first: bool = False
) -> ImageHWC_u8:
    """`interpolated` without a picture of Pillow, which would be a copy.

    Args:
        pixels: height × width × channels (3 or 1), 0..255.
        size: height and width of the result.
        resample: the filter.
        height_first: the other order.

    Returns:
        The same of another size; ``pixels`` when they have it.

    Raises:
        ImageError: a side is too long, or a pass too large.
    """
    before = Size(*pixels.shape[:2])
    if before == size:
        return pixels
    size_between(before, size, height_first=height_first)
    done = None if height_first else antialiased(pixels, size, resample)
    if done is not None:
        return done
    channels = pixels.shape[2]
    picture = Image.fromarray(pixels if channels == 3 else pixels[:, :, 0])
    resized = interpolated(picture, size, resample, height_first=height_first)
    return np.asarray(resized).reshape(*size, channels)


def size_between(before: Size, after: Size, *, height_first: bool) -> Size:
    """Size between the two passes.

    Raises:
        ImageError: a side is too long, or a pass too large.
    """
    problem = f"{before.width}×{before.height} pixels cannot be stretched to {after.width}×{after.height}"
    if max(before) > MAX_SIDE:
        raise ImageError(f"{problem}: a side has more than {MAX_SIDE} pixels.", hint=_SCALE_DOWN)
    between = Size(after.height, before.width) if height_first else Size(before.height, after.width)
    if between.height * between.width > MAX_INTERMEDIATE_PIXELS:
        raise ImageError(f"{problem}: a pass needs more than {MAX_INTERMEDIATE_PIXELS} pixels.", hint=_SCALE_DOWN)
    return between


def _centres(length: int, count: int) -> npt.NDArray[np.intp]:
    """The pixel that each of ``count`` results takes; every centre is multiplied, where other modes add up steps."""
    return ((np.arange(count) + 0.5) * (length / count)).astype(np.intp)


def _steps(length: int, count: int) -> npt.NDArray[np.int64]:
    """The pixel that each of ``count`` results takes; the sums are rounded one by one, in double precision."""
    step = float(np.float32(length)) / count
    positions = np.full(count, step)
    positions[0] = step * 0.5
    return np.add.accumulate(positions).astype(np.int64)
