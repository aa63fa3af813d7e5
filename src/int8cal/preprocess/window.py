"""A window cut from a canvas in whole pixels: crop, padding and background, nothing interpolated.

This is what the reference's bilinear warp amounts to when there is no scale: every sample point falls on a pixel, so
that the interpolation is an exact copy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from int8cal.preprocess.normalise import look_up
from int8cal.types import ImageCHW_f32, ImageHWC_u8, Size, ValueTable_f32


class Window(NamedTuple):
    """A rectangle in pixels; right and bottom are outside of it. It may reach beyond the canvas."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> Size:
        """Its height and width."""
        return Size(self.bottom - self.top, self.right - self.left)


def cut_pixels(
    image: ImageHWC_u8, table: ValueTable_f32, window: Window, canvas: Size, background: float
) -> ImageCHW_f32:
    """Values of a window of the canvas at whose top left corner the image lies.

    Args:
        image: height × width × channels, 0..255; no larger than the canvas.
        table: value of each pixel level.
        window: what to cut, in canvas pixels.
        canvas: its size; where the image does not reach, it is 0.
        background: value outside the canvas.

    Returns:
        channels × window height × window width, C-contiguous.
    """
    size = Size(image.shape[0], image.shape[1])
    if window == (0, 0, size.width, size.height):
        return look_up(image, table)
    out, source, target = _frame(image.shape[2], window, size, canvas, background)
    look_up(image[source], table, out[:, *target])
    return out


def cut_values(values: ImageCHW_f32, window: Window, background: float) -> ImageCHW_f32:
    """A window of an image of values; the image is the canvas.

    Args:
        values: channels × height × width.
        window: what to cut, in pixels.
        background: value outside the image.

    Returns:
        channels × window height × window width, C-contiguous; ``values`` itself when the window is all of it.
    """
    size = Size(values.shape[1], values.shape[2])
    if window == (0, 0, size.width, size.height):
        return np.ascontiguousarray(values)
    out, source, target = _frame(values.shape[0], window, size, size, background)
    out[:, *target] = values[:, *source]
    return out


_Slices = tuple[slice, slice]


def _frame(
    channels: int, window: Window, image: Size, canvas: Size, background: float
) -> tuple[ImageCHW_f32, _Slices, _Slices]:
    """The window filled but for the image, the part of the image that it shows, and where in the window that goes."""
    out = np.empty((channels, *window.size), dtype=np.float32)
    _, on_canvas = _overlap(window, canvas)
    source, target = _overlap(window, image)
    _fill_around(out, on_canvas, background)
    _fill_around(out[:, *on_canvas], _seen_from(on_canvas, target), 0.0)
    return out, source, target


def _overlap(window: Window, area: Size) -> tuple[_Slices, _Slices]:
    """Rows and columns of an area at the origin that the window shows: counted in the area, and in the window."""
    top, bottom = (min(max(edge, 0), area.height) for edge in (window.top, window.bottom))
    left, right = (min(max(edge, 0), area.width) for edge in (window.left, window.right))
    in_area = (slice(top, bottom), slice(left, right))
    in_window = (_shifted(top, bottom, window.top, window.bottom), _shifted(left, right, window.left, window.right))
    return in_area, in_window


def _shifted(begin: int, end: int, window_begin: int, window_end: int) -> slice:
    if begin == end:  # nothing of the area is shown: an empty slice inside the window
        edge = window_end - window_begin if begin >= window_end else 0
        return slice(edge, edge)
    return slice(begin - window_begin, end - window_begin)


def _seen_from(area: _Slices, inner: _Slices) -> _Slices:
    """Rows and columns counted from the corner of an area that holds them."""
    (rows, columns), (top, left) = inner, (part.start for part in area)
    return slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)


def _fill_around(out: ImageCHW_f32, inner: _Slices, value: float) -> None:
    rows, columns = inner
    out[:, : rows.start] = value
    out[:, rows.stop :] = value
    out[:, rows, : columns.start] = value
    out[:, rows, columns.stop :] = value
