"""Running ONNX models: fed with batches of a tensorfile, a part of a batch at a time.

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
from int8cal.guard.onnx_bounds import limited, model_name, of_model, run_limit
from int8cal.models import extras
from int8cal.models.binding import InputBinding
from int8cal.models.kernels import Kernel
from int8cal.models.names import node_reads
from int8cal.models.session import open_as_written, open_session, with_outputs
from int8cal.models.typed import with_true_float16
from int8cal.types import BatchNCHW_f32

INT8_MODEL = "the INT8 model"
LEAVE_IN_FLOAT = "Leave the node that is named in float: int8cal quantize --exclude NODE"
_PART_BYTES = 96 << 20  # outputs held at a time; one image is the least
_MOST_KEPT_BYTES = 512 << 20  # ONNX Runtime takes up to twice as much for it, which a run may take in any case

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
        optimized: run it as `int8cal.models.session.open_as_written` does; the tensors are kept as outputs, and what
            lies between them is as ONNX Runtime likes. Otherwise graph optimisations are off, and each tensor is
            computed as the file says.
        choices: tensors whose rows are not those of the images, see `int8cal.models.choices`.
        activation_bytes: of all activations together. Where they are known and few, what a run frees is kept for the
            next one (see `int8cal.models.session.open_session`), but for a graph in stages, of which each would keep
            its own peak.

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
        activation_bytes: int | None = None,
    ) -> None:
        self.tensors = tuple(tensors)
        self._choices = choices
        self._binding = binding
        stages = _cut_in_stages(with_true_float16(model), tensors, binding.kernels)
        keep_memory = len(stages) == 1 and activation_bytes is not None and activation_bytes <= _MOST_KEPT_BYTES
        self._stages = [_Stage(stage, optimized=optimized, keep_memory=keep_memory) for stage in stages]
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
        return [_StageGraph(None, with_outputs(model, wanted), tuple(inputs), tuple(wanted))]
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


class _Stage:
    """What can be computed together."""

    def __init__(self, stage: _StageGraph, *, optimized: bool, keep_memory: bool) -> None:
        self._stage = stage
        self._session = None
        if stage.model is None:
            return
        if optimized:
            self._session = open_as_written(stage.model, keep_memory=keep_memory)
        else:
            runtime = extras.onnxruntime()
            options = runtime.SessionOptions()
            options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
            self._session = open_session(stage.model, options, keep_memory=keep_memory)

    def run(self, known: _Values) -> None:
        """Compute the stage's tensors from those known so far; are added to them."""
        kernel, outputs = self._stage.kernel, self._stage.outputs
        if kernel is not None and kernel.output not in known:
            hint = "See whether its attributes are those of the layers before it: anchors, sizes."
            with extras.fault_of(f"the plug-in {kernel.node!r} cannot be computed", hint):
                known[kernel.output] = kernel.compute(*(known[name] for name in kernel.inputs))
        if self._session is not None and outputs:
            fed = {name: known[name] for name in self._stage.inputs}
            known.update(zip(outputs, self._session.run(outputs, fed), strict=True))


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
