"""One forward pass of a float model, with what it computes and what it remembers of its training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from int8cal.models import extras
from int8cal.models.binding import Constants, InputBinding
from int8cal.models.computable import Computable, computable
from int8cal.models.session import Runner, numeric_outputs
from int8cal.types import BatchNCHW_f32, Layout

Values = npt.NDArray[np.float32]

_SHAPE_ONLY = ("Shape", "Size")
"""Operators that look at no value of their input."""


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
    """

    binding: InputBinding
    outputs: dict[str, Values]
    unseen: tuple[str, ...]
    first_norm: Remembered | None
    whole: frozenset[str] = frozenset()


def probe(
    model: Any,
    images: BatchNCHW_f32,
    *,
    input_name: str | None = None,
    layout: Layout | None = None,
    constants: Constants | None = None,
) -> Probe:
    """Run a float model once, on the CPU.

    Args:
        model: ``onnx.ModelProto`` (see `int8cal.models.onnx_file.load_model`).
        images: NCHW float32.
        input_name: see `int8cal.models.binding.bind_input`.
        layout: see `int8cal.models.binding.bind_input`.
        constants: see `int8cal.models.binding.bind_input`.

    Raises:
        UnavailableError: onnx or onnxruntime is not installed.
        ImageShapeError: the model takes other images.
        UseError: the images cannot be fed to the model, or it fails on them.
    """
    parts = computable(model)
    return probe_part(parts, images, parts.bind(images.shape, name=input_name, layout=layout, constants=constants))


def probe_part(parts: Computable, images: BatchNCHW_f32, binding: InputBinding) -> Probe:
    """The same of a model that was taken apart and bound to the images already."""
    model = parts.model
    norm = next(_norms(model), None)
    runner = Runner(model, [*numeric_outputs(model), *([norm[0]] if norm else [])], binding)
    values = runner.values(images)
    seeing = _seeing(model, binding.name)
    names = [output.name for output in model.graph.output]
    judged = [name for name in names if name in values and name in seeing]
    return Probe(
        binding=binding,
        outputs={name: values[name].astype(np.float32, copy=False) for name in judged},
        unseen=tuple(name for name in names if name not in judged),
        first_norm=_remembered(norm, values[norm[0]]) if norm and norm[0] in values else None,
        whole=frozenset(name for name in judged if not np.issubdtype(values[name].dtype, np.floating)),
    )


def _seeing(model: Any, name: str) -> set[str]:
    """Tensors that the values of an input have a part in. Its shape alone gives none: so anchors are made."""
    graphs = (extras.onnx().AttributeProto.GRAPH, extras.onnx().AttributeProto.GRAPHS)
    seeing = {name}
    for node in model.graph.node:
        has_body = any(attribute.type in graphs for attribute in node.attribute)  # which may use any tensor
        if node.op_type not in _SHAPE_ONLY and (has_body or not seeing.isdisjoint(node.input)):
            seeing.update(filter(None, node.output))
    return seeing


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


def _remembered(norm: tuple[str, Values, Values], values: Values) -> Remembered:
    name, mean, variance = norm
    others = tuple(axis for axis in range(values.ndim) if axis != 1)
    return Remembered(
        name=name,
        mean=values.mean(axis=others, dtype=np.float64),
        deviation=values.std(axis=others, dtype=np.float64),
        training_mean=mean.astype(np.float64),
        training_deviation=np.sqrt(np.maximum(variance.astype(np.float64), 0)),
    )
