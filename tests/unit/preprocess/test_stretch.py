"""Resizing in two explicit passes, and its limits."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.memory import PEAK_MIB
from tests.pictures import all_kinds, encode, pixels

from int8cal.errors import ImageError
from int8cal.images.pictures import open_picture
from int8cal.preprocess.colour import to_grey_keeping_depth
from int8cal.preprocess.stretch import MAX_SIDE, interpolated, nearest, nearest_positions
from int8cal.types import Size

LANCZOS = Image.Resampling.LANCZOS


def test_rows_go_before_columns():
    picture = Image.fromarray(pixels(90, 20))
    expected = picture.resize((31, 90), LANCZOS).resize((31, 33), LANCZOS)
    np.testing.assert_array_equal(np.asarray(interpolated(picture, Size(33, 31), LANCZOS)), np.asarray(expected))


@settings(deadline=None, max_examples=300)
@given(*[st.integers(1, 50) | st.integers(1, 3000)] * 2, *[st.integers(1, 700)] * 2)
def test_nearest_positions_are_those_of_pillow(height: int, width: int, rows: int, columns: int) -> None:
    for before, after in ((Size(height, 1), Size(rows, 1)), (Size(1, width), Size(1, columns))):
        place = np.arange(max(before), dtype=np.uint16).view(np.uint8).reshape(*before, 2)
        image = np.concatenate((place, place[:, :, :1]), axis=2)
        found = nearest_positions(before, after).of(image)
        np.testing.assert_array_equal(found, np.asarray(nearest(Image.fromarray(image), after)))


def test_nearest_positions_of_a_length_that_single_precision_rounds() -> None:
    image = np.random.default_rng(1).integers(0, 256, (1, (1 << 24) + 3, 1), np.uint8)
    found = nearest_positions(Size(*image.shape[:2]), Size(1, 224)).of(image)
    expected = nearest(Image.fromarray(image[:, :, 0]), Size(1, 224))
    np.testing.assert_array_equal(found[:, :, 0], np.asarray(expected))


@pytest.mark.parametrize("mode", ["1", "P"])
def test_indexes_are_not_interpolated(mode):
    picture = Image.fromarray(pixels(20, 20)).convert(mode)
    result = interpolated(picture, Size(9, 7), LANCZOS)
    np.testing.assert_array_equal(np.asarray(result), np.asarray(nearest(picture, Size(9, 7))))


def test_transparent_colour_does_not_bleed():
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:, :4] = (200, 10, 30, 255)
    rgba[:, 4:, :3] = 255  # white, but wholly transparent
    result = np.asarray(interpolated(Image.fromarray(rgba), Size(8, 3), LANCZOS))
    green, alpha = result[..., 1], result[..., 3]
    assert green[alpha > 128].max() <= 12


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (64, 64)])
@pytest.mark.parametrize("kind", all_kinds())
def test_every_kind_gets_the_size(kind, size):
    result = interpolated(open_picture(all_kinds()[kind], ""), Size(*size), LANCZOS)
    assert result.size == size[::-1]


def test_same_size_is_untouched():
    picture = Image.fromarray(pixels(5, 6))
    assert interpolated(picture, Size(5, 6), LANCZOS) is picture
    assert nearest(picture, Size(5, 6)) is picture


def test_nearest_takes_pixels_at_the_centres():
    row = np.arange(10, dtype=np.uint8)[None]
    assert np.asarray(nearest(Image.fromarray(row), Size(1, 4))).tolist() == [[1, 3, 6, 8]]


@pytest.mark.parametrize(
    ("kind", "taken"),
    [("PNG", [0, 1, 1, 2, 2, 3]), ("TIFF", [0, 1, 1, 2, 3, 3])],  # observed with Pillow 8.4.0
)
def test_grid_of_sixteen_bits_depends_on_the_format(kind, taken):
    line = np.arange(4, dtype=np.uint16) * 20000
    across = to_grey_keeping_depth(open_picture(encode(line[np.newaxis], kind), ""))
    down = to_grey_keeping_depth(open_picture(encode(line[:, np.newaxis], kind), ""))
    assert np.asarray(nearest(across, Size(1, 6)))[0].tolist() == line[taken].tolist()
    assert np.asarray(nearest(down, Size(6, 1)))[:, 0].tolist() == line[taken].tolist()


def test_huge_passes_are_refused():
    with pytest.raises(ImageError, match="a pass needs more than"):
        interpolated(Image.new("L", (1, 60000)), Size(33, 60000), LANCZOS)


@pytest.mark.parametrize("size", [(1, MAX_SIDE + 1), (MAX_SIDE + 1, 1)])
def test_endless_sides_are_refused(size):
    with pytest.raises(ImageError, match="a side has more than") as caught:
        interpolated(Image.new("L", size), Size(33, 33), LANCZOS)
    assert caught.value.hint


def test_memory_that_is_not_there(monkeypatch):
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "resize", exhausted)
    with pytest.raises(MemoryError):  # of which no image is to blame
        interpolated(Image.new("F", (9, 9)), Size(33, 33), LANCZOS)


@pytest.mark.parametrize(("size", "most"), [((63, 1 << 17), 50), ((8, 8_000_000), 400)])
def test_tall_pictures_take_no_more_memory_than_decoding_does(size, most):
    """The picture, at 4 bytes a pixel, and what comes of it; not one larger than that on the way."""
    script = f"""{PEAK_MIB}
from PIL import Image
from int8cal.errors import ImageError
from int8cal.preprocess.stretch import interpolated
from int8cal.types import Size
picture = Image.new("RGB", {size})
before = peak_mib()
try:
    interpolated(picture, Size(33, 64), Image.Resampling.LANCZOS)
except ImageError:
    pass
print(peak_mib() - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) < most
