"""Normalisations that networks are trained with, and the one that a manifest states.

A network input is made of pixels 0..255 by ``value = (pixel − mean) × scale``, per channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from int8cal.errors import TensorFileError
from int8cal.preprocess.imagenet import CAFFE_MEAN_BGR, CAFFE_MEAN_GREY, PreprocessMode, pixel_terms
from int8cal.tensorfile.arithmetic import stated_arithmetic

_LARGEST_GREY = 65535
"""Largest pixel of 16-bit grey, which classification keeps."""

_EDGE = 0.4
"""Share of a range, at either end, that some pixel of any set of photographs lies in."""


@dataclass(frozen=True)
class Normalisation:
    """How pixels become values.

    Attributes:
        title: what people call it.
        channel_order: ``RGB``, ``BGR`` or ``grey``; empty when it says nothing.
        means: pixel value that becomes 0, per channel in the order of the file; one for all channels or one for each.
        scales: value per pixel level, likewise.
        largest: largest pixel value: 255, or 65535 for 16-bit grey.
        is_mean_known: whether the means are known; otherwise the range is that of every mean that there can be.
    """

    title: str
    channel_order: str
    means: tuple[float, ...]
    scales: tuple[float, ...]
    largest: int = 255
    is_mean_known: bool = True

    @property
    def low(self) -> npt.NDArray[np.float64]:
        """Value of a pixel of 0, per channel."""
        return self.value(0)

    @property
    def high(self) -> npt.NDArray[np.float64]:
        """Value of the largest pixel, per channel."""
        return self.value(self.largest)

    def value(self, pixel: float) -> npt.NDArray[np.float64]:
        """The value of a pixel, per channel."""
        values: npt.NDArray[np.float64] = (pixel - np.array(self.means)) * np.array(self.scales)
        return values

    def contains(self, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> bool:
        """Whether values of these ranges, per channel, can come out of it (up to rounding)."""
        slack = 1e-3 * (self.high - self.low)
        return bool((low >= self.low - slack).all() and (high <= self.high + slack).all())

    def narrowed(self, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> Normalisation:
        """Itself for 8-bit pixels, when these ranges can come out of those."""
        eight_bit = replace(self, largest=255)
        return eight_bit if eight_bit.contains(low, high) else self

    def is_filled_by(self, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> bool:
        """Whether values of these ranges look like pixels of it: dark and bright ones are among them.

        16-bit pixels tell nothing: few cameras use all of their range.
        """
        if not self.is_mean_known:
            return bool((high - low).max() <= 1.01 * 255)
        edge = _EDGE * float((self.high - self.low).max())
        return self.largest != 255 or bool(low.min() < self.low.min() + edge and high.max() > self.high.max() - edge)

    @property
    def range_text(self) -> str:
        """Its range for people: ``-123.7..151.1``."""
        return range_text(self.low.min(), self.high.max())


def range_text(low: float, high: float) -> str:
    """A range of values for people."""
    return f"{low + 0.0:.4g}..{high + 0.0:.4g}"  # + 0.0: no negative zero


def _imagenet(
    title: str, channel_order: str, mode: PreprocessMode, *, channels: int, mean: tuple[float, ...] = ()
) -> Normalisation:
    """A mode of `int8cal.preprocess.imagenet`; its means are one for all channels, or one for each."""
    means, scale = pixel_terms(mode, mean, channels)
    return Normalisation(title, channel_order, tuple(means), (scale,))


_UNIT = Normalisation("pixels / 255 (DetectNet_v2)", "", (0.0,), (1 / 255,))
_TF = _imagenet("pixels / 127.5 - 1 (tf)", "", "tf", channels=1)
_ANY_MEAN = Normalisation("pixels minus a mean, not scaled", "", (255.0,), (1.0,), 510, is_mean_known=False)
"""Whatever the mean is: values from -255, those of 0 less a mean of 255, to 255."""

_COLOUR = (
    _UNIT,
    _TF,
    _imagenet("(pixels / 255 - mean) / 0.224, RGB (torch)", "RGB", "torch", channels=3),
    _imagenet("pixels minus the ImageNet mean, BGR (caffe)", "BGR", "caffe", channels=3, mean=CAFFE_MEAN_BGR),
)
_GREY = (
    _UNIT,
    _TF,
    _imagenet("(pixels / 255 - 0.449) / 0.224 (torch)", "grey", "torch", channels=1),
    _imagenet("grey minus the ImageNet mean (caffe)", "grey", "caffe", channels=1, mean=CAFFE_MEAN_GREY),
)
_GREY_16_BIT = tuple(
    replace(preset, title=f"16-bit grey, {preset.title}", largest=_LARGEST_GREY) for preset in _GREY[1:]
)


def resembling(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> Normalisation | None:
    """The known normalisation with the narrowest range that holds these ranges; None when there is none.

    Args:
        low: smallest value of each channel.
        high: largest value of each channel.
    """
    known = {1: (*_GREY, _ANY_MEAN, *_GREY_16_BIT), 3: (*_COLOUR, _ANY_MEAN)}.get(len(low), (_UNIT, _TF, _ANY_MEAN))
    return next((preset for preset in known if preset.contains(low, high)), None)


def stated(manifest: Mapping[str, Any] | None, channels: int) -> Normalisation | None:
    """The normalisation that a manifest states; None when it states none, or one that cannot be.

    Args:
        manifest: see `int8cal.tensorfile.arithmetic.stated_arithmetic`.
        channels: number of channels of the file.
    """
    try:
        arithmetic = stated_arithmetic(manifest or {}, channels)
    except TensorFileError:
        return None  # which is reported of the manifest itself
    if arithmetic is None:
        return None
    largest = 255 if arithmetic.is_eight_bit else _LARGEST_GREY
    return Normalisation(arithmetic.name, arithmetic.channel_order, arithmetic.mean, arithmetic.scale, largest)
