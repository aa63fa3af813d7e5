"""Decide on the method, then on the layers that stay float, and on corrected biases: by models that are tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from int8cal.models.agreement import Agreement
from int8cal.models.choose import Candidates, Choice, Trial, choose
from int8cal.models.placement import Placement
from int8cal.models.search import QUICK_IMAGES, Figures, Search, fewest_in_float
from int8cal.models.settings import Settings
from int8cal.models.side_by_side import KnownValues
from int8cal.models.variants import Variants
from int8cal.types import Batches, Method


@dataclass(frozen=True)
class Judges:
    """What models are judged by.

    Attributes:
        trials: thresholds to try, and numbers of the images to judge them by.
        reference: the float model.
        batches: where those images are.
        known: outputs of the float model for some of them.
        held_out: whether they took no part in the thresholds.
    """

    trials: Sequence[Trial]
    reference: Any
    batches: Batches
    known: KnownValues
    held_out: bool


@dataclass(frozen=True)
class Chosen:
    """How the model is made.

    Attributes:
        method: by which thresholds are chosen.
        placement: where Q/DQ stands.
        bias_correction: whether biases are corrected.
        choice: how the method was chosen; None when the caller chose it.
        search: which layers were left in float for an agreement, and how; None when none was asked for.
    """

    method: Method
    placement: Placement
    bias_correction: bool
    choice: Choice | None
    search: Search | None

    def agreement(self, settings: Settings) -> Agreement | None:
        """That of the very model that is made, measured when its method was chosen; None when it is another one."""
        is_another = settings.precision != "fp32" or (self.search and self.search.layers)
        if self.choice is None or is_another or self.bias_correction != self.choice.corrects_biases:
            return None
        return self.choice.agreement


def decide(
    settings: Settings,
    variants: Variants,
    placement: Placement,
    judges: Judges,
    say: Callable[[str], None] | None = None,
) -> Chosen:
    """Decide.

    Args:
        settings: what is left open: the method, corrected biases, which layers stay float.
        variants: makes the models that are tried.
        placement: where Q/DQ stands when no more layers stay float.
        judges: what they are judged by.
        say: told beforehand how many models a search will try.

    Raises:
        UseError: no model reaches what was asked for.
    """
    choice = search = None
    if settings.method == "auto":
        tensors = placement.tensors(variants.model)
        choice = choose(
            [trial.only(tensors) for trial in judges.trials],
            Candidates(partial(variants.by_trial, placement), placement, variants.binding).of,
            judges.reference,
            judges.batches,
            variants.binding,
            held_out=judges.held_out,
            corrected_of=partial(variants.corrected, placement) if settings.tries_biases else None,
            known=judges.known,
            percentile=settings.percentile,
            progress=variants.progress,
        )
    method: Method = choice.method if choice else cast(Method, settings.method)
    if settings.min_agreement is not None:
        figures = Figures(
            variants=variants,
            placement=placement,
            trial=judges.trials[0],
            method=method,
            percentile=settings.percentile,
            reference=judges.reference,
            batches=judges.batches,
            known=judges.known,
            score=settings.score,
        )
        quick = partial(figures.of, images_at_most=QUICK_IMAGES)
        search = fewest_in_float(placement.layers, settings.min_agreement, figures.of, alone=quick, say=say)
        placement = variants.placed(search.layers)
    corrects = settings.bias_correction
    if corrects is None:
        corrects = choice is not None and choice.corrects_biases
    return Chosen(method, placement, corrects, choice, search)
