"""The reference's spatial transform: bilinear sampling at transformed pixel centres, float32 throughout.

The sample point of output pixel (x, y) is [x + ½, y + ½, 1] · D, divided by its third component, minus ½; with
i = floor, f = X - i along each axis::

    out = ((p00 · (1-fx)) · (1-fy) + (p01 · fx) · (1-fy)) + (p10 · (1-fx)) · fy + (p11 · fx) · fy      left to right

Pixels outside the canvas have the background value. Evidence: the ``scale`` cases of the golden set for axis-aligned
matrices; the inverse of a general one was compared with TensorFlow's on thousands of matrices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from int8cal.types import ImageCHW_f32, Matrix3x3_f32, Size

_HALF = np.float32(0.5)
_ONE = np.float32(1.0)
_BLOCK_ROWS = 32
"""Output rows made at a time: what they need stays in the processor's cache."""


class Canvas(NamedTuple):
    """What is sampled from.

    Attributes:
        bordered: channels × (height + 2) × (width + 2): the canvas with one pixel of background around it, which stands
            for everything outside.
        inner: the canvas itself, a view of ``bordered``; to be filled from the top left corner.
    """

    bordered: ImageCHW_f32
    inner: ImageCHW_f32


def make_canvas(channels: int, size: Size, background: float) -> Canvas:
    """A canvas of zeros, surrounded by the background value."""
    bordered = np.full((channels, size.height + 2, size.width + 2), background, dtype=np.float32)
    inner = bordered[:, 1:-1, 1:-1]
    inner[...] = 0.0
    return Canvas(bordered, inner)


def inverse_like_eigen(matrix: Matrix3x3_f32) -> Matrix3x3_f32:
    """Inverse in float32 with the roundings of TensorFlow's ``matrix_inverse``.

    That is Eigen's PartialPivLU (row-major, unblocked), then substitution of the identity: forward with the sum of the
    products subtracted at once, backward with one subtraction per product and the reciprocal of the diagonal. The
    result is not exactly the analytic inverse, and these last bits move sample points.

    Args:
        matrix: invertible.
    """
    lower_upper = np.array(matrix, dtype=np.float32)
    count = len(lower_upper)
    inverse = np.eye(count, dtype=np.float32)
    for step in range(count):
        pivot = step + int(np.argmax(np.abs(lower_upper[step:, step])))
        for rows in (lower_upper, inverse):
            rows[[step, pivot]] = rows[[pivot, step]]
        below = slice(step + 1, count)
        lower_upper[below, step] /= lower_upper[step, step]
        lower_upper[below, below] -= np.outer(lower_upper[below, step], lower_upper[step, below])
    for row in range(count):
        products = np.zeros(count, dtype=np.float32)
        for column in range(row):
            products += lower_upper[row, column] * inverse[column]
        inverse[row] -= products
    for row in reversed(range(count)):
        for column in range(row + 1, count):
            inverse[row] -= lower_upper[row, column] * inverse[column]
        inverse[row] *= _ONE / lower_upper[row, row]
    return inverse


def warp(canvas: Canvas, matrix: Matrix3x3_f32, size: Size) -> ImageCHW_f32:
    """Sample the canvas at transformed pixel centres.

    Args:
        canvas: what is sampled.
        matrix: D, which maps output points to canvas points (row vectors).
        size: of the result.

    Returns:
        channels × height × width, C-contiguous.
    """
    if matrix[0, 1] == matrix[0, 2] == matrix[1, 0] == matrix[1, 2] == 0 and matrix[2, 2] == 1:
        return _warp_axis_aligned(canvas, matrix, size)
    return _warp_projective(canvas, matrix, size)


class _Taps(NamedTuple):
    """For each sample point along an axis the pixels beside it, counted in the bordered canvas, and their weights."""

    first: npt.NDArray[np.intp]
    second: npt.NDArray[np.intp]
    first_weight: npt.NDArray[np.float32]
    second_weight: npt.NDArray[np.float32]


def _taps(points: npt.NDArray[np.float32], length: int) -> _Taps:
    low = np.floor(points)
    fraction = points - low
    first = np.clip(low, -1, length).astype(np.intp)  # clipped before the conversion: far points would overflow
    second = np.clip(low + _ONE, -1, length).astype(np.intp)
    return _Taps(first + 1, second + 1, _ONE - fraction, fraction)


def _centres(count: int) -> npt.NDArray[np.float32]:
    return np.arange(count, dtype=np.float32) + _HALF


def _warp_axis_aligned(canvas: Canvas, matrix: Matrix3x3_f32, size: Size) -> ImageCHW_f32:
    """Without shear, turn or perspective the two axes are independent."""
    channels, height, width = canvas.inner.shape
    columns = _taps((matrix[0, 0] * _centres(size.width) + matrix[2, 0]) - _HALF, width)
    rows = _taps((matrix[1, 1] * _centres(size.height) + matrix[2, 1]) - _HALF, height)
    out = np.empty((channels, *size), dtype=np.float32)
    for begin in range(0, size.height, _BLOCK_ROWS):
        block = slice(begin, begin + _BLOCK_ROWS)
        needed, place = np.unique(np.concatenate([rows.first[block], rows.second[block]]), return_inverse=True)
        first, second = np.split(place, 2)
        first_weight, second_weight = rows.first_weight[block, np.newaxis], rows.second_weight[block, np.newaxis]
        for channel in range(channels):
            values = canvas.bordered[channel, needed]
            left = values.take(columns.first, axis=1) * columns.first_weight
            right = values.take(columns.second, axis=1) * columns.second_weight
            total = left.take(first, axis=0) * first_weight
            total += right.take(first, axis=0) * first_weight
            total += left.take(second, axis=0) * second_weight
            total += right.take(second, axis=0) * second_weight
            out[channel, block] = total
    return out


def _warp_projective(canvas: Canvas, matrix: Matrix3x3_f32, size: Size) -> ImageCHW_f32:
    channels, height, width = canvas.inner.shape
    out = np.empty((channels, *size), dtype=np.float32)
    x, y = _centres(size.width), _centres(size.height)
    for begin in range(0, size.height, _BLOCK_ROWS):
        block = slice(begin, begin + _BLOCK_ROWS)
        across, down = x[np.newaxis], y[block, np.newaxis]
        point_x, point_y, point_z = ((row[0] * across + row[1] * down) + row[2] for row in matrix.T)
        columns = _taps(point_x / point_z - _HALF, width)
        rows = _taps(point_y / point_z - _HALF, height)
        for channel, values in enumerate(canvas.bordered):
            total = values[rows.first, columns.first] * columns.first_weight * rows.first_weight
            total += values[rows.first, columns.second] * columns.second_weight * rows.first_weight
            total += values[rows.second, columns.first] * columns.first_weight * rows.second_weight
            total += values[rows.second, columns.second] * columns.second_weight * rows.second_weight
            out[channel, block] = total
    return out
