"""Running ONNX models: on the CPU, node by node as written, fed with batches of a tensorfile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from int8cal.errors import ImageShapeError, UseError
from int8cal.guard.onnx_bounds import limited_memory, load_limit, run_limit
from int8cal.io.safe_text import first_line
from int8cal.models import extras
from int8cal.types import BatchNCHW_f32, Layout

MAX_FIXED_BATCH = 1024
"""Largest batch that a model may insist on: a smaller one is filled up to it."""
BIAS_ROUNDING = "WeightBiasQuantization"
"""ONNX Runtime's optimisation that rounds float biases of Q/DQ models to int32."""
_PART_BYTES = 96 << 20  # outputs held at a time; one image is the least


@dataclass(frozen=True)
class InputBinding:
    """How batches get into a model.

    Attributes:
        name: the model's input.
        layout: order of the input's dimensions; batches are NCHW and are transposed for ``nhwc``.
        batch: the input's fixed batch size; None when it is free.
    """

    name: str
    layout: Layout
    batch: int | None


def bind_input(
    model: Any, shape: Sequence[int], *, name: str | None = None, layout: Layout | None = None
) -> InputBinding:
    """Find the input that takes images of a tensorfile, and its layout.

    Args:
        model: ``onnx.ModelProto``.
        shape: (B, C, H, W) of the tensorfile.
        name: the input, when the caller wants to be sure of it.
        layout: the layout, if the caller knows it.

    Raises:
        ImageShapeError: the input takes images of another shape.
        UseError: no input, or more than one, is possible; the layout cannot be told.
    """
    inputs = _real_inputs(model)
    if name is not None and name not in inputs:
        raise UseError(f"the model has no input {name!r}", hint=f"Its inputs: {_listed(inputs)}.")
    if len(inputs) != 1:
        raise UseError(
            f"the model has {len(inputs)} inputs ({_listed(inputs)}), a tensorfile feeds one",
            hint="Make the other inputs constants of the model.",
        )
    name, value = next(iter(inputs.items()))
    tensor = value.type.tensor_type
    if tensor.elem_type != extras.onnx().TensorProto.FLOAT:
        raise UseError(f"input {name!r} is not float32", hint="Export the model in float32.")
    dims = [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in tensor.shape.dim]
    if dims and (dims[0] or 1) > MAX_FIXED_BATCH:
        raise UseError(
            f"input {name!r} takes batches of {dims[0]} images and no others, more than {MAX_FIXED_BATCH}",
            hint="Export the model with a dynamic batch size.",
        )
    return InputBinding(name, _layout(name, dims, tuple(shape[1:]), layout), dims[0])


def _real_inputs(model: Any) -> dict[str, Any]:
    constants = {initializer.name for initializer in model.graph.initializer}
    return {value.name: value for value in model.graph.input if value.name not in constants}


def _listed(names: Sequence[str] | dict[str, Any]) -> str:
    return ", ".join(repr(name) for name in names) or "none"


def _layout(name: str, dims: list[int | None], chw: tuple[int, ...], wanted: Layout | None) -> Layout:
    channels, height, width = chw
    candidates: dict[Layout, tuple[int, int, int]] = {
        "nchw": (channels, height, width),
        "nhwc": (height, width, channels),
    }
    shown = "×".join("?" if dim is None else str(dim) for dim in dims)
    samples = f"samples of {channels}×{height}×{width} (C×H×W)"
    if len(dims) != 4:
        raise UseError(
            f"input {name!r} takes {shown or 'a shape that the model does not state'}, no batches of {samples}",
            hint="Export a model that takes batches of images, in four dimensions.",
        )
    fitting = [
        layout
        for layout, extents in candidates.items()
        if all(dim in (None, extent) for dim, extent in zip(dims[1:], extents, strict=True))
    ]
    if not fitting:
        raise ImageShapeError(
            f"input {name!r} takes {shown}, which does not fit {samples}",
            hint="The tensorfile must be made for the size the model was exported with.",
        )
    if wanted is not None and wanted not in fitting:
        raise UseError(
            f"input {name!r} takes {shown}, which does not fit {samples} as {wanted.upper()}",
            hint=f"It does as {fitting[0].upper()}: leave --layout out.",
        )
    if wanted is None and len(fitting) == 2 and dims[1:] != list(chw):
        raise UseError(
            f"input {name!r} takes {shown}: its layout cannot be told",
            hint="Say it: --layout nchw or --layout nhwc.",
        )
    return wanted or fitting[0]


def numeric_outputs(model: Any) -> list[str]:
    """Names of the outputs that are tensors of numbers: no texts, sequences or optional values."""
    texts = extras.onnx().TensorProto.STRING
    return [
        output.name
        for output in model.graph.output
        if output.type.WhichOneof("value") == "tensor_type" and output.type.tensor_type.elem_type != texts
    ]


