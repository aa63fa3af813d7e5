"""From a histogram of magnitudes to the threshold at which INT8 values saturate.

All methods read the same histogram, so one pass over the data serves them all. A threshold of *t* means that the
symmetric INT8 grid has the step ``t / 127`` and that larger magnitudes are clipped.

* ``minmax``: the largest magnitude seen.
* ``percentile``: the magnitude below which the given share of all values lies.
* ``mse``: least mean squared quantisation error.
* ``entropy``: least Kullback-Leibler divergence between the distribution and its 128-level version, the method of
  TensorRT's entropy calibrator. The search is that of S. Migacz, "8-bit inference with TensorRT" (GTC 2017), without
  the histogram's first bin, as NVIDIA describes its calibrators in its MLPerf Inference submissions
  (``closed/NVIDIA/documentation/calibration.md``). One rule is our own: at most 5 % of the other values are clipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from int8cal.errors import UsageError
from int8cal.models.histogram import BINS, Histogram
from int8cal.types import INT8_STEPS, LEAST_SCALE, Method

DEFAULT_PERCENTILE = 99.99

LEVELS = 128  # magnitudes that INT8 can tell apart, zero included
LEAST_PERCENTILE = 50.0  # nobody clips half of all values; 0.9999 means 99.99
_MSE_STRIDE = 8  # candidate thresholds of the mse method: every eighth bin, i.e. 1/256 of the range

_LEAST_SHARE = 1e-12  # what Q is taken for where it is 0 and P is not; else one far outlier would forbid all clipping
_MOST_CLIPPED = 0.05  # share of the values; where only a few distinct values exist, one alone would explain itself best

_Array: TypeAlias = npt.NDArray[np.float64]


def threshold(histogram: Histogram, method: Method = "entropy", percentile: float = DEFAULT_PERCENTILE) -> float:
    """Magnitude at which a tensor saturates; 0.0 for a tensor that never left zero, but for less than `LEAST_SCALE`.

    Args:
        histogram: magnitudes seen during calibration.
        method: one of `METHODS`.
        percentile: share in percent, 50 <= percentile <= 100; used by ``percentile`` only.

    Raises:
        UsageError: the percentile is out of range.
    """
    check_percentile(percentile)
    found = histogram.amax
    if found > 0.0 and method != "minmax":
        found = _clipped(histogram, method, percentile)
    return found if found >= LEAST_SCALE * INT8_STEPS else 0.0


def _clipped(histogram: Histogram, method: Method, percentile: float) -> float:
    counts = histogram.counts[: int(np.flatnonzero(histogram.counts)[-1]) + 1]
    bins = _percentile_bins(counts, percentile) if method == "percentile" else _BINS[method](counts)
    return min(bins * histogram.top / BINS, histogram.amax)


def check_percentile(percentile: float) -> None:
    """Refuse a percentile that does not exist.

    Raises:
        UsageError: it is out of range.
    """
    if not LEAST_PERCENTILE <= percentile <= 100.0:
        raise UsageError(
            f"percentile {percentile} is not within {LEAST_PERCENTILE:g} to 100",
            hint="It is in percent, e.g. 99.99, not a fraction such as 0.9999.",
        )


def _percentile_bins(counts: npt.NDArray[np.int64], percentile: float) -> int:
    cumulative = np.cumsum(counts)
    return int(np.searchsorted(cumulative, percentile / 100.0 * cumulative[-1])) + 1


def _mse_bins(counts: npt.NDArray[np.int64]) -> int:
    """Number of bins to keep, over all candidates at once.

    Within the bins that become one level v, Σ n (c − v)² = Σ n c² − 2v Σ n c + v² Σ n, so that cumulative sums suffice.
    """
    occupied, centres = counts.astype(np.float64), np.arange(counts.size) + 0.5
    candidates = np.unique(np.append(np.arange(min(LEVELS, counts.size), counts.size, _MSE_STRIDE), counts.size))
    steps = candidates[:, None] / INT8_STEPS
    levels = np.arange(INT8_STEPS + 1)
    edges = np.zeros((candidates.size, levels.size + 1), np.intp)
    edges[:, 1:-1] = np.minimum(np.ceil((levels[1:] - 0.5) * steps - 0.5), counts.size)
    edges[:, -1] = counts.size
    sums = np.diff(_prefix_sums(occupied * centres)[edges], axis=1)
    sizes = np.diff(_prefix_sums(occupied)[edges], axis=1)
    values = levels * steps
    errors = (values * (values * sizes - 2.0 * sums)).sum(axis=1)  # but for Σ n c², which is the same for all
    return int(candidates[np.argmin(errors)])


def _entropy_bins(counts: npt.NDArray[np.int64]) -> int:
    """Number of bins to keep, over all candidates at once.

    For a candidate of *i* bins, P is the first *i* bins with everything beyond added to the last, and Q is the same
    bins (without that tail) averaged over the occupied bins of each of the 128 groups. Then, with N the number of all
    values and M that of the kept ones,

        KL(P‖Q) = (Σ p log p − Σ p log q) / N − log N + log M

    and within one group Σ p log q is the group's sum times the log of its average, so that cumulative sums suffice.
    """
    occupied = counts.astype(np.float64)
    if occupied.size <= LEVELS:
        return occupied.size
    occupied[0] = 0.0  # zeros (a ReLU's output) and what is next to them cost nothing at any threshold: others decide
    candidates = np.arange(LEVELS, occupied.size + 1)
    cumulative = _prefix_sums(occupied)
    total, kept = cumulative[-1], cumulative[candidates]

    edges = -(-candidates[:, None] * np.arange(LEVELS + 1) // LEVELS)
    sums = np.diff(cumulative[edges], axis=1)
    sizes = np.diff(_prefix_sums((occupied > 0).astype(np.float64))[edges], axis=1)
    averages = np.divide(sums, sizes, out=np.ones_like(sums), where=sizes > 0)
    cross = (sums * _log(averages)).sum(axis=1)

    last, tail = occupied[candidates - 1], total - kept
    own = _prefix_sums(occupied * _log(occupied))[candidates]
    own += (last + tail) * _log(last + tail) - last * _log(last)
    cross += tail * _log(np.where(last > 0.0, averages[:, -1], _LEAST_SHARE * kept))

    divergence = (own - cross) / total - np.log(total) + _log(kept)
    divergence[tail > _MOST_CLIPPED * total] = np.inf
    return int(candidates[::-1][np.argmin(divergence[::-1])])  # of equals, the widest


def _prefix_sums(values: _Array) -> _Array:
    return np.concatenate([[0.0], np.cumsum(values)])


def _log(values: _Array) -> _Array:
    """Natural logarithm with log 0 = 0, for sums of x log x."""
    return np.log(np.where(values > 0.0, values, 1.0))


_BINS: Mapping[Method, Callable[[npt.NDArray[np.int64]], int]] = {"mse": _mse_bins, "entropy": _entropy_bins}
