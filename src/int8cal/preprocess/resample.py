"""Bilinear resizing as TensorFlow 1's ``resize_images`` does it by default: no aligned corners, no half-pixel centres.

Along each axis, with n_in and n_out pixels, all in float32 (resize_bilinear_op.cc)::

    p = i · (n_in / n_out)      low = floor(p)      high = min(low + 1, n_in - 1)      f = p - low

    top    = v[low_y, low_x]  + (v[low_y, high_x]  - v[low_y, low_x])  · fx
    bottom = v[high_y, low_x] + (v[high_y, high_x] - v[high_y, low_x]) · fx
    out    = top + (bottom - top) · fy

Evidence: the ``auto`` and ``minmax`` cases of the golden set.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from int8cal import native
from int8cal.native import Axis
from int8cal.preprocess.half import round_to_half
from int8cal.preprocess.normalise import look_up
from int8cal.types import ImageCHW_f32, ImageHWC_u8, Size, ValueTable_f32

_BLOCK_ROWS = 32
"""Output rows made at a time: what they need stays in the processor's cache."""


def resize_bilinear_legacy(
    image: ImageHWC_u8, table: ValueTable_f32, size: Size, *, half: bool = False
) -> ImageCHW_f32:
    """Values of an image, resized; the aspect ratio is not kept.

    Args:
        image: height × width × channels, 0..255.
        table: value of each pixel level.
        size: of the result.
        half: round the results to half precision, which their magnitude must allow (`int8cal.preprocess.half`).

    Returns:
        channels × height × width, C-contiguous, in the range of the table.
    """
    rows, columns = _axis(image.shape[0], size.height), _axis(image.shape[1], size.width)
    if (done := native.resized(image, table, rows, columns, half=half)) is not None:
        return done
    out = np.empty((image.shape[2], *size), dtype=np.float32)
    for begin in range(0, size.height, _BLOCK_ROWS):
        block = slice(begin, begin + _BLOCK_ROWS)
        needed, place = np.unique(np.concatenate([rows.low[block], rows.high[block]]), return_inverse=True)
        low, high = np.split(place, 2)
        fraction = rows.fraction[block, np.newaxis]
        for channel, values in enumerate(look_up(image[needed], table)):
            across = _interpolate(values.take(columns.low, axis=1), values.take(columns.high, axis=1), columns.fraction)
            out[channel, block] = _interpolate(across.take(low, axis=0), across.take(high, axis=0), fraction)
    if half:
        round_to_half(out)
    return out


def limited_size(recorded: Size, shortest: int, longest: int) -> Size:
    """Size with the shorter side ``shortest``, unless the longer side would exceed ``longest``; aspect ratio kept.

    Computed in float32 and cut to integers in the order of the reference, which is not quite the shortest side asked
    for: 640×427 with 320 and 960 becomes 479×320.

    Args:
        recorded: size before; both sides at least 1.
        shortest: wanted length of the shorter side.
        longest: limit of the longer side.
    """
    height, width, short, long = (np.float32(length) for length in (*recorded, shortest, longest))
    if recorded.height <= recorded.width:
        by_short = (int(short), int((short / height) * width))
        by_long = (int((long / width) * height), int(long))
    else:
        by_short = (int((short / width) * height), int(short))
        by_long = (int(long), int((long / height) * width))
    return Size(min(by_short[0], by_long[0]), min(by_short[1], by_long[1]))


def _axis(n_in: int, n_out: int) -> Axis:
    positions = np.arange(n_out, dtype=np.float32) * (np.float32(n_in) / np.float32(n_out))
    low = np.floor(positions)
    first = low.astype(np.int64)
    # Rounding of the factor may carry the last positions to n_in or beyond on very long axes.
    return Axis(np.minimum(first, n_in - 1), np.minimum(first + 1, n_in - 1), positions - low)


def _interpolate(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32], fraction: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Value at a fraction of the way: first + (second - first) · fraction, in the memory of the two."""
    second -= first
    second *= fraction
    first += second
    return first
