"""An INT8 model from ranges that exist already: a TensorRT calibration cache, or TAO's file of thresholds (QAT).

No image is needed, so this is the way to TensorRT 11 for whoever has a cache and no data any more. What a layer reads
gets the range of the file; a layer for whose input the file has none stays float. How near the result is to the float
model nobody knows without images.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from int8cal.errors import UseError
from int8cal.io.arguments import checked_arguments
from int8cal.io.file_kinds import ONNX_MODEL
from int8cal.io.files import OutputFile
from int8cal.io.paths import given_path
from int8cal.models.agreement import Agreement
from int8cal.models.alive import some_images
from int8cal.models.binding import Constants, InputBinding, unfed_binding
from int8cal.models.computable import Computable, Foreign
from int8cal.models.float_model import FloatModel
from int8cal.models.graph import all_activations, prepare
from int8cal.models.onnx_file import serialized
from int8cal.models.opset import converted, opset
from int8cal.models.placement import Placement, place
from int8cal.models.qdq import Range, check_quantized, insert_qdq
from int8cal.models.runner import INT8_MODEL, LEAVE_IN_FLOAT, Runner, fault_of_model, numeric_outputs
from int8cal.models.side_by_side import measure_agreement
from int8cal.models.verdict import Verdict, judge
from int8cal.models.wiring import Wiring
from int8cal.tensorfile.batches import BatchesLike, opened
from int8cal.tensorrt.cache import CalibrationCache, read_cache
from int8cal.types import Layout, Progress

_EMPTY_HINT = "Give a cache that holds ranges: int8cal quantize --trt_cache writes one."
_NO_MATCH_HINT = "Give the cache of this very model: its tensors must have the names that they have in the ONNX file."


@dataclass(frozen=True)
class ScalesReport:
    """What `quantize_from_scales` did.

    Attributes:
        header: first line of the file of ranges.
        nodes: how many nodes were quantised.
        placement: which nodes read INT8, and why others do not.
        amax: quantised activation → threshold.
        lacking: layers and other nodes that stay float because the file has no range for what they read → that tensor.
        not_in_model: names that the file has and the model lacks; other programs merge layers, and name what they add.
        unusable: names in the file whose range is infinite, undefined or negative → that range.
        without_range: names in the file whose range is 0 or as good as that (see `LEAST_SCALE`), which is none.
        foreign, behind: see `int8cal.models.quantize.QuantizeReport`.
        opset: (of the float model, of the INT8 model).
        from_float16: whether the model held 16-bit floats, which are float32 in the INT8 model.
        float_bytes, int8_bytes: sizes of the two models, external data included.
        input: the input that takes images.
        held_out: agreement on the evaluation images; None: not measured.
        verdict: what that means; None without it.
    """

    header: str
    nodes: int
    placement: Placement
    amax: dict[str, float]
    lacking: dict[str, str]
    not_in_model: tuple[str, ...]
    unusable: dict[str, float]
    without_range: tuple[str, ...]
    foreign: tuple[Foreign, ...]
    behind: tuple[str, ...]
    opset: tuple[int, int]
    from_float16: bool
    float_bytes: int
    int8_bytes: int
    input: InputBinding
    held_out: Agreement | None
    verdict: Verdict | None


@checked_arguments()
def quantize_from_scales(
    model: str | os.PathLike[str],
    scales: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    exclude: Sequence[str] = (),
    fold_weights: bool = False,
    input_name: str | None = None,
    layout: Layout | None = None,
    constants: Constants | None = None,
    evaluation: BatchesLike | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ScalesReport:
    """Make an INT8 model from a float model and ranges in a file.

    Args:
        model: float ONNX file.
        scales: a TensorRT calibration cache, our JSON of one, or TAO's ``{"tensor_scales": {name: threshold}}``.
        out: the INT8 model to write.
        exclude: names or shell patterns of nodes that stay float.
        fold_weights: store weights as INT8; see `int8cal.models.qdq.insert_qdq`.
        input_name: the model's input for images.
        layout: layout of that input, where it cannot be told.
        constants: values of the model's other inputs, for the measurement.
        evaluation: images to measure agreement on; None: it is not measured.
        overwrite: replace ``out`` if it is an ONNX model.
        progress: told about the pass over images.

    Raises:
        UseError: a file cannot be read, no range belongs to the model, or nothing can be quantised by them.
        OutputError: the result cannot be written, or exists already.
        UnavailableError: the extra ``quantize`` is not installed.
    """
    with ExitStack() as files:
        images = None if evaluation is None else files.enter_context(opened(evaluation))
        inputs = (given_path(model, "a model"), given_path(scales, "scales"), *(images.paths if images else ()))
        path = given_path(out, "the INT8 model")
        file = files.enter_context(OutputFile(path, overwrite=overwrite, inputs=inputs, replaces=ONNX_MODEL))
        cache = read_cache(scales)
        source = FloatModel.opened(model, files, [file])
        parts = source.parts
        if images is None:
            binding, shape = unfed_binding(parts.model, input_name, layout)
        else:
            shape = images.shape[1:]
            binding = parts.bind(images.shape, name=input_name, layout=layout, constants=constants)
        prepared = prepare(converted(parts.model, binding, None if images is None else some_images(images, 1)))
        names = _Names(parts, prepared)
        ranges = _usable(cache, names, os.fspath(scales))
        wiring = Wiring(prepared, binding, shape)
        placement, lacking = _place(prepared, wiring, parts.exclusions(exclude, prepared), ranges, os.fspath(scales))
        amax = placement.with_shared_scales({name: ranges[name] for name in placement.tensors(prepared)})
        quantized = insert_qdq(
            prepared, placement, {name: Range(value) for name, value in amax.items()}, fold_weights=fold_weights
        )
        check_quantized(quantized)
        with fault_of_model(INT8_MODEL, LEAVE_IN_FLOAT):
            Runner(quantized, numeric_outputs(quantized), binding, optimized=True)
        measure = partial(measure_agreement, parts.model, quantized, bindings=(binding, binding), progress=progress)
        held_out = None if images is None else measure(images)
        data = serialized(parts.reattach(quantized))
        file.write(data)
        file.commit()
    return ScalesReport(
        header=cache.header,
        nodes=len(placement.reads),
        placement=placement,
        amax=amax,
        lacking=lacking,
        not_in_model=tuple(name for name in cache.amax if names.find(name) is None),
        unusable=cache.unusable,
        without_range=cache.without_range,
        foreign=parts.foreign,
        behind=parts.behind,
        opset=(source.opset, opset(quantized)),
        from_float16=source.from_float16,
        float_bytes=source.size,
        int8_bytes=len(data),
        input=binding,
        held_out=held_out,
        verdict=judge(held_out) if held_out else None,
    )


class _Names:
    """The tensors of a model by their names, and by those that other exporters give them: with or without ``:0``."""

    def __init__(self, parts: Computable, prepared: Any) -> None:
        produced = (name for node in parts.original.graph.node for name in node.output if name)
        inputs = (value.name for value in parts.original.graph.input)
        self._all = {*produced, *inputs, *all_activations(prepared)}

    def find(self, name: str) -> str | None:
        """The model's name of a tensor; None if it has none of that name."""
        candidates = (name, f"{name}:0", name.removesuffix(":0"))
        return next((candidate for candidate in candidates if candidate in self._all), None)


