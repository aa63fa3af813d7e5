"""torchvision's arithmetic against a second statement of it, pixel by pixel in Python, and the sizes by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from int8cal.preprocess.normalise import SINGLE_VALUES
from int8cal.preprocess.stretch import interpolated
from int8cal.preprocess.torchvision import (
    centred,
    in_window,
    longest_side_size,
    normalised,
    resized,
    shorter_edge_size,
    shortest_side_size,
)
from int8cal.types import Size

f = np.float32


def test_values_are_divided_and_rounded_twice() -> None:
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    table = normalised(mean, std, 3)
    for channel in range(3):
        for level in range(256):
            t = f(level) / f(255)
            assert table[channel, level] == f(f(t - f(mean[channel])) / f(std[channel]))
    assert float(table.min()) == pytest.approx(-2.118, abs=1e-3)
    assert float(table.max()) == pytest.approx(2.640, abs=1e-3)


def test_division_and_multiplication_differ_for_126_levels() -> None:
    divided = np.arange(256, dtype=f) / f(255)
    assert int((divided != SINGLE_VALUES).sum()) == 126


def test_one_number_is_for_all_channels() -> None:
    np.testing.assert_array_equal(normalised([0.5], [0.25], 3), normalised([0.5] * 3, [0.25] * 3, 3))
    assert normalised([0.5], [0.5], 1).shape == (1, 256)


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ([0.5, 0.5], [1.0]),
        ([0.5], [1.0, 1.0]),
        ([], [1.0]),
        ([0.5] * 4, [1.0]),
        ([0.5], [0.0]),
        ([0.5], [1, 0, 1]),
        ([0.5], [1e-60]),
    ],
)
def test_numbers_that_fit_no_image(mean: list[float], std: list[float]) -> None:
    with pytest.raises(ValueError, match=r"mean has|std has"):
        normalised(mean, std, 3)


def weights(length: int, count: int, support: float, kernel: object) -> list[tuple[int, list[int]]]:
    """Pillow's weights of one pass: double precision, then 22 bits of fraction."""
    scale = length / count
    wide = max(scale, 1.0)
    reach = support * wide
    found = []
    for place in range(count):
        centre = (place + 0.5) * scale
        first = max(int(centre - reach + 0.5), 0)
        last = min(int(centre + reach + 0.5), length)
        line = [kernel((first + one - centre + 0.5) / wide) for one in range(last - first)]  # type: ignore[operator]
        total = sum(line)
        line = [one / total for one in line]
        found.append((first, [int(one * (1 << 22) + (0.5 if one >= 0 else -0.5)) for one in line]))
    return found


def bilinear(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def bicubic(x: float) -> float:
    a, x = -0.5, abs(x)
    if x < 1:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def one_pass(rows: np.ndarray, count: int, support: float, kernel: object) -> np.ndarray:
    """Along the last axis."""
    columns = []
    for first, line in weights(rows.shape[-1], count, support, kernel):
        total = (rows[..., first : first + len(line)].astype(np.int64) * np.array(line)).sum(-1) + (1 << 21)
        columns.append(np.clip(total >> 22, 0, 255))
    return np.stack(columns, axis=-1).astype(np.uint8)


def restated(pixels: np.ndarray, size: Size, support: float, kernel: object) -> np.ndarray:
    planes = pixels.transpose(2, 0, 1)
    height, width = pixels.shape[:2]

    def across(values: np.ndarray) -> np.ndarray:
        return values if values.shape[2] == size.width else one_pass(values, size.width, support, kernel)

    def down(values: np.ndarray) -> np.ndarray:
        if values.shape[1] == size.height:
            return values
        return one_pass(values.transpose(0, 2, 1), size.height, support, kernel).transpose(0, 2, 1)

    tall = height > 100 * width and size.height < height
    return (across(down(planes)) if tall else down(across(planes))).transpose(1, 2, 0)


def test_resizes_are_those_of_a_second_statement() -> None:
    dice = np.random.default_rng(7)
    sides = [1, 2, 3, 7, 16, 31, 64, 101]
    for number in range(120):
        height, width, high, wide = (int(dice.choice(sides)) for _ in range(4))
        if number % 10 == 0:
            height, width, high = 300, 2, 40
        pixels = dice.integers(0, 256, (height, width, 3), dtype=np.uint8)
        size = Size(high, wide)
        for resample, support, kernel in (
            (Image.Resampling.BILINEAR, 1.0, bilinear),
            (Image.Resampling.BICUBIC, 2.0, bicubic),
        ):
            np.testing.assert_array_equal(resized(pixels, size, resample), restated(pixels, size, support, kernel))


def test_the_order_of_the_passes_decides() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 2, 3), dtype=np.uint8)
    size = Size(40, 30)
    height_first = resized(pixels, size, Image.Resampling.BILINEAR)
    width_first = np.asarray(interpolated(Image.fromarray(pixels), size, Image.Resampling.BILINEAR))
    assert (height_first != width_first).any()


def test_windows_pad_with_zeros_and_cut() -> None:
    pixels = np.full((3, 4, 1), 255, np.uint8)
    table = np.linspace(0, 1, 256, dtype=f)[np.newaxis]
    values = in_window(pixels, table, Size(5, 2))
    assert values.shape == (1, 5, 2)
    assert values[0].tolist() == [[1, 1], [1, 1], [1, 1], [0, 0], [0, 0]]
    assert in_window(pixels, table, Size(3, 4)).flags.c_contiguous


@pytest.mark.parametrize(
    ("length", "want", "first"), [(5, 2, 2), (7, 4, 2), (4, 3, 0), (6, 3, 2), (36, 32, 2), (8, 7, 0)]
)
def test_crops_round_halves_to_even(length: int, want: int, first: int) -> None:
    line = np.arange(length, dtype=np.uint8)[:, np.newaxis, np.newaxis]
    assert centred(line, Size(want, 1))[0, 0, 0] == first


def test_sizes_against_exact_fractions() -> None:
    dice = np.random.default_rng(5)
    for _ in range(300):
        size = Size(*(int(one) for one in dice.integers(1, 2000, 2)))
        limit = int(dice.integers(8, 900))
        low, high = min(size), max(size)
        short = round(limit * low / high)
        found = longest_side_size(size, limit)
        assert min(found) in (short, low) or short == 0
        if min(size) == short:
            assert found == size
        elif short:
            assert abs(max(found) - limit) <= Fraction(high, low) + 1
        edge = shorter_edge_size(size, limit)
        assert min(edge) == limit
        assert max(edge) == math.floor(limit * high / low)
        fitted = shortest_side_size(size, limit, 1000)
        assert min(fitted) <= limit


@pytest.mark.parametrize(
    ("size", "found"),
    [(Size(480, 640), Size(800, 1066)), (Size(640, 480), Size(1066, 800)), (Size(100, 900), Size(148, 1332))],
)
def test_detr_sizes_by_hand(size: Size, found: Size) -> None:
    assert shortest_side_size(size, 800, 1333) == found
