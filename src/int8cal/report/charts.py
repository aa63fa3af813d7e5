"""Charts as plain geometry: numbers → paths and places in a fixed box, which the template draws as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from int8cal.report.survey import Survey
from int8cal.report.viewing import LEVELS, LevelCounts, View

WIDTH, HEIGHT = 320, 120
"""Of the drawing area of a histogram, in SVG units."""

_BARS = 64
_BRIGHTNESS_BARS = {False: 16, True: 32}  # few images, many images
_MANY_IMAGES = 300
_MAX_CLASSES = 16


@dataclass(frozen=True)
class Tick:
    """A mark on the horizontal axis: its place and its text."""

    x: float
    text: str


@dataclass(frozen=True)
class LevelChart:
    """How often the values of one channel occur.

    Attributes:
        name: of the channel.
        area: SVG path of the filled outline.
        mean: place of the mean.
        ticks: on the axis of values.
        facts: smallest value, mean, largest value, standard deviation, as text.
        summary: one sentence for those who cannot see it.
    """

    name: str
    area: str
    mean: float
    ticks: tuple[Tick, ...]
    facts: tuple[tuple[str, str], ...]
    summary: str


@dataclass(frozen=True)
class BrightnessChart:
    """Two distributions in one chart.

    Attributes:
        split: SVG path of the split, filled.
        chosen: SVG path of the chosen images, a line.
        split_mean: place of the split's mean.
        chosen_mean: place of the chosen images' mean.
        ticks: on the axis.
        summary: one sentence for those who cannot see it.
    """

    split: str
    chosen: str
    split_mean: float
    chosen_mean: float
    ticks: tuple[Tick, ...]
    summary: str


@dataclass(frozen=True)
class ClassShare:
    """One class: how often it occurs in the chosen images and in the split.

    Attributes:
        name: of the class.
        chosen: number in the chosen images.
        split: number in the split.
        chosen_share: of all in the chosen images, 0..1.
        split_share: of all in the split, 0..1.
        chosen_bar: length of its bar, 0..100.
        split_bar: likewise.
    """

    name: str
    chosen: int
    split: int
    chosen_share: float
    split_share: float
    chosen_bar: float
    split_bar: float


def histograms(counts: LevelCounts, facts: Sequence[dict[str, float]]) -> list[LevelChart]:
    """One histogram per channel, all on one scale.

    Args:
        counts: how often each pixel level occurs.
        facts: min, max, mean and std of each channel.
    """
    view = counts.view
    bars = counts.counts.reshape(len(counts.counts), _BARS, -1).sum(axis=2)
    shares = bars / np.maximum(bars.sum(axis=1, keepdims=True), 1)
    top = _top(shares)
    names = view.channel_names(len(bars))
    return [
        LevelChart(
            name=name,
            area=_steps(shares[channel] / top, closed=True),
            mean=_place(_level(view, channel, facts[channel]["mean"])),
            ticks=_value_ticks(view, channel),
            facts=tuple((key, f"{facts[channel][key]:.4g}") for key in ("min", "mean", "max", "std")),
            summary="Values of the {} channel: from {min:.4g} to {max:.4g}, mean {mean:.4g}.".format(
                name, **facts[channel]
            ),
        )
        for channel, name in enumerate(names)
    ]


def brightness(found: Survey) -> BrightnessChart:
    """Mean brightness of the chosen images against that of the split."""
    both = (found.split_brightness, found.chosen_brightness)
    low, high = _range_around([level for levels in both for level in levels])
    bars = _BRIGHTNESS_BARS[len(found.chosen_brightness) >= _MANY_IMAGES]
    split, chosen = (np.histogram(levels, bars, (low, high))[0] / max(len(levels), 1) for levels in both)
    top = float(max(split.max(), chosen.max(), 1e-9))
    means = [float(np.mean(levels)) if levels else 0.0 for levels in both]
    return BrightnessChart(
        split=_steps(split / top, closed=True),
        chosen=_steps(chosen / top, closed=False),
        split_mean=_place(means[0], low, high),
        chosen_mean=_place(means[1], low, high),
        ticks=tuple(Tick(_place(level, low, high), str(level)) for level in range(low, high + 1, (high - low) // 4)),
        summary=f"Mean brightness of the chosen images {means[1]:.0f}, of the split {means[0]:.0f}, of 255.",
    )


def classes(found: Survey) -> list[ClassShare]:
    """The most frequent classes of the split, the rest as one."""
    names = [name for name, _ in found.split_classes.most_common()]
    names += sorted(found.chosen_classes.keys() - found.split_classes.keys())
    rows: list[tuple[str, int, int]] = [
        (name, found.chosen_classes[name], found.split_classes[name]) for name in names[:_MAX_CLASSES]
    ]
    if rest := names[_MAX_CLASSES:]:
        rows.append(
            (
                f"{len(rest)} other classes",
                sum(found.chosen_classes[name] for name in rest),
                sum(found.split_classes[name] for name in rest),
            )
        )
    all_chosen = max(sum(chosen for _, chosen, _ in rows), 1)
    all_split = max(sum(split for _, _, split in rows), 1)
    longest = max((max(chosen / all_chosen, split / all_split) for _, chosen, split in rows), default=1.0) or 1.0
    return [
        ClassShare(
            name=name,
            chosen=chosen,
            split=split,
            chosen_share=chosen / all_chosen,
            split_share=split / all_split,
            chosen_bar=round(100 * chosen / all_chosen / longest, 2),
            split_bar=round(100 * split / all_split / longest, 2),
        )
        for name, chosen, split in rows
    ]


def _top(shares: npt.NDArray[np.float64]) -> float:
    """Height of the scale: a single level that is much more frequent than all others (padding) runs out of the top."""
    highest = np.sort(shares.ravel())
    usual = float(highest[-max(len(shares) + 1, 2)])
    return max(min(float(highest[-1]), 1.6 * usual), 1e-9)


def _steps(heights: npt.NDArray[np.float64], *, closed: bool) -> str:
    """SVG path along the tops of bars of these heights 0..1 that fill the whole width."""
    step = WIDTH / len(heights)
    tops = [round(HEIGHT * (1 - min(float(height), 1.0)), 1) for height in heights]
    path = "".join(f"V{top:g}H{round((index + 1) * step, 2):g}" for index, top in enumerate(tops))
    return f"M0 {HEIGHT}{path}V{HEIGHT}" + ("Z" if closed else "")


def _range_around(levels: Sequence[float]) -> tuple[int, int]:
    """A range of whole numbers that holds these pixel levels with some room, a multiple of 4 wide."""
    low = int(max(min(levels, default=0), 0)) // 16 * 16 - 16
    high = -(-int(min(max(levels, default=LEVELS), LEVELS)) // 16) * 16 + 16
    return max(low, 0), min(max(high, low + 80), LEVELS)


def _place(level: float, low: float = 0, high: float = LEVELS - 1) -> float:
    return round(min(max((level - low) / (high - low), 0.0), 1.0) * WIDTH, 2)


def _level(view: View, channel: int, value: float) -> float:
    low, high = (_channel(view.values(level), channel) for level in (0, LEVELS - 1))
    return (value - low) / (high - low) * (LEVELS - 1)


def _value_ticks(view: View, channel: int) -> tuple[Tick, ...]:
    levels = (0, (LEVELS - 1) / 2, LEVELS - 1)
    return tuple(Tick(_place(level), f"{_channel(view.values(level), channel) + 0.0:.4g}") for level in levels)


def _channel(values: npt.NDArray[np.float64], channel: int) -> float:
    """The value for a channel of an array of one value for all, or of one for each."""
    return float(values[channel if len(values) > 1 else 0])
