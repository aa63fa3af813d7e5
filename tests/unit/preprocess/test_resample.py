from __future__ import annotations

import numpy as np
import pytest

from int8cal.preprocess.normalise import SINGLE_VALUES
from int8cal.preprocess.resample import limited_size, resize_bilinear_legacy
from int8cal.types import Size

LEVELS = np.arange(256, dtype=np.float32)


def test_values_worked_out_by_hand() -> None:
    """2×3 → 4×2: rows at 0, ½, 1, 1½ (the last beyond the last pixel), columns at 0 and 1½."""
    image = np.array([[[10], [20], [40]], [[50], [60], [100]]], dtype=np.uint8)
    expected = [[10, 30], [30, 55], [50, 80], [50, 80]]
    np.testing.assert_array_equal(resize_bilinear_legacy(image, LEVELS, Size(4, 2)), [expected])


def test_same_size_is_an_exact_copy() -> None:
    image = np.random.default_rng(0).integers(0, 256, (70, 9, 3), dtype=np.uint8)
    resized = resize_bilinear_legacy(image, SINGLE_VALUES, Size(70, 9))
    np.testing.assert_array_equal(resized, SINGLE_VALUES[image].transpose(2, 0, 1))
    assert resized.flags.c_contiguous


@pytest.mark.parametrize("size", [Size(1, 1), Size(7, 130), Size(200, 3), Size(33, 64)])
def test_each_output_pixel_follows_the_formula(size: Size) -> None:
    image = np.random.default_rng(1).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    resized = resize_bilinear_legacy(image, LEVELS, size)
    f32 = np.float32
    for y, x in {(0, 0), (size.height - 1, size.width - 1), (size.height // 2, size.width // 3)}:
        at_y, at_x = f32(y) * (f32(37) / f32(size.height)), f32(x) * (f32(53) / f32(size.width))
        y0, x0 = int(at_y), int(at_x)
        y1, x1 = min(y0 + 1, 36), min(x0 + 1, 52)
        fy, fx = at_y - f32(y0), at_x - f32(x0)
        v = LEVELS[image]
        top = v[y0, x0] + (v[y0, x1] - v[y0, x0]) * fx
        bottom = v[y1, x0] + (v[y1, x1] - v[y1, x0]) * fx
        np.testing.assert_array_equal(resized[:, y, x], top + (bottom - top) * fy)


def test_limited_size_keeps_the_reference_s_rounding() -> None:
    assert limited_size(Size(427, 640), 320, 960) == (320, 479)
    assert limited_size(Size(640, 427), 320, 960) == (479, 320)
    assert limited_size(Size(100, 1000), 320, 960) == (96, 960)
    assert limited_size(Size(300, 300), 64, 64) == (64, 64)
