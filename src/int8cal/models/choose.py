"""``--method auto``: every method's thresholds from one calibration, tried on images that took no part in it.

Images are held out in parts. A *trial* has the thresholds of all images but those of one part, and this part to judge
them by. A method's figure is that on the images of all trials. Methods that fall behind are dropped on the way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from typing import Any

import numpy as np

from int8cal.io.progress import watched
from int8cal.models.agreement import Agreement
from int8cal.models.binding import InputBinding
from int8cal.models.calibrate import Calibration
from int8cal.models.passes import LoadedImages, load_images
from int8cal.models.placement import Placement
from int8cal.models.qdq import Range, feed_scales, scale_and_zero
from int8cal.models.ranges import DEFAULT_PERCENTILE
from int8cal.models.side_by_side import KeptSession, KnownValues, measure_each
from int8cal.types import METHODS, Batches, Method, Progress

MOST_HELD_OUT = 64
"""Of a part that is larger, no more images are used."""
_ENOUGH_HELD_OUT = 24
"""As many parts are held out as have so many images together."""
_PARTS = 4
"""Each has one image in so many."""
_LEAST_IMAGES = 8
"""With fewer, none are held out: all are used for both."""

_EQUAL_DB = 0.2
"""Methods this near to the best equal it, and the first of them in the order of `METHODS` is taken."""
_BEHIND_DB = 2.0
"""A method that is farther behind is dropped. Smaller gaps have been seen to turn round on other images."""
_DECIDE_EVERY = 4
"""After so many images, and again after as many, it is asked which methods to drop; fewer would decide by chance."""
_NEAR_FROM = 12
"""From so many images on, the best method is taken when none is farther behind than `_BEHIND_DB`."""
_NOT_FINITE = -1000.0
"""A score below all others."""


@dataclass(frozen=True)
class Choice:
    """How the method was chosen.

    Attributes:
        method: the one taken.
        scores: method → SQNR in dB of the worst output (or group of its channels), on the images that it was tried on;
            NaN where values are not finite.
        tried: method → on how many images; those of a method that fell behind are fewer.
        held_out: whether those took no part in the thresholds that were compared.
        agreement: of the model by the chosen method on those images. Where biases are corrected: of that model,
            on the images of the first trial.
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
        return self.biases is not None and self.biases[1] > self.biases[0] + _EQUAL_DB

    @property
    def images(self) -> int:
        """On how many images the chosen method was tried."""
        return self.tried[self.method]


