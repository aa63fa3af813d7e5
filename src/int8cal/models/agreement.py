"""How far two models' outputs are apart on the same images, summed up image by image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from int8cal.errors import UseError
from int8cal.io.summary import Summarised
from int8cal.models.binding import InputBinding
from int8cal.models.channels import ChannelSums, Group
from int8cal.models.choices import choices, given_choices, of_choices_alone, without_classes
from int8cal.models.graph import float_tensors, weighted_outputs
from int8cal.models.passes import SomeImages, for_each_image
from int8cal.models.session import Runner, numeric_outputs
from int8cal.types import Batches, BatchNCHW_f32, Progress

_Array: TypeAlias = npt.NDArray[np.float32]
_Doubles: TypeAlias = npt.NDArray[np.float64]


@dataclass
class TensorAgreement:
    """Sums over one tensor of two models, and the figures that follow from them.

    Attributes:
        name: the tensor.
        classes: number of classes when the tensor is a classifier's output, (N, K) or (N, K, 1, 1) with K ≥ 2; else 0.
        classifies: whether a tensor of that shape is a classifier's.
        whole: the values are whole numbers or truth values: a class chosen, a count.
        finite: False as soon as either model gave NaN or infinity where the other did not; the figures have no meaning
            then and are NaN. Where both give the same of them (masks), only the other values count.
    """

    name: str
    classes: int = 0
    classifies: bool = True
    whole: bool = False
    finite: bool = True
    _channels: ChannelSums = field(default_factory=ChannelSums, repr=False, compare=False)
    _values: int = 0
    _equal: int = 0
    _signal: float = 0.0
    _other: float = 0.0
    _product: float = 0.0
    _noise: float = 0.0
    _max_error: float = 0.0
    _images: int = 0
    _same_class: int = 0

    def add(self, reference: _Array, other: _Array) -> None:
        """Take in the values of some images; ``reference`` is the float model's."""
        first, second = reference.astype(np.float64).ravel(), other.astype(np.float64).ravel()
        lost = ~np.isfinite(first)
        if lost.any() and not lost.all() and np.array_equal(first[lost], second[lost], equal_nan=True):
            first[lost] = second[lost] = 0.0
        self.finite = self.finite and bool(np.isfinite(first).all() and np.isfinite(second).all())
        if not self.finite:
            return  # NaN would be lost in a maximum, and nothing that follows can be told
        self.whole = not np.issubdtype(reference.dtype, np.floating)
        self._values += first.size
        self._equal += int((first == second).sum())
        error = second - first
        if not self.whole:
            self._channels.add(first.reshape(reference.shape), error.reshape(reference.shape))
        self._signal += _product(first, first)
        self._other += _product(second, second)
        self._product += _product(first, second)
        self._noise += _product(error, error)
        self._max_error = max(self._max_error, float(np.abs(error).max(initial=0.0)))
        self._images += reference.shape[0] if reference.ndim else 1
        if self.classifies and _is_class_scores(reference):
            self.classes = reference.shape[1]
            scores = [values.reshape(len(values), self.classes) for values in (reference, other)]
            self._same_class += int((scores[0].argmax(axis=1) == scores[1].argmax(axis=1)).sum())

    def merge(self, other: TensorAgreement) -> None:
        """Take in what another one has of other images."""
        self.finite = self.finite and other.finite
        self.whole = self.whole or other.whole
        self.classes = self.classes or other.classes
        self._channels.merge(other._channels)
        self._values += other._values
        self._equal += other._equal
        self._signal += other._signal
        self._other += other._other
        self._product += other._product
        self._noise += other._noise
        self._max_error = max(self._max_error, other._max_error)
        self._images += other._images
        self._same_class += other._same_class

    @property
    def sqnr_db(self) -> float:
        """Signal to quantisation noise ratio in dB: 10 log10(Σ f² / Σ (f − q)²); infinite when nothing differs."""
        if not self.finite or self.empty:
            return math.nan
        if self._noise == 0.0:
            return math.inf
        return 10.0 * math.log10(self._signal / self._noise) if self._signal > 0.0 else -math.inf

    @property
    def empty(self) -> bool:
        """Whether it held no values on any image, such as boxes of which none was found."""
        return self.finite and not self._values

    @property
    def other_class(self) -> int:
        """Number of images on which the models choose different classes; 0 when this is not a classifier."""
        return self._images - self._same_class if self.classes else 0

    @property
    def groups(self) -> tuple[Group, ...]:
        """Channels whose values are of one magnitude, where a tensor holds several such (boxes and scores); else ()."""
        return self._channels.groups() if self.finite else ()

    @property
    def worst_db(self) -> float:
        """SQNR in dB of the worst group of channels; of the whole tensor where there are no groups."""
        return min((group.sqnr_db for group in self.groups), default=self.sqnr_db)

    @property
    def equal(self) -> float:
        """Share of values, 0..1, that are the same in both models."""
        return self._equal / self._values if self._values and self.finite else math.nan

    @property
    def sqnr_text(self) -> str:
        """The same for people."""
        if not self.finite:
            return "not finite"
        if self.empty:
            return "no values"
        return "identical" if self.identical else f"{self.sqnr_db:.1f}"

    @property
    def cosine(self) -> float:
        """Cosine of the angle between the two models' values, -1..1; 1 when both are zero."""
        if not self.finite or self.empty:
            return math.nan
        length = math.sqrt(self._signal) * math.sqrt(self._other)
        if length == 0.0:
            return 1.0 if self._signal == self._other else 0.0
        return max(-1.0, min(1.0, self._product / length))

    @property
    def max_error(self) -> float:
        """Largest absolute difference."""
        return self._max_error if self.finite and not self.empty else math.nan

    @property
    def identical(self) -> bool:
        """Whether the two models gave the same values throughout."""
        return self.finite and not self.empty and self._noise == 0.0

    @property
    def top1(self) -> float | None:
        """Share of images, 0..1, on which both models choose the same class; None when this is not a classifier."""
        return self._same_class / self._images if self.classes and self.finite else None


