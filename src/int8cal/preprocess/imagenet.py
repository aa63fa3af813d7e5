"""Pixels → network input as ImageNet networks are trained: caffe, torch and tf modes. All arithmetic in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from int8cal.types import ImageCHW_f32

PreprocessMode: TypeAlias = Literal["caffe", "torch", "tf"]

CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
"""Mean pixel of ImageNet, blue, green, red, on the scale 0..255."""

CAFFE_MEAN_GREY = (117.3786,)
"""Mean grey value of ImageNet on the scale 0..255."""

_TORCH_MEAN = {3: (0.485, 0.456, 0.406), 1: (0.449,)}
_TORCH_STD = 0.224
"""One for all channels: the reference's array code knows no other, although its unused symbolic code has three."""


def pixel_terms(mode: PreprocessMode, mean: Sequence[float], channels: int) -> tuple[list[float], float]:
    """(mean per channel, scale) with value = (pixel − mean) · scale, for the record; the functions below round.

    Args:
        mode: which of them.
        mean: what `caffe` is given; not used in the other modes.
        channels: 3 or 1.
    """
    if mode == "caffe":
        return list(mean), 1.0
    if mode == "torch":
        return [255 * value for value in _TORCH_MEAN[channels]], 1 / (255 * _TORCH_STD)
    return [127.5] * channels, 1 / 127.5


def channels_first(pixels: npt.NDArray[np.generic]) -> ImageCHW_f32:
    """Height × width (× channels) of any type → channels × height × width, float32, C-contiguous, a new array."""
    planes = pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return np.array(planes, dtype=np.float32, order="C")


def caffe(planes: ImageCHW_f32, mean: Sequence[float]) -> ImageCHW_f32:
    """X − mean, in place.

    Args:
        planes: values 0..255, channels in the order of ``mean`` (blue, green, red).
        mean: one number per channel, rounded to float32 before use.
    """
    planes -= np.array(mean, dtype=np.float32)[:, None, None]
    return planes


def torch(planes: ImageCHW_f32) -> ImageCHW_f32:
    """(x / 255 − mean) / 0.224, in place; values 0..255, red, green, blue, or grey."""
    planes /= np.float32(255)
    planes -= np.array(_TORCH_MEAN[len(planes)], dtype=np.float32)[:, None, None]
    planes /= np.float32(_TORCH_STD)
    return planes


def tf(planes: ImageCHW_f32) -> ImageCHW_f32:
    """X / 127.5 − 1, in place; values 0..255 become −1..1."""
    planes /= np.float32(127.5)
    planes -= np.float32(1)
    return planes
