"""Is an INT8 model any good? A verdict in one word, and what to try.

The rule, by the SQNR of the worst output (or group of its channels, see `int8cal.models.channels`):

* ``good``: at least 15 dB. Task accuracy was at most 1.6 points below the float model's where it was measured
  (``benchmarks/verdict.py``).
* ``look``: 10 to 15 dB. Usually usable, sometimes some points are lost: measure the task's own accuracy.
* ``poor``: below 10 dB, or values that are not finite. Detections are lost or moved.

Of a classifier, the share of images with the same class in both models counts, too: ``good`` from 95 %, ``poor``
below 80 %. Outputs that are whole numbers are judged only where there are no others, by their share of equal values:
``good`` from 98 %, ``poor`` below 90 %; pictures of 8 bits are judged by the SQNR (see `TensorAgreement.whole`). One
image of another class alone decides nothing. An output of which nearly all is the same everywhere (an offset, scores
that are all but 0 and 1) is judged by the SQNR of what varies, too; no worse than ``look`` where a classifier chooses
the same class on every image. Where no output can be compared, none holds a value, or the float model
itself gives undefined ones, the verdict is ``not measured``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from int8cal.models.agreement import Agreement, TensorAgreement

Level: TypeAlias = Literal["good", "look", "poor", "not measured"]
_ORDER: tuple[Level, ...] = ("poor", "not measured", "look", "good")

GOOD_DB, POOR_DB = 15.0, 10.0
_GOOD_TOP1, _POOR_TOP1 = 0.95, 0.80
_GOOD_EQUAL, _POOR_EQUAL = 0.98, 0.90


@dataclass(frozen=True)
class Verdict:
    """What an agreement means.

    Attributes:
        level: see the module.
        output: the output that decides; None when there is none to judge.
        reason: the figure that decides, in words.
        worst_db: `TensorAgreement.worst_db` of the worst output, whatever decides; NaN where it has no meaning.
    """

    level: Level
    output: str | None
    reason: str
    worst_db: float = math.nan

    @property
    def why(self) -> str:
        """The output that decides, and its figure: ``output_cov: 36.2 dB``."""
        return f"{self.output}: {self.reason}" if self.output else self.reason


def judge(*agreements: Agreement) -> Verdict:
    """The verdict on a model by its agreement with the float model, on the worst of one or several sets of images."""
    judged = [output for agreement in agreements for output in agreement.judged]
    if not judged:
        return Verdict("not measured", None, "no output could be compared")
    verdict, _ = min((_of(output) for output in judged), key=lambda item: (_ORDER.index(item[0].level), item[1]))
    figures = [agreement.worst_db() for agreement in agreements if agreement.judged]
    return replace(verdict, worst_db=math.nan if any(map(math.isnan, figures)) else min(figures))


def _of(output: TensorAgreement) -> tuple[Verdict, float]:
    """The verdict by one output, and a figure to sort equal ones by."""
    if output.undefined:
        return Verdict("not measured", output.name, "the float model gives undefined values (NaN)"), -math.inf
    if not output.finite:
        return Verdict("poor", output.name, _lost(output)), -math.inf
    if output.whole:
        level = _level(output.equal, _GOOD_EQUAL, _POOR_EQUAL)
        return Verdict(level, output.name, f"{output.equal:.1%} of its values are equal"), output.equal
    level = _level(output.worst_db, GOOD_DB, POOR_DB)
    if level == "poor" and output.top1 == 1.0 and output.worst_db == output.varying_db:
        level = "look"  # the scores of one class that all images have: their noise changes no decision
    found = [(level, _decibels(output))]
    if output.top1 is not None and output.other_class > 1:
        found.append(
            (_level(output.top1, _GOOD_TOP1, _POOR_TOP1), f"the same class on {output.top1:.1%} of the images")
        )
    level, reason = min(found, key=lambda item: _ORDER.index(item[0]))
    return Verdict(level, output.name, reason), output.worst_db


def _lost(output: TensorAgreement) -> str:
    if len(output.lost_in) > 1:
        return "both models give infinite or undefined values, and not the same"
    (one,) = output.lost_in
    return f"only the {one} model gives infinite or undefined values"


def _level(value: float, good: float, poor: float) -> Level:
    return "good" if value >= good else "look" if value >= poor else "poor"


def _decibels(output: TensorAgreement) -> str:
    if output.identical:
        return "identical"
    worst = min(output.groups, key=lambda group: group.sqnr_db, default=None)
    if worst and worst.sqnr_db == output.worst_db:
        return f"{worst.sqnr_db:.1f} dB in {worst.text}"
    varies = "" if output.worst_db == output.sqnr_db else " in what varies, and nearly all of it is the same everywhere"
    return f"{output.worst_db:.1f} dB{varies}"
