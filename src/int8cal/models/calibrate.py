"""The streaming calibrator: one pass over the batches, the memory of a few images, ranges by any method afterwards."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from int8cal.errors import UseError
from int8cal.io.safe_text import shell_word
from int8cal.models.binding import InputBinding, images_not_finite
from int8cal.models.histogram import Histogram, NonFiniteError
from int8cal.models.passes import for_each_image
from int8cal.models.ranges import DEFAULT_PERCENTILE, threshold
from int8cal.models.runner import Runner
from int8cal.models.side_by_side import KnownValues
from int8cal.types import Batches, BatchNCHW_f32, Method, Progress


@dataclass(frozen=True)
class Calibration:
    """Magnitudes of every tensor over all calibration images.

    Attributes:
        histograms: tensor name → `Histogram`.
        images: how many images were run.
        not_finite: tensors that took infinite or undefined values, of which there is no histogram.
        peaks: tensor → largest magnitude of each channel, shape (C,), of those for which it was asked.
    """

    histograms: Mapping[str, Histogram]
    images: int
    not_finite: tuple[str, ...] = ()
    peaks: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)

    def amax(self, method: Method = "entropy", percentile: float = DEFAULT_PERCENTILE) -> dict[str, float]:
        """Tensor name → magnitude at which it saturates (see `int8cal.models.ranges`); 0.0 when never active."""
        return {name: threshold(histogram, method, percentile) for name, histogram in self.histograms.items()}

    def only(self, tensors: Iterable[str]) -> Calibration:
        """What was counted of some of the tensors."""
        histograms = {name: self.histograms[name] for name in tensors if name in self.histograms}
        return replace(self, histograms=histograms)

    def low(self) -> dict[str, float]:
        """Tensor name → smallest value; 0.0 where none is below."""
        return {name: histogram.low for name, histogram in self.histograms.items()}

    @staticmethod
    def joined(parts: Sequence[Calibration]) -> Calibration:
        """All that several have seen of the same tensors."""
        if len(parts) == 1:
            return parts[0]
        histograms = {name: Histogram() for name in parts[0].histograms}
        for part in parts:
            for name, histogram in part.histograms.items():
                histograms[name].merge(histogram)
        peaks = {
            name: np.max([part.peaks[name] for part in parts if name in part.peaks], axis=0)
            for name in dict.fromkeys(name for part in parts for name in part.peaks)
        }
        return Calibration(histograms, sum(part.images for part in parts), parts[0].not_finite, peaks)


def calibrate(
    model: Any,
    tensors: Sequence[str],
    batches: Batches,
    binding: InputBinding,
    progress: Progress | None = None,
    *,
    needed: Iterable[str] | None = None,
    by_channel: Collection[str] = (),
    known: KnownValues | None = None,
    outputs: Sequence[str] = (),
    held_out: Sequence[Collection[int]] = (),
    activation_bytes: int | None = None,
) -> list[Calibration]:
    """Run every image once through the float model and count the magnitudes of the chosen tensors.

    The counts depend neither on the batch size of the file, nor on the order of the images, nor on the number of
    threads.

    Args:
        model: ``onnx.ModelProto``, as `int8cal.models.graph.prepare` gave it.
        tensors: names of the activations to measure; the model's input may be among them.
        batches: NCHW float32 batches.
        binding: see `int8cal.models.binding.bind_input`.
        progress: told about each image.
        needed: those of the tensors that must be finite; all, unless given.
        by_channel: those of which the peaks of each channel (axis 1) are wanted, too.
        known: keeps the outputs for images that are held out, where a run takes one image.
        outputs: which outputs of the model those are.
        held_out: parts that are counted apart, by the numbers of their images.
        activation_bytes: see `int8cal.models.runner.Runner`.

    Returns:
        The calibration by the images that are in no part, then by those of each part; all are of the same tensors.

    Raises:
        UseError: the model fails on the data, or a tensor that must not takes infinite or undefined values.
    """
    counts = [_Counts(tensors, by_channel) for _ in range(1 + len(held_out))]
    part_of = {number: part for part, numbers in enumerate(held_out, start=1) for number in numbers}
    size = binding.batch or 1
    more = () if known is None or size > 1 else tuple(outputs)
    runner = Runner(
        model,
        list(dict.fromkeys([*tensors, *more])),
        binding,
        optimized=True,
        activation_bytes=activation_bytes,
    )

    def count(numbers: list[int], images: BatchNCHW_f32) -> tuple[None, int]:
        number, held = part_of.get(numbers[0], 0), 0
        part = counts[number]
        for values in runner.run(images):
            held += sum(value.nbytes for value in values.values())
            if known is not None and more and number:
                known.keep(numbers, {name: values[name] for name in more})
            part.add({name: value for name, value in values.items() if name in part.histograms})
        part.count_images(len(numbers))
        return None, held

    passes: list[Callable[[int], bool]] = [lambda number: True]
    if size > 1 and held_out:  # a run must not hold images of two parts
        passes = [lambda number, part=part: part_of.get(number, 0) == part for part in range(len(counts))]  # type: ignore[misc]
    for wanted in passes:
        for _ in for_each_image(batches, size, count, wanted=wanted, progress=progress, phase="calibrating"):
            pass
    return _without_infinite(model, binding, counts, set(tensors if needed is None else needed))


class _Counts:
    """Histograms that several threads add to."""

    def __init__(self, tensors: Iterable[str], by_channel: Collection[str]) -> None:
        self.histograms = {tensor: Histogram() for tensor in tensors}
        self.peaks: dict[str, npt.NDArray[np.float32]] = {}
        self._by_channel = by_channel
        self.not_finite: set[str] = set()
        self.images = 0
        self._locks = {tensor: Lock() for tensor in self.histograms}
        self._lock = Lock()

    def count_images(self, images: int) -> None:
        with self._lock:
            self.images += images

    def add(self, values: dict[str, npt.NDArray[np.float32]]) -> None:
        """Count all values, and let go of each tensor as soon as it is counted."""
        while values:
            tensor, array = values.popitem()
            try:
                with self._locks[tensor]:
                    self.histograms[tensor].add(array)
                    if tensor in self._by_channel:
                        self._add_peaks(tensor, array)
            except NonFiniteError:
                self.not_finite.add(tensor)

    def _add_peaks(self, tensor: str, values: npt.NDArray[np.float32]) -> None:
        others = tuple(axis for axis in range(values.ndim) if axis != 1)
        peaks = np.maximum(values.max(axis=others), -values.min(axis=others))
        known = self.peaks.get(tensor)
        self.peaks[tensor] = peaks if known is None else np.maximum(known, peaks)


def _without_infinite(
    model: Any, binding: InputBinding, counts: Sequence[_Counts], needed: set[str]
) -> list[Calibration]:
    not_finite = set().union(*(part.not_finite for part in counts))
    if binding.name in not_finite:
        raise images_not_finite()
    for tensor in sorted(not_finite & needed):
        readers = [node.name for node in model.graph.node if tensor in node.input]
        excluded = " ".join(f"--exclude {shell_word(name)}" for name in readers)
        raise UseError(
            f"tensor {tensor!r} takes infinite or undefined values (inf, NaN) on the calibration images",
            hint="Check the tensorfile (int8cal verify) and that the model works in float. Where they are meant to be, "
            f"leave what reads them in float: {excluded}",
        )
    if not sum(part.images for part in counts):
        raise UseError("there are no calibration images")
    return [
        Calibration(
            {name: histogram for name, histogram in part.histograms.items() if name not in not_finite},
            part.images,
            tuple(sorted(not_finite)),
            {name: peaks for name, peaks in part.peaks.items() if name not in not_finite},
        )
        for part in counts
    ]
