"""Thresholds: each method against its definition, worked out the slow way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from int8cal.errors import UsageError
from int8cal.models.histogram import BINS, Histogram
from int8cal.models.ranges import threshold
from int8cal.types import METHODS


def histogram_of(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.add(values.astype(np.float32))
    return histogram


def entropy_by_definition(counts: np.ndarray) -> int:
    """Bins to keep: the textbook loop over candidates, groups and bins."""
    occupied = counts[: np.flatnonzero(counts)[-1] + 1].astype(float)
    occupied[0] = 0.0
    best, bins = np.inf, occupied.size
    for kept in range(128, occupied.size + 1):
        p, present = occupied[:kept].copy(), occupied[:kept] > 0
        p[-1] += occupied[kept:].sum()
        group = np.arange(kept) * 128 // kept
        sums = np.bincount(group, occupied[:kept], 128)
        sizes = np.maximum(np.bincount(group, present, 128), 1)
        q = np.where(present, (sums / sizes)[group], 0.0)
        if occupied[kept:].sum() > 0.05 * occupied.sum():
            continue
        p, q = p / p.sum(), np.maximum(q / q.sum(), 1e-12)
        divergence = (p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum()
        if divergence <= best + 1e-12:
            best, bins = divergence, kept
    return bins


@pytest.mark.parametrize("shape", ["normal", "relu", "laplace", "outlier", "two_values", "peak"])
def test_entropy_is_the_divergence_of_its_definition(shape: str) -> None:
    random = np.random.default_rng(3)
    values = {
        "normal": random.standard_normal(20_000),
        "relu": np.maximum(random.standard_normal(20_000), 0.0),
        "laplace": random.laplace(size=20_000),
        "outlier": np.append(random.standard_normal(20_000), 400.0),
        "two_values": np.repeat([0.0, 0.75], 100),
        "peak": np.append(random.standard_normal(20_000), np.full(20_000, 0.006)),  # in the second bin
    }[shape]
    histogram = histogram_of(values)

    expected = entropy_by_definition(histogram.counts) * histogram.top / BINS

    assert threshold(histogram, "entropy") == pytest.approx(min(expected, histogram.amax), abs=histogram.top / BINS / 2)


def test_entropy_clips_an_outlier_that_minmax_keeps() -> None:
    values = np.append(np.random.default_rng(0).standard_normal(100_000), 100.0)

    assert threshold(histogram_of(values), "minmax") == 100.0
    assert threshold(histogram_of(values), "entropy") < 20.0


def test_entropy_keeps_the_values_of_a_tensor_with_few_of_them() -> None:
    clusters = np.concatenate([np.full(16, centre) for centre in (0.36, 1.1, 1.9, 2.2, 2.6)])

    assert threshold(histogram_of(clusters), "entropy") == pytest.approx(2.6)


@given(st.floats(50.0, 100.0))
def test_percentile_leaves_the_wanted_share_below_to_within_one_bin(percentile: float) -> None:
    values = np.random.default_rng(5).random(5000).astype(np.float32)
    histogram = histogram_of(values)

    found = threshold(histogram, "percentile", percentile)

    assert found == pytest.approx(np.percentile(values, percentile, method="inverted_cdf"), abs=histogram.top / BINS)
    assert (values <= found).mean() >= percentile / 100.0 - 1e-9


def test_mse_threshold_has_the_least_error_on_the_values_themselves() -> None:
    values = np.random.default_rng(1).laplace(size=50_000)
    histogram = histogram_of(values)

    def error(limit: float) -> float:
        step = limit / 127
        return float(np.mean((np.clip(np.rint(values / step), -127, 127) * step - values) ** 2))

    best = min(error(limit) for limit in np.linspace(0.05, 1.0, 400) * histogram.amax)

    assert error(threshold(histogram, "mse")) <= 1.02 * best


@pytest.mark.parametrize("method", METHODS)
def test_no_method_exceeds_the_largest_value_and_none_invents_one_for_zeros(method: str) -> None:
    values = np.random.default_rng(2).standard_normal(999)

    assert 0.0 < threshold(histogram_of(values), method) <= np.abs(values).max() * (1 + 1e-6)
    assert threshold(histogram_of(np.zeros(10)), method) == 0.0
    assert threshold(histogram_of(np.full(7, -0.25)), method) == 0.25


def test_impossible_percentiles_are_usage_errors() -> None:
    for percentile in (0.0, 0.9999, 49.9, 100.1, float("nan")):
        with pytest.raises(UsageError, match=r"in percent, e\.g\. 99\.99"):
            threshold(Histogram(), "percentile", percentile)
