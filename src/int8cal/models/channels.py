"""Groups of channels of one magnitude, and what varies of a tensor: what a figure over all of it would not show.

A tensor may hold boxes in pixels beside scores from 0 to 1: the noise of the scores would vanish beside the signal of
the boxes. So it would beside a large value that is the same everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

_Doubles: TypeAlias = npt.NDArray[np.float64]

_MOST_CHANNELS = 1024
_APART = 8.0  # by which the weakest channel of one group must be above the strongest of the other
_ABOVE_ONE = 2.0  # the least of the louder group: scores of rare classes are not group of their own


@dataclass(frozen=True)
class Group:
    """Neighbouring channels.

    Attributes:
        axis: of the tensor.
        first, last: their numbers, both included.
        peak: largest magnitude of the float model.
        sqnr_db: signal to quantisation noise ratio in dB.
    """

    axis: int
    first: int
    last: int
    peak: float
    sqnr_db: float

    @property
    def text(self) -> str:
        """``channels 0–3``."""
        return f"channel {self.first}" if self.first == self.last else f"channels {self.first}–{self.last}"


class ChannelSums:
    """Signal, noise, largest magnitude and sum of each channel, along each axis that may number channels."""

    def __init__(self) -> None:
        self._sums: dict[int, tuple[_Doubles, _Doubles, _Doubles, _Doubles]] = {}
        self._shape: tuple[int, ...] | None = None

    def add(self, values: _Doubles, error: _Doubles) -> None:
        """Take in one run: float values, and the differences from them."""
        if not values.size:
            return
        if self._shape is None:
            self._shape = values.shape
            for axis in _channel_axes(values.shape):
                zeros = np.zeros(values.shape[axis])
                self._sums[axis] = (zeros, zeros.copy(), zeros.copy(), zeros.copy())
        for axis, (signal, noise, peak, total) in list(self._sums.items()):
            if axis >= values.ndim or values.shape[axis] != len(signal):
                del self._sums[axis]  # it numbers no channels
                continue
            others = tuple(other for other in range(values.ndim) if other != axis)
            signal += np.square(values).sum(axis=others)
            noise += np.square(error).sum(axis=others)
            np.maximum(peak, np.abs(values).max(axis=others), out=peak)
            total += values.sum(axis=others)

    def merge(self, other: ChannelSums) -> None:
        """Take in all that another one has."""
        if other._shape is None:
            return
        if self._shape is None:
            self._shape = other._shape
            self._sums = {axis: (s.copy(), n.copy(), p.copy(), t.copy()) for axis, (s, n, p, t) in other._sums.items()}
            return
        for axis, (signal, noise, peak, total) in list(self._sums.items()):
            theirs = other._sums.get(axis)
            if theirs is None or len(theirs[0]) != len(signal):
                del self._sums[axis]
                continue
            signal += theirs[0]
            noise += theirs[1]
            np.maximum(peak, theirs[2], out=peak)
            total += theirs[3]

    def varying(self, count: int) -> float | None:
        """The signal without what is the same in all of a channel, Σ (f − mean of its channel)².

        Args:
            count: of all values.

        Returns:
            Of the axis along which the least is left; None when no axis numbers channels.
        """
        left = (
            float(signal.sum() - np.square(total).sum() * len(total) / count)
            for signal, _, _, total in self._sums.values()
        )
        return min(left, default=None)

    def groups(self) -> tuple[Group, ...]:
        """Groups along the axis on which they lie farthest apart; none if all channels are of one magnitude."""
        best: tuple[float, tuple[Group, ...]] = (0.0, ())
        for axis, (signal, noise, peak, _) in self._sums.items():
            bounds = _bounds(peak, 0, len(peak))
            if len(bounds) > 2:
                apart = float(_separations(peak)[np.array(bounds[1:-1]) - 1].max())
                found = tuple(
                    Group(axis, a, b - 1, float(peak[a:b].max()), _decibels(signal[a:b].sum(), noise[a:b].sum()))
                    for a, b in pairwise(bounds)
                )
                best = max(best, (apart, found), key=lambda item: item[0])
        return best[1]


def _channel_axes(shape: tuple[int, ...]) -> list[int]:
    axes = {1: (), 2: (1,), 3: (1, 2), 4: (1,), 5: (1, 4)}.get(len(shape), ())
    return [axis for axis in axes if 2 <= shape[axis] <= _MOST_CHANNELS]


def _bounds(peak: _Doubles, start: int, end: int) -> list[int]:
    """Where groups begin, and the end."""
    apart = _separations(peak[start:end])
    if not apart.size or apart.max() < _APART:
        return [start, end]
    best = start + 1 + int(apart.argmax())
    return [*_bounds(peak, start, best)[:-1], *_bounds(peak, best, end)]


def _separations(peak: _Doubles) -> _Doubles:
    """For each cut, behind the first channel and on: by what factor all on one side are above all on the other."""
    best = np.zeros(max(len(peak) - 1, 0))
    for values in (peak, peak[::-1]):
        least = np.minimum.accumulate(values)[:-1]
        most = np.maximum.accumulate(values[::-1])[::-1][1:]
        factors = np.divide(least, most, out=np.full(len(least), math.inf), where=most > 0.0)
        factors[least < _ABOVE_ONE] = 0.0
        best = np.maximum(best, factors if values is peak else factors[::-1])
    return best


def _decibels(signal: float, noise: float) -> float:
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf
