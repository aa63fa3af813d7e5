"""Shapes of a model's activations for images of one size, by shape inference."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from int8cal.models import extras
from int8cal.models.binding import InputBinding
from int8cal.models.graph import all_activations
from int8cal.models.names import copied, inner_graphs
from int8cal.models.typed import with_types


class ActivationShapes(NamedTuple):
    """What shape inference finds for images of one size.

    Attributes:
        known: tensor → its shape.
        missing: activations whose shape it does not find.
        nbytes: what all activations take together; None where the size of one depends on the image, or is not known.
    """

    known: dict[str, tuple[int, ...]]
    missing: list[str]
    nbytes: int | None


def activation_shapes(model: Any, binding: InputBinding, image_shape: tuple[int, int, int]) -> ActivationShapes | None:
    """Infer shapes and sizes from the size of the images, whatever the model states.

    Args:
        model: ``onnx.ModelProto``.
        binding: how images get into it; of its fixed batch size, or one.
        image_shape: (C, H, W).

    Returns:
        None where inference fails.
    """
    fixed = copied(model)
    channels, height, width = image_shape
    image = (channels, height, width) if binding.layout == "nchw" else (height, width, channels)
    for value in fixed.graph.input:
        if value.name == binding.name:
            for dim, extent in zip(value.type.tensor_type.shape.dim, (binding.batch or 1, *image), strict=True):
                dim.dim_value = extent
    del fixed.graph.value_info[:]
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        fixed = with_types(fixed, data_prop=True)
    except extras.LibraryError:
        return None
    known = _known_shapes(fixed.graph)
    missing = [name for name in all_activations(fixed) if name not in known]
    return ActivationShapes(known, missing, _nbytes(fixed.graph, known))


def _known_shapes(graph: Any) -> dict[str, tuple[int, ...]]:
    return {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
        and all(dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim)
    }


def _nbytes(graph: Any, shapes: dict[str, tuple[int, ...]]) -> int | None:
    dtype_of = extras.onnx().helper.tensor_dtype_to_np_dtype
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}
    total = 0
    for node in graph.node:
        if any(inner_graphs(node)):
            return None
        for name in filter(None, node.output):
            if name not in shapes or not kinds.get(name):
                return None
            total += prod(shapes[name]) * dtype_of(kinds[name]).itemsize
    return total
