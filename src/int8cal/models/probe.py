"""One forward pass of a float model, with what it computes and what it remembers of its training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from int8cal.models import extras
from int8cal.models.binding import InputBinding
from int8cal.models.choices import without_classes
from int8cal.models.computable import Computable
from int8cal.models.graph import float_tensors
from int8cal.models.names import computed_from
from int8cal.models.runner import Runner, is_per_image, joined, numeric_outputs
from int8cal.models.shapes import activation_shapes
from int8cal.tensorfile.checksums import image_checksum
from int8cal.types import BatchNCHW_f32

Values = npt.NDArray[np.float32]

_MOST_BYTES = 256 << 20
"""Outputs that are looked at together."""


@dataclass(frozen=True)
class Remembered:
    """A batch normalisation: what went into it now, and what did on average in training, per channel.

    Attributes:
        name: of the tensor that goes into it.
        mean: now.
        deviation: now.
        training_mean: the running mean that is stored in the model.
        training_deviation: the root of the running variance.
    """

    name: str
    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]
    training_mean: npt.NDArray[np.float64]
    training_deviation: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Probe:
    """What a model makes of some images.

    Attributes:
        binding: the input that was fed.
        outputs: output name → values, the images along the first axis.
        unseen: names of the outputs that do not have numbers for each image, or that no pixel has a part in.
        first_norm: the batch normalisation nearest to the input; None when the model has none any more.
        whole: names of those of ``outputs`` that hold whole numbers or truth values: a class chosen, a count.
        ranked: names of those that are no scores of classes, see `int8cal.models.choices.without_classes`.
        different_images: how many different images it was shown.
    """

    binding: InputBinding
    outputs: dict[str, Values]
    unseen: tuple[str, ...]
    first_norm: Remembered | None
    whole: frozenset[str] = frozenset()
    ranked: frozenset[str] = frozenset()
    different_images: int = field(kw_only=True)


def probe(parts: Computable, images: BatchNCHW_f32, binding: InputBinding) -> Probe:
    """Run a float model once, on the CPU.

    Args:
        parts: what can be computed of it.
        images: NCHW float32. Where the outputs are very large, fewer of them are shown: two at least.
        binding: how images get into it.

    Raises:
        UseError: it fails on them.
    """
    model = parts.model
    norm = next(_norms(model), None)
    outputs = numeric_outputs(model)
    inferred = activation_shapes(model, binding, images.shape[1:])
    runner = Runner(
        model,
        [*outputs, *([norm[0]] if norm else [])],
        binding,
        optimized=True,
        activation_bytes=inferred.nbytes if inferred else None,
    )
    moments, step = _Moments(), binding.batch or 1
    found: list[dict[str, npt.NDArray[Any]]] = []
    shown = held = 0
    while shown < len(images) and (shown < 2 or held < _MOST_BYTES):
        for part in runner.run(images[shown : shown + step]):
            if norm:
                moments.add(part[norm[0]])  # large: never of all images at once
            found.append({name: part[name].copy() for name in outputs})  # out of what the session keeps for its runs
            held += sum(values.nbytes for values in found[-1].values())
            del part  # not kept while the next one is made
        shown = min(shown + step, len(images))
    images = images[:shown]
    values = joined(found, outputs, shown)
    del found
    seeing = computed_from(model.graph.node, [binding.name], by_shape=False)
    names = [output.name for output in model.graph.output]
    judged = [
        name
        for name in names
        if name in values
        and name in seeing
        and (name not in parts.watched or np.isfinite(values[name]).all())  # masks are infinite, and no output
    ]
    return Probe(
        binding=binding,
        outputs={name: values[name].astype(np.float32, copy=False) for name in judged},
        unseen=tuple(name for name in names if name not in judged and name not in parts.watched),
        first_norm=_remembered(norm, moments) if norm and is_per_image(moments.shapes, shown) else None,
        whole=frozenset(name for name in judged if not np.issubdtype(values[name].dtype, np.floating)),
        ranked=frozenset(without_classes(model, float_tensors(model)).intersection(judged)),
        different_images=len(set(map(image_checksum, images))),
    )


def _norms(model: Any) -> Iterator[tuple[str, Values, Values]]:
    """(input, running mean, running variance) of the batch normalisations, in the order of the graph."""
    to_array = extras.onnx().numpy_helper.to_array
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            constants[node.output[0]] = node.attribute[0].t
        elif node.op_type == "Identity" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
        elif node.op_type == "BatchNormalization" and all(name in constants for name in node.input[3:5]):
            mean, variance = (to_array(constants[name]) for name in node.input[3:5])
            yield node.input[0], mean, variance


class _Moments:
    """Mean and variance of each channel (axis 1) over all values that were added.

    Attributes:
        shapes: of what was added.
    """

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self._means: list[npt.NDArray[np.float64]] = []
        self._variances: list[npt.NDArray[np.float64]] = []

    def add(self, values: Values) -> None:
        self.shapes.append(values.shape)
        others = tuple(axis for axis in range(values.ndim) if axis != 1)
        self._means.append(values.mean(axis=others, dtype=np.float64))
        self._variances.append(values.var(axis=others, dtype=np.float64))

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        mean: npt.NDArray[np.float64] = np.average(self._means, axis=0, weights=self._weights)
        return mean

    @property
    def deviation(self) -> npt.NDArray[np.float64]:
        within = np.average(self._variances, axis=0, weights=self._weights)
        between = np.average(np.square(self._means - self.mean), axis=0, weights=self._weights)
        deviation: npt.NDArray[np.float64] = np.sqrt(within + between)
        return deviation

    @property
    def _weights(self) -> list[int]:
        return [shape[0] for shape in self.shapes]


def _remembered(norm: tuple[str, Values, Values], moments: _Moments) -> Remembered:
    name, mean, variance = norm
    return Remembered(
        name=name,
        mean=moments.mean,
        deviation=moments.deviation,
        training_mean=mean.astype(np.float64),
        training_deviation=np.sqrt(np.maximum(variance.astype(np.float64), 0)),
    )
