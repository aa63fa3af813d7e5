"""Network inputs become the pictures again that they were made from."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.check.files import write_like_tao

from int8cal.check.presets import Normalisation
from int8cal.report.viewing import LevelCounts, View, view_of
from int8cal.tensorfile import TensorFile

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 40, 50)).astype(np.float32)
PIXELS[:, 0, 0], PIXELS[:, 0, 1] = 0, 255
BGR_MEAN = np.array([103.939, 116.779, 123.68], np.float32)[:, None, None]
TORCH_MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]

MADE = {
    "unit": PIXELS / 255,
    "tf": PIXELS / 127.5 - 1,
    "torch": (PIXELS / 255 - TORCH_MEAN) / np.float32(0.224),
    "caffe": PIXELS[::-1] - BGR_MEAN,
    "raw": PIXELS,
    "another mean": PIXELS - 77,
    "another range": PIXELS * 3 - 40,
}


def view(tmp_path, image):
    with TensorFile(write_like_tao(tmp_path / "f", image[None, None].astype(np.float32))) as file:
        return view_of(file)


@pytest.mark.parametrize("name", MADE)
def test_pictures_without_manifest(tmp_path, name):
    picture = view(tmp_path, MADE[name]).picture(MADE[name].astype(np.float32))
    np.testing.assert_array_equal(picture, PIXELS.transpose(1, 2, 0))
    assert picture.dtype == np.uint8


def test_sixteen_bit_grey_is_seen_in_eight(tmp_path):
    grey = np.linspace(0, 65535, 2000, dtype=np.float32).reshape(1, 40, 50) - np.float32(117.3786)
    picture = view(tmp_path, grey).picture(grey)
    assert (picture.min(), picture.max()) == (0, 255)
    np.testing.assert_allclose(picture.ravel(), np.linspace(0, 255, 2000), atol=1)


@pytest.mark.parametrize("name", MADE)
def test_brightness_is_the_mean_pixel(tmp_path, name):
    brightness = view(tmp_path, MADE[name]).brightness(MADE[name].mean(axis=(1, 2)))
    assert brightness == pytest.approx(PIXELS.mean(), abs=0.01)


def test_level_counts_are_those_of_the_pixels():
    counts = LevelCounts(View(Normalisation("", "RGB", (0.0,), (1 / 255,)), "manifest"), 3)
    counts.add(0, (PIXELS / 255)[None])
    counts.add(1, (PIXELS / 255)[None])
    for channel in range(3):
        np.testing.assert_array_equal(
            counts.counts[channel], 2 * np.bincount(PIXELS[channel].astype(int).ravel(), minlength=256)
        )
