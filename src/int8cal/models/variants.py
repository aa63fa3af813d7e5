"""INT8 models of one float model that differ in thresholds, in what stays float, and in their biases."""

from __future__ import annotations

import glob
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from int8cal.models.bias import bias_errors, images_for_bias
from int8cal.models.binding import InputBinding
from int8cal.models.calibrate import Calibration
from int8cal.models.choose import Candidate, Trial
from int8cal.models.overlap import Digested
from int8cal.models.placement import Placement, place
from int8cal.models.qdq import Range, insert_qdq
from int8cal.models.side_by_side import KeptSession
from int8cal.models.wiring import Wiring
from int8cal.types import Progress, Target


@dataclass(frozen=True)
class Variants:
    """Makes INT8 models of one float model: with these layers in float, by those thresholds.

    Attributes:
        model: as `int8cal.models.graph.prepare` gave it.
        wiring: of it.
        binding: how images get into it.
        images: those of the calibration.
        target: the engine that will run the models.
        excluded: names or shell patterns of nodes that stay float in all of them.
        fold_weights, full_range_weights: as for `int8cal.models.qdq.insert_qdq`.
        progress: told about each image that biases are corrected with.
    """

    model: Any
    wiring: Wiring
    binding: InputBinding
    images: Digested
    target: Target
    excluded: tuple[str, ...]
    fold_weights: bool
    full_range_weights: bool
    progress: Progress | None

    def placed(self, in_float: Sequence[str] = ()) -> Placement:
        """Where Q/DQ stands when these nodes stay float, too."""
        return place(self.wiring, [*self.excluded, *map(glob.escape, in_float)], self.target)

    def made(
        self,
        placement: Placement,
        amax: Mapping[str, float],
        calibration: Calibration,
        bias_images: Collection[int] = (),
    ) -> Any:
        """The model by some thresholds.

        Args:
            placement: where Q/DQ stands.
            amax: quantised activation → threshold.
            calibration: that they are from.
            bias_images: numbers of the images to correct biases with; none: they stay.
        """
        shared, lows = placement.with_shared_scales(amax), calibration.low()
        ranges = {
            name: Range(shared[name], lows[name], calibration.peaks.get(name)) for name in placement.tensors(self.model)
        }
        errors = None
        if bias_images:
            errors = bias_errors(
                self.model,
                placement,
                ranges,
                self.images.batches,
                self.binding,
                bias_images,
                full_range_weights=self.full_range_weights,
                progress=self.progress,
            )
        return insert_qdq(
            self.model,
            placement,
            ranges,
            fold_weights=self.fold_weights,
            full_range_weights=self.full_range_weights,
            bias_errors=errors,
        )

    def by_trial(self, placement: Placement, amax: Mapping[str, float], trial: Trial) -> Any:
        """The model by thresholds of a trial."""
        return self.made(placement, amax, trial.calibration)

    def corrected(self, placement: Placement, amax: Mapping[str, float], trial: Trial) -> Candidate:
        """The model by a trial's thresholds with corrected biases, by images that are not those to judge it by."""
        images = images_for_bias(self.images.digests, trial.numbers or ())
        return Candidate(self.made(placement, amax, trial.calibration, images), self.binding, KeptSession())
