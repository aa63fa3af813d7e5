"""Conversions that must not depend on the version of Pillow."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.build import png_chunk, png_file
from tests.pictures import all_kinds, deep_grey, encode, pixels

from int8cal.errors import ImageError
from int8cal.images.pictures import open_picture
from int8cal.preprocess.colour import to_grey, to_grey_keeping_depth, to_rgb, unified_depth


def opened(picture, **options) -> Image.Image:
    return open_picture(encode(picture, **options), "")


def test_alpha_is_dropped_not_composited():
    rgba = pixels(channels=4)
    np.testing.assert_array_equal(np.asarray(to_rgb(opened(rgba))), rgba[..., :3])


def test_sixteen_bits_are_clipped_in_eight():
    deep = deep_grey()
    clipped = np.minimum(deep, 255).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(to_rgb(opened(deep)))[..., 1], clipped)
    np.testing.assert_array_equal(np.asarray(to_grey(opened(deep))), clipped)


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "I"), ("TIFF", "I;16")])
def test_sixteen_bits_are_kept_where_asked(kind, mode):
    deep = deep_grey()
    kept = to_grey_keeping_depth(opened(deep, kind=kind))
    assert kept.mode == mode
    np.testing.assert_array_equal(np.asarray(kept), deep)
    assert unified_depth(kept).mode == "I"


def test_palette_to_grey_is_truncated():
    palette = Image.new("P", (4, 1))
    colours = [(0, 0, 0), (255, 255, 255), (1, 1, 2), (10, 200, 30)]
    palette.putpalette([value for colour in colours for value in colour])
    palette.putdata(range(4))
    expected = [(299 * r + 587 * g + 114 * b) // 1000 for r, g, b in colours]
    assert np.asarray(to_grey(palette)).tolist() == [expected]


def test_entries_that_a_palette_leaves_out_are_a_grey_ramp():
    indexes = np.array([[0, 1, 2, 3, 255]], np.uint8)
    before = png_chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60]))
    picture = open_picture(png_file(indexes, width=5, colour_type=3, before=before), "")
    assert np.asarray(to_rgb(picture)).tolist() == [[[10, 20, 30], [40, 50, 60], [2] * 3, [3] * 3, [255] * 3]]
    assert np.asarray(to_grey(picture)).tolist() == [[18, 48, 2, 3, 255]]


def test_colour_to_grey():
    rgb = pixels()
    expected = (rgb.astype(np.int64) @ [19595, 38470, 7471] + 0x8000) >> 16
    np.testing.assert_array_equal(np.asarray(to_grey(opened(rgb))), expected)


@pytest.mark.parametrize("kind", all_kinds())
def test_every_kind_becomes_both(kind):
    picture = open_picture(all_kinds()[kind], "")
    assert to_rgb(picture).mode == "RGB"
    assert to_grey(picture).mode == "L"


def test_unknown_conversions_are_image_errors():
    with pytest.raises(ImageError, match="mode LAB"):
        to_grey(Image.new("LAB", (2, 2)))