def held_out_parts(images: int) -> tuple[frozenset[int], ...]:
    """Which images of a calibration file are held out, part by part: none of very few.

    A part has one of every four images, drawn at random: images often come in turn from several cameras. One part of
    few images would decide by chance, so as many parts are held out in their turn as bring the images to judge by to
    24; of a part that is larger, 64 are taken at most. The thresholds that a part judges are those of all images but
    its own.

    Args:
        images: how many there are.
    """
    if images < _LEAST_IMAGES:
        return ()
    parts: list[list[int]] = [[] for _ in range(_PARTS)]
    for start in range(0, images, _PARTS):
        drawn = sorted(range(start, min(start + _PARTS, images)), key=_random)
        for part, number in zip(parts, drawn, strict=False):
            part.append(number)
    count = -(-_ENOUGH_HELD_OUT // len(parts[0]))
    return tuple(frozenset(_thinned(part)) for part in parts[:count])


def _random(number: int) -> bytes:
    """A random number for each image, the same at all times."""
    return sha256(str(number).encode()).digest()


def _thinned(part: Sequence[int]) -> list[int]:
    """Those of a part that are used, from all over it."""
    most = min(len(part), MOST_HELD_OUT)
    return [part[number * len(part) // most] for number in range(most)]


@dataclass(frozen=True)
class Trial:
    """Thresholds to try, and images to judge them by.

    Attributes:
        calibration: gives the thresholds; by images that are not among those to judge by, if any are held out.
        numbers: which images to judge by; None: all.
    """

    calibration: Calibration
    numbers: frozenset[int] | None

    def only(self, tensors: Iterable[str]) -> Trial:
        """The trial with the thresholds of some tensors alone."""
        return Trial(self.calibration.only(tensors), self.numbers)


def trials_of(parted: Sequence[Calibration], held_out: Sequence[frozenset[int]]) -> list[Trial]:
    """A trial on each part that is held out, or one on all images if none is.

    Args:
        parted: what `int8cal.models.calibrate.calibrate` gave for these parts.
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
    """INT8 models with Q/DQ in the same places that differ in their thresholds.

    Opening a model costs as much as a few images, so they share a session, which is fed their scales: those of one
    trial, and those of all where no channels are scaled by what a trial has seen. ONNX Runtime's own form wants
    constants: there each is a model for itself.

    Args:
        made: makes the model of thresholds and the trial that they are from.
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
        if self._last is None or (self._last[0] is not trial and trial.calibration.peaks):
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
    candidate_of: Callable[[dict[str, float], Trial], Candidate],
    reference: Any,
    batches: Batches,
    binding: InputBinding,
    *,
    held_out: bool,
    corrected_of: Callable[[dict[str, float], Trial], Candidate] | None = None,
    known: KnownValues | None = None,
    percentile: float = DEFAULT_PERCENTILE,
    progress: Progress | None = None,
) -> Choice:
    """Try every method, then the best one with corrected biases.

    Args:
        trials: see `trials_of`.
        candidate_of: makes the INT8 model of thresholds and the trial that they are from.
        reference: the float model.
        batches: where the images to judge by are.
        binding: how images get into the float model.
        held_out: whether these took no part in the thresholds that they judge; for the report.
        corrected_of: the same with corrected biases; None: those are not tried.
        known: outputs of the float model for some of the images.
        percentile: for the method ``percentile``.
        progress: told about each image.
    """
    known = known or KnownValues()
    found: dict[Method, list[Agreement]] = {method: [] for method in METHODS}
    images_of = [min(batches.image_count, MOST_HELD_OUT) if t.numbers is None else len(t.numbers) for t in trials]

    def loaded(trial: Trial, most: int = MOST_HELD_OUT) -> Iterator[LoadedImages]:
        size = -(-_DECIDE_EVERY // (binding.batch or 1)) * (binding.batch or 1)
        wanted = (lambda number: True) if trial.numbers is None else trial.numbers.__contains__
        return load_images(batches, size, wanted, most)

    def measured(candidate: Candidate, images: LoadedImages) -> list[Agreement]:
        return measure_each(
            reference,
            candidate.model,
            images,
            bindings=(binding, candidate.binding),
            known=known,
            session=candidate.session,
        )

    @cache  # the search for thresholds may take as long as a run
    def amax_of(number: int, method: Method) -> dict[str, float]:
        return trials[number].calibration.amax(method, percentile)

    def try_all(advance: Callable[[int], None]) -> list[Method]:
        """Fill ``found``, trial by trial; gives the methods that are left in the end."""
        left = list(METHODS)
        for number, trial in enumerate(trials):
            amax = {method: amax_of(number, method) for method in left}
            for images in loaded(trial):
                same: list[tuple[dict[str, float], list[Agreement]]] = []  # methods often have equal thresholds
                for method in left:
                    agreements = next((agreements for other, agreements in same if other == amax[method]), None)
                    if agreements is None:
                        agreements = measured(candidate_of(amax[method], trial), images)
                        same.append((amax[method], agreements))
                    found[method] += agreements
                    advance(len(images.numbers))
                left = _undecided({method: found[method] for method in left})
                if len(left) == 1:
                    return left
        return left

    with watched(progress, len(METHODS) * sum(images_of), "trying methods") as advance:
        left = try_all(advance)
    joined = {method: Agreement.joined(agreements) for method, agreements in found.items()}
    scores = {method: agreement.worst_db() for method, agreement in joined.items()}
    best = max((scores[method] for method in left if not math.isnan(scores[method])), default=math.nan)
    equal = [method for method in left if scores[method] >= best - _EQUAL_DB]  # none, if all are NaN
    method = (equal or left)[0]
    tried = {method: agreement.images for method, agreement in joined.items()}
    choice = Choice(method, scores, tried, held_out, joined[method])
    if corrected_of is None:
        return choice
    trial = trials[0]
    candidate = corrected_of(amax_of(0, method), trial)
    corrected: list[Agreement] = []
    with watched(progress, min(images_of[0], tried[method]), "trying corrected biases") as advance:
        for images in loaded(trial, tried[method]):
            corrected += measured(candidate, images)
            advance(len(images.numbers))
    plain, agreement = Agreement.joined(found[method][: len(corrected)]), Agreement.joined(corrected)
    choice = replace(choice, biases=(_score(plain), _score(agreement)))
    return replace(choice, agreement=agreement) if choice.corrects_biases else choice


def _undecided(found: Mapping[Method, Sequence[Agreement]]) -> list[Method]:
    """The methods among which more images may decide; one, when they would not.

    A method is dropped when it is 2 dB behind the best one whichever single image is left out, so that an image which
    outweighs all others decides nothing alone. The best one is taken when the others equal it, or are near to it on 12
    images.

    Args:
        found: method → its agreement on each image; all on the same images.
    """
    images = sum(agreement.images for agreement in next(iter(found.values())))
    if images < _DECIDE_EVERY:
        return list(found)
    whole = {method: _score(Agreement.joined(agreements)) for method, agreements in found.items()}
    without = {method: _scores_without_each(agreements) for method, agreements in found.items()}
    leader = max(whole, key=lambda method: whole[method])
    behind = {
        method: [best - score for best, score in zip(without[leader], scores, strict=True)]
        for method, scores in without.items()
    }
    left = [method for method in found if min(behind[method]) <= _BEHIND_DB]
    near = _BEHIND_DB if images >= _NEAR_FROM else _EQUAL_DB
    if all(abs(gap) <= near for method in left for gap in behind[method]):
        return [method for method in left if whole[method] >= whole[leader] - _EQUAL_DB][:1]
    return left


def _scores_without_each(agreements: Sequence[Agreement]) -> list[float]:
    """The score without the first image, without the second, and so on; in linear time."""
    if len(agreements) == 1:
        return [_score(agreements[0])]
    before, after = [agreements[0]], [agreements[-1]]
    for one, other in zip(agreements[1:], reversed(agreements[:-1]), strict=True):
        before.append(Agreement.joined([before[-1], one]))
        after.append(Agreement.joined([other, after[-1]]))
    after.reverse()
    middle = [_score(Agreement.joined([before[at - 1], after[at + 1]])) for at in range(1, len(agreements) - 1)]
    return [_score(after[1]), *middle, _score(before[-2])]


def _score(agreement: Agreement) -> float:
    """SQNR in dB of the worst output, as a finite number."""
    worst = agreement.worst_db()
    return _NOT_FINITE if math.isnan(worst) else max(_NOT_FINITE, min(worst, -_NOT_FINITE))
