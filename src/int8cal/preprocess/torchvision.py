"""Pixels → network input as torchvision's transforms do it on a Pillow image; sizes and windows of TAO's loaders.

f() rounds to float32. A division and a multiplication differ in the last bit for 126 of the 256 levels::

    to_tensor                      t = f(u / 255)
    ToImage, ConvertImageDtype     t = f(u · f(1/255))      `int8cal.preprocess.normalise.SINGLE_VALUES`
    normalize                      f(f(t − f(mean)) / f(std))

Source: torchvision 0.26 and tao-pytorch 7.0.1, compared on their golden set; every bit is equal.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from int8cal.io.summary import counted
from int8cal.preprocess.normalise import look_up
from int8cal.preprocess.stretch import interpolated_pixels
from int8cal.types import ImageCHW_f32, ImageHWC_u8, Size, ValueTable_f32, ValueTables_f32

TO_TENSOR: ValueTable_f32 = np.arange(256, dtype=np.float32) / np.float32(255)


def normalised(
    mean: Sequence[float], std: Sequence[float], channels: int, scaled: ValueTable_f32 = TO_TENSOR
) -> ValueTables_f32:
    """Values of the pixel levels after ``normalize``.

    Args:
        mean: on the scale of ``scaled``, one number per channel, or one for all.
        std: likewise.
        channels: 3 or 1.
        scaled: values before; those of ``to_tensor``.

    Returns:
        channels × 256.

    Raises:
        ValueError: neither one number nor one per channel, or a deviation that is zero in float32.
    """
    for name, numbers in (("mean", mean), ("std", std)):
        if len(numbers) not in (1, channels):
            raise ValueError(f"{name} has {counted(len(numbers), 'value')} for {counted(channels, 'channel')}")
    with np.errstate(over="ignore", invalid="ignore"):  # whoever calls looks whether the values are finite
        means, deviations = (np.array(one, dtype=np.float64).astype(np.float32)[:, None] for one in (mean, std))
        if not deviations.all():
            raise ValueError("std has a zero, by which nothing can be divided")
        values: ValueTables_f32 = (scaled - means) / deviations
    return np.broadcast_to(values, (channels, len(scaled)))


def resized(pixels: ImageHWC_u8, size: Size, resample: Image.Resampling) -> ImageHWC_u8:
    """Pillow 12's resize, antialiased: width first, but a height of more than 100 widths is shrunk first.

    Args:
        pixels: height × width × channels (3 or 1), 0..255.
        size: height and width of the result.
        resample: the filter.

    Returns:
        The same of another size; ``pixels`` when they have it.

    Raises:
        ImageError: a side is too long, or a pass too large.
    """
    height, width = pixels.shape[:2]
    return interpolated_pixels(pixels, size, resample, height_first=height > 100 * width and size.height < height)


def in_window(pixels: ImageHWC_u8, table: ValueTable_f32 | ValueTables_f32, window: Size) -> ImageCHW_f32:
    """Values of an image in the top left corner of a window: the rest is zero, what lies beyond is cut off."""
    inside = pixels[: window.height, : window.width]
    height, width, channels = inside.shape
    if (height, width) == window:
        return look_up(inside, table)
    values = np.zeros((channels, *window), dtype=np.float32)
    look_up(inside, table, out=values[:, :height, :width])
    return values


def centred(pixels: ImageHWC_u8, size: Size) -> ImageHWC_u8:
    """The middle of an image (``CenterCrop``); halves are rounded to even."""
    top = round((pixels.shape[0] - size.height) / 2)
    left = round((pixels.shape[1] - size.width) / 2)
    return pixels[top : top + size.height, left : left + size.width]


def longest_side_size(size: Size, longest: int) -> Size:
    """Size with the longer side at ``longest``, by way of the shorter one: the longer may come out off by some.

    A side of zero pixels stands for an image that is too narrow.
    """
    short, long = min(size), max(size)
    return _by_short_side(size, round(longest * short / long))


def shortest_side_size(size: Size, shortest: int, longest: int) -> Size:
    """Size with the shorter side at ``shortest``, or smaller where the longer one would exceed ``longest``."""
    short, long = float(min(size)), float(max(size))
    if long / short * shortest > longest:
        shortest = round(longest * short / long)
    return _by_short_side(size, shortest)


def shorter_edge_size(size: Size, edge: int) -> Size:
    """Size of torchvision's ``Resize`` given one number: the shorter side has it, the longer one is truncated."""
    short, long = min(size), max(size)
    other = int(edge * long / short)
    return Size(other, edge) if size.width <= size.height else Size(edge, other)


def _by_short_side(size: Size, short: int) -> Size:
    height, width = size
    if short == min(size):
        return size
    if width < height:
        return Size(int(short * height / width), short)
    return Size(short, int(short * width / height))
