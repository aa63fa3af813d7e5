"""``--method auto``: every method's thresholds from one calibration, tried on images that took no part in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np

from int8cal.io.progress import watched
from int8cal.models.agreement import Agreement
from int8cal.models.binding import InputBinding
from int8cal.models.calibrate import Calibration
from int8cal.models.passes import SomeImages, some_at_a_time
from int8cal.models.placement import Placement
from int8cal.models.qdq import Range, feed_scales, scale_and_zero
from int8cal.models.ranges import DEFAULT_PERCENTILE
from int8cal.models.side_by_side import KeptSession, KnownValues, measure_each
from int8cal.types import METHODS, Batches, Method, Progress

EQUAL_DB = 0.2
BEHIND_DB = 2.0
"""By so much a method is behind when it is tried no more; by less, other images have turned it round."""
NEAR_FROM = 12
"""From so many images on the best method is taken when none is farther behind than that, whichever is left out."""
EVERY = 4
"""One image in this many is held out."""
LEAST_IMAGES = 8
"""With fewer, all images are used for both."""
_NOT_FINITE = -1000.0
"""A score below all others."""
ENOUGH_HELD_OUT, MOST_HELD_OUT = 24, 64
DECIDE_EVERY = 4
"""After as many images it is asked which methods are behind; fewer would decide by chance."""


@dataclass(frozen=True)
class Choice:
    """How the method was chosen.

    Attributes:
        method: the one taken.
        scores: method → SQNR in dB of the worst output (or group of its channels); NaN where values are not finite.
        tried: method → on how many images; those of a method that fell behind are fewer.
        held_out: whether those took no part in the thresholds that were compared.
        agreement: of the model by the chosen method, on those images; with corrected biases, if they are, on the first.
        biases: SQNR in dB without and with corrected biases, on the first images that the method was tried on; None if
            that was not tried.
    """

    method: Method
    scores: dict[Method, float]
    tried: dict[Method, int]
    held_out: bool
    agreement: Agreement
    biases: tuple[float, float] | None = None

    @property
    def corrects_biases(self) -> bool:
        """Whether corrected biases are better by more than what counts as equal."""
        return self.biases is not None and self.biases[1] > self.biases[0] + EQUAL_DB

    @property
    def images(self) -> int:
        """On how many images the chosen method was tried."""
        return self.tried[self.method]


def held_out_parts(images: int) -> tuple[frozenset[int], ...]:
    """Which images of a calibration file are held out, part by part: none of very few.

    A part is one of every four images, drawn at random: images often come in turn from several cameras. One part of
    few images would decide by chance, so as many parts are held out in their turn as bring the images to judge by to
    24; of a part that is larger, 64 are taken at most. The thresholds that a part judges are those of all images but
    its own.
    """
    if images < LEAST_IMAGES:
        return ()
    parts: list[list[int]] = [[] for _ in range(EVERY)]
    for start in range(0, images, EVERY):
        four = sorted(range(start, min(start + EVERY, images)), key=_drawn)
        for part, number in zip(parts, four, strict=False):
            part.append(number)
    count = -(-ENOUGH_HELD_OUT // len(parts[0]))
    return tuple(frozenset(_thinned(part)) for part in parts[:count])


def _drawn(number: int) -> bytes:
    """A random number for each image, the same at all times."""
    return sha256(str(number).encode()).digest()


def _thinned(part: Sequence[int]) -> list[int]:
    most = min(len(part), MOST_HELD_OUT)
    return [part[number * len(part) // most] for number in range(most)]


@dataclass(frozen=True)
class Trial:
    """Thresholds to try, and images to judge them by.

    Attributes:
        calibration: by images that are not among those.
        numbers: which images; None: all.
    """

    calibration: Calibration
    numbers: frozenset[int] | None

    def only(self, tensors: Iterable[str]) -> Trial:
        """The same with the thresholds of some tensors alone."""
        return Trial(self.calibration.only(tensors), self.numbers)


def trials_of(parted: Sequence[Calibration], held_out: Sequence[frozenset[int]]) -> list[Trial]:
    """A trial on each part that is held out, or one on all images if none is.

    Args:
        parted: calibrations, first by the images that are in no part, then by those of each part.
        held_out: numbers of the images of each part.
    """
    if not held_out:
        return [Trial(Calibration.joined(parted), None)]
    others = [[*parted[:part], *parted[part + 1 :]] for part in range(1, len(parted))]
    return [Trial(Calibration.joined(rest), numbers) for rest, numbers in zip(others, held_out, strict=True)]


@dataclass(frozen=True)
class Candidate:
    """An INT8 model to judge.

    Attributes:
        model: ``onnx.ModelProto``.
        binding: what it is fed: images, and scales where those are inputs.
        session: of that model; the same for candidates that differ in what they are fed.
    """

    model: Any
    binding: InputBinding
    session: KeptSession


class Candidates:
    """INT8 models by several thresholds.

    Opening a model costs as much as a few images, so those of one trial share a session, which is fed their scales.
    ONNX Runtime's own form wants constants: there each is a model for itself.

    Args:
        made: makes a model of thresholds and the trial that they are from.
        placement: where Q/DQ stands in all of them.
        binding: how images get into them.
    """

    def __init__(
        self, made: Callable[[dict[str, float], Trial], Any], placement: Placement, binding: InputBinding
    ) -> None:
        self._made, self._placement, self._binding = made, placement, binding
        self._last: tuple[Trial, Candidate, dict[str, str]] | None = None

    def of(self, amax: dict[str, float], trial: Trial) -> Candidate:
        """The model by these thresholds."""
        if self._placement.unsigned:
            return Candidate(self._made(amax, trial), self._binding, KeptSession())
        if self._last is None or self._last[0] is not trial:
            self._last = None  # before the next one takes its room
            model = self._made(amax, trial)
            inputs = feed_scales(model, amax)
            self._last = (trial, Candidate(model, self._binding, KeptSession()), inputs)
        _, candidate, inputs = self._last
        shared = self._placement.with_shared_scales(amax)
        fed = {entry: (np.asarray(scale_and_zero(Range(shared[name]))[0]), False) for name, entry in inputs.items()}
        return replace(candidate, binding=replace(self._binding, constants={**self._binding.constants, **fed}))


def choose(
    trials: Sequence[Trial],
    quantized: Callable[[dict[str, float], Trial], Candidate],
    reference: Any,
    batches: Batches,
    binding: InputBinding,
    *,
    held_out: bool,
    corrected: Callable[[dict[str, float], Trial], Candidate] | None = None,
    known: KnownValues | None = None,
    percentile: float = DEFAULT_PERCENTILE,
    progress: Progress | None = None,
) -> Choice:
    """Try every method, then the best one with corrected biases.

    Args:
        trials: the figures of a method are those on the images of all of them.
        quantized: makes the INT8 model of thresholds and the trial that they are from.
        reference: the float model.
        batches: where the images to judge by are.
        binding: how images get into the float model.
        held_out: whether they took no part in the thresholds by which they are judged.
        corrected: makes the INT8 model of thresholds with corrected biases; None: those are not tried.
        known: outputs of the float model for some of the images.
        percentile: for the method ``percentile``.
        progress: told about each image.
    """
    running, known = list(METHODS), known or KnownValues()
    tried: dict[Method, list[Agreement]] = {method: [] for method in METHODS}

    def measured(candidate: Candidate, images: SomeImages) -> list[Agreement]:
        return measure_each(
            reference,
            candidate.model,
            images,
            bindings=(binding, candidate.binding),
            known=known,
            session=candidate.session,
        )

    def parts_of(trial: Trial, most: int = MOST_HELD_OUT) -> Iterator[SomeImages]:
        size = -(-DECIDE_EVERY // (binding.batch or 1)) * (binding.batch or 1)
        wanted = (lambda number: True) if trial.numbers is None else trial.numbers.__contains__
        return some_at_a_time(batches, size, wanted, most)

    images_of = [min(batches.image_count, MOST_HELD_OUT) if t.numbers is None else len(t.numbers) for t in trials]
    with watched(progress, len(METHODS) * sum(images_of), "trying methods") as advance:
        for trial in trials:
            amax = {method: trial.calibration.amax(method, percentile) for method in running}
            for some in parts_of(trial):
                seen: list[tuple[dict[str, float], list[Agreement]]] = []
                for method in running:
                    found = next((found for other, found in seen if other == amax[method]), None)
                    if found is None:
                        found = measured(quantized(amax[method], trial), some)
                        seen.append((amax[method], found))
                    tried[method] += found
                    advance(len(some.numbers))
                running = _undecided({method: tried[method] for method in running})
                if len(running) == 1:
                    break
            if len(running) == 1:
                break
    agreements = {method: Agreement.joined(found) for method, found in tried.items()}
    scores = {method: agreement.worst_db() for method, agreement in agreements.items()}
    best = max((scores[method] for method in running if not math.isnan(scores[method])), default=math.nan)
    method = next((m for m in running if scores[m] >= best - EQUAL_DB or scores[m] == best), running[0])
    images = {method: agreement.images for method, agreement in agreements.items()}
    choice = Choice(method, scores, images, held_out, agreements[method])
    if corrected is None:
        return choice
    candidate = corrected(trials[0].calibration.amax(method, percentile), trials[0])
    found = []
    with watched(progress, min(images_of[0], images[method]), "trying corrected biases") as advance:
        for some in parts_of(trials[0], images[method]):
            found += measured(candidate, some)
            advance(len(some.numbers))
    plain, agreement = Agreement.joined(tried[method][: len(found)]), Agreement.joined(found)
    choice = replace(choice, biases=(_score(plain), _score(agreement)))
    return replace(choice, agreement=agreement) if choice.corrects_biases else choice


def _undecided(tried: Mapping[Method, Sequence[Agreement]]) -> list[Method]:
    """The methods among which more images may decide; one, when they would not.

    A method is out when it is 2 dB behind the best one whichever single image is left out. So an image that outweighs
    all others decides nothing alone. The best one is taken when the others equal it, or are near to it on 12 images.
    """
    images = sum(agreement.images for agreement in next(iter(tried.values())))
    if images < DECIDE_EVERY:
        return list(tried)
    without = {method: _without_each(found) for method, found in tried.items()}
    whole = {method: _score(Agreement.joined(found)) for method, found in tried.items()}
    leader = max(whole, key=lambda method: whole[method])
    behind = {
        method: [best - score for best, score in zip(without[leader], scores, strict=True)]
        for method, scores in without.items()
    }
    running = [method for method in tried if min(behind[method]) <= BEHIND_DB]
    near = BEHIND_DB if images >= NEAR_FROM else EQUAL_DB
    if all(abs(gap) <= near for method in running for gap in behind[method]):
        return [method for method in running if whole[method] >= whole[leader] - EQUAL_DB][:1]
    return running


def _without_each(found: Sequence[Agreement]) -> list[float]:
    """The score without the first image, without the second, and so on."""
    if len(found) == 1:
        return [_score(found[0])]
    before, after = [found[0]], [found[-1]]
    for one, other in zip(found[1:], reversed(found[:-1]), strict=True):
        before.append(Agreement.joined([before[-1], one]))
        after.append(Agreement.joined([other, after[-1]]))
    after.reverse()
    middle = [_score(Agreement.joined([before[at - 1], after[at + 1]])) for at in range(1, len(found) - 1)]
    return [_score(after[1]), *middle, _score(before[-2])]


def _score(agreement: Agreement) -> float:
    worst = agreement.worst_db()
    return _NOT_FINITE if math.isnan(worst) else max(_NOT_FINITE, min(worst, -_NOT_FINITE))
