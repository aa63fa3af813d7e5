"""Pillow's antialiased resize of bytes, by the kernels: its filters as weights in fixed point.

Of an axis that goes from n positions to m, result x is a weighted sum of neighbours, rounded to a byte; the filter's
support grows with the reduction. With scale = n / m and stretch = max(scale, 1)::

    centre     = (x + 0.5) · scale
    neighbours = int(centre − support · stretch + 0.5) … int(centre + support · stretch + 0.5), inside the axis
    weight(t)  = filter((t − centre + 0.5) / stretch), divided by the sum of all
    result     = (2²¹ + Σ pixel · round(2²² · weight)) >> 22, clipped to 0..255

Source: Pillow 12, ``src/libImaging/Resample.c``; compared with Pillow bit for bit in the tests. The sines of
Lanczos are the C library's, as Pillow's are: NumPy has others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from int8cal import native
from int8cal.types import ImageHWC_u8, Size

_Numbers: TypeAlias = npt.NDArray[np.float64]

_PRECISION = 22
_MAX_WEIGHTS = 1 << 16
"""Of an axis, which are kept for the next images: more are left to Pillow, which frees their memory at once."""


def _bilinear(x: _Numbers) -> _Numbers:
    x = np.abs(x)
    return np.where(x < 1, 1 - x, 0)


def _bicubic(x: _Numbers) -> _Numbers:
    x, a = np.abs(x), -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _lanczos(x: _Numbers) -> _Numbers:
    return np.where((x >= -3) & (x < 3), _sinc(x) * _sinc(x / 3), 0)


def _sinc(x: _Numbers) -> _Numbers:
    angles = x * math.pi
    sines = np.array([math.sin(angle) for angle in angles.flat]).reshape(x.shape)
    quotients: _Numbers = np.divide(sines, angles, out=np.ones_like(x), where=x != 0)
    return quotients


_FILTERS: Final[Mapping[Image.Resampling, tuple[Callable[[_Numbers], _Numbers], float]]] = {
    Image.Resampling.BILINEAR: (_bilinear, 1.0),
    Image.Resampling.BICUBIC: (_bicubic, 2.0),
    Image.Resampling.LANCZOS: (_lanczos, 3.0),
}
"""Filter and its support."""


def antialiased(pixels: ImageHWC_u8, size: Size, resample: Image.Resampling) -> ImageHWC_u8 | None:
    """Resize, width first, then height.

    Args:
        pixels: height × width × channels, 0..255.
        size: height and width of the result.
        resample: the filter.

    Returns:
        size.height × size.width × channels; None where it is left to Pillow: without a library, for another filter, and
        for sides of very many pixels.
    """
    height, width, _ = pixels.shape
    if native.library() is None or resample not in _FILTERS:
        return None
    if max(_taps(width, size.width, resample) * size.width, _taps(height, size.height, resample) * size.height) > (
        _MAX_WEIGHTS
    ):
        return None
    columns = _weights(width, size.width, resample) if width != size.width else None
    rows = _weights(height, size.height, resample) if height != size.height else None
    return native.antialiased(pixels, columns, rows)


def _taps(length: int, results: int, resample: Image.Resampling) -> int:
    """Neighbours of a result, at most."""
    return 2 * int(np.ceil(_FILTERS[resample][1] * max(length / results, 1))) + 1


@lru_cache(maxsize=64)
def _weights(length: int, results: int, resample: Image.Resampling) -> native.Weights:
    """Weights of an axis. Each sum has as many neighbours as the longest, all of them inside the axis."""
    function, support = _FILTERS[resample]
    scale = length / results
    stretch = max(scale, 1.0)
    centres = (np.arange(results) + 0.5) * scale
    first = np.maximum((centres - support * stretch + 0.5).astype(np.int64), 0)
    counts = np.minimum((centres + support * stretch + 0.5).astype(np.int64), length) - first
    taps = int(counts.max())
    steps = np.arange(taps)
    values = function((steps + first[:, np.newaxis] - centres[:, np.newaxis] + 0.5) * (1 / stretch))
    values[steps >= counts[:, np.newaxis]] = 0
    sums = np.add.accumulate(values, axis=1)[:, -1:]  # one after the other, as Pillow adds them
    values = np.divide(values, sums, out=values, where=sums != 0) * (1 << _PRECISION)
    fixed = np.where(values < 0, values - 0.5, values + 0.5).astype(np.int32)
    start = np.minimum(first, length - taps)
    moved = np.zeros_like(fixed)
    places = steps + (first - start)[:, np.newaxis]
    inside = places < taps
    moved[np.nonzero(inside)[0], places[inside]] = fixed[inside]
    return native.Weights(start.astype(np.int32), moved)
