"""Shapes of a model's activations for images of one size, by shape inference."""

from __future__ import annotations

from math import prod
from typing import Any

from int8cal.models import extras
from int8cal.models.binding import InputBinding
from int8cal.models.names import inner_graphs
from int8cal.models.typed import with_types


def inferred(model: Any, binding: InputBinding, image_shape: tuple[int, int, int]) -> Any:
    """A copy of a model for images of one size, with the types and shapes that follow from it, and no others.

    Args:
        model: ``onnx.ModelProto``.
        binding: how images get into it; of its fixed batch size, or one.
        image_shape: (C, H, W).

    Returns:
        None where inference fails.
    """
    onnx = extras.onnx()
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
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
        return with_types(fixed, data_prop=True)
    except extras.LibraryError:
        return None


def known_shapes(graph: Any) -> dict[str, tuple[int, ...]]:
    """Tensor → its shape, where the graph states all of it."""
    return {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
        and all(dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim)
    }


def activation_bytes(graph: Any) -> int | None:
    """What all activations take together; None where the size of one depends on the image, or is not known.

    Args:
        graph: of a model as `inferred` gives it.
    """
    shapes = known_shapes(graph)
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
