from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from int8cal.preprocess.normalise import HALF_VALUES, look_up
from int8cal.preprocess.warp import make_canvas, warp
from int8cal.preprocess.window import Window, cut_pixels
from int8cal.types import Size

SIDES = st.integers(1, 40)


@given(SIDES, SIDES, st.integers(0, 20), st.integers(0, 20), st.integers(0, 60), st.integers(0, 60), SIDES, SIDES)
def test_a_window_is_what_the_warp_without_scale_gives(
    height: int, width: int, below: int, beside: int, left: int, top: int, rows: int, columns: int
) -> None:
    image = np.random.default_rng(height * 41 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    size = Size(height + below, width + beside)
    canvas = make_canvas(3, size, background=0.5)
    look_up(image, HALF_VALUES, canvas.inner[:, :height, :width])
    shift = np.array([[1, 0, 0], [0, 1, 0], [left, top, 1]], dtype=np.float32)
    warped = warp(canvas, shift, Size(rows, columns))
    cut = cut_pixels(image, HALF_VALUES, Window(left, top, left + columns, top + rows), size, background=0.5)
    np.testing.assert_array_equal(cut, warped)