def _product(first: _Doubles, second: _Doubles) -> float:
    """Inner product, on one thread: those of BLAS and of ONNX Runtime are in each other's way."""
    return float(np.einsum("i,i", first, second))


def _is_class_scores(values: _Array) -> bool:
    return values.ndim >= 2 and values.shape[1] >= 2 and all(extent == 1 for extent in values.shape[2:])


@dataclass(frozen=True, repr=False)
class Agreement(Summarised):
    """How far two models are apart on some images.

    Attributes:
        images: on how many.
        outputs: one entry per model output.
        layers: one entry per weighted layer that exists in both models, in the order of the graph.
        skipped: output that could not be compared → why.
    """

    images: int
    outputs: tuple[TensorAgreement, ...]
    layers: tuple[TensorAgreement, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)

    def worst_db(self) -> float:
        """SQNR in dB of the worst output, or group of its channels; NaN if one is not finite or none can be judged."""
        if not self.judged or not all(output.finite for output in self.judged):
            return math.nan
        return min(output.worst_db for output in self.judged)

    @property
    def judged(self) -> tuple[TensorAgreement, ...]:
        """The outputs by which a model is judged: those that hold values.

        Whole numbers count only where there is nothing else: their differences have no meaning as noise.
        """
        filled = [output for output in self.outputs if not output.empty]
        return tuple([output for output in filled if not output.whole] or filled)

    @staticmethod
    def joined(parts: Sequence[Agreement]) -> Agreement:
        """The agreement on the images of all parts, by their outputs."""
        skipped = {name: reason for part in parts for name, reason in part.skipped.items()}
        outputs = {
            output.name: TensorAgreement(output.name) for output in parts[0].outputs if output.name not in skipped
        }
        for part in parts:
            for output in part.outputs:
                if output.name in outputs:
                    outputs[output.name].merge(output)
        return Agreement(sum(part.images for part in parts), tuple(outputs.values()), (), skipped)

    def summary(self) -> str:
        """All that matters of it, in one short line."""
        figures = ", ".join(f"{output.name} {output.sqnr_text}" for output in self.outputs[:4])
        return f"{self.images} images: SQNR in dB {figures}{', …' if len(self.outputs) > 4 else ''}"

    def summary_rows(self) -> Iterator[tuple[str, object]]:
        """The figures of every output."""
        for output in self.outputs:
            top1 = "" if output.top1 is None else f", same class {output.top1:.1%}"
            yield output.name, f"SQNR {output.sqnr_text} dB, cosine {output.cosine:.6f}{top1}"
        for name, reason in self.skipped.items():
            yield name, f"not compared: {reason}"

    def worst_layers(self, count: int = 5) -> tuple[TensorAgreement, ...]:
        """The layers with the lowest SQNR, worst first; before all, those whose values are not finite."""
        return tuple(sorted(self.layers, key=lambda layer: (layer.finite, layer.sqnr_db))[:count])


