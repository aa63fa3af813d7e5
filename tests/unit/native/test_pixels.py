"""The kernels for pixels give the bits of the ways without them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from int8cal import native
from int8cal.preprocess.normalise import HALF_VALUES, SINGLE_VALUES, look_up, mean_subtracted
from int8cal.preprocess.resample import resize_bilinear_legacy
from int8cal.preprocess.torchvision import resized
from int8cal.types import Size

pytestmark = pytest.mark.usefixtures("with_library")

SIDES = st.integers(1, 40)
FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


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
    size = Size(new_height, new_width)
    for table, half in ((HALF_VALUES, True), (SINGLE_VALUES, False), (SINGLE_VALUES * 2**-9, True)):
        a, b = both(lambda table=table, half=half: resize_bilinear_legacy(image, table, size, half=half))
        assert a.shape == b.shape == (channels, new_height, new_width)
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("sizes", [((1080, 61), (544, 30)), ((11, 1920), (5, 960)), ((375, 50), (544, 96))])
def test_resizing_of_usual_sizes(sizes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    image = picture(*sizes[0], 3, 1)
    a, b = both(lambda: resize_bilinear_legacy(image, HALF_VALUES, Size(*sizes[1]), half=True))
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


@settings(deadline=None, max_examples=40)
@given(SIDES, SIDES, st.sampled_from((1, 3, 4)), SIDES, SIDES, st.integers(0, 99))
def test_looking_up_some_rows_and_columns(
    height: int, width: int, channels: int, rows: int, columns: int, seed: int
) -> None:
    image, rng = picture(height, width, channels, seed), np.random.default_rng(seed)
    positions = native.Positions(rng.integers(0, height, rows), rng.integers(0, width, columns))
    for view in (image, image[..., ::-1]):
        a, b = both(lambda view=view: look_up(view, HALF_VALUES, positions=positions))
        assert a.tobytes() == b.tobytes()
        np.testing.assert_array_equal(a, look_up(view[positions.rows][:, positions.columns], HALF_VALUES))


@pytest.mark.parametrize(
    ("rows", "columns"), [((0, 8), (0, 1)), ((0, 1), (-1, 1)), (np.zeros(2, np.int32), (0, 1)), ((0, 1, 2), (0, 1))]
)
def test_positions_of_no_pixels_are_refused(rows: object, columns: object) -> None:
    out = np.empty((3, 2, 2), np.float32)
    with pytest.raises(ValueError, match=r"positions|columns"):
        native.look_up(picture(8, 8, 3, 1), HALF_VALUES, out, native.Positions(np.array(rows), np.array(columns)))


@pytest.mark.parametrize(("height", "width"), [(3, 4000), (4000, 3), (40, 50)])
def test_pixels_at_positions_take_no_more_memory_than_they_must(height, width):
    image = picture(height, width, 3, 1)
    rng = np.random.default_rng(2)
    positions = native.Positions(rng.integers(0, height, 60), rng.integers(0, width, 70))
    tracemalloc.start()
    found = positions.of(image)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(found, image[positions.rows[:, np.newaxis], positions.columns])
    assert found.flags.c_contiguous
    assert peak < 3 * found.nbytes + (1 << 14)


def test_positions_outside_of_the_image_are_refused() -> None:
    axis = native.Axis(np.array([0, 7]), np.array([1, 8]), np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="outside"):
        native.resized(picture(8, 8, 3, 1), HALF_VALUES, axis, axis)


@settings(deadline=None, max_examples=150)
@given(SIDES, SIDES, st.sampled_from((1, 3)), SIDES, SIDES, st.sampled_from(FILTERS), st.booleans(), st.integers(0, 99))
def test_antialiased_resizing(
    height: int, width: int, channels: int, new_height: int, new_width: int, resample: int, contrast: bool, seed: int
) -> None:
    image = picture(height, width, channels, seed)
    if contrast:  # where bicubic sums leave 0..255
        image = np.where(image > 127, np.uint8(255), np.uint8(0))
    size = Size(new_height, new_width)
    a, b = both(lambda: resized(image, size, resample))
    assert a.shape == b.shape == (new_height, new_width, channels)
    assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("resample", FILTERS)
@pytest.mark.parametrize(
    "sizes",
    [
        ((480, 640), (224, 224)),
        ((375, 500), (640, 640)),
        ((33, 1000), (31, 7)),
        ((1000, 17), (3, 17)),
        ((17, 40), (17, 99)),
        ((1, 5000), (1, 1)),
        ((3000, 40), (31, 640)),
    ],
)
def test_antialiased_resizing_of_usual_and_odd_sizes(
    sizes: tuple[tuple[int, int], tuple[int, int]], resample: Image.Resampling
) -> None:
    image = picture(*sizes[0], 3, 2)
    a, b = both(lambda: resized(image, Size(*sizes[1]), resample))
    assert a.tobytes() == b.tobytes()
    view = image[::-1, :, ::-1]
    assert (
        resized(view, Size(*sizes[1]), resample).tobytes() == resized(view.copy(), Size(*sizes[1]), resample).tobytes()
    )


def test_antialiased_resizing_is_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "resize", None)
    assert resized(picture(9, 7, 3, 1), Size(4, 5), Image.Resampling.BICUBIC).shape == (4, 5, 3)


def test_weights_outside_of_the_image_are_refused() -> None:
    weights = native.Weights(np.array([0, 6], np.int32), np.ones((2, 3), np.int32))
    with pytest.raises(ValueError, match="outside"):
        native.antialiased(picture(8, 8, 3, 1), weights, None)
