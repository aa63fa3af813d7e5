"""``--method auto``: every method's thresholds from one calibration, tried on images that took no part in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from int8cal.models.agreement import Agreement, measure_agreement
from int8cal.models.binding import InputBinding
from int8cal.models.calibrate import Calibration
from int8cal.models.ranges import DEFAULT_PERCENTILE
from int8cal.types import Batches, Method, Progress

ORDER: tuple[Method, ...] = ("mse", "percentile", "entropy", "minmax")
"""Which of equals is taken."""
EQUAL_DB = 0.2
EVERY = 4
"""One image in this many is held out."""
LEAST_IMAGES = 8
"""With fewer, all images are used for both."""
MOST_HELD_OUT = 64


@dataclass(frozen=True)
class Choice:
    """How the method was chosen.

    Attributes:
        method: the one taken.
        scores: method → SQNR in dB of the worst output (or group of its channels); NaN where values are not finite.
        images: on how many images.
        held_out: whether those took no part in the thresholds that were compared.
        agreement: of the model by the chosen method, on those images.
    """

    method: Method
    scores: dict[Method, float]
    images: int
    held_out: bool
    agreement: Agreement


def held_out_numbers(images: int) -> frozenset[int]:
    """Which images of a calibration file are held out: every fourth, evenly thinned beyond 64; none of very few."""
    if images < LEAST_IMAGES:
        return frozenset()
    every = range(EVERY - 1, images, EVERY)
    if len(every) <= MOST_HELD_OUT:
        return frozenset(every)
    return frozenset(every[number * len(every) // MOST_HELD_OUT] for number in range(MOST_HELD_OUT))


def choose(
    calibration: Calibration,
    quantized: Callable[[dict[str, float]], Any],
    reference: Any,
    batches: Batches,
    binding: InputBinding,
    *,
    numbers: frozenset[int] | None,
    held_out: bool,
    percentile: float = DEFAULT_PERCENTILE,
    progress: Progress | None = None,
) -> Choice:
    """Try every method.

    Args:
        calibration: by images that are not among those to judge by.
        quantized: makes the INT8 model of thresholds.
        reference: the float model.
        batches: where the images to judge by are.
        binding: how images get into the models.
        numbers: which images; None: all.
        held_out: whether they took no part in ``calibration``.
        percentile: for the method ``percentile``.
        progress: told about each image.
    """
    found: dict[Method, Agreement] = {}
    seen: list[tuple[dict[str, float], Agreement]] = []
    for method in ORDER:
        amax = calibration.amax(method, percentile)
        same = next((agreement for other, agreement in seen if other == amax), None)
        found[method] = same or measure_agreement(
            reference,
            quantized(amax),
            batches,
            bindings=(binding, binding),
            numbers=numbers,
            layers=False,
            max_images=MOST_HELD_OUT,
            progress=progress,
            phase=f"trying {method}",
        )
        seen.append((amax, found[method]))
    scores = {method: agreement.worst_db() for method, agreement in found.items()}
    best = max((score for score in scores.values() if not math.isnan(score)), default=math.nan)
    method = next((m for m in ORDER if scores[m] >= best - EQUAL_DB or scores[m] == best), ORDER[0])
    return Choice(method, scores, found[method].images, held_out, found[method])