def measure_agreement(
    reference: Any,
    other: Any,
    batches: Batches,
    *,
    bindings: tuple[InputBinding, InputBinding],
    numbers: Iterable[int] | None = None,
    layers: bool = True,
    max_images: int | None = None,
    progress: Progress | None = None,
    phase: str = "measuring agreement",
) -> Agreement:
    """Run two models side by side and compare outputs and layers of the same name.

    Args:
        reference: the float model, ``onnx.ModelProto``; of both models the computable part, see
            `int8cal.models.computable`.
        other: the model to judge.
        batches: NCHW float32 batches.
        bindings: how images get into either.
        numbers: which images; all, unless given.
        layers: compare layers, too.
        max_images: stop after so many; None: all.
        progress: told about each image.
        phase: what is measured, for ``progress``.

    Raises:
        UseError: the models do not have the same inputs and outputs, or fail on the data.
    """
    layer_names = _shared_layers(reference, other) if layers else []
    pair = _Pair((reference, other), _shared_outputs(reference, other), layer_names, bindings)
    return pair.agreement(sum(pair.compared(batches, numbers, max_images, progress, phase)))


def measure_each(
    reference: Any,
    other: Any,
    batches: Batches | SomeImages,
    *,
    bindings: tuple[InputBinding, InputBinding],
    numbers: Iterable[int] | None = None,
    max_images: int | None = None,
    progress: Progress | None = None,
    phase: str = "measuring agreement",
    known: KnownValues | None = None,
    session: KeptSession | None = None,
) -> list[Agreement]:
    """The same of outputs alone, for each image (or for as many as a model insists on running together).

    The arguments are those of `measure_agreement`; ``known`` are outputs of the same float model, to which new ones are
    added, and ``session`` keeps ``other`` open between calls that differ only in the constants that it is fed.
    """
    pair = _Pair((reference, other), _shared_outputs(reference, other), [], bindings, known, session)
    found = []
    for images in pair.compared(batches, numbers, max_images, progress, phase):
        found.append(pair.agreement(images))
        pair.begin(pair.found)
    return found


_Values: TypeAlias = dict[str, _Array]


class KnownValues:
    """Outputs of one float model, kept as long as they are small, so that several models are compared with one run."""

    def __init__(self, most_bytes: int = 64 << 20) -> None:
        self._values: dict[tuple[int, ...], _Values] = {}
        self._room = most_bytes
        self._runner: Runner | None = None
        self._lock = Lock()

    def opened(self, open_model: Callable[[], Runner]) -> Runner:
        """The float model, ready to run; opened on first use."""
        with self._lock:
            self._runner = self._runner or open_model()
            return self._runner

    def get(self, numbers: list[int]) -> _Values | None:
        """The outputs for some images, by their numbers."""
        return self._values.get(tuple(numbers))

    def keep(self, numbers: list[int], values: _Values) -> None:
        """Keep them, if there is room."""
        size = sum(value.nbytes for value in values.values())
        with self._lock:
            if size <= self._room:
                self._room -= size
                self._values[tuple(numbers)] = values


@dataclass
class KeptSession:
    """Holds one model that is ready to run; empty until first used.

    Attributes:
        runner: the model.
        held: the bytes that a run holds, when one was made.
    """

    runner: Runner | None = None
    held: int | None = None


