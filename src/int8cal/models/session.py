"""Running ONNX models: on the CPU, node by node as written, fed with batches of a tensorfile.

Where kernels compute plug-ins (`int8cal.models.kernels`), a graph is cut in stages, one up to each result of theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from int8cal.errors import UseError
from int8cal.guard.onnx_bounds import data_bytes, limited, load_limit, model_name, of_model, run_limit
from int8cal.models import extras
from int8cal.models.binding import InputBinding
from int8cal.models.kernels import Kernel
from int8cal.models.names import node_reads, tensor_names, unique_name
from int8cal.types import BatchNCHW_f32

BIAS_ROUNDING = "WeightBiasQuantization"
"""ONNX Runtime's optimisation that rounds float biases of Q/DQ models to int32."""
IDENTITY_REMOVAL = "EliminateIdentity"
"""ONNX Runtime's optimisation that drops nodes which do nothing; see `with_true_float16`."""
INT8_MODEL = "the INT8 model"
LEAVE_IN_FLOAT = "Leave the node that is named in float: int8cal quantize --exclude NODE"
_PART_BYTES = 96 << 20  # outputs held at a time; one image is the least
_KEPT_BYTES = 512 << 20  # what a session keeps for its next runs; sizes that change with the image could grow for ever

_Values: TypeAlias = dict[str, npt.NDArray[Any]]


def numeric_outputs(model: Any) -> list[str]:
    """Names of the outputs that are tensors of numbers: no texts, sequences or optional values."""
    texts = extras.onnx().TensorProto.STRING
    return [
        output.name
        for output in model.graph.output
        if output.type.WhichOneof("value") == "tensor_type" and output.type.tensor_type.elem_type != texts
    ]


