"""What a model says of the images that it takes: size and layout, who exported it, and what it does to them itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from int8cal.io.safe_text import printable
from int8cal.models import extras
from int8cal.models.binding import Constants, InputBinding, unfed_binding
from int8cal.models.computable import computable
from int8cal.models.onnx_file import load_model
from int8cal.types import Layout, Size

_PASSED = frozenset({"Identity", "Cast", "Transpose"})
_MOST_NODES = 12
_CONTRADICTED_TINY, _CONTRADICTED_WIDE = 0.05, 300.0
"""Spans of the values behind a model's own first nodes that no preprocessing means."""


@dataclass(frozen=True)
class Wanted:
    """What a model says of its images.

    Attributes:
        input: the input that takes them.
        layout: its layout.
        channels, height, width: None where they are free.
        exporter: who made the file, where its metadata say so: ``Ultralytics``.
        said: size of the images by the metadata, which counts where that of the input is free; None: not said.
        factor, offset: what its first nodes do to each value: factor · value + offset, per channel; None: nothing.
        nodes: names of those nodes.
    """

    input: str
    layout: Layout
    channels: int | None
    height: int | None
    width: int | None
    exporter: str = ""
    said: Size | None = None
    factor: npt.NDArray[np.float64] | None = None
    offset: npt.NDArray[np.float64] | None = None
    nodes: tuple[str, ...] = ()


def input_for(
    path: str | os.PathLike[str],
    shape: Sequence[int],
    *,
    input_name: str | None = None,
    layout: Layout | None = None,
    constants: Constants | None = None,
) -> InputBinding:
    """How images of a shape (B, C, H, W) get into the model of a file.

    Args:
        path: the model.
        shape: of the batches.
        input_name: see `int8cal.models.binding.bind_input`.
        layout: see `int8cal.models.binding.bind_input`.
        constants: see `int8cal.models.binding.bind_input`.

    Raises:
        UseError: it cannot be read, or does not take such images.
        UnavailableError: the extra ``quantize`` is not installed.
    """
    return computable(load_model(path)).bind(shape, name=input_name, layout=layout, constants=constants)


def wanted(path: str | os.PathLike[str], *, input_name: str | None = None, layout: Layout | None = None) -> Wanted:
    """Read what a model says of its images.

    Raises:
        UseError: it cannot be read, or takes no images.
        UnavailableError: the extra ``quantize`` is not installed.
    """
    model = load_model(path)
    return said_by(model, unfed_binding(model, input_name, layout)[0])


def said_by(model: Any, binding: InputBinding) -> Wanted:
    """What a model that was read wants of its images.

    Args:
        model: ``onnx.ModelProto``.
        binding: its input.
    """
    value = next(one for one in model.graph.input if one.name == binding.name)
    shape = value.type.tensor_type.shape.dim
    dims = [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in shape]
    axes = (3, 1, 2) if binding.layout == "nhwc" else (1, 2, 3)
    channels, height, width = (dims[axis] for axis in axes)
    exporter, stated = by_metadata(model)
    factor, offset, nodes = _first_steps(model, binding.name)
    return Wanted(binding.name, binding.layout, channels, height, width, exporter, stated, factor, offset, nodes)


def contradiction(found: Wanted, preset: str, values: tuple[float, float]) -> str | None:
    """What a model says against a preset of ``int8cal images``; None: nothing.

    Args:
        found: what it says.
        preset: the preset.
        values: the least and the greatest value that the preset's numbers make.

    Returns:
        Its metadata name another preset, or its first nodes do the same once more, or the opposite.
    """
    if found.exporter == "Ultralytics" and preset != "ultralytics":
        return f"the model's metadata say that Ultralytics exported it, and the preset is {preset}"
    if found.factor is None or found.offset is None:
        return None
    least, greatest = values
    span = float((abs(found.factor).max() * (greatest - least)).item())
    if _CONTRADICTED_TINY <= span <= _CONTRADICTED_WIDE:
        return None
    return (
        f"the model's first nodes ({', '.join(map(printable, found.nodes))}) scale its input by "
        f"{abs(found.factor).max():.4g}, and the preset {preset} makes values from {least:.3g} to {greatest:.3g}"
    )


def by_metadata(model: Any) -> tuple[str, Size | None]:
    """Who exported a model, and the size of its images, by its metadata: empty and None where they do not say."""
    said = {entry.key.lower(): entry.value for entry in model.metadata_props}
    if "ultralytics" not in f"{said.get('author', '')} {said.get('description', '')}".lower():
        return "", None
    size = re.fullmatch(r"\[(\d{1,5}), ?(\d{1,5})\]", said.get("imgsz", ""))
    return "Ultralytics", Size(int(size[1]), int(size[2])) if size else None


def _first_steps(model: Any, name: str) -> tuple[Any, Any, tuple[str, ...]]:
    """The affine function that the nodes behind an input compute before anything else is done."""
    constants = dict(_constants(model))
    consumers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for one in node.input:
            consumers.setdefault(one, []).append(node)
    factor, offset = np.array(1.0), np.array(0.0)
    nodes: list[str] = []
    for _ in range(_MOST_NODES):
        following = consumers.get(name, [])
        if len(following) != 1:
            break
        node = following[0]
        if node.op_type not in _PASSED:
            number = next((constants[one] for one in node.input if one != name and one in constants), None)
            if number is None or node.op_type not in ("Add", "Sub", "Mul", "Div"):
                break
            if node.op_type in ("Sub", "Div") and node.input[0] != name:
                break
            factor, offset = _applied(node.op_type, factor, offset, number)
            nodes.append(node.name or node.op_type)
        name = node.output[0]
    return (factor, offset, tuple(nodes)) if nodes else (None, None, ())


def _applied(operator: str, factor: Any, offset: Any, number: Any) -> tuple[Any, Any]:
    with np.errstate(all="ignore"):
        if operator == "Add":
            return factor, offset + number
        if operator == "Sub":
            return factor, offset - number
        if operator == "Mul":
            return factor * number, offset * number
        return factor / number, offset / number


def _constants(model: Any) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    """Small constants of a model, each as one number or one per channel."""
    to_array = extras.onnx().numpy_helper.to_array
    for tensor in model.graph.initializer:
        if np.prod(tensor.dims, dtype=np.int64) <= 4:
            yield tensor.name, np.asarray(to_array(tensor), np.float64).reshape(-1)
    for node in model.graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value" and np.prod(attribute.t.dims, dtype=np.int64) <= 4:
                    yield node.output[0], np.asarray(to_array(attribute.t), np.float64).reshape(-1)
