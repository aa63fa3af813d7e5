"""FasterRCNN's network input in plain NumPy, from the published formulas alone; nothing of int8cal is imported.

Independent of int8cal's implementation, so that a slip in one of the two shows as a difference.
Per pixel, one operation after another, all in float32, ``half`` being the rounding to float16::

    v = half(u * 0.003921509)                      u is the decoded level 0..255
    v = half(bilinear(v))                          where the size is not the wanted one
    x = (v * 255, channels reversed for "bgr", - mean) / image_scaling_factor
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

F = np.float32


def half(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16).astype(F)


def decoded(path: Path, channels: int) -> np.ndarray:
    """Levels as the training loader's decoder gives them: height × width × channels."""
    with Image.open(path) as picture:
        if channels == 3:
            return np.asarray(picture.convert("RGB"))
        if picture.format == "JPEG":
            picture.draft("L", picture.size)  # the Y plane
            return np.asarray(picture.convert("L"))[..., None]
        if picture.mode == "L":
            return np.asarray(picture)[..., None]
        colour = np.asarray(picture.convert("RGB")).astype(np.int64)
    grey = (9797 * colour[..., 0] + 19234 * colour[..., 1] + 3737 * colour[..., 2]) >> 15
    return grey.astype(np.uint8)[..., None]


def bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """TensorFlow 1's default: corners not aligned, no half-pixel centres; pixel by pixel along each row."""
    rows, columns = image.shape[:2]
    down, across = F(rows) / F(height), F(columns) / F(width)
    out = np.empty((height, width, image.shape[2]), F)
    x = np.arange(width, dtype=F) * across
    left = np.floor(x).astype(int)
    right = np.minimum(left + 1, columns - 1)
    fx = (x - left.astype(F))[:, None]
    for row in range(height):
        y = F(row) * down
        low = int(np.floor(y))
        high = min(low + 1, rows - 1)
        fy = y - F(low)
        top = image[low, left] + (image[low, right] - image[low, left]) * fx
        bottom = image[high, left] + (image[high, right] - image[high, left]) * fx
        out[row] = top + (bottom - top) * fy
    return out


def shortest_side(height: int, width: int, shortest: int) -> tuple[int, int]:
    """Height and width of a recorded size whose shorter side becomes ``shortest``, cut to whole pixels."""
    if height <= width:
        return shortest, int((F(shortest) / F(height)) * F(width))
    return int((F(shortest) / F(width)) * F(height)), shortest


def network_input(
    path: Path, size: tuple[int, int], mean: tuple[float, ...], scale: float, *, reverse: bool
) -> np.ndarray:
    """Channels × height × width.

    Args:
        path: image file.
        size: wanted height and width.
        mean: red, green, blue; or one value for grey.
        scale: image_scaling_factor.
        reverse: blue first.
    """
    values = half(decoded(path, len(mean)).astype(F) * F(0.003921509))
    if values.shape[:2] != size:
        values = half(bilinear(values, *size))
    levels = values * F(255)
    means = np.array(mean, F)
    if reverse:
        levels, means = levels[..., ::-1], means[::-1]
    return ((levels - means) / F(scale)).transpose(2, 0, 1)
