"""The shapes that a model states: what is kept of them, and what is not believed."""

from __future__ import annotations

from typing import Any

from int8cal.models.names import copied, free_inputs, replace_values
from int8cal.models.onnx_file import foreign_operator

_INVENTED = "unk__"
"""Begins the names that ONNX Runtime gives to extents that have none."""


def without_stale_shapes(model: Any) -> Any:
    """The model, or a copy without what it states of tensors inside, where its inputs vary in size.

    That may be of one size: exporters and scripts that free the batch afterwards leave it behind, and it would fix the
    batch of all that is inferred from it. What comes out of nodes that are not computed is known by nothing else.
    """
    free = free_inputs(model.graph)
    extents = [one for value in model.graph.input if value.name in free for one in value.type.tensor_type.shape.dim]
    if not model.graph.value_info or all(extent.HasField("dim_value") for extent in extents):
        return model
    foreign = {name for node in model.graph.node if foreign_operator(node) is not None for name in node.output}
    copy = copied(model)
    replace_values(copy.graph.value_info, [value for value in model.graph.value_info if value.name in foreign])
    return copy


def restore_outputs(changed: Any, original: Any) -> None:
    """The outputs of the original in its order, with the extents and names of extents that it states.

    The type of the elements is that of the computable part, and so is a shape that the original does not state, or that
    is of another rank there.
    """
    filled = {output.name: output for output in changed.output}
    names = {output.name for output in original.output}
    changed.value_info.extend(output for output in changed.output if output.name not in names)
    replace_values(changed.output, [_as_stated(filled.get(output.name, output), output) for output in original.output])


def _as_stated(found: Any, stated: Any) -> Any:
    """A copy of an output as it was found, with the shape that was stated, less the names that ONNX Runtime makes."""
    output = copied(found)
    here, there = output.type.tensor_type.shape, stated.type.tensor_type.shape
    is_new = not output.type.tensor_type.HasField("shape")
    if stated.type.tensor_type.HasField("shape") and (is_new or len(there.dim) == len(here.dim)):
        here.CopyFrom(there)
    for extent in here.dim:
        if extent.dim_param.startswith(_INVENTED):
            extent.ClearField("dim_param")
    return output
