from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from int8cal.preprocess.normalise import HALF_VALUES
from int8cal.preprocess.resample import limited_size, resize_bilinear_legacy
from int8cal.types import Size

SIDES = st.integers(1, 90)
LONG = st.integers(1, 5000)


@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 255))
def test_an_even_image_stays_even(height: int, width: int, rows: int, columns: int, level: int) -> None:
    image = np.full((height, width, 3), level, dtype=np.uint8)
    resized = resize_bilinear_legacy(image, HALF_VALUES, Size(rows, columns))
    assert resized.shape == (3, rows, columns)
    assert (resized == HALF_VALUES[level]).all()


@given(SIDES, SIDES, SIDES, SIDES)
def test_channels_do_not_mix_and_axes_are_alike(height: int, width: int, rows: int, columns: int) -> None:
    image = np.random.default_rng(height * 91 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    resized = resize_bilinear_legacy(image, HALF_VALUES, Size(rows, columns))
    for channel in range(3):
        alone = resize_bilinear_legacy(image[:, :, channel : channel + 1], HALF_VALUES, Size(rows, columns))
        np.testing.assert_array_equal(resized[channel], alone[0])
    turned = resize_bilinear_legacy(image.transpose(1, 0, 2), HALF_VALUES, Size(columns, rows))
    np.testing.assert_allclose(turned.transpose(0, 2, 1), resized, atol=1e-6)


@given(LONG, LONG, LONG, LONG)
def test_limited_size_turns_with_the_image_and_keeps_its_limits(
    height: int, width: int, shortest: int, longest: int
) -> None:
    size = limited_size(Size(height, width), shortest, longest)
    assert max(size) <= longest
    assert min(size) <= shortest
    if height != width:
        assert limited_size(Size(width, height), shortest, longest) == size[::-1]
