"""The streaming calibrator: one pass over the batches, the memory of one batch, ranges by any method afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from int8cal.errors import UseError
from int8cal.io.progress import watched
from int8cal.models.binding import InputBinding
from int8cal.models.histogram import Histogram, NonFiniteError
from int8cal.models.ranges import DEFAULT_PERCENTILE, threshold
from int8cal.models.session import Runner
from int8cal.types import Batches, Method, Progress


@dataclass(frozen=True)
class Calibration:
    """Magnitudes of every tensor over all calibration images.

    Attributes:
        histograms: tensor name → `Histogram`.
        images: how many images were run.
    """

    histograms: Mapping[str, Histogram]
    images: int

    def amax(self, method: Method = "entropy", percentile: float = DEFAULT_PERCENTILE) -> dict[str, float]:
        """Tensor name → magnitude at which it saturates (see `int8cal.models.ranges`); 0.0 when never active."""
        return {name: threshold(histogram, method, percentile) for name, histogram in self.histograms.items()}


def calibrate(
    model: Any,
    tensors: Sequence[str],
    batches: Batches,
    binding: InputBinding,
    progress: Progress | None = None,
) -> Calibration:
    """Run every image once through the float model and count the magnitudes of the chosen tensors.

    Args:
        model: ``onnx.ModelProto``, as `int8cal.models.graph.prepare` gave it.
        tensors: names of the activations to measure; the model's input may be among them.
        batches: NCHW float32 batches.
        binding: see `int8cal.models.session.bind_input`.
        progress: told about each batch.

    Raises:
        UseError: the model fails on the data, or a tensor takes infinite or undefined values.
    """
    runner = Runner(model, tensors, binding)
    histograms = {tensor: Histogram() for tensor in tensors}
    images = 0
    with watched(progress, batches.image_count) as advance:
        for batch in batches:
            for part in runner.run(batch):
                _count(histograms, part)
            images += len(batch)
            advance(len(batch))
            del batch  # not kept while the next one is read
    if not images:
        raise UseError("there are no calibration images")
    return Calibration(histograms, images)


def _count(histograms: Mapping[str, Histogram], values: dict[str, npt.NDArray[np.float32]]) -> None:
    """Count all values, and let go of each tensor as soon as it is counted: the next part needs the memory."""
    while values:
        tensor, array = values.popitem()
        try:
            histograms[tensor].add(array)
        except NonFiniteError:
            raise UseError(
                f"tensor {tensor!r} takes infinite or undefined values (inf, NaN) on the calibration images",
                hint="Check the tensorfile (int8cal verify) and that the model works in float.",
            ) from None
