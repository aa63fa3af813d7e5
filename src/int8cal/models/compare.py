"""How far apart two ONNX models are on the images of a tensorfile."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from int8cal.errors import UsageError
from int8cal.io.arguments import checked_arguments
from int8cal.io.safe_text import printable
from int8cal.io.summary import Summarised
from int8cal.models import extras
from int8cal.models.agreement import Agreement
from int8cal.models.binding import Constants, InputBinding
from int8cal.models.computable import Foreign, comparable, computable
from int8cal.models.graph import is_quantised
from int8cal.models.onnx_file import load_model
from int8cal.models.side_by_side import measure_agreement
from int8cal.models.verdict import Verdict, judge
from int8cal.tensorfile.batches import BatchesLike, opened
from int8cal.types import Layout, Progress

NOT_QUANTISED = "the second model is not quantised: the figures say nothing of INT8"


@dataclass(frozen=True, repr=False)
class Comparison(Summarised):
    """Two models and how far they are apart.

    Attributes:
        agreement: figures per output and layer.
        float_bytes: size of the reference model, external data included.
        int8_bytes: size of the other one.
        foreign: nodes of the reference model that only another engine computes, such as plug-ins; what goes into them
            is among the outputs that were compared.
        ranges: tensor that the other model quantises → smallest and largest value that it keeps.
        input: how the images got into the other model.
        is_quantised: whether the other model is INT8 at all: nothing of it is where it has no Q/DQ.
    """

    agreement: Agreement
    float_bytes: int
    int8_bytes: int
    foreign: tuple[Foreign, ...] = ()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    input: InputBinding | None = None
    is_quantised: bool = True

    @property
    def verdict(self) -> Verdict:
        """What the figures mean; small differences of a model that is not quantised mean nothing for INT8."""
        found = judge(self.agreement)
        if self.is_quantised or found.level in ("poor", "not measured"):
            return found
        return replace(found, level="not measured", output=None, reason=NOT_QUANTISED)

    def summary(self) -> str:
        """All that matters of it, in one short line."""
        return self.agreement.summary()

    def summary_rows(self) -> Iterable[tuple[str, object]]:
        """The figures of every output."""
        return self.agreement.summary_rows()


@checked_arguments(max_images=1)
def compare(
    reference: str | os.PathLike[str],
    other: str | os.PathLike[str],
    batches: BatchesLike,
    *,
    input_name: str | None = None,
    layout: Layout | None = None,
    constants: Constants | None = None,
    max_images: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Run both models on the same images and compare outputs and layers of the same name.

    Models that end in plug-ins are compared by what goes into those, models that choose (NonMaxSuppression, TopK) by
    what they choose by, and behind it by what they make of the float model's choice.

    Args:
        reference: ONNX file of the float model.
        other: ONNX file of the INT8 model made of it.
        batches: images, NCHW float32, best ones that calibration has not seen: a tensorfile or its path, or what else
            `int8cal.tensorfile.batches.opened` takes.
        input_name: the models' input, to be sure of it.
        layout: layout of that input, where it cannot be told.
        constants: values of the models' other inputs, which take no images.
        max_images: stop after so many; None: all.
        progress: told about each image.

    Raises:
        UsageError: the batches are not what they must be, or the first model is the quantised one.
        UseError: a model cannot be read or run, or the two do not belong together.
        UnavailableError: the extra ``quantize`` is not installed.
    """
    models = load_model(reference), load_model(other)
    quantised = is_quantised(models[1])
    if is_quantised(models[0]) and not quantised:
        raise UsageError(
            "the first model is quantised, and the second one is not",
            where=printable(os.fspath(reference)),
            hint="Give the float model first, then the INT8 model.",
        )
    first, second = computable(models[0]), computable(models[1])
    pair = comparable(first, second)
    with opened(batches) as images:
        bindings = (
            first.bind(images.shape, name=input_name, layout=layout, constants=constants),
            second.bind(images.shape, name=input_name, layout=layout, constants=constants),
        )
        agreement = measure_agreement(
            *pair,
            images,
            bindings=bindings,
            names=(printable(os.fspath(reference)), printable(os.fspath(other))),
            max_images=max_images,
            progress=progress,
        )
    sizes = models[0].ByteSize(), models[1].ByteSize()
    return Comparison(agreement, *sizes, first.foreign, _ranges(models[1]), bindings[1], quantised)


def _ranges(model: Any) -> dict[str, tuple[float, float]]:
    """Tensor → the values at both ends of its integers, of each tensor that is quantised with one constant scale."""
    to_array = extras.onnx().numpy_helper.to_array
    constants = {item.name: item for item in model.graph.initializer}
    found: dict[str, tuple[float, float]] = {}
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] in constants or len(node.input) < 3:
            continue
        if not all(name in constants for name in node.input[1:3]):
            continue
        scale, zero = (np.asarray(to_array(constants[name])) for name in node.input[1:3])
        if scale.size != 1 or zero.size != 1 or zero.dtype not in (np.int8, np.uint8):
            continue
        ends, step, middle = np.iinfo(zero.dtype), float(scale.item()), int(zero.item())
        found.setdefault(node.input[0], (step * (ends.min - middle), step * (ends.max - middle)))
    return found
