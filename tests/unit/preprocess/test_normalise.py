from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.pictures import pixels

from int8cal.preprocess.normalise import HALF_VALUES, SINGLE_VALUES, look_up, mean_subtracted

means = st.lists(st.floats(0, 255), min_size=1, max_size=3)


def test_half_values_are_products_with_the_rounded_reciprocal() -> None:
    assert HALF_VALUES[[0, 255]].tolist() == [0.0, 1.0]
    factor = np.array(0x1C04, dtype=np.uint16).view(np.float16).astype(np.float32)
    products = np.arange(256, dtype=np.float32) * factor
    np.testing.assert_array_equal(HALF_VALUES, products.astype(np.float16).astype(np.float32))
    divided = (np.arange(256) / 255).astype(np.float16).astype(np.float32)
    assert np.count_nonzero(divided != HALF_VALUES) == 10


def test_single_values_are_products_with_the_rounded_reciprocal() -> None:
    factor = np.array(0x3B808081, dtype=np.uint32).view(np.float32)
    np.testing.assert_array_equal(SINGLE_VALUES, np.arange(256, dtype=np.float32) * factor)


def test_channels_come_first() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    values = look_up(image, SINGLE_VALUES)
    assert values.flags.c_contiguous
    np.testing.assert_array_equal(values, SINGLE_VALUES[image].transpose(2, 0, 1))


def test_result_may_go_into_a_window() -> None:
    image = np.full((2, 3, 1), 255, dtype=np.uint8)
    larger = np.zeros((1, 4, 5), dtype=np.float32)
    look_up(image[:, ::-1], HALF_VALUES, larger[:, 1:3, 2:5])
    assert larger.sum() == larger[:, 1:3, 2:5].sum() == 6


@given(means, st.floats(1e-3, 1e3))
def test_a_table_per_channel_equals_the_formula(mean: list[float], scale: float) -> None:
    image = pixels(7, 9, 3)[..., : len(mean)]
    expected = [
        (image[..., channel].astype(np.float64) - value).astype(np.float32) * np.float32(scale)
        for channel, value in enumerate(mean)
    ]
    result = look_up(image, mean_subtracted(mean, scale))
    np.testing.assert_array_equal(result, np.stack(expected))
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
