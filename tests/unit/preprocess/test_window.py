from __future__ import annotations

import numpy as np
import pytest

from int8cal.preprocess.window import Window, cut_pixels, cut_values
from int8cal.types import Size

LEVELS = np.arange(256, dtype=np.float32)
IMAGE = np.arange(1, 25, dtype=np.uint8).reshape(4, 6, 1)
CANVAS = Size(5, 8)

WINDOWS = [
    Window(0, 0, 8, 5),
    Window(0, 0, 6, 4),
    Window(2, 1, 5, 3),
    Window(3, 2, 12, 9),
    Window(0, 0, 1, 1),
    Window(6, 4, 9, 6),
    Window(20, 30, 22, 33),
    Window(7, 0, 9, 2),
]


@pytest.mark.parametrize("window", WINDOWS)
def test_image_padding_and_background(window: Window) -> None:
    plane = np.full((40, 30), 0.5, dtype=np.float32)
    plane[:5, :8] = 0.0
    plane[:4, :6] = IMAGE[:, :, 0]
    expected = plane[window.top : window.bottom, window.left : window.right]
    result = cut_pixels(IMAGE, LEVELS, window, CANVAS, background=0.5)
    np.testing.assert_array_equal(result, [expected])
    assert result.flags.c_contiguous
    assert result.dtype == np.float32


@pytest.mark.parametrize("window", WINDOWS)
def test_values_are_cut_in_the_same_way(window: Window) -> None:
    values = np.random.default_rng(0).random((3, 5, 8), dtype=np.float32)
    plane = np.full((3, 40, 30), 0.25, dtype=np.float32)
    plane[:, :5, :8] = values
    expected = plane[:, window.top : window.bottom, window.left : window.right]
    np.testing.assert_array_equal(cut_values(values, window, background=0.25), expected)
