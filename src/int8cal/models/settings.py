"""What the caller of `int8cal.quantize` wants of the INT8 model, whatever model and images there are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from int8cal.errors import UsageError
from int8cal.models import half
from int8cal.models.opset import MIN_OPSET
from int8cal.models.ranges import check_percentile
from int8cal.types import MethodChoice, Precision, Target

_ONE_OF_THEM = "Leave out either --bias_correction or --min_agreement."


@dataclass(frozen=True)
class Settings:
    """Arguments of `int8cal.quantize`, which says what they mean."""

    method: MethodChoice
    percentile: float
    exclude: tuple[str, ...]
    min_agreement: float | None
    score: Callable[[Any], float] | None
    target: Target
    precision: Precision
    fold_weights: bool
    full_range_weights: bool
    equalize: bool
    bias_correction: bool | None

    def check(self) -> None:
        """Refuse what no model can be made by.

        Raises:
            UsageError: one makes no sense, or none beside another.
        """
        if self.full_range_weights and self.target != "onnxruntime":
            raise UsageError(
                "full-range weights are for ONNX Runtime; TensorRT's always are", hint="Leave the option out."
            )
        if self.bias_correction and self.searches:
            raise UsageError("--min_agreement tries models without corrected biases", hint=_ONE_OF_THEM)
        if self.score is not None and not self.searches:
            raise UsageError(
                "score judges the models of a search, and none is asked for",
                hint="Give min_agreement, too: the least score, in the unit of score.",
            )
        least = self.min_agreement
        if least is not None and not (math.isfinite(least) and (least >= 0 or self.score)):
            raise UsageError(f"an agreement of {least:g} cannot be reached", hint="Give the least SQNR in dB: 15.")
        check_percentile(self.percentile)

    @property
    def searches(self) -> bool:
        """Whether layers are sought that must stay float."""
        return self.min_agreement is not None

    @property
    def holds_out(self) -> bool:
        """Whether images are needed that no threshold is from, to judge models by."""
        return self.method == "auto" or self.searches

    @property
    def tries_biases(self) -> bool:
        """Whether it is tried if corrected biases help."""
        return self.method == "auto" and self.bias_correction is None and not self.searches

    @property
    def least_opset(self) -> int:
        """The operator set that the model needs at least."""
        return half.OPSET if self.precision == "fp16" else MIN_OPSET
