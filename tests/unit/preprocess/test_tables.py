"""A table of 256 levels equals the formula at every pixel."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.pictures import pixels

from int8cal.preprocess.tables import look_up, mean_subtracted

means = st.lists(st.floats(0, 255), min_size=1, max_size=3)


@given(means, st.floats(1e-3, 1e3))
def test_equal_to_the_formula(mean, scale):
    image = pixels(7, 9, 3)[..., : len(mean)]
    expected = [
        (image[..., channel].astype(np.float64) - value).astype(np.float32) * np.float32(scale)
        for channel, value in enumerate(mean)
    ]
    result = look_up(mean_subtracted(mean, scale), image)
    np.testing.assert_array_equal(result, np.stack(expected))
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