class Runner:
    """A model ready to run on the CPU, giving the values of chosen tensors; those in float16 as float16 holds them.

    Args:
        model: ``onnx.ModelProto``, the computable part of one.
        tensors: names to give, activations or outputs; the model's inputs are allowed.
        binding: see `int8cal.models.binding.bind_input`.
        optimized: run it as `open_as_written` does; the tensors are kept as outputs, and what lies between them is as
            ONNX Runtime likes. Otherwise graph optimisations are off, and each tensor is computed as the file says.
        choices: tensors whose rows are not those of the images, see `int8cal.models.choices`.
        for_one_pass: it is dropped after one pass over images, see `open_session`.

    Raises:
        UseError: ONNX Runtime cannot load the model.
    """

    def __init__(
        self,
        model: Any,
        tensors: Sequence[str],
        binding: InputBinding,
        *,
        optimized: bool = False,
        choices: Collection[str] = (),
        for_one_pass: bool = False,
    ) -> None:
        self.tensors = tuple(tensors)
        self._choices = choices
        self._binding = binding
        stages = _cut_in_stages(with_true_float16(model), tensors, binding.kernels)
        self._stages = [
            _Stage(stage, optimized=optimized, for_one_pass=for_one_pass and len(stages) == 1) for stage in stages
        ]
        self._model_bytes, self._name = model.ByteSize(), model_name()
        self._part_size = binding.batch  # None: one image first, then as many as their outputs' size allows

    def run(self, batch: BatchNCHW_f32, given: Mapping[str, npt.NDArray[Any]] | None = None) -> Iterator[_Values]:
        """Values of the chosen tensors for one batch, a part of the batch at a time.

        Args:
            batch: NCHW float32.
            given: outputs of plug-ins and choices for these images, which are taken as they are and not computed.

        Yields:
            Tensor name → values; the parts follow each other in the order of the images.

        Raises:
            UseError: the model fails on these data.
        """
        images = batch if self._binding.layout == "nchw" else batch.transpose(0, 2, 3, 1)
        start = 0
        while start < len(images):
            part = np.ascontiguousarray(images[start : start + (self._part_size or 1)])
            known = {
                name: values if name in self._choices else values[start : start + len(part)]
                for name, values in (given or {}).items()
            }
            yield self._run_part(part, known)
            start += len(part)

    def values(self, batch: BatchNCHW_f32, given: Mapping[str, npt.NDArray[Any]] | None = None) -> _Values:
        """Values of the chosen tensors for all images of one batch together, the images along the first axis.

        Tensors that do not have values for each image, of one shape for all, are left out.

        Args:
            batch: NCHW float32.
            given: see `run`.

        Raises:
            UseError: the model fails on these data.
        """
        return joined(list(self.run(batch, given)), self.tensors, len(batch))

    def with_constants(self, constants: Mapping[str, tuple[npt.NDArray[Any], bool]]) -> Runner:
        """The same open model, fed other constants, see `int8cal.models.binding.InputBinding`."""
        other = copy(self)
        other._binding = replace(self._binding, constants=constants)
        return other

    def _run_part(self, part: npt.NDArray[np.float32], given: _Values) -> _Values:
        count, size = len(part), max(len(part), self._binding.batch or 1)
        with limited(run_limit(count, size * part[0].nbytes, self._model_bytes), self._name):
            known: _Values = dict(self._binding.feeds(_filled_up(part, size)))
            known.update(
                (name, values if name in self._choices else _filled_up(values, size)) for name, values in given.items()
            )
            for stage in self._stages:
                stage.run(known)
        known[self._binding.name] = part
        found = {name: known[name] for name in self.tensors}
        if self._part_size is None:
            self._part_size = max(1, _PART_BYTES // max(sum(value.nbytes for value in found.values()) // count, 1))
        if count < size:
            found = {
                name: value[:count] if value.shape[:1] == (size,) and name not in self._choices else value
                for name, value in found.items()
            }
        return found


@contextmanager
def fault_of_model(name: str, hint: str | None = None) -> Iterator[None]:
    """Say of errors in running a model which one it is.

    Args:
        name: such as `INT8_MODEL`, or a path.
        hint: what to do about what ONNX Runtime refuses, where that is not the usual.

    Raises:
        UseError: the same, with the name for its place.
    """
    try:
        with of_model(name):
            yield
    except UseError as error:
        is_refused = isinstance(error, extras.LibraryError)
        raise UseError(error.message, where=name, hint=hint if hint and is_refused else error.hint) from error


def try_out(model: Any, binding: InputBinding, few: BatchNCHW_f32) -> None:
    """Run a model once as its users will, with ONNX Runtime's optimisations, if there are images to run it on.

    Outputs that state no number of dimensions, or a wrong one, get as many as they have.

    Args:
        model: is changed in these alone.
        binding: how images get into it.
        few: some images.

    Raises:
        UseError: it does not run.
    """
    runner = Runner(model, numeric_outputs(model), binding, optimized=True)
    values = next(runner.run(few), {})
    for output in model.graph.output:
        stated = output.type.tensor_type
        dims = len(stated.shape.dim) if stated.HasField("shape") else None
        if output.name in values and dims != values[output.name].ndim:
            stated.ClearField("shape")
            stated.shape.SetInParent()  # be it one without dimensions
            for _ in values[output.name].shape:
                stated.shape.dim.add()


def _filled_up(values: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """Values of as many images, the last of them repeated."""
    if len(values) == size:
        return values
    return np.concatenate([values, np.repeat(values[-1:], size - len(values), axis=0)])


@dataclass(frozen=True)
class _StageGraph:
    """Part of a graph, to be run after the ones before.

    Attributes:
        kernel: what is computed first; None for nothing.
        model: the part; None where nothing else is wanted of it.
        inputs: names of the tensors that the part is fed.
        outputs: names of the tensors that it gives.
    """

    kernel: Kernel | None
    model: Any | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def _cut_in_stages(model: Any, tensors: Sequence[str], kernels: Sequence[Kernel]) -> list[_StageGraph]:
    """Cut a graph into parts that can be computed one after the other.

    Args:
        model: ``onnx.ModelProto`` whose inputs are images, constants, and the outputs of ``kernels``.
        tensors: what is wanted; inputs among them are passed over.
        kernels: in an order in which each needs nothing of those behind it.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in weights]
    wanted = [name for name in dict.fromkeys(tensors) if name not in inputs]
    if not kernels:
        return [_StageGraph(None, _with_outputs(model, wanted), tuple(inputs), tuple(wanted))]
    number = {kernel.output: position for position, kernel in enumerate(kernels, start=1)}
    level = {name: number.get(name, 0) for name in inputs}  # the stage that gives a tensor; constants are in all
    nodes, maker = list(model.graph.node), {}
    for place, node in enumerate(nodes):
        levels = [level[name] for name in node_reads(node) if name in level]
        for name in filter(None, node.output):
            maker[name] = place
            if levels:
                level[name] = max(levels)
    needed = {*wanted, *number.keys() & set(tensors)}
    found: list[_StageGraph] = []
    for position in range(len(kernels), -1, -1):
        outputs = sorted(name for name in needed if name not in inputs and level.get(name, 0) == position)
        places: set[int] = set()
        fed: dict[str, None] = {}
        missing = list(outputs)
        while missing:
            name = missing.pop()
            if name in inputs or level.get(name, position) < position:
                fed[name] = None
            elif name in maker and maker[name] not in places:
                places.add(maker[name])
                missing += node_reads(nodes[maker[name]])
        needed.update(fed)
        kernel = kernels[position - 1] if position and kernels[position - 1].output in needed else None
        needed.update(kernel.inputs if kernel else ())
        if kernel or outputs:
            part = _model_of(model, [nodes[place] for place in sorted(places)], list(fed), outputs) if outputs else None
            found.append(_StageGraph(kernel, part, tuple(fed), tuple(outputs)))
    return found[::-1]


def _model_of(model: Any, nodes: Iterable[Any], inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """A model of some of the nodes, with these inputs, and these outputs besides those that are outputs anyway."""
    onnx = extras.onnx()
    nodes = list(nodes)
    made = {name for node in nodes for name in node.output}
    weights = {name for node in nodes for name in node_reads(node)} | set(outputs)
    typed = {value.name: value for value in (*model.graph.value_info, *model.graph.input, *model.graph.output)}
    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.name = "part"
    part.graph.node.extend(nodes)
    part.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in weights)
    for name in inputs:
        value = typed.get(name) or onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        part.graph.input.add().CopyFrom(value)
    own = [value for value in model.graph.output if value.name in made]
    part.graph.output.extend(own)
    names = {value.name for value in own}
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs if name not in names)
    return part


def with_types(model: Any, *, data_prop: bool = False) -> Any:
    """A copy of a model with the types and shapes of its activations.

    ONNX's inference knows no type of what operators of ONNX Runtime's own give (``com.microsoft``), nor of anything
    behind them; those are taken from ONNX Runtime.

    Args:
        model: ``onnx.ModelProto`` that ONNX Runtime runs.
        data_prop: follow the values of shapes, too.

    Raises:
        UseError: ONNX Runtime cannot load the model.
    """
    onnx = extras.onnx()
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=data_prop)
    lacking = untyped(inferred)
    if not lacking:
        return inferred
    runtime = extras.onnxruntime()
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = open_session(_with_outputs(inferred, lacking), options)
    kinds = {f"tensor({name})": kind for name, kind in _ORT_TYPES.items()}
    stated = {value.name: value for value in inferred.graph.output}
    for found in session.get_outputs():
        kind = kinds.get(found.type)
        if kind is None or found.name not in lacking:
            continue
        dims = None if found.shape is None else [dim if isinstance(dim, int) else None for dim in found.shape]
        made = onnx.helper.make_tensor_value_info(found.name, getattr(onnx.TensorProto, kind), dims or None)
        if found.name in stated:
            stated[found.name].CopyFrom(made)
        else:
            inferred.graph.value_info.append(made)
    return onnx.shape_inference.infer_shapes(inferred, data_prop=data_prop)


_ORT_TYPES = {
    "float": "FLOAT", "float16": "FLOAT16", "double": "DOUBLE", "bool": "BOOL", "int8": "INT8", "uint8": "UINT8",
    "int16": "INT16", "uint16": "UINT16", "int32": "INT32", "uint32": "UINT32", "int64": "INT64", "uint64": "UINT64",
}  # fmt: skip


def untyped(model: Any) -> list[str]:
    """Names of the activations of a model whose types are not stated."""
    values = (*model.graph.value_info, *model.graph.output)
    known = {value.name for value in values if _states_type(value.type)}
    return [name for node in model.graph.node for name in node.output if name and name not in known]


def _states_type(kind: Any) -> bool:
    which = kind.WhichOneof("value")
    return which is not None and (which != "tensor_type" or kind.tensor_type.elem_type != 0)


def _with_outputs(model: Any, tensors: Sequence[str]) -> Any:
    onnx = extras.onnx()
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    present = {output.name for output in extended.graph.output}
    extended.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in tensors if tensor not in present)
    return extended


class _Stage:
    """What can be computed together."""

    def __init__(self, stage: _StageGraph, *, optimized: bool, for_one_pass: bool) -> None:
        self._stage = stage
        self._session = None
        self._most: int | None = None  # beyond it, a run gives back all that is free
        if stage.model is None:
            return
        if optimized:
            self._session = open_as_written(stage.model, for_one_pass=for_one_pass)
        else:
            runtime = extras.onnxruntime()
            options = runtime.SessionOptions()
            options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
            self._session = open_session(stage.model, options, for_one_pass=for_one_pass)
        if for_one_pass:
            self._most = data_bytes() + _KEPT_BYTES

    def run(self, known: _Values) -> None:
        """Compute the stage's tensors from those known so far; are added to them."""
        kernel, outputs = self._stage.kernel, self._stage.outputs
        if kernel is not None and kernel.output not in known:
            hint = "See whether its attributes are those of the layers before it: anchors, sizes."
            with extras.fault_of(f"the plug-in {kernel.node!r} cannot be computed", hint):
                known[kernel.output] = kernel.compute(*(known[name] for name in kernel.inputs))
        if self._session is not None:
            fed = {name: known[name] for name in self._stage.inputs}
            known.update(zip(outputs, _run(self._session, outputs, fed, self._most), strict=True))


def with_true_float16(model: Any) -> Any:
    """The model itself, or a copy of one with float16 activations that ONNX Runtime's CPU rounds to float16.

    It has float16 kernels for few operators, computes the others in float32, and leaves out the casts between them: a
    value beyond float16 would never become infinite. Two Identity nodes in a row keep the casts.
    """
    onnx = extras.onnx()
    half = onnx.TensorProto.FLOAT16
    if not any(tensor.data_type == half for tensor in model.graph.initializer) and not any(
        item.name == "to" and item.i == half for node in model.graph.node for item in node.attribute
    ):
        return model
    inferred = with_types(model).graph
    known = (*inferred.value_info, *inferred.output)
    names = {value.name for value in known if value.type.tensor_type.elem_type == half}
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    taken = tensor_names(copy.graph)
    nodes = []
    for node in copy.graph.node:
        nodes.append(node)
        for position, name in enumerate(node.output):
            if name in names:
                raw, between = (unique_name(f"{name}_{step}", taken) for step in ("raw", "rounded"))
                node.output[position] = raw
                for source, output in ((raw, between), (between, name)):
                    nodes.append(onnx.helper.make_node("Identity", [source], [output]))
    nodes = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def _is_for_onnxruntime(model: Any) -> bool:
    """Whether a model has unsigned activations, the form that ONNX Runtime computes in integers."""
    unsigned = {item.name for item in model.graph.initializer if item.data_type == extras.onnx().TensorProto.UINT8}
    return any(node.op_type == "QuantizeLinear" and node.input[-1] in unsigned for node in model.graph.node)


def joined(parts: Sequence[_Values], tensors: Iterable[str], images: int) -> _Values:
    """Values of several parts along the first axis; tensors that have none of one shape for each image are left out."""
    return {
        tensor: np.concatenate([part[tensor] for part in parts])
        for tensor in tensors
        if is_per_image([part[tensor].shape for part in parts], images)
    }


def is_per_image(shapes: Sequence[tuple[int, ...]], images: int) -> bool:
    """Whether the values of several parts, by their shapes, are those of so many images, of one shape each."""
    return len({shape[1:] for shape in shapes if shape}) == 1 and images == sum(shape[0] for shape in shapes if shape)


def open_as_written(model: Any, *, for_one_pass: bool = False) -> Any:
    """A session that runs a model as ONNX Runtime does for its users, but computes what the file says.

    Float biases are not rounded, and Q/DQ with signed activations (TensorRT's form) is computed in float, because
    products of 8 bits overflow on x86 processors without VNNI.

    Args:
        model: ``onnx.ModelProto``.
        for_one_pass: see `open_session`.

    Raises:
        UseError: ONNX Runtime cannot load the model.
    """
    options = extras.onnxruntime().SessionOptions()
    if not _is_for_onnxruntime(model):
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return open_session(
        model, options, disabled_optimizers=[BIAS_ROUNDING, IDENTITY_REMOVAL], for_one_pass=for_one_pass
    )


def open_session(
    model: Any, options: Any, *, disabled_optimizers: Sequence[str] = (), for_one_pass: bool = False
) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU.

    Args:
        model: ``onnx.ModelProto``.
        options: an ``onnxruntime.SessionOptions``, which is added to.
        disabled_optimizers: names of ONNX Runtime's optimisations that are left out.
        for_one_pass: keep what a run frees for the next one, as long as the session lives: less CPU time, and no gaps
            in a heap that others use, too. Sessions that stay open side by side would each keep their peak. Outputs
            that outlive the session keep all of its memory, so they are to be copied.

    Raises:
        UseError: ONNX Runtime cannot load the model.
    """
    runtime = extras.onnxruntime()
    options.log_severity_level = extras.FATAL
    options.intra_op_num_threads = 1  # see `int8cal.models.passes`; `limited` counts the time of this thread alone
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other sessions need the processors
    options.enable_cpu_mem_arena = for_one_pass  # else memory goes back at once: the peak stays that of a run
    if for_one_pass:
        options.enable_mem_pattern = False  # one block for all of a run seldom fits into what earlier runs left
    hint = "Export the model to ONNX again, for an operator set that this ONNX Runtime knows."
    fault = extras.fault_of("ONNX Runtime cannot load the model", hint)
    with limited(load_limit(model.ByteSize()), model_name()), fault:
        return runtime.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=list(disabled_optimizers),
        )


def _run(session: Any, outputs: Sequence[str], feed: dict[str, npt.NDArray[np.float32]], most: int | None) -> list[Any]:
    if not outputs:
        return []
    options = None
    if most is not None and data_bytes() > most:
        options = extras.onnxruntime().RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    hint = "Export the model again for the size and batch size of the tensorfile."
    with extras.fault_of("the model fails on the samples", hint):
        return list(session.run(list(outputs), feed, options))
