"""The kernels for values give what NumPy gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from int8cal import native
from int8cal.models.histogram import BINS, Histogram

pytestmark = pytest.mark.usefixtures("with_library")


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 300), st.integers(0, 99))
def test_values_are_put_together_from_their_bytes(count: int, seed: int) -> None:
    planes = np.random.default_rng(seed).integers(0, 256, (4, count), np.uint8)
    values = np.empty(count, np.float32)
    assert native.unshuffle(planes, values)
    assert values.tobytes() == planes.T.tobytes()


def test_only_values_of_four_bytes_in_one_piece_are_put_together() -> None:
    planes = np.zeros((4, 10), np.uint8)
    assert not native.unshuffle(np.zeros((8, 10), np.uint8), np.empty(10, np.float64))
    assert not native.unshuffle(planes, np.empty(20, np.float32)[::2])
    assert not native.unshuffle(planes[:, ::-1], np.empty(10, np.float32))
    with pytest.raises(ValueError, match="40 bytes do not make 9 values"):
        native.unshuffle(planes, np.empty(9, np.float32))


def counted(pieces: list[np.ndarray]) -> Histogram:
    histogram = Histogram()
    for piece in pieces:
        histogram.add(piece)
    return histogram


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 3000), st.integers(0, 99), st.sampled_from(("normal", "relu", "tiny", "huge", "levels")))
def test_magnitudes_are_counted_as_without_the_library(count: int, seed: int, kind: str) -> None:
    values = np.random.default_rng(seed).normal(size=count).astype(np.float32)
    values = {
        "normal": values,
        "relu": np.maximum(values, 0),
        "tiny": values * np.float32(1e-42),
        "huge": values * np.float32(7e37),
        "levels": np.rint(values),
    }[kind]
    pieces = [values[: count // 3], values[count // 3 :]]
    with_it = counted(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "library", lambda: None)
        without = counted(pieces)
    assert with_it.counts.tolist() == without.counts.tolist()
    assert with_it.counts.sum() == count
    assert (with_it.top, with_it.amax, with_it.low) == (without.top, without.amax, without.low)


@pytest.mark.parametrize("value", [1.0, -1.0, np.inf, -np.inf, np.nan, 3e38])
def test_a_value_that_lies_in_no_bin_is_not_lost_in_silence(value: float) -> None:
    with pytest.raises(ValueError, match="1 values lie in no bin"):
        native.count_magnitudes(np.array([0.5, value, 0.0], np.float32), BINS, np.zeros(BINS, np.int64))


def test_only_float32_in_one_piece_is_counted() -> None:
    counts = np.zeros(BINS, np.int64)
    assert not native.count_magnitudes(np.zeros(3), 1.0, counts)
    assert not native.count_magnitudes(np.zeros(6, np.float32)[::2], 1.0, counts)
    with pytest.raises(ValueError, match="counts of"):
        native.count_magnitudes(np.zeros(3, np.float32), 1.0, counts[:9])
