"""Histogram of magnitudes that never needs to know the range beforehand.

The range is always the smallest power of two above every value seen. When a value falls outside, neighbouring bins are
added up and the range doubles. Scaling by a power of two is exact in binary floating point, so the result depends
neither on the order of the values nor on how they were cut into pieces.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from int8cal import native

BINS = native.COUNTED_BINS
_BLOCK = 1 << 15  # values per step: the temporaries stay in the processor's second-level cache
_SMALLEST_EXPONENT = -100  # keeps BINS / range inside float32


class NonFiniteError(ArithmeticError):
    """An infinite or undefined value has no place in a histogram."""


class Histogram:
    """Counts of ``|x|`` in `BINS` equal bins over ``[0, top)``.

    Attributes:
        counts: int64, shape (BINS,).
        top: upper end of the range, a power of two; 0.0 while nothing but zeros was seen.
        amax: the largest magnitude seen.
        low: the smallest value seen; 0.0 where none is below.
    """

    __slots__ = ("amax", "counts", "low", "top")

    def __init__(self) -> None:
        self.counts: npt.NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.top = 0.0
        self.amax = 0.0
        self.low = 0.0

    def add(self, values: npt.NDArray[Any]) -> None:
        """Count every value of a float array of any shape.

        Raises:
            NonFiniteError: a value is infinite or not a number; nothing was counted.
        """
        flat = values.reshape(-1)
        if not flat.size:
            return
        low = float(flat.min())
        amax = max(float(flat.max()), -low)
        if not math.isfinite(amax):
            raise NonFiniteError
        self.low = min(self.low, low)
        self._reach(amax)
        if self.top == 0.0:
            self.counts[0] += flat.size
            return
        bins_per_unit = np.float32(BINS / self.top)
        if native.count_magnitudes(flat, float(bins_per_unit), self.counts):
            return
        for start in range(0, flat.size, _BLOCK):
            magnitudes = np.abs(flat[start : start + _BLOCK], dtype=np.float32)
            magnitudes *= bins_per_unit
            self.counts += np.bincount(magnitudes.astype(np.intp), minlength=BINS)

    def merge(self, other: Histogram) -> None:
        """Count all that another histogram counted."""
        self._reach(other.amax)
        self.low = min(self.low, other.low)
        if other.top in (0.0, self.top):
            self.counts += other.counts
            return
        self.counts += _coarser(other.counts, self.top / other.top)

    def _reach(self, amax: float) -> None:
        """Widen the range until it holds ``amax``."""
        self.amax = max(self.amax, amax)
        if amax == 0.0 or amax < self.top:
            return
        top = 2.0 ** max(math.frexp(amax)[1], _SMALLEST_EXPONENT)
        if self.top:
            self.counts = _coarser(self.counts, top / self.top)
        self.top = top


def _coarser(counts: npt.NDArray[np.int64], factor: float) -> npt.NDArray[np.int64]:
    """Counts over a range that is so many times as large, a power of two: neighbouring bins are added up."""
    doublings = min(round(math.log2(factor)), BINS.bit_length() - 1)
    merged = np.zeros(BINS, np.int64)
    merged[: BINS >> doublings] = counts.reshape(-1, 1 << doublings).sum(axis=1)
    return merged