def _usable(cache: CalibrationCache, names: _Names, where: str) -> dict[str, float]:
    """Tensor of the model → threshold, of those in the file that are one.

    Raises:
        UseError: there is none.
    """
    unusable = {*cache.unusable, *cache.without_range}
    found: dict[str, float] = {}
    for name, amax in cache.amax.items():
        own = names.find(name)
        if own is not None and name not in unusable and (own not in found or own == name):
            found[own] = amax
    if not found:
        listed = len(cache.amax) - len(unusable)
        if not listed:
            raise UseError("the file has no range of any tensor", where=where, hint=_EMPTY_HINT)
        raise UseError(
            f"none of the {listed} tensors with a range is one of the model's", where=where, hint=_NO_MATCH_HINT
        )
    return found


def _place(
    prepared: Any, wiring: Wiring, exclude: Sequence[str], ranges: Mapping[str, float], where: str
) -> tuple[Placement, dict[str, str]]:
    """A placement that needs no range which the file lacks, and the nodes that stay float for it."""
    lacking: dict[str, str] = {}
    while True:
        try:
            placement = place(wiring, [*exclude, *map(glob.escape, lacking)])
        except UseError as error:
            if not lacking:
                raise
            raise UseError(
                f"the file has no range for what any layer reads, such as {next(iter(lacking.values()))!r}",
                where=where,
                hint=_NO_MATCH_HINT,
            ) from error
        more = {
            node.name: node.input[position]
            for node in prepared.graph.node
            for position in placement.reads.get(node.name, ())
            if node.input[position] not in ranges
        }
        if not more:
            return placement, lacking
        lacking |= more
