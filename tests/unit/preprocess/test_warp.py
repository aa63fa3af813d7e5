from __future__ import annotations

import numpy as np
import pytest

from int8cal.preprocess.warp import inverse_like_eigen, make_canvas, warp
from int8cal.types import Matrix3x3_f32, Size

F32 = np.float32


def matrix(across: float, down: float, left: float = 0, top: float = 0) -> Matrix3x3_f32:
    return np.array([[across, 0, 0], [0, down, 0], [left, top, 1]], dtype=np.float32)


def sample_one(plane: np.ndarray, background: float, d: Matrix3x3_f32, x: int, y: int) -> np.float32:
    """The formula of the module, one pixel at a time."""
    fx, fy = F32(x) + F32(0.5), F32(y) + F32(0.5)
    px, py, pz = ((d[0, axis] * fx + d[1, axis] * fy) + d[2, axis] for axis in range(3))
    px, py = px / pz - F32(0.5), py / pz - F32(0.5)
    x0, y0 = int(np.floor(px)), int(np.floor(py))
    bx, by = px - F32(x0), py - F32(y0)
    ax, ay = F32(1) - bx, F32(1) - by

    def at(yy: int, xx: int) -> np.float32:
        inside = 0 <= yy < plane.shape[0] and 0 <= xx < plane.shape[1]
        return F32(plane[yy, xx]) if inside else F32(background)

    total = at(y0, x0) * ax * ay
    total += at(y0, x0 + 1) * bx * ay
    total += at(y0 + 1, x0) * ax * by
    return total + at(y0 + 1, x0 + 1) * bx * by


@pytest.mark.parametrize(
    "d",
    [
        matrix(1, 1),
        matrix(1.7, 0.6, 3.25, -2.5),
        matrix(0.31, 2.9, -4, 30),
        np.array([[1.1, 0.05, 1e-3], [-0.07, 0.9, 2e-3], [2.0, 1.0, 1.0]], dtype=np.float32),
    ],
)
def test_each_output_pixel_follows_the_formula(d: Matrix3x3_f32) -> None:
    canvas = make_canvas(2, Size(13, 17), background=0.5)
    canvas.inner[...] = np.random.default_rng(0).random((2, 13, 17), dtype=np.float32)
    result = warp(canvas, d, Size(70, 19))
    assert result.flags.c_contiguous
    for y in range(0, 70, 3):
        for x in range(19):
            for channel in range(2):
                assert result[channel, y, x] == sample_one(canvas.inner[channel], 0.5, d, x, y)


def test_without_scale_it_is_an_exact_copy() -> None:
    canvas = make_canvas(1, Size(6, 5), background=0.5)
    canvas.inner[...] = np.random.default_rng(0).random((1, 6, 5), dtype=np.float32)
    result = warp(canvas, matrix(1, 1, 2, 1), Size(6, 5))
    np.testing.assert_array_equal(result[:, :5, :3], canvas.inner[:, 1:, 2:])
    assert (result[:, 5:] == 0.5).all()
    assert (result[:, :, 3:] == 0.5).all()


def test_points_far_outside_are_background() -> None:
    canvas = make_canvas(1, Size(2, 2), background=0.5)
    assert (warp(canvas, matrix(1e6, 1e6, 1e30, -1e30), Size(3, 3)) == 0.5).all()


def test_inverse_has_the_reference_s_last_bits() -> None:
    inverse = inverse_like_eigen(np.array([[0.6, 0, 0], [0, 0.45, 0], [-13, -7, 1]], dtype=np.float32))
    bits = [[f"{word:08x}" for word in row] for row in inverse.view(np.uint32).tolist()]
    assert bits == [
        ["3fd55555", "b39d89d9", "80000000"],
        ["00000000", "400e38e4", "00000000"],
        ["41ad5555", "4178e38e", "3f800000"],
    ]


def test_inverse_of_a_crop_is_exact() -> None:
    inverse = inverse_like_eigen(np.array([[1, 0, 0], [0, 1, 0], [-16, -8, 1]], dtype=np.float32))
    np.testing.assert_array_equal(inverse, [[1, 0, 0], [0, 1, 0], [16, 8, 1]])
