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
_ABOVE_ONE = 2.0  # the least of the louder group: scores of rare classes are no group of their own


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


@dataclass(frozen=True)
class Spread:
    """How far values are from their mean, of each channel.

    Parts are joined by their means. The difference of two sums, Σ f² − (Σ f)² / n, would be one of rounding alone where
    a large constant stands in all values.

    Attributes:
        count: values in a channel.
        mean: of them.
        squares: Σ (f − mean)².
    """

    count: int
    mean: _Doubles
    squares: _Doubles

    @classmethod
    def of(cls, values: _Doubles, axis: int) -> Spread:
        """Of the channels that an axis numbers."""
        others = _others(values, axis)
        mean = values.mean(axis=others, keepdims=True)
        apart = values - mean
        return cls(values.size // mean.size, mean.reshape(-1), np.square(apart, out=apart).sum(axis=others))

    def joined(self, other: Spread) -> Spread:
        """Of the values of both."""
        count = self.count + other.count
        apart, share = other.mean - self.mean, other.count / count
        squares = self.squares + other.squares + np.square(apart) * (self.count * share)
        return Spread(count, self.mean + apart * share, squares)

    @property
    def signal(self) -> _Doubles:
        """Σ f²."""
        signal: _Doubles = self.squares + self.count * np.square(self.mean)
        return signal

    @property
    def whole(self) -> Spread:
        """Of all channels as one."""
        between = Spread.of(self.mean.reshape(1, -1), 0)
        squares = self.squares.sum(keepdims=True) + self.count * between.squares
        return Spread(self.count * len(self.mean), between.mean, squares)


class ChannelSums:
    """Spread, noise and largest magnitude of each channel, along each axis that may number channels."""

    def __init__(self) -> None:
        self._sums: dict[int, tuple[Spread, _Doubles, _Doubles]] = {}
        self._whole: Spread | None = None  # where no axis numbers channels

    def add(self, values: _Doubles, error: _Doubles) -> None:
        """Take in one run: float values, and the differences from them."""
        if not values.size:
            return
        part = ChannelSums()
        for axis in _channel_axes(values.shape):
            others = _others(values, axis)
            noise, peak = np.square(error).sum(axis=others), np.abs(values).max(axis=others)
            part._sums[axis] = Spread.of(values, axis), noise, peak
        if not part._sums:
            part._whole = Spread.of(values.reshape(1, -1), 0)
        self.merge(part)

    def merge(self, other: ChannelSums) -> None:
        """Take in all that another one has; an axis of another extent there numbers no channels."""
        mine, theirs = self._all, other._all
        if theirs is None:
            return
        if mine is None:
            self._sums, self._whole = dict(other._sums), other._whole
            return
        sums = {
            axis: (spread.joined(more[0]), noise + more[1], np.maximum(peak, more[2]))
            for axis, (spread, noise, peak) in self._sums.items()
            if (more := other._sums.get(axis)) and len(more[1]) == len(noise)
        }
        self._whole = None if sums else mine.whole.joined(theirs.whole)
        self._sums = sums

    @property
    def _all(self) -> Spread | None:
        return next((spread for spread, _, _ in self._sums.values()), self._whole)

    @property
    def varying(self) -> float | None:
        """The signal without what is the same in all of a channel, Σ (f − mean of its channel)².

        Of the axis along which the least is left, or of the whole tensor when no axis numbers channels. None where
        nothing was taken in.
        """
        spreads = [spread for spread, _, _ in self._sums.values()]
        if self._whole is not None:
            spreads.append(self._whole)
        return min((float(spread.squares.sum()) for spread in spreads), default=None)

    def groups(self) -> tuple[Group, ...]:
        """Groups along the axis on which they lie farthest apart; none if all channels are of one magnitude."""
        best: tuple[float, tuple[Group, ...]] = (0.0, ())
        for axis, (spread, noise, peak) in self._sums.items():
            if len(peak) > _MOST_CHANNELS:
                continue
            signal = spread.signal
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
    most = math.inf if len(shape) == 2 else _MOST_CHANNELS  # in two dimensions there is no other axis
    return [axis for axis in axes if 2 <= shape[axis] <= most]


def _others(values: _Doubles, axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(values.ndim) if other != axis)


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
