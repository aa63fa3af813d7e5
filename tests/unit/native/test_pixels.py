"""The kernels for pixels give the bits of the ways without them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from int8cal import native
from int8cal.preprocess.normalise import HALF_VALUES, SINGLE_VALUES, look_up, mean_subtracted
from int8cal.preprocess.resample import resize_bilinear_legacy
from int8cal.types import Size

pytestmark = pytest.mark.usefixtures("with_library")

SIDES = st.integers(1, 40)


def both(work) -> tuple[np.ndarray, np.ndarray]:
    with_it = work()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "library", lambda: None)
        return with_it, work()


def picture(height: int, width: int, channels: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


@settings(deadline=None, max_examples=40)
@given(SIDES, SIDES, st.sampled_from((1, 3, 4)), SIDES, SIDES, st.integers(0, 99))
def test_resizing(height: int, width: int, channels: int, new_height: int, new_width: int, seed: int) -> None:
    image = picture(height, width, channels, seed)
    for table in (HALF_VALUES, SINGLE_VALUES):
        a, b = both(lambda table=table: resize_bilinear_legacy(image, table, Size(new_height, new_width)))
        assert a.shape == b.shape == (channels, new_height, new_width)
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("sizes", [((1080, 61), (544, 30)), ((11, 1920), (5, 960)), ((375, 50), (544, 96))])
def test_resizing_of_usual_sizes(sizes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    image = picture(*sizes[0], 3, 1)
    a, b = both(lambda: resize_bilinear_legacy(image, HALF_VALUES, Size(*sizes[1])))
    assert a.tobytes() == b.tobytes()


@settings(deadline=None, max_examples=40)
@given(SIDES, SIDES, st.sampled_from((1, 3, 4)), st.integers(0, 99))
def test_looking_up(height: int, width: int, channels: int, seed: int) -> None:
    image = picture(height + 2, 2 * width, channels, seed)
    views = (image, image[1:-1, ::2], image[::-1, :, ::-1], np.asfortranarray(image))
    for view in views:
        for table in (HALF_VALUES, mean_subtracted(range(100, 100 + channels))):
            a, b = both(lambda view=view, table=table: look_up(view, table))
            assert a.tobytes() == b.tobytes()


def test_looking_up_into_a_window() -> None:
    image = picture(7, 9, 3, 1)

    def work() -> np.ndarray:
        out = np.zeros((3, 12, 14), np.float32)
        look_up(image, HALF_VALUES, out[:, 2:9, 3:12])
        return out

    a, b = both(work)
    assert a.tobytes() == b.tobytes()
    turned = np.zeros((9, 7, 3), np.float32).transpose(2, 1, 0)  # columns apart: the other way
    np.testing.assert_array_equal(look_up(image, HALF_VALUES, turned), a[:, 2:9, 3:12])


def test_positions_outside_of_the_image_are_refused() -> None:
    axis = native.Axis(np.array([0, 7]), np.array([1, 8]), np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="outside"):
        native.resized(picture(8, 8, 3, 1), HALF_VALUES, axis, axis)