class _Pair:
    """Two models that are run side by side.

    Outputs are taken as users will get them, with ONNX Runtime's optimisations. Those leave no layer as it is, so
    layers are taken from a second run without.

    Attributes:
        found: output or layer → agreement so far.
        skipped: those that cannot be compared → why.
        fixed_batch: the smallest number of images to run at once without filling up.
    """

    def __init__(
        self,
        models: Sequence[Any],
        outputs: Sequence[str],
        layers: Sequence[str],
        bindings: Sequence[InputBinding],
        known: KnownValues | None = None,
        session: KeptSession | None = None,
    ) -> None:
        self._outputs, self._layers = tuple(outputs), tuple(layers)
        numeric = [set(numeric_outputs(model)) for model in models]
        self.skipped = {name: "it holds no numbers" for name in outputs if not all(name in names for names in numeric)}
        outputs = [name for name in outputs if name not in self.skipped]
        self._no_classes = without_classes(models[0], float_tensors(models[0]))
        self.found: dict[str, TensorAgreement] = {}
        self.begin((*outputs, *layers))
        made = _shared_choices(models, bindings)
        alone = of_choices_alone(models[0], made)
        for name in [name for name in self.found if name in alone]:
            del self.found[name]
            operator = made.get(name, next(iter(made.values())))
            self.skipped[name] = f"{operator} chooses; the second model goes on with what the first one chose"
        compared = [name for name in outputs if name in self.found]
        self._chosen = [*(kernel.output for kernel in bindings[0].kernels if kernel.chooses), *made]
        self._known = known or KnownValues(0)
        self._open_reference = partial(
            Runner, models[0], [*compared, *self._chosen], bindings[0], optimized=True, choices=made
        )
        given = [given_choices(model, made) if made else model for model in models]
        self._session = session = session or KeptSession()
        session.runner = session.runner or Runner(given[1], compared, bindings[1], optimized=True, choices=made)
        self._other = session.runner.with_constants(bindings[1].constants)
        self._layered = [
            Runner(model, layers, binding, choices=made)
            for model, binding in zip(given, bindings, strict=True)
            if layers
        ]
        self.fixed_batch = max(binding.batch or 1 for binding in bindings)

    def begin(self, names: Iterable[str]) -> None:
        """Forget all figures, and begin those of some tensors."""
        self.found = {name: TensorAgreement(name, classifies=name not in self._no_classes) for name in names}

    def run(self, numbers: list[int], images: BatchNCHW_f32) -> tuple[tuple[int, _Values, _Values], int]:
        """Values of both models for some images.

        Where a model chooses, be it regions by a plug-in, the second one goes on with what the first one chose: a small
        difference changes their order, and no value behind them would have its counterpart.
        """
        first = self._known.get(numbers)
        if first is None:
            first = _all_values([self._known.opened(self._open_reference)], images, {})
            self._known.keep(numbers, first)
        given = {name: first[name] for name in self._chosen}
        first = first | _all_values(self._layered[:1], images, given)
        second = _all_values([self._other, *self._layered[1:]], images, given)
        held = self._session.held = sum(v.nbytes for side in (first, second) for v in side.values())
        return (len(numbers), first, second), held

    def compared(
        self,
        batches: Batches | SomeImages,
        numbers: Iterable[int] | None,
        max_images: int | None,
        progress: Progress | None,
        phase: str,
    ) -> Iterator[int]:
        """Run and compare both models, as `measure_agreement` says; the number of images after each run."""
        chosen = None if numbers is None else set(numbers)
        for values in for_each_image(
            batches,
            self.fixed_batch,
            self.run,
            wanted=(lambda number: True) if chosen is None else chosen.__contains__,
            most=max_images,
            held=self._session.held,
            progress=progress,
            phase=phase,
        ):
            yield self.compare(*values)

    def agreement(self, images: int) -> Agreement:
        """All that was found, on so many images."""
        return Agreement(
            images,
            tuple(self.found[name] for name in self._outputs if name in self.found),
            tuple(self.found[name] for name in self._layers if name in self.found),
            {name: reason for name, reason in self.skipped.items() if name in self._outputs},
        )

    def compare(self, images: int, first: _Values, second: _Values) -> int:
        """Compare all that can be compared; returns the number of images."""
        for name in list(self.found):
            reason = _incomparable(first[name], second[name])
            if reason:
                self.skipped[name] = reason
                del self.found[name]
            else:
                self.found[name].add(first[name], second[name])
        return images


def _shared_choices(models: Sequence[Any], bindings: Sequence[InputBinding]) -> dict[str, str]:
    """Choice that both models make, on the same number of images at a time → operator."""
    if bindings[0].batch != bindings[1].batch:
        return {}
    first, second = ({choice.output: choice.operator for choice in choices(model)} for model in models)
    return {name: operator for name, operator in first.items() if second.get(name) == operator}


def _all_values(runners: Iterable[Runner], images: BatchNCHW_f32, given: _Values) -> _Values:
    """Values of one run of each model; of several, where one insists on a smaller batch than the other."""
    found: _Values = {}
    for runner in runners:
        parts = list(runner.run(images, given))
        for name in runner.tensors:
            values = [part[name] for part in parts]
            found[name] = values[0] if len(values) == 1 else np.concatenate([np.atleast_1d(value) for value in values])
    return found


def _incomparable(first: _Array, second: _Array) -> str | None:
    if first.shape != second.shape:
        return f"it has shape {first.shape} in one model and {second.shape} in the other"
    return None


def _shared_outputs(reference: Any, other: Any) -> list[str]:
    names = [[output.name for output in model.graph.output] for model in (reference, other)]
    if names[0] != names[1]:
        raise UseError(
            f"the models have different outputs: {', '.join(names[0])} and {', '.join(names[1])}",
            hint="Compare a model with the INT8 model made of it.",
        )
    return names[0]


def _shared_layers(reference: Any, other: Any) -> list[str]:
    outputs = {output.name for output in reference.graph.output}
    produced = {name for node in reference.graph.node for name in node.output}
    return [name for name in weighted_outputs(other) if name in produced and name not in outputs]
