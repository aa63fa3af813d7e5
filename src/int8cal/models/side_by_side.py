"""Running two models side by side on the same images, and comparing what they give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from int8cal.errors import UseError
from int8cal.models.agreement import Agreement, TensorAgreement
from int8cal.models.binding import InputBinding
from int8cal.models.choices import choices, given_choices, of_choices_alone, without_classes
from int8cal.models.graph import float_tensors, weighted_outputs
from int8cal.models.passes import LoadedImages, for_each_image
from int8cal.models.runner import INT8_MODEL, LEAVE_IN_FLOAT, Runner, fault_of_model, numeric_outputs
from int8cal.types import Batches, BatchNCHW_f32, Progress

_Array: TypeAlias = npt.NDArray[np.float32]
_Values: TypeAlias = dict[str, _Array]

_NAMES = ("the float model", INT8_MODEL)


def measure_agreement(
    reference: Any,
    other: Any,
    batches: Batches,
    *,
    bindings: tuple[InputBinding, InputBinding],
    names: tuple[str, str] = _NAMES,
    max_images: int | None = None,
    progress: Progress | None = None,
) -> Agreement:
    """Run two models side by side and compare outputs and layers of the same name.

    Args:
        reference: the float model, ``onnx.ModelProto``; of both models the computable part, see
            `int8cal.models.computable`.
        other: the model to judge.
        batches: NCHW float32 batches.
        bindings: how images get into either.
        names: of both, for errors.
        max_images: stop after so many; None: all.
        progress: told about each image.

    Raises:
        UseError: the models do not have the same inputs and outputs, or fail on the data.
    """
    pair = _Pair((reference, other), _shared_layers(reference, other), bindings, names)
    return pair.agreement(sum(pair.compared(batches, None, max_images, progress)))


def measure_each(
    reference: Any,
    other: Any,
    batches: Batches | LoadedImages,
    *,
    bindings: tuple[InputBinding, InputBinding],
    numbers: Iterable[int] | None = None,
    max_images: int | None = None,
    known: KnownValues | None = None,
    session: KeptSession | None = None,
) -> list[Agreement]:
    """Agreement of the outputs, for each image (or for as many as a model insists on running together).

    The arguments are those of `measure_agreement`; ``numbers`` say which images, ``known`` holds outputs of the float
    model, to which new ones are added, and ``session`` keeps ``other`` open between calls that differ only in the
    constants that it is fed.
    """
    pair = _Pair((reference, other), [], bindings, _NAMES, known, session)
    found = []
    for images in pair.compared(batches, numbers, max_images):
        found.append(pair.agreement(images))
        pair.begin(pair.found)
    return found


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
        """Keep copies of the outputs, if there is room: those of a session would hold all memory that it keeps."""
        size = sum(value.nbytes for value in values.values())
        with self._lock:
            if size > self._room:
                return
            self._room -= size
        self._values[tuple(numbers)] = {name: value.copy() for name, value in values.items()}


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
        models: tuple[Any, Any],
        layers: Sequence[str],
        bindings: tuple[InputBinding, InputBinding],
        names: tuple[str, str],
        known: KnownValues | None = None,
        session: KeptSession | None = None,
    ) -> None:
        outputs = _shared_outputs(*models)
        self._outputs, self._layers, self._names = tuple(outputs), tuple(layers), names
        numeric = [set(numeric_outputs(model)) for model in models]
        self.skipped = {name: "it holds no numbers" for name in outputs if not all(name in one for one in numeric)}
        outputs = [name for name in outputs if name not in self.skipped]
        self._no_classes = without_classes(models[0], float_tensors(models[0]))
        self.found: dict[str, TensorAgreement] = {}
        self.begin((*outputs, *layers))
        shared = _shared_choices(models, bindings)
        alone = of_choices_alone(models[0], shared)
        for name in [name for name in self.found if name in alone]:
            del self.found[name]
            operator = shared.get(name, next(iter(shared.values())))
            self.skipped[name] = f"{operator} chooses; the second model goes on with what the first one chose"
        compared = [name for name in outputs if name in self.found]
        self._chosen = [*(kernel.output for kernel in bindings[0].kernels if kernel.chooses), *shared]
        self._known = known or KnownValues(0)
        self._open_reference = partial(
            Runner, models[0], [*compared, *self._chosen], bindings[0], optimized=True, choices=shared
        )
        given = [given_choices(model, shared) if shared else model for model in models]
        self._session = session = session or KeptSession()
        self._layered: list[Runner] = []
        with self._fault_of_reference():
            if known is None:  # first: what neither model can is no fault of the other one
                self._known.opened(self._open_reference)
            if layers:
                self._layered.append(Runner(given[0], layers, bindings[0], choices=shared))
        with self._fault_of_other():
            session.runner = session.runner or Runner(given[1], compared, bindings[1], optimized=True, choices=shared)
            if layers:
                self._layered.append(Runner(given[1], layers, bindings[1], choices=shared))
        self._other = session.runner.with_constants(bindings[1].constants)
        self.fixed_batch = max(binding.batch or 1 for binding in bindings)

    def _fault_of_reference(self) -> AbstractContextManager[None]:
        return fault_of_model(self._names[0])

    def _fault_of_other(self) -> AbstractContextManager[None]:
        return fault_of_model(self._names[1], LEAVE_IN_FLOAT)

    def begin(self, names: Iterable[str]) -> None:
        """Forget all figures, and begin those of some tensors."""
        self.found = {name: TensorAgreement(name, classifies=name not in self._no_classes) for name in names}

    def run(self, numbers: list[int], images: BatchNCHW_f32) -> tuple[tuple[int, _Values, _Values], int]:
        """Values of both models for some images.

        Where a model chooses, be it regions by a plug-in, the second one goes on with what the first one chose: a small
        difference changes their order, and no value behind them would have its counterpart.
        """
        first = self._known.get(numbers)
        with self._fault_of_reference():
            if first is None:
                first = _all_values([self._known.opened(self._open_reference)], images, {})
                self._known.keep(numbers, first)
            given = {name: first[name] for name in self._chosen}
            first = first | _all_values(self._layered[:1], images, given)
        with self._fault_of_other():
            second = _all_values([self._other, *self._layered[1:]], images, given)
        held = self._session.held = sum(v.nbytes for side in (first, second) for v in side.values())
        return (len(numbers), first, second), held

    def compared(
        self,
        batches: Batches | LoadedImages,
        numbers: Iterable[int] | None,
        max_images: int | None,
        progress: Progress | None = None,
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
            phase="measuring agreement",
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
                found = self.found[name]
                found.classifies &= first[name].shape[:1] == (images,)  # else rows are of regions or tokens
                found.add(first[name], second[name])
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
