"""The three modes against their formulas, written out number by number."""

from __future__ import annotations

import numpy as np
import pytest

from int8cal.preprocess.imagenet import CAFFE_MEAN_BGR, CAFFE_MEAN_GREY, caffe, channels_first, tf, torch

LEVELS = np.array([0, 1, 127, 128, 254, 255], np.uint8)
single = np.float32


def planes(channels: int) -> np.ndarray:
    return channels_first(np.repeat(LEVELS[None, :, None], channels, axis=2))


def test_channels_first_is_a_contiguous_copy():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    result = channels_first(image[..., ::-1])
    assert result.flags.c_contiguous
    assert result.dtype == np.float32
    assert result[0].tolist() == image[..., 2].tolist()
    assert channels_first(image[..., 0]).shape == (1, 2, 4)


@pytest.mark.parametrize("mean", [CAFFE_MEAN_BGR, CAFFE_MEAN_GREY])
def test_caffe(mean):
    expected = [[[single(u) - single(m) for u in LEVELS]] for m in mean]
    assert caffe(planes(len(mean)), mean).tolist() == np.array(expected).tolist()


@pytest.mark.parametrize("mean", [(0.485, 0.456, 0.406), (0.449,)])
def test_torch_divides_all_channels_by_one_deviation(mean):
    expected = [[[(single(u) / single(255) - single(m)) / single(0.224) for u in LEVELS]] for m in mean]
    assert torch(planes(len(mean))).tolist() == np.array(expected).tolist()


def test_tf():
    assert tf(planes(1)).tolist() == [[[single(u) / single(127.5) - single(1) for u in LEVELS]]]
