"""How far two models' outputs are apart on the same images, summed up one part of a batch at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import islice
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from int8cal.errors import UseError
from int8cal.progress import watched
from int8cal.types import Progress
from int8cal.use.calibrate import Batches
from int8cal.use.graph import weighted_outputs
from int8cal.use.session import Layout, Runner, bind_input

_Array: TypeAlias = npt.NDArray[np.float32]

_PART_BYTES = 1 << 20  # of input run at a time; activations take about a hundred times as much


@dataclass
class TensorAgreement:
    """Sums over one tensor of two models, and the figures that follow from them.

    Attributes:
        name: the tensor.
        classes: number of classes when the tensor is a classifier's output, (N, K) or (N, K, 1, 1) with K ≥ 2; else 0.
    """

    name: str
    classes: int = 0
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
        error = second - first
        self._signal += float(first @ first)
        self._other += float(second @ second)
        self._product += float(first @ second)
        self._noise += float(error @ error)
        self._max_error = max(self._max_error, float(np.abs(error).max(initial=0.0)))
        self._images += len(reference)
        if _is_class_scores(reference):
            self.classes = reference.shape[1]
            scores = [values.reshape(len(values), self.classes) for values in (reference, other)]
            self._same_class += int((scores[0].argmax(axis=1) == scores[1].argmax(axis=1)).sum())

    @property
    def sqnr_db(self) -> float:
        """Signal to quantisation noise ratio in dB: 10 log10(Σ f² / Σ (f − q)²); infinite when nothing differs."""
        if self._noise == 0.0:
            return math.inf
        return 10.0 * math.log10(self._signal / self._noise) if self._signal > 0.0 else -math.inf

    @property
    def cosine(self) -> float:
        """Cosine of the angle between the two models' values, -1..1; 1 when both are zero."""
        length = math.sqrt(self._signal) * math.sqrt(self._other)
        if length == 0.0:
            return 1.0 if self._signal == self._other else 0.0
        return max(-1.0, min(1.0, self._product / length))

    @property
    def max_error(self) -> float:
        """Largest absolute difference."""
        return self._max_error

    @property
    def top1(self) -> float | None:
        """Share of images, 0..1, on which both models choose the same class; None when this is no classifier."""
        return self._same_class / self._images if self.classes else None


def _is_class_scores(values: _Array) -> bool:
    return values.ndim >= 2 and values.shape[1] >= 2 and all(extent == 1 for extent in values.shape[2:])


@dataclass(frozen=True)
class Agreement:
    """How far two models are apart on some images.

    Attributes:
        images: on how many.
        outputs: one entry per model output.
        layers: one entry per weighted layer that exists in both models, in the order of the graph.
    """

    images: int
    outputs: tuple[TensorAgreement, ...]
    layers: tuple[TensorAgreement, ...] = field(default=())

    def worst_layers(self, count: int = 5) -> tuple[TensorAgreement, ...]:
        """The layers with the lowest SQNR, worst first."""
        return tuple(sorted(self.layers, key=lambda layer: layer.sqnr_db)[:count])


def measure_agreement(
    reference: Any,
    other: Any,
    batches: Batches,
    *,
    input_name: str | None = None,
    layout: Layout | None = None,
    max_images: int | None = None,
    progress: Progress | None = None,
) -> Agreement:
    """Run two models side by side and compare outputs and layers of the same name.

    Args:
        reference: the float model, ``onnx.ModelProto``.
        other: the model to judge.
        batches: NCHW float32 batches.
        input_name: see `int8cal.use.session.bind_input`.
        layout: see `int8cal.use.session.bind_input`.
        max_images: stop after the batch that reaches this number; None: all.
        progress: told about each batch.

    Raises:
        UseError: the models do not have the same inputs and outputs, or fail on the data.
    """
    outputs = _shared_outputs(reference, other)
    layers = _shared_layers(reference, other)
    tensors = list(dict.fromkeys([*outputs, *layers]))
    runners = [
        Runner(model, tensors, bind_input(model, batches.shape, name=input_name, layout=layout))
        for model in (reference, other)
    ]
    found = {tensor: TensorAgreement(tensor) for tensor in tensors}
    wanted = len(batches) if max_images is None else min(len(batches), -(-max_images // batches.shape[0]))
    size = max(1, _PART_BYTES // (4 * prod(batches.shape[1:])), *(runner.fixed_batch or 1 for runner in runners))
    images = 0
    with watched(progress, wanted * batches.shape[0]) as advance:
        for batch in islice(batches, wanted):
            for start in range(0, len(batch), size):
                first, second = (runner.values(batch[start : start + size]) for runner in runners)
                for tensor in tensors:
                    _add(found[tensor], first[tensor], second[tensor])
            images += len(batch)
            advance(len(batch))
    return Agreement(images, tuple(found[name] for name in outputs), tuple(found[name] for name in layers))


def _add(agreement: TensorAgreement, first: _Array, second: _Array) -> None:
    if first.shape != second.shape:
        raise UseError(
            f"tensor {agreement.name!r} has shape {first.shape} in one model and {second.shape} in the other"
        )
    agreement.add(first, second)


def _shared_outputs(reference: Any, other: Any) -> list[str]:
    names = [[output.name for output in model.graph.output] for model in (reference, other)]
    if names[0] != names[1]:
        raise UseError(
            f"the models have different outputs: {', '.join(names[0])} and {', '.join(names[1])}",
            hint="compare a model with the INT8 model made of it",
        )
    return names[0]


def _shared_layers(reference: Any, other: Any) -> list[str]:
    outputs = {output.name for output in reference.graph.output}
    produced = {name for node in reference.graph.node for name in node.output}
    return [name for name in weighted_outputs(other) if name in produced and name not in outputs]
