"""The fewest layers in float with which an INT8 model reaches a figure that is asked for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from int8cal.errors import UsageError, UseError
from int8cal.io.safe_text import shell_word, short_repr
from int8cal.io.summary import counted
from int8cal.models.agreement import Agreement
from int8cal.models.choose import MOST_HELD_OUT, Trial
from int8cal.models.placement import Placement
from int8cal.models.side_by_side import KnownValues, measure_each
from int8cal.models.variants import Variants
from int8cal.tensorfile.findings import Finding
from int8cal.types import Batches, Method

QUICK_IMAGES = 4
"""On so many each layer is tried alone."""
_SHOWN = 3
_SCORE = "Return a finite number, larger for better models."


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        wanted: the figure that was asked for.
        reached: the figure of the result.
        layers: the layers to leave in float, the most expensive first.
        runs: how many models were measured.
    """

    wanted: float
    reached: float
    layers: tuple[str, ...]
    runs: int

    def missed_by(self, sqnr_db: float) -> Iterator[Finding]:
        """Whether the finished model, by the images that it is judged by, has less than was reached when searching.

        Args:
            sqnr_db: of its worst output.
        """
        if sqnr_db < self.wanted <= self.reached:
            yield Finding(
                "warning",
                "below-min-agreement",
                f"the model has {sqnr_db:.1f} dB on the images that it is judged by, less than the {self.wanted:g} dB "
                f"asked for; on those that the layers were chosen by it had {self.reached:.1f} dB",
                "Raise --min_agreement by what is missing, or have the layers chosen by more images (--eval).",
            )

    @property
    def exclude_arguments(self) -> str:
        """For `int8cal quantize`."""
        return _exclude_arguments(self.layers)

    @property
    def layers_precision(self) -> list[str]:
        """For TAO Deploy's ``layers_precision``."""
        return [f"{name}:fp32" for name in self.layers]

    @property
    def layer_device_precision(self) -> str:
        """For DeepStream's ``layer-device-precision``."""
        return ";".join(f"{name}:fp32:gpu" for name in self.layers)


def fewest_in_float(
    layers: Sequence[str],
    wanted: float,
    score: Callable[[Sequence[str]], float],
    *,
    alone: Callable[[Sequence[str]], float] | None = None,
    say: Callable[[str], None] | None = None,
) -> Search:
    """Find few layers to leave in float: first what each costs when it alone is INT8, then by true measurements.

    Layers are left in float from the most expensive on until the figure is reached; then each is tried in INT8 again,
    the cheapest first. One layer at least is INT8: without any, there is nothing to measure.

    Args:
        layers: that may stay float.
        wanted: the least figure, larger is better.
        score: figure of the model in which these layers are float.
        alone: the same, perhaps on fewer images; for the first step.
        say: told beforehand how many runs there will be, and how long they may take.

    Raises:
        UseError: no model with an INT8 layer reaches the figure.
    """
    runs, begun = 1, time.monotonic()
    reached = score(())
    if reached >= wanted:
        return Search(wanted, reached, (), runs)
    each = time.monotonic() - begun
    most = len(layers) + 2 * len(layers).bit_length() + len(layers)
    if say is not None:
        more = most - len(layers)
        single = counted(len(layers), "layer")
        say(f"{single} one at a time, then at most {more} more: about {each * most:.0f} s at most")
    costs = {}
    for layer in layers:
        costs[layer] = (alone or score)([other for other in layers if other != layer])
        runs += 1
    order = sorted(layers, key=lambda layer: costs[layer])
    low, high = 0, len(order) - 1  # the least number of them that is enough lies above low, and not above high
    most_in_float = score(order[:high]) if high else reached
    runs += bool(high)
    if most_in_float < wanted:
        raise _out_of_reach(wanted, max((reached, ()), (most_in_float, tuple(order[:high]))))
    reached = most_in_float
    step = 1
    while low + step < high:
        figure = score(order[: low + step])
        runs += 1
        if figure >= wanted:
            high, reached = low + step, figure
            break
        low, step = low + step, 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        figure = score(order[:middle])
        runs += 1
        if figure >= wanted:
            high, reached = middle, figure
        else:
            low = middle
    chosen = order[:high]
    for layer in reversed(chosen):
        if len(chosen) == 1:
            break
        without = [other for other in chosen if other != layer]
        figure = score(without)
        runs += 1
        if figure >= wanted:
            chosen, reached = without, figure
    return Search(wanted, reached, tuple(chosen), runs)


def _exclude_arguments(layers: Sequence[str]) -> str:
    return " ".join(f"--exclude {shell_word(name)}" for name in layers)


def _out_of_reach(wanted: float, best: tuple[float, Sequence[str]]) -> UseError:
    figure, layers = best
    with_these = (
        f", with {counted(len(layers), 'layer')} in float ({_exclude_arguments(layers[:_SHOWN])}" if layers else ""
    )
    more = " …)" if len(layers) > _SHOWN else ")" if layers else ""
    return UseError(
        f"no model with a layer in INT8 reaches {wanted:g}: the best has {figure:.1f}{with_these}{more}",
        hint="Ask for less with --min_agreement, or keep the float model.",
    )


@dataclass(frozen=True)
class Figures:
    """The figures of models in which some layers are float.

    Attributes:
        variants: makes the models.
        placement: where Q/DQ stands when none of them is.
        trial: thresholds, and numbers of the images to judge by.
        method, percentile: how thresholds are chosen.
        reference: the float model.
        batches: where the images to judge by are.
        known: outputs of the float model for some of them.
        score: judges a model in place of the SQNR of its worst output.
    """

    variants: Variants
    placement: Placement
    trial: Trial
    method: Method
    percentile: float
    reference: Any
    batches: Batches
    known: KnownValues
    score: Callable[[Any], float] | None

    def of(self, in_float: Sequence[str], images_at_most: int = MOST_HELD_OUT) -> float:
        """The figure with these layers in float: SQNR in dB, or what ``score`` says."""
        if set(self.placement.layers) <= set(in_float):
            return math.inf  # the float model
        placement = self.variants.placed(in_float)
        calibration = self.trial.calibration.only(placement.tensors(self.variants.model))
        model = self.variants.made(placement, calibration.amax(self.method, self.percentile), calibration)
        if self.score is not None:
            return _figure(self.score(model))
        measured = measure_each(
            self.reference,
            model,
            self.batches,
            bindings=(self.variants.binding, self.variants.binding),
            numbers=self.trial.numbers,
            max_images=images_at_most,
            known=self.known,
        )
        joined = Agreement.joined(measured)
        if not joined.judged:
            raise UseError(
                "no output can be compared, so there is no figure to reach",
                hint="Leave out --min_agreement; in Python, a function can judge the models (score=).",
            )
        worst = joined.worst_db()
        return -math.inf if math.isnan(worst) else worst


def _figure(given: Any) -> float:
    """What a function of the caller gave for a model, which may be a number of any library."""
    try:
        figure = float(given)
    except (TypeError, ValueError) as error:
        raise UsageError(f"score returned {short_repr(given)}, which is no number", hint=_SCORE) from error
    if not math.isfinite(figure):  # no comparison with it would say which model is better
        raise UsageError(f"score returned {figure}, which is not finite", hint=_SCORE)
    return figure
