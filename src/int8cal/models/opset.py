"""From an older operator set to a newer one, without a change of what a model computes.

``onnx.version_converter`` does it but for some attributes whose default changed: those are set here. Whether the
result is right is not left to trust: `converted` compares what the models compute.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy.typing as npt

from int8cal.errors import UseError
from int8cal.io.safe_text import printable
from int8cal.models import extras
from int8cal.models.agreement import TensorAgreement
from int8cal.models.binding import InputBinding
from int8cal.models.names import all_graphs, node_reads, replace_values
from int8cal.models.runner import Runner, numeric_outputs
from int8cal.types import BatchNCHW_f32

MIN_OPSET = 13  # the first with per-channel QuantizeLinear
_RESIZES_OTHERWISE = 11  # the first that says how pixels lie to one another; before, their top left corners meet
_MASKS_ARE_BOOL = 10  # what Dropout gives beside its result
_LEAST_DB = 80.0
"""The same operators in float32 agree to 120 dB and more. Another meaning of an attribute is below 40."""

_RANDOM_OPS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


def opset(model: Any) -> int:
    """Version of the standard operator set that the model uses."""
    return max((int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def raise_opset(model: Any, least: int = MIN_OPSET) -> Any:
    """The model itself, or one of the operator set ``least`` if its own is lower.

    Raises:
        UseError: it cannot be converted.
    """
    version = opset(model)
    if version >= least:
        return model
    try:
        newer = extras.onnx().version_converter.convert_version(model, least)
    except extras.LibraryError as error:
        raise UseError(
            f"opset {version} cannot be converted to {least}: {error.said}",
            hint=f"Export the model with opset {least} or later.",
        ) from error
    graphs = list(all_graphs(newer.graph))
    if version < _RESIZES_OTHERWISE:
        _resize_by_corners(graphs)
    if version < _MASKS_ARE_BOOL:
        for graph in graphs:
            _drop_masks(graph)
    return newer


def converted(model: Any, binding: InputBinding, few: BatchNCHW_f32 | None, least: int = MIN_OPSET) -> Any:
    """`raise_opset` of the computable part of a model, which is made sure to compute what it did.

    Args:
        model: the computable part.
        binding: how images get into it.
        few: some images to compare by; None: there are none. Models that draw random numbers are not compared.
        least: operator set.

    Raises:
        UseError: it cannot be converted, or computes something else then.
    """
    newer = raise_opset(model, least)
    if newer is not model and few is not None and not _draws_random_numbers(model):
        _check_equal(model, newer, binding, few)
    return newer


def _draws_random_numbers(model: Any) -> bool:
    return any(node.op_type in _RANDOM_OPS for graph in all_graphs(model.graph) for node in graph.node)


def _check_equal(model: Any, newer: Any, binding: InputBinding, few: BatchNCHW_f32) -> None:
    names = numeric_outputs(model)
    before, after = (next(Runner(one, names, binding).run(few), {}) for one in (model, newer))
    for name, values in before.items():
        found = TensorAgreement(name)
        same_shape = values.shape == after[name].shape
        if same_shape:
            found.add(values, after[name])
        if not same_shape:
            apart = "has another shape"
        elif len(found.lost_in) == 1:
            apart = "is finite in one of both alone"
        elif found.sqnr_db < _LEAST_DB:  # NaN: no values, or infinite before as well
            apart = f"is {found.sqnr_text} dB from what it was"
        else:
            apart = ""
        if apart:
            raise UseError(
                f"converted from opset {opset(model)} to {opset(newer)}, the model computes something else: output "
                f"{printable(name)} {apart}",
                hint=f"Export the model with opset {opset(newer)} or later.",
            )


def _resize_by_corners(graphs: Sequence[Any]) -> None:
    """Say of each Resize what its older form, or Upsample, meant, as ONNX Runtime understands that."""
    helper = extras.onnx().helper
    constants = dict(chain.from_iterable(map(_constants, graphs)))  # a loop may read those outside
    for node in chain.from_iterable(graph.node for graph in graphs):
        stated = {attribute.name for attribute in node.attribute}
        if node.domain or node.op_type != "Resize" or "coordinate_transformation_mode" in stated:
            continue
        scales = constants.get(node.input[2]) if len(node.input) > 2 else None
        is_smaller = scales is not None and (scales < 1).any()
        node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
        node.attribute.append(helper.make_attribute("nearest_mode", "ceil" if is_smaller else "floor"))


def _constants(graph: Any) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    computed = ((node.output[0], node.attribute[0].t) for node in graph.node if node.op_type == "Constant")
    for name, tensor in chain(((tensor.name, tensor) for tensor in graph.initializer), computed):
        if len(tensor.dims) == 1:
            yield name, extras.onnx().numpy_helper.to_array(tensor)


def _drop_masks(graph: Any) -> None:
    """Take out what Dropout says of itself where nobody reads it: its type is another one, and stated as it was."""
    read = {name for node in graph.node for name in node_reads(node)} | {output.name for output in graph.output}
    for node in graph.node:
        if node.op_type == "Dropout" and not node.domain and not read.intersection(node.output[1:]):
            gone = set(node.output[1:])
            del node.output[1:]
            replace_values(graph.value_info, [value for value in graph.value_info if value.name not in gone])
