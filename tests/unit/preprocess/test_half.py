from __future__ import annotations

import numpy as np

from int8cal.preprocess.half import round_to_half


def rounded(values: np.ndarray) -> np.ndarray:
    result = np.array(values, dtype=np.float32)
    round_to_half(result)
    return result


def as_numpy(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=np.float32).astype(np.float16).astype(np.float32)


def test_every_half_its_middle_and_the_neighbours_of_both() -> None:
    halves = np.arange(0x7BFF, dtype=np.uint16).view(np.float16).astype(np.float32)
    middles = halves[:-1] + np.diff(halves) / 2
    values = np.concatenate([halves, middles])
    for near in (values, np.nextafter(values, np.float32(0)), np.nextafter(values, np.float32(np.inf))):
        np.testing.assert_array_equal(rounded(near), as_numpy(near))
        np.testing.assert_array_equal(rounded(-near), as_numpy(-near))


def test_values_of_many_blocks_and_shapes() -> None:
    values = np.random.default_rng(0).random((3, 211, 307), dtype=np.float32)
    np.testing.assert_array_equal(rounded(values), as_numpy(values))
    assert rounded(np.empty((3, 0, 4))).shape == (3, 0, 4)