class Runner:
    """A model ready to run on the CPU, giving the values of chosen tensors.

    Args:
        model: ``onnx.ModelProto``.
        tensors: names to give, activations or outputs; the model's input is allowed.
        binding: see `bind_input`.
        optimized: run it as ONNX Runtime runs it for its users, but as the file says: float biases are not rounded, and
            Q/DQ with signed activations (TensorRT's form) is computed in float, because products of 8 bits overflow on
            x86 processors without VNNI. Otherwise graph optimisations are off, so that every tensor exists under its
            own name.

    Raises:
        UseError: ONNX Runtime cannot load the model.
    """

    def __init__(self, model: Any, tensors: Sequence[str], binding: InputBinding, *, optimized: bool = False) -> None:
        runtime = extras.onnxruntime()
        options = runtime.SessionOptions()
        if not optimized:
            options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.tensors = tuple(tensors)
        self._binding = binding
        self._computed = [tensor for tensor in self.tensors if tensor != binding.name]
        if optimized and not _is_for_onnxruntime(model):
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        self._session = open_session(
            _with_outputs(model, self._computed), options, disabled_optimizers=[BIAS_ROUNDING] if optimized else []
        )
        self._part_size = binding.batch  # None: one image first, then as many as their outputs' size allows

    def run(self, batch: BatchNCHW_f32) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
        """Values of the chosen tensors for one batch, a part of the batch at a time.

        Args:
            batch: NCHW float32.

        Yields:
            Tensor name → values; the parts follow each other in the order of the images.

        Raises:
            UseError: the model fails on these data.
        """
        images = batch if self._binding.layout == "nchw" else batch.transpose(0, 2, 3, 1)
        start = 0
        while start < len(images):
            part = np.ascontiguousarray(images[start : start + (self._part_size or 1)])
            start += len(part)
            yield self._run_part(part)

    def values(self, batch: BatchNCHW_f32) -> dict[str, npt.NDArray[np.float32]]:
        """Values of the chosen tensors for all images of one batch together, the images along the first axis.

        Tensors that do not have values for each image, of one shape for all, are left out.

        Raises:
            UseError: the model fails on these data.
        """
        parts = list(self.run(batch))
        return {
            tensor: np.concatenate([part[tensor] for part in parts])
            for tensor in self.tensors
            if _is_per_image([part[tensor] for part in parts], len(batch))
        }

    @property
    def fixed_batch(self) -> int | None:
        """The batch size that the model insists on, if any."""
        return self._binding.batch

    def _run_part(self, part: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        count, size = len(part), max(len(part), self._binding.batch or 1)
        with limited_memory(run_limit(size * part[0].nbytes)):
            fed = part
            if count < size:
                fed = np.concatenate([part, np.repeat(part[-1:], size - count, axis=0)])
            values = _run(self._session, self._computed, {self._binding.name: fed})
        if self._part_size is None:
            self._part_size = max(1, _PART_BYTES // max(sum(value.nbytes for value in values) // count, 1))
        found = dict(zip(self._computed, values, strict=True))
        if count < len(fed):
            found = {
                name: value[:count] if value.shape[:1] == fed.shape[:1] else value for name, value in found.items()
            }
        if self._binding.name in self.tensors:
            found[self._binding.name] = part
        return found


def _is_for_onnxruntime(model: Any) -> bool:
    """Whether a model has unsigned activations, the form that ONNX Runtime computes in integers."""
    unsigned = {item.name for item in model.graph.initializer if item.data_type == extras.onnx().TensorProto.UINT8}
    return any(node.op_type == "QuantizeLinear" and node.input[-1] in unsigned for node in model.graph.node)


def _with_outputs(model: Any, tensors: Sequence[str]) -> Any:
    onnx = extras.onnx()
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    present = {output.name for output in extended.graph.output}
    extended.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in tensors if tensor not in present)
    return extended


def _is_per_image(parts: Sequence[npt.NDArray[np.float32]], images: int) -> bool:
    return len({part.shape[1:] for part in parts if part.ndim}) == 1 and images == sum(
        len(part) if part.ndim else 0 for part in parts
    )


def open_session(model: Any, options: Any, *, disabled_optimizers: Sequence[str] = ()) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU.

    Raises:
        UseError: ONNX Runtime cannot load the model.
    """
    runtime = extras.onnxruntime()
    options.log_severity_level = extras.FATAL
    options.intra_op_num_threads = 1  # see `int8cal.models.passes`
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other sessions need the processors
    options.enable_cpu_mem_arena = False  # memory goes back at once; the peak stays that of one part of a batch
    with limited_memory(load_limit(model.ByteSize())):
        try:
            return runtime.InferenceSession(
                model.SerializeToString(),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=list(disabled_optimizers),
            )
        except _ort_errors() as error:
            raise UseError(
                f"ONNX Runtime cannot load the model: {first_line(error)}",
                hint="Export the model to ONNX again, for an operator set that this ONNX Runtime knows.",
            ) from error


def _run(session: Any, outputs: Sequence[str], feed: dict[str, npt.NDArray[np.float32]]) -> list[Any]:
    if not outputs:
        return []
    try:
        return list(session.run(list(outputs), feed))
    except _ort_errors() as error:
        raise UseError(
            f"the model fails on the samples: {first_line(error)}",
            hint="Export the model again for the size and batch size of the tensorfile.",
        ) from error


def _ort_errors() -> tuple[type[Exception], ...]:
    state = extras.need("onnxruntime.capi.onnxruntime_pybind11_state", "quantize")
    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
    return (*(getattr(state, name) for name in names), ValueError, RuntimeError)
