"""The streaming histogram: exact, and independent of order and cutting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from int8cal.models.histogram import BINS, Histogram, NonFiniteError

FLOATS = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)


def filled(*pieces: np.ndarray) -> Histogram:
    histogram = Histogram()
    for piece in pieces:
        histogram.add(piece)
    return histogram


@given(hnp.arrays(np.float32, st.integers(1, 200), elements=FLOATS), st.data())
def test_result_is_that_of_one_pass_over_all_values_in_any_order(values: np.ndarray, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, values.size))
    shuffled = np.array(data.draw(st.permutations(values.tolist())), np.float32)

    whole, pieces = filled(values), filled(shuffled[:cut], shuffled[cut:])

    assert whole.top == pieces.top
    assert whole.amax == pieces.amax == np.abs(values).max()
    np.testing.assert_array_equal(whole.counts, pieces.counts)


@given(hnp.arrays(np.float32, st.integers(1, 300), elements=FLOATS))
def test_counts_are_numpy_s_histogram_of_magnitudes(values: np.ndarray) -> None:
    histogram = filled(values)
    if histogram.top == 0.0:
        assert histogram.counts[0] == values.size
        return

    expected, _ = np.histogram(np.abs(values.astype(np.float64)), bins=BINS, range=(0.0, histogram.top))

    np.testing.assert_array_equal(histogram.counts, expected)
    assert histogram.amax < histogram.top


def test_range_grows_from_the_smallest_to_the_largest_float() -> None:
    histogram = filled(np.array([1e-45, 0.0], np.float32), np.array([3.4e38], np.float32), np.array([-1.0], np.float32))

    assert histogram.counts.sum() == 4
    assert histogram.counts[0] == 3
    assert histogram.amax == pytest.approx(3.4e38)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused_and_nothing_is_counted(bad: float) -> None:
    histogram = filled(np.array([0.5], np.float32))

    with pytest.raises(NonFiniteError):
        histogram.add(np.array([1.0, bad, 2.0], np.float32))

    assert histogram.counts.sum() == 1
    assert histogram.amax == 0.5


def test_empty_arrays_change_nothing() -> None:
    assert filled(np.zeros((0, 3), np.float32)).counts.sum() == 0
